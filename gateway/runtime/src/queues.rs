//! Operators' requests to one queue: look into it, empty it, take messages out.

use std::sync::Arc;

use evergate_core::{
    ManageError, ManageReply, ManageRequest, PeekFrom, Peeked, Reserve, RouteCache, SessionEvent, SessionId,
    ShardCommand, ShardId,
};
use evergate_model::{BODY_PREFIX, Message, MessageId, QueueId, Selector, Seq, Token};
use tokio::sync::oneshot;

use crate::gateway::Gateway;
use crate::house::HouseRequest;

/// The token of the one request of a session.
const TOKEN: Token = Token(1);

/// What became of messages that were to be moved.
#[derive(Debug, Default)]
pub struct Moved {
    /// How many are at their new place.
    pub count: u64,
    /// Those that are where they were, and why.
    pub failed: Vec<(Seq, String)>,
    /// Where to go on, if there is more: behind those that failed.
    pub next: Option<PeekFrom>,
}

impl Gateway {
    /// Up to `count` messages from somewhere on, in order of service; only those that are selected. With where to go on,
    /// if there is more.
    pub async fn browse(
        &self,
        name: &str,
        from: PeekFrom,
        count: usize,
        selector: Option<Selector>,
    ) -> Result<(Vec<Peeked>, Option<PeekFrom>), ManageError> {
        let (queue, shard) = self.place_of(name).await?;
        self.peek(shard, |answer| {
            let reserve = Reserve::Nothing;
            ShardCommand::Peek { queue, from, count, selector, reserve, answer }
        })
        .await
    }

    /// Moves messages that no consumer holds: each is published as `readdress` writes it, and leaves its queue in the
    /// same commit. With a queue that it names, a message to a topic goes to that one alone, as long as the topic leads
    /// there. What cannot be published stays. Returns how many were moved, and why the others were not.
    pub async fn move_messages(
        &self,
        name: &str,
        (from, reserve, selector): (PeekFrom, Reserve, Option<Selector>),
        count: usize,
        readdress: impl Fn(&Message) -> Option<(Message, Option<Arc<str>>)>,
    ) -> Result<Moved, ManageError> {
        let (queue, shard) = self.place_of(name).await?;
        let from = match &reserve {
            Reserve::Chosen(seqs) => PeekFrom::Place(seqs.first().copied().unwrap_or_default()),
            Reserve::Nothing | Reserve::All => from,
        };
        let (reserved, next) =
            self.peek(shard, |answer| ShardCommand::Peek { queue, from, count, selector, reserve, answer }).await?;
        let mut moved = Moved { next, ..Moved::default() };
        let mut waiting = Vec::new();
        for Peeked { seq, message, .. } in reserved {
            let Some((mut message, only_to)) = readdress(&message) else {
                moved.failed.push((seq, "there is no address that it could go to".into()));
                self.control(shard, ShardCommand::GiveBack { queue, seq });
                continue;
            };
            self.restrict(&mut message, only_to.as_deref()).await;
            // In the journal an id names one message: it is given a new one.
            message.meta.id = MessageId(0);
            let (told, answer) = oneshot::channel();
            self.house.push(HouseRequest::Move { shard, queue, seq, message: Box::new(message), told });
            waiting.push((seq, answer));
        }
        for (seq, answer) in waiting {
            match answer.await {
                Ok(Ok(())) => moved.count += 1,
                Ok(Err(error)) => moved.failed.push((seq, error.to_string())),
                Err(_) => return Err(ManageError::Unavailable),
            }
        }
        Ok(moved)
    }

    /// Has a message go to this queue alone, if its topic leads there; else to all that its address leads to.
    async fn restrict(&self, message: &mut Message, only_to: Option<&str>) {
        if let Some(rare) = &mut message.meta.rare {
            rare.only_to = None; // of an earlier time
        }
        let Some(name) = only_to else { return };
        let Ok((queue, _)) = self.place_of(name).await else { return };
        let mut found = Vec::new();
        self.routes.read().find(message, "", &mut RouteCache::default(), &mut found);
        if found.iter().any(|target| target.queue == queue) {
            message.meta.rare_mut().only_to = Some(queue);
        }
    }

    async fn peek(
        &self,
        shard: ShardId,
        command: impl FnOnce((SessionId, Token)) -> ShardCommand,
    ) -> Result<(Vec<Peeked>, Option<PeekFrom>), ManageError> {
        match self.ask_shard(shard, command).await? {
            SessionEvent::Peeked { messages, next, .. } => Ok((messages, next)),
            _ => Err(ManageError::Unavailable),
        }
    }

    /// Removes every message that no consumer holds; only those that are selected. Returns how many, after the commit.
    pub async fn purge(&self, name: &str, selector: Option<Selector>) -> Result<u64, ManageError> {
        let (queue, shard) = self.place_of(name).await?;
        let command = |answer| match selector {
            None => ShardCommand::Purge { queue, answer },
            Some(selector) => ShardCommand::PurgeSelected { queue, selector, answer },
        };
        self.removed(shard, command).await
    }

    /// Removes those of the messages at `seqs` that no consumer holds. Returns how many, after the commit.
    pub async fn take_out(&self, name: &str, seqs: Vec<Seq>) -> Result<u64, ManageError> {
        let (queue, shard) = self.place_of(name).await?;
        self.removed(shard, |answer| ShardCommand::TakeOut { queue, seqs, answer }).await
    }

    async fn removed(
        &self,
        shard: ShardId,
        command: impl FnOnce((SessionId, Token)) -> ShardCommand,
    ) -> Result<u64, ManageError> {
        match self.ask_shard(shard, command).await? {
            SessionEvent::Removed { count, .. } => Ok(count),
            _ => Err(ManageError::Unavailable),
        }
    }

    async fn place_of(&self, name: &str) -> Result<(QueueId, ShardId), ManageError> {
        if name.starts_with(BODY_PREFIX) {
            let text = format!("{name} is the body of a large message: what is done to it is done to that message");
            return Err(ManageError::Invalid(text));
        }
        let target = self.routes.read().queue(name);
        if let Some(target) = target {
            return Ok((target.queue, target.shard));
        }
        // Those of sessions and subscriptions have no route by name.
        match self.manage(ManageRequest::Queue { name: name.to_owned() }).await? {
            ManageReply::Queue { queue, shard, .. } => Ok((queue, shard)),
            _ => Err(ManageError::Unavailable),
        }
    }

    /// Hands a command to a shard and waits for its answer.
    async fn ask_shard(
        &self,
        shard: ShardId,
        command: impl FnOnce((SessionId, Token)) -> ShardCommand,
    ) -> Result<SessionEvent, ManageError> {
        let (session, mailbox) = self.open_session();
        self.control(shard, command((session, TOKEN)));
        let mut stopping = self.stopping();
        let mut events = Vec::new();
        let answer = loop {
            tokio::select! {
                () = mailbox.filled() => {
                    mailbox.take(&mut events);
                    if let Some(event) = events.pop() {
                        break Ok(event);
                    }
                }
                // The tasks end soon: nobody may be left to answer.
                _ = stopping.wait_for(Option::is_some) => break Err(ManageError::Unavailable),
            }
        };
        self.close_session(session);
        answer
    }
}
