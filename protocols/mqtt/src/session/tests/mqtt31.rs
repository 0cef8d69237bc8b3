//! MQTT 3.1, where it is not 3.1.1. Its specification has no numbered statements: sections are named.

use evergate_model::{Access, Action, Attached, Close, ConsumerId, Event, PublishError, Session};

use super::gateway::{Peer, connect, filter, stored, subscribe};
use crate::MqttConfig;
use crate::codec::{Connack, Connect, Packet, Qos, ReasonCode, Version};

fn asked(client_id: &str, clean_start: bool) -> Connect {
    Connect { client_id: client_id.into(), clean_start, ..connect(Version::V3) }
}

#[test]
fn a_client_is_told_nothing_of_its_session() {
    let mut peer = Peer::new(Version::V3, MqttConfig::default());
    peer.send(&Packet::Connect(Box::new(asked("c", false))));
    peer.event(Event::Authenticated(Access::Granted("".into())));
    peer.event(Event::Attached { consumer: ConsumerId(0), result: Ok(stored(vec![], vec![])) });
    let Packet::Connack(Connack { session_present, reason, .. }) = peer.one() else { panic!("no CONNACK") };
    assert_eq!((session_present, reason), (false, ReasonCode::SUCCESS), "section 3.2: the byte is reserved");
    assert_eq!(peer.session.peer().protocol, "MQTT 3.1");
}

#[test]
fn client_ids_may_be_longer_than_23_characters_and_empty_ones_are_for_clean_sessions() {
    for (client_id, clean_start, taken) in [("x".repeat(24), false, true), (String::new(), true, true)] {
        let mut peer = Peer::new(Version::V3, MqttConfig::default());
        peer.send(&Packet::Connect(Box::new(asked(&client_id, clean_start))));
        assert_eq!(matches!(peer.take_actions()[..], [Action::Authenticate(_)]), taken, "{client_id:?}");
    }
    let mut peer = Peer::new(Version::V3, MqttConfig::default());
    peer.send(&Packet::Connect(Box::new(asked("", false))));
    let Packet::Connack(connack) = peer.one() else { panic!("no CONNACK") };
    assert_eq!(connack.reason, ReasonCode(2), "identifier rejected");
}

#[test]
fn user_name_and_password_may_be_announced_and_missing() {
    // Section 3.1: the remaining length counts, not the flags.
    for rest in [&b"\0\x01c"[..], b"\0\x01c\0\x01u"] {
        let mut bytes = vec![0x10, 12 + rest.len() as u8];
        bytes.extend_from_slice(b"\0\x06MQIsdp\x03\xC2\0\x3C");
        bytes.extend_from_slice(rest);
        let mut peer = Peer::new(Version::V3, MqttConfig::default());
        peer.bytes(&bytes);
        assert!(matches!(peer.take_actions()[..], [Action::Authenticate(_)]), "{rest:?}");
    }
}

#[test]
fn subscribe_unsubscribe_and_pubrel_may_be_sent_again_with_dup() {
    for packet in [&b"\x8A\x06\0\x01\0\x01a\x01"[..], b"\xAA\x05\0\x01\0\x01a", b"\x6A\x02\0\x01"] {
        let mut peer = Peer::online(Version::V3);
        peer.bytes(packet);
        assert_eq!(peer.closed, None, "{packet:02x?}");
        let mut peer = Peer::online(Version::V4);
        peer.bytes(packet);
        assert!(peer.closed.is_some(), "reserved in 3.1.1: {packet:02x?}");
    }
}

#[test]
fn a_refused_subscription_closes_since_suback_has_no_word_for_it() {
    let mut peer = Peer::online(Version::V3);
    peer.send(&subscribe(vec![filter("a/#/b", Qos::AtMostOnce)]));
    assert_eq!(peer.take(), []);
    assert!(matches!(peer.closed, Some(Close::ProtocolError(_))));
}

#[test]
fn a_publish_that_was_not_taken_closes() {
    let mut peer = Peer::resumed(connect(Version::V3), MqttConfig::default(), Attached::default());
    peer.publish(Qos::AtLeastOnce, 1);
    let token = peer.publish_tokens()[0];
    peer.event(Event::Published { token, result: Err(PublishError::NotFound) });
    assert_eq!(peer.take(), []);
    assert!(peer.closed.is_some());
}
