//! The contract with the gateway: bytes, events and time come in here.

use bytes::BytesMut;
use evergate_model::{Action, AttachError, Close, ConsumerId, Event, Outcome, Output, PeerInfo, Session, Time};

use super::handshake::Phase;
use super::stream::FAILED;
use super::{AmqpSession, Slot};
use crate::error::{AmqpError, FORCED, RESOURCE_LIMIT_EXCEEDED};

impl AmqpSession {
    fn started(&mut self, now: Time) {
        if self.handshake_until.is_none() && !matches!(self.phase, Phase::Running | Phase::Closed) {
            self.handshake_until = Some(now.after(self.context.config.handshake_timeout));
        }
    }

    fn note_writes(&mut self, now: Time, out: &Output) {
        if !out.wire.is_empty() {
            self.wrote_at = now;
        }
    }

    fn event(&mut self, now: Time, event: Event, out: &mut Output) {
        match event {
            Event::Authenticated(access) => self.authenticated(now, access, out),
            Event::Published { token, result } => {
                // While publishes are unanswered the driver may not read: that silence is ours.
                self.heard_at = now;
                let Some(publishing) = self.context.publishing.remove(&token) else { return };
                let number = publishing.place.channel;
                if let Some((channel, context)) = self.channel(number)
                    && let Err(fault) = channel.published(&publishing, &result, context, out)
                {
                    self.fault(number, fault, out);
                }
            }
            Event::Attached { consumer, result } => {
                let Some(place) = self.context.consumers.get(&consumer).copied() else {
                    return match result {
                        Ok(_) => self.reader_attached(consumer, out),
                        Err(AttachError::NotFound) => self.reader_lost(now, consumer, Outcome::Unreadable, out),
                        Err(_) => self.reader_lost(now, consumer, FAILED, out),
                    };
                };
                if let Some((channel, context)) = self.channel(place.channel) {
                    channel.attached(now, place, result, context, out);
                } else if result.is_err() {
                    self.context.consumers.remove(&consumer);
                }
            }
            Event::Detached { consumer } => {
                self.context.readers.remove(&consumer);
                let Some(place) = self.context.consumers.remove(&consumer) else { return };
                if let Some((channel, context)) = self.channel(place.channel) {
                    channel.detached(place, context, out);
                }
            }
            Event::Deliver(delivery) => {
                let Some(place) = self.context.consumers.get(&delivery.consumer).copied() else {
                    return self.piece(now, &delivery, out);
                };
                if let Some((channel, context)) = self.channel(place.channel) {
                    channel.deliver(now, place, delivery, context, out);
                }
            }
            Event::Drained { consumer, delivered } => {
                let Some(place) = self.context.consumers.get(&consumer).copied() else { return };
                if let Some((channel, context)) = self.channel(place.channel) {
                    channel.drained(now, place, delivered, context, out);
                }
            }
            Event::Done(token) => {
                if self.rolled_back(token, out) {
                    return;
                }
                let Some(settling) = self.context.settling.remove(&token) else { return };
                if let Some((channel, context)) = self.channel(settling.channel) {
                    channel.settled(&settling, context, out);
                }
            }
            Event::Begun { token, result } => self.begun(token, result, out),
            Event::Committed { token, result } => self.committed(token, result, out),
            // Not asked for here.
            Event::Unbound { .. } => {}
            Event::TakenOver { consumer } => {
                let error = AmqpError::new(crate::error::STOLEN, "the link was attached elsewhere");
                self.lost(now, consumer, &error, out);
            }
            Event::Deleted { consumer } => {
                let error = AmqpError::new(crate::error::RESOURCE_DELETED, "the queue was deleted");
                self.lost(now, consumer, &error, out);
            }
            Event::Overrun { .. } => {
                let what = "the client does not keep up with what its links receive";
                let error = AmqpError::new(crate::error::RESOURCE_LIMIT_EXCEEDED, what);
                self.close(&error, Close::Gateway(what.into()), out);
            }
            Event::ToldToClose { reason } | Event::Stopping { reason } => {
                let error = AmqpError::new(FORCED, reason.to_string());
                self.close(&error, Close::Gateway(reason.to_string()), out);
            }
        }
    }

