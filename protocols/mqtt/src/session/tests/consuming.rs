//! User properties of a SUBSCRIBE.

use evergate_model::{
    Action, Attach, AttachError, Attached, Binding, Close, ConsumerId, Event, QueueSpec, Selector, Seq, StreamStart,
    Time,
};

use super::gateway::{Peer, connect, delivery, filter, message, stored};
use crate::MqttConfig;
use crate::codec::{
    AckKind, Packet, Properties, PropertyValue, Publish, Qos, ReasonCode, Suback, Subscribe, Version, id,
};

/// SUBSCRIBE with QoS 1 and these user properties.
fn subscribe(text: &str, pairs: &[(&str, &str)]) -> Packet {
    let mut properties = Properties::default();
    for (name, value) in pairs {
        properties.add(id::USER_PROPERTY, PropertyValue::Pair((*name).into(), (*value).into()));
    }
    Packet::Subscribe(Subscribe { packet_id: 9, filters: vec![filter(text, Qos::AtLeastOnce)], properties })
}

/// What a client that is `peer` attaches to.
fn attach(peer: &mut Peer, text: &str, pairs: &[(&str, &str)]) -> Attach {
    peer.send(&subscribe(text, pairs));
    let attach = |action| match action {
        Action::Attach(attach) => Some(attach),
        _ => None,
    };
    peer.take_actions().into_iter().find_map(attach).expect("an Attach")
}

fn bind(peer: &mut Peer) -> Option<Binding> {
    let bind = |action| match action {
        Action::Bind { binding, token, .. } => Some((binding, token)),
        _ => None,
    };
    let (binding, token) = peer.take_actions().into_iter().find_map(bind)?;
    peer.event(Event::Done(token));
    Some(binding)
}

fn suback(peer: &mut Peer) -> (u8, Option<String>) {
    let Packet::Suback(Suback { codes, properties, .. }) = peer.one() else { panic!("no SUBACK") };
    (codes[0].0, properties.text(id::REASON_STRING).map(str::to_owned))
}

fn published(peer: &mut Peer) -> Publish {
    let Packet::Publish(publish) = peer.one() else { panic!("no PUBLISH") };
    publish
}

fn pairs(head: &[u8]) -> Vec<(String, String)> {
    let mut reader = crate::codec::Reader::new(head);
    let mut pairs = Vec::new();
    while !reader.is_empty() {
        if let Ok((_, crate::codec::RawValue::Pair(name, text))) = crate::codec::next_property(&mut reader) {
            pairs.push((name.to_owned(), text.to_owned()));
        }
    }
    pairs
}

fn red() -> Selector {
    Selector::parse("colour = 'red'").unwrap()
}

const RED: (&str, &str) = ("selector", "colour = 'red'");

#[test]
fn a_selector_stands_at_the_binding_of_topics_and_at_the_consumer_of_a_queue() {
    let mut peer = Peer::online(Version::V5);
    peer.send(&subscribe("a/+", &[RED]));
    assert_eq!(bind(&mut peer).unwrap().selector, Some(red()));
    assert_eq!(suback(&mut peer), (1, None));
    assert_eq!(attach(&mut peer, "$queue/q", &[RED]).selector, Some(red()));
    let group = attach(&mut peer, "$share/g/b/+", &[RED]);
    assert_eq!((group.selector, &group.bindings[0].selector), (None, &Some(red())));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let table = [
        ("a", ("selector", "colour = = 'red'"), "at column 10"),
        ("a", ("consumer-priority", "high"), "consumer-priority must be a whole number: high"),
        ("$queue/q", ("browse", "perhaps"), "browse must be true or false: perhaps"),
        (
            "$queue/q",
            ("x-stream-offset", "0"),
            "x-stream-offset must be first, last, next, offset=… or timestamp=… (seconds): 0",
        ),
        ("a", ("browse", "true"), "browse and x-stream-offset are for $queue/… only"),
        ("$share/g/a", ("x-stream-offset", "first"), "browse and x-stream-offset are for $queue/… only"),
    ];
    for (text, pair, reason) in table {
        let mut peer = Peer::online(Version::V5);
        peer.send(&subscribe(text, &[pair]));
        let (code, said) = suback(&mut peer);
        assert_eq!(code, 0x83, "{pair:?}");
        assert!(said.as_deref().is_some_and(|said| said.ends_with(reason)), "{said:?}");
        assert!(peer.take_actions().is_empty());
    }
}

