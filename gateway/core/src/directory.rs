//! The directory: the one owner of queue names, bindings, retained messages, and of who is attached where.

mod attach;
mod bindings;
mod command;
mod define;
mod idle;
mod manage;
mod policies;
mod publish;
mod queues;
mod shared;
mod standing;
mod storage;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use evergate_journal::Record;
use evergate_model::{
    AttachAccess, Binding, Lifetime, MemoryPermit, Message, Policy, QueueId, QueueSettings, Time, TransactionId,
};

use crate::consumer::ConsumerKey;
use crate::effect::{DirectoryEffect, Logged, Position, SessionEvent, SessionId, ShardId};
use crate::recovery::Counters;
use crate::retained::RetainedMessages;
use crate::routes::{RouteCache, Routes, Target};
use crate::shard::ShardCommand;
use idle::Retiring;
use policies::Policies;

pub use command::{DirectoryCommand, DirectoryConfig, DirectoryLimits, QueueDefinition};
pub use manage::{ManageError, ManageReply, ManageRequest, QueueEntry};
pub use publish::{ShardPart, split_by_shard};
pub(crate) use queues::StoredQueue;
pub(crate) use storage::{
    POLICIES_KEY, decode_binding, decode_policies, decode_queue, decode_transaction, delete_binding, delete_queue_row,
    put_definition,
};
pub use transactions::{CommitCommand, HeldPublish, OutcomeLimits};

/// The one owner of names.
#[derive(Debug)]
pub struct Directory {
    shards: u16,
    limits: DirectoryLimits,
    policies: Policies,
    counters: Counters,
    queues: HashMap<QueueId, QueueInfo>,
    names: HashMap<Arc<str>, QueueId>,
    /// Every consumer, ordered so that those of a session stand together.
    attached: BTreeMap<ConsumerKey, QueueId>,
    retained: RetainedMessages,
    /// For what the directory routes itself.
    route_cache: RouteCache,
    /// When queues without a consumer go.
    expiries: BTreeSet<(Time, QueueId)>,
    transactions: transactions::Transactions,
    /// How many sessions note each group, whether their client is there or not.
    members: HashMap<String, u32>,
    /// When to look whether queues may go that nobody uses.
    idle_checks: BTreeSet<(Time, QueueId)>,
    last_attempt: u64,
    logged: Position,
    durable: Position,
    /// Effects that wait for a commit.
    deferred: VecDeque<(Position, DirectoryEffect)>,
    records: Vec<Record>,
}

/// A queue as the directory knows it.
#[derive(Debug)]
pub struct QueueInfo {
    pub name: Arc<str>,
    pub shard: ShardId,
    pub durable: bool,
    pub lifetime: Lifetime,
    pub settings: Arc<QueueSettings>,
    /// Its own settings, over all policies.
    own: Option<Box<Policy>>,
    /// The configuration names it.
    configured: bool,
    pub bindings: Vec<Binding>,
    pub consumers: Vec<Holder>,
    /// Whose temporary queue it is: nobody else consumes from it.
    owner: Option<SessionId>,
    pub expires_at: Option<Time>,
    /// An attach to it may be deferred until this is committed. What its shard is told meanwhile stands behind.
    attaching: Position,
    /// When to look whether it is missed.
    idle_check: Option<Time>,
    /// Its shard was asked to take it out of use.
    retiring: Option<Retiring>,
}

/// A consumer as the directory knows it.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    pub key: ConsumerKey,
    pub access: AttachAccess,
    /// It takes nothing, so it is in nobody's way.
    pub browses: bool,
}

impl QueueInfo {
    fn target(&self, queue: QueueId) -> Target {
        Target { shard: self.shard, queue, durable: self.durable, at_most_once: false }
    }

    /// Where its shard's commands go, and behind which attach.
    fn line(&self) -> (ShardId, Position) {
        (self.shard, self.attaching)
    }
}

/// What `apply` writes to.
struct Out<'a> {
    now: Time,
    routes: &'a mut Routes,
    log: &'a mut Vec<Logged>,
    effects: &'a mut Vec<DirectoryEffect>,
}

impl Out<'_> {
    fn tell(&mut self, session: SessionId, event: SessionEvent) {
        self.effects.push(DirectoryEffect::Tell(session, event));
    }

    fn shard(&mut self, shard: ShardId, command: ShardCommand) {
        self.effects.push(DirectoryEffect::Shard(shard, command));
    }
}

impl Directory {
    /// An empty directory over `shards` shards.
    pub fn new(shards: u16, config: DirectoryConfig, counters: Counters) -> Self {
        Self {
            shards,
            limits: config.limits,
            policies: Policies::new(config.defaults, config.policies),
            counters,
            queues: HashMap::new(),
            names: HashMap::new(),
            attached: BTreeMap::new(),
            retained: RetainedMessages::default(),
            route_cache: RouteCache::default(),
            expiries: BTreeSet::new(),
            transactions: transactions::Transactions::new(config.limits.outcomes),
            members: HashMap::new(),
            idle_checks: BTreeSet::new(),
            last_attempt: 0,
            logged: Position(0),
            durable: Position(0),
            deferred: VecDeque::new(),
            records: Vec::new(),
        }
    }

    /// Takes over the policies that operators added before the restart. Before the queues.
    pub(crate) fn recover_policies(&mut self, added: Vec<Policy>) {
        self.policies.set_added(added);
    }

