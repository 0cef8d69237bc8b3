//! Delivery states (part 3, 3.4; part 4, 4.5.5 and 4.5.8).

use bytes::{BufMut, BytesMut};
use evergate_model::{Outcome, TransactionId, Value};

use super::code;
use crate::codec::{DecodeError, Fields, Item, ListWriter, put_descriptor, put_string, put_symbol, put_value};
use crate::error::AmqpError;

/// A transaction as a client names it. `None`: these bytes are the id of no transaction of ours.
pub(crate) type TransactionRef = Option<TransactionId>;

/// What a delivery has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryState {
    /// Not terminal: the receiver has so many bytes.
    Received,
    Terminal(Outcome),
    /// The outcome is to take effect with a transaction.
    Transactional {
        transaction: TransactionRef,
        outcome: Option<Outcome>,
    },
}

/// Reads a state field.
pub(crate) fn read_state(item: Option<Item<'_>>) -> Result<Option<DeliveryState>, DecodeError> {
    let Some(item) = item else { return Ok(None) };
    let Item::Described { descriptor, value } = item else {
        return Err(DecodeError::WrongType);
    };
    match code_of(&descriptor)? {
        code::RECEIVED => Ok(Some(DeliveryState::Received)),
        code::TRANSACTIONAL_STATE => {
            let mut fields = Fields::of(value)?;
            let transaction = read_transaction(&mut fields)?;
            let outcome = read_outcome(fields.item()?.as_ref())?;
            Ok(Some(DeliveryState::Transactional { transaction, outcome }))
        }
        code => Ok(Some(DeliveryState::Terminal(outcome(code, value)?))),
    }
}

/// States by the names of their descriptors, which may stand for the numbers (part 1, 1.5).
const NAMES: [(&str, u8); 6] = [
    ("amqp:received:list", code::RECEIVED),
    ("amqp:accepted:list", code::ACCEPTED),
    ("amqp:rejected:list", code::REJECTED),
    ("amqp:released:list", code::RELEASED),
    ("amqp:modified:list", code::MODIFIED),
    ("amqp:transactional-state:list", code::TRANSACTIONAL_STATE),
];

fn code_of(descriptor: &Value<'_>) -> Result<u8, DecodeError> {
    let code = match descriptor {
        Value::Ulong(code) => u8::try_from(*code).ok(),
        Value::Symbol(name) => NAMES.iter().find_map(|(known, code)| (known == name).then_some(*code)),
        _ => None,
    };
    code.ok_or(DecodeError::UnknownDescriptor)
}

/// Reads an outcome; a state that is none counts as not given.
fn read_outcome(item: Option<&Item<'_>>) -> Result<Option<Outcome>, DecodeError> {
    match item {
        None => Ok(None),
        Some(Item::Described { descriptor, value }) => match code_of(descriptor)? {
            code::RECEIVED => Ok(None),
            code => outcome(code, value).map(Some),
        },
        Some(_) => Err(DecodeError::WrongType),
    }
}

fn outcome(code: u8, value: &[u8]) -> Result<Outcome, DecodeError> {
    Ok(match code {
        code::ACCEPTED => Outcome::Accept,
        code::RELEASED => Outcome::Release,
        code::REJECTED => Outcome::Reject { reason: reason(&mut Fields::of(value)?)?.into() },
        code::MODIFIED => {
            let mut fields = Fields::of(value)?;
            Outcome::Modify { failed: fields.flag()?, undeliverable_here: fields.flag()? }
        }
        _ => return Err(DecodeError::UnknownDescriptor),
    })
}

/// Reads a txn-id, which is mandatory wherever it stands.
pub(crate) fn read_transaction(fields: &mut Fields<'_>) -> Result<TransactionRef, DecodeError> {
    let bytes = fields.binary()?.ok_or(DecodeError::MissingField)?;
    Ok(<[u8; 8]>::try_from(&*bytes).ok().map(|bytes| TransactionId(u64::from_be_bytes(bytes))))
}

fn put_transaction(buf: &mut BytesMut, transaction: TransactionId) {
    put_value(buf, &Value::Binary(transaction.0.to_be_bytes()[..].into()));
}

/// Writes an outcome that takes effect with a transaction.
pub(crate) fn put_transactional(
    buf: &mut BytesMut,
    transaction: TransactionId,
    outcome: &Outcome,
    error: Option<&AmqpError>,
) {
    ListWriter::described(buf, code::TRANSACTIONAL_STATE)
        .field(|buf| put_transaction(buf, transaction))
        .field(|buf| put_outcome(buf, outcome, error))
        .close();
}

/// Writes the outcome of a «declare».
pub(crate) fn put_declared(buf: &mut BytesMut, transaction: TransactionId) {
    ListWriter::described(buf, code::DECLARED).field(|buf| put_transaction(buf, transaction)).close();
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
        Outcome::Release | Outcome::Unsent => put_empty(buf, code::RELEASED),
        Outcome::Reject { .. } | Outcome::Unreadable => {
            ListWriter::described(buf, code::REJECTED).option(error, put_error).close();
        }
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
