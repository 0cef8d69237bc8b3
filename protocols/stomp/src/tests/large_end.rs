//! What ends while a large MESSAGE is on its way.

use std::sync::Arc;

use evergate_model::{
    Action, AttachError, Attached, Close, ConsumerId, Event, LargeBody, Outcome, Seq, Session, Settle,
};

use super::harness::plain;
use super::large_out::{delivery, large, subscriber};

#[test]
fn a_frame_is_finished_after_unsubscribe_and_what_waits_behind_it_goes_back() {
    let (mut client, consumer) = subscriber("ack:client");
    client.event(delivery(consumer, 1, large(4)));
    let reader = client.reader();
    client.piece(reader, 1, b"ab");
    client.event(delivery(consumer, 2, large(4)));
    client.actions.clear();
    client.send("UNSUBSCRIBE\nid:s\nreceipt:u\n\n\0");
    assert!(matches!(client.actions.remove(0), Action::Detach { consumer: detached, .. } if detached == consumer));
    client.event(Event::Detached { consumer });
    client.piece(reader, 2, b"cd");
    client.message(b"abcd");
    assert_eq!(client.receipt().as_deref(), Some("u"));
    client.assert_detaches(reader);
    assert!(client.actions.is_empty(), "{:?}", client.actions);
}

#[test]
fn goodbye_is_said_behind_the_frame() {
    let (mut client, consumer) = subscriber("ack:auto");
    client.event(delivery(consumer, 1, large(4)));
    let reader = client.reader();
    client.piece(reader, 1, b"ab");
    client.send("DISCONNECT\nreceipt:end\n\n\0");
    assert_eq!(client.close, None);
    client.event(delivery(consumer, 2, large(4)));
    client.piece(reader, 2, b"cd");
    client.message(b"abcd");
    assert_eq!(client.receipt().as_deref(), Some("end"));
    assert_eq!(client.close, Some(Close::Goodbye));
}

#[test]
fn an_error_is_told_behind_the_frame() {
    let (mut client, consumer) = subscriber("ack:auto");
    client.event(delivery(consumer, 1, large(4)));
    let reader = client.reader();
    client.piece(reader, 1, b"ab");
    client.event(delivery(consumer, 2, plain("small")));
    client.event(delivery(consumer, 3, large(4)));
    client.send("ACK\nid:x\nreceipt:r\n\n\0SEND\ndestination:q\n\n\0");
    client.send("SEND\ndestination:q\n\n\0");
    client.event(delivery(consumer, 4, plain("too late")));
    assert!(client.input.is_empty());
    assert_eq!((&client.close, client.session.next_timeout()), (&None, None));
    client.actions.clear();
    client.piece(reader, 2, b"cd");
    client.message(b"abcd");
    client.message(b"small");
    assert_eq!(client.error(), ("ACK: no message x awaits an acknowledgement".into(), Some("r".into())));
    client.assert_detaches(reader);
    assert!(client.actions.is_empty());
    assert!(client.bytes().is_empty());
}

#[test]
fn when_the_gateway_stops_the_frame_is_cut() {
    let stop = || Event::Stopping { reason: "it stops".into() };
    let (mut client, consumer) = subscriber("ack:auto");
    client.event(delivery(consumer, 1, large(4)));
    let reader = client.reader();
    client.piece(reader, 1, b"ab");
    client.bytes();
    client.send("NONSENSE\n\n\0");
    assert_eq!(client.close, None);
    client.event(stop());
    assert!(client.bytes().is_empty());
    assert_eq!(client.close, Some(Close::Gateway("it stops".into())));

    // Not begun yet: there is room for the reason.
    let (mut client, consumer) = subscriber("ack:auto");
    client.event(delivery(consumer, 1, large(4)));
    client.event(delivery(consumer, 2, plain("small")));
    client.event(stop());
    client.message(b"small");
    assert_eq!(client.error().0, "it stops");
}

