//! Queues that refuse messages when they are full, where a message goes to several shards: each shard is asked before
//! any of them gets it, so that all of its queues have it or none.

use std::collections::BTreeMap;

use evergate_model::{PublishError, QueueId, Token};

use super::{InLine, Out, Publisher, PublisherEffect, Waiting};
use crate::effect::ShardId;
use crate::routes::{Routes, Target};
use crate::shard::ShardCommand;

/// What shards say of a message.
#[derive(Debug)]
pub(super) struct Room {
    /// Shards that were asked and have not answered yet.
    awaited: usize,
    error: Option<PublishError>,
}

impl Publisher {
    /// Whether the message may go to `self.targets`. If not, shards are asked; the message waits for them.
    pub(super) fn finds_room(&mut self, waiting: &Waiting, routes: &Routes, out: &mut Out) -> bool {
        let Waiting { token, message, .. } = waiting;
        if let Some(room) = self.rooms.get(token) {
            if room.awaited > 0 {
                return false;
            }
            self.rooms.remove(token);
            return true;
        }
        if self.is_in_one_shard(waiting) {
            // That one refuses it for all, or takes it for all.
            return true;
        }
        let mut asked: BTreeMap<ShardId, Vec<QueueId>> = BTreeMap::new();
        for Target { shard, queue, .. } in self.targets.iter().filter(|target| routes.may_refuse(target.queue)) {
            asked.entry(*shard).or_default().push(*queue);
        }
        if asked.is_empty() {
            return true;
        }
        self.rooms.insert(*token, Room { awaited: asked.len(), error: None });
        for (shard, queues) in asked {
            let (session, token, message) = (self.session, *token, message.clone());
            // Behind what was published before.
            let command = ShardCommand::FindRoom { session, token, message, queues };
            out.effects.push(PublisherEffect::Publish(shard, command));
        }
        false
    }

    /// Whether a single shard is all that a message concerns.
    fn is_in_one_shard(&self, Waiting { retain, mark, .. }: &Waiting) -> bool {
        let mut shards = self.targets.iter().map(|target| target.shard).chain(mark.map(|(shard, ..)| shard));
        let first = shards.next();
        // What is retained the directory keeps.
        !retain && shards.all(|shard| Some(shard) == first)
    }

    /// A message for which room was found must wait for something else: by the time that it may go, there is perhaps no
    /// room any more.
    pub(super) fn room_is_lost(&mut self, token: Token) {
        if self.rooms.get(&token).is_some_and(|room| room.awaited == 0) {
            self.rooms.remove(&token);
        }
    }

    /// A shard has answered. `pump` sends the message on once all have.
    pub(super) fn room_found(&mut self, token: Token, error: Option<PublishError>, out: &mut Out) {
        let Some(room) = self.rooms.get_mut(&token) else { return };
        room.awaited -= 1;
        room.error = room.error.take().or(error);
        if room.awaited > 0 {
            return;
        }
        let Some(error) = room.error.take() else { return };
        self.rooms.remove(&token);
        let is_it = |next: &InLine| matches!(next, InLine::Message(waiting) if waiting.token == token);
        let index = self.waiting.iter().position(is_it);
        if let Some(InLine::Message(Waiting { message, body, .. })) = index.and_then(|index| self.waiting.remove(index))
        {
            self.bytes -= message.size_bytes();
            body.into_iter().for_each(|body| self.abandon_body(body));
            out.counts.published += 1;
            out.published(token, Err(error));
        }
    }
}
