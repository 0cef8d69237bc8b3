//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use evergate_model::{Action, Attach, AttachAccess, AttachError, Attached, ConsumerId, Output};

use super::destination::Destination;
use super::fault::Fault;
use super::source::{STREAM_OFFSET, durable_name};
use super::subscription::{AckMode, Browsing, Phase, Subscription, Temporary};
use super::wishes::first_of;
use super::{StompSession, required};
use crate::codec::{Frame, Version};

impl StompSession {
    pub(super) fn on_subscribe(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Fault> {
        let headers = &frame.headers;
        let text = required(frame, "destination")?;
        let key: Arc<str> = match (headers.get("id"), self.version) {
            (Some(id), _) => id.into(),
            (None, Version::V1_0) => text.into(),
            (None, Version::V1_1 | Version::V1_2) => required(frame, "id")?.into(),
        };
        let mode = AckMode::parse(headers.get("ack")).ok_or_else(|| {
            Fault::refused(format!(
                "ack must be auto, client or client-individual: {}",
                headers.get("ack").unwrap_or_default()
            ))
        })?;
        let prefetch = match first_of(frame, &["prefetch-count", "activemq.prefetchSize"]) {
            None => self.config.prefetch_default,
            Some((name, text)) => text
                .parse::<u64>()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| Fault::refused(format!("{name} must be a number above 0: {text}")))?,
        };
        let prefetch = prefetch.clamp(1, self.config.prefetch_max);
        let destination = Destination::parse(text).map_err(Fault::refused)?;
        if let Destination::TempQueue(name) = destination
            && self.temp_queues.contains_key(name)
        {
            if self.adopt_replies(frame, &key, mode)? {
                self.flush_receipts(out);
                return Ok(());
            }
            return Err(Fault::refused(format!("there is a subscription to {text} already")));
        }
        self.check_new_subscription(&key)?;
        let mut source = self.source(frame, &destination)?;
        let consumer = self.new_consumer();
        let token = self.pending.add(headers.get("receipt").map(str::to_owned));
        let phase = Phase::Attaching(token);
        let mut subscription = Subscription::new(key.clone(), phase, mode, prefetch);
        subscription.named = headers.get("id").is_some();
        subscription.temporary = match destination {
            Destination::TempQueue(name) => {
                let name: Arc<str> = name.into();
                self.temp_queues.insert(name.clone(), None);
                Some(Temporary::Queue { name, asked_for: true })
            }
            Destination::TempTopic(_) => Some(Temporary::Topic),
            Destination::Queue(_) | Destination::Topic(_) | Destination::Pattern(_) => None,
        };
        source.consumer = consumer;
        source.settled = mode == AckMode::Auto && !source.browse;
        subscription.destination = text.into();
        subscription.browsing = if source.browse { Browsing::Yes } else { Browsing::No };
        subscription.tells_offset = headers.get(STREAM_OFFSET).is_some();
        self.by_key.insert(key, consumer);
        self.subscriptions.insert(consumer, subscription);
        out.actions.push(Action::Attach(source));
        Ok(())
    }

    /// Whether there may be one more, of this name.
    pub(super) fn check_new_subscription(&self, key: &str) -> Result<(), Fault> {
        if self.by_key.contains_key(key) {
            return Err(Fault::refused(format!("there is a subscription {key} already")));
        }
        // Those on their way out count too, so that SUBSCRIBE and UNSUBSCRIBE in turn cannot pile up.
        let max = self.config.subscriptions_max;
        if self.subscriptions.len() >= max {
            return Err(Fault::refused(format!("a connection has at most {max} subscriptions")));
        }
        Ok(())
    }

    pub(super) fn new_consumer(&mut self) -> ConsumerId {
        let consumer = ConsumerId(self.consumers);
        self.consumers = self.consumers.wrapping_add(1); // 4 billion SUBSCRIBEs in one connection
        consumer
    }

