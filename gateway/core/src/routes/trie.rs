//! A trie of topic filters with wildcards, one node a level.

use std::collections::HashMap;

use evergate_model::{NameHash, QueueId};

use super::bindings::{Bindings, Bound};

/// A level of the trie.
#[derive(Debug, Default)]
pub struct Node {
    levels: HashMap<Box<str>, Node, NameHash>,
    /// `+`
    any_level: Option<Box<Node>>,
    /// Bindings that end here, and those that end here with `#`.
    here: Bindings,
    below: Bindings,
}

impl Node {
    /// Calls `each` for every binding that matches the remaining levels.
    pub fn find<'a>(
        &self,
        levels: &mut (impl Iterator<Item = &'a str> + Clone),
        skip_wild: bool,
        each: &mut impl FnMut(&Bound),
    ) {
        if !skip_wild {
            self.below.values().for_each(&mut *each);
        }
        let Some(level) = levels.next() else {
            self.here.values().for_each(each);
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
    pub fn place(&mut self, filter: &str) -> &mut Bindings {
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
    pub fn remove<'a>(&mut self, levels: &mut impl Iterator<Item = &'a str>, queue: QueueId) -> bool {
        match levels.next() {
            None => drop(self.here.remove(&queue)),
            Some("#") => drop(self.below.remove(&queue)),
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
        self.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any_level.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}
