//! How a SUBSCRIBE wants to consume.

use evergate_model::{
    Action, Attach, AttachAccess, Delivery, Event, Filter, QueueSpec, Retained, Selector, Seq, Session, StreamStart,
    Time,
};

use super::harness::{Client, plain};

fn attach(headers: &str) -> Attach {
    Client::connected("1.2").subscribed(headers)
}

#[test]
fn a_selector_stands_at_the_consumer_of_a_queue_and_at_the_binding_of_a_topic() {
    let selector = || Some(Selector::parse("colour = 'red'").unwrap());
    let queue = attach("id:1\ndestination:/queue/q\nselector:colour = 'red'");
    assert_eq!(queue.selector, selector());
    for headers in ["", "\ndurable:true", "\nshared:g"] {
        let topic = attach(&format!("id:1\ndestination:/topic/t{headers}\nselector:colour = 'red'"));
        assert_eq!((topic.selector, &topic.bindings[0].selector), (None, &selector()), "{headers}");
    }
    assert_eq!(attach("id:1\ndestination:/queue/q\nselector:").selector, None);
}

#[test]
fn a_bad_selector_is_an_error_that_says_where() {
    let mut client = Client::connected("1.2");
    client.send("SUBSCRIBE\nid:1\ndestination:/queue/q\nselector:colour = = 'red'\nreceipt:r\n\n\0");
    let (message, receipt) = client.error();
    assert!(message.starts_with("selector: ") && message.ends_with("at column 10"), "{message}");
    assert_eq!(receipt.as_deref(), Some("r"));
}

#[test]
fn consumers_have_priorities_and_may_want_to_be_alone() {
    for header in ["consumer-priority", "priority", "x-priority", "activemq.priority"] {
        assert_eq!(attach(&format!("id:1\ndestination:q\n{header}:-7")).priority, -7, "{header}");
    }
    assert_eq!(attach("id:1\ndestination:q").priority, 0);
    assert_eq!(attach("id:1\ndestination:q\nexclusive:true").access, AttachAccess::Exclusive);
    assert_eq!(attach("id:1\ndestination:/topic/t\ndurable:true\nexclusive:true").access, AttachAccess::Exclusive);
}

#[test]
fn no_local_names_the_client_or_the_connection() {
    let attach = attach("id:1\ndestination:/topic/t\nno-local:true");
    assert_eq!(attach.bindings[0].no_local.as_deref(), Some("me"));
    let mut client = Client::new(crate::StompConfig::default());
    client.send("CONNECT\naccept-version:1.2\n\n\0");
    client.event(Event::Authenticated(evergate_model::Access::Granted("".into())));
    client.frame();
    assert_eq!(&*client.session.peer().client_id, "");
    let attach = client.subscribed("id:1\ndestination:/topic/t\nno-local:true");
    assert_eq!(attach.bindings[0].no_local.as_deref(), Some("stomp-connection-7"));
    assert_eq!(&*client.session.peer().client_id, "stomp-connection-7");
}

#[test]
fn a_stream_is_read_from_where_the_client_says_and_tells_its_places() {
    let table = [
        ("first", StreamStart::First),
        ("last", StreamStart::Last),
        ("next", StreamStart::Next),
        ("offset=12", StreamStart::Offset(Seq(12))),
        ("timestamp=3", StreamStart::Time(Time(3000))),
    ];
    for (text, start) in table {
        let mut client = Client::connected("1.2");
        let attach = client.subscribed(&format!("id:1\ndestination:q\nx-stream-offset:{text}"));
        assert_eq!(attach.start, start, "{text}");
        let frame = client.deliver_seq(attach.consumer, plain("x"), 12).unwrap();
        assert_eq!(frame.headers.get("x-stream-offset"), Some("12"));
    }
    let mut client = Client::connected("1.2");
    let consumer = client.subscribed("id:1\ndestination:q").consumer;
    assert_eq!(client.deliver(consumer, plain("x")).unwrap().headers.get("x-stream-offset"), None);
}

