//! Dead letters: messages that nobody could use, on their way to `_DMQ`.

use std::sync::Arc;

use evergate_model::dead_letter::{COUNT, FIRST_TIME, LAST_TIME, ORIGIN, PREFIX, QUEUE, REASON};
use evergate_model::{Address, Annotation, DEAD_LETTER_QUEUE, Message, MessageId, QueueId, Seq, Time};

use super::entry::{Entry, State};
use super::{Out, Queue};
use crate::effect::ShardEffect;
use crate::lane::Place;

impl Queue {
    /// Sends a message to `_DMQ`. It stays here until it has arrived there. There is no second such queue:
    /// what leaves the first one is gone.
    pub(super) fn dead_letter(&mut self, place: Place, reason: &str, now: Time, out: &mut Out<'_>) {
        if self.is_for_letters {
            out.effects.push(ShardEffect::Dropped(1));
            self.remove_at(place, out);
            return;
        }
        if !self.start_leaving(place) {
            return;
        }
        let Some(entry) = self.line.get(place) else { return };
        let message = Box::new(dead_letter(entry, (self.id, place), &self.name, reason, now));
        self.rare.make().counts.dead_lettered += 1;
        // Of a message that is not committed nothing may be left after a crash: its publisher sends it again.
        let is_committed = !(entry.stored || entry.hidden) || place.seq <= self.committed;
        let effects = if is_committed { &mut *out.effects } else { &mut *out.later };
        effects.push(ShardEffect::DeadLetter { queue: self.id, seq: place.seq, message });
    }

    /// Takes an entry out of service until it has arrived elsewhere. False: it is already on its way.
    pub(super) fn start_leaving(&mut self, place: Place) -> bool {
        let Some(entry) = self.line.get_mut(place).filter(|entry| entry.state != State::Leaving) else { return false };
        let before = std::mem::replace(&mut entry.state, State::Leaving);
        let is_aside = entry.aside;
        let rare = self.rare.make();
        rare.leaving += 1;
        rare.leaving_bytes += entry.message.all_bytes();
        if let State::Waiting(until) = before {
            self.timers.remove(&(until, place));
        }
        if is_aside {
            self.unpin(place);
        }
        true
    }

    /// Whether it is on its way elsewhere.
    pub fn is_leaving(&self, seq: Seq) -> bool {
        let place = self.line.place_of(seq);
        place.and_then(|place| self.line.get(place)).is_some_and(|entry| entry.state == State::Leaving)
    }

    /// It did not arrive elsewhere: back into service.
    pub fn stop_leaving(&mut self, seq: Seq, now: Time, out: &mut Out<'_>) {
        let Some(place) = self.line.place_of(seq) else { return };
        let Some(entry) = self.line.get(place).filter(|entry| entry.state == State::Leaving) else { return };
        let until = entry.message.meta.deliver_at().filter(|at| *at > now);
        let rare = self.rare.make();
        rare.leaving -= 1;
        rare.leaving_bytes -= entry.message.all_bytes();
        self.give_back_unseen(place, now, out);
        if let Some(until) = until {
            if let Some(entry) = self.line.get_mut(place) {
                entry.state = State::Waiting(until);
            }
            self.timers.insert((until, place));
        }
    }
}

/// The message with what became of it. What it carries of an earlier time is replaced, but for the first time.
fn dead_letter(entry: &Entry, (queue, place): (QueueId, Place), from: &Arc<str>, reason: &str, now: Time) -> Message {
    let before = |name| entry.message.annotations.iter().find(|note| &*note.name == name);
    let now_text: Arc<str> = now.0.to_string().into();
    let first = before(FIRST_TIME).map_or_else(|| now_text.clone(), |note| note.value.clone());
    let notes = [
        (ORIGIN, entry.message.meta.address.to_string().into()),
        (QUEUE, from.clone()),
        (REASON, reason.into()),
        (COUNT, entry.failed_count.to_string().into()),
        (FIRST_TIME, first),
        (LAST_TIME, now_text),
    ];
    let notes = notes.into_iter().map(|(name, value)| Annotation { name: name.into(), value });
    let mut message = entry.message.readdressed(Address::queue(DEAD_LETTER_QUEUE), notes);
    let earlier = entry.message.annotations.len();
    let mut index = 0;
    message.annotations.retain(|note| {
        index += 1;
        index > earlier || !note.name.starts_with(PREFIX)
    });
    message.meta.expires_at = None;
    if let Some(rare) = &mut message.meta.rare {
        // There it waits for nobody's time.
        (rare.deliver_at, rare.dedup_id) = (None, None);
    }
    if entry.stored {
        // Sent again after a crash, it is a duplicate there. No place is ever used twice.
        message.meta.rare_mut().dedup_id = Some(format!("{} {}", queue.0, place.seq.0).into());
    }
    // In the journal an id names one message, and this one differs from its origin.
    message.meta.id = MessageId(0);
    message
}
