use std::collections::BTreeMap;

use evergate_journal::Batch;

use super::*;

const LIMITS: FingerprintLimits = FingerprintLimits { per_session_max: 4, total_max: 1000, stale_max: 8 };

/// A shard's fingerprints, its log, and a journal that commits it.
struct Bench {
    all: Fingerprints,
    logged: u64,
    waiting: Batch,
    rows: BTreeMap<String, bytes::Bytes>,
    next_message: u64,
}

impl Bench {
    fn new(limits: FingerprintLimits) -> Self {
        let (rows, waiting) = (BTreeMap::new(), Batch::default());
        Self { all: Fingerprints::new(limits, ShardId(3)), logged: 0, waiting, rows, next_message: 1 }
    }

    fn log(&mut self, records: Vec<Record>) {
        self.logged += records.len() as u64;
        records.into_iter().for_each(|record| self.waiting.add(record));
    }

    fn publish(&mut self, queue: u64, packet_id: u16, digest: u64, kept: bool) {
        let publish = (MessageId(self.next_message), Fingerprint::new(packet_id, digest << 16));
        self.next_message += 1;
        let mut records = Vec::new();
        self.all.remember(QueueId(queue), publish, kept, Position(self.logged), &mut records);
        self.log(records);
    }

    fn commit(&mut self) {
        self.waiting.seal();
        for change in std::mem::take(&mut self.waiting).state {
            match change.value {
                Some(value) => self.rows.insert(change.key.to_string(), value),
                None => self.rows.remove(&*change.key),
            };
        }
        let mut records = Vec::new();
        self.all.committed(Position(self.logged), Position(self.logged), &mut records);
        self.log(records);
    }

    fn restart(&mut self, limits: FingerprintLimits) {
        self.waiting = Batch::default();
        self.logged = 0;
        let mut rows: Vec<_> =
            self.rows.iter().map(|(key, value)| FingerprintRow::decode(key, value).expect("a row")).collect();
        in_order(&mut rows);
        self.all = Fingerprints::new(limits, ShardId(3));
        self.all.start_at(rows.iter().map(FingerprintRow::end).max().unwrap_or(0));
        self.all.recover(rows);
        let records = self.all.delete_dead().collect();
        self.log(records);
    }

    /// Packet identifiers and digests.
    fn of(&mut self, queue: u64) -> Vec<(u16, u64)> {
        let all = newest(self.all.of(QueueId(queue)));
        all.into_iter().map(|it| (it.packet_id(), it.0 & 0xffff_ffff_ffff)).collect()
    }
}

#[test]
fn the_newest_publish_of_each_identifier_is_known_and_survives_a_restart() {
    let mut bench = Bench::new(LIMITS);
    for (packet_id, digest) in [(1, 10), (2, 20), (1, 11)] {
        bench.publish(7, packet_id, digest, true);
        bench.commit();
    }
    bench.publish(8, 1, 80, false);
    bench.publish(7, 3, 30, true);
    assert_eq!(bench.of(7), [(1, 11), (2, 20), (3, 30)]);
    assert_eq!(bench.of(8), [(1, 80)]);
    bench.restart(LIMITS);
    assert_eq!((bench.of(7), bench.of(8)), (vec![(1, 11), (2, 20)], vec![]));
}

#[test]
fn a_session_keeps_as_many_as_the_limit_allows_and_its_rows_go() {
    let mut bench = Bench::new(LIMITS);
    for packet_id in 1..=100 {
        bench.publish(7, packet_id, 1, packet_id % 3 > 0);
        if packet_id % 2 == 0 {
            bench.commit();
        }
    }
    bench.commit();
    bench.commit();
    assert_eq!(bench.of(7), [(97, 1), (98, 1), (99, 1), (100, 1)]);
    assert!(bench.rows.len() <= 3, "{:?}", bench.rows.keys());
    bench.all.forget(QueueId(7));
    let records: Vec<_> = bench.all.delete_dead().collect();
    bench.log(records);
    bench.commit();
    assert!(bench.rows.is_empty(), "{:?}", bench.rows.keys());
}

