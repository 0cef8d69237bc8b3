//! Messages too large for memory, to clients.

use bytes::BytesMut;
use evergate_model::{
    Action, ConsumerId, Encoding, Event, Format, Formats, Message, Outcome, Seq, Session, Value, View,
};

use super::bodies::{Bodies, deliver};
use super::client::{
    AttachFrame, Client, Node, Reply, begin, data, detach, disposition, flow, open, performative, window_flow,
};
use super::consume::{attach, delivery, granted, orders, receiver, transfers};
use crate::AmqpConfig;
use crate::performative::code;

const PIECE: usize = 10_000;
const BODY: usize = 95_000;

/// The payloads of one delivery's frames, in order; checks that they are one delivery.
fn whole(frames: &[Reply]) -> Vec<u8> {
    for (n, frame) in frames.iter().enumerate() {
        assert_eq!(frame.field(1) != Value::Null, n == 0, "the first frame has the id");
        assert_eq!(frame.field(5), Value::Bool(n + 1 < frames.len()), "all but the last say more");
    }
    frames.iter().flat_map(|frame| frame.payload.to_vec()).collect()
}

fn is_aborted(frame: &Reply) -> bool {
    frame.field(9) == Value::Bool(true)
}

fn body() -> Vec<u8> {
    let content: Vec<u8> = (0..BODY).map(|n| n as u8).collect();
    data(&content)
}

/// A receiver with credit, and a large message on its way to it.
fn streaming(frame: &AttachFrame) -> (Client, ConsumerId, Bodies) {
    let (mut client, consumer) = receiver(AmqpConfig::default(), frame);
    client.send(0, &flow(0, 0, 10, false));
    client.actions();
    let mut bodies = Bodies::default();
    let message = bodies.message(Encoding::Amqp10, &[], &body(), BODY as u64, PIECE);
    client.event(Event::Deliver(deliver(consumer, 1, message)));
    (client, consumer, bodies)
}

#[test]
fn a_large_body_arrives_as_it_was_sent_and_the_reader_is_detached() {
    for frame in [orders(), AttachFrame { snd: 1, ..orders() }] {
        let (mut client, consumer, mut bodies) = streaming(&frame);
        client.event(delivery(consumer, 2, b"the next"));
        bodies.run(&mut client);
        let sent = transfers(&mut client);
        let (last, first) = sent.split_last().unwrap();
        assert!(whole(first).ends_with(&body()));
        assert!(last.payload.ends_with(&data(b"the next")));
        assert_eq!((bodies.readers(), bodies.released()), (vec![], 1));
        assert_eq!((last.field(1), last.field(4)), (Value::Uint(1), Value::Bool(frame.snd == 1)));
        client.send(0, &disposition(0, Some(1), true, Some(code::ACCEPTED)));
        bodies.run(&mut client);
        let accepted = bodies.settles.iter().map(|settle| (settle.first, settle.last, settle.outcome.clone()));
        let expected = (frame.snd != 1).then_some((Seq(1), Seq(2), Outcome::Accept));
        assert_eq!(accepted.collect::<Vec<_>>(), Vec::from_iter(expected));
    }
}

#[test]
fn a_browser_reads_a_large_body_and_settles_nothing() {
    let (mut client, _, mut bodies) = streaming(&AttachFrame::receiver(0, Node { copy: true, ..Node::at("orders") }));
    bodies.run(&mut client);
    assert!(whole(&transfers(&mut client)).ends_with(&body()));
    client.send(0, &disposition(0, None, true, Some(code::ACCEPTED)));
    bodies.run(&mut client);
    assert_eq!((bodies.settles.len(), bodies.released()), (0, 1));
}

#[test]
fn with_a_window_of_one_frame_no_more_than_two_pieces_are_held() {
    let mut client = Client::new(AmqpConfig::default());
    client.handshake();
    client.send(0, &performative(code::OPEN, &[Value::text("c"), Value::Null, Value::Uint(512)]));
    client.send(0, &begin(1));
    let attach = attach(&mut client, &orders());
    granted(&mut client, &attach);
    client.replies();
    client.send(0, &window_flow(1, Some((0, 0, 10, false))));
    client.actions();
    let mut bodies = Bodies::default();
    let message = bodies.message(Encoding::Amqp10, &[], &body(), BODY as u64, PIECE);
    client.event(Event::Deliver(deliver(attach.consumer, 1, message)));
    let mut frames = Vec::new();
    while frames.last().is_none_or(|frame: &Reply| frame.field(5) == Value::Bool(true)) {
        bodies.run(&mut client);
        assert!(client.session.held_bytes() <= 2 * PIECE, "{}", client.session.held_bytes());
        let sent = transfers(&mut client);
        assert_eq!(sent.len(), 1, "as many as the window lets");
        frames.extend(sent);
        client.send(0, &window_flow(frames.len() as u32 + 1, None));
    }
    assert!(whole(&frames).ends_with(&body()));
    assert_eq!(bodies.released(), 1);
}

/// Reads STOMP well enough: everything is text.
struct Text;

