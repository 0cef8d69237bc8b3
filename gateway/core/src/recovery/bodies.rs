//! Large bodies that a restart finds: each is kept by the messages that have it, and goes if there is none.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use evergate_journal::{Record, RecoveredQueue};
use evergate_model::{BODY_PREFIX, LargeBody, OVERHEAD_BYTES, OnRelease, QueueId};

use crate::directory::{StoredQueue, delete_queue_row};
use crate::lane::Lane;
use crate::queue::BodyRow;
use crate::shard::Shard;

/// Takes out rows of queues that are gone, and the queues of bodies that no message refers to: a publisher was cut
/// off, or the last message was settled just before the end.
pub fn keep_known(queues: &mut Vec<StoredQueue>, bodies: &mut Vec<BodyRow>) -> Vec<Record> {
    let known: HashSet<QueueId> = queues.iter().map(|queue| queue.id).collect();
    let mut records = Vec::new();
    bodies.retain(|row| {
        let is_known = known.contains(&Lane::split(row.queue).0);
        if !is_known {
            records.push(row.delete());
        }
        is_known
    });
    let wanted: HashSet<&str> = bodies.iter().map(|row| &*row.body.queue).collect();
    queues.retain(|queue| {
        let stays = !queue.name.starts_with(BODY_PREFIX) || wanted.contains(&*queue.name);
        if !stays {
            records.push(delete_queue_row(queue.id));
        }
        stays
    });
    records
}

/// The queues of bodies of which the journal has not all that their messages name.
pub fn damaged(queues: &[StoredQueue], bodies: &[BodyRow], found: &[RecoveredQueue]) -> Vec<QueueId> {
    let wanted: HashMap<&str, u64> = bodies.iter().map(|row| (&*row.body.queue, row.body.bytes)).collect();
    let mut here: HashMap<QueueId, u64> = HashMap::new();
    for queue in found.iter().filter(|_| !wanted.is_empty()) {
        // A piece has no head.
        let bytes = queue.live.iter().map(|range| range.bytes.saturating_sub(range.count * OVERHEAD_BYTES));
        *here.entry(Lane::split(queue.id).0).or_default() += bytes.sum::<u64>();
    }
    let is_damaged = |queue: &&StoredQueue| {
        wanted.get(&*queue.name).is_some_and(|bytes| here.get(&queue.id).copied().unwrap_or_default() != *bytes)
    };
    queues.iter().filter(is_damaged).map(|queue| queue.id).collect()
}

/// Gives each message its body: one, however many messages have it. `shard_of`: where a queue is.
pub fn hand_over(
    bodies: Vec<BodyRow>,
    on_release: &OnRelease,
    shard_of: impl Fn(QueueId) -> Option<usize>,
    shards: &mut [Shard],
) {
    let mut shared: HashMap<Arc<str>, Arc<LargeBody>> = HashMap::new();
    for BodyRow { queue, seq, body } in bodies {
        let whole = |name: &Arc<str>| {
            Arc::new(LargeBody::new(name.clone(), body.bytes, body.payload_bytes, on_release.clone()))
        };
        let body = shared.entry(body.queue.clone()).or_insert_with_key(whole).clone();
        let (id, _) = Lane::split(queue);
        if let Some(shard) = shard_of(id) {
            shards[shard].recover_body(id, queue, seq, body);
        }
    }
}
