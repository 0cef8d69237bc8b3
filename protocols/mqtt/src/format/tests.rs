use super::*;
use evergate_model::{Meta, Time};

use crate::codec::MessageProperties;

fn mqtt(head: &'static [u8], body: &'static [u8]) -> Message {
    let meta = Meta::new(Address::topic("a"));
    Message::new(meta, Encoding::Mqtt5, Bytes::from_static(head), Bytes::from_static(body))
}

/// What another protocol's message looks like to MQTT 5: its properties, and its payload.
fn converted(view: &'static View<'static>, meta: Meta) -> (Bytes, Bytes) {
    struct Fixed(&'static View<'static>);
    impl Format for Fixed {
        fn view<'a>(&self, _: &'a Message) -> View<'a> {
            self.0.clone()
        }
    }
    let formats = Formats::default().with(Encoding::Stomp, Box::leak(Box::new(Fixed(view))));
    to_mqtt5(&formats, &Message::new(meta, Encoding::Stomp, Bytes::new(), Bytes::new()))
}

#[test]
fn every_property_is_read_into_its_field() {
    let message = mqtt(
        b"\x24\x06\x01\x01\x03\0\x0atext/plain\x08\0\x03r/t\x09\0\x0242\
          \x26\0\x07subject\0\x01s\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w\x26\0\x08priority\0\x017",
        b"hello",
    );
    let view = MqttFormat.view(&message);
    assert_eq!(view.body, Body::Text("hello".into()));
    assert_eq!(view.content_type.as_deref(), Some("text/plain"));
    assert_eq!(view.reply_to.as_deref(), Some("/topic/r/t"));
    assert_eq!(view.correlation_id, Some(Value::String("42".into())));
    assert_eq!(view.subject.as_deref(), Some("s"));
    assert_eq!(view.application, [("k".into(), Value::text("v")), ("k".into(), Value::text("w"))]);
}

#[test]
fn binary_stays_binary() {
    let view_of = |message: &'static Message| MqttFormat.view(message);
    let message = Box::leak(Box::new(mqtt(b"\x01\x01\x09\0\x02\xff\x00", b"\xff\0")));
    let view = view_of(message);
    assert_eq!(view.body, Body::Binary(b"\xff\0".as_slice().into()), "the indicator lied");
    assert_eq!(view.correlation_id, Some(Value::Binary(b"\xff\0".as_slice().into())));
}

#[test]
fn queues_and_topics_have_both_names() {
    assert_eq!(canonical("$queue/x"), "/queue/x");
    assert_eq!(canonical("a/b"), "/topic/a/b");
    assert_eq!(response_topic("/queue/x").as_deref(), Some("$queue/x"));
    assert_eq!(response_topic("/topic/a/b").as_deref(), Some("a/b"));
    assert_eq!(response_topic("elsewhere").as_deref(), Some("elsewhere"));
    assert_eq!(response_topic("/topic/a/+"), None);
}

#[test]
fn what_mqtt_has_no_place_for_travels_as_user_properties_and_comes_back() {
    let mut view = View::new(Body::Text("é".into()));
    view.message_id = Some(Value::Ulong(9));
    view.correlation_id = Some(Value::Binary(b"\0\x01".as_slice().into()));
    view.reply_to = Some("/queue/answers".into());
    view.content_type = Some("text/plain".into());
    view.subject = Some("s".into());
    view.group_sequence = Some(3);
    view.application = vec![("n".into(), Value::Long(-7)), ("nul".into(), Value::text("a\0b"))];
    let mut meta = Meta::new(Address::topic("a"));
    meta.priority = 9;
    let (head, body) = converted(Box::leak(Box::new(view)), meta.clone());
    let mut read = Meta::new(Address::topic("a"));
    read_wishes(Time(0), &head, &mut read);
    assert_eq!(read.priority, 9);

    let message = Message::new(meta, Encoding::Mqtt5, head, body);
    let back = MqttFormat.view(&message);
    assert_eq!(back.body, Body::Text("é".into()));
    assert_eq!(back.message_id, Some(Value::text("9")));
    assert_eq!(back.correlation_id, Some(Value::Binary(b"\0\x01".as_slice().into())));
    assert_eq!(back.reply_to.as_deref(), Some("/queue/answers"));
    assert_eq!(back.content_type.as_deref(), Some("text/plain"));
    assert_eq!((back.subject.as_deref(), back.group_sequence), (Some("s"), Some(3)));
    assert_eq!(back.application, [("n".into(), Value::text("-7")), ("nul".into(), Value::text("a\u{FFFD}b"))]);
}

#[test]
fn a_field_counts_more_than_a_user_property_of_its_name_wherever_that_stands() {
    let fields = b"\x03\0\x04text\x08\0\x01r\x09\0\x04mine";
    let mut pairs = BytesMut::new();
    for name in ["reply-to", "correlation-id", "content-type"] {
        put_pair(&mut pairs, name, "/queue/other");
    }
    for head in [[&fields[..], &pairs[..]].concat(), [&pairs[..], &fields[..]].concat()] {
        let message = Message::new(Meta::new(Address::topic("a")), Encoding::Mqtt5, head.into(), Bytes::new());
        let view = MqttFormat.view(&message);
        assert_eq!((view.reply_to.as_deref(), view.content_type.as_deref()), (Some("/topic/r"), Some("text")));
        assert_eq!(view.correlation_id, Some(Value::text("mine")));
        assert_eq!(view.application.len(), 3, "they are user properties as any other");
    }
    let message = Message::new(Meta::new(Address::topic("a")), Encoding::Mqtt5, pairs.freeze(), Bytes::new());
    let view = MqttFormat.view(&message);
    assert_eq!((view.reply_to.as_deref(), view.application.len()), (Some("/queue/other"), 0));
}

