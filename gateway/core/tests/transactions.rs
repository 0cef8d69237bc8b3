//! Transactions, part by part: what a publisher holds, what a shard hides, what the directory decides.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Bench, LIMITS, NOW, Names, OUTCOMES, Q, message, settle};
use evergate_core::{
    CommitCommand, DirectoryCommand, DirectoryEffect, DirectoryLimits, Group, HeldPublish, Publisher, PublisherEffect,
    PublisherOut, Routes, SessionEvent, SessionId, ShardCommand, ShardId, ShardTarget, Surroundings, Target,
    TransactionLimits, Waiting,
};
use evergate_model::{
    Address, Encoding, Event, Message, MessageId, Meta, OnFull, Outcome, PublishError, QueueSettings, RollbackReason,
    Time, Token, TransactionError, TransactionId,
};

const T: TransactionId = TransactionId(500);
const NAMES: DirectoryLimits =
    DirectoryLimits { queues_max: 2, retained_max: 10, retained_bytes_max: 1 << 20, outcomes: OUTCOMES };

fn pledge(bench: &mut Bench, consumer: u32, first: u64, last: u64, outcome: Outcome) {
    let settle = settle(consumer, first, last, outcome);
    bench.apply(ShardCommand::Pledge { transaction: T, queue: Q, session: SessionId(1), settle });
}

fn transact(bench: &mut Bench, messages: &[Arc<Message>]) {
    let targets = vec![ShardTarget { queue: Q, durable: true, at_most_once: false, retained: false, moved: false }];
    let publishes = messages.iter().map(|message| (message.clone(), targets.clone())).collect();
    let group = Group { id: T.0, parts: 2 };
    bench.apply(ShardCommand::Transaction { transaction: T, publishes, marks: Vec::new(), group });
}

#[test]
fn neither_durable_nor_transient_messages_are_seen_before_the_commit() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 10);
    transact(&mut bench, &[message(1, false), message(2, true), message(3, false)]);
    assert_eq!(bench.delivered(), []);
    bench.publish_message(message(4, false));
    assert_eq!(bench.delivered(), [], "what comes behind does not overtake");
    bench.commit();
    assert_eq!(bench.delivered(), [(1, 1), (1, 2), (1, 3), (1, 4)]);
}

#[test]
fn a_part_that_keeps_nothing_still_counts_for_its_group() {
    let mut bench = Bench::new(LIMITS);
    transact(&mut bench, &[message(1, false)]);
    assert!(bench.log.iter().all(|logged| logged.record.is_none() && logged.group.is_some_and(|it| it.id == T.0)));
    assert_eq!(bench.log.len(), 1);
}

#[test]
fn what_is_pledged_is_nobodys_until_the_commit_and_then_gone() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    bench.publish(true);
    bench.commit();
    assert_eq!(bench.delivered(), [(1, 1)]);
    pledge(&mut bench, 1, 1, 1, Outcome::Accept);
    // Its consumer leaves: another one does not get it.
    bench.detach(1, true);
    bench.consumer(2, 10);
    assert_eq!((bench.delivered(), bench.settled()), (vec![], vec![]));
    transact(&mut bench, &[]);
    assert_eq!(bench.settled(), [1]);
    assert!(bench.log.iter().any(|logged| logged.record.is_some() && logged.group.is_some()), "settled in the group");
    assert_eq!(bench.stats().messages, 0);
}

#[test]
fn a_rollback_gives_what_was_pledged_back_to_its_consumer() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    bench.publish(true);
    bench.commit();
    pledge(&mut bench, 1, 1, 1, Outcome::Accept);
    bench.apply(ShardCommand::Rollback { transaction: T });
    bench.effects.clear();
    assert_eq!((bench.stats().unsettled, bench.stats().messages), (1, 1));
    bench.settle(settle(1, 1, 1, Outcome::Accept));
    assert_eq!(bench.stats().messages, 0);
}

#[test]
fn a_rollback_after_its_consumer_left_gives_back_to_the_queue() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    bench.publish(true);
    bench.commit();
    pledge(&mut bench, 1, 1, 1, Outcome::Accept);
    bench.detach(1, false);
    bench.consumer(2, 10);
    bench.effects.clear();
    bench.apply(ShardCommand::Rollback { transaction: T });
    assert!(bench.deliveries().iter().all(|delivery| delivery.redelivered && delivery.consumer.0 == 2));
    assert_eq!(bench.stats().unsettled, 1);
}

#[test]
fn a_release_in_a_transaction_is_seen_after_the_commit() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    bench.publish(true);
    bench.commit();
    bench.consumer(2, 10);
    pledge(&mut bench, 1, 1, 1, Outcome::Release);
    bench.effects.clear();
    transact(&mut bench, &[]);
    assert_eq!(bench.delivered(), []);
    bench.commit();
    assert_eq!(bench.delivered(), [(2, 1)]);
}

