//! What goes in, how the others see it, what comes out.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{
    Address, Annotation, Body, ConsumerId, Delivery, Encoding, Format, Formats, Message, Meta, Seq, Time, Value, View,
    Wire,
};
use proptest::prelude::*;

use super::sections::{APPLICATION_PROPERTIES, MESSAGE_ANNOTATIONS, Sections};
use super::*;
use crate::codec::{DecodeError, Fields, ListWriter, MapWriter, put_descriptor};

fn section(code: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x53, code];
    bytes.extend_from_slice(value);
    bytes
}

fn message(payload: &[u8]) -> Message {
    let incoming = parse(&Bytes::copy_from_slice(payload), 32).unwrap();
    Message::new(Meta::new(Address::topic("a/b")), Encoding::Amqp10, incoming.head, incoming.body)
}

fn all_properties() -> BytesMut {
    let mut buf = BytesMut::new();
    ListWriter::described(&mut buf, 0x73)
        .value(&Value::Ulong(7))
        .value(&Value::Binary(b"me"[..].into()))
        .value(&Value::text("/topic/a/b"))
        .value(&Value::text("subject"))
        .value(&Value::text("queue://replies"))
        .value(&Value::Uuid([3; 16]))
        .value(&Value::Symbol("text/plain".into()))
        .value(&Value::Symbol("gzip".into()))
        .value(&Value::Timestamp(5_000))
        .value(&Value::Timestamp(1_000))
        .value(&Value::text("group"))
        .value(&Value::Uint(9))
        .value(&Value::text("reply-group"))
        .close();
    put_descriptor(&mut buf, APPLICATION_PROPERTIES);
    let mut map = MapWriter::new(&mut buf);
    map.pair(&Value::text("colour"), &Value::text("red"));
    map.pair(&Value::text("n"), &Value::Long(-1));
    map.close();
    buf
}

#[test]
fn every_property_has_its_place_in_the_view() {
    let mut payload = all_properties();
    payload.extend_from_slice(&section(0x75, &[0xa0, 1, b'x']));
    let message = message(&payload);
    let view = Amqp10Format.view(&message);
    assert_eq!(view.message_id, Some(Value::Ulong(7)));
    assert_eq!(view.correlation_id, Some(Value::Uuid([3; 16])));
    assert_eq!(view.user_id, Some(Value::Binary(b"me"[..].into())));
    assert_eq!(view.reply_to.as_deref(), Some("/queue/replies"), "canonical");
    assert_eq!((view.content_type.as_deref(), view.content_encoding.as_deref()), (Some("text/plain"), Some("gzip")));
    assert_eq!((view.subject.as_deref(), view.group_id.as_deref()), (Some("subject"), Some("group")));
    assert_eq!((view.group_sequence, view.reply_to_group_id.as_deref()), (Some(9), Some("reply-group")));
    assert_eq!(view.creation_time, Some(1_000));
    assert_eq!(view.application, [("colour".into(), Value::text("red")), ("n".into(), Value::Long(-1))]);
    assert_eq!(view.body, Body::Binary(b"x"[..].into()));
}

#[test]
fn bodies_are_bytes_text_or_json() {
    let table: [(Vec<u8>, &str, bool); 16] = [
        (section(0x77, &[0x40]), "null", true),
        (section(0x77, &[0x41]), "true", true),
        (section(0x77, &[0x54, 0xfb]), "-5", true),
        (section(0x77, &[0x82, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]), "1.5", true),
        (section(0x77, &[0x82, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]), "null", true),
        (section(0x77, &[0x82, 0, 0, 0, 0, 0, 0, 0, 1]), "5e-324", true),
        (section(0x77, &[0xa3, 2, b'"', 7]), "\"\\\"\\u0007\"", true),
        (section(0x77, &[0xc0, 3, 2, 0x43, 0x45]), "[0,[]]", true),
        (section(0x77, &[0xc1, 6, 2, 0xa1, 1, b'k', 0x52, 1]), "{\"k\":1}", true),
        (section(0x77, &[0xc1, 3, 2, 0x43, 0x45]), "{\"0\":[]}", true),
        (section(0x77, &[0xe0, 4, 2, 0x50, 1, 2]), "[1,2]", true),
        (section(0x77, &[0x00, 0x53, 1, 0x42]), "false", true),
        (section(0x77, &[0xa1, 2, b'h', b'i']), "hi", false),
        (section(0x77, &[0xa0, 2, 0, 1]), "\0\u{1}", false),
        ([section(0x76, &[0xc0, 2, 1, 0x41]), section(0x76, &[0xc0, 2, 1, 0x42])].concat(), "[true,false]", true),
        (section(0x76, &[0x45]), "[]", true),
    ];
    for (payload, expected, is_json) in table {
        let message = message(&payload);
        let view = Amqp10Format.view(&message);
        assert_eq!(view.body.bytes(), expected.as_bytes(), "{payload:02x?}");
        assert_eq!(view.content_type.as_deref(), is_json.then_some("application/json"));
    }
}

