use evergate_model::{Access, Action, AttachAccess, Attached, Close, ConsumerId, Event, Lifetime, PublishError, Time};

use super::gateway::{Peer, connect, publish, stored};
use crate::MqttConfig;
use crate::codec::{
    Connack, Connect, Disconnect, LastWill, MessageProperties, Packet, Properties, PropertyValue, Qos, ReasonCode,
    Version, id,
};

fn connack(peer: &mut Peer) -> Connack {
    match peer.one() {
        Packet::Connack(connack) => connack,
        other => panic!("{other:?}"),
    }
}

fn granted() -> Event {
    Event::Authenticated(Access::Granted("u".into()))
}

fn attached(existed: bool) -> Event {
    Event::Attached { consumer: ConsumerId(0), result: Ok(Attached { existed, ..Attached::default() }) }
}

#[test]
fn mqtt_3_1_0_1_the_first_packet_is_connect() {
    for version in [Version::V4, Version::V5] {
        let mut peer = Peer::new(version, MqttConfig::default());
        peer.send(&Packet::Pingreq);
        assert!(matches!(peer.closed, Some(Close::ProtocolError(_))));
        assert_eq!(peer.packets, []);
    }
}

#[test]
fn mqtt_3_1_0_2_a_second_connect_closes() {
    let mut peer = Peer::online(Version::V5);
    peer.send(&Packet::Connect(Box::new(connect(Version::V5))));
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::PROTOCOL_ERROR));
    assert!(peer.closed.is_some());
}

#[test]
fn a_connection_without_connect_is_closed_after_the_timeout() {
    let mut peer = Peer::new(Version::V4, MqttConfig::default());
    assert_eq!(evergate_model::Session::next_timeout(&peer.session), Some(Time(0)));
    peer.timeout_at(Time(1000));
    peer.bytes(b"\x10");
    peer.timeout_at(Time(10_999));
    assert_eq!(peer.closed, None);
    peer.timeout_at(Time(11_000));
    assert_eq!(peer.closed, Some(Close::Silent));
}

#[test]
fn mqtt_3_1_2_2_other_versions_are_refused_in_words_the_client_knows() {
    for (level, version, code) in [(2, Version::V4, 1), (6, Version::V5, 0x84)] {
        let mut peer = Peer::new(version, MqttConfig::default());
        peer.bytes(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 0, 0, 0]);
        assert_eq!(connack(&mut peer).reason, ReasonCode(code));
        assert!(peer.closed.is_some());
    }
}

#[test]
fn mqtt_3_1_3_8_an_empty_client_id_needs_a_clean_session_in_3_1_1() {
    let mut peer = Peer::new(Version::V4, MqttConfig::default());
    let mut packet = connect(Version::V4);
    (packet.client_id, packet.clean_start) = (String::new(), false);
    peer.send(&Packet::Connect(Box::new(packet)));
    assert_eq!(connack(&mut peer).reason, ReasonCode(2));
}

#[test]
fn mqtt_3_2_2_16_an_assigned_client_id_is_told() {
    let mut peer = Peer::new(Version::V5, MqttConfig::default());
    let mut packet = connect(Version::V5);
    packet.client_id.clear();
    peer.send(&Packet::Connect(Box::new(packet)));
    peer.event(granted());
    peer.event(attached(false));
    let connack = connack(&mut peer);
    assert_eq!(connack.properties.text(id::ASSIGNED_CLIENT_ID), Some("evergate-7-3e8"));
    assert_eq!(connack.properties.number(id::RECEIVE_MAXIMUM), Some(1024));
    assert_eq!(connack.properties.number(id::TOPIC_ALIAS_MAXIMUM), Some(64));
    assert_eq!(connack.properties.number(id::MAXIMUM_PACKET_SIZE), Some(16 * 1024 * 1024));
}

#[test]
fn the_client_id_is_limited_at_its_edge() {
    for (length, refused) in [(1024, false), (1025, true)] {
        let mut peer = Peer::new(Version::V5, MqttConfig::default());
        let mut packet = connect(Version::V5);
        packet.client_id = "x".repeat(length);
        peer.send(&Packet::Connect(Box::new(packet)));
        assert_eq!(peer.closed.is_some(), refused);
        if refused {
            assert_eq!(connack(&mut peer).reason, ReasonCode::CLIENT_ID_NOT_VALID);
        }
    }
}

