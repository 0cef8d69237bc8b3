//! Which ring tables hold what. Pure bookkeeping; the statements are elsewhere.

use evergate_journal::index::PackId;

use crate::schema::SLOTS_MAX;

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
    /// Live places in it.
    pub live: u64,
    /// Places of it were settled since its live places were last written down.
    pub is_dirty: bool,
}

/// All ring tables.
#[derive(Debug, Default)]
pub struct Ring {
    /// By number, ascending. The last one is being written.
    pub generations: Vec<Generation>,
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

    /// Generations with nothing live that are not being written.
    pub fn dead(&self) -> Vec<i64> {
        let finished = self.generations.len().saturating_sub(1);
        self.generations[..finished].iter().filter(|one| one.live == 0).map(|one| one.number).collect()
    }

    /// The generation whose few survivors are worth moving on: the fuller the ring, the more may move.
    pub fn sparse(&self, capacity: u64) -> Option<&Generation> {
        let used = self.generations.len();
        let limit = match used {
            0..4 => return None,
            4..16 => capacity / 100,
            16..48 => capacity / 20,
            _ => capacity / 4,
        };
        self.generations[..used - 1].iter().filter(|one| one.live > 0 && one.live <= limit).min_by_key(|one| one.live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(live: &[u64]) -> Ring {
        let generation = |(live, number): (&u64, i64)| Generation {
            number,
            slot: number as i32,
            first_pack: PackId(number.cast_unsigned() * 10),
            messages: 100,
            bytes: 0,
            live: *live,
            is_dirty: false,
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
    fn the_generation_being_written_is_never_reused() {
        assert_eq!(ring(&[0, 5, 0, 0]).dead(), [1, 3]);
        assert_eq!(ring(&[0]).dead(), [] as [i64; 0]);
        let sparse = |live: &[u64]| ring(live).sparse(200).map(|one| one.number);
        assert_eq!(sparse(&[1, 1]), None);
        assert_eq!(sparse(&[3, 2, 1, 1]), Some(3));
        assert_eq!(sparse(&[30, 20, 10, 1]), None);
    }
}
