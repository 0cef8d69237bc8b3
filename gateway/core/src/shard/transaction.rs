//! Transactions in a shard. What a consumer settles in one is pledged to it: out of the consumer's hands, not
//! gone, and nobody else's. The commit applies it together with the messages, in one group of records.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use evergate_model::{Message, Outcome, PublishError, QueueId, Seq, Settle, Time, TransactionId};

use super::{Shard, ShardCommand, ShardTarget};
use crate::consumer::ConsumerKey;
use crate::effect::{Group, Logged, Position, SessionEvent, SessionId, ShardEffect};
use crate::lane::Place;
use crate::queue::{Enqueued, Out};

/// Deliveries that a transaction settles.
#[derive(Debug)]
pub(super) struct Pledge {
    queue: QueueId,
    key: ConsumerKey,
    places: Vec<Place>,
    outcome: Outcome,
    mark: Option<u32>,
}

/// What a shard knows of transactions.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    pledges: HashMap<TransactionId, Vec<Pledge>>,
    /// What was reserved in its queue and leaves it with the commit.
    reserved: HashMap<TransactionId, Vec<(QueueId, Seq)>>,
    /// Settled otherwise than accepted, which others can see: when the commit is through.
    deferred: VecDeque<(Position, Pledge)>,
}

impl Shard {
    /// A step of a transaction.
    pub(super) fn apply_to_transaction(
        &mut self,
        now: Time,
        command: ShardCommand,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
    ) {
        match command {
            ShardCommand::Pledge { transaction, queue, session, settle } => {
                self.pledge(transaction, queue, session, settle, effects);
            }
            ShardCommand::PledgeReserved { transaction, queue, seq, session } => {
                let is_reserved = self.queues.get(&queue).is_some_and(|queue| queue.is_leaving(seq));
                if is_reserved {
                    self.transactions.reserved.entry(transaction).or_default().push((queue, seq));
                }
                let event = SessionEvent::Pledged { transaction, token: None, held: is_reserved.then_some(1) };
                effects.push(ShardEffect::Tell(session, event));
            }
            ShardCommand::CheckRoom { transaction, session, wants } => {
                self.check_room(transaction, session, &wants, effects);
            }
            ShardCommand::Transaction { transaction, publishes, marks, group } => {
                self.transact(now, transaction, &publishes, marks, group, log, effects);
            }
            ShardCommand::Rollback { transaction } => self.rollback(now, transaction, log, effects),
            // No other is a step of a transaction.
            _ => {}
        }
    }

    /// Takes deliveries out of a consumer's hands, for a transaction.
    fn pledge(
        &mut self,
        transaction: TransactionId,
        id: QueueId,
        session: SessionId,
        settle: Settle,
        effects: &mut Vec<ShardEffect>,
    ) {
        let key = ConsumerKey { session, consumer: settle.consumer };
        let taken = self.queues.get_mut(&id).and_then(|queue| queue.take_held(key, settle.first, settle.last));
        let held = taken.as_ref().map(|places| places.len() as u64);
        if let Some(places) = taken {
            let Settle { outcome, mark, .. } = settle;
            let pledge = Pledge { queue: id, key, places, outcome, mark };
            self.transactions.pledges.entry(transaction).or_default().push(pledge);
        }
        let event = SessionEvent::Pledged { transaction, token: settle.token, held };
        effects.push(ShardEffect::Tell(session, event));
    }

    /// Says whether a transaction would find room, before anything of it is decided.
    fn check_room(
        &self,
        transaction: TransactionId,
        session: SessionId,
        wants: &[(QueueId, u64, u64)],
        effects: &mut Vec<ShardEffect>,
    ) {
        let full = wants.iter().find_map(|(id, messages, bytes)| {
            let queue = self.queues.get(id)?;
            (!queue.has_room_for(*messages, *bytes)).then(|| queue.name.clone())
        });
        let error = full.map(|destination| PublishError::Full { destination });
        effects.push(ShardEffect::Tell(session, SessionEvent::RoomChecked { transaction, error }));
    }

