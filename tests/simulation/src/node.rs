//! A running node: the core, and the channels that the runtime would have. Each is first in, first out;
//! the schedule decides whose turn it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use evergate_core::{
    Bug, Directory, DirectoryCommand, DirectoryEffect, Logged, ManageRequest, Position, Routes, Sequencer,
    SessionEvent, SessionId, Shard, ShardCommand, ShardEffect, ShardId, StreamId, Target,
};
use evergate_journal::{Record, Table};
use evergate_model::{
    BODY_PREFIX, Event, LargeBody, MemoryBudget, Message, MessageId, OVERHEAD_BYTES, Outcome, QueueId, Seq, Time,
    TransactionId,
};

use crate::in_force::Before;
use crate::journal::{Pledge, SimJournal};
use crate::key::Key;
use crate::model::{Check, Model};
use crate::released::Released;

/// A planted bug, to show that the simulator finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A queue is taken out of use while publishes that were routed to it are still on their way.
    RetireOvertakes,
    /// One in the core itself.
    Core(Bug),
    /// A message does not wait for the pieces of its body.
    BodyLeftBehind,
    /// Shards hear that a batch is durable when its commit begins.
    DurableTooEarly,
    /// One settle in four never reaches the journal.
    ForgetSettle,
    /// A shard takes a consumer's limit for one higher than it is.
    IgnoreCredit,
    /// The sequencer does not know what belongs together.
    SplitGroups,
    /// A session is taken over while publishes of the old connection are still on their way.
    AttachOvertakesPublish,
    /// What the directory publishes does not stand in line with what sessions publish.
    RetainedOvertakes,
    /// The parts of a transaction are not kept together.
    TransactionApart,
    /// The outcome of a transaction is stored apart from what it changes.
    OutcomeApart,
    /// What is settled in a transaction is settled at once.
    SettleBeforeCommit,
    /// Transient messages of a transaction are handed out before its commit.
    TransientBeforeCommit,
    /// Shards do not hear of rollbacks.
    ForgetRollback,
    /// What a session publishes does not wait until the directory has routed its commit.
    CommitOvertaken,
    /// Outcomes are not remembered.
    ForgetOutcome,
    /// Policies that operators added are not kept.
    ForgetPolicies,
    /// What queues are bound to is not kept, or that they are no longer.
    ForgetBindings,
    /// See above.
    ForgetUnbinding,
    /// A restart does not say which queues are full.
    RestartOpensAll,
    /// Nobody asks the shards for room before a message goes to several of them.
    RoomNotAsked,
    /// Deletions of queues are not kept.
    ForgetDeletions,
    /// What an operator moves leaves its queue before it is at its new place.
    MoveRemovesFirst,
    /// What an operator moves leaves its queue after the commit that has it at its new place.
    MoveRemovesLater,
}

pub struct Node {
    pub now: Time,
    pub fault: Option<Fault>,
    /// Prints every command and effect.
    pub trace: bool,
    pub directory: Directory,
    pub routes: Routes,
    pub shards: Vec<Shard>,
    pub sequencer: Sequencer,
    pub to_directory: VecDeque<DirectoryCommand>,
    pub controls: Vec<VecDeque<ShardCommand>>,
    pub publishes: Vec<VecDeque<ShardCommand>>,
    pub loads: VecDeque<(ShardId, QueueId, Seq, Seq)>,
    pub dead_letters: VecDeque<(ShardId, QueueId, Seq, Box<Message>)>,
    pub mailboxes: BTreeMap<SessionId, VecDeque<SessionEvent>>,
    pub memory: Arc<MemoryBudget>,
    /// Bodies that nobody refers to any more, for the directory to be told.
    released: Released,
    next_message: MessageId,
    settles: u64,
    /// Groups that are transactions.
    transactions: BTreeSet<u64>,
}