#[test]
fn mqtt_3_1_2_29_no_reason_string_in_suback_for_a_client_that_wants_none() {
    let mut packet = connect(Version::V5);
    packet.properties.add(id::REQUEST_PROBLEM_INFORMATION, PropertyValue::Flag(false));
    let mut peer = Peer::resumed(packet, MqttConfig::default(), Attached::default());
    peer.send(&subscribe("a", &[("selector", "=")]));
    assert_eq!(suback(&mut peer), (0x83, None));
}

#[test]
fn a_refused_attach_says_why() {
    let mut peer = Peer::online(Version::V5);
    let consumer = attach(&mut peer, "$queue/q", &[]).consumer;
    peer.event(Event::Attached { consumer, result: Err(AttachError::InUse) });
    assert_eq!(
        suback(&mut peer),
        (0x83, Some("another consumer has it for itself, or with another topic or selector".into()))
    );
}

#[test]
fn a_queue_is_consumed_as_asked() {
    let mut peer = Peer::online(Version::V5);
    let all = [("consumer-priority", "-7"), ("browse", "true"), ("x-stream-offset", "timestamp=3")];
    let asked = attach(&mut peer, "$queue/q", &all);
    assert_eq!((asked.priority, asked.browse, asked.start), (-7, true, StreamStart::Time(Time(3000))));
    assert_eq!(attach(&mut peer, "$share/g/a", &[("consumer-priority", "2")]).priority, 2);
    let usual = attach(&mut peer, "$queue/usual", &[]);
    assert_eq!((usual.priority, usual.browse, usual.start, usual.selector), (0, false, StreamStart::Next, None));
}

#[test]
fn mqtt_3_8_4_3_asking_again_in_another_way_makes_another_consumer() {
    let mut peer = Peer::online(Version::V5);
    let first = attach(&mut peer, "$queue/q", &[]).consumer;
    peer.event(Event::Attached { consumer: first, result: Ok(Attached::default()) });
    assert_eq!(suback(&mut peer).0, 1);
    peer.send(&subscribe("$queue/q", &[]));
    assert_eq!(suback(&mut peer).0, 1, "the same stays attached");
    peer.take_actions();
    peer.send(&subscribe("$queue/q", &[RED]));
    let actions = peer.take_actions();
    assert!(matches!(actions[0], Action::Detach { consumer, delete: false, .. } if consumer == first));
    let Action::Attach(second) = &actions[1] else { panic!("{actions:?}") };
    assert_eq!(second.selector, Some(red()));
    peer.event(Event::Detached { consumer: first });
    assert_eq!(peer.take(), []);
    peer.event(Event::Attached { consumer: second.consumer, result: Ok(Attached::default()) });
    assert_eq!(suback(&mut peer).0, 1);
}

#[test]
fn of_overlapping_subscriptions_only_those_that_select_a_message_count() {
    let mut peer = Peer::online(Version::V5);
    for (text, number, pairs) in [("a/+", 7, &[RED][..]), ("a/b", 8, &[])] {
        let Packet::Subscribe(mut packet) = subscribe(text, pairs) else { unreachable!() };
        packet.properties.add(id::SUBSCRIPTION_ID, PropertyValue::VarInt(number));
        peer.send(&Packet::Subscribe(packet));
        bind(&mut peer).unwrap();
    }
    peer.take();
    peer.deliver(0, 1, &message("a/b", Qos::AtLeastOnce));
    assert_eq!(published(&mut peer).properties.subscription_ids, [8]);
    peer.deliver(0, 2, &message("a/c", Qos::AtLeastOnce));
    assert_eq!(peer.take(), [], "no subscription wants it");
}

