//! Clients that send.

use evergate_model::{Action, Address, AttachError, Attached, Event, Publish, PublishError, Session, Value};

use super::client::{AttachFrame, Client, Node, data, detach, durable, flow, frame, part, performative, transfer};
use super::large::aborted;
use crate::AmqpConfig;
use crate::codec::FRAME_AMQP;
use crate::performative::code;

pub fn sender(config: AmqpConfig) -> Client {
    let mut client = Client::running(config);
    client.send(0, &AttachFrame::sender(3, Node::at("/queue/orders")).bytes());
    let replies = client.replies();
    assert_eq!(replies.iter().map(|reply| reply.code).collect::<Vec<_>>(), [code::ATTACH, code::FLOW]);
    client
}

fn published(client: &mut Client) -> Vec<Publish> {
    let actions = client.actions().into_iter();
    actions
        .map(|action| match action {
            Action::Publish(publish) => publish,
            other => panic!("not expected: {other:?}"),
        })
        .collect()
}

#[test]
fn a_message_is_accepted_after_its_commit_and_not_before() {
    let mut client = sender(AmqpConfig::default());
    client.send(0, &transfer(3, 0, false, &durable(b"hello")));
    assert_eq!(client.replies(), []);
    let publish = published(&mut client).remove(0);
    assert_eq!(publish.message.meta.address, Address::queue("orders"));
    assert!(publish.message.meta.durable);
    assert_eq!(&publish.message.body[..], data(b"hello"));
    client.event(Event::Published { token: publish.token, result: Ok(1) });
    let reply = client.reply();
    assert_eq!(reply.code, code::DISPOSITION);
    assert_eq!(
        (reply.field(0), reply.field(1), reply.field(3)),
        (Value::Bool(true), Value::Uint(0), Value::Bool(true))
    );
    assert_eq!(reply.described(4).unwrap().0, u64::from(code::ACCEPTED));
}

/// One frame of a delivery that began on an earlier attach.
fn resumed(id: Option<u32>, settled: bool, more: bool, message: &[u8]) -> bytes::BytesMut {
    let tag = id.map_or(Value::Null, |id| Value::Binary(id.to_be_bytes().to_vec().into()));
    let id = id.map_or(Value::Null, Value::Uint);
    let mut fields = vec![Value::Uint(3), id, tag, Value::Uint(0), Value::Bool(settled), Value::Bool(more)];
    fields.extend([Value::Null, Value::Null, Value::Bool(true)]);
    let mut frame = performative(code::TRANSFER, &fields);
    frame.extend_from_slice(message);
    frame
}

/// 2.7.5: a delivery that is not in our unsettled map, which is always empty, is not resumed.
#[test]
fn a_resumed_delivery_is_ignored_and_released() {
    let mut client = sender(AmqpConfig { link_credit: 4, ..AmqpConfig::default() });
    let released = |client: &mut Client, id: u32| {
        assert_eq!(client.actions().len(), 0);
        let replies = client.replies();
        assert_eq!((replies[0].code, replies[0].field(1)), (code::DISPOSITION, Value::Uint(id)));
        assert_eq!(replies[0].described(4).unwrap().0, u64::from(code::RELEASED));
        replies.len()
    };
    client.send(0, &resumed(Some(0), false, false, &durable(b"again")));
    released(&mut client, 0);
    client.send(0, &resumed(Some(1), false, true, &durable(b"again")));
    assert_eq!(client.replies(), []);
    client.send(0, &part(3, None, false, false, b"and the rest of it"));
    assert_eq!(released(&mut client, 1), 2, "its credit comes back");
    client.send(0, &resumed(Some(2), true, false, b""));
    assert_eq!((client.replies().len(), client.actions().len()), (0, 0));
    client.send(0, &transfer(3, 3, false, &data(b"x")));
    assert_eq!(published(&mut client).len(), 1);
}

