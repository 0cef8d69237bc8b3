//! What addresses, capabilities and filters of a link mean.

use evergate_model::{
    Action, Attach, AttachAccess, AttachError, Attached, Binding, Event, Filter, Lifetime, QueueSpec, Value,
};

use super::client::{AttachFrame, Client, Node, detach};
use crate::AmqpConfig;
use crate::performative::code;

fn attach(client: &mut Client, frame: &AttachFrame) -> Attach {
    client.send(0, &frame.bytes());
    let mut actions = client.actions();
    assert_eq!(actions.len(), 1, "{actions:?} {:?}", client.replies());
    let Action::Attach(attach) = actions.remove(0) else { panic!() };
    attach
}

fn consume(node: Node) -> Attach {
    attach(&mut Client::running(AmqpConfig::default()), &AttachFrame::receiver(0, node))
}

#[test]
fn addresses_name_queues_and_topics_as_the_table_says() {
    let queue: [(&str, &[&str]); 5] = [
        ("/queue/orders", &[]),
        ("queue://orders", &[]),
        ("orders", &[]),
        ("orders", &["queue"]),
        ("/queue/orders", &["topic"]),
    ];
    for (address, capabilities) in queue {
        let attach = consume(Node { capabilities, ..Node::at(address) });
        assert_eq!(attach.queue, QueueSpec::named("orders"), "{address} {capabilities:?}");
        assert_eq!((attach.bindings.len(), attach.access), (0, AttachAccess::Shared));
    }
    let topic: [(&str, &[&str]); 4] =
        [("/topic/a/+/#", &[]), ("topic://a/+/#", &[]), ("a/+/#", &["topic"]), ("a/+/#", &["temporary-topic"])];
    for (address, capabilities) in topic {
        let attach = consume(Node { capabilities, ..Node::at(address) });
        assert_eq!(attach.queue, QueueSpec::temporary(), "{address}");
        assert_eq!(attach.bindings[0].filter, Filter::new("a/+/#").unwrap());
        assert!(!attach.bindings[0].durable);
    }
}

#[test]
fn a_refused_link_is_attached_without_our_end_and_detached_with_the_reason() {
    let selector: &[u64] = &[0x0000_468C_0000_0004];
    let receivers = [
        (Node { filters: selector, ..Node::at("q") }, "amqp:not-implemented"),
        (Node::default(), "amqp:invalid-field"),
        (Node::at("/topic/a/#/b"), "amqp:invalid-field"),
        (Node::at("/queue/"), "amqp:invalid-field"),
        (Node::at("/glob/a*"), "amqp:not-implemented"),
        (Node::at("/regex/a.*"), "amqp:not-implemented"),
        (Node::at("/queue/$subscription/c/other"), "amqp:not-allowed"),
    ];
    for (node, condition) in receivers {
        let mut client = Client::running(AmqpConfig::default());
        client.send(0, &AttachFrame::receiver(0, node).bytes());
        let replies = client.replies();
        assert_eq!((replies[0].code, replies[0].item(5)), (code::ATTACH, None), "no source");
        assert_eq!((replies[1].code, replies[1].condition(2)), (code::DETACH, condition.into()));
        assert_eq!(client.actions().len(), 0);
    }
    let senders = [
        (Node::at("_DMQ"), "amqp:not-allowed"),
        (Node::at("/topic/_LOG"), "amqp:not-allowed"),
        (Node::at("/topic/a/+"), "amqp:invalid-field"),
        (Node::at("/queue/$session/x"), "amqp:not-allowed"),
    ];
    for (node, condition) in senders {
        let mut client = Client::running(AmqpConfig::default());
        client.send(0, &AttachFrame::sender(0, node).bytes());
        let replies = client.replies();
        assert_eq!((replies[0].code, replies[0].item(6)), (code::ATTACH, None), "no target");
        assert_eq!((replies[1].code, replies[1].condition(2)), (code::DETACH, condition.into()));
    }
}

#[test]
fn a_sender_without_a_target_is_refused() {
    let mut client = Client::running(AmqpConfig::default());
    let bytes = AttachFrame { target: None, ..AttachFrame::sender(0, Node::default()) }.bytes();
    client.send(0, &bytes);
    assert_eq!(client.replies()[1].condition(2), "amqp:invalid-field", "no target at all");
}

#[test]
fn filters_that_are_not_honoured_are_not_in_our_source() {
    for (filters, honoured) in [(&[0x0000_468C_0000_0003u64][..], true), (&[0x1234][..], false)] {
        let mut client = Client::running(AmqpConfig::default());
        let attach = attach(&mut client, &AttachFrame::receiver(0, Node { filters, ..Node::at("/topic/a") }));
        assert_eq!(attach.bindings[0].no_local.as_deref(), honoured.then_some("client-1"));
        client.event(Event::Attached { consumer: attach.consumer, result: Ok(Attached::default()) });
        let reply = client.reply();
        let (_, fields) = reply.described(5).unwrap();
        assert_eq!(fields[7] != Value::Null.to_text(), honoured, "{fields:?}");
        assert_eq!(fields[0], "/topic/a");
    }
}

