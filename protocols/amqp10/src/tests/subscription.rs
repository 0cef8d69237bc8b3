//! Subscriptions: which queue is behind them, how long it lives, what is bound to it.

use std::time::Duration;

use evergate_model::{
    Action, AttachAccess, AttachError, Attached, Binding, Event, Filter, Lifetime, Retained, Selector, Seq, Standing,
    StreamStart, Time, Value,
};

use super::client::{AttachFrame, Client, Node, Reply, detach, flow};
use super::consume::{delivery, found, granted};
use super::terminus::{attach, consume};
use crate::AmqpConfig;
use crate::subscription::{shared_queue, subscription_queue};

const SELECTOR: &str = "apache.org:selector-filter:string";
const NO_LOCAL: &str = "apache.org:no-local-filter:list";

fn symbol(text: &'static str) -> Value<'static> {
    Value::Symbol(text.into())
}

/// Our answer to an attach that the gateway granted.
fn answer(client: &mut Client, attach: &evergate_model::Attach) -> Reply {
    granted(client, attach);
    client.reply()
}

#[test]
fn a_durable_subscription_is_a_queue_of_the_container_and_the_name() {
    let mut client = Client::running(AmqpConfig::default());
    let node = Node { durable: 2, capabilities: &["topic"], ..Node::at("a/#") };
    let attach = attach(&mut client, &AttachFrame::receiver(0, node));
    assert_eq!(&*attach.queue.name, "$subscription/client-1/r");
    assert_eq!((attach.queue.durable, attach.queue.lifetime), (true, Lifetime::Permanent));
    assert_eq!((attach.access, attach.bindings[0].durable), (AttachAccess::TakeOver, true));
    let (_, fields) = answer(&mut client, &attach).described(5).unwrap();
    assert_eq!((fields[1].as_str(), fields[2].as_str()), ("2", "never"));
    client.send(0, &detach(0, false));
    assert!(matches!(client.actions()[..], [Action::Detach { delete: false, .. }]), "it stays");
}

#[test]
fn closing_a_durable_subscription_deletes_it() {
    let mut client = Client::running(AmqpConfig::default());
    let node = Node { durable: 1, ..Node::at("/topic/a") };
    let attach = attach(&mut client, &AttachFrame::receiver(0, node));
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(Attached::default()) });
    client.send(0, &detach(0, true));
    assert!(matches!(client.actions()[..], [Action::Detach { delete: true, .. }]));
}

#[test]
fn a_null_source_resumes_the_subscription_that_exists() {
    let mut client = Client::running(AmqpConfig::default());
    let frame = AttachFrame { source: None, ..AttachFrame::receiver(0, Node::default()) };
    let attach = attach(&mut client, &frame);
    assert_eq!(&*attach.queue.name, "$subscription/client-1/r");
    let selector = Some(Selector::parse("a = 1").unwrap());
    let binding =
        Binding { selector, no_local: Some("client-1".into()), ..Binding::new(Filter::new("a/#").unwrap(), true) };
    let attached = Attached { existed: true, bindings: vec![binding], ..Attached::default() };
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
    let reply = client.reply();
    assert_eq!(reply.described(5).unwrap().1[0], "/topic/a/#");
    let filters = filters_of(&reply);
    assert!(filters.contains("jms-selector") && filters.contains("no-local"), "{filters}");
    client.send(0, &detach(0, true));
    assert!(matches!(client.actions()[..], [Action::Detach { delete: true, .. }]), "JMS unsubscribe");
}

#[test]
fn a_subscription_by_a_pattern_says_so_when_it_is_resumed() {
    for (filter, address) in [(Filter::glob("a/*"), "/glob/a/*"), (Filter::regex("a."), "/regex/a.")] {
        let mut client = Client::running(AmqpConfig::default());
        let frame = AttachFrame { source: None, ..AttachFrame::receiver(0, Node::default()) };
        let attach = attach(&mut client, &frame);
        let bindings = vec![Binding::new(filter.unwrap(), true)];
        let attached = Attached { existed: true, bindings, ..Attached::default() };
        client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
        assert_eq!(client.reply().described(5).unwrap().1[0], address);
    }
}

