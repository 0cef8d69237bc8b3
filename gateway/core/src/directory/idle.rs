//! Queues that go when nobody needs them: the shard says whether there are messages, and takes the queue out of
//! use; only then is it deleted. A publish that comes too late finds no queue and goes to its successor.

use std::time::Duration;

use evergate_model::{QueueId, Time, Token};

use super::manage::{ManageError, ManageReply};
use super::{Directory, Out};
use crate::effect::{DirectoryEffect, SessionEvent, SessionId};
use crate::shard::ShardCommand;

/// A shard was asked to take a queue out of use.
#[derive(Clone, Copy, Debug)]
pub struct Retiring {
    /// Told apart from earlier ones.
    attempt: u64,
    /// An operator wants it; nobody, if its policy does.
    operator: Option<(SessionId, Token)>,
}

impl Retiring {
    /// Whether an operator waits for it.
    pub fn is_wanted(&self) -> bool {
        self.operator.is_some()
    }
}

impl Directory {
    /// Sets when to look whether the queue may go, or that nobody need look.
    pub(super) fn watch_idle(&mut self, from: Time, id: QueueId) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        if let Some(at) = info.idle_check.take() {
            self.idle_checks.remove(&(at, id));
        }
        if let Some(after) = info.settings.auto_delete_after
            && info.consumers.is_empty()
            && !info.configured
        {
            let at = from.after(after);
            info.idle_check = Some(at);
            self.idle_checks.insert((at, id));
        }
    }

    /// Asks the shards of those that are due.
    pub(super) fn check_idle(&mut self, out: &mut Out<'_>) {
        while let Some((at, id)) = self.idle_checks.first().copied()
            && at <= out.now
        {
            self.idle_checks.pop_first();
            let Some(info) = self.queues.get_mut(&id) else { continue };
            info.idle_check = None;
            let Some(after) = info.settings.auto_delete_after else { continue };
            // When the last of them leaves, it is watched again.
            if info.consumers.is_empty() && info.retiring.is_none() {
                self.retire(id, after, false, None, out);
            }
        }
    }

    /// Asks the queue's shard to take it out of use if it is empty.
    pub(super) fn retire(
        &mut self,
        id: QueueId,
        idle_for: Duration,
        even_in_use: bool,
        operator: Option<(SessionId, Token)>,
        out: &mut Out<'_>,
    ) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        self.last_attempt += 1;
        let attempt = self.last_attempt;
        info.retiring = Some(Retiring { attempt, operator });
        let line = info.line();
        self.send_behind(line, ShardCommand::Retire { queue: id, attempt, idle_for, even_in_use }, out);
    }

    /// Somebody needs the queue: if it was about to go, it stays.
    pub(super) fn keep(&mut self, id: QueueId, out: &mut Out<'_>) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        let Some(retiring) = info.retiring.take() else { return };
        let line = info.line();
        self.send_behind(line, ShardCommand::Reopen { queue: id }, out);
        self.watch_idle(out.now, id);
        Self::refuse_deletion(retiring, "the queue is in use again", out);
    }

    /// The shard's answer.
    pub(super) fn retired(&mut self, id: QueueId, attempt: u64, result: Result<(), Option<Time>>, out: &mut Out<'_>) {
        let Some(info) = self.queues.get_mut(&id) else { return };
        let Some(retiring) = info.retiring.filter(|retiring| retiring.attempt == attempt) else { return };
        info.retiring = None;
        if let Err(since) = result {
            self.watch_idle(since.unwrap_or(out.now), id);
            Self::refuse_deletion(retiring, "the queue has messages", out);
            return;
        }
        let Some(info) = self.forget(id, out) else { return };
        self.log(out);
        self.send_behind(info.line(), ShardCommand::Delete { queue: id }, out);
        if let Some((session, token)) = retiring.operator {
            let event = SessionEvent::Managed { token, result: Ok(ManageReply::Done) };
            self.defer(DirectoryEffect::Tell(session, event), out);
        }
    }

    fn refuse_deletion(retiring: Retiring, why: &str, out: &mut Out<'_>) {
        if let Some((session, token)) = retiring.operator {
            let event = SessionEvent::Managed { token, result: Err(ManageError::InUse(why.to_owned())) };
            out.tell(session, event);
        }
    }
}
