//! SUBSCRIBE and UNSUBSCRIBE, and what a resumed session finds.

use std::sync::Arc;

use evergate_model::{
    Action, Attach, AttachError, Attached, Binding, ConsumerId, Filter, Lifetime, Output, QueueSpec, Retained, Token,
};

use super::outbound::{Consumer, SharedSource};
use super::replies::Reply;
use super::subscription::{Options, Target};
use super::{MqttSession, OWN};
use crate::codec::{Qos, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, Unsubscribe, id};

impl MqttSession {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe, out: &mut Output) {
        let shares = |filter: &SubscribeFilter| filter.no_local && filter.filter.starts_with("$share/");
        if subscribe.filters.iter().any(shares) {
            let what = "no local on a shared subscription";
            return self.fail(ReasonCode::PROTOCOL_ERROR, what, out); // [MQTT-3.8.3-4]
        }
        let subscription_id = subscribe.properties.number(id::SUBSCRIPTION_ID).unwrap_or(0);
        let slots: Vec<Token> = subscribe.filters.iter().map(|_| self.token()).collect();
        let granted = |filter: &SubscribeFilter| ReasonCode(filter.qos as u8);
        let codes = subscribe.filters.iter().map(granted).collect();
        let reply = Reply::Suback { packet_id: subscribe.packet_id, codes };
        self.replies.push(slots[0], slots.len(), reply); // the codec lets no empty SUBSCRIBE pass
        for (at, (filter, slot)) in subscribe.filters.into_iter().zip(slots).enumerate() {
            let done = if at < self.config.max_filters_per_packet {
                self.subscribe_one(&filter, subscription_id, slot, out)
            } else {
                Err(ReasonCode::QUOTA_EXCEEDED)
            };
            if let Err(reason) = done {
                self.replies.answer(slot, Some(reason), None);
            }
        }
    }

    fn subscribe_one(
        &mut self,
        filter: &SubscribeFilter,
        subscription_id: u32,
        slot: Token,
        out: &mut Output,
    ) -> Result<(), ReasonCode> {
        let target = Target::parse(&filter.filter, self.config.max_topic_levels)?;
        let options = Options::new(filter, subscription_id);
        let known = match &target {
            Target::Topics(filter) => self.subscriptions.contains(filter),
            Target::Shared(_) | Target::Queue(_) => self.source_named(&filter.filter).is_some(),
        };
        let count = self.subscriptions.len() + self.consumers.len() - 1; // without the session's own
        if !known && count >= self.config.max_subscriptions {
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        match target {
            Target::Topics(topics) => {
                self.subscriptions.insert(topics.clone(), options); // [MQTT-3.8.4-3]
                let retained = match options.retain_handling {
                    RetainHandling::Send => Retained::Send,
                    RetainHandling::SendIfNew => Retained::SendIfNew,
                    RetainHandling::DoNotSend => Retained::Skip,
                };
                let binding = self.binding(topics, options);
                out.actions.push(Action::Bind { consumer: OWN, binding, retained, token: slot });
            }
            Target::Shared(_) | Target::Queue(_) => {
                self.subscribe_source(&filter.filter, target, options, slot, out);
            }
        }
        Ok(())
    }

    fn binding(&self, filter: Filter, options: Options) -> Binding {
        let no_local = options.no_local.then(|| Arc::clone(&self.identity.client_id));
        let durable = options.qos != Qos::AtMostOnce;
        Binding { no_local, options: options.encode(), ..Binding::new(filter, durable) }
    }

    fn source_named(&self, text: &str) -> Option<ConsumerId> {
        let is_it = |consumer: &Consumer| consumer.shared.as_ref().is_some_and(|source| &*source.text == text);
        self.consumers.iter().find(|(_, consumer)| is_it(consumer)).map(|(id, _)| *id)
    }

    /// `$queue/` and `$share/`: a consumer of its own.
    fn subscribe_source(&mut self, text: &str, target: Target, mut options: Options, slot: Token, out: &mut Output) {
        // Exactly once cannot be promised to one of several consumers: QoS 1 is granted. [MQTT-3.9.3-1]
        options.qos = options.qos.min(Qos::AtLeastOnce);
        self.replies.foresee(slot, ReasonCode(options.qos as u8));
        let known = self.source_named(text).and_then(|id| self.consumers.get_mut(&id)?.shared.as_mut());
        if let Some(source) = known {
            source.options = options;
            if let Some(earlier) = source.slot.replace(slot) {
                // Two SUBSCRIBEs wait for the same Attached: it will answer the second.
                self.replies.answer(earlier, None, None);
            } else {
                source.slot = None;
                self.remember_source(text, options, slot, out);
            }
            return;
        }
        self.attach_source(text, target, options, Some(slot), out);
    }

    fn attach_source(&mut self, text: &str, target: Target, options: Options, slot: Option<Token>, out: &mut Output) {
        let consumer = ConsumerId(self.next_consumer);
        self.next_consumer += 1;
        let (queue, bindings) = match &target {
            Target::Shared(filter) => {
                let durable = self.identity.is_persistent() && options.qos != Qos::AtMostOnce;
                let lifetime = if durable { self.identity.lifetime() } else { Lifetime::Attached };
                let binding = Binding::new(filter.clone(), durable);
                (QueueSpec { name: text.into(), durable, lifetime }, vec![binding])
            }
            Target::Queue(name) => (QueueSpec::named(Arc::clone(name)), Vec::new()),
            Target::Topics(_) => return, // these go through the session's own queue
        };
        let source = SharedSource { text: text.into(), target, options, slot };
        self.consumers.insert(consumer, Consumer::new(Some(source)));
        out.actions.push(Action::Attach(Attach { bindings, ..Attach::new(consumer, queue) }));
    }

    pub(super) fn consumer_attached(
        &mut self,
        id: ConsumerId,
        result: Result<Attached, AttachError>,
        out: &mut Output,
    ) {
        let Some(source) = self.consumers.get_mut(&id).and_then(|consumer| consumer.shared.as_mut()) else { return };
        let (text, options, slot) = (Arc::clone(&source.text), source.options, source.slot.take());
        match result {
            Ok(_) => {
                self.grant(id, out);
                if let Some(slot) = slot {
                    self.remember_source(&text, options, slot, out);
                }
            }
            Err(error) => {
                self.forget_consumer(id);
                let reason = match error {
                    AttachError::Denied => ReasonCode::NOT_AUTHORIZED,
                    AttachError::Limit(_) => ReasonCode::QUOTA_EXCEEDED,
                    AttachError::InUse | AttachError::NotFound | AttachError::Unavailable => {
                        ReasonCode::IMPLEMENTATION_SPECIFIC
                    }
                };
                if let Some(slot) = slot {
                    self.replies.answer(slot, Some(reason), None);
                }
            }
        }
    }

    /// A persistent session notes the subscription as a binding of its own queue, to a topic that nobody
    /// can publish to, and answers once that is stored.
    fn remember_source(&mut self, text: &str, options: Options, slot: Token, out: &mut Output) {
        match Filter::new(text) {
            Ok(filter) if self.identity.is_persistent() => {
                let binding = self.binding(filter, options);
                out.actions.push(Action::Bind { consumer: OWN, binding, retained: Retained::Skip, token: slot });
            }
            _ => self.replies.answer(slot, None, None),
        }
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe, out: &mut Output) {
        let slots: Vec<Token> = unsubscribe.filters.iter().map(|_| self.token()).collect();
        let codes = vec![ReasonCode::SUCCESS; slots.len()];
        let reply = Reply::Unsuback { packet_id: unsubscribe.packet_id, codes };
        self.replies.push(slots[0], slots.len(), reply); // the codec lets no empty UNSUBSCRIBE pass
        for (at, (text, slot)) in unsubscribe.filters.iter().zip(slots).enumerate() {
            let done = if at < self.config.max_filters_per_packet {
                self.unsubscribe_one(text, slot, out)
            } else {
                Err(ReasonCode::QUOTA_EXCEEDED)
            };
            if let Err(reason) = done {
                self.replies.answer(slot, Some(reason), None);
            }
        }
    }

    fn unsubscribe_one(&mut self, text: &str, slot: Token, out: &mut Output) -> Result<(), ReasonCode> {
        match Target::parse(text, self.config.max_topic_levels)? {
            Target::Topics(filter) => {
                self.subscriptions.remove(&filter);
                out.actions.push(Action::Unbind { consumer: OWN, filter, token: slot });
                Ok(())
            }
            Target::Shared(_) | Target::Queue(_) => self.unsubscribe_source(text, slot, out),
        }
    }

    fn unsubscribe_source(&mut self, text: &str, slot: Token, out: &mut Output) -> Result<(), ReasonCode> {
        let id = self.source_named(text).ok_or(ReasonCode::NO_SUBSCRIPTION_EXISTED)?;
        let source = self.forget_consumer(id).and_then(|consumer| consumer.shared);
        let source = source.ok_or(ReasonCode::NO_SUBSCRIPTION_EXISTED)?;
        if let Some(subscribing) = source.slot {
            self.replies.answer(subscribing, None, None);
        }
        // The group's queue goes with its last member, once somebody left it for good.
        let lifetime = matches!(source.target, Target::Shared(_)).then_some(Lifetime::Attached);
        out.actions.push(Action::Detach { consumer: id, delete: false, lifetime });
        match Filter::new(text) {
            Ok(filter) if self.identity.is_persistent() => {
                self.detaching.insert(id, None);
                out.actions.push(Action::Unbind { consumer: OWN, filter, token: slot });
            }
            _ => {
                self.detaching.insert(id, Some(slot));
            }
        }
        Ok(())
    }

    /// The subscriptions of a session that is resumed.
    pub(super) fn restore_subscriptions(&mut self, bindings: Vec<Binding>, out: &mut Output) {
        for Binding { filter, options, .. } in bindings {
            let Some(options) = Options::decode(&options) else { continue };
            match Target::parse(filter.as_str(), usize::MAX) {
                Ok(Target::Topics(filter)) => self.subscriptions.insert(filter, options),
                Ok(target) => self.attach_source(filter.as_str(), target, options, None, out),
                Err(_) => {}
            }
        }
    }
}
