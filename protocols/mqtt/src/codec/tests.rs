use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { publish_bytes: 1 << 20, control_bytes: 1 << 16 };

fn one(bytes: &[u8], version: Version) -> Result<Option<Packet>, DecodeError> {
    decode(&mut BytesMut::from(bytes), version, LIMITS)
}

fn refused(bytes: &[u8], version: Version) -> ReasonCode {
    match one(bytes, version) {
        Err(error) => error.reason,
        other => panic!("{bytes:02x?} gave {other:?}"),
    }
}

#[test]
fn bad_packets_are_refused_with_the_right_reason() {
    use ReasonCode as R;
    let v5: &[(&str, &[u8], R)] = &[
        ("packet type 0", b"\x00\x00", R::MALFORMED_PACKET),
        ("[MQTT-2.1.3-1] reserved flags", b"\xC1\x00", R::MALFORMED_PACKET),
        ("[MQTT-3.6.1-1] PUBREL flags 0", b"\x60\x02\0\x01", R::MALFORMED_PACKET),
        ("[MQTT-3.8.1-1] SUBSCRIBE flags 0", b"\x80\x07\0\x01\0\0\x01a\0", R::MALFORMED_PACKET),
        ("[MQTT-3.3.1-4] QoS 3", b"\x36\x04\0\x01a\0", R::MALFORMED_PACKET),
        ("[MQTT-3.3.1-2] DUP with QoS 0", b"\x38\x04\0\x01a\0", R::MALFORMED_PACKET),
        ("five bytes of length", b"\x30\xff\xff\xff\xff\x01", R::MALFORMED_PACKET),
        ("[MQTT-1.5.5-1] length in a long form", b"\xC0\x80\x00", R::MALFORMED_PACKET),
        ("[MQTT-2.2.1-3] packet id 0", b"\x32\x06\0\x01a\0\0\0", R::MALFORMED_PACKET),
        ("packet id 0 in PUBACK", b"\x40\x02\0\0", R::MALFORMED_PACKET),
        ("[MQTT-1.5.4-2] NUL in the topic", b"\x30\x04\0\x01\0\0", R::MALFORMED_PACKET),
        ("[MQTT-1.5.4-1] a surrogate", b"\x30\x06\0\x03\xed\xa0\x80\0", R::MALFORMED_PACKET),
        ("an overlong form", b"\x30\x05\0\x02\xc0\x80\0", R::MALFORMED_PACKET),
        ("[MQTT-3.3.2-2] a wildcard", b"\x30\x04\0\x01#\0", R::TOPIC_NAME_INVALID),
        ("neither topic nor alias", b"\x30\x03\0\0\0", R::PROTOCOL_ERROR),
        ("[MQTT-3.3.2-8] topic alias 0", b"\x30\x07\0\x01a\x03\x23\0\0", R::TOPIC_ALIAS_INVALID),
        ("a property twice", b"\x30\x08\0\x01a\x04\x01\0\x01\0", R::PROTOCOL_ERROR),
        ("2.2.2.2: a property of another packet", b"\x30\x07\0\x01a\x03\x13\0\0", R::MALFORMED_PACKET),
        ("an unknown property", b"\x30\x06\0\x01a\x02\x7f\0", R::MALFORMED_PACKET),
        ("payload format 2", b"\x30\x06\0\x01a\x02\x01\x02", R::PROTOCOL_ERROR),
        ("subscription id 0", b"\x82\x09\0\x01\x02\x0b\0\0\x01a\0", R::PROTOCOL_ERROR),
        ("properties longer than the packet", b"\x30\x04\0\x01a\x09", R::MALFORMED_PACKET),
        ("[MQTT-3.3.2-14] a wildcard to answer to", b"\x30\x08\0\x01a\x04\x08\0\x01#", R::PROTOCOL_ERROR),
        ("[MQTT-3.8.3-2] SUBSCRIBE without filter", b"\x82\x03\0\x01\0", R::PROTOCOL_ERROR),
        ("[MQTT-3.8.3-5] reserved option bits", b"\x82\x07\0\x01\0\0\x01a\x40", R::MALFORMED_PACKET),
        ("subscription QoS 3", b"\x82\x07\0\x01\0\0\x01a\x03", R::MALFORMED_PACKET),
        ("retain handling 3", b"\x82\x07\0\x01\0\0\x01a\x30", R::PROTOCOL_ERROR),
        ("[MQTT-3.10.3-2] UNSUBSCRIBE without filter", b"\xA2\x03\0\x01\0", R::PROTOCOL_ERROR),
        ("PINGREQ with a body", b"\xC0\x01\0", R::MALFORMED_PACKET),
        ("a string that ends too early", b"\x30\x02\0\x05", R::MALFORMED_PACKET),
        ("a will delay in DISCONNECT", b"\xE0\x07\0\x05\x18\0\0\0\0", R::MALFORMED_PACKET),
    ];
    for (what, bytes, reason) in v5 {
        assert_eq!(refused(bytes, Version::V5), *reason, "{what}");
    }
    let v4: &[(&str, &[u8])] = &[
        ("an empty topic", b"\x30\x02\0\0"),
        ("AUTH", b"\xF0\x00"),
        ("UNSUBACK with a payload", b"\xB0\x03\0\x01\0"),
        ("DISCONNECT with a reason", b"\xE0\x01\0"),
        ("PUBACK with a reason", b"\x40\x03\0\x01\0"),
        ("no local", b"\x82\x06\0\x01\0\x01a\x04"),
    ];
    for (what, bytes) in v4 {
        assert!(one(bytes, Version::V4).is_err(), "{what}");
    }
}

