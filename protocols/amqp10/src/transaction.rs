//! What a transaction controller and we say to each other (part 4, 4.5): the coordinator as a target, and the
//! messages on its link.

use bytes::{Bytes, BytesMut};
use evergate_model::Value;

use crate::codec::{DecodeError, Fields, Item, ListWriter, Reader};
use crate::error::{AmqpError, DECODE_ERROR, NOT_IMPLEMENTED};
use crate::message::control_body;
use crate::performative::{TransactionRef, code, read_transaction};

/// What our coordinator does. Several transactions at once, and one over several sessions, need nothing more.
const CAPABILITIES: [&str; 3] = ["amqp:local-transactions", "amqp:multi-txns-per-ssn", "amqp:multi-ssns-per-txn"];

/// Checks what a controller wants of the coordinator. A capability that we lack is refused at once, so that
/// nobody finds out in the middle of a transaction.
pub(crate) fn check_coordinator(fields: &mut Fields<'_>) -> Result<Result<(), AmqpError>, DecodeError> {
    let lacking = fields.symbols()?.into_iter().find(|wanted| !CAPABILITIES.contains(&wanted.as_str()));
    Ok(match lacking {
        Some(wanted) => Err(AmqpError::new(NOT_IMPLEMENTED, format!("this coordinator has no capability {wanted}"))),
        None => Ok(()),
    })
}

/// Our coordinator, as `attach` carries it.
pub(crate) fn encode_coordinator() -> Bytes {
    let mut buf = BytesMut::new();
    ListWriter::described(&mut buf, code::COORDINATOR).symbols(&CAPABILITIES).close();
    buf.freeze()
}

/// A message on the coordinator's link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Declare,
    Discharge { transaction: TransactionRef, fail: bool },
}

impl Control {
    /// Reads a message. The outer error means that it is no AMQP message; the inner one is for the outcome.
    pub fn read(payload: &Bytes, depth_max: u32) -> Result<Result<Self, AmqpError>, DecodeError> {
        let Some(value) = control_body(payload, depth_max)? else {
            return Ok(Err(AmqpError::new(DECODE_ERROR, "the body is no amqp-value")));
        };
        Ok(Self::read_value(&value).unwrap_or_else(|error| Err(error.into())))
    }

    fn read_value(value: &[u8]) -> Result<Result<Self, AmqpError>, DecodeError> {
        let Item::Described { descriptor, value } = Reader::new(value).item()? else {
            return Err(DecodeError::UnknownDescriptor);
        };
        match descriptor {
            Value::Ulong(number) if number == u64::from(code::DECLARE) => Self::declare(value),
            Value::Symbol(name) if name == "amqp:declare:list" => Self::declare(value),
            Value::Ulong(number) if number == u64::from(code::DISCHARGE) => Self::discharge(value).map(Ok),
            Value::Symbol(name) if name == "amqp:discharge:list" => Self::discharge(value).map(Ok),
            _ => Err(DecodeError::UnknownDescriptor),
        }
    }

    fn declare(value: &[u8]) -> Result<Result<Self, AmqpError>, DecodeError> {
        if Fields::of(value)?.item()?.is_some() {
            let error = AmqpError::new(NOT_IMPLEMENTED, "transactions with a global-id are not supported");
            return Ok(Err(error));
        }
        Ok(Ok(Self::Declare))
    }

    fn discharge(value: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(value)?;
        Ok(Self::Discharge { transaction: read_transaction(&mut fields)?, fail: fields.flag()? })
    }
}
