//! The line of one queue: entries in memory, and ranges that only the journal holds, in order of service.

use std::collections::BTreeSet;
use std::sync::Arc;

use evergate_journal::LiveRange;
use evergate_journal::index::LIVE_RANGE_MESSAGES_MAX;
use evergate_model::{Message, Seq, Time};

use super::entry::Entry;
use super::places::Places;
use crate::lane::{LANES, Lane, Place};

#[derive(Debug)]
pub enum Item {
    Entry(Entry),
    Paged(Paged),
}

/// Messages that only the journal holds. Nothing that is in memory stands between its first and its last.
#[derive(Clone, Copy, Debug)]
pub struct Paged {
    pub range: LiveRange,
    /// When something in it changes by itself (expires, or its time comes), as far as that is known.
    pub wake: Option<Time>,
    /// When the gateway took the oldest and the newest of it; `None`: a restart found it.
    pub taken: Option<(Time, Time)>,
    /// Places in it may have been settled a moment ago: it is read back when that is committed.
    pub has_holes: bool,
}

/// When which place changes by itself.
pub type Timer = (Time, Place);

/// A paged range has its last place as its key: what covers or follows a place is one look-up.
#[derive(Debug, Default)]
pub struct Line {
    items: Places<Item>,
    /// Bit n: lane n was used.
    lanes: u16,
    /// Live messages, and their bytes, wherever they are.
    pub count: u64,
    pub bytes: u64,
    /// Bytes of entries that are in memory.
    pub resident_bytes: u64,
}

impl Line {
    /// What a restart found in a lane: nothing in memory.
    pub fn recover(&mut self, lane: Lane, live: &[LiveRange]) {
        self.lanes |= 1 << lane.0;
        for range in live.iter().filter(|range| range.count > 0) {
            self.count += range.count;
            self.bytes += range.bytes;
            let paged = Paged { range: *range, wake: None, taken: None, has_holes: false };
            self.items.insert(Place { lane, seq: range.last }, Item::Paged(paged));
        }
    }

    /// The lanes that were ever used, in order of service.
    pub fn lanes(&self) -> impl DoubleEndedIterator<Item = Lane> + use<> {
        let lanes = self.lanes;
        (0..LANES as u8).filter(move |lane| lanes & 1 << lane != 0).map(Lane)
    }

    /// Appends an entry; its place is higher than all before.
    pub fn push(&mut self, place: Place, entry: Entry) {
        self.lanes |= 1 << place.lane.0;
        let size_bytes = entry.message.size_bytes();
        self.count += 1;
        self.bytes += size_bytes;
        self.resident_bytes += size_bytes;
        self.items.insert(place, Item::Entry(entry));
    }