#[test]
fn bad_connects_are_refused() {
    let connect = |name: &str, level: u8, flags: u8, rest: &[u8]| {
        let mut body = BytesMut::new();
        put_text(&mut body, name);
        body.extend_from_slice(&[level, flags, 0, 60]);
        body.extend_from_slice(rest);
        let mut bytes = vec![0x10, body.len() as u8];
        bytes.extend_from_slice(&body);
        bytes
    };
    let cases: &[(&str, Vec<u8>, ReasonCode, Option<Version>)] = &[
        ("another protocol", connect("HTTP", 4, 2, b"\0\0"), ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, None),
        ("version 6", connect("MQTT", 6, 2, b"\0\0"), ReasonCode::UNSUPPORTED_PROTOCOL_VERSION, Some(Version::V5)),
        ("[MQTT-3.1.2-3]", connect("MQTT", 4, 3, b"\0\0"), ReasonCode::MALFORMED_PACKET, Some(Version::V4)),
        ("will QoS 3", connect("MQTT", 4, 0x1E, b"\0\0\0\x01w\0\0"), ReasonCode::MALFORMED_PACKET, Some(Version::V4)),
        ("will QoS, no will", connect("MQTT", 4, 0x0A, b"\0\0"), ReasonCode::MALFORMED_PACKET, Some(Version::V4)),
        ("will retain, no will", connect("MQTT", 5, 0x22, b"\0\0\0"), ReasonCode::MALFORMED_PACKET, Some(Version::V5)),
        ("password, no user", connect("MQTT", 4, 0x42, b"\0\0\0\0"), ReasonCode::MALFORMED_PACKET, Some(Version::V4)),
        (
            "receive maximum 0",
            connect("MQTT", 5, 2, b"\x03\x21\0\0\0\0"),
            ReasonCode::PROTOCOL_ERROR,
            Some(Version::V5),
        ),
        (
            "maximum packet size 0",
            connect("MQTT", 5, 2, b"\x05\x27\0\0\0\0\0\0"),
            ReasonCode::PROTOCOL_ERROR,
            Some(Version::V5),
        ),
        ("bytes at the end", connect("MQTT", 4, 2, b"\0\0x"), ReasonCode::MALFORMED_PACKET, Some(Version::V4)),
    ];
    for (what, bytes, reason, version) in cases {
        let error = one(bytes, Version::V4).expect_err(what);
        assert_eq!((error.reason, error.connect), (*reason, *version), "{what}");
    }
    assert!(one(&connect("MQIsdp", 3, 2, b"\0\x01c"), Version::V4).is_ok());
    assert!(one(&connect("MQTT", 5, 0x42, b"\0\0\0\0\0"), Version::V4).is_ok(), "a password alone, in MQTT 5");
}

