//! A session's publishes on their way into the core: routed in order for each address, held back while a
//! queue or memory is full, answered when all their parts are done. Its transactions stand in the same line.
//!
//! Pure: what must happen is written to [`Out`]; who drives it carries that out while it holds the routes.

mod bodies;
mod counts;
mod in_flight;
mod room;
mod transactions;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use evergate_model::ahead::AHEAD;
use evergate_model::{Address, AddressKind, Event, IdMap, Mark, Message, PublishError, QueueId, Token, TransactionId};

use crate::directory::{DirectoryCommand, split_by_shard};
use crate::effect::{Group, SessionEvent, SessionId, ShardId};
use crate::routes::{RouteCache, Routes, Target};
use crate::shard::ShardCommand;
use bodies::Bodies;
pub use bodies::BodyLimits;
pub use counts::{PublisherCounts, TransactionCounts};
use in_flight::{InFlight, ToQueue};
use room::Room;
pub use transactions::TransactionLimits;
use transactions::Transactions;

/// What clears a retained message with so large a head is a message as any other.
const CLEAR_HEAD_BYTES_MAX: usize = 1024;

/// A message that waits to be routed.
#[derive(Debug)]
pub struct Waiting {
    /// Named in the answer.
    pub token: Token,
    /// The message, with its id and its share of memory.
    pub message: Arc<Message>,
    /// Also keep it as its topic's last.
    pub retain: bool,
    /// What to keep in the same commit.
    pub mark: Option<(ShardId, QueueId, Mark)>,
    /// Its body went ahead in pieces: it waits until they are committed.
    pub body: Option<Token>,
}

impl Waiting {
    /// It takes its topic's retained message away, and brings next to nothing: it needs no memory, it gives some back.
    fn is_clear(&self) -> bool {
        self.retain && self.message.body.is_empty() && self.message.head.len() <= CLEAR_HEAD_BYTES_MAX
    }
}

/// Something that a publisher wants to happen.
#[derive(Debug)]
pub enum PublisherEffect {
    /// For the directory.
    Directory(DirectoryCommand),
    /// For a shard, in its line of publishes.
    Publish(ShardId, ShardCommand),
    /// For a shard, before the publishes that wait there.
    Control(ShardId, ShardCommand),
}

/// What a publisher writes to.
#[derive(Debug, Default)]
pub struct Out {
    /// What must happen, in order.
    pub effects: Vec<PublisherEffect>,
    /// Answers for the session, in order.
    pub answers: Vec<Event>,
    /// For the counters of the gateway.
    pub counts: PublisherCounts,
    /// Transactions that were refused because of a limit: why, in words.
    pub beyond_limits: Vec<String>,
}

impl Out {
    fn directory(&mut self, command: DirectoryCommand) {
        self.effects.push(PublisherEffect::Directory(command));
    }

    fn published(&mut self, token: Token, result: Result<u32, PublishError>) {
        match result {
            Ok(_) => self.counts.confirmed += 1,
            Err(_) => self.counts.refused += 1,
        }
        self.answers.push(Event::Published { token, result });
    }
}

/// What a publisher must know of the world to send on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Held until the effects are carried out: were a queue to open in between, a later message could overtake.
    pub routes: &'a Routes,
    /// For no-local.
    pub client_id: &'a str,
    /// Another connection owns the client's session now; what this one marks there is dropped, since the client
    /// sends it again.
    pub taken_over: bool,
    /// There is no memory for messages: they wait.
    pub memory_is_exhausted: bool,
}

/// Something in the line.
#[derive(Debug)]
enum InLine {
    Message(Waiting),
    /// All that a transaction holds.
    Commit {
        transaction: TransactionId,
        token: Token,
    },
}

impl InLine {
    fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(waiting) => Some(&waiting.message),
            Self::Commit { .. } => None,
        }
    }
}

/// A message that was routed and is not answered yet.
#[derive(Debug)]
struct Unanswered {
    size_bytes: u64,
    parts: u32,
    reached: u32,
    error: Option<PublishError>,
    to_queue: Option<ToQueue>,
}

