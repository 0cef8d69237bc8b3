//! What stands in a line, by place. Nearly always places are appended, looked up one after the other, and go from
//! the front: that costs no search. In between anything may come and go, as in an ordered map.

use std::collections::VecDeque;
use std::hint::black_box;

use evergate_model::Seq;
use evergate_model::few::FewMap;

use crate::lane::{Lane, Place};

/// So many slots an empty lane keeps. What a burst needed beyond is given back.
const KEPT_SLOTS: usize = 256;
/// Fewer empty slots than this are not worth a pass.
const COMPACT_ABOVE: usize = 64;

/// Values by place.
#[derive(Debug)]
pub struct Places<T> {
    /// The lanes that were ever used, in order of service: seldom more than one.
    strips: FewMap<Lane, Strip<T>>,
}

/// One lane, ascending.
#[derive(Debug)]
struct Strip<T> {
    lane: Lane,
    /// An empty slot is left by what was removed, until it reaches an end or there are too many.
    slots: VecDeque<(Seq, Option<T>)>,
    empty: usize,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { strips: FewMap::default() }
    }
}

impl<T> Places<T> {
    pub fn get(&self, place: Place) -> Option<&T> {
        let strip = self.strip(place.lane)?;
        let (seq, value) = strip.slots.get(strip.index(place.seq))?;
        value.as_ref().filter(|_| *seq == place.seq)
    }

    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        let strip = self.strips.get_mut(&place.lane)?;
        let index = strip.index(place.seq);
        let (seq, value) = strip.slots.get_mut(index)?;
        value.as_mut().filter(|_| *seq == place.seq)
    }

    /// What stands first in a lane.
    pub fn first_of(&self, lane: Lane) -> Option<&T> {
        self.strip(lane)?.slots.front()?.1.as_ref()
    }

    /// Writes to the memory that is free for the next value of a lane. Changes nothing.
    pub fn touch_free_slot(&mut self, lane: Lane) {
        if let Some(strip) = self.strips.get_mut(&lane)
            && strip.slots.len() < strip.slots.capacity()
        {
            strip.slots.push_back((Seq(0), None));
            black_box(strip.slots.back());
            strip.slots.pop_back();
        }
    }

    /// Puts a value at a place, in the stead of what is there.
    pub fn insert(&mut self, place: Place, value: T) {
        let strip = self.strip_mut(place.lane);
        let index = strip.index(place.seq);
        match strip.slots.get_mut(index) {
            Some((seq, slot)) if *seq == place.seq => {
                strip.empty -= usize::from(slot.is_none());
                *slot = Some(value);
            }
            Some(_) => strip.slots.insert(index, (place.seq, Some(value))),
            None => strip.slots.push_back((place.seq, Some(value))),
        }
    }

    pub fn remove(&mut self, place: Place) -> Option<T> {
        let strip = self.strips.get_mut(&place.lane)?;
        let index = strip.index(place.seq);
        let (_, value) = strip.slots.get_mut(index).filter(|(seq, _)| *seq == place.seq)?;
        let value = value.take()?;
        strip.empty += 1;
        strip.trim();
        Some(value)
    }

    /// Values for all of these ascending places, where nothing is, come next: many at once cost one move of what stands
    /// beside them.
    pub fn make_room(&mut self, lane: Lane, seqs: impl Iterator<Item = Seq>) {
        let strip = self.strip_mut(lane);
        let mut seqs = seqs.peekable();
        let Some(first) = seqs.peek().copied() else { return };
        let mut behind = strip.slots.split_off(strip.index(first));
        for seq in seqs {
            // Slots that others left stand between them.
            while behind.front().is_some_and(|(other, _)| *other < seq) {
                strip.slots.extend(behind.pop_front());
            }
            if behind.front().is_none_or(|(other, _)| *other != seq) {
                strip.slots.push_back((seq, None));
                strip.empty += 1;
            }
        }
        strip.slots.append(&mut behind);
    }

    /// What stands at a place of the lane, or first behind it.
    pub fn next_at(&self, lane: Lane, from: Seq) -> Option<(Place, &T)> {
        let strip = self.strip(lane)?;
        strip.slots.range(strip.index(from)..).find_map(|slot| strip.shown(slot))
    }

    /// What stands next before a place, in its lane.
    pub fn before(&self, place: Place) -> Option<(Place, &T)> {
        let strip = self.strip(place.lane)?;
        strip.slots.range(..strip.index(place.seq)).rev().find_map(|slot| strip.shown(slot))
    }

    /// The last place of a lane.
    pub fn last_of(&self, lane: Lane) -> Option<Place> {
        let strip = self.strip(lane)?;
        strip.slots.iter().rev().find_map(|slot| strip.shown(slot)).map(|(place, _)| place)
    }

    /// All, in order of service.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &T)> {
        self.strips.values().flat_map(|strip| strip.slots.iter().filter_map(|slot| strip.shown(slot)))
    }

    fn strip(&self, lane: Lane) -> Option<&Strip<T>> {
        self.strips.get(&lane)
    }

    fn strip_mut(&mut self, lane: Lane) -> &mut Strip<T> {
        self.strips.get_or_insert_with(lane, || Strip { lane, slots: VecDeque::new(), empty: 0 })
    }
}

