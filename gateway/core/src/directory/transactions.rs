//! Transactions: the directory decides. A commit is one command here: all its messages are routed under one look
//! at the routes, and its outcome is a record that is committed together with all that it changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use evergate_model::{
    AddressKind, Event, Mark, Message, PublishError, QueueId, RollbackReason, Time, Token, TransactionError,
    TransactionId,
};

use super::{Directory, Out, split_by_shard, storage};
use crate::effect::{DirectoryEffect, Group, Logged, SessionEvent, SessionId, ShardId};
use crate::publisher::waits_for;
use crate::shard::{ShardCommand, ShardTarget};

/// A transaction that is to be committed.
#[derive(Debug)]
pub struct CommitCommand {
    /// Which.
    pub transaction: TransactionId,
    /// Whose.
    pub session: SessionId,
    /// Named in the answer.
    pub token: Token,
    /// Its client id, for no-local.
    pub client_id: Arc<str>,
    /// Its messages, in order.
    pub publishes: Vec<HeldPublish>,
    /// Where something is pledged to it.
    pub shards: Vec<ShardId>,
    /// It takes messages from one place to another for an operator: they arrive now, or stay where they are.
    pub moves: bool,
}

/// A message that a transaction holds.
#[derive(Debug)]
pub struct HeldPublish {
    /// The message.
    pub message: Arc<Message>,
    /// What to keep in the same commit.
    pub mark: Option<(ShardId, QueueId, Mark)>,
}

/// How long outcomes are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutcomeLimits {
    /// So many of the newest.
    pub outcomes_max: usize,
    /// So long.
    pub age_max: Duration,
}

impl Default for OutcomeLimits {
    fn default() -> Self {
        Self { outcomes_max: 100_000, age_max: Duration::from_hours(1) }
    }
}

/// What the directory knows of transactions.
#[derive(Debug)]
pub(super) struct Transactions {
    limits: OutcomeLimits,
    /// Begun and not decided.
    open: BTreeSet<TransactionId>,
    /// Committed, or on the way to the journal.
    committed: BTreeSet<TransactionId>,
    /// The same in the order of their commits.
    by_age: VecDeque<(Time, TransactionId)>,
}

/// So many outcomes more than the limit are kept until they are forgotten at once.
const FORGET_AT_ONCE: usize = 256;

impl Transactions {
    pub fn new(limits: OutcomeLimits) -> Self {
        Self { limits, open: BTreeSet::new(), committed: BTreeSet::new(), by_age: VecDeque::new() }
    }

    /// Takes over what a restart found.
    pub fn recover(&mut self, mut outcomes: Vec<(Time, TransactionId)>) {
        outcomes.sort_unstable();
        self.committed = outcomes.iter().map(|(_, id)| *id).collect();
        self.by_age = outcomes.into();
    }

    /// When the oldest outcomes are forgotten: a little late, so that many go at once.
    pub fn next_timeout(&self) -> Option<Time> {
        let (at, _) = self.by_age.front()?;
        Some(at.after(self.limits.age_max).after(self.limits.age_max / 16))
    }

    fn forget(&mut self) -> Option<TransactionId> {
        let (_, id) = self.by_age.pop_front()?;
        self.committed.remove(&id);
        Some(id)
    }
}

/// A shard's part of a transaction.
#[derive(Default)]
struct Part {
    publishes: Vec<(Arc<Message>, Vec<ShardTarget>)>,
    marks: Vec<(QueueId, u32)>,
}

impl Directory {
    pub(super) fn begin(&mut self, transaction: TransactionId) {
        self.transactions.open.insert(transaction);
    }

    pub(super) fn ended(&mut self, transaction: TransactionId) {
        self.transactions.open.remove(&transaction);
    }

