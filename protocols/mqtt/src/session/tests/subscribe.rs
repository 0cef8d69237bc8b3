use bytes::Bytes;
use evergate_model::{
    Action, Attach, AttachAccess, Attached, Binding, ConsumerId, Event, Filter, Lifetime, QueueSpec, Retained, Token,
};

use super::gateway::{Peer, connect, filter, message, stored, subscribe};
use crate::MqttConfig;
use crate::codec::{
    Packet, Properties, PropertyValue, Qos, ReasonCode, RetainHandling, Subscribe, SubscribeFilter, Unsubscribe,
    Version, id,
};

fn codes(packet: Packet) -> Vec<u8> {
    match packet {
        Packet::Suback(suback) => suback.codes.iter().map(|code| code.0).collect(),
        Packet::Unsuback(unsuback) => unsuback.codes.iter().map(|code| code.0).collect(),
        other => panic!("{other:?}"),
    }
}

fn binds(peer: &mut Peer) -> Vec<(Binding, Retained, Token)> {
    let bind = |action| match action {
        Action::Bind { binding, retained, token, .. } => Some((binding, retained, token)),
        _ => None,
    };
    peer.take_actions().into_iter().filter_map(bind).collect()
}

fn attaches(peer: &mut Peer) -> Vec<Attach> {
    let attach = |action| match action {
        Action::Attach(attach) => Some(attach),
        _ => None,
    };
    peer.take_actions().into_iter().filter_map(attach).collect()
}

fn unsubscribe(text: &str) -> Packet {
    Packet::Unsubscribe(Unsubscribe { packet_id: 8, filters: vec![text.into()], properties: Properties::default() })
}

fn persistent() -> crate::codec::Connect {
    let mut packet = connect(Version::V5);
    packet.clean_start = false;
    packet.properties.add(id::SESSION_EXPIRY, PropertyValue::Four(u32::MAX));
    packet
}

#[test]
fn mqtt_3_8_4_5_one_suback_answers_all_filters_when_all_are_in_force() {
    let mut peer = Peer::online(Version::V5);
    peer.send(&subscribe(vec![
        filter("a", Qos::AtMostOnce),
        filter("b/#/c", Qos::AtMostOnce),
        filter("c", Qos::ExactlyOnce),
    ]));
    let binds = binds(&mut peer);
    assert_eq!(binds.iter().map(|(binding, ..)| binding.durable).collect::<Vec<_>>(), [false, true]);
    peer.event(Event::Done(binds[1].2));
    assert_eq!(peer.take(), []);
    peer.event(Event::Done(binds[0].2));
    assert_eq!(codes(peer.one()), [0, 0x8F, 2]);
}

#[test]
fn mqtt_3_9_3_2_every_refusal_is_0x80_in_3_1_1() {
    for text in [
        "a#",
        "$glob/[a",
        "$regex/(",
        "$glob/",
        "$share/g/$regex/(",
        "$share/g",
        "$share//a",
        "$share/+/a",
        "$queue/",
        "$queue/#",
    ] {
        let mut peer = Peer::online(Version::V4);
        peer.send(&subscribe(vec![filter(text, Qos::AtMostOnce)]));
        assert_eq!(codes(peer.one()), [0x80], "{text}");
    }
}