#[test]
fn short_forms_are_valid() {
    for bytes in [&b"\xE0\x00"[..], b"\xF0\x00", b"\x40\x02\0\x01", b"\x50\x03\0\x01\x10", b"\xE0\x01\x04"] {
        assert!(matches!(one(bytes, Version::V5), Ok(Some(_))), "{bytes:02x?}");
    }
    assert!(matches!(one(b"\xE0\x00", Version::V4), Ok(Some(Packet::Disconnect(_)))));
    assert!(matches!(one(b"\xC0\x80\x00", Version::V4), Ok(Some(Packet::Pingreq))), "3.1.1 allows padding");
}

#[test]
fn the_size_limit_is_checked_before_the_body_comes() {
    let limits = Limits { publish_bytes: 130, control_bytes: 20 };
    let start = |bytes: &[u8]| decode(&mut BytesMut::from(bytes), Version::V5, limits);
    assert_eq!(start(b"\x30\x7f"), Ok(None)); // 129 bytes
    assert_eq!(start(b"\x30\x80\x01").unwrap_err().reason, ReasonCode::PACKET_TOO_LARGE); // 131 bytes
    assert_eq!(start(b"\x82\x12"), Ok(None)); // 20 bytes
    assert_eq!(start(b"\x82\x13").unwrap_err().reason, ReasonCode::PACKET_TOO_LARGE);
}

#[test]
fn an_incomplete_packet_stays_where_it_is() {
    let whole = b"\x32\x08\0\x01a\0\x01\0pp";
    for cut in 0..whole.len() {
        let mut input = BytesMut::from(&whole[..cut]);
        assert_eq!(decode(&mut input, Version::V5, LIMITS), Ok(None));
        assert_eq!(&input[..], &whole[..cut]);
    }
}

#[test]
fn properties_that_do_not_travel_are_cut_out_of_the_head() {
    let bytes = b"\x30\x16\0\x01a\x12\x01\x01\x02\0\0\0\x05\x03\0\x01t\x23\0\x07\x26\0\0\0\0";
    let mut bytes = bytes.to_vec();
    bytes[5] = 19; // length of the properties
    bytes[1] = (bytes.len() - 2) as u8;
    let Ok(Some(Packet::Publish(publish))) = one(&bytes, Version::V5) else { panic!("{:?}", one(&bytes, Version::V5)) };
    assert_eq!(&publish.properties.head[..], b"\x01\x01\x03\0\x01t\x26\0\0\0\0");
    assert_eq!((publish.properties.expiry, publish.properties.alias), (Some(5), Some(7)));
}

#[test]
fn a_large_payload_is_not_copied() {
    let mut bytes = BytesMut::new();
    let payload = Bytes::from(vec![1; 5000]);
    let publish = Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: "a".into(),
        packet_id: 0,
        properties: MessageProperties::default(),
        payload,
    };
    encode(&Packet::Publish(publish), Version::V5, &mut bytes);
    let range = bytes.as_ptr_range();
    let Ok(Some(Packet::Publish(back))) = decode(&mut bytes, Version::V5, LIMITS) else { panic!() };
    assert!(range.contains(&back.payload.as_ptr()));
}

fn text() -> impl Strategy<Value = String> {
    "[a-zé/]{1,12}"
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)]
}

fn payload() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn message_properties() -> impl Strategy<Value = MessageProperties> {
    (text(), any::<Option<u32>>(), proptest::collection::vec(1u32..300_000, 0..3)).prop_map(
        |(name, expiry, subscription_ids)| {
            let mut head = BytesMut::from(&[id::PAYLOAD_FORMAT, 1, id::USER_PROPERTY][..]);
            put_text(&mut head, &name);
            put_text(&mut head, "v");
            MessageProperties { head: head.freeze(), expiry, subscription_ids, ..MessageProperties::default() }
        },
    )
}

fn user_property() -> impl Strategy<Value = Properties> {
    text().prop_map(|name| {
        let mut properties = Properties::default();
        properties.add(id::USER_PROPERTY, PropertyValue::Pair(name, "v".into()));
        properties
    })
}

