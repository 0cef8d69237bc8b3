//! Attaching to queues and leaving them.

use std::sync::Arc;

use evergate_model::{
    Attach, AttachAccess, AttachError, Attached, BODY_PREFIX, Binding, Consumers, Event, Lifetime, QueueId, QueueKind,
    QueueSpec, TEMPORARY_PREFIX,
};

use super::queues::is_own;
use super::{Directory, Holder, Out, QueueInfo, storage};
use crate::consumer::ConsumerKey;
use crate::effect::{DirectoryEffect, SessionEvent, SessionId};
use crate::shard::{ConsumerWants, ShardCommand};

impl Directory {
    pub(super) fn attach(&mut self, session: SessionId, attach: &Attach, window_bytes: u64, out: &mut Out<'_>) {
        let consumer = attach.consumer;
        let key = ConsumerKey { session, consumer };
        match self.attach_to(key, attach, out) {
            Ok((id, found)) => {
                self.log(out);
                let wants = Box::new(ConsumerWants {
                    settled: attach.settled,
                    browse: attach.browse,
                    selector: attach.selector.clone(),
                    priority: attach.priority,
                    start: attach.start,
                });
                let found = Box::new(found);
                let command = ShardCommand::Attach { queue: id, session, consumer, wants, window_bytes, found };
                let Some(info) = self.queues.get_mut(&id) else { return };
                let effect = DirectoryEffect::Shard(info.shard, command);
                if info.durable {
                    // Who is told «subscribed» stays subscribed: the definition is committed first.
                    info.attaching = self.logged;
                    self.defer(effect, out);
                } else {
                    out.effects.push(effect);
                }
            }
            Err(error) => {
                self.log(out);
                out.tell(session, SessionEvent::Attached { consumer, result: Err(error) });
            }
        }
    }

    fn attach_to(
        &mut self,
        key: ConsumerKey,
        attach: &Attach,
        out: &mut Out<'_>,
    ) -> Result<(QueueId, Attached), AttachError> {
        let spec = &attach.queue;
        let existing = self.names.get(&spec.name).copied();
        if let Some(id) = existing {
            if self.queues[&id].owner.is_some_and(|owner| owner != key.session) {
                return Err(AttachError::Denied);
            }
            if !attach.browse {
                self.make_way(id, attach.access, out)?;
            }
            let changes = self.changes_subscription(id, attach);
            if changes && !self.queues[&id].consumers.is_empty() {
                return Err(AttachError::InUse);
            }
            if changes || attach.fresh || self.outgrows(id, attach, out) {
                self.delete_now(id, out);
            }
        } else if spec.name.starts_with(TEMPORARY_PREFIX) || spec.name.starts_with(BODY_PREFIX) {
            // It went with its client, or its messages, and does not come back.
            return Err(AttachError::NotFound);
        }
        let existing = self.names.get(&spec.name).copied();
        let id = if let Some(id) = existing {
            self.keep(id, out);
            self.renew_lifetime_for(id, attach);
            id
        } else {
            self.check_room(&spec.name).map_err(AttachError::Limit)?;
            let name = if &*spec.name == QueueSpec::UNIQUE { self.unique_name() } else { spec.name.clone() };
            if name.starts_with('_') && !is_own(&name) {
                return Err(AttachError::NotFound);
            }
            if !self.may_come_into_being(&name) {
                return Err(AttachError::NotFound);
            }
            self.create(name, spec.durable, spec.lifetime, None, out)
        };
        if !attach.bindings.is_empty() {
            for binding in &attach.bindings {
                self.send_retained(id, binding, attach.retained, out);
            }
            let bindings = self.merged_bindings(id, attach);
            self.replace_bindings(id, &bindings, out);
        }
        self.attached.insert(key, id);
        let info = self.queues.get_mut(&id).ok_or(AttachError::NotFound)?;
        if &*spec.name == QueueSpec::UNIQUE {
            info.owner = Some(key.session);
        }
        info.consumers.push(Holder { key, access: attach.access, browses: attach.browse });
        let found = Attached {
            queue: info.name.clone(),
            existed: existing.is_some(),
            durable: info.durable,
            lifetime: info.lifetime,
            stream: matches!(info.settings.kind, QueueKind::Stream { .. }),
            bindings: info.bindings.clone(),
            marks: Vec::new(),        // the shard adds them
            fingerprints: Vec::new(), // the driver adds them
        };
        Ok((id, found))
    }

    /// Sees to it that the newcomer may attach beside those who are there.
    fn make_way(&mut self, id: QueueId, access: AttachAccess, out: &mut Out<'_>) -> Result<(), AttachError> {
        let Some(info) = self.queues.get_mut(&id) else { return Ok(()) };
        if access == AttachAccess::TakeOver {
            if info.consumers.iter().any(|holder| holder.access == AttachAccess::Shared && !holder.browses) {
                // It is shared: nobody takes it from the others.
                return Err(AttachError::InUse);
            }
            let line = info.line();
            for Holder { key, .. } in std::mem::take(&mut info.consumers) {
                self.attached.remove(&key);
                let answer = Some(Event::TakenOver { consumer: key.consumer });
                let (queue, failed) = (id, true);
                let (session, consumer) = (key.session, key.consumer);
                self.send_behind(line, ShardCommand::Detach { queue, session, consumer, failed, answer }, out);
            }
            return Ok(());
        }
        let alone = info.settings.consumers == Consumers::Exclusive || access == AttachAccess::Exclusive;
        let mut others = info.consumers.iter().filter(|holder| !holder.browses);
        if others.any(|holder| alone || holder.access != AttachAccess::Shared) {
            return Err(AttachError::InUse);
        }
        Ok(())
    }

