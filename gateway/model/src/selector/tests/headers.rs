//! What the names of header fields stand for.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{F, T, message, truth, view};
use crate::selector::identifier::HEADERS;
use crate::{Address, Annotation, Encoding, Format, Formats, Message, Selector, Time, Value, View};

fn full_message() -> Message {
    let mut message = message();
    message.meta.address = Address::topic("shop/eu");
    message.meta.durable = true;
    message.meta.priority = 7;
    message.meta.ingress = Time(1_000);
    message.meta.expires_at = Some(Time(61_000));
    message
}

fn full_view() -> View<'static> {
    let mut view = view(&[("JMSType", Value::text("a property of that name is not reached"))]);
    view.message_id = Some(Value::text("ID:1"));
    view.correlation_id = Some(Value::Ulong(9));
    view.reply_to = Some("/queue/answers".into());
    view.content_type = Some("text/plain".into());
    view.content_encoding = Some("gzip".into());
    view.subject = Some("car".into());
    view.group_id = Some("g".into());
    view.group_sequence = Some(3);
    view.reply_to_group_id = Some("rg".into());
    view.user_id = Some(Value::Binary(b"anna"[..].into()));
    view.creation_time = Some(500);
    view
}

const FULL: &[&str] = &[
    "JMSDeliveryMode = 'PERSISTENT'",
    "JMSPriority = 7",
    "JMSMessageID = 'ID:1'",
    "JMSTimestamp = 500",
    "JMSCorrelationID = 'ID:AMQP_ULONG:9'",
    "JMSType = 'car'",
    "JMSXGroupID = 'g'",
    "JMSXGroupSeq = 3",
    "JMSXUserID = 'anna'",
    "JMSReplyTo = '/queue/answers'",
    "JMSDestination = '/topic/shop/eu'",
    "JMSExpiration = 61000",
    "amqp.durable = TRUE",
    "amqp.delivery_mode = 'PERSISTENT'",
    "amqp.priority = 7",
    "amqp.ttl = 60000",
    "amqp.message_id = 'ID:1'",
    "amqp.user_id = 'anna'",
    "amqp.to = '/topic/shop/eu'",
    "amqp.subject = 'car'",
    "amqp.jms_type = 'car'",
    "amqp.reply_to = '/queue/answers'",
    "amqp.correlation_id = 9",
    "amqp.content_type = 'text/plain'",
    "amqp.content_encoding = 'gzip'",
    "amqp.absolute_expiry_time = 61000",
    "amqp.creation_time = 500",
    "amqp.group_id = 'g'",
    "amqp.group_sequence = 3",
    "amqp.reply_to_group_id = 'rg'",
    "\"amqp.subject\" = 'car'",
];

#[test]
fn every_header_field_has_its_value() {
    let (message, view) = (full_message(), full_view());
    for text in FULL {
        assert_eq!(truth(text, &message, &view), T, "{text}");
    }
    for (name, _) in HEADERS {
        assert!(FULL.iter().any(|text| text.starts_with(name)), "no row for {name}");
    }
}

#[test]
fn header_fields_that_are_not_set_are_null_but_for_those_with_a_default() {
    let (message, view) = (message(), view(&[]));
    let set = ["JMSDeliveryMode", "JMSPriority", "JMSDestination", "JMSExpiration"];
    let set_too = ["amqp.durable", "amqp.delivery_mode", "amqp.priority", "amqp.to"];
    for (name, _) in HEADERS {
        let expected = if set.contains(name) || set_too.contains(name) { F } else { T };
        assert_eq!(truth(&format!("{name} IS NULL"), &message, &view), expected, "{name}");
    }
    for text in [
        "JMSDeliveryMode = 'NON_PERSISTENT'",
        "JMSPriority = 4",
        "JMSDestination = '/queue/orders'",
        "JMSExpiration = 0",
        "amqp.durable = FALSE",
    ] {
        assert_eq!(truth(text, &message, &view), T, "{text}");
    }
}

