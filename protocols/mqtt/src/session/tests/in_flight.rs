//! What was sent is completed as it began, whatever becomes of the subscription. [MQTT-3.10.4-3], [MQTT-4.4.0-1]

use evergate_model::{Action, Attached, Binding, ConsumerId, Event, Filter, Outcome, Output, Session, Token};

use super::gateway::{Peer, connect, delivery, filter, message, stored, subscribe};
use crate::MqttConfig;
use crate::codec::{
    AckKind, Connect, Packet, Properties, PropertyValue, Publish, Qos, ReasonCode, Unsubscribe, Version, id,
};

const QOS_1_STARTED: u32 = 0x2_0000;
const QOS_2_STARTED: u32 = 0x3_0000;

fn persistent() -> Connect {
    let mut packet = Connect { clean_start: false, ..connect(Version::V5) };
    packet.properties.add(id::SESSION_EXPIRY, PropertyValue::Four(100));
    packet
}

fn unsubscribe(text: &str) -> Packet {
    Packet::Unsubscribe(Unsubscribe { packet_id: 8, properties: Properties::default(), filters: vec![text.into()] })
}

fn published(packets: Vec<Packet>) -> Vec<Publish> {
    let published = |packet| match packet {
        Packet::Publish(publish) => publish,
        other => panic!("{other:?}"),
    };
    packets.into_iter().map(published).collect()
}

/// A session with a delivery of QoS 1 and one of QoS 2 on their way: packet ids 2 and 3.
fn two_in_flight() -> Peer {
    let mut peer = Peer::resumed(persistent(), MqttConfig::default(), Attached::default());
    peer.subscribed(filter("a", Qos::ExactlyOnce));
    peer.deliver(0, 1, &message("a", Qos::AtLeastOnce));
    peer.deliver(0, 2, &message("a", Qos::ExactlyOnce));
    assert_eq!(published(peer.take()).len(), 2);
    peer.take_actions();
    peer
}

/// The marks set or cleared since last asked, and the token of the last.
fn marks(actions: &[Action]) -> (Vec<(u32, bool)>, Option<Token>) {
    let all = actions.iter().filter_map(|action| match action {
        Action::Mark { number, set, token, .. } => Some(((*number, *set), *token)),
        _ => None,
    });
    let (mut marks, tokens): (Vec<_>, Vec<_>) = all.unzip();
    marks.sort_unstable();
    (marks, tokens.into_iter().flatten().next())
}

/// The session on its next connection, with what the one before left; both deliveries come again.
fn resumed(bindings: Vec<Binding>) -> Peer {
    let left = stored(bindings, vec![QOS_1_STARTED + 2, QOS_2_STARTED + 3]);
    let mut peer = Peer::resumed(persistent(), MqttConfig::default(), left);
    for (seq, qos) in [(1, Qos::AtLeastOnce), (2, Qos::ExactlyOnce)] {
        let mut again = delivery(0, seq, &message("a", qos));
        again.redelivered = true;
        peer.event(Event::Deliver(again));
    }
    peer
}

#[test]
fn mqtt_3_10_4_3_what_is_in_flight_outlives_the_subscription() {
    let mut peer = two_in_flight();
    peer.send(&unsubscribe("a"));
    let actions = peer.take_actions();
    let (noted, token) = marks(&actions);
    assert_eq!(noted, [(QOS_1_STARTED + 2, true), (QOS_2_STARTED + 3, true)]);
    let unbound = actions.iter().find_map(|action| match action {
        Action::Unbind { token, .. } => Some(*token),
        _ => None,
    });
    peer.event(Event::Unbound { token: unbound.expect("an unbind"), existed: true });
    assert_eq!(peer.take(), [], "UNSUBACK waits until that is noted");
    peer.event(Event::Done(token.expect("a token")));
    assert!(matches!(peer.one(), Packet::Unsuback(_)));
    peer.ack(AckKind::Puback, 2);
    assert_eq!(marks(&peer.take_actions()).0, [(QOS_1_STARTED + 2, false)]);

    let mut peer = resumed(Vec::new());
    let again: Vec<_> = published(peer.take()).iter().map(|it| (it.packet_id, it.qos, it.dup)).collect();
    assert_eq!(again, [(2, Qos::AtLeastOnce, true), (3, Qos::ExactlyOnce, true)]);
    peer.deliver(0, 3, &message("a", Qos::AtLeastOnce));
    assert_eq!(peer.take(), [], "what was not started is not sent");
}

