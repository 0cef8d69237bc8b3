//! Queues that operators and the configuration define, and queues that go when nobody needs them.

mod common;

use std::time::Duration;

use common::{NOW, Names, message_to, shard_config};
use evergate_core::{
    DirectoryCommand, DirectoryConfig, DirectoryEffect, DirectoryLimits, ManageError, ManageReply, ManageRequest,
    QueueDefinition, QueueEntry, RecoveredCore, RouteCache, SessionId, ShardCommand, ShardId, recover,
};
use evergate_journal::Batch;
use evergate_journal::memory::MemoryJournal;
use evergate_model::{Address, Attach, Binding, ConsumerId, Filter, Policy, QueueId, QueueSpec, Time};

fn config() -> DirectoryConfig {
    let limits = DirectoryLimits {
        queues_max: 100,
        retained_max: 10,
        retained_bytes_max: 1 << 20,
        ..DirectoryLimits::default()
    };
    DirectoryConfig { limits, ..DirectoryConfig::default() }
}

fn binding(filter: &str) -> Binding {
    Binding::new(Filter::parse(filter).unwrap(), true)
}

fn definition(name: &str, filters: &[&str], messages_max: Option<u64>) -> QueueDefinition {
    let settings = Policy { messages_max, ..Policy::default() };
    QueueDefinition { name: name.into(), bindings: filters.iter().map(|it| binding(it)).collect(), settings }
}

impl Names {
    fn keep_in(&mut self, journal: &MemoryJournal) {
        let mut batch = Batch::default();
        self.log.drain(..).filter_map(|logged| logged.record).for_each(|record| batch.add(record));
        journal.apply(&batch).unwrap();
    }

    fn there_is(&mut self, name: &str) -> bool {
        self.commit();
        self.entry(name).is_some()
    }

    /// The queue `eu`.
    fn eu(&mut self) -> QueueEntry {
        self.commit();
        self.entry("eu").expect("eu is there")
    }

    fn reached(&self, topic: &str) -> usize {
        let mut found = Vec::new();
        self.routes.find(&message_to(&Address::topic(topic)), "", &mut RouteCache::default(), &mut found);
        found.len()
    }

    fn delete(&mut self, name: &str, if_empty: bool, if_unused: bool) {
        self.manage(ManageRequest::DeleteQueue { name: name.into(), if_empty, if_unused });
    }

    /// The shard that was asked to retire a queue answers.
    fn retired(&mut self, result: Result<(), Option<Time>>) {
        let asked = self.effects.drain(..).find_map(|effect| match effect {
            DirectoryEffect::Shard(_, ShardCommand::Retire { queue, attempt, .. }) => Some((queue, attempt)),
            _ => None,
        });
        let (queue, attempt) = asked.expect("a shard was asked");
        self.apply(DirectoryCommand::Retired { queue, attempt, result });
    }
}

/// A restart with these queues in the configuration.
#[allow(clippy::needless_pass_by_value)] // given as the configuration gives them
fn restart(journal: &MemoryJournal, queues: Vec<QueueDefinition>) -> Names {
    let config = || DirectoryConfig { queues: queues.clone(), ..config() };
    let core: RecoveredCore = recover(NOW, journal.recover_now(), 1, shard_config(), config()).unwrap();
    let mut batch = Batch::default();
    core.records.into_iter().for_each(|record| batch.add(record));
    journal.apply(&batch).unwrap();
    Names { directory: core.directory, routes: core.routes, ..Names::with(config()) }
}

#[test]
fn a_queue_that_an_operator_makes_is_answered_after_its_commit_and_survives_a_restart() {
    let journal = MemoryJournal::new();
    let mut names = Names::with(config());
    names.manage(ManageRequest::CreateQueue(definition("eu", &["shop/eu/#", "#glob:*/eu"], Some(7))));
    assert_eq!(names.happened(), ["create eu"]);
    names.commit();
    assert_eq!(names.answer(), Some(Ok(ManageReply::Done)));
    names.keep_in(&journal);
    let mut names = restart(&journal, Vec::new());
    assert_eq!((names.reached("shop/eu/1"), names.reached("x/eu"), names.reached("x/us")), (1, 1, 0));
    let entry = names.eu();
    assert_eq!((&*entry.name, entry.bindings.len(), entry.configured), ("eu", 2, false));
    assert_eq!((entry.settings.messages_max, entry.own.unwrap().messages_max), (7, Some(7)));
}

