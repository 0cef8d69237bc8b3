//! Writes values, each in its shortest encoding.

use bytes::{BufMut, BytesMut};
use evergate_model::Value;

/// A descriptor of the standard: all fit one byte.
pub(crate) fn put_descriptor(buf: &mut BytesMut, code: u8) {
    buf.put_slice(&[0x00, 0x53, code]);
}

fn put_variable(buf: &mut BytesMut, code: u8, bytes: &[u8]) {
    if let Ok(length) = u8::try_from(bytes.len()) {
        buf.put_u8(code);
        buf.put_u8(length);
    } else {
        put_long_header(buf, code, bytes.len());
    }
    buf.put_slice(bytes);
}

fn put_long_header(buf: &mut BytesMut, code: u8, length: usize) {
    buf.put_u8(code | 0x10);
    buf.put_u32(length as u32);
}

/// A string.
pub(crate) fn put_string(buf: &mut BytesMut, text: &str) {
    put_variable(buf, 0xa1, text.as_bytes());
}

/// A symbol. The caller's text is ASCII.
pub(crate) fn put_symbol(buf: &mut BytesMut, text: &str) {
    put_variable(buf, 0xa3, text.as_bytes());
}

/// What stands before a string whose bytes follow elsewhere.
pub(crate) fn put_string_header(buf: &mut BytesMut, length: usize) {
    put_long_header(buf, 0xa1, length);
}

/// What stands before a binary whose bytes follow elsewhere.
pub(crate) fn put_binary_header(buf: &mut BytesMut, length: usize) {
    put_long_header(buf, 0xa0, length);
}

/// An array of symbols.
pub(crate) fn put_symbols<S: AsRef<str>>(buf: &mut BytesMut, symbols: &[S]) {
    buf.put_u8(0xf0);
    let start = buf.len();
    buf.put_u32(0);
    buf.put_u32(symbols.len() as u32);
    buf.put_u8(0xb3);
    for symbol in symbols {
        buf.put_u32(symbol.as_ref().len() as u32);
        buf.put_slice(symbol.as_ref().as_bytes());
    }
    patch(buf, start);
}

