use evergate_model::QueueId;

use super::{Opened, Storage, enqueue, enqueue_all, message, settle};
use crate::{Record, StateChange, Table};

pub(super) async fn an_empty_journal_recovers_empty(storage: &impl Storage) {
    let opened = Opened::at(storage).await;
    assert!(opened.found.queues.is_empty() && opened.found.state.is_empty());
    let opened = opened.reopened(storage).await;
    assert!(opened.found.queues.is_empty() && opened.found.state.is_empty());
}

pub(super) async fn what_was_committed_recovers_and_what_was_settled_does_not(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    opened.commit(enqueue_all(1, 1..=100)).await;
    opened.commit(enqueue_all(2, 1..=3)).await;
    opened.commit([settle(1, 1, 40)]).await;
    opened.commit([settle(1, 41, 50), settle(2, 3, 3)]).await;
    assert_eq!(opened.places(1).await, (51..=100).collect::<Vec<_>>());
    let opened = opened.reopened(storage).await;
    assert_eq!((opened.counts(1).0, opened.counts(2).0), (50, 2));
    assert_eq!(opened.queue(1).map(|queue| (queue.live[0].first.0, queue.next_seq.0 > 100)), Some((51, true)));
    assert_eq!(opened.places(1).await, (51..=100).collect::<Vec<_>>());
    assert_eq!(opened.places(2).await, [1, 2]);
}

pub(super) async fn holes_leave_exact_counts(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    // Gaps of places never stored, and holes of places settled out of order.
    opened.commit(enqueue_all(1, (1..=200).filter(|seq| seq % 10 != 0))).await;
    opened.commit([settle(1, 150, 160), settle(1, 5, 5), settle(1, 3, 3), settle(1, 199, 200)]).await;
    opened.commit([settle(1, 1, 1)]).await;
    let expected: Vec<u64> =
        (1..=200).filter(|seq| seq % 10 != 0 && !(150..=160).contains(seq) && ![1, 3, 5, 199].contains(seq)).collect();
    let bytes = expected.iter().map(|seq| message(1 << 32 | seq, format!("1/{seq}")).size_bytes()).sum();
    let opened = opened.reopened(storage).await;
    assert_eq!(opened.counts(1), (expected.len() as u64, bytes));
    assert_eq!(opened.places(1).await, expected);
}

pub(super) async fn places_never_go_back_even_when_everything_is_settled(storage: &impl Storage) {
    let mut highest = 0;
    let mut opened = Opened::at(storage).await;
    for round in 0..6 {
        let next = opened.queue(1).map_or(1, |queue| queue.next_seq.0);
        assert!(next > highest, "round {round}: {next} after {highest}");
        highest = next + 1_999;
        opened.commit(enqueue_all(1, next..=highest)).await;
        opened.commit([settle(1, next, highest)]).await;
        opened.journal.idle().await.expect("idle work succeeds");
        opened = opened.reopened(storage).await;
        assert_eq!(opened.counts(1), (0, 0));
    }
    opened.commit([Record::Purge { queue: QueueId(1) }]).await;
    let opened = opened.reopened(storage).await;
    assert!(opened.queue(1).is_some_and(|queue| queue.next_seq.0 > highest));
}

pub(super) async fn a_deleted_queue_is_forgotten(storage: &impl Storage) {
    let change = |value: Option<&'static [u8]>| {
        let value = value.map(Into::into);
        Record::State(StateChange { table: Table::Queue, key: "7".into(), value })
    };
    let mut opened = Opened::at(storage).await;
    opened.commit([change(Some(b"spec"))]).await;
    opened.commit(enqueue_all(7, 1..=10)).await;
    opened.commit([settle(7, 1, 5)]).await;
    opened.commit([Record::Purge { queue: QueueId(7) }, change(None)]).await;
    let opened = opened.reopened(storage).await;
    assert_eq!(opened.queue(7), None);
    assert!(opened.found.state.is_empty());
    assert!(opened.places(7).await.is_empty());
}