#[test]
fn settings_of_its_own_count_over_every_policy() {
    let mut names = Names::with(config());
    names.manage(ManageRequest::CreateQueue(definition("eu", &[], Some(7))));
    let all = Policy { matches: "#".into(), messages_max: Some(1), bytes_max: Some(2), ..Policy::default() };
    names.manage(ManageRequest::PutPolicy(all));
    let entry = names.eu();
    assert_eq!((entry.settings.messages_max, entry.settings.bytes_max), (7, 2));
    names.manage(ManageRequest::ChangeQueue { name: "eu".into(), settings: Policy::default() });
    assert_eq!(names.eu().settings.messages_max, 1);
}

#[test]
fn bindings_of_an_operator_come_and_go() {
    let mut names = Names::with(config());
    names.ensure("eu");
    names.manage(ManageRequest::BindQueue { name: "eu".into(), binding: binding("a/+") });
    assert_eq!(names.reached("a/b"), 1);
    let unbind = || ManageRequest::UnbindQueue { name: "eu".into(), filter: Filter::new("a/+").unwrap() };
    names.manage(unbind());
    assert_eq!(names.reached("a/b"), 0);
    names.commit();
    names.answer();
    names.manage(unbind());
    assert_eq!(names.answer(), Some(Err(ManageError::NotFound("eu is not bound to a/+".into()))));
}