impl Format for Text {
    fn view<'a>(&self, message: &'a Message) -> View<'a> {
        let mut view = View::new(evergate_model::Body::Text(std::str::from_utf8(&message.body).unwrap().into()));
        view.subject = Some("s".into());
        view
    }
}

#[test]
fn the_body_of_another_protocol_becomes_a_data_section() {
    let formats = Formats::default().with(Encoding::Stomp, &Text);
    let mut client = Client::with_formats(AmqpConfig::default(), formats);
    client.handshake();
    client.send(0, &open("c"));
    client.send(0, &begin(1000));
    let attach = attach(&mut client, &orders());
    granted(&mut client, &attach);
    client.send(0, &flow(0, 0, 10, false));
    client.replies();
    client.actions();
    let mut bodies = Bodies::default();
    let content = vec![b'x'; BODY];
    let message = bodies.message(Encoding::Stomp, b"", &content, BODY as u64, PIECE);
    client.event(Event::Deliver(deliver(attach.consumer, 1, message)));
    bodies.run(&mut client);
    let sent = whole(&transfers(&mut client));
    let (head, body) = sent.split_at(sent.len() - BODY - 8);
    assert_eq!(body, data(&content));
    assert!(head.ends_with(&[0xa1, 1, b's']), "its subject, and no body: {head:02x?}");
    let whole = crate::message::parse(&sent.clone().into(), 32).unwrap();
    assert_eq!(whole.body, data(&content));
}

#[test]
fn a_large_message_that_is_too_large_for_the_client_goes_to_another() {
    for (max, goes) in [(BODY as u64 + 8 + 30, true), (BODY as u64 + 8, false)] {
        let (mut client, _, mut bodies) = streaming(&AttachFrame { message_bytes_max: max, ..orders() });
        bodies.run(&mut client);
        assert_eq!(!transfers(&mut client).is_empty(), goes);
        let outcome = Outcome::Modify { failed: false, undeliverable_here: true };
        assert_eq!(bodies.settles.iter().any(|settle| settle.outcome == outcome), !goes);
        assert_eq!(bodies.released(), 1);
    }
}

#[test]
fn two_links_and_small_messages_take_turns() {
    let mut client = Client::running(AmqpConfig::default());
    let mut consumers = Vec::new();
    for (handle, name) in [(0, "one"), (1, "two"), (2, "small")] {
        let attach = attach(&mut client, &AttachFrame { name, ..AttachFrame::receiver(handle, Node::at("orders")) });
        granted(&mut client, &attach);
        client.send(0, &flow(handle, 0, 1000, false));
        client.actions();
        consumers.push(attach.consumer);
    }
    client.replies();
    let mut bodies = Bodies::default();
    for consumer in &consumers[..2] {
        let message = bodies.message(Encoding::Amqp10, &[], &body(), BODY as u64, PIECE);
        client.event(Event::Deliver(deliver(*consumer, 1, message)));
    }
    let mut order = Vec::new();
    let mut seq = 0;
    while bodies.step(&mut client) {
        seq += 1;
        client.event(delivery(consumers[2], seq, b"small"));
        order.extend(transfers(&mut client).iter().map(|frame| frame.field(0).as_integer().unwrap()));
    }
    for link in 0..3 {
        assert!(order.iter().filter(|handle| **handle == link).count() > 8, "{order:?}");
        let longest = order.chunk_by(|a, b| a == b).filter(|run| run[0] == link).map(<[i64]>::len).max();
        assert!(longest <= Some(2), "{order:?}");
    }
}

#[test]
fn links_that_wait_for_the_window_share_it() {
    let mut client = Client::new(AmqpConfig::default());
    client.handshake();
    client.send(0, &performative(code::OPEN, &[Value::text("c"), Value::Null, Value::Uint(512)]));
    client.send(0, &begin(0));
    let mut bodies = Bodies::default();
    for (handle, name) in [(0, "one"), (1, "two"), (2, "small")] {
        let attach = attach(&mut client, &AttachFrame { name, ..AttachFrame::receiver(handle, Node::at("orders")) });
        granted(&mut client, &attach);
        client.send(0, &window_flow(0, Some((handle, 0, 10, false))));
        client.actions();
        let message = bodies.message(Encoding::Amqp10, &[], &body(), BODY as u64, PIECE);
        client.event(match handle {
            2 => delivery(attach.consumer, 1, b"small"),
            _ => Event::Deliver(deliver(attach.consumer, 1, message)),
        });
    }
    bodies.run(&mut client);
    client.replies();
    let mut count = [0; 3];
    for window in 1..=100u32 {
        // The flow names the first link each time: the others have their turn all the same.
        client.send(0, &window_flow(window * 4, Some((0, 0, 10, false))));
        bodies.run(&mut client);
        for frame in transfers(&mut client) {
            count[usize::try_from(frame.field(0).as_integer().unwrap()).unwrap()] += 1;
        }
    }
    assert_eq!((count[2], count.iter().sum::<i32>()), (1, 400));
    assert!((count[0] - count[1]).abs() < 20, "{count:?}");
}

