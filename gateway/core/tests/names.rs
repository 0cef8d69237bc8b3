//! The directory: who may attach, how long queues live, what is committed before what.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{NOW, Names, OUTCOMES, SIZE, message, message_to, shard_config};
use evergate_core::{DirectoryCommand, DirectoryConfig, DirectoryLimits, RouteCache, SessionId, recover};
use evergate_journal::memory::MemoryJournal;
use evergate_journal::{Batch, Record, StateChange, Table, codec};
use evergate_model::{
    Address, Attach, AttachAccess, Binding, ConsumerId, Encoding, Filter, Lifetime, MemoryBudget, Message, Meta,
    QueueSpec, Retained, Token,
};

const LIMITS: DirectoryLimits =
    DirectoryLimits { queues_max: 3, retained_max: 2, retained_bytes_max: 1 << 20, outcomes: OUTCOMES };

fn spec(name: &str, durable: bool, lifetime: Lifetime) -> QueueSpec {
    QueueSpec { name: name.into(), durable, lifetime }
}

fn attach(queue: QueueSpec, access: AttachAccess) -> Attach {
    let (consumer, bindings) = (ConsumerId(1), Vec::new());
    Attach { bindings, access, ..Attach::new(consumer, queue) }
}

fn binding(filter: &str) -> Binding {
    let filter = Filter::new(filter).unwrap();
    Binding::new(filter, true)
}

fn retained(topic: &str, body: &'static str, durable: bool) -> DirectoryCommand {
    let mut meta = message(topic.len() as u64, durable).meta.clone();
    meta.address = Address::topic(topic);
    let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(body.as_bytes())));
    let answer = Some((SessionId(1), Token(1)));
    DirectoryCommand::PublishRetained { answer, client_id: "".into(), message, mark: None }
}

impl Names {
    fn attach(&mut self, session: u64, attach: Attach) {
        self.apply(DirectoryCommand::Attach { session: SessionId(session), attach, window_bytes: 1 });
    }

    fn detach(&mut self, session: u64, delete: bool, lifetime: Option<Lifetime>) {
        let (session, consumer) = (SessionId(session), ConsumerId(1));
        self.apply(DirectoryCommand::Detach { session, consumer, delete, lifetime });
    }

    fn bind(&mut self, session: u64, filter: &str, retained: Retained) {
        let (session, consumer, binding) = (SessionId(session), ConsumerId(1), binding(filter));
        self.apply(DirectoryCommand::Bind { session, consumer, binding, retained, token: Token(1) });
    }

    fn targets(&self, address: &Address) -> usize {
        let mut found = Vec::new();
        self.routes.find(&message_to(address), "", &mut RouteCache::default(), &mut found);
        found.len()
    }
}

fn orders() -> QueueSpec {
    QueueSpec::named("orders")
}

#[test]
fn an_attach_is_answered_after_the_queue_is_committed() {
    let mut names = Names::new(LIMITS);
    names.attach(1, attach(orders(), AttachAccess::Shared));
    assert_eq!(names.happened(), ["create orders"]);
    names.commit();
    assert_eq!(names.happened(), ["attach 1"]);
    // A queue that does not survive waits for nothing.
    names.attach(2, attach(QueueSpec::temporary(), AttachAccess::Shared));
    let happened = names.happened();
    assert!(happened[0].starts_with("create $temporary/") && happened[1] == "attach 2", "{happened:?}");
}

#[test]
fn consumers_share_a_queue_unless_one_wants_to_be_alone() {
    let mut names = Names::new(LIMITS);
    names.attach(1, attach(orders(), AttachAccess::Shared));
    names.attach(2, attach(orders(), AttachAccess::Shared));
    names.attach(3, attach(orders(), AttachAccess::Exclusive));
    names.commit();
    assert_eq!(names.happened(), ["create orders", "refused 3: InUse", "attach 1", "attach 2"]);
    names.apply(DirectoryCommand::Gone { session: SessionId(1), failed: true });
    names.detach(2, false, None);
    names.attach(3, attach(orders(), AttachAccess::Exclusive));
    names.attach(1, attach(orders(), AttachAccess::Shared));
    assert_eq!(names.happened(), ["detach 1 silently", "detach 2", "attach 3", "refused 1: InUse"]);
}

