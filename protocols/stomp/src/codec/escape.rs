//! Header text and its escapes, by version. [STOMP 1.2, Value Encoding]

use std::borrow::Cow;

use super::Version;

/// Stands for what a version cannot write.
const REPLACEMENT: &str = "\u{fffd}";

/// The text of an escaped name or value; `None`: an undefined escape sequence.
pub(crate) fn unescape(text: &str, version: Version) -> Option<Cow<'_, str>> {
    if version == Version::V1_0 || memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        plain.push_str(&rest[..at]);
        plain.push(match rest.as_bytes().get(at + 1)? {
            b'n' => '\n',
            b'c' => ':',
            b'\\' => '\\',
            b'r' if version == Version::V1_2 => '\r',
            _ => return None,
        });
        rest = &rest[at + 2..];
    }
    plain.push_str(rest);
    Some(Cow::Owned(plain))
}

/// Appends a name (`is_name`) or value so that it can never end its line or its name early. What the
/// version cannot write becomes U+FFFD: NUL; line ends in 1.0 and a carriage return in 1.1 (legal there,
/// but many 1.1 clients take it for a line end); in 1.0 a colon in a name.
pub(crate) fn escape(text: &str, version: Version, is_name: bool, out: &mut impl FnMut(&[u8])) {
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let written = match (byte, version) {
            (0, _) | (b'\r', Version::V1_0 | Version::V1_1) | (b'\n', Version::V1_0) => REPLACEMENT,
            (b':', Version::V1_0) if is_name => REPLACEMENT,
            (b'\r', _) => "\\r",
            (b'\n', _) => "\\n",
            (b':', Version::V1_1 | Version::V1_2) => "\\c",
            (b'\\', Version::V1_1 | Version::V1_2) => "\\\\",
            _ => continue,
        };
        out(&text.as_bytes()[done..at]);
        out(written.as_bytes());
        done = at + 1;
    }
    out(&text.as_bytes()[done..]);
}

/// As CONNECTED travels: unescaped, so what would end the line becomes U+FFFD, in every version.
pub(crate) fn escape_raw(text: &str, is_name: bool, out: &mut impl FnMut(&[u8])) {
    escape(text, Version::V1_0, is_name, out);
}