/// One session's publishes and transactions.
#[derive(Debug)]
pub struct Publisher {
    session: SessionId,
    waiting: VecDeque<InLine>,
    unanswered: IdMap<Token, Unanswered>,
    bytes: u64,
    ensuring: HashSet<Arc<str>>,
    in_flight: InFlight,
    /// Retained publishes and commits that the directory has not routed yet. What follows must not overtake them.
    with_directory: usize,
    transactions: Transactions,
    bodies: Bodies,
    /// Messages in the line for which room is looked for, or was found.
    rooms: IdMap<Token, Room>,
    routed: RouteCache,
    targets: Vec<Target>,
}

impl Publisher {
    /// For a session that was just opened.
    pub fn new(session: SessionId, limits: TransactionLimits) -> Self {
        Self {
            session,
            waiting: VecDeque::new(),
            unanswered: IdMap::default(),
            bytes: 0,
            ensuring: HashSet::new(),
            in_flight: InFlight::default(),
            with_directory: 0,
            transactions: Transactions::new(limits),
            bodies: Bodies::default(),
            rooms: IdMap::default(),
            routed: RouteCache::default(),
            targets: Vec::new(),
        }
    }

    /// Publishes that are not answered yet, and their bytes. What open transactions hold is not among them.
    pub fn load(&self) -> (usize, u64) {
        (self.waiting.len() + self.sent_on(), self.bytes)
    }

    /// Publishes and commits that were sent on and are not answered yet.
    pub fn sent_on(&self) -> usize {
        self.unanswered.len() + self.transactions.committing.len()
    }

    /// Whether a publish or a commit waits for room.
    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a message. `pump` sends it on.
    pub fn submit(&mut self, waiting: Waiting) {
        self.bytes += waiting.message.size_bytes();
        self.waiting.push_back(InLine::Message(waiting));
    }

    /// Sends on what can be sent on. What goes to one address stays in order; what goes to another does not wait
    /// for it.
    pub fn pump(&mut self, around: Surroundings<'_>, out: &mut Out) {
        let mut blocked: HashSet<Address> = HashSet::new();
        let mut kept = VecDeque::new();
        let mut abandoned = Vec::new();
        let mut clears = if around.memory_is_exhausted { self.clears() } else { 0 };
        for number in 0.. {
            if number % AHEAD == 0 {
                let next = self.waiting.iter().take(AHEAD).filter_map(InLine::message);
                around.routes.look_ahead(next);
            }
            let Some(next) = self.waiting.pop_front() else { break };
            match next {
                InLine::Message(waiting) => {
                    clears -= usize::from(around.memory_is_exhausted && waiting.is_clear());
                    if around.taken_over && waiting.mark.is_some() {
                        self.bytes -= waiting.message.size_bytes();
                        self.rooms.remove(&waiting.token);
                        abandoned.extend(waiting.body);
                        continue;
                    }
                    if let Some(error) = self.body_failed(&waiting) {
                        self.bytes -= waiting.message.size_bytes();
                        out.published(waiting.token, Err(error));
                        continue;
                    }
                    if self.may_go(&waiting, around, &blocked, out) {
                        self.send(around, waiting, out);
                        continue;
                    }
                    blocked.insert(waiting.message.meta.address.clone());
                    kept.push_back(InLine::Message(waiting));
                    if around.memory_is_exhausted && clears == 0 && self.transactions.in_line == 0 {
                        // Nothing behind it can go either.
                        break;
                    }
                }
                InLine::Commit { transaction, token } => {
                    if !self.commit_now(transaction, token, around, &mut blocked, out) {
                        kept.push_back(InLine::Commit { transaction, token });
                    }
                }
            }
        }
        kept.append(&mut self.waiting);
        self.waiting = kept;
        // Pieces that come after their message is dropped would stay for ever.
        abandoned.into_iter().for_each(|body| self.abandon_body(body));
    }

    /// How many messages in the line go though memory is exhausted.
    fn clears(&self) -> usize {
        self.waiting.iter().filter(|next| matches!(next, InLine::Message(waiting) if waiting.is_clear())).count()
    }

