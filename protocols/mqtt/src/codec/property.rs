//! MQTT 5's properties: which exist, their types, where they may stand (section 2.2.2.2).

use bytes::{BufMut, Bytes, BytesMut};

use super::{DecodeError, Reader, ReasonCode, put_text, put_var_int, var_int_len};

/// Property identifiers.
#[allow(missing_docs)] // the specification's names
pub mod id {
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_ID: u8 = 0x0B;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const AUTHENTICATION_DATA: u8 = 0x16;
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub const WILL_DELAY: u8 = 0x18;
    pub const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub const RESPONSE_INFORMATION: u8 = 0x1A;
    pub const SERVER_REFERENCE: u8 = 0x1C;
    pub const REASON_STRING: u8 = 0x1F;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const MAXIMUM_QOS: u8 = 0x24;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER_PROPERTY: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const WILDCARD_AVAILABLE: u8 = 0x28;
    pub const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub const SHARED_AVAILABLE: u8 = 0x2A;
}

/// Where properties stand: the packet type's number, or 0 for a CONNECT's will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) u8);

impl Place {
    pub(crate) const WILL: Self = Self(0);
    pub(crate) const CONNECT: Self = Self(1);
    pub(crate) const CONNACK: Self = Self(2);
    pub(crate) const PUBLISH: Self = Self(3);
    pub(crate) const SUBSCRIBE: Self = Self(8);
    pub(crate) const SUBACK: Self = Self(9);
    pub(crate) const UNSUBSCRIBE: Self = Self(10);
    pub(crate) const UNSUBACK: Self = Self(11);
    pub(crate) const DISCONNECT: Self = Self(14);
    pub(crate) const AUTH: Self = Self(15);

    const fn bit(self) -> u16 {
        1 << self.0
    }
}

/// Whether property `id` may stand in `place`.
fn is_allowed(id: u8, place: Place) -> bool {
    const MESSAGE: u16 = Place::PUBLISH.bit() | Place::WILL.bit();
    const BOTH: u16 = Place::CONNECT.bit() | Place::CONNACK.bit();
    let places = match id {
        id::PAYLOAD_FORMAT | id::MESSAGE_EXPIRY | id::CONTENT_TYPE | id::RESPONSE_TOPIC | id::CORRELATION_DATA => {
            MESSAGE
        }
        id::SUBSCRIPTION_ID => Place::PUBLISH.bit() | Place::SUBSCRIBE.bit(),
        id::SESSION_EXPIRY => BOTH | Place::DISCONNECT.bit(),
        id::AUTHENTICATION_METHOD | id::AUTHENTICATION_DATA => BOTH | Place::AUTH.bit(),
        id::REQUEST_PROBLEM_INFORMATION | id::REQUEST_RESPONSE_INFORMATION => Place::CONNECT.bit(),
        id::WILL_DELAY => Place::WILL.bit(),
        id::SERVER_REFERENCE => Place::CONNACK.bit() | Place::DISCONNECT.bit(),
        // CONNACK, the four acknowledgements of PUBLISH, SUBACK, UNSUBACK, DISCONNECT, AUTH.
        id::REASON_STRING => 0b1100_1010_1111_0100,
        id::RECEIVE_MAXIMUM | id::TOPIC_ALIAS_MAXIMUM | id::MAXIMUM_PACKET_SIZE => BOTH,
        id::TOPIC_ALIAS => Place::PUBLISH.bit(),
        id::USER_PROPERTY => 0b1100_1111_1111_1111,
        id::ASSIGNED_CLIENT_ID
        | id::SERVER_KEEP_ALIVE
        | id::RESPONSE_INFORMATION
        | id::MAXIMUM_QOS
        | id::RETAIN_AVAILABLE
        | id::WILDCARD_AVAILABLE
        | id::SUBSCRIPTION_IDS_AVAILABLE
        | id::SHARED_AVAILABLE => Place::CONNACK.bit(),
        _ => 0,
    };
    places & place.bit() != 0
}

