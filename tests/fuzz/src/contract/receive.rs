//! Delivers a message to a consumer of each protocol and checks what it gets.

use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{Address, Body, Delivery, Encoding, Event, Message, Meta, Seq, Session, View};
use evergate_mqtt::codec::{Packet, Publish, Qos, Version};
use evergate_stomp::codec::{Command, Frame};

use super::drive::{Driver, START};
use super::input::Input;
use super::{amqp_bytes, amqp_decode, mqtt_bytes, stomp_bytes};

/// What the consumers' session gets for `message`: one delivery.
fn deliver<S: Session>(session: S, opening: &[u8], message: &Arc<Message>) -> Vec<u8> {
    let silent = Input { plan: 0, script: &[], stream: &[] };
    let mut driver = Driver::new(session, silent.choices());
    driver.gateway.stocked = false;
    driver.receive(opening);
    driver.answer_all();
    assert!(driver.close.is_none(), "{:?}", driver.close);
    let consumer = driver.gateway.consumers().last().expect("a consumer");
    driver.wire.clear();
    driver.gateway.count(message);
    driver.tell(Event::Deliver(Delivery {
        consumer,
        seq: Seq(1 << 40),
        message: message.clone(),
        failed_count: 0,
        redelivered: false,
        retained: false,
    }));
    driver.wire
}

/// The names that a conversion carries properties without a place under.
const NAMED: [&str; 11] = [
    "message-id",
    "correlation-id",
    "reply-to",
    "content-type",
    "content-encoding",
    "subject",
    "group-id",
    "group-sequence",
    "reply-to-group-id",
    "user-id",
    "creation-time",
];

/// Headers that a MESSAGE writes itself, or that belong to one frame only.
const RESERVED: [&str; 12] = [
    "destination",
    "receipt",
    "receipt-id",
    "transaction",
    "content-length",
    "subscription",
    "ack",
    "message-id",
    "redelivered",
    "persistent",
    "priority",
    "expires",
];

/// Delivers `message` to a consumer of each protocol, of the versions that `choice` picks. Its body
/// arrives as it is.
pub fn everywhere(message: &Arc<Message>, choice: u8) {
    let formats = crate::formats();
    let view = formats.view(message);
    to_mqtt(message, &view, mqtt_bytes::VERSIONS[usize::from(choice % 3)]);
    to_stomp(message, &view, stomp_bytes::VERSIONS[usize::from(choice / 3 % 3)]);
    to_amqp(message, &view);
}

fn to_mqtt(message: &Arc<Message>, view: &View<'_>, version: Version) {
    if Address::check_topic(&message.meta.address.name).is_err() {
        return; // no MQTT client can subscribe to a queue of this name
    }
    let connect = mqtt_bytes::bytes(&mqtt_bytes::connect(version), version);
    let subscribe = mqtt_bytes::bytes(&mqtt_bytes::subscribe(version, "$queue/q", Qos::ExactlyOnce), version);
    let wire = deliver(mqtt_bytes::session(), &[connect, subscribe].concat(), message);
    match &mqtt_bytes::packets(&wire, version)[..] {
        [Packet::Publish(publish)] => {
            assert_eq!(publish.payload, view.body.bytes());
            if version == Version::V5 {
                mqtt_properties(publish, view);
            }
        }
        [] => assert!(message.is_expired(START) || message.meta.address.name.len() > 60_000),
        other => panic!("one PUBLISH was expected: {other:?}"),
    }
}

/// What has no place of its own arrives as a user property, if MQTT can write text of its length.
fn mqtt_properties(publish: &Publish, view: &View<'_>) {
    let meta = Meta::new(Address::queue("q"));
    let back = Message::new(meta, Encoding::Mqtt5, publish.properties.head.clone(), publish.payload.clone());
    let formats = crate::formats();
    let seen = formats.view(&back);
    for (name, value) in &view.application {
        let (name, text) = (name.replace('\0', "\u{fffd}"), value.to_text().replace('\0', "\u{fffd}"));
        let fits = u16::try_from(name.len()).is_ok() && u16::try_from(text.len()).is_ok();
        let arrived = seen.application.iter().any(|(known, value)| *known == name && value.to_text() == text);
        assert!(arrived || !fits || NAMED.contains(&&*name) || name == "priority", "{name:?} did not arrive");
    }
}

fn to_stomp(message: &Arc<Message>, view: &View<'_>, version: evergate_stomp::codec::Version) {
    let opening = [stomp_bytes::connect(version), stomp_bytes::subscribe("/queue/q")].concat();
    let wire = deliver(stomp_bytes::session(), &opening, message);
    match &stomp_bytes::frames(&wire, version)[..] {
        [frame] => {
            assert_eq!(frame.command, Command::Message);
            assert_eq!(frame.body, view.body.bytes());
            let header = |name| frame.headers.get(name);
            assert_eq!(header("content-length"), Some(&*frame.body.len().to_string()));
            if version == evergate_stomp::codec::Version::V1_2 {
                assert_eq!(header("destination"), Some(&*message.meta.address.to_string().replace('\0', "\u{fffd}")));
                stomp_headers(frame, view);
            }
        }
        other => panic!("one MESSAGE was expected: {other:?}"),
    }
}

/// What has no place of its own arrives as a header, unless its name means something else in a MESSAGE.
fn stomp_headers(frame: &Frame, view: &View<'_>) {
    for (name, value) in &view.application {
        let (name, text) = (name.replace('\0', "\u{fffd}"), value.to_text().replace('\0', "\u{fffd}"));
        let arrived = frame.headers.iter().any(|(known, value)| known == name && value == text);
        let taken = name.is_empty() || RESERVED.contains(&&*name) || NAMED.contains(&&*name);
        assert!(arrived || taken, "{name:?} did not arrive");
    }
}

/// AMQP is the hub: all that the view has arrives, but for what AMQP has no type for.
fn to_amqp(message: &Arc<Message>, view: &View<'_>) {
    let mut opening = amqp_bytes::opening(false);
    opening.extend(amqp_bytes::framed(&amqp_bytes::records(&[
        amqp_bytes::attach("r", 0, true, Some("/queue/q"), None, 0),
        amqp_bytes::flow(0, 100, false),
    ])));
    let wire = deliver(amqp_bytes::session(), &opening, message);
    let payload: Bytes = amqp_bytes::transferred(&wire);
    let back = amqp_decode::delivered(&payload);
    assert_eq!((back.meta.durable, back.meta.priority), (message.meta.durable, message.meta.priority));
    if message.encoding == Encoding::Amqp10 {
        return assert_eq!((&back.head, &back.body), (&message.head, &message.body));
    }
    let formats = crate::formats();
    let seen = formats.view(&back);
    assert_eq!(seen.body.bytes(), view.body.bytes());
    assert_eq!(matches!(seen.body, Body::Text(_)), matches!(view.body, Body::Text(_)));
    assert_eq!(seen.reply_to, view.reply_to);
    assert_eq!(seen.subject, view.subject);
    assert_eq!(seen.group_id, view.group_id);
    assert_eq!(seen.group_sequence, view.group_sequence);
    assert_eq!(seen.reply_to_group_id, view.reply_to_group_id);
    assert_eq!(seen.creation_time, view.creation_time);
    assert_eq!(seen.correlation_id, view.correlation_id);
    assert_eq!(seen.message_id, view.message_id);
    for (name, value) in &view.application {
        let arrived = seen.application.iter().any(|(known, text)| known == name && text == value);
        assert!(arrived || NAMED.contains(&&**name), "{name:?} did not arrive");
    }
}
