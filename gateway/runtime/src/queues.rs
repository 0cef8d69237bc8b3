//! Operators' requests to one queue: look into it, empty it, take messages out.

use evergate_core::{ManageError, Peeked, SessionEvent, SessionId, ShardCommand, ShardId};
use evergate_model::{QueueId, Selector, Seq, Token};

use crate::gateway::Gateway;

/// The token of the one request of a session.
const TOKEN: Token = Token(1);

impl Gateway {
    /// Up to `count` messages from a place on, in order of service; only those that are selected.
    pub async fn browse(
        &self,
        name: &str,
        from: Seq,
        count: usize,
        selector: Option<Selector>,
    ) -> Result<Vec<Peeked>, ManageError> {
        let (queue, shard) = self.place_of(name)?;
        let command = |answer| ShardCommand::Peek { queue, from, count, selector, answer };
        match self.ask_shard(shard, command).await? {
            SessionEvent::Peeked { messages, .. } => Ok(messages),
            _ => Err(ManageError::Unavailable),
        }
    }

    /// Removes every message that no consumer holds. Returns how many, after the commit.
    pub async fn purge(&self, name: &str) -> Result<u64, ManageError> {
        let (queue, shard) = self.place_of(name)?;
        self.removed(shard, |answer| ShardCommand::Purge { queue, answer }).await
    }

    /// Removes those of the messages at `seqs` that no consumer holds. Returns how many, after the commit.
    pub async fn take_out(&self, name: &str, seqs: Vec<Seq>) -> Result<u64, ManageError> {
        let (queue, shard) = self.place_of(name)?;
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

    fn place_of(&self, name: &str) -> Result<(QueueId, ShardId), ManageError> {
        let target = self.routes.read().queue(name);
        let place = target.map(|target| (target.queue, target.shard));
        place.ok_or_else(|| ManageError::NotFound(format!("there is no queue {name}")))
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
