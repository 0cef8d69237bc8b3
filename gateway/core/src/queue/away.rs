//! Deliveries whose bodies left memory: a consumer that settles nothing must not hold up those who publish.
//!
//! The entry stays, with all that is known of it, and settles as any other. Whatever else becomes of it needs the body:
//! that is read back first, and until then it is nobody's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use evergate_journal::LiveRange;
use evergate_journal::index::LIVE_RANGE_MESSAGES_MAX;
use evergate_model::{Message, OVERHEAD_BYTES, Seq, Time};

use super::entry::{Entry, State};
use super::failures::Failed;
use super::line::Paged;
use super::{Out, Queue};
use crate::consumer::ConsumerKey;
use crate::lane::{Lane, Place};

/// What becomes of an entry once its body is there.
#[derive(Clone, Debug)]
pub enum Return {
    /// It goes back to its place: what follows if the delivery failed, and who does not want it again.
    GivenBack { failed: Option<Failed>, refused_by: Option<ConsumerKey> },
    /// It goes to `_DMQ`, for this reason.
    Rejected { reason: Arc<str> },
}

/// Entries that wait for their bodies.
#[derive(Debug)]
pub struct Returning {
    all: BTreeMap<Place, Return>,
    /// Those that nobody has to ask for.
    urgent: BTreeSet<Place>,
    /// Where the read begins that is under way for them.
    read_from: Option<Seq>,
}

impl Returning {
    pub const fn new() -> Self {
        Self { all: BTreeMap::new(), urgent: BTreeSet::new(), read_from: None }
    }

    pub fn first_in(&self, lane: Lane) -> Option<Place> {
        let all = Place { lane, seq: Seq(0) }..=Place { lane, seq: Seq(u64::MAX) };
        self.all.range(all).next().map(|(place, _)| *place)
    }

    pub fn forget(&mut self, place: Place) {
        if !self.all.is_empty() {
            self.all.remove(&place);
            self.urgent.remove(&place);
        }
    }

    pub fn contains(&self, place: Place) -> bool {
        self.all.contains_key(&place)
    }
}

/// What is kept of a message whose body is not in memory. Its names, which may be long, come back with that.
fn husk(message: &Message) -> Arc<Message> {
    let mut meta = message.meta.clone();
    meta.address.name = Arc::default();
    if let Some(rare) = &mut meta.rare {
        rare.dedup_id = None;
    }
    Arc::new(Message::new(meta, message.encoding, Bytes::new(), Bytes::new()))
}

impl Queue {
    /// The journal gives the body back. Messages of a group are not among them: their order depends on each other.
    pub(super) fn may_lose_body(&self, place: Place, entry: &Entry) -> bool {
        entry.stored
            && entry.state == State::Held
            && place.seq <= self.committed
            && !entry.is_away()
            && entry.message.size_bytes() > OVERHEAD_BYTES
            && self.latest.is_none()
            && entry.message.meta.group_id().is_none()
    }

    /// Drops the body of what a consumer holds, if it may go.
    pub(super) fn drop_body(&mut self, place: Place) {
        let Some(entry) = self.line.get(place).filter(|entry| self.may_lose_body(place, entry)) else { return };
        let husk = husk(&entry.message);
        self.line.drop_body(place, husk);
    }

    /// A consumer was sent it. What consumers hold may fill half of the memory: the rest is for those next in line.
    pub(super) fn make_room_for_next(&mut self, place: Place) {
        if self.line.resident_bytes - self.uncommitted_bytes > self.resident_bytes_max() / 2 {
            self.drop_body(place);
        }
    }

    /// What happens to an entry waits for its body. False: that is there.
    pub(super) fn waits_for_body(&mut self, place: Place, then: Return) -> bool {
        let Some(entry) = self.line.get(place).filter(|entry| entry.is_away()) else { return false };
        debug_assert_eq!(entry.state, State::Held);
        let redelivery = &self.settings.redelivery;
        let changes_by_itself = match &then {
            Return::GivenBack { failed, .. } => {
                failed.is_some() && (redelivery.deliveries_max.is_some() || !redelivery.delay.is_zero())
            }
            Return::Rejected { .. } => true,
        };
        if changes_by_itself || entry.expires_at.is_some() || entry.replaced {
            self.rare.make().returning.urgent.insert(place);
        }
        self.rare.make().returning.all.insert(place, then);
        true
    }

    /// The range to read for the body of this one: those that wait right behind it come along.
    pub(super) fn range_of_bodies(&self, place: Place) -> Paged {
        let lane_end = Place { seq: Seq(place.seq.0.saturating_add(LIVE_RANGE_MESSAGES_MAX - 1)), ..place };
        let behind = self.rare.get().returning.all.range(place..=lane_end).map(|(place, _)| place.seq);
        let run = behind.zip(place.seq.0..).take_while(|(seq, expected)| seq.0 == *expected).count() as u64;
        let last = Seq(place.seq.0 + run.max(1) - 1);
        let range = LiveRange { first: place.seq, last, count: run.max(1), bytes: 0 };
        Paged { range, wake: None, taken: None, has_holes: false }
    }

    /// Notes whether the range that is read is of bodies: then an entry stands where it begins.
    pub(super) fn note_read_of(&mut self, key: Place) {
        let read_from = self.line.get(key).map(|_| key.seq);
        if read_from.is_some() {
            self.rare.make().returning.read_from = read_from;
        } else if let Some(rare) = self.rare.made() {
            rare.returning.read_from = None;
        }
    }

    /// Asks for the bodies of those that nobody asks for.
    pub(super) fn read_urgent(&mut self, out: &mut Out<'_>) {
        if self.loading.is_none()
            && let Some(place) = self.rare.get().returning.urgent.first().copied()
        {
            let range = self.range_of_bodies(place);
            self.read_back(place, &range, out);
        }
    }

    /// Takes what was read if it was bodies. None: it was something else.
    pub(super) fn bodies_loaded(
        &mut self,
        lane: Lane,
        messages: Vec<(Seq, Arc<Message>)>,
        complete_to: Seq,
        now: Time,
        out: &mut Out<'_>,
    ) -> Option<Vec<(Seq, Arc<Message>)>> {
        let read_from = self.rare.made().and_then(|rare| rare.returning.read_from.take());
        let Some(first) = read_from else { return Some(messages) };
        let mut messages: BTreeMap<Seq, Arc<Message>> = messages.into_iter().collect();
        for seq in (first.0..=complete_to.0).map(Seq) {
            let place = Place { lane, seq };
            if !self.line.get(place).is_some_and(Entry::is_away) {
                continue;
            }
            let Some(message) = messages.remove(&seq) else {
                // What is not there would hold up the line for ever.
                self.remove_at(place, out);
                continue;
            };
            let message = self.with_body(place, message);
            self.line.restore_body(place, message);
            self.rare.make().returning.urgent.remove(&place);
            match self.rare.make().returning.all.remove(&place) {
                Some(Return::GivenBack { failed, refused_by }) => {
                    self.put_back(place, failed.as_ref(), refused_by, now, out);
                }
                Some(Return::Rejected { reason }) => self.dead_letter(place, &reason, now, out),
                None => {}
            }
        }
        None
    }
}
