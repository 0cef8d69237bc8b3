//! What an operator was promised: policies stay, what he deleted is gone, and what he moved is in one place.

use std::collections::{BTreeSet, HashMap};

use evergate_core::{ManageReply, ManageRequest};
use evergate_model::{Outcome, Policy, QueueId, Seq, TransactionId};

use crate::definitions::Definitions;
use crate::key::Key;
use crate::model::{Check, Model};

/// A message that goes from one queue to another.
#[derive(Debug)]
struct Move {
    transaction: TransactionId,
    from: QueueId,
    seq: Seq,
    key: Key,
    to: String,
    /// Once that is decided.
    target: Option<QueueId>,
}

#[derive(Debug, Default)]
pub struct Operations {
    /// Those that he was told are in force.
    policies: Vec<Policy>,
    /// Those that he asked for, and that are in force once he is told, or perhaps after a crash.
    asked: Option<Vec<Policy>>,
    /// What he said of single queues.
    pub definitions: Definitions,
    /// There was a crash before he was told.
    is_in_doubt: bool,
    /// The queue whose deletion he asked for, and those that he was told are gone.
    deleting: Option<QueueId>,
    deleted: BTreeSet<QueueId>,
    /// A queue of which he takes messages out of service, and is not told yet which.
    pub reserving: Option<QueueId>,
    /// Messages that he takes out.
    taken_out: Vec<(QueueId, Seq, Key)>,
    /// How often something was taken away that a queue was said to be bound to.
    pub loosenings: u64,
    /// Moves that are not decided.
    moves: Vec<Move>,
    /// How often a message was moved to a queue of that name, and at all.
    moved_to: HashMap<(String, Key), u32>,
    moved: HashMap<Key, u32>,
    /// What came about: policies set, queues deleted, messages moved.
    pub done: Done,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    pub policies: u64,
    pub deletions: u64,
    pub moves: u64,
}

impl Operations {
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Whether he must ask which policies are in force.
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// How often a message came to a queue by his hand, as far as it is known.
    pub fn moved_to(&self, queue: &str, key: Key) -> u32 {
        self.moved_to.get(&(queue.to_owned(), key)).copied().unwrap_or_default()
    }

    pub fn times_moved(&self, key: Key) -> u32 {
        self.moved.get(&key).copied().unwrap_or_default()
    }

    /// He asks for something.
    pub fn asks(&mut self, request: &ManageRequest) {
        self.definitions.asks(request);
        let mut policies = self.policies.clone();
        match request {
            ManageRequest::PutPolicy(policy) => match policies.iter_mut().find(|it| it.matches == policy.matches) {
                Some(other) => other.clone_from(policy),
                None => policies.push(policy.clone()),
            },
            ManageRequest::DeletePolicy { matches } => policies.retain(|policy| policy.matches != *matches),
            _ => return,
        }
        self.asked = Some(policies);
    }

    /// Nothing has changed.
    pub fn refused(&mut self) {
        self.definitions.refused();
        self.asked = None;
    }

    pub fn takes_out(&mut self, queue: QueueId, places: &[(Seq, Key)]) {
        self.taken_out.extend(places.iter().map(|(seq, key)| (queue, *seq, *key)));
    }

    /// The directory is about to delete a queue, if it does what he asks.
    pub fn deletes(&mut self, queue: Option<QueueId>) {
        self.deleting = queue;
    }

    /// The node is gone, and with it what was not answered.
    pub fn crashed(&mut self, found: &BTreeSet<QueueId>) -> Check {
        self.is_in_doubt = true;
        self.taken_out.clear();
        self.reserving = None;
        match self.deleted.intersection(found).next() {
            Some(queue) => Err(format!("{queue:?} was deleted and is back")),
            None => Ok(()),
        }
    }
}