#[test]
fn a_session_that_publishes_little_keeps_no_more_than_its_own() {
    let mut bench = Bench::new(LIMITS);
    for number in 0..2000_u64 {
        if number % 100 == 0 {
            bench.publish(8, (number / 100 + 1) as u16, number, true);
        }
        bench.publish(7, (number % 50 + 1) as u16, number, true);
        if number % 5 == 0 {
            bench.commit();
        }
        if number % 333 == 0 {
            bench.restart(LIMITS);
        }
    }
    bench.commit();
    let slow: Vec<_> = (16..20).map(|number| (number as u16 + 1, number * 100)).collect();
    assert_eq!(bench.of(8), slow);
    let stored: usize = bench.rows.values().map(|row| codec::decode_fingerprints(row).unwrap().len()).sum();
    assert!(stored <= 2 * 8 + LIMITS.stale_max + 20, "{stored} are stored");
    bench.restart(LIMITS);
    assert_eq!(bench.of(8), slow);
    assert_eq!(bench.of(7).len(), 4);
}

#[test]
fn rows_behind_one_that_stays_go() {
    let mut bench = Bench::new(LIMITS);
    bench.publish(8, 1, 80, true);
    bench.commit();
    for number in 0..2000_u64 {
        bench.publish(7, (number % 50 + 1) as u16, number, number % 3 > 0);
        bench.commit();
        let rows = bench.all.rows.len();
        assert!(rows <= 2 * 5 + LIMITS.stale_max + 1, "{rows} rows");
    }
    assert_eq!(bench.of(8), [(1, 80)]);
    bench.restart(LIMITS);
    assert_eq!((bench.of(8), bench.of(7).len()), (vec![(1, 80)], 4));
}

#[test]
fn who_sends_the_same_twice_is_not_told_of_anything_again() {
    let mut bench = Bench::new(LIMITS);
    for (packet_id, digest) in [(1, 10), (2, 20), (1, 11), (1, 10)] {
        bench.publish(7, packet_id, digest, true);
    }
    assert_eq!(bench.of(7), [(1, 10), (2, 20)]);
    bench.publish(7, 1, 10, true);
    for packet_id in 1..=10 {
        bench.publish(7, packet_id, 5, true);
    }
    bench.commit();
    assert_eq!(bench.of(7), []);
    bench.restart(LIMITS);
    bench.publish(7, 3, 30, true);
    assert_eq!(bench.of(7), []);
}

#[test]
fn beyond_the_limit_of_all_sessions_the_oldest_are_forgotten() {
    let limits = FingerprintLimits { total_max: 10, ..LIMITS };
    let mut bench = Bench::new(limits);
    for queue in 1..=50 {
        bench.publish(queue, 1, queue, queue % 2 == 0);
        bench.commit();
    }
    bench.commit();
    let known: Vec<u64> = (1..=50).filter(|queue| !bench.of(*queue).is_empty()).collect();
    assert_eq!(known, (41..=50).collect::<Vec<_>>());
    assert!(bench.rows.len() <= 5, "{:?}", bench.rows.keys());
    assert_eq!(bench.all.sessions.len(), 10);
}

#[test]
fn nothing_is_remembered_where_the_limit_is_none() {
    let mut bench = Bench::new(LIMITS);
    bench.publish(7, 1, 1, true);
    bench.commit();
    let none = FingerprintLimits { per_session_max: 0, ..LIMITS };
    bench.restart(none);
    bench.publish(7, 1, 2, true);
    bench.commit();
    assert_eq!(bench.of(7), []);
    assert!(bench.rows.is_empty(), "{:?}", bench.rows.keys());
}

#[test]
fn of_what_several_shards_remember_the_newest_counts() {
    let of = |message, packet_id, digest: u64| Remembered {
        message: MessageId(message),
        fingerprint: Fingerprint::new(packet_id, digest << 16),
    };
    let all = newest(vec![of(1, 5, 50), of(9, 6, 60), of(3, 5, 51), of(2, 6, 61)]);
    assert_eq!(all, [Fingerprint::new(5, 51 << 16), Fingerprint::new(6, 60 << 16)]);
}
