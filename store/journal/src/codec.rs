//! A message as compact bytes: for stores that keep it whole and for retained messages in keyed state.
//!
//! Version 1: version, flags, encoding, priority (a byte each); id, ingress and, if flagged, expiry (8 bytes
//! each, little endian); address, count of annotations, their names and values, if flagged what few messages
//! have, head, body, each after its length as a varint.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{
    Address, AddressKind, Annotation, Encoding, Fingerprint, LargeBody, Message, MessageId, Meta, QueueId, RareMeta,
    Time,
};

const VERSION: u8 = 1;
const DURABLE: u8 = 1;
const TOPIC: u8 = 2;
const EXPIRES: u8 = 4;
const RARE: u8 = 8;

/// What of [`RareMeta`] there is.
const DELIVER_AT: u8 = 1;
const GROUP_ID: u8 = 2;
const DEDUP_ID: u8 = 4;
const DISCARDABLE: u8 = 8;
const LARGE: u8 = 16;

/// Why stored bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("the stored message is cut short")]
    Short,
    /// There is more than a message.
    #[error("the stored message has bytes left over")]
    Excess,
    /// A newer gateway wrote it.
    #[error("the stored message has version {0}, which this gateway does not know")]
    Version(u8),
    /// The number names no encoding.
    #[error("the stored message has encoding {0}, which this gateway does not know")]
    Encoding(u8),
    /// A length, flag or text that cannot be.
    #[error("the stored message is damaged")]
    Damaged,
}

/// The message as bytes.
pub fn encode_message(message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_size_max(message));
    append_message(&mut out, message);
    out
}

/// At least as many bytes as [`encode_message`] makes.
pub fn encoded_size_max(message: &Message) -> usize {
    let annotations: usize = message.annotations.iter().map(|a| a.name.len() + a.value.len() + 10).sum();
    let rare = message.meta.rare.as_ref().map_or(0, |rare| {
        let texts = [&rare.group_id, &rare.dedup_id];
        let large = rare.large.as_ref().map_or(0, |body| body.queue.len() + 30);
        29 + large + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    });
    message.head.len() + message.body.len() + message.meta.address.name.len() + annotations + rare + 48
}

/// Adds the message's bytes to `out`.
pub fn append_message(out: &mut Vec<u8>, message: &Message) {
    let meta = &message.meta;
    let mut flags = 0;
    if meta.durable {
        flags |= DURABLE;
    }
    if meta.address.kind == AddressKind::Topic {
        flags |= TOPIC;
    }
    if meta.expires_at.is_some() {
        flags |= EXPIRES;
    }
    if meta.rare.is_some() {
        flags |= RARE;
    }
    out.extend_from_slice(&[VERSION, flags, message.encoding as u8, meta.priority]);
    out.extend_from_slice(&meta.id.0.to_le_bytes());
    out.extend_from_slice(&meta.ingress.0.to_le_bytes());
    if let Some(at) = meta.expires_at {
        out.extend_from_slice(&at.0.to_le_bytes());
    }
    put_bytes(out, meta.address.name.as_bytes());
    append_notes(out, message);
    put_bytes(out, &message.head);
    put_bytes(out, &message.body);
}

/// Reads a message. Head and body are slices of `bytes`, not copies.
pub fn decode_message(bytes: &Bytes) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.byte()?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let flags = reader.byte()?;
    if flags & !(DURABLE | TOPIC | EXPIRES | RARE) != 0 {
        return Err(DecodeError::Damaged);
    }
    let encoding = reader.byte()?;
    let encoding = Encoding::from_number(encoding).ok_or(DecodeError::Encoding(encoding))?;
    let priority = reader.byte()?;
    let id = MessageId(reader.fixed()?);
    let ingress = Time(reader.fixed()?);
    let expires_at = if flags & EXPIRES == 0 { None } else { Some(Time(reader.fixed()?)) };
    let kind = if flags & TOPIC == 0 { AddressKind::Queue } else { AddressKind::Topic };
    let address = Address { kind, name: reader.text()? };
    let notes = reader.notes(flags & RARE != 0)?;
    let head = reader.bytes()?;
    let body = reader.bytes()?;
    if !reader.is_empty() {
        return Err(DecodeError::Excess);
    }
    let meta = Meta { id, address, durable: flags & DURABLE != 0, priority, expires_at, ingress, rare: notes.rare };
    let mut message = Message::new(meta, encoding, head, body);
    message.annotations = notes.annotations;
    Ok(message)
}

/// Adds an identity and when it came to a row of [`crate::Table::Dedup`].
pub fn append_identity(out: &mut BytesMut, at: u64, identity: &str) {
    out.extend_from_slice(&at.to_le_bytes());
    let mut length = Vec::with_capacity(10 + identity.len());
    put_bytes(&mut length, identity.as_bytes());
    out.extend_from_slice(&length);
}

