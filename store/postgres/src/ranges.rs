//! Sets of places by queue, as ranges: what settled rows and checkpoints say, while a restart reads.

use std::collections::HashMap;

use crate::array::Elements;

/// Places of many queues.
#[derive(Debug, Default)]
pub struct Ranges {
    queues: HashMap<u64, Vec<(u64, u64)>>,
}

impl Ranges {
    /// Adds the ranges of a row's three arrays.
    pub fn extend(&mut self, queues: Elements<'_>, mut firsts: Elements<'_>, mut lasts: Elements<'_>) {
        let mut queues = queues;
        while let (Some(queue), Some(first), Some(last)) = (queues.number(), firsts.number(), lasts.number()) {
            let ranges = self.queues.entry(queue).or_default();
            match ranges.last_mut() {
                // Most ranges follow the one before.
                Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
                _ => ranges.push((first, last)),
            }
        }
    }

    /// Sorts and joins them; needed before [`Self::contains`], and keeps them few in between.
    pub fn tidy(&mut self) {
        for ranges in self.queues.values_mut() {
            ranges.sort_unstable();
            ranges.dedup_by(|next, kept| {
                let is_joined = next.0 <= kept.1.saturating_add(1);
                if is_joined {
                    kept.1 = kept.1.max(next.1);
                }
                is_joined
            });
        }
    }

    /// Whether a place is in it.
    pub fn contains(&self, queue: u64, seq: u64) -> bool {
        contains(self.of(queue), seq)
    }

    /// The ranges of a queue, for [`contains`].
    pub fn of(&self, queue: u64) -> &[(u64, u64)] {
        self.queues.get(&queue).map_or(&[], Vec::as_slice)
    }
}

/// Whether a place is in one of these ranges.
pub fn contains(ranges: &[(u64, u64)], seq: u64) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= seq);
    behind > 0 && ranges[behind - 1].1 >= seq
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::{FromSql as _, Type};

    use super::*;
    use crate::array::Array;

    #[test]
    fn ranges_join_in_any_order() {
        let array = |numbers: &[u64]| {
            let mut array = Array::new(&Type::INT8);
            for number in numbers {
                array.push_u64(*number);
            }
            array.finish().0
        };
        let mut ranges = Ranges::default();
        let rows = [(1, 10, 12), (2, 5, 5), (1, 1, 3), (1, 4, 6), (1, 2, 9), (1, 20, u64::MAX)];
        for (queue, first, last) in rows {
            let raw = [array(&[queue]), array(&[first]), array(&[last])];
            let [queues, firsts, lasts] = raw.each_ref().map(|raw| Elements::from_sql(&Type::INT8_ARRAY, raw).unwrap());
            ranges.extend(queues, firsts, lasts);
        }
        ranges.tidy();
        assert_eq!(ranges.queues[&1], [(1, 12), (20, u64::MAX)]);
        let contains = |queue, seq| ranges.contains(queue, seq);
        assert!(contains(1, 1) && contains(1, 12) && contains(1, u64::MAX) && contains(2, 5));
        assert!(!contains(1, 0) && !contains(1, 13) && !contains(2, 6) && !contains(3, 1));
    }
}
