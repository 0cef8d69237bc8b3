//! AMQP 1.0's simple types, borrowed: the hub through which properties convert between protocols.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A property's value. The variants are AMQP 1.0's primitive types (part 1, section 1.6).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each is the AMQP type of its name
pub enum Value<'a> {
    Null,
    Bool(bool),
    Ubyte(u8),
    Ushort(u16),
    Uint(u32),
    Ulong(u64),
    Byte(i8),
    Short(i16),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Decimal32([u8; 4]),
    Decimal64([u8; 8]),
    Decimal128([u8; 16]),
    Char(char),
    /// Milliseconds since 1970.
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(Cow<'a, [u8]>),
    String(Cow<'a, str>),
    Symbol(Cow<'a, str>),
}

impl Value<'_> {
    /// The value where text is all there is: decimal digits, `true`/`false`, milliseconds, base64.
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Null => Cow::Borrowed(""),
            Self::Bool(v) => Cow::Borrowed(if *v { "true" } else { "false" }),
            Self::Ubyte(v) => v.to_string().into(),
            Self::Ushort(v) => v.to_string().into(),
            Self::Uint(v) => v.to_string().into(),
            Self::Ulong(v) => v.to_string().into(),
            Self::Byte(v) => v.to_string().into(),
            Self::Short(v) => v.to_string().into(),
            Self::Int(v) => v.to_string().into(),
            Self::Long(v) | Self::Timestamp(v) => v.to_string().into(),
            Self::Float(v) => v.to_string().into(),
            Self::Double(v) => v.to_string().into(),
            Self::Decimal32(v) => base64(v).into(),
            Self::Decimal64(v) => base64(v).into(),
            Self::Decimal128(v) => base64(v).into(),
            Self::Char(v) => v.to_string().into(),
            Self::Uuid(v) => uuid_text(v).into(),
            Self::Binary(v) => base64(v).into(),
            Self::String(v) | Self::Symbol(v) => Cow::Borrowed(v),
        }
    }

    /// The value of an integer of any width, or of a timestamp.
    pub fn as_integer(&self) -> Option<i64> {
        Some(match self {
            Self::Ubyte(v) => (*v).into(),
            Self::Ushort(v) => (*v).into(),
            Self::Uint(v) => (*v).into(),
            Self::Ulong(v) => i64::try_from(*v).ok()?,
            Self::Byte(v) => (*v).into(),
            Self::Short(v) => (*v).into(),
            Self::Int(v) => (*v).into(),
            Self::Long(v) | Self::Timestamp(v) => *v,
            _ => return None,
        })
    }

    /// The value as bytes where bytes are wanted (MQTT correlation data): binary as is, text otherwise.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Binary(v) => Cow::Borrowed(v),
            other => match other.to_text() {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
        }
    }

    /// A string value.
    pub fn text<'b>(text: impl Into<Cow<'b, str>>) -> Value<'b> {
        Value::String(text.into())
    }
}

fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |acc, b| acc << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            if i <= chunk.len() {
                text.push(char::from(ALPHABET[(group >> (18 - 6 * i)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_text_that_the_table_promises() {
        assert_eq!(Value::Long(-7).to_text(), "-7");
        assert_eq!(Value::Bool(true).to_text(), "true");
        assert_eq!(Value::Timestamp(1_700_000_000_123).to_text(), "1700000000123");
        assert_eq!(Value::Uuid([0xab; 16]).to_text(), "abababab-abab-abab-abab-abababababab");
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg==")]
        {
            assert_eq!(Value::Binary(bytes.into()).to_text(), text);
        }
        assert_eq!(&*Value::Binary(b"\0\xff"[..].into()).to_bytes(), b"\0\xff");
    }
}
