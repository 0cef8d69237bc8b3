//! One queue: its backlog, its consumers, and who gets what next.

use std::collections::BTreeSet;
use std::sync::Arc;

use evergate_journal::{Record, RecoveredQueue};
use evergate_model::{Address, Annotation, Delivery, Event, Message, MessageId, Outcome, QueueId, Seq, Time};

use crate::backlog::{Backlog, Entry, Next, State};
use crate::consumer::{Consumer, ConsumerKey};
use crate::effect::{Position, SessionEvent, ShardEffect};

/// How much one queue may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// At this many messages publishers wait, until a quarter is free.
    pub messages_max: u64,
    /// At this many bytes likewise.
    pub bytes_max: u64,
    /// Bytes kept in memory for those next in line; stored messages beyond it are read back when needed.
    /// What cannot leave memory makes publishers wait at twice as much.
    pub resident_bytes_max: u64,
    /// The same while memory is short everywhere.
    pub pressed_bytes_max: u64,
}

/// A queue's figures for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Live messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of those, bytes in memory.
    pub resident_bytes: u64,
    /// Consumers attached.
    pub consumers: u64,
    /// Deliveries without an outcome.
    pub unsettled: u64,
    /// Messages that came in since the node started.
    pub published_total: u64,
    /// Deliveries made.
    pub delivered_total: u64,
    /// Messages that left by a consumer's word.
    pub settled_total: u64,
    /// Messages that left because their time was up.
    pub expired_total: u64,
}

/// A backlog and its consumers.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not the states of one machine
pub struct Queue {
    pub id: QueueId,
    pub name: Arc<str>,
    pub durable: bool,
    limits: QueueLimits,
    /// Memory is short everywhere.
    pressed: bool,
    backlog: Backlog,
    consumers: Vec<Consumer>,
    /// Whose turn it is.
    turn: usize,
    next_seq: Seq,
    /// Stored entries up to here are committed.
    committed: Seq,
    /// Bytes of stored entries behind that.
    uncommitted_bytes: u64,
    /// Places below were there before the restart: they may have been delivered then.
    recovered_before: Seq,
    loading: bool,
    full: bool,
    marks: BTreeSet<u32>,
    stats: QueueStats,
}

impl Queue {
    pub fn new(id: QueueId, name: Arc<str>, durable: bool, limits: QueueLimits) -> Self {
        Self {
            id,
            name,
            durable,
            limits,
            pressed: false,
            backlog: Backlog::default(),
            consumers: Vec::new(),
            turn: 0,
            next_seq: Seq(1),
            committed: Seq(0),
            uncommitted_bytes: 0,
            recovered_before: Seq(0),
            loading: false,
            full: false,
            marks: BTreeSet::new(),
            stats: QueueStats::default(),
        }
    }

    /// Takes over what a restart found.
    pub fn recover(&mut self, found: &RecoveredQueue) {
        self.backlog = Backlog::recovered(&found.live);
        self.next_seq = Seq(found.next_seq.0.max(1));
        self.committed = Seq(self.next_seq.0 - 1);
        self.recovered_before = self.next_seq;
        self.marks = found.marks.iter().copied().collect();
    }

    pub fn stats(&self) -> QueueStats {
        QueueStats {
            messages: self.backlog.count,
            bytes: self.backlog.bytes,
            resident_bytes: self.backlog.resident_bytes,
            consumers: self.consumers.len() as u64,
            unsettled: self.consumers.iter().map(|consumer| consumer.held.len() as u64).sum(),
            ..self.stats
        }
    }

    pub fn marks(&self) -> Vec<u32> {
        self.marks.iter().copied().collect()
    }

    /// Appends a message. Returns its record if it must be kept.
    pub fn enqueue(&mut self, message: Arc<Message>, durable: bool, retained: bool) -> (Seq, Option<Record>) {
        let seq = self.next_seq;
        self.next_seq.0 += 1;
        self.stats.published_total += 1;
        let stored = durable && self.durable && message.meta.durable;
        if stored {
            self.uncommitted_bytes += message.size_bytes();
        }
        let record = stored.then(|| Record::Enqueue { message: message.clone(), queue: self.id, seq });
        let state = State::Ready;
        let refused_by = Vec::new();
        self.backlog.push(Entry {
            seq,
            message,
            failed_count: 0,
            redelivered: false,
            retained,
            stored,
            state,
            refused_by,
        });
        (seq, record)
    }

    /// The commit that holds `seq` is through. What does not fit into memory now leaves it.
    pub fn committed(&mut self, seq: Seq) {
        self.committed = self.committed.max(seq);
        self.uncommitted_bytes -= self.backlog.get(seq).map_or(0, |entry| entry.message.size_bytes());
        // What is not committed yet stands behind this one: those next in line stay.
        if self.backlog.resident_bytes - self.uncommitted_bytes > self.resident_bytes_max() {
            self.backlog.page_out(seq);
        }
    }

