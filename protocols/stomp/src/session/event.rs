//! What the gateway tells, each to whom it concerns.

use evergate_model::{Close, Event, Output, PublishError, Time};

use super::fault::Fault;
use super::{Phase, StompSession};

impl StompSession {
    pub(super) fn on_event(&mut self, now: Time, event: Event, out: &mut Output) -> Result<(), Fault> {
        let Some(event) = self.on_reader_event(event, out) else { return Ok(()) };
        if self.phase == Phase::Failing && !matches!(event, Event::ToldToClose { .. } | Event::Stopping { .. }) {
            return Ok(());
        }
        match event {
            Event::Authenticated(access) if self.phase == Phase::Authenticating => {
                self.on_authenticated(now, access, out)
            }
            Event::Published { token, result } => {
                self.publishing = self.publishing.saturating_sub(1);
                self.heartbeat.heard(now);
                let was_reply = self.replies.remove(&token);
                match result {
                    // Who asked is gone, and its queue with it: as with a topic that nobody subscribes to.
                    Err(PublishError::NotFound) if was_reply => {}
                    Ok(_queues) => {}
                    Err(reason) => {
                        let mut fault = Fault::refused(format!("the message was not taken: {reason}"));
                        fault.receipt = self.pending.take_receipt(token);
                        return Err(fault);
                    }
                }
                self.pending.answer(token);
                Ok(())
            }
            Event::Attached { consumer, result } => self.on_attached(consumer, result, out),
            Event::Detached { consumer } => {
                self.outgoing.on_detached(consumer);
                self.on_detached(consumer);
                Ok(())
            }
            Event::Deliver(delivery) => {
                self.on_deliver(&delivery, out);
                Ok(())
            }
            Event::Done(token) => {
                self.on_aborted(token);
                self.pending.answer(token);
                Ok(())
            }
            Event::Begun { token, result } => self.on_begun(token, result),
            Event::Committed { token, result } => self.on_committed(token, result),
            Event::Drained { consumer, delivered } => {
                self.on_drained(consumer, delivered, out);
                Ok(())
            }
            Event::TakenOver { consumer } => self.on_lost(consumer, "another connection took it over"),
            Event::Deleted { consumer } => self.on_lost(consumer, "its queue was deleted"),
            Event::Overrun { .. } => {
                let what = "the client does not keep up with what it subscribed to";
                Err(Fault::refused(what).with_close(Close::Gateway(what.into())))
            }
            Event::ToldToClose { reason } | Event::Stopping { reason } => {
                Err(Fault::refused(&*reason).with_close(Close::Gateway(reason.to_string())))
            }
            // Never asked for.
            Event::Authenticated(_) | Event::Unbound { .. } => Ok(()),
        }
    }
}