#[test]
fn a_null_source_without_a_subscription_is_not_found_and_leaves_nothing() {
    let mut client = Client::running(AmqpConfig::default());
    let frame = AttachFrame { source: None, ..AttachFrame::receiver(0, Node::default()) };
    let attach = attach(&mut client, &frame);
    assert_eq!(attach.standing, Standing::Needed);
    client.event(Event::Attached { consumer: attach.consumer, result: Err(AttachError::NotFound) });
    let replies = client.replies();
    assert_eq!(replies[0].item(5), None);
    assert_eq!(replies[1].condition(2), "amqp:not-found");
    assert_eq!(client.actions().len(), 0);
}

#[test]
fn a_null_source_is_answered_with_how_long_the_subscription_lives() {
    let minute = Lifetime::AfterDetach(Duration::from_mins(1));
    for (durable, lifetime, told) in [
        (true, Lifetime::Permanent, ("2", "never", "0")),
        (false, Lifetime::Permanent, ("0", "never", "0")),
        (true, minute, ("2", "link-detach", "60")),
    ] {
        let mut client = Client::running(AmqpConfig::default());
        let frame = AttachFrame { source: None, ..AttachFrame::receiver(0, Node::default()) };
        let attach = attach(&mut client, &frame);
        let attached = Attached { durable, lifetime, ..found(&attach) };
        client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
        let (_, fields) = client.reply().described(5).unwrap();
        assert_eq!((fields[1].as_str(), fields[2].as_str(), fields[3].as_str()), told);
    }
}

#[test]
fn a_subscription_that_is_attached_again_is_answered_with_what_holds() {
    let mut client = Client::running(AmqpConfig::default());
    let node = Node { expiry_policy: Some("never"), ..Node::at("/topic/a") };
    let durable = attach(&mut client, &AttachFrame::receiver(0, node));
    // What is in the journal stays there, whatever this attach asks for.
    let attached = Attached { durable: true, ..found(&durable) };
    client.event(Event::Attached { consumer: durable.consumer, result: Ok(attached) });
    assert_eq!(client.reply().described(5).unwrap().1[1], "1");
    let mut client = Client::running(AmqpConfig::default());
    let short = attach(&mut client, &AttachFrame::receiver(0, Node::at("/topic/a")));
    assert_eq!(short.standing, Standing::Instead("$subscription/client-1/r".into()));
    let attached = Attached { durable: true, lifetime: Lifetime::Attached, ..found(&short) };
    client.event(Event::Attached { consumer: short.consumer, result: Ok(attached) });
    let (_, fields) = client.reply().described(5).unwrap();
    assert_eq!((fields[1].as_str(), fields[2].as_str(), fields[3].as_str()), ("0", "link-detach", "0"));
}

#[test]
fn a_subscription_lives_as_its_expiry_policy_and_timeout_say() {
    let minute = Lifetime::AfterDetach(Duration::from_mins(1));
    let table = [
        (0, None, 0, Lifetime::Attached, false, ("0", "link-detach", "0")),
        (0, Some("link-detach"), 0, Lifetime::Attached, false, ("0", "link-detach", "0")),
        (0, Some("never"), 0, Lifetime::Permanent, false, ("0", "never", "0")),
        (0, Some("session-end"), 60, minute, false, ("0", "link-detach", "60")),
        (1, None, 0, Lifetime::Permanent, true, ("1", "never", "0")),
        (2, Some("never"), 9, Lifetime::Permanent, true, ("2", "never", "0")),
        (2, None, 60, minute, true, ("2", "link-detach", "60")),
        (2, Some("connection-close"), 60, minute, true, ("2", "link-detach", "60")),
        (2, Some("link-detach"), 0, Lifetime::Attached, false, ("0", "link-detach", "0")),
    ];
    for (durable, expiry_policy, timeout, lifetime, is_durable, told) in table {
        let mut client = Client::running(AmqpConfig::default());
        let node = Node { durable, expiry_policy, timeout, ..Node::at("/topic/a") };
        let attach = attach(&mut client, &AttachFrame::receiver(0, node.clone()));
        assert_eq!((attach.queue.lifetime, attach.queue.durable), (lifetime, is_durable), "{node:?}");
        assert!(attach.bindings[0].durable, "what it is promised, it is promised at least once");
        let outlives = lifetime != Lifetime::Attached;
        assert_eq!(&*attach.queue.name == "$subscription/client-1/r", outlives);
        let (_, fields) = answer(&mut client, &attach).described(5).unwrap();
        assert_eq!((fields[1].as_str(), fields[2].as_str(), fields[3].as_str()), told, "{node:?}");
        client.send(0, &detach(0, true));
        let deleted = matches!(client.actions()[..], [Action::Detach { delete: true, .. }]);
        assert_eq!(deleted, outlives, "closing a subscription ends it");
    }
}

