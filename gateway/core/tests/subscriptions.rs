//! Subscriptions and temporary queues: what an attach finds, and who may have it.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Names, message, message_to};
use evergate_core::{
    DirectoryCommand, DirectoryEffect, DirectoryLimits, RouteCache, SessionEvent, SessionId, ShardCommand,
};
use evergate_model::{
    Address, Attach, AttachAccess, Binding, ConsumerId, Encoding, Filter, Lifetime, Message, PublishError, QueueSpec,
    Retained, Selector, Standing, Token,
};

const LIMITS: fn() -> DirectoryLimits =
    || DirectoryLimits { queues_max: 10, retained_max: 10, ..DirectoryLimits::default() };

fn binding(filter: &str, selector: Option<&str>) -> Binding {
    let selector = selector.map(|text| Selector::parse(text).unwrap());
    Binding { selector, ..Binding::new(Filter::parse(filter).unwrap(), true) }
}

fn subscribe(name: &str, access: AttachAccess, bindings: Vec<Binding>) -> Attach {
    Attach { access, bindings, ..Attach::new(ConsumerId(1), QueueSpec::named(name)) }
}

impl Names {
    fn attach(&mut self, session: u64, attach: Attach) {
        self.apply(DirectoryCommand::Attach { session: SessionId(session), attach, window_bytes: 1 });
    }

    fn retain(&mut self, topic: &str, priority: u8) {
        let mut meta = message(topic.len() as u64, false).meta.clone();
        (meta.address, meta.priority) = (Address::topic(topic), priority);
        let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"x")));
        let (answer, client_id, mark) = (Some((SessionId(9), Token(1))), "".into(), None);
        self.apply(DirectoryCommand::PublishRetained { answer, client_id, message, mark });
        self.effects.clear();
    }

    /// Topics of the retained messages that were sent since the last look.
    fn retained(&mut self) -> Vec<String> {
        let topic = |effect| match effect {
            DirectoryEffect::Shard(_, ShardCommand::Publish { message, targets, .. }) => {
                assert!(targets.iter().all(|target| target.retained));
                Some(message.meta.address.name.to_string())
            }
            _ => None,
        };
        self.effects.drain(..).filter_map(topic).collect()
    }

    /// The name of a new temporary queue of that session.
    fn temporary(&mut self, session: u64) -> Arc<str> {
        self.attach(session, Attach::new(ConsumerId(7), QueueSpec::temporary()));
        let name = |effect| match effect {
            DirectoryEffect::Shard(_, ShardCommand::Create { name, .. }) => Some(name),
            _ => None,
        };
        self.effects.drain(..).find_map(name).unwrap()
    }
}

#[test]
fn retained_messages_follow_an_attach_that_wants_them() {
    for (wanted, first, again) in [
        (Retained::Skip, vec![], vec![]),
        (Retained::SendIfNew, vec!["a/1", "a/2"], vec![]),
        (Retained::Send, vec!["a/1", "a/2"], vec!["a/1", "a/2"]),
    ] {
        let mut names = Names::new(LIMITS());
        for topic in ["a/1", "a/2", "b"] {
            names.retain(topic, 4);
        }
        let attach = || Attach {
            retained: wanted,
            ..subscribe("$subscription/me/s", AttachAccess::TakeOver, vec![binding("a/+", None)])
        };
        names.attach(1, attach());
        assert_eq!(names.retained(), first, "{wanted:?}");
        names.attach(2, attach());
        assert_eq!(names.retained(), again, "{wanted:?}");
    }
}

#[test]
fn retained_messages_that_the_bindings_selector_does_not_select_do_not_follow() {
    let mut names = Names::new(LIMITS());
    names.retain("a/1", 4);
    names.retain("a/22", 9);
    let bindings = vec![binding("a/#", Some("JMSPriority > 4"))];
    names.attach(
        1,
        Attach { retained: Retained::Send, ..subscribe("$subscription/me/s", AttachAccess::Shared, bindings) },
    );
    assert_eq!(names.retained(), ["a/22"]);
}

#[test]
fn a_named_subscription_to_another_topic_or_with_another_selector_begins_anew() {
    let mut names = Names::new(LIMITS());
    let take = |bindings| subscribe("$subscription/me/s", AttachAccess::TakeOver, bindings);
    names.attach(1, take(vec![binding("a", None)]));
    names.commit();
    names.happened();
    names.attach(2, take(vec![binding("a", None)]));
    names.commit();
    assert_eq!(names.happened(), ["take from 1", "attach 2"]);
    for (session, other) in
        [(3, binding("b", None)), (4, binding("b", Some("x = 1"))), (5, binding("b", Some("x = 2")))]
    {
        names.attach(session, take(vec![other]));
        names.commit();
        let happened = names.happened();
        assert_eq!(happened[1..], ["delete", "create $subscription/me/s", &format!("attach {session}")]);
    }
}