#[test]
fn data_sections_are_one_body_and_one_of_them_is_not_copied() {
    let one = message(&section(0x75, &[0xa0, 3, 1, 2, 3]));
    assert!(matches!(Amqp10Format.view(&one).body, Body::Binary(Cow::Borrowed([1, 2, 3]))));
    let two = message(&[section(0x75, &[0xa0, 1, 1]), section(0x75, &[0xa0, 1, 2])].concat());
    assert_eq!(Amqp10Format.view(&two).body.bytes(), [1, 2]);
    assert_eq!(Amqp10Format.view(&message(&[])).body.bytes(), b"");
}

#[test]
fn delivery_annotations_are_dropped_and_the_rest_kept_as_sent() {
    let annotations = section(MESSAGE_ANNOTATIONS, &[0xc1, 9, 2, 0xa3, 5, b'x', b'-', b'o', b'p', b't', 0x41]);
    let body = [section(0x75, &[0xa0, 1, 1]), section(0x78, &[0xc1, 1, 0])].concat();
    let payload = [section(0x70, &[0x45]), section(0x71, &[0xc1, 1, 0]), annotations.clone(), body.clone()].concat();
    let incoming = parse(&payload.into(), 32).unwrap();
    assert_eq!((&incoming.head[..], &incoming.body[..]), (&annotations[..], &body[..]));
}

#[test]
fn sections_out_of_place_are_refused() {
    let data = section(0x75, &[0xa0, 0]);
    let table = [
        [section(0x73, &[0x45]), section(0x70, &[0x45])].concat(),
        [section(0x70, &[0x45]), section(0x70, &[0x45])].concat(),
        [data.clone(), section(0x76, &[0x45])].concat(),
        [section(0x77, &[0x40]), section(0x77, &[0x40])].concat(),
        [section(0x78, &[0xc1, 1, 0]), data.clone()].concat(),
    ];
    for payload in table {
        assert_eq!(parse(&payload.into(), 32), Err(DecodeError::Misplaced));
    }
    let table = [
        section(0x70, &[0xc0, 2, 1, 0x52]),       // cut short inside
        section(0x70, &[0xc0, 3, 1, 0x52, 1]),    // durable is no number
        section(0x73, &[0xc0, 2, 1, 0x41]),       // a message-id is no boolean
        section(0x74, &[0xc1, 3, 2, 0x43, 0x40]), // a key is a string
        section(0x79, &[0x45]),                   // no such section
        section(0x72, &[0x45]),                   // annotations are a map
        vec![0x00, 0xa3, 3, b'f', b'o', b'o', 0x45],
    ];
    for payload in table {
        assert!(parse(&payload.clone().into(), 32).is_err(), "{payload:02x?}");
    }
    let named = [&[0x00, 0xa3, 16][..], b"amqp:data:binary", &[0xa0, 0]].concat();
    assert!(parse(&named.into(), 32).is_ok(), "descriptors may be symbols");
}

#[test]
fn the_jms_kind_of_a_destination_is_read() {
    let mut buf = BytesMut::new();
    put_descriptor(&mut buf, MESSAGE_ANNOTATIONS);
    let mut map = MapWriter::new(&mut buf);
    map.pair(&Value::Symbol("x-opt-jms-dest".into()), &Value::Byte(1));
    map.close();
    assert_eq!(parse(&buf.freeze(), 32).unwrap().jms_dest, Some(1));
}

fn delivered(message: Message, now: u64, failed_count: u32, redelivered: bool) -> Bytes {
    let delivery = Delivery {
        consumer: ConsumerId(1),
        seq: Seq(1),
        message: Arc::new(message),
        failed_count,
        redelivered,
        retained: false,
    };
    let formats = Formats::default().with(Encoding::Stomp, &Fixed);
    let mut payload = encode(&delivery, false, &formats, Time(now));
    let mut wire = Wire::default();
    let (all, half) = (payload.len(), payload.len() / 2);
    payload.write_front(half, &mut wire);
    payload.write_front(usize::MAX, &mut wire);
    let bytes: BytesMut = wire.take().into_iter().flatten().collect();
    assert_eq!(bytes.len(), all);
    bytes.freeze()
}