    /// Commits it, whole or not at all.
    pub(super) fn commit(&mut self, commit: CommitCommand, out: &mut Out<'_>) {
        let now = out.now;
        let CommitCommand { transaction, session, token, client_id, publishes, shards, moves } = commit;
        let routed = if self.transactions.open.remove(&transaction) {
            self.route_all(&client_id, publishes, moves, out)
        } else {
            Err((RollbackReason::Precondition, "the transaction is not open".to_owned()))
        };
        let mut parts = match routed {
            Ok(parts) => parts,
            Err((reason, text)) => {
                for shard in shards {
                    out.shard(shard, ShardCommand::Rollback { transaction });
                }
                let result = Err(TransactionError::RolledBack(reason, text));
                out.tell(session, SessionEvent::CommitRouted { token, result });
                return;
            }
        };
        for shard in shards {
            parts.entry(shard).or_default();
        }
        let group = Group { id: transaction.0, parts: parts.len() as u16 + 1 };
        self.logged.0 += 1;
        out.log.push(Logged { record: Some(storage::put_transaction(transaction, now)), group: Some(group) });
        for (shard, Part { publishes, marks }) in parts {
            out.shard(shard, ShardCommand::Transaction { transaction, publishes, marks, group });
        }
        self.transactions.committed.insert(transaction);
        self.transactions.by_age.push_back((now, transaction));
        out.tell(session, SessionEvent::CommitRouted { token, result: Ok(()) });
        let event = SessionEvent::Event(Event::Committed { token, result: Ok(()) });
        self.defer(DirectoryEffect::Tell(session, event), out);
        if self.transactions.by_age.len() >= self.transactions.limits.outcomes_max + FORGET_AT_ONCE {
            self.forget_outcomes(out);
        }
    }

    /// Where every message goes. The error says, in words, which of them could not be published and why.
    fn route_all(
        &mut self,
        client_id: &str,
        publishes: Vec<HeldPublish>,
        moves: bool,
        out: &mut Out<'_>,
    ) -> Result<BTreeMap<ShardId, Part>, (RollbackReason, String)> {
        let mut parts: BTreeMap<ShardId, Part> = BTreeMap::new();
        let mut targets = Vec::new();
        for HeldPublish { message, mark } in publishes {
            let address = &message.meta.address;
            let refused = |error: PublishError| ((&error).into(), format!("{address}: {error}"));
            let to_queue = address.kind == AddressKind::Queue;
            if to_queue {
                self.ensure(&address.name, out).map_err(refused)?;
            }
            out.routes.find(&message, client_id, &mut self.route_cache, &mut targets);
            if to_queue && targets.is_empty() {
                return Err(refused(PublishError::NotFound));
            }
            if moves && let Some(full) = targets.iter().find(|target| waits_for(&message, target, out.routes)) {
                let destination = self.queues.get(&full.queue).map_or(&address.name, |info| &info.name).clone();
                return Err(refused(PublishError::Full { destination }));
            }
            targets.retain(|target| !out.routes.is_full(target.queue) || waits_for(&message, target, out.routes));
            if moves && targets.is_empty() {
                let text = format!("{address}: nobody subscribes to it, so it would be lost");
                return Err((RollbackReason::NotFound, text));
            }
            for (shard, mut targets, mark) in split_by_shard(&targets, mark) {
                targets.iter_mut().for_each(|target| target.moved = moves);
                let part = parts.entry(shard).or_default();
                part.marks.extend(mark.and_then(|(queue, mark)| match mark {
                    Mark::Number(number) => Some((queue, number)),
                    Mark::Fingerprint(_) => None,
                }));
                if !targets.is_empty() {
                    part.publishes.push((message.clone(), targets));
                }
            }
        }
        Ok(parts)
    }

    /// What became of a transaction that the session does not have open.
    pub(super) fn outcome(&mut self, session: SessionId, transaction: TransactionId, token: Token, out: &mut Out<'_>) {
        let result = if self.transactions.committed.contains(&transaction) {
            Ok(())
        } else if self.transactions.open.contains(&transaction) {
            // Another session may still commit it.
            Err(TransactionError::Unavailable)
        } else {
            Err(TransactionError::Unknown)
        };
        let event = SessionEvent::Event(Event::Committed { token, result });
        self.defer(DirectoryEffect::Tell(session, event), out);
    }

    /// Forgets outcomes that are too many or too old.
    pub(super) fn forget_outcomes(&mut self, out: &mut Out<'_>) {
        let OutcomeLimits { outcomes_max, age_max } = self.transactions.limits;
        while let Some((at, _)) = self.transactions.by_age.front()
            && (self.transactions.by_age.len() > outcomes_max || at.after(age_max) <= out.now)
        {
            let forgotten = self.transactions.forget();
            self.records.extend(forgotten.map(storage::delete_transaction));
        }
        self.log(out);
    }
}
