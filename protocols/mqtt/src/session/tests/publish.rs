use std::sync::Arc;

use evergate_model::{Action, AddressKind, Close, ConsumerId, Event, Mark, PublishError};

use super::gateway::{Peer, ack, connect, publish, stored};
use crate::MqttConfig;
use crate::codec::{Ack, AckKind, Packet, PropertyValue, Qos, ReasonCode, Version, id};

fn acks(packets: Vec<Packet>) -> Vec<(AckKind, u16, ReasonCode)> {
    packets
        .into_iter()
        .map(|packet| match packet {
            Packet::Ack(Ack { kind, packet_id, reason, .. }) => (kind, packet_id, reason),
            other => panic!("{other:?}"),
        })
        .collect()
}

const OK: ReasonCode = ReasonCode::SUCCESS;

#[test]
fn mqtt_4_3_2_4_puback_follows_the_gateway_s_answer() {
    let mut peer = Peer::online(Version::V4);
    peer.publish(Qos::AtLeastOnce, 1);
    assert_eq!(peer.take(), []);
    let token = peer.publish_tokens()[0];
    peer.event(Event::Published { token, result: Ok(1) });
    assert_eq!(acks(peer.take()), [(AckKind::Puback, 1, OK)]);
}

#[test]
fn mqtt_4_6_0_2_pubacks_leave_in_the_order_of_the_publishes() {
    let mut peer = Peer::online(Version::V4);
    peer.publish(Qos::AtLeastOnce, 1);
    peer.publish(Qos::ExactlyOnce, 2);
    peer.publish(Qos::AtLeastOnce, 3);
    let tokens = peer.publish_tokens();
    peer.event(Event::Published { token: tokens[2], result: Ok(1) });
    peer.event(Event::Published { token: tokens[1], result: Ok(1) });
    assert_eq!(peer.take(), []);
    peer.event(Event::Published { token: tokens[0], result: Ok(1) });
    let expected = [(AckKind::Puback, 1, OK), (AckKind::Pubrec, 2, OK), (AckKind::Puback, 3, OK)];
    assert_eq!(acks(peer.take()), expected);
}

#[test]
fn qos_0_is_transient_and_has_no_answer() {
    let mut peer = Peer::online(Version::V5);
    peer.publish(Qos::AtMostOnce, 0);
    let Some(Action::Publish(publish)) = peer.take_actions().pop() else { panic!("no publish") };
    assert!(!publish.message.meta.durable);
    peer.event(Event::Published { token: publish.token, result: Ok(0) });
    assert_eq!(peer.take(), []);
}

#[test]
fn no_matching_subscribers_is_told_in_mqtt_5_only() {
    for (version, reason) in [(Version::V4, OK), (Version::V5, ReasonCode::NO_MATCHING_SUBSCRIBERS)] {
        let mut peer = Peer::online(version);
        peer.publish(Qos::AtLeastOnce, 1);
        let token = peer.publish_tokens()[0];
        peer.event(Event::Published { token, result: Ok(0) });
        assert_eq!(acks(peer.take()), [(AckKind::Puback, 1, reason)]);
    }
}

#[test]
fn mqtt_4_3_3_10_a_qos_2_publish_sent_again_is_not_published_again() {
    let mut peer = Peer::online(Version::V5);
    peer.publish(Qos::ExactlyOnce, 5);
    let Some(Action::Publish(first)) = peer.take_actions().pop() else { panic!("no publish") };
    assert_eq!(first.mark, Some((ConsumerId(0), Mark::Number(5))));
    peer.event(Event::Published { token: first.token, result: Ok(1) });
    peer.take();
    peer.publish(Qos::ExactlyOnce, 5);
    assert_eq!(acks(peer.take()), [(AckKind::Pubrec, 5, OK)]);
    assert_eq!(peer.publish_tokens(), []);
}

