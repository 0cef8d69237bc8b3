//! Live places with the rows that hold them and their sizes: what a checkpoint says of a generation.

use bytes::Bytes;
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

    /// Forgets all of them. Their memory stays, for as many again.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.sizes.clear();
    }

    /// The runs.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Each run with the sum of its sizes, by row.
    pub fn to_runs(&self) -> Vec<(Run, u64)> {
        let mut runs: Vec<(Run, u64)> = Vec::with_capacity(self.runs.len());
        self.each(|run, _, size| match runs.last_mut() {
            Some((last, bytes)) if last == run => *bytes += size,
            _ => runs.push((*run, size)),
        });
        runs.sort_by_key(|(run, _)| run.pack);
        runs
    }

    /// Those that are live where they are.
    pub fn live(&self, index: &Index) -> Self {
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
    pub fn each(&self, mut each: impl FnMut(&Run, Seq, u64)) {
        let mut sizes = Reader::new(Bytes::copy_from_slice(&self.sizes));
        for run in &self.runs {
            for seq in run.first.0..=run.last.0 {
                let Ok(size) = sizes.varint() else { return };
                each(run, Seq(seq), size);
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

#[cfg(test)]
mod tests {
    use tokio_postgres::types::{FromSql as _, Type};

    use super::*;
    use crate::array::{Array, Raw};

    fn places() -> Places {
        let mut places = Places::default();
        for (queue, seq, size, pack) in [(1, 5, 10, 1), (1, 6, 300, 1), (2, 7, 0, 1), (1, 7, 1 << 40, 2), (1, 9, 1, 2)]
        {
            places.push(QueueId(queue), Seq(seq), size, PackId(pack));
        }
        places
    }

    fn listed(places: &Places) -> Vec<(u64, u64, u64, u64)> {
        let mut all = Vec::new();
        places.each(|run, seq, size| all.push((run.queue.0, seq.0, size, run.pack.0)));
        all
    }

    fn array(numbers: &[i64]) -> Raw {
        let mut array = Array::new(&Type::INT8);
        for number in numbers {
            array.push_u64(number.cast_unsigned());
        }
        array.finish()
    }

    #[test]
    fn columns_come_back_as_they_were() {
        let places = places();
        let (Columns { queues, firsts, lasts, packs }, sizes) = places.columns();
        assert_eq!((&lasts[..], &packs[..]), (&[6, 7, 7, 9][..], &[1, 1, 2, 2][..]));
        let raw = [queues, firsts, lasts, packs].map(|column| array(&column));
        let columns = || raw.each_ref().map(|raw| Elements::from_sql(&Type::INT8_ARRAY, &raw.0).unwrap());
        assert!(Places::from_columns(columns(), &sizes[1..]).is_none());
        let back = Places::from_columns(columns(), sizes).unwrap();
        assert_eq!(listed(&back), listed(&places));
    }

    #[test]
    fn what_was_settled_or_moved_is_not_live() {
        let mut index = Index::default();
        for (queue, seq, pack) in [(1, 6, 1), (1, 7, 3), (1, 9, 2)] {
            index.insert(QueueId(queue), Seq(seq), PackId(pack));
        }
        let live = places().live(&index);
        assert_eq!(live.runs().len(), 2);
        assert_eq!(listed(&live), [(1, 6, 300, 1), (1, 9, 1, 2)]);
    }

    #[test]
    fn runs_know_their_bytes() {
        let runs: Vec<_> = places().to_runs().into_iter().map(|(run, bytes)| (run.first.0, bytes)).collect();
        assert_eq!(runs, [(5, 310), (7, 0), (7, 1 << 40), (9, 1)]);
    }
}
