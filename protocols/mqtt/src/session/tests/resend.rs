//! QoS 1 publishes that come again. [MQTT-4.4.0-1]

use evergate_model::{Action, Attached, Close, ConsumerId, Event, Fingerprint, Mark, PublishError};

use super::gateway::{Peer, ack, connect, publish, stored};
use crate::MqttConfig;
use crate::codec::{AckKind, Connect, Packet, PropertyValue, Publish, Qos, ReasonCode, Version, id};

fn persistent(version: Version) -> Connect {
    let mut packet = connect(version);
    packet.clean_start = false;
    packet.properties.add(id::SESSION_EXPIRY, PropertyValue::Four(60));
    packet
}

fn client(version: Version, fingerprints: Vec<Fingerprint>) -> Peer {
    let attached = Attached { fingerprints, ..stored(vec![], vec![]) };
    Peer::resumed(persistent(version), MqttConfig::default(), attached)
}

fn sent(packet_id: u16, payload: &'static str) -> Publish {
    Publish { payload: payload.into(), ..publish("t", Qos::AtLeastOnce, packet_id) }
}

fn resent(packet_id: u16, payload: &'static str) -> Publish {
    Publish { dup: true, ..sent(packet_id, payload) }
}

fn put(peer: &mut Peer, publish: Publish) -> Option<evergate_model::Publish> {
    peer.send(&Packet::Publish(publish));
    match peer.take_actions().pop() {
        Some(Action::Publish(publish)) => Some(publish),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn fingerprint(peer: &mut Peer, publish: Publish) -> Fingerprint {
    match put(peer, publish).expect("it is new").mark {
        Some((ConsumerId(0), Mark::Fingerprint(fingerprint))) => fingerprint,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_an_earlier_connection_sent_is_confirmed_and_not_published() {
    for version in [Version::V3, Version::V4, Version::V5] {
        let known = fingerprint(&mut client(version, vec![]), sent(5, "a"));
        // Packet, and whether it is published.
        let table = [
            (resent(5, "a"), false),
            (resent(5, "b"), true),
            (resent(6, "a"), true),
            (sent(5, "a"), true),
            (Publish { retain: true, ..resent(5, "a") }, true),
            (Publish { topic: "u".into(), ..resent(5, "a") }, true),
        ];
        for (publish, is_new) in table {
            let mut peer = client(version, vec![known]);
            let what = format!("{publish:?}");
            let packet_id = publish.packet_id;
            assert_eq!(put(&mut peer, publish).is_some(), is_new, "{what}");
            if !is_new {
                assert_eq!(peer.take(), [Packet::Ack(ack(AckKind::Puback, packet_id, ReasonCode::SUCCESS))]);
            }
        }
    }
}

#[test]
fn an_identifier_that_is_used_anew_stands_for_the_new_message() {
    let known = fingerprint(&mut client(Version::V5, vec![]), sent(5, "a"));
    let mut peer = client(Version::V5, vec![known]);
    let new = put(&mut peer, sent(5, "b")).expect("it is new");
    peer.event(Event::Published { token: new.token, result: Ok(1) });
    assert!(put(&mut peer, resent(5, "a")).is_some());
}

#[test]
fn a_session_that_cannot_be_resumed_is_told_of_nothing() {
    let mut peer = Peer::online(Version::V5);
    assert_eq!(put(&mut peer, sent(5, "a")).map(|publish| publish.mark), Some(None));
    let known = Fingerprint::new(5, 0);
    let attached = Attached { fingerprints: vec![known], ..Attached::default() };
    let mut peer = Peer::resumed(persistent(Version::V5), MqttConfig::default(), attached);
    assert!(put(&mut peer, resent(5, "a")).is_some());
}

#[test]
fn what_is_sent_again_before_its_puback_shares_the_answer() {
    let mut peer = Peer::online(Version::V4);
    let first = put(&mut peer, sent(5, "a")).expect("it is new");
    assert!(put(&mut peer, resent(5, "a")).is_none());
    assert_eq!(peer.take(), []);
    peer.event(Event::Published { token: first.token, result: Ok(1) });
    let puback = Packet::Ack(ack(AckKind::Puback, 5, ReasonCode::SUCCESS));
    assert_eq!(peer.take(), [puback.clone(), puback]);
    assert!(put(&mut peer, resent(5, "a")).is_some());

    let mut peer = Peer::online(Version::V4);
    let first = put(&mut peer, sent(5, "a")).expect("it is new");
    assert!(put(&mut peer, resent(5, "a")).is_none());
    peer.event(Event::Published { token: first.token, result: Err(PublishError::Unavailable) });
    assert_eq!(peer.take(), []);
    assert!(matches!(peer.closed, Some(Close::Gateway(_))));
}

#[test]
fn resends_do_not_use_the_receive_maximum_up() {
    let config = MqttConfig { receive_maximum: 1, ..MqttConfig::default() };
    let known = fingerprint(&mut client(Version::V5, vec![]), sent(5, "a"));
    let attached = Attached { fingerprints: vec![known], ..stored(vec![], vec![]) };
    let mut peer = Peer::resumed(persistent(Version::V5), config, attached);
    for _ in 0..3 {
        assert!(put(&mut peer, resent(5, "a")).is_none());
        assert_eq!(peer.take().len(), 1);
    }
    assert!(put(&mut peer, sent(5, "b")).is_some());
    assert_eq!(peer.closed, None);
}
