//! Clients that receive.

use std::sync::Arc;

use bytes::Bytes;
use evergate_model::{
    Action, Address, Attach, Attached, ConsumerId, Credit, Delivery, Encoding, Event, Message, Meta, Outcome,
    QueueSpec, Seq, Settle, Value,
};

use super::client::{
    AttachFrame, Client, Node, Reply, data, detach, disposition, durable, flow, frame, part, transfer, window_flow,
};
use super::gateway::Gateway;
use crate::AmqpConfig;
use crate::codec::FRAME_AMQP;
use crate::performative::code;

pub fn attach(client: &mut Client, frame: &AttachFrame) -> Attach {
    client.send(0, &frame.bytes());
    let mut actions = client.actions();
    assert_eq!(actions.len(), 1, "{actions:?} {:?}", client.replies());
    let Action::Attach(attach) = actions.remove(0) else { panic!() };
    attach
}

pub fn granted(client: &mut Client, attach: &Attach) {
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(found(attach)) });
}

/// What is there, just as it was asked for.
pub fn found(attach: &Attach) -> Attached {
    let QueueSpec { name, durable, lifetime } = attach.queue.clone();
    let stream = &*name == "events";
    Attached { queue: name, existed: true, durable, lifetime, stream, ..Attached::default() }
}

pub fn receiver(config: AmqpConfig, frame: &AttachFrame) -> (Client, ConsumerId) {
    let mut client = Client::running(config);
    let attach = attach(&mut client, frame);
    granted(&mut client, &attach);
    assert_eq!(client.reply().code, code::ATTACH);
    (client, attach.consumer)
}

pub fn orders() -> AttachFrame {
    AttachFrame::receiver(0, Node::at("orders"))
}

pub fn delivery(consumer: ConsumerId, seq: u64, body: &[u8]) -> Event {
    let message = Message::new(Meta::new(Address::queue("orders")), Encoding::Amqp10, Bytes::new(), data(body).into());
    Event::Deliver(Delivery {
        consumer,
        seq: Seq(seq),
        message: Arc::new(message),
        failed_count: 0,
        redelivered: false,
        retained: false,
    })
}

fn credits(client: &mut Client) -> Vec<(u64, bool)> {
    let actions = client.actions().into_iter();
    actions
        .filter_map(|action| match action {
            Action::Credit(Credit { limit, drain, .. }) => Some((limit, drain)),
            _ => None,
        })
        .collect()
}

pub fn settles(client: &mut Client) -> Vec<Settle> {
    let actions = client.actions().into_iter();
    actions
        .filter_map(|action| match action {
            Action::Settle(settle) => Some(settle),
            _ => None,
        })
        .collect()
}

pub fn transfers(client: &mut Client) -> Vec<Reply> {
    client.replies().into_iter().filter(|reply| reply.code == code::TRANSFER).collect()
}

#[test]
fn credit_is_delivery_count_plus_link_credit() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &flow(0, 0, 10, false));
    assert_eq!(credits(&mut client), [(10, false)]);
    for seq in 1..=3 {
        client.event(delivery(consumer, seq, b"x"));
    }
    assert_eq!(transfers(&mut client).len(), 3);
    // The client counted one so far: two are on the way.
    client.send(0, &flow(0, 1, 10, false));
    assert_eq!(credits(&mut client), [(11, false)]);
    client.send(0, &flow(0, 3, 0, false));
    assert_eq!(credits(&mut client), [(3, false)]);
}

#[test]
fn credit_sent_before_our_attach_is_kept_for_after_it() {
    let mut client = Client::running(AmqpConfig::default());
    let attach = attach(&mut client, &orders());
    client.send(0, &flow(0, 0, 5, false));
    assert_eq!((client.actions().len(), client.replies()), (0, vec![]));
    granted(&mut client, &attach);
    assert_eq!(credits(&mut client), [(5, false)]);
}

#[test]
fn a_delivery_that_crosses_a_lowered_credit_goes_back_and_the_count_stays_right() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &flow(0, 0, 10, false));
    client.send(0, &flow(0, 0, 0, false));
    client.actions();
    client.event(delivery(consumer, 1, b"x"));
    assert_eq!(transfers(&mut client), []);
    let back = settles(&mut client);
    assert_eq!((back[0].first, back[0].outcome.clone()), (Seq(1), Outcome::Release));
    // The gateway has counted one more than the client.
    client.send(0, &flow(0, 0, 10, false));
    assert_eq!(credits(&mut client), [(11, false)]);
}

