//! A session's transactions. What is published in one stays here until its commit; what is settled in one is
//! pledged to it in the shards: out of its consumer's hands, but not gone. The directory decides.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use evergate_model::{
    Address, Event, IdMap, PublishError, QueueId, RollbackReason, Seq, Settle, Time, Token, TransactionError,
    TransactionId,
};

use super::{InLine, Out, Publisher, PublisherEffect, Surroundings, Waiting, waits_for};
use crate::directory::{CommitCommand, DirectoryCommand, HeldPublish};
use crate::effect::ShardId;
use crate::routes::{RouteCache, Target};
use crate::shard::ShardCommand;

/// How large and how old a session's transactions may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionLimits {
    /// Messages published and deliveries settled in one.
    pub messages_max: usize,
    /// Bytes published in one.
    pub bytes_max: u64,
    /// How long one may stay open.
    pub age_max: Duration,
    /// How many a session may have open.
    pub per_session_max: usize,
}

/// Of one session.
#[derive(Debug)]
pub(super) struct Transactions {
    limits: TransactionLimits,
    /// Not decided, those whose commit stands in the line among them.
    open: BTreeMap<TransactionId, Open>,
    /// How many commits stand in the line.
    pub(super) in_line: usize,
    /// With the directory: messages and bytes.
    pub(super) committing: IdMap<Token, (u64, u64)>,
}

#[derive(Debug)]
struct Open {
    begun_at: Time,
    publishes: Vec<HeldPublish>,
    /// Bodies of theirs that went ahead in pieces.
    bodies: Vec<Token>,
    bytes: u64,
    /// Deliveries settled in it.
    settled: u64,
    /// What shards were asked and have not answered yet.
    awaited: usize,
    /// They were asked whether there is room.
    room_asked: bool,
    /// Where something is pledged to it.
    shards: BTreeSet<ShardId>,
    /// It can only be rolled back; what it held is gone.
    failed: Option<(RollbackReason, String)>,
    /// Its commit stands in the line.
    in_line: bool,
    /// It takes what was reserved elsewhere: it waits for no room.
    moves: bool,
}

impl Transactions {
    pub fn new(limits: TransactionLimits) -> Self {
        Self { limits, open: BTreeMap::new(), in_line: 0, committing: IdMap::default() }
    }
}

impl Publisher {
    /// Starts a transaction.
    pub fn begin(&mut self, now: Time, transaction: TransactionId, token: Token, out: &mut Out) {
        let max = self.transactions.limits.per_session_max;
        if self.transactions.open.len() >= max {
            let text = format!("as many transactions are open on this connection as the limit allows ({max})");
            out.beyond_limit(text.clone());
            let error = TransactionError::RolledBack(RollbackReason::Limit, text);
            out.answers.push(Event::Begun { token, result: Err(error) });
            return;
        }
        out.counts.transactions.begun += 1;
        let open = Open {
            begun_at: now,
            publishes: Vec::new(),
            bodies: Vec::new(),
            bytes: 0,
            settled: 0,
            awaited: 0,
            room_asked: false,
            shards: BTreeSet::new(),
            failed: None,
            in_line: false,
            moves: false,
        };
        self.transactions.open.insert(transaction, open);
        out.directory(DirectoryCommand::Begin { transaction });
        out.answers.push(Event::Begun { token, result: Ok(transaction) });
    }

    /// Keeps a message until the commit.
    pub fn publish_in(
        &mut self,
        transaction: TransactionId,
        waiting: Waiting,
        memory_is_exhausted: bool,
        out: &mut Out,
    ) {
        let Waiting { token, message, retain, mark, body } = waiting;
        let limits = self.transactions.limits;
        let Some(open) = self.transactions.open.get_mut(&transaction).filter(|open| !open.in_line) else {
            body.into_iter().for_each(|body| self.abandon_body(body));
            out.published(token, Err(PublishError::Transaction(TransactionError::Unknown)));
            return;
        };
        if open.failed.is_none() {
            open.bytes += message.size_bytes();
            open.publishes.push(HeldPublish { message, mark });
            open.bodies.extend(body);
            let broken = if retain {
                let text = "a message with the retain flag cannot be published in a transaction".to_owned();
                Some((RollbackReason::Precondition, text))
            } else if memory_is_exhausted {
                let text = "the gateway has no memory for the messages of the transaction".to_owned();
                Some((RollbackReason::Limit, text))
            } else {
                let beyond = open.beyond(limits);
                beyond.iter().for_each(|text| out.beyond_limit(text.clone()));
                beyond.map(|text| (RollbackReason::Limit, text))
            };
            if let Some((reason, text)) = broken {
                self.fail(transaction, reason, text, out);
            }
        } else if let Some(body) = body {
            self.abandon_body(body);
        }
        let failed = self.transactions.open.get(&transaction).and_then(|open| open.failed.clone());
        match failed {
            Some((reason, text)) => {
                out.published(token, Err(PublishError::Transaction(TransactionError::RolledBack(reason, text))));
            }
            // Held, not published: neither confirmed nor counted.
            None => out.answers.push(Event::Published { token, result: Ok(0) }),
        }
    }

