use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{
    Action, Address, Annotation, Attached, ConsumerId, Delivery, Encoding, Event, LargeBody, Message, Meta, Outcome,
    Seq, Settle, Time, Token,
};

use super::gateway::{Peer, connect, delivery, filter, message, plain, subscribe};
use crate::MqttConfig;
use crate::codec::{AckKind, MessageProperties, Packet, PropertyValue, Publish, Qos, ReasonCode, Version, id};

fn subscriber(version: Version, qos: Qos) -> Peer {
    let mut peer = Peer::online(version);
    peer.subscribed(filter("#", qos));
    peer
}

/// A client with that receive maximum, which allows that many packets in flight.
fn narrow(receive_maximum: u16) -> Peer {
    let mut packet = connect(Version::V5);
    packet.properties.add(id::RECEIVE_MAXIMUM, PropertyValue::Two(receive_maximum));
    let mut peer = Peer::resumed(packet, MqttConfig::default(), Attached::default());
    peer.subscribed(filter("#", Qos::ExactlyOnce));
    peer
}

fn published(packet: Packet) -> Publish {
    match packet {
        Packet::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

fn settles(peer: &mut Peer) -> Vec<Settle> {
    let settle = |action| match action {
        Action::Settle(settle) => Some(settle),
        _ => None,
    };
    peer.take_actions().into_iter().filter_map(settle).collect()
}

/// Sends PUBREC and gives the settlement that it caused.
fn pubrec(peer: &mut Peer, packet_id: u16) -> (Option<u32>, Token) {
    peer.ack(AckKind::Pubrec, packet_id);
    let settle = settles(peer).pop().expect("a settlement");
    assert_eq!(settle.outcome, Outcome::Accept);
    (settle.mark, settle.token.expect("a token"))
}

#[test]
fn mqtt_3_8_4_8_the_qos_is_the_lower_of_published_and_granted() {
    for published_with in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        for granted in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut peer = subscriber(Version::V4, granted);
            peer.deliver(0, 1, &message("a", published_with));
            assert_eq!(published(peer.one()).qos, published_with.min(granted));
        }
    }
}

#[test]
fn durable_messages_of_other_protocols_may_go_out_with_qos_2() {
    for (durable, qos) in [(true, Qos::ExactlyOnce), (false, Qos::AtMostOnce)] {
        let mut peer = subscriber(Version::V5, Qos::ExactlyOnce);
        peer.deliver(0, 1, &plain("a", durable));
        assert_eq!(published(peer.one()).qos, qos);
    }
}

#[test]
fn qos_0_is_settled_when_it_is_written() {
    let mut peer = subscriber(Version::V4, Qos::AtMostOnce);
    peer.deliver(0, 3, &message("a", Qos::AtLeastOnce));
    let settled = settles(&mut peer);
    assert_eq!((settled.len(), settled[0].first, &settled[0].outcome), (1, Seq(3), &Outcome::Accept));
}

#[test]
fn qos_1_is_settled_by_puback_and_only_once() {
    let mut peer = subscriber(Version::V4, Qos::AtLeastOnce);
    peer.deliver(0, 3, &message("a", Qos::AtLeastOnce));
    assert_eq!(settles(&mut peer).len(), 0);
    assert_eq!(published(peer.one()).packet_id, 4);
    peer.ack(AckKind::Puback, 4);
    peer.ack(AckKind::Puback, 4);
    let settled = settles(&mut peer);
    assert_eq!((settled.len(), settled[0].first, settled[0].last), (1, Seq(3), Seq(3)));
}

#[test]
fn mqtt_4_3_3_qos_2_is_settled_with_its_mark_before_pubrel() {
    let mut peer = subscriber(Version::V5, Qos::ExactlyOnce);
    peer.deliver(0, 9, &message("a", Qos::ExactlyOnce));
    assert_eq!(published(peer.one()).packet_id, 10);
    let (mark, token) = pubrec(&mut peer, 10);
    assert_eq!(mark, Some(0x1_000A));
    assert_eq!(peer.take(), [], "PUBREL waits for the commit");
    peer.event(Event::Done(token));
    let Packet::Ack(pubrel) = peer.one() else { panic!("no PUBREL") };
    assert_eq!((pubrel.kind, pubrel.packet_id), (AckKind::Pubrel, 10));
    peer.ack(AckKind::Pubcomp, 10);
    let cleared = |action: &Action| matches!(action, Action::Mark { number: 0x1_000A, set: false, .. });
    assert_eq!(peer.take_actions().iter().filter(|action| cleared(action)).count(), 1);
}