#[test]
fn a_durable_subscription_is_a_queue_of_the_container_and_the_name() {
    let mut client = Client::running(AmqpConfig::default());
    let node = Node { durable: 2, capabilities: &["topic"], ..Node::at("a/#") };
    let attach = attach(&mut client, &AttachFrame::receiver(0, node));
    assert_eq!(&*attach.queue.name, "$subscription/client-1/r");
    assert_eq!((attach.queue.durable, attach.queue.lifetime), (true, Lifetime::Permanent));
    assert_eq!((attach.access, attach.bindings[0].durable), (AttachAccess::TakeOver, true));
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(Attached::default()) });
    let reply = client.reply();
    let (_, fields) = reply.described(5).unwrap();
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
    let filter = Filter::new("a/#").unwrap();
    let binding = Binding::new(filter, true);
    let attached = Attached { existed: true, bindings: vec![binding], ..Attached::default() };
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
    assert_eq!(client.reply().described(5).unwrap().1[0], "/topic/a/#");
    client.send(0, &detach(0, true));
    assert!(matches!(client.actions()[..], [Action::Detach { delete: true, .. }]), "JMS unsubscribe");
}

#[test]
fn a_null_source_without_a_subscription_is_not_found_and_leaves_nothing() {
    let mut client = Client::running(AmqpConfig::default());
    let frame = AttachFrame { source: None, ..AttachFrame::receiver(0, Node::default()) };
    let attach = attach(&mut client, &frame);
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(Attached::default()) });
    let replies = client.replies();
    assert_eq!(replies[0].item(5), None);
    assert_eq!(replies[1].condition(2), "amqp:not-found");
    assert!(matches!(client.actions()[..], [Action::Detach { delete: true, .. }]));
}

#[test]
fn shared_subscriptions_share_a_queue_by_name_and_filter() {
    let shared = |capabilities, durable, name| {
        let node = Node { durable, capabilities, ..Node::at("/topic/a/+") };
        let frame = AttachFrame { name, ..AttachFrame::receiver(0, node) };
        attach(&mut Client::running(AmqpConfig::default()), &frame)
    };
    let volatile = shared(&["shared", "global"], 0, "group|volatile1");
    assert_eq!(&*volatile.queue.name, "$share/group/a/+");
    assert_eq!((volatile.access, volatile.queue.lifetime), (AttachAccess::Shared, Lifetime::Attached));
    let durable = shared(&["shared", "global"], 2, "group|2");
    assert_eq!((&*durable.queue.name, durable.queue.durable), ("$share/group/a/+", true));
    let own = shared(&["shared"], 0, "group");
    assert_eq!(&*own.queue.name, "$share/client-1%7Cgroup/a/+", "of this container only");
}

#[test]
fn a_dynamic_source_is_a_temporary_queue_under_its_own_name() {
    let mut client = Client::running(AmqpConfig::default());
    let attach = attach(&mut client, &AttachFrame::receiver(0, Node { dynamic: true, ..Node::default() }));
    assert_eq!(attach.queue, QueueSpec::temporary());
    let attached = Attached { queue: "$tmp/9".into(), ..Attached::default() };
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
    assert_eq!(client.reply().described(5).unwrap().1[0], "/queue/$tmp/9");
    let node = Node { dynamic: true, capabilities: &["temporary-topic"], ..Node::default() };
    let topic = consume(node);
    assert_eq!(topic.bindings[0].filter.as_str(), "$temporary/7/1");
}

#[test]
fn attach_errors_are_told_in_amqps_words() {
    let table = [
        (AttachError::NotFound, "amqp:not-found"),
        (AttachError::InUse, "amqp:resource-locked"),
        (AttachError::Denied, "amqp:unauthorized-access"),
        (AttachError::Limit("n".into()), "amqp:resource-limit-exceeded"),
        (AttachError::Unavailable, "amqp:internal-error"),
    ];
    for (error, condition) in table {
        let mut client = Client::running(AmqpConfig::default());
        let attach = attach(&mut client, &AttachFrame::receiver(0, Node::at("q")));
        client.event(Event::Attached { consumer: attach.consumer, result: Err(error) });
        let replies = client.replies();
        assert_eq!((replies[0].code, replies[0].item(5)), (code::ATTACH, None));
        assert_eq!((replies[1].field(1), replies[1].condition(2)), (Value::Bool(true), condition.into()));
    }
}

#[test]
fn containers_and_names_never_share_a_queue_by_accident() {
    use crate::terminus::subscription_queue;
    assert_ne!(subscription_queue("a/b", "c"), subscription_queue("a", "b/c"));
    assert_ne!(subscription_queue("a%2Fb", "c"), subscription_queue("a/b", "c"));
}

#[test]
fn handles_end_at_the_limit() {
    let config = AmqpConfig { links_per_session_max: 2, ..AmqpConfig::default() };
    let mut client = Client::running(config);
    client.send(0, &AttachFrame::sender(1, Node::at("q")).bytes());
    assert_eq!(client.replies()[0].code, code::ATTACH);
    client.send(0, &AttachFrame { name: "t", ..AttachFrame::sender(2, Node::at("q")) }.bytes());
    assert_eq!(client.reply().condition(0), "amqp:connection:framing-error");
    assert!(client.closed().is_some());
}

#[test]
fn a_handle_in_use_ends_the_session() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &AttachFrame::sender(1, Node::at("q")).bytes());
    client.replies();
    client.send(0, &AttachFrame { name: "other", ..AttachFrame::sender(1, Node::at("q")) }.bytes());
    assert_eq!(client.reply().condition(0), "amqp:session:handle-in-use");
}

#[test]
fn settle_modes_are_echoed_as_they_are_kept() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &AttachFrame { snd: 0, rcv: 1, ..AttachFrame::sender(1, Node::at("q")) }.bytes());
    let reply = &client.replies()[0];
    assert_eq!((reply.field(3), reply.field(4)), (Value::Ubyte(0), Value::Ubyte(0)), "we settle first");
    let attach = attach(&mut client, &AttachFrame { rcv: 1, ..AttachFrame::receiver(2, Node::at("q")) });
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(Attached::default()) });
    assert_eq!(client.reply().field(4), Value::Ubyte(1), "the client may settle second");
}
