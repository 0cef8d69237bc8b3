//! One MQTT connection as a state machine without I/O.
//!
//! - `connect`: CONNECT to CONNACK, and how it ends
//! - `inbound`: what the client publishes
//! - `outbound`: deliveries and their acknowledgements
//! - `ahead`: reading ahead where there are thousands of consumers
//! - `told`: what the gateway tells of a delivery
//! - `subscribe`: SUBSCRIBE and UNSUBSCRIBE
//! - `consuming`: what the user properties of a SUBSCRIBE ask for
//! - `started`: deliveries in flight whose subscription changes
//! - `resend`: QoS 1 publishes that come again
//! - `replies`: answers in the order of the client's packets

mod ahead;
mod connect;
mod consuming;
mod inbound;
mod outbound;
mod replies;
mod resend;
mod started;
mod subscribe;
mod subscription;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use evergate_model::ahead::AHEAD;
use evergate_model::{Close, ConsumerId, Event, Formats, IdMap, Output, PeerInfo, Session, Time, Token};

use crate::MqttConfig;
use crate::codec::{
    AckKind, Connect, DecodeError, Disconnect, Packet, Properties, PropertyValue, ReasonCode, Version, decode, encode,
    id,
};
use connect::Identity;
use inbound::Inbound;
use outbound::{Consumer, Flight};
use replies::{Replies, Reply};
use started::Started;
use subscription::Subscriptions;

/// The message that a PUBLISH becomes, for the tests of the format.
#[cfg(test)]
pub(crate) fn message_for_test(
    now: Time,
    qos: crate::codec::Qos,
    retain: bool,
    properties: crate::codec::MessageProperties,
) -> evergate_model::Message {
    inbound::message(now, &"a".into(), qos, retain, properties, bytes::Bytes::new())
}

/// The consumer of the session's own queue.
const OWN: ConsumerId = ConsumerId(0);

/// Bytes kept from a client that sends before its CONNACK or while too many requests wait; what is
/// beyond stays in the driver's buffer.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// One MQTT connection.
pub struct MqttSession {
    config: MqttConfig,
    formats: Formats,
    conn_id: u64,
    state: State,
    version: Version,
    identity: Identity,
    client: ClientLimits,
    /// 1.5 times the keep-alive; `None`: silence is no reason to close.
    silence_max: Option<Duration>,
    deadline: Option<Time>,
    /// What was read while nothing could be done with it.
    held: BytesMut,
    next_token: u64,
    replies: Replies,
    inbound: Inbound,
    subscriptions: Subscriptions,
    consumers: IdMap<ConsumerId, Box<Consumer>>,
    /// Those of queues and groups, by what the client calls them.
    sources: HashMap<Arc<str>, ConsumerId>,
    /// Those that hold deliveries back, each once.
    waiting: VecDeque<ConsumerId>,
    /// Consumers that were told to detach, and the UNSUBSCRIBE slot that waits for it.
    detaching: IdMap<ConsumerId, Option<Token>>,
    next_consumer: u32,
    in_flight: IdMap<u16, Flight>,
    started: Started,
    next_shared_id: u16,
}

#[derive(Debug)]
enum State {
    /// Not asked for the time yet.
    New,
    /// CONNECT has not come.
    Silent,
    Authenticating(Box<Connect>),
    /// Its will goes to one of the gateway's own names: may it?
    AskingForWill(Box<Connect>),
    Attaching(Box<Connect>),
    Online,
    Closed,
}

/// What the client said it can take.
#[derive(Clone, Copy, Debug)]
struct ClientLimits {
    receive_maximum: u16,
    packet_bytes_max: usize,
    wants_reasons: bool,
}

/// No packet can be longer: its remaining length has 4 bytes.
const PACKET_BYTES_MAX: usize = 268_435_455 + 5;

