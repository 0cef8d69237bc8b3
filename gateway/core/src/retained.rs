//! The last message of each topic that was published with the retain flag.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use evergate_model::{Filter, MemoryPermit, Message, SYSTEM_PREFIX, Time};

/// Retained messages by topic.
#[derive(Debug, Default)]
pub struct RetainedMessages {
    by_topic: BTreeMap<Arc<str>, Arc<Message>>,
    /// Of those of clients.
    bytes: u64,
}

/// What a topic's message counts: the gateway's own figures are no matter of the limits.
fn counted_bytes(message: &Message) -> u64 {
    if message.meta.address.name.starts_with(SYSTEM_PREFIX) { 0 } else { message.size_bytes() }
}

impl RetainedMessages {
    /// How many topics of clients have one.
    pub fn len(&self) -> usize {
        let from_own = self.by_topic.range::<str, _>((Bound::Included(SYSTEM_PREFIX), Bound::Unbounded));
        self.by_topic.len() - from_own.take_while(|(topic, _)| topic.starts_with(SYSTEM_PREFIX)).count()
    }

    pub fn contains(&self, topic: &str) -> bool {
        self.by_topic.contains_key(topic)
    }

    /// How many bytes they are now, and would be with this one.
    pub fn bytes_with(&self, message: &Message) -> (u64, u64) {
        let before = self.by_topic.get(&message.meta.address.name).map_or(0, |before| counted_bytes(before));
        (self.bytes, self.bytes - before + counted_bytes(message))
    }

    pub fn set(&mut self, message: Arc<Message>) {
        let name = message.meta.address.name.clone();
        // Its name goes with the one before: else each topic would keep two.
        self.clear(&name);
        self.bytes += counted_bytes(&message);
        self.by_topic.insert(name, message);
    }

    /// Returns whether there was one.
    pub fn clear(&mut self, topic: &str) -> bool {
        let before = self.by_topic.remove(topic);
        self.bytes -= before.as_deref().map_or(0, counted_bytes);
        before.is_some()
    }

    /// Takes memory for those that nobody else has.
    pub fn take_memory(&mut self, mut take: impl FnMut(u64) -> MemoryPermit) {
        for message in self.by_topic.values_mut().filter_map(Arc::get_mut) {
            message.permit = Some(take(message.size_bytes()));
        }
    }

    /// Those that match and have not expired, by topic.
    pub fn matching<'a>(&'a self, filter: &'a Filter, now: Time) -> impl Iterator<Item = &'a Arc<Message>> {
        // What all that match begin with narrows the search.
        let literal = filter.literal_prefix();
        self.by_topic
            .range::<str, _>((Bound::Included(literal), Bound::Unbounded))
            .take_while(move |(topic, _)| topic.starts_with(literal))
            .filter(move |(topic, message)| filter.matches(topic) && !message.is_expired(now))
            .map(|(_, message)| message)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use evergate_model::{Address, Encoding, Meta};

    use super::*;

    #[test]
    fn the_narrowed_search_finds_what_the_filter_matches() {
        let mut retained = RetainedMessages::default();
        let topics = ["a", "a/b", "a/c/d", "ab", "/a", "$SYS/x", "_LOG"];
        for topic in topics {
            let meta = Meta::new(Address::topic(topic));
            retained.set(Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new())));
        }
        let mut filters =
            vec![Filter::glob("a/*").unwrap(), Filter::glob("**b").unwrap(), Filter::regex("a/?b").unwrap()];
        filters.extend(
            ["#", "+", "a/#", "a/+", "a", "+/b", "/#", "$SYS/#", "a/c/d"].map(|text| Filter::new(text).unwrap()),
        );
        for filter in &filters {
            let mut expected: Vec<&str> = topics.into_iter().filter(|topic| filter.matches(topic)).collect();
            expected.sort_unstable();
            let found: Vec<&str> = retained.matching(filter, Time(0)).map(|m| &*m.meta.address.name).collect();
            assert_eq!(found, expected, "{filter}");
        }
    }
}