    /// Takes over the retained messages that a restart found.
    pub(crate) fn recover_retained(&mut self, messages: Vec<Arc<Message>>) {
        for message in messages {
            self.retained.set(message);
        }
    }

    /// Takes memory for the retained messages that a restart found. Before it serves.
    pub fn take_memory(&mut self, take: impl FnMut(u64) -> MemoryPermit) {
        self.retained.take_memory(take);
    }

    /// Takes over the outcomes that a restart found.
    pub(crate) fn recover_outcomes(&mut self, outcomes: Vec<(Time, TransactionId)>) {
        self.transactions.recover(outcomes);
    }

    /// Applies one command: changes the routes, appends what must be kept to `log` and what must happen to
    /// `effects`. Commands for shards must be handed over before anyone else sees the changed routes.
    pub fn apply(
        &mut self,
        now: Time,
        command: DirectoryCommand,
        routes: &mut Routes,
        log: &mut Vec<Logged>,
        effects: &mut Vec<DirectoryEffect>,
    ) {
        let mut out = Out { now, routes, log, effects };
        match command {
            DirectoryCommand::Attach { session, attach, window_bytes } => match self.find_standing(&attach) {
                Ok(attach) => self.attach(session, &attach, window_bytes, &mut out),
                Err(error) => {
                    let consumer = attach.consumer;
                    out.tell(session, SessionEvent::Attached { consumer, result: Err(error) });
                }
            },
            DirectoryCommand::Detach { session, consumer, delete, lifetime } => {
                let key = ConsumerKey { session, consumer };
                self.detach(key, delete, lifetime, &mut out);
            }
            DirectoryCommand::Gone { session, failed } => self.gone(session, failed, &mut out),
            DirectoryCommand::Bind { session, consumer, binding, retained, token } => {
                self.bind(ConsumerKey { session, consumer }, binding, retained, token, &mut out);
            }
            DirectoryCommand::Unbind { session, consumer, filter, token } => {
                self.unbind(ConsumerKey { session, consumer }, &filter, token, &mut out);
            }
            DirectoryCommand::Ensure { session, name } => {
                let result = self.ensure(&name, &mut out);
                let event = SessionEvent::Ensured { name, result };
                // Routed at once: its definition is in the journal before any message of it.
                out.tell(session, event);
            }
            DirectoryCommand::PublishRetained { answer, client_id, message, mark } => {
                self.publish_retained(answer, &client_id, message, mark, &mut out);
            }
            DirectoryCommand::Begin { transaction } => self.begin(transaction),
            DirectoryCommand::Commit(commit) => self.commit(*commit, &mut out),
            DirectoryCommand::Ended { transaction } => self.ended(transaction),
            DirectoryCommand::Outcome { session, transaction, token } => {
                self.outcome(session, transaction, token, &mut out);
            }
            DirectoryCommand::Fence { session, token, queue } => self.fence(session, token, &queue, &mut out),
            DirectoryCommand::Manage { session, token, request } => self.manage(session, token, *request, &mut out),
            DirectoryCommand::Retired { queue, attempt, result } => self.retired(queue, attempt, result, &mut out),
            DirectoryCommand::Release { name } => self.release(&name, &mut out),
            DirectoryCommand::Durable(position) => {
                self.durable = position;
                while self.deferred.front().is_some_and(|(at, _)| *at <= position) {
                    out.effects.extend(self.deferred.pop_front().map(|(_, effect)| effect));
                }
            }
            DirectoryCommand::Tick => {
                self.expire(&mut out);
                self.forget_outcomes(&mut out);
                self.check_idle(&mut out);
            }
        }
    }

    /// When to call with `Tick` next.
    pub fn next_timeout(&self) -> Option<Time> {
        let first = |times: &BTreeSet<(Time, QueueId)>| times.first().map(|(at, _)| *at);
        let all = [first(&self.expiries), first(&self.idle_checks), self.transactions.next_timeout()];
        all.into_iter().flatten().min()
    }

    /// How many topics have a retained message. Tests look at it.
    pub fn retained_count(&self) -> usize {
        self.retained.len()
    }

    /// Lets an effect happen once all that was logged so far is committed.
    fn defer(&mut self, effect: DirectoryEffect, out: &mut Out<'_>) {
        if self.logged <= self.durable {
            out.effects.push(effect);
        } else {
            self.deferred.push_back((self.logged, effect));
        }
    }

    /// Tells a queue's shard something that must not overtake a deferred attach: a consumer that is detached
    /// before it is attached would stay for ever.
    fn send_behind(&mut self, (shard, attaching): (ShardId, Position), command: ShardCommand, out: &mut Out<'_>) {
        if attaching > self.durable {
            self.deferred.push_back((self.logged, DirectoryEffect::Shard(shard, command)));
        } else {
            out.shard(shard, command);
        }
    }

    fn log(&mut self, out: &mut Out<'_>) {
        self.logged.0 += self.records.len() as u64;
        out.log.extend(self.records.drain(..).map(|record| Logged { record: Some(record), group: None }));
    }
}

/// Which shard owns the queue of that name: FNV-1a, the same on every node and in every release.
pub fn shard_of(name: &str, shards: u16) -> ShardId {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    ShardId((hash % u64::from(shards)) as u16)
}
