//! When there is no room: who waits, who is refused, and what goes.

use evergate_model::{Event, Message, OnFull, Time};

use super::line::Paged;
use super::look::Look;
use super::{EVICT, Out, Queue};
use crate::bug::Bug;
use crate::effect::{SessionEvent, ShardEffect};
use crate::lane::Place;

impl Queue {
    /// It holds as much as it may.
    fn has_no_room(&self) -> bool {
        self.would_be_over(1, 1)
    }

    /// Whether it would hold more than it may, with so many messages and bytes more.
    pub(super) fn would_be_over(&self, messages: u64, bytes: u64) -> bool {
        let settings = &self.settings;
        let waiting = self.line.count - self.rare.get().leaving;
        let waiting_bytes = self.bytes() - self.rare.get().leaving_bytes;
        waiting + messages > settings.messages_max || waiting_bytes + bytes > self.bytes_max()
    }

    /// It holds more than it may: the limit is another one, or several messages came at once.
    pub(super) fn is_over(&self) -> bool {
        self.would_be_over(0, 0)
    }

    /// Whether what is oldest goes when there is no room.
    pub(super) fn evicts(&self) -> bool {
        self.is_stream() || matches!(self.settings.on_full, OnFull::DropOldest | OnFull::DeadLetterOldest)
    }

    /// What is too much goes with the next look at the queue, though nothing comes.
    pub(super) fn trim_later(&mut self) {
        self.trimming = self.evicts() && (self.trimming || self.is_over());
    }

    /// What cannot leave memory is too much: transient messages, those not committed yet, and what is kept of those that
    /// consumers hold.
    fn has_no_memory(&self) -> bool {
        self.line.resident_bytes >= self.resident_bytes_max().saturating_mul(2)
    }

    /// Whether a publisher is told so.
    pub fn refuses(&self, message: &Message) -> bool {
        self.settings.on_full == OnFull::Reject
            // Nobody could be told of a dead letter that is refused.
            && !self.is_for_letters
            && !message.meta.is_discardable()
            && self.rare.get().discardable.is_empty()
            && (self.has_no_room() || self.has_no_memory())
            && self.config.bug != Some(Bug::RefuseTooLate)
            // It is confirmed and not stored: there is room for that.
            && !self.may_be_duplicate(message)
    }

    /// Makes room for a message. False: it is the one that goes.
    pub(super) fn make_room(&mut self, message: &Message, now: Time, out: &mut Out<'_>) -> bool {
        if !self.has_no_room() && !self.has_no_memory() {
            return true;
        }
        if message.meta.is_discardable() {
            return false;
        }
        while (self.has_no_room() || self.has_no_memory())
            && let Some(place) = self.rare.get().discardable.first().copied()
        {
            self.rare.make().discardable.remove(&place);
            if self.line.get(place).is_some_and(|entry| entry.state == super::State::Ready) {
                self.count_dropped(1, out);
                self.remove_at(place, out);
            }
        }
        match self.settings.on_full {
            OnFull::Reject if self.config.bug == Some(Bug::RefuseTooLate) => !self.has_no_room(),
            OnFull::Block | OnFull::Reject | OnFull::Disconnect if !self.is_stream() => true,
            OnFull::DropOldest if self.config.bug == Some(Bug::RingKeepsOldest) => !self.has_no_room(),
            _ => {
                self.trim(1, now, out);
                // Of a dead-lettering queue nothing is ever lost: publishers wait instead.
                self.trimming || !self.has_no_room() || self.settings.on_full == OnFull::DeadLetterOldest
            }
        }
    }

    pub(super) fn count_dropped(&mut self, count: u64, out: &mut Out<'_>) {
        self.rare.make().counts.dropped += count;
        out.effects.push(ShardEffect::Dropped(count));
    }