/// A property's value, borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawValue<'a> {
    Flag(bool),
    Two(u16),
    Four(u32),
    VarInt(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

/// The next property and its value, whose range is checked.
pub(crate) fn next_property<'a>(reader: &mut Reader<'a>) -> Result<(u8, RawValue<'a>), DecodeError> {
    // Identifiers are variable byte integers, but all that exist have one byte. [MQTT-2.2.2-2]
    let id = reader.u8()?;
    let value = match id {
        id::PAYLOAD_FORMAT
        | id::REQUEST_PROBLEM_INFORMATION
        | id::REQUEST_RESPONSE_INFORMATION
        | id::MAXIMUM_QOS
        | id::RETAIN_AVAILABLE
        | id::WILDCARD_AVAILABLE
        | id::SUBSCRIPTION_IDS_AVAILABLE
        | id::SHARED_AVAILABLE => match reader.u8()? {
            0 => RawValue::Flag(false),
            1 => RawValue::Flag(true),
            _ => return Err(DecodeError::protocol("a property that is 0 or 1 has another value")),
        },
        id::SERVER_KEEP_ALIVE | id::TOPIC_ALIAS_MAXIMUM => RawValue::Two(reader.u16()?),
        id::RECEIVE_MAXIMUM => match reader.u16()? {
            0 => return Err(DecodeError::protocol("receive maximum 0")),
            value => RawValue::Two(value),
        },
        id::TOPIC_ALIAS => match reader.u16()? {
            0 => return Err(DecodeError::new(ReasonCode::TOPIC_ALIAS_INVALID, "topic alias 0")), // [MQTT-3.3.2-8]
            value => RawValue::Two(value),
        },
        id::MESSAGE_EXPIRY | id::SESSION_EXPIRY | id::WILL_DELAY => RawValue::Four(reader.u32()?),
        id::MAXIMUM_PACKET_SIZE => match reader.u32()? {
            0 => return Err(DecodeError::protocol("maximum packet size 0")),
            value => RawValue::Four(value),
        },
        id::SUBSCRIPTION_ID => match reader.var_int()? {
            0 => return Err(DecodeError::protocol("subscription identifier 0")),
            value => RawValue::VarInt(value),
        },
        id::CONTENT_TYPE
        | id::ASSIGNED_CLIENT_ID
        | id::AUTHENTICATION_METHOD
        | id::RESPONSE_INFORMATION
        | id::SERVER_REFERENCE
        | id::REASON_STRING => RawValue::Text(reader.text()?),
        id::RESPONSE_TOPIC => {
            let topic = reader.text()?;
            // [MQTT-3.3.2-14]
            if topic.is_empty() || topic.contains(['+', '#']) {
                return Err(DecodeError::protocol("the response topic is empty or has a wildcard"));
            }
            RawValue::Text(topic)
        }
        id::CORRELATION_DATA | id::AUTHENTICATION_DATA => RawValue::Binary(reader.binary()?),
        id::USER_PROPERTY => RawValue::Pair(reader.text()?, reader.text()?),
        _ => return Err(DecodeError::malformed("an unknown property")),
    };
    Ok((id, value))
}

/// Which properties were seen, to refuse a second one.
struct Seen {
    place: Place,
    mask: u64,
}

impl Seen {
    fn new(place: Place) -> Self {
        Self { place, mask: 0 }
    }

    fn check(&mut self, id: u8) -> Result<(), DecodeError> {
        if !is_allowed(id, self.place) {
            // 2.2.2.2: an identifier that is not valid for its packet type makes it malformed.
            return Err(DecodeError::malformed("a property that this packet may not have"));
        }
        let may_repeat = id == id::USER_PROPERTY || (id == id::SUBSCRIPTION_ID && self.place == Place::PUBLISH);
        let bit = 1 << (id & 0x3F);
        if self.mask & bit != 0 && !may_repeat {
            return Err(DecodeError::protocol("a property is there twice"));
        }
        self.mask |= bit;
        Ok(())
    }
}

/// A property's value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the specification's types
pub enum PropertyValue {
    Flag(bool),
    Two(u16),
    Four(u32),
    VarInt(u32),
    Text(String),
    Binary(Bytes),
    Pair(String, String),
}

/// One property of a packet that is not a PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Which; see [`id`].
    pub id: u8,
    /// Its value.
    pub value: PropertyValue,
}

/// The properties of a packet that is not a PUBLISH, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<Property>);

impl Properties {
    /// Adds one.
    pub fn add(&mut self, id: u8, value: PropertyValue) {
        self.0.push(Property { id, value });
    }

    fn get(&self, id: u8) -> Option<&PropertyValue> {
        self.0.iter().find(|property| property.id == id).map(|property| &property.value)
    }

    /// An integer property, of whichever width.
    pub fn number(&self, id: u8) -> Option<u32> {
        match self.get(id)? {
            PropertyValue::Flag(v) => Some(u32::from(*v)),
            PropertyValue::Two(v) => Some(u32::from(*v)),
            PropertyValue::Four(v) | PropertyValue::VarInt(v) => Some(*v),
            PropertyValue::Text(_) | PropertyValue::Binary(_) | PropertyValue::Pair(..) => None,
        }
    }

    /// A property that is 0 or 1.
    pub fn flag(&self, id: u8) -> Option<bool> {
        match self.get(id)? {
            PropertyValue::Flag(v) => Some(*v),
            _ => None,
        }
    }