#[test]
fn neighbouring_confirms_share_a_disposition_and_gaps_do_not() {
    let mut client = sender(AmqpConfig::default());
    for id in 0..5 {
        client.send(0, &transfer(3, id, false, &data(b"x")));
    }
    let tokens: Vec<_> = published(&mut client).iter().map(|publish| publish.token).collect();
    for n in [0, 1, 2, 4] {
        client.event(Event::Published { token: tokens[n], result: Ok(1) });
    }
    let ranges: Vec<_> = client
        .replies()
        .iter()
        .map(|r| (r.field(1).to_text().into_owned(), r.field(2).to_text().into_owned()))
        .collect();
    assert_eq!(ranges, [("0".into(), "2".into()), ("4".into(), String::new())]);
    // What was written out is not widened any more.
    client.event(Event::Published { token: tokens[3], result: Ok(1) });
    assert_eq!(client.reply().field(1), Value::Uint(3));
}

#[test]
fn a_refused_message_is_rejected_with_its_reason() {
    let table = [
        (PublishError::Reserved, "amqp:not-allowed"),
        (PublishError::TooLarge { limit_bytes: 1 }, "amqp:link:message-size-exceeded"),
        (PublishError::Limit("full".into()), "amqp:resource-limit-exceeded"),
        (PublishError::Unavailable, "amqp:internal-error"),
    ];
    let mut client = sender(AmqpConfig::default());
    for (id, (error, condition)) in (0..).zip(table) {
        client.send(0, &transfer(3, id, false, &data(b"x")));
        let token = published(&mut client)[0].token;
        client.event(Event::Published { token, result: Err(error) });
        let reply = client.reply();
        let (outcome, fields) = reply.described(4).unwrap();
        assert_eq!(outcome, u64::from(code::REJECTED));
        assert!(fields[0].contains(&format!("{:?}", condition.as_bytes()).replace(['[', ']'], "")), "{fields:?}");
    }
}

#[test]
fn a_settled_message_has_no_disposition_and_its_loss_ends_the_link() {
    let mut client = sender(AmqpConfig::default());
    client.send(0, &transfer(3, 0, true, &data(b"x")));
    let token = published(&mut client)[0].token;
    client.event(Event::Published { token, result: Ok(1) });
    assert_eq!(client.replies(), []);
    client.send(0, &transfer(3, 1, true, &data(b"x")));
    let token = published(&mut client)[0].token;
    client.event(Event::Published { token, result: Err(PublishError::Unavailable) });
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:internal-error".into()));
}

#[test]
fn credit_comes_back_with_the_answers_and_not_with_the_transfers() {
    let mut client = sender(AmqpConfig { link_credit: 4, ..AmqpConfig::default() });
    for id in 0..4 {
        client.send(0, &transfer(3, id, false, &data(b"x")));
    }
    assert_eq!(client.replies(), []);
    let tokens: Vec<_> = published(&mut client).iter().map(|publish| publish.token).collect();
    client.event(Event::Published { token: tokens[0], result: Ok(1) });
    assert_eq!(client.reply().code, code::DISPOSITION);
    client.event(Event::Published { token: tokens[1], result: Ok(1) });
    let replies = client.replies();
    assert_eq!(replies[1].code, code::FLOW);
    assert_eq!((replies[1].field(5), replies[1].field(6)), (Value::Uint(4), Value::Uint(2)));
}

#[test]
fn a_delivery_beyond_the_credit_detaches_the_link() {
    let mut client = sender(AmqpConfig { link_credit: 2, ..AmqpConfig::default() });
    for id in 0..3 {
        client.send(0, &transfer(3, id, false, &data(b"x")));
    }
    let reply = client.reply();
    assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:link:transfer-limit-exceeded".into()));
    assert_eq!(published(&mut client).len(), 2);
    // What follows on the link is discarded until the client detaches too; then the handle is free.
    client.send(0, &transfer(3, 3, false, &data(b"x")));
    client.send(0, &detach(3, true));
    assert_eq!((client.replies(), client.actions().len()), (vec![], 0));
    client.send(0, &AttachFrame::sender(3, Node::at("orders")).bytes());
    assert_eq!(client.replies()[0].code, code::ATTACH);
}

