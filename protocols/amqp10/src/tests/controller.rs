//! A transaction controller made of bytes.

use bytes::{Bytes, BytesMut};
use evergate_model::{Action, ConsumerId, Event, Publish, Token, TransactionError, TransactionId, Value};

use super::client::{AttachFrame, Client, Node, Reply, data, flow, performative, show, transfer};
use super::consume::{attach, delivery, granted};
use crate::AmqpConfig;
use crate::codec::{Item, ListWriter, Reader, put_descriptor, put_string};
use crate::performative::code;

pub const ID: TransactionId = TransactionId(0x0102_0304_0506_0708);
pub const OTHER: TransactionId = TransactionId(9);
pub const COORDINATOR: u32 = 10;
pub const SENDER: u32 = 11;
pub const RECEIVER: u32 = 12;

/// An attach of a coordinator; `outcomes`: those of the controller's source.
pub fn coordinator(name: &str, handle: u32, capabilities: &[&str], outcomes: &[&str]) -> BytesMut {
    let mut buf = BytesMut::new();
    let mut list = ListWriter::described(&mut buf, code::ATTACH);
    list.field(|buf| put_string(buf, name)).uint(handle).flag(false).null().null();
    list.field(|buf| {
        let mut source = ListWriter::described(buf, code::SOURCE);
        for _ in 0..9 {
            source.null();
        }
        source.symbols(outcomes).close();
    });
    list.field(|buf| {
        ListWriter::described(buf, code::COORDINATOR).symbols(capabilities).close();
    });
    list.null().null().uint(0).close();
    buf
}

/// An amqp-value with a described list.
pub fn control(code: u8, fields: &[Value<'_>]) -> Vec<u8> {
    let mut message = vec![0x00, 0x53, 0x77];
    message.extend_from_slice(&performative(code, fields));
    message
}

pub fn id_of(transaction: TransactionId) -> Value<'static> {
    Value::Binary(transaction.0.to_be_bytes().to_vec().into())
}

pub fn discharge(transaction: TransactionId, fail: bool) -> Vec<u8> {
    control(code::DISCHARGE, &[id_of(transaction), Value::Bool(fail)])
}

pub fn controlling(config: AmqpConfig) -> Client {
    let mut client = Client::running(config);
    client.send(0, &coordinator("tx", COORDINATOR, &["amqp:local-transactions"], &[]));
    let codes: Vec<u8> = client.replies().iter().map(|reply| reply.code).collect();
    assert_eq!(codes, [code::ATTACH, code::FLOW]);
    client
}

pub fn token(client: &mut Client) -> (Token, &'static str, TransactionId) {
    let mut actions = client.actions();
    assert_eq!(actions.len(), 1, "{actions:?}");
    match actions.remove(0) {
        Action::Begin { token } => (token, "begin", TransactionId(0)),
        Action::Commit { transaction, token } => (token, "commit", transaction),
        Action::Rollback { transaction, token } => (token, "rollback", transaction),
        other => panic!("not expected: {other:?}"),
    }
}

/// Declares `id`, by the delivery of that number.
pub fn declare(client: &mut Client, delivery: u32, id: TransactionId) {
    client.send(0, &transfer(COORDINATOR, delivery, false, &control(code::DECLARE, &[])));
    let (token, what, _) = token(client);
    assert_eq!((what, client.replies()), ("begin", vec![]));
    client.event(Event::Begun { token, result: Ok(id) });
    let reply = client.reply();
    assert_eq!(
        (reply.code, reply.field(1), reply.field(3)),
        (code::DISPOSITION, Value::Uint(delivery), Value::Bool(true))
    );
    let (state, fields) = reply.described(4).unwrap();
    assert_eq!((state, &fields[0]), (u64::from(code::DECLARED), &id_of(id).to_text().into_owned()));
}

pub fn declared(config: AmqpConfig) -> Client {
    let mut client = controlling(config);
    declare(&mut client, 0, ID);
    client
}

/// The condition of the error of a rejection; `None`: another state.
pub fn rejected(reply: &Reply) -> Option<String> {
    let Some(Item::Described { descriptor: Value::Ulong(found), value }) = reply.item(4) else { panic!("{reply:?}") };
    if found == u64::from(code::TRANSACTIONAL_STATE) {
        let Item::List(items) = Reader::new(value).item().unwrap() else { panic!() };
        let Item::Described { value, .. } = items.last().unwrap().unwrap() else { panic!() };
        return condition(value);
    }
    (found == u64::from(code::REJECTED)).then(|| condition(value)).flatten()
}