    /// A message for the transaction was refused before it came here: it cannot commit without it.
    pub fn refused_in(&mut self, transaction: TransactionId, error: &PublishError, out: &mut Out) {
        self.fail(transaction, error.into(), error.to_string(), out);
    }

    /// Pledges what a consumer says to the transaction. `place`: where its queue is, if it is still there.
    pub fn settle_in(
        &mut self,
        transaction: TransactionId,
        settle: Settle,
        place: Option<(ShardId, QueueId)>,
        out: &mut Out,
    ) {
        let token = settle.token;
        let open = self.transactions.open.get_mut(&transaction);
        if let Some(open) = open.filter(|open| !open.in_line && open.failed.is_none()) {
            if let Some((shard, queue)) = place {
                open.shards.insert(shard);
                open.awaited += 1;
                let command = ShardCommand::Pledge { transaction, queue, session: self.session, settle };
                out.effects.push(PublisherEffect::Control(shard, command));
                return;
            }
            self.fail(transaction, RollbackReason::Precondition, NO_LONGER_HELD.to_owned(), out);
        }
        out.answers.extend(token.map(Event::Done));
    }

    /// A message that was reserved in its queue leaves it with the commit; if that fails, it is given back.
    pub fn take_in(&mut self, transaction: TransactionId, (shard, queue, seq): (ShardId, QueueId, Seq), out: &mut Out) {
        let open = self.transactions.open.get_mut(&transaction);
        if let Some(open) = open.filter(|open| !open.in_line && open.failed.is_none()) {
            open.moves = true;
            open.shards.insert(shard);
            open.awaited += 1;
            let command = ShardCommand::PledgeReserved { transaction, queue, seq, session: self.session };
            out.effects.push(PublisherEffect::Control(shard, command));
        }
    }

    /// A shard answered a settle in a transaction.
    pub(super) fn pledged(
        &mut self,
        transaction: TransactionId,
        token: Option<Token>,
        held: Option<u64>,
        out: &mut Out,
    ) {
        let limits = self.transactions.limits;
        if let Some(open) = self.transactions.open.get_mut(&transaction) {
            open.awaited -= 1;
            open.settled += held.unwrap_or_default();
            let beyond = held.and_then(|_| open.beyond(limits)).filter(|_| open.failed.is_none());
            beyond.iter().for_each(|text| out.beyond_limit(text.clone()));
            if let Some(text) = beyond {
                self.fail(transaction, RollbackReason::Limit, text, out);
            } else if held.is_none() {
                self.fail(transaction, RollbackReason::Precondition, NO_LONGER_HELD.to_owned(), out);
            }
        }
        out.answers.extend(token.map(Event::Done));
    }

    /// Asks for the commit, or for the outcome of an earlier one. `pump` afterwards.
    pub fn commit(&mut self, transaction: TransactionId, token: Token, out: &mut Out) {
        match self.transactions.open.get_mut(&transaction) {
            Some(open) if !open.in_line => {
                open.in_line = true;
                self.transactions.in_line += 1;
                self.bytes += open.bytes;
                self.waiting.push_back(InLine::Commit { transaction, token });
            }
            _ => out.directory(DirectoryCommand::Outcome { session: self.session, transaction, token }),
        }
    }

    /// Undoes it. What was settled in it is its consumer's again before anything that is asked afterwards.
    pub fn rollback(&mut self, transaction: TransactionId, token: Token, out: &mut Out) {
        // What stands in the line was committed before, as far as its session is concerned.
        if self.transactions.open.get(&transaction).is_some_and(|open| !open.in_line) {
            self.fail(transaction, RollbackReason::Precondition, String::new(), out);
            self.transactions.open.remove(&transaction);
        }
        out.answers.push(Event::Done(token));
    }

