//! The task of the directory, the turns of the shards, and what their effects are carried to.

use std::sync::Arc;

use evergate_core::{
    Directory, DirectoryCommand, DirectoryEffect, Logged, Notice, NoticeKind, SessionEvent, SessionId, Shard,
    ShardCommand, ShardEffect, ShardId, StreamId,
};
use evergate_journal::JournalError;
use evergate_model::ahead::AHEAD;
use evergate_model::{Message, OVERHEAD_BYTES, QueueId, Seq, Time};
use tokio::time::Instant;

use crate::connections::add;
use crate::driver::bodies::PIECE_BYTES;
use crate::gateway::{Gateway, ToShard};
use crate::house::HouseRequest;
use crate::runners::{self, Seat, Work};

/// Messages and bytes that one read from the journal brings back.
const LOAD_MESSAGES_MAX: usize = 1024;
const LOAD_BYTES_MAX: u64 = 1 << 20;
/// Of a large body, while other messages are on their way: two pieces. They wait for what is read at once.
const BODY_LOAD_BYTES_MAX: u64 = 2 * (PIECE_BYTES as u64 + OVERHEAD_BYTES);

/// After so many publishes a shard looks after settles and credit.
const PUBLISHES_A_TURN: usize = 256;

/// A shard with what its turns need.
pub struct ShardWork {
    gateway: Arc<Gateway>,
    index: usize,
    shard: Shard,
    controls: Vec<ToShard>,
    publishes: Vec<ShardCommand>,
    log: Vec<Logged>,
    effects: Vec<ShardEffect>,
    tells: Vec<(SessionId, SessionEvent)>,
}

impl ShardWork {
    pub fn new(gateway: Arc<Gateway>, index: usize, shard: Shard) -> Self {
        let (controls, publishes, log) = (Vec::new(), Vec::new(), Vec::new());
        Self { gateway, index, shard, controls, publishes, log, effects: Vec::new(), tells: Vec::new() }
    }
}

impl Work for ShardWork {
    fn run(&mut self, now: Time, step: &mut dyn FnMut()) -> bool {
        let Self { gateway, index, shard, controls, publishes, log, effects, tells } = self;
        // A publish to a queue that the directory just made must not overtake its creation, so publishes are
        // taken first and everything in `controls` is applied before them.
        let any = gateway.publishes[*index].take(publishes) | gateway.controls[*index].take(controls);
        let is_due = shard.next_timeout().is_some_and(|at| at <= now);
        if !any && !is_due {
            return false;
        }
        if is_due {
            shard.apply(now, ShardCommand::Tick, log, effects);
        }
        let stream = StreamId::from(ShardId(*index as u16));
        let mut waiting = publishes.drain(..);
        loop {
            // Settles and credit go before the next turn of publishes.
            apply_controls(shard, now, controls, log, effects, step);
            for _ in 0..PUBLISHES_A_TURN / AHEAD {
                shard.look_ahead(waiting.as_slice().iter());
                for command in waiting.by_ref().take(AHEAD) {
                    shard.apply(now, command, log, effects);
                }
                step();
                if waiting.len() == 0 {
                    break;
                }
            }
            carry_out(gateway, stream, log, effects, tells);
            if waiting.len() == 0 {
                return true;
            }
            gateway.controls[*index].take(controls);
        }
    }

    fn due(&self) -> Option<Time> {
        self.shard.next_timeout()
    }
}

/// Runs shards until it is aborted.
pub async fn run_shards(gateway: Arc<Gateway>, seats: Arc<[Seat<ShardWork>]>) {
    let has_mail = |index: usize| !gateway.publishes[index].is_empty() || !gateway.controls[index].is_empty();
    runners::run(&gateway.shards, gateway.clock, &seats, has_mail).await;
}

fn apply_controls(
    shard: &mut Shard,
    now: Time,
    controls: &mut Vec<ToShard>,
    log: &mut Vec<Logged>,
    effects: &mut Vec<ShardEffect>,
    step: &mut dyn FnMut(),
) {
    let mut next = controls.drain(..);
    while next.len() > 0 {
        shard.look_ahead(next.as_slice().iter().filter_map(ToShard::command));
        for control in next.by_ref().take(AHEAD) {
            match control {
                ToShard::Command(command) => shard.apply(now, command, log, effects),
                ToShard::Stats(answer) => {
                    let stats = shard.stats().map(|(name, stats)| (name.clone(), stats)).collect();
                    let _ = answer.send(stats); // who asked may be gone
                }
                ToShard::StatsOf(queue, answer) => {
                    let _ = answer.send(shard.stats_of(queue)); // the same
                }
            }
        }
        step();
    }
}

/// Carries out what a shard that was just recovered wants to happen.
pub fn carry_out_first(gateway: &Arc<Gateway>, index: usize, effects: &mut Vec<ShardEffect>) {
    let stream = StreamId::from(ShardId(index as u16));
    carry_out(gateway, stream, &mut Vec::new(), effects, &mut Vec::new());
}

