//! What the client publishes: QoS 0, 1 and 2, aliases, the receive maximum.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{
    Action, Address, Close, Encoding, Filter, IdMap, Mark, Message, Meta, Output, Publish, PublishError, SHARED_PREFIX,
    SYSTEM_PREFIX, TEMPORARY_PREFIX, Time, Token,
};

use super::replies::Reply;
use super::resend::Taken;
use super::{MqttSession, OWN};
use crate::codec::{self, Ack, AckKind, MessageProperties, Packet, Properties, PropertyValue, Qos, ReasonCode, id};
use crate::format::{self, Flags, QUEUE_PREFIX};

/// The state of what comes in.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// QoS 2 packet ids that were taken and not released, and whether they count against the receive
    /// maximum of this connection (those of an earlier one do not).
    taken: HashMap<u16, bool>,
    /// How much of the receive maximum is in use.
    in_use: u32,
    /// Publishes without an answer of the gateway, whatever their QoS.
    pub(super) unanswered: u32,
    /// Those among them that go to temporary queues.
    replies: HashSet<Token>,
    /// The packet ids of QoS 2 publishes without an answer.
    pending: IdMap<Token, u16>,
    aliases: HashMap<u16, Arc<str>>,
    /// QoS 1 publishes of earlier connections.
    pub(super) resends: Taken,
}

/// Where what is published to `topic` goes. All that is published by an alias shares its name.
pub(super) fn address(topic: &Arc<str>) -> Address {
    match topic.strip_prefix(QUEUE_PREFIX) {
        Some(name) => Address::queue(name),
        None => Address::topic(topic.clone()),
    }
}

/// The message of a PUBLISH or a will.
pub(super) fn message(
    now: Time,
    topic: &Arc<str>,
    qos: Qos,
    retain: bool,
    properties: MessageProperties,
    payload: Bytes,
) -> Message {
    let mut meta = Meta::new(address(topic));
    meta.durable = qos != Qos::AtMostOnce;
    format::read_wishes(now, &properties.head, &mut meta);
    meta.expires_at = properties.expiry.map(|seconds| Time(now.0.saturating_add(u64::from(seconds) * 1000)));
    Message::new(meta, Encoding::Mqtt5, Flags { qos, retain }.mark(properties.head), payload)
}