#[test]
fn requests_that_cannot_be_carried_out_say_why() {
    let mut names = restart(&MemoryJournal::new(), vec![definition("fixed", &["a"], None)]);
    names.ensure("there");
    names.commit();
    names.effects.clear();
    let delete = |name: &str| ManageRequest::DeleteQueue { name: name.into(), if_empty: false, if_unused: false };
    for (request, why) in [
        (ManageRequest::CreateQueue(definition("there", &[], None)), "there is a queue there already"),
        (ManageRequest::CreateQueue(definition("$x", &[], None)), "gateway's own"),
        (ManageRequest::CreateQueue(definition("", &[], None)), "name is empty"),
        (ManageRequest::CreateQueue(definition("/queue/a/b", &[], None)), "a queue's name is written as a/b"),
        (ManageRequest::CreateQueue(definition("topic://a", &[], None)), "a queue's name is written as a"),
        (ManageRequest::CreateQueue(definition("x", &[], Some(0))), "messages_max"),
        (ManageRequest::BindQueue { name: "fixed".into(), binding: binding("b") }, "stands in the configuration"),
        (ManageRequest::BindQueue { name: "nowhere".into(), binding: binding("b") }, "there is no queue nowhere"),
        (delete("fixed"), "stands in the configuration"),
        (delete("_DMQ"), "there is no queue _DMQ"),
    ] {
        names.manage(request);
        let error = names.answer().unwrap().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_queue_is_deleted_with_its_bindings_after_the_commit() {
    let mut names = Names::with(config());
    names.manage(ManageRequest::CreateQueue(definition("eu", &["a"], None)));
    names.attach_to(1, QueueSpec::named("eu"));
    names.commit();
    names.effects.clear();
    names.delete("eu", false, true);
    assert_eq!(names.answer(), Some(Err(ManageError::InUse("eu has consumers".into()))));
    names.delete("eu", false, false);
    assert_eq!((names.happened(), names.reached("a")), (vec![], 0));
    names.commit();
    assert_eq!(names.happened()[0], "delete");
    // The consumer is gone with it: its goodbye concerns nobody.
    names.apply(DirectoryCommand::Gone { session: SessionId(1), failed: true });
    assert!(names.happened().is_empty());
}

#[test]
fn a_queue_that_must_be_empty_is_deleted_on_its_shards_word() {
    let mut names = Names::with(config());
    names.ensure("eu");
    names.commit();
    names.effects.clear();
    names.delete("eu", true, false);
    names.retired(Err(None));
    assert_eq!(names.answer(), Some(Err(ManageError::InUse("the queue has messages".into()))));
    names.delete("eu", true, false);
    names.retired(Ok(()));
    assert_eq!(names.happened(), ["delete"]);
    names.commit();
    assert_eq!((names.answer(), names.there_is("eu")), (Some(Ok(ManageReply::Done)), false));
}

#[test]
fn who_attaches_while_a_queue_is_on_its_way_out_keeps_it() {
    let mut names = Names::with(config());
    names.ensure("eu");
    names.commit();
    names.effects.clear();
    names.delete("eu", true, true);
    let asked = names.effects.pop();
    names.attach_to(1, QueueSpec::named("eu"));
    assert_eq!(
        names.happened(),
        ["reopen", "Managed { token: Token(5), result: Err(InUse(\"the queue is in use again\")) }", "attach 1"]
    );
    // The shard's answer to what no longer holds.
    names.effects.extend(asked);
    names.retired(Ok(()));
    assert_eq!((names.happened(), names.there_is("eu")), (vec![], true));
}

#[test]
fn what_nobody_needs_goes_after_its_time_and_not_while_it_is_needed() {
    let after = Duration::from_mins(1);
    let policy = Policy { matches: "tmp/#".into(), auto_delete_after_ms: Some(60_000), ..Policy::default() };
    let mut names = Names::with(DirectoryConfig { policies: vec![policy], ..config() });
    names.attach_to(1, QueueSpec::named("tmp/a"));
    names.ensure("other");
    names.commit();
    names.now = NOW.after(after);
    names.effects.clear();
    // A consumer is there.
    names.apply(DirectoryCommand::Tick);
    assert_eq!((names.happened(), names.directory.next_timeout()), (vec![], None));
    names.apply(DirectoryCommand::Gone { session: SessionId(1), failed: false });
    let due = names.now.after(after);
    assert_eq!(names.directory.next_timeout(), Some(due));
    names.now = due;
    names.effects.clear();
    names.apply(DirectoryCommand::Tick);
    // It has not been empty for so long.
    let since = NOW.after(Duration::from_secs(100));
    names.retired(Err(Some(since)));
    assert_eq!(names.directory.next_timeout(), Some(since.after(after)));
    names.now = since.after(after);
    names.apply(DirectoryCommand::Tick);
    names.retired(Ok(()));
    assert_eq!(names.happened(), ["delete"]);
    assert_eq!((names.there_is("tmp/a"), names.there_is("other")), (false, true));
}

#[test]
fn queues_of_the_configuration_are_there_and_follow_it() {
    let journal = MemoryJournal::new();
    let mut names = restart(&journal, vec![definition("eu", &["a", "b"], Some(7))]);
    let id = |names: &Names| -> QueueId {
        let mut found = Vec::new();
        let message = message_to(&Address::queue("eu"));
        names.routes.find(&message, "", &mut RouteCache::default(), &mut found);
        found[0].queue
    };
    assert_eq!((names.reached("a"), names.eu().configured), (1, true));
    let first = id(&names);
    let mut names = restart(&journal, vec![definition("eu", &["b", "c"], Some(9))]);
    assert_eq!(id(&names), first);
    assert_eq!([names.reached("a"), names.reached("b"), names.reached("c")], [0, 1, 1]);
    assert_eq!(names.eu().settings.messages_max, 9);
    // Taken out of the file it stays, and is an operator's.
    let mut names = restart(&journal, Vec::new());
    assert_eq!((names.reached("c"), names.eu().settings.messages_max), (1, 9));
    names.delete("eu", false, false);
    assert!(!names.there_is("eu"));
}

#[test]
fn a_queue_of_the_configuration_does_not_go_by_itself() {
    let definition = QueueDefinition {
        settings: Policy { auto_delete_after_ms: Some(1), ..Policy::default() },
        ..definition("eu", &[], None)
    };
    let mut names = restart(&MemoryJournal::new(), vec![definition]);
    assert_eq!(names.directory.next_timeout(), None);
    let attach = Attach::new(ConsumerId(1), QueueSpec::named("eu"));
    names.apply(DirectoryCommand::Attach { session: SessionId(1), attach, window_bytes: 1 });
    names.apply(DirectoryCommand::Gone { session: SessionId(1), failed: false });
    assert_eq!(names.directory.next_timeout(), None);
}

#[test]
fn queues_of_sessions_and_subscriptions_are_found_by_their_exact_name() {
    let mut names = Names::with(config());
    for (session, name) in [(1, "$session/a"), (2, "$subscription/joe/1"), (3, "$share/g/t/#"), (4, "$share/g/t")] {
        names.attach_to(session, QueueSpec::named(name));
    }
    names.commit();
    for name in ["$session/a", "$subscription/joe/1", "$share/g/t/#"] {
        names.effects.clear();
        names.manage(ManageRequest::Queue { name: name.into() });
        match names.answer() {
            Some(Ok(ManageReply::Queue { entry, queue, shard })) => {
                assert_eq!((&*entry.name, shard, queue.0 > 0), (name, ShardId(0), true));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    for name in ["$session/b", "$body/1", "#"] {
        names.manage(ManageRequest::Queue { name: name.into() });
        assert!(matches!(names.answer(), Some(Err(ManageError::NotFound(_)))), "{name}");
    }
}
