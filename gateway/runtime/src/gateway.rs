//! What all tasks share, and how they are started and stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use evergate_core::{
    DirectoryCommand, DirectoryConfig, FingerprintLimits, QueueLimits, QueueStats, Routes, Sequencer, SessionEvent,
    SessionId, ShardCommand, ShardConfig, ShardId, StreamId, TransactionLimits,
};
use evergate_journal::{Batch, Journal, JournalReader};
use evergate_model::{ADMIN_NAME, BODY_PREFIX, Formats, IdMap, MemoryBudget, MessageId, QueueId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::connections::{Connections, add};
use crate::core_tasks;
use crate::driver::{Gates, Releases};
use crate::house::{self, HouseRequest};
use crate::journal_task::{self, JournalFigures};
use crate::mailbox::Mailbox;
use crate::pace::Paces;
use crate::runners::{Seat, Wake};
use crate::wills::Wills;

/// The gateway's settings that the runtime and the core need.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// How many shards share the queues.
    pub shards: u16,
    /// Memory of each queue.
    pub queue: QueueLimits,
    /// Readers of the encodings that selectors look into.
    pub formats: Formats,
    /// What the directory goes by: limits, policies.
    pub directory: DirectoryConfig,
    /// How much each shard remembers of what sessions published.
    pub fingerprints: FingerprintLimits,
    /// Limits of a connection's transactions.
    pub transactions: TransactionLimits,
    /// Bytes of messages in memory, over all; beyond it publishers wait.
    pub memory_bytes_max: u64,
    /// Largest message that is held in memory whole, in bytes of head and body.
    pub message_bytes_max: u64,
    /// Largest message of all, likewise.
    pub large_message_bytes_max: u64,
    /// Bytes of larger messages from one connection that may await their commit before it is no longer read.
    pub large_message_window_bytes: u64,
    /// Bytes a second of such messages, over all, that come in while other messages are on their way. 0: any.
    pub large_message_in_bytes_per_second: u64,
    /// The same of those that go out.
    pub large_message_out_bytes_per_second: u64,
    /// Publishes of one connection that may be unanswered before it is no longer read.
    pub publish_window_messages: usize,
    /// The same in bytes.
    pub publish_window_bytes: u64,
    /// Bytes delivered to one consumer that may wait to be written.
    pub delivery_window_bytes: u64,
    /// Bytes that wait to be written to a connection before it is no longer read.
    pub outbox_bytes_max: usize,
    /// Bytes of messages in one commit, about.
    pub batch_bytes_max: u64,
}

/// Counters since the node started.
#[derive(Debug, Default)]
pub struct Totals {
    /// Messages that came in.
    pub published: AtomicU64,
    /// Messages answered with a confirm.
    pub confirmed: AtomicU64,
    /// Messages refused.
    pub rejected: AtomicU64,
    /// Deliveries handed to sessions.
    pub delivered: AtomicU64,
    /// Messages accepted and then given up without a dead letter.
    pub dropped: AtomicU64,
    /// Messages sent to `_DMQ`.
    pub dead_lettered: AtomicU64,
    /// Events of `_LOG`, `_PRESENCE` and `$SYS` that were not published because too many waited.
    pub announcements_dropped: AtomicU64,
    /// Transactions begun.
    pub transactions_begun: AtomicU64,
    /// Of those, no longer open.
    pub transactions_ended: AtomicU64,
    /// Commits that clients were told of.
    pub transactions_committed: AtomicU64,
    /// Transactions rolled back, whoever wanted it.
    pub transactions_rolled_back: AtomicU64,
    /// Transactions refused because of a limit: not begun, or rolled back.
    pub transactions_beyond_limit: AtomicU64,
}

/// What a shard is sent, but for publishes.
pub enum ToShard {
    /// For the core.
    Command(ShardCommand),
    /// Figures wanted.
    Stats(oneshot::Sender<Vec<(Arc<str>, QueueStats)>>),
    /// Those of one queue.
    StatsOf(QueueId, oneshot::Sender<Option<QueueStats>>),
}

impl ToShard {
    /// What is for the core.
    pub fn command(&self) -> Option<&ShardCommand> {
        match self {
            Self::Command(command) => Some(command),
            Self::Stats(_) | Self::StatsOf(..) => None,
        }
    }
}