impl<T> Strip<T> {
    /// The slot of this number, or the first behind it.
    fn index(&self, seq: Seq) -> usize {
        let (Some((first, _)), Some((last, _))) = (self.slots.front(), self.slots.back()) else { return 0 };
        if *first >= seq {
            return 0;
        }
        if *last < seq {
            return self.slots.len();
        }
        // Without gaps it stands as far from the front as its number says.
        let guess = usize::try_from(seq.0 - first.0).unwrap_or(usize::MAX);
        if self.slots.get(guess).is_some_and(|(other, _)| *other == seq) {
            return guess;
        }
        self.slots.partition_point(|(other, _)| *other < seq)
    }

    fn shown<'a>(&self, (seq, value): &'a (Seq, Option<T>)) -> Option<(Place, &'a T)> {
        Some((Place { lane: self.lane, seq: *seq }, value.as_ref()?))
    }

    /// Drops empty slots at both ends, and all of them when they are more than the others.
    fn trim(&mut self) {
        while self.slots.front().is_some_and(|(_, value)| value.is_none()) {
            self.slots.pop_front();
            self.empty -= 1;
        }
        while self.slots.back().is_some_and(|(_, value)| value.is_none()) {
            self.slots.pop_back();
            self.empty -= 1;
        }
        if self.slots.is_empty() {
            // It begins anew in the memory that was used last, not in what the cache lost long ago.
            self.slots.clear();
            self.slots.shrink_to(KEPT_SLOTS);
        }
        if self.empty > COMPACT_ABOVE && self.empty > self.slots.len() / 2 {
            self.slots.retain(|(_, value)| value.is_some());
            self.empty = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Numbers that look random and are the same each time.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound
        }
    }

    #[test]
    fn what_a_burst_needed_is_given_back() {
        let mut places = Places::default();
        let place = |seq| Place { lane: Lane::USUAL, seq: Seq(seq) };
        (0..10_000).for_each(|seq| places.insert(place(seq), seq));
        (0..10_000).for_each(|seq| assert_eq!(places.remove(place(seq)), Some(seq)));
        assert!(places.strips.first().unwrap().slots.capacity() <= KEPT_SLOTS);
    }

    #[test]
    fn it_is_an_ordered_map_whatever_comes_and_goes() {
        for seed in 0..200 {
            let mut draw = Draw(seed);
            let (mut places, mut map) = (Places::default(), BTreeMap::new());
            let mut next = 1;
            for step in 0..2000 {
                let place = Place { lane: Lane(draw.below(2) as u8 * 5), seq: Seq(1 + draw.below(next + 3)) };
                match draw.below(10) {
                    0..4 => {
                        next += 1 + draw.below(2);
                        let place = Place { seq: Seq(next), ..place };
                        places.insert(place, step);
                        map.insert(place, step);
                    }
                    4 => {
                        places.insert(place, step);
                        map.insert(place, step);
                    }
                    5 => {
                        let end = Place { seq: Seq(place.seq.0 + 20), ..place };
                        let free = (place.seq.0..end.seq.0)
                            .map(Seq)
                            .filter(|seq| !map.contains_key(&Place { seq: *seq, ..place }))
                            .filter(|seq| seq.0 % 3 > 0);
                        places.make_room(place.lane, free);
                    }
                    6..8 => {
                        let first = map.keys().next().copied().unwrap_or(place);
                        assert_eq!(places.remove(first), map.remove(&first));
                    }
                    _ => assert_eq!(places.remove(place), map.remove(&place)),
                }
                let end = Place { seq: Seq(u64::MAX), ..place };
                let start = Place { seq: Seq(0), ..place };
                let shown = |(place, value): (&Place, &i32)| (*place, *value);
                let found = |(place, value): (Place, &i32)| (place, *value);
                assert_eq!(places.get(place), map.get(&place));
                assert_eq!(places.get_mut(place), map.get_mut(&place));
                let next_at = places.next_at(place.lane, place.seq).map(found);
                assert_eq!(next_at, map.range(place..=end).next().map(shown));
                assert_eq!(places.before(place).map(found), map.range(start..place).next_back().map(shown));
                let last = map.range(start..=end).next_back().map(|(place, _)| *place);
                assert_eq!(places.last_of(place.lane), last);
            }
            assert!(places.iter().map(|(place, value)| (place, *value)).eq(map.into_iter()));
        }
    }
}
