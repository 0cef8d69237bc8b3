//! Messages too large for memory, from a client: what is passed on, and when it is refused.

use bytes::BytesMut;
use evergate_model::{Action, Encoding, Event, Format, LargeEnd, Publish, Session, Token, Value};
use proptest::prelude::*;

use super::client::{AttachFrame, Client, Node, Reply, data, detach, durable, part, performative, transfer};
use super::controller::{COORDINATOR, ID, controlling, declared, id_of, posting, sending};
use super::publish::sender;
use crate::performative::code;
use crate::{Amqp10Format, AmqpConfig};

/// More than this is large here.
const MEMORY: u64 = 100;
/// More than this is refused.
const LIMIT: u64 = 1000;

pub fn small_limits() -> AmqpConfig {
    AmqpConfig { message_bytes_max: MEMORY, large_message_bytes_max: LIMIT, ..AmqpConfig::default() }
}

/// The end of a delivery that will not be whole.
pub fn aborted(handle: u32) -> BytesMut {
    let mut fields = vec![Value::Uint(handle)];
    fields.extend(std::iter::repeat_n(Value::Null, 8));
    fields.push(Value::Bool(true));
    performative(code::TRANSFER, &fields)
}

/// What the gateway was asked.
#[derive(Default)]
struct Asked {
    pieces: Vec<(Token, Vec<u8>)>,
    published: Vec<Publish>,
    abandoned: Vec<Token>,
}

impl Asked {
    fn of(client: &mut Client) -> Self {
        let mut asked = Self::default();
        for action in client.actions() {
            match action {
                Action::Piece { body, bytes } => asked.pieces.push((body, bytes.to_vec())),
                Action::Publish(publish) => asked.published.push(publish),
                Action::Abandon { body } => asked.abandoned.push(body),
                other => panic!("not expected: {other:?}"),
            }
        }
        asked
    }

    fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    /// The one large message.
    fn large(&self) -> (&Publish, LargeEnd) {
        assert_eq!((self.published.len(), self.abandoned.len()), (1, 0));
        let end = self.published[0].large.expect("its body went ahead");
        assert!(self.published[0].message.body.is_empty());
        assert!(self.pieces.iter().all(|(body, bytes)| *body == end.body && !bytes.is_empty()));
        (&self.published[0], end)
    }
}

/// Sends a message in parts of a size each.
fn send_in_parts(client: &mut Client, message: &[u8], size: usize) {
    let count = message.chunks(size).len();
    for (n, chunk) in message.chunks(size).enumerate() {
        client.send(0, &part(3, Some(0), false, n + 1 < count, chunk));
    }
}

fn value(code: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0x53, 0x77, code];
    bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// A data section whose descriptor is a name.
fn named_data(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x00, 0xa3, 16];
    bytes.extend_from_slice(b"amqp:data:binary");
    bytes.extend_from_slice(&data(content)[3..]);
    bytes
}

/// With one annotation.
const FOOTER: &[u8] = &[0x00, 0x53, 0x78, 0xc1, 0x06, 0x02, 0xa3, 0x02, b'o', b'k', 0x41];

#[test]
fn a_message_at_the_limit_is_held_in_memory_and_one_byte_more_goes_in_pieces() {
    for frame_bytes in [17, 1000] {
        let mut client = sender(small_limits());
        send_in_parts(&mut client, &data(&[1; 92]), frame_bytes);
        let asked = Asked::of(&mut client);
        assert_eq!((asked.pieces.len(), asked.published[0].large), (0, None));
        assert_eq!(asked.published[0].message.body, data(&[1; 92]));

        let mut client = sender(small_limits());
        send_in_parts(&mut client, &data(&[1; 93]), frame_bytes);
        let asked = Asked::of(&mut client);
        assert_eq!(asked.large().1.payload_bytes, 93);
        assert_eq!(asked.bytes(), data(&[1; 93]));
    }
}

#[test]
fn a_message_at_the_largest_limit_goes_through_and_one_byte_more_is_abandoned() {
    let mut client = sender(small_limits());
    send_in_parts(&mut client, &data(&[1; 992]), 64);
    assert_eq!(Asked::of(&mut client).large().1.payload_bytes, 992);

    // One whose length is not known from its beginning, and one that says it.
    for (message, pieces) in [([data(&[1; 92]), data(&[1; 893])].concat(), true), (data(&[1; 993]), false)] {
        let mut client = sender(small_limits());
        send_in_parts(&mut client, &message, 64);
        let reply = client.reply();
        assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:link:message-size-exceeded".into()));
        let asked = Asked::of(&mut client);
        let begun = asked.pieces.first().map(|(body, _)| *body);
        assert_eq!((asked.published.len(), begun.is_some()), (0, pieces));
        assert_eq!(asked.abandoned, Vec::from_iter(begun));
    }
}