#[test]
fn a_message_in_many_frames_is_put_together() {
    let mut client = sender(AmqpConfig::default());
    let message = data(&[7; 10_000]);
    let (first, rest) = message.split_at(3);
    let (second, third) = rest.split_at(5000);
    client.send(0, &part(3, Some(9), false, true, first));
    client.send(0, &part(3, None, false, true, second));
    client.send(0, &part(3, Some(9), false, false, third));
    let publish = published(&mut client).remove(0);
    assert_eq!(publish.message.body, message);
    // A new delivery inside another is an error.
    client.send(0, &part(3, Some(10), false, true, first));
    client.send(0, &part(3, Some(11), false, true, first));
    assert_eq!(client.reply().condition(2), "amqp:invalid-field");
    assert_eq!(client.session_assembly_bytes(), 0);
}

#[test]
fn an_aborted_delivery_is_forgotten() {
    let mut client = sender(AmqpConfig { link_credit: 2, ..AmqpConfig::default() });
    for id in 0..5 {
        client.send(0, &part(3, Some(id), false, true, b"junk"));
        client.send(0, &aborted(3));
    }
    assert!(client.replies().iter().all(|reply| reply.code == code::FLOW), "credit comes back");
    assert!(client.actions().is_empty());
    assert_eq!(client.session_assembly_bytes(), 0);
}

#[test]
fn the_message_size_limit_holds_at_its_edge() {
    let limit = data(&[0; 100]).len() as u64;
    let config = AmqpConfig { message_bytes_max: limit, large_message_bytes_max: limit, ..AmqpConfig::default() };
    let mut client = sender(config.clone());
    client.send(0, &transfer(3, 0, false, &data(&[0; 100])));
    assert_eq!(published(&mut client).len(), 1);
    client.send(0, &transfer(3, 1, false, &data(&[0; 101])));
    assert_eq!(client.reply().condition(2), "amqp:link:message-size-exceeded");
    // Also when it comes in pieces, before it is whole.
    let mut client = sender(config);
    client.send(0, &part(3, Some(0), false, true, &[0; 60]));
    client.send(0, &part(3, None, false, true, &[0; 60]));
    assert_eq!(client.reply().condition(2), "amqp:link:message-size-exceeded");
}

#[test]
fn messages_in_part_are_bounded_for_the_connection() {
    let mut client = sender(AmqpConfig { assembly_bytes_max: 100, ..AmqpConfig::default() });
    let mut second = AttachFrame::sender(4, Node::at("b"));
    second.name = "second";
    client.send(0, &second.bytes());
    client.replies();
    client.send(0, &part(3, Some(0), false, true, &[0; 100]));
    assert_eq!(client.replies(), []);
    client.send(0, &part(4, Some(1), false, true, &[0; 1]));
    let reply = client.reply();
    assert_eq!((reply.field(0), reply.condition(2)), (Value::Uint(4), "amqp:resource-limit-exceeded".into()));
}

#[test]
fn a_malformed_message_detaches_its_link_with_a_decode_error() {
    let nested = {
        let mut bytes = vec![0x00, 0x53, 0x77];
        let mut inner = vec![0x45];
        for _ in 0..40 {
            let mut list = vec![0xd0];
            list.extend_from_slice(&(inner.len() as u32 + 4).to_be_bytes());
            list.extend_from_slice(&1u32.to_be_bytes());
            list.extend_from_slice(&inner);
            inner = list;
        }
        bytes.extend_from_slice(&inner);
        bytes
    };
    let table: [&[u8]; 8] = [
        b"plain text",
        &[0x00, 0x53, 0x75],                                           // no value
        &[0x00, 0x53, 0x75, 0xa0, 0x05, 1],                            // a length that lies
        &[0x00, 0x53, 0x75, 0xa1, 0x01, b'x'],                         // data that is no binary
        &[0x00, 0x53, 0x77, 0x40, 0x00, 0x53, 0x75, 0xa0, 0x00],       // two kinds of body
        &[0x00, 0x53, 0x75, 0xa0, 0x00, 0x00, 0x53, 0x73, 0x45],       // properties after the body
        &[0x00, 0x53, 0x74, 0xc1, 0x05, 0x02, 0xa1, 0x01, b'a', 0x45], // a list as application property
        &nested,
    ];
    for message in table {
        let mut client = sender(AmqpConfig::default());
        client.send(0, &transfer(3, 0, false, message));
        let reply = client.reply();
        assert_eq!((reply.code, reply.condition(2)), (code::DETACH, "amqp:decode-error".into()), "{message:02x?}");
        assert!(client.actions().is_empty());
    }
}

