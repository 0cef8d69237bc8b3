//! Deliveries settled in a transaction (part 4, 4.4.2).

use bytes::BytesMut;
use evergate_model::{Action, Event, Outcome, RollbackReason, TransactionError, Value};

use super::client::{Client, disposition, transfer};
use super::consume::settles;
use super::controller::{
    COORDINATOR, ID, OTHER, RECEIVER, commit, declare, declared, discharge, id_of, receiving, rejected, retiring,
    roll_back, state_of, token,
};
use crate::AmqpConfig;
use crate::codec::{ListWriter, MapWriter, put_symbol, put_value};
use crate::performative::code;

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
    client.send(0, &disposition(0, None, true, Some(code::RELEASED)));
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
    client.send(0, &disposition(1, None, true, Some(code::ACCEPTED)));
    assert_eq!(settles(&mut client).len(), 2, "the transaction has the say");
    roll_back(&mut client, 1);
    let back: Vec<_> =
        settles(&mut client).into_iter().map(|s| (s.first.0, s.last.0, s.outcome, s.transaction)).collect();
    assert_eq!(back, [(1, 2, Outcome::Modify { failed: true, undeliverable_here: false }, None)]);
}

#[test]
fn a_commit_that_fails_is_rejected_after_everything_was_given_back() {
    let rolled_back = |reason| TransactionError::RolledBack(reason, "why".into());
    // Qpid JMS takes «rollback» for «in doubt».
    let table = [
        (rolled_back(RollbackReason::Limit), "amqp:resource-limit-exceeded"),
        (rolled_back(RollbackReason::TooOld), "amqp:transaction:timeout"),
        (rolled_back(RollbackReason::NotFound), "amqp:not-found"),
        (rolled_back(RollbackReason::Precondition), "amqp:precondition-failed"),
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
fn a_transaction_that_ends_makes_room_for_more() {
    for (settled, fail) in [(true, false), (false, false), (true, true)] {
        let mut client = declared(AmqpConfig { unsettled_per_link_max: 2, ..AmqpConfig::default() });
        receiving(&mut client, 2);
        client.send(0, &retiring(0, 1, settled, ID, code::ACCEPTED));
        let credit = |client: &mut Client| client.actions().iter().any(|action| matches!(action, Action::Credit(_)));
        assert!(!credit(&mut client), "they count until the transaction ends");
        client.send(0, &transfer(COORDINATOR, 1, false, &discharge(ID, fail)));
        let (token, ..) = token(&mut client);
        client.event(if fail { Event::Done(token) } else { Event::Committed { token, result: Ok(()) } });
        assert!(credit(&mut client), "{settled} {fail}");
    }
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
        let mut map = MapWriter::new(buf);
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
