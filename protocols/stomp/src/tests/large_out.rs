//! MESSAGE frames whose bodies are too large for memory.

use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{
    Access, Action, Address, Body, ConsumerId, ContentReader, Delivery, Encoding, Event, Format, Formats, LargeBody,
    Message, Meta, Output, PublishError, Seq, Session, View,
};

use super::harness::{Client, plain};
use crate::StompConfig;
use crate::codec::Command;

/// A message whose content of so many bytes is elsewhere.
pub(super) fn large(bytes: u64) -> Message {
    let mut meta = Meta::new(Address::queue("q"));
    meta.rare_mut().large = Some(Arc::new(LargeBody::named("$body/1".into(), bytes, bytes)));
    Message::new(meta, Encoding::Stomp, Bytes::from_static(b"colour:red\n"), Bytes::new())
}

pub(super) fn delivery(consumer: ConsumerId, seq: u64, message: Message) -> Event {
    let message = Arc::new(message);
    Event::Deliver(Delivery { consumer, seq: Seq(seq), message, failed_count: 0, redelivered: false, retained: false })
}

/// A subscriber, and its consumer.
pub(super) fn subscriber(headers: &str) -> (Client, ConsumerId) {
    let mut client = Client::connected("1.2");
    let consumer = client.subscribed(&format!("id:s\ndestination:q\n{headers}")).consumer;
    client.actions.clear();
    (client, consumer)
}

impl Client {
    /// The session asks for a body: its reader, which may have two pieces.
    pub(super) fn reader(&mut self) -> ConsumerId {
        let Action::Attach(attach) = self.actions.remove(0) else { panic!("no Attach") };
        assert_eq!((&*attach.queue.name, attach.browse, attach.settled), ("$body/1", true, false));
        assert_eq!(self.credit(attach.consumer), 2);
        attach.consumer
    }

    fn credit(&mut self, reader: ConsumerId) -> u64 {
        let Action::Credit(credit) = self.actions.remove(0) else { panic!("no Credit") };
        assert_eq!((credit.consumer, credit.drain), (reader, false));
        credit.limit
    }

    pub(super) fn piece(&mut self, reader: ConsumerId, seq: u64, piece: &[u8]) {
        let message = Message::new(
            Meta::new(Address::queue("$body/1")),
            Encoding::Plain,
            Bytes::new(),
            Bytes::copy_from_slice(piece),
        );
        self.event(delivery(reader, seq, message));
    }

    pub(super) fn assert_detaches(&mut self, reader: ConsumerId) {
        let Action::Detach { consumer, delete: false, lifetime: None } = self.actions.remove(0) else {
            panic!("no Detach")
        };
        assert_eq!(consumer, reader);
    }

    /// The next frame is a MESSAGE with this body.
    pub(super) fn message(&mut self, body: &[u8]) {
        let frame = self.frame();
        assert_eq!((frame.command, &frame.body[..]), (Command::Message, body));
    }
}

#[test]
fn a_large_message_is_written_as_its_pieces_come() {
    let (mut client, consumer) = subscriber("ack:client-individual");
    client.event(delivery(consumer, 9, large(10)));
    let reader = client.reader();
    assert_ne!(reader, consumer);
    client.attached(reader, "$body/1");
    assert!(client.bytes().is_empty() && client.actions.is_empty());

    client.piece(reader, 1, b"abc");
    let begun = client.bytes();
    let text = std::str::from_utf8(&begun).unwrap();
    assert!(text.starts_with("MESSAGE\ndestination:/queue/q\nmessage-id:7-0-9\nsubscription:s\nack:7-0-9\n"), "{text}");
    assert!(text.contains("\ncontent-length:10\n") && text.ends_with("\ncolour:red\n\nabc"), "{text}");
    assert_eq!(client.credit(reader), 3);
    client.piece(reader, 2, b"\0def");
    assert_eq!((&client.bytes()[..], client.credit(reader)), (&b"\0def"[..], 4));
    client.piece(reader, 3, b"ghi");
    assert_eq!(&client.bytes()[..], b"ghi\0");
    client.assert_detaches(reader);
    // One that crossed the Detach.
    client.piece(reader, 4, b"xyz");
    assert!(client.bytes().is_empty());
    client.event(Event::Detached { consumer: reader });

    client.send("ACK\nid:7-0-9\n\n\0");
    let Action::Settle(settle) = client.actions.remove(0) else { panic!("no Settle") };
    assert_eq!((settle.consumer, settle.first), (consumer, Seq(9)));
    assert_eq!(client.close, None);
}

