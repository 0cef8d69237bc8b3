//! A message on its way to a consumer: a fresh header before the publisher's bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use evergate_model::{Delivery, Encoding, Formats, Meta, Time, Value, Wire, dead_letter};

use super::annotations::{PREFIX, RETAINED, STREAM_OFFSET};
use super::convert::convert;
use super::sections::{HEADER, MESSAGE_ANNOTATIONS, Sections, map};
use super::wishes::{DEDUP_ID, DELIVERY_TIME, DISCARDABLE};
use crate::codec::{ListWriter, MapWriter, put_descriptor};

/// Priority of a message whose header does not say (3.2.1).
const PRIORITY_DEFAULT: u8 = 4;

/// Bytes of a message that are to be sent.
#[derive(Debug, Default)]
pub(crate) struct Payload {
    /// Ours, then the publisher's head and body.
    message: [Bytes; 3],
    /// A piece of a large body.
    piece: VecDeque<Bytes>,
}

impl Payload {
    pub fn piece(piece: VecDeque<Bytes>) -> Self {
        Self { piece, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.message.iter().chain(&self.piece).map(Bytes::len).sum()
    }

    /// Takes up to `bytes_max` from the front to the wire.
    pub fn write_front(&mut self, mut bytes_max: usize, wire: &mut Wire) {
        for bytes in self.message.iter_mut().chain(&mut self.piece) {
            let part = bytes.split_to(bytes.len().min(bytes_max));
            bytes_max -= part.len();
            wire.push(&part);
        }
    }
}

/// The message as this delivery carries it, without a body that goes in pieces. `tells_place`: with its place in the
/// stream.
pub(crate) fn encode(delivery: &Delivery, tells_place: bool, formats: &Formats, now: Time) -> Payload {
    let message = &*delivery.message;
    let (head, body) = message.in_encoding(Encoding::Amqp10, || convert(message, &formats.view(message)));
    let mut first = BytesMut::with_capacity(64);
    put_header(&mut first, delivery, now);
    let mut head = head.clone();
    let foreign = message.encoding != Encoding::Amqp10;
    let wishes = foreign && has_wishes(&message.meta);
    if tells_place || delivery.retained || wishes || !message.annotations.is_empty() {
        put_annotations(&mut first, delivery, tells_place, &mut head);
    }
    Payload { message: [first.freeze(), head, body.clone()], piece: VecDeque::new() }
}

fn put_header(buf: &mut BytesMut, delivery: &Delivery, now: Time) {
    let meta = &delivery.message.meta;
    // Time to live is lowered by the time spent waiting; what lives for more than 49 days needs no ttl.
    let ttl = meta.expires_at.and_then(|at| u32::try_from(at.0.saturating_sub(now.0).max(1)).ok());
    let mut list = ListWriter::described(buf, HEADER);
    list.flag(meta.durable);
    if meta.priority == PRIORITY_DEFAULT {
        list.null();
    } else {
        list.value(&Value::Ubyte(meta.priority));
    }
    list.option(ttl, |buf, ttl| crate::codec::put_value(buf, &Value::Uint(ttl)));
    list.flag(!delivery.redelivered);
    if delivery.failed_count > 0 {
        list.uint(delivery.failed_count);
    }
    list.close();
}

/// Writes the broker's annotations together with the publisher's, which are taken off `head`.
fn put_annotations(buf: &mut BytesMut, delivery: &Delivery, tells_place: bool, head: &mut Bytes) {
    let message = &*delivery.message;
    put_descriptor(buf, MESSAGE_ANNOTATIONS);
    let mut list = MapWriter::new(buf);
    let mut taken = 0;
    if let Some(Ok(section)) = Sections::new(head).next()
        && section.code == MESSAGE_ANNOTATIONS
        && let Ok(items) = map(section.value)
    {
        list.raw(items.count, items.reader.rest());
        taken = section.end;
    }
    for annotation in &message.annotations {
        let name = format!("{PREFIX}{}", annotation.name);
        list.pair(&Value::Symbol(name.into()), &typed(&annotation.name, &annotation.value));
    }
    if message.encoding != Encoding::Amqp10 {
        put_wishes(&mut list, &message.meta);
    }
    if tells_place {
        list.pair(&Value::Symbol(STREAM_OFFSET.into()), &Value::Ulong(delivery.seq.0));
    }
    if delivery.retained {
        list.pair(&Value::Symbol(RETAINED.into()), &Value::Bool(true));
    }
    list.close();
    let _ = head.split_to(taken);
}

/// What is a number or a time goes as one.
fn typed<'a>(name: &str, text: &'a str) -> Value<'a> {
    let number = match name {
        dead_letter::COUNT => text.parse().ok().map(Value::Long),
        dead_letter::FIRST_TIME | dead_letter::LAST_TIME => text.parse().ok().map(Value::Timestamp),
        _ => None,
    };
    number.unwrap_or_else(|| Value::text(text))
}

/// Whether [`put_wishes`] has something to write.
fn has_wishes(meta: &Meta) -> bool {
    meta.rare.is_some() && (meta.deliver_at().is_some() || meta.dedup_id().is_some() || meta.is_discardable())
}

/// What a publisher of another protocol asked for, in our words. An AMQP publisher's are in its bytes.
fn put_wishes(list: &mut MapWriter<'_>, meta: &Meta) {
    if let Some(at) = meta.deliver_at().and_then(|at| i64::try_from(at.0).ok()) {
        list.pair(&Value::Symbol(DELIVERY_TIME.into()), &Value::Long(at));
    }
    if let Some(identity) = meta.dedup_id() {
        list.pair(&Value::Symbol(DEDUP_ID.into()), &Value::text(&**identity));
    }
    if meta.is_discardable() {
        list.pair(&Value::Symbol(DISCARDABLE.into()), &Value::Bool(true));
    }
}
