//! What the directory is told, and what it goes by.

use std::sync::Arc;

use evergate_model::{
    Attach, Binding, ConsumerId, Filter, Lifetime, Mark, Message, OnRelease, Policy, QueueId, QueueSettings, Retained,
    Time, Token, TransactionId,
};

use super::manage::ManageRequest;
use super::transactions::{CommitCommand, OutcomeLimits};
use crate::effect::{Position, SessionId, ShardId};

/// What the directory is told.
#[derive(Debug)]
pub enum DirectoryCommand {
    /// A session wants to consume.
    Attach {
        /// Whose.
        session: SessionId,
        /// What it asked.
        attach: Attach,
        /// Bytes it may be sent at first.
        window_bytes: u64,
    },
    /// A consumer leaves.
    Detach {
        /// Whose.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// Delete the queue as well.
        delete: bool,
        /// A new lifetime for the queue.
        lifetime: Option<Lifetime>,
    },
    /// A session ended: all its consumers leave. `failed`: it vanished.
    Gone {
        /// Whose.
        session: SessionId,
        /// What its consumers held counts as failed deliveries.
        failed: bool,
    },
    /// A binding for a consumer's queue.
    Bind {
        /// Whose.
        session: SessionId,
        /// Whose queue.
        consumer: ConsumerId,
        /// What to bind.
        binding: Binding,
        /// Which retained messages follow.
        retained: Retained,
        /// Named in the answer.
        token: Token,
    },
    /// A binding goes.
    Unbind {
        /// Whose.
        session: SessionId,
        /// Whose queue.
        consumer: ConsumerId,
        /// Which.
        filter: Filter,
        /// Named in the answer.
        token: Token,
    },
    /// A queue that somebody wants to publish to; answered with `Ensured`.
    Ensure {
        /// Who asks.
        session: SessionId,
        /// The queue's name.
        name: Arc<str>,
    },
    /// A publish with the retain flag: the directory routes it, so that it is in order with binds.
    PublishRetained {
        /// Who is answered, with which token; nobody, if the gateway itself publishes.
        answer: Option<(SessionId, Token)>,
        /// Its client id, for no-local.
        client_id: Arc<str>,
        /// The message.
        message: Arc<Message>,
        /// What to keep in the same commit.
        mark: Option<(ShardId, QueueId, Mark)>,
    },
    /// A session began a transaction.
    Begin {
        /// Which.
        transaction: TransactionId,
    },
    /// A transaction is to be committed; answered with `CommitRouted`, and after the commit with `Committed`.
    Commit(Box<CommitCommand>),
    /// A transaction was rolled back.
    Ended {
        /// Which.
        transaction: TransactionId,
    },
    /// What became of a transaction? Answered with `Committed`.
    Outcome {
        /// Who asks.
        session: SessionId,
        /// Which.
        transaction: TransactionId,
        /// Named in the answer.
        token: Token,
    },
    /// Answered by one `Fenced` a shard, when all that was published before is committed.
    Fence {
        /// Who asks.
        session: SessionId,
        /// Named in the answers.
        token: Token,
        /// The queue of a session: what is remembered of its publishes is wanted.
        queue: Arc<str>,
    },
    /// An operator's request; answered with `Managed`.
    Manage {
        /// Who asks.
        session: SessionId,
        /// Named in the answer.
        token: Token,
        /// What is wanted.
        request: Box<ManageRequest>,
    },
    /// A shard's answer to `Retire`.
    Retired {
        /// Which queue.
        queue: QueueId,
        /// As it was asked.
        attempt: u64,
        /// Why not: since when it has been idle; `None`: it is not.
        result: Result<(), Option<Time>>,
    },
    /// No message refers to the body in the queue of this name any more.
    Release {
        /// The queue's name.
        name: Arc<str>,
    },
    /// The directory's records up to here are committed.
    Durable(Position),
    /// `next_timeout()` has passed.
    Tick,
}

/// The directory's limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectoryLimits {
    /// How many queues there may be, subscriptions and sessions included.
    pub queues_max: usize,
    /// How many topics may have a retained message.
    pub retained_max: usize,
    /// How many bytes all of those may be.
    pub retained_bytes_max: u64,
    /// How long outcomes of transactions are remembered.
    pub outcomes: OutcomeLimits,
}

/// What the directory goes by.
#[derive(Clone, Debug, Default)]
pub struct DirectoryConfig {
    /// Its limits.
    pub limits: DirectoryLimits,
    /// Told of bodies that nobody refers to any more: it sends `DirectoryCommand::Release`.
    pub on_release: OnRelease,
    /// How a queue behaves of which no policy says otherwise.
    pub defaults: QueueSettings,
    /// Policies of the configuration. Those of operators come behind them.
    pub policies: Vec<Policy>,
    /// Queues of the configuration. They are there from the start.
    pub queues: Vec<QueueDefinition>,
}

/// A durable queue that is there whether or not somebody uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueDefinition {
    /// Its name.
    pub name: Arc<str>,
    /// What it is bound to.
    pub bindings: Vec<Binding>,
    /// How it behaves; over all policies. Its `match` means nothing.
    pub settings: Policy,
}
