use evergate_model::{Action, Address, AttachAccess, Event, Lifetime, PublishError, QueueSpec};

use super::harness::{Client, plain};

#[test]
fn all_ways_to_write_a_destination_lead_to_one_address() {
    let table = [
        ("/queue/orders", Address::queue("orders")),
        ("queue://orders", Address::queue("orders")),
        ("orders", Address::queue("orders")),
        ("/topic/shop/eu", Address::topic("shop/eu")),
        ("topic\\c//shop/eu", Address::topic("shop/eu")),
    ];
    for (text, address) in table {
        let mut client = Client::connected("1.2");
        client.send(&format!("SEND\ndestination:{text}\n\n\0"));
        assert_eq!(client.publish().message.meta.address, address, "{text}");
    }
}

#[test]
fn topic_subscriptions_get_the_queue_that_their_headers_ask_for() {
    let named = |name: &str, durable, lifetime| QueueSpec { name: name.into(), durable, lifetime };
    let table = [
        ("id:1", QueueSpec::temporary(), AttachAccess::Exclusive),
        ("id:1\ndurable:true", QueueSpec::named("$subscription/me/1"), AttachAccess::TakeOver),
        ("id:1\nshared:g", named("$share/g/a/+", false, Lifetime::Attached), AttachAccess::Shared),
        ("id:1\nshared:g\ndurable:true", QueueSpec::named("$share/g/a/+"), AttachAccess::Shared),
    ];
    for (headers, queue, access) in table {
        let mut client = Client::connected("1.2");
        let attach = client.subscribed(&format!("destination:/topic/a/+\n{headers}"));
        assert_eq!((attach.queue, attach.access), (queue, access), "{headers}");
        assert_eq!(attach.bindings[0].filter.as_str(), "a/+");
    }
    let attach = Client::connected("1.2").subscribed("destination:/queue/q\nid:1");
    assert_eq!((attach.queue, attach.access, attach.bindings.len()), (QueueSpec::named("q"), AttachAccess::Shared, 0));
}

#[test]
fn unsubscribe_deletes_a_durable_subscription_only_if_told_to() {
    for (header, deletes) in [("", false), ("durable:true\n", true)] {
        let mut client = Client::connected("1.2");
        client.subscribed("destination:/topic/a\nid:1\ndurable:true");
        client.send(&format!("UNSUBSCRIBE\nid:1\n{header}\n\0"));
        assert!(matches!(client.actions.pop(), Some(Action::Detach { delete, .. }) if delete == deletes));
    }
    // Also without consuming it first.
    let mut client = Client::connected("1.2");
    client.send("UNSUBSCRIBE\nid:1\ndurable:true\nreceipt:r\n\n\0");
    let Some(Action::Attach(attach)) = client.actions.pop() else { panic!("no Attach") };
    assert_eq!(&*attach.queue.name, "$subscription/me/1");
    client.attached(attach.consumer, "$subscription/me/1");
    assert!(matches!(client.actions.pop(), Some(Action::Detach { delete: true, .. })));
    assert_eq!(client.receipt(), None);
    client.event(evergate_model::Event::Detached { consumer: attach.consumer });
    assert_eq!(client.receipt().as_deref(), Some("r"));
}

#[test]
fn a_reply_to_a_temporary_queue_names_the_real_one_and_waits_for_it() {
    let mut client = Client::connected("1.2");
    client.send("SUBSCRIBE\nid:1\ndestination:/temp-queue/me\n\n\0");
    let Some(Action::Attach(attach)) = client.actions.pop() else { panic!("no Attach") };
    assert_eq!(attach.queue, QueueSpec::temporary());
    client.send("SEND\ndestination:q\nreply-to:/temp-queue/me\n\n1\0SEND\ndestination:q\n\n2\0");
    assert!(client.actions.is_empty());
    client.attached(attach.consumer, "$tmp/77");
    client.actions.retain(|action| !matches!(action, Action::Credit(_)));
    let first = client.publish().message;
    assert_eq!(&first.head[..], b"reply-to:/queue/$tmp/77\n");
    assert_eq!(&client.publish().message.body[..], b"2");
    let frame = client.deliver(attach.consumer, plain("answer")).unwrap();
    assert_eq!(frame.headers.get("destination"), Some("/temp-queue/me"));
}