    /// Sends a commit to the directory if nothing holds it up. False: it waits, and with it what goes to its
    /// addresses.
    pub(super) fn commit_now(
        &mut self,
        transaction: TransactionId,
        token: Token,
        around: Surroundings<'_>,
        blocked: &mut HashSet<Address>,
        out: &mut Out,
    ) -> bool {
        let Some(open) = self.transactions.open.get(&transaction) else { return true };
        if around.taken_over && open.publishes.iter().any(|publish| publish.mark.is_some()) {
            let text = "another connection took over the session".to_owned();
            self.fail(transaction, RollbackReason::Precondition, text, out);
        }
        self.take_bodies(transaction, out);
        let Some(open) = self.transactions.open.get(&transaction) else { return true };
        if open.failed.is_none() {
            let is_held_up = |publish: &HeldPublish| blocked.contains(&publish.message.meta.address);
            // What an operator moves is refused where others wait: he may be the one who makes room.
            let waits_for_room = |publishes: &[HeldPublish], this: &mut RouteCache, targets: &mut Vec<Target>| {
                publishes.iter().any(is_held_up) || !has_room(publishes, around, this, targets)
            };
            let must_wait = open.awaited > 0
                || !open.bodies.is_empty()
                || (!open.moves && waits_for_room(&open.publishes, &mut self.routed, &mut self.targets));
            if must_wait || self.asks_for_room(transaction, around, out) {
                let open = self.transactions.open.get(&transaction);
                let publishes = open.into_iter().flat_map(|open| &open.publishes);
                blocked.extend(publishes.map(|publish| publish.message.meta.address.clone()));
                return false;
            }
        }
        self.transactions.in_line -= 1;
        let Some(open) = self.transactions.open.remove(&transaction) else { return true };
        if let Some((reason, text)) = open.failed {
            out.answers.push(Event::Committed { token, result: Err(TransactionError::RolledBack(reason, text)) });
            return true;
        }
        let messages = open.publishes.len() as u64;
        out.counts.published += messages;
        out.counts.transactions.ended += 1;
        self.transactions.committing.insert(token, (messages, open.bytes));
        // What follows stands behind it.
        self.with_directory += 1;
        out.directory(DirectoryCommand::Commit(Box::new(CommitCommand {
            transaction,
            session: self.session,
            token,
            client_id: around.client_id.into(),
            publishes: open.publishes,
            shards: open.shards.into_iter().collect(),
            moves: open.moves,
        })));
        true
    }

    /// Looks which bodies of the transaction are whole now. It cannot commit without those that could not be kept.
    fn take_bodies(&mut self, transaction: TransactionId, out: &mut Out) {
        let Some(open) = self.transactions.open.get_mut(&transaction) else { return };
        let bodies = &mut self.bodies;
        let mut error = None;
        open.bodies.retain(|body| {
            let is_pending = bodies.is_pending(*body);
            if !is_pending && let Err(why) = bodies.take(*body) {
                error = Some(why);
            }
            is_pending
        });
        if let Some(error) = error {
            self.fail(transaction, (&error).into(), error.to_string(), out);
        }
    }

    /// Asks the shards of queues that refuse messages whether they would take these, once. False: there are none.
    fn asks_for_room(&mut self, transaction: TransactionId, around: Surroundings<'_>, out: &mut Out) -> bool {
        let Some(open) = self.transactions.open.get_mut(&transaction) else { return false };
        if std::mem::replace(&mut open.room_asked, true) || !around.routes.any_may_refuse() {
            return false;
        }
        let mut wants: BTreeMap<(ShardId, QueueId), (u64, u64)> = BTreeMap::new();
        for HeldPublish { message, .. } in &open.publishes {
            around.routes.find(message, around.client_id, &mut self.routed, &mut self.targets);
            let may_refuse =
                |target: &&Target| around.routes.may_refuse(target.queue) && !message.meta.is_discardable();
            for target in self.targets.iter().filter(may_refuse) {
                let (messages, bytes) = wants.entry((target.shard, target.queue)).or_default();
                *messages += 1;
                *bytes += message.all_bytes();
            }
        }
        let mut by_shard: BTreeMap<ShardId, Vec<(QueueId, u64, u64)>> = BTreeMap::new();
        for ((shard, queue), (messages, bytes)) in wants {
            by_shard.entry(shard).or_default().push((queue, messages, bytes));
        }
        open.awaited += by_shard.len();
        for (shard, wants) in by_shard {
            let command = ShardCommand::CheckRoom { transaction, session: self.session, wants };
            // Behind what was published before.
            out.effects.push(PublisherEffect::Publish(shard, command));
        }
        self.transactions.open.get(&transaction).is_some_and(|open| open.awaited > 0)
    }

