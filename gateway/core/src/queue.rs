//! One queue: its line of messages, its consumers, and who gets what next.

mod admin;
mod ahead;
mod away;
mod bodies;
pub mod class;
mod consumers;
mod dedup;
mod dispatch;
mod entry;
mod failures;
mod groups;
mod idle;
mod latest;
mod letter;
mod line;
mod look;
mod notice;
mod paging;
mod places;
mod rare;
mod room;
mod rows;
mod settle;
mod stream;
mod timers;
mod transaction;
mod unreadable;

use std::collections::BTreeSet;
use std::sync::Arc;

use evergate_journal::{Record, RecoveredQueue};
use evergate_model::few::{FewMap, FewSet};
use evergate_model::{
    BODY_PREFIX, Consumers, DEAD_LETTER_QUEUE, Formats, LargeBody, Message, QueueId, QueueKind, QueueSettings, Seq,
    Time,
};

pub use admin::{PeekFrom, Peeked, PeekedState, Reserve};
pub use bodies::BodyRow;
use class::{Class, ClassId, Mode, Rank};
pub use dedup::{DedupRow, in_order};
use entry::{Entry, State};
pub use failures::FailureRow;
use line::Line;
use rare::Rarely;

use crate::bug::Bug;
use crate::consumer::{Consumer, ConsumerKey};
use crate::effect::ShardEffect;
use crate::lane::{Lane, Place};
use crate::shard::ShardTarget;

/// How much memory one queue may use. What it may hold in all is in its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes kept in memory for those next in line; stored messages beyond it are read back when needed. Durable
    /// messages of a queue that is not durable are stored from there on. What cannot leave memory makes publishers
    /// wait at twice as much.
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
    /// Of the messages, those on their way elsewhere: to `_DMQ`, or where an operator moves them.
    pub leaving: u64,
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
    /// Messages that went to `_DMQ`, whatever the reason.
    pub dead_lettered_total: u64,
    /// Messages that made room for others, or found none.
    pub dropped_total: u64,
    /// Messages not stored because one with their identity was there before.
    pub duplicates_total: u64,
}

/// What the shard gives every queue.
#[derive(Debug)]
pub struct QueueConfig {
    pub limits: QueueLimits,
    pub formats: Formats,
    pub bug: Option<Bug>,
}

/// What became of a message that was published.
#[derive(Clone, Copy, Debug)]
pub enum Enqueued {
    /// It waits at this place for a commit.
    Stored(Place),
    /// One with its identity was there before, and may still wait for a commit.
    Duplicate,
    /// Nothing more is to come.
    Done,
}

/// What a queue wants to happen.
pub struct Out<'a> {
    pub records: &'a mut Vec<Record>,
    pub effects: &'a mut Vec<ShardEffect>,
    /// What must wait until what was logged so far is committed.
    pub later: &'a mut Vec<ShardEffect>,
    /// Bodies that must stay until what was logged so far is committed.
    pub released: &'a mut Vec<Arc<LargeBody>>,
}