#[test]
fn a_body_that_says_how_large_it_is_goes_on_from_its_first_byte() {
    let message = [&performative(0x73, &[Value::text("id")])[..], &data(&[3; 93])].concat();
    let head_bytes = message.len() - 101;
    for size in 1..message.len() {
        let mut client = sender(small_limits());
        for (n, chunk) in message.chunks(size).enumerate() {
            let here = message.len().min((n + 1) * size);
            client.send(0, &part(3, Some(0), false, here < message.len(), chunk));
            let is_known = here >= head_bytes + 8;
            assert_eq!(client.session_assembly_bytes(), if is_known { 0 } else { here as u64 }, "{size}");
        }
        assert_eq!(Asked::of(&mut client).bytes(), data(&[3; 93]), "{size}");
    }
}

#[test]
fn pieces_go_on_with_their_frames_and_nothing_is_kept() {
    let mut client = sender(AmqpConfig { message_bytes_max: 1000, ..AmqpConfig::default() });
    // Of several sections, so that the first does not say it.
    let message = data(&[9; 100]).repeat(1 << 13);
    for (n, chunk) in message.chunks(500).enumerate() {
        client.send(0, &part(3, Some(0), false, true, chunk));
        let asked = Asked::of(&mut client);
        if n < 2 {
            assert!(asked.pieces.is_empty());
        } else {
            assert_eq!(asked.bytes().len(), if n == 2 { 1500 } else { chunk.len() }, "all that is here is passed on");
            assert_eq!(client.session_assembly_bytes(), 0);
        }
    }
    client.send(0, &part(3, Some(0), false, false, &[]));
    let asked = Asked::of(&mut client);
    assert_eq!((asked.pieces.len(), asked.published[0].large.unwrap().payload_bytes), (0, 100 << 13));
}

#[test]
fn what_stands_before_the_body_makes_the_same_message_as_a_small_one() {
    // durable, priority 7
    let mut message = vec![0x00, 0x53, 0x70, 0xc0, 0x04, 0x02, 0x41, 0x50, 7];
    let head_at = message.len();
    message.extend_from_slice(&performative(0x73, &[Value::text("id")]));
    let body_at = message.len();
    message.extend_from_slice(&data(&[5; 300]));
    let mut client = sender(small_limits());
    send_in_parts(&mut client, &message, 30);
    let asked = Asked::of(&mut client);
    let (publish, _) = asked.large();
    assert_eq!((publish.message.meta.durable, publish.message.meta.priority), (true, 7));
    assert_eq!((&publish.message.head[..], publish.message.encoding), (&message[head_at..body_at], Encoding::Amqp10));
    assert_eq!(asked.bytes(), data(&[5; 300]));
    // The word comes when the gateway has committed it.
    assert_eq!(client.replies_but_windows(), []);
    client.event(Event::Published { token: publish.token, result: Ok(1) });
    assert_eq!(client.reply().described(4).unwrap().0, u64::from(code::ACCEPTED));
}

#[test]
fn every_kind_of_body_that_can_be_large_is_counted_without_its_framing() {
    let text = "käse €".repeat(30);
    let joined = [data(&[1; 60]), data(&[]), vec![0x00, 0x53, 0x75, 0xa0, 1, 7], data(&[2; 60])].concat();
    let table: [(Vec<u8>, Vec<u8>); 7] = [
        (data(&[1; 200]), vec![1; 200]),
        (joined, [&[1; 60][..], &[7], &[2; 60]].concat()),
        (named_data(&[1; 200]), vec![1; 200]),
        (value(0xb0, &[0xff; 200]), vec![0xff; 200]),
        (value(0xb1, text.as_bytes()), text.clone().into_bytes()),
        ([data(&[1; 200]).as_slice(), FOOTER].concat(), vec![1; 200]),
        ([vec![0x00, 0x53, 0x77, 0xa1, 120], vec![b'x'; 120], FOOTER.to_vec()].concat(), vec![b'x'; 120]),
    ];
    for (message, content) in table {
        // Frames cut it at every place.
        for size in 1..=message.len() {
            let mut client = sender(small_limits());
            send_in_parts(&mut client, &message, size);
            let asked = Asked::of(&mut client);
            assert_eq!(
                (asked.large().1.payload_bytes, asked.bytes()),
                (content.len() as u64, message.clone()),
                "{size}"
            );
            // As the other protocols get it.
            let (mut reader, mut read) = (Amqp10Format.content(), Vec::new());
            for piece in message.chunks(size) {
                reader.read(&piece.to_vec().into(), &mut |part| read.extend_from_slice(&part));
            }
            assert_eq!(read, content);
        }
    }
}