/// Reads a row of identities.
pub fn decode_identities(bytes: &Bytes) -> Result<Vec<(u64, Arc<str>)>, DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let mut identities = Vec::new();
    while !reader.is_empty() {
        identities.push((reader.fixed()?, reader.text()?));
    }
    Ok(identities)
}

/// The key of a row of [`crate::Table::Fingerprint`].
pub fn fingerprint_key(shard: u16, number: u64) -> String {
    format!("{shard} {number}")
}

/// Adds a fingerprint to a row of [`crate::Table::Fingerprint`]: how queue and message differ from those before it,
/// then the fingerprint.
pub fn append_fingerprint(
    out: &mut Vec<u8>,
    (last_queue, last_message): (QueueId, MessageId),
    (queue, message, fingerprint): (QueueId, MessageId, Fingerprint),
) {
    put_varint(out, zigzag(queue.0.wrapping_sub(last_queue.0)));
    put_varint(out, zigzag(message.0.wrapping_sub(last_message.0)));
    out.extend_from_slice(&fingerprint.0.to_le_bytes());
}

/// Reads a row of fingerprints.
pub fn decode_fingerprints(bytes: &Bytes) -> Result<Vec<(QueueId, MessageId, Fingerprint)>, DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let (mut queue, mut message) = (0_u64, 0_u64);
    let mut all = Vec::new();
    while !reader.is_empty() {
        queue = queue.wrapping_add(unzigzag(reader.varint()?));
        message = message.wrapping_add(unzigzag(reader.varint()?));
        all.push((QueueId(queue), MessageId(message), Fingerprint(reader.fixed()?)));
    }
    Ok(all)
}

/// A difference, up or down, as a number that is small if the difference is.
fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ if difference >> 63 == 0 { 0 } else { u64::MAX }
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ if number & 1 == 0 { 0 } else { u64::MAX }
}

/// What few messages have: annotations, and the rare wishes of their publishers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// What the broker added.
    pub annotations: Vec<Annotation>,
    /// What the publisher wished.
    pub rare: Option<Box<RareMeta>>,
}

/// Whether the message has any [`Notes`].
pub fn has_notes(message: &Message) -> bool {
    !message.annotations.is_empty() || message.meta.rare.is_some()
}

/// Adds the message's notes alone, for stores that have a column of them.
pub fn append_notes(out: &mut Vec<u8>, message: &Message) {
    put_varint(out, message.annotations.len() as u64);
    for annotation in &message.annotations {
        put_bytes(out, annotation.name.as_bytes());
        put_bytes(out, annotation.value.as_bytes());
    }
    let Some(rare) = &message.meta.rare else { return };
    let flags = [
        (rare.deliver_at.is_some(), DELIVER_AT),
        (rare.group_id.is_some(), GROUP_ID),
        (rare.dedup_id.is_some(), DEDUP_ID),
        (rare.discardable, DISCARDABLE),
        (rare.large.is_some(), LARGE),
    ];
    out.push(flags.iter().filter(|(there, _)| *there).map(|(_, flag)| flag).sum());
    if let Some(at) = rare.deliver_at {
        out.extend_from_slice(&at.0.to_le_bytes());
    }
    for text in [&rare.group_id, &rare.dedup_id].into_iter().flatten() {
        put_bytes(out, text.as_bytes());
    }
    if let Some(body) = &rare.large {
        put_large(out, body);
    }
}

/// Adds where a body is that is too large for memory.
pub fn put_large(out: &mut Vec<u8>, body: &LargeBody) {
    put_bytes(out, body.queue.as_bytes());
    put_varint(out, body.bytes);
    put_varint(out, body.payload_bytes);
}

/// Reads notes alone.
pub fn decode_notes(bytes: &Bytes) -> Result<Notes, DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let mut notes = Notes { annotations: reader.annotations()?, rare: None };
    if !reader.is_empty() {
        notes.rare = Some(Box::new(reader.rare()?));
    }
    if reader.is_empty() { Ok(notes) } else { Err(DecodeError::Excess) }
}

