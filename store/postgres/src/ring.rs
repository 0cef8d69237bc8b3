//! Which ring tables hold what. Pure bookkeeping; the statements are elsewhere.

use evergate_journal::index::PackId;
use evergate_model::{QueueId, Seq};

use crate::places::Places;
use crate::schema::SLOTS_MAX;

/// Besides twice what live messages need, so many generations may be in use.
const SPARE_GENERATIONS: usize = 3;
/// From so many on, generations are emptied until three quarters of each are live.
const MANY_GENERATIONS: usize = SLOTS_MAX as usize * 3 / 4;
/// Runs remembered of the generation being written: beyond, a restart reads its rows.
const WRITTEN_RUNS_MAX: usize = 500_000;

/// One filling of a pair of ring tables.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Rising, never used twice.
    pub number: i64,
    /// Which tables.
    pub slot: i32,
    /// Its rows have this key or a higher one.
    pub first_pack: PackId,
    /// Messages written to it.
    pub messages: u64,
    /// Bytes written to it.
    pub bytes: u64,
    /// Places ever written to it.
    pub places: u64,
    /// Live places in it.
    pub live: u64,
    /// What was live in its rows up to this one was moved to later generations.
    pub moved: PackId,
    /// Places of it were settled since its live places were last written down: by rows of this generation
    /// and later ones.
    pub dirty_from: Option<i64>,
    /// Its live places are written down with their rows and sizes.
    pub has_checkpoint: bool,
}

impl Generation {
    /// With nothing in it.
    pub fn new(number: i64, slot: i32, first_pack: PackId) -> Self {
        Self {
            number,
            slot,
            first_pack,
            messages: 0,
            bytes: 0,
            places: 0,
            live: 0,
            moved: PackId(0),
            dirty_from: None,
            has_checkpoint: false,
        }
    }

    /// Live places in a thousand.
    fn live_share(&self) -> u64 {
        self.live.saturating_mul(1_000) / self.places.max(1)
    }
}

/// All ring tables.
#[derive(Debug, Default)]
pub struct Ring {
    /// By number, ascending. The last one is being written.
    pub generations: Vec<Generation>,
    /// Every place written to the last one. `None`: too many.
    pub written: Option<Places>,
    /// Empty tables.
    pub free: Vec<i32>,
    /// Tables with nothing but void rows.
    pub void: Vec<i32>,
}

impl Ring {
    /// The generation being written.
    pub fn current(&self) -> Option<&Generation> {
        self.generations.last()
    }

    /// The generation that holds a row.
    pub fn of(&self, pack: PackId) -> Option<&Generation> {
        let behind = self.generations.partition_point(|generation| generation.first_pack <= pack);
        self.generations.get(behind.checked_sub(1)?)
    }

    /// As [`Self::of`], to change it.
    pub fn of_mut(&mut self, pack: PackId) -> Option<&mut Generation> {
        let behind = self.generations.partition_point(|generation| generation.first_pack <= pack);
        self.generations.get_mut(behind.checked_sub(1)?)
    }

    /// How many pairs of tables exist.
    pub fn slots(&self) -> usize {
        self.generations.len() + self.free.len() + self.void.len()
    }

    /// A table that may still be added.
    pub fn next_new_slot(&self) -> Option<i32> {
        i32::try_from(self.slots()).ok().filter(|slot| *slot < SLOTS_MAX)
    }

    /// A place was written to the current generation.
    pub fn remember(&mut self, queue: QueueId, seq: Seq, size: u64, pack: PackId) {
        if let Some(written) = &mut self.written {
            written.push(queue, seq, size, pack);
            if written.runs().len() > WRITTEN_RUNS_MAX {
                self.written = None;
            }
        }
    }

    /// Those that are not being written.
    pub fn finished(&self) -> &[Generation] {
        &self.generations[..self.generations.len().saturating_sub(1)]
    }

    /// Generations with nothing live that can be given up.
    pub fn dead(&self) -> Vec<i64> {
        let dead = self.finished().iter().filter(|one| one.live == 0);
        dead.filter(|one| self.blocking(one.number).is_none()).map(|one| one.number).collect()
    }

    /// A generation that must be written down before some dead one can be given up: settled rows of the
    /// dead one speak of it.
    pub fn in_the_way(&self) -> Option<i64> {
        self.finished().iter().filter(|one| one.live == 0).find_map(|dead| self.blocking(dead.number))
    }

    // Settled rows speak of their own generation and of older ones.
    fn blocking(&self, dead: i64) -> Option<i64> {
        let older = self.finished().iter().take_while(|one| one.number < dead);
        older
            .filter(|one| one.live > 0)
            .find(|one| one.dirty_from.is_some_and(|from| from <= dead))
            .map(|one| one.number)
    }

    /// The generation to move live messages out of, if the ring is larger than live messages need.
    pub fn sparse(&self) -> Option<&Generation> {
        let used = || self.finished().iter().filter(|one| one.live > 0);
        let full = used().map(Generation::live_share).sum::<u64>().div_ceil(1_000);
        let enough = usize::try_from(full).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(SPARE_GENERATIONS);
        if used().count() <= enough.min(MANY_GENERATIONS) {
            return None;
        }
        used().min_by_key(|one| one.live_share()).filter(|one| one.live_share() <= 750)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(live: &[u64]) -> Ring {
        let generation = |(live, number): (&u64, i64)| Generation {
            places: 100,
            live: *live,
            ..Generation::new(number, number as i32, PackId(number.cast_unsigned() * 10))
        };
        Ring { generations: live.iter().zip(1..).map(generation).collect(), ..Ring::default() }
    }

    #[test]
    fn a_row_belongs_to_the_generation_begun_last_before_it() {
        let ring = ring(&[1, 1, 1]);
        let of = |pack| ring.of(PackId(pack)).map(|generation| generation.number);
        assert_eq!([of(9), of(10), of(19), of(20), of(99)], [None, Some(1), Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn the_generation_being_written_is_never_given_up() {
        assert_eq!(ring(&[0, 5, 0, 0]).dead(), [1, 3]);
        assert_eq!(ring(&[0]).dead(), [] as [i64; 0]);
    }

    #[test]
    fn what_settled_rows_say_of_older_generations_is_written_down_first() {
        let mut ring = ring(&[7, 0, 7, 0, 7]);
        assert_eq!((ring.dead(), ring.in_the_way()), (vec![2, 4], None));
        ring.generations[2].dirty_from = Some(3);
        assert_eq!((ring.dead(), ring.in_the_way()), (vec![2], Some(3)));
        ring.generations[0].dirty_from = Some(1);
        assert_eq!((ring.dead(), ring.in_the_way()), (vec![], Some(1)));
        ring.generations[0].dirty_from = Some(5);
        ring.generations[2].dirty_from = None;
        assert_eq!((ring.dead(), ring.in_the_way()), (vec![2, 4], None));
    }

    #[test]
    fn only_a_ring_larger_than_twice_the_live_messages_is_made_smaller() {
        let sparse = |live: &[u64]| ring(live).sparse().map(|one| one.number);
        assert_eq!(sparse(&[1, 1, 1, 1, 1, 100]), None);
        assert_eq!(sparse(&[9, 9, 8, 9, 9, 9, 100]), Some(3));
        assert_eq!(sparse(&[100; 20]), None);
        assert_eq!(sparse(&[60; 40]), None);
        assert_eq!(sparse(&[70; 60]), Some(1));
        assert_eq!(sparse(&[90; 64]), None);
    }
}