#[test]
fn a_drain_uses_up_the_credit_and_says_so() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &flow(0, 0, 10, true));
    assert_eq!(credits(&mut client), [(10, true)]);
    client.event(delivery(consumer, 1, b"x"));
    client.event(Event::Drained { consumer, delivered: 1 });
    let replies = client.replies();
    assert_eq!(replies[0].code, code::TRANSFER);
    assert_eq!(
        (replies[1].code, replies[1].field(5), replies[1].field(6)),
        (code::FLOW, Value::Uint(10), Value::Uint(0))
    );
    assert_eq!(replies[1].field(8), Value::Bool(true));
    assert_eq!(credits(&mut client), [], "the gateway took back what is left by itself");
    // Further credit counts from there: 10 on the wire are 1 for the gateway.
    client.send(0, &flow(0, 10, 2, false));
    assert_eq!(credits(&mut client), [(3, false)]);
    client.event(delivery(consumer, 2, b"y"));
    assert_eq!(transfers(&mut client).len(), 1);
}

#[test]
fn a_drain_without_credit_is_answered_at_once() {
    let (mut client, _) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &flow(0, 0, 0, true));
    let reply = client.reply();
    assert_eq!((reply.field(6), reply.field(8)), (Value::Uint(0), Value::Bool(true)));
    assert_eq!(credits(&mut client), []);
}

#[test]
fn the_clients_window_holds_transfers_back_in_the_middle_of_a_message() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &window_flow(2, Some((0, 0, 10, false))));
    client.event(delivery(consumer, 1, &vec![5; 200_000]));
    client.event(delivery(consumer, 2, b"y"));
    let sent = transfers(&mut client);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|reply| reply.field(5) == Value::Bool(true)));
    client.send(0, &window_flow(3, None));
    assert_eq!(transfers(&mut client).len(), 1, "one more: the window counts from id 0");
    client.send(0, &window_flow(100, None));
    let rest = transfers(&mut client);
    assert_eq!(rest.len(), 2);
    assert_eq!((rest[0].field(1), rest[0].field(5)), (Value::Null, Value::Bool(false)));
    assert_eq!(rest[1].field(1), Value::Uint(1));
    let whole: usize = sent.iter().chain(&rest).map(|reply| reply.payload.len()).sum();
    assert!(whole < 200_100 + 40, "{whole}");
}

#[test]
fn no_frame_is_larger_than_the_client_takes() {
    let mut client = Client::new(AmqpConfig::default());
    client.handshake();
    let fields = [Value::text("c"), Value::Null, Value::Uint(512)];
    client.send(0, &super::client::performative(code::OPEN, &fields));
    client.send(0, &super::client::begin(1000));
    let attach = attach(&mut client, &orders());
    granted(&mut client, &attach);
    client.send(0, &flow(0, 0, 10, false));
    client.replies();
    client.event(delivery(attach.consumer, 1, &[6; 5000]));
    let sent = transfers(&mut client);
    assert!(sent.iter().all(|reply| reply.body.len() + 8 <= 512));
    let payload: Vec<u8> = sent.iter().flat_map(|reply| reply.payload.to_vec()).collect();
    assert!(payload.ends_with(&data(&[6; 5000])));
}

#[test]
fn a_message_too_large_for_the_client_goes_to_another() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &AttachFrame { message_bytes_max: 100, ..orders() });
    client.send(0, &flow(0, 0, 1, false));
    client.actions();
    client.event(delivery(consumer, 1, &[0; 200]));
    assert_eq!(transfers(&mut client), []);
    let actions = client.actions();
    let outcome = Outcome::Modify { failed: false, undeliverable_here: true };
    assert!(matches!(&actions[0], Action::Settle(settle) if settle.outcome == outcome));
    assert!(matches!(&actions[1], Action::Credit(Credit { limit: 2, .. })), "its credit is still the client's");
}

#[test]
fn unsettled_deliveries_are_bounded_whatever_the_credit() {
    let config = AmqpConfig { unsettled_per_link_max: 4, ..AmqpConfig::default() };
    let (mut client, consumer) = receiver(config, &orders());
    client.send(0, &flow(0, 0, u32::MAX, false));
    assert_eq!(credits(&mut client), [(4, false)]);
    for seq in 1..=4 {
        client.event(delivery(consumer, seq, b"x"));
    }
    client.send(0, &disposition(0, None, true, Some(code::ACCEPTED)));
    assert_eq!(credits(&mut client), []);
    client.send(0, &disposition(1, None, true, Some(code::ACCEPTED)));
    assert_eq!(credits(&mut client), [(6, false)]);
}

#[test]
fn a_detach_is_answered_when_the_gateway_has_let_go() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &flow(0, 0, 10, false));
    client.actions();
    client.send(0, &detach(0, true));
    assert!(matches!(client.actions()[..], [Action::Detach { delete: false, lifetime: None, .. }]));
    client.event(delivery(consumer, 1, b"late"));
    assert_eq!((client.replies(), client.actions().len()), (vec![], 0));
    client.event(Event::Detached { consumer });
    let reply = client.reply();
    assert_eq!((reply.code, reply.field(1)), (code::DETACH, Value::Bool(true)));
    let again = attach(&mut client, &orders());
    assert_ne!(again.consumer, consumer);
}

