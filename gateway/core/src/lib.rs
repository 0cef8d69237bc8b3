//! The destination core: queues, subscriptions, routing. Pure and deterministic: no clock, no I/O, no
//! `await`, no locks, no protocol's name. The runtime drives it with tokio, the simulator with a seed.
//!
//! - [`Directory`]: the one owner of names, bindings, retained messages and who is attached where.
//! - [`Shard`]: the owner of many queues: backlog, consumers, credit, settlement.
//! - [`Routes`]: where a publish goes; read by sessions, changed by the directory's effects.
//! - [`Publisher`]: one session's publishes and transactions on their way in.
//! - [`Sequencer`]: joins what directory and shards want kept into batches that are whole.

mod bug;
mod consumer;
mod directory;
mod effect;
mod lane;
mod publisher;
mod queue;
mod recovery;
mod retained;
mod routes;
mod sequencer;
mod shard;

pub use bug::Bug;
pub use directory::{
    CommitCommand, Directory, DirectoryCommand, DirectoryConfig, DirectoryLimits, HeldPublish, ManageError,
    ManageReply, ManageRequest, OutcomeLimits, QueueDefinition, QueueEntry, ShardPart, split_by_shard,
};
pub use effect::{
    DirectoryEffect, Group, Logged, Notice, NoticeKind, Position, SessionEvent, SessionId, ShardEffect, ShardId,
    StreamId,
};
pub use publisher::{
    BodyLimits, Out as PublisherOut, Publisher, PublisherCounts, PublisherEffect, Surroundings, TransactionCounts,
    TransactionLimits, Waiting,
};
pub use queue::{PeekFrom, Peeked, PeekedState, QueueLimits, QueueStats, Reserve};
pub use recovery::{Counters, RecoveredCore, recover};
pub use routes::{RouteCache, Routes, Target};
pub use sequencer::Sequencer;
pub use shard::{ConsumerWants, FingerprintLimits, Remembered, Shard, ShardCommand, ShardConfig, ShardTarget, newest};
