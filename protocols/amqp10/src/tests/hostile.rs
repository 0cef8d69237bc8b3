//! Bytes that mean harm.

use bytes::BytesMut;
use evergate_model::{Action, Attached, Close, Event, Session, TransactionId, Value};
use proptest::prelude::*;

use super::client::{
    AttachFrame, Client, Node, begin, data, detach, disposition, flow, frame, part, performative, transfer, window_flow,
};
use super::controller::{COORDINATOR, control, coordinator, discharge, retiring};
use super::gateway::Gateway;
use crate::AmqpConfig;
use crate::codec::{AMQP_HEADER, FRAME_AMQP, SASL_HEADER};
use crate::performative::code;

#[test]
fn a_frame_over_the_limit_is_refused_from_its_size_alone() {
    for (size, refused) in [(65_536u32, false), (65_537, true), (u32::MAX, true), (7, true), (0, true)] {
        let mut client = Client::running(AmqpConfig::default());
        client.bytes(&size.to_be_bytes());
        assert_eq!(client.closed().is_some(), refused, "{size}");
        if refused {
            assert_eq!(client.reply().condition(0), "amqp:connection:framing-error");
        }
    }
    let mut client = Client::new(AmqpConfig::default());
    client.bytes(&SASL_HEADER);
    client.bytes(&4097u32.to_be_bytes());
    assert!(matches!(client.closed(), Some(Close::ProtocolError(_))));
}

#[test]
fn a_data_offset_outside_of_the_frame_is_refused() {
    for offset in [0, 1, 3, 255] {
        let mut client = Client::running(AmqpConfig::default());
        client.bytes(&[0, 0, 0, 8, offset, 0, 0, 0]);
        assert_eq!(client.reply().condition(0), "amqp:connection:framing-error", "{offset}");
    }
}

#[test]
fn an_extended_header_is_stepped_over() {
    let mut client = Client::running(AmqpConfig::default());
    let body = begin(1);
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&(body.len() as u32 + 12).to_be_bytes());
    bytes.extend_from_slice(&[3, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    bytes.extend_from_slice(&body);
    client.bytes(&bytes);
    assert_eq!(client.reply().code, code::BEGIN);
}

#[test]
fn the_widest_disposition_visits_only_what_is_unsettled() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &AttachFrame::receiver(0, Node::at("q")).bytes());
    let Action::Attach(attach) = client.actions().remove(0) else { panic!() };
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(Attached::default()) });
    let start = std::time::Instant::now();
    for (first, last) in [(0, u32::MAX), (1, 0), (u32::MAX, 0), (0, i32::MAX as u32), (i32::MAX as u32, u32::MAX)] {
        for _ in 0..1000 {
            client.send(0, &disposition(first, Some(last), false, Some(code::ACCEPTED)));
        }
    }
    assert!(start.elapsed().as_secs() < 5, "5,000 dispositions take no time when nothing is unsettled");
    assert_eq!((client.actions().len(), client.closed()), (0, None));
}

