//! The directory: the one owner of queue names, bindings, retained messages, and of who is attached where.

mod attach;
mod publish;
mod storage;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evergate_journal::Record;
use evergate_model::{
    Address, Attach, AttachAccess, Binding, ConsumerId, Event, Filter, Lifetime, Message, PublishError, QueueId,
    Retained, Time, Token,
};

use crate::consumer::ConsumerKey;
use crate::effect::{DirectoryEffect, Logged, Position, SessionEvent, SessionId, ShardId};
use crate::recovery::Counters;
use crate::retained::RetainedMessages;
use crate::routes::{Routes, Target};
use crate::shard::{ShardCommand, ShardTarget};

pub use publish::{ShardPart, split_by_shard};
pub(crate) use storage::{decode_binding, decode_queue, delete_binding, delete_queue_row};

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
        /// A number to set in the same commit.
        mark: Option<(ShardId, QueueId, u32)>,
    },
    /// Answered by one `PublishPart` a shard, when all that was published before has reached it.
    Fence {
        /// Who asks.
        session: SessionId,
        /// Named in the answers.
        token: Token,
    },
    /// The directory's records up to here are committed.
    Durable(Position),
    /// `next_timeout()` has passed.
    Tick,
}

/// The directory's limits.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryLimits {
    /// How many queues there may be, subscriptions and sessions included.
    pub queues_max: usize,
    /// How many topics may have a retained message.
    pub retained_max: usize,
}

