//! One connection: what a client asks over it, and what the driver makes of that and of the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use evergate_core::{DirectoryCommand, SessionEvent, SessionId, ShardCommand, ShardId};
use evergate_model::{
    Attach, AttachAccess, AttachError, Attached, Binding, ConsumerId, Delivery, Event, Filter, LargeEnd, Lifetime,
    Message, Outcome, QueueId, QueueSpec, Retained, RollbackReason, Selector, Seq, Settle, StreamStart, Token,
    TransactionError, TransactionId,
};

use crate::journal::SimJournal;
use crate::key::Key;
use crate::model::{Check, Model};
use crate::node::Node;
use crate::publisher::{Answer, Publisher};
use crate::transaction::Settled;

/// What a consumer consumes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Named(&'static str),
    Subscription(&'static str, Filter),
    Session,
    Temporary(Filter),
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Consumer {
    pub kind: Kind,
    pub place: Option<(QueueId, ShardId)>,
    pub settled: bool,
    pub copies: bool,
    pub limit: u64,
    received: u64,
    received_bytes: u64,
    window_bytes: u64,
    limit_bytes: u64,
    /// Not settled yet.
    pub held: Vec<(Seq, Key)>,
    pub draining: bool,
    pub leaving: bool,
}

impl Consumer {
    /// The neighbours of a held delivery that are held as well. A range over a hole might settle what is
    /// on its way and not seen yet.
    pub fn run_around(&self, seq: Seq) -> (Seq, Seq) {
        let holds = |place: u64| self.held.iter().any(|(held, _)| held.0 == place);
        let (mut first, mut last) = (seq.0, seq.0);
        while holds(first - 1) {
            first -= 1;
        }
        while holds(last + 1) {
            last += 1;
        }
        (Seq(first), Seq(last))
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub enum Pending {
    Publish(Option<Key>),
    Fence,
    Bind,
    Clear(u32),
    Settle {
        consumer: ConsumerId,
        queue: QueueId,
        places: Vec<(Seq, Key)>,
        outcome: Outcome,
        mark: Option<u32>,
    },
    Begin,
    /// In a transaction: answered when that holds it.
    Held,
    Commit(TransactionId),
    Rollback(TransactionId),
}

/// What the client should know.
#[derive(Debug)]
pub enum Told {
    Attached {
        consumer: ConsumerId,
        queue: QueueId,
        found: Attached,
    },
    Refused,
    NotPublished(Option<Key>),
    Answered(Pending),
    Begun(Option<TransactionId>),
    /// A commit, or a question for an outcome.
    Outcome(TransactionId, Result<(), TransactionError>),
}

#[derive(Debug)]
pub struct Connection {
    pub session: SessionId,
    pub publisher: Publisher,
    pub consumers: BTreeMap<ConsumerId, Consumer>,
    pub pending: BTreeMap<Token, Pending>,
    last_token: u64,
    last_consumer: u32,
}

impl Connection {
    pub fn open(node: &mut Node, session: SessionId) -> Self {
        node.mailboxes.insert(session, std::collections::VecDeque::new());
        Self {
            session,
            publisher: Publisher::new(session),
            consumers: BTreeMap::new(),
            pending: BTreeMap::new(),
            last_token: 0,
            last_consumer: 0,
        }
    }

    /// The client is gone, or the node is: what is open stays unknown.
    /// Returns what still may act for it.
    pub fn close(self, node: &mut Node, model: &mut Model) -> Publisher {
        node.mailboxes.remove(&self.session);
        for pending in self.pending.into_values() {
            if let Pending::Settle { queue, places, outcome, .. } = pending {
                model.settled(queue, &places, &outcome, false);
            }
        }
        self.publisher
    }

    /// A word on the held deliveries of `first..=last` for when a transaction commits. Returns what it is about.
    pub fn settle_in(
        &mut self,
        node: &mut Node,
        journal: &mut SimJournal,
        transaction: TransactionId,
        consumer: ConsumerId,
        (first, last): (Seq, Seq),
        outcome: &Outcome,
    ) -> Option<Settled> {
        let state = self.consumers.get_mut(&consumer)?;
        let (queue, shard) = state.place?;
        let concerned = |seq: Seq| first <= seq && seq <= last;
        let places: Vec<_> = state.held.iter().copied().filter(|(seq, _)| concerned(*seq)).collect();
        state.held.retain(|(seq, _)| !concerned(*seq));
        let token = Some(self.token(Pending::Held));
        let settle = Settle { token, ..Settle::new(consumer, first, last, outcome.clone()) };
        let settle = Settle { transaction: Some(transaction), ..settle };
        self.publisher.settle_in(node, journal, transaction, settle, Some((shard, queue)));
        Some(Settled { queue, places, outcome: outcome.clone() })
    }

    /// Passes on a body in pieces, and makes the message one that has it. Returns the body's number.
    pub fn send_body(&mut self, node: &mut Node, bytes: u64, message: &mut Message) -> Token {
        let body = self.begin_body(node, bytes);
        message.head = std::mem::take(&mut message.body);
        let end = LargeEnd { body, payload_bytes: bytes };
        self.publisher.end_body(node, end, message);
        body
    }

    /// Passes on a body that no message follows.
    pub fn abandon_body(&mut self, node: &mut Node, bytes: u64) {
        let body = self.begin_body(node, bytes);
        self.publisher.abandon_body(body);
    }

    fn begin_body(&mut self, node: &mut Node, bytes: u64) -> Token {
        self.last_token += 1;
        let body = Token(self.last_token);
        self.publisher.add_to_body(node, body, bytes);
        body
    }

    pub fn token(&mut self, pending: Pending) -> Token {
        self.last_token += 1;
        self.pending.insert(Token(self.last_token), pending);
        Token(self.last_token)
    }

    pub fn attach(&mut self, node: &mut Node, client_id: &str, kind: Kind, options: AttachOptions) {
        self.last_consumer += 1;
        let consumer = ConsumerId(self.last_consumer);
        let AttachOptions { settled, fresh, durable, exclusive, window_bytes, selector, browse, priority, start } =
            options;
        let copies = browse || kind == Kind::Named("stream");
        let selector = selector.and_then(|key| Selector::parse(&format!("key = {key}")).ok());
        let (queue, filter) = match &kind {
            Kind::Named(name) => (QueueSpec::named(*name), None),
            Kind::Subscription(name, filter) => (QueueSpec::named(*name), Some(filter.clone())),
            Kind::Temporary(filter) => (QueueSpec::temporary(), Some(filter.clone())),
            Kind::Session => {
                let lifetime = Lifetime::AfterDetach(Duration::from_secs(3));
                (QueueSpec { name: format!("$session/{client_id}").into(), durable, lifetime }, None)
            }
        };
        let access = match kind {
            Kind::Session => AttachAccess::TakeOver,
            _ if exclusive => AttachAccess::Exclusive,
            _ => AttachAccess::Shared,
        };
        let bindings = filter.into_iter().map(|filter| binding(filter, true)).collect();
        let attach = Attach {
            bindings,
            access,
            fresh,
            settled,
            browse,
            selector,
            priority,
            start,
            ..Attach::new(consumer, queue)
        };
        node.to_directory.push_back(DirectoryCommand::Attach { session: self.session, attach, window_bytes });
        let state = Consumer {
            kind,
            place: None,
            settled,
            copies,
            limit: 0,
            received: 0,
            received_bytes: 0,
            window_bytes,
            limit_bytes: window_bytes,
            held: Vec::new(),
            draining: false,
            leaving: false,
        };
        self.consumers.insert(consumer, state);
    }

    pub fn detach(&mut self, node: &mut Node, model: &mut Model, consumer: ConsumerId, delete: bool) {
        let Some(state) = self.consumers.get_mut(&consumer) else { return };
        state.leaving = true;
        if delete && let Some((queue, _)) = state.place {
            model.ends(queue);
        }
        let (session, lifetime) = (self.session, None);
        node.to_directory.push_back(DirectoryCommand::Detach { session, consumer, delete, lifetime });
    }

    pub fn bind(&mut self, node: &mut Node, consumer: ConsumerId, binding: Binding, retained: Retained) {
        let token = self.token(Pending::Bind);
        let session = self.session;
        node.to_directory.push_back(DirectoryCommand::Bind { session, consumer, binding, retained, token });
    }

    pub fn unbind(&mut self, node: &mut Node, consumer: ConsumerId, filter: Filter) {
        let token = self.token(Pending::Bind);
        let session = self.session;
        node.to_directory.push_back(DirectoryCommand::Unbind { session, consumer, filter, token });
    }

    /// So many more deliveries than there were.
    pub fn grant(&mut self, node: &mut Node, model: &mut Model, consumer: ConsumerId, more: u64, drain: bool) {
        let session = self.session;
        let Some(state) = self.consumers.get_mut(&consumer) else { return };
        let Some((queue, shard)) = state.place else { return };
        state.limit = state.limit.max(state.received.saturating_add(more));
        state.draining = drain;
        let limit = state.limit;
        model.credit((session, consumer), limit);
        node.control(shard, ShardCommand::Credit { queue, session, consumer, limit, drain });
    }

    /// A word on the held deliveries of `first..=last`.
    pub fn settle(
        &mut self,
        node: &mut Node,
        model: &mut Model,
        consumer: ConsumerId,
        (first, last): (Seq, Seq),
        outcome: Outcome,
        (confirm, mark): (bool, Option<u32>),
    ) {
        let Some(state) = self.consumers.get_mut(&consumer) else { return };
        let Some((queue, shard)) = state.place else { return };
        let concerned = |seq: Seq| first <= seq && seq <= last;
        let places: Vec<_> = state.held.iter().copied().filter(|(seq, _)| concerned(*seq)).collect();
        state.held.retain(|(seq, _)| !concerned(*seq));
        let mut token = None;
        // Before the answer to a rejection it may be in `_DMQ` already.
        if !confirm || matches!(outcome, Outcome::Reject { .. }) {
            model.settled(queue, &places, &outcome, false);
        }
        if confirm {
            token = Some(self.token(Pending::Settle { consumer, queue, places, outcome: outcome.clone(), mark }));
        }
        if let Some(number) = mark {
            model.mark(queue, number, None);
        }
        let settle = Settle { mark, token, ..Settle::new(consumer, first, last, outcome) };
        node.control(shard, ShardCommand::Settle { queue, session: self.session, settle });
    }

    /// Takes one event from the mailbox.
    pub fn handle(
        &mut self,
        node: &mut Node,
        journal: &mut SimJournal,
        model: &mut Model,
    ) -> Result<Vec<Told>, String> {
        let Some(event) = node.mailboxes.get_mut(&self.session).and_then(std::collections::VecDeque::pop_front) else {
            return Ok(Vec::new());
        };
        let (other, answers) = self.publisher.handle(node, journal, model, event)?;
        let mut told: Vec<Told> = answers.into_iter().filter_map(|answer| self.answered(model, answer)).collect();
        match other {
            Some(SessionEvent::Attached { consumer, result }) => told.push(self.attached(model, consumer, result)?),
            Some(SessionEvent::Event(event)) => told.extend(self.event(node, model, event)?),
            _ => {}
        }
        Ok(told)
    }

    pub fn answered(&mut self, model: &mut Model, answer: Answer) -> Option<Told> {
        let (token, targets) = match answer {
            Answer::Published(token, targets) => (token, targets),
            Answer::Event(event) => return self.told_of_transaction(event),
        };
        let pending = self.pending.remove(&token)?;
        match (&pending, targets) {
            (Pending::Publish(Some(key)), Some(targets)) => model.confirmed(*key, &targets),
            (Pending::Publish(key), None) => return Some(Told::NotPublished(*key)),
            _ => {}
        }
        Some(Told::Answered(pending))
    }

    fn told_of_transaction(&mut self, event: Event) -> Option<Told> {
        let (token, told) = match event {
            Event::Begun { token, result } => (token, Some(Told::Begun(result.ok()))),
            Event::Committed { token, result } => match self.pending.remove(&token) {
                Some(Pending::Commit(id)) => return Some(Told::Outcome(id, result)),
                _ => return None,
            },
            Event::Published { token, .. } | Event::Done(token) => (token, None),
            _ => return None,
        };
        match (self.pending.remove(&token)?, told) {
            (Pending::Rollback(id), _) => Some(Told::Outcome(
                id,
                Err(TransactionError::RolledBack(RollbackReason::Precondition, "as asked".to_owned())),
            )),
            (_, told) => told,
        }
    }

    fn attached(
        &mut self,
        model: &mut Model,
        consumer: ConsumerId,
        result: Result<(QueueId, ShardId, Attached), AttachError>,
    ) -> Result<Told, String> {
        let Ok((queue, shard, mut found)) = result else {
            self.consumers.remove(&consumer);
            return Ok(Told::Refused);
        };
        let Some(state) = self.consumers.get_mut(&consumer) else {
            return Err(format!("{consumer:?} was attached after it had left"));
        };
        state.place = Some((queue, shard));
        let filter = match &state.kind {
            Kind::Subscription(_, filter) => Some(filter.clone()),
            Kind::Named(_) | Kind::Session | Kind::Temporary(_) => None,
        };
        model.promised(queue, filter);
        if state.kind == Kind::Session {
            model.marks_told(queue, &found.marks)?;
            if found.existed {
                found.fingerprints = self.publisher.take_fingerprints();
            }
        }
        Ok(Told::Attached { consumer, queue, found })
    }

    fn event(&mut self, node: &mut Node, model: &mut Model, event: Event) -> Result<Option<Told>, String> {
        match event {
            Event::Deliver(delivery) => {
                node.check_body(&delivery.message)?;
                self.delivered(node, model, &delivery);
            }
            Event::Drained { consumer, delivered } => {
                if let Some(state) = self.consumers.get_mut(&consumer) {
                    if state.received != delivered {
                        return Err(format!("drained says {delivered}, but {} were delivered", state.received));
                    }
                    state.draining = false;
                    state.limit = delivered;
                    model.credit((self.session, consumer), delivered);
                }
            }
            Event::Begun { .. } | Event::Committed { .. } => return Err("the publisher should have taken it".into()),
            Event::Done(token) | Event::Unbound { token, .. } => {
                let pending = self.pending.remove(&token).ok_or_else(|| format!("{token:?} was answered twice"))?;
                if let Pending::Settle { queue, places, outcome, .. } = &pending {
                    model.settled(*queue, places, outcome, true);
                }
                return Ok(Some(Told::Answered(pending)));
            }
            Event::Detached { consumer } | Event::TakenOver { consumer } | Event::Deleted { consumer } => {
                self.consumers.remove(&consumer);
            }
            Event::Authenticated(_)
            | Event::Published { .. }
            | Event::Attached { .. }
            | Event::Overrun { .. }
            | Event::ToldToClose { .. }
            | Event::Stopping { .. } => {}
        }
        Ok(None)
    }

    fn delivered(&mut self, node: &mut Node, model: &mut Model, delivery: &Delivery) {
        let (session, consumer) = (self.session, delivery.consumer);
        let Some(state) = self.consumers.get_mut(&consumer) else { return };
        state.received += 1;
        state.received_bytes += delivery.message.size_bytes();
        if !state.settled && !state.copies && !state.leaving {
            // What clears a retained message has no key; it is settled like any other.
            let key = Key::of(&delivery.message).unwrap_or(Key { producer: u32::MAX, number: 0 });
            state.held.push((delivery.seq, key));
        }
        let Some((queue, shard)) = state.place else { return };
        if state.limit_bytes.saturating_sub(state.received_bytes) < state.window_bytes / 2 {
            let limit_bytes = state.received_bytes + state.window_bytes;
            state.limit_bytes = limit_bytes;
            model.window((session, consumer), limit_bytes);
            node.control(shard, ShardCommand::Window { queue, session, consumer, limit_bytes });
        }
    }

    /// Nothing is under way any more: everything asked must have been answered.
    pub fn check_answered(&self) -> Check {
        self.publisher.check_answered()?;
        for pending in self.pending.values() {
            match pending {
                // Held back by a full queue, or addressed to a consumer that was taken away.
                Pending::Publish(_) | Pending::Commit(_) => {}
                Pending::Settle { consumer, .. } if !self.consumers.contains_key(consumer) => {}
                Pending::Begin
                | Pending::Held
                | Pending::Rollback(_)
                | Pending::Fence
                | Pending::Bind
                | Pending::Clear(_)
                | Pending::Settle { .. } => {
                    return Err(format!("{pending:?} was never answered"));
                }
            }
        }
        for (consumer, state) in &self.consumers {
            if state.place.is_none() || state.leaving || state.draining {
                return Err(format!("{consumer:?} waits for ever: {state:?}"));
            }
        }
        Ok(())
    }
}

/// How to attach.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // a request's flags
pub struct AttachOptions {
    /// Only messages of this key.
    pub selector: Option<u64>,
    pub browse: bool,
    pub priority: i32,
    pub start: StreamStart,
    pub settled: bool,
    pub fresh: bool,
    pub durable: bool,
    pub exclusive: bool,
    pub window_bytes: u64,
}

pub fn binding(filter: Filter, durable: bool) -> Binding {
    Binding::new(filter, durable)
}