#[test]
fn ids_are_written_as_the_jms_mapping_writes_them() {
    let message = message();
    for (id, jms, amqp) in [
        (Value::text("x"), "'x'", "'x'"),
        (Value::Ulong(7), "'ID:AMQP_ULONG:7'", "7"),
        (
            Value::Uuid([0xab; 16]),
            "'ID:AMQP_UUID:abababab-abab-abab-abab-abababababab'",
            "'abababab-abab-abab-abab-abababababab'",
        ),
    ] {
        let mut view = view(&[]);
        view.message_id = Some(id.clone());
        view.correlation_id = Some(id);
        let text = format!(
            "JMSMessageID = {jms} AND JMSCorrelationID = {jms} AND amqp.message_id = {amqp} AND amqp.correlation_id = {amqp}"
        );
        assert_eq!(truth(&text, &message, &view), T, "{text}");
    }
    let mut view = view(&[]);
    view.correlation_id = Some(Value::Binary(b"\x01\xab"[..].into()));
    assert_eq!(truth("JMSCorrelationID = 'ID:AMQP_BINARY:01AB'", &message, &view), T);
    assert_eq!(truth("amqp.correlation_id IS NOT NULL", &message, &view), T);
}

#[test]
fn the_group_that_the_session_read_counts() {
    let mut message = message();
    message.meta.rare_mut().group_id = Some("g".into());
    assert_eq!(truth("JMSXGroupID = 'g'", &message, &view(&[])), T);
}

/// Counts how often a view is made.
struct Counting(AtomicUsize);

impl Format for Counting {
    fn view<'a>(&self, _message: &'a Message) -> View<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        full_view()
    }
}

#[test]
fn a_view_is_made_only_if_the_expression_needs_one() {
    static FORMAT: Counting = Counting(AtomicUsize::new(0));
    let formats = Formats::default().with(Encoding::Plain, &FORMAT);
    let message = full_message();
    let matches = |text: &str| Selector::parse(text).unwrap().matches_with(&message, &formats);
    assert!(matches(
        "JMSPriority > 4 AND JMSDeliveryMode = 'PERSISTENT' AND JMSDestination LIKE '%eu' AND amqp.ttl > 1"
    ));
    assert!(!matches("JMSExpiration = 0"));
    assert_eq!(FORMAT.0.load(Ordering::Relaxed), 0);
    assert!(matches("JMSPriority > 4 AND JMSXGroupSeq = 3"));
    assert_eq!(FORMAT.0.load(Ordering::Relaxed), 1);
}

#[test]
fn what_the_gateway_added_is_selected_by_the_names_that_consumers_receive() {
    let mut message = message();
    let notes = [("dead-letter-queue", "orders"), ("dead-letter-reason", "rejected"), ("dead-letter-count", "3")];
    message.annotations =
        notes.into_iter().map(|(name, value)| Annotation { name: name.into(), value: value.into() }).collect();
    // The publisher cannot pretend that a message comes from elsewhere.
    let view = view(&[("dead-letter-queue", Value::text("forged")), ("colour", Value::text("red"))]);
    let many = format!("{} AND \"dead-letter-queue\" = 'orders'", ["colour = 'red'"; 20].join(" AND "));
    let table = [
        ("\"dead-letter-queue\" = 'orders'", T),
        ("\"dead-letter-queue\" = 'forged'", F),
        ("\"x-opt-dead-letter-queue\" = 'orders' AND colour = 'red'", T),
        ("\"dead-letter-reason\" IN ('rejected', 'expired')", T),
        ("\"dead-letter-reason\" LIKE 'exp%'", F),
        ("\"dead-letter-origin\" IS NULL", T),
        ("convert_string_expressions:\"dead-letter-count\" >= 3", T),
        (&many, T),
    ];
    for (text, expected) in table {
        assert_eq!(truth(text, &message, &view), expected, "{text}");
    }
}
