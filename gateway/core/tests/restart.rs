//! What a restart finds.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{NOW, Names, OUTCOMES, message, message_to, shard_config};
use evergate_core::{
    DirectoryCommand, DirectoryConfig, DirectoryLimits, RecoveredCore, RouteCache, SessionId, Target, recover,
};
use evergate_journal::memory::MemoryJournal;
use evergate_journal::{Batch, Record, Table};
use evergate_model::{
    Address, Attach, AttachAccess, Binding, ConsumerId, Encoding, Filter, Lifetime, Message, QueueId, QueueSpec, Seq,
};

const NAMES: DirectoryLimits =
    DirectoryLimits { queues_max: 10, retained_max: 10, retained_bytes_max: 1 << 20, outcomes: OUTCOMES };

fn names() -> DirectoryConfig {
    DirectoryConfig { limits: NAMES, ..DirectoryConfig::default() }
}

fn write(journal: &MemoryJournal, records: impl IntoIterator<Item = Record>) {
    let mut batch = Batch::default();
    records.into_iter().for_each(|record| batch.add(record));
    journal.apply(&batch).unwrap();
}

/// A restart on what the journal holds, over so many shards.
fn restart(journal: &MemoryJournal, shards: u16) -> RecoveredCore {
    let mut core = recover(NOW, journal.recover_now(), shards, shard_config(), names()).unwrap();
    write(journal, core.records.drain(..));
    core
}

fn found(core: &RecoveredCore, address: &Address) -> Vec<Target> {
    let mut found = Vec::new();
    core.routes.find(&message_to(address), "me", &mut RouteCache::default(), &mut found);
    found
}

/// A session with two bindings, and a retained message; written as the directory logs it.
fn session(journal: &MemoryJournal) -> QueueId {
    let mut names = Names::new(NAMES);
    let lifetime = Lifetime::AfterDetach(Duration::from_secs(5));
    let binding = |filter: &str, no_local: Option<&str>| Binding {
        filter: Filter::new(filter).unwrap(),
        durable: true,
        no_local: no_local.map(Arc::from),
        selector: None,
        options: Bytes::from_static(&[0, 0x7f, 0xff]),
    };
    let attach = Attach {
        bindings: vec![binding("a b/#", None), binding("mine", Some("me"))],
        access: AttachAccess::TakeOver,
        ..Attach::new(ConsumerId(1), QueueSpec { name: "$session/a".into(), durable: true, lifetime })
    };
    names.apply(DirectoryCommand::Attach { session: SessionId(1), attach, window_bytes: 1 });
    let mut meta = message(5, true).meta.clone();
    meta.address = Address::topic("t");
    let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"x")));
    let (answer, client_id, mark) = (None, "".into(), None);
    names.apply(DirectoryCommand::PublishRetained { answer, client_id, message, mark });
    write(journal, names.log.drain(..).filter_map(|logged| logged.record));
    let mut targets = Vec::new();
    names.routes.find(&message_to(&Address::topic("mine")), "", &mut RouteCache::default(), &mut targets);
    targets[0].queue
}

#[test]
fn queues_bindings_and_retained_messages_are_there_again_whatever_the_number_of_shards() {
    let journal = MemoryJournal::new();
    let id = session(&journal);
    for shards in [1, 3] {
        let core = restart(&journal, shards);
        let targets = found(&core, &Address::topic("a b/c"));
        assert_eq!(targets.iter().map(|it| (it.queue, it.durable)).collect::<Vec<_>>(), [(id, true)]);
        assert_eq!(found(&core, &Address::topic("mine")), []);
        assert_eq!(core.directory.retained_count(), 1);
        // Its clock starts anew.
        assert_eq!(core.directory.next_timeout(), Some(NOW.after(Duration::from_secs(5))));
    }
}

#[test]
fn numbers_never_come_twice() {
    let journal = MemoryJournal::new();
    let (first, second) = (restart(&journal, 1), restart(&journal, 1));
    assert!(first.counters.first_message() < second.counters.first_message());
}

#[test]
fn messages_of_a_queue_whose_definition_was_not_committed_are_dropped() {
    let journal = MemoryJournal::new();
    let id = session(&journal);
    let orphan = QueueId(id.0 + 1);
    write(
        &journal,
        [id, orphan].map(|queue| Record::Enqueue { message: message(1, true), queue, seq: Seq(1), origin: None }),
    );
    let core = restart(&journal, 1);
    assert_eq!(core.shards[0].stats().map(|(_, stats)| stats.messages).sum::<u64>(), 1);
    let left: Vec<QueueId> = journal.recover_now().queues.iter().map(|queue| queue.id).collect();
    assert_eq!(left, [id]);
}

#[test]
fn a_row_of_another_form_is_named_and_not_skipped() {
    let journal = MemoryJournal::new();
    session(&journal);
    let mut recovered = journal.recover_now();
    recovered.state.push((Table::Queue, "9".into(), Bytes::from_static(b"{}")));
    let error = recover(NOW, recovered, 1, shard_config(), names()).unwrap_err();
    assert!(error.contains("Queue row '9'"), "{error}");
}
