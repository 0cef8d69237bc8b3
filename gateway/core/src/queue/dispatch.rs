//! Who gets what next.

use evergate_model::{Delivery, Dispatch, Event, Seq, Time};

use super::class::{ClassId, Rank};
use super::entry::State;
use super::groups::Recipient;
use super::line::Paged;
use super::look::Look;
use super::{Out, Queue};
use crate::bug::Bug;
use crate::consumer::ConsumerKey;
use crate::effect::{SessionEvent, ShardEffect};
use crate::lane::{Lane, Place};

/// What a class gets next.
#[derive(Debug)]
pub enum Found {
    /// This one; for this consumer, or for whose turn it is.
    Ready(Place, Option<ConsumerKey>),
    /// What is in this range, once it is read back.
    Paged(Place, Paged),
    /// Nothing now; perhaps what stands here, once it is committed.
    Nothing { uncommitted: Option<Seq> },
}

impl Queue {
    /// Hands out all that can be handed out.
    pub fn dispatch(&mut self, now: Time, out: &mut Out<'_>) {
        if self.trimming {
            self.trim(0, now, out);
        }
        if self.is_stream() {
            self.drop_old(now, out);
        }
        if !self.index(now, out) {
            return;
        }
        if !self.rare.get().unpinning.is_empty() {
            self.hand_out_pinned(now, out);
        }
        self.round += 1;
        let mut first = None;
        while let Some(id) = self.next_class(&mut first) {
            match self.find(id, now, out) {
                Found::Ready(place, only) => {
                    self.hand_out(id, place, only, out);
                    if self.has_moved_group() {
                        // Others may find something of what they had skipped.
                        self.classes.values_mut().for_each(|class| class.dry_in = 0);
                        first = None;
                    }
                }
                found => {
                    if let Found::Paged(key, paged) = found {
                        self.read_back(key, &paged, out);
                    }
                    // Nothing for these now; others may want something else.
                    if let Some(class) = self.classes.get_mut(&id) {
                        class.dry_in = self.round;
                    }
                }
            }
        }
        if !self.rare.get().peeks.is_empty() {
            self.answer_peeks(now, out);
        }
        if !self.rare.get().due.is_empty() {
            self.read_due(out);
        }
        self.read_urgent(out);
        if !self.rare.get().drains.is_empty() {
            self.answer_drains(now, out);
        }
    }

    /// Whether what is stored is handed out once it is committed, and not before.
    pub fn waits_for_commits(&self) -> bool {
        self.settings.dispatch == Dispatch::Committed
    }

    /// Whether something may be handed out, or read back, only because a delivery was accepted: what has its group, or
    /// had no room in memory.
    pub fn may_wait_for_an_accept(&self) -> bool {
        self.groups.is_some()
            || self.line.bytes > self.line.resident_bytes
            || self.trimming
            || !self.rare.get().due.is_empty()
            || !self.rare.get().peeks.is_empty()
            || !self.rare.get().drains.is_empty()
    }

    /// The class whose turn it is, of those that may still find something. `first`: it is this one or behind it. Who is
    /// served goes back in the line, so that each is passed once in a round.
    fn next_class(&mut self, first: &mut Option<(Rank, ClassId)>) -> Option<ClassId> {
        if let Some(favoured) = self.favoured_class() {
            return Some(favoured);
        }
        let may_find = |(_, id): &&(Rank, ClassId)| self.classes.get(id).is_some_and(|it| it.dry_in != self.round);
        *first = match first {
            None => self.turns.iter().find(may_find).copied(),
            Some(first) => self.turns.range_from(first).find(may_find).copied(),
        };
        first.map(|(_, id)| id)
    }

    /// What a class gets next: of the highest priority; of equals the oldest.
    pub(super) fn find(&mut self, id: ClassId, now: Time, out: &mut Out<'_>) -> Found {
        let mut uncommitted: Option<Seq> = None;
        for lane in self.lanes_in_order() {
            loop {
                match self.look(id, lane, now) {
                    Look::Ready(place, false) => return Found::Ready(place, None),
                    Look::Ready(place, true) => match self.recipient(id, place) {
                        Recipient::Any => return Found::Ready(place, None),
                        Recipient::Only(key) => return Found::Ready(place, Some(key)),
                        Recipient::Elsewhere => {}
                        Recipient::Blocked => break,
                    },
                    Look::Expired(place) => self.expire(place, now, out),
                    Look::Paged(key, paged) => return Found::Paged(key, paged),
                    Look::Uncommitted(seq) => {
                        uncommitted = uncommitted.into_iter().chain([seq]).min();
                        break;
                    }
                    Look::Nothing => break,
                }
            }
        }
        Found::Nothing { uncommitted }
    }

    fn lanes_in_order(&self) -> impl Iterator<Item = Lane> + use<> {
        let is_reversed = self.config.bug == Some(Bug::ReversePriorities);
        let backwards = is_reversed.then(|| self.line.lanes().rev()).into_iter().flatten();
        let forwards = (!is_reversed).then(|| self.line.lanes()).into_iter().flatten();
        backwards.chain(forwards)
    }

    /// A ready entry goes to its consumer, or to the one of the class whose turn it is.
    fn hand_out(&mut self, id: ClassId, place: Place, only: Option<ConsumerKey>, out: &mut Out<'_>) {
        self.pass(id, place);
        let turn = self.classes.get(&id).and_then(|class| class.turns.first());
        if let Some(key) = only.or(turn.map(|turn| turn.key)) {
            self.group_is_held(key, place);
            self.deliver(key, place, out);
        }
    }

    pub(super) fn deliver(&mut self, key: ConsumerKey, place: Place, out: &mut Out<'_>) {
        let (Some(consumer), Some(entry)) = (self.consumers.get_mut(&key), self.line.get_mut(place)) else { return };
        let delivery = Delivery {
            consumer: key.consumer,
            seq: place.seq,
            message: entry.message.clone(),
            failed_count: entry.failed_count,
            // A copy was never handed out before.
            redelivered: entry.redelivered && !consumer.copies,
            retained: entry.retained,
        };
        consumer.took(delivery.message.size_bytes());
        self.counts.delivered += 1;
        let (takes, is_settled) = (!consumer.copies, consumer.settled);
        if !takes
            && delivery.message.meta.deliver_at().is_some()
            && let Some(class) = self.classes.get_mut(&consumer.class)
        {
            class.was_copied(place);
        }
        if takes {
            if let State::Waiting(until) = entry.state {
                self.timers.remove(&(until, place));
            }
            entry.state = State::Held;
            if !is_settled {
                consumer.held.insert(place.seq, place.lane);
                self.unsettled += 1;
            }
        }
        let event = SessionEvent::Event(Event::Deliver(delivery));
        out.effects.push(ShardEffect::Tell(key.session, event));
        self.served(key);
        if takes && is_settled {
            self.group_is_settled(key, place);
            self.counts.settled += 1;
            self.remove_at(place, out);
        } else if takes {
            self.make_room_for_next(place);
        } else if self.is_over_memory() {
            self.page_out(place);
        }
    }
}