/// Another protocol's message, with everything in it.
struct Fixed;

impl Format for Fixed {
    fn view<'a>(&self, message: &'a Message) -> View<'a> {
        let mut view = View::new(Body::Binary(Cow::Borrowed(&message.body)));
        view.message_id = Some(Value::text("id-1"));
        view.correlation_id = Some(Value::Int(5));
        view.reply_to = Some("/queue/r".into());
        view.content_type = Some("text/plain".into());
        view.content_encoding = Some("é".into());
        view.user_id = Some(Value::text("me"));
        view.group_sequence = Some(3);
        view.creation_time = Some(77);
        view.application.push(("k".into(), Value::Bool(true)));
        view
    }
}

fn header(bytes: &[u8]) -> (bool, Option<u8>, Option<u32>, bool, Option<u32>) {
    let section = Sections::new(bytes).next().unwrap().unwrap();
    assert_eq!(section.code, 0x70);
    let mut fields = Fields::of(section.value).unwrap();
    (fields.flag().unwrap(), fields.u8().unwrap(), fields.u32().unwrap(), fields.flag().unwrap(), fields.u32().unwrap())
}

#[test]
fn the_header_is_fresh_and_the_bare_message_untouched() {
    let mut payload = all_properties();
    payload.extend_from_slice(&section(0x75, &[0xa0, 1, b'x']));
    let mut sent = message(&payload);
    sent.meta.durable = true;
    sent.meta.priority = 7;
    sent.meta.expires_at = Some(Time(10_000));
    let bytes = delivered(sent, 9_000, 2, true);
    assert_eq!(header(&bytes), (true, Some(7), Some(1_000), false, Some(2)));
    assert!(bytes.ends_with(&payload), "as the publisher signed it");
    let bytes = delivered(message(&payload), 0, 0, false);
    assert_eq!(header(&bytes), (false, None, None, true, None));
}

#[test]
fn the_brokers_annotations_join_the_publishers() {
    let annotations = section(MESSAGE_ANNOTATIONS, &[0xc1, 5, 2, 0xa3, 1, b'a', 0x41]);
    let mut sent = message(&[annotations, all_properties().to_vec(), section(0x75, &[0xa0, 0])].concat());
    sent.annotations.push(Annotation { name: "dead-letter-reason".into(), value: "expired".into() });
    let bytes = delivered(sent, 0, 0, false);
    let mut sections = Sections::new(&bytes).map(Result::unwrap).skip(1);
    let section = sections.next().unwrap();
    let items: Vec<String> =
        super::sections::map(section.value).unwrap().map(|item| crate::tests::show(&item.unwrap())).collect();
    assert_eq!(items, ["a", "true", "x-opt-dead-letter-reason", "expired"]);
    assert_eq!(sections.next().unwrap().code, 0x73);
    assert!(parse(&bytes, 32).is_ok());
}

/// The annotations of a delivery, keys and values.
fn annotations(bytes: &[u8]) -> Vec<String> {
    let section = Sections::new(bytes).map(Result::unwrap).find(|section| section.code == MESSAGE_ANNOTATIONS).unwrap();
    super::sections::map(section.value).unwrap().map(|item| crate::tests::show(&item.unwrap())).collect()
}

/// 1.6.23: a map has no key twice. And nobody else says why a message is dead.
#[test]
fn annotations_that_only_the_gateway_writes_are_taken_off_what_is_forwarded() {
    let mut payload = BytesMut::new();
    put_descriptor(&mut payload, MESSAGE_ANNOTATIONS);
    let mut map = MapWriter::new(&mut payload);
    for name in ["x-opt-dead-letter-reason", "a", "x-stream-offset", "x-opt-retained", "x-opt-dead-letter-x", "b"] {
        map.pair(&Value::Symbol(name.into()), &Value::text("forged"));
    }
    map.pair(&Value::text("x-opt-dead-letter-queue"), &Value::Bool(true));
    map.close();
    payload.extend_from_slice(&all_properties());
    let body = section(0x75, &[0xa0, 1, b'x']);
    payload.extend_from_slice(&body);
    let sent = message(&payload);
    assert_eq!(annotations(&sent.head), ["a", "forged", "b", "forged"]);
    assert!(sent.head.ends_with(&all_properties()));
    let front = parse_front(&payload.freeze(), 32).unwrap().unwrap();
    assert_eq!((&front.head, &front.body[..]), (&sent.head, &body[..]), "of a large message too");
    let mut dead = sent;
    dead.annotations.push(Annotation { name: "dead-letter-reason".into(), value: "expired".into() });
    let bytes = delivered(dead, 0, 0, false);
    assert_eq!(annotations(&bytes), ["a", "forged", "b", "forged", "x-opt-dead-letter-reason", "expired"]);
}