impl Node {
    /// What was recovered begins to serve.
    pub fn new(
        now: Time,
        (core, released): (evergate_core::RecoveredCore, Released),
        (batch_bytes_max, memory): (u64, Arc<MemoryBudget>),
        (fault, trace): (Option<Fault>, bool),
        journal: &SimJournal,
        model: &mut Model,
    ) -> Result<Self, String> {
        let shards = core.shards.len();
        let channels = || (0..shards).map(|_| VecDeque::new()).collect();
        let mut node = Self {
            now,
            fault,
            trace,
            directory: core.directory,
            routes: core.routes,
            shards: core.shards,
            sequencer: Sequencer::new(shards + 1, batch_bytes_max),
            to_directory: VecDeque::new(),
            controls: channels(),
            publishes: channels(),
            loads: VecDeque::new(),
            dead_letters: VecDeque::new(),
            mailboxes: BTreeMap::new(),
            memory,
            released,
            next_message: core.counters.first_message(),
            settles: 0,
            transactions: BTreeSet::new(),
        };
        node.directory.take_memory(|bytes| node.memory.take(bytes));
        for (index, effects) in core.effects.into_iter().enumerate() {
            if fault != Some(Fault::RestartOpensAll) {
                node.carry_out(index, effects, journal, model)?;
            }
            model.check_waiting(model.queues.keys().copied(), &node.shards[index], &node.routes)?;
        }
        Ok(node)
    }

    /// Gives a message its id and its share of memory.
    pub fn admit(&mut self, mut message: Message) -> Arc<Message> {
        self.next_message.0 += 1;
        message.meta.id = self.next_message;
        message.meta.ingress = self.now;
        message.permit = Some(self.memory.take(message.size_bytes()));
        Arc::new(message)
    }

    /// A body without any bytes yet.
    pub fn new_body(&mut self) -> LargeBody {
        self.next_message.0 += 1;
        LargeBody::new(format!("{BODY_PREFIX}{}", self.next_message.0).into(), 0, 0, self.released.on_release())
    }

    /// Whoever is handed a message with a large body must find all of it.
    pub fn check_body(&self, message: &Message) -> Check {
        let Some(body) = message.meta.large().filter(|body| body.bytes > 0) else { return Ok(()) };
        let stats = self.shards.iter().flat_map(Shard::stats).find(|(name, _)| **name == body.queue);
        let there = stats.map_or(0, |(_, stats)| stats.bytes - stats.messages * OVERHEAD_BYTES);
        if there == body.bytes { Ok(()) } else { Err(format!("of {body:?} there are only {there} bytes")) }
    }

    /// An id for a transaction.
    pub fn next_transaction(&mut self) -> TransactionId {
        self.next_message.0 += 1;
        TransactionId(self.next_message.0)
    }

    pub fn control(&mut self, shard: ShardId, mut command: ShardCommand) {
        if let ShardCommand::Rollback { .. } = &command
            && self.fault == Some(Fault::ForgetRollback)
        {
            return;
        }
        if let ShardCommand::Pledge { transaction, queue, session, settle } = &mut command
            && self.fault == Some(Fault::SettleBeforeCommit)
        {
            let (transaction, token, held) = (*transaction, settle.token.take(), Some(1));
            let (queue, session, settle) = (*queue, *session, settle.clone());
            self.tell(session, SessionEvent::Pledged { transaction, token, held });
            command = ShardCommand::Settle { queue, session, settle };
        }
        if let ShardCommand::Credit { limit, .. } = &mut command
            && self.fault == Some(Fault::IgnoreCredit)
        {
            *limit = limit.saturating_add(1);
        }
        self.controls[usize::from(shard.0)].push_back(command);
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self, journal: &SimJournal) -> bool {
        self.to_directory.is_empty()
            && self.released.is_empty()
            && self.controls.iter().chain(&self.publishes).all(VecDeque::is_empty)
            && self.loads.is_empty()
            && self.dead_letters.is_empty()
            && self.sequencer.is_empty()
            && journal.committing.is_none()
            && !self.shards.iter().any(|shard| shard.next_timeout().is_some_and(|at| at <= self.now))
            && self.mailboxes.values().all(VecDeque::is_empty)
    }

    /// For a run that does not come to rest.
    pub fn what_waits(&self, journal: &SimJournal) -> String {
        let counts = |channels: &[VecDeque<ShardCommand>]| channels.iter().map(VecDeque::len).collect::<Vec<_>>();
        let mailboxes: BTreeMap<_, _> = self.mailboxes.iter().filter(|(_, mailbox)| !mailbox.is_empty()).collect();
        format!(
            "directory {}, controls {:?}, publishes {:?}, loads {}, dead letters {}, sequencer {}, committing {}, {:?}",
            self.to_directory.len(),
            counts(&self.controls),
            counts(&self.publishes),
            self.loads.len(),
            self.dead_letters.len(),
            self.sequencer.waiting(),
            journal.committing.is_some(),
            mailboxes,
        )
    }

