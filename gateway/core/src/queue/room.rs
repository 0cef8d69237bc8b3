//! When there is no room: who waits, who is refused, and what goes.

use evergate_model::{Message, OnFull, Time};

use super::line::Paged;
use super::look::Look;
use super::{EVICT, Out, Queue};
use crate::bug::Bug;

impl Queue {
    /// It holds as much as it may.
    fn has_no_room(&self) -> bool {
        let settings = &self.settings;
        let waiting = self.line.count - self.leaving;
        waiting >= settings.messages_max
            || self.line.bytes >= self.bytes_max()
            || self.line.resident_bytes >= self.resident_bytes_max().saturating_mul(2)
    }

    /// Whether a publisher is told so.
    pub fn refuses(&self, message: &Message) -> bool {
        self.settings.on_full == OnFull::Reject
            && !message.meta.is_discardable()
            && self.discardable.is_empty()
            && self.has_no_room()
    }

    /// Makes room for a message. False: it is the one that goes.
    pub(super) fn make_room(&mut self, message: &Message, now: Time, out: &mut Out<'_>) -> bool {
        if !self.has_no_room() {
            return true;
        }
        if message.meta.is_discardable() {
            return false;
        }
        while self.has_no_room()
            && let Some(place) = self.discardable.first().copied()
        {
            self.discardable.remove(&place);
            if self.line.get(place).is_some_and(|entry| entry.state == super::State::Ready) {
                self.stats.dropped_total += 1;
                self.remove_at(place, out);
            }
        }
        match self.settings.on_full {
            OnFull::Block | OnFull::Reject if !self.is_stream() => true,
            OnFull::DropOldest if self.config.bug == Some(Bug::RingKeepsOldest) => !self.has_no_room(),
            _ => {
                self.trim(now, out);
                self.trimming || !self.has_no_room()
            }
        }
    }

    /// Drops what is oldest and held by nobody, until there is room for another message.
    pub(super) fn trim(&mut self, now: Time, out: &mut Out<'_>) {
        self.trimming = false;
        while self.has_no_room() {
            match self.oldest(now) {
                Look::Ready(place) => {
                    self.pass(EVICT, place);
                    if self.settings.on_full == OnFull::DeadLetterOldest && !self.is_stream() {
                        self.dead_letter(place, "full", now, out);
                    } else {
                        self.stats.dropped_total += 1;
                        self.remove_at(place, out);
                    }
                }
                Look::Paged(key, paged) if self.goes_whole(&paged) => {
                    self.stats.dropped_total += paged.range.count;
                    self.drop_range(key, out);
                }
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

    /// There would be no room without it either, and nobody wants to see it.
    fn goes_whole(&self, paged: &Paged) -> bool {
        let (settings, line) = (&self.settings, &self.line);
        (self.is_stream() || settings.on_full == OnFull::DropOldest)
            && (line.count - self.leaving - paged.range.count >= settings.messages_max
                || line.bytes - paged.range.bytes >= self.bytes_max())
    }

    /// The oldest of all lanes that nobody holds.
    fn oldest(&mut self, now: Time) -> Look {
        let mut oldest = (None, Look::Nothing);
        for lane in self.line.lanes() {
            let look = self.look(EVICT, lane, now);
            let seq = match &look {
                Look::Ready(place) => place.seq,
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
        let (settings, line) = (&self.settings, &self.line);
        // What cannot leave memory: transient messages, and those not committed or not settled yet.
        let resident_bytes_max = self.resident_bytes_max().saturating_mul(2);
        let full = match settings.on_full {
            // The oldest of a stream goes: nobody consumes it.
            OnFull::Block | OnFull::DropOldest | OnFull::DeadLetterOldest if self.is_stream() => self.trimming,
            // Open again only when a quarter is free: publishers should not be woken for each message.
            OnFull::Block if self.full => {
                line.count > settings.messages_max / 4 * 3
                    || line.bytes > settings.bytes_max / 4 * 3
                    || line.resident_bytes > resident_bytes_max / 4 * 3
            }
            OnFull::Block => {
                line.count >= settings.messages_max
                    || line.bytes >= settings.bytes_max
                    || line.resident_bytes >= resident_bytes_max
            }
            // A refusal is an answer, not a wait.
            OnFull::Reject => false,
            OnFull::DropOldest => self.trimming,
            OnFull::DeadLetterOldest => self.trimming || self.leaving >= settings.messages_max.max(1),
        };
        (full != self.full).then(|| {
            self.full = full;
            full
        })
    }
}
