//! A message's sections: checked and split when it is published.

use std::borrow::Cow;

use bytes::Bytes;
use evergate_model::Value;

use super::annotations::{JMS_DEST, is_key_of_ours, without_ours};
use super::large::read_descriptor;
use super::wishes::Wishes;
use crate::codec::{DecodeError, Fields, Item, Reader, validate};

pub(super) const HEADER: u8 = 0x70;
pub(super) const DELIVERY_ANNOTATIONS: u8 = 0x71;
pub(super) const MESSAGE_ANNOTATIONS: u8 = 0x72;
pub(super) const PROPERTIES: u8 = 0x73;
pub(super) const APPLICATION_PROPERTIES: u8 = 0x74;
pub(super) const DATA: u8 = 0x75;
pub(super) const SEQUENCE: u8 = 0x76;
pub(super) const VALUE: u8 = 0x77;
pub(super) const FOOTER: u8 = 0x78;

/// One section.
pub(super) struct Section<'a> {
    pub code: u8,
    /// What the descriptor describes.
    pub value: &'a [u8],
    /// Where the section begins and ends in the bytes.
    pub at: usize,
    pub end: usize,
}

/// The sections in `bytes`, one after the other.
pub(super) struct Sections<'a> {
    bytes: &'a [u8],
    reader: Reader<'a>,
}

impl<'a> Sections<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, reader: Reader::new(bytes) }
    }
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let at = self.bytes.len() - self.reader.rest().len();
        let section = match self.reader.item() {
            Ok(Item::Described { descriptor, value }) => section_code(&descriptor).map(|code| {
                let end = self.bytes.len() - self.reader.rest().len();
                Section { code, value, at, end }
            }),
            Ok(_) => Err(DecodeError::UnknownDescriptor),
            Err(error) => Err(error),
        };
        if section.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(section)
    }
}

pub(super) fn section_code(descriptor: &Value<'_>) -> Result<u8, DecodeError> {
    const NAMES: [&str; 9] = [
        "amqp:header:list",
        "amqp:delivery-annotations:map",
        "amqp:message-annotations:map",
        "amqp:properties:list",
        "amqp:application-properties:map",
        "amqp:data:binary",
        "amqp:amqp-sequence:list",
        "amqp:amqp-value:*",
        "amqp:footer:map",
    ];
    match descriptor {
        Value::Ulong(code) if (u64::from(HEADER)..=u64::from(FOOTER)).contains(code) => Ok(*code as u8),
        Value::Symbol(name) => NAMES
            .iter()
            .zip(HEADER..)
            .find_map(|(known, code)| (known == name).then_some(code))
            .ok_or(DecodeError::UnknownDescriptor),
        _ => Err(DecodeError::UnknownDescriptor),
    }
}

/// A message as it came in: what is read once, and the bytes that are kept.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Incoming {
    pub durable: bool,
    pub priority: Option<u8>,
    /// Milliseconds to live.
    pub ttl: Option<u32>,
    /// Milliseconds since 1970.
    pub absolute_expiry: Option<i64>,
    pub to: Option<String>,
    /// JMS's kind of `to`.
    pub jms_dest: Option<i8>,
    pub wishes: Wishes,
    /// Annotations that only the gateway writes are among the publisher's.
    forwarded: bool,
    /// Message-annotations, properties, application-properties.
    pub head: Bytes,
    /// Body sections and footer.
    pub body: Bytes,
}

/// Checks and splits a message.
pub(crate) fn parse(payload: &Bytes, depth_max: u32) -> Result<Incoming, DecodeError> {
    let mut incoming = Incoming::default();
    let (mut head_at, mut body_at) = (None, None);
    let mut last = 0;
    for section in Sections::new(payload) {
        let section = section?;
        incoming.take(&section, &mut last, depth_max)?;
        if section.code >= MESSAGE_ANNOTATIONS {
            head_at.get_or_insert(section.at);
        }
        if section.code >= DATA {
            body_at.get_or_insert(section.at);
        }
    }
    let body_at = body_at.unwrap_or(payload.len());
    let head_at = head_at.unwrap_or(body_at);
    incoming.head = payload.slice(head_at..body_at);
    incoming.body = payload.slice(body_at..);
    incoming.drop_forwarded()?;
    Ok(incoming)
}