#[test]
fn nesting_and_lengths_that_lie_close_the_connection_with_a_decode_error() {
    let mut described = vec![];
    for _ in 0..20_000 {
        described.extend_from_slice(&[0x00, 0x53, 0x10]);
    }
    let table: [&[u8]; 8] = [
        &described,
        &vec![0x00; 60_000],
        &[0x00, 0x53, 0x12, 0xd0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1],
        &[0x00, 0x53, 0x12, 0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
        &[0x00, 0x53, 0x12, 0xc0, 0x01, 0xff],
        &[0x00, 0x53, 0x99, 0x45],
        &[0x00, 0x53, 0x17, 0x45, 0x45],
        &[0x40],
    ];
    for body in table {
        let mut client = Client::running(AmqpConfig::default());
        client.send(0, body);
        let reply = client.reply();
        assert_eq!((reply.code, reply.condition(0)), (code::CLOSE, "amqp:decode-error".into()));
        assert!(matches!(client.closed(), Some(Close::ProtocolError(_))));
    }
}

#[test]
fn a_missing_role_is_no_role() {
    // 2.7.3, 2.7.6: mandatory.
    let attach = performative(code::ATTACH, &[Value::text("a"), Value::Uint(0)]);
    let settles_nothing = performative(code::DISPOSITION, &[Value::Null, Value::Uint(0)]);
    for body in [attach, settles_nothing] {
        let mut client = Client::running(AmqpConfig::default());
        client.send(0, &body);
        assert_eq!(client.reply().condition(0), "amqp:decode-error");
    }
}

#[test]
fn sending_on_before_credentials_are_checked_is_bounded() {
    let mut client = Client::new(AmqpConfig::default());
    client.bytes(&AMQP_HEADER);
    client.bytes(&vec![0; 65_536]);
    assert_eq!(client.closed(), None);
    client.bytes(&[0]);
    assert!(matches!(client.closed(), Some(Close::ProtocolError(_))));
}

#[test]
fn a_transfer_without_a_window_ends_the_session() {
    let mut client = Client::running(AmqpConfig { incoming_window: 0, ..AmqpConfig::default() });
    client.send(0, &AttachFrame::sender(0, Node::at("q")).bytes());
    client.replies();
    client.send(0, &transfer(0, 0, false, &data(b"x")));
    assert_eq!(client.reply().condition(0), "amqp:session:window-violation");
}

#[test]
fn the_sessions_window_is_widened_before_it_closes() {
    let mut client = Client::running(AmqpConfig { incoming_window: 4, ..AmqpConfig::default() });
    client.send(0, &AttachFrame::sender(0, Node::at("q")).bytes());
    client.replies();
    for id in 0..100 {
        client.send(0, &transfer(0, id, false, &data(b"x")));
    }
    let replies = client.replies();
    assert_eq!(replies.len(), 50);
    assert!(replies.iter().all(|reply| reply.code == code::FLOW));
}

/// Frames that a client might send in any order, right or wrong.
fn any_frame() -> impl Strategy<Value = BytesMut> {
    let handle = 0..3u32;
    let node = prop_oneof![
        Just(Node::at("q")),
        Just(Node::at("/topic/a/#")),
        Just(Node { dynamic: true, ..Node::default() }),
        Just(Node { durable: 2, ..Node::at("/topic/a") }),
    ];
    let transaction = (0..3u64).prop_map(TransactionId);
    let outcome = prop_oneof![Just(None), Just(Some(code::ACCEPTED)), Just(Some(code::RELEASED))];
    let attach = (handle.clone(), node, any::<bool>(), 0..3u8).prop_map(|(handle, node, receiver, snd)| {
        let frame = if receiver { AttachFrame::receiver(handle, node) } else { AttachFrame::sender(handle, node) };
        let name = ["a", "b", "c"][handle as usize];
        AttachFrame { name, snd, ..frame }.bytes()
    });
    prop_oneof![
        3 => attach,
        1 => Just(coordinator("t", COORDINATOR, &[], &[])),
        2 => (0..9u32).prop_map(|id| transfer(COORDINATOR, id, false, &control(code::DECLARE, &[]))),
        1 => (0..9u32, transaction.clone(), any::<bool>())
            .prop_map(|(id, of, fail)| transfer(COORDINATOR, id, false, &discharge(of, fail))),
        1 => any::<bool>().prop_map(|closed| detach(COORDINATOR, closed)),
        2 => (0..9u32, 0..9u32, any::<bool>(), transaction)
            .prop_map(|(first, last, settled, of)| retiring(first, last, settled, of, code::ACCEPTED)),
        1 => (0..20u32).prop_map(begin),
        1 => Just(performative(code::END, &[])),
        2 => (handle.clone(), any::<bool>()).prop_map(|(handle, closed)| detach(handle, closed)),
        3 => (handle.clone(), 0..20u32, 0..20u32, any::<bool>())
            .prop_map(|(handle, count, credit, drain)| flow(handle, count, credit, drain)),
        1 => (0..50u32).prop_map(|window| window_flow(window, None)),
        5 => (handle.clone(), 0..9u32, any::<bool>()).prop_map(|(h, id, settled)| transfer(h, id, settled, &data(b"x"))),
        2 => (handle, 0..9u32, any::<bool>()).prop_map(|(h, id, more)| part(h, Some(id), false, more, b"\x00\x53\x77\x40")),
        3 => (0..9u32, 0..9u32, any::<bool>(), outcome).prop_map(|(a, b, settled, o)| disposition(a, Some(b), settled, o)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), start in 0..4usize) {
        let mut client = match start {
            0 => Client::new(AmqpConfig::default()),
            1 => { let mut c = Client::new(AmqpConfig::default()); c.bytes(&SASL_HEADER); c }
            2 => { let mut c = Client::new(AmqpConfig::default()); c.handshake(); c }
            _ => Client::running(AmqpConfig::default()),
        };
        client.bytes(&bytes);
        client.take_wire();
        if start == 3 {
            client.send(0, &bytes);
            client.take_wire();
        }
        client.wait(100_000);
    }

    #[test]
    fn any_order_of_frames_leaves_both_sides_in_step(
        frames in proptest::collection::vec(any_frame(), 0..60),
        flip in proptest::option::of((0..60usize, any::<usize>(), any::<u8>())),
    ) {
        let mut client = Client::running(AmqpConfig { unsettled_per_link_max: 5, ..AmqpConfig::default() });
        let mut gateway = Gateway::default();
        for (n, body) in frames.into_iter().enumerate() {
            let mut bytes = frame(FRAME_AMQP, 0, &body);
            if let Some((at, place, byte)) = flip && at == n {
                let place = 4 + place % (bytes.len() - 4);
                bytes[place] = byte;
            }
            client.bytes(&bytes);
            gateway.run(&mut client);
            for reply in client.replies() {
                prop_assert!(reply.body.len() + 8 <= 65_536);
            }
            if client.closed().is_some() {
                break;
            }
        }
        client.event(Event::Stopping { reason: "end".into() });
    }

    #[test]
    fn the_clients_window_and_credit_are_never_exceeded(
        steps in proptest::collection::vec((0..6u32, 0..4u32, 0..4usize, 0..2000usize), 1..40),
    ) {
        let mut client = Client::new(AmqpConfig::default());
        client.handshake();
        client.send(0, &performative(code::OPEN, &[Value::text("c"), Value::Null, Value::Uint(512)]));
        client.send(0, &begin(0));
        let mut gateway = Gateway::default();
        client.send(0, &AttachFrame::sender(1, Node::at("q")).bytes());
        client.send(0, &AttachFrame::receiver(0, Node::at("q")).bytes());
        gateway.run(&mut client);
        client.replies();
        let (mut window, mut frames, mut deliveries, mut id) = (0, 0, 0, 0);
        for (wider, credit, publishes, size) in steps {
            window += wider;
            let limit = deliveries + credit;
            client.send(0, &window_flow(window, Some((0, deliveries, credit, false))));
            for _ in 0..publishes {
                client.send(0, &transfer(1, id, true, &data(&vec![0; size])));
                id += 1;
            }
            gateway.run(&mut client);
            for reply in client.replies().iter().filter(|reply| reply.code == code::TRANSFER) {
                frames += 1;
                deliveries += u32::from(reply.field(1) != Value::Null);
            }
            prop_assert!(frames <= window, "{frames} frames in a window of {window}");
            prop_assert!(deliveries <= limit, "{deliveries} deliveries with credit up to {limit}");
        }
        // Given room enough, everything arrives.
        client.send(0, &window_flow(1_000_000, Some((0, deliveries, 1000, false))));
        gateway.run(&mut client);
        deliveries += client.replies().iter().filter(|r| r.code == code::TRANSFER && r.field(1) != Value::Null).count() as u32;
        prop_assert_eq!(deliveries, id);
    }

    #[test]
    fn chunks_do_not_matter(
        frames in proptest::collection::vec(any_frame(), 0..30),
        cuts in proptest::collection::vec(1..40usize, 1..20),
    ) {
        let mut bytes = BytesMut::new();
        for body in &frames {
            bytes.extend_from_slice(&frame(FRAME_AMQP, 0, body));
        }
        let mut whole = Client::running(AmqpConfig::default());
        whole.bytes(&bytes);
        let mut pieces = Client::running(AmqpConfig::default());
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at(rest.len().min(*cut));
            pieces.bytes(chunk);
            rest = after;
        }
        prop_assert_eq!(whole.take_wire(), pieces.take_wire());
        prop_assert_eq!(format!("{:?}", whole.actions()), format!("{:?}", pieces.actions()));
        prop_assert_eq!(whole.closed(), pieces.closed());
        prop_assert_eq!(whole.session.next_timeout(), pieces.session.next_timeout());
    }
}
