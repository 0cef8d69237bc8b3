//! Subscriptions and temporary queues: what an attach finds, and who may have it.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Names, message, message_to};
use evergate_core::{
    DirectoryCommand, DirectoryEffect, DirectoryLimits, RouteCache, SessionEvent, SessionId, ShardCommand,
};
use evergate_journal::Record;
use evergate_model::{
    Address, Attach, AttachAccess, Binding, ConsumerId, Encoding, Filter, Lifetime, Message, PublishError, QueueSpec,
    Retained, Selector, Standing, Token,
};

const LIMITS: fn() -> DirectoryLimits =
    || DirectoryLimits { queues_max: 10, retained_max: 10, retained_bytes_max: 1 << 20, ..DirectoryLimits::default() };

fn binding(filter: &str, selector: Option<&str>) -> Binding {
    let selector = selector.map(|text| Selector::parse(text).unwrap());
    Binding { selector, ..Binding::new(Filter::parse(filter).unwrap(), true) }
}

fn subscribe(name: &str, access: AttachAccess, bindings: Vec<Binding>) -> Attach {
    Attach { access, bindings, ..Attach::new(ConsumerId(1), QueueSpec::named(name)) }
}

impl Names {
    /// A session that notes the group, and whose client then leaves.
    fn session_in_group(&mut self, session: u64) {
        let name = format!("$session/{session}");
        let lifetime = Lifetime::AfterDetach(std::time::Duration::from_hours(1));
        let queue = QueueSpec { name: name.into(), durable: true, lifetime };
        self.attach(session, Attach { access: AttachAccess::TakeOver, ..Attach::new(ConsumerId(0), queue) });
        let binding = Binding::new(evergate_model::note(GROUP).unwrap(), true);
        let (session, consumer, retained, token) = (SessionId(session), ConsumerId(0), Retained::Skip, Token(1));
        self.apply(DirectoryCommand::Bind { session, consumer, binding, retained, token });
        self.apply(DirectoryCommand::Gone { session, failed: false });
        self.commit();
    }

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

const GROUP: &str = "$share/g/a";

fn member(durable: bool, lifetime: Lifetime, qos0: bool) -> Attach {
    let bindings = vec![Binding::new(Filter::parse("a").unwrap(), !qos0)];
    let queue = QueueSpec { name: GROUP.into(), durable, lifetime };
    Attach { bindings, ..Attach::new(ConsumerId(1), queue) }
}

/// What became of the group: its lifetime, whether it survives a restart, and whether what comes is kept.
fn group(names: &mut Names) -> Option<(Lifetime, bool, bool)> {
    let group = names.entry(GROUP)?;
    let mut found = Vec::new();
    names.routes.find(&message_to(&Address::topic("a")), "", &mut RouteCache::default(), &mut found);
    Some((group.lifetime, group.durable, found[0].durable && !found[0].at_most_once))
}

fn gone(names: &mut Names, session: u64) {
    names.apply(DirectoryCommand::Gone { session: SessionId(session), failed: false });
    names.commit();
}

#[test]
fn a_group_keeps_the_most_that_any_of_its_members_wanted() {
    use Lifetime::{AfterDetach, Attached, Permanent};
    let hour = AfterDetach(std::time::Duration::from_hours(1));
    for (first, second, kept) in [
        (Permanent, Attached, Permanent),
        (Attached, Permanent, Permanent),
        (hour, Attached, hour),
        (Attached, hour, hour),
        (hour, Permanent, Permanent),
        (Permanent, hour, Permanent),
        (AfterDetach(std::time::Duration::from_secs(1)), hour, hour),
    ] {
        // Beside each other, and the second when the first has left.
        for beside in [true, false] {
            if !beside && first == Attached {
                continue;
            }
            let mut names = Names::new(LIMITS());
            // Who comes back notes the group in its session.
            if first == hour || second == hour {
                names.session_in_group(9);
            }
            names.attach(1, member(first != Attached, first, first == Attached));
            names.commit();
            if !beside {
                gone(&mut names, 1);
            }
            names.effects.clear();
            names.attach(2, member(second != Attached, second, second == Attached));
            names.commit();
            let happened = names.happened();
            assert!(!happened.contains(&"delete".to_owned()), "{first:?} {second:?}: {happened:?}");
            assert_eq!(group(&mut names), Some((kept, true, true)), "{first:?} {second:?}");
            gone(&mut names, 1);
            gone(&mut names, 2);
            assert_eq!(group(&mut names), Some((kept, true, true)), "{first:?} {second:?}: nobody is there");
        }
    }
    let mut names = Names::new(LIMITS());
    names.attach(1, member(false, Attached, false));
    gone(&mut names, 1);
    assert_eq!(group(&mut names), None);
}

type Ends = fn(&mut Names);

#[test]
fn a_group_goes_with_the_last_session_that_is_in_it() {
    let hour = Lifetime::AfterDetach(std::time::Duration::from_hours(1));
    // The session begins anew, or its time is up, or it leaves the group; and with a consumer at work, when that leaves.
    let anew: Ends = |names| {
        let queue = QueueSpec::named("$session/9");
        let access = AttachAccess::TakeOver;
        names.attach(3, Attach { access, fresh: true, ..Attach::new(ConsumerId(0), queue) });
    };
    let late: Ends = |names| {
        names.now = names.now.after(std::time::Duration::from_hours(1));
        names.apply(DirectoryCommand::Tick);
    };
    let leaves: Ends = |names| {
        let (name, consumer) = ("$session/9", ConsumerId(0));
        names.attach(3, Attach { access: AttachAccess::TakeOver, ..Attach::new(consumer, QueueSpec::named(name)) });
        let (session, token) = (SessionId(3), Token(2));
        let filter = evergate_model::note(GROUP).unwrap();
        names.apply(DirectoryCommand::Unbind { session, consumer, filter, token });
    };
    for (index, ends) in [anew, late, leaves].into_iter().enumerate() {
        for at_work in [false, true] {
            let mut names = Names::new(LIMITS());
            names.session_in_group(9);
            names.session_in_group(8);
            names.attach(1, member(true, hour, false));
            gone(&mut names, 1);
            assert!(group(&mut names).is_some());
            names.attach(2, member(false, Lifetime::Attached, false));
            if !at_work {
                gone(&mut names, 2);
            }
            // The other one's time is up with it, if it is the time.
            let (session, consumer) = (SessionId(4), ConsumerId(0));
            let queue = QueueSpec::named("$session/8");
            names.attach(4, Attach { access: AttachAccess::TakeOver, ..Attach::new(consumer, queue) });
            ends(&mut names);
            names.commit();
            assert!(group(&mut names).is_some(), "{index} {at_work}: another session is in it");
            names.apply(DirectoryCommand::Detach { session, consumer, delete: true, lifetime: None });
            names.commit();
            assert_eq!(group(&mut names).is_some(), at_work, "{index} {at_work}");
            gone(&mut names, 2);
            assert_eq!(group(&mut names), None, "{index} {at_work}");
        }
    }
}

#[test]
fn nobody_takes_what_others_share() {
    let mut names = Names::new(LIMITS());
    names.attach(1, subscribe("$subscription/me/s", AttachAccess::Shared, vec![binding("a", None)]));
    names.attach(2, subscribe("$subscription/me/s", AttachAccess::TakeOver, vec![binding("a", None)]));
    names.commit();
    assert_eq!(names.happened(), ["create $subscription/me/s", "refused 2: InUse", "attach 1"]);
    gone(&mut names, 1);
    names.attach(2, subscribe("$subscription/me/s", AttachAccess::TakeOver, vec![binding("a", None)]));
    names.attach(1, subscribe("$subscription/me/s", AttachAccess::Shared, vec![binding("a", None)]));
    names.effects.retain(|effect| matches!(effect, DirectoryEffect::Tell(..)));
    assert_eq!(names.happened(), ["refused 1: InUse"]);
}

#[test]
fn a_group_that_becomes_durable_is_in_the_journal_with_its_bindings() {
    let mut names = Names::new(LIMITS());
    names.attach(1, member(false, Lifetime::Attached, true));
    assert_eq!(names.log.len(), 0);
    names.attach(2, member(true, Lifetime::Permanent, false));
    let written = |record: &Record| match record {
        Record::State(change) => change.value.is_some(),
        _ => false,
    };
    // Its definition, its binding, and the same with what the second member wants.
    let records: Vec<_> = names.log.iter().filter_map(|logged| logged.record.as_ref()).collect();
    assert!(records.len() >= 2 && records.iter().all(|record| written(record)), "{records:?}");
    names.commit();
    let mut happened = names.happened();
    assert!(happened.remove(2).starts_with("MakeDurable"));
    assert_eq!(happened, ["create $share/g/a", "attach 1", "attach 2"]);
}

#[test]
fn who_deletes_a_group_that_others_consume_from_only_leaves_it() {
    let mut names = Names::new(LIMITS());
    names.attach(1, member(true, Lifetime::Permanent, false));
    names.attach(2, member(true, Lifetime::Permanent, false));
    names.commit();
    for (session, stays) in [(1, true), (2, false)] {
        let consumer = ConsumerId(1);
        let session = SessionId(session);
        names.apply(DirectoryCommand::Detach { session, consumer, delete: true, lifetime: None });
        names.commit();
        assert_eq!(group(&mut names).is_some(), stays);
    }
}

#[test]
fn a_group_has_one_selector() {
    let mut names = Names::new(LIMITS());
    let select = |selector| subscribe(GROUP, AttachAccess::Shared, vec![binding("a", selector)]);
    names.attach(1, select(None));
    names.attach(2, select(Some("x = 1")));
    names.commit();
    assert_eq!(names.happened(), ["create $share/g/a", "refused 2: InUse", "attach 1"]);
    gone(&mut names, 1);
    names.effects.clear();
    names.attach(2, select(Some("x = 1")));
    names.commit();
    assert_eq!(names.happened(), ["delete", "create $share/g/a", "attach 2"], "it begins anew");
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
    let queue = QueueSpec { name: name.into(), durable: false, lifetime };
    names.attach(1, Attach { access: AttachAccess::TakeOver, ..Attach::new(ConsumerId(1), queue) });
    names.effects.clear();
    names.attach(2, look());
    assert_eq!(found(&mut names), [(true, false, lifetime)]);
}
