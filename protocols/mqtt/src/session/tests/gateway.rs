//! A client and a gateway around one session.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{
    Access, Action, Address, Attached, Binding, Close, ConsumerId, Delivery, Encoding, Event, Formats, Message, Meta,
    Output, Seq, Session, Time, Token,
};

use crate::codec::{
    Ack, AckKind, Connect, Limits, MessageProperties, Packet, Properties, Publish, Qos, ReasonCode, RetainHandling,
    Subscribe, SubscribeFilter, Version, decode, encode,
};
use crate::{MqttConfig, MqttFormat, MqttSession};

pub(super) const NO_LIMIT: Limits = Limits { publish_bytes: usize::MAX, control_bytes: usize::MAX };

pub(super) struct Peer {
    pub(super) session: MqttSession,
    pub(super) version: Version,
    pub(super) now: Time,
    /// What the session asked and no test has taken.
    pub(super) actions: Vec<Action>,
    /// What the client was sent and no test has taken.
    pub(super) packets: Vec<Packet>,
    pub(super) closed: Option<Close>,
}

impl Peer {
    pub(super) fn new(version: Version, config: MqttConfig) -> Self {
        let formats = Formats::default().with(Encoding::Mqtt5, &MqttFormat);
        let session = MqttSession::new(config, formats, 7);
        Self { session, version, now: Time(1000), actions: vec![], packets: vec![], closed: None }
    }

    /// A client that is connected, with nothing left to take.
    pub(super) fn online(version: Version) -> Self {
        Self::resumed(connect(version), MqttConfig::default(), Attached::default())
    }

    pub(super) fn resumed(connect: Connect, config: MqttConfig, attached: Attached) -> Self {
        let mut peer = Self::new(connect.version, config);
        peer.send(&Packet::Connect(Box::new(connect)));
        peer.event(Event::Authenticated(Access::Granted("".into())));
        peer.event(Event::Attached { consumer: ConsumerId(0), result: Ok(attached) });
        assert!(matches!(peer.packets.first(), Some(Packet::Connack(_))), "{:?}", peer.packets);
        peer.packets.remove(0);
        peer.actions.clear();
        peer
    }

    fn drain(&mut self, mut out: Output) {
        self.actions.append(&mut out.actions);
        let mut bytes = BytesMut::new();
        out.wire.take().iter().for_each(|segment| bytes.extend_from_slice(segment));
        while let Some(packet) = decode(&mut bytes, self.version, NO_LIMIT).expect("the session writes valid packets") {
            self.packets.push(packet);
        }
        assert!(bytes.is_empty(), "the session writes whole packets");
        self.closed = self.closed.take().or(out.close);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let (mut input, mut out) = (BytesMut::from(bytes), Output::default());
        self.session.received(self.now, &mut input, &mut out);
        self.drain(out);
    }

    pub(super) fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        encode(packet, self.version, &mut bytes);
        self.bytes(&bytes);
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut out = Output::default();
        self.session.handle(self.now, event, &mut out);
        self.drain(out);
    }

    pub(super) fn timeout_at(&mut self, now: Time) {
        self.now = now;
        let mut out = Output::default();
        self.session.timeout(now, &mut out);
        self.drain(out);
    }

    /// The packets sent since last asked.
    pub(super) fn take(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.packets)
    }

    /// The one packet sent since last asked.
    pub(super) fn one(&mut self) -> Packet {
        let packets = self.take();
        assert_eq!(packets.len(), 1, "{packets:?}");
        packets.into_iter().next().unwrap()
    }

    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The tokens of the publishes asked since last taken.
    pub(super) fn publish_tokens(&mut self) -> Vec<Token> {
        let token = |action| match action {
            Action::Publish(publish) => Some(publish.token),
            _ => None,
        };
        self.take_actions().into_iter().filter_map(token).collect()
    }

    pub(super) fn publish(&mut self, qos: Qos, packet_id: u16) {
        self.send(&Packet::Publish(publish("a/b", qos, packet_id)));
    }

    pub(super) fn ack(&mut self, kind: AckKind, packet_id: u16) {
        self.ack_with(kind, packet_id, ReasonCode::SUCCESS);
    }

    pub(super) fn ack_with(&mut self, kind: AckKind, packet_id: u16, reason: ReasonCode) {
        self.send(&Packet::Ack(ack(kind, packet_id, reason)));
    }

    /// Subscribes and answers the bind; leaves nothing to take.
    pub(super) fn subscribed(&mut self, filter: SubscribeFilter) {
        self.send(&subscribe(vec![filter]));
        for action in self.take_actions() {
            if let Action::Bind { token, .. } = action {
                self.event(Event::Done(token));
            }
        }
        assert!(matches!(self.one(), Packet::Suback(_)));
    }

    pub(super) fn deliver(&mut self, consumer: u32, seq: u64, message: &Arc<Message>) {
        self.event(Event::Deliver(delivery(consumer, seq, message)));
    }

    /// The reason of the DISCONNECT that was the last packet.
    pub(super) fn disconnect_reason(&mut self) -> Option<ReasonCode> {
        match self.take().pop() {
            Some(Packet::Disconnect(disconnect)) => Some(disconnect.reason),
            _ => None,
        }
    }
}

pub(super) fn connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: "c".into(),
        will: None,
        user: None,
        password: None,
        properties: Properties::default(),
    }
}

pub(super) fn publish(topic: &str, qos: Qos, packet_id: u16) -> Publish {
    let properties = MessageProperties::default();
    let payload = Bytes::from_static(b"p");
    Publish { dup: false, qos, retain: false, topic: topic.into(), packet_id, properties, payload }
}

pub(super) fn ack(kind: AckKind, packet_id: u16, reason: ReasonCode) -> Ack {
    Ack { kind, packet_id, reason, properties: Properties::default() }
}

pub(super) fn filter(text: &str, qos: Qos) -> SubscribeFilter {
    let retain_handling = RetainHandling::Send;
    SubscribeFilter { filter: text.into(), qos, no_local: false, retain_as_published: false, retain_handling }
}

pub(super) fn subscribe(filters: Vec<SubscribeFilter>) -> Packet {
    Packet::Subscribe(Subscribe { packet_id: 9, filters, properties: Properties::default() })
}

pub(super) fn message(topic: &str, qos: Qos) -> Arc<Message> {
    let properties = MessageProperties::default();
    let payload = Bytes::from_static(b"p");
    Arc::new(crate::session::inbound::message(Time(1000), &topic.into(), qos, false, properties, payload))
}

/// As another protocol published it.
pub(super) fn plain(topic: &str, durable: bool) -> Arc<Message> {
    let meta = Meta { durable, ..Meta::new(Address::topic(topic)) };
    Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"p")))
}

pub(super) fn delivery(consumer: u32, seq: u64, message: &Arc<Message>) -> Delivery {
    Delivery {
        consumer: ConsumerId(consumer),
        seq: Seq(seq),
        message: Arc::clone(message),
        failed_count: 0,
        redelivered: false,
        retained: false,
    }
}

pub(super) fn stored(bindings: Vec<Binding>, marks: Vec<u32>) -> Attached {
    Attached { queue: "$session/c".into(), existed: true, bindings, marks, ..Attached::default() }
}
