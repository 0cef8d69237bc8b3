//! The bindings of one filter.

use std::sync::Arc;

use evergate_model::few::FewMap;
use evergate_model::{Binding, QueueId, Selector};

use super::Target;

/// All queues bound to one filter, each once. Most filters have one, a few have very many.
pub type Bindings = FewMap<QueueId, Bound>;

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

    /// Which queue.
    pub fn queue(&self) -> QueueId {
        self.target.queue
    }

    /// The queue, if a message from `client_id` comes through.
    pub fn target_for(&self, client_id: &str, selects: &impl Fn(&Selector) -> bool) -> Option<Target> {
        let passes = self.condition.as_ref().is_none_or(|condition| {
            condition.no_local.as_deref() != Some(client_id) && condition.selector.as_ref().is_none_or(selects)
        });
        passes.then_some(self.target)
    }
}
