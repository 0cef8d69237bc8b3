//! Reads one value at a time. Nothing here recurses: a compound value is handed out as a slice.

use std::fmt;

use evergate_model::Value;

/// Descriptors of descriptors of … : more than this many around one value is refused.
const DESCRIBED_MAX: u32 = 32;

/// Why bytes are no AMQP value, or not the one that belongs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    Truncated,
    UnknownType(u8),
    TooDeep,
    /// A size or a count that its bytes do not bear out.
    BadLength,
    WrongType,
    /// A number that stands for something, and for nothing that there is.
    NoSuchChoice,
    BadText,
    MissingField,
    UnknownDescriptor,
    /// A section of a message in the wrong place, or twice.
    Misplaced,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the bytes end inside a value"),
            Self::UnknownType(code) => write!(f, "there is no type with the code 0x{code:02x}"),
            Self::TooDeep => f.write_str("values nest too deep"),
            Self::BadLength => f.write_str("a length or count does not fit its bytes"),
            Self::WrongType => f.write_str("a field has the wrong type"),
            Self::NoSuchChoice => f.write_str("a field has a value that means nothing"),
            Self::BadText => f.write_str("a text is not UTF-8, or a symbol not ASCII"),
            Self::MissingField => f.write_str("a mandatory field is missing"),
            Self::UnknownDescriptor => f.write_str("a descriptor is not known here"),
            Self::Misplaced => f.write_str("a section of the message is in the wrong place"),
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item<'a> {
    Simple(Value<'a>),
    List(Items<'a>),
    /// Keys and values in turn.
    Map(Items<'a>),
    Array(Array<'a>),
    Described {
        /// Simple: ulong or symbol in practice.
        descriptor: Value<'a>,
        /// Exactly one value.
        value: &'a [u8],
    },
}

/// The values of a list or map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Items<'a> {
    pub count: u32,
    pub reader: Reader<'a>,
}

impl<'a> Items<'a> {
    /// The next value's bytes. There must be one: a map's count is even.
    pub fn raw(&mut self) -> Result<&'a [u8], DecodeError> {
        self.count = self.count.checked_sub(1).ok_or(DecodeError::BadLength)?;
        self.reader.raw()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let item = self.reader.item();
        if item.is_err() {
            self.count = 0;
        }
        Some(item)
    }
}

/// An array: one constructor, many values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array<'a> {
    pub count: u32,
    /// The elements' type code.
    pub code: u8,
    pub reader: Reader<'a>,
}

impl Array<'_> {
    /// Whether elements take no bytes at all, so that a count alone can claim billions.
    pub fn has_empty_elements(&self) -> bool {
        self.code & 0xf0 == 0x40
    }
}

impl<'a> Iterator for Array<'a> {
    type Item = Result<Item<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let item = self.reader.body(self.code);
        if item.is_err() {
            self.count = 0;
        }
        Some(item)
    }
}