#[test]
fn a_detach_before_the_answer_to_attach_follows_it() {
    let mut client = Client::running(AmqpConfig::default());
    let attach = attach(&mut client, &orders());
    client.send(0, &detach(0, false));
    assert_eq!((client.actions().len(), client.replies()), (0, vec![]));
    granted(&mut client, &attach);
    assert_eq!(client.reply().code, code::ATTACH);
    assert!(matches!(client.actions()[..], [Action::Detach { .. }]));
    client.event(Event::Detached { consumer: attach.consumer });
    assert_eq!(client.reply().field(1), Value::Bool(false));
}

#[test]
fn what_the_gateway_takes_away_is_told_in_amqps_words() {
    type Taken = fn(ConsumerId) -> Event;
    let table: [(Taken, &str); 2] = [
        (|consumer| Event::Deleted { consumer }, "amqp:resource-deleted"),
        (|consumer| Event::TakenOver { consumer }, "amqp:link:stolen"),
    ];
    for (event, condition) in table {
        let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
        client.event(event(consumer));
        let reply = client.reply();
        assert_eq!((reply.code, reply.condition(2)), (code::DETACH, condition.into()));
        assert_eq!(client.actions().len(), 0, "it is detached already");
        client.send(0, &detach(0, true));
        attach(&mut client, &orders());
    }
}

#[test]
fn a_name_attached_again_is_taken_from_the_older_link() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &AttachFrame { handle: 1, ..orders() }.bytes());
    let reply = client.reply();
    assert_eq!(
        (reply.code, reply.field(0), reply.condition(2)),
        (code::DETACH, Value::Uint(0), "amqp:link:stolen".into())
    );
    let actions = client.actions();
    assert!(matches!(&actions[0], Action::Detach { consumer: old, .. } if *old == consumer));
    assert!(matches!(&actions[1], Action::Attach(_)));
}

#[test]
fn an_ended_session_detaches_its_consumers() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &super::client::performative(code::END, &[]));
    assert!(
        matches!(&client.actions()[..], [Action::Detach { consumer: gone, delete: false, .. }] if *gone == consumer)
    );
    client.event(delivery(consumer, 1, b"late"));
    client.event(Event::Detached { consumer });
    assert_eq!(client.replies().len(), 1);
}

#[test]
fn every_message_arrives_once_and_in_order_through_both_sides() {
    let mut gateway = Gateway::default();
    let mut client = Client::running(AmqpConfig { link_credit: 7, ..AmqpConfig::default() });
    client.send(0, &AttachFrame::sender(1, Node::at("orders")).bytes());
    client.send(0, &orders().bytes());
    gateway.run(&mut client);
    client.replies();
    let mut seen = Vec::new();
    let mut open: Vec<u8> = Vec::new();
    let mut count = 0;
    // A drain takes the credit away: one more round for what came after the last.
    for n in 0..=100u32 {
        client.send(0, &flow(0, count, 3, n % 10 == 9));
        let message = durable(&vec![n as u8; n as usize * 1000]);
        let (first, second) = message.split_at(message.len() / 2);
        if n < 100 {
            client.send(0, &part(1, Some(n), false, true, first));
            client.send(0, &part(1, None, false, false, second));
        }
        gateway.run(&mut client);
        for reply in client.replies() {
            match reply.code {
                code::TRANSFER => {
                    if let Value::Uint(id) = reply.field(1) {
                        count += 1;
                        client.bytes(&frame(FRAME_AMQP, 0, &disposition(id, None, false, Some(code::ACCEPTED))));
                    }
                    open.extend_from_slice(&reply.payload);
                    if reply.field(5) == Value::Bool(false) {
                        seen.push(std::mem::take(&mut open));
                    }
                }
                code::FLOW if reply.field(4) == Value::Uint(0) => {
                    let Value::Uint(now) = reply.field(5) else { panic!() };
                    count = now;
                }
                _ => {}
            }
        }
        gateway.run(&mut client);
        assert_eq!(client.closed(), None);
    }
    assert_eq!(seen.len(), 100);
    for (n, message) in seen.iter().enumerate() {
        assert!(message.ends_with(&data(&vec![n as u8; n * 1000])), "message {n}");
    }
    assert_eq!(gateway.accepted.len(), 100);
}

#[test]
fn a_transfer_on_the_clients_own_receiver_ends_the_session() {
    let (mut client, _) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &transfer(0, 0, false, &data(b"x")));
    assert_eq!(client.reply().condition(0), "amqp:not-allowed");
}