#[test]
fn header_and_properties_are_read_into_meta() {
    let mut client = sender(AmqpConfig::default());
    // durable, priority 12, ttl 1000
    let mut message = vec![0x00, 0x53, 0x70, 0xc0, 0x09, 0x03, 0x41, 0x50, 12, 0x70, 0, 0, 0x03, 0xe8];
    message.extend_from_slice(&data(b"x"));
    client.send(0, &transfer(3, 0, false, &message));
    let meta = published(&mut client).remove(0).message.meta;
    assert_eq!((meta.durable, meta.priority), (true, 9), "priorities over JMS's highest are the highest");
    assert_eq!(meta.expires_at, Some(evergate_model::Time(client.now.0 + 1000)));
}

#[test]
fn an_anonymous_relay_sends_each_message_where_it_says() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &AttachFrame::sender(0, Node::default()).bytes());
    client.replies();
    let to = |address: &str| {
        let mut bytes = super::client::performative(0x73, &[Value::Null, Value::Null, Value::text(address)]).to_vec();
        bytes.extend_from_slice(&data(b"x"));
        bytes
    };
    client.send(0, &transfer(0, 0, false, &to("/topic/a/b")));
    assert_eq!(published(&mut client)[0].message.meta.address, Address::topic("a/b"));
    for (id, address) in [(1, "_DMQ"), (2, "/topic/a/+"), (3, "/queue/$session/x"), (4, "/glob/a")] {
        client.send(0, &transfer(0, id, false, &to(address)));
        let reply = client.reply();
        assert_eq!(reply.described(4).unwrap().0, u64::from(code::REJECTED), "{address}");
    }
    client.send(0, &transfer(0, 5, false, &data(b"no address")));
    assert_eq!(client.reply().described(4).unwrap().0, u64::from(code::REJECTED));
}

#[test]
fn a_dynamic_target_is_a_queue_that_lives_as_long_as_its_link() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &AttachFrame::sender(0, Node { dynamic: true, ..Node::default() }).bytes());
    let Action::Attach(attach) = client.actions().remove(0) else { panic!() };
    assert_eq!(client.replies(), [], "answered when the queue is there");
    let attached = Attached { queue: "$tmp/1".into(), ..Attached::default() };
    client.event(Event::Attached { consumer: attach.consumer, result: Ok(attached) });
    let replies = client.replies();
    assert_eq!(replies[0].described(6).unwrap().1[0], "/queue/$tmp/1");
    assert_eq!(replies[1].code, code::FLOW);
    client.send(0, &transfer(0, 0, true, &data(b"x")));
    assert_eq!(published(&mut client)[0].message.meta.address, Address::queue("$tmp/1"));
    client.send(0, &detach(0, true));
    assert!(matches!(client.actions()[..], [Action::Detach { .. }]));
    assert_eq!(client.replies(), []);
    client.event(Event::Detached { consumer: attach.consumer });
    assert_eq!(client.reply().code, code::DETACH);
}

#[test]
fn a_dynamic_target_that_is_refused_says_why() {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &AttachFrame::sender(0, Node { dynamic: true, ..Node::default() }).bytes());
    let Action::Attach(attach) = client.actions().remove(0) else { panic!() };
    let result = Err(AttachError::Limit("too many queues".into()));
    client.event(Event::Attached { consumer: attach.consumer, result });
    let replies = client.replies();
    assert_eq!((replies[0].code, replies[0].item(6)), (code::ATTACH, None));
    assert_eq!(replies[1].condition(2), "amqp:resource-limit-exceeded");
}