/// A running gateway: shared by every task.
pub struct Gateway {
    /// Settings.
    pub config: GatewayConfig,
    /// Time.
    pub clock: Clock,
    /// Who is connected.
    pub connections: Connections,
    /// Counters.
    pub totals: Totals,
    /// The journal's counters.
    pub journal: JournalFigures,
    /// Memory for messages.
    pub memory: Arc<MemoryBudget>,
    /// How fast large messages go.
    pub(crate) paces: Paces,
    pub(crate) routes: RwLock<Routes>,
    /// A full queue has room again.
    pub(crate) opened: Notify,
    pub(crate) directory: Mailbox<DirectoryCommand>,
    /// A shard takes everything here before anything from `publishes`.
    pub(crate) controls: Vec<Mailbox<ToShard>>,
    pub(crate) publishes: Vec<Mailbox<ShardCommand>>,
    pub(crate) shards: Wake,
    pub(crate) sequencer: Mutex<Sequencer>,
    pub(crate) logged: Notify,
    pub(crate) house: Mailbox<HouseRequest>,
    /// Announcements that wait for `house`.
    pub(crate) announcements: AtomicU64,
    pub(crate) reader: Arc<dyn JournalReader>,
    sessions: RwLock<IdMap<SessionId, Arc<Mailbox<SessionEvent>>>>,
    next_session: AtomicU64,
    next_message: AtomicU64,
    /// Set once: why everything must stop.
    stopping: watch::Sender<Option<Arc<str>>>,
    failed: watch::Sender<Option<Arc<str>>>,
    /// Who has which queue for itself.
    pub(crate) gates: Gates,
    /// Memory is short: queues keep little of it, until it is not.
    pub(crate) pressed: AtomicBool,
    pub(crate) wills: Wills,
}

impl Gateway {
    /// Recovers the journal and starts every task but the listeners. The error is a text for people.
    pub async fn start(mut config: GatewayConfig, mut journal: Box<dyn Journal>) -> Result<(Arc<Self>, Tasks), String> {
        let clock = Clock::start();
        let releases = Arc::new(Releases::default());
        config.directory.on_release = releases.on_release();
        let recovered = journal.recover().await.map_err(|error| error.to_string())?;
        let (limits, formats, fingerprints) = (config.queue, config.formats, config.fingerprints);
        let shard_config = ShardConfig { id: ShardId(0), limits, formats, fingerprints, bug: None };
        let core =
            evergate_core::recover(clock.now(), recovered, config.shards, shard_config, config.directory.clone())?;
        let mut first = Batch::default();
        core.records.into_iter().for_each(|record| first.add(record));
        journal.commit(&first).await.map_err(|error| error.to_string())?;

        let shards = usize::from(config.shards);
        let gateway = Arc::new(Self {
            clock,
            connections: Connections::default(),
            totals: Totals::default(),
            journal: JournalFigures::default(),
            memory: MemoryBudget::new(config.memory_bytes_max),
            paces: Paces::new(
                tokio::time::Instant::now(),
                config.large_message_in_bytes_per_second,
                config.large_message_out_bytes_per_second,
            ),
            routes: RwLock::new(core.routes),
            opened: Notify::new(),
            directory: Mailbox::default(),
            controls: (0..shards).map(|_| Mailbox::default()).collect(),
            publishes: (0..shards).map(|_| Mailbox::default()).collect(),
            shards: Wake::default(),
            sequencer: Mutex::new(Sequencer::new(shards + 1, config.batch_bytes_max)),
            logged: Notify::new(),
            house: Mailbox::default(),
            announcements: AtomicU64::new(0),
            reader: journal.reader(),
            sessions: RwLock::new(IdMap::default()),
            next_session: AtomicU64::new(1),
            next_message: AtomicU64::new(core.counters.first_message().0 + 1),
            stopping: watch::Sender::new(None),
            failed: watch::Sender::new(None),
            gates: Gates::default(),
            pressed: AtomicBool::new(false),
            wills: Wills::default(),
            config,
        });
        releases.connect(&gateway);
        let mut directory = core.directory;
        directory.take_memory(|bytes| gateway.take_memory(bytes));
        let (mut owners, mut seats) = (Vec::new(), Vec::new());
        for (index, (shard, mut effects)) in core.shards.into_iter().zip(core.effects).enumerate() {
            core_tasks::carry_out_first(&gateway, index, &mut effects);
            seats.push(Seat::new(core_tasks::ShardWork::new(gateway.clone(), index, shard)));
        }
        let seats: Arc<[_]> = seats.into();
        for _ in 0..seats.len() {
            owners.push(tokio::spawn(core_tasks::run_shards(gateway.clone(), seats.clone())));
        }
        owners.push(tokio::spawn(core_tasks::run_directory(gateway.clone(), directory)));
        owners.push(tokio::spawn(house::run(gateway.clone())));
        let writer = tokio::spawn(journal_task::run(gateway.clone(), journal));
        Ok((gateway, Tasks { owners, writer }))
    }

    /// An id for a message; it rises.
    pub(crate) fn next_message_id(&self) -> MessageId {
        MessageId(self.next_message.fetch_add(1, Ordering::Relaxed))
    }