fn patch(buf: &mut BytesMut, start: usize) {
    let size = (buf.len() - start - 4) as u32;
    buf[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn put_uint(buf: &mut BytesMut, value: u32) {
    match value {
        0 => buf.put_u8(0x43),
        1..=0xff => buf.put_slice(&[0x52, value as u8]),
        _ => {
            buf.put_u8(0x70);
            buf.put_u32(value);
        }
    }
}

fn put_ulong(buf: &mut BytesMut, value: u64) {
    match value {
        0 => buf.put_u8(0x44),
        1..=0xff => buf.put_slice(&[0x53, value as u8]),
        _ => {
            buf.put_u8(0x80);
            buf.put_u64(value);
        }
    }
}

fn put_fixed(buf: &mut BytesMut, code: u8, bytes: &[u8]) {
    buf.put_u8(code);
    buf.put_slice(bytes);
}

/// A simple value.
pub(crate) fn put_value(buf: &mut BytesMut, value: &Value<'_>) {
    match value {
        Value::Null => buf.put_u8(0x40),
        Value::Bool(v) => buf.put_u8(if *v { 0x41 } else { 0x42 }),
        Value::Ubyte(v) => put_fixed(buf, 0x50, &[*v]),
        Value::Ushort(v) => put_fixed(buf, 0x60, &v.to_be_bytes()),
        Value::Uint(v) => put_uint(buf, *v),
        Value::Ulong(v) => put_ulong(buf, *v),
        Value::Byte(v) => put_fixed(buf, 0x51, &v.to_be_bytes()),
        Value::Short(v) => put_fixed(buf, 0x61, &v.to_be_bytes()),
        Value::Int(v) => match i8::try_from(*v) {
            Ok(small) => put_fixed(buf, 0x54, &small.to_be_bytes()),
            Err(_) => put_fixed(buf, 0x71, &v.to_be_bytes()),
        },
        Value::Long(v) => match i8::try_from(*v) {
            Ok(small) => put_fixed(buf, 0x55, &small.to_be_bytes()),
            Err(_) => put_fixed(buf, 0x81, &v.to_be_bytes()),
        },
        Value::Float(v) => put_fixed(buf, 0x72, &v.to_be_bytes()),
        Value::Double(v) => put_fixed(buf, 0x82, &v.to_be_bytes()),
        Value::Decimal32(v) => put_fixed(buf, 0x74, v),
        Value::Decimal64(v) => put_fixed(buf, 0x84, v),
        Value::Decimal128(v) => put_fixed(buf, 0x94, v),
        Value::Char(v) => put_fixed(buf, 0x73, &u32::from(*v).to_be_bytes()),
        Value::Timestamp(v) => put_fixed(buf, 0x83, &v.to_be_bytes()),
        Value::Uuid(v) => put_fixed(buf, 0x98, v),
        Value::Binary(v) => put_variable(buf, 0xa0, v),
        Value::Symbol(v) if v.is_ascii() => put_symbol(buf, v),
        // Another protocol's symbol may not be ASCII: then a string carries it.
        Value::String(v) | Value::Symbol(v) => put_string(buf, v),
    }
}

/// Writes a list; fields not given at its end take no bytes.
pub(crate) struct ListWriter<'b> {
    buf: &'b mut BytesMut,
    start: usize,
    count: u32,
    nulls: u32,
}

impl<'b> ListWriter<'b> {
    /// A list under the descriptor `code`.
    pub fn described(buf: &'b mut BytesMut, code: u8) -> Self {
        put_descriptor(buf, code);
        buf.put_u8(0xd0);
        let start = buf.len();
        buf.put_u64(0);
        Self { buf, start, count: 0, nulls: 0 }
    }

    /// Appends a field written by `write`.
    pub fn field(&mut self, write: impl FnOnce(&mut BytesMut)) -> &mut Self {
        self.buf.put_bytes(0x40, self.nulls as usize);
        self.count += self.nulls + 1;
        self.nulls = 0;
        write(self.buf);
        self
    }

    /// A field not given.
    pub fn null(&mut self) -> &mut Self {
        self.nulls += 1;
        self
    }

    /// A field that may not be given.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut BytesMut, T)) -> &mut Self {
        match value {
            Some(value) => self.field(|buf| write(buf, value)),
            None => self.null(),
        }
    }

    pub fn value(&mut self, value: &Value<'_>) -> &mut Self {
        self.field(|buf| put_value(buf, value))
    }

    pub fn uint(&mut self, value: u32) -> &mut Self {
        self.field(|buf| put_uint(buf, value))
    }

    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.value(&Value::Bool(value))
    }

    /// Multiple symbols; none at all is null.
    pub fn symbols<S: AsRef<str>>(&mut self, symbols: &[S]) -> &mut Self {
        if symbols.is_empty() { self.null() } else { self.field(|buf| put_symbols(buf, symbols)) }
    }

    /// Writes size and count.
    pub fn close(&mut self) {
        patch(self.buf, self.start);
        self.buf[self.start + 4..self.start + 8].copy_from_slice(&self.count.to_be_bytes());
    }
}

/// Writes a map.
pub(crate) struct MapWriter<'b> {
    pub buf: &'b mut BytesMut,
    start: usize,
    count: u32,
}

impl<'b> MapWriter<'b> {
    pub fn new(buf: &'b mut BytesMut) -> Self {
        buf.put_u8(0xd1);
        let start = buf.len();
        buf.put_u64(0);
        Self { buf, start, count: 0 }
    }

    /// Appends `count` keys and values that are written already.
    pub fn raw(&mut self, count: u32, bytes: &[u8]) {
        self.buf.put_slice(bytes);
        self.count += count;
    }

    /// Appends a pair.
    pub fn pair(&mut self, key: &Value<'_>, value: &Value<'_>) {
        put_value(self.buf, key);
        put_value(self.buf, value);
        self.count += 2;
    }

    /// Writes size and count.
    pub fn close(self) {
        patch(self.buf, self.start);
        self.buf[self.start + 4..self.start + 8].copy_from_slice(&self.count.to_be_bytes());
    }
}
