//! The journal's contract: what the core asks to be kept ([`Record`]), how it is committed ([`Batch`]),
//! what comes back after a restart ([`Recovered`]).
//!
//! One writer, one order. The state after a crash is always a prefix of the order of commits. A failed
//! commit is terminal: the caller stops confirming and never logs and goes on.

mod batch;
#[cfg(feature = "contract")]
pub mod ceiling;
pub mod codec;
#[cfg(feature = "contract")]
pub mod contract;
pub mod index;
pub mod load;
pub mod memory;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evergate_model::{Fingerprint, Message, MessageId, QueueId, Seq};

pub use batch::{Batch, StateChange, StoredMessage};

/// One thing to keep. The core emits them in order.
#[derive(Clone, Debug)]
pub enum Record {
    /// A message in one queue. The same message in several queues is stored once: see [`Batch::add`].
    Enqueue {
        /// The message; its id is unique.
        message: Arc<Message>,
        /// Where.
        queue: QueueId,
        /// At which place. Rising in each queue, with gaps.
        seq: Seq,
        /// What else is to be kept of its publisher: as [`Record::Fingerprint`] does.
        origin: Option<Origin>,
    },
    /// The places `first..=last` of a queue are done with. Those without a stored message are ignored.
    Settle {
        /// Which queue.
        queue: QueueId,
        /// First place.
        first: Seq,
        /// Last place, included.
        last: Seq,
    },
    /// A small number set on a queue, or cleared (packet ids of a session).
    Mark {
        /// Which queue.
        queue: QueueId,
        /// The number.
        number: u32,
        /// Set or cleared.
        set: bool,
    },
    /// All messages and marks of a queue are gone.
    Purge {
        /// Which queue.
        queue: QueueId,
    },
    /// The identity of a message that was stored. Those of one queue in one commit are one row of
    /// [`Table::Dedup`].
    Identity {
        /// Which queue.
        queue: QueueId,
        /// Where the message stands.
        seq: Seq,
        /// What its publisher calls it.
        identity: Arc<str>,
        /// When it came, in milliseconds since 1970.
        at: u64,
    },
    /// What a session published, with QoS 1 of MQTT. Those that one shard logs in one commit are one row of
    /// [`Table::Fingerprint`].
    Fingerprint {
        /// Who published it.
        origin: Origin,
        /// The message.
        message: MessageId,
    },
    /// Small keyed state, replaced by key.
    State(StateChange),
}

/// By what a message is known that a session may publish again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The shard that took it.
    pub shard: u16,
    /// Its number for it: rising.
    pub number: u64,
    /// The session's queue.
    pub queue: QueueId,
    /// How it is known again.
    pub fingerprint: Fingerprint,
}

/// The small keyed tables. Numbers are stored: never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Table {
    /// Queues by id, in decimal. Deleting one also forgets which places it used, once nothing of it is
    /// live: its id is never used again.
    Queue = 1,
    /// Bindings by queue id and filter.
    Binding = 2,
    /// Retained messages by topic.
    Retained = 3,
    /// Counters that must not go back: how often the node started.
    Counter = 4,
    /// Policies that operators added.
    Policy = 5,
    /// Transactions that were committed, by id in decimal. Kept for a while, for those who ask again.
    Transaction = 6,
    /// Identities of messages, for duplicate detection: one row a queue and commit. By queue id and the place
    /// of the first. Written by [`Record::Identity`].
    Dedup = 7,
    /// Messages whose body is not in memory, and where it is. By queue id and place.
    Body = 8,
    /// How often messages were handed out in vain, and until when they wait: on queues that limit it or make a pause. By
    /// queue id and place.
    Failure = 9,
    /// What sessions published with QoS 1 of MQTT: one row a shard and commit. By shard and number of the first.
    /// Written by [`Record::Fingerprint`].
    Fingerprint = 10,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 10] = [
        Self::Queue,
        Self::Binding,
        Self::Retained,
        Self::Counter,
        Self::Policy,
        Self::Transaction,
        Self::Dedup,
        Self::Body,
        Self::Failure,
        Self::Fingerprint,
    ];

    /// The table stored as `number`.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as i16 == number)
    }
}

/// What a restart finds: heads and counts, no message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Queues that have live messages, marks, or had messages before. By id, ascending.
    pub queues: Vec<RecoveredQueue>,
    /// The keyed state, by table and key, ascending.
    pub state: Vec<(Table, Arc<str>, Bytes)>,
}

/// A queue as a restart finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// Its id.
    pub id: QueueId,
    /// Higher than every place that a committed message of it had, as far as the journal still knows.
    pub next_seq: Seq,
    /// Live messages: ascending, disjoint, exact in `count` and `bytes`. A range may span places that
    /// are settled; the counts do not include them.
    pub live: Vec<LiveRange>,
    /// Numbers set on it, ascending.
    pub marks: Vec<u32>,
}

/// A run of places of one queue and what lives in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveRange {
    /// First place.
    pub first: Seq,
    /// Last place, included.
    pub last: Seq,
    /// Live messages in it.
    pub count: u64,
    /// Sum of their `Message::size_bytes`.
    pub bytes: u64,
}

/// Messages read back.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Live messages, by place, ascending.
    pub messages: Vec<(Seq, Arc<Message>)>,
    /// All live messages up to and with this place are in `messages`; more may follow behind it.
    pub complete_to: Seq,
}

/// Why the journal cannot go on. Terminal for the node, but for [`Self::Damaged`]: the core knows what was to be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It could not be opened or recovered; the text says what to do.
    #[error("the journal cannot be opened: {0}")]
    Open(String),
    /// A commit failed or its outcome is unknown.
    #[error("the journal failed to commit: {0}")]
    Commit(String),
    /// What keeps it is gone, although nobody asked for anything.
    #[error("the journal failed: {0}")]
    Ended(String),
    /// A stored message could not be read back.
    #[error("the journal failed to read: {0}")]
    Read(String),
    /// A stored message is not as it was written: to read it again is no use.
    #[error("the journal failed to read: {0}")]
    Damaged(String),
}

/// Where durable state lives. One owner writes.
#[async_trait]
pub trait Journal: Send {
    /// Reads what a restart needs. Called once, before the first commit.
    async fn recover(&mut self) -> Result<Recovered, JournalError>;

    /// Makes `batch` durable, whole or not at all, after every batch before it.
    async fn commit(&mut self, batch: &Batch) -> Result<(), JournalError>;

    /// Reads messages back beside the writer.
    fn reader(&self) -> Arc<dyn JournalReader>;

    /// Work that need not delay a commit (truncating a dead table). Called when nothing is pending.
    async fn idle(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Asks whether it can still be used. Called now and then while nothing is to be committed.
    async fn ask(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Returns once it can no longer be used, although nobody asked it for anything. Cancel-safe.
    async fn ended(&mut self) -> JournalError {
        std::future::pending().await
    }

    /// Closes it cleanly.
    async fn close(self: Box<Self>) -> Result<(), JournalError>;
}

/// Reads committed messages back, concurrently with the writer.
#[async_trait]
pub trait JournalReader: Send + Sync {
    /// The live messages of `queue` in `first..=last`, in order, until either bound is reached; at least
    /// one if there is any, however large.
    async fn load(
        &self,
        queue: QueueId,
        first: Seq,
        last: Seq,
        messages_max: usize,
        bytes_max: u64,
    ) -> Result<Loaded, JournalError>;
}
