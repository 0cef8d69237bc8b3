//! Queues' interest in topics.

use evergate_model::{Binding, Event, Filter, QueueId, Retained, Token};

use super::{Directory, Out, shared, storage};
use crate::consumer::ConsumerKey;
use crate::effect::{DirectoryEffect, SessionEvent};
use crate::shard::{ShardCommand, ShardTarget};

impl Directory {
    pub(super) fn bind(
        &mut self,
        key: ConsumerKey,
        binding: Binding,
        retained: Retained,
        token: Token,
        out: &mut Out<'_>,
    ) {
        let Some(id) = self.attached.get(&key).copied() else {
            // Taken over or deleted meanwhile: that is told on its own; a request is answered all the same.
            out.tell(key.session, SessionEvent::Event(Event::Done(token)));
            return;
        };
        self.send_retained(id, &binding, retained, out);
        self.add_binding(id, binding, out);
        self.log(out);
        self.defer(DirectoryEffect::Tell(key.session, SessionEvent::Event(Event::Done(token))), out);
    }

    /// Retained messages for a binding, before its route is there: what is published from now on stands behind them.
    pub(super) fn send_retained(&self, id: QueueId, binding: &Binding, retained: Retained, out: &mut Out<'_>) {
        let Some(info) = self.queues.get(&id) else { return };
        let wanted = match retained {
            Retained::Send => true,
            Retained::SendIfNew => !info.bindings.iter().any(|other| other.filter == binding.filter),
            Retained::Skip => false,
        };
        if !wanted {
            return;
        }
        let (durable, at_most_once) = (binding.durable, !binding.durable);
        let target = ShardTarget { queue: id, durable, at_most_once, retained: true, moved: false };
        for message in self.retained.matching(&binding.filter, out.now) {
            if binding.selector.as_ref().is_none_or(|selector| out.routes.selects(selector, message)) {
                let (answer, mark, group) = (None, None, None);
                let (message, targets) = (message.clone(), vec![target]);
                let may_be_refused = true;
                out.shard(info.shard, ShardCommand::Publish { answer, message, targets, mark, group, may_be_refused });
            }
        }
    }

    pub(super) fn unbind(&mut self, key: ConsumerKey, filter: &Filter, token: Token, out: &mut Out<'_>) {
        let Some(id) = self.attached.get(&key).copied() else {
            out.tell(key.session, SessionEvent::Event(Event::Unbound { token, existed: false }));
            return;
        };
        let existed = self.remove_binding(id, filter, out);
        self.log(out);
        let event = Event::Unbound { token, existed };
        self.defer(DirectoryEffect::Tell(key.session, SessionEvent::Event(event)), out);
    }

    pub(super) fn add_binding(&mut self, id: QueueId, binding: Binding, out: &mut Out<'_>) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        out.routes.bind(&binding, info.target(id));
        if info.durable {
            self.records.push(storage::put_binding(id, &binding));
        }
        if let Some(other) = info.bindings.iter_mut().find(|other| other.filter == binding.filter) {
            *other = binding;
        } else {
            let group = shared::noted_group(&info.name, &binding);
            info.bindings.push(binding);
            self.joins_for_good(group);
        }
    }

    pub(super) fn remove_binding(&mut self, id: QueueId, filter: &Filter, out: &mut Out<'_>) -> bool {
        let Some(info) = self.queues.get_mut(&id) else { return false };
        let Some(index) = info.bindings.iter().position(|binding| binding.filter == *filter) else { return false };
        let binding = info.bindings.remove(index);
        out.routes.unbind(id, filter);
        if info.durable {
            self.records.push(storage::delete_binding(id, filter));
        }
        let group = shared::noted_group(&info.name, &binding);
        self.leaves_for_good(group, out);
        true
    }
}
