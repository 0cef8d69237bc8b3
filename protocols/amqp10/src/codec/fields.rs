//! The fields of a described list: in order, null or absent at the end means «not given».

use std::borrow::Cow;

use evergate_model::Value;

use super::{DecodeError, Item, Items, Reader};

/// What is left of a list's fields.
pub(crate) struct Fields<'a> {
    items: Items<'a>,
}

macro_rules! typed {
    ($name:ident, $variant:ident, $type:ty) => {
        pub fn $name(&mut self) -> Result<Option<$type>, DecodeError> {
            match self.simple()? {
                None => Ok(None),
                Some(Value::$variant(value)) => Ok(Some(value)),
                Some(_) => Err(DecodeError::WrongType),
            }
        }
    };
}

impl<'a> Fields<'a> {
    /// Reads a described list: its descriptor's code and its fields.
    pub fn described(reader: &mut Reader<'a>) -> Result<(u64, Self), DecodeError> {
        let Item::Described { descriptor: Value::Ulong(code), value } = reader.item()? else {
            return Err(DecodeError::UnknownDescriptor);
        };
        Ok((code, Self::of(value)?))
    }

    /// The fields of the list in `value`.
    pub fn of(value: &'a [u8]) -> Result<Self, DecodeError> {
        match Reader::new(value).item()? {
            Item::List(items) => Ok(Self { items }),
            _ => Err(DecodeError::WrongType),
        }
    }

    /// The next field, whatever its type.
    pub fn item(&mut self) -> Result<Option<Item<'a>>, DecodeError> {
        match self.items.next().transpose()? {
            None | Some(Item::Simple(Value::Null)) => Ok(None),
            some => Ok(some),
        }
    }

    /// The next field's bytes.
    pub fn raw(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(left) = self.items.count.checked_sub(1) else { return Ok(None) };
        self.items.count = left;
        let raw = self.items.reader.raw()?;
        Ok((raw != [0x40]).then_some(raw))
    }

    /// Steps over the next field.
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        self.raw().map(drop)
    }

    fn simple(&mut self) -> Result<Option<Value<'a>>, DecodeError> {
        match self.item()? {
            None => Ok(None),
            Some(Item::Simple(value)) => Ok(Some(value)),
            Some(_) => Err(DecodeError::WrongType),
        }
    }

    /// The next field if it is of a simple type.
    pub fn value(&mut self) -> Result<Option<Value<'a>>, DecodeError> {
        self.simple()
    }

    typed!(boolean, Bool, bool);
    typed!(u8, Ubyte, u8);
    typed!(u16, Ushort, u16);
    typed!(u32, Uint, u32);
    typed!(u64, Ulong, u64);
    typed!(timestamp, Timestamp, i64);
    typed!(string, String, Cow<'a, str>);
    typed!(symbol, Symbol, Cow<'a, str>);
    typed!(binary, Binary, Cow<'a, [u8]>);

    /// A boolean; absent is false.
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        Ok(self.boolean()?.unwrap_or(false))
    }

    /// A field with «multiple symbols»: one symbol, or an array of them (part 1, 1.4).
    pub fn symbols(&mut self) -> Result<Vec<String>, DecodeError> {
        match self.item()? {
            None => Ok(Vec::new()),
            Some(Item::Simple(Value::Symbol(symbol))) => Ok(vec![symbol.into_owned()]),
            Some(Item::Array(array)) if matches!(array.code, 0xa3 | 0xb3) => array
                .map(|item| match item? {
                    Item::Simple(Value::Symbol(symbol)) => Ok(symbol.into_owned()),
                    _ => Err(DecodeError::WrongType),
                })
                .collect(),
            Some(_) => Err(DecodeError::WrongType),
        }
    }
}
