//! Where a publish goes: queues by name, and a trie of topic filters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use evergate_model::{Address, AddressKind, Binding, Filter, QueueId};

use crate::ShardId;

/// A queue that a publish goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which shard owns it.
    pub shard: ShardId,
    /// Which queue.
    pub queue: QueueId,
    /// Durable messages are kept there.
    pub durable: bool,
}

/// The binding table. The directory changes it; sessions read it.
#[derive(Debug, Default)]
pub struct Routes {
    names: HashMap<Arc<str>, Target>,
    root: Node,
    full: HashSet<QueueId>,
}

/// A level of the trie.
#[derive(Debug, Default)]
struct Node {
    levels: HashMap<Box<str>, Node>,
    /// `+`
    any_level: Option<Box<Node>>,
    /// Bindings that end here, and those that end here with `#`.
    here: Vec<Bound>,
    below: Vec<Bound>,
}

#[derive(Clone, Debug)]
struct Bound {
    target: Target,
    no_local: Option<Arc<str>>,
}

impl Routes {
    /// The queues that a message from `client_id` to `address` goes to, each once, by shard. Empties `found` first.
    pub fn find(&self, address: &Address, client_id: &str, found: &mut Vec<Target>) {
        found.clear();
        match address.kind {
            AddressKind::Queue => found.extend(self.names.get(&address.name).copied()),
            AddressKind::Topic => {
                let skip_wild = Filter::hides(&address.name);
                self.root.find(&mut address.name.split('/'), skip_wild, &mut |bound: &Bound| {
                    if bound.no_local.as_deref() != Some(client_id) {
                        found.push(bound.target);
                    }
                });
                if found.len() > 1 {
                    // Of several bindings of a queue a durable one comes first, so it is the one that stays.
                    found.sort_unstable_by_key(|target| (target.shard, target.queue, !target.durable));
                    found.dedup_by_key(|target| target.queue);
                }
            }
        }
    }

    /// Whether publishers to this queue must wait.
    pub fn is_full(&self, queue: QueueId) -> bool {
        !self.full.is_empty() && self.full.contains(&queue)
    }

    /// Notes that a queue is full, or no longer.
    pub fn set_full(&mut self, queue: QueueId, full: bool) {
        if full {
            self.full.insert(queue);
        } else {
            self.full.remove(&queue);
        }
    }

    /// Makes a queue reachable by its name.
    pub fn add_queue(&mut self, name: Arc<str>, target: Target) {
        self.names.insert(name, target);
    }

    /// The name leads nowhere any more.
    pub fn remove_queue(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// Binds a queue to a filter; replaces a binding of the same two.
    pub fn bind(&mut self, binding: &Binding, target: Target) {
        let target = Target { durable: target.durable && binding.durable, ..target };
        let bound = Bound { target, no_local: binding.no_local.clone() };
        let place = self.root.place(binding.filter.as_str());
        match place.iter_mut().find(|other| other.target.queue == target.queue) {
            Some(other) => *other = bound,
            None => place.push(bound),
        }
    }

    /// Removes a binding.
    pub fn unbind(&mut self, queue: QueueId, filter: &Filter) {
        self.root.remove(&mut filter.as_str().split('/'), queue);
    }
}

impl Node {
    /// Calls `each` for every binding that matches the remaining levels.
    fn find<'a>(
        &self,
        levels: &mut (impl Iterator<Item = &'a str> + Clone),
        skip_wild: bool,
        each: &mut impl FnMut(&Bound),
    ) {
        if !skip_wild {
            self.below.iter().for_each(&mut *each);
        }
        let Some(level) = levels.next() else {
            self.here.iter().for_each(each);
            return;
        };
        if let Some(next) = self.levels.get(level) {
            next.find(&mut levels.clone(), false, each);
        }
        if let Some(next) = &self.any_level
            && !skip_wild
        {
            next.find(levels, false, each);
        }
    }

    /// Where bindings of `filter` stand; nodes on the way are made.
    fn place(&mut self, filter: &str) -> &mut Vec<Bound> {
        let mut node = self;
        for level in filter.split('/') {
            match level {
                "#" => return &mut node.below,
                "+" => node = node.any_level.get_or_insert_default(),
                _ => node = node.levels.entry(level.into()).or_default(),
            }
        }
        &mut node.here
    }

    /// Removes a binding, and the nodes that it leaves empty. Returns whether this node is empty now.
    fn remove<'a>(&mut self, levels: &mut impl Iterator<Item = &'a str>, queue: QueueId) -> bool {
        match levels.next() {
            None => self.here.retain(|bound| bound.target.queue != queue),
            Some("#") => self.below.retain(|bound| bound.target.queue != queue),
            Some("+") => {
                if self.any_level.as_mut().is_some_and(|node| node.remove(levels, queue)) {
                    self.any_level = None;
                }
            }
            Some(level) => {
                if self.levels.get_mut(level).is_some_and(|node| node.remove(levels, queue)) {
                    self.levels.remove(level);
                }
            }
        }
        self.levels.is_empty() && self.any_level.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn target(queue: u64, durable: bool) -> Target {
        Target { shard: ShardId(0), queue: QueueId(queue), durable }
    }

    fn binding(filter: &str, durable: bool, no_local: Option<&str>) -> Binding {
        let filter = Filter::new(filter).unwrap();
        Binding { no_local: no_local.map(Arc::from), ..Binding::new(filter, durable) }
    }

    fn found(routes: &Routes, topic: &str, client_id: &str) -> Vec<(u64, bool)> {
        let mut found = Vec::new();
        routes.find(&Address::topic(topic), client_id, &mut found);
        found.iter().map(|target| (target.queue.0, target.durable)).collect()
    }

    #[test]
    fn the_trie_agrees_with_the_filter_on_every_pair() {
        let parts = ["a", "b", "", "$s", "_l", "+"];
        let mut filters = vec!["#".to_owned()];
        for x in parts {
            filters.extend([x.to_owned(), format!("{x}/#")]);
            for y in parts {
                filters.extend([format!("{x}/{y}"), format!("{x}/{y}/#")]);
            }
        }
        filters.retain(|filter| !filter.is_empty());
        for text in &filters {
            let mut routes = Routes::default();
            let binding = binding(text, true, None);
            routes.bind(&binding, target(1, true));
            for topic in filters.iter().filter(|topic| !topic.contains(['+', '#'])) {
                let expected = binding.filter.matches(topic);
                assert_eq!(!found(&routes, topic, "").is_empty(), expected, "{text} on {topic}");
            }
            routes.unbind(QueueId(1), &binding.filter);
            assert!(routes.root.levels.is_empty() && routes.root.any_level.is_none() && routes.root.below.is_empty());
        }
    }

    #[test]
    fn overlapping_bindings_reach_a_queue_once_and_durably_if_any_is() {
        let mut routes = Routes::default();
        routes.bind(&binding("a/#", false, None), target(1, true));
        routes.bind(&binding("a/+", true, None), target(1, true));
        routes.bind(&binding("a/b", true, None), target(2, false));
        assert_eq!(found(&routes, "a/b", ""), [(1, true), (2, false)]);
    }

    #[test]
    fn no_local_skips_what_the_client_itself_published() {
        let mut routes = Routes::default();
        routes.bind(&binding("a", true, Some("me")), target(1, true));
        assert_eq!(found(&routes, "a", "me"), []);
        assert_eq!(found(&routes, "a", "you"), [(1, true)]);
    }
}