#[test]
fn a_filter_that_is_refused_says_why() {
    for (text, why) in [
        ("$regex/.*a[ab]{3000}", "takes more than 64 KiB when it is compiled"),
        ("$share/g/$regex/(", "the regular expression is not valid"),
        ("$glob/[a", "the glob is not complete"),
        ("a/#/b", "# must be the whole last level"),
    ] {
        let mut peer = Peer::online(Version::V5);
        peer.send(&subscribe(vec![filter(text, Qos::AtMostOnce)]));
        let Packet::Suback(suback) = peer.one() else { panic!("no SUBACK") };
        assert_eq!(suback.codes, [ReasonCode::TOPIC_FILTER_INVALID], "{text}");
        let said = suback.properties.text(id::REASON_STRING).unwrap_or_default();
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn what_is_remembered_of_a_topic_follows_the_subscriptions() {
    let mut peer = Peer::online(Version::V5);
    let subscribed = |peer: &mut Peer, text: &str, number| {
        let mut properties = Properties::default();
        properties.add(id::SUBSCRIPTION_ID, PropertyValue::VarInt(number));
        let filters = vec![filter(text, Qos::AtLeastOnce)];
        peer.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters, properties }));
        let token = binds(peer)[0].2;
        peer.event(Event::Done(token));
        peer.take();
    };
    let mut place = 0;
    let mut ids = |peer: &mut Peer| {
        place += 1;
        peer.deliver(0, place, &message("a/b", Qos::AtMostOnce));
        match peer.take().pop() {
            Some(Packet::Publish(publish)) => publish.properties.subscription_ids,
            None => Vec::new(),
            other => panic!("{other:?}"),
        }
    };
    for number in 1..=20 {
        subscribed(&mut peer, &format!("$regex/(x{number}|a/b)"), number);
    }
    let all = ids(&mut peer);
    assert_eq!((all.len(), ids(&mut peer)), (20, all.clone()));
    subscribed(&mut peer, "$glob/a/*", 30);
    assert_eq!(ids(&mut peer), [&[30][..], &all].concat());
    subscribed(&mut peer, "$glob/a/*", 31);
    assert_eq!(ids(&mut peer)[0], 31, "replaced");
    subscribed(&mut peer, "a/b", 40);
    assert_eq!(ids(&mut peer)[..2], [40, 31]);
    for text in
        ["a/b".to_owned(), "$glob/a/*".to_owned()].into_iter().chain((1..=20).map(|n| format!("$regex/(x{n}|a/b)")))
    {
        let before = ids(&mut peer).len();
        peer.send(&unsubscribe(&text));
        peer.take_actions();
        assert_eq!(ids(&mut peer).len(), before - 1, "{text}");
    }
}

#[test]
fn queues_of_sessions_and_subscriptions_cannot_be_read() {
    for text in ["$queue/$session/other", "$share/g/$queue/$subscription/c/s"] {
        let mut peer = Peer::online(Version::V5);
        peer.send(&subscribe(vec![filter(text, Qos::AtLeastOnce)]));
        assert_eq!(codes(peer.one()), [0x87], "{text}");
    }
}

#[test]
fn subscription_limits_hold_at_their_edge() {
    let config = MqttConfig { max_subscriptions: 2, ..MqttConfig::default() };
    let mut peer = Peer::resumed(connect(Version::V5), config, Attached::default());
    peer.subscribed(filter("a", Qos::AtMostOnce));
    peer.subscribed(filter("b/+", Qos::AtMostOnce));
    peer.subscribed(filter("a", Qos::AtLeastOnce)); // replaces
    peer.send(&subscribe(vec![filter("c", Qos::AtMostOnce)]));
    assert_eq!(codes(peer.one()), [0x97]);

    let config = MqttConfig { max_filters_per_packet: 1, max_topic_levels: 2, ..MqttConfig::default() };
    let mut peer = Peer::resumed(connect(Version::V5), config, Attached::default());
    peer.send(&subscribe(vec![filter("a/b/c", Qos::AtMostOnce), filter("a", Qos::AtMostOnce)]));
    assert_eq!(codes(peer.one()), [0x8F, 0x97]);
}

#[test]
fn mqtt_3_8_3_4_no_local_on_a_shared_subscription_is_an_error() {
    let mut peer = Peer::online(Version::V5);
    peer.send(&subscribe(vec![SubscribeFilter { no_local: true, ..filter("$share/g/a", Qos::AtMostOnce) }]));
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::PROTOCOL_ERROR));
}

#[test]
fn options_reach_the_binding() {
    for (retain_handling, retained) in [
        (RetainHandling::Send, Retained::Send),
        (RetainHandling::SendIfNew, Retained::SendIfNew),
        (RetainHandling::DoNotSend, Retained::Skip),
    ] {
        let mut peer = Peer::online(Version::V5);
        peer.send(&subscribe(vec![SubscribeFilter {
            no_local: true,
            retain_handling,
            ..filter("a", Qos::AtMostOnce)
        }]));
        let (binding, got, _) = binds(&mut peer).remove(0);
        assert_eq!((binding.no_local.as_deref(), got), (Some("c"), retained));
    }
}

