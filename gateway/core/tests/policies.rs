//! Policies: which settings a queue goes by, and that they are kept.

mod common;

use std::sync::Arc;

use common::{NOW, Names, OUTCOMES, shard_config};
use evergate_core::{
    DirectoryCommand, DirectoryConfig, DirectoryEffect, DirectoryLimits, ManageReply, ManageRequest, SessionId,
    ShardCommand, recover,
};
use evergate_journal::memory::MemoryJournal;
use evergate_journal::{Batch, Record};
use evergate_model::{Consumers, Policy, QueueSettings, QueueSpec};

fn policy(matches: &str, messages_max: u64) -> Policy {
    Policy { matches: matches.into(), messages_max: Some(messages_max), ..Policy::default() }
}

fn config(policies: Vec<Policy>) -> DirectoryConfig {
    let limits = DirectoryLimits { queues_max: 100, retained_max: 10, retained_bytes_max: 1 << 20, outcomes: OUTCOMES };
    DirectoryConfig { limits, policies, ..DirectoryConfig::default() }
}

impl Names {
    /// The limits that shards were told, by name of the new queue or «change».
    fn limits_told(&mut self) -> Vec<(String, u64)> {
        let told = |effect| match effect {
            DirectoryEffect::Shard(_, ShardCommand::Create { name, settings, .. }) => {
                Some((name.to_string(), settings.messages_max))
            }
            DirectoryEffect::Shard(_, ShardCommand::Change { settings, .. }) => {
                Some(("change".into(), settings.messages_max))
            }
            _ => None,
        };
        self.effects.drain(..).filter_map(told).collect()
    }
}

#[test]
fn a_queue_goes_by_the_policies_that_match_its_name_the_later_over_the_earlier() {
    let mut names = Names::with(config(vec![policy("orders/#", 1), policy("orders/eu", 2), policy("#", 3)]));
    let default = QueueSettings::default().messages_max;
    for (name, wanted) in [("orders", 3), ("orders/eu", 3), ("$session/a", default)] {
        names.attach_to(1, QueueSpec::named(name));
        assert_eq!(names.limits_told(), [(name.to_owned(), wanted)]);
    }
    // A pattern counts as any other.
    let mut names = Names::with(config(vec![policy("$glob/orders-*", 5), policy("$regex/orders-[0-9]+", 6)]));
    for (name, wanted) in [("orders-eu", 5), ("orders-7", 6), ("orders", default)] {
        names.attach_to(1, QueueSpec::named(name));
        assert_eq!(names.limits_told(), [(name.to_owned(), wanted)]);
    }
    // A first level that is spelt out reaches the queues of sessions and subscriptions, too.
    let mut names = Names::with(config(vec![policy("$session/#", 7)]));
    names.attach_to(1, QueueSpec::named("$session/a"));
    assert_eq!(names.limits_told(), [("$session/a".to_owned(), 7)]);
}

#[test]
fn a_policy_that_is_added_changes_the_queues_that_are_there_and_is_answered_after_its_commit() {
    let mut names = Names::with(config(vec![policy("a", 1)]));
    for name in ["a", "b"] {
        names.ensure(name);
    }
    names.commit();
    names.effects.clear();
    names.manage(ManageRequest::PutPolicy(policy("a", 9)));
    assert_eq!(names.limits_told(), [("change".to_owned(), 9)]);
    names.commit();
    assert_eq!(names.answer(), Some(Ok(ManageReply::Done)));
    names.manage(ManageRequest::Policies);
    let reply = ManageReply::Policies { fixed: vec![policy("a", 1)], added: vec![policy("a", 9)] };
    assert_eq!(names.answer(), Some(Ok(reply)));
    names.manage(ManageRequest::DeletePolicy { matches: "a".into() });
    assert_eq!(names.limits_told(), [("change".to_owned(), 1)]);
}

