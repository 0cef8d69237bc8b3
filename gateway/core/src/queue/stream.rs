//! Streams: messages stay until they are too old or too many. Consumers are sent copies.

use evergate_model::{QueueKind, Seq, Time};

use super::line::Item;
use super::{Out, Queue};
use crate::lane::Lane;

impl Queue {
    /// How long a message stays on a stream.
    fn age_max(&self) -> Option<std::time::Duration> {
        match self.settings.kind {
            QueueKind::Stream { age_max, .. } => age_max,
            QueueKind::Work | QueueKind::LastValue { .. } => None,
        }
    }

    /// When a message of a stream is too old.
    pub(super) fn ages_at(&self, taken: Time) -> Option<Time> {
        self.age_max().map(|age| taken.after(age))
    }

    /// Bytes that it may hold.
    pub(super) fn bytes_max(&self) -> u64 {
        match self.settings.kind {
            QueueKind::Stream { bytes_max: Some(bytes_max), .. } => bytes_max.min(self.settings.bytes_max),
            _ => self.settings.bytes_max,
        }
    }

    /// Drops from the head what is too old, and notes when to look again.
    pub(super) fn drop_old(&mut self, now: Time, out: &mut Out<'_>) {
        if self.age_max().is_none() || self.rare.get().ages_next.is_some_and(|at| at > now) {
            return;
        }
        self.rare.make().ages_next = None;
        while let Some((place, item)) = self.line.next_at(Lane::USUAL, Seq(0)) {
            let taken = match item {
                Item::Entry(entry) => Some(entry.message.meta.ingress),
                // Of a range the newest counts: it goes whole. What is too old in it is not shown.
                Item::Paged(paged) => paged.taken.map(|(_, newest)| newest),
            };
            let Some(at) = taken.and_then(|taken| self.ages_at(taken)) else {
                // A restart found it: one look tells.
                if let Some((key, paged)) = self.line.paged_at(place) {
                    self.read_back(key, &paged, out);
                }
                return;
            };
            if at > now {
                self.rare.make().ages_next = Some(at);
                return;
            }
            match item {
                Item::Entry(_) => self.remove_at(place, out),
                Item::Paged(_) => self.drop_range(place, out),
            }
        }
    }
}
