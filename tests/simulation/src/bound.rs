//! Which topics come into which queue: all that was published while it was bound, and nothing else.

use evergate_core::{ManageRequest, ShardCommand};
use evergate_model::{Address, AddressKind, Binding, Filter, Message, QueueId};

use crate::key::Key;
use crate::model::{Check, Model, Queue};
use crate::traits::KEYS;

/// A queue's interest in topics.
#[derive(Clone, Debug)]
struct Bound {
    filter: Filter,
    /// Only messages of this key.
    selector: Option<u64>,
}

impl Bound {
    fn of(binding: &Binding) -> Self {
        // The simulator's selectors are `key = 1`.
        let selector = binding.selector.as_ref().and_then(|it| it.as_str().rsplit(' ').next()?.parse().ok());
        Self { filter: binding.filter.clone(), selector }
    }

    fn takes(&self, topic: &str, key: Option<Key>) -> bool {
        let selects = |selector| key.is_some_and(|key| key.number % KEYS == selector);
        self.filter.matches(topic) && self.selector.is_none_or(selects)
    }
}

/// Of one queue.
#[derive(Debug, Default)]
pub struct Interest {
    /// Somebody was told that it is bound to these.
    told: Vec<Bound>,
    /// For a queue whose bindings are an operator's: all that it is bound to.
    all: Vec<Bound>,
    /// When something was taken from `told` last, counted in such changes of all queues.
    loosened: u64,
}

impl Interest {
    /// A client was told of its subscription.
    pub fn subscribes(&mut self, filter: Filter) {
        self.told = vec![Bound { filter, selector: None }];
    }

    pub fn end(&mut self) {
        self.told.clear();
        self.all.clear();
    }

    fn wants(&self, topic: &str, key: Option<Key>) -> bool {
        self.told.iter().any(|bound| bound.takes(topic, key))
    }
}

impl Model {
    /// A message was routed: every queue of which somebody was told that it is bound is among its targets, and no
    /// queue that is not. `missed`: those that it may skip.
    pub fn routed(&self, address: &Address, key: Option<Key>, found: &[(QueueId, bool)], missed: &[QueueId]) -> Check {
        for (id, queue) in self.queues.iter().filter(|_| address.kind == AddressKind::Topic) {
            let wants = queue.interest.wants(&address.name, key) && !queue.is_ending() && !missed.contains(id);
            if wants && !found.contains(&(*id, true)) {
                return Err(format!("{address} was not routed to {}, which is bound to it", queue.name));
            }
        }
        found.iter().try_for_each(|(id, _)| self.may_come(address, key, *id))
    }

    /// Whether a topic's message may come into this queue.
    fn may_come(&self, address: &Address, key: Option<Key>, id: QueueId) -> Check {
        let Some(queue) = self.queues.get(&id) else { return Ok(()) };
        let is_operators = !queue.name.starts_with(['$', '_']);
        let is_bound = queue.interest.all.iter().any(|bound| bound.takes(&address.name, key));
        if address.kind == AddressKind::Topic && is_operators && !queue.is_ending() && !is_bound {
            return Err(format!("{address} was routed to {}, which is not bound to it", queue.name));
        }
        Ok(())
    }

    /// The directory has routed something.
    pub fn directory_routed(&self, command: &ShardCommand) -> Check {
        let check = |message: &Message, id| self.may_come(&message.meta.address, Key::of(message), id);
        match command {
            ShardCommand::Publish { message, targets, .. } => {
                targets.iter().try_for_each(|target| check(message, target.queue))
            }
            ShardCommand::Transaction { publishes, .. } => publishes
                .iter()
                .flat_map(|(message, targets)| targets.iter().map(move |target| (message, target.queue)))
                .try_for_each(|(message, queue)| check(message, queue)),
            _ => Ok(()),
        }
    }

    /// The queues of which somebody was told that they get such a message.
    pub fn subscribed(&self, address: &Address, key: Option<Key>) -> Vec<(QueueId, bool)> {
        let wants = |queue: &Queue| !queue.is_ending() && queue.interest.wants(&address.name, key);
        self.queues.iter().filter(|(_, queue)| wants(queue)).map(|(id, _)| (*id, true)).collect()
    }

    /// How often an operator took away what somebody had been told.
    pub fn loosenings(&self) -> u64 {
        self.operations.loosenings
    }

    /// Whether a queue that was to get a message when so much had been taken away is still to get it.
    pub fn still_gets(&self, id: QueueId, since: u64) -> bool {
        self.queues.get(&id).is_none_or(|queue| queue.interest.loosened <= since)
    }

    /// The directory carries out what an operator asked; `id` is the queue that it is about.
    pub fn binds(&mut self, id: QueueId, request: &ManageRequest) {
        let (filter, binding) = match request {
            ManageRequest::BindQueue { binding, .. } => (&binding.filter, Some(binding)),
            ManageRequest::UnbindQueue { filter, .. } => (filter, None),
            ManageRequest::CreateQueue(definition) => {
                if let Some(queue) = self.queues.get_mut(&id) {
                    queue.interest.all = definition.bindings.iter().map(Bound::of).collect();
                }
                return;
            }
            _ => return,
        };
        let Some(queue) = self.queues.get_mut(&id) else { return };
        self.operations.loosenings += 1;
        queue.interest.loosened = self.operations.loosenings;
        queue.interest.told.retain(|bound| bound.filter != *filter);
        queue.interest.all.retain(|bound| bound.filter != *filter);
        queue.interest.all.extend(binding.map(Bound::of));
    }

    /// An operator is told that it is done, or a restart finds these.
    pub fn is_bound(&mut self, id: QueueId, bindings: &[Binding]) {
        if let Some(queue) = self.queues.get_mut(&id).filter(|queue| !queue.is_ending()) {
            queue.interest.told = bindings.iter().map(Bound::of).collect();
            queue.interest.all.clone_from(&queue.interest.told);
        }
    }
}
