//! What leaves memory, and what comes back.

use std::sync::Arc;

use evergate_model::{Message, QueueId, Seq, Time};

use super::entry::{Entry, State};
use super::line::{Item, Paged};
use super::{Out, Queue};
use crate::effect::ShardEffect;
use crate::lane::{Lane, Place};

/// While so many messages are on their way elsewhere, no more are read back for their time.
const LEAVING_MAX: u64 = 4096;
/// What of a large body is kept in memory.
const BODY_RESIDENT_BYTES_MAX: u64 = 1 << 20;

impl Queue {
    /// The commit that holds this place is through. What does not fit into memory now leaves it.
    pub fn committed(&mut self, place: Place) {
        if let Some(entry) = self.line.get(place).filter(|entry| entry.stored) {
            self.uncommitted_bytes -= entry.message.size_bytes();
        }
        self.committed = self.committed.max(place.seq);
        // What is not committed yet stands behind this one: those next in line stay.
        if self.is_over_memory() {
            self.page_out(place);
        }
    }

    /// Memory is short everywhere, or no longer. Stored messages far from their turn leave it.
    pub fn press(&mut self, pressed: bool) {
        self.pressed = pressed;
        if !pressed {
            return;
        }
        let mut near_bytes = 0;
        let mut far = Vec::new();
        for (place, item) in self.line.iter() {
            if let Item::Entry(entry) = item
                && (self.may_leave_memory(place, entry) || self.may_lose_body(place, entry))
            {
                near_bytes += entry.message.size_bytes();
                if near_bytes > self.config.limits.pressed_bytes_max {
                    far.push(place);
                }
            }
        }
        for place in far {
            self.page_out(place);
        }
    }

    pub(super) fn resident_bytes_max(&self) -> u64 {
        let limits = &self.config.limits;
        let max = if self.pressed { limits.pressed_bytes_max } else { limits.resident_bytes_max };
        // Readers of a body go through it from first to last: nothing is read twice.
        if self.holds_body { max.min(BODY_RESIDENT_BYTES_MAX) } else { max }
    }

    pub(super) fn is_over_memory(&self) -> bool {
        self.line.resident_bytes - self.uncommitted_bytes > self.resident_bytes_max()
    }

    /// The journal gives back all that is known of it.
    fn may_leave_memory(&self, place: Place, entry: &Entry) -> bool {
        let was_handed_out = entry.redelivered && place.seq >= self.recovered_before;
        entry.stored
            && place.seq <= self.committed
            && matches!(entry.state, State::Ready | State::Waiting(_))
            && !entry.aside
            && !entry.retained
            && !was_handed_out
            && entry.is_pristine()
    }

    /// Drops an entry from memory, or its body, if it may leave.
    pub(super) fn page_out(&mut self, place: Place) {
        self.drop_body(place);
        let Some(entry) = self.line.get(place).filter(|entry| self.may_leave_memory(place, entry)) else { return };
        let (state, expires_at) = (entry.state, entry.expires_at);
        if let State::Waiting(until) = state {
            self.timers.remove(&(until, place));
        }
        if let Some(at) = expires_at {
            self.timers.remove(&(at, place));
        }
        // On a stream ranges go from the head, whole.
        let wakes = !self.is_stream();
        if let Some((woke, now)) = self.line.page_out(place, wakes) {
            self.watch_range(woke, now);
        }
    }

    /// Asks for a range, unless another one is on its way.
    pub(super) fn read_back(&mut self, key: Place, paged: &Paged, out: &mut Out<'_>) {
        if self.loading.is_some() {
            return;
        }
        self.loading = Some(paged.range.first);
        self.note_read_of(key);
        let (queue, range) = (key.lane.stored_as(self.id), paged.range);
        let effect = ShardEffect::Load { queue, first: range.first, last: range.last, of_body: self.holds_body };
        if paged.has_holes { &mut *out.later } else { &mut *out.effects }.push(effect);
    }

    /// Asks for a range in which something is due.
    pub(super) fn read_due(&mut self, out: &mut Out<'_>) {
        while self.loading.is_none()
            && self.rare.get().leaving < LEAVING_MAX
            && let Some(place) = self.rare.get().due.first().copied()
        {
            match self.line.paged_at(place) {
                Some((key, paged)) => self.read_back(key, &paged, out),
                None => {
                    self.rare.make().due.remove(&place);
                }
            }
        }
    }

    /// Messages of a lane that were read back.
    pub fn loaded(
        &mut self,
        now: Time,
        stored: QueueId,
        messages: Vec<(Seq, Arc<Message>)>,
        complete_to: Seq,
        out: &mut Out<'_>,
    ) {
        let Some(from) = self.loading.take() else { return };
        let (_, lane) = Lane::split(stored);
        let Some(messages) = self.bodies_loaded(lane, messages, complete_to, now, out) else { return };
        let Some((_, before)) = self.line.paged_at(Place { lane, seq: complete_to }) else { return };
        if before.range.first < from {
            // What was asked for has gone meanwhile, and what followed it has joined a range that began before it: what
            // stands at the head of that was not read.
            return;
        }
        let Some(back) = self.line.read_back(lane, messages, complete_to, &self.rare.get().settled_in_range) else {
            return;
        };
        self.watch_range(back.woke, back.wakes);
        let was_due = self.rare.made().is_some_and(|rare| rare.due.remove(&Place { lane, seq: before.range.first }));
        let rest = Place { lane, seq: Seq(complete_to.0.saturating_add(1)) };
        if was_due && self.line.paged_at(rest).is_some() {
            self.rare.make().due.insert(rest);
        }
        for (seq, message) in back.messages {
            let place = Place { lane, seq };
            let message = self.with_body(place, message);
            let was_scheduled = message.meta.deliver_at().is_some();
            let redelivered = seq < self.recovered_before;
            let failed = self.failures_of(place);
            let mut entry = Entry { stored: true, redelivered, failed_count: failed.count, ..self.entry(now, message) };
            if let Some(until) = failed.until.filter(|until| *until > now && !self.is_stream()) {
                entry.state = State::Waiting(until);
            }
            let (is_waiting, is_expired) = (matches!(entry.state, State::Waiting(_)), entry.is_expired(now));
            self.watch(place, &entry);
            self.line.push(place, entry);
            if let Some(reason) = failed.verdict {
                self.dead_letter(place, &reason, now, out);
                continue;
            }
            let stays_out = is_waiting || (!was_scheduled && self.is_over_memory());
            if was_due && !is_expired && stays_out {
                self.page_out(place);
            } else if was_scheduled && !is_waiting {
                // It may have been passed by while its time had not come.
                self.offer(place, true);
            }
        }
        // What was settled there can be told apart now.
        let first = Place { lane, seq: before.range.first };
        let done: Vec<Place> = self.rare.get().settled_in_range.range(first..rest).copied().collect();
        for place in done {
            self.rare.make().settled_in_range.remove(&place);
        }
    }
}
