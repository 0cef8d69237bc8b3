//! The bindings of one filter.

use std::collections::BTreeMap;
use std::sync::Arc;

use evergate_model::{Binding, QueueId, Selector};

use super::Target;

/// A queue bound to a filter.
#[derive(Clone, Debug)]
pub struct Bound {
    target: Target,
    /// What few bindings have.
    condition: Option<Box<Condition>>,
}

/// When a message does not come through.
#[derive(Clone, Debug)]
struct Condition {
    no_local: Option<Arc<str>>,
    selector: Option<Selector>,
}

impl Bound {
    pub fn new(binding: &Binding, target: Target) -> Self {
        let (durable, at_most_once) = (target.durable && binding.durable, !binding.durable);
        let target = Target { durable, at_most_once, ..target };
        let (no_local, selector) = (binding.no_local.clone(), binding.selector.clone());
        let condition = (no_local.is_some() || selector.is_some()).then(|| Box::new(Condition { no_local, selector }));
        Self { target, condition }
    }

    /// The queue, if a message from `client_id` comes through.
    pub fn target_for(&self, client_id: &str, selects: &impl Fn(&Selector) -> bool) -> Option<Target> {
        let passes = self.condition.as_ref().is_none_or(|condition| {
            condition.no_local.as_deref() != Some(client_id) && condition.selector.as_ref().is_none_or(selects)
        });
        passes.then_some(self.target)
    }
}

/// So many are looked through one by one; more are found by their queue.
const FEW: usize = 16;

/// All queues bound to one filter, each once. Most filters have one, a few have very many: both are cheap to change.
#[derive(Debug)]
pub enum Bindings {
    Few(Vec<Bound>),
    Many(BTreeMap<QueueId, Bound>),
}

impl Default for Bindings {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Bindings {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    pub fn each(&self, each: &mut impl FnMut(&Bound)) {
        match self {
            Self::Few(few) => few.iter().for_each(each),
            Self::Many(many) => many.values().for_each(each),
        }
    }

    /// Adds a binding, or replaces that of the same queue.
    pub fn put(&mut self, bound: Bound) {
        match self {
            Self::Many(many) => drop(many.insert(bound.target.queue, bound)),
            Self::Few(few) => {
                if let Some(other) = few.iter_mut().find(|other| other.target.queue == bound.target.queue) {
                    *other = bound;
                } else if few.len() < FEW {
                    few.push(bound);
                } else {
                    let all = few.drain(..).chain([bound]);
                    *self = Self::Many(all.map(|bound| (bound.target.queue, bound)).collect());
                }
            }
        }
    }

    pub fn remove(&mut self, queue: QueueId) {
        match self {
            Self::Few(few) => few.retain(|bound| bound.target.queue != queue),
            Self::Many(many) => {
                many.remove(&queue);
                // Half as many as made it large, or one that comes and goes would copy them each time.
                if many.len() <= FEW / 2 {
                    *self = Self::Few(std::mem::take(many).into_values().collect());
                }
            }
        }
    }
}