#[test]
fn refused_credentials_have_their_code_in_both_versions() {
    for (version, code) in [(Version::V4, 4), (Version::V5, 0x86)] {
        let mut peer = Peer::new(version, MqttConfig::default());
        let mut packet = connect(version);
        packet.user = Some("u".into());
        peer.send(&Packet::Connect(Box::new(packet)));
        peer.event(Event::Authenticated(Access::Denied));
        assert_eq!(connack(&mut peer).reason, ReasonCode(code));
        assert_eq!(peer.closed, Some(Close::Unauthorized));
        assert!(!peer.actions.iter().any(|action| matches!(action, Action::Attach(_))));
    }
}

#[test]
fn enhanced_authentication_is_refused_with_0x8c() {
    let mut peer = Peer::new(Version::V5, MqttConfig::default());
    let mut packet = connect(Version::V5);
    packet.properties.add(id::AUTHENTICATION_METHOD, PropertyValue::Text("SCRAM".into()));
    peer.send(&Packet::Connect(Box::new(packet)));
    assert_eq!(connack(&mut peer).reason, ReasonCode::BAD_AUTHENTICATION_METHOD);
}

#[test]
fn the_session_expiry_is_the_queue_s_lifetime() {
    let v5 = |seconds: u32| {
        let mut packet = connect(Version::V5);
        packet.properties.add(id::SESSION_EXPIRY, PropertyValue::Four(seconds));
        packet
    };
    let mut persistent = connect(Version::V4);
    persistent.clean_start = false;
    let hour = std::time::Duration::from_hours(1);
    for (packet, durable, lifetime) in [
        (connect(Version::V4), false, Lifetime::Attached),
        (persistent, true, Lifetime::Permanent),
        (v5(0), false, Lifetime::Attached),
        (v5(3600), true, Lifetime::AfterDetach(hour)),
        (v5(u32::MAX), true, Lifetime::Permanent),
    ] {
        let mut peer = Peer::new(packet.version, MqttConfig::default());
        let fresh = packet.clean_start;
        peer.send(&Packet::Connect(Box::new(packet)));
        peer.event(granted());
        let Some(Action::Attach(attach)) = peer.take_actions().pop() else { panic!("no attach") };
        assert_eq!(&*attach.queue.name, "$session/c");
        assert_eq!((attach.queue.durable, attach.queue.lifetime), (durable, lifetime));
        assert_eq!((attach.fresh, attach.access), (fresh, AttachAccess::TakeOver));
    }
}

#[test]
fn a_session_expiry_above_the_limit_is_capped_and_told() {
    let config = MqttConfig { max_session_expiry_seconds: 60, ..MqttConfig::default() };
    let mut peer = Peer::new(Version::V5, config);
    let mut packet = connect(Version::V5);
    packet.properties.add(id::SESSION_EXPIRY, PropertyValue::Four(61));
    peer.send(&Packet::Connect(Box::new(packet)));
    peer.event(granted());
    peer.event(attached(false));
    assert_eq!(connack(&mut peer).properties.number(id::SESSION_EXPIRY), Some(60));
}

#[test]
fn mqtt_3_2_2_3_session_present_says_what_was_found() {
    for (clean_start, existed, present) in
        [(false, true, true), (false, false, false), (true, true, false), (true, false, false)]
    {
        let mut peer = Peer::new(Version::V4, MqttConfig::default());
        let mut packet = connect(Version::V4);
        packet.clean_start = clean_start;
        peer.send(&Packet::Connect(Box::new(packet)));
        peer.event(granted());
        peer.event(attached(existed));
        assert_eq!(connack(&mut peer).session_present, present);
    }
}

#[test]
fn packets_sent_before_connack_wait_and_are_not_lost() {
    let mut peer = Peer::new(Version::V4, MqttConfig::default());
    peer.send(&Packet::Connect(Box::new(connect(Version::V4))));
    peer.send(&Packet::Publish(publish("a", Qos::AtLeastOnce, 1)));
    peer.event(granted());
    assert!(!peer.actions.iter().any(|action| matches!(action, Action::Publish(_))));
    peer.event(attached(false));
    assert!(peer.actions.iter().any(|action| matches!(action, Action::Publish(_))));
}

