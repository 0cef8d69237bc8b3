//! What a shard is told.

use std::sync::Arc;
use std::time::Duration;

use evergate_model::{
    Attached, ConsumerId, Event, Mark, Message, QueueId, QueueSettings, Selector, Seq, Settle, StreamStart, Token,
    TransactionId,
};

use crate::effect::{Group, Position, SessionId};
use crate::queue::{PeekFrom, Reserve};

/// What a shard is told.
#[derive(Debug)]
pub enum ShardCommand {
    /// A new queue.
    Create {
        /// Its id, never used before.
        queue: QueueId,
        /// Its name.
        name: Arc<str>,
        /// It survives a restart.
        durable: bool,
        /// How it behaves.
        settings: Arc<QueueSettings>,
    },
    /// How a queue behaves from now on.
    Change {
        /// Which.
        queue: QueueId,
        /// How it behaves.
        settings: Arc<QueueSettings>,
    },
    /// From now on the queue survives restarts. What is in it already and is not stored does not.
    MakeDurable {
        /// Which.
        queue: QueueId,
    },
    /// The queue, its messages and marks are gone; consumers are told.
    Delete {
        /// Which.
        queue: QueueId,
    },
    /// A queue that nobody may miss: taken out of use if it has neither messages nor consumers. The directory is
    /// told by `Retired`, and deletes it or has it reopened.
    Retire {
        /// Which.
        queue: QueueId,
        /// Named in the answer.
        attempt: u64,
        /// Only if it has been so for this long.
        idle_for: Duration,
        /// Consumers do not matter.
        even_in_use: bool,
    },
    /// A retired queue is in use again.
    Reopen {
        /// Which.
        queue: QueueId,
    },
    /// A consumer; answered with `Attached`.
    Attach {
        /// Which queue.
        queue: QueueId,
        /// Whose consumer.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// What it wants.
        wants: Box<ConsumerWants>,
        /// Bytes it may be sent at first.
        window_bytes: u64,
        /// For the answer: what the directory knows. Marks are added here.
        found: Box<Attached>,
    },
    /// No longer a consumer; what it holds goes back.
    Detach {
        /// Which queue.
        queue: QueueId,
        /// Whose consumer.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// It vanished: each delivery it held counts as failed.
        failed: bool,
        /// What it is told afterwards.
        answer: Option<Event>,
    },
    /// A message for some of this shard's queues.
    Publish {
        /// Who is answered, with which token; nobody, if the gateway itself publishes.
        answer: Option<(SessionId, Token)>,
        /// The message.
        message: Arc<Message>,
        /// The queues.
        targets: Vec<ShardTarget>,
        /// What to keep in the same commit.
        mark: Option<(QueueId, Mark)>,
        /// With which records of other streams it is committed.
        group: Option<Group>,
        /// A queue that is full may refuse it, and then none of these has it. False: it has parts elsewhere, and
        /// room was found for all of them before.
        may_be_refused: bool,
    },
    /// Would these queues take a message? Asked before it is published to several shards, so that they have it all or
    /// none. Answered with `RoomFound`.
    FindRoom {
        /// Who asks.
        session: SessionId,
        /// Named in the answer.
        token: Token,
        /// The message.
        message: Arc<Message>,
        /// The queues that refuse messages when they are full.
        queues: Vec<QueueId>,
    },
    /// Answered with `Fenced` when all that was published before is committed.
    Fence {
        /// Who asks.
        session: SessionId,
        /// Named in the answer.
        token: Token,
        /// Whose session's publishes to tell of.
        queue: Option<QueueId>,
    },
    /// The session of that queue is no more.
    ForgetFingerprints {
        /// Which queue.
        queue: QueueId,
    },
    /// A consumer's limit of deliveries in all.
    Credit {
        /// Which queue.
        queue: QueueId,
        /// Whose consumer.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// The limit.
        limit: u64,
        /// Answer when there is nothing more to send now.
        drain: bool,
    },
    /// A consumer's limit of bytes in all.
    Window {
        /// Which queue.
        queue: QueueId,
        /// Whose consumer.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// The limit.
        limit_bytes: u64,
    },
    /// A consumer's word on deliveries.
    Settle {
        /// Which queue.
        queue: QueueId,
        /// Whose word.
        session: SessionId,
        /// What it says.
        settle: Settle,
    },
    /// A consumer's word on deliveries, for when a transaction commits; answered with `Pledged`.
    Pledge {
        /// Which transaction.
        transaction: TransactionId,
        /// Which queue.
        queue: QueueId,
        /// Whose word.
        session: SessionId,
        /// What it says.
        settle: Settle,
    },
    /// A message that was reserved leaves its queue when a transaction commits; answered with `Pledged`.
    PledgeReserved {
        /// Which transaction.
        transaction: TransactionId,
        /// Which queue.
        queue: QueueId,
        /// Which place.
        seq: Seq,
        /// Who asks.
        session: SessionId,
    },
    /// Would these queues, which refuse messages when they are full, take what a transaction has for them? Answered
    /// with `RoomChecked`.
    CheckRoom {
        /// Which transaction.
        transaction: TransactionId,
        /// Who asks.
        session: SessionId,
        /// Queues, and the messages and bytes for each.
        wants: Vec<(QueueId, u64, u64)>,
    },
    /// This shard's part of a commit. What is pledged to the transaction is settled with it.
    Transaction {
        /// Which.
        transaction: TransactionId,
        /// Its messages, in order.
        publishes: Vec<(Arc<Message>, Vec<ShardTarget>)>,
        /// Numbers to set.
        marks: Vec<(QueueId, u32)>,
        /// The directory's record and the parts of other shards.
        group: Group,
    },
    /// What is pledged to the transaction is its consumers' again.
    Rollback {
        /// Which.
        transaction: TransactionId,
    },
    /// Sets or clears a number.
    Mark {
        /// Which queue.
        queue: QueueId,
        /// The number.
        number: u32,
        /// Set or cleared.
        set: bool,
        /// Who is answered after the commit.
        answer: Option<(SessionId, Token)>,
    },
    /// Removes every message that no consumer holds; answered with `Removed`.
    Purge {
        /// Which queue.
        queue: QueueId,
        /// Who is answered after the commit.
        answer: (SessionId, Token),
    },
    /// The same of those that are selected.
    PurgeSelected {
        /// Which queue.
        queue: QueueId,
        /// Only these.
        selector: Selector,
        /// Who is answered after the commit.
        answer: (SessionId, Token),
    },
    /// Looks at messages without taking them; answered with `Peeked`.
    Peek {
        /// Which queue.
        queue: QueueId,
        /// From where on.
        from: PeekFrom,
        /// How many at most.
        count: usize,
        /// Only these.
        selector: Option<Selector>,
        /// Which of them leave service, until a transaction takes them, or `GiveBack`.
        reserve: Reserve,
        /// Who is answered.
        answer: (SessionId, Token),
    },
    /// Removes chosen messages that no consumer holds; answered with `Removed`.
    TakeOut {
        /// Which queue.
        queue: QueueId,
        /// Which places.
        seqs: Vec<Seq>,
        /// Who is answered after the commit.
        answer: (SessionId, Token),
    },
    /// `next_timeout()` has passed.
    Tick,
    /// A dead letter has arrived in `_DMQ`: take it from here.
    Remove {
        /// Which queue.
        queue: QueueId,
        /// Which place.
        seq: Seq,
    },
    /// What was reserved could not be moved: back into service.
    GiveBack {
        /// Which queue.
        queue: QueueId,
        /// Which place.
        seq: Seq,
    },
    /// Messages that were read back.
    Loaded {
        /// Which queue.
        queue: QueueId,
        /// The messages.
        messages: Vec<(Seq, Arc<Message>)>,
        /// How far they are complete.
        complete_to: Seq,
    },
    /// Messages that were to be read back are damaged.
    LoadFailed {
        /// Which queue.
        queue: QueueId,
        /// What is wrong, in words.
        why: Arc<str>,
    },
    /// This shard's records up to here are committed.
    Durable(Position),
    /// Memory is short everywhere, or no longer.
    Pressure(bool),
}

/// What a consumer asked for when it attached.
#[derive(Clone, Debug, Default)]
pub struct ConsumerWants {
    /// Deliveries are settled as they go out.
    pub settled: bool,
    /// Deliveries are copies: nothing is taken.
    pub browse: bool,
    /// Only these messages.
    pub selector: Option<Selector>,
    /// It is served before those of lower priority.
    pub priority: i32,
    /// Where it begins on a stream.
    pub start: StreamStart,
}

/// One of the queues that a publish goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct ShardTarget {
    /// Which.
    pub queue: QueueId,
    /// The queue's interest is durable (it came through a durable binding, or by name).
    pub durable: bool,
    /// It may be missed: what does not fit into memory is not kept elsewhere.
    pub at_most_once: bool,
    /// It is a retained message, sent for a new subscription.
    pub retained: bool,
    /// An operator sends it there from elsewhere: it is no duplicate of what it is itself.
    pub moved: bool,
}