/// Adds a number in 1 to 10 bytes, seven bits each, lowest first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    /// A number in 8 bytes, little endian.
    pub fn fixed(&mut self) -> Result<u64, DecodeError> {
        let end = self.at.checked_add(8).ok_or(DecodeError::Short)?;
        let bytes = self.bytes.get(self.at..end).ok_or(DecodeError::Short)?;
        self.at = end;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A number as [`put_varint`] wrote it.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(DecodeError::Damaged);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Damaged)
    }

    /// A length and that many bytes, shared with the source.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Short)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or(DecodeError::Short)?;
        let bytes = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<Arc<str>, DecodeError> {
        let bytes = self.bytes()?;
        Ok(std::str::from_utf8(&bytes).map_err(|_| DecodeError::Damaged)?.into())
    }

    fn notes(&mut self, has_rare: bool) -> Result<Notes, DecodeError> {
        let annotations = self.annotations()?;
        let rare = if has_rare { Some(Box::new(self.rare()?)) } else { None };
        Ok(Notes { annotations, rare })
    }

    fn rare(&mut self) -> Result<RareMeta, DecodeError> {
        let flags = self.byte()?;
        if flags & !(DELIVER_AT | GROUP_ID | DEDUP_ID | DISCARDABLE | LARGE) != 0 {
            return Err(DecodeError::Damaged);
        }
        Ok(RareMeta {
            deliver_at: if flags & DELIVER_AT == 0 { None } else { Some(Time(self.fixed()?)) },
            group_id: if flags & GROUP_ID == 0 { None } else { Some(self.text()?) },
            dedup_id: if flags & DEDUP_ID == 0 { None } else { Some(self.text()?) },
            discardable: flags & DISCARDABLE != 0,
            large: if flags & LARGE == 0 { None } else { Some(Arc::new(self.large()?)) },
            only_to: None,
            asked_by: None,
        })
    }

    /// Where a large body is, as [`put_large`] wrote it.
    pub fn large(&mut self) -> Result<LargeBody, DecodeError> {
        Ok(LargeBody::named(self.text()?, self.varint()?, self.varint()?))
    }

    fn annotations(&mut self) -> Result<Vec<Annotation>, DecodeError> {
        let count = self.varint()?;
        let mut annotations = Vec::new();
        for _ in 0..count {
            annotations.push(Annotation { name: self.text()?, value: self.text()? });
        }
        Ok(annotations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Message {
        let mut meta = Meta::new(Address::topic("shop/eu/\u{e9}"));
        meta.id = MessageId(u64::MAX);
        meta.durable = true;
        meta.priority = 9;
        meta.expires_at = Some(Time(1 << 40));
        meta.ingress = Time(77);
        let head = Bytes::from_static(b"h\0");
        let mut message = Message::new(meta, Encoding::Mqtt5, head, Bytes::from(vec![0; 300]));
        message.annotations.push(Annotation { name: "dead-letter-reason".into(), value: "expired".into() });
        let (group_id, dedup_id) = (Some("g".into()), Some("\u{e9}".into()));
        let deliver_at = Some(Time(u64::MAX));
        let large = Some(Arc::new(LargeBody::named("$body/7".into(), 1 << 40, 9)));
        *message.meta.rare_mut() =
            RareMeta { deliver_at, group_id, dedup_id, discardable: true, large, ..RareMeta::default() };
        message
    }

    fn assert_same(a: &Message, b: &Message) {
        assert_eq!((&a.meta, a.encoding, &a.annotations), (&b.meta, b.encoding, &b.annotations));
        assert_eq!((&a.head, &a.body), (&b.head, &b.body));
    }

    #[test]
    fn a_message_comes_back_as_it_was_without_copying_its_body() {
        let message = sample();
        let bytes = Bytes::from(encode_message(&message));
        assert!(bytes.len() <= encoded_size_max(&message));
        let back = decode_message(&bytes).unwrap();
        assert_same(&message, &back);
        let source = bytes.as_ptr_range();
        assert!(source.contains(&back.body.as_ptr()));
        let plain = Message::new(Meta::new(Address::queue("q")), Encoding::Plain, Bytes::new(), Bytes::new());
        assert_same(&plain, &decode_message(&encode_message(&plain).into()).unwrap());
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_panic() {
        let good = encode_message(&sample());
        for length in 0..good.len() {
            assert!(decode_message(&Bytes::copy_from_slice(&good[..length])).is_err(), "cut at {length}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(decode_message(&longer.into()), Err(DecodeError::Excess)));
        for at in 0..good.len() {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = decode_message(&bad.into()); // only that it does not panic
            }
        }
        let mut newer = good;
        newer[0] = 2;
        assert!(matches!(decode_message(&newer.into()), Err(DecodeError::Version(2))));
    }

    #[test]
    fn notes_come_back_with_and_without_the_rare_ones() {
        let mut message = sample();
        for _ in 0..2 {
            let mut out = Vec::new();
            append_notes(&mut out, &message);
            let notes = decode_notes(&out.into()).unwrap();
            assert_eq!((&notes.annotations, &notes.rare), (&message.annotations, &message.meta.rare));
            message.meta.rare = None;
        }
    }

    #[test]
    fn varints_hold_every_size() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(out.into());
            assert_eq!((reader.varint(), reader.is_empty()), (Ok(value), true));
        }
        assert_eq!(Reader::new(vec![0xff; 11].into()).varint(), Err(DecodeError::Damaged));
    }
}
