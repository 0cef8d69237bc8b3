//! Subscriptions that outlive a consumer, and those that several share: what a newcomer changes for those who were
//! there, and what it does not.

use std::time::Duration;

use evergate_model::{
    Attach, AttachAccess, Binding, Filter, Lifetime, QueueId, SESSION_PREFIX, SHARED_PREFIX, SUBSCRIPTION_PREFIX, noted,
};

use super::{Directory, Out, QueueInfo, storage};
use crate::shard::ShardCommand;

/// Whether it is the queue of a subscription that has a name: of one client, or of a group.
pub(super) fn is_subscription(name: &str) -> bool {
    name.starts_with(SUBSCRIPTION_PREFIX) || name.starts_with(SHARED_PREFIX)
}

/// The queue of the group that a session of this name is in, by this one of its bindings.
pub(super) fn noted_group(session: &str, binding: &Binding) -> Option<String> {
    if !session.starts_with(SESSION_PREFIX) || !binding.filter.as_str().starts_with(SHARED_PREFIX) {
        return None;
    }
    let text = noted(&binding.filter);
    let (group, filter) = text.strip_prefix(SHARED_PREFIX)?.split_once('/')?;
    Some(format!("{SHARED_PREFIX}{group}/{}", Filter::read(filter).ok()?))
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

    /// A session is in a group now, whether its client is there or not.
    pub(super) fn joins_for_good(&mut self, group: Option<String>) {
        if let Some(group) = group {
            *self.members.entry(group).or_default() += 1;
        }
    }

    /// A session left a group, or ended. With the last one goes what waited for them, unless others are at work on it or
    /// somebody wants it to stay whoever is there.
    pub(super) fn leaves_for_good(&mut self, group: Option<String>, out: &mut Out<'_>) {
        let Some(group) = group else { return };
        let Some(count) = self.members.get_mut(&group) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.members.remove(&group);
        if let Some(id) = self.names.get(&*group).copied()
            && let Some(info) = self.queues.get(&id)
            && info.consumers.is_empty()
            && matches!(info.lifetime, Lifetime::AfterDetach(_))
        {
            self.delete_now(id, out);
        }
    }

    /// Whether it is the queue of a group that sessions share.
    pub(super) fn is_group(&self, id: QueueId) -> bool {
        self.queues.get(&id).is_some_and(|info| info.name.starts_with(SHARED_PREFIX))
    }

    /// Whether it is the queue of a group that some session is in, whose client may be away.
    pub(super) fn is_kept_by_members(&self, id: QueueId) -> bool {
        self.queues.get(&id).is_some_and(|info| self.members.contains_key(&*info.name))
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

#[cfg(test)]
mod tests {
    use evergate_model::note;

    use super::*;

    #[test]
    fn a_note_names_the_queue_of_its_group_whatever_its_filter_is() {
        for text in ["a/b", "a/+/#", "$glob/a/*", "$regex/a%[+#]/.*"] {
            let filter = Filter::read(text).unwrap();
            let binding = Binding::new(note(&format!("$share/g/{text}")).unwrap(), true);
            assert_eq!(noted_group("$session/me", &binding), Some(format!("$share/g/{filter}")), "{text}");
            assert_eq!(noted_group("$subscription/me/s", &binding), None);
        }
        assert_eq!(noted_group("$session/me", &Binding::new(Filter::new("a/b").unwrap(), true)), None);
    }
}
