//! Whatever comes, a session answers or closes; it never panics.

use bytes::{Bytes, BytesMut};
use evergate_model::{Attached, Output, Session, Time};
use proptest::prelude::*;

use super::gateway::{Peer, connect, filter, publish, subscribe};
use crate::MqttConfig;
use crate::codec::{AckKind, Packet, Qos, Version, encode};

#[test]
fn a_packet_above_the_limit_is_refused_from_its_header() {
    let config = MqttConfig { max_packet_bytes: 1000, max_control_packet_bytes: 500, ..MqttConfig::default() };
    for (bytes, refused) in [
        (&b"\x30\xe5\x07"[..], false), // 1000 bytes
        (b"\x30\xe6\x07", true),
        (b"\x82\xf1\x03", false), // 500 bytes
        (b"\x82\xf2\x03", true),
    ] {
        let mut peer = Peer::resumed(connect(Version::V5), config.clone(), Attached::default());
        peer.bytes(bytes);
        assert_eq!(peer.closed.is_some(), refused, "{bytes:?}");
    }
}

#[test]
fn requests_beyond_the_limit_wait_and_go_on_later() {
    let config = MqttConfig { max_pending_requests: 2, ..MqttConfig::default() };
    let mut peer = Peer::resumed(connect(Version::V4), config, Attached::default());
    let mut bytes = BytesMut::new();
    for packet_id in 1..=3 {
        encode(&Packet::Publish(publish("a", Qos::AtLeastOnce, packet_id)), Version::V4, &mut bytes);
    }
    peer.bytes(&bytes);
    let tokens = peer.publish_tokens();
    assert_eq!(tokens.len(), 2);
    peer.event(evergate_model::Event::Published { token: tokens[0], result: Ok(1) });
    assert_eq!(peer.publish_tokens().len(), 1);
}

#[test]
fn a_session_that_waits_keeps_no_more_than_its_limit() {
    let mut peer = Peer::new(Version::V4, MqttConfig::default());
    peer.send(&Packet::Connect(Box::new(connect(Version::V4))));
    let (mut input, mut out) = (BytesMut::from(&vec![0xC0; 100_000][..]), Output::default());
    peer.session.received(Time(1), &mut input, &mut out);
    peer.session.received(Time(1), &mut input, &mut out);
    assert_eq!(input.len(), 100_000 - 64 * 1024);
}

fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let valid = |packet: Packet| {
        let mut bytes = BytesMut::new();
        encode(&packet, Version::V5, &mut bytes);
        bytes.to_vec()
    };
    let qos = prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce), Just(Qos::ExactlyOnce)];
    prop_oneof![
        4 => (qos, 1u16..9).prop_map(move |(qos, id)| valid(Packet::Publish(publish("a/b", qos, id)))),
        2 => (4u8..8, 0u8..9).prop_map(|(kind, id)| vec![kind << 4 | if kind == 6 { 2 } else { 0 }, 2, 0, id]),
        1 => Just(valid(subscribe(vec![filter("a/+", Qos::ExactlyOnce)]))),
        1 => Just(valid(subscribe(vec![filter("$share/g/a", Qos::ExactlyOnce)]))),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

/// What a session does with `input`, cut at `cuts`: the bytes it writes and the actions it asks.
fn run(input: &[u8], cuts: &[usize]) -> (Vec<Bytes>, Vec<String>, String) {
    let mut peer = Peer::online(Version::V5);
    let (mut buffer, mut out) = (BytesMut::new(), Output::default());
    let mut at = 0;
    let mut edges: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    edges.push(input.len());
    edges.sort_unstable();
    for edge in edges {
        buffer.extend_from_slice(&input[at..edge]);
        at = edge;
        peer.session.received(Time(2000), &mut buffer, &mut out);
    }
    let mut wire = BytesMut::new();
    out.wire.take().iter().for_each(|segment| wire.extend_from_slice(segment));
    let actions = out.actions.iter().map(|action| format!("{action:?}")).collect();
    (vec![wire.freeze()], actions, format!("{:?}", out.close))
}

proptest! {
    #[test]
    fn chunking_changes_nothing(
        packets in proptest::collection::vec(any_packet(), 0..12),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let input = packets.concat();
        prop_assert_eq!(run(&input, &cuts), run(&input, &[]));
    }

    #[test]
    fn arbitrary_bytes_and_answers_never_panic(
        input in proptest::collection::vec(any::<u8>(), 0..300),
        seqs in proptest::collection::vec(any::<u64>(), 0..10),
    ) {
        let mut fresh = Peer::new(Version::V4, MqttConfig::default());
        let (mut buffer, mut out) = (BytesMut::from(&input[..]), Output::default());
        fresh.session.received(Time(1), &mut buffer, &mut out);

        let mut peer = Peer::online(Version::V5);
        peer.subscribed(filter("#", Qos::ExactlyOnce));
        for seq in seqs {
            peer.deliver(0, seq, &super::gateway::message("a", Qos::ExactlyOnce));
            peer.ack(AckKind::Pubrec, (1 + seq % 32_767) as u16);
        }
        peer.session.received(Time(1), &mut BytesMut::from(&input[..]), &mut Output::default());
    }
}