#[test]
fn mqtt_4_3_3_11_pubcomp_follows_the_commit_of_the_release() {
    let mut peer = Peer::online(Version::V5);
    peer.publish(Qos::ExactlyOnce, 5);
    let token = peer.publish_tokens()[0];
    peer.event(Event::Published { token, result: Ok(1) });
    peer.take();
    peer.ack(AckKind::Pubrel, 5);
    assert_eq!(peer.take(), []);
    let Some(Action::Mark { number: 5, set: false, token: Some(token), .. }) = peer.take_actions().pop() else {
        panic!("the mark is not cleared")
    };
    peer.event(Event::Done(token));
    assert_eq!(acks(peer.take()), [(AckKind::Pubcomp, 5, OK)]);
    // The id is free: the next one is a new message.
    peer.publish(Qos::ExactlyOnce, 5);
    assert_eq!(peer.publish_tokens().len(), 1);
}

#[test]
fn an_unknown_pubrel_is_answered_at_once() {
    for (version, reason) in [(Version::V4, OK), (Version::V5, ReasonCode::PACKET_ID_NOT_FOUND)] {
        let mut peer = Peer::online(version);
        peer.ack(AckKind::Pubrel, 5);
        assert_eq!(acks(peer.take()), [(AckKind::Pubcomp, 5, reason)]);
    }
}

#[test]
fn a_qos_2_id_taken_before_a_crash_is_known_after_it() {
    let mut packet = connect(Version::V4);
    packet.clean_start = false;
    let mut peer = Peer::resumed(packet, MqttConfig::default(), stored(vec![], vec![5]));
    peer.publish(Qos::ExactlyOnce, 5);
    assert_eq!(acks(peer.take()), [(AckKind::Pubrec, 5, OK)]);
    assert_eq!(peer.publish_tokens(), []);
}

#[test]
fn what_was_not_taken_is_said_with_its_reason() {
    for (error, reason) in [
        (PublishError::Reserved, ReasonCode::NOT_AUTHORIZED),
        (PublishError::TooLarge { limit_bytes: 1 }, ReasonCode::QUOTA_EXCEEDED),
        (PublishError::Limit("queues".into()), ReasonCode::QUOTA_EXCEEDED),
        (PublishError::Full { destination: "q".into() }, ReasonCode::QUOTA_EXCEEDED),
        (PublishError::NotFound, ReasonCode::TOPIC_NAME_INVALID),
        (PublishError::Unavailable, ReasonCode::IMPLEMENTATION_SPECIFIC),
    ] {
        let mut peer = Peer::online(Version::V5);
        peer.publish(Qos::ExactlyOnce, 5);
        let token = peer.publish_tokens()[0];
        peer.event(Event::Published { token, result: Err(error.clone()) });
        let Packet::Ack(pubrec) = peer.one() else { panic!("no PUBREC") };
        assert_eq!((pubrec.kind, pubrec.reason), (AckKind::Pubrec, reason));
        assert_eq!(pubrec.properties.text(id::REASON_STRING), Some(&*error.to_string()));
        // The id is free again.
        peer.publish(Qos::ExactlyOnce, 5);
        assert_eq!(peer.publish_tokens().len(), 1);
    }
}

#[test]
fn mqtt_3_1_2_29_no_reason_strings_for_a_client_that_wants_none() {
    let mut packet = connect(Version::V5);
    packet.properties.add(id::REQUEST_PROBLEM_INFORMATION, PropertyValue::Flag(false));
    let mut peer = Peer::resumed(packet, MqttConfig::default(), evergate_model::Attached::default());
    peer.publish(Qos::AtLeastOnce, 1);
    let token = peer.publish_tokens()[0];
    peer.event(Event::Published { token, result: Err(PublishError::Reserved) });
    assert_eq!(peer.one(), Packet::Ack(ack(AckKind::Puback, 1, ReasonCode::NOT_AUTHORIZED)));
}

#[test]
fn mqtt_3_3_5_2_what_3_1_1_cannot_say_closes_the_connection() {
    let mut peer = Peer::online(Version::V4);
    peer.publish(Qos::AtLeastOnce, 1);
    let token = peer.publish_tokens()[0];
    peer.event(Event::Published { token, result: Err(PublishError::Reserved) });
    assert_eq!(peer.take(), []);
    assert!(matches!(peer.closed, Some(Close::Gateway(_))));
}