    pub(super) fn on_unsubscribe(&mut self, frame: &Frame, out: &mut Output) -> Result<(), Fault> {
        let key = match (frame.headers.get("id"), self.version) {
            (Some(id), _) => id,
            (None, Version::V1_0) => required(frame, "destination")?,
            (None, Version::V1_1 | Version::V1_2) => required(frame, "id")?,
        };
        let durable = durable_name(frame)?;
        let delete = durable.is_some();
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        if let Some(consumer) = self.by_key.remove(key) {
            let token = self.pending.add(receipt);
            if let Some(subscription) = self.subscriptions.get_mut(&consumer) {
                subscription.phase = match subscription.phase {
                    Phase::Attaching(attach) => Phase::AttachingThenDetaching(attach, token),
                    _ => Phase::Detaching(token),
                };
                if let Some(Temporary::Queue { name, .. }) = subscription.temporary.take() {
                    self.temp_queues.remove(&name);
                }
            }
            out.actions.push(Action::Detach { consumer, delete, lifetime: None });
            return Ok(());
        }
        let Some(name) = durable else {
            return Err(Fault::refused(format!("there is no subscription {key}")));
        };
        // A durable subscription that this connection does not consume: attach, without credit, to delete it.
        if self.subscriptions.len() >= self.config.subscriptions_max {
            return Err(Fault::refused("too many subscriptions"));
        }
        let consumer = self.new_consumer();
        let queue = self.durable_queue(name)?;
        let source = Attach { access: AttachAccess::TakeOver, ..Attach::new(consumer, queue) };
        let token = self.pending.add(receipt);
        let subscription = Subscription::new(key.into(), Phase::Removing(token), AckMode::Client, 1);
        self.subscriptions.insert(consumer, subscription);
        out.actions.push(Action::Attach(source));
        Ok(())
    }

    pub(super) fn on_attached(
        &mut self,
        consumer: ConsumerId,
        result: Result<Attached, AttachError>,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let Some(subscription) = self.subscriptions.get_mut(&consumer) else {
            return Ok(());
        };
        let (Phase::Attaching(token) | Phase::AttachingThenDetaching(token, _) | Phase::Removing(token)) =
            subscription.phase
        else {
            return Ok(());
        };
        let attached = match result {
            Ok(attached) => attached,
            Err(reason) => {
                let mut fault = Fault::refused(format!("subscription {}: {reason}", subscription.key));
                fault.receipt = self.pending.take_receipt(token);
                return Err(fault);
            }
        };
        match subscription.phase {
            Phase::AttachingThenDetaching(_, detach) => {
                subscription.phase = Phase::Detaching(detach);
                self.pending.answer(token);
            }
            Phase::Removing(_) => {
                subscription.phase = Phase::Detaching(token);
                out.actions.push(Action::Detach { consumer, delete: true, lifetime: None });
            }
            Phase::Attaching(_) | Phase::Attached | Phase::Detaching(_) => {
                subscription.phase = Phase::Attached;
                if let Some(Temporary::Queue { name, .. }) = &subscription.temporary {
                    self.temp_queues.insert(name.clone(), Some(attached.queue));
                }
                out.actions.extend(subscription.new_credit(consumer).map(Action::Credit));
                self.pending.answer(token);
            }
        }
        Ok(())
    }

    pub(super) fn on_detached(&mut self, consumer: ConsumerId) {
        if let Some(Subscription { phase: Phase::Detaching(token), .. }) = self.subscriptions.remove(&consumer) {
            self.pending.answer(token);
        }
    }

    /// The queue is gone under a subscription, or taken by another.
    pub(super) fn on_lost(&mut self, consumer: ConsumerId, how: &str) -> Result<(), Fault> {
        match self.subscriptions.get(&consumer) {
            Some(subscription) if subscription.phase == Phase::Attached => {
                Err(Fault::refused(format!("subscription {}: {how}", subscription.key)))
            }
            _ => Ok(()), // on its way out anyway
        }
    }
}