fn unreadable(consumer: ConsumerId, seq: u64, actions: &[Action]) -> bool {
    let expected = (consumer, Seq(seq), Seq(seq), Outcome::Unreadable);
    let is_it = |it: &Settle| (it.consumer, it.first, it.last, it.outcome.clone()) == expected;
    actions.iter().any(|action| matches!(action, Action::Settle(settle) if is_it(settle)))
}

#[test]
fn a_body_that_is_not_there_is_told_to_the_queue_and_what_follows_comes() {
    for (ack, is_attached) in [("client", false), ("client-individual", false), ("auto", false), ("client", true)] {
        let (mut client, consumer) = subscriber(&format!("ack:{ack}\nprefetch-count:1"));
        client.event(delivery(consumer, 1, large(4)));
        client.event(delivery(consumer, 2, plain("small")));
        client.event(delivery(consumer, 3, large(4)));
        let reader = client.reader();
        client.actions.clear();
        if is_attached {
            client.event(Event::Attached { consumer: reader, result: Ok(Attached::default()) });
            client.event(Event::Deleted { consumer: reader });
            assert!(matches!(client.actions[0], Action::Detach { consumer, .. } if consumer == reader));
        } else {
            client.event(Event::Attached { consumer: reader, result: Err(AttachError::NotFound) });
        }
        assert!(unreadable(consumer, 1, &client.actions), "{ack}: {:?}", client.actions);
        client.message(b"small");
        // The next large one has its turn, and its reader.
        let is_reader = |action: &Action| match action {
            Action::Attach(attach) => Some(attach.consumer),
            _ => None,
        };
        let next = client.actions.iter().find_map(is_reader).unwrap();
        client.piece(next, 1, b"abcd");
        client.message(b"abcd");
        assert_eq!(client.close, None);
    }
}

#[test]
fn a_browser_passes_a_body_that_is_not_there() {
    let (mut client, consumer) = subscriber("browser:true");
    client.event(delivery(consumer, 1, large(4)));
    client.event(delivery(consumer, 2, plain("small")));
    let reader = client.reader();
    client.event(Event::Attached { consumer: reader, result: Err(AttachError::NotFound) });
    assert!(!unreadable(consumer, 1, &client.actions));
    client.message(b"small");
    assert_eq!(client.close, None);
}

#[test]
fn a_frame_that_has_begun_and_cannot_be_finished_ends_the_connection() {
    let text = |reason| format!("the body of a large message cannot be read: {reason}");
    for (end, reason) in [(true, "there is no such destination"), (false, "it is shorter than it was")] {
        let (mut client, consumer) = subscriber("ack:client");
        let mut message = large(4);
        message.meta.rare_mut().large = Some(Arc::new(LargeBody::named("$body/1".into(), 3, 4)));
        client.event(delivery(consumer, 1, message));
        let reader = client.reader();
        client.event(Event::Attached { consumer: reader, result: Ok(Attached::default()) });
        client.piece(reader, 1, b"ab");
        assert_eq!(client.close, None);
        if end {
            client.event(Event::Deleted { consumer: reader });
        } else {
            client.piece(reader, 2, b"c");
        }
        // The queue hears of it first: the next connection is not ended by the same message.
        assert!(unreadable(consumer, 1, &client.actions));
        assert_eq!(client.close, Some(Close::Gateway(text(reason))));
        assert!(!client.bytes().windows(5).any(|bytes| bytes == b"ERROR"));
    }
}

#[test]
fn a_body_that_the_gateway_cannot_give_now_ends_the_connection_and_says_why() {
    let (mut client, consumer) = subscriber("ack:client");
    client.event(delivery(consumer, 1, large(4)));
    let reader = client.reader();
    client.event(Event::Attached { consumer: reader, result: Err(AttachError::Unavailable) });
    assert!(!unreadable(consumer, 1, &client.actions));
    let expected = "the body of a large message cannot be read: the gateway cannot serve this now".to_owned();
    assert_eq!(client.error().0, expected);
    assert_eq!(client.close, Some(Close::Gateway(expected)));
}