/// The one owner of names.
#[derive(Debug)]
pub struct Directory {
    shards: u16,
    limits: DirectoryLimits,
    counters: Counters,
    queues: HashMap<QueueId, QueueInfo>,
    names: HashMap<Arc<str>, QueueId>,
    /// Every consumer, ordered so that those of a session stand together.
    attached: BTreeMap<ConsumerKey, QueueId>,
    retained: RetainedMessages,
    /// When queues without a consumer go.
    expiries: BTreeSet<(Time, QueueId)>,
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
    routes: &'a mut Routes,
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
    pub fn new(shards: u16, limits: DirectoryLimits, counters: Counters) -> Self {
        Self {
            shards,
            limits,
            counters,
            queues: HashMap::new(),
            names: HashMap::new(),
            attached: BTreeMap::new(),
            retained: RetainedMessages::default(),
            expiries: BTreeSet::new(),
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
    ) {
        let shard = shard_of(&name, self.shards);
        let info = QueueInfo {
            name: name.clone(),
            shard,
            durable: true,
            lifetime,
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
    }

    /// Takes over the retained messages that a restart found.
    pub(crate) fn recover_retained(&mut self, messages: Vec<Arc<Message>>) {
        for message in messages {
            self.retained.set(message);
        }
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
        let mut out = Out { routes, effects };
        match command {
            DirectoryCommand::Attach { session, attach, window_bytes } => {
                self.attach(session, &attach, window_bytes, log, &mut out);
            }
            DirectoryCommand::Detach { session, consumer, delete, lifetime } => {
                let key = ConsumerKey { session, consumer };
                self.detach(now, key, delete, lifetime, log, &mut out);
            }
            DirectoryCommand::Gone { session, failed } => self.gone(now, session, failed, log, &mut out),
            DirectoryCommand::Bind { session, consumer, binding, retained, token } => {
                self.bind(now, ConsumerKey { session, consumer }, binding, retained, token, log, &mut out);
            }
            DirectoryCommand::Unbind { session, consumer, filter, token } => {
                self.unbind(ConsumerKey { session, consumer }, &filter, token, log, &mut out);
            }
            DirectoryCommand::Ensure { session, name } => {
                let result = self.ensure(&name, log, &mut out);
                let event = SessionEvent::Ensured { name, result };
                // Routed at once: its definition is in the journal before any message of it.
                out.tell(session, event);
            }
            DirectoryCommand::PublishRetained { answer, client_id, message, mark } => {
                self.publish_retained(answer, &client_id, message, mark, log, &mut out);
            }
            DirectoryCommand::Fence { session, token } => publish::fence(self.shards, session, token, &mut out),
            DirectoryCommand::Durable(position) => {
                self.durable = position;
                while self.deferred.front().is_some_and(|(at, _)| *at <= position) {
                    out.effects.extend(self.deferred.pop_front().map(|(_, effect)| effect));
                }
            }
            DirectoryCommand::Tick => self.expire(now, log, &mut out),
        }
    }

    /// When to call with `Tick` next.
    pub fn next_timeout(&self) -> Option<Time> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// How many topics have a retained message.
    pub fn retained_count(&self) -> usize {
        self.retained.len()
    }

    #[allow(clippy::too_many_arguments)] // the parts of one command
    fn bind(
        &mut self,
        now: Time,
        key: ConsumerKey,
        binding: Binding,
        retained: Retained,
        token: Token,
        log: &mut Vec<Logged>,
        out: &mut Out<'_>,
    ) {
        let Some(id) = self.attached.get(&key).copied() else {
            // Taken over or deleted meanwhile: that is told on its own; a request is answered all the same.
            out.tell(key.session, SessionEvent::Event(Event::Done(token)));
            return;
        };
        let is_new = !self.queues[&id].bindings.iter().any(|other| other.filter == binding.filter);
        let wanted = match retained {
            Retained::Send => true,
            Retained::SendIfNew => is_new,
            Retained::Skip => false,
        };
        if wanted {
            // Before the route is there: what is published from now on stands behind them.
            let target = ShardTarget { queue: id, durable: binding.durable, retained: true };
            let shard = self.queues[&id].shard;
            for message in self.retained.matching(&binding.filter, now) {
                let (answer, mark, group) = (None, None, None);
                let (message, targets) = (message.clone(), vec![target]);
                out.shard(shard, ShardCommand::Publish { answer, message, targets, mark, group });
            }
        }
        self.add_binding(id, binding, out);
        self.log(log);
        self.defer(DirectoryEffect::Tell(key.session, SessionEvent::Event(Event::Done(token))), out);
    }

    fn unbind(&mut self, key: ConsumerKey, filter: &Filter, token: Token, log: &mut Vec<Logged>, out: &mut Out<'_>) {
        let Some(id) = self.attached.get(&key).copied() else {
            out.tell(key.session, SessionEvent::Event(Event::Unbound { token, existed: false }));
            return;
        };
        let existed = self.remove_binding(id, filter, out);
        self.log(log);
        let event = Event::Unbound { token, existed };
        self.defer(DirectoryEffect::Tell(key.session, SessionEvent::Event(event)), out);
    }

    /// The queue of that name, made if it is not there.
    fn ensure(&mut self, name: &Arc<str>, log: &mut Vec<Logged>, out: &mut Out<'_>) -> Result<(), PublishError> {
        if self.names.contains_key(name) {
            return Ok(());
        }
        if name.starts_with('$') {
            return Err(PublishError::Limit(format!("there is no queue {name}")));
        }
        self.check_room().map_err(PublishError::Limit)?;
        self.create(name.clone(), true, Lifetime::Permanent, out);
        self.log(log);
        Ok(())
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
        let info = QueueInfo {
            name: name.clone(),
            shard,
            durable,
            lifetime,
            bindings: Vec::new(),
            consumers: Vec::new(),
            expires_at: None,
            attaching: Position(0),
        };
        out.shard(shard, ShardCommand::Create { queue: id, name: name.clone(), durable, settings: Arc::default() });
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

    fn add_binding(&mut self, id: QueueId, binding: Binding, out: &mut Out<'_>) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        out.routes.bind(&binding, info.target(id));
        if info.durable {
            self.records.push(storage::put_binding(id, &binding));
        }
        match info.bindings.iter_mut().find(|other| other.filter == binding.filter) {
            Some(other) => *other = binding,
            None => info.bindings.push(binding),
        }
    }

    fn remove_binding(&mut self, id: QueueId, filter: &Filter, out: &mut Out<'_>) -> bool {
        let Some(info) = self.queues.get_mut(&id) else { return false };
        let Some(index) = info.bindings.iter().position(|binding| binding.filter == *filter) else { return false };
        info.bindings.remove(index);
        out.routes.unbind(id, filter);
        if info.durable {
            self.records.push(storage::delete_binding(id, filter));
        }
        true
    }

    fn expire(&mut self, now: Time, log: &mut Vec<Logged>, out: &mut Out<'_>) {
        while let Some((at, id)) = self.expiries.first().copied()
            && at <= now
        {
            self.expiries.pop_first();
            if let Some(info) = self.forget(id, out) {
                self.log(log);
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

    fn log(&mut self, log: &mut Vec<Logged>) {
        self.logged.0 += self.records.len() as u64;
        log.extend(self.records.drain(..).map(|record| Logged { record: Some(record), group: None }));
    }
}

/// Which shard owns the queue of that name: FNV-1a, the same on every node and in every release.
pub fn shard_of(name: &str, shards: u16) -> ShardId {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    ShardId((hash % u64::from(shards)) as u16)
}