#[test]
fn a_pledge_of_a_consumer_that_was_taken_away_is_refused() {
    let mut bench = Bench::new(LIMITS);
    pledge(&mut bench, 1, 1, 1, Outcome::Accept);
    assert!(bench.told()[0].contains("held: None"));
}

#[test]
fn a_queue_that_refuses_when_full_refuses_a_transaction_that_is_too_large_for_it() {
    let settings = QueueSettings { messages_max: 3, on_full: OnFull::Reject, ..QueueSettings::default() };
    let mut bench = Bench::with(LIMITS, settings);
    bench.publish(true);
    let mut check = |messages| {
        let wants = vec![(Q, messages, messages * common::SIZE)];
        bench.effects.clear();
        bench.apply(ShardCommand::CheckRoom { transaction: T, session: SessionId(1), wants });
        bench.told().remove(0)
    };
    assert!(check(2).contains("error: None"));
    assert!(check(3).contains("Full"));
}

fn held(number: u64, address: Address) -> HeldPublish {
    let mut meta = Meta::new(address);
    (meta.id, meta.durable) = (MessageId(number), true);
    let message = Arc::new(Message::new(meta, Encoding::Plain, bytes::Bytes::new(), bytes::Bytes::new()));
    HeldPublish { message, mark: None }
}

fn commit(names: &mut Names, publishes: Vec<HeldPublish>) {
    commit_for(names, publishes, false);
}

fn commit_for(names: &mut Names, publishes: Vec<HeldPublish>, moves: bool) {
    let (session, token) = (SessionId(1), Token(9));
    let (client_id, shards) = ("me".into(), vec![ShardId(0)]);
    let commit = CommitCommand { transaction: T, session, token, client_id, publishes, shards, moves };
    names.apply(DirectoryCommand::Commit(Box::new(commit)));
}

fn ask(names: &mut Names) -> Option<Result<(), TransactionError>> {
    names.effects.clear();
    names.apply(DirectoryCommand::Outcome { session: SessionId(2), transaction: T, token: Token(1) });
    outcome(names)
}

fn outcome(names: &mut Names) -> Option<Result<(), TransactionError>> {
    names.effects.drain(..).find_map(|effect| match effect {
        DirectoryEffect::Tell(_, SessionEvent::Event(Event::Committed { result, .. })) => Some(result),
        _ => None,
    })
}

#[test]
fn an_outcome_is_told_after_its_commit_and_remembered() {
    let mut names = Names::new(NAMES);
    assert_eq!(ask(&mut names), Some(Err(TransactionError::Unknown)));
    names.apply(DirectoryCommand::Begin { transaction: T });
    assert_eq!(ask(&mut names), Some(Err(TransactionError::Unavailable)), "it may still be committed");
    commit(&mut names, vec![held(1, Address::queue("a")), held(2, Address::queue("b"))]);
    let parts: Vec<_> = names.effects.iter().filter_map(part).collect();
    assert_eq!(parts, [(2, 2)], "both messages in one part, which is one of two with the directory's own");
    assert_eq!(ask(&mut names), None, "not before it is durable");
    names.commit();
    assert_eq!(outcome(&mut names), Some(Ok(())));
    assert_eq!(ask(&mut names), Some(Ok(())));
    names.now = NOW.after(OUTCOMES.age_max * 2);
    assert!(names.directory.next_timeout().is_some_and(|at| at <= names.now));
    names.apply(DirectoryCommand::Tick);
    names.commit();
    assert_eq!(ask(&mut names), Some(Err(TransactionError::Unknown)), "forgotten");
}

/// Messages of a shard's part, and parts of its group.
fn part(effect: &DirectoryEffect) -> Option<(usize, u16)> {
    match effect {
        DirectoryEffect::Shard(_, ShardCommand::Transaction { publishes, group, .. }) => {
            Some((publishes.len(), group.parts))
        }
        _ => None,
    }
}

#[test]
fn one_message_that_cannot_be_published_rolls_all_back() {
    let mut names = Names::new(NAMES);
    names.apply(DirectoryCommand::Begin { transaction: T });
    commit(&mut names, ["a", "b", "c"].into_iter().zip(1..).map(|(name, id)| held(id, Address::queue(name))).collect());
    let happened = names.happened();
    assert!(!happened.iter().any(|what| what.contains("Transaction {")), "{happened:?}");
    assert!(happened.iter().any(|what| what.starts_with("Rollback")), "{happened:?}");
    assert!(happened.iter().any(|what| what.contains("RolledBack(Limit, \"/queue/c: ")), "{happened:?}");
    assert_eq!(ask(&mut names), None);
    names.commit();
    assert_eq!(outcome(&mut names), Some(Err(TransactionError::Unknown)));
}