/// A line of messages and its consumers. What every message meets stands together, in this order, and what few meet
/// behind it: with thousands of queues a message waits for each line of memory that it meets.
#[derive(Debug)]
#[repr(C)]
#[allow(clippy::struct_excessive_bools)] // independent facts, not the states of one machine
pub struct Queue {
    pub id: QueueId,
    settings: Arc<QueueSettings>,
    config: Arc<QueueConfig>,
    /// What few queues have anything of.
    rare: Rarely,
    /// What message groups there are, once there is one.
    groups: Option<Box<groups::Groups>>,
    /// On a last-value queue: which message is the newest of its key.
    latest: Option<Box<latest::Latest>>,
    pub durable: bool,
    /// It has the pieces of a large body: its name says so.
    pub(crate) holds_body: bool,
    /// It is `_DMQ`.
    is_for_letters: bool,
    /// It is not durable, and its memory was too little: the journal has messages of it.
    has_spilled: bool,
    /// Memory is short everywhere.
    pressed: bool,
    full: bool,
    /// Too much is there, and what must go is still being read back.
    trimming: bool,
    /// A restart found messages, and what of them has expired is not known.
    has_unknown: bool,
    next_seq: Seq,
    /// Stored entries up to here are committed.
    committed: Seq,
    /// Bytes of stored entries behind that.
    uncommitted_bytes: u64,
    line: Line,
    /// Deliveries without an outcome.
    unsettled: u64,
    counts: Counts,
    /// When which place changes by itself.
    timers: BTreeSet<(Time, Place)>,
    noted_timeout: Option<Time>,
    /// Since when it has had neither messages nor consumers.
    idle_since: Option<Time>,
    consumers: FewMap<ConsumerKey, Box<Consumer>>,
    classes: FewMap<ClassId, Box<Class>>,
    /// Classes with a consumer that may be sent something.
    turns: FewSet<(Rank, ClassId)>,
    round: u64,
    /// Where the read from the journal begins that is under way.
    loading: Option<Seq>,
    next_turn: u64,
    next_class: u64,
    /// The one that is served, where only one is.
    active: Option<ConsumerKey>,
    /// Places below were there before the restart: they may have been delivered then.
    recovered_before: Seq,
    pub name: Arc<str>,
}

/// What every message counts for.
#[derive(Debug, Default)]
struct Counts {
    published: u64,
    delivered: u64,
    settled: u64,
}

/// The class that finds the oldest message when there is no room.
const EVICT: ClassId = ClassId(0);
/// The class that finds the newest message of each key.
const INDEX: ClassId = ClassId(1);
/// Those of consumers count from here.
const FIRST_CLASS: u64 = 2;

impl Queue {
    pub fn new(
        id: QueueId,
        name: Arc<str>,
        durable: bool,
        settings: &Arc<QueueSettings>,
        config: &Arc<QueueConfig>,
    ) -> Self {
        let mut queue = Self {
            id,
            holds_body: name.starts_with(BODY_PREFIX),
            is_for_letters: &*name == DEAD_LETTER_QUEUE,
            name,
            durable,
            has_spilled: false,
            settings: settings.clone(),
            config: config.clone(),
            pressed: false,
            line: Line::default(),
            consumers: FewMap::default(),
            classes: FewMap::default(),
            turns: FewSet::default(),
            active: None,
            next_class: FIRST_CLASS,
            next_turn: 0,
            round: 0,
            timers: BTreeSet::new(),
            noted_timeout: None,
            next_seq: Seq(1),
            committed: Seq(0),
            uncommitted_bytes: 0,
            recovered_before: Seq(0),
            loading: None,
            rare: Rarely::default(),
            full: false,
            trimming: false,
            has_unknown: false,
            unsettled: 0,
            groups: None,
            latest: None,
            idle_since: None,
            counts: Counts::default(),
        };
        queue.prepare();
        queue.prepare_latest();
        queue
    }

    /// Takes over what a restart found of one of its lanes.
    pub fn recover(&mut self, found: &RecoveredQueue) {
        let (_, lane) = Lane::split(found.id);
        self.line.recover(lane, &found.live);
        self.has_unknown |= !found.live.is_empty();
        self.next_seq = Seq(self.next_seq.0.max(found.next_seq.0));
        self.committed = Seq(self.next_seq.0 - 1);
        self.recovered_before = self.next_seq;
        if !found.marks.is_empty() {
            self.rare.make().marks.extend(&found.marks);
        }
        // How old the head of a stream is, one look tells.
        if self.ages_at(Time(0)).is_some() {
            self.rare.make().ages_next = Some(Time(0));
        }
    }

