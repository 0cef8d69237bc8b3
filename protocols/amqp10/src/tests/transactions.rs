//! Transactions (part 4), as a controller sees them.

use bytes::{Bytes, BytesMut};
use evergate_model::{
    Action, ConsumerId, Event, Outcome, Publish, PublishError, Settle, Token, TransactionError, TransactionId, Value,
};

use super::client::{AttachFrame, Client, Node, Reply, begin, data, detach, flow, performative, show, transfer};
use super::consume::{attach, delivery, granted};
use crate::AmqpConfig;
use crate::codec::{Item, ListWriter, Reader, put_descriptor, put_string, put_symbol, put_value};
use crate::performative::code;

const ID: TransactionId = TransactionId(0x0102_0304_0506_0708);
const OTHER: TransactionId = TransactionId(9);
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

fn controlling(config: AmqpConfig) -> Client {
    let mut client = Client::running(config);
    client.send(0, &coordinator("tx", COORDINATOR, &["amqp:local-transactions"], &[]));
    let codes: Vec<u8> = client.replies().iter().map(|reply| reply.code).collect();
    assert_eq!(codes, [code::ATTACH, code::FLOW]);
    client
}

fn token(client: &mut Client) -> (Token, &'static str, TransactionId) {
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
fn declare(client: &mut Client, delivery: u32, id: TransactionId) {
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

fn declared(config: AmqpConfig) -> Client {
    let mut client = controlling(config);
    declare(&mut client, 0, ID);
    client
}

/// The condition of the error of a rejection; `None`: another state.
fn rejected(reply: &Reply) -> Option<String> {
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

fn state_of(reply: &Reply) -> u64 {
    reply.described(4).unwrap().0
}

/// The transaction and the outcome of a transactional state.
fn transactional(reply: &Reply) -> (Bytes, u64) {
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

fn sending(client: &mut Client) {
    client.send(0, &AttachFrame { name: "s2", ..AttachFrame::sender(SENDER, Node::at("orders")) }.bytes());
    client.replies();
}

/// A receiver that holds `count` deliveries.
fn receiving(client: &mut Client, count: u64) -> ConsumerId {
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

fn settles(client: &mut Client) -> Vec<Settle> {
    super::consume::settles(client)
}

fn published(client: &mut Client) -> Publish {
    let mut actions = client.actions();
    assert_eq!(actions.len(), 1, "{actions:?}");
    let Action::Publish(publish) = actions.remove(0) else { panic!("{actions:?}") };
    publish
}

fn commit(client: &mut Client, delivery: u32, result: Result<(), TransactionError>) {
    client.send(0, &transfer(COORDINATOR, delivery, false, &discharge(ID, false)));
    let (token, what, id) = token(client);
    assert_eq!((what, id, client.replies()), ("commit", ID, vec![]));
    client.event(Event::Committed { token, result });
}

fn roll_back(client: &mut Client, delivery: u32) {
    client.send(0, &transfer(COORDINATOR, delivery, false, &discharge(ID, true)));
    let (token, what, id) = token(client);
    assert_eq!((what, id, client.replies()), ("rollback", ID, vec![]));
    client.event(Event::Done(token));
}

#[test]
fn a_coordinator_says_what_it_can_and_refuses_what_it_cannot() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &coordinator("tx", 0, &["amqp:local-transactions", "amqp:multi-txns-per-ssn"], &[]));
    let replies = client.replies();
    let (target, fields) = replies[0].described(6).unwrap();
    assert_eq!((target, replies[1].code), (u64::from(code::COORDINATOR), code::FLOW));
    assert!(fields[0].starts_with("Array"), "{fields:?}");
    for wanted in ["amqp:distributed-transactions", "amqp:promotable-transactions", "x"] {
        let mut client = Client::running(AmqpConfig::default());
        client.send(0, &coordinator("tx", 0, &["amqp:local-transactions", wanted], &[]));
        let replies = client.replies();
        assert_eq!((replies[0].code, replies[0].item(6)), (code::ATTACH, None));
        assert_eq!(replies[1].condition(2), "amqp:not-implemented");
    }
}

#[test]
fn a_message_is_posted_with_its_transaction_and_accepted_in_it() {
    let mut client = declared(AmqpConfig::default());
    sending(&mut client);
    client.send(0, &posting(1, false, &id_of(ID), b"x"));
    let publish = published(&mut client);
    assert_eq!(publish.transaction, Some(ID));
    client.event(Event::Published { token: publish.token, result: Ok(0) });
    let reply = client.reply();
    assert_eq!((reply.field(1), reply.field(3)), (Value::Uint(1), Value::Bool(true)));
    assert_eq!(transactional(&reply), (ID.0.to_be_bytes().to_vec().into(), u64::from(code::ACCEPTED)));
    commit(&mut client, 2, Ok(()));
    let reply = client.reply();
    assert_eq!((reply.field(1), state_of(&reply)), (Value::Uint(2), u64::from(code::ACCEPTED)));
}

#[test]
fn confirms_of_one_transaction_share_a_disposition_and_of_two_do_not() {
    let mut client = declared(AmqpConfig::default());
    declare(&mut client, 1, OTHER);
    sending(&mut client);
    let mut tokens = Vec::new();
    for (id, transaction) in [(2, ID), (3, ID), (4, OTHER)] {
        client.send(0, &posting(id, false, &id_of(transaction), b"x"));
        tokens.push(published(&mut client).token);
    }
    for token in tokens {
        client.event(Event::Published { token, result: Ok(1) });
    }
    let said: Vec<_> =
        client.replies().iter().map(|r| (r.field(1).to_text().into_owned(), transactional(r).0)).collect();
    let id = |id: TransactionId| Bytes::from(id.0.to_be_bytes().to_vec());
    assert_eq!(said, [("2".to_owned(), id(ID)), ("4".to_owned(), id(OTHER))]);
}

#[test]
fn a_post_that_fails_is_rejected_with_the_reason() {
    let table = [
        (PublishError::Transaction(TransactionError::Unknown), "amqp:transaction:unknown-id"),
        (PublishError::Transaction(TransactionError::RolledBack("too large".into())), "amqp:transaction:rollback"),
        (PublishError::Full { destination: "orders".into() }, "amqp:resource-limit-exceeded"),
        (PublishError::NotFound, "amqp:not-found"),
    ];
    let mut client = declared(AmqpConfig::default());
    sending(&mut client);
    for (id, (error, expected)) in (1..).zip(table) {
        client.send(0, &posting(id, false, &id_of(ID), b"x"));
        let token = published(&mut client).token;
        client.event(Event::Published { token, result: Err(error) });
        assert_eq!(rejected(&client.reply()).as_deref(), Some(expected));
    }
}

#[test]
fn work_in_an_unknown_transaction_is_refused() {
    let mut client = declared(AmqpConfig::default());
    sending(&mut client);
    for (id, named) in [(1, id_of(OTHER)), (2, Value::Binary(b"short"[..].into()))] {
        client.send(0, &posting(id, false, &named, b"x"));
        assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:transaction:unknown-id"));
    }
    // Nobody would read a rejection of a settled one.
    client.send(0, &posting(3, true, &id_of(OTHER), b"x"));
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:transaction:unknown-id".into()));
    assert!(client.actions().is_empty());
}

#[test]
fn no_work_is_taken_once_the_discharge_is_on_its_way() {
    let mut client = declared(AmqpConfig::default());
    sending(&mut client);
    client.send(0, &transfer(COORDINATOR, 1, false, &discharge(ID, false)));
    client.actions();
    client.send(0, &posting(2, false, &id_of(ID), b"x"));
    assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:transaction:unknown-id"));
}

#[test]
fn a_delivery_settled_by_the_client_in_a_transaction_is_settled_by_its_commit() {
    let mut client = declared(AmqpConfig::default());
    receiving(&mut client, 4);
    client.send(0, &retiring(0, 2, true, ID, code::ACCEPTED));
    let settle = settles(&mut client).remove(0);
    assert_eq!((settle.first.0, settle.last.0, settle.transaction), (1, 3, Some(ID)));
    assert_eq!((settle.outcome, settle.token), (Outcome::Accept, None));
    assert_eq!(client.replies(), []);
    commit(&mut client, 1, Ok(()));
    let reply = client.reply();
    assert_eq!((reply.field(0), state_of(&reply)), (Value::Bool(true), u64::from(code::ACCEPTED)), "the discharge's");
    assert!(settles(&mut client).is_empty());
}

#[test]
fn a_delivery_left_unsettled_is_settled_by_us_after_the_commit() {
    let mut client = declared(AmqpConfig::default());
    receiving(&mut client, 3);
    client.send(0, &retiring(0, 1, false, ID, code::ACCEPTED));
    client.send(0, &retiring(2, 2, false, ID, code::RELEASED));
    assert_eq!(settles(&mut client).len(), 2);
    assert_eq!(client.replies(), []);
    commit(&mut client, 1, Ok(()));
    let replies = client.replies();
    let said: Vec<_> = replies
        .iter()
        .map(|r| (r.field(0) == Value::Bool(false), r.field(1).to_text().into_owned(), state_of(r)))
        .collect();
    let (accepted, released) = (u64::from(code::ACCEPTED), u64::from(code::RELEASED));
    assert_eq!(said, [(true, "0".into(), accepted), (true, "2".into(), released), (false, "1".into(), accepted)]);
    // What the client says later of them is of no meaning, even by the old transaction's name.
    client.send(0, &retiring(0, 2, true, ID, code::ACCEPTED));
    assert_eq!((settles(&mut client).len(), client.replies()), (0, vec![]));
}

#[test]
fn a_rollback_leaves_an_unsettled_delivery_to_the_client() {
    let mut client = declared(AmqpConfig::default());
    receiving(&mut client, 1);
    client.send(0, &retiring(0, 0, false, ID, code::ACCEPTED));
    settles(&mut client);
    roll_back(&mut client, 1);
    assert_eq!(state_of(&client.reply()), u64::from(code::ACCEPTED));
    assert!(settles(&mut client).is_empty());
    client.send(0, &super::client::disposition(0, None, true, Some(code::RELEASED)));
    let settle = settles(&mut client).remove(0);
    assert_eq!((settle.outcome, settle.transaction), (Outcome::Release, None));
}

#[test]
fn a_rollback_gives_back_what_the_client_has_settled_and_counts_it() {
    let mut client = declared(AmqpConfig::default());
    receiving(&mut client, 3);
    client.send(0, &retiring(0, 0, true, ID, code::ACCEPTED));
    client.send(0, &retiring(1, 1, false, ID, code::ACCEPTED));
    // Settled afterwards, in its own words.
    client.send(0, &super::client::disposition(1, None, true, Some(code::ACCEPTED)));
    assert_eq!(settles(&mut client).len(), 2, "the transaction has the say");
    roll_back(&mut client, 1);
    let back: Vec<_> =
        settles(&mut client).into_iter().map(|s| (s.first.0, s.last.0, s.outcome, s.transaction)).collect();
    assert_eq!(back, [(1, 2, Outcome::Modify { failed: true, undeliverable_here: false }, None)]);
}

#[test]
fn a_commit_that_fails_is_rejected_after_everything_was_given_back() {
    let table = [
        (TransactionError::RolledBack("too old".into()), "amqp:transaction:rollback"),
        (TransactionError::Unknown, "amqp:transaction:unknown-id"),
    ];
    for (error, condition) in table {
        let mut client = declared(AmqpConfig::default());
        receiving(&mut client, 1);
        client.send(0, &retiring(0, 0, true, ID, code::ACCEPTED));
        settles(&mut client);
        commit(&mut client, 1, Err(error));
        assert_eq!(client.replies(), []);
        let (token, what, _) = token(&mut client);
        assert_eq!(what, "rollback");
        client.event(Event::Done(token));
        assert_eq!(rejected(&client.reply()).as_deref(), Some(condition));
        assert_eq!(settles(&mut client).len(), 1);
    }
}

#[test]
fn a_commit_in_doubt_is_neither_accepted_nor_rejected() {
    let mut client = declared(AmqpConfig::default());
    commit(&mut client, 1, Err(TransactionError::Unavailable));
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(0)), (code::CLOSE, "amqp:internal-error".into()));
    assert!(client.closed().is_some());
}

#[test]
fn a_new_connection_asks_for_the_outcome_of_a_commit_in_doubt() {
    let mut client = controlling(AmqpConfig::default());
    commit(&mut client, 0, Ok(()));
    assert_eq!(state_of(&client.reply()), u64::from(code::ACCEPTED));
    // To roll back what is not one's own is another matter.
    client.send(0, &transfer(COORDINATOR, 1, false, &discharge(ID, true)));
    assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:transaction:unknown-id"));
    client.send(0, &transfer(COORDINATOR, 2, false, &control(code::DISCHARGE, &[Value::Binary(b"x"[..].into())])));
    assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:transaction:unknown-id"));
}

#[test]
fn a_declare_that_fails_is_rejected() {
    let mut client = controlling(AmqpConfig::default());
    client.send(0, &transfer(COORDINATOR, 0, false, &control(code::DECLARE, &[])));
    let (token, ..) = token(&mut client);
    let error = TransactionError::RolledBack("too many".into());
    client.event(Event::Begun { token, result: Err(error) });
    assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:resource-limit-exceeded"));
    let global = control(code::DECLARE, &[Value::Binary(b"xid"[..].into())]);
    client.send(0, &transfer(COORDINATOR, 1, false, &global));
    assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:not-implemented"));
}

#[test]
fn malformed_control_messages_are_rejected_and_what_is_no_message_ends_the_link() {
    let table: [Vec<u8>; 5] = [
        data(b"no value"),
        [&[0x00, 0x53, 0x77][..], &[0x45]].concat(),
        control(code::OPEN, &[]),
        control(code::DISCHARGE, &[]),
        control(code::DISCHARGE, &[id_of(ID), Value::Uint(1)]),
    ];
    let mut client = declared(AmqpConfig::default());
    for (id, message) in (1..).zip(table) {
        client.send(0, &transfer(COORDINATOR, id, false, &message));
        assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:decode-error"), "{message:02x?}");
    }
    client.send(0, &transfer(COORDINATOR, 6, false, b"\x00\x53"));
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:decode-error".into()));
    assert_eq!(token(&mut client).1, "rollback", "the link takes its transactions with it");
}

#[test]
fn settled_control_messages_end_the_link() {
    let mut client = controlling(AmqpConfig::default());
    client.send(0, &transfer(COORDINATOR, 0, true, &control(code::DECLARE, &[])));
    assert_eq!(client.reply().condition(2), "amqp:not-allowed");
    assert!(client.actions().is_empty());
}

#[test]
fn a_controller_that_does_not_know_rejected_is_told_by_the_end_of_the_link() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &coordinator("tx", COORDINATOR, &[], &["amqp:accepted:list", "amqp:declared:list"]));
    client.replies();
    declare(&mut client, 0, ID);
    commit(&mut client, 1, Err(TransactionError::RolledBack("too old".into())));
    let (token, ..) = token(&mut client);
    client.event(Event::Done(token));
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:transaction:rollback".into()));
}