#[test]
fn mqtt_4_4_0_1_a_subscription_with_another_qos_does_not_change_what_is_in_flight() {
    let mut peer = two_in_flight();
    peer.send(&subscribe(vec![filter("a", Qos::ExactlyOnce)]));
    assert_eq!(marks(&peer.take_actions()).0, [], "the same again");
    peer.send(&subscribe(vec![filter("a", Qos::AtMostOnce)]));
    assert_eq!(marks(&peer.take_actions()).0, [(QOS_1_STARTED + 2, true), (QOS_2_STARTED + 3, true)]);
    for qos in [Qos::AtMostOnce, Qos::ExactlyOnce] {
        let options = [1, qos as u8, 0, 0, 0, 0];
        let mut binding = Binding::new(Filter::new("a").unwrap(), true);
        binding.options = options.to_vec().into();
        let mut peer = resumed(vec![binding]);
        let again: Vec<_> = published(peer.take()).iter().map(|it| (it.packet_id, it.qos)).collect();
        assert_eq!(again, [(2, Qos::AtLeastOnce), (3, Qos::ExactlyOnce)]);
        peer.deliver(0, 3, &message("a", Qos::ExactlyOnce));
        assert_eq!(published(peer.take())[0].qos, qos, "new ones are as subscribed");
    }
}

#[test]
fn a_note_whose_message_is_gone_does_not_concern_the_next_with_its_packet_id() {
    let mut peer = Peer::resumed(persistent(), MqttConfig::default(), stored(vec![], vec![QOS_2_STARTED + 2]));
    peer.subscribed(filter("a", Qos::AtLeastOnce));
    peer.deliver(0, 1, &message("a", Qos::ExactlyOnce));
    assert_eq!(published(peer.take())[0].qos, Qos::AtLeastOnce);
    assert_eq!(marks(&peer.take_actions()).0, [(QOS_2_STARTED + 2, false)]);
}

/// A client that was sent one message of a queue, or a group, and unsubscribes from it; another crosses that.
fn left(text: &str) -> Peer {
    let mut peer = Peer::online(Version::V5);
    peer.send(&subscribe(vec![filter(text, Qos::AtLeastOnce)]));
    peer.event(Event::Attached { consumer: ConsumerId(1), result: Ok(Attached::default()) });
    peer.deliver(1, 1, &message("a", Qos::AtLeastOnce));
    peer.take();
    peer.take_actions();
    peer.send(&unsubscribe(text));
    let Packet::Unsuback(unsuback) = peer.one() else { panic!("no UNSUBACK") };
    assert_eq!(unsuback.codes, [ReasonCode::SUCCESS]);
    let actions = peer.take_actions();
    assert!(matches!(actions[..], [Action::Credit(credit)] if credit.limit == 0), "{actions:?}");
    peer.deliver(1, 2, &message("a", Qos::AtLeastOnce));
    let actions = peer.take_actions();
    assert!(matches!(&actions[..], [Action::Settle(settle)] if settle.outcome == Outcome::Unsent), "{actions:?}");
    assert_eq!(peer.take(), []);
    peer
}

#[test]
fn what_was_sent_of_a_queue_or_a_group_is_settled_after_unsubscribe() {
    for text in ["$queue/q", "$share/g/a"] {
        let mut peer = left(text);
        peer.ack(AckKind::Puback, 32_768);
        let actions = peer.take_actions();
        let [Action::Settle(settle), Action::Detach { consumer, lifetime: None, .. }] = &actions[..] else {
            panic!("{actions:?}")
        };
        assert_eq!((&settle.outcome, *consumer), (&Outcome::Accept, ConsumerId(1)));
    }
}

#[test]
fn what_was_unsubscribed_from_is_left_with_the_connection() {
    let mut peer = left("$share/g/a");
    let mut out = Output::default();
    peer.session.leaving(&mut out);
    assert!(matches!(out.actions[..], [Action::Detach { lifetime: None, .. }]), "{out:?}");
}

#[test]
fn who_subscribes_again_while_it_still_acknowledges_is_another_consumer() {
    let mut peer = left("$queue/q");
    peer.send(&subscribe(vec![filter("$queue/q", Qos::AtLeastOnce)]));
    assert!(matches!(&peer.take_actions()[..], [Action::Attach(attach)] if attach.consumer == ConsumerId(2)));
    peer.event(Event::Attached { consumer: ConsumerId(2), result: Ok(Attached::default()) });
    peer.take_actions();
    peer.ack(AckKind::Puback, 32_768);
    peer.send(&unsubscribe("$queue/q"));
    let detached = |action: &Action| matches!(action, Action::Detach { consumer: ConsumerId(2), .. });
    assert!(peer.take_actions().iter().any(detached));
}
