use bytes::Bytes;
use evergate_model::QueueId;

use super::{Opened, Storage, enqueue_all, settle};
use crate::{Batch, Record, StateChange, Table};

fn put(table: Table, key: &str, value: impl Into<Bytes>) -> Record {
    Record::State(StateChange { table, key: key.into(), value: Some(value.into()) })
}

fn delete(table: Table, key: &str) -> Record {
    Record::State(StateChange { table, key: key.into(), value: None })
}

fn mark(queue: u64, number: u32, set: bool) -> Record {
    Record::Mark { queue: QueueId(queue), number, set }
}

pub(super) async fn marks_are_set_and_cleared_in_order(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    opened.commit([mark(1, 5, true), mark(1, 3, true), mark(1, 3, true), mark(2, u32::MAX, true)]).await;
    opened.commit([mark(1, 5, false), mark(1, 5, true), mark(1, 3, false), mark(1, 9, false)]).await;
    opened.commit([mark(3, 1, true), mark(3, 1, false)]).await;
    let mut opened = opened.reopened(storage).await;
    assert_eq!(opened.queue(1).map(|queue| queue.marks.clone()), Some(vec![5]));
    assert_eq!(opened.queue(2).map(|queue| queue.marks.clone()), Some(vec![u32::MAX]));
    assert!(opened.queue(3).is_none_or(|queue| queue.marks.is_empty()));
    opened.commit([mark(1, 5, false), mark(2, 0, true)]).await;
    let opened = opened.reopened(storage).await;
    assert!(opened.queue(1).is_none_or(|queue| queue.marks.is_empty()));
    assert_eq!(opened.queue(2).map(|queue| queue.marks.clone()), Some(vec![0, u32::MAX]));
}

pub(super) async fn state_is_replaced_and_deleted_in_order(storage: &impl Storage) {
    let large = Bytes::from(vec![7; 1 << 20]);
    let mut opened = Opened::at(storage).await;
    opened
        .commit([
            put(Table::Retained, "a/b", "1"),
            put(Table::Retained, "a/b", "2"),
            put(Table::Queue, "a/b", Bytes::new()),
            put(Table::Counter, "starts", &b"\0\xff"[..]),
            put(Table::Binding, "x", "gone"),
            delete(Table::Binding, "x"),
            delete(Table::Binding, "never there"),
        ])
        .await;
    opened.commit([delete(Table::Counter, "starts"), put(Table::Counter, "starts", "9")]).await;
    opened.commit([put(Table::Retained, "large", large.clone()), put(Table::Retained, "\u{e9} '\"\\", "q")]).await;
    let opened = opened.reopened(storage).await;
    let found: Vec<_> = opened.found.state.iter().map(|(table, key, value)| (*table, &**key, value.clone())).collect();
    let expected = [
        (Table::Queue, "a/b", Bytes::new()),
        (Table::Retained, "a/b", "2".into()),
        (Table::Retained, "large", large),
        (Table::Retained, "\u{e9} '\"\\", "q".into()),
        (Table::Counter, "starts", "9".into()),
    ];
    assert!(found == expected, "{:?}", found.iter().map(|(table, key, _)| (table, key)).collect::<Vec<_>>());
}

pub(super) async fn messages_marks_and_state_of_one_batch_come_together(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    for round in 1..=20 {
        let mut records = enqueue_all(1, [round]);
        records.extend([settle(1, 1, round - 1), mark(1, round as u32, true), mark(1, round as u32 - 1, false)]);
        records.push(put(Table::Counter, "round", round.to_string()));
        opened.commit(records).await;
        if round % 7 == 0 {
            opened = opened.reopened(storage).await;
            assert_eq!(opened.counts(1).0, 1);
            assert_eq!(opened.queue(1).map(|queue| queue.marks.clone()), Some(vec![round as u32]));
            assert_eq!(opened.found.state, [(Table::Counter, "round".into(), round.to_string().into())]);
            assert_eq!(opened.places(1).await, [round]);
        }
    }
}

pub(super) async fn an_empty_batch_changes_nothing(storage: &impl Storage) {
    let mut opened = Opened::at(storage).await;
    opened.journal.commit(&Batch::default()).await.expect("nothing to write is no error");
    let mut voided = Batch::default();
    for record in enqueue_all(1, 1..=3) {
        voided.add(record);
    }
    voided.add(Record::Purge { queue: QueueId(1) });
    opened.journal.commit(&voided).await.expect("a batch of messages nobody holds is no error");
    let opened = opened.reopened(storage).await;
    assert_eq!(opened.counts(1), (0, 0));
}

pub(super) async fn a_journal_dropped_without_close_keeps_what_was_committed(storage: &impl Storage) {
    for round in 1..=5 {
        let mut opened = Opened::at(storage).await;
        assert_eq!(opened.counts(1).0, round - 1);
        opened.commit(enqueue_all(1, [round * 10_000])).await;
    }
    assert_eq!(Opened::at(storage).await.counts(1).0, 5);
}
