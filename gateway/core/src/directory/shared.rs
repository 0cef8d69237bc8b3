//! Subscriptions that outlive a consumer, and those that several share: what a newcomer changes for those who were
//! there, and what it does not.

use std::time::Duration;

use evergate_model::{Attach, AttachAccess, Binding, Lifetime, QueueId};

use super::{Directory, Out, QueueInfo, storage};
use crate::shard::ShardCommand;

/// Whether it is the queue of a subscription that has a name: of one client, or of a group.
pub(super) fn is_subscription(name: &str) -> bool {
    name.starts_with("$subscription/") || name.starts_with("$share/")
}

/// Whether the newcomer is one of several with equal rights.
fn joins(attach: &Attach) -> bool {
    attach.access == AttachAccess::Shared && is_subscription(&attach.queue.name)
}

impl Directory {
    /// Whether the attach is to a named subscription to other topics, or with another selector. That makes it
    /// another subscription, and what waited in the old one is not for it (JMS 2.0, section 8.3.3).
    pub(super) fn changes_subscription(&self, id: QueueId, attach: &Attach) -> bool {
        let (old, new) = (&self.queues[&id].bindings, &attach.bindings);
        if !is_subscription(&attach.queue.name) || old.is_empty() || new.is_empty() {
            return false;
        }
        let same = |one: &Binding, other: &Binding| {
            one.filter == other.filter && one.selector == other.selector && one.no_local == other.no_local
        };
        old.len() != new.len() || !new.iter().all(|new| old.iter().any(|old| same(old, new)))
    }

    /// Whether the queue must begin anew because it does not survive restarts, and the newcomer wants that. One that
    /// is shared goes on, and survives them from now on: its other members need not know.
    pub(super) fn outgrows(&mut self, id: QueueId, attach: &Attach, out: &mut Out<'_>) -> bool {
        if !attach.queue.durable || self.queues[&id].durable {
            return false;
        }
        if joins(attach) {
            self.make_durable(id, out);
        }
        !self.queues[&id].durable
    }

    fn make_durable(&mut self, id: QueueId, out: &mut Out<'_>) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        info.durable = true;
        self.records.push(storage::put_queue(id, info));
        for binding in &info.bindings {
            self.records.push(storage::put_binding(id, binding));
            out.routes.bind(binding, info.target(id));
        }
        let line = info.line();
        self.send_behind(line, ShardCommand::MakeDurable { queue: id }, out);
    }

    /// The bindings that an attach leaves its queue with. What one member of a group wants to miss nothing of, the
    /// group does not miss because another member would.
    pub(super) fn merged_bindings(&self, id: QueueId, attach: &Attach) -> Vec<Binding> {
        let mut bindings = attach.bindings.clone();
        if joins(attach) {
            let old = &self.queues[&id].bindings;
            for binding in &mut bindings {
                binding.durable |= old.iter().any(|old| old.durable && old.filter == binding.filter);
            }
        }
        bindings
    }

    /// Somebody is there again: the clock stops, and the lifetime is as the newcomer wants it. What is shared lives
    /// as long as any of its members wanted.
    pub(super) fn renew_lifetime_for(&mut self, id: QueueId, attach: &Attach) {
        let wanted = attach.queue.lifetime;
        let lifetime = match self.queues.get(&id) {
            Some(info) if joins(attach) => longer(info.lifetime, wanted),
            _ => wanted,
        };
        self.renew_lifetime(id, lifetime);
    }
}

impl QueueInfo {
    /// Whether it stays although one of its consumers wants it deleted: others share it.
    pub(super) fn is_shared_by_others(&self) -> bool {
        !self.consumers.is_empty() && is_subscription(&self.name)
    }
}

fn longer(one: Lifetime, other: Lifetime) -> Lifetime {
    let after = |lifetime| match lifetime {
        Lifetime::Permanent => None,
        Lifetime::Attached => Some(Duration::ZERO),
        Lifetime::AfterDetach(after) => Some(after),
    };
    match (after(one), after(other)) {
        (Some(first), Some(second)) if second > first => other,
        (Some(_), None) => other,
        _ => one,
    }
}
