//! Queues that an operator or the configuration defines.

use evergate_model::{Address, BODY_PREFIX, Binding, Filter, Lifetime, Policy, QueueId, Time, Token};

use super::manage::{ManageError, ManageReply, QueueEntry};
use super::{Directory, Out, QueueDefinition, QueueInfo, storage};
use crate::effect::{DirectoryEffect, Logged, Position, SessionId, ShardId};
use crate::routes::Routes;
use crate::shard::ShardCommand;

/// Bindings of one queue that an operator may define.
const BINDINGS_MAX: usize = 1000;

impl QueueDefinition {
    /// Its settings, if it has any of its own.
    pub(crate) fn own(&self) -> Option<Policy> {
        (self.settings != Policy::default()).then(|| self.settings.clone())
    }

    /// What makes no sense in it.
    pub fn check(&self) -> Result<(), String> {
        Address::check_name(&self.name).map_err(|error| error.to_string())?;
        if self.name.starts_with(['$', '_']) {
            return Err(format!("{}: names that begin with $ or _ are the gateway's own", self.name));
        }
        if let Some((_, name)) = Address::parse(&self.name) {
            return Err(format!("{} is an address, not a name: a queue's name is written as {name}", self.name));
        }
        if self.bindings.len() > BINDINGS_MAX {
            return Err(format!("a queue may have at most {BINDINGS_MAX} bindings"));
        }
        self.settings.check_settings().map_err(|error| error.to_string())
    }
}

impl Directory {
    /// Sees to it that the queues of the configuration are there as it says. Before anything else, after the
    /// queues that a restart found. What must be kept is appended to `log`; shards are told what is returned.
    pub(crate) fn configure(
        &mut self,
        now: Time,
        definitions: Vec<QueueDefinition>,
        routes: &mut Routes,
        log: &mut Vec<Logged>,
    ) -> Vec<(ShardId, ShardCommand)> {
        let mut effects = Vec::new();
        let mut out = Out { now, routes, log, effects: &mut effects };
        for definition in definitions {
            let own = definition.own();
            let id = match self.names.get(&definition.name).copied() {
                Some(id) => id, // recovered with these settings
                None => self.create(definition.name, true, Lifetime::Permanent, own, &mut out),
            };
            self.replace_bindings(id, &definition.bindings, &mut out);
            if let Some(info) = self.queues.get_mut(&id) {
                info.configured = true;
            }
            self.watch_idle(now, id);
        }
        self.log(&mut out);
        // These records go into the batch that starts the node, before any stream.
        self.logged = Position(0);
        let command = |effect| match effect {
            DirectoryEffect::Shard(shard, command) => Some((shard, command)),
            DirectoryEffect::Tell(..) => None,
        };
        effects.into_iter().filter_map(command).collect()
    }

    pub(super) fn create_queue(
        &mut self,
        definition: QueueDefinition,
        out: &mut Out<'_>,
    ) -> Result<ManageReply, ManageError> {
        definition.check().map_err(ManageError::Invalid)?;
        let own = definition.own();
        let QueueDefinition { name, bindings, .. } = definition;
        if self.names.contains_key(&name) {
            return Err(ManageError::InUse(format!("there is a queue {name} already")));
        }
        self.check_room(&name).map_err(ManageError::Limit)?;
        let id = self.create(name, true, Lifetime::Permanent, own, out);
        self.replace_bindings(id, &bindings, out);
        Ok(ManageReply::Done)
    }

    pub(super) fn change_queue(
        &mut self,
        name: &str,
        settings: Policy,
        out: &mut Out<'_>,
    ) -> Result<ManageReply, ManageError> {
        settings.check_settings().map_err(|error| ManageError::Invalid(error.to_string()))?;
        let id = self.defined(name)?;
        self.set_own(id, (settings != Policy::default()).then_some(settings), out);
        Ok(ManageReply::Done)
    }

