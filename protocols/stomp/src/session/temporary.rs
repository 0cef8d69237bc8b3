//! Temporary destinations: `/temp-queue/…` and `/temp-topic/…` are names of this connection alone. A queue's real
//! name is the gateway's; a topic's follows from the connection.

use std::sync::Arc;

use evergate_model::{Action, Address, Attach, AttachAccess, Output, QueueSpec, TEMPORARY_PREFIX};

use super::StompSession;
use super::destination::{Destination, TEMP_QUEUE, TEMP_TOPIC};
use super::fault::Fault;
use super::subscription::{AckMode, Phase, Subscription, Temporary};
use crate::codec::Frame;

/// Where a temporary queue really is.
pub(super) enum Place {
    Known(Address),
    /// The gateway has not named it yet: the frame waits.
    Awaited,
}

impl StompSession {
    pub(super) fn temp_queue(&self, name: &str) -> Result<Place, Fault> {
        match self.temp_queues.get(name) {
            Some(Some(real)) => Ok(Place::Known(Address::queue(real.clone()))),
            Some(None) => Ok(Place::Awaited),
            None => Err(Fault::refused(format!("subscribe to {TEMP_QUEUE}{name} first: it is this connection's own"))),
        }
    }

    /// The time keeps it unique across restarts, the connection's number on this node.
    pub(super) fn temp_topic(&self, name: &str) -> Result<Address, Fault> {
        let real = format!("{TEMPORARY_PREFIX}{}-{:x}/{name}", self.conn_id, self.connected_at.0);
        Address::check_topic(&real).map_err(|reason| Fault::refused(reason.to_string()))?;
        Ok(Address::topic(real))
    }

    /// What others must answer to. A temporary queue that nobody consumes yet is consumed from now on, as
    /// RabbitMQ does it: its subscription has the queue's name. `None`: the frame waits.
    pub(super) fn reply_address(&mut self, text: &str, out: &mut Output) -> Result<Option<String>, Fault> {
        if let Some(name) = text.strip_prefix(TEMP_QUEUE) {
            if !self.temp_queues.contains_key(name) {
                self.consume_replies(name, text, out)?;
            }
            return Ok(match self.temp_queue(name)? {
                Place::Known(address) => Some(address.to_string()),
                Place::Awaited => None,
            });
        }
        if let Some(name) = text.strip_prefix(TEMP_TOPIC) {
            return Ok(Some(self.temp_topic(name)?.to_string()));
        }
        let canonical = Address::parse(text).map(|(kind, name)| Address { kind, name: name.into() }.to_string());
        Ok(Some(canonical.unwrap_or_else(|| text.to_owned())))
    }

    fn consume_replies(&mut self, name: &str, text: &str, out: &mut Output) -> Result<(), Fault> {
        Destination::parse(text).map_err(Fault::refused)?;
        self.check_new_subscription(text)?;
        let consumer = self.new_consumer();
        let token = self.pending.add(None);
        let key: Arc<str> = text.into();
        let mut subscription = Subscription::new(key.clone(), Phase::Attaching(token), AckMode::Auto, 1);
        let name: Arc<str> = name.into();
        self.temp_queues.insert(name.clone(), None);
        subscription.temporary = Some(Temporary::Queue { name, asked_for: false });
        subscription.destination = key.clone();
        self.by_key.insert(key, consumer);
        self.subscriptions.insert(consumer, subscription);
        let access = AttachAccess::Exclusive;
        out.actions.push(Action::Attach(Attach {
            access,
            settled: true,
            ..Attach::new(consumer, QueueSpec::temporary())
        }));
        Ok(())
    }

    /// SUBSCRIBE to a temporary queue that a SEND made: from here on it has the client's id. False: there is none.
    pub(super) fn adopt_replies(&mut self, frame: &Frame, key: &Arc<str>, mode: AckMode) -> Result<bool, Fault> {
        let text = frame.headers.get("destination").unwrap_or_default();
        let Some(consumer) = self.by_key.get(text).copied() else {
            return Ok(false);
        };
        let Some(subscription) = self.subscriptions.get_mut(&consumer) else {
            return Ok(false);
        };
        let Some(Temporary::Queue { asked_for: asked_for @ false, .. }) = &mut subscription.temporary else {
            return Ok(false);
        };
        if mode != AckMode::Auto {
            return Err(Fault::refused(format!("{text} is consumed with ack:auto, since a SEND named it in reply-to")));
        }
        *asked_for = true;
        subscription.key = key.clone();
        subscription.named = frame.headers.get("id").is_some();
        self.by_key.remove(text);
        self.by_key.insert(key.clone(), consumer);
        let token = self.pending.add(frame.headers.get("receipt").map(str::to_owned));
        self.pending.answer(token);
        Ok(true)
    }
}
