//! What happens by itself when its time has come: expiry, scheduled delivery, the end of a pause.

use evergate_model::{Seq, Time, Unwanted};

use super::entry::{Entry, State};
use super::line::{Item, Paged, Timer};
use super::{Out, Queue};
use crate::bug::Bug;
use crate::effect::ShardEffect;
use crate::lane::{Lane, Place};

/// So many places are looked at in one go.
const TIMERS_A_TICK: usize = 1024;
/// No message has this place.
const NOWHERE: Place = Place { lane: Lane::USUAL, seq: Seq(0) };

impl Queue {
    /// When to call `tick` next.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at).into_iter().chain(self.rare.get().ages_next).min()
    }

    /// The next timeout as it was noted and as it is, if that has changed.
    pub fn timeout_changed(&mut self) -> Option<(Option<Time>, Option<Time>)> {
        let now = self.next_timeout();
        (now != self.noted_timeout).then(|| (std::mem::replace(&mut self.noted_timeout, now), now))
    }

    /// As [`Self::timeout_changed`] said last.
    pub fn noted_timeout(&self) -> Option<Time> {
        self.noted_timeout
    }

    /// `next_timeout` has passed.
    pub fn tick(&mut self, now: Time, out: &mut Out<'_>) {
        for _ in 0..TIMERS_A_TICK {
            let Some((at, place)) = self.timers.first().copied().filter(|(at, _)| *at <= now) else { break };
            self.timers.remove(&(at, place));
            if place == NOWHERE {
                self.trim_later();
            }
            match self.line.next_at(place.lane, place.seq) {
                Some((found, Item::Entry(entry))) if found == place => {
                    let (state, is_expired) = (entry.state, entry.is_expired(now));
                    match state {
                        State::Ready | State::Waiting(_) if is_expired => self.expire(place, now, out),
                        State::Waiting(until) if until <= now => self.wake(place),
                        State::Ready | State::Waiting(_) | State::Held | State::Leaving => {}
                    }
                }
                Some((found, Item::Paged(paged))) if found == place => {
                    self.rare.make().due.insert(Place { lane: place.lane, seq: paged.range.first });
                }
                _ => {}
            }
        }
    }

    /// Its time has come.
    fn wake(&mut self, place: Place) {
        let Some(entry) = self.line.get_mut(place) else { return };
        entry.state = State::Ready;
        // A copy of one that only paused was sent before.
        let is_new = entry.failed_count == 0;
        self.offer(place, is_new);
    }

    /// Nobody wants it any more.
    pub(super) fn expire(&mut self, place: Place, now: Time, out: &mut Out<'_>) {
        self.rare.make().counts.expired += 1;
        let is_lost = self.config.bug == Some(Bug::LoseExpired);
        let fate = if is_lost { Unwanted::Discard } else { self.settings.on_expiry };
        self.is_unwanted(place, fate, "expired", now, out);
    }

    /// It goes to `_DMQ`, or is gone.
    pub(super) fn is_unwanted(&mut self, place: Place, fate: Unwanted, reason: &str, now: Time, out: &mut Out<'_>) {
        match fate {
            Unwanted::DeadLetter => self.dead_letter(place, reason, now, out),
            Unwanted::Discard => {
                out.effects.push(ShardEffect::Dropped(1));
                self.remove_at(place, out);
            }
        }
    }

    /// `time_to_live`, or the age of a stream, is another one: what is there goes by it as what comes does, and as all
    /// does after a restart.
    pub(super) fn renew_expiry(&mut self, now: Time) {
        let places: Vec<(Place, bool)> =
            self.line.iter().map(|(place, item)| (place, matches!(item, Item::Entry(_)))).collect();
        for (place, is_entry) in places {
            if is_entry {
                self.renew_expiry_of(place);
            } else {
                self.wake_range_anew(place, now);
            }
        }
    }

    fn renew_expiry_of(&mut self, place: Place) {
        let Some(entry) = self.line.get(place) else { return };
        let (before, after) = (entry.expires_at, self.expiry_of(&entry.message));
        if let Some(entry) = self.line.get_mut(place) {
            entry.expires_at = after;
        }
        if let Some(at) = before {
            self.timers.remove(&(at, place));
        }
        if !self.is_stream() {
            self.timers.extend(after.map(|at| (at, place)));
        }
    }

    /// Of a range that is not in memory the oldest expires first. When that came is not known of what a restart found.
    fn wake_range_anew(&mut self, key: Place, now: Time) {
        let Some(limit) = self.settings.time_to_live.filter(|_| !self.is_stream()) else { return };
        let at = |paged: &Paged| paged.taken.map_or(now, |(oldest, _)| oldest).after(limit);
        let (woke, wakes) = self.line.wake_by(key, at);
        self.watch_range(woke, wakes);
    }

    /// A restart found it, and all that is known of it is told. If it holds too much, or something that is to go to
    /// `_DMQ`, a first tick lets that go.
    pub fn open(&mut self, now: Time) {
        let is_any_condemned = self.look_for_condemned();
        if is_any_condemned || (self.evicts() && self.is_over()) {
            self.timers.insert((Time(0), NOWHERE));
        }
        if self.settings.time_to_live.is_some() {
            self.renew_expiry(now);
        }
    }

    /// What has expired takes room, and keeps the queue from being idle: of what a restart found, some may have, and it
    /// is read back to see.
    pub(super) fn look_for_expired(&mut self) {
        if !std::mem::take(&mut self.has_unknown) || self.is_stream() || self.holds_body {
            return;
        }
        let unknown = |(place, item): (Place, &Item)| match item {
            Item::Paged(paged) if paged.taken.is_none() => Some(Place { seq: paged.range.first, ..place }),
            Item::Paged(_) | Item::Entry(_) => None,
        };
        let unknown: Vec<Place> = self.line.iter().filter_map(unknown).collect();
        self.rare.make().due.extend(unknown);
        self.timers.insert((Time(0), NOWHERE));
    }

    /// Notes when an entry changes by itself.
    pub(super) fn watch(&mut self, place: Place, entry: &Entry) {
        if self.is_stream() {
            return;
        }
        if let State::Waiting(until) = entry.state
            && self.config.bug != Some(Bug::ForgetSchedule)
        {
            self.timers.insert((until, place));
        }
        if let Some(at) = entry.expires_at {
            self.timers.insert((at, place));
        }
    }

    /// The entry is gone from memory.
    pub(super) fn unwatch(&mut self, place: Place, entry: &Entry) {
        if let State::Waiting(until) = entry.state {
            self.timers.remove(&(until, place));
        }
        if let Some(at) = entry.expires_at {
            self.timers.remove(&(at, place));
        }
    }

    /// Notes when a range changes by itself.
    pub(super) fn watch_range(&mut self, woke: Option<Timer>, wakes: Option<Timer>) {
        if let Some(timer) = woke {
            self.timers.remove(&timer);
        }
        self.timers.extend(wakes);
    }

    pub(super) fn unwatch_range(&mut self, key: Place, paged: &Paged) {
        if let Some(rare) = self.rare.made() {
            rare.due.remove(&Place { lane: key.lane, seq: paged.range.first });
        }
        if let Some(at) = paged.wake {
            self.timers.remove(&(at, key));
        }
    }
}