#[test]
fn transactions_end_with_their_coordinators_link() {
    for closed in [true, false] {
        let mut client = declared(AmqpConfig::default());
        receiving(&mut client, 1);
        client.send(0, &retiring(0, 0, true, ID, code::ACCEPTED));
        settles(&mut client);
        client.send(0, &detach(COORDINATOR, closed));
        let (token, what, id) = token(&mut client);
        assert_eq!((what, id, client.reply().code), ("rollback", ID, code::DETACH));
        client.event(Event::Done(token));
        assert_eq!(settles(&mut client).len(), 1, "given back");
        assert_eq!(client.replies(), []);
    }
}

#[test]
fn a_coordinator_in_a_session_of_its_own_serves_others_and_ends_with_it() {
    let mut client = declared(AmqpConfig::default());
    client.send(1, &begin(1000));
    let frame = AttachFrame { name: "s3", ..AttachFrame::sender(SENDER, Node::at("orders")) };
    client.send(1, &frame.bytes());
    client.replies();
    client.send(1, &posting(0, false, &id_of(ID), b"x"));
    assert_eq!(published(&mut client).transaction, Some(ID));
    client.send(0, &performative(code::END, &[]));
    assert_eq!(token(&mut client).1, "rollback");
    client.replies();
    client.send(1, &posting(1, false, &id_of(ID), b"x"));
    assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:transaction:unknown-id"));
}