#[test]
fn mqtt_3_1_2_22_silence_of_one_and_a_half_keep_alives_closes() {
    let mut peer = Peer::online(Version::V5);
    peer.timeout_at(Time(1000 + 89_999));
    assert_eq!(peer.closed, None);
    peer.timeout_at(Time(1000 + 90_000));
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::KEEP_ALIVE_TIMEOUT));
    assert_eq!(peer.closed, Some(Close::Silent));
}

#[test]
fn only_who_can_be_told_has_another_keep_alive_than_it_asked_for() {
    let config = || MqttConfig { max_keep_alive_seconds: 10, ..MqttConfig::default() };
    for (version, asked, silence_seconds) in
        [(Version::V5, 60, Some(15)), (Version::V5, 0, Some(15)), (Version::V4, 60, Some(90)), (Version::V4, 0, None)]
    {
        let packet = Connect { keep_alive: asked, ..connect(version) };
        let peer = Peer::resumed(packet, config(), Attached::default());
        let deadline = evergate_model::Session::next_timeout(&peer.session);
        assert_eq!(deadline, silence_seconds.map(|seconds: u64| Time(1000 + seconds * 1000)), "{version:?} {asked}");
    }
}

#[test]
fn authentication_data_without_a_method_is_a_protocol_error() {
    let mut peer = Peer::new(Version::V5, MqttConfig::default());
    let mut packet = connect(Version::V5);
    packet.properties.add(id::AUTHENTICATION_DATA, PropertyValue::Binary(bytes::Bytes::from_static(b"x")));
    peer.send(&Packet::Connect(Box::new(packet)));
    assert_eq!(connack(&mut peer).reason, ReasonCode::PROTOCOL_ERROR);
}

#[test]
fn an_operator_who_closes_a_connection_is_named() {
    let mut peer = Peer::online(Version::V5);
    peer.event(Event::ToldToClose { reason: "closed by an operator".into() });
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::ADMINISTRATIVE_ACTION));
    assert!(matches!(peer.closed, Some(Close::Gateway(_))));
}

#[test]
fn a_client_that_waits_for_the_gateway_is_not_silent() {
    let mut peer = Peer::online(Version::V5);
    peer.publish(Qos::AtLeastOnce, 1);
    peer.timeout_at(Time(1_000_000));
    assert_eq!(peer.closed, None);
}

fn will(qos: Qos) -> LastWill {
    let properties = MessageProperties { will_delay: 30, expiry: Some(60), ..MessageProperties::default() };
    LastWill { topic: "w".into(), qos, retain: true, properties, payload: bytes::Bytes::from_static(b"\0bye") }
}

#[test]
fn a_will_to_a_reserved_name_is_taken_only_of_who_may_publish_there() {
    for (topic, asked) in [("w", false), ("$queue/w", false), ("$queue/_ADMIN", true), ("_LOG/x", true)] {
        for (version, code) in [(Version::V4, 5), (Version::V5, 0x87)] {
            for allowed in [true, false] {
                let mut peer = Peer::new(version, MqttConfig::default());
                let mut packet = connect(version);
                packet.will = Some(LastWill { topic: topic.into(), ..will(Qos::AtLeastOnce) });
                peer.send(&Packet::Connect(Box::new(packet)));
                peer.event(granted());
                let token = peer.take_actions().into_iter().find_map(|action| match action {
                    Action::MayPublish { to, token } if to.is_reserved() => Some(token),
                    _ => None,
                });
                assert_eq!(token.is_some(), asked, "{topic}");
                let Some(token) = token else { break };
                let result = if allowed { Ok(0) } else { Err(PublishError::Reserved) };
                peer.event(Event::Published { token, result });
                let attaches = peer.take_actions().iter().any(|action| matches!(action, Action::Attach(_)));
                assert_eq!((attaches, peer.closed.is_some()), (allowed, !allowed));
                if !allowed {
                    assert_eq!(connack(&mut peer).reason, ReasonCode(code));
                }
            }
        }
    }
}

