//! What operators do to a queue: look into it, empty it, take chosen messages out.

use std::collections::BTreeSet;
use std::sync::Arc;

use evergate_model::{Message, Selector, Seq, Time, Token};

use super::class::{Class, ClassId, Mode};
use super::dispatch::Found;
use super::entry::State;
use super::line::Item;
use super::{Out, Queue};
use crate::effect::{SessionEvent, SessionId, ShardEffect};
use crate::lane::{Lane, Place};

/// A message as an operator sees it.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// Its place.
    pub seq: Seq,
    /// The message.
    pub message: Arc<Message>,
    /// Failed deliveries: since the node started, or over restarts where they are limited or there is a pause.
    pub failed_count: u32,
    /// Where it is on its way.
    pub state: PeekedState,
}

/// Where a message is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekedState {
    /// Waits for a consumer.
    Ready,
    /// Waits for its time.
    Scheduled(Time),
    /// A consumer has it.
    Held,
    /// On its way elsewhere: to `_DMQ`, or where an operator moves it.
    Leaving,
}

impl From<State> for PeekedState {
    fn from(state: State) -> Self {
        match state {
            State::Ready => Self::Ready,
            State::Waiting(until) => Self::Scheduled(until),
            State::Held => Self::Held,
            State::Leaving => Self::Leaving,
        }
    }
}

/// Where a look begins. What comes later to a place before is not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekFrom {
    /// At this place, in every priority.
    Place(Seq),
    /// Behind this place of this priority, in order of service: where an earlier look ended.
    Behind {
        /// Of the queue's order: on a stream the usual one.
        priority: u8,
        /// The last place that was shown.
        seq: Seq,
    },
}

impl PeekFrom {
    fn behind(place: Place) -> Self {
        Self::Behind { priority: place.lane.priority(), seq: place.seq }
    }
}

/// Which of the messages that an operator looks at leave the queue's service: they are moved elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// None: he only looks.
    Nothing,
    /// All that no consumer holds.
    All,
    /// These, if no consumer holds them. The others are not shown.
    Chosen(BTreeSet<Seq>),
}

/// A look that is not finished: some of it must be read back first.
#[derive(Debug)]
pub struct Peek {
    class: ClassId,
    /// What stands before is passed by.
    first: Option<Place>,
    left: usize,
    reserve: Reserve,
    found: Vec<Peeked>,
    /// The last that was found, in order of service.
    last: Option<Place>,
    /// What it finds is removed, and so many were already. `None`: it is shown.
    removed: Option<u64>,
    answer: (SessionId, Token),
}

impl Queue {
    /// Looks at up to `count` messages from a place on; answered with `Peeked`. What is reserved leaves service.
    pub fn peek(
        &mut self,
        from: PeekFrom,
        count: usize,
        selector: Option<Selector>,
        reserve: Reserve,
        answer: (SessionId, Token),
    ) {
        self.start_peek(from, count, selector, reserve, None, answer);
    }

    /// Removes every message that no consumer holds and that is selected; answered with `Removed`.
    pub fn purge_selected(&mut self, selector: Selector, answer: (SessionId, Token)) {
        self.start_peek(PeekFrom::Place(Seq(0)), usize::MAX, Some(selector), Reserve::All, Some(0), answer);
    }

    fn start_peek(
        &mut self,
        from: PeekFrom,
        left: usize,
        selector: Option<Selector>,
        reserve: Reserve,
        removed: Option<u64>,
        answer: (SessionId, Token),
    ) {
        let mut class = Class::new(Mode::Peek, selector, None);
        let first = match from {
            PeekFrom::Place(seq) => {
                class.set_cursors(seq);
                None
            }
            PeekFrom::Behind { priority, seq } => {
                let first = Place { lane: Lane::of_priority(priority), seq: Seq(seq.0.saturating_add(1)) };
                for lane in (0..first.lane.0).map(Lane) {
                    class.set_cursor(lane, Seq(u64::MAX));
                }
                class.set_cursor(first.lane, first.seq);
                Some(first)
            }
        };
        let class = self.add_class(class);
        let (found, last) = (Vec::new(), None);
        self.rare.make().peeks.push(Peek { class, first, left, reserve, found, last, removed, answer });
    }

    /// Goes on with the looks that are not finished.
    pub(super) fn answer_peeks(&mut self, now: Time, out: &mut Out<'_>) {
        for mut peek in std::mem::take(&mut self.rare.make().peeks) {
            if self.look_on(&mut peek, now, out) {
                let next = self.next_look(&peek, now, out);
                self.classes.remove(&peek.class);
                let (session, token) = peek.answer;
                let Some(count) = peek.removed else {
                    let event = SessionEvent::Peeked { token, messages: peek.found, next };
                    out.effects.push(ShardEffect::Tell(session, event));
                    continue;
                };
                out.later.push(ShardEffect::Tell(session, SessionEvent::Removed { token, count }));
            } else {
                self.rare.make().peeks.push(peek);
            }
        }
    }

    /// The queue goes: who still looks is told that nothing is there.
    pub fn end_peeks(&mut self) -> impl Iterator<Item = ShardEffect> {
        let peeks = self.rare.made().map(|rare| std::mem::take(&mut rare.peeks)).unwrap_or_default();
        peeks.into_iter().map(|Peek { answer: (session, token), removed, .. }| {
            let shown = SessionEvent::Peeked { token, messages: Vec::new(), next: None };
            ShardEffect::Tell(session, removed.map_or(shown, |count| SessionEvent::Removed { token, count }))
        })
    }