#[test]
fn numbers_and_times_of_a_dead_letter_go_as_such() {
    let mut sent = message(&section(0x75, &[0xa0, 0]));
    for (name, value) in [("dead-letter-count", "3"), ("dead-letter-last-time", "9000"), ("dead-letter-queue", "7")] {
        sent.annotations.push(Annotation { name: name.into(), value: value.into() });
    }
    let bytes = delivered(sent, 0, 0, false);
    let section = Sections::new(&bytes).map(Result::unwrap).find(|section| section.code == MESSAGE_ANNOTATIONS);
    let values = super::sections::map(section.unwrap().value).unwrap().map(Result::unwrap).skip(1).step_by(2);
    let expected = [Value::Long(3), Value::Timestamp(9000), Value::text("7")];
    assert_eq!(values.collect::<Vec<_>>(), expected.map(crate::codec::Item::Simple));
}

#[test]
fn another_protocols_message_is_converted_once_and_its_body_shared() {
    let body = Bytes::from(vec![b'z'; 5000]);
    let mut sent = Message::new(Meta::new(Address::topic("a/b")), Encoding::Stomp, Bytes::new(), body.clone());
    sent.meta.expires_at = Some(Time(50));
    let delivery = Delivery {
        consumer: ConsumerId(1),
        seq: Seq(1),
        message: Arc::new(sent),
        failed_count: 0,
        redelivered: false,
        retained: false,
    };
    let formats = Formats::default().with(Encoding::Stomp, &Fixed);
    let mut payload = encode(&delivery, false, &formats, Time(0));
    let mut wire = Wire::default();
    payload.write_front(usize::MAX, &mut wire);
    let segments = wire.take();
    assert_eq!(segments.back().unwrap().as_ptr(), body.as_ptr(), "no copy");
    let bytes: BytesMut = segments.into_iter().flatten().collect();
    let back = message(&bytes);
    let view = Amqp10Format.view(&back);
    assert_eq!((view.message_id, view.correlation_id), (Some(Value::text("id-1")), Some(Value::text("5"))));
    assert_eq!((view.reply_to.as_deref(), view.content_type.as_deref()), (Some("/queue/r"), Some("text/plain")));
    assert_eq!((view.content_encoding, view.group_sequence, view.creation_time), (None, Some(3), Some(77)));
    assert_eq!(view.user_id, Some(Value::Binary(b"me"[..].into())));
    assert_eq!(view.application, [("k".into(), Value::Bool(true))]);
    assert_eq!(view.body.bytes(), body);
    let incoming = parse(&bytes.freeze(), 32).unwrap();
    assert_eq!((incoming.to.as_deref(), incoming.absolute_expiry), (Some("/topic/a/b"), Some(50)));
}

#[test]
fn what_a_publisher_of_another_protocol_asked_for_is_annotated() {
    let mut sent = Message::new(Meta::new(Address::queue("q")), Encoding::Stomp, Bytes::new(), Bytes::new());
    let rare = sent.meta.rare_mut();
    rare.deliver_at = Some(Time(77));
    rare.dedup_id = Some("once".into());
    rare.discardable = true;
    sent.annotations.push(Annotation { name: "reason".into(), value: "r".into() });
    let bytes = delivered(sent, 0, 0, false);
    let section = Sections::new(&bytes).map(Result::unwrap).find(|section| section.code == MESSAGE_ANNOTATIONS);
    let items: Vec<_> = super::sections::map(section.unwrap().value).unwrap().map(Result::unwrap).collect();
    let pairs: Vec<String> = items.iter().map(crate::tests::show).collect();
    let reply_to = ["x-opt-jms-reply-to", "0"];
    let expected = ["x-opt-reason", "r", "x-opt-delivery-time", "77", "x-opt-dedup-id", "once", "x-opt-discardable"];
    assert_eq!(pairs[..2], reply_to);
    assert_eq!(pairs[2..9], expected);
}

/// A message with a reply-to, and an annotation of its kind.
fn with_reply_to(address: &str, kind: Option<Value<'_>>) -> Message {
    let mut payload = BytesMut::new();
    if let Some(kind) = kind {
        put_descriptor(&mut payload, MESSAGE_ANNOTATIONS);
        let mut map = MapWriter::new(&mut payload);
        map.pair(&Value::Symbol("x-opt-jms-dest".into()), &Value::Byte(0));
        map.pair(&Value::Symbol("x-opt-jms-reply-to".into()), &kind);
        map.close();
    }
    ListWriter::described(&mut payload, 0x73).null().null().null().null().value(&Value::text(address)).close();
    message(&payload)
}