impl MqttSession {
    /// A connection that was just accepted. `conn_id` becomes a part of the client ids that are assigned.
    pub fn new(config: MqttConfig, formats: Formats, conn_id: u64) -> Self {
        let receive_maximum = config.delivery_window.max(1);
        Self {
            config,
            formats,
            conn_id,
            state: State::New,
            version: Version::V4,
            identity: Identity::default(),
            client: ClientLimits { receive_maximum, packet_bytes_max: PACKET_BYTES_MAX, wants_reasons: true },
            silence_max: None,
            deadline: Some(Time(0)),
            held: BytesMut::new(),
            next_token: 0,
            replies: Replies::default(),
            inbound: Inbound::default(),
            subscriptions: Subscriptions::default(),
            consumers: IdMap::default(),
            sources: HashMap::new(),
            waiting: VecDeque::new(),
            detaching: IdMap::default(),
            next_consumer: 1,
            in_flight: IdMap::default(),
            started: Started::default(),
            next_shared_id: outbound::SHARED_ID_MIN,
        }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn is_v5(&self) -> bool {
        self.version == Version::V5
    }

    /// The clock starts with the first call that brings the time.
    fn start(&mut self, now: Time) {
        if matches!(self.state, State::New) {
            self.state = State::Silent;
            self.deadline = Some(now.after(self.config.connect_timeout));
        }
    }

    /// Whether the next packet has to wait for an answer of the gateway.
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Authenticating(_) | State::AskingForWill(_) | State::Attaching(_))
            || self.replies.len() >= self.config.max_pending_requests.max(1)
    }

    fn process(&mut self, now: Time, input: &mut BytesMut, out: &mut Output) {
        for number in 0.. {
            if self.is_waiting() || matches!(self.state, State::Closed) {
                break;
            }
            if number % AHEAD == 0 {
                self.look_at_acks(input);
            }
            match decode(input, self.version, self.config.limits()) {
                Ok(Some(packet)) => {
                    self.packet(now, packet, out);
                    self.flush(out);
                }
                Ok(None) => return,
                Err(error) => self.refuse_packet(error, out),
            }
        }
        if matches!(self.state, State::Closed) {
            input.clear();
        }
    }

    fn packet(&mut self, now: Time, packet: Packet, out: &mut Output) {
        self.heard(now);
        match (&self.state, packet) {
            (State::Online, packet) => self.online_packet(now, packet, out),
            (_, Packet::Connect(connect)) => self.connect(now, connect, out),
            // [MQTT-3.1.0-1]
            (_, _) => self.fail(ReasonCode::PROTOCOL_ERROR, "the first packet is not CONNECT", out),
        }
    }

    fn online_packet(&mut self, now: Time, packet: Packet, out: &mut Output) {
        match packet {
            Packet::Publish(publish) => self.publish(now, publish, out),
            Packet::Ack(ack) => match ack.kind {
                AckKind::Puback => self.puback(now, ack.packet_id, ack.reason, out),
                AckKind::Pubrec => self.pubrec(now, ack.packet_id, ack.reason, out),
                AckKind::Pubrel => self.pubrel(ack.packet_id, out),
                AckKind::Pubcomp => self.pubcomp(now, ack.packet_id, out),
            },
            Packet::Subscribe(subscribe) => self.subscribe(subscribe, out),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe, out),
            Packet::Pingreq => self.send(&Packet::Pingresp, out),
            Packet::Disconnect(disconnect) => self.disconnected(&disconnect, out),
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => self.fail(ReasonCode::PROTOCOL_ERROR, "a second CONNECT", out),
            Packet::Auth(_) => {
                self.fail(ReasonCode::PROTOCOL_ERROR, "AUTH without an authentication method in CONNECT", out);
            }
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {
                self.fail(ReasonCode::PROTOCOL_ERROR, "a packet that only a server sends", out);
            }
        }
    }

    /// Sends the answers that are ready.
    fn flush(&mut self, out: &mut Output) {
        while let Some(reply) = self.replies.pop_ready() {
            if matches!(self.state, State::Closed) {
                return;
            }
            match reply {
                Reply::Ack { kind, packet_id, reason, text } => {
                    self.ack_leaves(kind, packet_id, reason, text.as_deref(), out);
                }
                Reply::Nothing => {}
                Reply::Suback { packet_id, codes, text } => self.suback(packet_id, codes, text, out),
                Reply::Unsuback { packet_id, codes } => {
                    let properties = Properties::default();
                    self.send(&Packet::Unsuback(crate::codec::Unsuback { packet_id, codes, properties }), out);
                }
            }
        }
    }

    /// Writes a packet. One that the client said it cannot take is not sent [MQTT-3.1.2-24]; all but
    /// reason strings, which are left out, are so small that there is no going on without them.
    fn send(&mut self, packet: &Packet, out: &mut Output) {
        if !self.try_send(packet, out) {
            self.close(Close::ProtocolError("the client takes no packet large enough for an answer".into()), out);
        }
    }

    fn try_send(&self, packet: &Packet, out: &mut Output) -> bool {
        let tail = out.wire.tail();
        let before = tail.len();
        encode(packet, self.version, tail);
        let fits = tail.len() - before <= self.client.packet_bytes_max;
        if !fits {
            tail.truncate(before);
        }
        fits
    }

    fn close(&mut self, close: Close, out: &mut Output) {
        self.state = State::Closed;
        self.deadline = None;
        self.held.clear();
        out.close.get_or_insert(close);
    }

    /// The peer broke the protocol or a limit.
    fn fail(&mut self, reason: ReasonCode, what: &str, out: &mut Output) {
        self.part(reason, what, Close::ProtocolError(what.to_owned()), out);
    }

    /// Says goodbye, to MQTT 5 clients with a reason, and closes.
    fn part(&mut self, reason: ReasonCode, what: &str, close: Close, out: &mut Output) {
        // [MQTT-3.14.0-1]: no DISCONNECT before CONNACK.
        if self.is_v5() && matches!(self.state, State::Online) {
            let mut properties = Properties::default();
            properties.add(id::REASON_STRING, PropertyValue::Text(what.to_owned()));
            if !self.try_send(&Packet::Disconnect(Disconnect { reason, properties }), out) {
                self.try_send(&Packet::Disconnect(Disconnect { reason, properties: Properties::default() }), out);
            }
        }
        self.close(close, out);
    }

    /// The gateway wants no more of this connection.
    fn sent_away(&mut self, code: ReasonCode, reason: &str, out: &mut Output) {
        let close = Close::Gateway(reason.to_owned());
        match self.state {
            State::Authenticating(_) | State::AskingForWill(_) | State::Attaching(_) => {
                self.refuse_connect(ReasonCode::SERVER_UNAVAILABLE, reason, close, out);
            }
            State::New | State::Silent | State::Online | State::Closed => self.part(code, reason, close, out),
        }
    }

    fn refuse_packet(&mut self, error: DecodeError, out: &mut Output) {
        match error.connect {
            Some(version) if matches!(self.state, State::Silent) => {
                self.version = version;
                self.refuse_connect(error.reason, error.what, Close::ProtocolError(error.to_string()), out);
            }
            _ => self.fail(error.reason, error.what, out),
        }
    }

    fn heard(&mut self, now: Time) {
        if let Some(silence) = self.silence_max {
            self.deadline = Some(now.after(silence));
        }
    }
}