#[test]
fn a_selector_and_no_local_of_a_subscription_are_its_bindings() {
    for (descriptor, no_local) in [
        (symbol(SELECTOR), symbol(NO_LOCAL)),
        (Value::Ulong(0x0000_468C_0000_0004), Value::Ulong(0x0000_468C_0000_0003)),
    ] {
        let mut client = Client::running(AmqpConfig::default());
        let filters = vec![(descriptor, Value::text("colour = 'red'")), (no_local, Value::text("NoLocalFilter{}"))];
        let attach = attach(&mut client, &AttachFrame::receiver(0, Node { filters, ..Node::at("/topic/a") }));
        assert_eq!(attach.selector, None);
        assert_eq!(attach.bindings[0].selector, Some(Selector::parse("colour = 'red'").unwrap()));
        assert_eq!(attach.bindings[0].no_local.as_deref(), Some("client-1"));
        let filters = filters_of(&answer(&mut client, &attach));
        assert!(filters.contains("\"f0\"") && filters.contains("\"f1\""), "{filters}");
    }
}

/// The filter set of our source, as text.
fn filters_of(attach: &Reply) -> String {
    let Some(crate::codec::Item::Described { value, .. }) = attach.item(5) else { panic!("{attach:?}") };
    let crate::codec::Item::List(mut fields) = crate::codec::Reader::new(value).item().unwrap() else { panic!() };
    match fields.nth(7).unwrap().unwrap() {
        crate::codec::Item::Map(items) => format!("{:?}", items.map(Result::unwrap).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_selector_on_a_queue_leaves_the_rest_to_others() {
    let mut client = Client::running(AmqpConfig::default());
    let filters = vec![
        (symbol(SELECTOR), Value::text("a > 1")),
        (symbol(NO_LOCAL), Value::Null),
        (symbol("somebody:else:string"), Value::text("x")),
    ];
    let attach = attach(&mut client, &AttachFrame::receiver(0, Node { filters, ..Node::at("orders") }));
    assert_eq!(attach.selector, Some(Selector::parse("a > 1").unwrap()));
    let told = filters_of(&answer(&mut client, &attach));
    assert!(told.contains("\"f0\""), "{told}");
    assert!(!told.contains("\"f1\"") && !told.contains("\"f2\""), "only what is in force: {told}");
}

#[test]
fn a_source_without_filters_in_force_has_none() {
    let mut client = Client::running(AmqpConfig::default());
    let filters = vec![(symbol("somebody:else:string"), Value::text("x"))];
    let attach = attach(&mut client, &AttachFrame::receiver(0, Node { filters, ..Node::at("orders") }));
    assert_eq!(answer(&mut client, &attach).described(5).unwrap().1[7], "");
}

#[test]
fn a_stream_begins_where_its_filter_says() {
    let table = [
        (Value::text("first"), StreamStart::First),
        (symbol("last"), StreamStart::Last),
        (Value::text("next"), StreamStart::Next),
        (Value::Ulong(7), StreamStart::Offset(Seq(7))),
        (Value::Long(7), StreamStart::Offset(Seq(7))),
        (Value::Timestamp(5000), StreamStart::Time(Time(5000))),
        (Value::Timestamp(-1), StreamStart::Time(Time(0))),
    ];
    for name in ["evergate:stream-offset", "rabbitmq:stream-offset-spec"] {
        for (value, start) in &table {
            let filters = vec![(symbol(name), value.clone())];
            assert_eq!(consume(Node { filters, ..Node::at("events") }).start, *start, "{name} {value:?}");
        }
    }
    assert_eq!(consume(Node::at("events")).start, StreamStart::Next);
}

#[test]
fn a_consumer_that_chose_its_beginning_is_told_each_place() {
    let mut client = Client::running(AmqpConfig::default());
    let filters = vec![(symbol("evergate:stream-offset"), Value::text("first"))];
    let attach = attach(&mut client, &AttachFrame::receiver(0, Node { filters, ..Node::at("events") }));
    answer(&mut client, &attach);
    client.send(0, &flow(0, 0, 1, false));
    client.event(delivery(attach.consumer, 41, b"x"));
    let payload = client.reply().payload;
    let place = [&b"\x00\x53\x72"[..], &[0xd1]].concat();
    assert!(payload.windows(4).any(|bytes| bytes == place), "{payload:02x?}");
    assert!(payload.windows(17).any(|bytes| bytes == b"x-stream-offset\x53\x29"), "{payload:02x?}");
}

#[test]
fn where_there_is_no_stream_its_filter_is_not_in_force() {
    let mut client = Client::running(AmqpConfig::default());
    let filters = vec![(symbol("evergate:stream-offset"), Value::text("last"))];
    let attach = attach(&mut client, &AttachFrame::receiver(0, Node { filters, ..Node::at("orders") }));
    assert_eq!(answer(&mut client, &attach).described(5).unwrap().1[7], "");
    client.send(0, &flow(0, 0, 1, false));
    client.event(delivery(attach.consumer, 41, b"x"));
    let payload = client.reply().payload;
    assert!(!payload.windows(15).any(|bytes| bytes == b"x-stream-offset"), "{payload:02x?}");
}

#[test]
fn a_shared_subscription_that_ends_with_its_consumers_has_mqtts_name() {
    let shared = |capabilities, name, filters| {
        let node = Node { capabilities, filters, ..Node::at("/topic/a/+") };
        attach(&mut Client::running(AmqpConfig::default()), &AttachFrame { name, ..AttachFrame::receiver(0, node) })
    };
    let global = shared(&["shared", "global"], "group|global-volatile1", vec![]);
    assert_eq!(&*global.queue.name, "$share/group/a/+");
    assert_eq!(
        (global.access, global.queue.lifetime, global.queue.durable),
        (AttachAccess::Shared, Lifetime::Attached, false)
    );
    assert_eq!(&*shared(&["shared", "global"], "group|global-volatile2", vec![]).queue.name, "$share/group/a/+");
    assert_eq!(
        &*shared(&["shared"], "group|volatile1", vec![]).queue.name,
        "$share/client-1%7Cgroup/a/+",
        "of this container only"
    );
    let selected = shared(&["shared", "global"], "group", vec![(symbol(SELECTOR), Value::text("a / b = 1"))]);
    assert_eq!(&*selected.queue.name, "$share/group?a %2F b = 1/a/+", "one selection is not the other's");
}

#[test]
fn a_durable_shared_subscription_is_found_by_its_name_alone() {
    let shared = |capabilities, name| {
        let node = Node { durable: 2, capabilities, ..Node::at("/topic/a") };
        attach(&mut Client::running(AmqpConfig::default()), &AttachFrame { name, ..AttachFrame::receiver(0, node) })
    };
    for (capabilities, names, queue) in [
        (&["shared"][..], ["sub", "sub|2"], "$subscription/client-1/sub"),
        (&["shared", "global"], ["sub|global", "sub|global2"], "$subscription/|/sub"),
    ] {
        for name in names {
            let attach = shared(capabilities, name);
            assert_eq!((&*attach.queue.name, attach.access, attach.queue.durable), (queue, AttachAccess::Shared, true));
        }
    }
    // What JMS clients send to end it.
    let everyone: &'static [&'static str] = &["shared", "global"];
    for (name, desired, queue, access) in [
        ("sub", &[][..], "$subscription/client-1/sub", AttachAccess::TakeOver),
        ("sub|global", everyone, "$subscription/|/sub", AttachAccess::Exclusive),
        ("sub", everyone, "$subscription/|/sub", AttachAccess::Exclusive),
    ] {
        let mut client = Client::running(AmqpConfig::default());
        let frame = AttachFrame { name, desired, source: None, ..AttachFrame::receiver(0, Node::default()) };
        let attach = attach(&mut client, &frame);
        assert_eq!((&*attach.queue.name, attach.access), (queue, access));
        let attached = Attached { existed: true, ..Attached::default() };
        client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
        client.send(0, &detach(0, true));
        assert!(matches!(client.actions()[..], [Action::Detach { delete: true, .. }]));
    }
}

#[test]
fn a_consumer_of_a_shared_subscription_leaves_it_to_the_others() {
    let mut client = Client::running(AmqpConfig::default());
    let node = Node { durable: 2, capabilities: &["shared"], ..Node::at("/topic/a") };
    let attach = attach(&mut client, &AttachFrame::receiver(0, node));
    answer(&mut client, &attach);
    client.send(0, &detach(0, true));
    assert!(matches!(client.actions()[..], [Action::Detach { delete: false, .. }]));
}

#[test]
fn no_two_containers_names_and_selectors_share_a_queue_by_accident() {
    assert_ne!(subscription_queue(Some("a/b"), "c"), subscription_queue(Some("a"), "b/c"));
    assert_ne!(subscription_queue(Some("a%2Fb"), "c"), subscription_queue(Some("a/b"), "c"));
    assert_ne!(subscription_queue(Some("|"), "c"), subscription_queue(None, "c"));
    let filter = Filter::new("a").unwrap();
    let one = Selector::parse("x = 1").unwrap();
    assert_ne!(shared_queue(None, "g?x = 1", &filter, None), shared_queue(None, "g", &filter, Some(&one)));
    assert_ne!(shared_queue(Some("c"), "g", &filter, None), shared_queue(None, "c|g", &filter, Some(&one)));
}

#[test]
fn a_consumers_priority_is_a_property_of_its_link() {
    let table: [(&'static [(&'static str, Value<'static>)], i32); 5] = [
        (&[], 0),
        (&[("x-opt-consumer-priority", Value::Int(-3))], -3),
        (&[("priority", Value::Ubyte(9))], 9),
        (&[("rabbitmq:priority", Value::Long(7))], 7),
        (&[("something", Value::Ubyte(9))], 0),
    ];
    for (properties, priority) in table {
        let frame = AttachFrame { properties, ..AttachFrame::receiver(0, Node::at("orders")) };
        assert_eq!(attach(&mut Client::running(AmqpConfig::default()), &frame).priority, priority);
    }
    let mut client = Client::running(AmqpConfig::default());
    let properties = &[("priority", Value::Ulong(u64::MAX))];
    client.send(0, &AttachFrame { properties, ..AttachFrame::receiver(0, Node::at("orders")) }.bytes());
    assert_eq!(client.replies()[1].condition(2), "amqp:invalid-field");
}

#[test]
fn a_link_may_ask_for_retained_messages() {
    let table: [(&'static [(&'static str, Value<'static>)], Retained); 3] = [
        (&[], Retained::Skip),
        (&[("x-opt-retained", Value::Bool(true))], Retained::SendIfNew),
        (&[("x-opt-retained", Value::Bool(false))], Retained::Skip),
    ];
    for (properties, retained) in table {
        let frame = AttachFrame { properties, ..AttachFrame::receiver(0, Node::at("/topic/a")) };
        assert_eq!(attach(&mut Client::running(AmqpConfig::default()), &frame).retained, retained);
    }
    let mut client = Client::running(AmqpConfig::default());
    let attach = attach(&mut client, &AttachFrame::receiver(0, Node::at("/topic/a")));
    answer(&mut client, &attach);
    client.send(0, &flow(0, 0, 1, false));
    let Event::Deliver(delivery) = delivery(attach.consumer, 1, b"x") else { panic!() };
    client.event(Event::Deliver(evergate_model::Delivery { retained: true, ..delivery }));
    let payload = client.reply().payload;
    assert!(payload.windows(15).any(|bytes| bytes == b"x-opt-retained\x41"), "{payload:02x?}");
}

#[test]
fn distribution_modes_are_told_as_they_are() {
    for (address, copy, told) in
        [("orders", false, "move"), ("orders", true, "copy"), ("/topic/a", false, "move"), ("/topic/a", true, "move")]
    {
        let mut client = Client::running(AmqpConfig::default());
        let attach = attach(&mut client, &AttachFrame::receiver(0, Node { copy, ..Node::at(address) }));
        assert_eq!(attach.browse, told == "copy");
        assert_eq!(answer(&mut client, &attach).described(5).unwrap().1[6], told);
    }
}

#[test]
fn a_dynamic_node_goes_with_the_link_that_made_it_or_with_its_last_link() {
    for (lifetime, delete) in [(None, true), (Some(0x2b), true), (Some(0x2c), false)] {
        let mut client = Client::running(AmqpConfig::default());
        let node = Node { dynamic: true, lifetime, ..Node::default() };
        let attach = attach(&mut client, &AttachFrame::receiver(0, node.clone()));
        answer(&mut client, &attach);
        client.send(0, &detach(0, true));
        assert!(matches!(client.actions()[..], [Action::Detach { delete: told, .. }] if told == delete));

        let mut client = Client::running(AmqpConfig::default());
        client.send(0, &AttachFrame::sender(0, node).bytes());
        let Action::Attach(attach) = client.actions().remove(0) else { panic!() };
        let attached = Attached { queue: "$temporary/1".into(), ..Attached::default() };
        client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
        client.replies();
        client.send(0, &super::client::performative(crate::performative::code::END, &[]));
        assert!(matches!(client.actions()[..], [Action::Detach { delete: told, .. }] if told == delete));
    }
}
