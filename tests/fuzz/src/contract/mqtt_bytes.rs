//! MQTT bytes: openings, seeds, and whether what a session writes can be read.

use bytes::{Bytes, BytesMut};
use evergate_mqtt::codec::{
    Ack, AckKind, Connect, Disconnect, LastWill, Limits, MessageProperties, Packet, Properties, PropertyValue, Publish,
    Qos, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, Unsubscribe, Version, decode, encode, id,
};
use evergate_mqtt::{MqttConfig, MqttSession};

/// Every version.
pub const VERSIONS: [Version; 3] = [Version::V5, Version::V4, Version::V3];

/// No packet is too large.
pub const NO_LIMIT: Limits = Limits { publish_bytes: usize::MAX, control_bytes: usize::MAX };

/// A new session.
pub fn session() -> MqttSession {
    MqttSession::new(MqttConfig::default(), crate::formats(), 7)
}

/// The packet's bytes.
pub fn bytes(packet: &Packet, version: Version) -> Vec<u8> {
    let mut buf = BytesMut::new();
    encode(packet, version, &mut buf);
    buf.to_vec()
}

/// CONNECT of a session that persists.
pub fn connect(version: Version) -> Packet {
    let mut properties = Properties::default();
    if version == Version::V5 {
        properties.add(id::SESSION_EXPIRY, PropertyValue::Four(100));
        properties.add(id::RECEIVE_MAXIMUM, PropertyValue::Two(3));
    }
    let will = LastWill {
        topic: "will".into(),
        qos: Qos::AtLeastOnce,
        retain: true,
        properties: MessageProperties { will_delay: u32::from(version == Version::V5), ..MessageProperties::default() },
        payload: Bytes::from_static(b"gone"),
    };
    Packet::Connect(Box::new(Connect {
        version,
        clean_start: false,
        keep_alive: 60,
        client_id: "c".into(),
        will: Some(will),
        user: Some("u".into()),
        password: Some(Bytes::from_static(b"p")),
        properties,
    }))
}

/// SUBSCRIBE.
pub fn subscribe(version: Version, filter: &str, qos: Qos) -> Packet {
    let mut properties = Properties::default();
    if version == Version::V5 {
        properties.add(id::SUBSCRIPTION_ID, PropertyValue::VarInt(200));
        let pair = PropertyValue::Pair("selector".into(), "JMSPriority > 4 OR a IS NULL".into());
        properties.add(id::USER_PROPERTY, pair);
    }
    let filter = SubscribeFilter {
        filter: filter.into(),
        qos,
        no_local: false,
        retain_as_published: version == Version::V5,
        retain_handling: RetainHandling::Send,
    };
    Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter], properties })
}

fn publish(version: Version, topic: &str, qos: Qos, packet_id: u16) -> Packet {
    let mut properties = MessageProperties::default();
    if version == Version::V5 {
        properties.alias = Some(1);
        properties.expiry = Some(60);
        properties.head = Bytes::from_static(
            b"\x01\x01\x03\0\x0atext/plain\x08\0\x03r/t\x09\0\x01c\x26\0\x08priority\0\x019\x26\0\x0amessage-id\0\x01m",
        );
    }
    let payload = Bytes::from_static(b"payload");
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: qos == Qos::AtLeastOnce,
        topic: topic.into(),
        packet_id,
        properties,
        payload,
    })
}

/// A little of everything that a client sends after CONNECT.
fn talk(version: Version) -> Vec<Packet> {
    let ack = |kind, packet_id| {
        Packet::Ack(Ack { kind, packet_id, reason: ReasonCode::SUCCESS, properties: Properties::default() })
    };
    let mut talk = vec![];
    for filter in ["a/b", "a/+", "#", "$share/g/a/#", "$queue/q", "$share/g/$queue/q", "$glob/a/*", "$share/g/$regex/a.*"] {
        talk.push(subscribe(version, filter, Qos::ExactlyOnce));
    }
    talk.extend([
        publish(version, "a/b", Qos::AtMostOnce, 0),
        publish(version, "a/b", Qos::AtLeastOnce, 1),
        publish(version, "$queue/q", Qos::AtLeastOnce, 2),
        publish(version, "a/c", Qos::ExactlyOnce, 3),
        ack(AckKind::Pubrel, 3),
        ack(AckKind::Puback, 1),
        ack(AckKind::Pubrec, 2),
        ack(AckKind::Pubcomp, 2),
        ack(AckKind::Puback, 0x8000),
        Packet::Pingreq,
    ]);
    for filter in ["a/+", "$share/g/a/#", "$queue/q"] {
        let filters = vec![filter.into()];
        talk.push(Packet::Unsubscribe(Unsubscribe { packet_id: 9, filters, properties: Properties::default() }));
    }
    talk.push(Packet::Disconnect(Disconnect { reason: ReasonCode::SUCCESS, properties: Properties::default() }));
    talk
}

/// Each packet alone and all of them together, by version.
pub fn seeds() -> Vec<(Version, Vec<u8>)> {
    let mut seeds = Vec::new();
    for version in VERSIONS {
        let packets: Vec<Vec<u8>> = talk(version).iter().map(|packet| bytes(packet, version)).collect();
        let mut all = bytes(&connect(version), version);
        seeds.push((version, all.clone()));
        all.extend(packets.iter().flatten());
        seeds.extend(packets.into_iter().map(|packet| (version, packet)));
        seeds.push((version, all));
    }
    seeds
}

/// Every packet in `wire`, which a session wrote.
pub fn packets(wire: &[u8], version: Version) -> Vec<Packet> {
    let mut bytes = BytesMut::from(wire);
    let mut packets = Vec::new();
    while let Some(packet) = decode(&mut bytes, version, NO_LIMIT).expect("what a session writes can be read") {
        packets.push(packet);
    }
    assert!(bytes.is_empty(), "a session writes whole packets");
    packets
}
