//! What was found out about the last topics.

use std::sync::Arc;

use crate::NameMap;

/// Remembers the outcome for at most `MAX` topics: for what is the same each time and takes long to find out.
#[derive(Debug)]
pub struct RecentTopics<T, const MAX: usize> {
    topics: NameMap<T>,
}

impl<T, const MAX: usize> Default for RecentTopics<T, MAX> {
    fn default() -> Self {
        Self { topics: NameMap::default() }
    }
}

impl<T, const MAX: usize> RecentTopics<T, MAX> {
    /// What is remembered of `topic`, or what `find` says now.
    pub fn get(&mut self, topic: &Arc<str>, find: impl FnOnce() -> T) -> &T {
        if self.topics.len() >= MAX && !self.topics.contains_key(topic) {
            self.topics.clear();
        }
        self.topics.entry(Arc::clone(topic)).or_insert_with(find)
    }

    /// Forgets all: something else would be found now.
    pub fn clear(&mut self) {
        self.topics.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_looked_into_once_until_it_is_forgotten() {
        let (mut recent, mut looked) = (RecentTopics::<u32, 3>::default(), 0);
        let mut get = |recent: &mut RecentTopics<u32, 3>, topic: &str| {
            let look = || {
                looked += 1;
                looked
            };
            *recent.get(&topic.into(), look)
        };
        assert_eq!(["a", "b", "a", "b", "c", "a"].map(|topic| get(&mut recent, topic)), [1, 2, 1, 2, 3, 1]);
        recent.clear();
        assert_eq!(["a", "a"].map(|topic| get(&mut recent, topic)), [4, 4]);
        for number in 0..100 {
            get(&mut recent, &number.to_string());
            assert!(recent.topics.len() <= 3);
        }
    }
}
