//! What clients were promised of their transactions: all or nothing, seen at once, and the truth when asked.

use std::collections::{BTreeMap, HashSet};

use evergate_model::{AddressKind, Outcome, QueueId, Seq, TransactionId};

use crate::key::Key;
use crate::model::{Check, Model};

/// Deliveries that a client settled in a transaction.
#[derive(Clone, Debug)]
pub struct Settled {
    pub queue: QueueId,
    pub places: Vec<(Seq, Key)>,
    pub outcome: Outcome,
}

/// Where a transaction is, as far as clients were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// Nobody asked for its commit.
    #[default]
    Open,
    /// Somebody did.
    Asked,
    Committed,
    /// Nothing of it may ever be seen.
    Void,
}

#[derive(Debug, Default)]
pub struct Transaction {
    pub fate: Fate,
    keys: Vec<Key>,
    settled: Vec<Settled>,
    /// What must reach whom once it is committed.
    owed: Vec<(Key, Vec<QueueId>)>,
    /// That was so when operators had taken so much away.
    since: u64,
    /// Which queues its messages came to.
    reached: Vec<(Key, QueueId)>,
    /// In which start of the node its commit was asked for.
    asked_in: u32,
    /// The producer's last message before its commit.
    pub behind: u64,
    /// Its connection ended before the answer: what follows on the next one does not wait for it.
    pub left_open: bool,
}

impl Transaction {
    /// Whether it is worth counting.
    pub fn holds_something(&self) -> bool {
        !self.keys.is_empty() || !self.settled.is_empty()
    }
}

/// All transactions.
#[derive(Debug, Default)]
pub struct Transactions {
    pub all: BTreeMap<TransactionId, Transaction>,
    /// Messages of transactions that were handed out.
    pub seen: HashSet<Key>,
}

impl Model {
    /// A client began it.
    pub fn begins(&mut self, id: TransactionId) {
        self.transactions.all.insert(id, Transaction::default());
    }

    /// A message is held by it.
    pub fn holds(&mut self, id: TransactionId, key: Key) {
        if let Some(transaction) = self.transactions.all.get_mut(&id) {
            transaction.keys.push(key);
        }
    }

    /// A client asks for its commit.
    pub fn asks(&mut self, id: TransactionId, settled: Vec<Settled>, behind: u64) {
        let Some(transaction) = self.transactions.all.get(&id) else { return };
        let owed = transaction.keys.iter().map(|key| (*key, self.wanted(*key))).collect();
        let (asked_in, since) = (self.starts, self.loosenings());
        if let Some(transaction) = self.transactions.all.get_mut(&id) {
            (transaction.fate, transaction.since) = (Fate::Asked, since);
            (transaction.settled, transaction.owed) = (settled, owed);
            (transaction.asked_in, transaction.behind) = (asked_in, behind);
        }
    }

    /// The subscriptions that a topic's message must reach. Transient ones may miss it when they are full.
    fn wanted(&self, key: Key) -> Vec<QueueId> {
        match self.sent.get(&key) {
            Some(sent) if sent.address.kind == AddressKind::Topic && sent.durable => {
                self.subscribed(&sent.address, Some(key)).into_iter().map(|(queue, _)| queue).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The connection ended before the answer: it may be committed or not.
    pub fn left_in_doubt(&mut self, id: TransactionId) {
        let Some(transaction) = self.transactions.all.get_mut(&id) else { return };
        transaction.left_open = true;
        for Settled { queue, places, outcome } in transaction.settled.clone() {
            self.settled(queue, &places, &outcome, false);
        }
    }

    /// A client was told that it is committed.
    pub fn transaction_committed(&mut self, id: TransactionId) -> Check {
        let Some(transaction) = self.transactions.all.get_mut(&id) else {
            return Err(format!("{id:?} is said to be committed, but nobody began it"));
        };
        if transaction.fate == Fate::Void {
            return Err(format!("{id:?} was rolled back and is now said to be committed"));
        }
        transaction.fate = Fate::Committed;
        let is_fresh = transaction.asked_in == self.starts;
        let (owed, settled) = (transaction.owed.clone(), transaction.settled.clone());
        let since = transaction.since;
        let reached = transaction.reached.clone();
        for (key, queues) in owed {
            let Some(sent) = self.sent.get(&key) else { continue };
            if !sent.durable && !is_fresh {
                continue;
            }
            let mut targets: Vec<(QueueId, bool)> = queues.into_iter().map(|queue| (queue, true)).collect();
            targets.retain(|(queue, _)| self.still_gets(*queue, since));
            if sent.address.kind == AddressKind::Queue {
                targets.extend(reached.iter().filter(|(it, _)| *it == key).map(|(_, queue)| (*queue, true)));
                self.owed_by_retired(key, &targets);
            }
            self.confirmed(key, &targets);
        }
        for Settled { queue, mut places, outcome } in settled {
            if !is_fresh {
                // The others are forgotten, and their places used again.
                places.retain(|(_, key)| self.sent.get(key).is_some_and(|sent| sent.durable));
            }
            self.settled(queue, &places, &outcome, true);
        }
        Ok(())
    }

    /// A client was told that it is rolled back, or left without having asked for its commit.
    pub fn transaction_void(&mut self, id: TransactionId) -> Check {
        let Some(transaction) = self.transactions.all.get_mut(&id) else { return Ok(()) };
        if transaction.fate == Fate::Committed {
            return Err(format!("{id:?} was committed and is now said to be rolled back"));
        }
        transaction.fate = Fate::Void;
        match transaction.keys.iter().find(|key| self.transactions.seen.contains(*key)) {
            Some(key) => Err(format!("{key:?} of {id:?} was handed out, but {id:?} was rolled back")),
            None => Ok(()),
        }
    }

    /// A message of a transaction is handed out.
    pub fn seen_in(&mut self, id: TransactionId, key: Key, is_committed: bool) -> Check {
        if !is_committed {
            return Err(format!("{key:?} was handed out before the commit of its transaction"));
        }
        self.transactions.seen.insert(key);
        match self.transactions.all.get(&id) {
            Some(transaction) if transaction.fate == Fate::Void => {
                Err(format!("{key:?} was handed out, but {id:?} was rolled back"))
            }
            _ => Ok(()),
        }
    }

    /// The run is over: what nobody was told is looked up.
    pub fn resolve(&mut self, is_committed: impl Fn(TransactionId) -> bool) -> Check {
        let open: Vec<_> = self.transactions.all.iter().filter(|(_, it)| it.fate == Fate::Asked).collect();
        let open: Vec<_> = open.into_iter().map(|(id, _)| *id).collect();
        for id in open {
            if is_committed(id) { self.transaction_committed(id)? } else { self.transaction_void(id)? }
        }
        Ok(())
    }

    /// A message of a transaction is in a queue.
    pub fn reaches(&mut self, id: TransactionId, key: Key, queue: QueueId) {
        if let Some(transaction) = self.transactions.all.get_mut(&id) {
            transaction.reached.push((key, queue));
        }
    }

    /// A queue that went because it was empty does not take a message along.
    fn owed_by_retired(&mut self, key: Key, targets: &[(QueueId, bool)]) {
        let durable = self.sent.get(&key).is_some_and(|sent| sent.durable);
        for (id, _) in targets {
            if let Some(queue) =
                self.queues.get_mut(id).filter(|queue| queue.retires && !queue.more.purged.contains(&key))
            {
                queue.owed.insert(key, durable);
            }
        }
    }
}