    /// A session and the mailbox in which it is told things.
    pub(crate) fn open_session(&self) -> (SessionId, Arc<Mailbox<SessionEvent>>) {
        let id = SessionId(self.next_session.fetch_add(1, Ordering::Relaxed));
        let mailbox = Arc::new(Mailbox::default());
        self.sessions.write().insert(id, mailbox.clone());
        (id, mailbox)
    }

    /// It is told nothing any more.
    pub(crate) fn close_session(&self, id: SessionId) {
        self.sessions.write().remove(&id);
    }

    /// Tells sessions. What is for a session that is gone is dropped.
    pub(crate) fn tell(&self, events: &mut Vec<(SessionId, SessionEvent)>) {
        if events.is_empty() {
            return;
        }
        let sessions = self.sessions.read();
        let mut events = events.drain(..).peekable();
        while let Some((id, event)) = events.next() {
            // Neighbours for the same session go in one push.
            let more = std::iter::from_fn(|| events.next_if(|(next, _)| *next == id).map(|(_, event)| event));
            match sessions.get(&id) {
                Some(mailbox) => mailbox.extend(std::iter::once(event).chain(more)),
                None => more.for_each(drop),
            }
        }
    }

    pub(crate) fn control(&self, shard: ShardId, command: ShardCommand) {
        let index = usize::from(shard.0);
        self.controls[index].push(ToShard::Command(command));
        self.shards.one();
    }

    pub(crate) fn publish_to(&self, shard: ShardId, command: ShardCommand) {
        let index = usize::from(shard.0);
        self.publishes[index].push(command);
        self.shards.one();
    }

    pub(crate) fn log(&self, stream: StreamId, records: &mut Vec<evergate_core::Logged>) {
        if !records.is_empty() {
            self.sequencer.lock().push(stream, records.drain(..));
            self.logged.notify_one();
        }
    }

    /// The figures of all queues, the gateway's own among them.
    pub async fn queue_stats(&self) -> Vec<(Arc<str>, QueueStats)> {
        let mut all = Vec::new();
        for control in &self.controls {
            let (answer, answered) = oneshot::channel();
            control.push(ToShard::Stats(answer));
            self.shards.one();
            // A shard that does not answer has ended: the gateway is stopping.
            all.extend(answered.await.unwrap_or_default());
        }
        all
    }

    /// The figures of the queues that clients know: neither those that hold requests, nor the pieces of large bodies.
    pub async fn destination_stats(&self) -> Vec<(Arc<str>, QueueStats)> {
        let mut all = self.queue_stats().await;
        all.retain(|(name, _)| **name != *ADMIN_NAME && !name.starts_with(BODY_PREFIX));
        all
    }

    /// The figures of one queue, if it is there.
    pub async fn stats_of(&self, queue: QueueId, shard: ShardId) -> Option<QueueStats> {
        let (answer, answered) = oneshot::channel();
        self.controls.get(usize::from(shard.0))?.push(ToShard::StatsOf(queue, answer));
        self.shards.one();
        answered.await.ok()?
    }

    /// Records that wait for their commit, those of the one under way among them.
    pub fn journal_pending(&self) -> usize {
        let sequencer = self.sequencer.lock();
        sequencer.waiting() + self.journal.committing.load(Ordering::Relaxed)
    }

    /// Stops taking and giving: every session says goodbye. The reason is for the peers.
    pub fn stop(&self, reason: &str) {
        self.stopping.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert_with(|| reason.into());
            first
        });
    }

    /// The journal failed, or what depends on it: nothing more is confirmed, and the node ends.
    pub(crate) fn fail(&self, reason: &str) {
        tracing::error!(reason, "the gateway cannot go on");
        self.failed.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert_with(|| reason.into());
            first
        });
        self.stop("the gateway's journal failed");
    }

    /// Why it is stopping, if it is.
    pub fn stopping(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.stopping.subscribe()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.borrow().is_some()
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failed.borrow().clone()
    }

    /// Waits until the node fails; returns why.
    pub async fn failed(&self) -> Arc<str> {
        let mut failed = self.failed.subscribe();
        let told = failed.wait_for(Option::is_some).await.map(|reason| reason.clone().unwrap_or_default());
        match told {
            Ok(reason) => reason,
            Err(_) => std::future::pending().await,
        }
    }

    pub(crate) fn count_refused(&self) {
        add(&self.totals.rejected, 1);
    }
}

/// The tasks that own the core and the journal.
pub struct Tasks {
    owners: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
}

impl Tasks {
    /// Waits until the sessions are gone and all that they left is committed, at most `patience`; then ends
    /// the tasks and closes the journal.
    pub async fn finish(self, gateway: &Gateway, patience: Duration) {
        let deadline = tokio::time::Instant::now() + patience;
        while gateway.connections.count() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gateway.publish_last_wills(deadline).await;
        journal_task::finish(gateway, self.writer, deadline).await;
        self.owners.iter().for_each(JoinHandle::abort);
    }
}