impl Model {
    /// He was told that it is done, or what he asked.
    pub fn managed(&mut self, request: &ManageRequest, reply: &ManageReply) -> Check {
        let operations = &mut self.operations;
        if let ManageReply::Policies { added, .. } = reply {
            let other = operations.asked.take().filter(|_| operations.is_in_doubt);
            if *added != operations.policies && other.as_ref() != Some(added) {
                let known = &operations.policies;
                return Err(format!("the policies are {added:?}, but these were said to be in force: {known:?}"));
            }
            operations.policies.clone_from(added);
            operations.is_in_doubt = false;
        }
        operations.definitions.done();
        if let Some(policies) = operations.asked.take() {
            operations.policies = policies;
            operations.done.policies += 1;
        }
        match request {
            ManageRequest::DeleteQueue { .. } => {
                operations.done.deletions += 1;
                operations.deleted.extend(operations.deleting.take());
            }
            ManageRequest::CreateQueue(definition) => {
                if let Some(queue) = self.live(&definition.name) {
                    self.promised(queue, None);
                }
                self.was_bound(&definition.name);
            }
            ManageRequest::BindQueue { name, .. } | ManageRequest::UnbindQueue { name, .. } => self.was_bound(name),
            _ => {}
        }
        Ok(())
    }

    /// The queue of that name.
    pub fn live(&self, name: &str) -> Option<QueueId> {
        self.queues.iter().rev().find(|(_, queue)| !queue.is_gone() && queue.name == *name).map(|(id, _)| *id)
    }

    /// A shard takes messages out.
    pub fn takes_out(&mut self) {
        for (queue, _, key) in std::mem::take(&mut self.operations.taken_out) {
            if let Some(queue) = self.queues.get_mut(&queue) {
                queue.more.purged.insert(key);
                queue.owed.remove(&key);
            }
        }
    }

    /// Nobody may be handed these any more.
    pub fn are_gone(&mut self, queue: QueueId, places: &[(Seq, Key)]) {
        if let Some(queue) = self.queues.get_mut(&queue) {
            for (seq, key) in places {
                queue.places.insert(*seq, *key);
            }
        }
        self.settled(queue, places, &Outcome::Accept, true);
    }

    /// A message goes from a place to a queue of that name, if the transaction commits.
    pub fn moves(&mut self, transaction: TransactionId, (from, seq): (QueueId, Seq), key: Key, to: &str) {
        let to = to.to_owned();
        *self.operations.moved_to.entry((to.clone(), key)).or_default() += 1;
        *self.operations.moved.entry(key).or_default() += 1;
        self.operations.moves.push(Move { transaction, from, seq, key, to, target: None });
    }

    /// The queue that a moved message goes to is decided.
    pub fn moves_to(&mut self, transaction: TransactionId, key: Key, target: QueueId) {
        let mut moves = self.operations.moves.iter_mut();
        if let Some(found) = moves.find(|it| (it.transaction, it.key, it.target) == (transaction, key, None)) {
            found.target = Some(target);
        }
    }

    /// A move is through, or it did not happen. `is_fresh`: the node has not started again since.
    pub fn moved(&mut self, transaction: TransactionId, is_committed: bool, is_fresh: bool) {
        let (decided, open) =
            std::mem::take(&mut self.operations.moves).into_iter().partition(|it: &Move| it.transaction == transaction);
        self.operations.moves = open;
        for Move { from, seq, key, to, target, .. } in decided {
            if !is_committed {
                self.operations.moved_to.entry((to, key)).and_modify(|count| *count -= 1);
                continue;
            }
            self.operations.done.moves += 1;
            let durable = self.sent.get(&key).is_some_and(|sent| sent.durable);
            if durable || is_fresh {
                self.are_gone(from, &[(seq, key)]);
            } else {
                self.settled(from, &[(seq, key)], &Outcome::Accept, false);
            }
            let target = target.and_then(|target| self.queues.get_mut(&target));
            if let Some(queue) = target.filter(|queue| !queue.is_gone() && !queue.more.purged.contains(&key)) {
                queue.owed.insert(key, durable);
            }
        }
    }

    /// After a crash the journal says what became of moves that were under way.
    pub fn resolve_moves(&mut self, is_committed: impl Fn(TransactionId) -> bool) {
        while let Some(transaction) = self.operations.moves.first().map(|it| it.transaction) {
            self.moved(transaction, is_committed(transaction), false);
        }
    }
}