    /// A shard says whether there is room.
    pub(super) fn room_checked(&mut self, transaction: TransactionId, error: Option<PublishError>, out: &mut Out) {
        if let Some(open) = self.transactions.open.get_mut(&transaction) {
            open.awaited -= 1;
            if let Some(error) = error {
                self.fail(transaction, (&error).into(), error.to_string(), out);
            }
        }
    }

    /// The directory routed a commit, or refused it.
    pub(super) fn commit_routed(&mut self, token: Token, result: Result<(), TransactionError>, out: &mut Out) {
        self.with_directory -= 1;
        if let Err(error) = result {
            out.counts.transactions.rolled_back += 1;
            if let Some((messages, bytes)) = self.transactions.committing.remove(&token) {
                self.bytes -= bytes;
                out.counts.refused += messages;
            }
            out.answers.push(Event::Committed { token, result: Err(error) });
        }
    }

    /// A commit is through, or an earlier one's outcome is told.
    pub(super) fn committed(&mut self, token: Token, result: Result<(), TransactionError>, out: &mut Out) {
        if let Some((messages, bytes)) = self.transactions.committing.remove(&token) {
            self.bytes -= bytes;
            out.counts.confirmed += messages;
            out.counts.transactions.committed += 1;
        }
        out.answers.push(Event::Committed { token, result });
    }

    /// When the oldest transaction grows too old.
    pub fn next_timeout(&self) -> Option<Time> {
        let age_max = self.transactions.limits.age_max;
        let live = self.transactions.open.values().filter(|open| open.failed.is_none());
        live.map(|open| open.begun_at.after(age_max)).min()
    }

    /// Gives up transactions that are too old. `pump` afterwards.
    pub fn expire(&mut self, now: Time, out: &mut Out) {
        let age_max = self.transactions.limits.age_max;
        let is_old = |open: &Open| open.failed.is_none() && open.begun_at.after(age_max) <= now;
        let old: Vec<_> = self.transactions.open.iter().filter(|(_, open)| is_old(open)).map(|(id, _)| *id).collect();
        for transaction in old {
            let text = format!("the transaction was open for longer than {} ms", age_max.as_millis());
            out.beyond_limit(text.clone());
            self.fail(transaction, RollbackReason::TooOld, text, out);
        }
    }

    /// The session is over: what was not committed is rolled back. Before its consumers are detached.
    pub fn end(&mut self, out: &mut Out) {
        let open: Vec<_> = self.transactions.open.keys().copied().collect();
        for transaction in open {
            self.fail(transaction, RollbackReason::Precondition, String::new(), out);
        }
    }

    /// From now on it can only be rolled back. What it held is given up at once.
    fn fail(&mut self, transaction: TransactionId, reason: RollbackReason, text: String, out: &mut Out) {
        let Some(open) = self.transactions.open.get_mut(&transaction).filter(|open| open.failed.is_none()) else {
            return;
        };
        if open.in_line {
            self.bytes -= open.bytes;
        }
        out.counts.transactions.ended += 1;
        out.counts.transactions.rolled_back += 1;
        open.failed = Some((reason, text));
        open.publishes = Vec::new();
        open.bytes = 0;
        let bodies = std::mem::take(&mut open.bodies);
        for shard in std::mem::take(&mut open.shards) {
            out.effects.push(PublisherEffect::Control(shard, ShardCommand::Rollback { transaction }));
        }
        bodies.into_iter().for_each(|body| self.abandon_body(body));
        out.directory(DirectoryCommand::Ended { transaction });
    }
}

const NO_LONGER_HELD: &str = "a delivery that was settled in the transaction is no longer its consumer's";

impl Open {
    /// Which limit it is beyond, in words.
    fn beyond(&self, limits: TransactionLimits) -> Option<String> {
        let messages = self.publishes.len() as u64 + self.settled;
        if messages > limits.messages_max as u64 {
            let max = limits.messages_max;
            return Some(format!("the transaction has more messages than the limit allows ({max})"));
        }
        let max = limits.bytes_max;
        (self.bytes > max).then(|| format!("the transaction has more bytes than the limit allows ({max})"))
    }
}

/// Whether no queue that the messages go to is full, as far as they would wait for it.
fn has_room(
    publishes: &[HeldPublish],
    around: Surroundings<'_>,
    routed: &mut RouteCache,
    targets: &mut Vec<Target>,
) -> bool {
    publishes.iter().all(|publish| {
        around.routes.find(&publish.message, around.client_id, routed, targets);
        !targets.iter().any(|target| waits_for(&publish.message, target, around.routes))
    })
}
