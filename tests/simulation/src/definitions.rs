//! What an operator said of single queues: their own settings, and what they are bound to. It holds once he was told so, and over restarts.

use std::collections::BTreeMap;

use evergate_core::{ManageRequest, QueueDefinition, QueueEntry};
use evergate_model::{Binding, Policy};

use crate::model::{Check, Model};

/// What he said of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    own: Option<Policy>,
    /// By filter.
    bindings: BTreeMap<String, Binding>,
}

/// By the queue's name.
#[derive(Debug, Default)]
pub struct Definitions {
    told: BTreeMap<String, Definition>,
    /// Holds once he is told, or perhaps after a crash.
    asked: Option<(String, Definition)>,
    /// How often he was told that one has changed.
    pub changes: u64,
}

impl Definitions {
    /// He asks for something.
    pub fn asks(&mut self, request: &ManageRequest) {
        let own = |settings: &Policy| (*settings != Policy::default()).then(|| settings.clone());
        let changed = |name: &str, change: &dyn Fn(&mut Definition)| {
            let mut definition = self.of(name);
            change(&mut definition);
            Some((name.to_owned(), definition))
        };
        self.asked = match request {
            ManageRequest::CreateQueue(QueueDefinition { name, bindings, settings }) => {
                Some((name.to_string(), Definition { own: own(settings), bindings: by_filter(bindings) }))
            }
            ManageRequest::ChangeQueue { name, settings } => changed(name, &|it| it.own = own(settings)),
            ManageRequest::BindQueue { name, binding } => changed(name, &|it| {
                it.bindings.insert(binding.filter.to_string(), binding.clone());
            }),
            ManageRequest::UnbindQueue { name, filter } => changed(name, &|it| {
                it.bindings.remove(filter.as_str());
            }),
            ManageRequest::DeleteQueue { name, .. } => Some((name.clone(), Definition::default())),
            _ => None,
        };
    }

    /// Nothing has changed.
    pub fn refused(&mut self) {
        self.asked = None;
    }

    /// He is told that it is done.
    pub fn done(&mut self) {
        if let Some((name, definition)) = self.asked.take() {
            self.changes += 1;
            self.told.insert(name, definition);
        }
    }

    fn of(&self, name: &str) -> Definition {
        self.told.get(name).cloned().unwrap_or_default()
    }

    /// What he finds is what he was told.
    pub fn check(&self, entry: &QueueEntry) -> Check {
        let (found, told) = (definition(entry), self.of(&entry.name));
        if is_defined(&entry.name) && found != told {
            return Err(format!("{} is {found:?}, but was said to be {told:?}", entry.name));
        }
        Ok(())
    }

    /// What a restart found: what he was told, or what he had asked for.
    pub fn found(&mut self, entries: &[QueueEntry]) -> Check {
        let asked = self.asked.take();
        for entry in entries {
            if let Some((name, definition)) =
                asked.iter().find(|(name, it)| **name == *entry.name && *it == definition(entry))
            {
                self.told.insert(name.clone(), definition.clone());
            }
            self.check(entry)?;
        }
        self.told.retain(|name, _| entries.iter().any(|entry| *entry.name == **name));
        Ok(())
    }
}

/// Whether what it is like is an operator's matter.
fn is_defined(name: &str) -> bool {
    !name.starts_with(['$', '_'])
}

fn definition(entry: &QueueEntry) -> Definition {
    Definition { own: entry.own.clone(), bindings: by_filter(&entry.bindings) }
}

fn by_filter(bindings: &[Binding]) -> BTreeMap<String, Binding> {
    bindings.iter().map(|binding| (binding.filter.to_string(), binding.clone())).collect()
}

impl Model {
    /// A restart found these queues.
    pub fn found(&mut self, entries: &[QueueEntry]) -> Check {
        self.operations.definitions.found(entries)?;
        for entry in entries {
            let live = self.live(&entry.name).ok_or_else(|| format!("{} comes from nowhere", entry.name))?;
            self.goes_by(live, &entry.settings);
            self.was_told(live, &entry.settings);
            if is_defined(&entry.name) {
                self.is_bound(live, &entry.bindings);
            }
        }
        Ok(())
    }

    /// An operator is told to what a queue is bound.
    pub fn was_bound(&mut self, name: &str) {
        let bindings: Vec<Binding> = self.operations.definitions.of(name).bindings.into_values().collect();
        if let Some(queue) = self.live(name) {
            self.is_bound(queue, &bindings);
        }
    }
}
