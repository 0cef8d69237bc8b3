//! The words that protocol sessions, the destination core and the journal share.
//!
//! Nothing here does I/O, reads a clock or knows a protocol's name. A protocol turns bytes into
//! [`Action`]s and [`Event`]s into bytes; the core turns them into deliveries and confirms.

mod address;
pub mod ahead;
pub mod dead_letter;
pub mod few;
mod filter;
mod format;
mod ids;
mod large;
mod memory;
mod message;
mod percent;
mod recent;
mod selector;
mod session;
mod settings;
mod shortened;
mod size;
mod value;

pub use address::{
    ADMIN_NAME, Address, AddressError, AddressKind, DEAD_LETTER_QUEUE, RESERVED_PREFIX, SESSION_PREFIX, SHARED_PREFIX,
    SUBSCRIPTION_PREFIX, SYSTEM_PREFIX, TEMPORARY_PREFIX,
};
pub use filter::{Filter, FilterError};
pub use format::{Body, ContentReader, Encoding, Format, Formats, View};
pub use ids::{ConsumerId, Delivery, IdMap, MessageId, NameHash, NameMap, QueueId, Seq, Time, Token, TransactionId};
pub use large::{BODY_PREFIX, LargeBody, OnRelease};
pub use memory::{MemoryBudget, MemoryPermit};
pub use message::{Annotation, Message, Meta, OVERHEAD_BYTES, RareMeta};
pub use percent::percent_decode;
pub use recent::RecentTopics;
pub use selector::{Selector, SelectorError};
pub use session::{
    Access, Action, Attach, AttachAccess, AttachError, Attached, Binding, Close, Credentials, Credit, Event,
    Fingerprint, LargeEnd, Lifetime, Mark, Outcome, Output, PeerInfo, Publish, PublishError, QueueSpec, Retained,
    RollbackReason, Session, Settle, Standing, StreamStart, TransactionError, Will, Wire, note, noted,
};
pub use settings::{
    Consumers, DedupWindow, Dispatch, OnFull, Policy, PolicyError, QueueKind, QueueSettings, Redelivery, Unwanted,
};
pub use shortened::shortened;
pub use size::{deserialize_size, parse_size};
pub use value::Value;