#[test]
fn an_echo_is_answered_and_a_detached_link_forgets_its_publishes() {
    let mut client = sender(AmqpConfig::default());
    let mut echo = vec![Value::Uint(0), Value::Uint(10), Value::Uint(0), Value::Uint(10), Value::Uint(3)];
    echo.extend([Value::Uint(0), Value::Null, Value::Null, Value::Null, Value::Bool(true)]);
    client.send(0, &super::client::performative(code::FLOW, &echo));
    assert_eq!(client.reply().field(6), Value::Uint(500));
    client.send(0, &flow(3, 0, 0, false));
    client.send(0, &transfer(3, 0, false, &data(b"x")));
    let token = published(&mut client)[0].token;
    client.send(0, &detach(3, true));
    assert_eq!(client.reply().code, code::DETACH);
    client.send(0, &AttachFrame::sender(3, Node::at("orders")).bytes());
    client.replies();
    client.event(Event::Published { token, result: Ok(1) });
    assert_eq!(client.replies(), [], "the answer is not for the new link");
}

#[test]
fn a_large_body_is_passed_on_without_a_copy() {
    let mut client = sender(AmqpConfig::default());
    let mut input = frame(FRAME_AMQP, 0, &transfer(3, 0, false, &data(&vec![1; 20_000])));
    let buffer = input.as_ptr_range();
    client.session.received(client.now, &mut input, &mut client.out);
    let publish = published(&mut client).remove(0);
    let body = publish.message.body.as_ptr_range();
    assert!(buffer.start < body.start && body.end == buffer.end);
    // A small one does not keep the read buffer.
    let mut input = frame(FRAME_AMQP, 0, &transfer(3, 1, false, &data(b"small")));
    let buffer = input.as_ptr_range();
    client.session.received(client.now, &mut input, &mut client.out);
    let body = published(&mut client).remove(0).message.body;
    assert!(!buffer.contains(&body.as_ptr()));
}

#[test]
fn a_publishers_bytes_and_ours_as_captured() {
    let mut client = Client::running(AmqpConfig::default());
    // attach(name "s", handle 0, role sender, source (), target (address "/queue/q"), initial-delivery-count 0)
    client.bytes(&[
        0x00, 0x00, 0x00, 0x2c, 0x02, 0x00, 0x00, 0x00, 0x00, 0x53, 0x12, 0xc0, 0x1f, 0x0a, 0xa1, 0x01, 0x73, 0x43,
        0x42, 0x40, 0x40, 0x00, 0x53, 0x28, 0x45, 0x00, 0x53, 0x29, 0xc0, 0x0b, 0x01, 0xa1, 0x08, 0x2f, 0x71, 0x75,
        0x65, 0x75, 0x65, 0x2f, 0x71, 0x40, 0x40, 0x43,
    ]);
    assert_eq!(client.replies().iter().map(|reply| reply.code).collect::<Vec<_>>(), [code::ATTACH, code::FLOW]);
    // transfer(handle 0, delivery-id 0, tag "t", message-format 0, settled false), data "hi"
    client.bytes(&[
        0x00, 0x00, 0x00, 0x1c, 0x02, 0x00, 0x00, 0x00, 0x00, 0x53, 0x14, 0xc0, 0x08, 0x05, 0x43, 0x43, 0xa0, 0x01,
        0x74, 0x43, 0x42, 0x00, 0x53, 0x75, 0xa0, 0x02, 0x68, 0x69,
    ]);
    let publish = published(&mut client).remove(0);
    assert_eq!(publish.message.meta.address, Address::queue("q"));
    client.event(Event::Published { token: publish.token, result: Ok(1) });
    // disposition(role receiver, first 0, settled true, state accepted)
    assert_eq!(
        client.take_wire()[..],
        [
            0x00, 0x00, 0x00, 0x1c, 0x02, 0x00, 0x00, 0x00, 0x00, 0x53, 0x15, 0xd0, 0x00, 0x00, 0x00, 0x0c, 0x00, 0x00,
            0x00, 0x05, 0x41, 0x43, 0x40, 0x41, 0x00, 0x53, 0x24, 0x45
        ]
    );
}
