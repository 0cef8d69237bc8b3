//! What a publisher asks of the gateway for one message.

use bytes::BytesMut;
use evergate_model::{Action, Meta, Time, Value};

use super::client::{AttachFrame, Client, Node, data, performative, transfer};
use crate::AmqpConfig;
use crate::codec::{MapWriter, put_descriptor};
use crate::performative::code;

fn section(code: u8, pairs: &[(Value<'_>, Value<'_>)]) -> BytesMut {
    let mut buf = BytesMut::new();
    put_descriptor(&mut buf, code);
    let mut map = MapWriter::new(&mut buf);
    for (key, value) in pairs {
        map.pair(key, value);
    }
    map.close();
    buf
}

fn annotated(annotations: &[(&'static str, Value<'static>)]) -> Vec<u8> {
    let pairs: Vec<_> = annotations.iter().map(|(key, value)| (Value::Symbol((*key).into()), value.clone())).collect();
    let mut message = section(0x72, &pairs).to_vec();
    message.extend_from_slice(&data(b"x"));
    message
}

/// What the gateway is told of a message; `None`: it is rejected.
fn publish(message: &[u8]) -> Option<Meta> {
    let mut client = Client::running(AmqpConfig::default());
    client.send(0, &AttachFrame::sender(0, Node::at("orders")).bytes());
    client.replies();
    client.send(0, &transfer(0, 0, false, message));
    match client.actions().pop() {
        Some(Action::Publish(publish)) => Some(publish.message.meta),
        None => {
            let reply = client.reply();
            assert_eq!((reply.code, reply.described(4).unwrap().0), (code::DISPOSITION, u64::from(code::REJECTED)));
            None
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_without_wishes_has_none() {
    assert_eq!(publish(&annotated(&[("x-opt-something", Value::Int(1))])).unwrap().rare, None);
}

#[test]
fn delivery_can_be_put_off_to_a_time_or_by_a_time() {
    let now = 1_000_000; // the test client's
    let table = [
        ("x-opt-delivery-time", Value::Long(1_500_000), Some(1_500_000)),
        ("x-opt-delivery-time", Value::Ulong(1_500_000), Some(1_500_000)),
        ("x-opt-delivery-time", Value::Timestamp(1_500_000), Some(1_500_000)),
        ("x-opt-delivery-time", Value::Long(5), None),
        ("x-opt-delivery-time", Value::Long(-5), None),
        ("x-opt-delivery-delay", Value::Uint(250), Some(now + 250)),
        ("x-opt-delivery-delay", Value::Long(i64::MAX), Some(now + i64::MAX.unsigned_abs())),
        ("x-opt-delivery-delay", Value::Int(-250), None),
    ];
    for (name, value, at) in table {
        let meta = publish(&annotated(&[(name, value.clone())])).unwrap();
        assert_eq!(meta.deliver_at(), at.map(Time), "{name} {value:?}");
    }
}

#[test]
fn the_group_is_the_property_of_that_name() {
    let mut fields = vec![Value::Null; 10];
    fields.push(Value::text("g"));
    let mut message = performative(0x73, &fields).to_vec();
    message.extend_from_slice(&data(b"x"));
    assert_eq!(publish(&message).unwrap().group_id().map(|group| &**group), Some("g"));
}

#[test]
fn a_publishers_identity_for_its_message_comes_in_two_ways() {
    let identity = |meta: Meta| meta.dedup_id().unwrap().to_string();
    assert_eq!(identity(publish(&annotated(&[("x-opt-dedup-id", Value::text("a"))])).unwrap()), "a");
    let property = section(0x74, &[(Value::text("_AMQ_DUPL_ID"), Value::Ulong(7))]);
    let message = [&property[..], &data(b"x")].concat();
    assert_eq!(identity(publish(&message).unwrap()), "7");
    let annotation = section(0x72, &[(Value::Symbol("x-opt-dedup-id".into()), Value::text("a"))]);
    assert_eq!(identity(publish(&[&annotation[..], &message].concat()).unwrap()), "a");
}

#[test]
fn a_discardable_message_is_not_durable() {
    let message = annotated(&[("x-opt-discardable", Value::Bool(true))]);
    assert!(publish(&message).unwrap().is_discardable());
    let durable = [&[0x00, 0x53, 0x70, 0xc0, 0x02, 0x01, 0x41], &message[..]].concat();
    assert_eq!(publish(&durable), None);
}

#[test]
fn a_wish_that_is_not_understood_is_not_ignored() {
    for name in ["x-opt-delivery-time", "x-opt-delivery-delay", "x-opt-discardable"] {
        assert_eq!(publish(&annotated(&[(name, Value::text("soon"))])), None, "{name}");
    }
}
