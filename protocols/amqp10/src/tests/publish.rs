//! Clients that send.

use evergate_model::{Action, Address, AttachError, Attached, Event, Publish, PublishError, Value};

use super::client::{AttachFrame, Client, Node, data, detach, durable, flow, frame, part, transfer};
use crate::AmqpConfig;
use crate::codec::FRAME_AMQP;
use crate::performative::code;

fn sender(config: AmqpConfig) -> Client {
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
