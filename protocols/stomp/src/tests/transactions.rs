//! BEGIN, COMMIT, ABORT.

use evergate_model::{
    Action, Close, ConsumerId, Event, Outcome, RollbackReason, Settle, Token, TransactionError, TransactionId,
};

use super::harness::{Client, plain};
use crate::StompConfig;

const ID: TransactionId = TransactionId(9);

fn begin(client: &mut Client, name: &str) -> Token {
    client.send(&format!("BEGIN\ntransaction:{name}\n\n\0"));
    let Some(Action::Begin { token }) = client.actions.pop() else { panic!("no Begin") };
    token
}

/// Begins `t`, which the gateway names [`ID`].
fn begun(client: &mut Client) {
    let token = begin(client, "t");
    client.event(Event::Begun { token, result: Ok(ID) });
}

fn settle(client: &mut Client) -> Settle {
    client.actions.retain(|action| !matches!(action, Action::Credit(_)));
    match client.actions.remove(0) {
        Action::Settle(settle) => settle,
        other => panic!("{other:?}"),
    }
}

/// A consumer that was sent the messages 1 to 3.
fn consuming(client: &mut Client, ack: &str) -> ConsumerId {
    let consumer = client.subscribed(&format!("id:a\ndestination:q\nack:{ack}")).consumer;
    for seq in 1..=3 {
        client.deliver_seq(consumer, plain("x"), seq);
    }
    client.actions.clear();
    consumer
}

#[test]
fn sends_and_acks_carry_the_transaction_that_they_name() {
    let mut client = Client::connected("1.2");
    consuming(&mut client, "client-individual");
    begun(&mut client);
    client.send("SEND\ndestination:q\ntransaction:t\n\nin\0SEND\ndestination:q\n\nout\0");
    assert_eq!(client.publish().transaction, Some(ID));
    assert_eq!(client.publish().transaction, None);
    client.send("ACK\nid:7-0-1\ntransaction:t\n\n\0NACK\nid:7-0-2\ntransaction:t\n\n\0ACK\nid:7-0-3\n\n\0");
    let (ack, nack) = (settle(&mut client), settle(&mut client));
    assert_eq!((ack.transaction, ack.outcome), (Some(ID), Outcome::Accept));
    assert_eq!((nack.transaction, nack.outcome), (Some(ID), Outcome::Reject { reason: "".into() }));
    assert_eq!(settle(&mut client).transaction, None);
}

#[test]
fn the_receipt_of_commit_leaves_after_the_commit() {
    let mut client = Client::connected("1.2");
    begun(&mut client);
    client.send("SEND\ndestination:q\ntransaction:t\nreceipt:s\n\nx\0COMMIT\ntransaction:t\nreceipt:c\n\n\0");
    let sent = client.publish().token;
    let Action::Commit { transaction: ID, token } = client.actions.remove(0) else { panic!("no Commit") };
    client.published(sent);
    assert_eq!(client.receipt().as_deref(), Some("s"));
    assert_eq!(client.receipt(), None);
    client.event(Event::Committed { token, result: Ok(()) });
    assert_eq!(client.receipt().as_deref(), Some("c"));
    // The name is free again.
    begin(&mut client, "t");
    assert_eq!(client.close, None);
}

#[test]
fn frames_wait_in_order_until_their_transaction_has_begun() {
    let mut client = Client::connected("1.2");
    client.send(
        "BEGIN\ntransaction:t\nreceipt:b\n\n\0SEND\ndestination:q\ntransaction:t\n\n1\0SEND\ndestination:q\n\n2\0",
    );
    client.send("COMMIT\ntransaction:t\n\n\0SEND\ndestination:q\n\n3\0");
    let Action::Begin { token } = client.actions.remove(0) else { panic!("no Begin") };
    assert!(client.actions.is_empty());
    assert!(!evergate_model::Session::wants_input(&client.session));
    assert_eq!(client.receipt(), None);
    client.event(Event::Begun { token, result: Ok(ID) });
    assert_eq!(client.receipt().as_deref(), Some("b"));
    let (first, second) = (client.publish(), client.publish());
    assert_eq!((&first.message.body[..], first.transaction), (&b"1"[..], Some(ID)));
    assert_eq!((&second.message.body[..], second.transaction), (&b"2"[..], None));
    assert!(matches!(client.actions.remove(0), Action::Commit { transaction: ID, .. }));
    assert_eq!(&client.publish().message.body[..], b"3");
}