#[test]
fn however_a_body_was_cut_the_frame_is_the_same() {
    let body = b"0123456789\0abcdefghi";
    for size in 1..=body.len() {
        let (mut client, consumer) = subscriber("ack:auto");
        client.event(delivery(consumer, 1, large(body.len() as u64)));
        let reader = client.reader();
        for (place, piece) in body.chunks(size).enumerate() {
            client.piece(reader, place as u64 + 1, piece);
        }
        client.message(body);
        assert!(client.bytes().is_empty());
    }
}

/// An encoding that has a `#` before every byte.
struct Framed;

impl Format for Framed {
    fn view<'a>(&self, _: &'a Message) -> View<'a> {
        View { subject: Some("s".into()), ..View::new(Body::Binary(b"".into())) }
    }

    fn content(&self) -> Box<dyn ContentReader> {
        Box::new(Self)
    }
}

impl ContentReader for Framed {
    fn read(&mut self, piece: &Bytes, take: &mut dyn FnMut(Bytes)) {
        for (at, _) in piece.iter().enumerate().filter(|(_, byte)| **byte != b'#') {
            take(piece.slice(at..=at));
        }
    }
}

#[test]
fn another_encodings_content_is_taken_out_of_its_framing() {
    let formats = Formats::default().with(Encoding::Amqp10, &Framed);
    let mut client = Client::with_formats(StompConfig::default(), formats).connect("1.2");
    let consumer = client.subscribed("id:1\ndestination:q").consumer;
    for (content, pieces) in [("abc", ["#", "a##b", "#c"]), ("", ["#", "#", "####"])] {
        client.actions.clear();
        let mut meta = Meta::new(Address::queue("q"));
        meta.rare_mut().large = Some(Arc::new(LargeBody::named("$body/1".into(), 7, content.len() as u64)));
        let message = Message::new(meta, Encoding::Amqp10, Bytes::from_static(b"?"), Bytes::new());
        client.event(delivery(consumer, 1, message));
        let reader = client.reader();
        for piece in pieces {
            client.piece(reader, 1, piece.as_bytes());
        }
        let frame = client.frame();
        assert_eq!((&frame.body[..], frame.headers.get("subject")), (content.as_bytes(), Some("s")));
        assert_eq!(client.close, None);
    }
}

#[test]
fn all_else_waits_in_order_behind_a_large_frame() {
    let mut client = Client::connected("1.2");
    let first = client.subscribed("id:1\ndestination:q").consumer;
    let second = client.subscribed("id:2\ndestination:r").consumer;
    client.actions.clear();
    client.event(delivery(first, 1, large(4)));
    let reader = client.reader();
    client.piece(reader, 1, b"ab");
    assert!(client.session.holds_back(first) && client.session.holds_back(second));
    assert!(!client.session.holds_back(reader));
    client.actions.clear();

    client.event(delivery(second, 1, plain("small")));
    client.send("SEND\ndestination:q\nreceipt:1\n\nx\0");
    let token = client.publish().token;
    client.published(token);
    client.event(delivery(second, 2, large(3)));
    client.event(delivery(second, 3, plain("last")));
    assert!(client.bytes().ends_with(b"\n\nab"));
    assert!(client.actions.is_empty(), "the next reader in its turn: {:?}", client.actions);

    client.piece(reader, 2, b"cd");
    client.assert_detaches(reader);
    assert_eq!(&client.bytes_of(3)[..], b"cd\0");
    client.message(b"small");
    assert_eq!(client.receipt().as_deref(), Some("1"));
    let reader = client.reader();
    client.piece(reader, 1, b"efg");
    client.message(b"efg");
    client.message(b"last");
    client.assert_detaches(reader);
    assert!(!client.session.holds_back(first));
}