#[test]
fn a_policy_that_is_put_again_keeps_its_place() {
    let mut names = Names::with(config(Vec::new()));
    for policy in [policy("a", 1), policy("+", 2), policy("a", 3)] {
        names.manage(ManageRequest::PutPolicy(policy));
    }
    names.ensure("a");
    assert_eq!(names.limits_told(), [("a".to_owned(), 2)]);
}

#[test]
fn requests_that_make_no_sense_change_nothing() {
    let mut names = Names::with(config(vec![policy("fixed", 1)]));
    for (request, why) in [
        (ManageRequest::PutPolicy(policy("a", 0)), "messages_max"),
        (ManageRequest::PutPolicy(policy("a#", 1)), "match"),
        (ManageRequest::DeletePolicy { matches: "b".into() }, "no such policy"),
        (ManageRequest::DeletePolicy { matches: "fixed".into() }, "from the configuration"),
    ] {
        names.manage(request);
        let error = names.answer().unwrap().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(names.log.is_empty());
}

#[test]
fn policies_that_were_added_survive_a_restart_and_come_behind_those_of_the_configuration() {
    let journal = MemoryJournal::new();
    let mut names = Names::with(config(Vec::new()));
    names.manage(ManageRequest::PutPolicy(policy("a/#", 4)));
    let mut batch = Batch::default();
    names.log.drain(..).filter_map(|logged| logged.record).for_each(|record: Record| batch.add(record));
    journal.apply(&batch).unwrap();
    let core = recover(NOW, journal.recover_now(), 1, shard_config(), config(vec![policy("#", 1)])).unwrap();
    let mut names = Names { directory: core.directory, routes: core.routes, ..Names::with(config(Vec::new())) };
    for name in ["a/b", "b"] {
        names.ensure(name);
    }
    assert_eq!(names.limits_told(), [("a/b".to_owned(), 4), ("b".to_owned(), 1)]);
}

#[test]
fn what_policy_does_not_let_come_into_being_is_not_found_but_sessions_and_dead_letters_are() {
    let closed = Policy { matches: "#".into(), auto_create: Some(false), ..Policy::default() };
    let dollar = Policy { matches: "$session/#".into(), ..closed.clone() };
    let dead = Policy { matches: "_DMQ".into(), ..closed.clone() };
    let mut names = Names::with(config(vec![closed, dollar, dead]));
    names.ensure("orders");
    names.attach_to(1, QueueSpec::named("orders"));
    names.attach_to(1, QueueSpec { name: "$session/a".into(), durable: false, ..QueueSpec::temporary() });
    names.ensure("_DMQ");
    let happened = names.happened();
    assert_eq!(happened[..2], ["ensured false", "refused 1: NotFound"]);
    assert_eq!(happened[2..], ["create $session/a", "attach 1", "create _DMQ", "ensured true"]);
}

#[test]
fn an_exclusive_queue_has_one_consumer() {
    let alone = Policy { matches: "a".into(), consumers: Some(Consumers::Exclusive), ..Policy::default() };
    let mut names = Names::with(config(vec![alone]));
    names.attach_to(1, QueueSpec::named("a"));
    names.attach_to(2, QueueSpec::named("a"));
    names.commit();
    assert_eq!(names.happened(), ["create a", "refused 2: InUse", "attach 1"]);
    names.apply(DirectoryCommand::Gone { session: SessionId(1), failed: true });
    names.attach_to(2, QueueSpec::named("a"));
    assert_eq!(names.happened(), ["detach 1 silently", "attach 2"]);
}

#[test]
fn queues_that_go_by_the_same_settings_share_them() {
    let mut names = Names::with(config(vec![policy("+", 1)]));
    for name in ["a", "b"] {
        names.ensure(name);
    }
    let settings: Vec<Arc<QueueSettings>> = names
        .effects
        .drain(..)
        .filter_map(|effect| match effect {
            DirectoryEffect::Shard(_, ShardCommand::Create { settings, .. }) => Some(settings),
            _ => None,
        })
        .collect();
    assert!(Arc::ptr_eq(&settings[0], &settings[1]));
}
