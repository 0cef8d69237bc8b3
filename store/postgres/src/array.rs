//! PostgreSQL's binary format of one-dimensional arrays, both ways, without a value in between.

use std::error::Error;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// An array being written.
#[derive(Debug)]
pub struct Array {
    bytes: BytesMut,
    count: u32,
}

const HEADER_BYTES: usize = 20;

impl Array {
    /// An empty array of this element type.
    pub fn new(element: &Type) -> Self {
        let mut bytes = BytesMut::with_capacity(256);
        bytes.put_i32(1); // dimensions
        bytes.put_i32(0); // has NULLs
        bytes.put_u32(element.oid());
        bytes.put_u32(0); // length, set at the end
        bytes.put_i32(1); // first subscript
        Self { bytes, count: 0 }
    }

    /// An element as its own binary form.
    pub fn push(&mut self, element: &[u8]) {
        self.bytes.put_u32(element.len() as u32);
        self.bytes.put_slice(element);
        self.count += 1;
    }

    /// An element of 8 bytes. Numbers above the signed range keep their bits.
    pub fn push_u64(&mut self, element: u64) {
        self.push(&element.to_be_bytes());
    }

    /// An element of 2 bytes.
    pub fn push_u8(&mut self, element: u8) {
        self.push(&i16::from(element).to_be_bytes());
    }

    /// A NULL.
    pub fn push_null(&mut self) {
        self.bytes.put_i32(-1);
        self.bytes[7] = 1;
        self.count += 1;
    }

    /// The array as a parameter or as a field of COPY.
    pub fn finish(mut self) -> Raw {
        self.bytes[12..16].copy_from_slice(&self.count.to_be_bytes());
        if self.count == 0 {
            // An empty array has no dimension.
            self.bytes.truncate(HEADER_BYTES - 8);
            self.bytes[0..4].fill(0);
        }
        Raw(self.bytes.freeze())
    }
}

/// A value that is in its binary form already.
#[derive(Clone, Debug)]
pub struct Raw(pub Bytes);

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// An array being read: its elements, `None` for NULL. A malformed one ends early.
#[derive(Clone, Debug)]
pub struct Elements<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Elements<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let has_elements = raw.get(..4).ok_or("an array without a header")? != [0; 4];
        Ok(Self(if has_elements { raw.get(HEADER_BYTES..).ok_or("an array without a header")? } else { &[] }))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.0 = rest;
            return Some(None);
        };
        let (element, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(element))
    }
}

impl Elements<'_> {
    /// The next element of 8 bytes.
    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.next()??.try_into().ok()?))
    }
}