#[test]
fn a_session_is_taken_over_in_order_even_before_its_attach_is_committed() {
    let mut names = Names::new(LIMITS);
    let session = || attach(spec("$session/a", true, Lifetime::Permanent), AttachAccess::TakeOver);
    names.attach(1, session());
    names.attach(2, session());
    names.apply(DirectoryCommand::Gone { session: SessionId(2), failed: true });
    assert_eq!(names.happened(), ["create $session/a"]);
    names.commit();
    assert_eq!(names.happened(), ["attach 1", "take from 1", "attach 2", "detach 2 silently"]);
}

#[test]
fn queues_of_an_attachment_end_with_the_last_consumer() {
    let mut names = Names::new(LIMITS);
    let short = || attach(spec("$x", false, Lifetime::Attached), AttachAccess::Shared);
    names.attach(1, short());
    names.attach(2, short());
    names.detach(1, false, None);
    names.happened();
    names.detach(2, false, None);
    assert_eq!(names.happened(), ["detach 2", "delete"]);
    assert_eq!(names.directory.next_timeout(), None);
}

#[test]
fn queues_that_expire_do_so_after_the_last_consumer_left_and_not_before() {
    let mut names = Names::new(LIMITS);
    let after = |seconds| Lifetime::AfterDetach(Duration::from_secs(seconds));
    let session = || attach(spec("$session/a", false, after(5)), AttachAccess::TakeOver);
    names.attach(1, session());
    names.bind(1, "t", Retained::Skip);
    assert_eq!(names.directory.next_timeout(), None);
    names.detach(1, false, None);
    assert_eq!(names.directory.next_timeout(), Some(NOW.after(Duration::from_secs(5))));
    // Who comes back stops the clock; who leaves with another lifetime starts it with that one.
    names.attach(2, session());
    assert_eq!(names.directory.next_timeout(), None);
    names.detach(2, false, Some(after(9)));
    let end = NOW.after(Duration::from_secs(9));
    assert_eq!(names.directory.next_timeout(), Some(end));
    names.happened();
    names.apply(DirectoryCommand::Tick);
    assert_eq!(names.targets(&Address::topic("t")), 1);
    names.now = end;
    names.apply(DirectoryCommand::Tick);
    assert_eq!((names.happened(), names.targets(&Address::topic("t"))), (vec!["delete".to_owned()], 0));
}

#[test]
fn a_fresh_attach_begins_with_an_empty_queue_and_no_bindings() {
    let mut names = Names::new(LIMITS);
    let session =
        |fresh| Attach { fresh, ..attach(spec("$session/a", false, Lifetime::Permanent), AttachAccess::TakeOver) };
    names.attach(1, session(false));
    names.bind(1, "t", Retained::Skip);
    names.happened();
    names.attach(2, session(true));
    assert_eq!(names.happened(), ["take from 1", "delete", "create $session/a", "attach 2"]);
    assert_eq!(names.targets(&Address::topic("t")), 0);
}

#[test]
fn an_unsubscribe_is_committed_before_it_is_answered() {
    let mut names = Names::new(LIMITS);
    let mut subscribe = attach(spec("$subscription/a", true, Lifetime::Permanent), AttachAccess::Shared);
    subscribe.bindings.push(binding("t"));
    names.attach(1, subscribe);
    names.commit();
    names.happened();
    names.detach(1, true, None);
    assert_eq!((names.happened(), names.targets(&Address::topic("t"))), (vec![], 0));
    names.commit();
    assert_eq!(names.happened(), ["detach 1", "delete"]);
}

