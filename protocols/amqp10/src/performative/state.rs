//! Delivery states (part 3, 3.4).

use bytes::{BufMut, BytesMut};
use evergate_model::{Outcome, Value};

use super::code;
use crate::codec::{DecodeError, Fields, Item, ListWriter, put_descriptor, put_string, put_symbol};
use crate::error::AmqpError;

/// What a delivery has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryState {
    /// Not terminal: the receiver has so many bytes.
    Received,
    Terminal(Outcome),
    /// Part 4, which we refuse.
    Transactional,
}

/// Reads a state field.
pub(crate) fn read_state(item: Option<Item<'_>>) -> Result<Option<DeliveryState>, DecodeError> {
    let Some(item) = item else { return Ok(None) };
    let Item::Described { descriptor: Value::Ulong(code), value } = item else {
        return Err(DecodeError::WrongType);
    };
    let outcome = match u8::try_from(code).map_err(|_| DecodeError::UnknownDescriptor)? {
        code::RECEIVED => return Ok(Some(DeliveryState::Received)),
        code::TRANSACTIONAL_STATE => return Ok(Some(DeliveryState::Transactional)),
        code::ACCEPTED => Outcome::Accept,
        code::RELEASED => Outcome::Release,
        code::REJECTED => Outcome::Reject { reason: reason(&mut Fields::of(value)?)?.into() },
        code::MODIFIED => {
            let mut fields = Fields::of(value)?;
            Outcome::Modify { failed: fields.flag()?, undeliverable_here: fields.flag()? }
        }
        _ => return Err(DecodeError::UnknownDescriptor),
    };
    Ok(Some(DeliveryState::Terminal(outcome)))
}

/// The condition and description of the error in «rejected», as one text.
fn reason(fields: &mut Fields<'_>) -> Result<String, DecodeError> {
    let Some(Item::Described { value, .. }) = fields.item()? else { return Ok(String::new()) };
    let mut error = Fields::of(value)?;
    let condition = error.symbol()?.unwrap_or_default();
    Ok(match error.string()? {
        Some(description) => format!("{condition}: {description}"),
        None => condition.into_owned(),
    })
}

/// Writes an outcome; `error` goes with a rejection.
pub(crate) fn put_outcome(buf: &mut BytesMut, outcome: &Outcome, error: Option<&AmqpError>) {
    match outcome {
        Outcome::Accept => put_empty(buf, code::ACCEPTED),
        Outcome::Release => put_empty(buf, code::RELEASED),
        Outcome::Reject { .. } => ListWriter::described(buf, code::REJECTED).option(error, put_error).close(),
        Outcome::Modify { failed, undeliverable_here } => {
            ListWriter::described(buf, code::MODIFIED).flag(*failed).flag(*undeliverable_here).close();
        }
    }
}

fn put_empty(buf: &mut BytesMut, code: u8) {
    put_descriptor(buf, code);
    buf.put_u8(0x45);
}

/// Writes an error (part 2, 2.8.14).
pub(super) fn put_error(buf: &mut BytesMut, error: &AmqpError) {
    ListWriter::described(buf, code::ERROR)
        .field(|buf| put_symbol(buf, error.condition))
        .field(|buf| put_string(buf, &error.description))
        .close();
}
