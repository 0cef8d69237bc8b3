//! A class: the consumers that want the same messages. Each looks at every message once.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use evergate_model::few::FewSet;
use evergate_model::{Formats, Selector, Seq, Time};

use super::entry::{Entry, State};
use crate::consumer::ConsumerKey;
use crate::lane::{LANES, Lane, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassId(pub u64);

/// Higher priority first, then who was served longest ago.
pub type Rank = (Reverse<i32>, u64);

/// A consumer that may be sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    pub rank: Rank,
    pub key: ConsumerKey,
}

/// What becomes of the messages that a class is interested in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A consumer takes them.
    Take,
    /// A consumer is sent copies.
    Copy,
    /// The oldest goes when the queue is full.
    Evict,
    /// An operator looks at them.
    Peek,
    /// The newest of each key is looked for.
    Index,
}

#[derive(Debug)]
pub struct Class {
    pub mode: Mode,
    pub selector: Option<Selector>,
    /// A consumer that refused some messages is alone in its class.
    pub only: Option<ConsumerKey>,
    /// In the usual lane: what stands before was looked at.
    cursor: Seq,
    /// What was looked at, is wanted, and waits: given back, or its time has come.
    returned: BTreeSet<Place>,
    /// Its consumers that may be sent something.
    pub turns: FewSet<Turn>,
    /// Its rank in the queue's list of classes.
    pub listed: Option<Rank>,
    pub members: usize,
    /// In this round of dispatch it found nothing.
    pub dry_in: u64,
    /// What few classes have anything of: see [`super::rare`].
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// The same for the other lanes.
    cursors: [Seq; LANES],
    /// Only what the gateway took at this time or later (on a stream).
    since: Option<Time>,
    /// For each lane: the first that was passed by because it is for a consumer of another class.
    skipped: [Option<Seq>; LANES],
    /// How many of those wait for a bucket of message groups to change hands.
    waits: usize,
    /// Scheduled messages that it was sent copies of: once read back, they look like those that it was not.
    copied: BTreeSet<Place>,
}

impl Class {
    pub fn new(mode: Mode, selector: Option<Selector>, only: Option<ConsumerKey>) -> Self {
        Self {
            mode,
            selector,
            only,
            cursor: Seq(0),
            returned: BTreeSet::new(),
            turns: FewSet::default(),
            listed: None,
            members: 0,
            dry_in: 0,
            rare: None,
        }
    }

    /// Only what the gateway took at this time or later (on a stream).
    pub fn since(&self) -> Option<Time> {
        self.rare.as_ref()?.since
    }

    pub fn begin_at(&mut self, since: Time) {
        self.rare.get_or_insert_default().since = Some(since);
    }

    /// How many messages it skipped wait for a bucket of message groups to change hands.
    pub fn waits(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.waits)
    }

    /// One more of them.
    pub fn add_waiting(&mut self) {
        self.rare.get_or_insert_default().waits += 1;
    }

    /// Of each line of memory that a look meets: see `queue::ahead`.
    pub fn sample(&self) -> u64 {
        u64::from(self.only.is_some())
            ^ u64::from(self.turns.is_empty())
            ^ u64::from(self.selector.is_some())
            ^ self.cursor(Lane::USUAL).0
            ^ self.returned.len() as u64
            ^ self.dry_in
    }

    pub fn cursor(&self, lane: Lane) -> Seq {
        match (lane, &self.rare) {
            (Lane::USUAL, _) => self.cursor,
            (_, Some(rare)) => rare.cursors[usize::from(lane.0)],
            (_, None) => Seq(0),
        }
    }

    pub fn set_cursor(&mut self, lane: Lane, seq: Seq) {
        match lane {
            Lane::USUAL => self.cursor = seq,
            _ => self.rare.get_or_insert_default().cursors[usize::from(lane.0)] = seq,
        }
    }

    pub fn set_cursors(&mut self, seq: Seq) {
        self.cursor = seq;
        self.rare.get_or_insert_default().cursors = [seq; LANES];
    }

    /// It has looked at this place.
    pub fn has_passed(&self, place: Place) -> bool {
        place.seq < self.cursor(place.lane)
    }

    /// It goes past a place, which is for a consumer of another class as long as that one stays.
    pub fn skip(&mut self, place: Place) {
        let first = &mut self.rare.get_or_insert_default().skipped[usize::from(place.lane.0)];
        *first = Some(first.map_or(place.seq, |first| first.min(place.seq)));
    }

    /// Groups have other consumers now: it looks again at what it skipped.
    pub fn rewind(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        rare.waits = 0;
        for (lane, first) in (0..).map(Lane).zip(std::mem::take(&mut rare.skipped)) {
            if let Some(first) = first {
                self.set_cursor(lane, first.min(self.cursor(lane)));
            }
        }
    }

    /// The first in a lane that was looked at before and waits.
    pub fn first_returned(&self, lane: Lane) -> Option<Place> {
        let all = Place { lane, seq: Seq(0) }..=Place { lane, seq: Seq(u64::MAX) };
        self.returned.range(all).next().copied()
    }

    pub fn put_back(&mut self, place: Place) {
        self.returned.insert(place);
    }

    /// It was sent a copy of a scheduled message.
    pub fn was_copied(&mut self, place: Place) {
        self.rare.get_or_insert_default().copied.insert(place);
    }

    /// Whether it was sent a copy of this scheduled message.
    pub fn has_copied(&self, place: Place) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.copied.contains(&place))
    }

    /// A scheduled message is gone.
    pub fn forget_copied(&mut self, place: Place) {
        if let Some(rare) = &mut self.rare {
            rare.copied.remove(&place);
        }
    }

    pub fn has_returned(&self, place: Place) -> bool {
        self.returned.contains(&place)
    }

    pub fn drop_returned(&mut self, place: Place) {
        self.returned.remove(&place);
    }

    pub fn take_returned(&mut self) -> BTreeSet<Place> {
        std::mem::take(&mut self.returned)
    }

    /// Whether it is interested in a message, whatever its state.
    pub fn wants(&self, entry: &Entry, formats: &Formats) -> bool {
        !self.only.is_some_and(|key| entry.refused_by.contains(&key))
            && self.since().is_none_or(|since| entry.message.meta.ingress >= since)
            && self.selector.as_ref().is_none_or(|selector| selector.matches_with(&entry.message, formats))
    }

    /// Whether the message is there for it.
    pub fn sees(&self, entry: &Entry) -> bool {
        match (self.mode, entry.state) {
            (_, State::Ready)
            | (Mode::Peek | Mode::Index, _)
            | (Mode::Evict, State::Waiting(_))
            | (Mode::Copy, State::Held) => true,
            // One that failed and pauses is there; one that is scheduled is not yet.
            (Mode::Copy, State::Waiting(_)) => entry.failed_count > 0,
            (Mode::Take, State::Waiting(_) | State::Held) | (Mode::Evict, State::Held) | (_, State::Leaving) => false,
        }
    }

    /// The same class for a consumer of its own.
    pub fn split_off(&self, key: ConsumerKey) -> Self {
        let mut own = Self::new(self.mode, self.selector.clone(), Some(key));
        own.cursor = self.cursor;
        if let Some(rare) = &self.rare {
            own.rare.get_or_insert_default().cursors = rare.cursors;
        }
        own.returned.clone_from(&self.returned);
        own
    }
}
