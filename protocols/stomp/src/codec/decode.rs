//! Bytes to frames, resumable at any byte: what was looked at is not looked at again.

use bytes::{Buf, Bytes, BytesMut};

use super::{Command, Frame, FrameError, Headers, Version, unescape};
use crate::Limits;

/// A body shorter than this is copied, so that it does not keep the whole read buffer alive for as long as its message is
/// queued.
const COPY_BELOW_BYTES: usize = 2048;

/// Where the decoder stands in the bytes before it.
enum State {
    /// Between frames.
    Idle,
    /// Within command and headers.
    Head { command: Option<Command>, scanned: usize, line: usize, headers: usize },
    /// The head is taken; the body is awaited. `length`: as its header says; `scanned`: without NUL.
    Body { frame: Frame, length: Option<u64>, scanned: usize },
    /// Within a body that goes on in pieces; so much of it is to come, then NUL.
    Large { left: u64 },
}

/// What was taken off the front of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A frame.
    Frame(Frame),
    /// A SEND whose body of so many bytes is too large for memory: its pieces follow, then `End`.
    Large(Frame, u64),
    /// The next bytes of that body.
    Piece(Bytes),
    /// That body is there, and the NUL behind it.
    End,
}

/// Decodes one direction of one connection.
pub struct Decoder {
    limits: Limits,
    /// A body up to this goes on in pieces, if it is over the limit.
    large_bytes_max: u64,
    /// Known once CONNECT was answered; before, nothing but CONNECT is read.
    version: Option<Version>,
    state: State,
}

impl Decoder {
    /// A decoder for the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { limits, large_bytes_max: 0, version: None, state: State::Idle }
    }

    /// The same, and larger bodies of SEND go on in pieces: see [`Self::next`].
    #[must_use]
    pub fn with_large_bodies(mut self, bytes_max: u64) -> Self {
        self.large_bytes_max = bytes_max;
        self
    }

    /// Sets the version that was negotiated; all commands are read from here on.
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// [`Self::next`] without large bodies.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        match self.next(input)? {
            Some(Decoded::Frame(frame)) => Ok(Some(frame)),
            _ => Ok(None),
        }
    }

    /// Takes a frame, or a part of a large one, off the front of `input`. `None`: it is incomplete; call again when
    /// bytes were appended (and none removed). After an error the connection is of no more use.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Decoded>, FrameError> {
        loop {
            match &mut self.state {
                State::Idle => {
                    if !skip_line_ends(input) {
                        return Ok(None);
                    }
                    self.state = State::Head { command: None, scanned: 0, line: 0, headers: 0 };
                }
                State::Head { command, scanned, line, headers } => {
                    let scanned = scan_head(&self.limits, input, command, scanned, line, headers)?;
                    if let (None, Some(command)) = (self.version, command.filter(|command| !command.is_raw())) {
                        return Err(FrameError::BeforeConnect(command));
                    }
                    let (Some(head_len), Some(command)) = (scanned, *command) else {
                        return Ok(None);
                    };
                    let version = self.version.unwrap_or(Version::V1_2);
                    let headers = read_head(&input[..head_len], command, version, *headers)?;
                    input.advance(head_len);
                    let length = content_length(&headers)?;
                    let frame = Frame { command, headers, body: Bytes::new() };
                    if let Some(length) = length.filter(|length| self.is_large(command, *length)) {
                        self.state = State::Large { left: length };
                        return Ok(Some(Decoded::Large(frame, length)));
                    }
                    self.state = State::Body { frame, length, scanned: 0 };
                }
                State::Body { frame, length, scanned } => {
                    let (command, length) = (frame.command, *length);
                    let limit = if may_have_body(self.version, command) { self.limits.body_bytes_max } else { 0 };
                    let (frame, len) = match scan_body(input, length, scanned, limit) {
                        Ok(None) => return Ok(None),
                        Ok(Some(len)) => match std::mem::replace(&mut self.state, State::Idle) {
                            State::Body { frame, .. } => (frame, len),
                            _ => return Ok(None), // not reached: the state was Body
                        },
                        Err(BodyFault::NoNul) => return Err(FrameError::NoNul),
                        Err(BodyFault::TooLarge) => return Err(self.too_large(command, length)),
                    };
                    let body = if len < COPY_BELOW_BYTES {
                        let body = Bytes::copy_from_slice(&input[..len]);
                        input.advance(len);
                        body
                    } else {
                        input.split_to(len).freeze()
                    };
                    let frame = Frame { body, ..frame };
                    input.advance(1); // the NUL
                    return Ok(Some(Decoded::Frame(frame)));
                }
                State::Large { left: 0 } => {
                    let end = match input.first() {
                        None => return Ok(None),
                        Some(0) => Ok(Some(Decoded::End)),
                        Some(_) => return Err(FrameError::NoNul),
                    };
                    input.advance(1);
                    self.state = State::Idle;
                    return end;
                }
                State::Large { left } => {
                    let len = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    *left -= len as u64;
                    return Ok((len > 0).then(|| Decoded::Piece(input.split_to(len).freeze())));
                }
            }
        }
    }

    /// Whether a body of this length goes on in pieces.
    fn is_large(&self, command: Command, length: u64) -> bool {
        command == Command::Send && length > self.limits.body_bytes_max as u64 && length <= self.large_bytes_max
    }

    fn too_large(&self, command: Command, length: Option<u64>) -> FrameError {
        let limit = self.limits.body_bytes_max;
        if !may_have_body(self.version, command) {
            return FrameError::UnexpectedBody(command);
        }
        if command != Command::Send || self.large_bytes_max <= limit as u64 {
            return FrameError::BodyTooLarge(limit as u64);
        }
        match length {
            Some(_) => FrameError::BodyTooLarge(self.large_bytes_max),
            None => FrameError::BodyWithoutLength(limit),
        }
    }
}