impl Session for MqttSession {
    fn received(&mut self, now: Time, input: &mut BytesMut, out: &mut Output) {
        self.start(now);
        if matches!(self.state, State::Closed) {
            return input.clear();
        }
        if self.held.is_empty() {
            self.process(now, input, out);
        } else if !self.is_waiting() {
            let mut all = std::mem::take(&mut self.held);
            all.unsplit(input.split());
            self.process(now, &mut all, out);
            self.held = all;
            return;
        }
        if self.is_waiting() {
            let room = HELD_BYTES_MAX.saturating_sub(self.held.len()).min(input.len());
            self.held.extend_from_slice(&input.split_to(room));
        }
    }

    fn wants_input(&self) -> bool {
        !self.is_waiting()
    }

    fn look_ahead(&self, consumers: &[ConsumerId]) {
        self.look_at(consumers.iter());
    }

    fn handle(&mut self, now: Time, event: Event, out: &mut Output) {
        if matches!(self.state, State::Closed) {
            return;
        }
        match event {
            Event::Authenticated(access) => self.authenticated(access, out),
            Event::Attached { consumer, result } if consumer == OWN => self.session_attached(now, result, out),
            Event::Attached { consumer, result } => self.consumer_attached(consumer, result, out),
            Event::Published { result, .. } if matches!(self.state, State::AskingForWill(_)) => {
                self.will_checked(result, out);
            }
            Event::Published { token, result } => self.published(token, result, out),
            Event::Deliver(delivery) => self.deliver(now, delivery, out),
            Event::Done(token) => self.replies.answer(token, None, None),
            Event::Unbound { token, existed } => {
                let code = if existed { ReasonCode::SUCCESS } else { ReasonCode::NO_SUBSCRIPTION_EXISTED };
                self.replies.answer(token, Some(code), None);
            }
            Event::Detached { consumer } => {
                if let Some(Some(token)) = self.detaching.remove(&consumer) {
                    self.replies.answer(token, None, None);
                }
            }
            Event::Drained { .. } | Event::Begun { .. } | Event::Committed { .. } => {} // never asked for
            Event::TakenOver { consumer } if consumer == OWN => {
                // [MQTT-3.1.4-3]
                let what = "another connection has the same client identifier";
                self.part(ReasonCode::SESSION_TAKEN_OVER, what, Close::TakenOver, out);
            }
            Event::Deleted { consumer } if consumer == OWN => {
                let what = "the session was deleted";
                self.part(ReasonCode::ADMINISTRATIVE_ACTION, what, Close::Gateway(what.into()), out);
            }
            Event::Overrun { .. } => {
                let what = "the client does not keep up with what it subscribed to";
                self.part(ReasonCode::QUOTA_EXCEEDED, what, Close::Gateway(what.into()), out);
            }
            Event::TakenOver { consumer } | Event::Deleted { consumer } => {
                // MQTT has no other way to say that a subscription is no more.
                if let Some(source) = self.forget_consumer(consumer).and_then(|consumer| consumer.shared) {
                    let what = format!("the queue of the subscription {} was deleted", source.text);
                    self.part(ReasonCode::ADMINISTRATIVE_ACTION, &what, Close::Gateway(what.clone()), out);
                }
            }
            Event::ToldToClose { reason } => self.sent_away(ReasonCode::ADMINISTRATIVE_ACTION, &reason, out),
            Event::Stopping { reason } => self.sent_away(ReasonCode::SERVER_SHUTTING_DOWN, &reason, out),
        }
        self.flush(out);
        if !self.held.is_empty() && !self.is_waiting() {
            let mut held = std::mem::take(&mut self.held);
            self.process(now, &mut held, out);
            self.held = held;
        }
    }

    fn timeout(&mut self, now: Time, out: &mut Output) {
        self.start(now);
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        // A client that we do not read from, because the gateway owes it answers, is not silent.
        if matches!(self.state, State::Online) && (self.replies.len() > 0 || self.inbound.unanswered > 0) {
            return self.heard(now);
        }
        // [MQTT-3.1.2-22]; a connection without CONNECT is closed without a word.
        self.part(ReasonCode::KEEP_ALIVE_TIMEOUT, "no packet for 1.5 times the keep-alive", Close::Silent, out);
    }

    fn leaving(&mut self, out: &mut Output) {
        self.give_back_unsent(out);
        self.detach_leaving(out);
    }

    fn next_timeout(&self) -> Option<Time> {
        self.deadline
    }

    fn peer(&self) -> PeerInfo {
        let protocol = match (&self.state, self.version) {
            (State::New | State::Silent, _) => "",
            (_, Version::V3) => "MQTT 3.1",
            (_, Version::V4) => "MQTT 3.1.1",
            (_, Version::V5) => "MQTT 5",
        };
        let client_id: Arc<str> = Arc::clone(&self.identity.client_id);
        PeerInfo { protocol, client_id, user: Arc::clone(&self.identity.user) }
    }
}
