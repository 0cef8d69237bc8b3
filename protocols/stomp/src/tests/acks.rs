use evergate_model::{Action, Outcome};

use super::harness::{Client, plain};
use crate::StompConfig;

/// What was settled since the last look: first, last, accepted.
fn settled(client: &mut Client) -> Vec<(u64, u64, bool)> {
    let actions = std::mem::take(&mut client.actions).into_iter();
    actions
        .filter_map(|action| match action {
            Action::Settle(settle) => Some((settle.first.0, settle.last.0, settle.outcome == Outcome::Accept)),
            _ => None,
        })
        .collect()
}

#[test]
fn client_mode_is_cumulative_and_individual_is_not() {
    let mut client = Client::connected("1.2");
    let all = client.subscribed("id:a\ndestination:q\nack:client").consumer;
    let each = client.subscribed("id:b\ndestination:q\nack:client-individual").consumer;
    for seq in [1, 2, 3, 5] {
        assert!(client.deliver_seq(all, plain("x"), seq).is_some());
        assert!(client.deliver_seq(each, plain("x"), seq).is_some());
    }
    client.actions.clear();
    client.send("ACK\nid:7-0-3\n\n\0");
    assert_eq!(settled(&mut client), [(1, 3, true)]);
    client.send("NACK\nid:7-0-5\n\n\0");
    assert_eq!(settled(&mut client), [(5, 5, false)]);
    client.send("ACK\nid:7-1-3\n\n\0NACK\nid:7-1-1\n\n\0");
    assert_eq!(settled(&mut client), [(3, 3, true), (1, 1, false)]);
    client.send("ACK\nid:7-1-3\n\n\0");
    assert_eq!(client.error().0, "ACK: no message 7-1-3 awaits an acknowledgement");
}

#[test]
fn a_cumulative_ack_goes_by_the_order_of_delivery() {
    let mut client = Client::connected("1.2");
    let consumer = client.subscribed("id:a\ndestination:q\nack:client").consumer;
    for seq in [1, 9, 4] {
        client.deliver_seq(consumer, plain("x"), seq);
    }
    client.actions.clear();
    client.send("ACK\nid:7-0-9\nreceipt:r\n\n\0");
    let tokens: Vec<_> = client
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Settle(settle) => Some(settle.token.is_some()),
            _ => None,
        })
        .collect();
    assert_eq!(tokens, [false, true]);
    assert_eq!(settled(&mut client), [(1, 1, true), (9, 9, true)]);
}

#[test]
fn older_versions_acknowledge_by_message_id() {
    let mut client = Client::connected("1.1");
    let consumer = client.subscribed("id:a\ndestination:q\nack:client").consumer;
    let frame = client.deliver_seq(consumer, plain("x"), 1).unwrap();
    assert_eq!((frame.headers.get("message-id"), frame.headers.get("ack")), (Some("7-0-1"), None));
    client.actions.clear();
    client.send("ACK\nmessage-id:7-0-1\nsubscription:a\n\n\0");
    assert_eq!(settled(&mut client), [(1, 1, true)]);
    client.send("ACK\nmessage-id:7-0-1\nsubscription:b\n\n\0");
    assert_eq!(client.error().0, "ACK: message 7-0-1 is not of subscription b");

    let mut client = Client::connected("1.0");
    let consumer = client.subscribed("destination:/queue/q\nack:client").consumer;
    let frame = client.deliver_seq(consumer, plain("x"), 1).unwrap();
    assert_eq!(frame.headers.get("subscription"), None);
    client.actions.clear();
    client.send("ACK\nmessage-id:7-0-1\n\n\0");
    assert_eq!(settled(&mut client), [(1, 1, true)]);
    client.send("NACK\nmessage-id:7-0-1\n\n\0");
    assert_eq!(client.error().0, "STOMP 1.0 has no NACK");
}

#[test]
fn credit_is_what_was_settled_and_the_prefetch_count() {
    let mut client = Client::connected_with(StompConfig { prefetch_max: 2, ..StompConfig::default() }, "1.2");
    let limits = |client: &mut Client| -> Vec<u64> {
        let actions = std::mem::take(&mut client.actions).into_iter();
        actions
            .filter_map(|action| if let Action::Credit(credit) = action { Some(credit.limit) } else { None })
            .collect()
    };
    let attach = client.subscribed("id:a\ndestination:q\nack:client-individual\nprefetch-count:3");
    assert!(!attach.settled);
    assert_eq!(limits(&mut client), [2]);
    client.deliver_seq(attach.consumer, plain("x"), 1);
    client.send("ACK\nid:7-0-1\n\n\0");
    assert_eq!(limits(&mut client), [3]);
    let attach = client.subscribed("id:b\ndestination:q");
    assert!(attach.settled);
    assert_eq!(limits(&mut client), [u64::MAX]);
}

#[test]
fn after_unsubscribe_nothing_is_delivered() {
    let mut client = Client::connected("1.2");
    let consumer = client.subscribed("id:a\ndestination:q").consumer;
    client.send("UNSUBSCRIBE\nid:a\n\n\0");
    assert_eq!(client.deliver(consumer, plain("x")), None);
}

#[test]
fn nack_makes_a_dead_letter_or_puts_it_back_if_told_to() {
    let table = [
        ("", Outcome::Reject { reason: "".into() }),
        ("reason:no such part\n", Outcome::Reject { reason: "no such part".into() }),
        ("requeue:false\n", Outcome::Reject { reason: "".into() }),
        ("requeue:true\n", Outcome::Modify { failed: true, undeliverable_here: false }),
    ];
    for (header, expected) in table {
        let mut client = Client::connected("1.2");
        let consumer = client.subscribed("id:a\ndestination:q\nack:client-individual").consumer;
        client.deliver_seq(consumer, plain("x"), 1);
        client.actions.clear();
        client.send(&format!("NACK\nid:7-0-1\n{header}\n\0"));
        let Action::Settle(settle) = client.actions.remove(0) else { panic!("no Settle") };
        assert_eq!(settle.outcome, expected, "{header}");
    }
}