    /// Whether a message may go now. Leaves its targets in `self.targets`.
    fn may_go(
        &mut self,
        waiting: &Waiting,
        around: Surroundings<'_>,
        blocked: &HashSet<Address>,
        out: &mut Out,
    ) -> bool {
        let Surroundings { routes, client_id, .. } = around;
        let address = &waiting.message.meta.address;
        if (around.memory_is_exhausted && !waiting.is_clear())
            || waiting.body.is_some_and(|body| self.bodies.is_pending(body))
            || (self.with_directory > 0 && !waiting.retain)
            || (!blocked.is_empty() && blocked.contains(address))
        {
            return false;
        }
        routes.find(&waiting.message, client_id, &mut self.routed, &mut self.targets);
        if address.kind == AddressKind::Queue
            && let Some(target) = self.targets.first()
        {
            let sent = self.unanswered.values().filter_map(|unanswered| unanswered.to_queue.as_ref());
            if self.in_flight.may_overtake(&address.name, target.queue, sent) {
                return false;
            }
        }
        if address.kind == AddressKind::Queue && self.targets.is_empty() {
            if self.ensuring.insert(address.name.clone()) {
                out.directory(DirectoryCommand::Ensure { session: self.session, name: address.name.clone() });
            }
            return false;
        }
        let mut dropped = 0;
        if self.targets.iter().any(|target| routes.is_full(target.queue)) {
            if self.targets.iter().any(|target| waits_for(&waiting.message, target, routes)) {
                self.room_is_lost(waiting.token);
                return false;
            }
            // At most once: a subscriber that does not keep up misses it, the others do not wait.
            let before = self.targets.len();
            self.targets.retain(|target| !routes.is_full(target.queue));
            dropped = before - self.targets.len();
        }
        if routes.any_may_refuse() && !self.finds_room(waiting, routes, out) {
            return false;
        }
        out.counts.dropped += dropped as u64;
        true
    }

    fn send(&mut self, around: Surroundings<'_>, waiting: Waiting, out: &mut Out) {
        let Waiting { token, message, retain, mark, .. } = waiting;
        let answer = Some((self.session, token));
        let size_bytes = message.size_bytes();
        let is_piece = self.bodies.is_piece(token);
        out.counts.published += u64::from(!is_piece);
        let unanswered =
            |parts: u32, to_queue: Option<ToQueue>| Unanswered { size_bytes, parts, reached: 0, error: None, to_queue };
        if retain {
            let client_id = around.client_id.into();
            self.with_directory += 1;
            // How many parts it has, the directory tells.
            self.unanswered.insert(token, unanswered(u32::MAX, None));
            out.directory(DirectoryCommand::PublishRetained { answer, client_id, message, mark });
            return;
        }
        let parts = split_by_shard(&self.targets, mark);
        if parts.is_empty() {
            self.bytes -= size_bytes;
            self.answer(token, size_bytes, Ok(0), out);
            return;
        }
        // The queue of a body has no successor.
        let by_name = message.meta.address.kind == AddressKind::Queue && !is_piece;
        let to_queue = self.targets.first().filter(|_| by_name).map(|target| {
            let again = Waiting { token, message: message.clone(), retain, mark, body: None };
            self.in_flight.sent(target.queue, around.routes.newest_queue(), again)
        });
        let count = parts.len() as u32;
        self.unanswered.insert(token, unanswered(count, to_queue));
        // Transient messages are not in the journal: nothing to keep together.
        let group = (count > 1 && message.meta.durable).then_some(Group { id: message.meta.id.0, parts: count as u16 });
        let may_be_refused = count == 1;
        for (shard, targets, mark) in parts {
            let message = message.clone();
            let command = ShardCommand::Publish { answer, message, targets, mark, group, may_be_refused };
            out.effects.push(PublisherEffect::Publish(shard, command));
        }
    }

