//! Publishing with the retain flag.

use std::sync::Arc;

use evergate_model::{Mark, Message, PublishError, QueueId, SYSTEM_PREFIX, Token};

use super::{Directory, DirectoryLimits, Out, storage};
use crate::effect::{DirectoryEffect, Group, Logged, SessionEvent, SessionId, ShardId};
use crate::routes::Target;
use crate::shard::{ShardCommand, ShardTarget};

impl Directory {
    /// Keeps the message as its topic's last and routes it. The topic's change and the message in every
    /// queue are one group: committed together or not at all.
    pub(super) fn publish_retained(
        &mut self,
        answer: Option<(SessionId, Token)>,
        client_id: &str,
        message: Arc<Message>,
        mark: Option<(ShardId, QueueId, Mark)>,
        out: &mut Out<'_>,
    ) {
        let topic = &message.meta.address.name;
        // Figures are made anew after a restart: they are remembered, not stored, and no client's.
        let stored = !topic.starts_with(SYSTEM_PREFIX);
        if stored
            && !message.body.is_empty()
            && let Err(text) = self.check_retained(&message)
        {
            refuse(answer, PublishError::Limit(text), out);
            return;
        }
        let mut targets = Vec::new();
        out.routes.find(&message, client_id, &mut self.route_cache, &mut targets);
        let mut parts = split_by_shard(&targets, mark);
        if parts.is_empty()
            && let Some((shard, queue, mark)) = mark
        {
            parts.push((shard, Vec::new(), Some((queue, mark))));
        }
        let cleared = message.body.is_empty();
        let changed = stored && (!cleared || self.retained.clear(topic));
        let count = parts.len() as u16 + u16::from(changed);
        // What is not confirmed after a commit need not be whole after a crash.
        let group = message.meta.durable.then_some(Group { id: message.meta.id.0, parts: count });
        if let Some((session, token)) = answer {
            out.tell(session, SessionEvent::PublishParts { token, parts: u32::from(count) });
        }
        if changed {
            let record = if cleared { storage::delete_retained(topic) } else { storage::put_retained(&message) };
            self.logged.0 += 1;
            out.log.push(Logged { record: Some(record), group });
        }
        // Whoever is answered found room before. What the gateway itself publishes is refused by each shard alone.
        let may_be_refused = answer.is_none();
        for (shard, targets, mark) in parts {
            let message = message.clone();
            out.shard(shard, ShardCommand::Publish { answer, message, targets, mark, group, may_be_refused });
        }
        let durable = message.meta.durable;
        if !cleared {
            self.retained.set(message);
        }
        if let Some((session, token)) = answer
            && changed
        {
            let event = SessionEvent::PublishPart { token, reached: 0, error: None };
            let effect = DirectoryEffect::Tell(session, event);
            if durable {
                self.defer(effect, out);
            } else {
                out.effects.push(effect);
            }
        }
    }

    /// Whether there is room to keep a message as its topic's last.
    fn check_retained(&self, message: &Message) -> Result<(), String> {
        let DirectoryLimits { retained_max, retained_bytes_max, .. } = self.limits;
        if self.retained.len() >= retained_max && !self.retained.contains(&message.meta.address.name) {
            return Err(format!("as many topics have a retained message as the limit allows ({retained_max})"));
        }
        let (now, then) = self.retained.bytes_with(message);
        // One that is no larger than the one before passes, also where the limit was lowered.
        if then > retained_bytes_max && then > now {
            return Err(format!(
                "the retained messages would take more than the limit allows ({retained_bytes_max} bytes)"
            ));
        }
        Ok(())
    }

    /// Stands in every shard's line behind what was published before.
    pub(super) fn fence(&mut self, session: SessionId, token: Token, queue: &str, out: &mut Out<'_>) {
        let queue = self.names.get(queue).copied();
        for shard in 0..self.shards {
            out.shard(ShardId(shard), ShardCommand::Fence { session, token, queue });
        }
    }
}

fn refuse(answer: Option<(SessionId, Token)>, error: PublishError, out: &mut Out<'_>) {
    if let Some((session, token)) = answer {
        out.tell(session, SessionEvent::PublishParts { token, parts: 1 });
        out.tell(session, SessionEvent::PublishPart { token, reached: 0, error: Some(error) });
    }
}

/// One shard's part of a publish.
pub type ShardPart = (ShardId, Vec<ShardTarget>, Option<(QueueId, Mark)>);

/// The parts of a publish to `targets`, which stand by shard. A number goes to the shard of its queue, a fingerprint
/// to any that has a part.
pub fn split_by_shard(targets: &[Target], mark: Option<(ShardId, QueueId, Mark)>) -> Vec<ShardPart> {
    let mut parts: Vec<ShardPart> = Vec::new();
    for target in targets {
        let Target { queue, durable, at_most_once, .. } = *target;
        let item = ShardTarget { queue, durable, at_most_once, retained: false, moved: false };
        match parts.last_mut() {
            Some((shard, items, _)) if *shard == target.shard => items.push(item),
            _ => parts.push((target.shard, vec![item], None)),
        }
    }
    match mark {
        Some((shard, queue, number @ Mark::Number(_))) => match parts.iter_mut().find(|part| part.0 == shard) {
            Some(part) => part.2 = Some((queue, number)),
            None => parts.push((shard, Vec::new(), Some((queue, number)))),
        },
        Some((_, queue, fingerprint @ Mark::Fingerprint(_))) => {
            if let Some(part) = parts.first_mut() {
                part.2 = Some((queue, fingerprint));
            }
        }
        None => {}
    }
    parts
}