#[test]
fn bind_and_unbind_are_answered_after_their_commit() {
    let mut names = Names::new(LIMITS);
    names.attach(1, attach(spec("$session/a", true, Lifetime::Permanent), AttachAccess::TakeOver));
    names.commit();
    names.happened();
    names.bind(1, "t/+", Retained::Skip);
    assert_eq!((names.happened(), names.targets(&Address::topic("t/1"))), (vec![], 1));
    names.commit();
    assert_eq!(names.happened(), ["done 1"]);
    for existed in [true, false] {
        let (session, consumer, filter) = (SessionId(1), ConsumerId(1), Filter::new("t/+").unwrap());
        names.apply(DirectoryCommand::Unbind { session, consumer, filter, token: Token(2) });
        names.commit();
        assert_eq!(names.happened(), [format!("unbound {existed}")]);
    }
}

#[test]
fn retained_messages_stand_before_what_is_published_after_the_bind() {
    let mut names = Names::new(LIMITS);
    names.apply(retained("t", "x", false));
    names.attach(1, attach(spec("$session/a", false, Lifetime::Permanent), AttachAccess::TakeOver));
    names.commit();
    names.happened();
    names.bind(1, "t", Retained::SendIfNew);
    names.apply(retained("t", "y", false));
    assert_eq!(names.happened()[..4], ["retained", "done 1", "parts 2", "publish"]);
    names.bind(1, "t", Retained::SendIfNew);
    names.commit();
    assert!(!names.happened().contains(&"retained".to_owned()));
    names.bind(1, "t", Retained::Send);
    assert!(names.happened().contains(&"retained".to_owned()));
}

#[test]
fn a_retained_publish_is_answered_part_by_part_and_cleared_by_an_empty_one() {
    let mut names = Names::new(LIMITS);
    names.apply(retained("t", "x", true));
    assert_eq!(names.happened(), ["parts 1"]);
    names.commit();
    assert_eq!(names.happened(), ["part true"]);
    names.apply(retained("t", "", true));
    names.commit();
    assert_eq!((names.happened(), names.directory.retained_count()), (vec!["parts 1".into(), "part true".into()], 0));
    // Nothing to clear, nobody to tell.
    names.apply(retained("t", "", true));
    assert_eq!(names.happened(), ["parts 0"]);
}

#[test]
fn more_topics_than_the_limit_are_refused_but_known_ones_change() {
    let mut names = Names::new(LIMITS);
    names.apply(retained("a", "x", false));
    names.apply(retained("bb", "x", false));
    names.happened();
    names.apply(retained("ccc", "x", false));
    assert_eq!(names.happened(), ["parts 1", "part false"]);
    names.apply(retained("bb", "y", false));
    assert_eq!(names.happened(), ["parts 1", "part true"]);
}

#[test]
fn more_bytes_of_retained_messages_than_the_limit_are_refused_but_smaller_ones_take_their_place() {
    let retained_bytes_max = 2 * SIZE + 10;
    let limits = DirectoryLimits { retained_max: 10, retained_bytes_max, ..LIMITS };
    let mut names = Names::new(limits);
    let mut publish = |topic: &str, body: &'static str| {
        names.apply(retained(topic, body, false));
        names.happened().last() == Some(&"part true".to_owned())
    };
    assert!(publish("a", "12345") && publish("bb", "12345"));
    assert!(!publish("a", "123456") && !publish("ccc", "1"));
    assert!(publish("a", "1234") && publish("bb", "123456"));
    assert!(!publish("bb", "1234567"));
    // What is cleared makes room.
    assert!(publish("a", "") && publish("ccc", "1234") && !publish("ccc", "12345"));
}