fn carry_out(
    gateway: &Arc<Gateway>,
    stream: StreamId,
    log: &mut Vec<Logged>,
    effects: &mut Vec<ShardEffect>,
    tells: &mut Vec<(SessionId, SessionEvent)>,
) {
    gateway.log(stream, log);
    for effect in effects.drain(..) {
        match effect {
            ShardEffect::Tell(session, event) => tells.push((session, event)),
            ShardEffect::Load { queue, first, last, of_body } => {
                let shard = ShardId(stream.0 - 1);
                let is_beside_others = of_body && gateway.paces.has_others(Instant::now());
                let bytes_max = if is_beside_others { BODY_LOAD_BYTES_MAX } else { LOAD_BYTES_MAX };
                tokio::spawn(load(gateway.clone(), shard, queue, (first, last), bytes_max));
            }
            ShardEffect::Retired { queue, attempt, result } => {
                gateway.directory.push(DirectoryCommand::Retired { queue, attempt, result });
            }
            ShardEffect::Full(queue, full) => {
                gateway.routes.write().set_full(queue, full);
                if !full {
                    gateway.opened.notify_waiters();
                }
            }
            ShardEffect::Failed(why) => gateway.fail(&why),
            ShardEffect::Notice(notice) => tell_operators(gateway, &notice),
            ShardEffect::Dropped(count) => add(&gateway.totals.dropped, count),
            ShardEffect::DeadLetter { queue, seq, message } => {
                add(&gateway.totals.dead_lettered, 1);
                let shard = ShardId(stream.0 - 1);
                gateway.house.push(HouseRequest::DeadLetter { shard, queue, seq, message });
            }
        }
    }
    gateway.tell(tells);
}

/// An event for those who watch over the gateway.
fn tell_operators(gateway: &Gateway, notice: &Notice) {
    let Notice { queue, what, messages, bytes, consumers } = notice;
    let connections = consumers.iter().filter_map(|session| gateway.connections.get(*session));
    let clients: Vec<String> =
        connections.map(|connection| format!("{} ({})", connection.peer.lock().client_id, connection.remote)).collect();
    let (queue, clients) = (&**queue, clients.join(", "));
    match what {
        NoticeKind::Behind => tracing::warn!(queue, messages, bytes, clients, "consumers do not keep up with a queue"),
        NoticeKind::KeepsUp => tracing::info!(queue, messages, bytes, clients, "consumers keep up with a queue again"),
        NoticeKind::Full => tracing::warn!(queue, messages, bytes, clients, "a queue is full"),
        NoticeKind::Unreadable { seq, message } => {
            let (place, message) = (seq.0, message.map(|id| id.0));
            tracing::error!(queue, place, message, clients, "the body of a large message cannot be read");
        }
    }
}

/// Reads messages back for a queue.
async fn load(gateway: Arc<Gateway>, shard: ShardId, queue: QueueId, (first, last): (Seq, Seq), bytes_max: u64) {
    match gateway.reader.load(queue, first, last, LOAD_MESSAGES_MAX, bytes_max).await {
        Ok(loaded) => {
            let with_permit = |(seq, mut message): (Seq, Arc<Message>)| {
                // Just read: nobody else has it yet.
                if let Some(own) = Arc::get_mut(&mut message) {
                    own.permit = Some(gateway.take_memory(own.size_bytes()));
                }
                (seq, message)
            };
            let messages = loaded.messages.into_iter().map(with_permit).collect();
            gateway.control(shard, ShardCommand::Loaded { queue, messages, complete_to: loaded.complete_to });
        }
        Err(error @ JournalError::Damaged(_)) => {
            let why = error.to_string();
            tracing::error!(why, "the journal is damaged");
            gateway.control(shard, ShardCommand::LoadFailed { queue, why: why.into() });
        }
        Err(error) => gateway.fail(&error.to_string()),
    }
}

/// Runs the directory until it is aborted.
pub async fn run_directory(gateway: Arc<Gateway>, mut directory: Directory) {
    let mut commands = Vec::new();
    let (mut log, mut effects, mut tells) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        if !gateway.directory.take(&mut commands) {
            match directory.next_timeout() {
                None => gateway.directory.filled().await,
                Some(at) => tokio::select! {
                    () = gateway.directory.filled() => {}
                    () = tokio::time::sleep_until(gateway.clock.instant(at)) => commands.push(DirectoryCommand::Tick),
                },
            }
        }
        for command in commands.drain(..) {
            let now = gateway.clock.now();
            {
                // Shards hear of a queue before anyone can see its route.
                let mut routes = gateway.routes.write();
                directory.apply(now, command, &mut routes, &mut log, &mut effects);
                gateway.log(StreamId::DIRECTORY, &mut log);
                for effect in effects.drain(..) {
                    match effect {
                        DirectoryEffect::Tell(session, event) => tells.push((session, event)),
                        DirectoryEffect::Shard(shard, command) if command.is_in_line() => {
                            gateway.publish_to(shard, command);
                        }
                        DirectoryEffect::Shard(shard, command) => gateway.control(shard, command),
                    }
                }
            }
            gateway.tell(&mut tells);
        }
    }
}