#[test]
fn mqtt_3_3_4_3_overlapping_subscriptions_give_one_delivery_with_all_identifiers() {
    let mut peer = Peer::online(Version::V5);
    for (text, qos, number) in [("a/+", Qos::AtMostOnce, 7), ("a/b", Qos::AtLeastOnce, 300), ("x", Qos::AtMostOnce, 1)]
    {
        let mut properties = Properties::default();
        properties.add(id::SUBSCRIPTION_ID, PropertyValue::VarInt(number));
        peer.send(&Packet::Subscribe(Subscribe { packet_id: 1, filters: vec![filter(text, qos)], properties }));
        let token = binds(&mut peer)[0].2;
        peer.event(Event::Done(token));
    }
    peer.take();
    peer.deliver(0, 1, &message("a/b", Qos::ExactlyOnce));
    let Packet::Publish(publish) = peer.one() else { panic!("no PUBLISH") };
    assert_eq!((publish.qos, publish.properties.subscription_ids), (Qos::AtLeastOnce, vec![300, 7]));
}

#[test]
fn unsuback_says_whether_there_was_a_subscription() {
    for (existed, code) in [(true, 0), (false, 0x11)] {
        let mut peer = Peer::online(Version::V5);
        peer.send(&unsubscribe("a"));
        let Some(Action::Unbind { token, .. }) = peer.take_actions().pop() else { panic!("no unbind") };
        peer.event(Event::Unbound { token, existed });
        assert_eq!(codes(peer.one()), [code]);
    }
    let mut peer = Peer::online(Version::V5);
    peer.send(&unsubscribe("$share/g/a"));
    assert_eq!(codes(peer.one()), [0x11]);
}

#[test]
fn what_is_delivered_after_unsubscribe_is_settled_and_not_sent() {
    let mut peer = Peer::online(Version::V4);
    peer.subscribed(filter("a", Qos::AtLeastOnce));
    peer.send(&unsubscribe("a"));
    peer.take_actions();
    peer.deliver(0, 1, &message("a", Qos::AtLeastOnce));
    assert_eq!(peer.take(), []);
    assert!(matches!(peer.take_actions()[..], [Action::Settle(_)]));
}

#[test]
fn shared_and_queue_subscriptions_are_consumers_of_their_own() {
    for (text, queue, bound) in [
        ("$queue/orders", QueueSpec::named("orders"), None),
        ("$share/g/$queue/orders", QueueSpec::named("orders"), None),
        (
            "$share/g/a/+",
            QueueSpec { name: "$share/g/a/+".into(), durable: false, lifetime: Lifetime::Attached },
            Some("a/+"),
        ),
    ] {
        let mut peer = Peer::online(Version::V5);
        peer.send(&subscribe(vec![filter(text, Qos::ExactlyOnce)]));
        let attach = attaches(&mut peer).remove(0);
        assert_eq!((attach.queue, attach.access), (queue, AttachAccess::Shared));
        assert_eq!(attach.bindings.first().map(|binding| binding.filter.as_str()), bound);
        assert_eq!(peer.take(), []);
        peer.event(Event::Attached { consumer: ConsumerId(1), result: Ok(Attached::default()) });
        assert_eq!(codes(peer.one()), [1], "QoS 1 is granted");
        assert!(peer.take_actions().iter().any(|action| matches!(action, Action::Credit(_))));

        peer.send(&unsubscribe(text));
        assert!(matches!(peer.take_actions()[..], [Action::Detach { consumer: ConsumerId(1), .. }]));
        peer.deliver(1, 1, &message("a/b", Qos::AtLeastOnce));
        assert_eq!(peer.take(), [], "it crossed the Detach");
        peer.event(Event::Detached { consumer: ConsumerId(1) });
        assert_eq!(codes(peer.one()), [0]);
    }
}

#[test]
fn a_resumed_session_has_its_subscriptions_again() {
    let mut peer = Peer::resumed(persistent(), MqttConfig::default(), Attached::default());
    peer.send(&subscribe(vec![filter("a/#", Qos::ExactlyOnce)]));
    let (topics, _, _) = binds(&mut peer).remove(0);
    peer.send(&subscribe(vec![filter("$share/g/b", Qos::AtLeastOnce)]));
    let shared = attaches(&mut peer).remove(0);
    assert_eq!((shared.queue.durable, shared.queue.lifetime), (true, Lifetime::Permanent));
    peer.event(Event::Attached { consumer: shared.consumer, result: Ok(Attached::default()) });
    let (note, _, _) = binds(&mut peer).remove(0);
    assert_eq!(note.filter.as_str(), "$share/g/b");

    let mut peer = Peer::new(Version::V5, MqttConfig::default());
    peer.send(&Packet::Connect(Box::new(persistent())));
    peer.event(Event::Authenticated(evergate_model::Access::Granted("".into())));
    peer.take_actions();
    peer.event(Event::Attached { consumer: ConsumerId(0), result: Ok(stored(vec![topics, note], vec![])) });
    assert_eq!(&*attaches(&mut peer).remove(0).queue.name, "$share/g/b");
    peer.take();
    peer.deliver(0, 1, &message("a/b", Qos::ExactlyOnce));
    let Packet::Publish(publish) = peer.one() else { panic!("no PUBLISH") };
    assert_eq!(publish.qos, Qos::ExactlyOnce);
}

