//! Queues come into being and go.

use std::sync::Arc;
use std::time::Duration;

use evergate_model::{
    ADMIN_NAME, Address, BODY_PREFIX, Binding, DEAD_LETTER_QUEUE, Lifetime, OnFull, Policy, PublishError, QueueId,
    QueueSettings, SESSION_PREFIX, TEMPORARY_PREFIX, Time,
};

use super::{Directory, Out, QueueInfo, shard_of, shared, storage};
use crate::effect::{Position, ShardId};
use crate::routes::Routes;
use crate::shard::ShardCommand;

/// A durable queue as its row tells.
#[derive(Debug)]
pub struct StoredQueue {
    pub id: QueueId,
    pub name: Arc<str>,
    pub lifetime: Lifetime,
    /// Its own settings.
    pub own: Option<Policy>,
}

/// Whether this is one of the gateway's own queues.
pub(super) fn is_own(name: &str) -> bool {
    [DEAD_LETTER_QUEUE, ADMIN_NAME].contains(&name)
}

/// Whether messages are published to the queue by its name.
fn is_routed(name: &str) -> bool {
    !Address::is_private_queue(name) || name.starts_with(BODY_PREFIX)
}

impl QueueInfo {
    fn new(name: Arc<str>, shards: u16, durable: bool, lifetime: Lifetime) -> Self {
        Self {
            shard: shard_of(&name, shards),
            name,
            durable,
            lifetime,
            settings: Arc::default(),
            own: None,
            configured: false,
            bindings: Vec::new(),
            consumers: Vec::new(),
            owner: None,
            expires_at: None,
            attaching: Position(0),
            idle_check: None,
            retiring: None,
        }
    }
}

impl Directory {
    /// Takes over a durable queue that a restart found. The clock of one that expires starts anew.
    pub(crate) fn recover_queue(
        &mut self,
        now: Time,
        stored: StoredQueue,
        bindings: Vec<Binding>,
        routes: &mut Routes,
    ) -> Arc<QueueSettings> {
        let StoredQueue { id, name, lifetime, own } = stored;
        let settings = self.policies.settings_for(&name, own.as_ref());
        routes.set_may_refuse(id, settings.on_full == OnFull::Reject);
        let info = QueueInfo {
            settings: settings.clone(),
            own: own.map(Box::new),
            bindings,
            ..QueueInfo::new(name.clone(), self.shards, true, lifetime)
        };
        if is_routed(&name) {
            routes.add_queue(name.clone(), info.target(id));
        }
        for binding in &info.bindings {
            routes.bind(binding, info.target(id));
        }
        for binding in &info.bindings {
            self.joins_for_good(shared::noted_group(&name, binding));
        }
        self.names.insert(name, id);
        self.queues.insert(id, info);
        match lifetime {
            Lifetime::Permanent => {}
            Lifetime::Attached => self.start_expiry(now, id, Duration::ZERO),
            Lifetime::AfterDetach(after) => self.start_expiry(now, id, after),
        }
        self.watch_idle(now, id);
        settings
    }

    /// The queue of that name, made if it is not there.
    pub(super) fn ensure(&mut self, name: &Arc<str>, out: &mut Out<'_>) -> Result<(), PublishError> {
        if let Some(id) = self.names.get(name).copied() {
            self.keep(id, out);
            return Ok(());
        }
        // Only an attach makes those; one that is gone stays so.
        if !is_routed(name) || name.starts_with(TEMPORARY_PREFIX) || !self.may_come_into_being(name) {
            return Err(PublishError::NotFound);
        }
        self.check_room(name).map_err(PublishError::Limit)?;
        self.create(name.clone(), true, Lifetime::Permanent, None, out);
        self.log(out);
        Ok(())
    }

    /// Nobody refers to this body any more.
    pub(super) fn release(&mut self, name: &str, out: &mut Out<'_>) {
        if let Some(id) = self.names.get(name).copied() {
            self.delete_now(id, out);
            self.log(out);
        }
    }

    /// Whether policy lets a queue of this name be made because somebody uses it. The gateway's own, and
    /// those of sessions and subscriptions, are no matter of policy.
    pub(super) fn may_come_into_being(&mut self, name: &str) -> bool {
        name.starts_with(['$', '_']) || self.policies.settings_of(name).auto_create
    }

