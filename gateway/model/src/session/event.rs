//! What a session is told, and why something was refused.

use std::fmt;
use std::sync::Arc;

use super::action::Fingerprint;
use super::attach::{Binding, Lifetime};
use crate::{ConsumerId, Delivery, Token, TransactionId, shortened};

/// What an authenticated peer may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Go on, as this user (empty: anonymous on loopback).
    Granted(Arc<str>),
    /// Refused.
    Denied,
}

/// Why a message was not taken. None of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// Clients may not publish to this name (`_DMQ` and the like).
    Reserved,
    /// Larger than the configured limit, in bytes.
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The gateway is stopping, or its journal failed.
    Unavailable,
    /// A limit of the gateway (number of queues, …) says no; text for the peer.
    Limit(String),
    /// The destination is full, and who sends cannot wait: by its policy, or since he moves messages.
    Full {
        /// Its name.
        destination: Arc<str>,
    },
    /// No such destination, and policy does not let it come into being.
    NotFound,
    /// The transaction cannot take it.
    Transaction(TransactionError),
}

/// Why a transaction did not, or cannot, commit. Nothing of it took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionError {
    /// There is no such transaction, or its outcome is no longer known.
    Unknown,
    /// It grew beyond a limit, grew too old, or one of its parts failed: it can only be rolled back. Text for the peer.
    RolledBack(RollbackReason, String),
    /// The gateway is stopping, or its journal failed: the outcome can be asked for later.
    Unavailable,
}

/// What kept a transaction from its commit, for protocols that have conditions for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackReason {
    /// A limit of the gateway, or a full destination.
    Limit,
    /// It was open for too long.
    TooOld,
    /// A destination is not there, and policy does not let it come into being.
    NotFound,
    /// Something else that one of its parts needs is not so.
    Precondition,
}

impl From<&PublishError> for RollbackReason {
    fn from(error: &PublishError) -> Self {
        match error {
            PublishError::TooLarge { .. } | PublishError::Limit(_) | PublishError::Full { .. } => Self::Limit,
            PublishError::NotFound => Self::NotFound,
            PublishError::Transaction(TransactionError::RolledBack(reason, _)) => *reason,
            PublishError::Reserved | PublishError::Unavailable | PublishError::Transaction(_) => Self::Precondition,
        }
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such transaction, or it ended too long ago to be remembered"),
            Self::RolledBack(_, text) => f.write_str(&shortened(text)),
            Self::Unavailable => f.write_str("the gateway cannot commit now; the outcome can be asked for later"),
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => {
                f.write_str("names that begin with _ are the gateway's own: clients cannot publish there")
            }
            Self::TooLarge { limit_bytes } => write!(f, "the message is larger than the limit of {limit_bytes} bytes"),
            Self::Unavailable => f.write_str("the gateway cannot store messages now"),
            Self::Limit(text) => f.write_str(&shortened(text)),
            Self::Full { destination } => {
                write!(f, "{} is full: it holds as much as its policy allows", shortened(destination))
            }
            Self::NotFound => f.write_str("there is no such destination, and its policy does not create it"),
            Self::Transaction(error) => error.fmt(f),
        }
    }
}

/// Something that happened in the gateway, told to the session that it concerns.
#[derive(Debug)]
pub enum Event {
    /// The answer to `Authenticate`.
    Authenticated(Access),
    /// The answer to `Publish`: durable ones after the commit.
    Published {
        /// Whose answer.
        token: Token,
        /// Number of queues that it reached (MQTT 5 «no matching subscribers»), or why none.
        result: Result<u32, PublishError>,
    },
    /// The answer to `Attach`.
    Attached {
        /// Whose.
        consumer: ConsumerId,
        /// What was found, or why not.
        result: Result<Attached, AttachError>,
    },
    /// The answer to `Detach`.
    Detached {
        /// Whose.
        consumer: ConsumerId,
    },
    /// A message for a consumer.
    Deliver(Delivery),
    /// All that there was has been delivered (answer to `Credit` with `drain`).
    Drained {
        /// Whose.
        consumer: ConsumerId,
        /// Deliveries in all since it attached.
        delivered: u64,
    },
    /// `Bind`, `Mark` or `Settle` is in force and, if durable, committed.
    Done(Token),
    /// The answer to `Begin`.
    Begun {
        /// Whose answer.
        token: Token,
        /// The new transaction, or why there is none.
        result: Result<TransactionId, TransactionError>,
    },
    /// The answer to `Commit`.
    Committed {
        /// Whose answer.
        token: Token,
        /// Whether it is committed.
        result: Result<(), TransactionError>,
    },
    /// The answer to `Unbind`.
    Unbound {
        /// Whose answer.
        token: Token,
        /// Whether there was such a binding.
        existed: bool,
    },
    /// Another session attached with `AttachAccess::TakeOver`; this consumer is detached.
    TakenOver {
        /// Whose.
        consumer: ConsumerId,
    },
    /// The consumer's queue was deleted under it; this consumer is detached.
    Deleted {
        /// Whose.
        consumer: ConsumerId,
    },
    /// The consumer's queue is full and its policy is to disconnect who does not keep up: say goodbye in the
    /// protocol's words and close.
    Overrun {
        /// Whose queue.
        consumer: ConsumerId,
    },
    /// An operator wants the connection closed: say goodbye in the protocol's words and close.
    ToldToClose {
        /// Text for the peer.
        reason: Arc<str>,
    },
    /// The gateway is stopping: say goodbye in the protocol's words and close.
    Stopping {
        /// Text for the peer.
        reason: Arc<str>,
    },
}

/// What `Attach` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// The queue's name (the unique one of a temporary queue).
    pub queue: Arc<str>,
    /// The queue was there before.
    pub existed: bool,
    /// It survives a restart.
    pub durable: bool,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// It is a stream: `Attach::start` counts.
    pub stream: bool,
    /// Its bindings.
    pub bindings: Vec<Binding>,
    /// The numbers set on it.
    pub marks: Vec<u32>,
    /// What is known of the messages that its session published: one a packet identifier. None where messages that
    /// come again cannot be told from new ones.
    pub fingerprints: Vec<Fingerprint>,
}

/// Why `Attach` failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// There is a consumer, and one of the two wants to be alone, or they want different messages.
    InUse,
    /// No such queue, and it may not be created.
    NotFound,
    /// Not allowed.
    Denied,
    /// A limit of the gateway says no; text for the peer.
    Limit(String),
    /// The gateway is stopping, or its journal failed.
    Unavailable,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another consumer has it for itself, or with another topic or selector"),
            Self::NotFound => f.write_str("there is no such destination"),
            Self::Denied => f.write_str("not allowed"),
            Self::Limit(text) => f.write_str(&shortened(text)),
            Self::Unavailable => f.write_str("the gateway cannot serve this now"),
        }
    }
}
