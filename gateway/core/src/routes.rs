//! Where a publish goes: queues by name, topics by filters of levels and by patterns.

mod bindings;
mod levels;
mod patterns;
#[cfg(test)]
mod tests;
mod trie;

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use evergate_model::ahead::{CACHED, read};
use evergate_model::{Address, AddressKind, Binding, Filter, Formats, Message, NameMap, QueueId, Selector, View};

use self::bindings::Bound;
use self::levels::Levels;
use self::patterns::Patterns;
pub use self::patterns::RouteCache;
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
    /// What comes there may be missed (QoS 0): nobody waits for room.
    pub at_most_once: bool,
}

/// The binding table. The directory changes it; sessions read it.
#[derive(Default)]
pub struct Routes {
    formats: Formats,
    names: NameMap<Target>,
    newest_queue: QueueId,
    levels: Levels,
    patterns: Patterns,
    full: HashSet<QueueId>,
    /// Queues that refuse messages when they are full.
    refusing: HashSet<QueueId>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("names", &self.names.len()).field("full", &self.full).finish_non_exhaustive()
    }
}

impl Routes {
    /// An empty table. Selectors of bindings read messages by `formats`.
    pub fn new(formats: Formats) -> Self {
        Self { formats, ..Self::default() }
    }

    /// The queues that `message` from `client_id` goes to, each once, by shard. Empties `found` first. `cache` is
    /// the caller's own: it remembers which patterns match the topics that it publishes to.
    pub fn find(&self, message: &Message, client_id: &str, cache: &mut RouteCache, found: &mut Vec<Target>) {
        found.clear();
        let address = &message.meta.address;
        match address.kind {
            AddressKind::Queue => found.extend(self.names.get(&address.name).copied()),
            AddressKind::Topic => {
                // Read once, and only if some binding has a selector.
                let view = OnceCell::new();
                let selects = |selector: &Selector| {
                    selector.matches(message, view.get_or_init(|| -> View<'_> { self.formats.view(message) }))
                };
                let mut take = |bound: &Bound| found.extend(bound.target_for(client_id, &selects));
                self.levels.find(&address.name, &mut take);
                self.patterns.find(&address.name, cache, &mut take);
                if let Some(only) = message.meta.only_to() {
                    found.retain(|target| target.queue == only);
                }
                if found.len() > 1 {
                    // Of several bindings of a queue the one that promises most comes first, so it is the one that stays.
                    found.sort_unstable_by_key(|target| (target.shard, target.queue, target.at_most_once));
                    found.dedup_by_key(|target| target.queue);
                }
            }
        }
    }

    /// Reads what [`Routes::find`] will ask for: see [`evergate_model::ahead`].
    pub fn look_ahead<'a>(&self, next: impl Iterator<Item = &'a Message>) {
        read(next.map(|message| match &message.meta.address {
            Address { kind: AddressKind::Topic, name } => self.levels.sample(name),
            Address { kind: AddressKind::Queue, name } if self.names.len() > CACHED => {
                self.names.get(name).map_or(0, |target| target.queue.0)
            }
            Address { kind: AddressKind::Queue, .. } => 0,
        }));
    }

    /// The queue that clients reach by this name.
    pub fn queue(&self, name: &str) -> Option<Target> {
        self.names.get(name).copied()
    }

    /// The newest of all queues that clients could ever reach by a name; those that come later have higher ids.
    pub(crate) fn newest_queue(&self) -> QueueId {
        self.newest_queue
    }

    /// Whether `selector` selects the message.
    pub(crate) fn selects(&self, selector: &Selector, message: &Message) -> bool {
        selector.matches_with(message, &self.formats)
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

    /// Whether this queue refuses messages when it is full: its shard knows when it is.
    pub fn may_refuse(&self, queue: QueueId) -> bool {
        !self.refusing.is_empty() && self.refusing.contains(&queue)
    }

    /// Whether any queue does.
    pub fn any_may_refuse(&self) -> bool {
        !self.refusing.is_empty()
    }

    /// Notes whether a queue refuses messages when it is full.
    pub fn set_may_refuse(&mut self, queue: QueueId, may_refuse: bool) {
        if may_refuse {
            self.refusing.insert(queue);
        } else {
            self.refusing.remove(&queue);
        }
    }

    /// Makes a queue reachable by its name.
    pub fn add_queue(&mut self, name: Arc<str>, target: Target) {
        self.newest_queue = self.newest_queue.max(target.queue);
        self.names.insert(name, target);
    }

    /// The name leads nowhere any more.
    pub fn remove_queue(&mut self, name: &str) {
        self.names.remove(name);
    }

    /// Binds a queue to a filter; replaces a binding of the same two.
    pub fn bind(&mut self, binding: &Binding, target: Target) {
        let bound = Bound::new(binding, target);
        if binding.filter.is_pattern() {
            self.patterns.bind(&binding.filter, bound);
        } else {
            self.levels.place(&binding.filter).insert(bound.queue(), bound);
        }
    }

    /// Removes a binding.
    pub fn unbind(&mut self, queue: QueueId, filter: &Filter) {
        if filter.is_pattern() {
            self.patterns.unbind(queue, filter);
        } else {
            self.levels.remove(filter, queue);
        }
    }
}
