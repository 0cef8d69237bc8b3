//! What an operator said of single queues: their own settings. It holds once he was told so, and over restarts.

use std::collections::BTreeMap;

use evergate_core::{ManageRequest, QueueEntry};
use evergate_model::Policy;

use crate::model::{Check, Model};

/// What he said of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    pub own: Option<Policy>,
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
        self.asked = match request {
            ManageRequest::CreateQueue(definition) => {
                Some((definition.name.to_string(), Definition { own: own(&definition.settings) }))
            }
            ManageRequest::ChangeQueue { name, settings } => Some((name.clone(), Definition { own: own(settings) })),
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
    Definition { own: entry.own.clone() }
}

impl Model {
    /// A restart found these queues.
    pub fn found(&mut self, entries: &[QueueEntry]) -> Check {
        self.operations.definitions.found(entries)?;
        for entry in entries {
            let live = self.live(&entry.name).ok_or_else(|| format!("{} comes from nowhere", entry.name))?;
            self.goes_by(live, &entry.settings);
            self.was_told(live, &entry.settings);
        }
        Ok(())
    }
}
