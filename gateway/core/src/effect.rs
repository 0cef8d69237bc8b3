//! What directory and shards want to happen; the runtime makes it happen.

use std::sync::Arc;

use evergate_journal::Record;
use evergate_model::{
    AttachError, Attached, ConsumerId, Event, Message, MessageId, PublishError, QueueId, Seq, Time, Token,
    TransactionError, TransactionId,
};

use crate::directory::{ManageError, ManageReply};
use crate::{PeekFrom, Peeked, Remembered, ShardCommand};

/// A connection's session, unique while the node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A shard's index, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// A stream of records into the journal: the directory's, or a shard's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(pub u16);

impl StreamId {
    /// The directory's stream.
    pub const DIRECTORY: Self = Self(0);
}

impl From<ShardId> for StreamId {
    fn from(shard: ShardId) -> Self {
        Self(shard.0 + 1)
    }
}

/// A place in a stream: the number of records logged up to and with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Records of several streams that are committed together or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique while the node runs (the message's or the transaction's id).
    pub id: u64,
    /// In how many streams it has records.
    pub parts: u16,
}

/// A record on its way to the journal.
#[derive(Clone, Debug)]
pub struct Logged {
    /// What to keep. `None`: this stream's part of the group keeps nothing, but the group is not whole without it.
    pub record: Option<Record>,
    /// With what else. Records of a group are next to each other in their stream.
    pub group: Option<Group>,
}

/// Something for a session's driver.
#[derive(Debug)]
pub enum SessionEvent {
    /// To be handed to the protocol session as it is.
    Event(Event),
    /// The answer to an attach, with what the driver must know to reach the queue.
    Attached {
        /// Whose.
        consumer: ConsumerId,
        /// Where the queue lives and what was found, or why not.
        result: Result<(QueueId, ShardId, Attached), AttachError>,
    },
    /// A shard's answer to a fence: all that was published before is committed.
    Fenced {
        /// Whose answer.
        token: Token,
        /// What it knows of the session that was asked for. All of it is committed.
        remembered: Vec<Remembered>,
    },
    /// A publish that the directory routed has so many parts; each is answered by `PublishPart`.
    PublishParts {
        /// Whose.
        token: Token,
        /// How many.
        parts: u32,
    },
    /// One stream's part of a publish is done (committed, if durable).
    PublishPart {
        /// Whose answer.
        token: Token,
        /// Number of queues it reached here.
        reached: u32,
        /// Why it was refused here.
        error: Option<PublishError>,
    },
    /// The answer to `Pledge`.
    Pledged {
        /// Which transaction.
        transaction: TransactionId,
        /// The settle's.
        token: Option<Token>,
        /// How many deliveries are pledged. `None`: the consumer has none any more.
        held: Option<u64>,
    },
    /// The answer to `FindRoom`.
    RoomFound {
        /// Of the publish.
        token: Token,
        /// A queue that would refuse it.
        error: Option<PublishError>,
    },
    /// The answer to `CheckRoom`.
    RoomChecked {
        /// Which transaction.
        transaction: TransactionId,
        /// A queue that would refuse it.
        error: Option<PublishError>,
    },
    /// The directory routed a commit: what follows stands behind it. Or it says why it is rolled back.
    CommitRouted {
        /// Whose.
        token: Token,
        /// `Event::Committed` follows after the commit; not if it failed.
        result: Result<(), TransactionError>,
    },
    /// The answer to `Ensure`: the queue exists now and is routed, or why not.
    Ensured {
        /// The queue's name.
        name: Arc<str>,
        /// Why not.
        result: Result<(), PublishError>,
    },
    /// The answer to `Manage`; of what was changed, after the commit.
    Managed {
        /// Whose answer.
        token: Token,
        /// What was asked for, or why not.
        result: Result<ManageReply, ManageError>,
    },
    /// The answer to `Peek`.
    Peeked {
        /// Whose answer.
        token: Token,
        /// What is there, in order of service.
        messages: Vec<Peeked>,
        /// Where to go on. `None`: there is no more.
        next: Option<PeekFrom>,
    },
    /// The answer to `Purge`, `PurgeSelected` and `TakeOut`, after the commit.
    Removed {
        /// Whose answer.
        token: Token,
        /// How many messages are gone.
        count: u64,
    },
}

/// What an operator should hear of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its name.
    pub queue: Arc<str>,
    /// What there is to hear.
    pub what: NoticeKind,
    /// Messages in it, and their bytes.
    pub messages: u64,
    /// As [`crate::QueueStats::bytes`].
    pub bytes: u64,
    /// Some of those who consume from it.
    pub consumers: Vec<SessionId>,
}

/// What there is to hear of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Its consumers do not keep up: more waits than is held in memory.
    Behind,
    /// They do again.
    KeepsUp,
    /// Its publishers wait, or what is promised at most once is dropped.
    Full,
    /// The body of a large message cannot be read.
    Unreadable {
        /// Its place.
        seq: Seq,
        /// Its id. `None`: it was settled as it went out, and is gone.
        message: Option<MessageId>,
    },
}

/// What a shard wants to happen.
#[derive(Debug)]
pub enum ShardEffect {
    /// Tell a session.
    Tell(SessionId, SessionEvent),
    /// Read messages back and return them as `ShardCommand::Loaded`.
    Load {
        /// Which queue.
        queue: QueueId,
        /// First place.
        first: Seq,
        /// Last place, included.
        last: Seq,
        /// They are pieces of a large body.
        of_body: bool,
    },
    /// Publishers to this queue must wait, or may go on.
    Full(QueueId, bool),
    /// For the event log.
    Notice(Notice),
    /// So many messages that were accepted are given up: expired, failed or over a limit, where no dead letter is made.
    Dropped(u64),
    /// What stands in the journal cannot be read, and the node cannot go on without it.
    Failed(Arc<str>),
    /// The answer to `Retire`, for the directory.
    Retired {
        /// Which queue.
        queue: QueueId,
        /// As it was asked.
        attempt: u64,
        /// Why not: since when it has been idle; `None`: it is not.
        result: Result<(), Option<Time>>,
    },
    /// Publish this to `_DMQ`; when that is confirmed, `ShardCommand::Remove` it.
    DeadLetter {
        /// Which queue.
        queue: QueueId,
        /// Its place there.
        seq: Seq,
        /// The message, already addressed to `_DMQ`, without an id of its own yet.
        message: Box<Message>,
    },
}

/// What the directory wants to happen.
#[derive(Debug)]
pub enum DirectoryEffect {
    /// Tell a session.
    Tell(SessionId, SessionEvent),
    /// Hand a command to a shard, after those before it and before anyone sees the changed routes.
    Shard(ShardId, ShardCommand),
}