fn condition(rejected: &[u8]) -> Option<String> {
    let Item::List(mut items) = Reader::new(rejected).item().unwrap() else { panic!() };
    let Item::Described { value, .. } = items.next()?.unwrap() else { panic!() };
    let Item::List(mut error) = Reader::new(value).item().unwrap() else { panic!() };
    Some(show(&error.next().unwrap().unwrap()))
}

pub fn state_of(reply: &Reply) -> u64 {
    reply.described(4).unwrap().0
}

/// The transaction and the outcome of a transactional state.
pub fn transactional(reply: &Reply) -> (Bytes, u64) {
    let Some(Item::Described { descriptor: Value::Ulong(found), value }) = reply.item(4) else { panic!("{reply:?}") };
    assert_eq!(found, u64::from(code::TRANSACTIONAL_STATE));
    let Item::List(mut items) = Reader::new(value).item().unwrap() else { panic!() };
    let Item::Simple(Value::Binary(id)) = items.next().unwrap().unwrap() else { panic!() };
    let Item::Described { descriptor: Value::Ulong(outcome), .. } = items.next().unwrap().unwrap() else { panic!() };
    (Bytes::copy_from_slice(&id), outcome)
}

fn put_state(buf: &mut BytesMut, transaction: &Value<'_>, outcome: Option<u8>) {
    ListWriter::described(buf, code::TRANSACTIONAL_STATE)
        .value(transaction)
        .option(outcome, |buf, outcome| {
            put_descriptor(buf, outcome);
            buf.extend_from_slice(&[0x45]);
        })
        .close();
}

pub fn posting(id: u32, settled: bool, transaction: &Value<'_>, body: &[u8]) -> BytesMut {
    let mut buf = BytesMut::new();
    ListWriter::described(&mut buf, code::TRANSFER)
        .uint(SENDER)
        .uint(id)
        .value(&Value::Binary(id.to_be_bytes()[..].into()))
        .uint(0)
        .flag(settled)
        .flag(false)
        .null()
        .field(|buf| put_state(buf, transaction, None))
        .close();
    buf.extend_from_slice(&data(body));
    buf
}

pub fn retiring(first: u32, last: u32, settled: bool, transaction: TransactionId, outcome: u8) -> BytesMut {
    let mut buf = BytesMut::new();
    ListWriter::described(&mut buf, code::DISPOSITION)
        .flag(true)
        .uint(first)
        .uint(last)
        .flag(settled)
        .field(|buf| put_state(buf, &id_of(transaction), Some(outcome)))
        .close();
    buf
}

pub fn sending(client: &mut Client) {
    client.send(0, &AttachFrame { name: "s2", ..AttachFrame::sender(SENDER, Node::at("orders")) }.bytes());
    client.replies();
}

/// A receiver that holds `count` deliveries.
pub fn receiving(client: &mut Client, count: u64) -> ConsumerId {
    let attach = attach(client, &AttachFrame::receiver(RECEIVER, Node::at("orders")));
    granted(client, &attach);
    client.send(0, &flow(RECEIVER, 0, 100, false));
    for seq in 1..=count {
        client.event(delivery(attach.consumer, seq, b"x"));
    }
    client.replies();
    client.actions();
    attach.consumer
}

pub fn published(client: &mut Client) -> Publish {
    let mut actions = client.actions();
    assert_eq!(actions.len(), 1, "{actions:?}");
    let Action::Publish(publish) = actions.remove(0) else { panic!("{actions:?}") };
    publish
}

pub fn commit(client: &mut Client, delivery: u32, result: Result<(), TransactionError>) {
    client.send(0, &transfer(COORDINATOR, delivery, false, &discharge(ID, false)));
    let (token, what, id) = token(client);
    assert_eq!((what, id, client.replies()), ("commit", ID, vec![]));
    client.event(Event::Committed { token, result });
}

pub fn roll_back(client: &mut Client, delivery: u32) {
    client.send(0, &transfer(COORDINATOR, delivery, false, &discharge(ID, true)));
    let (token, what, id) = token(client);
    assert_eq!((what, id, client.replies()), ("rollback", ID, vec![]));
    client.event(Event::Done(token));
}
