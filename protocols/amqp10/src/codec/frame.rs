//! Protocol headers and frames (part 2, 2.2 and 2.3).

use bytes::{BufMut, BytesMut};

/// A protocol header's length.
pub(crate) const HEADER_BYTES: usize = 8;
/// The AMQP layer's header.
pub(crate) const AMQP_HEADER: [u8; HEADER_BYTES] = *b"AMQP\x00\x01\x00\x00";
/// The SASL layer's header.
pub(crate) const SASL_HEADER: [u8; HEADER_BYTES] = *b"AMQP\x03\x01\x00\x00";

/// Type of AMQP frames.
pub(crate) const FRAME_AMQP: u8 = 0;
/// Type of SASL frames.
pub(crate) const FRAME_SASL: u8 = 1;

/// A frame's fixed part.
const FRAME_HEADER_BYTES: u32 = 8;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The size is smaller than the frame's own header.
    TooSmall(u32),
    /// The size is over the limit.
    TooLarge(u32),
    /// The data offset points outside.
    BadOffset(u8),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooSmall(size) => write!(f, "a frame of {size} bytes is smaller than its own header"),
            Self::TooLarge(size) => write!(f, "a frame of {size} bytes is larger than agreed"),
            Self::BadOffset(offset) => write!(f, "the data offset {offset} points outside of the frame"),
        }
    }
}

/// A frame without its header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: u8,
    pub channel: u16,
    /// Where the body begins.
    pub body_at: usize,
}

/// The size that the next frame says it has, once its first four bytes are there. Judged before the
/// rest is waited for, so that nobody makes us buffer more than we agreed to.
pub(crate) fn frame_size(input: &[u8], bytes_max: u32) -> Result<Option<usize>, FrameError> {
    let Some(size) = input.first_chunk() else { return Ok(None) };
    let size = u32::from_be_bytes(*size);
    if size < FRAME_HEADER_BYTES {
        return Err(FrameError::TooSmall(size));
    }
    if size > bytes_max {
        return Err(FrameError::TooLarge(size));
    }
    Ok(Some(size as usize))
}

/// Reads a whole frame's header. An extended header is stepped over (2.3.1).
pub(crate) fn parse_frame(frame: &[u8]) -> Result<Frame, FrameError> {
    let &[_, _, _, _, offset, kind, high, low, ..] = frame else {
        return Err(FrameError::TooSmall(frame.len() as u32));
    };
    let body_at = usize::from(offset) * 4;
    if offset < 2 || body_at > frame.len() {
        return Err(FrameError::BadOffset(offset));
    }
    Ok(Frame { kind, channel: u16::from_be_bytes([high, low]), body_at })
}

/// Writes a frame's header; returns its place for [`end_frame`].
pub(crate) fn begin_frame(buf: &mut BytesMut, kind: u8, channel: u16) -> usize {
    let start = buf.len();
    buf.put_u32(0);
    buf.put_u8(2);
    buf.put_u8(kind);
    buf.put_u16(channel);
    start
}

/// Writes the size, with `payload_bytes` that will follow.
pub(crate) fn end_frame(buf: &mut BytesMut, start: usize, payload_bytes: usize) {
    let size = (buf.len() - start + payload_bytes) as u32;
    buf[start..start + 4].copy_from_slice(&size.to_be_bytes());
}