#[test]
fn a_browser_is_told_when_it_has_seen_all() {
    let mut client = Client::connected("1.2");
    let attach = client.subscribed("id:1\ndestination:/queue/q\nbrowser:true");
    assert!(attach.browse && !attach.settled);
    let Some(Action::Credit(credit)) = client.actions.pop() else { panic!("no Credit") };
    assert!(credit.drain);
    assert!(client.deliver(attach.consumer, plain("x")).is_some());
    client.event(Event::Drained { consumer: attach.consumer, delivered: 1 });
    let end = client.frame();
    assert_eq!(
        end.headers.iter().collect::<Vec<_>>(),
        [("subscription", "1"), ("destination", "/queue/q"), ("message-id", ""), ("browser", "end")]
    );
    client.event(Event::Drained { consumer: attach.consumer, delivered: 1 });
    assert_eq!(client.try_frame(), None, "told once");
}

#[test]
fn a_browser_that_acknowledges_sees_a_window_at_a_time() {
    let mut client = Client::connected("1.2");
    let attach = client.subscribed("id:1\ndestination:/queue/q\nbrowser:true\nack:client-individual\nprefetch-count:2");
    for seq in 1..=2 {
        client.deliver_seq(attach.consumer, plain("x"), seq);
    }
    client.actions.clear();
    client.event(Event::Drained { consumer: attach.consumer, delivered: 2 });
    assert_eq!(client.try_frame(), None, "there may be more");
    client.send("ACK\nid:7-0-1\n\n\0");
    assert!(matches!(client.actions.pop(), Some(Action::Credit(credit)) if credit.limit == 3 && credit.drain));
    client.event(Event::Drained { consumer: attach.consumer, delivered: 2 });
    assert_eq!(client.frame().headers.get("browser"), Some("end"));
    client.actions.clear();
    client.send("ACK\nid:7-0-2\n\n\0");
    assert!(client.actions.iter().all(|action| !matches!(action, Action::Credit(_))), "nothing follows the end");
}

#[test]
fn durable_subscriptions_may_be_named_as_other_brokers_do() {
    for header in ["durable-subscription-name", "activemq.subscriptionName"] {
        let mut client = Client::connected("1.2");
        let attach = client.subscribed(&format!("id:1\ndestination:/topic/t\n{header}:inbox"));
        assert_eq!(attach.queue, QueueSpec::named("$subscription/me/inbox"));
        assert_eq!(attach.access, AttachAccess::TakeOver);
        client.send(&format!("UNSUBSCRIBE\nid:1\n{header}:inbox\n\n\0"));
        assert!(matches!(client.actions.pop(), Some(Action::Detach { delete: true, .. })));
    }
}

#[test]
fn patterns_are_bindings_of_topics_with_all_that_these_can_have() {
    let table = [
        ("/glob/shop/*/orders", Filter::glob("shop/*/orders"), "$subscription/me/1", "\ndurable:true"),
        ("/regex/shop/(eu|us)/.+", Filter::regex("shop/(eu|us)/.+"), QueueSpec::UNIQUE, ""),
        ("/glob/shop/**", Filter::glob("shop/**"), "$share/g/#glob:shop/**", "\nshared:g"),
    ];
    for (text, filter, queue, headers) in table {
        let attach = attach(&format!("id:1\ndestination:{text}{headers}\nselector:a = 1"));
        assert_eq!(attach.bindings[0].filter, filter.unwrap(), "{text}");
        assert_eq!(attach.bindings[0].selector, Some(Selector::parse("a = 1").unwrap()));
        assert_eq!(&*attach.queue.name, queue);
    }
}

#[test]
fn retained_messages_come_first_if_they_are_wanted() {
    for (headers, retained) in
        [("", Retained::Skip), ("\nretained:true", Retained::Send), ("\nactivemq.retroactive:true", Retained::Send)]
    {
        assert_eq!(attach(&format!("id:1\ndestination:/topic/t{headers}")).retained, retained);
    }
    let mut client = Client::connected("1.2");
    let consumer = client.subscribed("id:1\ndestination:/topic/t\nretained:true").consumer;
    let mut deliver = |retained| {
        client.event(Event::Deliver(Delivery {
            consumer,
            seq: Seq(1),
            message: plain("x").into(),
            failed_count: 0,
            redelivered: false,
            retained,
        }));
        client.frame().headers.get("retained").map(str::to_owned)
    };
    assert_eq!((deliver(true).as_deref(), deliver(false)), (Some("true"), None));
}