    /// A string property.
    pub fn text(&self, id: u8) -> Option<&str> {
        match self.get(id)? {
            PropertyValue::Text(v) => Some(v),
            _ => None,
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, place: Place) -> Result<Self, DecodeError> {
        let length = reader.var_int()? as usize;
        let mut section = reader.section(length)?;
        let mut seen = Seen::new(place);
        let mut all = Self::default();
        while !section.is_empty() {
            let (id, value) = next_property(&mut section)?;
            seen.check(id)?;
            all.add(id, value.to_owned());
        }
        Ok(all)
    }

    pub(crate) fn put(&self, buf: &mut BytesMut) {
        put_var_int(buf, self.body_len() as u32);
        for Property { id, value } in &self.0 {
            buf.put_u8(*id);
            match value {
                PropertyValue::Flag(v) => buf.put_u8(u8::from(*v)),
                PropertyValue::Two(v) => buf.put_u16(*v),
                PropertyValue::Four(v) => buf.put_u32(*v),
                PropertyValue::VarInt(v) => put_var_int(buf, *v),
                PropertyValue::Text(v) => put_text(buf, v),
                PropertyValue::Binary(v) => {
                    buf.put_u16(v.len() as u16);
                    buf.put_slice(v);
                }
                PropertyValue::Pair(name, text) => {
                    put_text(buf, name);
                    put_text(buf, text);
                }
            }
        }
    }

    fn body_len(&self) -> usize {
        let value_len = |value: &PropertyValue| match value {
            PropertyValue::Flag(_) => 1,
            PropertyValue::Two(_) => 2,
            PropertyValue::Four(_) => 4,
            PropertyValue::VarInt(v) => var_int_len(*v as usize),
            PropertyValue::Text(v) => 2 + v.len(),
            PropertyValue::Binary(v) => 2 + v.len(),
            PropertyValue::Pair(name, text) => 4 + name.len() + text.len(),
        };
        self.0.iter().map(|property| 1 + value_len(&property.value)).sum()
    }
}

impl RawValue<'_> {
    fn to_owned(self) -> PropertyValue {
        match self {
            Self::Flag(v) => PropertyValue::Flag(v),
            Self::Two(v) => PropertyValue::Two(v),
            Self::Four(v) => PropertyValue::Four(v),
            Self::VarInt(v) => PropertyValue::VarInt(v),
            Self::Text(v) => PropertyValue::Text(v.to_owned()),
            Self::Binary(v) => PropertyValue::Binary(Bytes::copy_from_slice(v)),
            Self::Pair(name, text) => PropertyValue::Pair(name.to_owned(), text.to_owned()),
        }
    }
}

/// The properties of a PUBLISH or of a will.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Those that travel to the consumer, as sent, one after the other.
    pub head: Bytes,
    /// Message expiry interval, seconds.
    pub expiry: Option<u32>,
    /// Topic alias.
    pub alias: Option<u16>,
    /// Subscription identifiers, in a PUBLISH to a client.
    pub subscription_ids: Vec<u32>,
    /// Will delay interval, seconds.
    pub will_delay: u32,
}

impl MessageProperties {
    /// Reads them from `reader`, which reads `frame`.
    pub(crate) fn read(reader: &mut Reader<'_>, frame: &Bytes, place: Place) -> Result<Self, DecodeError> {
        let length = reader.var_int()? as usize;
        let mut section = reader.section(length)?;
        let mut seen = Seen::new(place);
        let mut all = Self::default();
        let start = section.position();
        // Between the properties that stay here lie those that travel.
        let mut copied = BytesMut::new();
        let mut travels_from = start;
        while !section.is_empty() {
            let at = section.position();
            let (id, value) = next_property(&mut section)?;
            seen.check(id)?;
            match (id, value) {
                (id::MESSAGE_EXPIRY, RawValue::Four(seconds)) => all.expiry = Some(seconds),
                (id::WILL_DELAY, RawValue::Four(seconds)) => all.will_delay = seconds,
                (id::TOPIC_ALIAS, RawValue::Two(alias)) => all.alias = Some(alias),
                (id::SUBSCRIPTION_ID, RawValue::VarInt(number)) => all.subscription_ids.push(number),
                _ => continue,
            }
            copied.extend_from_slice(&frame[travels_from..at]);
            travels_from = section.position();
        }
        let tail = travels_from..start + length;
        all.head = if copied.is_empty() {
            frame.slice(tail)
        } else {
            copied.extend_from_slice(&frame[tail]);
            copied.freeze()
        };
        Ok(all)
    }
}