#[test]
fn a_binding_of_another_program_is_left_alone() {
    let options = Bytes::from_static(b"\x09whatever");
    let binding = Binding { options, ..Binding::new(Filter::new("a").unwrap(), true) };
    let mut peer = Peer::resumed(persistent(), MqttConfig::default(), stored(vec![binding], vec![]));
    peer.deliver(0, 1, &message("a", Qos::AtLeastOnce));
    assert_eq!(peer.take(), []);
}

#[test]
fn patterns_bind_the_sessions_queue_or_the_groups() {
    let mut peer = Peer::online(Version::V5);
    let table =
        [("$glob/shop/*/orders", Filter::glob("shop/*/orders")), ("$regex/a/[0-9]+", Filter::regex("a/[0-9]+"))];
    for (text, filter_) in table {
        peer.send(&subscribe(vec![filter(text, Qos::AtLeastOnce)]));
        let (binding, _, token) = binds(&mut peer).remove(0);
        assert_eq!(binding.filter, filter_.clone().unwrap());
        peer.event(Event::Done(token));
        assert_eq!(codes(peer.one()), [1]);
        peer.send(&subscribe(vec![filter(&format!("$share/g/{text}"), Qos::AtLeastOnce)]));
        let attach = attaches(&mut peer).remove(0);
        let filter_ = filter_.unwrap();
        assert_eq!(*attach.queue.name, format!("$share/g/{filter_}"));
        assert_eq!(attach.bindings[0].filter, filter_);
        peer.event(Event::Attached { consumer: attach.consumer, result: Ok(Attached::default()) });
        assert_eq!(codes(peer.one()), [1]);
    }
    peer.deliver(0, 1, &message("a/12", Qos::AtLeastOnce));
    assert!(matches!(peer.one(), Packet::Publish(_)));
    peer.send(&unsubscribe("$regex/a/[0-9]+"));
    assert!(matches!(peer.take_actions().pop(), Some(Action::Unbind { .. })));
    peer.deliver(0, 2, &message("a/12", Qos::AtLeastOnce));
    assert_eq!(peer.take(), []);
}

#[test]
fn a_resumed_session_has_its_patterns_again() {
    let texts = ["$glob/a/*", "$regex/a/.+", "$share/g/$regex/b/.+#%2B", "$share/g/$glob/c/*"];
    let mut notes = Vec::new();
    for text in texts {
        let mut peer = Peer::resumed(persistent(), MqttConfig::default(), Attached::default());
        peer.send(&subscribe(vec![filter(text, Qos::AtLeastOnce)]));
        let actions = peer.take_actions();
        if let Action::Bind { binding, .. } = &actions[0] {
            notes.push(binding.clone());
            continue;
        }
        peer.event(Event::Attached { consumer: ConsumerId(1), result: Ok(Attached::default()) });
        notes.push(binds(&mut peer).remove(0).0);
    }
    let mut peer = Peer::new(Version::V5, MqttConfig::default());
    peer.send(&Packet::Connect(Box::new(persistent())));
    peer.event(Event::Authenticated(evergate_model::Access::Granted("".into())));
    peer.take_actions();
    peer.event(Event::Attached { consumer: ConsumerId(0), result: Ok(stored(notes, vec![])) });
    let attached = attaches(&mut peer);
    let filters: Vec<_> = attached.iter().map(|attach| attach.bindings[0].filter.clone()).collect();
    assert_eq!(filters, [Filter::regex("b/.+#%2B").unwrap(), Filter::glob("c/*").unwrap()]);
    peer.take();
    peer.deliver(0, 1, &message("a/1", Qos::AtLeastOnce));
    assert!(matches!(peer.one(), Packet::Publish(_)));
    peer.send(&unsubscribe("$share/g/$regex/b/.+#%2B"));
    assert!(matches!(peer.take_actions()[..], [Action::Detach { .. }, Action::Unbind { .. }]));
}