#[test]
fn a_reply_to_one_who_is_gone_is_dropped_and_harms_nobody() {
    for (version, qos) in [Version::V4, Version::V5].into_iter().zip([Qos::AtLeastOnce, Qos::ExactlyOnce]) {
        let mut peer = Peer::online(version);
        peer.send(&Packet::Publish(publish("$queue/$temporary/77", qos, 1)));
        let token = peer.publish_tokens()[0];
        peer.event(Event::Published { token, result: Err(PublishError::NotFound) });
        let Packet::Ack(answer) = peer.one() else { panic!("no acknowledgement") };
        let expected = if version == Version::V5 { ReasonCode::NO_MATCHING_SUBSCRIBERS } else { OK };
        assert_eq!((answer.packet_id, answer.reason), (1, expected));
        assert_eq!(peer.closed, None);
    }
}

#[test]
fn mqtt_3_3_4_7_the_receive_maximum_is_enforced_at_its_edge() {
    let config = MqttConfig { receive_maximum: 2, ..MqttConfig::default() };
    let mut peer = Peer::resumed(connect(Version::V5), config, evergate_model::Attached::default());
    peer.publish(Qos::AtLeastOnce, 1);
    peer.publish(Qos::ExactlyOnce, 2);
    let token = peer.publish_tokens()[0];
    peer.event(Event::Published { token, result: Ok(1) });
    peer.publish(Qos::AtLeastOnce, 3);
    assert_eq!(peer.closed, None);
    peer.publish(Qos::AtLeastOnce, 4);
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
}

#[test]
fn mqtt_3_3_2_9_topic_aliases_stand_for_topics_up_to_the_maximum() {
    let with_alias = |topic: &str, alias| {
        let mut packet = publish(topic, Qos::AtMostOnce, 0);
        packet.properties.alias = Some(alias);
        Packet::Publish(packet)
    };
    let mut peer = Peer::online(Version::V5);
    peer.send(&with_alias("long/topic", 64));
    peer.send(&with_alias("", 64));
    let topics: Vec<Arc<str>> = peer
        .take_actions()
        .into_iter()
        .filter_map(|action| match action {
            Action::Publish(publish) => Some(publish.message.meta.address.name.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(topics, ["long/topic".into(), "long/topic".into()] as [Arc<str>; 2]);
    assert!(Arc::ptr_eq(&topics[0], &topics[1]), "the name is kept once");
    peer.send(&with_alias("", 63));
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::PROTOCOL_ERROR));
    let mut peer = Peer::online(Version::V5);
    peer.send(&with_alias("t", 65));
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::TOPIC_ALIAS_INVALID));
}

#[test]
fn topics_that_clients_may_not_use_are_refused() {
    for topic in ["$share/g/a", "$SYS/x", "$queue/", "$glob/x"] {
        let mut peer = Peer::online(Version::V5);
        peer.send(&Packet::Publish(publish(topic, Qos::AtMostOnce, 0)));
        assert_eq!(peer.disconnect_reason(), Some(ReasonCode::TOPIC_NAME_INVALID), "{topic}");
    }
    for (levels, refused) in [(128, false), (129, true)] {
        let mut peer = Peer::online(Version::V4);
        peer.send(&Packet::Publish(publish(&vec!["x"; levels].join("/"), Qos::AtMostOnce, 0)));
        assert_eq!(peer.closed.is_some(), refused, "{levels} levels");
    }
}

#[test]
fn a_publish_carries_what_the_model_has_words_for() {
    let mut peer = Peer::online(Version::V5);
    let mut packet = publish("$queue/orders", Qos::ExactlyOnce, 1);
    packet.retain = true;
    packet.properties.expiry = Some(5);
    packet.properties.head = b"\x26\0\x08priority\0\x017".as_slice().into();
    peer.send(&Packet::Publish(packet));
    let Some(Action::Publish(publish)) = peer.take_actions().pop() else { panic!("no publish") };
    let meta = &publish.message.meta;
    assert_eq!((meta.address.kind, &*meta.address.name), (AddressKind::Queue, "orders"));
    assert_eq!((meta.durable, meta.priority, meta.expires_at), (true, 7, Some(evergate_model::Time(6000))));
    assert!(publish.retain);
}