    /// Whether there may be one more queue. For its own the gateway always has room: else what clients take up would
    /// keep dead letters where they are.
    pub(super) fn check_room(&self, name: &str) -> Result<(), String> {
        if self.queues.len() < self.limits.queues_max || is_own(name) {
            return Ok(());
        }
        Err(format!("there are as many queues and subscriptions as the limit allows ({})", self.limits.queues_max))
    }

    pub(super) fn create(
        &mut self,
        name: Arc<str>,
        durable: bool,
        lifetime: Lifetime,
        own: Option<Policy>,
        out: &mut Out<'_>,
    ) -> QueueId {
        let id = self.counters.next_queue();
        let settings = self.policies.settings_for(&name, own.as_ref());
        let info = QueueInfo {
            settings: settings.clone(),
            own: own.map(Box::new),
            ..QueueInfo::new(name.clone(), self.shards, durable, lifetime)
        };
        out.routes.set_may_refuse(id, settings.on_full == OnFull::Reject);
        out.shard(info.shard, ShardCommand::Create { queue: id, name: name.clone(), durable, settings });
        if is_routed(&name) {
            out.routes.add_queue(name.clone(), info.target(id));
        }
        self.names.insert(name, id);
        if durable {
            self.records.push(storage::put_queue(id, &info));
        }
        self.queues.insert(id, info);
        self.watch_idle(out.now, id);
        id
    }

    /// Brings what a queue goes by up to date.
    pub(super) fn renew_settings(&mut self, id: QueueId, out: &mut Out<'_>) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        let settings = self.policies.settings_for(&info.name, info.own.as_deref());
        if settings == info.settings {
            return;
        }
        let idle_changed = settings.auto_delete_after != info.settings.auto_delete_after;
        info.settings = settings.clone();
        out.routes.set_may_refuse(id, settings.on_full == OnFull::Reject);
        out.shard(info.shard, ShardCommand::Change { queue: id, settings });
        if idle_changed {
            self.watch_idle(out.now, id);
        }
    }

    /// Takes the queue out of names, routes and journal. The caller sends `Delete` to its shard.
    pub(super) fn forget(&mut self, id: QueueId, out: &mut Out<'_>) -> Option<QueueInfo> {
        self.keep(id, out);
        let info = self.queues.remove(&id)?;
        self.names.remove(&info.name);
        out.routes.remove_queue(&info.name);
        out.routes.set_may_refuse(id, false);
        for binding in &info.bindings {
            out.routes.unbind(id, &binding.filter);
        }
        for binding in &info.bindings {
            let group = shared::noted_group(&info.name, binding);
            self.leaves_for_good(group, out);
        }
        for holder in &info.consumers {
            self.attached.remove(&holder.key);
        }
        if let Some(at) = info.expires_at {
            self.expiries.remove(&(at, id));
        }
        if let Some(at) = info.idle_check {
            self.idle_checks.remove(&(at, id));
        }
        if info.durable {
            self.records.extend(storage::delete_queue(id, &info));
            if info.name.starts_with(SESSION_PREFIX) {
                for shard in 0..self.shards {
                    out.shard(ShardId(shard), ShardCommand::ForgetFingerprints { queue: id });
                }
            }
        }
        Some(info)
    }

    pub(super) fn expire(&mut self, out: &mut Out<'_>) {
        while let Some((at, id)) = self.expiries.first().copied()
            && at <= out.now
        {
            self.expiries.pop_first();
            if self.is_kept_by_members(id) {
                continue;
            }
            if let Some(info) = self.forget(id, out) {
                self.log(out);
                self.send_behind(info.line(), ShardCommand::Delete { queue: id }, out);
            }
        }
    }

    /// Starts the clock of a queue that nobody consumes from.
    pub(super) fn start_expiry(&mut self, now: Time, id: QueueId, after: Duration) {
        let at = now.after(after);
        if let Some(info) = self.queues.get_mut(&id) {
            info.expires_at = Some(at);
            self.expiries.insert((at, id));
        }
    }
}