#[test]
fn a_resumed_session_consumes_as_it_asked() {
    let persistent = || {
        let mut packet = connect(Version::V5);
        packet.clean_start = false;
        packet.properties.add(id::SESSION_EXPIRY, PropertyValue::Four(u32::MAX));
        packet
    };
    let starts = [
        ("first", StreamStart::First),
        ("last", StreamStart::Last),
        ("next", StreamStart::Next),
        ("offset=12", StreamStart::Offset(Seq(12))),
        ("timestamp=3", StreamStart::Time(Time(3000))),
    ];
    for (text, start) in starts {
        let mut peer = Peer::resumed(persistent(), MqttConfig::default(), Attached::default());
        let all = [RED, ("consumer-priority", "-7"), ("browse", "true"), ("x-stream-offset", text)];
        let consumer = attach(&mut peer, "$queue/q", &all).consumer;
        peer.event(Event::Attached { consumer, result: Ok(Attached::default()) });
        let note = bind(&mut peer).unwrap();

        let mut peer = Peer::new(Version::V5, MqttConfig::default());
        peer.send(&Packet::Connect(Box::new(persistent())));
        peer.event(Event::Authenticated(evergate_model::Access::Granted("".into())));
        peer.take_actions();
        peer.event(Event::Attached { consumer: ConsumerId(0), result: Ok(stored(vec![note], vec![])) });
        let Some(Action::Attach(attach)) =
            peer.take_actions().into_iter().find(|action| matches!(action, Action::Attach(_)))
        else {
            panic!("no Attach")
        };
        assert_eq!((attach.queue, attach.selector), (QueueSpec::named("q"), Some(red())));
        assert_eq!((attach.priority, attach.browse, attach.start), (-7, true, start), "{text}");
    }
}

#[test]
fn deliveries_of_a_stream_tell_their_place() {
    for (pair, told) in [(Some(("x-stream-offset", "first")), true), (None, false)] {
        let mut peer = Peer::online(Version::V5);
        let consumer = attach(&mut peer, "$queue/q", pair.as_slice()).consumer;
        peer.event(Event::Attached { consumer, result: Ok(Attached::default()) });
        peer.take();
        peer.event(Event::Deliver(delivery(consumer.0, 12, &message("a", Qos::AtMostOnce))));
        let expected = if told { vec![("x-stream-offset".to_owned(), "12".to_owned())] } else { vec![] };
        assert_eq!(pairs(&published(&mut peer).properties.head), expected);
    }
}

#[test]
fn queues_take_turns_when_the_clients_receive_maximum_holds_them_back() {
    let mut packet = connect(Version::V5);
    packet.properties.add(id::RECEIVE_MAXIMUM, PropertyValue::Two(1));
    let mut peer = Peer::resumed(packet, MqttConfig::default(), Attached::default());
    let mut consumers = Vec::new();
    for name in ["a", "b", "c"] {
        let consumer = attach(&mut peer, &format!("$queue/{name}"), &[]).consumer;
        peer.event(Event::Attached { consumer, result: Ok(Attached::default()) });
        suback(&mut peer);
        consumers.push((name, consumer.0));
    }
    for seq in 1..=2 {
        for (name, consumer) in &consumers {
            peer.deliver(*consumer, seq, &message(name, Qos::AtLeastOnce));
        }
    }
    let mut order = String::new();
    for _ in 0..6 {
        let publish = published(&mut peer);
        order.push_str(&publish.topic);
        peer.ack(AckKind::Puback, publish.packet_id);
    }
    assert_eq!(order, "abcabc");
    assert_eq!(peer.take(), []);
}

#[test]
fn who_loses_the_queue_of_a_subscription_is_told() {
    for (version, told) in [(Version::V5, Some(ReasonCode::ADMINISTRATIVE_ACTION)), (Version::V4, None)] {
        let mut peer = Peer::online(version);
        let consumer = attach(&mut peer, "$queue/orders", &[]).consumer;
        peer.event(Event::Attached { consumer, result: Ok(Attached::default()) });
        peer.take();
        peer.event(Event::Deleted { consumer });
        assert_eq!(peer.disconnect_reason(), told);
        assert_eq!(peer.closed, Some(Close::Gateway("the queue of the subscription $queue/orders was deleted".into())));
    }
}