fn connect() -> impl Strategy<Value = Packet> {
    let will =
        (text(), qos(), any::<bool>(), any::<u32>(), payload()).prop_map(|(topic, qos, retain, delay, payload)| {
            let properties = MessageProperties { will_delay: delay, expiry: Some(3), ..MessageProperties::default() };
            LastWill { topic: topic.into(), qos, retain, properties, payload }
        });
    let will = proptest::option::of(will);
    (any::<bool>(), any::<u16>(), text(), will, proptest::option::of(text()), payload(), user_property()).prop_map(
        |(clean_start, keep_alive, client_id, will, user, password, properties)| {
            let (version, password) = (Version::V5, Some(password));
            let connect = Connect { version, clean_start, keep_alive, client_id, will, user, password, properties };
            Packet::Connect(Box::new(connect))
        },
    )
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let kind = prop_oneof![Just(AckKind::Puback), Just(AckKind::Pubrec), Just(AckKind::Pubrel), Just(AckKind::Pubcomp)];
    let reason = any::<u8>().prop_map(ReasonCode);
    let codes = proptest::collection::vec(any::<u8>().prop_map(ReasonCode), 1..4);
    let filter = (text(), qos(), any::<bool>(), any::<bool>()).prop_map(|(filter, qos, no_local, as_published)| {
        let retain_handling = RetainHandling::SendIfNew;
        SubscribeFilter { filter, qos, no_local, retain_as_published: as_published, retain_handling }
    });
    prop_oneof![
        connect(),
        (any::<bool>(), reason.clone(), user_property()).prop_map(|(session_present, reason, properties)| {
            Packet::Connack(Connack { session_present, reason, properties })
        }),
        (any::<bool>(), qos(), text(), 1u16.., message_properties(), payload()).prop_map(
            |(retain, qos, topic, id, properties, payload)| {
                let packet_id = if qos == Qos::AtMostOnce { 0 } else { id };
                let dup = retain && packet_id > 0;
                Packet::Publish(Publish { dup, qos, retain, topic: topic.into(), packet_id, properties, payload })
            }
        ),
        (kind, 1u16.., reason.clone(), user_property())
            .prop_map(|(kind, packet_id, reason, properties)| Packet::Ack(Ack { kind, packet_id, reason, properties })),
        (1u16.., proptest::collection::vec(filter, 1..4), user_property()).prop_map(
            |(packet_id, filters, properties)| Packet::Subscribe(Subscribe { packet_id, filters, properties })
        ),
        (1u16.., codes.clone(), user_property()).prop_map(|(packet_id, codes, properties)| Packet::Suback(Suback {
            packet_id,
            codes,
            properties
        })),
        (1u16.., proptest::collection::vec(text(), 1..4), user_property()).prop_map(
            |(packet_id, filters, properties)| Packet::Unsubscribe(Unsubscribe { packet_id, filters, properties })
        ),
        (1u16.., codes, user_property()).prop_map(|(packet_id, codes, properties)| Packet::Unsuback(Unsuback {
            packet_id,
            codes,
            properties
        })),
        Just(Packet::Pingreq),
        Just(Packet::Pingresp),
        (reason.clone(), user_property())
            .prop_map(|(reason, properties)| Packet::Disconnect(Disconnect { reason, properties })),
        (reason, user_property()).prop_map(|(reason, properties)| Packet::Auth(Auth { reason, properties })),
    ]
}

proptest! {
    #[test]
    fn packets_come_back_as_they_were(packet in any_packet()) {
        let mut bytes = BytesMut::new();
        encode(&packet, Version::V5, &mut bytes);
        prop_assert_eq!(decode(&mut bytes, Version::V5, LIMITS), Ok(Some(packet)));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        for version in [Version::V3, Version::V4, Version::V5] {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut input, version, LIMITS) {}
        }
    }

    /// One wrong byte in a valid packet: refused, or another valid packet that encodes to what was read.
    #[test]
    fn a_damaged_packet_never_panics(packet in any_packet(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = BytesMut::new();
        encode(&packet, Version::V5, &mut bytes);
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = decode(&mut bytes, Version::V5, LIMITS);
    }
}
