//! Globs and regular expressions. Each is tested once for a topic; a publisher remembers the outcome.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use evergate_model::{Filter, QueueId, RecentTopics};

use super::bindings::{Bindings, Bound};

/// Topics whose patterns a publisher remembers.
const TOPICS_MAX: usize = 1024;

/// Which patterns match the topics that one publisher publishes to. Empty where there are no patterns.
#[derive(Debug, Default)]
pub struct RouteCache {
    /// Of which state of the patterns.
    generation: u64,
    topics: RecentTopics<Box<[u32]>, TOPICS_MAX>,
}

/// The patterns that queues are bound to.
#[derive(Debug, Default)]
pub struct Patterns {
    /// Rises with every pattern that comes or goes.
    generation: u64,
    numbers: HashMap<Filter, u32>,
    all: HashMap<u32, (Filter, Bindings)>,
    last_number: u32,
    /// By the first level, of those that spell it out.
    by_level: HashMap<Box<str>, BTreeSet<u32>>,
    others: BTreeSet<u32>,
}

impl Patterns {
    /// Calls `each` for every binding whose pattern matches `topic`.
    pub fn find(&self, topic: &Arc<str>, cache: &mut RouteCache, each: &mut impl FnMut(&Bound)) {
        // What no pattern matches is not worth a place.
        if self.all.is_empty() || topic.len() > Filter::PATTERN_NAME_BYTES_MAX {
            return;
        }
        if cache.generation != self.generation {
            cache.topics.clear();
            cache.generation = self.generation;
        }
        for number in cache.topics.get(topic, || self.matching(topic)) {
            if let Some((_, bindings)) = self.all.get(number) {
                bindings.values().for_each(&mut *each);
            }
        }
    }

    fn matching(&self, topic: &str) -> Box<[u32]> {
        let level = topic.split('/').next().unwrap_or_default();
        let candidates = self.by_level.get(level).into_iter().flatten().chain(&self.others);
        let matches = |number: &&u32| self.all.get(*number).is_some_and(|(filter, _)| filter.matches(topic));
        candidates.filter(matches).copied().collect()
    }

    pub fn bind(&mut self, filter: &Filter, bound: Bound) {
        let number = match self.numbers.get(filter) {
            Some(number) => *number,
            None => self.add(filter),
        };
        if let Some((_, bindings)) = self.all.get_mut(&number) {
            bindings.insert(bound.queue(), bound);
        }
    }

    pub fn unbind(&mut self, queue: QueueId, filter: &Filter) {
        let Some(number) = self.numbers.get(filter).copied() else { return };
        let Some((_, bindings)) = self.all.get_mut(&number) else { return };
        bindings.remove(&queue);
        if bindings.is_empty() {
            self.remove(filter, number);
        }
    }

    fn add(&mut self, filter: &Filter) -> u32 {
        self.generation += 1;
        // Numbers come round after four thousand million patterns.
        while self.all.contains_key(&self.last_number) {
            self.last_number = self.last_number.wrapping_add(1);
        }
        let number = self.last_number;
        match first_level(filter) {
            Some(level) => self.by_level.entry(level.into()).or_default().insert(number),
            None => self.others.insert(number),
        };
        self.numbers.insert(filter.clone(), number);
        self.all.insert(number, (filter.clone(), Bindings::default()));
        number
    }

    fn remove(&mut self, filter: &Filter, number: u32) {
        self.generation += 1;
        self.numbers.remove(filter);
        self.all.remove(&number);
        self.others.remove(&number);
        if let Some(level) = first_level(filter)
            && let Some(numbers) = self.by_level.get_mut(level)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_level.remove(level);
            }
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.all.is_empty() && self.by_level.is_empty() && self.others.is_empty()
    }
}

/// The first level of every topic that matches, if the pattern spells all of it out.
fn first_level(filter: &Filter) -> Option<&str> {
    filter.literal_prefix().split_once('/').map(|(level, _)| level)
}