/// A publisher without a core.
struct Line {
    publisher: Publisher,
    out: PublisherOut,
    routes: Routes,
}

const SMALL: TransactionLimits =
    TransactionLimits { messages_max: 2, bytes_max: 10_000, age_max: Duration::from_secs(10), per_session_max: 2 };

impl Line {
    fn new() -> Self {
        Self { publisher: Publisher::new(SessionId(1), SMALL), out: PublisherOut::default(), routes: Routes::default() }
    }

    fn begin(&mut self, id: u64) -> Event {
        self.publisher.begin(NOW, TransactionId(id), Token(id), &mut self.out);
        self.out.answers.remove(0)
    }

    fn publish_in(&mut self, id: u64, number: u64) -> Option<PublishError> {
        let waiting = waiting(number, Address::queue("a"));
        self.publisher.publish_in(TransactionId(id), waiting, false, &mut self.out);
        match self.out.answers.remove(0) {
            Event::Published { result, .. } => result.err(),
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, id: u64) {
        self.publisher.commit(TransactionId(id), Token(id + 100), &mut self.out);
        self.pump();
    }

    fn pump(&mut self) {
        let around =
            Surroundings { routes: &self.routes, client_id: "me", taken_over: false, memory_is_exhausted: false };
        self.publisher.pump(around, &mut self.out);
    }

    fn sent(&mut self) -> Vec<String> {
        self.out
            .effects
            .drain(..)
            .map(|effect| match effect {
                PublisherEffect::Directory(DirectoryCommand::Commit(commit)) => {
                    format!("commit {}", commit.publishes.len())
                }
                PublisherEffect::Directory(DirectoryCommand::Ensure { name, .. }) => format!("ensure {name}"),
                PublisherEffect::Directory(command) => format!("{command:?}"),
                PublisherEffect::Publish(..) => "publish".into(),
                PublisherEffect::Control(_, ShardCommand::Rollback { .. }) => "rollback".into(),
                PublisherEffect::Control(_, ShardCommand::Pledge { .. }) => "pledge".into(),
                PublisherEffect::Control(_, command) => format!("{command:?}"),
            })
            .collect()
    }
}

fn waiting(number: u64, address: Address) -> Waiting {
    Waiting { token: Token(number), message: held(number, address).message, retain: false, mark: None, body: None }
}

#[test]
fn nothing_leaves_the_publisher_before_the_commit_and_what_follows_waits_for_it() {
    let mut line = Line::new();
    line.begin(1);
    assert_eq!(line.publish_in(1, 10), None);
    line.pump();
    assert_eq!(line.sent(), ["Begin { transaction: TransactionId(1) }"]);
    line.commit(1);
    line.publisher.submit(waiting(11, Address::topic("t")));
    line.pump();
    assert_eq!(line.sent(), ["commit 1"]);
    line.publisher.handle(SessionEvent::CommitRouted { token: Token(101), result: Ok(()) }, &mut line.out);
    line.pump();
    assert!(matches!(line.out.answers[..], [Event::Published { token: Token(11), .. }]));
}

#[test]
fn a_commit_waits_until_its_settles_are_pledged() {
    let mut line = Line::new();
    line.begin(1);
    let place = Some((ShardId(0), Q));
    line.publisher.settle_in(TransactionId(1), settle(1, 1, 1, Outcome::Accept), place, &mut line.out);
    line.commit(1);
    assert_eq!(line.sent()[1..], ["pledge"]);
    let pledged = SessionEvent::Pledged { transaction: TransactionId(1), token: None, held: Some(1) };
    line.publisher.handle(pledged, &mut line.out);
    line.pump();
    assert_eq!(line.sent(), ["commit 0"]);
}

#[test]
fn a_settle_of_what_is_no_longer_held_leaves_only_the_rollback() {
    let mut line = Line::new();
    line.begin(1);
    let place = Some((ShardId(0), Q));
    line.publisher.settle_in(TransactionId(1), settle(1, 1, 1, Outcome::Accept), place, &mut line.out);
    line.commit(1);
    let pledged = SessionEvent::Pledged { transaction: TransactionId(1), token: None, held: None };
    line.publisher.handle(pledged, &mut line.out);
    line.pump();
    assert!(line.sent().contains(&"rollback".to_owned()));
    assert!(matches!(
        line.out.answers[..],
        [Event::Committed { result: Err(TransactionError::RolledBack(RollbackReason::Precondition, _)), .. }]
    ));
}

#[test]
fn beyond_a_limit_a_transaction_can_only_be_rolled_back() {
    let mut line = Line::new();
    line.begin(1);
    assert_eq!((line.publish_in(1, 10), line.publish_in(1, 11)), (None, None));
    assert!(matches!(
        line.publish_in(1, 12),
        Some(PublishError::Transaction(TransactionError::RolledBack(RollbackReason::Limit, _)))
    ));
    line.commit(1);
    assert!(matches!(
        line.out.answers.remove(0),
        Event::Committed { result: Err(TransactionError::RolledBack(RollbackReason::Limit, text)), .. }
            if text.contains("(2)")
    ));
    line.begin(2);
    line.begin(3);
    assert!(matches!(
        line.begin(4),
        Event::Begun { result: Err(TransactionError::RolledBack(RollbackReason::Limit, _)), .. }
    ));
}

#[test]
fn a_commit_asks_queues_that_refuse_messages_and_is_rolled_back_when_one_does() {
    let mut line = Line::new();
    line.routes.add_queue("a".into(), Target { shard: ShardId(0), queue: Q, durable: true, at_most_once: false });
    line.routes.set_may_refuse(Q, true);
    line.begin(1);
    line.publish_in(1, 10);
    line.commit(1);
    assert_eq!(line.sent()[1..], ["publish"], "in the line of publishes, behind those before it");
    line.pump();
    assert_eq!(line.sent(), [""; 0], "asked once");
    let error = Some(PublishError::Full { destination: "a".into() });
    line.publisher.handle(SessionEvent::RoomChecked { transaction: TransactionId(1), error }, &mut line.out);
    line.pump();
    assert!(matches!(
        line.out.answers.remove(0),
        Event::Committed { result: Err(TransactionError::RolledBack(RollbackReason::Limit, text)), .. }
            if text.contains("is full")
    ));
}

#[test]
fn a_transaction_that_is_too_old_gives_up_what_it_holds() {
    let mut line = Line::new();
    line.begin(1);
    line.publish_in(1, 10);
    let place = Some((ShardId(0), Q));
    line.publisher.settle_in(TransactionId(1), settle(1, 1, 1, Outcome::Accept), place, &mut line.out);
    let due = line.publisher.next_timeout().unwrap();
    line.publisher.expire(Time(due.0 - 1), &mut line.out);
    assert!(!line.sent().contains(&"rollback".to_owned()));
    line.publisher.expire(due, &mut line.out);
    assert!(line.sent().contains(&"rollback".to_owned()));
    assert_eq!(line.publisher.next_timeout(), None);
    line.commit(1);
    assert!(matches!(
        line.out.answers[..],
        [Event::Committed { result: Err(TransactionError::RolledBack(RollbackReason::TooOld, _)), .. }]
    ));
}

#[test]
fn the_end_of_a_session_rolls_back() {
    let mut line = Line::new();
    line.begin(1);
    let place = Some((ShardId(0), Q));
    line.publisher.settle_in(TransactionId(1), settle(1, 1, 1, Outcome::Accept), place, &mut line.out);
    line.sent();
    line.publisher.end(&mut line.out);
    assert_eq!(line.sent(), ["rollback", "Ended { transaction: TransactionId(1) }"]);
}

#[test]
fn the_outcome_of_a_transaction_that_is_not_open_here_is_asked_for() {
    let mut line = Line::new();
    line.commit(77);
    assert!(line.sent()[0].starts_with("Outcome"));
}

#[test]
fn what_an_operator_moves_arrives_or_stays() {
    let mut names = Names::new(NAMES);
    names.ensure("full");
    let queue = names.routes.queue("full").unwrap().queue;
    names.routes.set_full(queue, true);
    for (address, why) in [
        (Address::queue("full"), "/queue/full: "),
        (Address::topic("nobody"), "/topic/nobody: nobody subscribes to it"),
    ] {
        names.apply(DirectoryCommand::Begin { transaction: T });
        names.effects.clear();
        commit_for(&mut names, vec![held(1, address)], true);
        let rolled_back = |effect: &DirectoryEffect| {
            matches!(effect, DirectoryEffect::Shard(_, ShardCommand::Rollback { transaction: T }))
        };
        assert!(names.effects.iter().any(rolled_back), "{why}");
        let told = names.happened().join(" ");
        assert!(told.contains(why), "{told}");
    }
    // Others wait for room before they ask; by then a topic needs nobody.
    names.apply(DirectoryCommand::Begin { transaction: T });
    commit(&mut names, vec![held(1, Address::topic("nobody"))]);
    names.commit();
    assert_eq!(outcome(&mut names), Some(Ok(())));
}
