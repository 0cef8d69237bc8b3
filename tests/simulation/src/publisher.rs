//! A session's publisher as the runtime's driver has it, and the model's view of what it sends where.

use std::collections::BTreeMap;
use std::time::Duration;

use evergate_core::{
    BodyLimits, DirectoryCommand, PublisherEffect, PublisherOut, Remembered, SessionEvent, SessionId, ShardCommand,
    ShardId, Surroundings, TransactionLimits, Waiting, newest,
};
use evergate_model::{Address, Event, Fingerprint, LargeEnd, Message, QueueId, Seq, Settle, Token, TransactionId};

use crate::journal::SimJournal;
use crate::key::Key;
use crate::model::{Check, Model};
use crate::node::{Fault, Node, expect_whole};

/// Small enough that random transactions meet them.
pub const TRANSACTION_LIMITS: TransactionLimits =
    TransactionLimits { messages_max: 12, bytes_max: 12_000, age_max: Duration::from_secs(2), per_session_max: 3 };

/// A message that is on its way.
#[derive(Debug)]
struct Sent {
    address: Address,
    key: Option<Key>,
    durable: bool,
    /// It left the line.
    routed: bool,
    /// The queues that are promised once it is confirmed; whether they keep durable messages.
    targets: Vec<(QueueId, bool)>,
    /// They were found when so much had been taken away, and the directory has not looked yet.
    since: Option<u64>,
}

impl Sent {
    /// Every confirmed subscription must be among the targets; a transient message skips those that are full.
    fn check_routed(&self, node: &Node, model: &Model, targets: &[(QueueId, bool)]) -> Check {
        let mut missed = Vec::new();
        if !self.durable {
            let subscribed = model.subscribed(&self.address, self.key).into_iter().map(|(queue, _)| queue);
            missed.extend(subscribed.filter(|queue| node.routes.is_full(*queue)));
        }
        model.routed(&self.address, self.key, targets, &missed)
    }
}

#[derive(Debug)]
pub struct Publisher {
    inner: evergate_core::Publisher,
    session: SessionId,
    sent: BTreeMap<Token, Sent>,
    out: PublisherOut,
    /// Parts that are not answered yet.
    fence: Option<(Token, usize)>,
    /// What the shards said on the way.
    remembered: Vec<Remembered>,
}

/// What the publisher answers.
#[derive(Debug)]
pub enum Answer {
    /// A publish ended: with the queues that hold it, or refused.
    Published(Token, Option<Vec<(QueueId, bool)>>),
    /// About a transaction.
    Event(Event),
}

impl Publisher {
    pub fn new(session: SessionId) -> Self {
        let inner = evergate_core::Publisher::new(session, TRANSACTION_LIMITS);
        Self {
            inner,
            session,
            sent: BTreeMap::new(),
            out: PublisherOut::default(),
            fence: None,
            remembered: Vec::new(),
        }
    }

    pub fn submit(&mut self, waiting: Waiting) {
        let Waiting { token, message, .. } = &waiting;
        let (address, durable) = (message.meta.address.clone(), message.meta.durable);
        let key = Key::of(message);
        let sent = Sent { address, key, durable, routed: false, targets: Vec::new(), since: None };
        self.sent.insert(*token, sent);
        self.inner.submit(waiting);
    }

    /// Passes on some bytes of a body.
    pub fn add_to_body(&mut self, node: &mut Node, body: Token, bytes: u64) {
        let begin = || node.new_body();
        let limits = BodyLimits { piece_bytes: 50, bytes_max: 280 };
        let bytes = vec![7; bytes as usize].into();
        for piece in self.inner.add_to_body(body, &bytes, limits, begin) {
            self.inner.submit_piece(body, node.admit(piece));
        }
    }

    /// All of a body is there.
    pub fn end_body(&mut self, node: &mut Node, end: LargeEnd, message: &mut Message) {
        if let Some(last) = self.inner.end_body(end, message) {
            self.inner.submit_piece(end.body, node.admit(last));
        }
    }

    /// No message follows.
    pub fn abandon_body(&mut self, body: Token) {
        self.inner.abandon_body(body);
    }