#[test]
fn jms_says_in_an_annotation_what_kind_of_address_its_reply_to_is() {
    let table = [
        ("a/b", None, "a/b"),
        ("a/b", Some(Value::Byte(0)), "/queue/a/b"),
        ("a/b", Some(Value::Byte(1)), "/topic/a/b"),
        ("a/b", Some(Value::Byte(2)), "/queue/a/b"),
        ("a/b", Some(Value::Byte(3)), "/topic/a/b"),
        ("a/b", Some(Value::text("1")), "a/b"),
        // What the address says itself counts.
        ("/queue/a", Some(Value::Byte(1)), "/queue/a"),
        ("topic://a", Some(Value::Byte(0)), "/topic/a"),
    ];
    for (address, kind, expected) in table {
        let message = with_reply_to(address, kind.clone());
        assert_eq!(Amqp10Format.view(&message).reply_to.as_deref(), Some(expected), "{address} {kind:?}");
    }
}

#[test]
fn the_kind_of_another_protocols_reply_to_is_told_to_jms() {
    let table = [
        ("/queue/a", Some(Value::Byte(0))),
        ("/topic/a", Some(Value::Byte(1))),
        ("/queue/$temporary/a", Some(Value::Byte(2))),
        ("/topic/$temporary/a", Some(Value::Byte(3))),
        ("elsewhere", None),
    ];
    for (address, expected) in table {
        let sent = Message::new(Meta::new(Address::queue("q")), Encoding::Stomp, Bytes::new(), Bytes::new());
        let mut view = View::new(Body::Binary(b""[..].into()));
        view.reply_to = Some(address.into());
        let (head, body) = super::convert::convert(&sent, &view);
        let number = Sections::new(&head)
            .map(Result::unwrap)
            .find(|section| section.code == MESSAGE_ANNOTATIONS)
            .and_then(|section| super::annotations::jms_number_in(section.value, "x-opt-jms-reply-to"));
        assert_eq!(number.map(Value::Byte), expected, "{address}");
        assert_eq!(Amqp10Format.view(&message(&[head, body].concat())).reply_to.as_deref(), Some(address));
    }
}

#[test]
fn text_of_another_protocol_is_an_amqp_value() {
    struct Text;
    impl Format for Text {
        fn view<'a>(&self, _: &'a Message) -> View<'a> {
            View::new(Body::Text("héllo".into()))
        }
    }
    let sent = Message::new(Meta::new(Address::queue("q")), Encoding::Stomp, Bytes::new(), Bytes::new());
    let (head, body) = super::convert::convert(&sent, &Text.view(&sent));
    let back = message(&[head, body].concat());
    assert_eq!(Amqp10Format.view(&back).body, Body::Text("héllo".into()));
}

proptest! {
    #[test]
    fn arbitrary_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), code in 0x70..0x79u8) {
        for payload in [bytes.clone(), section(code, &bytes)] {
            let payload = Bytes::from(payload);
            let _ = parse(&payload, 32);
            // Even what was never checked is only left out.
            let raw = Message::new(Meta::new(Address::queue("q")), Encoding::Amqp10, payload.clone(), payload);
            let _ = Amqp10Format.view(&raw);
        }
    }

    #[test]
    fn a_valid_value_becomes_json_of_bounded_size(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let payload = section(0x77, &bytes);
        if let Ok(incoming) = parse(&Bytes::from(payload.clone()), 32) {
            let message = Message::new(Meta::new(Address::queue("q")), Encoding::Amqp10, incoming.head, incoming.body);
            prop_assert!(Amqp10Format.view(&message).body.bytes().len() <= payload.len() * 16 + 64);
        }
    }

    #[test]
    fn application_properties_come_back(pairs in proptest::collection::vec((".{0,20}", any::<i64>()), 0..20)) {
        let mut buf = BytesMut::new();
        put_descriptor(&mut buf, APPLICATION_PROPERTIES);
        let mut map = MapWriter::new(&mut buf);
        for (name, value) in &pairs {
            map.pair(&Value::text(name), &Value::Long(*value));
        }
        map.close();
        let message = message(&buf);
        let seen = Amqp10Format.view(&message).application;
        prop_assert_eq!(seen.len(), pairs.len());
        for ((name, value), (sent, number)) in seen.iter().zip(&pairs) {
            prop_assert_eq!((name.as_ref(), value), (sent.as_str(), &Value::Long(*number)));
        }
    }
}
