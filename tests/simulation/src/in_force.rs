//! What each queue goes by from when its shard was told, and what is promised of that: how full it may become, who
//! is refused, who is served, how often a message is handed out, and what may be let go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use evergate_core::{QueueStats, Routes, SessionEvent, Shard, ShardCommand, ShardEffect, ShardTarget};
use evergate_model::{Consumers, Dispatch, Message, OnFull, PublishError, QueueId, QueueKind, QueueSettings, Seq};

use crate::key::Key;
use crate::model::{Check, DEAD_LETTERS, Model, Queue};
use crate::traits::KEYS;

/// Of one queue.
#[derive(Debug, Default)]
pub struct InForce {
    pub settings: Arc<QueueSettings>,
    /// What its shard was told last, and has perhaps not heard yet.
    told: Arc<QueueSettings>,
    /// Confirmed messages that made room for others, or for a newer one of their key, perhaps.
    pub may_go: HashSet<Key>,
    /// Messages that were on their way to the dead letters. After a crash they may be back, behind others, if they may
    /// stay longer by then.
    pub unwanted_once: HashSet<Key>,
    /// It let messages go, once, to make room for others.
    pub was_ring: bool,
    /// It handed out before a commit, once.
    pub was_eager: bool,
    /// Messages came that go before all others.
    pub has_discardable: bool,
    /// Failed deliveries while they are limited, and the places where they were too many.
    failures: HashMap<Seq, u32>,
    unwanted: HashSet<Seq>,
}

impl InForce {
    /// `entered`: what came so far, in order.
    pub fn change(&mut self, settings: Arc<QueueSettings>, entered: &[Key]) {
        if settings.on_full == OnFull::DropOldest {
            self.may_go.extend(entered);
            self.was_ring = true;
        }
        if is_last_value(&settings) {
            let mut seen = HashSet::new();
            self.may_go.extend(entered.iter().rev().filter(|key| !seen.insert(key.number % KEYS)));
        }
        if settings.redelivery.deliveries_max.is_none() {
            self.failures.clear();
        }
        self.was_eager |= settings.dispatch == Dispatch::Eager;
        self.settings = settings;
    }

    /// A message comes behind those that came before.
    pub fn enters(&mut self, key: Key, before: &[Key]) {
        self.may_go.remove(&key);
        if self.settings.on_full == OnFull::DropOldest {
            self.may_go.insert(key);
        }
        if is_last_value(&self.settings) {
            self.may_go
                .extend(before.iter().filter(|other| other.number % KEYS == key.number % KEYS && **other != key));
        }
    }

    pub fn restarted(&mut self) {
        self.failures.clear();
        self.unwanted.clear();
    }

    /// A delivery failed.
    pub fn fails(&mut self, seq: Seq) {
        let Some(max) = self.settings.redelivery.deliveries_max else { return };
        let count = self.failures.entry(seq).or_default();
        *count += 1;
        if *count >= max {
            self.unwanted.insert(seq);
        }
    }

    /// Whether a message failed as often as it may.
    pub fn is_unwanted(&self, seq: Seq) -> bool {
        self.unwanted.contains(&seq)
    }

    pub fn is_single_active(&self) -> bool {
        self.settings.consumers == Consumers::SingleActive && !self.is_stream()
    }

    fn is_stream(&self) -> bool {
        matches!(self.settings.kind, QueueKind::Stream { .. })
    }

    /// Whether there is no room for a message more, as far as that can be told from its messages.
    fn is_full(&self, stats: &QueueStats) -> bool {
        stats.messages - stats.leaving >= self.settings.messages_max
    }

    /// Nothing that could make room for a refused message.
    fn must_refuse(&self, message: &Message, stats: &QueueStats) -> bool {
        !message.meta.is_discardable() && !self.has_discardable && self.is_full(stats)
    }
}

fn is_last_value(settings: &QueueSettings) -> bool {
    matches!(settings.kind, QueueKind::LastValue { .. })
}

/// What a command that fills queues, or changes how much room they have, finds there.
pub struct Before {
    /// One that may be refused.
    publish: Option<(Arc<Message>, Vec<ShardTarget>)>,
    stats: Vec<(QueueId, QueueStats)>,
}