    /// Memory is short everywhere, or no longer. Stored messages far from their turn leave it.
    pub fn press(&mut self, pressed: bool) {
        self.pressed = pressed;
        if pressed {
            self.backlog.page_out_beyond(self.limits.pressed_bytes_max, self.committed);
        }
    }

    fn resident_bytes_max(&self) -> u64 {
        if self.pressed { self.limits.pressed_bytes_max } else { self.limits.resident_bytes_max }
    }

    /// Adds a consumer.
    pub fn attach(&mut self, consumer: Consumer) {
        self.consumers.push(consumer);
    }

    pub fn has_consumer(&self, key: ConsumerKey) -> bool {
        self.consumers.iter().any(|consumer| consumer.key == key)
    }

    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.iter()
    }

    /// Removes a consumer; what it holds goes back. `failed`: it vanished, so each counts as a failed delivery.
    /// Returns when it is told that it was attached.
    pub fn detach(&mut self, key: ConsumerKey, failed: bool) -> Option<Position> {
        let index = self.consumers.iter().position(|consumer| consumer.key == key)?;
        let consumer = self.consumers.remove(index);
        if self.turn > index {
            self.turn -= 1;
        }
        for seq in consumer.held {
            self.backlog.give_back(seq, |entry| {
                entry.redelivered = true;
                entry.failed_count += u32::from(failed);
            });
        }
        Some(consumer.attached)
    }

    /// Sets how much a consumer may be sent in all.
    pub fn credit(&mut self, key: ConsumerKey, limit: u64) {
        if let Some(consumer) = self.consumer_mut(key) {
            consumer.limit = limit;
        }
    }

    /// Sets how many bytes a consumer may be sent in all.
    pub fn window(&mut self, key: ConsumerKey, limit_bytes: u64) {
        if let Some(consumer) = self.consumer_mut(key) {
            consumer.limit_bytes = limit_bytes;
        }
    }

    /// The place of the next message.
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// Whether a consumer with credit will be sent something that stands before `before`, once it is
    /// committed, read back, or fits into the consumer's window.
    pub fn has_more_for(&mut self, key: ConsumerKey, before: Seq) -> bool {
        if !self.consumers.iter().any(|consumer| consumer.key == key && consumer.delivered < consumer.limit) {
            return false;
        }
        match self.backlog.next(|entry| !entry.refused_by.contains(&key)) {
            Next::Nothing => false,
            Next::Ready(first) | Next::Stored { first, .. } => first < before,
        }
    }

    /// Ends a drain: unused credit is gone. Returns the deliveries made since it attached.
    pub fn drained(&mut self, key: ConsumerKey) -> Option<u64> {
        let consumer = self.consumer_mut(key)?;
        consumer.limit = consumer.limit.min(consumer.delivered);
        Some(consumer.delivered)
    }

    /// Applies a consumer's word to those of `first..=last` that it holds. The cost follows what it holds,
    /// never the width of the range.
    pub fn settle(
        &mut self,
        key: ConsumerKey,
        (first, last): (Seq, Seq),
        outcome: &Outcome,
        records: &mut Vec<Record>,
        effects: &mut Vec<ShardEffect>,
    ) {
        let Some(consumer) = self.consumer_mut(key) else { return };
        if first > last {
            return;
        }
        let concerned: Vec<Seq> = if first == last {
            consumer.held.take(&first).into_iter().collect()
        } else {
            let seqs: Vec<Seq> = consumer.held.range(first..=last).copied().collect();
            consumer.held.retain(|seq| !(first..=last).contains(seq));
            seqs
        };
        for seq in concerned {
            self.apply_outcome(key, seq, outcome, records, effects);
        }
    }

    fn apply_outcome(
        &mut self,
        key: ConsumerKey,
        seq: Seq,
        outcome: &Outcome,
        records: &mut Vec<Record>,
        effects: &mut Vec<ShardEffect>,
    ) {
        match outcome {
            Outcome::Accept => {
                self.stats.settled_total += 1;
                records.extend(self.remove(seq));
            }
            Outcome::Release => self.backlog.give_back(seq, |entry| entry.redelivered = true),
            Outcome::Modify { failed, undeliverable_here } => {
                let consumers = &self.consumers;
                self.backlog.give_back(seq, |entry| {
                    entry.redelivered = true;
                    entry.failed_count += u32::from(*failed);
                    if *undeliverable_here {
                        // Those that left are forgotten, or the list would grow with every reconnect.
                        entry.refused_by.retain(|other| consumers.iter().any(|consumer| consumer.key == *other));
                        entry.refused_by.push(key);
                    }
                });
            }
            // There is no second dead-letter queue: who rejects from the first one discards.
            Outcome::Reject { .. } if &*self.name == DEAD_LETTER_QUEUE => records.extend(self.remove(seq)),
            Outcome::Reject { reason } => {
                let from = self.name.clone();
                if let Some(entry) = self.backlog.leave(seq) {
                    let message = Box::new(dead_letter(entry, &from, reason));
                    effects.push(ShardEffect::DeadLetter { queue: self.id, seq, message });
                }
            }
        }
    }

    /// Removes an entry for good. Returns the record of it if the journal holds it.
    pub fn remove(&mut self, seq: Seq) -> Option<Record> {
        let stored = self.backlog.remove(seq)?;
        stored.then_some(Record::Settle { queue: self.id, first: seq, last: seq })
    }

    /// Sets or clears a mark. Returns its record if it must be kept.
    pub fn mark(&mut self, number: u32, set: bool) -> Option<Record> {
        let changed = if set { self.marks.insert(number) } else { self.marks.remove(&number) };
        (changed && self.durable).then_some(Record::Mark { queue: self.id, number, set })
    }

    /// Messages that were read back.
    pub fn loaded(&mut self, messages: Vec<(Seq, Arc<Message>)>, complete_to: Seq) {
        self.loading = false;
        self.backlog.loaded(messages, complete_to, self.recovered_before);
    }

    /// Whether publishers must wait now, if that has changed.
    pub fn fullness_changed(&mut self) -> Option<bool> {
        let (limits, backlog) = (&self.limits, &self.backlog);
        // What cannot leave memory: transient messages, and those not committed or not settled yet.
        let resident_bytes_max = self.resident_bytes_max().saturating_mul(2);
        let full = if self.full {
            // Open again only when a quarter is free: publishers should not be woken for each message.
            backlog.count > limits.messages_max / 4 * 3
                || backlog.bytes > limits.bytes_max / 4 * 3
                || backlog.resident_bytes > resident_bytes_max / 4 * 3
        } else {
            backlog.count >= limits.messages_max
                || backlog.bytes >= limits.bytes_max
                || backlog.resident_bytes >= resident_bytes_max
        };
        (full != self.full).then(|| {
            self.full = full;
            full
        })
    }

    /// Hands out all that can be handed out.
    pub fn dispatch(&mut self, now: Time, records: &mut Vec<Record>, effects: &mut Vec<ShardEffect>) {
        while let Some((turn, seq)) = self.next_delivery(effects) {
            let Some(entry) = self.backlog.hold(seq) else { return };
            if entry.message.is_expired(now) {
                self.stats.expired_total += 1;
                records.extend(self.remove(seq));
                continue;
            }
            let consumer = &mut self.consumers[turn];
            let delivery = Delivery {
                consumer: consumer.key.consumer,
                seq,
                message: entry.message.clone(),
                failed_count: entry.failed_count,
                redelivered: entry.redelivered,
                retained: entry.retained,
            };
            consumer.took(delivery.message.size_bytes());
            let event = SessionEvent::Event(Event::Deliver(delivery));
            effects.push(ShardEffect::Tell(consumer.key.session, event));
            self.turn = turn + 1;
            self.stats.delivered_total += 1;
            if consumer.settled {
                self.stats.settled_total += 1;
                records.extend(self.remove(seq));
            } else {
                consumer.held.insert(seq);
            }
        }
    }

    /// Which consumer gets which entry next. `None`: nobody has room, nothing is ready, or what stands next
    /// must be committed or read back first: in order, that holds up all behind it, but not what others
    /// gave back before it.
    fn next_delivery(&mut self, effects: &mut Vec<ShardEffect>) -> Option<(usize, Seq)> {
        let count = self.consumers.len();
        for turn in (0..count).map(|step| (self.turn + step) % count) {
            if !self.consumers[turn].has_room() {
                continue;
            }
            let key = self.consumers[turn].key;
            match self.backlog.next(|entry| !entry.refused_by.contains(&key)) {
                Next::Ready(seq) if !self.awaits_commit(seq) => return Some((turn, seq)),
                Next::Stored { first, last } if !self.loading => {
                    self.loading = true;
                    effects.push(ShardEffect::Load { queue: self.id, first, last });
                }
                Next::Ready(_) | Next::Stored { .. } | Next::Nothing => {}
            }
            // Nothing for this one now; another may take what this one refused.
            if !self.backlog.has_ready() {
                return None;
            }
        }
        None
    }

    fn awaits_commit(&self, seq: Seq) -> bool {
        seq > self.committed && self.backlog.get(seq).is_some_and(|entry| entry.stored)
    }

    fn consumer_mut(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|consumer| consumer.key == key)
    }
}

/// Where rejected messages go.
pub const DEAD_LETTER_QUEUE: &str = "_DMQ";

fn dead_letter(entry: &Entry, from: &Arc<str>, reason: &Arc<str>) -> Message {
    let origin = entry.message.meta.address.to_string();
    let notes = [
        ("dead-letter-origin", origin.into()),
        ("dead-letter-queue", from.clone()),
        ("dead-letter-reason", if reason.is_empty() { "rejected".into() } else { reason.clone() }),
        ("dead-letter-count", (entry.failed_count + 1).to_string().into()),
    ];
    let notes = notes.into_iter().map(|(name, value)| Annotation { name: name.into(), value });
    let mut message = entry.message.readdressed(Address::queue(DEAD_LETTER_QUEUE), notes);
    message.meta.expires_at = None;
    // In the journal an id names one message, and this one differs from its origin.
    message.meta.id = MessageId(0);
    message
}