    /// The directory takes one command.
    pub fn run_directory(&mut self, journal: &mut SimJournal, model: &mut Model) -> Check {
        let released = self.released.take().into_iter();
        self.to_directory.extend(released.map(|name| DirectoryCommand::Release { name }));
        let due = self.directory.next_timeout().is_some_and(|at| at <= self.now);
        let Some(command) = self.to_directory.pop_front().or_else(|| due.then_some(DirectoryCommand::Tick)) else {
            return Ok(());
        };
        self.note("directory takes", &command);
        // Only the answer to a shard that has nothing in that queue deletes it without being asked by a client.
        let retired = matches!(command, DirectoryCommand::Retired { result: Ok(()), .. });
        let request = Self::request_of(&command);
        let concerned = request.as_ref().and_then(|(name, _)| self.routes.queue(name));
        let (mut log, mut effects) = (Vec::new(), Vec::new());
        self.directory.apply(self.now, command, &mut self.routes, &mut log, &mut effects);
        self.log(StreamId::DIRECTORY, log);
        if let (Some((name, request)), Some(Target { queue, .. })) = (&request, concerned) {
            if !matches!(request, ManageRequest::CreateQueue(_)) {
                model.binds(queue, request);
            }
            let is_gone = self.routes.queue(name).is_none_or(|target| target.queue != queue);
            if let ManageRequest::DeleteQueue { .. } = request {
                model.operations.deletes(Some(queue));
                if is_gone {
                    model.ends(queue);
                }
            }
        }
        // The runtime holds the routes' lock over this: shards hear of a queue before anyone sees its route.
        for effect in effects {
            self.note("directory:", &effect);
            match effect {
                DirectoryEffect::Tell(session, event) => self.tell(session, event),
                DirectoryEffect::Shard(shard, command) => {
                    let mut command = command;
                    expect_whole(journal, &command);
                    if let ShardCommand::Transaction { transaction, group, .. } = &mut command {
                        match self.fault {
                            Some(Fault::TransactionApart) => group.parts = 1,
                            Some(Fault::OutcomeApart) => group.parts -= 1,
                            _ => {}
                        }
                        self.transactions.insert(transaction.0);
                    }
                    model.directory_routed(&command)?;
                    match &command {
                        ShardCommand::Create { queue, name, durable, settings } => {
                            model.created(*queue, name, *durable, settings);
                            request.iter().for_each(|(_, request)| model.binds(*queue, request));
                        }
                        ShardCommand::Change { queue, settings } => model.was_told(*queue, settings),
                        ShardCommand::Delete { queue } if retired => model.retires(*queue),
                        _ => {}
                    }
                    // Publishes go in one line with those of sessions.
                    let retires_early = self.fault == Some(Fault::RetireOvertakes)
                        && matches!(command, ShardCommand::Retire { .. } | ShardCommand::Reopen { .. });
                    let in_line = command.is_in_line() && !retires_early;
                    let overtakes = self.fault == Some(Fault::RetainedOvertakes);
                    let lines = if in_line && !overtakes { &mut self.publishes } else { &mut self.controls };
                    lines[usize::from(shard.0)].push_back(command);
                }
            }
        }
        Ok(())
    }

    /// What an operator asks of a single queue, and its name.
    fn request_of(command: &DirectoryCommand) -> Option<(String, ManageRequest)> {
        let DirectoryCommand::Manage { request, .. } = command else { return None };
        let name = match &**request {
            ManageRequest::CreateQueue(definition) => definition.name.to_string(),
            ManageRequest::DeleteQueue { name, .. }
            | ManageRequest::BindQueue { name, .. }
            | ManageRequest::UnbindQueue { name, .. } => name.clone(),
            _ => return None,
        };
        Some((name, ManageRequest::clone(request)))
    }