#[test]
fn a_shared_subscription_does_not_change_while_somebody_consumes_from_it() {
    let mut names = Names::new(LIMITS());
    let share = |filter: &str| subscribe("$subscription/s", AttachAccess::Shared, vec![binding(filter, None)]);
    names.attach(1, share("a"));
    names.attach(2, share("a"));
    names.attach(3, share("b"));
    names.commit();
    assert_eq!(names.happened(), ["create $subscription/s", "refused 3: InUse", "attach 1", "attach 2"]);
}

#[test]
fn a_temporary_queue_is_its_connections_own_and_does_not_come_back() {
    let mut names = Names::new(LIMITS());
    let name = names.temporary(1);
    let address = Address::queue(name.clone());
    let find = |names: &Names| {
        let mut found = Vec::new();
        names.routes.find(&message_to(&address), "", &mut RouteCache::default(), &mut found);
        found.len()
    };
    let spec = || QueueSpec { name: name.clone(), durable: false, lifetime: Lifetime::Attached };
    names.attach_to(2, spec());
    assert_eq!(names.happened(), ["refused 2: Denied"]);
    names.attach_to(1, spec());
    assert_eq!((names.happened(), find(&names)), (vec!["attach 1".to_owned()], 1));
    names.apply(DirectoryCommand::Gone { session: SessionId(1), failed: false });
    assert_eq!((names.happened().last().map(String::as_str), find(&names)), (Some("delete"), 0));
    names.attach_to(1, spec());
    assert_eq!(names.happened(), ["refused 1: NotFound"]);
    names.ensure(&name);
    let told = names.effects.pop();
    let refused = matches!(
        told,
        Some(DirectoryEffect::Tell(_, SessionEvent::Ensured { result: Err(PublishError::NotFound), .. }))
    );
    assert!(refused, "{told:?}");
}

#[test]
fn who_only_looks_is_in_nobodys_way() {
    let mut names = Names::new(LIMITS());
    let look = || Attach { browse: true, ..Attach::new(ConsumerId(1), QueueSpec::named("q")) };
    let alone = || subscribe("q", AttachAccess::Exclusive, Vec::new());
    names.attach(1, look());
    names.attach(2, alone());
    names.attach(3, look());
    names.attach(4, alone());
    names.commit();
    assert_eq!(names.happened(), ["create q", "refused 4: InUse", "attach 1", "attach 2", "attach 3"]);
}

/// Whether the queue is there, how long it lives now and whether it survives a restart.
fn found(names: &mut Names) -> Vec<(bool, bool, Lifetime)> {
    let told = |effect| match effect {
        DirectoryEffect::Shard(_, ShardCommand::Attach { found, .. }) => {
            Some((found.existed, found.durable, found.lifetime))
        }
        _ => None,
    };
    names.effects.drain(..).filter_map(told).collect()
}

#[test]
fn a_subscription_that_is_attached_again_for_the_time_of_its_link_ends_with_it() {
    let mut names = Names::new(LIMITS());
    let name = "$subscription/me/s";
    names.attach(1, subscribe(name, AttachAccess::TakeOver, vec![binding("a", None)]));
    names.commit();
    assert_eq!(found(&mut names), [(false, true, Lifetime::Permanent)]);
    let short = || Attach {
        standing: Standing::Instead(name.into()),
        bindings: vec![binding("a", None)],
        ..Attach::new(ConsumerId(1), QueueSpec::temporary())
    };
    names.attach(2, short());
    names.commit();
    assert_eq!(found(&mut names), [(true, true, Lifetime::Attached)], "it stays in the journal until then");
    names.apply(DirectoryCommand::Gone { session: SessionId(2), failed: false });
    names.commit();
    assert!(names.happened().contains(&"delete".to_owned()));
    names.attach(3, short());
    let happened = names.happened();
    assert!(happened[0].starts_with("create $temporary/"), "there is none to go on with: {happened:?}");
}

#[test]
fn a_shared_subscription_is_not_taken_from_those_who_share_it() {
    let mut names = Names::new(LIMITS());
    names.attach(1, subscribe("$subscription/me/s", AttachAccess::Shared, vec![binding("a", None)]));
    names.commit();
    names.happened();
    let standing = Standing::Instead("$subscription/me/s".into());
    names.attach(2, Attach { standing, ..Attach::new(ConsumerId(1), QueueSpec::temporary()) });
    assert!(names.happened()[0].starts_with("create $temporary/"));
}

#[test]
fn who_looks_for_a_subscription_finds_it_as_it_is_or_makes_none() {
    let mut names = Names::new(LIMITS());
    let name = "$subscription/me/s";
    let look = || Attach { standing: Standing::Needed, ..subscribe(name, AttachAccess::TakeOver, Vec::new()) };
    names.attach(1, look());
    assert_eq!(names.happened(), ["refused 1: NotFound"]);
    let lifetime = Lifetime::AfterDetach(std::time::Duration::from_secs(2));
    names.attach_to(1, QueueSpec { name: name.into(), durable: false, lifetime });
    names.effects.clear();
    names.attach(2, look());
    assert_eq!(found(&mut names), [(true, false, lifetime)]);
}
