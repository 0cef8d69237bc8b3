//! The directory: the one owner of queue names, bindings, retained messages, and of who is attached where.

mod attach;
mod bindings;
mod command;
mod manage;
mod policies;
mod publish;
mod storage;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evergate_journal::Record;
use evergate_model::{
    Address, AttachAccess, Binding, Lifetime, Message, Policy, PublishError, QueueId, QueueSettings, Time,
    TransactionId,
};

use crate::consumer::ConsumerKey;
use crate::effect::{DirectoryEffect, Logged, Position, SessionEvent, SessionId, ShardId};
use crate::recovery::Counters;
use crate::retained::RetainedMessages;
use crate::routes::{RouteCache, Routes, Target};
use crate::shard::ShardCommand;
use policies::Policies;

pub use command::{DirectoryCommand, DirectoryConfig, DirectoryLimits};
pub use manage::{ManageError, ManageReply, ManageRequest};
pub use publish::{ShardPart, split_by_shard};
pub(crate) use storage::{
    POLICIES_KEY, decode_binding, decode_policies, decode_queue, decode_transaction, delete_binding, delete_queue_row,
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
    pub bindings: Vec<Binding>,
    pub consumers: Vec<(ConsumerKey, AttachAccess)>,
    pub expires_at: Option<Time>,
    /// An attach to it may be deferred until this is committed. What its shard is told meanwhile stands behind.
    attaching: Position,
}

impl QueueInfo {
    fn target(&self, queue: QueueId) -> Target {
        Target { shard: self.shard, queue, durable: self.durable }
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
            logged: Position(0),
            durable: Position(0),
            deferred: VecDeque::new(),
            records: Vec::new(),
        }
    }

    /// Takes over a durable queue that a restart found. The clock of one that expires starts anew.
    pub(crate) fn recover_queue(
        &mut self,
        now: Time,
        id: QueueId,
        name: Arc<str>,
        lifetime: Lifetime,
        bindings: Vec<Binding>,
        routes: &mut Routes,
    ) -> Arc<QueueSettings> {
        let shard = shard_of(&name, self.shards);
        let settings = self.policies.settings_of(&name);
        let info = QueueInfo {
            name: name.clone(),
            shard,
            durable: true,
            lifetime,
            settings: settings.clone(),
            bindings,
            consumers: Vec::new(),
            expires_at: None,
            attaching: Position(0),
        };
        if !Address::is_private_queue(&name) {
            routes.add_queue(name.clone(), info.target(id));
        }
        for binding in &info.bindings {
            routes.bind(binding, info.target(id));
        }
        self.names.insert(name, id);
        self.queues.insert(id, info);
        match lifetime {
            Lifetime::Permanent => {}
            Lifetime::Attached => self.start_expiry(now, id, Duration::ZERO),
            Lifetime::AfterDetach(after) => self.start_expiry(now, id, after),
        }
        settings
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
            DirectoryCommand::Attach { session, attach, window_bytes } => {
                self.attach(session, &attach, window_bytes, &mut out);
            }
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
            DirectoryCommand::Fence { session, token } => publish::fence(self.shards, session, token, &mut out),
            DirectoryCommand::Manage { session, token, request } => self.manage(session, token, *request, &mut out),
            DirectoryCommand::Durable(position) => {
                self.durable = position;
                while self.deferred.front().is_some_and(|(at, _)| *at <= position) {
                    out.effects.extend(self.deferred.pop_front().map(|(_, effect)| effect));
                }
            }
            DirectoryCommand::Tick => {
                self.expire(&mut out);
                self.forget_outcomes(&mut out);
            }
        }
    }

    /// When to call with `Tick` next.
    pub fn next_timeout(&self) -> Option<Time> {
        let expiry = self.expiries.first().map(|(at, _)| *at);
        expiry.into_iter().chain(self.transactions.next_timeout()).min()
    }

    /// How many topics have a retained message.
    pub fn retained_count(&self) -> usize {
        self.retained.len()
    }

    /// The queue of that name, made if it is not there.
    fn ensure(&mut self, name: &Arc<str>, out: &mut Out<'_>) -> Result<(), PublishError> {
        if self.names.contains_key(name) {
            return Ok(());
        }
        // Only an attach makes those; one that is gone stays so.
        if name.starts_with('$') || !self.may_come_into_being(name) {
            return Err(PublishError::NotFound);
        }
        self.check_room().map_err(PublishError::Limit)?;
        self.create(name.clone(), true, Lifetime::Permanent, out);
        self.log(out);
        Ok(())
    }

    /// Whether policy lets a queue of this name be made because somebody uses it. The gateway's own, and
    /// those of sessions and subscriptions, are no matter of policy.
    fn may_come_into_being(&mut self, name: &str) -> bool {
        name.starts_with(['$', '_']) || self.policies.settings_of(name).auto_create
    }

    fn check_room(&self) -> Result<(), String> {
        if self.queues.len() < self.limits.queues_max {
            return Ok(());
        }
        Err(format!("there are as many queues and subscriptions as the limit allows ({})", self.limits.queues_max))
    }

    fn create(&mut self, name: Arc<str>, durable: bool, lifetime: Lifetime, out: &mut Out<'_>) -> QueueId {
        let id = self.counters.next_queue();
        let shard = shard_of(&name, self.shards);
        let settings = self.policies.settings_of(&name);
        let info = QueueInfo {
            name: name.clone(),
            shard,
            durable,
            lifetime,
            settings: settings.clone(),
            bindings: Vec::new(),
            consumers: Vec::new(),
            expires_at: None,
            attaching: Position(0),
        };
        out.shard(shard, ShardCommand::Create { queue: id, name: name.clone(), durable, settings });
        if !Address::is_private_queue(&name) {
            out.routes.add_queue(name.clone(), info.target(id));
        }
        self.names.insert(name, id);
        if durable {
            self.records.push(storage::put_queue(id, &info));
        }
        self.queues.insert(id, info);
        id
    }

    /// Takes the queue out of names, routes and journal. The caller sends `Delete` to its shard.
    fn forget(&mut self, id: QueueId, out: &mut Out<'_>) -> Option<QueueInfo> {
        let info = self.queues.remove(&id)?;
        self.names.remove(&info.name);
        out.routes.remove_queue(&info.name);
        for binding in &info.bindings {
            out.routes.unbind(id, &binding.filter);
        }
        for (key, _) in &info.consumers {
            self.attached.remove(key);
        }
        if let Some(at) = info.expires_at {
            self.expiries.remove(&(at, id));
        }
        if info.durable {
            self.records.extend(storage::delete_queue(id, &info));
        }
        Some(info)
    }

    fn expire(&mut self, out: &mut Out<'_>) {
        while let Some((at, id)) = self.expiries.first().copied()
            && at <= out.now
        {
            self.expiries.pop_first();
            if let Some(info) = self.forget(id, out) {
                self.log(out);
                self.send_behind(info.line(), ShardCommand::Delete { queue: id }, out);
            }
        }
    }

    /// Starts the clock of a queue that nobody consumes from.
    fn start_expiry(&mut self, now: Time, id: QueueId, after: Duration) {
        let at = now.after(after);
        if let Some(info) = self.queues.get_mut(&id) {
            info.expires_at = Some(at);
            self.expiries.insert((at, id));
        }
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