#[test]
fn a_body_that_is_gone_is_aborted_and_the_queue_hears_of_it_whether_it_can_keep_it_or_not() {
    for frame in [orders(), AttachFrame { snd: 1, ..orders() }] {
        let (mut client, consumer, mut bodies) = streaming(&frame);
        bodies.gone = true;
        client.event(delivery(consumer, 2, b"the next"));
        bodies.run(&mut client);
        let sent = transfers(&mut client);
        assert_eq!(sent.len(), 3);
        assert_eq!(sent[0].field(5), Value::Bool(true));
        assert!(is_aborted(&sent[1]) && !is_aborted(&sent[2]));
        let settles = bodies.settles.iter().map(|settle| (settle.first, settle.outcome.clone()));
        assert_eq!(settles.collect::<Vec<_>>(), [(Seq(1), Outcome::Unreadable)]);
        assert_eq!(bodies.released(), 1);
        // The client may settle what it forgot: nothing comes of it.
        client.send(0, &disposition(0, None, true, Some(code::ACCEPTED)));
        assert_eq!(client.actions().len(), 0);
    }
}

#[test]
fn a_body_that_goes_in_the_middle_is_aborted_too() {
    let (mut client, _, mut bodies) = streaming(&orders());
    for _ in 0..4 {
        bodies.step(&mut client);
    }
    let reader = bodies.readers()[0];
    client.event(Event::Deleted { consumer: reader });
    assert!(is_aborted(transfers(&mut client).last().unwrap()));
    assert!(matches!(&client.actions()[..], [.., Action::Settle(settle)] if settle.first == Seq(1)));
    assert_eq!((bodies.released(), client.closed()), (1, None));
}

#[test]
fn a_delivery_settled_before_its_end_is_sent_no_further() {
    for window in [1000, 3] {
        let (mut client, consumer, mut bodies) = streaming(&orders());
        client.send(0, &window_flow(window, None));
        client.event(delivery(consumer, 2, b"the next"));
        for _ in 0..4 {
            bodies.step(&mut client);
        }
        client.send(0, &disposition(0, None, true, Some(code::RELEASED)));
        bodies.run(&mut client);
        client.send(0, &window_flow(1000, None));
        let sent = transfers(&mut client);
        let [.., aborted, next] = &sent[..] else { panic!("{sent:?}") };
        assert!(is_aborted(aborted) && next.payload.ends_with(&data(b"the next")));
        assert!(sent.len() < 8, "most of it was not sent");
        assert_eq!((bodies.readers(), bodies.released()), (vec![], 1));
        assert_eq!(bodies.settles.len(), 1);
        assert_eq!(bodies.settles[0].outcome, Outcome::Release);
    }
}

#[test]
fn whatever_ends_the_link_in_the_middle_detaches_the_reader() {
    let ends: [(&str, BytesMut); 4] = [
        ("detach", detach(0, false)),
        ("close", detach(0, true)),
        ("end", performative(code::END, &[])),
        ("stolen", orders().bytes()),
    ];
    for (what, end) in ends {
        for steps in 0..6 {
            let (mut client, consumer, mut bodies) = streaming(&orders());
            for _ in 0..steps {
                bodies.step(&mut client);
            }
            client.send(0, &end);
            let mut actions = client.actions();
            let position = actions
                .iter()
                .position(|action| matches!(action, Action::Detach { consumer: other, .. } if *other != consumer));
            assert!(position.is_some(), "{what} {steps}: {actions:?}");
            assert_eq!(bodies.released(), 0, "it is held until the reader is detached");
            // The rest is for queues: this gateway knows bodies only.
            actions.retain(|action| {
                matches!(action, Action::Attach(attach) if attach.browse) || matches!(action, Action::Detach { .. })
            });
            client.out.actions = actions;
            bodies.run(&mut client);
            assert_eq!((bodies.readers(), bodies.released(), client.closed()), (vec![], 1, None), "{what} {steps}");
        }
    }
}

#[test]
fn a_drain_is_answered_when_the_delivery_is_whole() {
    let (mut client, consumer, mut bodies) = streaming(&orders());
    bodies.step(&mut client);
    client.send(0, &flow(0, 0, 10, true));
    client.event(Event::Drained { consumer, delivered: 1 });
    bodies.run(&mut client);
    let replies = client.replies();
    let last = replies.last().unwrap();
    assert_eq!((last.code, last.field(6), last.field(8)), (code::FLOW, Value::Uint(0), Value::Bool(true)));
    assert!(replies.iter().rev().skip(1).all(|reply| reply.code == code::TRANSFER));
}

#[test]
fn what_waits_behind_a_large_message_counts_as_not_written() {
    let (mut client, consumer, mut bodies) = streaming(&orders());
    assert!(!client.session.holds_back(consumer));
    client.event(delivery(consumer, 2, b"the next"));
    assert!(client.session.holds_back(consumer));
    bodies.run(&mut client);
    assert!(!client.session.holds_back(consumer));
    // Likewise behind a closed window.
    client.send(0, &window_flow(0, None));
    client.event(delivery(consumer, 3, b"the last"));
    assert!(client.session.holds_back(consumer));
}