#[test]
fn credit_given_while_a_drain_is_on_its_way_is_not_lost() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    client.send(0, &flow(0, 0, 10, true));
    client.send(0, &flow(0, 0, 10, false));
    assert_eq!(credits(&mut client), [(10, true)]);
    // The gateway has taken the credit back; the client's later flow gives it again.
    client.event(Event::Drained { consumer, delivered: 0 });
    assert_eq!(credits(&mut client), [(10, false)]);
    assert_eq!(client.replies(), []);
    client.event(delivery(consumer, 1, b"x"));
    assert_eq!(transfers(&mut client).len(), 1);
}

#[test]
fn one_drain_is_under_way_however_often_the_client_asks() {
    let (mut client, consumer) = receiver(AmqpConfig::default(), &orders());
    (0..5).for_each(|_| client.send(0, &flow(0, 0, 10, true)));
    assert_eq!(credits(&mut client), [(10, true)]);
    // It asked once more meanwhile: for what has come since.
    client.event(Event::Drained { consumer, delivered: 0 });
    assert_eq!((client.replies().len(), credits(&mut client)), (0, vec![(10, true)]));
    client.event(delivery(consumer, 1, b"x"));
    client.event(Event::Drained { consumer, delivered: 1 });
    let codes: Vec<u8> = client.replies().iter().map(|reply| reply.code).collect();
    assert_eq!(codes, [code::TRANSFER, code::FLOW]);
}

#[test]
fn a_drain_is_answered_where_unsettled_deliveries_are_bounded() {
    let config = AmqpConfig { unsettled_per_link_max: 2, ..AmqpConfig::default() };
    let (mut client, consumer) = receiver(config, &orders());
    client.send(0, &flow(0, 0, 5, true));
    assert_eq!(credits(&mut client), [(2, true)]);
    client.event(delivery(consumer, 1, b"x"));
    client.event(delivery(consumer, 2, b"x"));
    client.event(Event::Drained { consumer, delivered: 2 });
    let replies = client.replies();
    let codes: Vec<u8> = replies.iter().map(|reply| reply.code).collect();
    assert_eq!(codes, [code::TRANSFER, code::TRANSFER, code::FLOW]);
    assert_eq!((replies[2].field(5), replies[2].field(6)), (Value::Uint(5), Value::Uint(0)));
    // Again, with nothing settled: there is no room for one more.
    client.send(0, &flow(0, 5, 1, true));
    assert_eq!(credits(&mut client), [(2, true)]);
    client.event(Event::Drained { consumer, delivered: 2 });
    assert_eq!(client.reply().field(5), Value::Uint(6));
    // Credit that it gives now is served as it settles.
    client.send(0, &flow(0, 6, 3, false));
    assert_eq!(credits(&mut client), []);
    client.send(0, &disposition(0, Some(1), true, Some(code::ACCEPTED)));
    assert_eq!(credits(&mut client), [(4, false)]);
}

#[test]
fn a_browser_that_settles_nothing_sees_everything() {
    let config = AmqpConfig { unsettled_per_link_max: 4, ..AmqpConfig::default() };
    let frame = AttachFrame::receiver(0, Node { copy: true, ..Node::at("orders") });
    let (mut client, consumer) = receiver(config, &frame);
    client.send(0, &flow(0, 0, 100, false));
    assert_eq!(credits(&mut client), [(100, false)]);
    for seq in 1..=9 {
        client.event(delivery(consumer, seq, b"x"));
    }
    let replies = client.replies();
    assert_eq!(replies.iter().filter(|reply| reply.code == code::TRANSFER).count(), 9);
    // What is too many to remember is settled: by us, as sender.
    let settled: Vec<_> = replies.iter().filter(|reply| reply.code == code::DISPOSITION).collect();
    let ranges: Vec<_> = settled.iter().map(|reply| (reply.field(1), reply.field(2))).collect();
    let range = |first, last| (Value::Uint(first), Value::Uint(last));
    assert_eq!(ranges, [range(0, 1), range(2, 3), range(4, 5)]);
    assert!(settled.iter().all(|reply| (reply.field(0), reply.field(3)) == (Value::Bool(false), Value::Bool(true))));
    client.send(0, &disposition(0, Some(8), false, Some(code::ACCEPTED)));
    let reply = client.reply();
    assert_eq!((reply.field(1), reply.field(2)), range(6, 8));
    assert_eq!(client.actions().len(), 0);
}

#[test]
fn settled_deliveries_are_bounded_by_the_credit_alone() {
    let config = AmqpConfig { unsettled_per_link_max: 2, ..AmqpConfig::default() };
    let (mut client, _) = receiver(config, &AttachFrame { snd: 1, ..orders() });
    client.send(0, &flow(0, 0, 100, false));
    assert_eq!(credits(&mut client), [(100, false)]);
}
