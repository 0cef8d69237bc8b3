//! Policies and queues: what makes no sense in them.

use std::collections::BTreeSet;

use evergate_core::QueueDefinition;
use evergate_model::{Binding, Filter, FilterError, Policy, Selector, shortened};

use super::check::Check;
use super::schema::{Config, Queue};

impl Check<'_> {
    pub(super) fn policies(&mut self, config: &Config) {
        for (item, policy) in config.policy.iter().enumerate() {
            if let Err(error) = policy.check() {
                let which = match policy.matches.as_str() {
                    "" => "this policy".to_owned(),
                    matches => format!("the policy for {:?}", shortened(matches)),
                };
                self.wrong(
                    ("policy", item, error.key),
                    format!("{which}: {error}"),
                    None,
                    "change it, or remove the key for its default; docs/policies.md explains every one",
                );
            }
        }
    }

    pub(super) fn queues(&mut self, config: &Config) -> Vec<QueueDefinition> {
        let mut names = BTreeSet::new();
        let mut definitions = Vec::new();
        for (item, queue) in config.queue.iter().enumerate() {
            if !names.insert(&queue.name) {
                let (wrong, next) = (format!("there are two queues {:?}", queue.name), "remove or rename one of them");
                self.wrong(("queue", item, "name"), wrong, None, next);
            }
            let next = "change it, or remove the key; docs/policies.md explains queues that are bound to topics";
            match definition(queue) {
                Ok(definition) => definitions.push(definition),
                Err((key, why)) => {
                    self.wrong(("queue", item, key), format!("the queue {:?}: {why}", queue.name), None, next);
                }
            }
        }
        definitions
    }
}

/// The error: which key is wrong, and why.
fn definition(queue: &Queue) -> Result<QueueDefinition, (&'static str, String)> {
    let selector = match &queue.selector {
        Some(text) => Some(Selector::parse(text).map_err(|error| ("selector", error.to_string()))?),
        None => None,
    };
    let mut bindings = Vec::new();
    let mut bind = |key, texts: &[String], filter: fn(&str) -> Result<Filter, FilterError>| {
        for text in texts {
            let filter = filter(text).map_err(|error| (key, format!("{text:?}: {error}")))?;
            bindings.push(Binding { selector: selector.clone(), ..Binding::new(filter, true) });
        }
        Ok(())
    };
    bind("bind", &queue.bind, |text| Filter::new(text))?;
    bind("bind_glob", &queue.bind_glob, Filter::glob)?;
    bind("bind_regex", &queue.bind_regex, Filter::regex)?;
    if queue.settings.matches != Policy::default().matches {
        return Err(("settings", "settings of one queue have no match".into()));
    }
    queue.settings.check_settings().map_err(|error| ("settings", error.to_string()))?;
    let settings = queue.settings.clone();
    let definition = QueueDefinition { name: queue.name.as_str().into(), bindings, settings };
    definition.check().map_err(|why| ("name", why))?;
    Ok(definition)
}