    /// `None`: answered later.
    pub(super) fn delete_queue(
        &mut self,
        answer: (SessionId, Token),
        name: &str,
        (if_empty, if_unused): (bool, bool),
        out: &mut Out<'_>,
    ) -> Option<Result<ManageReply, ManageError>> {
        let Some(id) = self.names.get(name).copied() else { return Some(Err(no_queue(name))) };
        let info = &self.queues[&id];
        if name.starts_with('_') {
            return Some(Err(ManageError::Invalid(format!("{name} is the gateway's own"))));
        }
        if info.configured {
            return Some(Err(ManageError::Invalid(format!(
                "{name} stands in the configuration: remove it there first"
            ))));
        }
        if info.retiring.is_some_and(|retiring| retiring.is_wanted()) {
            return Some(Err(ManageError::InUse(format!("{name} is being deleted already"))));
        }
        if if_unused && !info.consumers.is_empty() {
            return Some(Err(ManageError::InUse(format!("{name} has consumers"))));
        }
        if if_empty {
            self.retire(id, std::time::Duration::ZERO, !if_unused, Some(answer), out);
            return None;
        }
        let info = self.forget(id, out)?;
        self.log(out);
        // Behind a consumer that is still being attached, and not before the deletion is committed.
        self.defer(DirectoryEffect::Shard(info.shard, ShardCommand::Delete { queue: id }), out);
        Some(Ok(ManageReply::Done))
    }

    pub(super) fn bind_queue(
        &mut self,
        name: &str,
        binding: Binding,
        out: &mut Out<'_>,
    ) -> Result<ManageReply, ManageError> {
        let id = self.defined(name)?;
        let bindings = &self.queues[&id].bindings;
        if bindings.contains(&binding) {
            return Ok(ManageReply::Done);
        }
        if bindings.len() >= BINDINGS_MAX && !bindings.iter().any(|other| other.filter == binding.filter) {
            return Err(ManageError::Limit(format!("a queue may have at most {BINDINGS_MAX} bindings")));
        }
        self.add_binding(id, binding, out);
        Ok(ManageReply::Done)
    }

    pub(super) fn unbind_queue(
        &mut self,
        name: &str,
        filter: &Filter,
        out: &mut Out<'_>,
    ) -> Result<ManageReply, ManageError> {
        let id = self.defined(name)?;
        if self.remove_binding(id, filter, out) {
            return Ok(ManageReply::Done);
        }
        Err(ManageError::NotFound(format!("{name} is not bound to {filter}")))
    }

    /// The queue of that name, whoever it belongs to. Bodies are no queues to those who administer.
    pub(super) fn show_queue(&self, name: &str) -> Result<ManageReply, ManageError> {
        let found = self.names.get(name).filter(|_| !name.starts_with(BODY_PREFIX));
        let id = found.copied().ok_or_else(|| no_queue(name))?;
        let info = &self.queues[&id];
        Ok(ManageReply::Queue { entry: Box::new(entry(info)), queue: id, shard: info.shard })
    }

    /// The queue of that name, if it is one whose bindings and settings are an operator's.
    fn defined(&self, name: &str) -> Result<QueueId, ManageError> {
        let id = self.names.get(name).copied().ok_or_else(|| no_queue(name))?;
        if name.starts_with(['$', '_']) {
            return Err(ManageError::Invalid(format!("{name} belongs to a client or to the gateway")));
        }
        if self.queues[&id].configured {
            return Err(ManageError::Invalid(format!("{name} stands in the configuration: change it there")));
        }
        Ok(id)
    }

    /// Gives a queue settings of its own.
    fn set_own(&mut self, id: QueueId, own: Option<Policy>, out: &mut Out<'_>) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        if info.own.as_deref() == own.as_ref() {
            return;
        }
        info.own = own.map(Box::new);
        if info.durable {
            self.records.push(storage::put_queue(id, info));
        }
        self.renew_settings(id, out);
    }
}

fn no_queue(name: &str) -> ManageError {
    ManageError::NotFound(format!("there is no queue {name}"))
}

fn entry(info: &QueueInfo) -> QueueEntry {
    QueueEntry {
        name: info.name.clone(),
        durable: info.durable,
        lifetime: info.lifetime,
        configured: info.configured,
        consumers: info.consumers.len(),
        bindings: info.bindings.clone(),
        settings: info.settings.clone(),
        own: info.own.as_deref().cloned(),
    }
}
