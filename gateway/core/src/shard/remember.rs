//! What a shard does with the fingerprints of what sessions publish.

use evergate_journal::Record;
use evergate_model::{Fingerprint, MessageId, QueueId, Token};

use super::fingerprints::FingerprintRow;
use super::{Bug, Shard};
use crate::effect::{Logged, SessionEvent, SessionId, ShardEffect};

impl Shard {
    /// Takes over what a restart found of what sessions published: the rows, in order, and the number that is free.
    pub(crate) fn recover_fingerprints(&mut self, rows: Vec<FingerprintRow>, next: u64) -> Vec<Record> {
        self.fingerprints.start_at(next);
        if self.config.bug == Some(Bug::ForgetFingerprints) {
            return rows.iter().map(FingerprintRow::delete).collect();
        }
        self.fingerprints.recover(rows);
        self.fingerprints.delete_dead().collect()
    }

    /// A session's message was taken. `stored`: its records wait, or those of another shard; of what a crash takes nothing
    /// needs to be known after it.
    pub(super) fn remember(&mut self, queue: QueueId, publish: (MessageId, Fingerprint), stored: bool) {
        self.fingerprints.remember(queue, publish, stored, self.logged, &mut self.records);
    }

    /// What is remembered and waits for no commit, or no longer.
    pub(super) fn fingerprints_committed(&mut self, log: &mut Vec<Logged>) {
        self.fingerprints.committed(self.durable, self.logged, &mut self.records);
        self.log(None, log);
    }

    pub(super) fn forget_fingerprints(&mut self, queue: QueueId, log: &mut Vec<Logged>) {
        self.fingerprints.forget(queue);
        self.records.extend(self.fingerprints.delete_dead());
        self.log(None, log);
    }

    /// All that was published before is in. Who is told of a message confirms it when it comes again, so that is told
    /// after its commit.
    pub(super) fn fence(
        &mut self,
        session: SessionId,
        token: Token,
        queue: Option<QueueId>,
        effects: &mut Vec<ShardEffect>,
    ) {
        let remembered = queue.map(|queue| self.fingerprints.of(queue)).unwrap_or_default();
        self.answer(session, SessionEvent::Fenced { token, remembered }, effects);
    }
}
