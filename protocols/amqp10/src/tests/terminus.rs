//! What addresses, capabilities and filters of a link mean.

use evergate_model::{Action, Attach, AttachAccess, AttachError, Attached, Event, Filter, QueueSpec, Value};

use super::client::{AttachFrame, Client, Node};
use crate::AmqpConfig;
use crate::performative::code;

pub fn attach(client: &mut Client, frame: &AttachFrame) -> Attach {
    client.send(0, &frame.bytes());
    let mut actions = client.actions();
    assert_eq!(actions.len(), 1, "{actions:?} {:?}", client.replies());
    let Action::Attach(attach) = actions.remove(0) else { panic!() };
    attach
}

pub fn consume(node: Node) -> Attach {
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
        assert!(attach.bindings[0].durable);
    }
    for (address, filter) in [("/glob/a/*/[bc]", Filter::glob("a/*/[bc]")), ("/regex/a/.+", Filter::regex("a/.+"))] {
        assert_eq!(consume(Node::at(address)).bindings[0].filter, filter.unwrap(), "{address}");
    }
}

#[test]
fn a_refused_link_is_attached_without_our_end_and_detached_with_the_reason() {
    let filter = |descriptor: &'static str, value| vec![(Value::Symbol(descriptor.into()), value)];
    let selector = |text: &'static str| filter("apache.org:selector-filter:string", Value::text(text));
    let offset = |value| filter("evergate:stream-offset", value);
    let receivers = [
        (Node { filters: selector("a ="), ..Node::at("q") }, "amqp:invalid-field"),
        (Node { filters: [selector("a = 1"), selector("b = 1")].concat(), ..Node::at("q") }, "amqp:invalid-field"),
        (
            Node { filters: filter("apache.org:selector-filter:string", Value::Null), ..Node::at("q") },
            "amqp:invalid-field",
        ),
        (Node { filters: offset(Value::text("5m")), ..Node::at("q") }, "amqp:invalid-field"),
        (Node { filters: offset(Value::Int(-1)), ..Node::at("q") }, "amqp:invalid-field"),
        (Node { expiry_policy: Some("sometime"), ..Node::at("/topic/a") }, "amqp:invalid-field"),
        (Node { dynamic: true, lifetime: Some(0x2d), ..Node::default() }, "amqp:not-implemented"),
        (Node { dynamic: true, ..Node::at("q") }, "amqp:invalid-field"),
        (Node { durable: 3, ..Node::at("q") }, "amqp:decode-error"),
        (Node::default(), "amqp:invalid-field"),
        (Node::at("/topic/a/#/b"), "amqp:invalid-field"),
        (Node::at("/queue/"), "amqp:invalid-field"),
        (Node::at("/glob/[a"), "amqp:invalid-field"),
        (Node::at("/regex/(a"), "amqp:invalid-field"),
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
        (Node::at("/glob/a*"), "amqp:invalid-field"),
        (Node::at("/regex/a"), "amqp:invalid-field"),
        (Node::at("/queue/$session/x"), "amqp:not-allowed"),
        (Node { dynamic: true, lifetime: Some(0x2e), ..Node::default() }, "amqp:not-implemented"),
        (Node { dynamic: true, ..Node::at("q") }, "amqp:invalid-field"),
        (Node { durable: 3, ..Node::at("q") }, "amqp:decode-error"),
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