    /// How it behaves from now on, to what is there as to what comes. What is there keeps its lane.
    pub fn change(&mut self, settings: Arc<QueueSettings>, now: Time, out: &mut Out<'_>) {
        if self.config.bug == Some(Bug::IgnoreChange) {
            return;
        }
        let (was_single_active, was_stream) = (self.is_single_active(), self.is_stream());
        let before = std::mem::replace(&mut self.settings, settings);
        self.prepare();
        self.drop_identities(out);
        if before.kind != self.settings.kind {
            self.prepare_latest();
            if let Some(rare) = self.rare.made() {
                rare.ages_next = None;
            }
        }
        if before.kind != self.settings.kind || before.time_to_live != self.settings.time_to_live {
            self.renew_expiry(now);
        }
        self.trim_later();
        if was_stream != self.is_stream() {
            self.rejoin_all(now, out);
        }
        self.choose_active();
        if was_single_active != self.is_single_active() {
            self.regroup();
        }
    }

    /// Brings what the settings call for into being.
    fn prepare(&mut self) {
        if !self.evicts() {
            self.classes.remove(&EVICT);
        } else if !self.classes.contains_key(&EVICT) {
            self.classes.insert(EVICT, Box::new(Class::new(Mode::Evict, None, None)));
        }
    }

    pub fn stats(&self) -> QueueStats {
        let rare = &self.rare.get().counts;
        QueueStats {
            messages: self.line.count,
            bytes: self.bytes(),
            resident_bytes: self.line.resident_bytes,
            leaving: self.rare.get().leaving,
            consumers: self.consumers.len() as u64,
            unsettled: self.unsettled,
            published_total: self.counts.published,
            delivered_total: self.counts.delivered,
            settled_total: self.counts.settled,
            expired_total: rare.expired,
            dead_lettered_total: rare.dead_lettered,
            dropped_total: rare.dropped,
            duplicates_total: rare.duplicates,
        }
    }

    /// Bytes of its messages, wherever they are.
    fn bytes(&self) -> u64 {
        self.line.bytes + self.rare.get().bodies.bytes
    }

    pub fn marks(&self) -> Vec<u32> {
        self.rare.get().marks.iter().copied().collect()
    }

    /// The ids under which the journal knows it: one a lane that was used, its own first.
    pub fn stored_as(&self) -> Vec<QueueId> {
        let lanes = self.line.lanes().map(|lane| lane.stored_as(self.id)).filter(|id| *id != self.id);
        std::iter::once(self.id).chain(lanes).collect()
    }

    fn is_stream(&self) -> bool {
        matches!(self.settings.kind, QueueKind::Stream { .. })
    }

    fn is_single_active(&self) -> bool {
        self.settings.consumers == Consumers::SingleActive && !self.is_stream()
    }

    /// The lane of a message. A stream is read in the order in which it was written.
    fn lane_of(&self, message: &Message) -> Lane {
        if self.is_stream() { Lane::USUAL } else { Lane::of_priority(message.meta.priority) }
    }

    /// Appends a message. `hidden`: nobody gets it before its commit, stored or not.
    pub fn enqueue(
        &mut self,
        now: Time,
        message: Arc<Message>,
        target: &ShardTarget,
        hidden: bool,
        out: &mut Out<'_>,
    ) -> Enqueued {
        self.counts.published += 1;
        if !target.moved && self.is_duplicate(&message, now, out) {
            self.rare.make().counts.duplicates += 1;
            return Enqueued::Duplicate;
        }
        if !self.make_room(&message, now, out) {
            self.count_dropped(1, out);
            return Enqueued::Done;
        }
        let place = Place { lane: self.lane_of(&message), seq: self.next_seq };
        self.next_seq.0 += 1;
        let stored = message.meta.durable && self.is_kept(target);
        if stored {
            self.has_spilled |= !self.durable;
            self.uncommitted_bytes += message.size_bytes();
            let (message, queue) = (message.clone(), place.lane.stored_as(self.id));
            out.records.push(Record::Enqueue { message, queue, seq: place.seq, origin: None });
        }
        self.hold_body(place, &message, stored, out);
        self.remember(&message, place, stored, now, out);
        if message.meta.is_discardable() {
            self.rare.make().discardable.insert(place);
        }
        let entry = Entry { retained: target.retained, stored, hidden, ..self.entry(now, message) };
        self.watch(place, &entry);
        self.line.push(place, entry);
        self.replaces(place, out);
        if stored || hidden { Enqueued::Stored(place) } else { Enqueued::Done }
    }