impl Before {
    pub fn of(shard: &Shard, command: &ShardCommand) -> Self {
        let (publish, queues) = match command {
            ShardCommand::Publish { message, targets, may_be_refused, .. } => (
                may_be_refused.then(|| (message.clone(), targets.clone())),
                targets.iter().map(|target| target.queue).collect(),
            ),
            ShardCommand::Change { queue, .. } => (None, vec![*queue]),
            _ => (None, Vec::new()),
        };
        let stats = queues.into_iter().filter_map(|id| Some((id, shard.stats_of(id)?)));
        Self { publish, stats: stats.collect() }
    }

    /// A publish was taken where there was room, and refused where a queue is full that refuses.
    pub fn check_taken(&self, model: &Model, shard: &Shard, effects: &[ShardEffect]) -> Check {
        let Some((message, targets)) = &self.publish else { return Ok(()) };
        let is_refusal = |effect: &ShardEffect| {
            matches!(
                effect,
                ShardEffect::Tell(_, SessionEvent::PublishPart { error: Some(PublishError::Full { .. }), .. })
            )
        };
        let of = |target: &ShardTarget| model.queues.get(&target.queue);
        if effects.iter().any(is_refusal) && !targets.iter().filter_map(of).any(Queue::may_refuse) {
            return Err(format!("{:?} was refused, though none of its queues refuses", Key::of(message)));
        }
        let full = self.stats.iter().find_map(|(id, stats)| {
            let queue = model.queues.get(id)?;
            (queue.may_refuse() && queue.in_force.must_refuse(message, stats)).then_some(queue)
        });
        for (id, before) in &self.stats {
            let Some((queue, after)) = model.queues.get(id).zip(shard.stats_of(*id)) else { continue };
            if let Some(full) = full.filter(|_| after.published_total > before.published_total) {
                return Err(format!("{} took a message, though {} is full and refuses", queue.name, full.name));
            }
            let in_force = &queue.in_force;
            let is_in_memory = after.bytes == after.resident_bytes;
            let grows = after.messages - after.leaving > before.messages - before.leaving;
            let is_ring = in_force.settings.on_full == OnFull::DropOldest && !in_force.is_stream();
            if is_ring && grows && is_in_memory && in_force.is_full(before) {
                return Err(format!("{} grows beyond {} messages", queue.name, in_force.settings.messages_max));
            }
        }
        Ok(())
    }

    /// The queues that it may have filled, or emptied.
    pub fn queues(&self) -> impl Iterator<Item = QueueId> {
        self.stats.iter().map(|(id, _)| *id)
    }
}

impl Model {
    /// Publishers wait for queues where they must, and not where they are refused.
    pub fn check_waiting(&self, queues: impl Iterator<Item = QueueId>, shard: &Shard, routes: &Routes) -> Check {
        for id in queues {
            let Some((queue, stats)) = self.queues.get(&id).zip(shard.stats_of(id)) else { continue };
            let settings = &queue.in_force.settings;
            if queue.in_force.is_stream() || queue.name == DEAD_LETTERS {
                continue;
            }
            let must_wait = match settings.on_full {
                OnFull::Block | OnFull::Disconnect => stats.messages >= settings.messages_max,
                OnFull::DeadLetterOldest => stats.messages - stats.leaving > settings.messages_max,
                OnFull::Reject | OnFull::DropOldest => false,
            };
            match (settings.on_full, routes.is_full(id)) {
                (OnFull::Reject, true) => return Err(format!("publishers wait for {}, which refuses", queue.name)),
                (_, false) if must_wait => {
                    return Err(format!("publishers do not wait for {}, which is full: {stats:?}", queue.name));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The directory tells a queue's shard by what it goes.
    pub fn was_told(&mut self, id: QueueId, settings: &Arc<QueueSettings>) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.in_force.told = settings.clone();
        }
    }

    /// A message is on its way to the dead letters.
    pub fn is_unwanted(&mut self, id: QueueId, key: Option<Key>) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.in_force.unwanted_once.extend(key);
        }
    }

    /// What an operator is told of a queue is what its shard was told.
    pub fn check_told(&self, name: &str, settings: &QueueSettings) -> Check {
        match self.live(name).and_then(|id| self.queues.get(&id)) {
            Some(queue) if *queue.in_force.told != *settings => {
                Err(format!("{name} goes by {settings:?}, but its shard was told {:?}", queue.in_force.told))
            }
            _ => Ok(()),
        }
    }
}

impl Queue {
    /// Publishers are refused when it is full.
    fn may_refuse(&self) -> bool {
        self.in_force.settings.on_full == OnFull::Reject && self.name != DEAD_LETTERS
    }
}
