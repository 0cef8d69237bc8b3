//! Deliveries to the client and its acknowledgements.
//!
//! Packet ids of the session's own queue follow from the message's place in it, so that after a crash
//! the same message has the same id and a QoS 2 receiver knows it again. Other consumers take theirs
//! from the upper half; they go out with QoS 1 at most, since a queue that several clients share cannot
//! promise the same message to the same client twice.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use evergate_model::{
    Action, AddressKind, ConsumerId, Credit, Delivery, Encoding, Message, Outcome, Output, Selector, Seq, Settle, Time,
};

use super::replies::Reply;
use super::subscription::{Options, Target, Wanted};
use super::{MqttSession, OWN};
use crate::codec::{Ack, AckKind, Packet, Properties, PublishHead, Qos, ReasonCode, publish_len, put_publish};
use crate::format::{self, Flags, QUEUE_PREFIX};

/// Own packet ids are 1 to this.
const OWN_IDS: u64 = 32_767;
/// Other consumers' ids begin here.
pub(super) const SHARED_ID_MIN: u16 = 32_768;
/// Marks from here on are packet ids that wait for PUBCOMP; below, QoS 2 ids taken from the client. See `started` for
/// those beyond.
pub(super) const RELEASE_MARK: u32 = 0x1_0000;
/// Deliveries of QoS 0 that may come beyond the client's receive maximum.
const QOS0_HEADROOM: u64 = 16;

/// One source of deliveries. What a delivery needs of it fits into one line of memory.
#[derive(Debug)]
pub(super) struct Consumer {
    /// `None`: the session's own queue.
    pub(super) shared: Option<Box<SharedSource>>,
    /// What the options of `shared` ask for.
    asked: Asked,
    /// Deliveries that are over and done with.
    done: u64,
    /// Deliveries that were allowed in all.
    granted: u64,
    /// Deliveries that wait for a packet id or for the client's receive maximum.
    held: VecDeque<Delivery>,
    /// It was unsubscribed from: it gets nothing more, and detaches when this many deliveries that were sent are
    /// acknowledged.
    leaving: Option<usize>,
}

/// A `$queue/` or `$share/` subscription.
#[derive(Clone, Debug)]
pub(super) struct SharedSource {
    /// As the client wrote it.
    pub(super) text: Arc<str>,
    pub(super) target: Target,
    pub(super) options: Options,
    pub(super) selector: Option<Selector>,
    /// The SUBSCRIBE slot that waits for `Attached`.
    pub(super) slot: Option<evergate_model::Token>,
}

impl Consumer {
    /// The session's own queue.
    fn own() -> Self {
        Self { shared: None, asked: Asked::default(), done: 0, granted: 0, held: VecDeque::new(), leaving: None }
    }

    pub(super) fn of(source: SharedSource) -> Self {
        Self { asked: Asked::by(source.options), shared: Some(Box::new(source)), ..Self::own() }
    }

    /// Whether deliveries tell their place.
    pub(super) fn tells_offset(&self) -> bool {
        self.asked.tells_offset
    }

    /// It was subscribed to again.
    pub(super) fn set_options(&mut self, options: Options) {
        if let Some(source) = &mut self.shared {
            source.options = options;
            self.asked = Asked::by(options);
        }
    }

    /// Of each line of memory that a delivery meets: see [`evergate_model::ahead`].
    pub(super) fn sample(&self) -> u64 {
        self.done ^ self.held.len() as u64
    }
}

/// What the options of a subscription of a queue or a group ask of each delivery.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    qos: Qos,
    retain_as_published: bool,
    tells_offset: bool,
    /// 0: none.
    subscription_id: u32,
}

impl Asked {
    fn by(options: Options) -> Self {
        let Options { qos, retain_as_published, subscription_id, consuming, .. } = options;
        Self { qos, retain_as_published, subscription_id, tells_offset: consuming.start.is_some() }
    }

    fn wanted(self) -> Wanted {
        let subscription_ids = Some(self.subscription_id).filter(|id| *id != 0).into_iter().collect();
        Wanted { qos: self.qos, retain_as_published: self.retain_as_published, subscription_ids }
    }
}