#[test]
fn a_limit_of_retained_bytes_that_was_lowered_lets_what_is_there_shrink() {
    let limits = DirectoryLimits { retained_bytes_max: SIZE, ..LIMITS };
    let mut names = Names::new(limits);
    names.apply(retained("$SYS/a", "as long as it likes", false));
    names.apply(retained("a", "1", false));
    assert_eq!(names.directory.retained_count(), 0);
    let journal = MemoryJournal::new();
    let meta = Meta { durable: true, ..Meta::new(Address::topic("a")) };
    let kept = Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"12345"));
    let value = Some(codec::encode_message(&kept).into());
    let mut batch = Batch::default();
    batch.add(Record::State(StateChange { table: Table::Retained, key: "a".into(), value }));
    journal.apply(&batch).unwrap();
    let config = DirectoryConfig { limits, ..DirectoryConfig::default() };
    let core = recover(NOW, journal.recover_now(), 1, shard_config(), config).unwrap();
    (names.directory, names.routes) = (core.directory, core.routes);
    // What a restart found is memory as any other.
    let memory = MemoryBudget::new(1);
    names.directory.take_memory(|bytes| memory.take(bytes));
    assert_eq!(memory.used_bytes(), SIZE + 5);
    names.happened();
    for (body, fits) in [("123456", false), ("12345", true), ("1234", true), ("12345", false), ("", true)] {
        names.apply(retained("a", body, false));
        assert_eq!(names.happened(), ["parts 1".to_owned(), format!("part {fits}")], "{body}");
    }
    assert_eq!(memory.used_bytes(), 0);
}

#[test]
fn the_gateways_own_figures_take_no_place_of_retained_messages_and_need_none() {
    let mut names = Names::new(LIMITS);
    for topic in ["$SYS/a", "$SYS/b", "$SYS/c"] {
        names.apply(retained(topic, "1", false));
    }
    names.happened();
    for topic in ["$", "z"] {
        names.apply(retained(topic, "x", false));
        assert_eq!(names.happened(), ["parts 1", "part true"]);
    }
    names.apply(retained("y", "x", false));
    assert_eq!(names.happened(), ["parts 1", "part false"]);
    names.apply(retained("$SYS/d", "1", false));
    assert_eq!((names.happened(), names.directory.retained_count()), (vec!["parts 0".into()], 2));
}

#[test]
fn more_queues_than_the_limit_are_refused_but_known_ones_serve() {
    let mut names = Names::new(LIMITS);
    for name in ["a", "b", "c", "d", "a"] {
        names.apply(DirectoryCommand::Ensure { session: SessionId(1), name: name.into() });
    }
    let happened = names.happened();
    assert_eq!(happened[6..], ["ensured false", "ensured true"]);
    names.attach(1, attach(orders(), AttachAccess::Shared));
    assert!(names.happened()[0].starts_with("refused 1: Limit"));
}

#[test]
fn the_gateways_own_queues_find_room_however_many_there_are() {
    for is_attached in [false, true] {
        let mut names = Names::new(LIMITS);
        ["a", "b", "c", "d"].into_iter().for_each(|name| names.ensure(name));
        assert_eq!(names.happened().last().unwrap(), "ensured false");
        for name in ["_DMQ", "_ADMIN"] {
            if is_attached {
                names.attach(1, attach(spec(name, true, Lifetime::Permanent), AttachAccess::Shared));
            } else {
                names.ensure(name);
            }
            assert_eq!(names.happened()[0], format!("create {name}"));
        }
        names.ensure("d");
        assert_eq!(names.happened(), ["ensured false"]);
    }
}

#[test]
fn queues_of_sessions_are_not_reached_by_name() {
    let mut names = Names::new(LIMITS);
    names.attach(1, attach(spec("$session/a", false, Lifetime::Permanent), AttachAccess::TakeOver));
    assert_eq!(names.targets(&Address::queue("$session/a")), 0);
    names.apply(DirectoryCommand::Ensure { session: SessionId(1), name: "$session/b".into() });
    assert!(names.happened().contains(&"ensured false".to_owned()));
}