#[test]
fn what_an_aborted_transaction_acknowledged_may_be_acknowledged_again() {
    for (ack, acknowledged) in [("client", 1..=2), ("client-individual", 2..=2)] {
        let mut client = Client::connected("1.2");
        consuming(&mut client, ack);
        begun(&mut client);
        client.send("ACK\nid:7-0-2\ntransaction:t\n\n\0ABORT\ntransaction:t\nreceipt:r\n\n\0ACK\nid:7-0-2\n\n\0");
        let first = settle(&mut client);
        assert_eq!((first.first.0..=first.last.0, first.transaction), (acknowledged.clone(), Some(ID)));
        let Action::Rollback { transaction: ID, token } = client.actions.remove(0) else { panic!("no Rollback") };
        // Not before they are the consumer's again.
        assert!(client.actions.is_empty());
        client.event(Event::Done(token));
        assert_eq!(client.receipt().as_deref(), Some("r"));
        let again = settle(&mut client);
        assert_eq!((again.first.0..=again.last.0, again.transaction), (acknowledged, None));
        client.send("ACK\nid:7-0-2\n\n\0");
        assert_eq!(client.error().0, "ACK: no message 7-0-2 awaits an acknowledgement");
    }
}

#[test]
fn an_abort_gives_back_at_the_place_in_the_order_of_delivery() {
    let mut client = Client::connected("1.2");
    let consumer = consuming(&mut client, "client");
    begun(&mut client);
    client.send("ACK\nid:7-0-2\ntransaction:t\n\n\0ABORT\ntransaction:t\n\n\0");
    settle(&mut client);
    let Action::Rollback { token, .. } = client.actions.remove(0) else { panic!("no Rollback") };
    client.deliver_seq(consumer, plain("x"), 4);
    client.event(Event::Done(token));
    client.send("ACK\nid:7-0-4\n\n\0");
    let all = settle(&mut client);
    assert_eq!((all.first.0, all.last.0), (1, 4));
}

#[test]
fn what_cannot_be_committed_is_an_error_that_names_it() {
    let mut client = Client::connected("1.2");
    begun(&mut client);
    client.send("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
    let Some(Action::Commit { token, .. }) = client.actions.pop() else { panic!("no Commit") };
    let result = Err(TransactionError::RolledBack(RollbackReason::Limit, "it has more than 3 parts".into()));
    client.event(Event::Committed { token, result });
    assert_eq!(client.error(), ("transaction t was not committed: it has more than 3 parts".into(), Some("c".into())));

    let mut client = Client::connected("1.2");
    client.send("BEGIN\ntransaction:t\nreceipt:b\n\n\0");
    let Some(Action::Begin { token }) = client.actions.pop() else { panic!("no Begin") };
    client.event(Event::Begun { token, result: Err(TransactionError::Unavailable) });
    let (message, receipt) = client.error();
    assert!(message.starts_with("transaction t cannot begin: the gateway cannot commit now"), "{message}");
    assert_eq!(receipt.as_deref(), Some("b"));
}

#[test]
fn a_name_is_used_once_at_a_time_and_frames_are_limited() {
    let config = StompConfig { transaction_frames_max: 2, ..StompConfig::default() };
    let mut client = Client::connected_with(config.clone(), "1.2");
    begun(&mut client);
    client.send("BEGIN\ntransaction:t\n\n\0");
    assert_eq!(client.error().0, "BEGIN: there is a transaction t already");

    let mut client = Client::connected_with(config, "1.2");
    begun(&mut client);
    client.send(&"SEND\ndestination:q\ntransaction:t\n\n\0".repeat(2));
    assert_eq!(client.close, None);
    client.send("SEND\ndestination:q\ntransaction:t\n\n\0");
    assert_eq!(client.error().0, "transaction t has more than 2 frames");
}

#[test]
fn a_disconnect_leaves_open_transactions_to_be_rolled_back() {
    let mut client = Client::connected("1.2");
    begun(&mut client);
    client.send("SEND\ndestination:q\ntransaction:t\n\n\0");
    let token = client.publish().token;
    client.send("DISCONNECT\nreceipt:d\n\n\0");
    client.published(token);
    assert_eq!(client.receipt().as_deref(), Some("d"));
    assert_eq!(client.close, Some(Close::Goodbye));
    assert!(client.actions.is_empty());
}

#[test]
fn a_client_that_waits_for_the_gateway_is_not_silent() {
    let mut client = Client::new(StompConfig::default());
    client.send("CONNECT\naccept-version:1.2\nheart-beat:1000,0\n\n\0");
    client.event(Event::Authenticated(evergate_model::Access::Granted("".into())));
    begun(&mut client);
    client.send("ABORT\ntransaction:t\n\n\0");
    client.timeout_at(100_000);
    assert_eq!(client.close, None);
}