/// A delivery that the client has not acknowledged to the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) consumer: ConsumerId,
    /// `None`: settled on an earlier connection; only PUBCOMP is missing.
    seq: Option<Seq>,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Puback,
    Pubrec,
    /// PUBREC came; PUBREL leaves after the commit.
    Settling,
    Pubcomp,
}

/// What became of an attempt to send.
enum Sent {
    /// On its way, or given up: nothing is held.
    Yes,
    /// It has to wait.
    Blocked(Delivery),
}

impl MqttSession {
    fn window(&self, consumer: ConsumerId) -> u64 {
        let window = u64::from(self.client.receive_maximum);
        if consumer == OWN { window + QOS0_HEADROOM } else { window }
    }

    pub(super) fn open_own_consumer(&mut self, out: &mut Output) {
        self.consumers.insert(OWN, Box::new(Consumer::own()));
        self.grant(OWN, out);
    }

    /// Raises a consumer's credit once a good part of its window is free.
    pub(super) fn grant(&mut self, id: ConsumerId, out: &mut Output) {
        let window = self.window(id);
        let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| consumer.leaving.is_none()) else { return };
        let limit = consumer.done + window;
        if limit - consumer.granted >= (window / 4).max(1) {
            consumer.granted = limit;
            out.actions.push(Action::Credit(Credit { consumer: id, limit, drain: false }));
        }
    }

    pub(super) fn deliver(&mut self, now: Time, delivery: Delivery, out: &mut Output) {
        let id = delivery.consumer;
        // A delivery may cross our Detach: it goes back to its queue by itself.
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        if consumer.leaving.is_some() {
            return out.actions.push(unsent(&delivery)); // it crossed the end of the credit
        }
        if !consumer.held.is_empty() {
            return consumer.held.push_back(delivery);
        }
        if let Sent::Blocked(delivery) = self.try_deliver(now, delivery, out)
            && let Some(consumer) = self.consumers.get_mut(&id)
        {
            consumer.held.push_back(delivery);
            self.waiting.push_back(id);
        }
    }

    /// Sends what was held back, as far as it can be sent now: one of each consumer in turn. While the client's
    /// receive maximum is reached this costs nothing, however many consumers wait.
    fn pump(&mut self, now: Time, out: &mut Output) {
        // Turns that may pass without a delivery: a packet id may still be in use.
        let mut blocked = 0;
        while blocked < self.waiting.len()
            && self.in_flight.len() < usize::from(self.client.receive_maximum)
            && let Some(id) = self.waiting.pop_front()
        {
            let Some(delivery) = self.consumers.get_mut(&id).and_then(|consumer| consumer.held.pop_front()) else {
                continue; // it is gone
            };
            let sent = self.try_deliver(now, delivery, out);
            let Some(consumer) = self.consumers.get_mut(&id) else { continue };
            if let Sent::Blocked(delivery) = sent {
                consumer.held.push_front(delivery);
                blocked += 1;
            } else {
                blocked = 0;
            }
            if !consumer.held.is_empty() {
                self.waiting.push_back(id);
            }
        }
    }

    fn wanted(&mut self, delivery: &Delivery) -> Option<Wanted> {
        let consumer = self.consumers.get(&delivery.consumer)?;
        match &consumer.shared {
            Some(_) => Some(consumer.asked.wanted()),
            None => self.subscriptions.wanted(&delivery.message, &self.formats),
        }
    }

    fn try_deliver(&mut self, now: Time, delivery: Delivery, out: &mut Output) -> Sent {
        let message = Arc::clone(&delivery.message);
        let started = self.started(&delivery, out);
        let wanted = match (self.wanted(&delivery), started) {
            (Some(wanted), Some(qos)) => Wanted { qos, ..wanted },
            (Some(wanted), None) => wanted,
            (None, Some(qos)) => Wanted { qos, retain_as_published: false, subscription_ids: Vec::new() },
            (None, None) => {
                // Unsubscribed in the meantime.
                self.settle(&delivery, Outcome::Accept, out);
                return Sent::Yes;
            }
        };
        if message.is_expired(now) {
            // Not sent. [MQTT-3.3.2-5] What others use too goes back, for the queue to do what its policy says.
            let outcome = if delivery.consumer == OWN { Outcome::Accept } else { Outcome::Release };
            self.settle(&delivery, outcome, out);
            return Sent::Yes;
        }
        if let Some(body) = message.meta.large() {
            let (client_id, to, bytes) = (&self.identity.client_id, &message.meta.address, body.payload_bytes);
            tracing::info!(%client_id, %to, bytes, "dropped: the message is too large for MQTT");
            return self.drop_too_large(&delivery, "too large for MQTT", out);
        }
        let flags = Flags::of(&message);
        let qos = flags.qos.min(wanted.qos); // [MQTT-3.8.4-8]
        let packet_id = match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce | Qos::ExactlyOnce => match self.free_packet_id(&delivery) {
                Some(packet_id) => packet_id,
                None => return Sent::Blocked(delivery),
            },
        };
        let (head, body) = message.in_encoding(Encoding::Mqtt5, || format::to_mqtt5(&self.formats, &message));
        let told = self.told_by_the_gateway(&delivery);
        let properties = match told {
            None => Cow::Borrowed(format::properties(head)),
            Some(told) => Cow::Owned([&told[..], format::properties(head)].concat()),
        };
        let head = PublishHead {
            dup: qos != Qos::AtMostOnce && delivery.redelivered, // [MQTT-3.3.1-1]
            qos,
            // [MQTT-3.3.1-8], [MQTT-3.3.1-12], [MQTT-3.3.1-13]
            retain: delivery.retained || (wanted.retain_as_published && flags.retain),
            topic_prefix: topic_prefix(&message),
            topic: &message.meta.address.name,
            packet_id,
            head: &properties,
            expiry: seconds_left(&message, now), // [MQTT-3.3.2-6]
            alias: None,
            subscription_ids: &wanted.subscription_ids,
        };
        let topic_len = head.topic_prefix.len() + head.topic.len();
        if publish_len(&head, self.version, body.len()) > self.client.packet_bytes_max
            || topic_len > usize::from(u16::MAX)
        {
            return self.drop_too_large(&delivery, "larger than the MQTT client's maximum packet size", out);
        }
        put_publish(out.wire.tail(), &head, self.version, body.len());
        out.wire.push(body);
        let stage = match qos {
            Qos::AtMostOnce => {
                self.settle(&delivery, Outcome::Accept, out);
                return Sent::Yes;
            }
            Qos::AtLeastOnce => Stage::Puback,
            Qos::ExactlyOnce => Stage::Pubrec,
        };
        self.in_flight.insert(packet_id, Flight { consumer: delivery.consumer, seq: Some(delivery.seq), stage });
        Sent::Yes
    }

    /// Not sent, and done with as if it had been. [MQTT-3.1.2-25] What came from a queue that others use too must not
    /// vanish without a trace.
    fn drop_too_large(&mut self, delivery: &Delivery, reason: &str, out: &mut Output) -> Sent {
        let outcome =
            if delivery.consumer == OWN { Outcome::Accept } else { Outcome::Reject { reason: reason.into() } };
        self.settle(delivery, outcome, out);
        Sent::Yes
    }

    /// The packet id that a delivery may use now. [MQTT-3.3.4-9], [MQTT-2.2.1-4]
    fn free_packet_id(&mut self, delivery: &Delivery) -> Option<u16> {
        if self.in_flight.len() >= usize::from(self.client.receive_maximum) {
            return None;
        }
        if delivery.consumer == OWN {
            let id = own_id(delivery.seq);
            return (!self.in_flight.contains_key(&id)).then_some(id);
        }
        // Fewer are in flight than there are ids, so this ends.
        for _ in SHARED_ID_MIN..=u16::MAX {
            let id = self.next_shared_id;
            self.next_shared_id = id.checked_add(1).unwrap_or(SHARED_ID_MIN);
            if !self.in_flight.contains_key(&id) {
                return Some(id);
            }
        }
        None
    }

    /// The connection is over: what waited for the client's receive maximum or for a packet id was not sent. It must
    /// not count as a failed delivery, nor have DUP when it is.
    pub(super) fn give_back_unsent(&mut self, out: &mut Output) {
        for consumer in self.consumers.values_mut() {
            out.actions.extend(consumer.held.drain(..).map(|delivery| unsent(&delivery)));
        }
    }

    /// A subscription of a queue or a group ends, and what was sent is still the client's to acknowledge. [MQTT-3.10.4-3]
    /// Returns whether the consumer has detached; else it does with the last acknowledgement.
    pub(super) fn retire_consumer(&mut self, id: ConsumerId, out: &mut Output) -> bool {
        let in_flight = self.in_flight.values().filter(|flight| flight.consumer == id).count();
        let Some(consumer) = self.consumers.get_mut(&id).filter(|_| in_flight > 0) else {
            self.detach_consumer(id, out);
            return true;
        };
        consumer.leaving = Some(in_flight);
        if let Some(source) = &consumer.shared {
            self.sources.remove(&source.text);
        }
        out.actions.push(Action::Credit(Credit { consumer: id, limit: 0, drain: false }));
        out.actions.extend(consumer.held.drain(..).map(|delivery| unsent(&delivery)));
        false
    }

    fn detach_consumer(&mut self, id: ConsumerId, out: &mut Output) {
        self.forget_consumer(id);
        self.detaching.insert(id, None);
        out.actions.push(Action::Detach { consumer: id, delete: false, lifetime: None });
    }

    /// The connection is over: what was unsubscribed from is left for good.
    pub(super) fn detach_leaving(&mut self, out: &mut Output) {
        let leaving = self.consumers.iter().filter(|(_, consumer)| consumer.leaving.is_some()).map(|(id, _)| *id);
        for id in leaving.collect::<Vec<_>>() {
            self.detach_consumer(id, out);
        }
    }

    fn settle(&mut self, delivery: &Delivery, outcome: Outcome, out: &mut Output) {
        self.settle_as(delivery.consumer, delivery.seq, outcome, out);
        self.finish(delivery.consumer, out);
    }

    fn settle_as(&self, consumer: ConsumerId, seq: Seq, outcome: Outcome, out: &mut Output) {
        if self.consumers.contains_key(&consumer) {
            let settle = Settle::new(consumer, seq, seq, outcome);
            out.actions.push(Action::Settle(settle));
        }
    }

    /// One delivery of `consumer` is over.
    fn finish(&mut self, id: ConsumerId, out: &mut Output) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        consumer.done += 1;
        if let Some(in_flight) = &mut consumer.leaving {
            *in_flight -= 1;
            if *in_flight == 0 {
                self.detach_consumer(id, out);
            }
        } else {
            self.grant(id, out);
        }
    }

    /// Ends a flight that the client has acknowledged to the end.
    fn land(&mut self, now: Time, packet_id: u16, flight: Flight, out: &mut Output) {
        self.in_flight.remove(&packet_id);
        self.forget_started(packet_id, out);
        if flight.seq.is_some() {
            self.finish(flight.consumer, out);
        }
        self.pump(now, out);
    }

    /// What a client that could not take a message wants done with it. What is its own is over; a
    /// message of a queue that others use too becomes a dead letter.
    fn outcome_of(flight: Flight, reason: ReasonCode) -> Outcome {
        if reason.is_error() && flight.consumer != OWN {
            Outcome::Reject { reason: format!("refused by an MQTT client with reason {reason}").into() }
        } else {
            Outcome::Accept
        }
    }

    pub(super) fn puback(&mut self, now: Time, packet_id: u16, reason: ReasonCode, out: &mut Output) {
        let Some(&flight) = self.in_flight.get(&packet_id) else { return };
        if flight.stage != Stage::Puback {
            return;
        }
        if let Some(seq) = flight.seq {
            self.settle_as(flight.consumer, seq, Self::outcome_of(flight, reason), out);
        }
        self.land(now, packet_id, flight, out);
    }

    pub(super) fn pubrec(&mut self, now: Time, packet_id: u16, reason: ReasonCode, out: &mut Output) {
        let flight = self.in_flight.get(&packet_id).copied();
        match flight {
            Some(Flight { stage: Stage::Pubrec, seq: Some(seq), consumer }) if reason.is_error() => {
                self.settle_as(consumer, seq, Outcome::Accept, out);
                self.land(now, packet_id, Flight { stage: Stage::Pubrec, seq: Some(seq), consumer }, out);
            }
            Some(Flight { stage: Stage::Pubrec, seq: Some(seq), consumer }) => {
                self.in_flight.insert(packet_id, Flight { stage: Stage::Settling, seq: Some(seq), consumer });
                let token = self.token();
                self.replies.push(token, 1, release(packet_id, ReasonCode::SUCCESS));
                out.actions.push(Action::Settle(Settle {
                    consumer,
                    first: seq,
                    last: seq,
                    outcome: Outcome::Accept,
                    mark: Some(RELEASE_MARK + u32::from(packet_id)),
                    token: Some(token),
                    transaction: None,
                }));
            }
            // PUBREL was sent, and gets lost only with its connection; a second PUBREC gets a second one.
            Some(Flight { stage: Stage::Pubcomp, .. }) if !reason.is_error() => {
                let at = self.token();
                self.replies.push_ready(at, release(packet_id, ReasonCode::SUCCESS));
            }
            Some(_) => {}
            None if reason.is_error() => {}
            None => {
                let at = self.token();
                self.replies.push_ready(at, release(packet_id, ReasonCode::PACKET_ID_NOT_FOUND));
            }
        }
    }

    /// PUBREL is on its way.
    pub(super) fn released(&mut self, packet_id: u16) {
        if let Some(flight) = self.in_flight.get_mut(&packet_id) {
            flight.stage = Stage::Pubcomp;
        }
    }

    pub(super) fn pubcomp(&mut self, now: Time, packet_id: u16, out: &mut Output) {
        let Some(&flight) = self.in_flight.get(&packet_id) else { return };
        if flight.stage == Stage::Pubcomp {
            let number = RELEASE_MARK + u32::from(packet_id);
            out.actions.push(Action::Mark { consumer: OWN, number, set: false, token: None });
            self.land(now, packet_id, flight, out);
        }
    }

    /// After a reconnect: QoS 2 ids taken from the client, and PUBRELs to send again. [MQTT-4.4.0-1]
    pub(super) fn restore_marks(&mut self, marks: &[u32], out: &mut Output) {
        for &mark in marks {
            let Ok(packet_id) = u16::try_from(mark % RELEASE_MARK) else { continue };
            if packet_id == 0 || self.restore_started(mark) {
                continue;
            }
            if mark < RELEASE_MARK {
                self.restore_taken(packet_id);
                continue;
            }
            self.in_flight.insert(packet_id, Flight { consumer: OWN, seq: None, stage: Stage::Pubcomp });
            let (reason, properties) = (ReasonCode::SUCCESS, Properties::default());
            self.send(&Packet::Ack(Ack { kind: AckKind::Pubrel, packet_id, reason, properties }), out);
        }
    }

    /// The consumer is gone; what it held goes back to its queue by itself.
    pub(super) fn forget_consumer(&mut self, id: ConsumerId) -> Option<Box<Consumer>> {
        let consumer = self.consumers.remove(&id)?;
        // The client may have subscribed again meanwhile.
        if let Some(source) = consumer.shared.as_ref().filter(|source| self.sources.get(&source.text) == Some(&id)) {
            self.sources.remove(&source.text);
        }
        Some(consumer)
    }
}

/// The packet id of what stands there in the session's own queue.
pub(super) fn own_id(seq: Seq) -> u16 {
    (1 + seq.0 % OWN_IDS) as u16
}

fn unsent(delivery: &Delivery) -> Action {
    Action::Settle(Settle::new(delivery.consumer, delivery.seq, delivery.seq, Outcome::Unsent))
}

fn release(packet_id: u16, reason: ReasonCode) -> Reply {
    Reply::Ack { kind: AckKind::Pubrel, packet_id, reason, text: None }
}

fn topic_prefix(message: &Message) -> &'static str {
    match message.meta.address.kind {
        AddressKind::Queue => QUEUE_PREFIX,
        AddressKind::Topic => "",
    }
}

/// The message expiry interval that is left, at least a second.
fn seconds_left(message: &Message, now: Time) -> Option<u32> {
    let millis = message.meta.expires_at?.0.saturating_sub(now.0);
    Some(u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX))
}
