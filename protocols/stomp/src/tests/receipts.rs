use evergate_model::{Action, AttachError, Close, Event, PublishError};

use super::harness::{Client, plain};
use crate::StompConfig;

#[test]
fn receipts_leave_after_the_answer_and_in_the_order_of_the_frames() {
    let mut client = Client::connected("1.2");
    client.send(
        "SEND\ndestination:/queue/q\nreceipt:1\npersistent:true\n\na\0SEND\ndestination:/queue/r\nreceipt:2\n\nb\0",
    );
    client.send("SUBSCRIBE\nid:s\ndestination:/queue/q\nreceipt:3\nack:client\n\n\0");
    let (first, second) = (client.publish(), client.publish());
    assert!(first.message.meta.durable && !second.message.meta.durable);
    let Action::Attach(attach) = client.actions.remove(0) else { panic!("no Attach") };
    client.published(second.token);
    client.attached(attach.consumer, "q");
    assert_eq!(client.receipt(), None);
    client.published(first.token);
    assert_eq!([client.receipt(), client.receipt(), client.receipt()].map(Option::unwrap), ["1", "2", "3"]);

    let id = client.deliver(attach.consumer, plain("x")).unwrap().headers.get("ack").unwrap().to_owned();
    client.actions.clear();
    client.send(&format!("ACK\nid:{id}\nreceipt:4\n\n\0UNSUBSCRIBE\nid:s\nreceipt:5\n\n\0DISCONNECT\nreceipt:6\n\n\0"));
    let Action::Settle(settle) = client.actions.remove(0) else { panic!("no Settle") };
    client.event(Event::Detached { consumer: attach.consumer });
    assert_eq!((client.receipt(), &client.close), (None, &None));
    client.event(Event::Done(settle.token.unwrap()));
    assert_eq!([client.receipt(), client.receipt(), client.receipt()].map(Option::unwrap), ["4", "5", "6"]);
    assert_eq!(client.close, Some(Close::Goodbye));
}

#[test]
fn an_error_names_the_receipt_of_the_frame_that_failed() {
    let mut client = Client::connected("1.2");
    client.send("SEND\ndestination:/queue/_DMQ\nreceipt:9\n\n\0");
    let token = client.publish().token;
    client.event(Event::Published { token, result: Err(PublishError::Reserved) });
    let (message, receipt) = client.error();
    assert!(message.starts_with("the message was not taken: names that begin with _"), "{message}");
    assert_eq!(receipt.as_deref(), Some("9"));

    let mut client = Client::connected("1.2");
    client.send("SUBSCRIBE\nid:s\ndestination:/queue/q\nreceipt:8\n\n\0");
    let Action::Attach(attach) = client.actions.remove(0) else { panic!("no Attach") };
    client.event(Event::Attached { consumer: attach.consumer, result: Err(AttachError::Denied) });
    assert_eq!(client.error(), ("subscription s: not allowed".into(), Some("8".into())));
}

#[test]
fn why_a_message_was_not_taken_is_said() {
    let table = [
        (PublishError::Full { destination: "q".into() }, "q is full: it holds as much as its policy allows"),
        (PublishError::NotFound, "there is no such destination, and its policy does not create it"),
        (PublishError::TooLarge { limit_bytes: 7 }, "the message is larger than the limit of 7 bytes"),
    ];
    for (reason, text) in table {
        let mut client = Client::connected("1.2");
        client.send("SEND\ndestination:/queue/q\nreceipt:9\n\n\0");
        let token = client.publish().token;
        client.event(Event::Published { token, result: Err(reason) });
        assert_eq!(client.error(), (format!("the message was not taken: {text}"), Some("9".into())));
    }
}

