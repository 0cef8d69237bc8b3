//! From what the journal recovered to a directory, routes and shards that serve.

mod bodies;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use evergate_journal::{Record, Recovered, RecoveredQueue, StateChange, Table, codec};
use evergate_model::{Binding, MessageId, QueueId, Time};

use crate::directory::{
    Directory, DirectoryConfig, POLICIES_KEY, QueueDefinition, decode_binding, decode_policies, decode_queue,
    decode_transaction, delete_binding, delete_queue_row, put_definition, shard_of,
};
use crate::effect::{ShardEffect, ShardId};
use crate::lane::Lane;
use crate::queue::{BodyRow, DedupRow, FailureRow, in_order};
use crate::routes::Routes;
use crate::shard::{FingerprintRow, Shard, ShardCommand, ShardConfig, fingerprints_in_order};

/// Numbers that never come twice: their high bits count the node's starts.
#[derive(Clone, Debug)]
pub struct Counters {
    start: u64,
    queues: u64,
}

impl Counters {
    /// For the node's `start`-th start (below 2^24).
    pub fn new(start: u64) -> Self {
        Self { start, queues: 0 }
    }

    /// The first message id of this start; the next ones follow.
    pub fn first_message(&self) -> MessageId {
        MessageId(self.start << 40)
    }

    /// A queue id.
    pub(crate) fn next_queue(&mut self) -> QueueId {
        self.queues += 1;
        QueueId(self.start << 32 | self.queues)
    }
}

/// A core that is ready to serve.
#[derive(Debug)]
pub struct RecoveredCore {
    /// Names, bindings, retained messages.
    pub directory: Directory,
    /// Where publishes go.
    pub routes: Routes,
    /// The owners of the queues.
    pub shards: Vec<Shard>,
    /// Must be committed before anything else: this start's number, and what a crash left behind.
    pub records: Vec<Record>,
    /// What each shard wants to happen before anyone looks at the routes: publishers wait for the queues that are full.
    pub effects: Vec<Vec<ShardEffect>>,
    /// For message ids.
    pub counters: Counters,
}

const STARTS_KEY: &str = "starts";