    pub fn get(&self, place: Place) -> Option<&Entry> {
        match self.items.get(place) {
            Some(Item::Entry(entry)) => Some(entry),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, place: Place) -> Option<&mut Entry> {
        match self.items.get_mut(place) {
            Some(Item::Entry(entry)) => Some(entry),
            _ => None,
        }
    }

    /// What stands first in a lane, if it is an entry in memory.
    pub fn first(&self, lane: Lane) -> Option<&Entry> {
        match self.items.first_of(lane)? {
            Item::Entry(entry) => Some(entry),
            Item::Paged(_) => None,
        }
    }

    /// See `queue::ahead`.
    pub fn touch_free_slot(&mut self, lane: Lane) {
        self.items.touch_free_slot(lane);
    }

    /// Where the entry in memory with this number stands.
    pub fn place_of(&self, seq: Seq) -> Option<Place> {
        self.lanes().map(|lane| Place { lane, seq }).find(|place| self.get(*place).is_some())
    }

    /// What covers or follows a place, in its lane.
    pub fn next_at(&self, lane: Lane, from: Seq) -> Option<(Place, &Item)> {
        self.items.next_at(lane, from)
    }

    /// The range that covers a place.
    pub fn paged_at(&self, place: Place) -> Option<(Place, Paged)> {
        match self.next_at(place.lane, place.seq)? {
            (key, Item::Paged(paged)) if paged.range.first <= place.seq => Some((key, *paged)),
            _ => None,
        }
    }

    /// Where a number may stand in a range that is not in memory.
    pub fn paged_place_of(&self, seq: Seq) -> Option<Place> {
        self.lanes().map(|lane| Place { lane, seq }).find(|place| self.paged_at(*place).is_some())
    }

    /// The last item of a lane.
    pub fn last_of(&self, lane: Lane) -> Option<Place> {
        self.items.last_of(lane)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Place, &Item)> {
        self.items.iter()
    }

    /// Removes an entry.
    pub fn remove(&mut self, place: Place) -> Option<Entry> {
        let entry = match self.items.remove(place)? {
            Item::Entry(entry) => entry,
            other @ Item::Paged(_) => {
                self.items.insert(place, other);
                return None;
            }
        };
        self.count -= 1;
        self.bytes -= entry.size_bytes();
        self.resident_bytes -= entry.message.size_bytes();
        Some(entry)
    }

    /// Leaves of an entry's message what `husk` has.
    pub fn drop_body(&mut self, place: Place, husk: Arc<Message>) {
        let Some(Item::Entry(entry)) = self.items.get_mut(place) else { return };
        let size_bytes = entry.message.size_bytes();
        self.resident_bytes -= size_bytes - husk.size_bytes();
        (entry.message, entry.away_bytes) = (husk, Some(size_bytes));
    }

    /// The body is back.
    pub fn restore_body(&mut self, place: Place, message: Arc<Message>) {
        let Some(Item::Entry(entry)) = self.items.get_mut(place) else { return };
        let Some(size_bytes) = entry.away_bytes.take() else { return };
        // As it is now: what was read may be laid out otherwise than what was published.
        self.bytes = self.bytes - size_bytes + message.size_bytes();
        self.resident_bytes = self.resident_bytes - entry.message.size_bytes() + message.size_bytes();
        entry.message = message;
    }

    /// Lets a range wake at a time, if it would not before. Returns how it woke before, and how it wakes now.
    pub fn wake_by(&mut self, key: Place, at: impl Fn(&Paged) -> Time) -> (Option<Timer>, Option<Timer>) {
        let Some(Item::Paged(paged)) = self.items.get_mut(key) else { return (None, None) };
        let before = paged.wake;
        paged.wake = Some(before.map_or(at(paged), |before| before.min(at(paged))));
        (before.map(|at| (at, key)), paged.wake.map(|at| (at, key)))
    }

    /// Removes a paged range, whole.
    pub fn remove_paged(&mut self, key: Place) -> Option<Paged> {
        match self.items.remove(key)? {
            Item::Paged(paged) => {
                self.count -= paged.range.count;
                self.bytes -= paged.range.bytes;
                Some(paged)
            }
            other @ Item::Entry(_) => {
                self.items.insert(key, other);
                None
            }
        }
    }

    /// One message of the range that covers `place` is gone. What it counted for is not known until the
    /// range is read back.
    pub fn forget_paged(&mut self, place: Place) -> bool {
        let Some((key, _)) = self.paged_at(place) else { return false };
        let Some(Item::Paged(paged)) = self.items.get_mut(key) else { return false };
        paged.range.count -= 1;
        paged.has_holes = true;
        self.count -= 1;
        if paged.range.count == 0 {
            self.bytes -= paged.range.bytes;
            self.items.remove(key);
        }
        true
    }

    /// Drops an entry from memory. Returns the place under which its range woke before, and the range now.
    pub fn page_out(&mut self, place: Place, wakes: bool) -> Option<(Option<Timer>, Option<Timer>)> {
        let entry = match self.items.remove(place)? {
            Item::Entry(entry) => entry,
            other @ Item::Paged(_) => {
                self.items.insert(place, other);
                return None;
            }
        };
        let bytes = entry.message.size_bytes();
        self.resident_bytes -= bytes;
        let ingress = entry.message.meta.ingress;
        let range = LiveRange { first: place.seq, last: place.seq, count: 1, bytes };
        let mut paged = Paged {
            range,
            wake: entry.wakes_at().filter(|_| wakes),
            taken: Some((ingress, ingress)),
            has_holes: false,
        };
        let mut woke = None;
        if let Some((key, Item::Paged(before))) = self.items.before(place)
            && before.range.count < LIVE_RANGE_MESSAGES_MAX
        {
            woke = before.wake.map(|at| (at, key));
            paged = before.with(&paged);
            self.items.remove(key);
        }
        let wakes = paged.wake.map(|at| (at, place));
        self.items.insert(place, Item::Paged(paged));
        Some((woke, wakes))
    }

    /// Takes what was read back of the lane up to `complete_to` out of its range. Returns the messages that
    /// were expected, and how the range woke before and wakes now. The caller puts them into the line. `settled`: places
    /// that were settled in ranges, and are not counted there any more; the journal may not have known when it read.
    pub fn read_back(
        &mut self,
        lane: Lane,
        mut messages: Vec<(Seq, Arc<Message>)>,
        complete_to: Seq,
        settled: &BTreeSet<Place>,
    ) -> Option<ReadBack> {
        let (key, paged) = self.paged_at(Place { lane, seq: complete_to })?;
        messages.retain(|(seq, _)| paged.range.first <= *seq && *seq <= complete_to);
        messages.sort_unstable_by_key(|(seq, _)| *seq);
        let bytes: u64 = messages.iter().map(|(_, message)| message.size_bytes()).sum();
        messages.retain(|(seq, _)| !settled.contains(&Place { lane, seq: *seq }));
        let mut rest = paged;
        rest.range.count = rest.range.count.saturating_sub(messages.len() as u64);
        rest.range.bytes = rest.range.bytes.saturating_sub(bytes);
        let woke = paged.wake.map(|at| (at, key));
        self.items.remove(key);
        let mut wakes = None;
        if complete_to >= rest.range.last || rest.range.count == 0 {
            // What was counted but is not there would block the line for ever.
            rest.range = LiveRange { count: 0, bytes: 0, ..rest.range };
        } else {
            rest.range.first = Seq(complete_to.0 + 1);
            wakes = woke;
            self.items.insert(key, Item::Paged(rest));
        }
        self.items.make_room(lane, messages.iter().map(|(seq, _)| *seq));
        // The caller counts the messages anew.
        self.count -= paged.range.count - rest.range.count;
        self.bytes -= paged.range.bytes - rest.range.bytes;
        Some(ReadBack { messages, woke, wakes })
    }
}

/// What [`Line::read_back`] found.
#[derive(Debug)]
pub struct ReadBack {
    pub messages: Vec<(Seq, Arc<Message>)>,
    pub woke: Option<Timer>,
    pub wakes: Option<Timer>,
}

impl Paged {
    /// Both in one range.
    fn with(&self, next: &Self) -> Self {
        let (mine, other) = (self.range, next.range);
        let earlier = |a: Option<Time>, b: Option<Time>| a.into_iter().chain(b).min();
        Self {
            range: LiveRange {
                first: mine.first,
                last: other.last,
                count: mine.count + other.count,
                bytes: mine.bytes + other.bytes,
            },
            wake: earlier(self.wake, next.wake),
            has_holes: self.has_holes || next.has_holes || mine.last.0 + 1 != other.first.0,
            taken: self.taken.zip(next.taken).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1))),
        }
    }
}
