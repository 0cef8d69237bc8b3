use std::sync::Arc;

use evergate_model::{QueueId, Seq};

use super::{Opened, Storage, assert_same, enqueue, enqueue_all, message, settle};
use crate::Record;

pub(super) async fn messages_come_back_as_they_were(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    let all: Vec<_> = (1..=420).map(|id| message(id, format!("body {id}"))).collect();
    for chunk in all.chunks(100) {
        opened.commit(chunk.iter().map(|message| enqueue(1, message.meta.id.0, message))).await;
    }
    for round in 0..2 {
        let loaded = opened.load(1, 0, u64::MAX).await;
        assert_eq!(loaded.messages.len(), all.len(), "round {round}");
        for ((seq, back), sent) in loaded.messages.iter().zip(&all) {
            assert_eq!(seq.0, sent.meta.id.0);
            assert_same(back, sent);
        }
        opened = opened.reopened(storage).await;
    }
}

pub(super) async fn empty_large_and_nul_bodies_come_back(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    let random: Vec<u8> = (0..1_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let bodies =
        [vec![], vec![0], vec![0; 9_000], random, vec![0xff; 8_100], b"'\"\\{},NULL".to_vec(), vec![1; 1 << 20]];
    let sent: Vec<_> = bodies.into_iter().zip(1..).map(|(body, id)| message(id, body)).collect();
    opened.commit(sent.iter().map(|message| enqueue(1, message.meta.id.0, message))).await;
    opened.commit([enqueue(1, 100, &sent[3])]).await;
    let opened = opened.reopened(storage).await;
    let size: u64 = sent.iter().map(|message| message.size_bytes()).sum();
    assert_eq!(opened.counts(1), (8, size + sent[3].size_bytes()));
    let loaded = opened.load(1, 1, 100).await;
    assert_eq!(loaded.messages.len(), 8);
    for ((_, back), sent) in loaded.messages.iter().zip(sent.iter().chain([&sent[3]])) {
        assert_same(back, sent);
    }
}

pub(super) async fn a_load_stops_at_its_bounds_but_gives_at_least_one(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    let sent: Vec<Arc<_>> = (1..=300).map(|id| message(id, vec![b'x'; 100])).collect();
    opened.commit(sent.iter().map(|message| enqueue(1, message.meta.id.0, message))).await;
    opened.commit([settle(1, 21, 40)]).await;
    let load = async |first, last, messages_max, bytes_max| {
        let loaded = opened.reader.load(QueueId(1), Seq(first), Seq(last), messages_max, bytes_max).await;
        let loaded = loaded.expect("the load succeeds");
        let places: Vec<u64> = loaded.messages.iter().map(|(seq, _)| seq.0).collect();
        (places, loaded.complete_to.0)
    };
    assert_eq!(load(10, 15, 100, u64::MAX).await, ((10..=15).collect(), 15));
    assert_eq!(load(10, 300, 5, u64::MAX).await, ((10..=14).collect(), 14));
    let (places, complete_to) = load(18, 300, 5, u64::MAX).await;
    assert_eq!(places, [18, 19, 20, 41, 42]);
    assert_eq!(complete_to, 42);
    let two = sent[9].size_bytes() + sent[10].size_bytes();
    assert_eq!(load(10, 300, 100, two).await.0, [10, 11]);
    assert_eq!(load(10, 300, 100, two - 1).await.0, [10]);
    assert_eq!(load(10, 300, 100, 0).await, (vec![10], 10));
    assert_eq!(load(10, 300, 0, 0).await, (vec![10], 10));
    // Asking again behind `complete_to` gives each message once.
    let (mut at, mut all) = (1, Vec::new());
    while at <= 300 {
        let (places, complete_to) = load(at, 300, 37, 20_000).await;
        all.extend(places);
        assert!(complete_to >= at);
        at = complete_to + 1;
    }
    assert_eq!(all, (1..=20).chain(41..=300).collect::<Vec<_>>());
}

pub(super) async fn a_load_of_nothing_is_complete(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    opened.commit(enqueue_all(1, [5, 6])).await;
    for (queue, first, last) in [(2, 1, 9), (1, 1, 4), (1, 7, 90)] {
        let loaded = opened.load(queue, first, last).await;
        assert_eq!((loaded.messages.len(), loaded.complete_to.0), (0, last));
    }
}

pub(super) async fn messages_read_beside_the_writer(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    for round in 0..100 {
        let first = round * 10 + 1;
        let records = enqueue_all(1, first..first + 10);
        opened.commit(records.into_iter().chain([settle(1, 1, first.saturating_sub(20))])).await;
        let reader = opened.reader.clone();
        let read = reader.load(QueueId(1), Seq(first), Seq(first + 9), 100, u64::MAX);
        let write = opened.commit([Record::Mark { queue: QueueId(1), number: round as u32, set: true }]);
        let loaded = both(read, write).await.expect("the load succeeds");
        assert_eq!(loaded.messages.len(), 10, "round {round}");
        assert!(loaded.messages.iter().zip(first..).all(|((seq, _), place)| seq.0 == place));
    }
}

/// Drives both to their end, the second polled whenever the first is.
async fn both<T>(first: impl Future<Output = T>, second: impl Future<Output = ()>) -> T {
    let mut first = std::pin::pin!(first);
    let mut second = std::pin::pin!(second);
    let (mut result, mut is_second_done) = (None, false);
    std::future::poll_fn(move |context| {
        if result.is_none()
            && let std::task::Poll::Ready(value) = first.as_mut().poll(context)
        {
            result = Some(value);
        }
        is_second_done = is_second_done || second.as_mut().poll(context).is_ready();
        match result.take_if(|_| is_second_done) {
            Some(value) => std::task::Poll::Ready(value),
            None => std::task::Poll::Pending,
        }
    })
    .await
}