#[test]
fn a_body_that_cannot_be_large_is_refused_and_abandoned() {
    let (exceeded, decode) = ("amqp:link:message-size-exceeded", "amqp:decode-error");
    let long = [0x41; 300];
    let list = |code: u8, kind: u8| [&[0x00, 0x53, code, kind, 0, 0, 1, 0x30, 0, 0, 1, 0x2c][..], &long].concat();
    let long_footer = [&data(&[1; 200])[..], &[0x00, 0x53, 0x78, 0xd1, 0, 1, 0, 0]].concat();
    let table: [(&str, Vec<u8>); 13] = [
        (exceeded, list(0x77, 0xd1)),
        (exceeded, list(0x77, 0xd0)),
        (exceeded, list(0x76, 0xd0)),
        (exceeded, long_footer),
        // The sections before the body must be small.
        (exceeded, list(0x73, 0xd0)[..250].to_vec()),
        (decode, [data(&[1; 200]), value(0xb0, &[1; 20])].concat()),
        (decode, [value(0xb0, &[1; 200]), value(0xb0, &[1; 20])].concat()),
        (decode, [data(&[1; 200]), vec![0x00, 0x53, 0x73, 0x45]].concat()),
        (decode, [data(&[1; 200]), b"junk".to_vec()].concat()),
        (decode, [data(&[1; 200]).as_slice(), FOOTER, FOOTER].concat()),
        (decode, value(0xb1, &[0xff; 200])),
        (decode, value(0xb1, &[&[b'x'; 199][..], &[0xc3]].concat())),
        (decode, [vec![0x00, 0x53, 0x75, 0xa1, 200], vec![b'x'; 200]].concat()),
    ];
    for (condition, message) in table {
        for size in [1, 7, 1000] {
            let mut client = sender(small_limits());
            for chunk in message.chunks(size) {
                client.send(0, &part(3, Some(0), false, true, chunk));
            }
            // The window is opened before it, or after.
            let replies = client.replies().into_iter().filter(|reply| reply.code != code::FLOW);
            let detached: Vec<_> = replies.map(|reply| (reply.code, reply.condition(2))).collect();
            assert_eq!(detached, [(code::DETACH, condition.into())], "{size} {message:02x?}");
            let asked = Asked::of(&mut client);
            assert!(asked.published.is_empty());
            assert_eq!(asked.abandoned.first(), asked.pieces.first().map(|(body, _)| body));
            assert_eq!(client.session_assembly_bytes(), 0);
        }
    }
}

#[test]
fn a_body_that_ends_too_early_is_a_decode_error() {
    let message = [data(&[1; 200]).as_slice(), FOOTER].concat();
    for end in (101..message.len()).filter(|end| *end != 208) {
        let mut client = sender(small_limits());
        send_in_parts(&mut client, &message[..end], 50);
        assert_eq!(client.reply().condition(2), "amqp:decode-error", "{end}");
        let asked = Asked::of(&mut client);
        assert_eq!((asked.published.len(), asked.abandoned.len()), (0, 1));
    }
}

#[test]
fn whatever_ends_a_delivery_before_its_time_abandons_the_pieces() {
    let ends: [(&str, BytesMut, usize); 4] = [
        ("abort", aborted(3), 0),
        ("detach", detach(3, true), 1),
        ("end", performative(code::END, &[]), 1),
        ("another delivery", part(3, Some(9), false, false, b"x"), 1),
    ];
    for (what, end, replies) in ends {
        let mut client = sender(small_limits());
        client.send(0, &part(3, Some(0), false, true, &data(&[1; 400])[..200]));
        let body = Asked::of(&mut client).pieces[0].0;
        client.send(0, &end);
        let asked = Asked::of(&mut client);
        assert_eq!((asked.abandoned, asked.published.len()), (vec![body], 0), "{what}");
        assert_eq!(client.replies().len(), replies, "{what}");
    }
    // After an abort the link goes on.
    let mut client = sender(small_limits());
    client.send(0, &part(3, Some(0), false, true, &data(&[1; 200])));
    client.send(0, &aborted(3));
    client.send(0, &transfer(3, 1, false, &durable(b"small")));
    assert_eq!(Asked::of(&mut client).published[0].large, None);
}

#[test]
fn a_large_message_for_nowhere_is_rejected_and_abandoned_and_its_link_goes_on() {
    let mut client = Client::running(small_limits());
    client.send(0, &AttachFrame::sender(3, Node::default()).bytes());
    client.replies();
    send_in_parts(&mut client, &data(&[1; 200]), 50);
    let reply = client.reply();
    assert_eq!(reply.described(4).unwrap().0, u64::from(code::REJECTED));
    let asked = Asked::of(&mut client);
    assert_eq!((asked.published.len(), asked.abandoned), (0, vec![asked.pieces[0].0]));
}