/// A place in bytes that hold values one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads one value.
    pub fn item(&mut self) -> Result<Item<'a>, DecodeError> {
        let code = self.byte()?;
        if code != 0 {
            return self.body(code);
        }
        let descriptor = self.simple()?;
        Ok(Item::Described { descriptor, value: self.step(1)? })
    }

    /// Steps over one value and returns its bytes.
    pub fn raw(&mut self) -> Result<&'a [u8], DecodeError> {
        self.step(0)
    }

    /// Steps over a value that has `depth` descriptors before it already.
    fn step(&mut self, mut depth: u32) -> Result<&'a [u8], DecodeError> {
        let start = self.bytes;
        loop {
            let code = self.byte()?;
            if code != 0 {
                self.skip_body(code)?;
                return Ok(&start[..start.len() - self.bytes.len()]);
            }
            depth += 1;
            if depth > DESCRIBED_MAX {
                return Err(DecodeError::TooDeep);
            }
            self.simple()?;
        }
    }

    /// Reads a value that must be of a simple type.
    pub fn simple(&mut self) -> Result<Value<'a>, DecodeError> {
        match self.byte()? {
            0 => Err(DecodeError::WrongType),
            code => match self.body(code)? {
                Item::Simple(value) => Ok(value),
                _ => Err(DecodeError::WrongType),
            },
        }
    }

    /// Reads what follows the type code `code`.
    pub fn body(&mut self, code: u8) -> Result<Item<'a>, DecodeError> {
        let value = match code {
            0x40 => Value::Null,
            0x41 => Value::Bool(true),
            0x42 => Value::Bool(false),
            0x43 => Value::Uint(0),
            0x44 => Value::Ulong(0),
            0x50 => Value::Ubyte(self.byte()?),
            0x51 => Value::Byte(self.byte()?.cast_signed()),
            0x52 => Value::Uint(self.byte()?.into()),
            0x53 => Value::Ulong(self.byte()?.into()),
            0x54 => Value::Int(self.byte()?.cast_signed().into()),
            0x55 => Value::Long(self.byte()?.cast_signed().into()),
            0x56 => match self.byte()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(DecodeError::WrongType),
            },
            0x60 => Value::Ushort(u16::from_be_bytes(self.fixed()?)),
            0x61 => Value::Short(i16::from_be_bytes(self.fixed()?)),
            0x70 => Value::Uint(u32::from_be_bytes(self.fixed()?)),
            0x71 => Value::Int(i32::from_be_bytes(self.fixed()?)),
            0x72 => Value::Float(f32::from_be_bytes(self.fixed()?)),
            0x73 => Value::Char(char::from_u32(u32::from_be_bytes(self.fixed()?)).ok_or(DecodeError::BadText)?),
            0x74 => Value::Decimal32(self.fixed()?),
            0x80 => Value::Ulong(u64::from_be_bytes(self.fixed()?)),
            0x81 => Value::Long(i64::from_be_bytes(self.fixed()?)),
            0x82 => Value::Double(f64::from_be_bytes(self.fixed()?)),
            0x83 => Value::Timestamp(i64::from_be_bytes(self.fixed()?)),
            0x84 => Value::Decimal64(self.fixed()?),
            0x94 => Value::Decimal128(self.fixed()?),
            0x98 => Value::Uuid(self.fixed()?),
            0xa0 | 0xb0 => Value::Binary(self.variable(code)?.into()),
            0xa1 | 0xb1 => {
                Value::String(std::str::from_utf8(self.variable(code)?).map_err(|_| DecodeError::BadText)?.into())
            }
            0xa3 | 0xb3 => {
                let bytes = self.variable(code)?;
                if !bytes.is_ascii() {
                    return Err(DecodeError::BadText);
                }
                Value::Symbol(std::str::from_utf8(bytes).map_err(|_| DecodeError::BadText)?.into())
            }
            0x45 => return Ok(Item::List(Items { count: 0, reader: Reader::new(&[]) })),
            0xc0 | 0xd0 => return Ok(Item::List(self.compound(code)?)),
            0xc1 | 0xd1 => {
                let items = self.compound(code)?;
                if items.count % 2 != 0 {
                    return Err(DecodeError::BadLength);
                }
                return Ok(Item::Map(items));
            }
            0xe0 | 0xf0 => return Ok(Item::Array(self.array(code)?)),
            unknown => return Err(DecodeError::UnknownType(unknown)),
        };
        Ok(Item::Simple(value))
    }

    /// The type code tells the width, also of types that we do not know (part 1, 1.2).
    fn skip_body(&mut self, code: u8) -> Result<(), DecodeError> {
        match code >> 4 {
            0x4 => Ok(()),
            0x5 => self.take(1).map(drop),
            0x6 => self.take(2).map(drop),
            0x7 => self.take(4).map(drop),
            0x8 => self.take(8).map(drop),
            0x9 => self.take(16).map(drop),
            0xa..=0xf => self.variable(code).map(drop),
            _ => Err(DecodeError::UnknownType(code)),
        }
    }

    fn compound(&mut self, code: u8) -> Result<Items<'a>, DecodeError> {
        let mut reader = Reader::new(self.variable(code)?);
        let count = reader.length(code)?;
        // Each value has at least its type code.
        if count as usize > reader.bytes.len() {
            return Err(DecodeError::BadLength);
        }
        Ok(Items { count, reader })
    }

    fn array(&mut self, code: u8) -> Result<Array<'a>, DecodeError> {
        let mut reader = Reader::new(self.variable(code)?);
        let count = reader.length(code)?;
        let mut element = reader.byte()?;
        if element == 0 {
            reader.simple()?;
            element = reader.byte()?;
        }
        let array = Array { count, code: element, reader };
        if element == 0 || (!array.has_empty_elements() && count as usize > reader.bytes.len()) {
            return Err(DecodeError::BadLength);
        }
        Ok(array)
    }

    /// Bytes with a length before them; the length's width is in `code`.
    fn variable(&mut self, code: u8) -> Result<&'a [u8], DecodeError> {
        let length = self.length(code)?;
        self.take(length as usize)
    }

    /// A length or count: one byte for 0xa_, 0xc_, 0xe_, four for 0xb_, 0xd_, 0xf_.
    fn length(&mut self, code: u8) -> Result<u32, DecodeError> {
        if code & 0x10 == 0 { Ok(self.byte()?.into()) } else { Ok(u32::from_be_bytes(self.fixed()?)) }
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (first, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(first)
    }
}