/// 1.0 lets any frame have a body; a CONNECT never has one.
fn may_have_body(version: Option<Version>, command: Command) -> bool {
    command.has_body() || (version == Some(Version::V1_0) && !command.is_raw())
}

/// Skips heart-beats and the optional line ends after a frame. True: a frame begins.
fn skip_line_ends(input: &mut BytesMut) -> bool {
    loop {
        match (input.first(), input.get(1)) {
            (Some(b'\n'), _) => input.advance(1),
            (Some(b'\r'), Some(b'\n')) => input.advance(2),
            (None, _) | (Some(b'\r'), None) => return false,
            _ => return true,
        }
    }
}

/// Length of the head with the empty line that ends it, once that has arrived.
fn scan_head(
    limits: &Limits,
    input: &[u8],
    command: &mut Option<Command>,
    scanned: &mut usize,
    line: &mut usize,
    headers: &mut usize,
) -> Result<Option<usize>, FrameError> {
    let check = |start: usize, end: usize| {
        if end - start > limits.line_bytes_max {
            return Err(FrameError::LineTooLong(limits.line_bytes_max));
        }
        Ok(())
    };
    while let Some(at) = memchr::memchr(b'\n', &input[*scanned..]).map(|at| at + *scanned) {
        let end = if at > *line && input[at - 1] == b'\r' { at - 1 } else { at };
        check(*line, end)?;
        if at + 1 > limits.head_bytes_max {
            return Err(FrameError::HeadTooLarge(limits.head_bytes_max));
        }
        let text = &input[*line..end];
        if command.is_none() {
            *command = Some(Command::parse(text).ok_or_else(|| FrameError::UnknownCommand(shortened(text)))?);
        } else if text.is_empty() {
            return Ok(Some(at + 1));
        } else {
            *headers += 1;
            if *headers > limits.headers_max {
                return Err(FrameError::TooManyHeaders(limits.headers_max));
            }
        }
        (*scanned, *line) = (at + 1, at + 1);
    }
    let end = if input.ends_with(b"\r") { input.len() - 1 } else { input.len() };
    check(*line, end.max(*line))?;
    if input.len() > limits.head_bytes_max {
        return Err(FrameError::HeadTooLarge(limits.head_bytes_max));
    }
    *scanned = input.len();
    Ok(None)
}

/// The headers in `head`, whose lines were counted.
fn read_head(head: &[u8], command: Command, version: Version, count: usize) -> Result<Headers, FrameError> {
    if memchr::memchr(0, head).is_some() {
        return Err(FrameError::NulInHead);
    }
    let text = std::str::from_utf8(head).map_err(|_| FrameError::NotUtf8)?;
    let mut headers = Headers::with_capacity(text.len(), count);
    for line in text.split_terminator('\n').skip(1) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if memchr::memchr(b'\r', line.as_bytes()).is_some() {
            return Err(FrameError::CarriageReturn);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| FrameError::NoColon(shortened(line.as_bytes())))?;
        let legacy = version == Version::V1_0 && !command.is_raw();
        // 1.0 clients write `name: value`.
        let (name, value) = if legacy { (name.trim(), value.trim()) } else { (name, value) };
        if name.is_empty() {
            return Err(FrameError::EmptyName);
        }
        if legacy || command.is_raw() {
            headers.push(name, value);
        } else {
            let bad = || FrameError::BadEscape(shortened(line.as_bytes()));
            headers.push(&unescape(name, version).ok_or_else(bad)?, &unescape(value, version).ok_or_else(bad)?);
        }
    }
    Ok(headers)
}

fn content_length(headers: &Headers) -> Result<Option<u64>, FrameError> {
    let Some(text) = headers.get("content-length").map(str::trim) else {
        return Ok(None);
    };
    let bad = || FrameError::BadContentLength(shortened(text.as_bytes()));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    // More digits than fit are a length beyond every limit.
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

enum BodyFault {
    TooLarge,
    NoNul,
}

/// Length of the body without its NUL, once that has arrived.
fn scan_body(input: &[u8], length: Option<u64>, scanned: &mut usize, limit: usize) -> Result<Option<usize>, BodyFault> {
    if let Some(length) = length {
        let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(BodyFault::TooLarge)?;
        return match input.get(length) {
            None => Ok(None),
            Some(0) => Ok(Some(length)),
            Some(_) => Err(BodyFault::NoNul),
        };
    }
    let found = memchr::memchr(0, &input[*scanned..]).map(|at| at + *scanned);
    *scanned = input.len();
    if found.unwrap_or(input.len()) > limit {
        return Err(BodyFault::TooLarge);
    }
    Ok(found)
}

/// The start of what a peer sent, for an error text.
fn shortened(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 64;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned()
}