#[test]
fn what_is_not_supported_or_wrong_is_answered_with_an_error_never_ignored() {
    let table = [
        ("SEND", "SEND without a destination header"),
        ("SEND\ndestination:/topic/a/+", "a message cannot be sent to a wildcard (+ or #)"),
        ("BEGIN", "BEGIN without a transaction header"),
        ("COMMIT\ntransaction:t", "COMMIT: there is no transaction t"),
        ("ABORT\ntransaction:t", "ABORT: there is no transaction t"),
        ("SEND\ndestination:q\ntransaction:t", "SEND: there is no transaction t"),
        ("SEND\ndestination:q\nttl:soon", "ttl must be a number of milliseconds: soon"),
        ("SEND\ndestination:q\ndeliver-at:soon", "deliver-at must be milliseconds since 1970: soon"),
        ("SEND\ndestination:q\ndelay:-1", "delay must be a number of milliseconds: -1"),
        (
            "SEND\ndestination:q\nAMQ_SCHEDULED_DELAY:1\nAMQ_SCHEDULED_REPEAT:3",
            "AMQ_SCHEDULED_REPEAT: delivery that repeats is not supported",
        ),
        ("SEND\ndestination:q\npersistent:true\ndiscardable:true", "a message is persistent or discardable, not both"),
        ("SUBSCRIBE\nid:1\ndestination:q\nno-local:true", "no-local is for topics, not for queues"),
        ("SUBSCRIBE\nid:1\ndestination:/topic/a\nshared:g\nno-local:true", "no-local is not for shared subscriptions"),
        ("SUBSCRIBE\nid:1\ndestination:/topic/a\nbrowser:true", "browser is for queues, not for topics"),
        ("SUBSCRIBE\nid:1\ndestination:q\nconsumer-priority:high", "consumer-priority must be a whole number: high"),
        (
            "SUBSCRIBE\nid:1\ndestination:q\nx-stream-offset:0",
            "x-stream-offset must be first, last, next, offset=… or timestamp=… (seconds): 0",
        ),
        ("SEND\ndestination:q\npriority:10", "priority must be 0 to 9: 10"),
        ("SEND\ndestination:q\nexpires:soon", "expires must be milliseconds since 1970: soon"),
        ("SEND\ndestination:/temp-queue/a", "subscribe to /temp-queue/a first: it is this connection's own"),
        ("SEND\ndestination:/temp-topic/a/#", "a message cannot be sent to a wildcard (+ or #)"),
        ("SUBSCRIBE\ndestination:q", "SUBSCRIBE without a id header"),
        ("SUBSCRIBE\nid:1\ndestination:q\nack:maybe", "ack must be auto, client or client-individual: maybe"),
        ("SUBSCRIBE\nid:1\ndestination:q\nprefetch-count:0", "prefetch-count must be a number above 0: 0"),
        (
            "SUBSCRIBE\nid:1\ndestination:/glob/[a",
            "the glob is not complete: a class [a-z] must end, rise and not hold /, a backslash needs a character",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:/regex/(",
            "the regular expression is not valid; look-around and back-references are not known here",
        ),
        ("SEND\ndestination:/glob/*", "a message cannot be sent to a pattern: /glob/*"),
        (
            "SUBSCRIBE\nid:1\ndestination:/queue/$session/x",
            "queues that begin with $ belong to subscriptions and sessions",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:/x/y",
            "a destination begins with /queue/, /topic/, /temp-queue/, /temp-topic/, /glob/ or /regex/: /x/y",
        ),
        ("UNSUBSCRIBE\nid:1", "there is no subscription 1"),
        ("ACK\nid:7-0-1", "ACK: no message 7-0-1 awaits an acknowledgement"),
        ("NACK\nid:nonsense", "NACK: no message nonsense awaits an acknowledgement"),
        ("MESSAGE\na:b", "a client cannot send MESSAGE"),
    ];
    for (text, message) in table {
        let mut client = Client::connected("1.2");
        client.send(&format!("{text}\nreceipt:r\n\n\0"));
        assert_eq!(client.error(), (message.to_owned(), Some("r".to_owned())), "{text}");
        assert!(client.actions.is_empty(), "{text}");
    }
}

#[test]
fn subscriptions_and_pending_frames_are_limited() {
    let config = StompConfig { subscriptions_max: 2, ..StompConfig::default() };
    let mut client = Client::connected_with(config, "1.2");
    client.subscribed("id:1\ndestination:q");
    client.subscribed("id:2\ndestination:q");
    assert_eq!(client.close, None);
    client.send("SUBSCRIBE\nid:3\ndestination:q\n\n\0");
    assert_eq!(client.error().0, "a connection has at most 2 subscriptions");

    let config = StompConfig { pending_max: 2, ..StompConfig::default() };
    let mut client = Client::connected_with(config, "1.2");
    client.send("SEND\ndestination:q\n\n\0SEND\ndestination:q\n\n\0");
    assert_eq!(client.close, None);
    client.send("SEND\ndestination:q\n\n\0");
    assert_eq!(client.error().0, "more than 2 frames await their answer");
}