/// Builds the core from what the journal recovered. `shard_config.id` is set for each shard. The error is a
/// text for people: the journal holds something that this release cannot read.
pub fn recover(
    now: Time,
    recovered: Recovered,
    shards: u16,
    shard_config: ShardConfig,
    mut config: DirectoryConfig,
) -> Result<RecoveredCore, String> {
    let mut queues = Vec::new();
    let mut bindings: HashMap<QueueId, Vec<Binding>> = HashMap::new();
    let (mut retained, mut policies, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut identities, mut bodies, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let mut fingerprints = Vec::new();
    let mut start = 1;
    for (table, key, value) in recovered.state {
        let unreadable = || format!("the journal's {table:?} row '{key}' is not of a form that this release reads");
        match table {
            Table::Queue => {
                queues.push(decode_queue(&key, &value).ok_or_else(unreadable)?);
            }
            Table::Binding => {
                let (id, binding) = decode_binding(&key, &value).ok_or_else(unreadable)?;
                bindings.entry(id).or_default().push(binding);
            }
            Table::Retained => {
                let message = codec::decode_message(&value).map_err(|_| unreadable())?;
                retained.push(Arc::new(message));
            }
            Table::Policy if &*key == POLICIES_KEY => policies = decode_policies(&value).ok_or_else(unreadable)?,
            Table::Policy => return Err(unreadable()),
            Table::Counter if &*key == STARTS_KEY => {
                let text = std::str::from_utf8(&value).map_err(|_| unreadable())?;
                start = text.parse::<u64>().map_err(|_| unreadable())? + 1;
            }
            Table::Counter => {}
            Table::Transaction => outcomes.push(decode_transaction(&key, &value).ok_or_else(unreadable)?),
            Table::Body => bodies.push(BodyRow::decode(&key, &value).ok_or_else(unreadable)?),
            Table::Failure => failures.push(FailureRow::decode(&key, &value).ok_or_else(unreadable)?),
            Table::Fingerprint => fingerprints.push(FingerprintRow::decode(&key, &value).ok_or_else(unreadable)?),
            Table::Dedup => identities.push(DedupRow::decode(&key, &value).ok_or_else(unreadable)?),
        }
    }
    let counters = Counters::new(start);
    let value = Some(start.to_string().into_bytes().into());
    let mut records = vec![Record::State(StateChange { table: Table::Counter, key: STARTS_KEY.into(), value })];

    records.extend(bodies::keep_known(&mut queues, &mut bodies));
    let damaged = bodies::damaged(&queues, &bodies, &recovered.queues);

    let mut routes = Routes::new(shard_config.formats);
    let definitions = std::mem::take(&mut config.queues);
    let on_release = config.on_release.clone();
    let mut directory = Directory::new(shards, config, counters.clone());
    directory.recover_policies(policies);
    let mut owners: Vec<Shard> =
        (0..shards).map(|index| Shard::new(ShardConfig { id: ShardId(index), ..shard_config })).collect();
    let known: HashSet<QueueId> = queues.iter().map(|queue| queue.id).collect();
    // A queue's definition goes first and its messages after: a crash between leaves messages of nobody.
    let orphans = recovered.queues.iter().filter(|queue| !known.contains(&Lane::split(queue.id).0));
    records.extend(orphans.flat_map(|queue| [Record::Purge { queue: queue.id }, delete_queue_row(queue.id)]));
    let mut by_id: HashMap<QueueId, Vec<&RecoveredQueue>> = HashMap::new();
    for queue in &recovered.queues {
        by_id.entry(Lane::split(queue.id).0).or_default().push(queue);
    }
    let mut places = HashMap::new();
    let configured: HashMap<&str, &QueueDefinition> = definitions.iter().map(|it| (&*it.name, it)).collect();
    for mut queue in queues {
        if let Some(definition) = configured.get(&*queue.name)
            && definition.own() != queue.own
        {
            queue.own = definition.own();
            records.push(put_definition(&queue));
        }
        let (id, name) = (queue.id, queue.name.clone());
        let shard = shard_of(&name, shards);
        places.insert(id, usize::from(shard.0));
        let bindings = bindings.remove(&id).unwrap_or_default();
        let settings = directory.recover_queue(now, queue, bindings, &mut routes);
        let lanes = by_id.get(&id).map_or(&[][..], Vec::as_slice);
        owners[usize::from(shard.0)].recover(id, name, &settings, lanes);
    }
    for (id, bindings) in bindings {
        records.extend(bindings.iter().map(|binding| delete_binding(id, &binding.filter)));
    }
    for row in failures {
        let (id, _) = Lane::split(row.queue);
        match places.get(&id) {
            Some(shard) => owners[*shard].recover_failures(id, &row),
            None => records.push(row.delete()),
        }
    }
    in_order(&mut identities);
    for row in identities {
        match places.get(&row.queue) {
            Some(shard) => owners[*shard].recover_identities(row),
            None => records.push(row.delete()),
        }
    }
    records.extend(hand_over_fingerprints(fingerprints, |queue| places.contains_key(&queue), &mut owners));
    bodies::hand_over(bodies, &on_release, |queue| places.get(&queue).copied(), &mut owners);
    damaged.iter().for_each(|id| owners[places[id]].recover_damaged(*id));
    directory.recover_retained(retained);
    directory.recover_outcomes(outcomes);
    let mut log = Vec::new();
    let commands = directory.configure(now, definitions, &mut routes, &mut log);
    records.extend(log.into_iter().filter_map(|logged| logged.record));
    let effects = open(now, commands, &mut owners, &mut records);
    Ok(RecoveredCore { directory, routes, shards: owners, records, effects, counters })
}

/// The shards hear what the configuration asks for, and say what must happen first: each its effects.
fn open(
    now: Time,
    commands: Vec<(ShardId, ShardCommand)>,
    owners: &mut [Shard],
    records: &mut Vec<Record>,
) -> Vec<Vec<ShardEffect>> {
    let mut log = Vec::new();
    let mut effects: Vec<Vec<ShardEffect>> = owners.iter().map(|_| Vec::new()).collect();
    for (ShardId(index), command) in commands {
        let index = usize::from(index);
        owners[index].apply(now, command, &mut log, &mut effects[index]);
    }
    for (owner, effects) in owners.iter_mut().zip(&mut effects) {
        owner.open(now, effects);
    }
    records.extend(log.into_iter().filter_map(|logged| logged.record));
    effects
}

/// Gives each shard the fingerprints that it wrote, whatever queues they are of. Returns what deletes those of queues
/// that are no more.
fn hand_over_fingerprints(
    mut rows: Vec<FingerprintRow>,
    is_known: impl Fn(QueueId) -> bool,
    owners: &mut [Shard],
) -> Vec<Record> {
    let next = rows.iter().map(FingerprintRow::end).max().unwrap_or(0);
    fingerprints_in_order(&mut rows);
    let mut records = Vec::new();
    let mut by_owner: Vec<Vec<FingerprintRow>> = owners.iter().map(|_| Vec::new()).collect();
    let count = by_owner.len();
    for mut row in rows {
        if row.retain(&is_known) {
            by_owner[usize::from(row.shard()) % count].push(row);
        } else {
            records.push(row.delete());
        }
    }
    for (owner, rows) in owners.iter_mut().zip(by_owner) {
        records.extend(owner.recover_fingerprints(rows, next));
    }
    records
}
