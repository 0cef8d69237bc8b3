//! From a batch to the rows that change.

use evergate_journal::index::{Index, PackId, Run};
use evergate_journal::{Batch, StateChange};
use evergate_model::ahead::AHEAD;
use evergate_model::{IdMap, QueueId, Seq};

use crate::pack::Pack;

/// Everything one commit writes.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows to insert.
    pub packs: Vec<Pack>,
    /// Rows whose last place is settled: first and last key of neighbours.
    pub dead: Vec<(PackId, PackId)>,
    /// Places settled in rows that live on.
    pub settled: Vec<Run>,
    /// Next places to write down.
    pub next_seqs: Vec<(QueueId, Seq)>,
    /// Queues that are gone.
    pub forgotten: Vec<QueueId>,
    /// Queues whose marks go before `marks` are applied.
    pub purged: Vec<QueueId>,
    /// Marks to set and clear, in order.
    pub marks: Vec<(QueueId, u32, bool)>,
    /// Keyed state, in order.
    pub state: Vec<StateChange>,
}

impl Plan {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        // Next places and forgotten queues come only with settles, purges and state.
        self.packs.is_empty()
            && self.dead.is_empty()
            && self.settled.is_empty()
            && self.purged.is_empty()
            && self.marks.is_empty()
            && self.state.is_empty()
    }
}

/// Turns batches into plans, keeping the index and the counts of live places up to date.
#[derive(Debug)]
pub struct Planner {
    pack_bytes: usize,
    next_pack: u64,
    /// Live places of each row.
    live: IdMap<PackId, u64>,
}

impl Planner {
    /// For an empty journal, rows of about `pack_bytes`.
    pub fn new(pack_bytes: usize) -> Self {
        Self { pack_bytes, next_pack: 1, live: IdMap::default() }
    }

    /// Goes on after what a restart found.
    pub fn start_after(&mut self, last: PackId, live: IdMap<PackId, u64>) {
        self.next_pack = last.0 + 1;
        self.live = live;
    }

    /// What to write for the batch.
    pub fn plan(&mut self, batch: &Batch, index: &mut Index) -> Plan {
        let mut plan = Plan { marks: batch.marks.clone(), state: batch.state.clone(), ..Plan::default() };
        let mut removed = Vec::new();
        for queue in &batch.purged {
            index.purge(*queue, &mut removed);
        }
        plan.purged.clone_from(&batch.purged);
        self.pack(batch, index, &mut plan);
        plan.next_seqs.extend(removed.iter().filter_map(|run| Some((run.queue, index.seq_to_keep(run.queue)?))));
        index.settle_all(&batch.settled, &mut removed, &mut plan.next_seqs, |_| {});
        self.remove(removed, &mut plan);
        for (queue, number, set) in &batch.marks {
            index.mark(*queue, *number, *set);
        }
        let deleted = batch.state.iter().filter_map(StateChange::deleted_queue);
        plan.forgotten.extend(deleted.filter(|queue| index.forget(*queue)));
        plan
    }

    fn pack(&mut self, batch: &Batch, index: &mut Index, plan: &mut Plan) {
        let mut filled = usize::MAX;
        for messages in batch.messages.chunks(AHEAD) {
            index.look_at(messages.iter().filter_map(|stored| Some(stored.targets.first()?.0)));
            for stored in messages.iter().filter(|stored| !stored.targets.is_empty()) {
                let cost = Pack::cost(stored);
                if filled.saturating_add(cost) > self.pack_bytes {
                    plan.packs.push(Pack::new(PackId(self.next_pack), cost));
                    self.next_pack += 1;
                    filled = 0;
                }
                filled += cost;
                let Some(pack) = plan.packs.last_mut() else { continue };
                pack.push(stored);
                for (queue, seq) in &stored.targets {
                    index.insert(*queue, *seq, pack.id);
                }
                *self.live.entry(pack.id).or_default() += stored.targets.len() as u64;
            }
        }
    }

    fn remove(&mut self, removed: Vec<Run>, plan: &mut Plan) {
        let mut dead = Vec::new();
        for run in &removed {
            if let Some(live) = self.live.get_mut(&run.pack) {
                *live = live.saturating_sub(run.count());
                if *live == 0 {
                    self.live.remove(&run.pack);
                    dead.push(run.pack);
                }
            }
        }
        plan.settled.extend(removed.into_iter().filter(|run| self.live.contains_key(&run.pack)));
        dead.sort_unstable();
        for pack in dead {
            match plan.dead.last_mut() {
                Some((_, last)) if last.0 + 1 == pack.0 => *last = pack,
                _ => plan.dead.push((pack, pack)),
            }
        }
    }
}
