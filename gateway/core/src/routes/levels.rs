//! Filters of levels. Those that spell out a topic stand in a map: one look-up, however many there are. Those with
//! wildcards stand in a trie.

use evergate_model::ahead::CACHED;
use evergate_model::{Filter, NameMap, QueueId};

use super::bindings::{Bindings, Bound};
use super::trie::Node;

/// The queues that are bound to filters of levels.
#[derive(Debug, Default)]
pub struct Levels {
    spelled_out: NameMap<Bindings>,
    wild: Node,
}

impl Levels {
    /// Calls `each` for every binding whose filter matches `topic`.
    pub fn find(&self, topic: &str, each: &mut impl FnMut(&Bound)) {
        if let Some(bindings) = self.spelled_out.get(topic) {
            bindings.values().for_each(&mut *each);
        }
        if !self.wild.is_empty() {
            self.wild.find(&mut topic.split('/'), Filter::hides(topic), each);
        }
    }

    /// A value of what [`Levels::find`] will ask for.
    pub fn sample(&self, topic: &str) -> u64 {
        if self.spelled_out.len() <= CACHED {
            return 0;
        }
        self.spelled_out.get(topic).and_then(Bindings::first).map_or(0, |bound| bound.queue().0)
    }

    /// Where bindings of `filter` stand, made if there are none.
    pub fn place(&mut self, filter: &Filter) -> &mut Bindings {
        if filter.is_wild() {
            self.wild.place(filter.as_str())
        } else {
            self.spelled_out.entry(filter.as_str().into()).or_default()
        }
    }

    /// Removes a binding, and what it leaves empty.
    pub fn remove(&mut self, filter: &Filter, queue: QueueId) {
        if filter.is_wild() {
            self.wild.remove(&mut filter.as_str().split('/'), queue);
        } else if let Some(bindings) = self.spelled_out.get_mut(filter.as_str()) {
            bindings.remove(&queue);
            if bindings.is_empty() {
                self.spelled_out.remove(filter.as_str());
            }
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.spelled_out.is_empty() && self.wild.is_empty()
    }
}