pub(super) async fn a_message_in_many_queues_lives_until_the_last_is_settled(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    let shared = message(1, "shared");
    opened.commit((1..=50).map(|queue| enqueue(queue, queue + 10, &shared))).await;
    opened.commit((1..=49).map(|queue| settle(queue, queue + 10, queue + 10))).await;
    let mut opened = opened.reopened(storage).await;
    assert_eq!(opened.counts(50), (1, shared.size_bytes()));
    assert!((1..=49).all(|queue| opened.counts(queue) == (0, 0)));
    let loaded = opened.load(50, 1, 1_000).await;
    assert_eq!(loaded.messages.len(), 1);
    super::assert_same(&loaded.messages[0].1, &shared);
    opened.commit([settle(50, 60, 60)]).await;
    let opened = opened.reopened(storage).await;
    assert_eq!(opened.counts(50), (0, 0));
}

pub(super) async fn a_message_in_very_many_queues_is_kept_for_each(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    let shared = message(1, "wide");
    opened.commit((1..=3_000).map(|queue| enqueue(queue, 1, &shared))).await;
    opened.commit((1..=3_000).filter(|queue| queue % 3 == 0).map(|queue| settle(queue, 1, 1))).await;
    let opened = opened.reopened(storage).await;
    for queue in [1, 2, 3, 1_500, 2_999, 3_000] {
        let expected = u64::from(queue % 3 != 0);
        assert_eq!(opened.counts(queue).0, expected);
        assert_eq!(opened.load(queue, 1, 1).await.messages.len() as u64, expected);
    }
}

pub(super) async fn settling_unknown_places_is_ignored(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    opened.commit([settle(9, 1, 5), settle(9, 0, u64::MAX), Record::Purge { queue: QueueId(8) }]).await;
    opened.commit(enqueue_all(1, [5, 6, 7])).await;
    opened.commit([settle(1, 1, 4), settle(1, 6, 6), settle(1, 8, 5_000), settle(2, 5, 7)]).await;
    opened.commit([settle(1, 6, 6)]).await;
    // What comes later at a place that was settled before it was used is live.
    opened.commit(enqueue_all(1, [8])).await;
    let opened = opened.reopened(storage).await;
    assert_eq!(opened.counts(1).0, 3);
    assert_eq!(opened.places(1).await, [5, 7, 8]);
    assert_eq!(opened.counts(9), (0, 0));
}

pub(super) async fn a_place_settled_in_its_own_batch_is_gone(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    let mut records = enqueue_all(1, 1..=4);
    records.push(settle(1, 2, 3));
    opened.commit(records).await;
    let opened = opened.reopened(storage).await;
    assert_eq!(opened.places(1).await, [1, 4]);
    assert_eq!(opened.counts(1).0, 2);
}

pub(super) async fn a_purge_takes_what_was_before_it_only(storage: &impl Storage) {
    let mark = |number, set| Record::Mark { queue: QueueId(1), number, set };
    let mut opened = Opened::at(storage).await;
    let shared = message(99, "in both");
    opened.commit(enqueue_all(1, 1..=30).into_iter().chain([mark(4, true), mark(5, true)])).await;
    opened.commit([enqueue(1, 31, &shared), enqueue(2, 1, &shared)]).await;
    let mut records = enqueue_all(1, [32, 33]);
    records.extend([mark(6, true), Record::Purge { queue: QueueId(1) }, mark(7, true)]);
    records.extend(enqueue_all(1, [34, 35]));
    opened.commit(records).await;
    assert_eq!(opened.places(1).await, [34, 35]);
    let opened = opened.reopened(storage).await;
    assert_eq!(opened.counts(1).0, 2);
    assert_eq!(opened.places(1).await, [34, 35]);
    assert_eq!(opened.places(2).await, [1]);
    assert_eq!(opened.queue(1).map(|queue| queue.marks.clone()), Some(vec![7]));
}