    fn lost(&mut self, now: Time, consumer: ConsumerId, error: &AmqpError, out: &mut Output) {
        let Some(place) = self.context.consumers.remove(&consumer) else {
            if self.context.readers.contains_key(&consumer) {
                out.actions.push(Action::Detach { consumer, delete: false, lifetime: None });
                self.reader_lost(now, consumer, Outcome::Unreadable, out);
            }
            return;
        };
        if let Some((channel, context)) = self.channel(place.channel) {
            channel.lost(place, error, context, out);
        }
    }

    fn silent_at(&self) -> Option<Time> {
        let timeout = self.context.config.idle_timeout;
        (self.phase == Phase::Running && !timeout.is_zero()).then(|| self.heard_at.after(timeout))
    }

    fn beat_at(&self) -> Option<Time> {
        let millis = self.heartbeat_millis.filter(|_| self.phase == Phase::Running)?;
        Some(Time(self.wrote_at.0.saturating_add(millis)))
    }
}

impl Session for AmqpSession {
    fn received(&mut self, now: Time, input: &mut BytesMut, out: &mut Output) {
        self.started(now);
        if !input.is_empty() {
            self.heard_at = now;
        }
        if self.stash.is_empty() || matches!(self.phase, Phase::Authenticating { .. }) {
            self.consume(now, input, out);
        } else {
            let mut all = std::mem::take(&mut self.stash);
            all.unsplit(input.split());
            self.consume(now, &mut all, out);
            self.stash = all;
        }
        self.note_writes(now, out);
    }

    fn holds_back(&self, consumer: ConsumerId) -> bool {
        let Some(place) = self.context.consumers.get(&consumer) else { return false };
        match self.channels.get(&place.channel) {
            Some(Slot::Live(channel)) => channel.holds_back(*place),
            _ => false,
        }
    }

    fn pieces_pending(&mut self, now: Time, bytes: u64, out: &mut Output) {
        for slot in self.channels.values_mut() {
            if let Slot::Live(channel) = slot {
                channel.pieces_pending(now, bytes, &mut self.context, out);
            }
        }
        self.pieces_bytes = bytes;
        self.heard_at = now;
        self.note_writes(now, out);
    }

    fn holds_senders_back(&self) -> bool {
        true
    }

    fn handle(&mut self, now: Time, event: Event, out: &mut Output) {
        if self.phase == Phase::Closed {
            return;
        }
        self.event(now, event, out);
        self.note_writes(now, out);
    }

    fn timeout(&mut self, now: Time, out: &mut Output) {
        if self.phase == Phase::Closed {
            return;
        }
        self.started(now);
        if self.handshake_until.is_some_and(|until| until <= now) {
            let error = AmqpError::new(RESOURCE_LIMIT_EXCEEDED, "the handshake took too long");
            return self.close(&error, Close::Silent, out);
        }
        if self.silent_at().is_some_and(|at| at <= now) {
            // While something of its own awaits a commit the driver may not read: that silence is ours.
            if self.context.publishing.is_empty() && self.pieces_bytes == 0 {
                let error = AmqpError::new(RESOURCE_LIMIT_EXCEEDED, "nothing heard for longer than idle-time-out");
                return self.close(&error, Close::Silent, out);
            }
            self.heard_at = now;
        }
        if self.stalled_at().is_some_and(|at| at <= now) {
            self.ask(now, out);
        }
        if self.beat_at().is_some_and(|at| at <= now) {
            self.beat(out);
        }
        self.note_writes(now, out);
    }

    fn next_timeout(&self) -> Option<Time> {
        match self.phase {
            Phase::Closed => None,
            Phase::Running => [self.silent_at(), self.beat_at(), self.stalled_at()].into_iter().flatten().min(),
            _ => Some(self.handshake_until.unwrap_or(Time(0))),
        }
    }

    fn peer(&self) -> PeerInfo {
        PeerInfo { protocol: "AMQP 1.0", client_id: self.context.container_id.clone(), user: self.user.clone() }
    }
}
