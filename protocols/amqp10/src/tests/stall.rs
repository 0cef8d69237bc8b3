//! What a client is told that stops in the middle of a message.

use evergate_model::{Action, Publish, Session, Value};

use super::client::{Client, Reply, data, detach, flow, part, transfer};
use super::large::{aborted, small_limits};
use super::publish::sender;
use crate::AmqpConfig;
use crate::performative::code;

const STALL: u64 = 50;

/// A flow's window, and what it says of a link: credit, and whether to drain it.
fn told(reply: &Reply) -> (u32, Option<(u32, bool)>) {
    assert_eq!(reply.code, code::FLOW);
    let number = |field: usize| match reply.field(field) {
        Value::Uint(number) => number,
        other => panic!("{other:?}"),
    };
    let link = (reply.field(4) != Value::Null).then(|| (number(6), reply.field(8) == Value::Bool(true)));
    (number(1), link)
}

/// What the client hears within so many milliseconds.
fn hears(client: &mut Client, millis: u64) -> Vec<(u32, Option<(u32, bool)>)> {
    let end = client.now.0 + millis;
    while let Some(at) = client.session.next_timeout().filter(|at| at.0 <= end) {
        client.wait(at.0 - client.now.0);
    }
    client.now.0 = end;
    client.replies().iter().map(told).collect()
}

fn published(client: &mut Client) -> Vec<Publish> {
    let publish = |action| match action {
        Action::Publish(publish) => Some(publish),
        _ => None,
    };
    client.actions().into_iter().filter_map(publish).collect()
}

#[test]
fn it_gets_room_for_a_frame_more_and_then_its_credit_is_drained_and_given_back() {
    let mut client = sender(AmqpConfig::default());
    let message = data(&[1; 300]);
    client.send(0, &part(3, Some(0), false, true, &message[..100]));
    assert_eq!(hears(&mut client, STALL - 1), []);
    assert_eq!(hears(&mut client, 1), [(256, None)]);
    assert_eq!(hears(&mut client, STALL), [(256, Some((499, true)))]);
    assert_eq!(hears(&mut client, 10 * STALL), [], "once for each frame");
    // It has nothing more to send: what it says, flushes what it had sent.
    client.send(0, &part(3, Some(0), false, false, &message[100..]));
    assert_eq!(published(&mut client).len(), 1);
    client.send(0, &flow(3, 500, 0, true));
    let reply = client.reply();
    assert_eq!((reply.field(5), told(&reply).1), (Value::Uint(500), Some((499, false))));
    assert_eq!(hears(&mut client, STALL * 10), []);
}

#[test]
fn each_frame_begins_the_time_again() {
    let mut client = sender(AmqpConfig::default());
    for _ in 0..3 {
        client.send(0, &part(3, Some(0), false, true, &data(&[1; 300])[..20]));
        assert_eq!(hears(&mut client, STALL - 1), []);
    }
    assert_eq!(hears(&mut client, 2 * STALL).len(), 2);
    client.send(0, &part(3, Some(0), false, true, &[1]));
    assert_eq!(hears(&mut client, 2 * STALL).len(), 2);
}

#[test]
fn while_the_journal_is_behind_it_is_not_the_clients_turn() {
    let mut client = sender(small_limits());
    client.send(0, &part(3, Some(0), false, true, &data(&[1; 400])[..200]));
    client.pieces_pending(200);
    assert_eq!(hears(&mut client, 10 * STALL), []);
    client.pieces_pending(0);
    assert_eq!(hears(&mut client, STALL - 1), []);
    assert_eq!(hears(&mut client, STALL + 1).len(), 2);
}

#[test]
fn a_delivery_that_has_ended_is_not_asked_for() {
    let ends = [part(3, Some(0), false, false, &data(b"x")[1..]), aborted(3), detach(3, true)];
    for end in ends {
        let mut client = sender(AmqpConfig::default());
        client.send(0, &part(3, Some(0), false, true, &data(b"x")[..1]));
        client.send(0, &end);
        client.replies();
        assert_eq!(hears(&mut client, 10 * STALL), []);
    }
}

#[test]
fn credit_that_a_client_says_to_have_used_is_used() {
    let mut client = sender(AmqpConfig { link_credit: 10, ..AmqpConfig::default() });
    client.send(0, &transfer(3, 0, false, &data(b"x")));
    // It counts a delivery when it ends, we when it begins; and one that it cannot have sent is none.
    for count in [0, 1, 12] {
        client.send(0, &flow(3, count, 10, false));
        assert_eq!(client.replies(), []);
    }
    client.send(0, &flow(3, 7, 3, true));
    let reply = client.reply();
    assert_eq!((reply.field(5), told(&reply).1), (Value::Uint(7), Some((9, false))));
}