    /// A shard takes one command: controls go before publishes.
    pub fn run_shard(&mut self, index: usize, journal: &mut SimJournal, model: &mut Model) -> Check {
        let due = self.shards[index].next_timeout().is_some_and(|at| at <= self.now);
        let command = self.controls[index].pop_front().or_else(|| self.publishes[index].pop_front());
        let command = command.or_else(|| due.then_some(ShardCommand::Tick));
        let Some(command) = command else { return Ok(()) };
        model.sees(self.now, &command);
        match &command {
            ShardCommand::Delete { queue } => model.deleted(*queue)?,
            ShardCommand::Attach { queue, session, consumer, wants, window_bytes, .. } if !model.is_gone(*queue) => {
                model.attached((*session, *consumer), *queue, wants, *window_bytes);
            }
            ShardCommand::Detach { session, consumer, .. } => model.detached((*session, *consumer)),
            _ => {}
        }
        self.note(&format!("shard {index} takes"), &command);
        let (mut log, mut effects) = (Vec::new(), Vec::new());
        let pledge = match &command {
            ShardCommand::Rollback { transaction } => {
                journal.rolled_back(*transaction, index);
                None
            }
            ShardCommand::Pledge { transaction, queue, settle, .. } => {
                let (transaction, shard, queue) = (*transaction, index, *queue);
                let accepted = settle.outcome == Outcome::Accept;
                Some(Pledge { transaction, shard, queue, first: settle.first, last: settle.last, accepted })
            }
            ShardCommand::PledgeReserved { transaction, queue, seq, .. } => {
                let (transaction, shard, queue) = (*transaction, index, *queue);
                Some(Pledge { transaction, shard, queue, first: *seq, last: *seq, accepted: true })
            }
            _ => None,
        };
        let command = if self.fault == Some(Fault::TransientBeforeCommit) {
            let (early, command) = without_transient(command);
            for command in early {
                self.shards[index].apply(self.now, command, &mut log, &mut effects);
            }
            command
        } else {
            command
        };
        let before = Before::of(&self.shards[index], &command);
        self.shards[index].apply(self.now, command, &mut log, &mut effects);
        if let Some(pledge) = pledge
            && effects.iter().any(|effect| is_pledged(effect, pledge.last.0 - pledge.first.0 + 1))
        {
            journal.pledged(pledge);
        }
        self.log(StreamId::from(ShardId(index as u16)), log);
        before.check_taken(model, &self.shards[index], &effects)?;
        self.carry_out(index, effects, journal, model)?;
        model.check_waiting(before.queues(), &self.shards[index], &self.routes)
    }

    fn carry_out(&mut self, index: usize, effects: Vec<ShardEffect>, journal: &SimJournal, model: &mut Model) -> Check {
        for effect in effects {
            self.note(&format!("shard {index}:"), &effect);
            match effect {
                ShardEffect::Tell(session, event) => {
                    if let SessionEvent::Event(Event::Deliver(delivery)) = &event {
                        let priority = delivery.message.meta.priority;
                        model.dispatched(
                            self.now,
                            session,
                            delivery,
                            |queue, seq| journal.is_live(queue, priority, seq),
                            |id| journal.committed.contains(&id),
                        )?;
                    }
                    self.tell(session, event);
                }
                ShardEffect::Load { queue, first, last, .. } => {
                    self.loads.push_back((ShardId(index as u16), queue, first, last));
                }
                ShardEffect::Retired { queue, attempt, result } => {
                    self.to_directory.push_back(DirectoryCommand::Retired { queue, attempt, result });
                }
                ShardEffect::Full(queue, full) => self.routes.set_full(queue, full),
                ShardEffect::Notice(_) | ShardEffect::Dropped(_) => {}
                ShardEffect::Failed(why) => return Err(format!("the node fails: {why}")),
                ShardEffect::DeadLetter { queue, seq, message } => {
                    model.is_unwanted(queue, Key::of(&message));
                    self.dead_letters.push_back((ShardId(index as u16), queue, seq, message));
                }
            }
        }
        Ok(())
    }

    /// The journal's task takes what waits.
    pub fn begin_commit(&mut self, journal: &mut SimJournal) {
        if journal.committing.is_none() {
            journal.committing = self.sequencer.take();
            if self.fault == Some(Fault::DurableTooEarly)
                && let Some((_, reached)) = &journal.committing
            {
                self.durable(&reached.clone());
            }
        }
    }

    /// The commit is through. An error of the journal ends the node.
    pub fn finish_commit(&mut self, journal: &mut SimJournal, model: &Model) -> Result<bool, String> {
        let Some((batch, reached)) = journal.committing.take() else { return Ok(true) };
        if !journal.apply(&batch, |queue| model.may_lack(queue))? {
            return Ok(false);
        }
        self.durable(&reached);
        Ok(true)
    }

