//! Flow (part 2, 2.5.6 and 2.6.7): the session's windows and the credit of its links.

use evergate_model::{Output, Time};

use super::channel::{Channel, Link, unattached};
use super::context::Context;
use crate::error::{AmqpError, Fault, NOT_IMPLEMENTED, WINDOW_VIOLATION};
use crate::performative::{Flow, FlowReply, LinkFlow, write_flow};

impl Channel {
    /// The client sent a transfer, with so many bytes of its message.
    pub(super) fn count_transfer(
        &mut self,
        now: Time,
        bytes: usize,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        // 2.5.6: a session that sends over its window is ended.
        if !self.incoming.take(now, bytes) {
            return Err(Fault::Session(AmqpError::new(WINDOW_VIOLATION, "a transfer beyond the incoming window")));
        }
        self.open_window(now, context, out);
        Ok(())
    }

    /// So many bytes of this connection's large messages await their commit.
    pub(super) fn pieces_pending(&mut self, now: Time, bytes: u64, context: &mut Context, out: &mut Output) {
        self.incoming.pending(bytes);
        self.open_window(now, context, out);
    }

    fn open_window(&mut self, now: Time, context: &mut Context, out: &mut Output) {
        if !self.incoming.is_half_used() {
            return;
        }
        let is_large = self.links.values().any(|link| matches!(link, Link::Incoming(link) if link.takes_large()));
        if self.incoming.open(now, is_large) {
            self.write_flow(None, context, out);
        }
    }

    pub(super) fn flow(
        &mut self,
        now: Time,
        flow: &Flow,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        // 2.5.6: the window counts from what the client has seen; before it saw our begin, from our first id.
        let seen = flow.next_incoming_id.unwrap_or(0);
        let on_the_way = self.next_outgoing_id.wrapping_sub(seen);
        self.remote_window = flow.incoming_window.saturating_sub(on_the_way);
        if flow.transactional {
            // 4.4.3: deliveries are acquired outside transactions; their outcomes may be inside.
            let error = AmqpError::new(NOT_IMPLEMENTED, "deliveries cannot be acquired in a transaction");
            return Err(flow.handle.map_or(Fault::Session(error.clone()), |handle| Fault::Link(handle, error)));
        }
        match flow.handle {
            None => {
                if flow.echo {
                    self.write_flow(None, context, out);
                }
            }
            Some(handle) => match self.links.get_mut(&handle) {
                Some(Link::Outgoing(link)) => {
                    link.flow(flow, context, out);
                    // Without credit there is nothing to drain.
                    let answer = flow.echo || (flow.drain && link.limit == link.sent);
                    self.pump(now, handle, context, out);
                    if answer {
                        self.answer_flow(handle, context, out);
                    }
                }
                Some(Link::Incoming(link)) => {
                    if let Some(count) = flow.delivery_count {
                        link.drained(count);
                    }
                    if flow.echo {
                        self.answer_flow(handle, context, out);
                    }
                    self.grant(handle, context, out);
                }
                Some(Link::Detaching { .. } | Link::Detached) => {}
                None => return Err(unattached(handle)),
            },
        }
        // The window may have grown for those that wait.
        self.serve(now, context, out);
        Ok(())
    }

    /// Tells the client how a link stands.
    pub(super) fn answer_flow(&self, handle: u32, context: &mut Context, out: &mut Output) {
        let link = match self.links.get(&handle) {
            Some(Link::Incoming(link)) if link.answer.is_none() => {
                LinkFlow { handle, delivery_count: link.delivery_count, link_credit: link.credit, drain: false }
            }
            Some(Link::Outgoing(link)) if link.answer.is_none() => LinkFlow {
                handle,
                delivery_count: link.sent as u32,
                link_credit: u32::try_from(link.limit.saturating_sub(link.sent)).unwrap_or(u32::MAX),
                drain: link.drain,
            },
            _ => return,
        };
        self.write_flow(Some(link), context, out);
    }

    pub(super) fn write_flow(&self, link: Option<LinkFlow>, context: &mut Context, out: &mut Output) {
        let reply = FlowReply {
            next_incoming_id: self.incoming.next_id,
            incoming_window: self.incoming.frames,
            next_outgoing_id: self.next_outgoing_id,
            link,
        };
        write_flow(context.buf(out), self.number, &reply);
    }

    /// Gives a publisher its credit back.
    pub(super) fn grant(&mut self, handle: u32, context: &mut Context, out: &mut Output) {
        if let Some(Link::Incoming(link)) = self.links.get_mut(&handle)
            && link.replenish(context.config.link_credit)
        {
            self.answer_flow(handle, context, out);
        }
    }
}
