//! What a message will meet, one value of each line of memory. See [`evergate_model::ahead`].

use super::Queue;
use super::class::Class;
use crate::consumer::Consumer;
use crate::lane::Lane;

impl Queue {
    /// In the queue itself.
    pub fn sample(&self) -> u64 {
        u64::from(self.full)
            ^ u64::from(self.consumers.is_empty())
            ^ u64::from(self.active.is_some())
            ^ u64::from(self.idle_since.is_some())
            ^ self.line.count
            ^ self.line.resident_bytes
            ^ self.id.0
            ^ self.round
            ^ self.committed.0
            ^ self.unsettled
            ^ self.counts.published
    }

    /// Of its first consumer and of what stands first in its line.
    pub fn sample_ends(&self) -> u64 {
        let consumer = self.consumers.first().map_or(0, |consumer| Consumer::sample(consumer));
        let entry = self.line.first(Lane::USUAL);
        consumer ^ entry.map_or(0, |entry| u64::from(entry.failed_count) ^ entry.refused_by.len() as u64)
    }

    /// Of its first class.
    pub fn sample_class(&self) -> u64 {
        self.classes.first().map_or(0, |class| Class::sample(class))
    }

    /// In the message that stands first in its line.
    pub fn sample_first_message(&self) -> u64 {
        let first = self.line.first(Lane::USUAL).map(|entry| &entry.message);
        first.map_or(0, |message| message.size_bytes() ^ u64::from(message.meta.group_id().is_some()))
    }

    /// Writes to where the next message will stand: before it stands there, that cannot be read.
    pub fn touch_free_slot(&mut self) {
        self.line.touch_free_slot(Lane::USUAL);
    }
}
