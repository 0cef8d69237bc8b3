//! What must hold of any bytes that are read as AMQP.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{Address, ConsumerId, Delivery, Encoding, Message, Meta, Seq, Time, Value, Wire};

use crate::codec::{Item, Reader, frame_size, parse_frame, put_value, validate};
use crate::message;
use crate::performative::Performative;

const DEPTH_MAX: u32 = 32;

/// Reads `data` in every way there is.
pub fn check(data: &[u8]) {
    frames(data);
    values(data);
    if let Ok(Performative::Transfer(transfer)) = Performative::decode(data) {
        assert!(transfer.payload_bytes <= data.len());
    }
    message(&Bytes::copy_from_slice(data));
}

fn frames(data: &[u8]) {
    if let Ok(Some(size)) = frame_size(data, u32::MAX)
        && let Some(frame) = data.get(..size)
        && let Ok(frame) = parse_frame(frame)
    {
        assert!(frame.body_at <= size);
    }
}

/// Values are read and stepped over alike, and simple ones come back from their shortest encoding.
fn values(data: &[u8]) {
    let mut reader = Reader::new(data);
    while !reader.is_empty() {
        let mut stepping = reader;
        let mut validating = reader;
        let Ok(item) = reader.item() else { return };
        assert!(stepping.raw().is_ok());
        assert_eq!(reader.rest(), stepping.rest());
        if validate(&mut validating, DEPTH_MAX).is_ok() {
            assert_eq!(reader.rest(), validating.rest());
        }
        if let Item::Simple(value) = item {
            same_again(&value);
        }
    }
}

fn same_again(value: &Value<'_>) {
    let mut bytes = BytesMut::new();
    put_value(&mut bytes, value);
    let mut reader = Reader::new(&bytes);
    let back = reader.simple().expect("a written value can be read");
    assert!(reader.is_empty());
    let mut again = BytesMut::new();
    put_value(&mut again, &back); // compared as bytes: a float may be no number
    assert_eq!(bytes, again);
    assert_eq!(std::mem::discriminant(value), std::mem::discriminant(&back));
}

/// A message that is taken can be viewed, and delivered as the message that it was.
fn message(payload: &Bytes) {
    let Ok(incoming) = message::parse(payload, DEPTH_MAX) else { return };
    let meta = Meta { durable: incoming.durable, ..Meta::new(Address::queue("q")) };
    let message = Arc::new(Message::new(meta, Encoding::Amqp10, incoming.head.clone(), incoming.body.clone()));
    let formats = crate::formats();
    let view = formats.view(&message);
    let delivery = Delivery {
        consumer: ConsumerId(0),
        seq: Seq(1),
        message: message.clone(),
        failed_count: 1,
        redelivered: true,
        retained: false,
    };
    let mut delivered = message::encode(&delivery, false, &formats, Time(0));
    let length = delivered.len();
    let mut wire = Wire::default();
    delivered.write_front(length, &mut wire);
    let bytes: Vec<u8> = wire.take().into_iter().flatten().collect();
    let back = message::parse(&Bytes::from(bytes), DEPTH_MAX).expect("a delivered message can be read");
    assert_eq!((back.durable, &back.head, &back.body), (incoming.durable, &incoming.head, &incoming.body));
    drop(view);
}

/// What a consumer makes of `payload`, a whole delivered message.
pub fn delivered(payload: &Bytes) -> Message {
    let incoming = message::parse(payload, DEPTH_MAX).expect("a delivered message can be read");
    let mut meta = Meta::new(Address::queue("q"));
    meta.durable = incoming.durable;
    meta.priority = incoming.priority.unwrap_or(meta.priority);
    Message::new(meta, Encoding::Amqp10, incoming.head, incoming.body)
}

/// A message of an AMQP publisher; `None` if it is refused.
pub fn published(payload: &[u8]) -> Option<(Bytes, Bytes)> {
    let incoming = message::parse(&Bytes::copy_from_slice(payload), DEPTH_MAX).ok()?;
    Some((incoming.head, incoming.body))
}