/// Checks and splits off what stands before the body, of a message whose end is not here. `body` is what is here
/// of it. Nothing if not even the body's beginning is here.
pub(crate) fn parse_front(payload: &Bytes, depth_max: u32) -> Result<Option<Incoming>, DecodeError> {
    let mut incoming = Incoming::default();
    let mut sections = Sections::new(payload);
    let mut head_at = None;
    let mut last = 0;
    loop {
        let rest = sections.reader.rest();
        let at = payload.len() - rest.len();
        let Some((descriptor, _)) = read_descriptor(rest)? else { return Ok(None) };
        if section_code(&descriptor)? >= DATA {
            // Copied: the head outlives the rest, which is much larger.
            incoming.head = Bytes::copy_from_slice(&payload[head_at.unwrap_or(at)..at]);
            incoming.body = payload.slice(at..);
            incoming.drop_forwarded()?;
            return Ok(Some(incoming));
        }
        match sections.next() {
            None | Some(Err(DecodeError::Truncated)) => return Ok(None),
            Some(section) => {
                let section = section?;
                incoming.take(&section, &mut last, depth_max)?;
                if section.code >= MESSAGE_ANNOTATIONS {
                    head_at.get_or_insert(section.at);
                }
            }
        }
    }
}

/// The amqp-value of a message that has one. What else is in the message is of no interest.
pub(crate) fn control_body(payload: &Bytes, depth_max: u32) -> Result<Option<Bytes>, DecodeError> {
    let body = parse(payload, depth_max)?.body;
    match Sections::new(&body).next().transpose()? {
        Some(Section { code: VALUE, value, .. }) => Ok(Some(body.slice_ref(value))),
        _ => Ok(None),
    }
}

/// Sections come in order; data and amqp-sequence may repeat, kinds of body do not mix (3.2).
fn check_order(last: u8, code: u8) -> Result<(), DecodeError> {
    let repeats = code == last && matches!(code, DATA | SEQUENCE);
    let mixes = (DATA..=VALUE).contains(&last) && (DATA..=VALUE).contains(&code) && !repeats;
    if repeats || (code > last && !mixes) { Ok(()) } else { Err(DecodeError::Misplaced) }
}

impl Incoming {
    /// Checks a section and reads it. `last`: the code of the one before.
    fn take(&mut self, section: &Section<'_>, last: &mut u8, depth_max: u32) -> Result<(), DecodeError> {
        check_order(*last, section.code)?;
        *last = section.code;
        let mut reader = Reader::new(section.value);
        validate(&mut reader, depth_max)?;
        if !reader.is_empty() {
            return Err(DecodeError::BadLength);
        }
        self.read(section)
    }

    fn read(&mut self, section: &Section<'_>) -> Result<(), DecodeError> {
        match section.code {
            HEADER => {
                let mut fields = Fields::of(section.value)?;
                self.durable = fields.flag()?;
                self.priority = fields.u8()?;
                self.ttl = fields.u32()?;
                fields.flag()?;
                fields.u32()?;
            }
            DELIVERY_ANNOTATIONS | FOOTER => {
                map(section.value)?;
            }
            MESSAGE_ANNOTATIONS => self.read_annotations(section.value)?,
            PROPERTIES => {
                let properties = Properties::read(section.value)?;
                self.to = properties.to.map(Cow::into_owned);
                self.absolute_expiry = properties.absolute_expiry;
                self.wishes.group_id = properties.group_id.map(Cow::into_owned);
            }
            APPLICATION_PROPERTIES => self.read_application_properties(section.value)?,
            DATA => match Reader::new(section.value).item()? {
                Item::Simple(Value::Binary(_)) => {}
                _ => return Err(DecodeError::WrongType),
            },
            SEQUENCE => match Reader::new(section.value).item()? {
                Item::List(_) => {}
                _ => return Err(DecodeError::WrongType),
            },
            _ => {}
        }
        Ok(())
    }

