//! Which settings a queue goes by: the defaults, and over them what the policies say of its name.

use std::collections::HashMap;
use std::sync::Arc;

use evergate_model::{BODY_PREFIX, Filter, Policy, QueueSettings};

/// Combinations of policies whose outcome is remembered: queues that go by the same settings share them.
const KNOWN_MAX: usize = 1024;

/// The policies in force. A later one counts over those before it.
#[derive(Debug)]
pub struct Policies {
    defaults: Arc<QueueSettings>,
    /// The pieces of large bodies are no matter of policy: what holds for their messages holds for them.
    of_bodies: Arc<QueueSettings>,
    /// Of the configuration.
    fixed: Vec<Compiled>,
    /// Added by operators while the gateway ran; kept in the journal.
    added: Vec<Compiled>,
    /// By which policies match, counted through.
    known: HashMap<Vec<u16>, Arc<QueueSettings>>,
}

#[derive(Debug)]
struct Compiled {
    filter: Filter,
    policy: Policy,
}

fn compiled(policies: Vec<Policy>) -> Vec<Compiled> {
    // All were checked before: those of the configuration by whoever read it.
    policies.into_iter().filter_map(|policy| Some(Compiled { filter: policy.filter().ok()?, policy })).collect()
}

impl Policies {
    pub fn new(defaults: QueueSettings, fixed: Vec<Policy>) -> Self {
        let defaults = Arc::new(defaults);
        let of_bodies =
            Arc::new(QueueSettings { messages_max: u64::MAX, bytes_max: u64::MAX, ..QueueSettings::default() });
        Self { defaults, of_bodies, fixed: compiled(fixed), added: Vec::new(), known: HashMap::new() }
    }

    /// Replaces those of operators.
    pub fn set_added(&mut self, added: Vec<Policy>) {
        self.added = compiled(added);
        self.known.clear();
    }

    pub fn fixed(&self) -> Vec<Policy> {
        self.fixed.iter().map(|compiled| compiled.policy.clone()).collect()
    }

    pub fn added(&self) -> Vec<Policy> {
        self.added.iter().map(|compiled| compiled.policy.clone()).collect()
    }

    /// What the queue of this name goes by, and its own settings over that.
    pub fn settings_for(&mut self, name: &str, own: Option<&Policy>) -> Arc<QueueSettings> {
        let mut settings = self.settings_of(name);
        if let Some(own) = own {
            own.apply(Arc::make_mut(&mut settings));
        }
        settings
    }

    /// What the queue of this name goes by.
    pub fn settings_of(&mut self, name: &str) -> Arc<QueueSettings> {
        if name.starts_with(BODY_PREFIX) {
            return self.of_bodies.clone();
        }
        let all = || self.fixed.iter().chain(&self.added);
        let matching: Vec<u16> =
            all().zip(0..).filter(|(compiled, _)| compiled.filter.matches(name)).map(|(_, index)| index).collect();
        if matching.is_empty() {
            return self.defaults.clone();
        }
        if let Some(known) = self.known.get(&matching) {
            return known.clone();
        }
        let mut settings = QueueSettings::clone(&self.defaults);
        for (compiled, index) in all().zip(0..) {
            if matching.binary_search(&index).is_ok() {
                compiled.policy.apply(&mut settings);
            }
        }
        let settings = Arc::new(settings);
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(matching, settings.clone());
        settings
    }
}
