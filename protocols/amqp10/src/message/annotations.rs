//! Message annotations: those that only the gateway may write, and JMS's words on kinds of addresses.

use bytes::{Bytes, BytesMut};
use evergate_model::{Address, AddressKind, TEMPORARY_PREFIX, Value, dead_letter};

use super::sections::{MESSAGE_ANNOTATIONS, Sections, map};
use crate::codec::{DecodeError, Item, MapWriter, Reader, put_descriptor};

/// The place of a message in its stream, under RabbitMQ's name.
pub(super) const STREAM_OFFSET: &str = "x-stream-offset";

/// A message that was there before the subscription.
pub(super) const RETAINED: &str = "x-opt-retained";

/// Before the name of what the gateway notes.
pub(super) const PREFIX: &str = "x-opt-";

/// What kind of destination `to` and `reply-to` name (AMQP JMS mapping, 3.2.1).
pub(super) const JMS_DEST: &str = "x-opt-jms-dest";
pub(super) const JMS_REPLY_TO: &str = "x-opt-jms-reply-to";

/// What their number means: 0 queue, 1 topic, 2 and 3 the same, temporary.
pub(crate) fn jms_kind(number: i8) -> AddressKind {
    if matches!(number, 1 | 3) { AddressKind::Topic } else { AddressKind::Queue }
}

/// The number for an address that says its kind.
pub(super) fn jms_number(address: &str) -> Option<i8> {
    let (kind, name) = Address::parse(address)?;
    let number = i8::from(kind == AddressKind::Topic);
    Some(if name.starts_with(TEMPORARY_PREFIX) { number + 2 } else { number })
}

/// The number of a message's annotation of this name, if its section of annotations has one.
pub(super) fn jms_number_in(section: &[u8], name: &str) -> Option<i8> {
    let mut items = map(section).ok()?;
    while let (Some(Ok(key)), Some(Ok(value))) = (items.next(), items.next()) {
        if let (Item::Simple(Value::Symbol(key)), Item::Simple(Value::Byte(number))) = (key, value)
            && key == name
        {
            return Some(number);
        }
    }
    None
}

/// Whether the gateway writes it. Who forwards what it received sends it along; nobody shall take it for the
/// gateway's word, and no map may have a key twice (part 1, 1.6.23).
fn is_ours(name: &str) -> bool {
    let is_dead_letters = name.strip_prefix(PREFIX).is_some_and(|note| note.starts_with(dead_letter::PREFIX));
    name == STREAM_OFFSET || name == RETAINED || is_dead_letters
}

/// The same of a key. Annotations have symbols as keys; some clients read strings as well.
pub(super) fn is_key_of_ours(key: &Item<'_>) -> bool {
    matches!(key, Item::Simple(Value::Symbol(name) | Value::String(name)) if is_ours(name))
}

/// The sections before a body, with message annotations first, without those that are ours.
pub(super) fn without_ours(head: &Bytes) -> Result<Bytes, DecodeError> {
    let Some(section) = Sections::new(head).next().transpose()? else { return Ok(head.clone()) };
    let mut items = map(section.value)?;
    let mut buf = BytesMut::with_capacity(head.len() + 16);
    put_descriptor(&mut buf, MESSAGE_ANNOTATIONS);
    let mut kept = MapWriter::new(&mut buf);
    while items.count > 0 {
        let (key, value) = (items.raw()?, items.raw()?);
        if !is_key_of_ours(&Reader::new(key).item()?) {
            kept.raw(1, key);
            kept.raw(1, value);
        }
    }
    kept.close();
    buf.extend_from_slice(&head[section.end..]);
    Ok(buf.freeze())
}