#[test]
fn a_transaction_that_begins_after_its_link_went_is_rolled_back() {
    let mut client = controlling(AmqpConfig::default());
    client.send(0, &transfer(COORDINATOR, 0, false, &control(code::DECLARE, &[])));
    let (begin, ..) = token(&mut client);
    client.send(0, &detach(COORDINATOR, true));
    client.replies();
    client.event(Event::Begun { token: begin, result: Ok(ID) });
    assert_eq!((token(&mut client).1, client.replies()), ("rollback", vec![]));
}

#[test]
fn a_delivery_belongs_to_one_transaction() {
    let mut client = declared(AmqpConfig::default());
    declare(&mut client, 1, OTHER);
    receiving(&mut client, 1);
    client.send(0, &retiring(0, 0, false, ID, code::ACCEPTED));
    client.send(0, &retiring(0, 0, false, OTHER, code::ACCEPTED));
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(0)), (code::END, "amqp:transaction:rollback".into()));
}

#[test]
fn a_word_in_an_unknown_transaction_ends_the_link_of_its_delivery() {
    let mut client = declared(AmqpConfig::default());
    receiving(&mut client, 1);
    client.send(0, &retiring(0, 0, true, OTHER, code::ACCEPTED));
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:transaction:unknown-id".into()));
    assert!(settles(&mut client).is_empty());
}

#[test]
fn acquiring_in_a_transaction_is_not_implemented() {
    let mut client = declared(AmqpConfig::default());
    receiving(&mut client, 0);
    let mut buf = BytesMut::new();
    let mut list = ListWriter::described(&mut buf, code::FLOW);
    list.uint(0).uint(10).uint(0).uint(10).uint(RECEIVER).uint(0).uint(5).null().null().null();
    list.field(|buf| {
        let mut map = crate::codec::MapWriter::new(buf);
        put_symbol(map.buf, "txn-id");
        put_value(map.buf, &id_of(ID));
        map.raw(2, &[]);
        map.close();
    });
    list.close();
    client.send(0, &buf);
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:not-implemented".into()));
}

#[test]
fn the_controllers_credit_comes_back_with_the_answers() {
    let mut client = controlling(AmqpConfig { link_credit: 2, ..AmqpConfig::default() });
    for delivery in 0..20 {
        client.send(0, &transfer(COORDINATOR, delivery, false, &data(b"no control message")));
        assert!(client.replies().iter().all(|reply| reply.code != code::DETACH), "{delivery}");
    }
}
