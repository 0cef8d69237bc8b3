//! Queues that refuse messages when they are full: whoever publishes to several shards asks before.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evergate_core::{
    DirectoryCommand, Publisher, PublisherEffect, PublisherOut, Routes, SessionEvent, SessionId, ShardCommand, ShardId,
    Surroundings, Target, TransactionLimits, Waiting,
};
use evergate_model::{
    Address, Binding, Encoding, Event, Filter, Message, MessageId, Meta, PublishError, QueueId, Time, Token,
    TransactionId,
};

const LIMITS: TransactionLimits =
    TransactionLimits { messages_max: 9, bytes_max: 1 << 20, age_max: Duration::from_secs(9), per_session_max: 1 };

/// A publisher, and topic `t` with queue 1 in shard 0 and queue 2 in shard 1.
struct Line {
    publisher: Publisher,
    routes: Routes,
    out: PublisherOut,
}

impl Line {
    fn new() -> Self {
        let mut routes = Routes::default();
        for shard in 0..2u16 {
            let queue = QueueId(u64::from(shard) + 1);
            let target = Target { shard: ShardId(shard), queue, durable: true, at_most_once: false };
            routes.bind(&Binding::new(Filter::new("t").unwrap(), true), target);
        }
        Self { publisher: Publisher::new(SessionId(1), LIMITS), routes, out: PublisherOut::default() }
    }

    fn waiting(token: u64, address: Address) -> Waiting {
        let mut meta = Meta::new(address);
        (meta.id, meta.durable) = (MessageId(token), true);
        let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new()));
        Waiting { token: Token(token), message, retain: false, mark: None, body: None }
    }

    fn publish(&mut self, token: u64) {
        self.publisher.submit(Self::waiting(token, Address::topic("t")));
    }

    fn told(&mut self, event: SessionEvent) {
        assert!(self.publisher.handle(event, &mut self.out).is_none());
    }

    fn found(&mut self, token: u64, error: Option<PublishError>) {
        self.told(SessionEvent::RoomFound { token: Token(token), error });
    }

    /// What goes to shards next, as «shard: what token», with «!» where it is not refused any more.
    fn sent(&mut self) -> Vec<String> {
        let around =
            Surroundings { routes: &self.routes, client_id: "", taken_over: false, memory_is_exhausted: false };
        self.publisher.pump(around, &mut self.out);
        let shown = |effect| match effect {
            PublisherEffect::Publish(ShardId(shard), ShardCommand::FindRoom { token, queues, .. }) => {
                format!("{shard}: room {} {}", token.0, queues.len())
            }
            PublisherEffect::Publish(ShardId(shard), ShardCommand::Publish { answer, may_be_refused, .. }) => {
                let token = answer.map_or(0, |(_, token)| token.0);
                format!("{shard}: publish {token}{}", if may_be_refused { "" } else { "!" })
            }
            PublisherEffect::Publish(ShardId(shard), _) => format!("{shard}: other"),
            PublisherEffect::Directory(DirectoryCommand::Commit(_)) => "commit".into(),
            PublisherEffect::Directory(_) => "directory".into(),
            PublisherEffect::Control(..) => "control".into(),
        };
        self.out.effects.drain(..).map(shown).collect()
    }

    /// Tokens that were answered, and whether the message is refused.
    fn answers(&mut self) -> Vec<(u64, bool)> {
        let answer = |event| match event {
            Event::Published { token, result } => (token.0, result.is_err()),
            other => panic!("{other:?}"),
        };
        self.out.answers.drain(..).map(answer).collect()
    }
}

fn full() -> PublishError {
    PublishError::Full { destination: "b".into() }
}

#[test]
fn nobody_is_asked_where_no_queue_refuses() {
    let mut line = Line::new();
    line.publish(1);
    assert_eq!(line.sent(), ["0: publish 1!", "1: publish 1!"]);
}

#[test]
fn a_message_to_several_shards_goes_once_all_that_refuse_have_room() {
    let mut line = Line::new();
    line.routes.set_may_refuse(QueueId(1), true);
    line.routes.set_may_refuse(QueueId(2), true);
    line.publish(1);
    line.publish(2);
    // What follows to the same topic stays behind it.
    assert_eq!(line.sent(), ["0: room 1 1", "1: room 1 1"]);
    assert_eq!(line.sent(), [""; 0], "asked once");
    line.found(1, None);
    assert_eq!(line.sent(), [""; 0], "one has not answered");
    line.found(1, None);
    assert_eq!(line.sent(), ["0: publish 1!", "1: publish 1!", "0: room 2 1", "1: room 2 1"]);
}

#[test]
fn a_message_that_one_shard_refuses_goes_to_none() {
    let mut line = Line::new();
    line.routes.set_may_refuse(QueueId(2), true);
    line.publish(1);
    line.publish(2);
    assert_eq!(line.sent(), ["1: room 1 1"]);
    line.found(1, Some(full()));
    assert_eq!(line.answers(), [(1, true)]);
    assert_eq!(line.sent(), ["1: room 2 1"]);
    line.found(2, None);
    assert_eq!(line.sent(), ["0: publish 2!", "1: publish 2!"]);
    assert_eq!(line.publisher.load().0, 1);
}

#[test]
fn room_that_was_found_is_looked_for_again_behind_a_wait() {
    let mut line = Line::new();
    line.routes.set_may_refuse(QueueId(2), true);
    line.publish(1);
    assert_eq!(line.sent(), ["1: room 1 1"]);
    line.routes.set_full(QueueId(1), true);
    // The answer is not lost, though the message must wait for another queue by now.
    assert_eq!(line.sent(), [""; 0]);
    line.found(1, None);
    assert_eq!(line.sent(), [""; 0]);
    line.routes.set_full(QueueId(1), false);
    assert_eq!(line.sent(), ["1: room 1 1"]);
    line.found(1, Some(full()));
    assert_eq!(line.answers(), [(1, true)]);
}

#[test]
fn one_shard_alone_refuses_without_being_asked() {
    let mut line = Line::new();
    line.routes.set_may_refuse(QueueId(2), true);
    line.routes.unbind(QueueId(1), &Filter::new("t").unwrap());
    line.publish(1);
    assert_eq!(line.sent(), ["1: publish 1"]);
}

#[test]
fn what_waits_for_a_queue_that_cannot_be_made_is_refused() {
    let mut line = Line::new();
    line.publisher.submit(Line::waiting(1, Address::queue("q")));
    line.publisher.submit(Line::waiting(2, Address::queue("q")));
    assert_eq!(line.sent(), ["directory"]);
    assert!(line.publisher.is_blocked());
    line.told(SessionEvent::Ensured { name: "q".into(), result: Err(PublishError::NotFound) });
    assert_eq!(line.answers(), [(1, true), (2, true)]);
    assert!(!line.publisher.is_blocked());
    assert_eq!(line.publisher.load(), (0, 0));
}

#[test]
fn a_commit_goes_on_once_its_queues_have_room() {
    let mut line = Line::new();
    line.routes.set_may_refuse(QueueId(2), true);
    let id = TransactionId(7);
    line.publisher.begin(Time(1), id, Token(1), &mut line.out);
    line.publisher.publish_in(id, Line::waiting(2, Address::topic("t")), false, &mut line.out);
    line.publisher.commit(id, Token(3), &mut line.out);
    assert_eq!(line.sent(), ["directory", "1: other"]);
    line.told(SessionEvent::RoomChecked { transaction: id, error: None });
    assert_eq!(line.sent(), ["commit"]);
}
