//! A body that is too large for memory: checked, and its content found, as its bytes pass by. Nothing of it is kept
//! but what does not make sense alone: the beginning of a section, of a character, and the footer.

use bytes::Bytes;
use evergate_model::{ContentReader, Value};

use super::sections::{DATA, FOOTER, VALUE, section_code};
use crate::codec::{DecodeError, Reader, validate};

/// A section's header is no longer than this: a descriptor's name, a type and a length (3.2.6).
const HEADER_BYTES_MAX: usize = 40;

/// A footer after a large body is no longer than this: it is checked as a whole.
const FOOTER_BYTES_MAX: u32 = 4096;

/// Why a body cannot go in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is no body at all.
    Decode(DecodeError),
    /// A body of another kind.
    Kind,
    /// The footer is too long.
    Footer,
}

impl From<DecodeError> for BodyError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

enum State {
    /// Between sections, or in a section's header, of which these bytes are here.
    Header(Vec<u8>),
    /// In the content of a section. `text`: of a string.
    Content { left: u32, text: bool },
    /// In the footer, which has so many bytes in all.
    Footer { bytes: Vec<u8>, length: usize },
}

/// Reads body sections and footer in pieces of any size.
pub(crate) struct BodyReader {
    state: State,
    /// The section before: data may repeat, an amqp-value may not, nothing follows a footer (3.2).
    last: u8,
    depth_max: u32,
    /// The beginning of a character that the last piece cut in two.
    cut: Vec<u8>,
    content_bytes: u64,
}

impl BodyReader {
    pub fn new(depth_max: u32) -> Self {
        Self { state: State::Header(Vec::new()), last: 0, depth_max, cut: Vec::new(), content_bytes: 0 }
    }

    /// Takes the next bytes and hands out what of them is content.
    pub fn read(&mut self, piece: &Bytes, take: &mut dyn FnMut(Bytes)) -> Result<(), BodyError> {
        let mut at = 0;
        while at < piece.len() {
            at += self.step(piece, at, take)?;
        }
        Ok(())
    }

    /// The length of the content, if the body is complete here.
    pub fn finish(&self) -> Result<u64, BodyError> {
        match &self.state {
            State::Header(header) if header.is_empty() && self.last != 0 => Ok(self.content_bytes),
            _ => Err(DecodeError::Truncated.into()),
        }
    }

    /// Takes some bytes from `at` on; how many.
    fn step(&mut self, piece: &Bytes, at: usize, take: &mut dyn FnMut(Bytes)) -> Result<usize, BodyError> {
        let rest = piece.len() - at;
        match &mut self.state {
            State::Header(header) => {
                header.push(piece[at]);
                if let Some(section) = read_header(header)? {
                    self.begin(&section)?;
                } else if header.len() == HEADER_BYTES_MAX {
                    return Err(DecodeError::BadLength.into());
                }
                Ok(1)
            }
            State::Content { left, text } => {
                let length = rest.min(*left as usize);
                let content = piece.slice(at..at + length);
                *left -= length as u32;
                let (is_text, is_last) = (*text, *left == 0);
                self.content_bytes += length as u64;
                if is_text {
                    check_text(&mut self.cut, &content, is_last)?;
                }
                take(content);
                if is_last {
                    self.state = State::Header(Vec::new());
                }
                Ok(length)
            }
            State::Footer { bytes, length } => {
                let part = rest.min(*length - bytes.len());
                bytes.extend_from_slice(&piece[at..at + part]);
                if bytes.len() == *length {
                    validate(&mut Reader::new(bytes), self.depth_max)?;
                    self.state = State::Header(Vec::new());
                }
                Ok(part)
            }
        }
    }

    fn begin(&mut self, section: &Header) -> Result<(), BodyError> {
        let fits = match self.last {
            0 => section.code != FOOTER,
            DATA => section.code != VALUE,
            VALUE => section.code == FOOTER,
            _ => false,
        };
        if !fits {
            return Err(DecodeError::Misplaced.into());
        }
        self.last = section.code;
        let State::Header(header) = &mut self.state else { return Ok(()) };
        self.state = match section.code {
            FOOTER if section.length > FOOTER_BYTES_MAX => return Err(BodyError::Footer),
            FOOTER => {
                let bytes = header.split_off(section.value_at);
                let length = bytes.len() + section.length as usize;
                if bytes.len() == length {
                    return Err(DecodeError::BadLength.into()); // a map has a count at least
                }
                State::Footer { bytes, length }
            }
            _ if section.length == 0 => State::Header(Vec::new()),
            _ => State::Content { left: section.length, text: section.text },
        };
        Ok(())
    }
}