    fn durable(&mut self, reached: &[(StreamId, Position)]) {
        for (stream, position) in reached {
            if *stream == StreamId::DIRECTORY {
                self.to_directory.push_back(DirectoryCommand::Durable(*position));
            } else {
                self.controls[usize::from(stream.0 - 1)].push_back(ShardCommand::Durable(*position));
            }
        }
    }

    fn note(&self, who: &str, what: &impl std::fmt::Debug) {
        if self.trace {
            println!("{who} {what:?}");
        }
    }

    fn tell(&mut self, session: SessionId, event: SessionEvent) {
        // Whoever has gone hears nothing.
        if let Some(mailbox) = self.mailboxes.get_mut(&session) {
            mailbox.push_back(event);
        }
    }

    fn log(&mut self, stream: StreamId, mut log: Vec<Logged>) {
        for logged in &mut log {
            let is_outcome =
                matches!(&logged.record, Some(Record::State(change)) if change.table == Table::Transaction);
            let in_transaction = logged.group.is_some_and(|group| self.transactions.contains(&group.id));
            match self.fault {
                Some(Fault::SplitGroups) => logged.group = None,
                Some(Fault::TransactionApart) if in_transaction || is_outcome => logged.group = None,
                Some(Fault::OutcomeApart) if is_outcome => logged.group = None,
                Some(Fault::ForgetOutcome) if is_outcome => logged.record = None,
                Some(Fault::ForgetPolicies) if is_of(logged, Table::Policy, true) => logged.record = None,
                Some(Fault::ForgetBindings) if is_of(logged, Table::Binding, true) => logged.record = None,
                Some(Fault::ForgetUnbinding) if is_of(logged, Table::Binding, false) => logged.record = None,
                Some(Fault::ForgetDeletions) if is_of(logged, Table::Queue, false) => logged.record = None,
                _ => {}
            }
            if self.fault == Some(Fault::ForgetSettle)
                && let Some(Record::Settle { .. }) = logged.record
            {
                self.settles += 1;
                if self.settles.is_multiple_of(4) {
                    logged.record = None;
                }
            }
        }
        self.sequencer.push(stream, log);
    }
}

/// Whether it sets, or deletes, a row of that table.
fn is_of(logged: &Logged, table: Table, sets: bool) -> bool {
    matches!(&logged.record, Some(Record::State(change)) if change.table == table && change.value.is_some() == sets)
}

/// Whether all that was named is pledged.
fn is_pledged(effect: &ShardEffect, count: u64) -> bool {
    matches!(effect, ShardEffect::Tell(_, SessionEvent::Pledged { held: Some(held), .. }) if *held == count)
}

/// Takes the transient messages out of a transaction.
fn without_transient(command: ShardCommand) -> (Vec<ShardCommand>, ShardCommand) {
    let ShardCommand::Transaction { transaction, publishes, marks, group } = command else {
        return (Vec::new(), command);
    };
    let (durable, transient): (Vec<_>, Vec<_>) = publishes.into_iter().partition(|(message, _)| message.meta.durable);
    let (answer, mark) = (None, None);
    let early = transient.into_iter();
    let early = early.map(|(message, targets)| {
        let (group, may_be_refused) = (None, false);
        ShardCommand::Publish { answer, message, targets, mark, group, may_be_refused }
    });
    (early.collect(), ShardCommand::Transaction { transaction, publishes: durable, marks, group })
}

/// Notes which queues a publish to several shards must reach in one commit.
pub fn expect_whole(journal: &mut SimJournal, command: &ShardCommand) {
    if let ShardCommand::Transaction { transaction, publishes, .. } = command {
        for (message, targets) in publishes.iter().filter(|(message, _)| message.meta.durable) {
            let stored = targets.iter().filter(|target| target.durable);
            journal.expect_transaction(*transaction, stored.map(|target| (message.meta.id, target.queue)));
        }
    }
    if let ShardCommand::Publish { message, targets, group: Some(_), .. } = command {
        let stored = targets.iter().filter(|target| target.durable).map(|target| target.queue);
        journal.expect_whole(message.meta.id, stored);
    }
}
