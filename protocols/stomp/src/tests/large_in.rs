//! SEND frames whose bodies are too large for memory.

use bytes::BytesMut;
use evergate_model::{Access, Action, Close, Event, LargeEnd, Publish, PublishError, Session, Token, TransactionId};

use super::harness::Client;
use crate::{Limits, StompConfig};

/// Bodies over 10 bytes go in pieces, up to 20.
fn config() -> StompConfig {
    let limits = Limits { body_bytes_max: 10, ..Limits::default() };
    StompConfig { limits, large_body_bytes_max: 20, ..StompConfig::default() }
}

fn client() -> Client {
    Client::connected_with(config(), "1.2")
}

fn frame(headers: &str, body: &str) -> String {
    format!("SEND\ndestination:/queue/q\n{headers}content-length:{}\n\n{body}\0", body.len())
}

/// The body that came in pieces, and the publish behind it.
fn collected(actions: &mut Vec<Action>) -> (Vec<u8>, Publish) {
    let (mut body, mut name) = (Vec::new(), None);
    for action in actions.drain(..) {
        match action {
            Action::Piece { body: token, bytes } => {
                assert!(!bytes.is_empty());
                assert_eq!(*name.get_or_insert(token), token);
                body.extend_from_slice(&bytes);
            }
            Action::Publish(publish) => {
                let end = publish.large.expect("a large one");
                assert_eq!((end.body, end.payload_bytes), (name.unwrap(), body.len() as u64));
                return (body, publish);
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no publish");
}

#[test]
fn which_bodies_go_in_pieces_is_said_by_their_length_alone() {
    let table = [
        (10, true, Ok(None)),
        (11, true, Ok(Some(11))),
        (20, true, Ok(Some(20))),
        (21, true, Err("the body is longer than 20 bytes")),
        (10, false, Ok(None)),
        (11, false, Err("the body is longer than 10 bytes and has no content-length, which such bodies need")),
    ];
    for (length, told, expected) in table {
        let body = "x".repeat(length);
        let mut client = client();
        let content_length = if told { format!("content-length:{length}\n") } else { String::new() };
        client.send(&format!("SEND\ndestination:/queue/q\n{content_length}\n{body}\0"));
        match expected {
            Err(text) => {
                assert_eq!(client.error().0, text);
                assert!(client.actions.is_empty());
            }
            Ok(None) => {
                let publish = client.publish();
                assert_eq!((publish.large, &publish.message.body[..]), (None, body.as_bytes()));
            }
            Ok(Some(length)) => {
                let (pieces, publish) = collected(&mut client.actions);
                assert_eq!(pieces, body.as_bytes());
                assert_eq!(publish.large.map(|end| end.payload_bytes), Some(length));
                assert!(publish.message.body.is_empty());
            }
        }
    }
    // Without the larger limit all is as ever.
    let mut client = Client::connected_with(StompConfig { large_body_bytes_max: 10, ..config() }, "1.2");
    client.send(&frame("", "01234567890"));
    assert_eq!(client.error().0, "the body is longer than 10 bytes");
}

#[test]
fn only_send_has_a_large_body_and_only_after_connected() {
    for (version, text, message) in [
        ("1.2", "MESSAGE\ncontent-length:11\n\n", "the body is longer than 10 bytes"),
        ("1.2", "ACK\nid:1\ncontent-length:11\n\n", "ACK frames must not have a body"),
        ("1.0", "ACK\nmessage-id:1\ncontent-length:11\n\n", "the body is longer than 10 bytes"),
    ] {
        let mut client = Client::connected_with(config(), version);
        client.send(text);
        assert_eq!(client.error().0, message);
    }
    let mut client = Client::new(config());
    client.send("SEND\ndestination:q\ncontent-length:11\n\n");
    assert_eq!(client.error().0, "SEND before CONNECT");

    // What comes before CONNECTED waits for it, within its own limit.
    let mut client = Client::new(config());
    client.send("CONNECT\naccept-version:1.2\nhost:h\n\n\0");
    client.send(&frame("", "abcdefghijkl"));
    assert!(matches!(client.actions[..], [Action::Authenticate(_)]));
    assert!(!client.session.wants_input());
    client.actions.clear();
    client.event(Event::Authenticated(Access::Granted("".into())));
    assert_eq!(collected(&mut client.actions).0, b"abcdefghijkl");

    let mut client = Client::new(StompConfig { early_bytes_max: 30, ..config() });
    client.send("CONNECT\naccept-version:1.2\nhost:h\n\n\0");
    client.send(&frame("", "abcdefghijkl"));
    assert_eq!(client.error().0, "more than 30 bytes sent without waiting for the answer");
}

#[test]
fn wherever_the_bytes_are_cut_the_same_is_published() {
    let wire = format!("{}{}", frame("receipt:1\ncolour:red\n", "abc\0defghijklm\0"), frame("", "small"));
    for first in 0..wire.len() {
        for second in [first + 1, first + 5, wire.len()] {
            let mut client = client();
            let (first, second) = (first.min(wire.len()), second.min(wire.len()));
            for part in [&wire[..first], &wire[first..second], &wire[second..]] {
                client.send(part);
            }
            let Some(Action::Publish(small)) = client.actions.pop() else { panic!("no publish") };
            assert_eq!((&small.message.body[..], small.large), (&b"small"[..], None));
            let (body, publish) = collected(&mut client.actions);
            assert_eq!(body, b"abc\0defghijklm\0");
            assert_eq!(&publish.message.head[..], b"colour:red\n");
            assert_eq!(publish.large, Some(LargeEnd { body: publish.token, payload_bytes: 15 }));
            client.published(publish.token);
            assert_eq!(client.receipt().as_deref(), Some("1"));
        }
    }
}

#[test]
fn pieces_leave_as_they_come_and_nothing_of_them_is_kept() {
    let config = StompConfig { large_body_bytes_max: 1 << 30, ..config() };
    let mut client = Client::connected_with(config, "1.2");
    client.send("SEND\ndestination:/queue/q\ncontent-length:67108864\n\n");
    assert!(client.actions.is_empty() && client.input.is_empty());
    let chunk = vec![7; 64 << 10];
    let mut input = BytesMut::with_capacity(chunk.len());
    for _ in 0..1024 {
        // The buffer is the same all the time: it can be used again only when nobody holds a part of it.
        assert!(input.try_reclaim(chunk.len()), "the session holds bytes");
        input.extend_from_slice(&chunk);
        let mut out = evergate_model::Output::default();
        client.session.received(client.now, &mut input, &mut out);
        assert!(input.is_empty());
        let [Action::Piece { bytes, .. }] = &out.actions[..] else { panic!("{:?}", out.actions) };
        assert_eq!(bytes.len(), chunk.len());
    }
    client.send("\0");
    assert_eq!(client.publish().large.map(|end| end.payload_bytes), Some(64 << 20));
}

#[test]
fn a_body_without_nul_behind_it_is_abandoned() {
    let mut client = client();
    client.send("SEND\ndestination:/queue/q\ncontent-length:12\n\nabcdef");
    client.send("ghijklm\0");
    assert_eq!(client.error().0, "no NUL after content-length bytes of body");
    let [Action::Piece { body, .. }, Action::Piece { .. }, Action::Abandon { body: abandoned }] = client.actions[..]
    else {
        panic!("{:?}", client.actions)
    };
    assert_eq!(body, abandoned);
}

#[test]
fn whatever_ends_the_session_within_a_body_abandons_it() {
    let mut client = client();
    client.send("SEND\ndestination:/queue/q\ncontent-length:12\n\nabcdef");
    client.event(Event::Stopping { reason: "it stops".into() });
    assert_eq!(client.error().0, "it stops");
    assert!(matches!(client.actions[..], [Action::Piece { .. }, Action::Abandon { .. }]));
    client.send("ghijkl\0");
    assert_eq!((client.actions.len(), client.input.len()), (2, 0));
}

#[test]
fn what_the_head_shows_to_be_wrong_is_refused_before_the_body() {
    let table = [
        ("destination:/queue/_DMQ\n", "the message was not taken: names that begin with _ are the gateway's own"),
        ("destination:/topic/a/+\n", "a message cannot be sent to a wildcard (+ or #)"),
        ("destination:q\ntransaction:t\n", "SEND: there is no transaction t"),
        ("destination:q\npriority:10\n", "priority must be 0 to 9: 10"),
        ("", "SEND without a destination header"),
    ];
    for (headers, message) in table {
        let mut client = client();
        client.send(&format!("SEND\n{headers}receipt:r\ncontent-length:12\n\n"));
        let (text, receipt) = client.error();
        assert!(text.starts_with(message), "{text}");
        assert_eq!(receipt.as_deref(), Some("r"));
        client.send("abcdefghijkl\0SEND\ndestination:q\n\n\0");
        assert!(client.actions.is_empty() && client.input.is_empty());
    }
    let mut client = Client::connected_with(StompConfig { pending_max: 1, ..config() }, "1.2");
    client.send(&frame("", "a"));
    client.actions.clear();
    client.send("SEND\ndestination:q\ncontent-length:12\n\nabc");
    assert_eq!(client.error().0, "more than 1 frames await their answer");
    assert!(client.actions.is_empty());
}

#[test]
fn a_head_that_must_wait_holds_its_body_back() {
    let mut client = client();
    client.send("BEGIN\ntransaction:t\n\n\0");
    let Action::Begin { token } = client.actions.remove(0) else { panic!("no Begin") };
    client.send("SEND\ndestination:/queue/q\ntransaction:t\ncontent-length:12\n\nabcdef");
    assert!(client.actions.is_empty() && !client.session.wants_input());
    client.event(Event::Begun { token, result: Ok(TransactionId(5)) });
    assert!(matches!(client.actions[..], [Action::Piece { .. }]) && client.session.wants_input());
    client.send("ghijkl\0COMMIT\ntransaction:t\n\n\0");
    let commit = client.actions.pop();
    let (body, publish) = collected(&mut client.actions);
    assert_eq!((&body[..], publish.transaction), (&b"abcdefghijkl"[..], Some(TransactionId(5))));
    assert!(matches!(commit, Some(Action::Commit { transaction: TransactionId(5), .. })));
}

#[test]
fn a_refused_large_message_is_told_as_any_other() {
    let mut client = client();
    client.send(&frame("receipt:9\n", "abcdefghijkl"));
    let token = collected(&mut client.actions).1.token;
    client.event(Event::Published { token, result: Err(PublishError::Unavailable) });
    let expected = "the message was not taken: the gateway cannot store messages now";
    assert_eq!(client.error(), (expected.into(), Some("9".into())));
}

#[test]
fn receipts_of_what_was_sent_before_leave_while_a_body_comes() {
    let mut client = client();
    client.send("SEND\ndestination:q\nreceipt:1\n\na\0SEND\ndestination:q\nreceipt:2\ncontent-length:12\n\nabc");
    let first = client.publish().token;
    client.published(first);
    assert_eq!(client.receipt().as_deref(), Some("1"));
    client.send("defghijkl\0SEND\ndestination:q\nreceipt:3\n\nc\0");
    let Some(Action::Publish(third)) = client.actions.pop() else { panic!("no publish") };
    client.published(third.token);
    assert_eq!(client.receipt(), None);
    client.published(Token(1));
    assert_eq!([client.receipt(), client.receipt()].map(Option::unwrap), ["2", "3"]);
}

/// A client that promised to be heard that often.
fn heard_each_ten_seconds() -> Client {
    let mut client = Client::new(config());
    client.send("CONNECT\naccept-version:1.2\nhost:h\nheart-beat:10000,0\n\n\0");
    client.event(Event::Authenticated(Access::Granted("".into())));
    client.frame();
    client
}

#[test]
fn bytes_of_a_body_are_signs_of_life_and_a_slow_one_has_more_time() {
    let mut client = heard_each_ten_seconds();
    client.send("SEND\ndestination:q\ncontent-length:12\n\n");
    for _ in 0..3 {
        client.timeout_at(client.now.0 + 119_000);
        client.send("x");
        assert_eq!(client.close, None);
    }
    client.timeout_at(client.now.0 + 120_000);
    assert_eq!(client.error().0, "no heart-beat in time");
    assert_eq!(client.close, Some(Close::Silent));
    assert!(matches!(client.actions.last(), Some(Action::Abandon { .. })));

    // Behind it the usual time counts again.
    let mut client = heard_each_ten_seconds();
    client.send(&frame("", "abcdefghijkl"));
    client.actions.remove(0);
    let token = collected(&mut client.actions).1.token;
    client.published(token);
    client.timeout_at(client.now.0 + 20_000);
    assert_eq!(client.close, Some(Close::Silent));
}

#[test]
fn a_client_whose_pieces_await_their_commit_is_not_silent() {
    let mut client = heard_each_ten_seconds();
    client.send("SEND\ndestination:q\ncontent-length:12\n\nx");
    client.pieces_pending(1);
    for _ in 0..3 {
        client.timeout_at(client.now.0 + 120_000);
        assert_eq!(client.close, None);
    }
    client.pieces_pending(0);
    client.timeout_at(client.now.0 + 119_000);
    assert_eq!(client.close, None);
    client.timeout_at(client.now.0 + 1_000);
    assert_eq!(client.close, Some(Close::Silent));
}