#[test]
fn mqtt_4_6_0_4_pubrels_leave_in_the_order_of_the_pubrecs() {
    let mut peer = subscriber(Version::V5, Qos::ExactlyOnce);
    for seq in [1, 2] {
        peer.deliver(0, seq, &message("a", Qos::ExactlyOnce));
    }
    peer.take();
    let (_, second) = pubrec(&mut peer, 3);
    let (_, first) = pubrec(&mut peer, 2);
    peer.event(Event::Done(first));
    assert_eq!(peer.take(), []);
    peer.event(Event::Done(second));
    let ids = peer.take().into_iter().map(|packet| match packet {
        Packet::Ack(ack) => ack.packet_id,
        other => panic!("{other:?}"),
    });
    assert_eq!(ids.collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn a_refused_qos_2_delivery_frees_its_id() {
    let mut peer = subscriber(Version::V5, Qos::ExactlyOnce);
    peer.deliver(0, 1, &message("a", Qos::ExactlyOnce));
    peer.ack_with(AckKind::Pubrec, 2, ReasonCode::QUOTA_EXCEEDED);
    let settled = settles(&mut peer);
    assert_eq!((settled.len(), settled[0].mark), (1, None));
    peer.take();
    peer.deliver(0, 1 + 32_767, &message("a", Qos::ExactlyOnce));
    assert_eq!(published(peer.one()).packet_id, 2);
}

#[test]
fn an_unknown_pubrec_is_answered_with_0x92() {
    let mut peer = Peer::online(Version::V5);
    peer.ack(AckKind::Pubrec, 77);
    let Packet::Ack(pubrel) = peer.one() else { panic!("no PUBREL") };
    assert_eq!((pubrel.kind, pubrel.reason), (AckKind::Pubrel, ReasonCode::PACKET_ID_NOT_FOUND));
}

#[test]
fn mqtt_3_3_4_9_the_client_s_receive_maximum_holds_deliveries_back_in_order() {
    let mut peer = narrow(2);
    for seq in 1..=4 {
        peer.deliver(0, seq, &message("a", Qos::AtLeastOnce));
    }
    let ids = |peer: &mut Peer| peer.take().into_iter().map(|p| published(p).packet_id).collect::<Vec<_>>();
    assert_eq!(ids(&mut peer), [2, 3]);
    peer.ack(AckKind::Puback, 3);
    assert_eq!(ids(&mut peer), [4]);
    peer.ack(AckKind::Puback, 2);
    assert_eq!(ids(&mut peer), [5]);
}

#[test]
fn what_waits_behind_the_receive_maximum_goes_back_unsent_when_the_connection_ends() {
    let mut peer = narrow(2);
    for seq in 1..=5 {
        peer.deliver(0, seq, &message("a", Qos::AtLeastOnce));
    }
    peer.take_actions();
    let mut out = evergate_model::Output::default();
    evergate_model::Session::leaving(&mut peer.session, &mut out);
    peer.actions.append(&mut out.actions);
    let given_back: Vec<_> = settles(&mut peer).into_iter().map(|settle| (settle.first.0, settle.outcome)).collect();
    assert_eq!(given_back, [(3, Outcome::Unsent), (4, Outcome::Unsent), (5, Outcome::Unsent)]);
}

#[test]
fn a_delivery_whose_packet_id_is_in_use_waits_for_it() {
    let mut peer = subscriber(Version::V5, Qos::AtLeastOnce);
    peer.deliver(0, 1, &message("first", Qos::AtLeastOnce));
    peer.deliver(0, 1 + 32_767, &message("second", Qos::AtLeastOnce));
    peer.deliver(0, 2 + 32_767, &message("third", Qos::AtLeastOnce));
    assert_eq!(&*published(peer.one()).topic, "first");
    peer.ack(AckKind::Puback, 2);
    let topics: Vec<_> = peer.take().into_iter().map(|packet| published(packet).topic.to_string()).collect();
    assert_eq!(topics, ["second", "third"]);
}

#[test]
fn credit_is_the_client_s_window_and_grows_with_what_is_done() {
    let limits = |peer: &mut Peer| {
        let limit = |action| match action {
            Action::Credit(credit) => Some(credit.limit),
            _ => None,
        };
        peer.take_actions().into_iter().filter_map(limit).collect::<Vec<u64>>()
    };
    let mut packet = connect(Version::V5);
    packet.properties.add(id::RECEIVE_MAXIMUM, PropertyValue::Two(4));
    let mut peer = Peer::new(Version::V5, MqttConfig::default());
    peer.send(&Packet::Connect(Box::new(packet)));
    peer.event(Event::Authenticated(evergate_model::Access::Granted("".into())));
    peer.event(Event::Attached { consumer: ConsumerId(0), result: Ok(Attached::default()) });
    assert_eq!(limits(&mut peer), [20]); // 4, and 16 for QoS 0
    peer.take();
    peer.subscribed(filter("#", Qos::AtLeastOnce));
    for seq in 1..=20 {
        peer.deliver(0, seq, &message("a", Qos::AtLeastOnce));
    }
    assert_eq!(limits(&mut peer), [] as [u64; 0]);
    for id in 2..=6 {
        peer.ack(AckKind::Puback, id);
    }
    assert_eq!(limits(&mut peer), [25]);
}

#[test]
fn mqtt_3_3_1_1_dup_marks_what_may_have_been_sent_before() {
    for (qos, dup) in [(Qos::AtMostOnce, false), (Qos::AtLeastOnce, true)] {
        let mut peer = subscriber(Version::V4, Qos::AtLeastOnce);
        let mut again = delivery(0, 1, &message("a", qos));
        again.redelivered = true;
        peer.event(Event::Deliver(again));
        assert_eq!(published(peer.one()).dup, dup);
    }
}

#[test]
fn mqtt_3_3_1_8_retained_messages_are_flagged_and_others_only_as_published() {
    let retained = |topic: &str| {
        let (properties, payload) = (MessageProperties::default(), Bytes::new());
        Arc::new(crate::session::inbound::message(Time(0), &topic.into(), Qos::AtLeastOnce, true, properties, payload))
    };
    for (as_published, from_store, flag) in
        [(false, false, false), (true, false, true), (false, true, true), (true, true, true)]
    {
        let mut peer = Peer::online(Version::V5);
        peer.subscribed(crate::codec::SubscribeFilter {
            retain_as_published: as_published,
            ..filter("#", Qos::AtLeastOnce)
        });
        let mut delivery = delivery(0, 1, &retained("a"));
        delivery.retained = from_store;
        peer.event(Event::Deliver(delivery));
        let publish = published(peer.one());
        assert_eq!(publish.retain, flag);
        assert_eq!(&publish.properties.head[..], b"", "the mark stays inside");
    }
}

#[test]
fn mqtt_3_3_2_6_the_expiry_is_lowered_by_the_wait() {
    let mut peer = subscriber(Version::V5, Qos::AtLeastOnce);
    let properties = MessageProperties { expiry: Some(60), ..MessageProperties::default() };
    let message = Arc::new(crate::session::inbound::message(
        Time(1000),
        &"a".into(),
        Qos::AtLeastOnce,
        false,
        properties,
        Bytes::new(),
    ));
    peer.now = Time(21_000);
    peer.deliver(0, 1, &message);
    assert_eq!(published(peer.one()).properties.expiry, Some(40));
    peer.now = Time(61_000);
    peer.deliver(0, 2, &message);
    assert_eq!(peer.take(), [], "expired");
    assert_eq!(settles(&mut peer).len(), 1);
}

#[test]
fn mqtt_3_1_2_25_a_delivery_too_large_for_the_client_is_done_with_unsent() {
    let body = |length: usize| {
        let meta = Meta { durable: true, ..Meta::new(Address::topic("a")) };
        Arc::new(Message::new(meta, Encoding::Mqtt5, Bytes::new(), vec![0; length].into()))
    };
    let mut packet = connect(Version::V5);
    packet.properties.add(id::MAXIMUM_PACKET_SIZE, PropertyValue::Four(100));
    let mut peer = Peer::resumed(packet, MqttConfig::default(), Attached::default());
    peer.subscribed(filter("#", Qos::AtLeastOnce));
    // Fixed header 2, topic 3, packet id 2, property length 1: 92 bytes of payload make 100.
    peer.deliver(0, 1, &body(92));
    assert_eq!(published(peer.one()).payload.len(), 92);
    peer.deliver(0, 2, &body(93));
    assert_eq!(peer.take(), []);
    let settled = settles(&mut peer);
    assert_eq!((settled.len(), settled[0].first, &settled[0].outcome), (1, Seq(2), &Outcome::Accept));
}

#[test]
fn a_message_that_no_packet_can_hold_is_done_with_unsent_and_becomes_a_dead_letter_where_others_consume_too() {
    let large = |durable: bool| {
        let mut meta = Meta { durable, ..Meta::new(Address::topic("a")) };
        meta.rare_mut().large = Some(Arc::new(LargeBody::named("$body/1".into(), 1 << 30, 1 << 30)));
        Arc::new(Message::new(meta, Encoding::Stomp, Bytes::new(), Bytes::new()))
    };
    for version in [Version::V4, Version::V5] {
        let mut peer = subscriber(version, Qos::AtLeastOnce);
        for (seq, durable) in [(1, true), (2, false)] {
            peer.deliver(0, seq, &large(durable));
            assert_eq!(peer.take(), []);
            let settled = settles(&mut peer);
            assert_eq!((settled.len(), settled[0].first, &settled[0].outcome), (1, Seq(seq), &Outcome::Accept));
        }
        // What follows is delivered.
        peer.deliver(0, 3, &message("a", Qos::AtLeastOnce));
        published(peer.one());
        assert_eq!(settles(&mut peer).len(), 0);

        peer.send(&subscribe(vec![filter("$queue/q", Qos::AtLeastOnce)]));
        let attach = peer.take_actions().into_iter().find_map(|action| match action {
            Action::Attach(attach) => Some(attach.consumer),
            _ => None,
        });
        let consumer = attach.expect("an Attach");
        peer.event(Event::Attached { consumer, result: Ok(Attached::default()) });
        peer.take();
        peer.deliver(consumer.0, 1, &large(true));
        assert_eq!(peer.take(), []);
        let settled = settles(&mut peer);
        assert_eq!(settled[0].outcome, Outcome::Reject { reason: "too large for MQTT".into() });
    }
}

#[test]
fn properties_pass_untouched_between_mqtt_5_clients_and_not_at_all_to_3_1_1() {
    let head: &[u8] = b"\x26\0\x01a\0\x011\x01\x01\x26\0\x01a\0\x011\x03\0\x01t";
    for (version, expected) in [(Version::V5, head), (Version::V4, b"")] {
        let mut peer = subscriber(version, Qos::ExactlyOnce);
        let properties = MessageProperties { head: Bytes::from_static(head), ..MessageProperties::default() };
        let message =
            crate::session::inbound::message(Time(0), &"a".into(), Qos::ExactlyOnce, true, properties, Bytes::new());
        peer.deliver(0, 1, &Arc::new(message));
        assert_eq!(&published(peer.one()).properties.head[..], expected);
    }
}

#[test]
fn a_message_sent_to_a_queue_shows_the_queue_s_name() {
    let mut peer = Peer::online(Version::V5);
    peer.send(&super::gateway::subscribe(vec![filter("$queue/orders", Qos::AtLeastOnce)]));
    peer.event(Event::Attached { consumer: ConsumerId(1), result: Ok(Attached::default()) });
    peer.take();
    peer.deliver(1, 1, &message("$queue/orders", Qos::AtLeastOnce));
    let publish = published(peer.one());
    assert_eq!((&*publish.topic, publish.packet_id), ("$queue/orders", 32_768));
    peer.take_actions();
    peer.ack_with(AckKind::Puback, 32_768, ReasonCode::UNSPECIFIED);
    let settled = settles(&mut peer);
    assert!(matches!(settled[0].outcome, Outcome::Reject { .. }));
}

#[test]
fn what_the_gateway_knows_of_a_delivery_stands_before_the_publishers_properties_in_mqtt_5() {
    let note = |name: &str, value: &str| Annotation { name: name.into(), value: value.into() };
    let notes = [note("dead-letter-reason", "expired"), note("original-destination", "/topic/a")];
    let head = Bytes::from_static(b"\x26\0\x01k\0\x01v");
    let given = MessageProperties { head, ..MessageProperties::default() };
    let published_as = crate::session::message_for_test(Time(0), Qos::AtLeastOnce, false, given);
    let dead = Arc::new(published_as.readdressed(Address::topic("dead"), notes));
    let deliver = |version| {
        let mut peer = subscriber(version, Qos::AtLeastOnce);
        peer.event(Event::Deliver(Delivery { failed_count: 3, redelivered: true, ..delivery(0, 1, &dead) }));
        published(peer.one())
    };
    let publish = deliver(Version::V5);
    assert!(publish.dup);
    assert_eq!(
        &publish.properties.head[..],
        b"\x26\0\x12dead-letter-reason\0\x07expired\x26\0\x14original-destination\0\x08/topic/a\
          \x26\0\x0edelivery-count\0\x013\x26\0\x01k\0\x01v"
            .as_slice()
    );
    assert!(deliver(Version::V4).properties.head.is_empty());
}

#[test]
fn mqtt_3_3_2_5_what_expired_on_the_way_is_not_sent_and_goes_back_to_a_queue_that_others_use() {
    let mut expired = Message::new(Meta::new(Address::queue("q")), Encoding::Plain, Bytes::new(), Bytes::new());
    expired.meta.expires_at = Some(Time(999));
    let expired = Arc::new(expired);
    let mut peer = subscriber(Version::V5, Qos::AtLeastOnce);
    peer.deliver(0, 1, &expired);
    assert_eq!((peer.take(), settles(&mut peer).remove(0).outcome), (vec![], Outcome::Accept));
    peer.send(&super::gateway::subscribe(vec![filter("$queue/q", Qos::AtLeastOnce)]));
    peer.event(Event::Attached { consumer: ConsumerId(1), result: Ok(Attached::default()) });
    peer.take();
    peer.deliver(1, 1, &expired);
    assert_eq!((peer.take(), settles(&mut peer).remove(0).outcome), (vec![], Outcome::Release));
}
