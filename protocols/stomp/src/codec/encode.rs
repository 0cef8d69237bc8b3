//! Frames to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::escape::{escape, escape_raw};
use super::{Command, Frame, Version, unescape};

/// Appends a frame's command line.
pub fn begin(command: Command, out: &mut BytesMut) {
    out.put_slice(command.as_str().as_bytes());
    out.put_u8(b'\n');
}

/// Appends a header line. What the version cannot write becomes U+FFFD, never a second header.
pub fn header(name: &str, value: &str, version: Version, out: &mut BytesMut) {
    out.reserve(name.len() + value.len() + 2);
    escape(name, version, true, &mut |part| out.put_slice(part));
    out.put_u8(b':');
    escape(value, version, false, &mut |part| out.put_slice(part));
    out.put_u8(b'\n');
}

/// Appends a whole frame, with `content-length` if it has a body and none is given.
pub fn encode(frame: &Frame, version: Version, out: &mut BytesMut) {
    begin(frame.command, out);
    for (name, value) in frame.headers.iter() {
        if frame.command.is_raw() {
            escape_raw(name, true, &mut |part| out.put_slice(part));
            out.put_u8(b':');
            escape_raw(value, false, &mut |part| out.put_slice(part));
            out.put_u8(b'\n');
        } else {
            header(name, value, version, out);
        }
    }
    if !frame.body.is_empty() && frame.headers.get("content-length").is_none() {
        header("content-length", &frame.body.len().to_string(), version, out);
    }
    out.put_u8(b'\n');
    out.put_slice(&frame.body);
    out.put_u8(0);
}

/// Appends header lines that are in 1.2 escaping, as `version` writes them.
pub fn recode_head(head: &Bytes, version: Version, out: &mut BytesMut) {
    let escaped = memchr::memchr(b'\\', head).is_some();
    if version == Version::V1_2 || (version == Version::V1_1 && !escaped) {
        out.extend_from_slice(head); // without escapes both write the same
        return;
    }
    for (name, value) in head_lines(head) {
        // 1.0 clients cut off blanks: a name of nothing else would be none.
        if version != Version::V1_0 || !name.trim().is_empty() {
            header(&name, &value, version, out);
        }
    }
}

/// The headers of a head in 1.2 escaping; what cannot be read is left out.
pub(crate) fn head_lines(head: &[u8]) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)> {
    let text = std::str::from_utf8(head).unwrap_or("");
    text.split_terminator('\n').filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((unescape(name, Version::V1_2)?, unescape(value, Version::V1_2)?))
    })
}