    /// Publishes and commits that were sent on and not answered.
    pub fn unanswered(&self) -> usize {
        self.inner.sent_on() + usize::from(self.fence.is_some())
    }

    /// Puts pieces in line, now more and now fewer at once.
    fn send_pieces(&mut self, node: &Node) {
        let at_once = 1 + node.now.0 % 3;
        while self.inner.next_piece_bytes(at_once as usize).is_some() {
            self.inner.send_piece();
        }
    }

    /// Sends on what can be sent on.
    pub fn pump(
        &mut self,
        node: &mut Node,
        journal: &mut SimJournal,
        model: &Model,
        client_id: &str,
    ) -> Result<Vec<Answer>, String> {
        self.inner.expire(node.now, &mut self.out);
        self.send_pieces(node);
        let around = Surroundings { routes: &node.routes, client_id, taken_over: false, memory_is_exhausted: false };
        self.inner.pump(around, &mut self.out);
        self.note_routes(node, model)?;
        self.carry_out(node, journal);
        self.take_answers(node, model)
    }

    /// Begins a transaction.
    pub fn begin(&mut self, node: &mut Node, token: Token) -> TransactionId {
        let id = node.next_transaction();
        self.inner.begin(node.now, id, token, &mut self.out);
        id
    }

    /// Takes a message that was reserved in its queue along with a transaction.
    pub fn take_in(
        &mut self,
        node: &mut Node,
        journal: &mut SimJournal,
        transaction: TransactionId,
        place: (ShardId, QueueId, Seq),
    ) {
        self.inner.take_in(transaction, place, &mut self.out);
        self.carry_out(node, journal);
    }

    /// Publishes in a transaction.
    pub fn publish_in(&mut self, journal: &mut SimJournal, transaction: TransactionId, waiting: Waiting) {
        journal.held_by(waiting.message.meta.id, transaction);
        self.inner.publish_in(transaction, waiting, false, &mut self.out);
    }

    /// Settles in a transaction.
    pub fn settle_in(
        &mut self,
        node: &mut Node,
        journal: &mut SimJournal,
        transaction: TransactionId,
        settle: Settle,
        place: Option<(ShardId, QueueId)>,
    ) {
        self.inner.settle_in(transaction, settle, place, &mut self.out);
        self.carry_out(node, journal);
    }

    /// Asks for a commit, or for an outcome.
    pub fn commit(&mut self, transaction: TransactionId, token: Token) {
        self.inner.commit(transaction, token, &mut self.out);
    }

    /// Undoes a transaction.
    pub fn rollback(&mut self, node: &mut Node, journal: &mut SimJournal, transaction: TransactionId, token: Token) {
        self.inner.rollback(transaction, token, &mut self.out);
        self.carry_out(node, journal);
    }

    /// The session is over.
    pub fn end(mut self, node: &mut Node, journal: &mut SimJournal) {
        self.inner.end(&mut self.out);
        self.carry_out(node, journal);
    }

    /// Asks to be told when all that was published before has reached the shards.
    pub fn fence(&mut self, node: &mut Node, token: Token, queue: String) {
        self.fence = Some((token, node.shards.len()));
        node.to_directory.push_back(DirectoryCommand::Fence { session: self.session, token, queue: queue.into() });
    }

    /// What the shards remember of the session, after the fence.
    pub fn take_fingerprints(&mut self) -> Vec<Fingerprint> {
        newest(std::mem::take(&mut self.remembered))
    }

    /// Takes what concerns publishes and transactions; returns every other event.
    pub fn handle(
        &mut self,
        node: &mut Node,
        journal: &mut SimJournal,
        model: &Model,
        event: SessionEvent,
    ) -> Result<(Option<SessionEvent>, Vec<Answer>), String> {
        if let (SessionEvent::Fenced { token, remembered }, Some((_, parts))) = (&event, &mut self.fence) {
            self.remembered.extend(remembered);
            *parts -= 1;
            let done = (*parts == 0).then(|| Answer::Published(*token, Some(Vec::new())));
            if done.is_some() {
                self.fence = None;
            }
            return Ok((None, done.into_iter().collect()));
        }
        let event = match event {
            SessionEvent::CommitRouted { token, result } if node.fault == Some(Fault::CommitOvertaken) => {
                match result {
                    Ok(()) => return Ok((None, Vec::new())),
                    Err(error) => SessionEvent::Event(Event::Committed { token, result: Err(error) }),
                }
            }
            other => other,
        };
        let other = self.inner.handle(event, &mut self.out);
        self.carry_out(node, journal);
        Ok((other, self.take_answers(node, model)?))
    }