    /// Whether the journal is to hold durable messages from there. What a consumer of a queue that is not durable leaves
    /// standing must not stay in memory, nor hold up those who publish to others as well. A restart drops it.
    fn is_kept(&self, target: &ShardTarget) -> bool {
        let resident_bytes = self.line.resident_bytes - self.uncommitted_bytes;
        let fits = resident_bytes < self.resident_bytes_max();
        if self.durable { target.durable } else { !target.at_most_once && !fits }
    }

    /// Whether the journal may know it.
    pub fn is_stored(&self) -> bool {
        self.durable || self.has_spilled
    }

    /// A message as it stands in the line when it comes, from a publisher or from the journal.
    fn entry(&self, now: Time, message: Arc<Message>) -> Entry {
        let state = match message.meta.deliver_at() {
            Some(at) if at > now && !self.is_stream() => State::Waiting(at),
            _ => State::Ready,
        };
        Entry {
            expires_at: self.expiry_of(&message),
            message,
            away_bytes: None,
            failed_count: 0,
            redelivered: false,
            retained: false,
            stored: false,
            hidden: false,
            aside: false,
            replaced: false,
            state,
            refused_by: Vec::new(),
        }
    }

    /// When it expires: at its own time, or when the queue says so.
    fn expiry_of(&self, message: &Message) -> Option<Time> {
        let taken = message.meta.ingress;
        let limit = self.settings.time_to_live.map(|time| taken.after(time));
        let age = self.ages_at(taken);
        message.meta.expires_at.into_iter().chain(limit).chain(age).min()
    }

    /// Removes an entry for good.
    fn remove_at(&mut self, place: Place, out: &mut Out<'_>) {
        self.unpin(place);
        let Some(entry) = self.line.remove(place) else { return };
        if let Some(rare) = self.rare.made() {
            rare.returning.forget(place);
        }
        self.forget_latest(place, &entry.message);
        self.unwatch(place, &entry);
        if entry.state == State::Leaving {
            let rare = self.rare.make();
            rare.leaving -= 1;
            rare.leaving_bytes -= entry.message.all_bytes();
        }
        if entry.aside {
            self.classes.values_mut().for_each(|class| class.drop_returned(place));
        }
        if entry.message.meta.deliver_at().is_some() {
            self.classes.values_mut().for_each(|class| class.forget_copied(place));
        }
        if entry.message.meta.is_discardable() {
            self.rare.make().discardable.remove(&place);
        }
        if entry.stored {
            if place.seq > self.committed {
                self.uncommitted_bytes -= entry.message.size_bytes();
            }
            self.log_settle(place, out);
        }
        self.forget_rows(place, place.seq, out);
    }

    fn log_settle(&self, place: Place, out: &mut Out<'_>) {
        let queue = place.lane.stored_as(self.id);
        out.records.push(Record::Settle { queue, first: place.seq, last: place.seq });
    }

    /// Removes the entry with this number, which has arrived elsewhere.
    pub fn remove(&mut self, seq: Seq, out: &mut Out<'_>) {
        if let Some(place) = self.line.place_of(seq) {
            self.remove_at(place, out);
        }
    }

    /// Sets or clears a mark. Returns its record if it must be kept.
    pub fn mark(&mut self, number: u32, set: bool) -> Option<Record> {
        let changed = if set {
            self.rare.make().marks.insert(number)
        } else {
            self.rare.made().is_some_and(|rare| rare.marks.remove(&number))
        };
        (changed && self.durable).then_some(Record::Mark { queue: self.id, number, set })
    }

    /// The place of the next message.
    pub fn next_seq(&self) -> Seq {
        self.next_seq
    }
}
