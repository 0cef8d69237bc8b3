//! Checks a value all the way down, once, when it is published. What passed is read later without fear.

use super::{DecodeError, Item, Reader};

/// Elements of an array that take no bytes (null, true, uint 0). A larger count is a bomb, not data.
const EMPTY_ELEMENTS_MAX: u32 = 16;

/// Checks the next value of `reader` and steps over it.
pub(crate) fn validate(reader: &mut Reader<'_>, depth_max: u32) -> Result<(), DecodeError> {
    check(&reader.item()?, depth_max)
}

fn check(item: &Item<'_>, depth_left: u32) -> Result<(), DecodeError> {
    if matches!(item, Item::Simple(_)) {
        return Ok(());
    }
    let depth_left = depth_left.checked_sub(1).ok_or(DecodeError::TooDeep)?;
    match item {
        Item::Simple(_) => Ok(()),
        Item::List(items) | Item::Map(items) => {
            let mut items = items.clone();
            for item in items.by_ref() {
                check(&item?, depth_left)?;
            }
            end(items.reader)
        }
        Item::Array(array) => {
            if array.has_empty_elements() && array.count > EMPTY_ELEMENTS_MAX {
                return Err(DecodeError::BadLength);
            }
            let mut array = array.clone();
            for item in array.by_ref() {
                check(&item?, depth_left)?;
            }
            end(array.reader)
        }
        Item::Described { value, .. } => {
            let mut reader = Reader::new(value);
            check(&reader.item()?, depth_left)?;
            end(reader)
        }
    }
}

fn end(reader: Reader<'_>) -> Result<(), DecodeError> {
    if reader.is_empty() { Ok(()) } else { Err(DecodeError::BadLength) }
}