    /// Drops what is oldest and held by nobody, until there is room for so many messages more.
    pub(super) fn trim(&mut self, more: u64, now: Time, out: &mut Out<'_>) {
        self.trimming = false;
        while self.would_be_over(more, more) || self.has_no_memory() {
            let has_room = !self.would_be_over(more, more);
            match self.oldest(now) {
                // What is stored leaves memory without being dropped.
                Look::Ready(place, _) if has_room && self.has_stored(place) => return,
                Look::Ready(place, _) => {
                    self.pass(EVICT, place);
                    if self.settings.on_full == OnFull::DeadLetterOldest && !self.is_stream() {
                        self.dead_letter(place, "full", now, out);
                    } else {
                        self.count_dropped(1, out);
                        self.remove_at(place, out);
                    }
                }
                Look::Paged(key, paged) if self.line.get(key).is_none() && self.goes_whole(&paged) => {
                    self.count_dropped(paged.range.count, out);
                    self.drop_range(key, out);
                }
                Look::Paged(..) if has_room => return,
                Look::Paged(key, paged) => {
                    // Publishers wait until it is known what goes.
                    self.trimming = true;
                    self.read_back(key, &paged, out);
                    return;
                }
                Look::Expired(_) | Look::Uncommitted(_) | Look::Nothing => return,
            }
        }
    }

    fn has_stored(&self, place: Place) -> bool {
        self.line.get(place).is_some_and(|entry| entry.stored)
    }

    /// There would be no room without it either, and nobody wants to see it.
    fn goes_whole(&self, paged: &Paged) -> bool {
        let (settings, line) = (&self.settings, &self.line);
        (self.is_stream() || settings.on_full == OnFull::DropOldest)
            && (line.count - self.rare.get().leaving - paged.range.count >= settings.messages_max
                || self.bytes() - paged.range.bytes >= self.bytes_max())
    }

    /// The oldest of all lanes that nobody holds.
    fn oldest(&mut self, now: Time) -> Look {
        let mut oldest = (None, Look::Nothing);
        for lane in self.line.lanes() {
            let look = self.look(EVICT, lane, now);
            let seq = match &look {
                Look::Ready(place, _) => place.seq,
                Look::Paged(_, paged) => paged.range.first,
                Look::Expired(_) | Look::Uncommitted(_) | Look::Nothing => continue,
            };
            if oldest.0.is_none_or(|first| seq < first) {
                oldest = (Some(seq), look);
            }
        }
        oldest.1
    }

    /// Whether publishers must wait now, if that has changed.
    pub fn fullness_changed(&mut self) -> Option<bool> {
        if self.has_unknown && self.has_no_room() {
            self.look_for_expired();
        }
        let (settings, line) = (&self.settings, &self.line);
        // Open again only when a quarter is free: publishers should not be woken for each message.
        let is_above = |value: u64, max: u64| if self.full { value > max - max.div_ceil(4) } else { value >= max };
        let has_no_memory = is_above(line.resident_bytes, self.resident_bytes_max().saturating_mul(2));
        let full = match settings.on_full {
            // A refusal is an answer, not a wait.
            OnFull::Reject if !self.is_for_letters => false,
            // The oldest of a stream goes: nobody consumes it.
            _ if self.is_stream() => self.trimming || has_no_memory,
            OnFull::Block | OnFull::Reject | OnFull::Disconnect => {
                is_above(line.count, settings.messages_max)
                    || is_above(self.bytes(), settings.bytes_max)
                    || has_no_memory
            }
            OnFull::DropOldest => self.trimming || has_no_memory,
            OnFull::DeadLetterOldest => {
                let is_over = line.count - self.rare.get().leaving > settings.messages_max
                    || self.bytes() - self.rare.get().leaving_bytes > settings.bytes_max.saturating_mul(2);
                self.trimming || has_no_memory || is_over || self.rare.get().leaving >= settings.messages_max.max(1)
            }
        };
        (full != self.full).then(|| {
            self.full = full;
            full
        })
    }

    /// The queue is full: consumers that are to be disconnected then are told.
    pub fn tell_overrun(&self, effects: &mut Vec<ShardEffect>) {
        if self.settings.on_full == OnFull::Disconnect && !self.is_stream() {
            effects.extend(self.consumers.keys().map(|key| {
                let event = SessionEvent::Event(Event::Overrun { consumer: key.consumer });
                ShardEffect::Tell(key.session, event)
            }));
        }
    }
}