    /// Whether it is finished.
    fn look_on(&mut self, peek: &mut Peek, now: Time, out: &mut Out<'_>) -> bool {
        let end = match &peek.reserve {
            Reserve::Chosen(seqs) => seqs.last().copied(),
            Reserve::Nothing | Reserve::All => None,
        };
        let is_beyond = |seq: Seq| end.is_some_and(|end| seq > end);
        while peek.left > 0 {
            match self.find(peek.class, now, out) {
                Found::Ready(place, _) if is_beyond(place.seq) => self.end_lane(peek.class, place),
                Found::Paged(place, paged) if is_beyond(paged.range.first) => self.end_lane(peek.class, place),
                Found::Ready(place, _) => {
                    self.pass(peek.class, place);
                    if peek.first.is_some_and(|first| place < first) || !self.is_taken_by(&peek.reserve, place) {
                        if self.is_over_memory() {
                            self.page_out(place);
                        }
                        continue;
                    }
                    let Some(entry) = self.line.get(place) else { continue };
                    peek.left -= 1;
                    peek.last = peek.last.max(Some(place));
                    if let Some(removed) = &mut peek.removed {
                        *removed += 1;
                        self.remove(place.seq, out);
                        continue;
                    }
                    peek.found.push(Peeked {
                        seq: place.seq,
                        message: entry.message.clone(),
                        failed_count: entry.failed_count,
                        state: entry.state.into(),
                    });
                    if self.is_over_memory() {
                        self.page_out(place);
                    }
                }
                Found::Paged(key, paged) => {
                    self.read_back(key, &paged, out);
                    return false;
                }
                Found::Nothing { .. } => return true,
            }
        }
        true
    }

    /// Where the next look goes on, if this one has found as much as it was to, and there may be more.
    fn next_look(&mut self, peek: &Peek, now: Time, out: &mut Out<'_>) -> Option<PeekFrom> {
        let last = peek.last.filter(|_| peek.left == 0 && !matches!(peek.reserve, Reserve::Chosen(_)))?;
        match self.find(peek.class, now, out) {
            Found::Ready(..) | Found::Paged(..) => Some(PeekFrom::behind(last)),
            Found::Nothing { .. } => None,
        }
    }

    /// The look goes no further in this lane. What is given back there later is offered to it again.
    fn end_lane(&mut self, id: ClassId, place: Place) {
        if let Some(class) = self.classes.get_mut(&id) {
            class.drop_returned(place);
            class.set_cursor(place.lane, Seq(u64::MAX));
        }
    }

    /// Whether the look is to show this one: always, or because it was reserved by this.
    fn is_taken_by(&mut self, reserve: &Reserve, place: Place) -> bool {
        let is_chosen = match reserve {
            Reserve::Nothing => return true,
            Reserve::All => true,
            Reserve::Chosen(seqs) => seqs.contains(&place.seq),
        };
        let is_free = self.line.get(place).is_some_and(|entry| matches!(entry.state, State::Ready | State::Waiting(_)));
        is_chosen && is_free && self.start_leaving(place)
    }

    /// Removes every message that no consumer holds and that is not on its way out. Returns how many.
    pub fn purge(&mut self, out: &mut Out<'_>) -> u64 {
        let before = self.line.count;
        let mut entries = Vec::new();
        let mut ranges = Vec::new();
        for (place, item) in self.line.iter() {
            match item {
                Item::Entry(entry) if matches!(entry.state, State::Ready | State::Waiting(_)) => entries.push(place),
                Item::Entry(_) if self.rare.get().returning.contains(place) => entries.push(place),
                Item::Entry(_) => {}
                Item::Paged(_) => ranges.push(place),
            }
        }
        for place in entries {
            self.remove_at(place, out);
        }
        for key in ranges {
            self.drop_range(key, out);
        }
        before - self.line.count
    }

    /// Removes what no consumer holds of these places; answered with `Removed`. Which of them are in a range that is
    /// not in memory is known when that is read back.
    pub fn take_out(&mut self, seqs: &[Seq], answer: (SessionId, Token), out: &mut Out<'_>) {
        let before = self.line.count;
        let mut paged = BTreeSet::new();
        for seq in seqs {
            if let Some(place) = self.line.place_of(*seq) {
                let state = self.line.get(place).map(|entry| entry.state);
                if matches!(state, Some(State::Ready | State::Waiting(_))) || self.rare.get().returning.contains(place)
                {
                    self.remove_at(place, out);
                }
            } else if self.line.paged_place_of(*seq).is_some() {
                paged.insert(*seq);
            }
        }
        let count = before - self.line.count;
        if let Some(first) = paged.first().copied() {
            let (from, left) = (PeekFrom::Place(first), paged.len());
            self.start_peek(from, left, None, Reserve::Chosen(paged), Some(count), answer);
        } else {
            let (session, token) = answer;
            out.later.push(ShardEffect::Tell(session, SessionEvent::Removed { token, count }));
        }
    }

    /// Removes one message of a range that is not in memory.
    pub(super) fn remove_paged(&mut self, place: Place, out: &mut Out<'_>) {
        if self.rare.make().settled_in_range.insert(place) && self.line.forget_paged(place) {
            self.log_settle(place, out);
            self.forget_rows(place, place.seq, out);
        }
        if self.line.paged_at(place).is_none() {
            self.rare.make().settled_in_range.remove(&place);
        }
    }

    /// Removes a paged range, whole.
    pub(super) fn drop_range(&mut self, key: Place, out: &mut Out<'_>) {
        let Some(paged) = self.line.remove_paged(key) else { return };
        self.unwatch_range(key, &paged);
        let (queue, range) = (key.lane.stored_as(self.id), paged.range);
        out.records.push(evergate_journal::Record::Settle { queue, first: range.first, last: range.last });
        self.forget_rows(Place { lane: key.lane, seq: range.first }, range.last, out);
    }
}