#[test]
fn a_will_is_handed_over_with_its_delay_and_its_expiry() {
    // The gateway ends the wait with the session, if that is earlier: a DISCONNECT may still change its expiry.
    for expiry in [0, 10, 3600] {
        let mut peer = Peer::new(Version::V5, MqttConfig::default());
        let mut packet = connect(Version::V5);
        packet.will = Some(will(Qos::AtLeastOnce));
        packet.properties.add(id::SESSION_EXPIRY, PropertyValue::Four(expiry));
        peer.send(&Packet::Connect(Box::new(packet)));
        peer.event(granted());
        peer.event(attached(false));
        let will = peer.take_actions().into_iter().find_map(|action| match action {
            Action::Will(will) => will,
            _ => None,
        });
        let will = will.expect("a will");
        assert_eq!(will.delay.as_secs(), 30);
        // Its time begins with its publication. (3.1.3.2.4)
        assert_eq!((will.expiry.map(|expiry| expiry.as_secs()), will.message.meta.expires_at), (Some(60), None));
        assert_eq!((will.retain, will.message.meta.durable, &will.message.body[..]), (true, true, &b"\0bye"[..]));
    }
}

#[test]
fn mqtt_3_14_4_3_only_a_normal_disconnect_drops_the_will() {
    let disconnect = |reason| Packet::Disconnect(Disconnect { reason, properties: Properties::default() });
    let mut peer = Peer::online(Version::V5);
    peer.bytes(&[0xE0, 0x00]);
    assert_eq!(peer.closed, Some(Close::Goodbye));
    let mut peer = Peer::online(Version::V5);
    peer.send(&disconnect(ReasonCode::DISCONNECT_WITH_WILL));
    assert!(peer.closed.is_some_and(|close| close != Close::Goodbye));
}

#[test]
fn mqtt_3_14_2_2_a_session_that_ends_now_cannot_be_prolonged_by_disconnect() {
    for (at_connect, refused) in [(0, true), (5, false)] {
        let mut packet = connect(Version::V5);
        packet.properties.add(id::SESSION_EXPIRY, PropertyValue::Four(at_connect));
        let mut peer = Peer::resumed(packet, MqttConfig::default(), Attached::default());
        let mut properties = Properties::default();
        properties.add(id::SESSION_EXPIRY, PropertyValue::Four(7));
        peer.send(&Packet::Disconnect(Disconnect { reason: ReasonCode::SUCCESS, properties }));
        assert_eq!(peer.closed == Some(Close::Goodbye), !refused);
        let detach = peer.actions.iter().any(|action| matches!(action, Action::Detach { .. }));
        assert_eq!(detach, !refused);
    }
}

#[test]
fn mqtt_3_1_4_3_a_taken_over_client_is_told() {
    let mut peer = Peer::online(Version::V5);
    peer.event(Event::TakenOver { consumer: ConsumerId(0) });
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::SESSION_TAKEN_OVER));
    assert_eq!(peer.closed, Some(Close::TakenOver));
    let mut peer = Peer::online(Version::V4);
    peer.event(Event::TakenOver { consumer: ConsumerId(0) });
    assert_eq!((peer.take(), peer.closed), (vec![], Some(Close::TakenOver)));
}

#[test]
fn a_stopping_gateway_says_so() {
    let mut peer = Peer::online(Version::V5);
    peer.event(Event::Stopping { reason: "maintenance".into() });
    assert_eq!(peer.disconnect_reason(), Some(ReasonCode::SERVER_SHUTTING_DOWN));
}

#[test]
fn a_resumed_session_sends_its_pubrels_again_at_once() {
    let mut packet = connect(Version::V4);
    packet.clean_start = false;
    let mut peer = Peer::resumed(packet, MqttConfig::default(), stored(vec![], vec![5, 0x1_0007, 0x1_0003]));
    let ids: Vec<u16> = peer
        .take()
        .into_iter()
        .map(|packet| match packet {
            Packet::Ack(ack) if ack.kind == crate::codec::AckKind::Pubrel => ack.packet_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [7, 3]);
}
