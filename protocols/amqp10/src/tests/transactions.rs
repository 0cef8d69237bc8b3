//! Transactions (part 4): the coordinator, posting, discharge.

use bytes::Bytes;
use evergate_model::{Event, PublishError, RollbackReason, TransactionError, TransactionId, Value};

use super::client::{AttachFrame, Client, Node, begin, data, detach, part, performative, transfer};
use super::consume::settles;
use super::controller::{
    COORDINATOR, ID, OTHER, SENDER, commit, control, controlling, coordinator, declare, declared, discharge, id_of,
    posting, published, receiving, rejected, retiring, sending, state_of, token, transactional,
};
use super::large::aborted;
use crate::AmqpConfig;
use crate::performative::code;

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

/// A message in two frames; the second one's payload.
fn half_posting(id: u32) -> (Vec<u8>, Vec<u8>) {
    let whole = posting(id, false, &id_of(ID), b"x");
    let (first, rest) = whole.split_at(whole.len() - 4);
    // The sixth field says that there is more.
    let mut first = first.to_vec();
    let more = first.windows(2).position(|bytes| bytes == [0x42, 0x42]).unwrap() + 1;
    first[more] = 0x41;
    (first, rest.to_vec())
}

#[test]
fn a_message_in_many_frames_names_its_transaction_in_the_first() {
    let mut client = declared(AmqpConfig::default());
    sending(&mut client);
    let (first, rest) = half_posting(1);
    client.send(0, &first);
    client.send(0, &part(SENDER, None, false, false, &rest));
    assert_eq!(published(&mut client).transaction, Some(ID));
}

/// 4.4.1: it is an error to discharge a transaction of which a delivery is half sent.
#[test]
fn a_discharge_while_a_delivery_is_half_sent_ends_the_control_link_and_rolls_back() {
    for fail in [false, true] {
        let mut client = declared(AmqpConfig::default());
        sending(&mut client);
        client.send(0, &posting(1, false, &id_of(ID), b"whole"));
        published(&mut client);
        let (first, rest) = half_posting(2);
        client.send(0, &first);
        client.send(0, &transfer(COORDINATOR, 3, false, &discharge(ID, fail)));
        let (token, what, id) = token(&mut client);
        assert_eq!((what, id), ("rollback", ID));
        let reply = client.reply();
        assert_eq!((reply.code, reply.field(0)), (code::DETACH, Value::Uint(COORDINATOR)));
        assert_eq!(reply.condition(2), "amqp:transaction:rollback");
        client.event(Event::Done(token));
        client.send(0, &part(SENDER, None, false, false, &rest));
        assert_eq!(rejected(&client.reply()).as_deref(), Some("amqp:transaction:unknown-id"));
        assert_eq!(client.actions().len(), 0);
    }
}

#[test]
fn a_delivery_that_was_sent_in_parts_and_one_that_was_aborted_do_not_hinder_a_discharge() {
    for abort in [false, true] {
        let mut client = declared(AmqpConfig::default());
        sending(&mut client);
        let (first, rest) = half_posting(1);
        client.send(0, &first);
        client.send(0, &if abort { aborted(SENDER) } else { part(SENDER, None, false, false, &rest) });
        client.actions();
        client.send(0, &transfer(COORDINATOR, 2, false, &discharge(ID, false)));
        assert_eq!(token(&mut client).1, "commit");
    }
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
        (
            PublishError::Transaction(TransactionError::RolledBack(RollbackReason::Limit, "too large".into())),
            "amqp:transaction:rollback",
        ),
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
    let error = TransactionError::RolledBack(RollbackReason::Limit, "too many".into());
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
    commit(&mut client, 1, Err(TransactionError::RolledBack(RollbackReason::TooOld, "too old".into())));
    let (token, ..) = token(&mut client);
    client.event(Event::Done(token));
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:transaction:timeout".into()));
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
fn the_controllers_credit_comes_back_with_the_answers() {
    let mut client = controlling(AmqpConfig { link_credit: 2, ..AmqpConfig::default() });
    for delivery in 0..20 {
        client.send(0, &transfer(COORDINATOR, delivery, false, &data(b"no control message")));
        assert!(client.replies().iter().all(|reply| reply.code != code::DETACH), "{delivery}");
    }
}
