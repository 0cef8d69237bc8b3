//! Reads MQTT's data types (MQTT 5, section 1.5) from one frame.

use std::ops::Range;

use bytes::Bytes;

use super::DecodeError;

const SHORT: DecodeError = DecodeError::malformed("the packet ends inside a field");

/// A cursor over a part of a frame.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: bytes.len() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// Where the cursor stands in the frame.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// What is left, as a range of the frame; the cursor moves to the end.
    pub(crate) fn rest(&mut self) -> Range<usize> {
        let range = self.at..self.end;
        self.at = self.end;
        range
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if count > self.end - self.at {
            return Err(SHORT);
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    /// A reader of the next `count` bytes alone.
    pub(crate) fn section(&mut self, count: usize) -> Result<Self, DecodeError> {
        let at = self.at;
        self.take(count)?;
        Ok(Self { bytes: self.bytes, at, end: self.at })
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A packet identifier, which is never 0. [MQTT-2.2.1-3]
    pub(crate) fn packet_id(&mut self) -> Result<u16, DecodeError> {
        match self.u16()? {
            0 => Err(DecodeError::malformed("packet identifier 0")),
            id => Ok(id),
        }
    }

    /// A variable byte integer of at most 4 bytes, in its shortest form. [MQTT-1.5.5-1]
    pub(crate) fn var_int(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for i in 0..4 {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << (7 * i);
            if byte & 0x80 == 0 {
                if i > 0 && byte == 0 {
                    return Err(DecodeError::malformed("a variable byte integer is longer than it need be"));
                }
                return Ok(value);
            }
        }
        Err(DecodeError::malformed("a variable byte integer is longer than 4 bytes"))
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// Binary data as a slice that shares `frame`, which this reader reads.
    pub(crate) fn shared_binary(&mut self, frame: &Bytes) -> Result<Bytes, DecodeError> {
        let length = usize::from(self.u16()?);
        let at = self.at;
        self.take(length)?;
        Ok(frame.slice(at..at + length))
    }

    /// A UTF-8 string. Surrogates and overlong forms are no UTF-8 [MQTT-1.5.4-1]; NUL is
    /// forbidden [MQTT-1.5.4-2].
    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| DecodeError::malformed("a string is not UTF-8"))?;
        if text.contains('\0') {
            return Err(DecodeError::malformed("a string has a NUL character"));
        }
        Ok(text)
    }
}
