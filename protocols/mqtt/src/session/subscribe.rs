//! SUBSCRIBE and UNSUBSCRIBE, and what a resumed session finds.

use std::sync::Arc;

use evergate_model::{
    Action, Attach, AttachError, Attached, Binding, Close, ConsumerId, Filter, Lifetime, Output, QueueSpec, Retained,
    SHARED_PREFIX, Selector, Token, note, noted,
};

use super::consuming::Wishes;
use super::outbound::{Consumer, SharedSource};
use super::replies::Reply;
use super::subscription::{Options, Refused, Target};
use super::{MqttSession, OWN};
use crate::codec::{
    Packet, Properties, PropertyValue, Qos, ReasonCode, RetainHandling, Suback, Subscribe, SubscribeFilter,
    Unsubscribe, Version, id,
};
use crate::format::QUEUE_PREFIX;

impl MqttSession {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe, out: &mut Output) {
        let shares = |filter: &SubscribeFilter| filter.no_local && filter.filter.starts_with(SHARED_PREFIX);
        if subscribe.filters.iter().any(shares) {
            let what = "no local on a shared subscription";
            return self.fail(ReasonCode::PROTOCOL_ERROR, what, out); // [MQTT-3.8.3-4]
        }
        let subscription_id = subscribe.properties.number(id::SUBSCRIPTION_ID).unwrap_or(0);
        let wishes = Wishes::read(&subscribe.properties);
        if let Ok(wishes) = &wishes
            && subscribe.filters.iter().any(|filter| self.asks_otherwise(filter, wishes))
        {
            self.keep_started(out);
        }
        let slots: Vec<Token> = subscribe.filters.iter().map(|_| self.token()).collect();
        let granted = |filter: &SubscribeFilter| ReasonCode(filter.qos as u8);
        let codes = subscribe.filters.iter().map(granted).collect();
        let reply = Reply::Suback { packet_id: subscribe.packet_id, codes, text: None };
        self.replies.push(slots[0], slots.len(), reply); // the codec lets no empty SUBSCRIBE pass
        for (at, (filter, slot)) in subscribe.filters.into_iter().zip(slots).enumerate() {
            let done = match &wishes {
                _ if at >= self.config.max_filters_per_packet => Err(ReasonCode::QUOTA_EXCEEDED.into()),
                Ok(wishes) => self.subscribe_one(&filter, subscription_id, wishes, slot, out),
                Err(text) => Err(Refused::because(text.clone())),
            };
            if let Err(Refused { reason, text }) = done {
                self.replies.answer(slot, Some(reason), text);
            }
        }
    }

    /// Whether it changes what a subscription makes of deliveries.
    fn asks_otherwise(&self, filter: &SubscribeFilter, wishes: &Wishes) -> bool {
        match Target::parse(&filter.filter, self.config.max_topic_levels) {
            Ok(Target::Topics(topics)) => {
                self.subscriptions.asks_otherwise(&topics, filter.qos, wishes.selector.as_ref())
            }
            Ok(Target::Shared(..) | Target::Queue(_)) | Err(_) => false,
        }
    }

    fn subscribe_one(
        &mut self,
        filter: &SubscribeFilter,
        subscription_id: u32,
        wishes: &Wishes,
        slot: Token,
        out: &mut Output,
    ) -> Result<(), Refused> {
        let target = Target::parse(&filter.filter, self.config.max_topic_levels)?;
        if (wishes.consuming.browse || wishes.consuming.start.is_some()) && !matches!(target, Target::Queue(_)) {
            return Err(Refused::because(format!("browse and x-stream-offset are for {QUEUE_PREFIX}… only")));
        }
        let options = Options::new(filter, subscription_id, wishes.consuming);
        let known = match &target {
            Target::Topics(filter) => self.subscriptions.contains(filter),
            Target::Shared(..) | Target::Queue(_) => self.source_named(&filter.filter).is_some(),
        };
        let count = self.subscriptions.len() + self.sources.len();
        if !known && count >= self.config.max_subscriptions {
            return Err(ReasonCode::QUOTA_EXCEEDED.into());
        }
        match target {
            Target::Topics(topics) => {
                // [MQTT-3.8.4-3]
                self.subscriptions.insert(topics.clone(), options, wishes.selector.clone());
                let retained = match options.retain_handling {
                    RetainHandling::Send => Retained::Send,
                    RetainHandling::SendIfNew => Retained::SendIfNew,
                    RetainHandling::DoNotSend => Retained::Skip,
                };
                let binding = self.binding(topics, options, wishes.selector.clone());
                out.actions.push(Action::Bind { consumer: OWN, binding, retained, token: slot });
            }
            Target::Shared(..) | Target::Queue(_) => {
                let selector = wishes.selector.clone();
                let text = filter.filter.as_str().into();
                self.subscribe_source(SharedSource { text, target, options, selector, slot: Some(slot) }, out);
            }
        }
        Ok(())
    }

    fn binding(&self, filter: Filter, options: Options, selector: Option<Selector>) -> Binding {
        let no_local = options.no_local.then(|| Arc::clone(&self.identity.client_id));
        let durable = options.qos != Qos::AtMostOnce;
        Binding { no_local, selector, options: options.encode(), ..Binding::new(filter, durable) }
    }

    fn source_named(&self, text: &str) -> Option<ConsumerId> {
        self.sources.get(text).copied()
    }

    /// `$queue/` and `$share/`: a consumer of its own.
    fn subscribe_source(&mut self, mut wanted: SharedSource, out: &mut Output) {
        let Some(slot) = wanted.slot else { return };
        // Exactly once cannot be promised to one of several consumers: QoS 1 is granted. [MQTT-3.9.3-1]
        wanted.options.qos = wanted.options.qos.min(Qos::AtLeastOnce);
        self.replies.foresee(slot, ReasonCode(wanted.options.qos as u8));
        let Some(id) = self.source_named(&wanted.text) else {
            return self.attach_source(wanted, out);
        };
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let Some(source) = &mut consumer.shared else { return };
        let earlier = source.slot;
        if let Some(earlier) = earlier {
            // Two SUBSCRIBEs wait for the same Attached: it will answer the second.
            self.replies.answer(earlier, None, None);
        }
        if source.selector != wanted.selector || source.options.consuming != wanted.options.consuming {
            // Another way to consume is another consumer. [MQTT-3.8.4-3]
            self.forget_consumer(id);
            self.detaching.insert(id, None);
            out.actions.push(Action::Detach { consumer: id, delete: false, lifetime: None });
            return self.attach_source(wanted, out);
        }
        source.slot = earlier.map(|_| slot);
        consumer.set_options(wanted.options);
        if earlier.is_none() {
            self.remember_source(&wanted, slot, out);
        }
    }

    fn attach_source(&mut self, source: SharedSource, out: &mut Output) {
        let consumer = ConsumerId(self.next_consumer);
        self.next_consumer += 1;
        let SharedSource { target, options, selector, .. } = &source;
        let wishes = Wishes { selector: selector.clone(), consuming: options.consuming };
        let attach = match target {
            Target::Shared(name, filter) => {
                let durable = self.identity.is_persistent() && options.qos != Qos::AtMostOnce;
                let lifetime = if durable { self.identity.lifetime() } else { Lifetime::Attached };
                let binding = Binding { selector: wishes.selector, ..Binding::new(filter.clone(), durable) };
                let queue = QueueSpec { name: Arc::clone(name), durable, lifetime };
                let priority = wishes.consuming.priority;
                Attach { bindings: vec![binding], priority, ..Attach::new(consumer, queue) }
            }
            Target::Queue(name) => {
                let mut attach = Attach::new(consumer, QueueSpec::named(Arc::clone(name)));
                wishes.apply(&mut attach);
                attach
            }
            Target::Topics(_) => return, // these go through the session's own queue
        };
        self.sources.insert(Arc::clone(&source.text), consumer);
        self.consumers.insert(consumer, Box::new(Consumer::of(source)));
        out.actions.push(Action::Attach(attach));
    }

    pub(super) fn consumer_attached(
        &mut self,
        id: ConsumerId,
        result: Result<Attached, AttachError>,
        out: &mut Output,
    ) {
        let Some(source) = self.consumers.get_mut(&id).and_then(|consumer| consumer.shared.as_mut()) else { return };
        let slot = source.slot.take();
        match result {
            Ok(_) => {
                let source = source.clone();
                self.grant(id, out);
                if let Some(slot) = slot {
                    self.remember_source(&source, slot, out);
                }
            }
            Err(error) => {
                self.forget_consumer(id);
                let reason = match &error {
                    AttachError::Denied => ReasonCode::NOT_AUTHORIZED,
                    AttachError::Limit(_) => ReasonCode::QUOTA_EXCEEDED,
                    AttachError::InUse | AttachError::NotFound | AttachError::Unavailable => {
                        ReasonCode::IMPLEMENTATION_SPECIFIC
                    }
                };
                if let Some(slot) = slot {
                    self.replies.answer(slot, Some(reason), Some(error.to_string()));
                }
            }
        }
    }

    /// A persistent session notes the subscription as a binding of its own queue, to a topic that nobody
    /// can publish to, and answers once that is stored.
    fn remember_source(&mut self, source: &SharedSource, slot: Token, out: &mut Output) {
        match note(&source.text) {
            Some(filter) if self.identity.is_persistent() => {
                let binding = self.binding(filter, source.options, source.selector.clone());
                out.actions.push(Action::Bind { consumer: OWN, binding, retained: Retained::Skip, token: slot });
            }
            _ => self.replies.answer(slot, None, None),
        }
    }

    pub(super) fn suback(
        &mut self,
        packet_id: u16,
        mut codes: Vec<ReasonCode>,
        text: Option<String>,
        out: &mut Output,
    ) {
        let refused = codes.iter().any(|code| code.is_error());
        if refused && self.version == Version::V3 {
            // 3.1 knows no failure here; it would take the code for a granted QoS.
            let what = text.unwrap_or_else(|| "a subscription was refused".into());
            return self.close(Close::ProtocolError(what), out);
        }
        if !self.is_v5() {
            // 3.1.1 knows one failure. [MQTT-3.9.3-2]
            codes.iter_mut().filter(|code| code.is_error()).for_each(|code| code.0 = 0x80);
        }
        let mut suback = Suback { packet_id, codes, properties: Properties::default() };
        if let Some(text) = text.filter(|_| self.client.wants_reasons) {
            suback.properties.add(id::REASON_STRING, PropertyValue::Text(text));
            if self.try_send(&Packet::Suback(suback.clone()), out) {
                return;
            }
            suback.properties = Properties::default();
        }
        self.send(&Packet::Suback(suback), out);
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe, out: &mut Output) {
        let ends = |text: &String| match Target::parse(text, self.config.max_topic_levels) {
            Ok(Target::Topics(filter)) => self.subscriptions.contains(&filter),
            Ok(Target::Shared(..) | Target::Queue(_)) | Err(_) => false,
        };
        if unsubscribe.filters.iter().any(ends) {
            self.keep_started(out);
        }
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
        match Target::parse(text, self.config.max_topic_levels).map_err(|refused| refused.reason)? {
            Target::Topics(filter) => {
                self.subscriptions.remove(&filter);
                out.actions.push(Action::Unbind { consumer: OWN, filter, token: slot });
                Ok(())
            }
            Target::Shared(..) | Target::Queue(_) => self.unsubscribe_source(text, slot, out),
        }
    }

    fn unsubscribe_source(&mut self, text: &str, slot: Token, out: &mut Output) -> Result<(), ReasonCode> {
        let id = self.source_named(text).ok_or(ReasonCode::NO_SUBSCRIPTION_EXISTED)?;
        let source = self.consumers.get_mut(&id).and_then(|consumer| consumer.shared.as_mut());
        let source = source.ok_or(ReasonCode::NO_SUBSCRIPTION_EXISTED)?;
        let subscribing = source.slot.take();
        subscribing.into_iter().for_each(|subscribing| self.replies.answer(subscribing, None, None));
        // The group's queue goes when no session notes it any more.
        let has_detached = self.retire_consumer(id, out);
        match note(text) {
            Some(filter) if self.identity.is_persistent() => {
                out.actions.push(Action::Unbind { consumer: OWN, filter, token: slot });
            }
            _ if has_detached => {
                self.detaching.insert(id, Some(slot));
            }
            _ => self.replies.answer(slot, None, None),
        }
        Ok(())
    }

    /// The subscriptions of a session that is resumed.
    pub(super) fn restore_subscriptions(&mut self, bindings: Vec<Binding>, out: &mut Output) {
        for Binding { filter, options, selector, .. } in bindings {
            let Some(options) = Options::decode(&options) else { continue };
            if filter.is_pattern() {
                self.subscriptions.insert(filter, options, selector);
                continue;
            }
            let text = noted(&filter);
            match Target::parse(&text, usize::MAX) {
                Ok(Target::Topics(filter)) => self.subscriptions.insert(filter, options, selector),
                Ok(target) => {
                    let text = text.into();
                    self.attach_source(SharedSource { text, target, options, selector, slot: None }, out);
                }
                Err(_) => {}
            }
        }
    }
}
