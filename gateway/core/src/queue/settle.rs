//! What consumers say of their deliveries.

use std::sync::Arc;

use evergate_model::{Outcome, Seq, Time};

use super::away::Return;
use super::entry::State;
use super::failures::{Failed, TOO_MANY_DELIVERIES, reason_of};
use super::{Out, Queue};
use crate::consumer::ConsumerKey;
use crate::lane::Place;

impl Queue {
    /// Applies a consumer's word to those of `first..=last` that it holds. The cost follows what it holds,
    /// never the width of the range.
    pub fn settle(
        &mut self,
        key: ConsumerKey,
        (first, last): (Seq, Seq),
        outcome: &Outcome,
        now: Time,
        out: &mut Out<'_>,
    ) {
        let Some(consumer) = self.consumers.get_mut(&key) else { return };
        if first > last {
            return;
        }
        if first == last {
            if let Some(lane) = consumer.held.remove(&first) {
                self.unsettled -= 1;
                self.apply_outcome(key, Place { lane, seq: first }, outcome, now, out);
            } else if *outcome == Outcome::Unreadable && consumer.settled {
                self.tell_unreadable(key, first, None, out);
            }
            return;
        }
        let concerned: Vec<Place> =
            consumer.held.range(first..=last).map(|(seq, lane)| Place { lane: *lane, seq: *seq }).collect();
        self.unsettled -= concerned.len() as u64;
        for place in concerned {
            if let Some(consumer) = self.consumers.get_mut(&key) {
                consumer.held.remove(&place.seq);
            }
            self.apply_outcome(key, place, outcome, now, out);
        }
    }

    /// Applies a consumer's word to a delivery that was taken out of its hands.
    pub fn apply_outcome(&mut self, key: ConsumerKey, place: Place, outcome: &Outcome, now: Time, out: &mut Out<'_>) {
        self.group_is_settled(key, place);
        match outcome {
            Outcome::Accept => {
                self.counts.settled += 1;
                self.remove_at(place, out);
            }
            Outcome::Release => self.give_back(place, false, None, now, out),
            Outcome::Unsent => self.give_back_unseen(place, now, out),
            Outcome::Modify { failed, undeliverable_here } => {
                self.give_back(place, *failed, undeliverable_here.then_some(key), now, out);
            }
            Outcome::Unreadable => self.set_aside(key, place, now, out),
            Outcome::Reject { reason } => self.reject(place, reason_of(reason), now, out),
        }
    }

    /// It goes to `_DMQ`. That is so from now on, though it takes a while.
    pub(super) fn reject(&mut self, place: Place, reason: &str, now: Time, out: &mut Out<'_>) {
        let reason: Arc<str> = reason.into();
        if self.is_for_letters {
            return self.dead_letter(place, &reason, now, out);
        }
        self.condemn(place, &reason, out);
        if !self.waits_for_body(place, Return::Rejected { reason: reason.clone() }) {
            self.dead_letter(place, &reason, now, out);
        }
    }

    /// Puts an entry back that nobody was sent meanwhile: it is no redelivery for that.
    pub(super) fn give_back_unseen(&mut self, place: Place, now: Time, out: &mut Out<'_>) {
        let before = self.line.get(place).is_some_and(|entry| entry.redelivered);
        self.give_back(place, false, None, now, out);
        if let Some(entry) = self.line.get_mut(place) {
            entry.redelivered = before;
        }
    }

    /// Puts an entry back to its place, unless its time is up or it was handed out too often.
    pub(super) fn give_back(
        &mut self,
        place: Place,
        failed: bool,
        refused_by: Option<ConsumerKey>,
        now: Time,
        out: &mut Out<'_>,
    ) {
        let failed = failed.then(|| self.count_failure(place, now, out));
        if !self.waits_for_body(place, Return::GivenBack { failed: failed.clone(), refused_by }) {
            self.put_back(place, failed.as_ref(), refused_by, now, out);
        }
    }

    /// The rest of that, once its body is there.
    pub(super) fn put_back(
        &mut self,
        place: Place,
        failed: Option<&Failed>,
        refused_by: Option<ConsumerKey>,
        now: Time,
        out: &mut Out<'_>,
    ) {
        let Some(entry) = self.line.get_mut(place) else { return };
        entry.state = State::Ready;
        entry.redelivered = true;
        if let Some(key) = refused_by {
            // Those that left are forgotten, or the list would grow with every reconnect.
            entry.refused_by.retain(|other| self.consumers.contains_key(other));
            entry.refused_by.push(key);
        }
        let replaced = entry.replaced;
        let (is_expired, expires_at) = (entry.is_expired(now), entry.expires_at);
        if let Some(key) = refused_by {
            self.seclude(key);
        }
        if replaced {
            self.remove_at(place, out);
        } else if is_expired {
            self.expire(place, now, out);
        } else if failed.is_some_and(|failed| self.is_last(failed.count)) {
            self.is_unwanted(place, self.settings.on_failure, TOO_MANY_DELIVERIES, now, out);
        } else if let Some(until) = failed.and_then(|failed| failed.until) {
            if let Some(entry) = self.line.get_mut(place) {
                entry.state = State::Waiting(until);
            }
            self.timers.extend(expires_at.map(|at| (at, place)));
            self.timers.insert((until, place));
        } else {
            self.timers.extend(expires_at.map(|at| (at, place)));
            self.offer(place, false);
        }
    }
}