#[test]
fn a_property_longer_than_mqtt_can_write_is_left_out() {
    for (length, there) in [(65_535, true), (65_536, false)] {
        let mut view = View::new(Body::Binary(b"".as_slice().into()));
        view.application = vec![("long".into(), Value::text("x".repeat(length)))];
        let (head, _) = converted(Box::leak(Box::new(view)), Meta::new(Address::topic("a")));
        assert_eq!(!head.is_empty(), there);
    }
}

#[test]
fn the_flags_survive_and_are_not_part_of_the_properties() {
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        for retain in [false, true] {
            let head = Bytes::from_static(b"\x01\x01");
            let given = MessageProperties { head: head.clone(), ..MessageProperties::default() };
            let message = crate::session::message_for_test(Time(0), qos, retain, given);
            assert_eq!(Flags::of(&message), Flags { qos, retain });
            assert_eq!(properties(&message.head), &head[..]);
        }
    }
}

#[test]
fn a_body_that_is_passed_on_is_not_copied() {
    let body = Bytes::from(vec![7; 100]);
    let message = Message::new(Meta::new(Address::topic("a")), Encoding::Plain, Bytes::new(), body.clone());
    let (_, sent) = to_mqtt5(&Formats::default(), &message);
    assert_eq!(sent.as_ptr(), body.as_ptr());
}

/// What these user properties make of a message at time 1,000.
fn wishes(qos: Qos, pairs: &[(&str, &str)]) -> Message {
    let mut head = BytesMut::new();
    for (name, text) in pairs {
        put_pair(&mut head, name, text);
    }
    let given = MessageProperties { head: head.freeze(), ..MessageProperties::default() };
    crate::session::message_for_test(Time(1000), qos, false, given)
}

#[test]
fn user_properties_ask_for_what_mqtt_has_no_field_for() {
    let at = |pairs: &[(&str, &str)]| wishes(Qos::AtLeastOnce, pairs).meta.deliver_at();
    assert_eq!(at(&[("deliver-at", "5000")]), Some(Time(5000)));
    assert_eq!(at(&[("delay", "500")]), Some(Time(1500)));
    assert_eq!(at(&[("AMQ_SCHEDULED_DELAY", "500")]), Some(Time(1500)));
    assert_eq!(at(&[("deliver-at", "999"), ("delay", "soon")]), None);
    for name in ["group-id", "JMSXGroupID"] {
        let message = wishes(Qos::AtLeastOnce, &[(name, "g"), (name, "h")]);
        assert_eq!(message.meta.group_id().map(|group| &**group), Some("g"), "the first counts");
        assert_eq!(MqttFormat.view(&wishes(Qos::AtLeastOnce, &[(name, "g")])).group_id.as_deref(), Some("g"));
    }
    for name in ["dedup-id", "_AMQ_DUPL_ID"] {
        let message = wishes(Qos::AtLeastOnce, &[(name, "d")]);
        assert_eq!(message.meta.dedup_id().map(|identity| &**identity), Some("d"));
        assert_eq!(MqttFormat.view(&message).application, [(name.into(), Value::text("d"))]);
    }
    assert_eq!(wishes(Qos::AtLeastOnce, &[("priority", "9"), ("priority", "1")]).meta.priority, 9);
    assert_eq!(wishes(Qos::AtLeastOnce, &[("colour", "red")]).meta.rare, None, "usual messages stay small");
}

#[test]
fn only_qos_0_is_discardable() {
    let discardable = [("discardable", "true")];
    assert!(wishes(Qos::AtMostOnce, &discardable).meta.is_discardable());
    assert!(!wishes(Qos::AtLeastOnce, &discardable).meta.is_discardable());
    assert!(!wishes(Qos::AtMostOnce, &[("discardable", "false")]).meta.is_discardable());
}

#[test]
fn what_is_for_the_gateway_is_no_application_property_and_what_only_looks_like_it_is() {
    let message = wishes(
        Qos::AtMostOnce,
        &[("delay", "5"), ("deliver-at", "5"), ("discardable", "true"), ("priority", "5"), ("delay", "soon")],
    );
    assert_eq!(MqttFormat.view(&message).application, [("delay".into(), Value::text("soon"))]);
}

#[test]
fn what_another_protocol_asked_of_the_gateway_is_told() {
    let mut meta = Meta::new(Address::topic("a"));
    meta.rare_mut().deliver_at = Some(Time(7));
    meta.rare_mut().discardable = true;
    let (head, _) = converted(Box::leak(Box::new(View::new(Body::Binary(b"".as_slice().into())))), meta);
    assert_eq!(&head[..], b"\x26\0\x0adeliver-at\0\x017\x26\0\x0bdiscardable\0\x04true".as_slice());
}