    fn read_annotations(&mut self, value: &[u8]) -> Result<(), DecodeError> {
        let mut items = map(value)?;
        while let Some(key) = items.next().transpose()? {
            let value = items.next().transpose()?;
            self.forwarded |= is_key_of_ours(&key);
            let (Item::Simple(Value::Symbol(name)), Some(value)) = (key, value) else { continue };
            match (&*name, &value) {
                (JMS_DEST, Item::Simple(Value::Byte(kind))) => self.jms_dest = Some(*kind),
                _ => self.wishes.read_annotation(&name, &value),
            }
        }
        Ok(())
    }

    fn drop_forwarded(&mut self) -> Result<(), DecodeError> {
        if self.forwarded {
            self.head = without_ours(&self.head)?;
        }
        Ok(())
    }

    /// Keys are strings, values are simple (3.2.5).
    fn read_application_properties(&mut self, value: &[u8]) -> Result<(), DecodeError> {
        let mut items = map(value)?;
        while let Some(key) = items.next().transpose()? {
            let value = items.next().transpose()?;
            let (Item::Simple(Value::String(name)), Some(Item::Simple(value))) = (key, value) else {
                return Err(DecodeError::WrongType);
            };
            self.wishes.read_property(&name, &value);
        }
        Ok(())
    }
}

/// The keys and values of a map.
pub(super) fn map(value: &[u8]) -> Result<crate::codec::Items<'_>, DecodeError> {
    match Reader::new(value).item()? {
        Item::Map(items) => Ok(items),
        _ => Err(DecodeError::WrongType),
    }
}

/// The properties section (3.2.4).
#[derive(Debug, Default)]
pub(super) struct Properties<'a> {
    pub message_id: Option<Value<'a>>,
    pub user_id: Option<Value<'a>>,
    pub to: Option<Cow<'a, str>>,
    pub subject: Option<Cow<'a, str>>,
    pub reply_to: Option<Cow<'a, str>>,
    pub correlation_id: Option<Value<'a>>,
    pub content_type: Option<Cow<'a, str>>,
    pub content_encoding: Option<Cow<'a, str>>,
    pub absolute_expiry: Option<i64>,
    pub creation_time: Option<i64>,
    pub group_id: Option<Cow<'a, str>>,
    pub group_sequence: Option<u32>,
    pub reply_to_group_id: Option<Cow<'a, str>>,
}

impl<'a> Properties<'a> {
    pub fn read(value: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(value)?;
        Ok(Self {
            message_id: read_id(&mut fields)?,
            user_id: fields.binary()?.map(Value::Binary),
            to: fields.string()?,
            subject: fields.string()?,
            reply_to: fields.string()?,
            correlation_id: read_id(&mut fields)?,
            content_type: fields.symbol()?,
            content_encoding: fields.symbol()?,
            absolute_expiry: fields.timestamp()?,
            creation_time: fields.timestamp()?,
            group_id: fields.string()?,
            group_sequence: fields.u32()?,
            reply_to_group_id: fields.string()?,
        })
    }
}

/// A message id is a ulong, a uuid, binary or a string (3.2.11 to 3.2.14).
fn read_id<'a>(fields: &mut Fields<'a>) -> Result<Option<Value<'a>>, DecodeError> {
    match fields.value()? {
        None => Ok(None),
        Some(id @ (Value::Ulong(_) | Value::Uuid(_) | Value::Binary(_) | Value::String(_))) => Ok(Some(id)),
        Some(_) => Err(DecodeError::WrongType),
    }
}