    /// Takes what concerns publishes and transactions. Returns every other event. `pump` afterwards.
    pub fn handle(&mut self, event: SessionEvent, out: &mut Out) -> Option<SessionEvent> {
        match event {
            SessionEvent::PublishParts { token, parts } => {
                // The directory routed a retained publish: what waited behind it may go on.
                self.with_directory -= 1;
                if let Some(unanswered) = self.unanswered.get_mut(&token) {
                    // Parts that were answered already have counted down from the largest number.
                    unanswered.parts -= u32::MAX - parts;
                    self.finish_if_done(token, out);
                }
            }
            SessionEvent::PublishPart { token, reached, error } => {
                if let Some(unanswered) = self.unanswered.get_mut(&token) {
                    unanswered.parts -= 1;
                    unanswered.reached += reached;
                    if error.is_some() {
                        unanswered.error = error;
                    }
                    self.finish_if_done(token, out);
                }
            }
            SessionEvent::Ensured { name, result } => {
                self.ensuring.remove(&name);
                if let Err(error) = result {
                    self.refuse_all(&Address::queue(name), &error, out);
                }
            }
            SessionEvent::RoomFound { token, error } => self.room_found(token, error, out),
            SessionEvent::Pledged { transaction, token, held } => self.pledged(transaction, token, held, out),
            SessionEvent::RoomChecked { transaction, error } => self.room_checked(transaction, error, out),
            SessionEvent::CommitRouted { token, result } => self.commit_routed(token, result, out),
            SessionEvent::Event(Event::Committed { token, result }) => self.committed(token, result, out),
            other => return Some(other),
        }
        None
    }

    fn finish_if_done(&mut self, token: Token, out: &mut Out) {
        if self.unanswered.get(&token).is_none_or(|unanswered| unanswered.parts > 0) {
            return;
        }
        let Some(done) = self.unanswered.remove(&token) else { return };
        if let Some(sent) = &done.to_queue {
            self.in_flight.landed(sent);
        }
        if done.reached == 0
            && done.error.is_none()
            && let Some(ToQueue { waiting, .. }) = done.to_queue
        {
            // Back to its place: ids rise with the order of submission.
            let id = waiting.message.meta.id;
            let later = |next: &InLine| match next {
                InLine::Message(other) => other.message.meta.id > id,
                InLine::Commit { .. } => true,
            };
            let index = self.waiting.iter().position(later).unwrap_or(self.waiting.len());
            self.waiting.insert(index, InLine::Message(waiting));
            return;
        }
        self.bytes -= done.size_bytes;
        self.answer(token, done.size_bytes, done.error.map_or(Ok(done.reached), Err), out);
    }

    fn answer(&mut self, token: Token, size_bytes: u64, result: Result<u32, PublishError>, out: &mut Out) {
        if !self.bodies.is_piece(token) {
            return out.published(token, result);
        }
        // One that reached nothing is not kept.
        let result = result.and_then(|reached| if reached > 0 { Ok(()) } else { Err(PublishError::Unavailable) });
        self.bodies.answered(token, size_bytes, result.err());
    }

    /// Why a message cannot be published whose body went ahead. The body is the message's from now on.
    fn body_failed(&mut self, waiting: &Waiting) -> Option<PublishError> {
        let body = waiting.body.filter(|body| !self.bodies.is_pending(*body))?;
        self.bodies.take(body).err()
    }

    /// The directory says why there is no such queue: every message for it is refused.
    fn refuse_all(&mut self, address: &Address, error: &PublishError, out: &mut Out) {
        let mut refused = Vec::new();
        self.waiting.retain(|next| match next {
            InLine::Message(waiting) if waiting.message.meta.address == *address => {
                refused.push((waiting.token, waiting.message.size_bytes(), waiting.body));
                false
            }
            _ => true,
        });
        for (token, size_bytes, body) in refused {
            self.bytes -= size_bytes;
            self.rooms.remove(&token);
            if let Some(body) = body {
                self.abandon_body(body);
            }
            self.answer(token, size_bytes, Err(error.clone()), out);
        }
    }
}

/// Whether a message waits because this one of its queues is full. What is promised at most once does not: transient
/// messages to topics, and all of what comes through a binding of QoS 0.
pub fn waits_for(message: &Message, target: &Target, routes: &Routes) -> bool {
    let is_promised = message.meta.durable && !target.at_most_once;
    (is_promised || message.meta.address.kind == AddressKind::Queue) && routes.is_full(target.queue)
}