    pub(super) fn replace_bindings(&mut self, id: QueueId, bindings: &[Binding], out: &mut Out<'_>) {
        let stale: Vec<_> = self.queues[&id]
            .bindings
            .iter()
            .filter(|old| !bindings.iter().any(|new| new.filter == old.filter))
            .map(|old| old.filter.clone())
            .collect();
        for filter in stale {
            self.remove_binding(id, &filter, out);
        }
        for binding in bindings {
            if !self.queues[&id].bindings.contains(binding) {
                self.add_binding(id, binding.clone(), out);
            }
        }
    }

    /// The clock stops, and the lifetime is this from now on.
    pub(super) fn renew_lifetime(&mut self, id: QueueId, lifetime: Lifetime) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        if let Some(at) = info.expires_at.take() {
            self.expiries.remove(&(at, id));
        }
        if info.lifetime != lifetime {
            info.lifetime = lifetime;
            if info.durable {
                self.records.push(storage::put_queue(id, info));
            }
        }
    }

    pub(super) fn detach(&mut self, key: ConsumerKey, delete: bool, lifetime: Option<Lifetime>, out: &mut Out<'_>) {
        let (session, consumer) = (key.session, key.consumer);
        let answer = Some(Event::Detached { consumer });
        let Some(id) = self.attached.get(&key).copied() else {
            // Taken over or deleted meanwhile.
            out.tell(session, SessionEvent::Event(Event::Detached { consumer }));
            return;
        };
        if let Some(lifetime) = lifetime {
            self.renew_lifetime(id, lifetime);
        }
        let line = self.queues[&id].line();
        let left = self.leave(key, delete, out);
        self.log(out);
        let command = ShardCommand::Detach { queue: id, session, consumer, failed: false, answer };
        match left {
            Left::Stays => self.send_behind(line, command, out),
            // Who is told «unsubscribed» stays so after a restart: the deletion is committed first.
            Left::Deleted => {
                let shard = line.0;
                self.defer(DirectoryEffect::Shard(shard, command), out);
                self.defer(DirectoryEffect::Shard(shard, ShardCommand::Delete { queue: id }), out);
            }
        }
    }

    pub(super) fn gone(&mut self, session: SessionId, failed: bool, out: &mut Out<'_>) {
        let first = ConsumerKey { session, consumer: evergate_model::ConsumerId(0) };
        let last = ConsumerKey { session, consumer: evergate_model::ConsumerId(u32::MAX) };
        let leaving: Vec<_> = self.attached.range(first..=last).map(|(key, id)| (*key, *id)).collect();
        for (key, id) in leaving {
            let Some(line) = self.queues.get(&id).map(QueueInfo::line) else { continue };
            let left = self.leave(key, false, out);
            self.log(out);
            let (consumer, answer) = (key.consumer, None);
            self.send_behind(line, ShardCommand::Detach { queue: id, session, consumer, failed, answer }, out);
            if left == Left::Deleted {
                self.send_behind(line, ShardCommand::Delete { queue: id }, out);
            }
        }
    }

    /// Strikes a consumer off, and the queue with it if its life ends here.
    fn leave(&mut self, key: ConsumerKey, delete: bool, out: &mut Out<'_>) -> Left {
        let Some(id) = self.attached.remove(&key) else { return Left::Stays };
        let Some(info) = self.queues.get_mut(&id) else { return Left::Stays };
        info.consumers.retain(|holder| holder.key != key);
        let lonely = info.consumers.is_empty();
        let delete = delete && !info.is_shared_by_others();
        let lifetime = info.lifetime;
        if lonely {
            self.watch_idle(out.now, id);
        }
        match lifetime {
            Lifetime::Attached if lonely => {}
            Lifetime::AfterDetach(_) if lonely && self.is_kept_by_members(id) => return Left::Stays,
            // No session that persists is in this group any more.
            Lifetime::AfterDetach(_) if lonely && self.is_group(id) => {}
            Lifetime::AfterDetach(after) if lonely && !delete => {
                self.start_expiry(out.now, id, after);
                return Left::Stays;
            }
            _ if delete => {}
            Lifetime::Permanent | Lifetime::Attached | Lifetime::AfterDetach(_) => return Left::Stays,
        }
        self.forget(id, out);
        Left::Deleted
    }

    pub(super) fn delete_now(&mut self, id: QueueId, out: &mut Out<'_>) {
        if let Some(info) = self.forget(id, out) {
            self.send_behind(info.line(), ShardCommand::Delete { queue: id }, out);
        }
    }

    fn unique_name(&mut self) -> Arc<str> {
        format!("{TEMPORARY_PREFIX}{:x}", self.counters.next_queue().0).into()
    }
}

/// What became of the queue when a consumer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Stays,
    Deleted,
}
