//! The pace of large bodies. While other messages are on their way, bodies go no faster than at a rate that leaves
//! those their share of the processors and the disk. While there are none, they go as fast as they can.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Other messages are on their way if one was so lately.
const LATELY: Duration = Duration::from_millis(100);
/// The journal is left to others for so many times as long as it took for a piece.
const REST: u32 = 2;
/// At most so long: it may have been a single stall.
const REST_MAX: Duration = Duration::from_millis(100);
/// Timers are late by a millisecond and more. What is missed is made up for, of this time.
const MADE_UP_FOR: Duration = Duration::from_millis(2);

/// The paces of a gateway's bodies, both ways.
#[derive(Debug)]
pub struct Paces {
    started: Instant,
    /// When a message that is not large was last on its way: milliseconds from the start.
    other_at: AtomicU64,
    /// Bodies that come in.
    pub incoming: Pace,
    /// Bodies that go out.
    pub outgoing: Pace,
}

/// The pace of all bodies that go one way.
#[derive(Debug)]
pub struct Pace {
    /// 0: as fast as they can.
    bytes_per_second: u64,
    /// What is booked next begins here.
    free_at: Mutex<Instant>,
}

impl Paces {
    /// Rates in bytes a second; 0: no such.
    pub fn new(now: Instant, incoming: u64, outgoing: u64) -> Self {
        let pace = |bytes_per_second| Pace { bytes_per_second, free_at: Mutex::new(now) };
        Self { started: now, other_at: AtomicU64::new(0), incoming: pace(incoming), outgoing: pace(outgoing) }
    }

    /// A message that is not large is on its way.
    pub fn note_other(&self, now: Instant) {
        let now = self.millis(now);
        // All connections read it: it is written once a millisecond.
        if self.other_at.load(Ordering::Relaxed) != now {
            self.other_at.store(now, Ordering::Relaxed);
        }
    }

    /// Whether others were on their way lately.
    pub fn has_others(&self, now: Instant) -> bool {
        let since = self.millis(now).saturating_sub(self.other_at.load(Ordering::Relaxed));
        u128::from(since) < LATELY.as_millis()
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Pace {
    /// So many bytes of a body want to go. Returns when they may, which is in the past if it is now. Whoever asks
    /// first goes first.
    pub fn book(&self, now: Instant, bytes: u64, has_others: bool) -> Instant {
        let mut free_at = self.free_at.lock();
        if !has_others || self.bytes_per_second == 0 {
            *free_at = now;
            return now;
        }
        let begin = now.checked_sub(MADE_UP_FOR).map_or(*free_at, |earliest| earliest.max(*free_at));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        *free_at = begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        begin
    }

    /// The journal took so long for a piece: it is left to others for a multiple of that. On a slow disk bodies are
    /// slower for it than their rate.
    pub fn rest(&self, now: Instant, took: Duration) {
        let mut free_at = self.free_at.lock();
        *free_at = free_at.max(now + (took * REST).min(REST_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 1000;
    const RATE: u64 = 100_000; // a piece each 10 ms

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Pieces for a second, each asked for when the one before it has gone, by a timer that is late.
    fn pieces_in_a_second(late: Duration, has_others: bool, bytes_per_second: u64, takes: Duration) -> usize {
        let begin = Instant::now();
        let pace = Paces::new(begin, bytes_per_second, 0).incoming;
        let (mut now, mut count) = (begin, 0);
        loop {
            let at = pace.book(now, PIECE, has_others);
            now = now.max(if at > now { at + late } else { at }) + takes;
            if now >= begin + ms(1000) {
                return count;
            }
            count += 1;
        }
    }

    #[test]
    fn beside_others_a_body_keeps_its_rate_also_with_timers_that_are_late() {
        for late in [ms(0), ms(1), ms(2)] {
            assert!((99..=101).contains(&pieces_in_a_second(late, true, RATE, ms(1))), "{late:?}");
        }
        // What it was too slow for is not made up for at the others' cost.
        assert_eq!(pieces_in_a_second(ms(0), true, RATE, ms(100)), 9);
    }

    #[test]
    fn bodies_leave_the_journal_to_others_for_twice_as_long_as_it_took_for_a_piece() {
        let begin = Instant::now();
        let pace = Paces::new(begin, RATE, 0).incoming;
        let mut now = begin + ms(1000);
        for (took, next) in [(3, 10), (30, 90), (500, 600)] {
            let at = pace.book(now, PIECE, true).max(now);
            pace.rest(at + ms(took), ms(took));
            now = pace.book(at + ms(took), 0, true);
            // The first comes of the rate alone; timers that are late are made up for.
            assert!((ms(next - 2)..=ms(next)).contains(&(now - at)), "{took}: {:?}", now - at);
        }
        pace.rest(now, ms(50));
        assert_eq!(pace.book(now, PIECE, false), now, "there are no others");
    }

    #[test]
    fn alone_or_without_a_rate_it_goes_as_fast_as_it_can() {
        assert_eq!(pieces_in_a_second(ms(1), false, RATE, ms(1)), 999);
        assert_eq!(pieces_in_a_second(ms(1), true, 0, ms(1)), 999);
    }

    #[test]
    fn all_bodies_of_one_way_share_the_rate_and_go_in_turn() {
        let now = Instant::now();
        let paces = Paces::new(now, RATE, RATE);
        let booked: Vec<_> = (0..4).map(|_| paces.incoming.book(now + ms(50), PIECE, true)).collect();
        assert_eq!(booked, [48, 58, 68, 78].map(|at| now + ms(at)));
        assert_eq!(paces.outgoing.book(now + ms(50), PIECE, true), now + ms(48), "the other way has its own");
    }

    #[test]
    fn after_an_idle_time_nothing_is_saved_up() {
        let now = Instant::now();
        let pace = Paces::new(now, RATE, 0).incoming;
        assert_eq!(pace.book(now + ms(5000), PIECE, true), now + ms(4998));
        assert_eq!(pace.book(now + ms(5000), PIECE, true), now + ms(5008));
    }

    #[test]
    fn others_count_for_a_tenth_of_a_second() {
        let begin = Instant::now();
        let paces = Paces::new(begin, RATE, RATE);
        assert!(!paces.has_others(begin + ms(100)));
        paces.note_other(begin + ms(300));
        assert!(paces.has_others(begin + ms(399)));
        assert!(!paces.has_others(begin + ms(400)));
    }
}
