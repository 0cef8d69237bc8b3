use std::time::Instant;

use super::{Opened, Storage, enqueue, enqueue_all, message, settle};

pub(super) async fn a_hundred_thousand_messages_recover_without_bodies(storage: &impl Storage) {
    const COUNT: u64 = 100_000;
    let mut opened = Opened::at(storage).await;
    let body = vec![b'x'; 256];
    let started = Instant::now();
    for first in (1..=COUNT).step_by(1_000) {
        let ids = first..first + 1_000;
        opened.commit(ids.map(|id| enqueue(id % 10, id, &message(id, body.clone())))).await;
    }
    let written = started.elapsed();
    drop(opened);
    let started = Instant::now();
    let opened = Opened::at(storage).await;
    println!("  {COUNT} messages: written in {written:?}, opened and recovered in {:?}", started.elapsed());
    assert_eq!((0..10).map(|queue| opened.counts(queue).0).sum::<u64>(), COUNT);
    let ranges: usize = opened.found.queues.iter().map(|queue| queue.live.len()).sum();
    assert!(ranges < 1_000, "{ranges} ranges");
    let started = Instant::now();
    assert_eq!(opened.places(3).await.len(), 10_000);
    println!("  10000 of them loaded in {:?}", started.elapsed());
}

/// Some messages stay while many others come and go: what the store reuses must not take them along.
pub(super) async fn a_stuck_queue_survives_the_flow_of_others(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    opened.commit(enqueue_all(1, 1..=50)).await;
    opened.commit([settle(1, 20, 29)]).await;
    let mut next = 1;
    for round in 0..60 {
        let last = next + 499;
        let mut records = enqueue_all(2, next..=last);
        records.extend(enqueue_all(1, [1_000 + round]));
        records.push(settle(2, next.saturating_sub(250), last - 250));
        opened.commit(records).await;
        opened.journal.idle().await.expect("idle work succeeds");
        next = last + 1;
        if round == 30 {
            opened = opened.reopened(storage).await;
            assert_eq!((opened.counts(1).0, opened.counts(2).0), (71, 250));
        }
    }
    let opened = opened.reopened(storage).await;
    assert_eq!(opened.counts(2).0, 250);
    let expected: Vec<u64> = (1..=19).chain(30..=50).chain(1_000..1_060).collect();
    assert_eq!(opened.places(1).await, expected);
}
