//! Clients that receive: what becomes of a delivery.

use evergate_model::{Event, Outcome, Seq, Value};

use super::client::{AttachFrame, Client, Node, disposition, flow};
use super::consume::{attach, delivery, granted, orders, receiver, settles, transfers};
use crate::AmqpConfig;
use crate::performative::code;

#[test]
fn an_unsettled_outcome_is_answered_after_its_commit() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &AttachFrame { rcv: 1, ..orders() });
    client.send(0, &flow(0, 0, 10, false));
    for seq in 1..=3 {
        client.event(delivery(consumer, seq, b"x"));
    }
    client.replies();
    client.actions();
    client.send(0, &disposition(0, Some(2), false, Some(code::ACCEPTED)));
    let settle = settles(&mut client).remove(0);
    assert_eq!((settle.first, settle.last, settle.outcome), (Seq(1), Seq(3), Outcome::Accept));
    assert_eq!(client.replies(), []);
    client.event(Event::Done(settle.token.unwrap()));
    let reply = client.reply();
    assert_eq!((reply.field(0), reply.field(1), reply.field(2)), (Value::Bool(false), Value::Uint(0), Value::Uint(2)));
    assert_eq!((reply.field(3), reply.described(4).unwrap().0), (Value::Bool(true), u64::from(code::ACCEPTED)));
    // Said twice, it is settled once.
    client.send(0, &disposition(0, Some(2), true, Some(code::ACCEPTED)));
    assert_eq!(settles(&mut client).len(), 0);
}

#[test]
fn a_settled_disposition_wants_no_answer_and_holes_are_left_alone() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &flow(0, 0, 10, false));
    for seq in [1, 2, 3, 7, 8] {
        client.event(delivery(consumer, seq, b"x"));
    }
    client.actions();
    client.send(0, &disposition(1, None, true, Some(code::RELEASED)));
    client.send(0, &disposition(0, Some(4), true, Some(code::ACCEPTED)));
    let said: Vec<_> = settles(&mut client).into_iter().map(|s| (s.first.0, s.last.0, s.outcome, s.token)).collect();
    let expected =
        [(2, 2, Outcome::Release), (1, 1, Outcome::Accept), (3, 3, Outcome::Accept), (7, 8, Outcome::Accept)];
    assert_eq!(said, expected.map(|(first, last, outcome)| (first, last, outcome, None)));
}

#[test]
fn every_outcome_reaches_the_gateway() {
    let error = [0x00, 0x53, 0x25, 0xc0, 0x0d, 1, 0x00, 0x53, 0x1d, 0xc0, 0x07, 2, 0xa3, 1, b'c', 0xa1, 1, b'd'];
    let modified = [0x00, 0x53, 0x27, 0xc0, 0x03, 2, 0x41, 0x41];
    let named = [&[0x00, 0xa3, 18][..], b"amqp:accepted:list", &[0x45]].concat();
    let table: [(&[u8], Outcome); 5] = [
        (&named, Outcome::Accept),
        (&[0x00, 0x53, 0x24, 0x45], Outcome::Accept),
        (&[0x00, 0x53, 0x26, 0x45], Outcome::Release),
        (&error, Outcome::Reject { reason: "c: d".into() }),
        (&modified, Outcome::Modify { failed: true, undeliverable_here: true }),
    ];
    for (state, outcome) in table {
        let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
        client.send(0, &flow(0, 0, 10, false));
        client.event(delivery(consumer, 1, b"x"));
        client.actions();
        // role, first, last, settled, state
        let mut body = vec![0x00, 0x53, 0x15, 0xc0, (state.len() + 5) as u8, 5, 0x41, 0x43, 0x40, 0x41];
        body.extend_from_slice(state);
        client.send(0, &body);
        assert_eq!(settles(&mut client)[0].outcome, outcome);
    }
}

#[test]
fn settled_without_an_outcome_goes_back_as_our_attach_says() {
    let mut client = Client::running(AmqpConfig::default());
    let attach = attach(&mut client, &orders());
    granted(&mut client, &attach);
    let consumer = attach.consumer;
    let (_, source) = client.reply().described(5).unwrap();
    assert!(source[8].contains("Ulong(38)"), "released: {source:?}");
    client.send(0, &flow(0, 0, 10, false));
    client.event(delivery(consumer, 1, b"x"));
    client.actions();
    client.send(0, &disposition(0, None, true, None));
    let outcome = settles(&mut client).remove(0).outcome;
    assert_eq!(outcome, Outcome::Release);
}

#[test]
fn copies_are_browsed_and_settle_nothing() {
    let mut client = Client::running(AmqpConfig::default());
    let attach = attach(&mut client, &AttachFrame::receiver(0, Node { copy: true, ..Node::at("orders") }));
    assert!(attach.browse && !attach.settled);
    granted(&mut client, &attach);
    client.send(0, &flow(0, 0, 10, false));
    client.event(delivery(attach.consumer, 1, b"x"));
    client.replies();
    client.actions();
    client.send(0, &disposition(0, None, false, Some(code::ACCEPTED)));
    assert_eq!(settles(&mut client).len(), 0);
    assert_eq!(client.reply().code, code::DISPOSITION);
}

#[test]
fn a_client_that_asks_for_settled_deliveries_gets_them() {
    let mut client = Client::running(AmqpConfig::default());
    let attach = attach(&mut client, &AttachFrame { snd: 1, ..orders() });
    assert!(attach.settled);
    granted(&mut client, &attach);
    assert_eq!(client.reply().field(3), Value::Ubyte(1));
    client.send(0, &flow(0, 0, 10, false));
    client.event(delivery(attach.consumer, 1, b"x"));
    assert_eq!(transfers(&mut client)[0].field(4), Value::Bool(true));
}