/// A section up to its content.
struct Header {
    code: u8,
    /// Where the value begins.
    value_at: usize,
    /// Where its content begins.
    content_at: usize,
    text: bool,
    /// Bytes of the value after its length.
    length: u32,
}

/// Reads a section's header; nothing while it is incomplete.
fn read_header(bytes: &[u8]) -> Result<Option<Header>, BodyError> {
    let Some((descriptor, value)) = read_descriptor(bytes)? else { return Ok(None) };
    let code = section_code(&descriptor)?;
    if code < DATA {
        return Err(DecodeError::Misplaced.into());
    }
    let Some((&kind, length)) = value.split_first() else { return Ok(None) };
    let text = match (code, kind) {
        (DATA | VALUE, 0xa0 | 0xb0) | (FOOTER, 0xc1 | 0xd1) => false,
        (VALUE, 0xa1 | 0xb1) => true,
        (DATA | FOOTER, _) => return Err(DecodeError::WrongType.into()),
        _ => return Err(BodyError::Kind),
    };
    // Of the pairs of codes for one type the second has the longer length (part 1, 1.2).
    let (width, length) = match (kind & 0x10, length) {
        (0, [length, ..]) => (1, u32::from(*length)),
        (0x10, &[a, b, c, d, ..]) => (4, u32::from_be_bytes([a, b, c, d])),
        _ => return Ok(None),
    };
    let value_at = bytes.len() - value.len();
    Ok(Some(Header { code, value_at, content_at: value_at + 1 + width, text, length }))
}

/// How long a message is at least, of which these bytes are the beginning: to the end of the body section that begins
/// here. Zero if none does, or if it is no message.
pub(crate) fn announced_bytes(message: &[u8]) -> u64 {
    let mut rest = message;
    while let Ok(Some((descriptor, _))) = read_descriptor(rest) {
        if section_code(&descriptor).is_ok_and(|code| code >= DATA) {
            let Ok(Some(header)) = read_header(rest) else { return 0 };
            let at = message.len() - rest.len() + header.content_at;
            return at as u64 + u64::from(header.length);
        }
        let mut reader = Reader::new(rest);
        if reader.raw().is_err() {
            return 0;
        }
        rest = reader.rest();
    }
    0
}

/// Reads a descriptor; nothing while it is incomplete. What follows it, too.
pub(super) fn read_descriptor(bytes: &[u8]) -> Result<Option<(Value<'_>, &[u8])>, DecodeError> {
    match bytes.split_first() {
        None => Ok(None),
        Some((0, rest)) => {
            let mut reader = Reader::new(rest);
            match reader.simple() {
                Ok(descriptor) => Ok(Some((descriptor, reader.rest()))),
                Err(DecodeError::Truncated) => Ok(None),
                Err(error) => Err(error),
            }
        }
        Some(_) => Err(DecodeError::UnknownDescriptor),
    }
}

/// Checks that the text goes on as UTF-8. `cut`: the beginning of a character that is not here as a whole.
fn check_text(cut: &mut Vec<u8>, mut text: &[u8], is_last: bool) -> Result<(), DecodeError> {
    while !cut.is_empty() {
        let Some((first, rest)) = text.split_first() else { break };
        cut.push(*first);
        text = rest;
        match std::str::from_utf8(cut) {
            Ok(_) => cut.clear(),
            Err(error) if error.error_len().is_some() => return Err(DecodeError::BadText),
            Err(_) => {}
        }
    }
    if let Err(error) = std::str::from_utf8(text) {
        if error.error_len().is_some() {
            return Err(DecodeError::BadText);
        }
        cut.extend_from_slice(&text[error.valid_up_to()..]);
    }
    if is_last && !cut.is_empty() { Err(DecodeError::BadText) } else { Ok(()) }
}

/// For those who take the content out of a body that was checked when it was published.
impl ContentReader for BodyReader {
    fn read(&mut self, piece: &Bytes, take: &mut dyn FnMut(Bytes)) {
        // Bytes that were checked once do not fail.
        let _ = BodyReader::read(self, piece, take);
    }
}