impl MqttSession {
    /// Whether clients may publish to `topic` at all. The codec has refused wildcards.
    pub(super) fn check_topic(&self, topic: &str) -> Result<(), &'static str> {
        if topic.split('/').count() > self.config.max_topic_levels {
            return Err("the topic has too many levels");
        }
        let refused = [SHARED_PREFIX, SYSTEM_PREFIX, Filter::GLOB_PREFIX, Filter::REGEX_PREFIX];
        if refused.iter().any(|prefix| topic.starts_with(prefix)) {
            return Err("clients cannot publish to this topic");
        }
        if topic == QUEUE_PREFIX {
            return Err("the queue has no name");
        }
        Ok(())
    }

    pub(super) fn publish(&mut self, now: Time, mut publish: codec::Publish, out: &mut Output) {
        if !publish.properties.subscription_ids.is_empty() {
            let what = "a subscription identifier in a PUBLISH of a client";
            return self.fail(ReasonCode::PROTOCOL_ERROR, what, out); // [MQTT-3.3.4-6]
        }
        if let Err((reason, what)) = self.resolve_alias(&mut publish) {
            return self.fail(reason, what, out);
        }
        if let Err(what) = self.check_topic(&publish.topic) {
            return self.fail(ReasonCode::TOPIC_NAME_INVALID, what, out);
        }
        let packet_id = publish.packet_id;
        if publish.qos == Qos::ExactlyOnce && self.inbound.taken.contains_key(&packet_id) {
            // Sent again: it was taken already. [MQTT-4.3.3-10]
            let at = self.token();
            return self.replies.push_ready(at, ack(AckKind::Pubrec, packet_id, ReasonCode::SUCCESS));
        }
        if publish.qos != Qos::AtMostOnce {
            // [MQTT-3.3.4-7]; 3.1.1 clients know no such limit, the driver's back-pressure bounds them.
            if self.is_v5() && self.inbound.in_use >= u32::from(self.config.receive_maximum.max(1)) {
                let what = "more publishes than the receive maximum are unacknowledged";
                return self.fail(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, what, out);
            }
            self.inbound.in_use += 1;
        }
        let token = self.token();
        let mark = match publish.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => {
                let puback = ack(AckKind::Puback, packet_id, ReasonCode::SUCCESS);
                let (is_resend, fingerprint) = self.recognise(&publish);
                if is_resend {
                    return self.replies.push_ready(token, puback);
                }
                self.replies.push(token, 1, puback);
                fingerprint.map(|fingerprint| (OWN, Mark::Fingerprint(fingerprint)))
            }
            Qos::ExactlyOnce => {
                self.replies.push(token, 1, ack(AckKind::Pubrec, packet_id, ReasonCode::SUCCESS));
                self.inbound.taken.insert(packet_id, true);
                self.inbound.pending.insert(token, packet_id);
                Some((OWN, Mark::Number(u32::from(packet_id))))
            }
        };
        let codec::Publish { qos, retain, topic, properties, payload, .. } = publish;
        let message = message(now, &topic, qos, retain, properties, payload);
        if message.meta.address.name.starts_with(TEMPORARY_PREFIX) {
            self.inbound.replies.insert(token);
        }
        self.inbound.unanswered += 1;
        out.actions.push(Action::Publish(Publish { token, message, retain, mark, transaction: None, large: None }));
    }

    fn resolve_alias(&mut self, publish: &mut codec::Publish) -> Result<(), (ReasonCode, &'static str)> {
        let Some(alias) = publish.properties.alias else { return Ok(()) };
        if alias > self.config.topic_alias_maximum {
            return Err((ReasonCode::TOPIC_ALIAS_INVALID, "a topic alias above the maximum")); // [MQTT-3.3.2-9]
        }
        if publish.topic.is_empty() {
            let Some(topic) = self.inbound.aliases.get(&alias) else {
                return Err((ReasonCode::PROTOCOL_ERROR, "a topic alias that was not set"));
            };
            publish.topic = Arc::clone(topic);
        } else {
            self.inbound.aliases.insert(alias, Arc::clone(&publish.topic));
        }
        Ok(())
    }

    pub(super) fn published(&mut self, token: Token, result: Result<u32, PublishError>, out: &mut Output) {
        self.inbound.unanswered = self.inbound.unanswered.saturating_sub(1);
        let packet_id = self.inbound.pending.remove(&token);
        let was_reply = self.inbound.replies.remove(&token);
        // Who asked is gone, and its queue with it: as with a topic that nobody subscribes to. 3.1.1 has no other
        // word for it than closing the connection, and the client would send the same again.
        let result = match result {
            Err(PublishError::NotFound) if was_reply => Ok(0),
            other => other,
        };
        match result {
            Ok(0) if self.is_v5() => self.replies.answer(token, Some(ReasonCode::NO_MATCHING_SUBSCRIBERS), None),
            Ok(_) => self.replies.answer(token, None, None),
            Err(error) => {
                if let Some(packet_id) = packet_id {
                    self.release(packet_id); // nothing was stored, the mark neither
                }
                let reason = match &error {
                    PublishError::Reserved => ReasonCode::NOT_AUTHORIZED,
                    // PUBACK and PUBREC have no «packet too large».
                    PublishError::TooLarge { .. } | PublishError::Limit(_) | PublishError::Full { .. } => {
                        ReasonCode::QUOTA_EXCEEDED
                    }
                    PublishError::NotFound => ReasonCode::TOPIC_NAME_INVALID,
                    PublishError::Unavailable | PublishError::Transaction(_) => ReasonCode::IMPLEMENTATION_SPECIFIC,
                };
                self.replies.answer(token, Some(reason), Some(error.to_string()));
            }
        }
        self.flush(out);
    }

    /// Forgets a QoS 2 packet id; false if it was not taken.
    fn release(&mut self, packet_id: u16) -> bool {
        let Some(counts) = self.inbound.taken.remove(&packet_id) else { return false };
        self.inbound.in_use -= u32::from(counts);
        true
    }

    pub(super) fn pubrel(&mut self, packet_id: u16, out: &mut Output) {
        let token = self.token();
        if self.release(packet_id) {
            self.replies.push(token, 1, ack(AckKind::Pubcomp, packet_id, ReasonCode::SUCCESS)); // [MQTT-4.3.3-11]
            out.actions.push(Action::Mark {
                consumer: OWN,
                number: u32::from(packet_id),
                set: false,
                token: Some(token),
            });
        } else {
            self.replies.push_ready(token, ack(AckKind::Pubcomp, packet_id, ReasonCode::PACKET_ID_NOT_FOUND));
        }
    }

    /// After a reconnect: ids that were taken on an earlier connection.
    pub(super) fn restore_taken(&mut self, packet_id: u16) {
        self.inbound.taken.insert(packet_id, false);
    }

    /// Sends an acknowledgement whose turn has come.
    pub(super) fn ack_leaves(
        &mut self,
        kind: AckKind,
        packet_id: u16,
        reason: ReasonCode,
        text: Option<&str>,
        out: &mut Output,
    ) {
        match kind {
            AckKind::Puback => self.inbound.in_use = self.inbound.in_use.saturating_sub(1),
            AckKind::Pubrel => self.released(packet_id),
            AckKind::Pubrec | AckKind::Pubcomp => {}
        }
        if matches!(kind, AckKind::Puback | AckKind::Pubrec) && reason.is_error() && !self.is_v5() {
            // 3.1.1 cannot say no: an acknowledgement would be a lie. [MQTT-3.3.5-2]
            let what = text.unwrap_or("the message was not taken").to_owned();
            return self.close(Close::Gateway(what), out);
        }
        let mut properties = Properties::default();
        if let Some(text) = text.filter(|_| self.client.wants_reasons) {
            properties.add(id::REASON_STRING, PropertyValue::Text(text.to_owned())); // [MQTT-3.1.2-29]
        }
        if properties.0.is_empty() || !self.try_send(&Packet::Ack(Ack { kind, packet_id, reason, properties }), out) {
            self.send(&Packet::Ack(Ack { kind, packet_id, reason, properties: Properties::default() }), out);
        }
    }
}

fn ack(kind: AckKind, packet_id: u16, reason: ReasonCode) -> Reply {
    Reply::Ack { kind, packet_id, reason, text: None }
}