    /// Gives back what was pledged to a transaction: to its consumer, or to the queue if that has left.
    fn rollback(
        &mut self,
        now: Time,
        transaction: TransactionId,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
    ) {
        for Pledge { queue, key, places, .. } in self.transactions.pledges.remove(&transaction).unwrap_or_default() {
            self.with_queue(now, queue, log, effects, |queue, out| queue.give_back_to(key, places, now, out));
        }
        for (queue, seq) in self.transactions.reserved.remove(&transaction).unwrap_or_default() {
            self.with_queue(now, queue, log, effects, |queue, out| queue.stop_leaving(seq, now, out));
        }
    }

    /// Carries out this shard's part of a commit. Nothing of it can be seen before it is durable.
    #[allow(clippy::too_many_arguments)] // the parts of one command
    fn transact(
        &mut self,
        now: Time,
        transaction: TransactionId,
        publishes: &[(Arc<Message>, Vec<ShardTarget>)],
        marks: Vec<(QueueId, u32)>,
        group: Group,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
    ) {
        let mut touched = Vec::new();
        let mut deferred = Vec::new();
        for pledge in self.transactions.pledges.remove(&transaction).unwrap_or_default() {
            // A queue that was deleted took its messages along.
            let Some(queue) = self.queues.get_mut(&pledge.queue) else { continue };
            self.records.extend(pledge.mark.and_then(|number| queue.mark(number, true)));
            let mut out =
                Out { records: &mut self.records, effects, later: &mut self.later, released: &mut self.released };
            if pledge.outcome == Outcome::Accept {
                touched.push(pledge.queue);
                for place in pledge.places {
                    queue.apply_outcome(pledge.key, place, &Outcome::Accept, now, &mut out);
                }
            } else {
                for place in &pledge.places {
                    queue.foretell(*place, &pledge.outcome, now, &mut out);
                }
                deferred.push(pledge);
            }
        }
        for (id, seq) in self.transactions.reserved.remove(&transaction).unwrap_or_default() {
            // A queue that was deleted took its messages along.
            let Some(queue) = self.queues.get_mut(&id) else { continue };
            let mut out =
                Out { records: &mut self.records, effects, later: &mut self.later, released: &mut self.released };
            queue.remove(seq, &mut out);
            touched.push(id);
        }
        for (queue, number) in marks {
            self.records.extend(self.queues.get_mut(&queue).and_then(|queue| queue.mark(number, true)));
        }
        let mut places = Vec::new();
        for (message, targets) in publishes {
            for target in targets {
                let queue = self.queues.get_mut(&target.queue);
                let Some(queue) = queue else { continue };
                let mut out =
                    Out { records: &mut self.records, effects, later: &mut self.later, released: &mut self.released };
                let enqueued = queue.enqueue(now, message.clone(), target, true, &mut out);
                if let Enqueued::Stored(place) = enqueued {
                    places.push((target.queue, place));
                }
                touched.push(target.queue);
            }
        }
        self.log(Some(group), log);
        let position = self.logged;
        self.uncommitted.extend(places.into_iter().map(|(queue, place)| (position, queue, place)));
        self.transactions.deferred.extend(deferred.into_iter().map(|pledge| (position, pledge)));
        touched.sort_unstable();
        touched.dedup();
        for queue in touched {
            self.with_queue(now, queue, log, effects, |_, _| ());
        }
    }

    /// The commits up to `position` are through: what they release, modify or reject can be seen now.
    pub(super) fn settle_deferred(
        &mut self,
        now: Time,
        position: Position,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
    ) {
        while self.transactions.deferred.front().is_some_and(|(at, _)| *at <= position) {
            let Some((_, Pledge { queue, key, places, outcome, .. })) = self.transactions.deferred.pop_front() else {
                return;
            };
            self.with_queue(now, queue, log, effects, |queue, out| {
                for place in places {
                    queue.apply_outcome(key, place, &outcome, now, out);
                }
            });
        }
    }
}