    /// For a client that comes to rest: whether everything that can be sent on was.
    pub fn check_answered(&self) -> Check {
        if self.unanswered() == 0 {
            return Ok(());
        }
        Err(format!("{} publishes or commits of {:?} were never answered", self.unanswered(), self.session))
    }

    /// Sends on what can be sent on, though nobody hears the answers: the gateway does not know yet that the client
    /// is gone. What it marks is dropped, as if another connection had taken over.
    pub fn pump_half_open(&mut self, node: &mut Node, journal: &mut SimJournal) {
        self.send_pieces(node);
        let around = Surroundings { routes: &node.routes, client_id: "", taken_over: true, memory_is_exhausted: false };
        self.inner.pump(around, &mut self.out);
        self.carry_out(node, journal);
        self.out.answers.clear();
    }

    /// Notes where each message goes.
    fn note_routes(&mut self, node: &Node, model: &Model) -> Check {
        let mut routed: BTreeMap<Token, Vec<(QueueId, bool)>> = BTreeMap::new();
        for effect in &self.out.effects {
            match effect {
                PublisherEffect::Publish(_, ShardCommand::Publish { answer: Some((_, token)), targets, .. }) => {
                    let known = routed.entry(*token).or_default();
                    known.extend(targets.iter().map(|target| (target.queue, target.durable)));
                }
                PublisherEffect::Directory(DirectoryCommand::PublishRetained { answer: Some((_, token)), .. }) => {
                    if let Some(sent) = self.sent.get_mut(token) {
                        (sent.routed, sent.targets) = (true, model.subscribed(&sent.address, sent.key));
                        sent.since = Some(model.loosenings());
                    }
                }
                _ => {}
            }
        }
        for (token, targets) in routed {
            if let Some(sent) = self.sent.get_mut(&token) {
                sent.check_routed(node, model, &targets)?;
                (sent.routed, sent.targets) = (true, targets);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, node: &mut Node, journal: &mut SimJournal) {
        for effect in std::mem::take(&mut self.out.effects) {
            if let PublisherEffect::Directory(DirectoryCommand::Commit(commit)) = &effect
                && node.fault == Some(Fault::CommitOvertaken)
            {
                let routed = SessionEvent::CommitRouted { token: commit.token, result: Ok(()) };
                self.inner.handle(routed, &mut self.out);
            }
            match effect {
                PublisherEffect::Directory(command) => node.to_directory.push_back(command),
                PublisherEffect::Publish(_, ShardCommand::FindRoom { token, .. })
                    if node.fault == Some(Fault::RoomNotAsked) =>
                {
                    let found = SessionEvent::RoomFound { token, error: None };
                    self.inner.handle(found, &mut self.out);
                }
                PublisherEffect::Publish(shard, mut command) => {
                    if let ShardCommand::Publish { may_be_refused, .. } = &mut command {
                        *may_be_refused |= node.fault == Some(Fault::RoomNotAsked);
                    }
                    expect_whole(journal, &command);
                    node.publishes[usize::from(shard.0)].push_back(command);
                }
                PublisherEffect::Control(shard, command) => node.control(shard, command),
            }
        }
    }

    fn take_answers(&mut self, node: &Node, model: &Model) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::new();
        for event in self.out.answers.drain(..) {
            let Event::Published { token, result } = event else {
                answers.push(Answer::Event(event));
                continue;
            };
            let Some(mut sent) = self.sent.remove(&token) else {
                // Held by a transaction.
                answers.push(Answer::Event(Event::Published { token, result }));
                continue;
            };
            if result.is_ok() && !sent.routed {
                sent.check_routed(node, model, &[])?;
            }
            if let Some(since) = sent.since {
                sent.targets.retain(|(queue, _)| model.still_gets(*queue, since));
            }
            answers.push(Answer::Published(token, result.is_ok().then_some(sent.targets)));
        }
        Ok(answers)
    }
}
