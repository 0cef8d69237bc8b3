//! Frames and values of AMQP 1.0, read as far as the load generator needs them.

use std::io;

use super::encode::code;
use crate::wrong;

/// More fields than these are never looked at.
const FIELDS: usize = 8;

/// The performative of a frame: where its first fields begin, and what follows it.
pub struct Performative<'a> {
    pub code: u8,
    pub payload: &'a [u8],
    fields: [&'a [u8]; FIELDS],
}

impl Performative<'_> {
    /// A field as a number; `None` if it is null, absent or something else.
    pub fn number(&self, index: usize) -> Option<u64> {
        match *self.fields[index] {
            [0x43, ..] => Some(0),
            [0x52, value, ..] => Some(u64::from(value)),
            [0x70, a, b, c, d, ..] => Some(u64::from(u32::from_be_bytes([a, b, c, d]))),
            _ => None,
        }
    }

    /// The descriptor of a field that has one.
    pub fn described(&self, index: usize) -> Option<u8> {
        descriptor(self.fields[index]).map(|(code, _)| code)
    }
}

/// The frame at the front, if it is whole, and the bytes it takes.
pub fn next(bytes: &[u8]) -> io::Result<Option<(Performative<'_>, usize)>> {
    let Some(head) = bytes.first_chunk::<8>() else { return Ok(None) };
    let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let start = usize::from(head[4]) * 4;
    if size < start || start < 8 {
        return Err(wrong("bad frame size"));
    }
    let Some(body) = bytes.get(start..size) else { return Ok(None) };
    if body.is_empty() {
        return Ok(Some((Performative { code: code::EMPTY, payload: body, fields: [&[]; FIELDS] }, size)));
    }
    let performative = performative(body).ok_or_else(|| wrong("a performative that cannot be read"))?;
    Ok(Some((performative, size)))
}

fn performative(body: &[u8]) -> Option<Performative<'_>> {
    let (code, list) = descriptor(body)?;
    let length = value_length(list)?;
    let (count, mut rest) = match *list.first()? {
        0x45 => (0, &list[1..]),
        0xc0 => (usize::from(*list.get(2)?), list.get(3..length)?),
        0xd0 => (u32::from_be_bytes(*list.get(5..)?.first_chunk()?) as usize, list.get(9..length)?),
        _ => return None,
    };
    let mut fields = [&[][..]; FIELDS];
    for field in fields.iter_mut().take(count) {
        *field = rest;
        rest = rest.get(value_length(rest)?..)?;
    }
    Some(Performative { code, payload: list.get(length..)?, fields })
}

/// The data section of a message of one such section.
pub fn message_body(mut sections: &[u8]) -> Option<&[u8]> {
    loop {
        let (code, value) = descriptor(sections)?;
        let length = value_length(value)?;
        if code == code::DATA {
            let head = if value[0] == 0xa0 { 2 } else { 5 };
            return value.get(head..length);
        }
        sections = value.get(length..)?;
    }
}

/// The numeric descriptor at the front, and what follows it.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match *bytes {
        [0x00, 0x53, code, ..] => Some((code, &bytes[3..])),
        [0x00, 0x80, _, _, _, _, _, _, _, code, ..] => Some((code, &bytes[10..])),
        _ => None,
    }
}

/// How many bytes the value at the front takes.
fn value_length(bytes: &[u8]) -> Option<usize> {
    let constructor = *bytes.first()?;
    Some(match constructor >> 4 {
        0x0 => {
            let descriptor = value_length(&bytes[1..])?;
            1 + descriptor + value_length(bytes.get(1 + descriptor..)?)?
        }
        0x4 => 1,
        0x5 => 2,
        0x6 => 3,
        0x7 => 5,
        0x8 => 9,
        0x9 => 17,
        0xa | 0xc | 0xe => 2 + usize::from(*bytes.get(1)?),
        0xb | 0xd | 0xf => 5 + u32::from_be_bytes(*bytes.get(1..)?.first_chunk()?) as usize,
        _ => return None,
    })
}