#[test]
fn no_heart_beat_stands_within_a_frame() {
    let mut client = Client::new(StompConfig::default());
    client.send("CONNECT\naccept-version:1.2\nhost:h\nheart-beat:0,10000\n\n\0");
    client.event(Event::Authenticated(Access::Granted("".into())));
    let consumer = client.subscribed("id:1\ndestination:q").consumer;
    client.bytes();
    client.actions.clear();
    client.event(delivery(consumer, 1, large(4)));
    let reader = client.reader();
    // Nothing is written yet: the gateway shows that it is alive.
    let due = client.session.next_timeout().unwrap();
    client.timeout_at(due.0);
    assert_eq!(&client.bytes()[..], b"\n");
    client.piece(reader, 1, b"ab");
    assert!(!client.bytes().is_empty());
    assert_eq!(client.session.next_timeout(), None);
    client.timeout_at(client.now.0 + 1_000_000);
    assert!(client.bytes().is_empty() && client.close.is_none());
    client.piece(reader, 2, b"cd");
    assert_eq!(&client.bytes()[..], b"cd\0");
    let due = client.session.next_timeout().unwrap();
    assert!(due > client.now);
    client.timeout_at(due.0);
    assert_eq!(&client.bytes()[..], b"\n");
}

#[test]
fn the_message_is_held_until_its_reader_has_detached() {
    let (mut client, consumer) = subscriber("ack:auto");
    let message = Arc::new(large(2));
    let held = Arc::downgrade(&message);
    client.event(Event::Deliver(Delivery {
        consumer,
        seq: Seq(1),
        message,
        failed_count: 0,
        redelivered: false,
        retained: false,
    }));
    let reader = client.reader();
    client.piece(reader, 1, b"ab");
    assert!(held.upgrade().is_some());
    client.event(Event::Detached { consumer: reader });
    assert!(held.upgrade().is_none());
}

#[test]
fn nothing_of_a_body_is_kept() {
    const PIECES: u64 = 512;
    let (mut client, consumer) = subscriber("ack:auto");
    client.event(delivery(consumer, 1, large(PIECES * (128 << 10))));
    let reader = client.reader();
    for place in 1..=PIECES {
        let piece = Bytes::from(vec![7; 128 << 10]);
        let message = Message::new(Meta::new(Address::queue("$body/1")), Encoding::Plain, Bytes::new(), piece.clone());
        let mut out = Output::default();
        client.session.handle(client.now, delivery(reader, place, message), &mut out);
        assert_eq!(out.wire.take().iter().map(Bytes::len).max(), Some(128 << 10));
        assert!(piece.is_unique(), "the session holds a piece");
    }
    assert!(!client.session.holds_back(consumer));
}

#[test]
fn while_many_receipts_wait_the_client_is_not_read() {
    let (mut client, consumer) = subscriber("ack:auto");
    client.event(delivery(consumer, 1, large(4)));
    let reader = client.reader();
    client.piece(reader, 1, b"ab");
    let (mut count, receipt) = (0, "r".repeat(4000));
    while client.session.wants_input() {
        client.actions.clear();
        client.send(&format!("SEND\ndestination:q\nreceipt:{receipt}\n\n\0"));
        let token = client.publish().token;
        client.published(token);
        count += 1;
        assert!(count < 100, "receipts without bound");
    }
    // It is not silent meanwhile.
    client.timeout_at(client.now.0 + 1_000_000);
    assert_eq!(client.close, None);
    client.piece(reader, 2, b"cd");
    assert!(client.session.wants_input());
    client.message(b"abcd");
    for _ in 0..count {
        assert_eq!(client.receipt().as_deref(), Some(&receipt[..]));
    }
    // A refusal is told at once again.
    client.actions.clear();
    client.send("SEND\ndestination:q\nreceipt:9\n\n\0");
    let token = client.publish().token;
    client.event(Event::Published { token, result: Err(PublishError::NotFound) });
    assert_eq!(client.error().1.as_deref(), Some("9"));
}

#[test]
fn a_browser_is_told_the_end_behind_the_frame() {
    let (mut client, consumer) = subscriber("browser:true");
    client.event(delivery(consumer, 1, large(2)));
    let reader = client.reader();
    client.event(Event::Drained { consumer, delivered: 1 });
    assert!(client.bytes().is_empty());
    client.piece(reader, 1, b"ab");
    client.message(b"ab");
    assert_eq!(client.frame().headers.get("browser"), Some("end"));
}