#[test]
fn small_messages_of_other_links_pass_between_the_frames_of_a_large_one() {
    let mut client = sender(small_limits());
    for (handle, name) in [(4, "second"), (5, "third")] {
        client.send(0, &AttachFrame { name, ..AttachFrame::sender(handle, Node::at("other")) }.bytes());
    }
    client.replies();
    let (one, two) = (data(&[1; 500]), data(&[2; 500]));
    let mut bodies = [Vec::new(), Vec::new()];
    let mut small = 0;
    let count = one.chunks(60).len();
    for (n, (a, b)) in one.chunks(60).zip(two.chunks(60)).enumerate() {
        let more = n + 1 < count;
        client.send(0, &part(3, Some(0), false, more, a));
        client.send(0, &part(4, Some(1), false, more, b));
        client.send(0, &transfer(5, n as u32 + 2, false, &data(b"x")));
        let asked = Asked::of(&mut client);
        let first = asked.pieces.first().map(|(body, _)| *body);
        for (body, bytes) in asked.pieces {
            bodies[usize::from(Some(body) != first)].extend(bytes);
        }
        small += asked.published.iter().filter(|publish| publish.large.is_none()).count();
    }
    assert_eq!((&bodies[0], &bodies[1], small), (&one, &two, count));
}

#[test]
fn the_coordinator_takes_no_large_message() {
    let mut client = controlling(small_limits());
    client.send(0, &part(COORDINATOR, Some(0), false, true, &data(&[0; 200])));
    assert_eq!(client.reply().condition(2), "amqp:link:message-size-exceeded");
    assert!(client.actions().is_empty());
}

#[test]
fn a_large_message_is_published_in_the_transaction_that_it_names() {
    let mut client = declared(small_limits());
    sending(&mut client);
    client.send(0, &posting(5, false, &id_of(ID), &[1; 200]));
    let asked = Asked::of(&mut client);
    assert_eq!((asked.large().0.transaction, asked.bytes()), (Some(ID), data(&[1; 200])));
}

#[test]
fn attach_says_how_large_a_message_may_be() {
    let mut client = Client::running(small_limits());
    client.send(0, &AttachFrame::sender(3, Node::at("orders")).bytes());
    assert_eq!(client.replies()[0].field(10), Value::Ulong(LIMIT));
}

proptest! {
    #[test]
    fn arbitrary_large_bodies_never_panic_and_leave_nothing_behind(
        start in prop_oneof![Just(data(&[0; 30])), Just(value(0xb1, b"xx")), Just(vec![]), Just(data(&[0; 600])[..9].to_vec())],
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        size in 1..200usize,
    ) {
        let mut client = sender(small_limits());
        send_in_parts(&mut client, &[start, bytes].concat(), size);
        client.send(0, &performative(code::END, &[]));
        let asked = Asked::of(&mut client);
        let started: std::collections::HashSet<_> = asked.pieces.iter().map(|(body, _)| *body).collect();
        prop_assert_eq!(started.len(), asked.abandoned.len() + asked.published.iter().filter(|p| p.large.is_some()).count());
        prop_assert_eq!(client.session_assembly_bytes(), 0);
        prop_assert!(client.session.next_timeout().is_some() || client.closed().is_some());
    }
}

#[test]
fn while_a_large_message_comes_in_the_window_waits_for_the_journal_and_opens_wide_again() {
    let config = AmqpConfig {
        large_message_bytes_max: 1 << 20,
        large_message_window_bytes: 80,
        incoming_window: 16,
        ..small_limits()
    };
    let mut client = sender(config);
    let windows = |client: &mut Client| {
        let flows = client.replies().into_iter().filter(|reply| reply.code == code::FLOW);
        let window = |reply: &Reply| match reply.field(1) {
            Value::Uint(frames) => frames,
            other => panic!("not a window: {other:?}"),
        };
        flows.map(|reply| window(&reply)).collect::<Vec<_>>()
    };
    windows(&mut client);
    let message = data(&[1; 2000]);
    let mut chunks = message.chunks(20);
    let mut send = |client: &mut Client, count: usize| {
        for chunk in chunks.by_ref().take(count) {
            client.send(0, &part(3, Some(0), false, true, chunk));
        }
        windows(client)
    };
    // What was open at first, and then four frames of 20 bytes, as long as nothing waits.
    assert_eq!(send(&mut client, 14), [4]);
    assert_eq!(send(&mut client, 2), [4]);
    client.pieces_pending(80);
    assert_eq!(send(&mut client, 4), []);
    client.pieces_pending(40);
    assert_eq!(windows(&mut client), [2]);
    client.pieces_pending(80);
    assert_eq!(send(&mut client, 2), []);
    client.pieces_pending(0);
    assert_eq!(windows(&mut client), [4]);
    client.send(0, &aborted(3));
    client.send(0, &transfer(3, 1, false, &data(b"x")));
    assert_eq!(windows(&mut client), [16]);
}
