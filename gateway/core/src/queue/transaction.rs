//! What a transaction does to a queue beside what every publish and settle does.

use evergate_model::{OnFull, Seq, Time};

use super::{Out, Queue};
use crate::consumer::ConsumerKey;
use crate::lane::Place;

impl Queue {
    /// Takes what the consumer holds of `first..=last` out of its hands: it is neither settled nor given back.
    /// `None`: there is no such consumer.
    pub fn take_held(&mut self, key: ConsumerKey, first: Seq, last: Seq) -> Option<Vec<Place>> {
        let held = &mut self.consumers.get_mut(&key)?.held;
        if first > last {
            return Some(Vec::new());
        }
        let taken: Vec<Place> = held.range(first..=last).map(|(seq, lane)| Place { lane: *lane, seq: *seq }).collect();
        for place in &taken {
            held.remove(&place.seq);
        }
        self.unsettled -= taken.len() as u64;
        Some(taken)
    }

    /// Whether so many messages more, of so many bytes, would not be refused.
    pub fn has_room_for(&self, messages: u64, bytes: u64) -> bool {
        self.settings.on_full != OnFull::Reject
            // Those that may be thrown away make room.
            || !self.rare.get().discardable.is_empty()
            || !self.would_be_over(messages, bytes)
    }

    /// Puts deliveries back into the consumer's hands, or to their places in the queue if it has left.
    pub fn give_back_to(&mut self, key: ConsumerKey, places: Vec<Place>, now: Time, out: &mut Out<'_>) {
        for place in places {
            if self.line.get(place).is_none() {
                // Purged meanwhile.
                continue;
            }
            if let Some(consumer) = self.consumers.get_mut(&key) {
                consumer.held.insert(place.seq, place.lane);
                self.unsettled += 1;
            } else {
                self.group_is_settled(key, place);
                self.give_back(place, false, None, now, out);
            }
        }
    }
}
