//! Error conditions of the standard, and how far an error reaches.

use std::borrow::Cow;

use evergate_model::{AttachError, PublishError, RollbackReason, TransactionError};

use crate::codec::DecodeError;

pub(crate) const DECODE_ERROR: &str = "amqp:decode-error";
pub(crate) const FORCED: &str = "amqp:connection:forced";
pub(crate) const FRAMING_ERROR: &str = "amqp:connection:framing-error";
pub(crate) const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
pub(crate) const INTERNAL_ERROR: &str = "amqp:internal-error";
pub(crate) const INVALID_FIELD: &str = "amqp:invalid-field";
pub(crate) const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
pub(crate) const NOT_ALLOWED: &str = "amqp:not-allowed";
pub(crate) const NOT_FOUND: &str = "amqp:not-found";
pub(crate) const NOT_IMPLEMENTED: &str = "amqp:not-implemented";
pub(crate) const PRECONDITION_FAILED: &str = "amqp:precondition-failed";
pub(crate) const RESOURCE_DELETED: &str = "amqp:resource-deleted";
pub(crate) const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
pub(crate) const RESOURCE_LOCKED: &str = "amqp:resource-locked";
pub(crate) const ROLLBACK: &str = "amqp:transaction:rollback";
pub(crate) const STOLEN: &str = "amqp:link:stolen";
pub(crate) const TRANSACTION_TIMEOUT: &str = "amqp:transaction:timeout";
pub(crate) const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
pub(crate) const UNATTACHED_HANDLE: &str = "amqp:session:unattached-handle";
pub(crate) const UNAUTHORIZED_ACCESS: &str = "amqp:unauthorized-access";
pub(crate) const UNKNOWN_ID: &str = "amqp:transaction:unknown-id";
pub(crate) const WINDOW_VIOLATION: &str = "amqp:session:window-violation";

/// A condition and words for the peer's developer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AmqpError {
    pub condition: &'static str,
    pub description: Cow<'static, str>,
}

impl AmqpError {
    pub fn new(condition: &'static str, description: impl Into<Cow<'static, str>>) -> Self {
        Self { condition, description: description.into() }
    }
}

impl From<DecodeError> for AmqpError {
    fn from(error: DecodeError) -> Self {
        Self::new(DECODE_ERROR, error.to_string())
    }
}

impl From<&AttachError> for AmqpError {
    fn from(error: &AttachError) -> Self {
        let condition = match error {
            AttachError::NotFound => NOT_FOUND,
            AttachError::InUse => RESOURCE_LOCKED,
            AttachError::Denied => UNAUTHORIZED_ACCESS,
            AttachError::Limit(_) => RESOURCE_LIMIT_EXCEEDED,
            AttachError::Unavailable => INTERNAL_ERROR,
        };
        Self::new(condition, error.to_string())
    }
}

impl From<&PublishError> for AmqpError {
    fn from(error: &PublishError) -> Self {
        let condition = match error {
            PublishError::Reserved => NOT_ALLOWED,
            PublishError::TooLarge { .. } => MESSAGE_SIZE_EXCEEDED,
            PublishError::Limit(_) | PublishError::Full { .. } => RESOURCE_LIMIT_EXCEEDED,
            PublishError::NotFound => NOT_FOUND,
            PublishError::Unavailable => INTERNAL_ERROR,
            PublishError::Transaction(error) => return error.into(),
        };
        Self::new(condition, error.to_string())
    }
}

impl From<&TransactionError> for AmqpError {
    fn from(error: &TransactionError) -> Self {
        let condition = match error {
            TransactionError::Unknown => UNKNOWN_ID,
            TransactionError::RolledBack(..) => ROLLBACK,
            TransactionError::Unavailable => INTERNAL_ERROR,
        };
        Self::new(condition, error.to_string())
    }
}

/// Why a commit is refused (part 4, 4.3). What it was that failed says more than «rollback», which Qpid JMS takes for
/// «in doubt».
pub(crate) fn commit_refused(error: &TransactionError) -> AmqpError {
    let condition = match error {
        TransactionError::RolledBack(reason, _) => match reason {
            RollbackReason::Limit => RESOURCE_LIMIT_EXCEEDED,
            RollbackReason::TooOld => TRANSACTION_TIMEOUT,
            RollbackReason::NotFound => NOT_FOUND,
            RollbackReason::Precondition => PRECONDITION_FAILED,
        },
        TransactionError::Unknown | TransactionError::Unavailable => return error.into(),
    };
    AmqpError::new(condition, error.to_string())
}

/// How far an error reaches: what has to be ended because of it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// `close`.
    Connection(AmqpError),
    /// `end`.
    Session(AmqpError),
    /// `detach` of the link with this handle.
    Link(u32, AmqpError),
}

/// A performative that cannot be read leaves nothing to trust on this connection.
impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Connection(error.into())
    }
}