#[test]
fn a_reply_to_alone_makes_a_temporary_queue_and_consumes_it() {
    let mut client = Client::connected("1.2");
    client
        .send("SEND\ndestination:q\nreply-to:/temp-queue/me\n\n1\0SEND\ndestination:q\nreply-to:/temp-queue/me\n\n2\0");
    let Some(Action::Attach(attach)) = client.actions.pop() else { panic!("no Attach") };
    assert!(client.actions.is_empty(), "one queue; the messages wait for its name");
    assert_eq!((&attach.queue, attach.settled), (&QueueSpec::temporary(), true));
    client.attached(attach.consumer, "$temporary/77");
    client.actions.retain(|action| !matches!(action, Action::Credit(_)));
    for body in [b"1", b"2"] {
        let message = client.publish().message;
        assert_eq!((&message.head[..], &message.body[..]), (&b"reply-to:/queue/$temporary/77\n"[..], &body[..]));
    }
    let frame = client.deliver(attach.consumer, plain("answer")).unwrap();
    assert_eq!(frame.headers.get("subscription"), Some("/temp-queue/me"));
    assert_eq!(frame.headers.get("destination"), Some("/temp-queue/me"));
    // The client may give it an id of its own afterwards.
    client.send("SUBSCRIBE\nid:7\ndestination:/temp-queue/me\nreceipt:r\n\n\0");
    // The two SENDs before it are not answered yet.
    assert_eq!(client.receipt(), None);
    assert!(client.actions.is_empty());
    let frame = client.deliver(attach.consumer, plain("answer")).unwrap();
    assert_eq!(frame.headers.get("subscription"), Some("7"));
    client.send("SUBSCRIBE\nid:8\ndestination:/temp-queue/me\n\n\0");
    assert_eq!(client.error().0, "there is a subscription to /temp-queue/me already");
}

#[test]
fn a_temporary_queue_that_a_send_made_cannot_get_acknowledgements() {
    let mut client = Client::connected("1.2");
    client.send("SEND\ndestination:q\nreply-to:/temp-queue/me\n\n1\0");
    let Some(Action::Attach(attach)) = client.actions.pop() else { panic!("no Attach") };
    client.attached(attach.consumer, "$temporary/77");
    client.send("SUBSCRIBE\nid:7\ndestination:/temp-queue/me\nack:client\n\n\0");
    let text = "/temp-queue/me is consumed with ack:auto, since a SEND named it in reply-to";
    assert_eq!(client.error().0, text);
}

#[test]
fn temporary_queues_count_as_subscriptions() {
    let config = crate::StompConfig { subscriptions_max: 1, ..crate::StompConfig::default() };
    let mut client = Client::connected_with(config, "1.2");
    client.subscribed("id:1\ndestination:q");
    client.send("SEND\ndestination:q\nreply-to:/temp-queue/me\n\n1\0");
    assert_eq!(client.error().0, "a connection has at most 1 subscriptions");
}

#[test]
fn a_temporary_topic_is_a_topic_of_the_connection() {
    let mut client = Client::connected("1.2");
    let attach = client.subscribed("id:1\ndestination:/temp-topic/news");
    client.actions.clear();
    let real = attach.bindings[0].filter.as_str().to_owned();
    assert_eq!((attach.queue, real.as_str()), (QueueSpec::temporary(), "$temporary/7-3e8/news"));
    client.send("SEND\ndestination:/temp-topic/news\nreply-to:/temp-topic/news\n\nx\0");
    let message = client.publish().message;
    assert_eq!(message.meta.address, Address::topic(real.as_str()));
    assert_eq!(&message.head[..], format!("reply-to:/topic/{real}\n").as_bytes());
    let frame = client.deliver(attach.consumer, message).unwrap();
    assert_eq!(frame.headers.get("destination"), Some("/temp-topic/news"));
}

#[test]
fn a_reply_to_one_who_is_gone_is_dropped_and_harms_nobody() {
    let gone = |destination: &str| {
        let mut client = Client::connected("1.2");
        client.send(&format!("SEND\ndestination:{destination}\nreceipt:r\n\n\0"));
        let token = client.publish().token;
        client.event(Event::Published { token, result: Err(PublishError::NotFound) });
        client
    };
    let mut client = gone("/queue/$temporary/77");
    assert_eq!((client.receipt().as_deref(), &client.close), (Some("r"), &None));
    assert!(gone("/queue/orders").error().0.starts_with("the message was not taken: there is no such destination"));
}
