//! Live places with the rows that hold them and their sizes: what a checkpoint says of a generation.

use evergate_journal::codec::{Reader, put_varint};
use evergate_journal::index::{Index, PackId, Run};
use evergate_model::{QueueId, Seq};

use crate::array::Elements;

/// Places in the order in which they were stored.
#[derive(Debug, Default)]
pub struct Places {
    runs: Vec<Run>,
    /// A size for each place, in the order of the runs.
    sizes: Vec<u8>,
}

/// Runs as columns: queues, first and last places, rows.
#[derive(Debug, Default)]
pub struct Columns {
    pub queues: Vec<i64>,
    pub firsts: Vec<i64>,
    pub lasts: Vec<i64>,
    pub packs: Vec<i64>,
}

impl Places {
    /// Adds a place.
    pub fn push(&mut self, queue: QueueId, seq: Seq, size: u64, pack: PackId) {
        match self.runs.last_mut() {
            Some(run) if run.pack == pack && run.queue == queue && run.last.0.checked_add(1) == Some(seq.0) => {
                run.last = seq;
            }
            _ => self.runs.push(Run { queue, first: seq, last: seq, pack }),
        }
        put_varint(&mut self.sizes, size);
    }

    /// The runs.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs without the sizes.
    pub fn into_runs(self) -> Vec<Run> {
        self.runs
    }

    /// Those that are live where they are.
    pub fn live(self, index: &Index) -> Self {
        let mut live = Self::default();
        let mut parts = Vec::new();
        let mut of = None;
        self.each(|run, seq, size| {
            if of != Some(*run) {
                of = Some(*run);
                parts.clear();
                parts.extend(live_parts(index, run));
            }
            if parts.iter().any(|part| (part.first..=part.last).contains(&seq)) {
                live.push(run.queue, seq, size, run.pack);
            }
        });
        live
    }

    /// Each place with its size.
    pub fn each(self, mut each: impl FnMut(&Run, Seq, u64)) {
        let mut sizes = Reader::new(self.sizes.into());
        for run in self.runs {
            for seq in run.first.0..=run.last.0 {
                let Ok(size) = sizes.varint() else { return };
                each(&run, Seq(seq), size);
            }
        }
    }

    /// The columns of a checkpoint.
    pub fn columns(&self) -> (Columns, &[u8]) {
        let mut columns = Columns::default();
        for run in &self.runs {
            columns.queues.push(run.queue.0.cast_signed());
            columns.firsts.push(run.first.0.cast_signed());
            columns.lasts.push(run.last.0.cast_signed());
            columns.packs.push(run.pack.0.cast_signed());
        }
        (columns, &self.sizes)
    }

    /// Back from its columns. `None`: they do not fit each other.
    pub fn from_columns(columns: [Elements<'_>; 4], sizes: &[u8]) -> Option<Self> {
        let [mut queues, mut firsts, mut lasts, mut packs] = columns;
        let mut runs = Vec::new();
        let mut places = 0_u64;
        while let Some(queue) = queues.number() {
            let (first, last) = (Seq(firsts.number()?), Seq(lasts.number()?));
            places = places.checked_add(last.0.checked_sub(first.0)?)?.checked_add(1)?;
            runs.push(Run { queue: QueueId(queue), first, last, pack: PackId(packs.number()?) });
        }
        // The last byte of each number is below 128.
        let known = sizes.iter().filter(|byte| **byte < 0x80).count() as u64;
        (known == places).then(|| Self { runs, sizes: sizes.to_vec() })
    }
}

/// What of a run is live and still in the row it names.
pub fn live_parts<'a>(index: &'a Index, run: &Run) -> impl Iterator<Item = Run> + use<'a> {
    let run = *run;
    index.runs(run.queue, run.first, run.last).filter(move |live| live.pack == run.pack).map(move |live| Run {
        first: live.first.max(run.first),
        last: live.last.min(run.last),
        ..run
    })
}
