//! Reading ahead changes nothing.

mod common;

use std::sync::Arc;

use common::{NOW, message, settle, shard_config};
use evergate_core::{ConsumerWants, Position, SessionId, Shard, ShardCommand, ShardTarget};
use evergate_model::ahead::{AHEAD, CACHED};
use evergate_model::{Attached, ConsumerId, Outcome, QueueId, QueueSettings, Token};

const SESSION: SessionId = SessionId(1);
const QUEUES: u64 = CACHED as u64 + 50;

/// Queues with a consumer each, then messages, settlements and commits.
fn commands() -> Vec<ShardCommand> {
    let mut commands = Vec::new();
    for number in 0..QUEUES {
        let (queue, consumer) = (QueueId(number), ConsumerId(number as u32));
        let settings = Arc::new(QueueSettings::default());
        commands.push(ShardCommand::Create { queue, name: number.to_string().into(), durable: true, settings });
        let (wants, found) = (Box::new(ConsumerWants::default()), Box::new(Attached::default()));
        commands.push(ShardCommand::Attach { queue, session: SESSION, consumer, wants, window_bytes: 10_000, found });
        commands.push(ShardCommand::Credit { queue, session: SESSION, consumer, limit: 10, drain: false });
    }
    let mut drawn = 7_u64;
    for number in 1..=3000 {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let queue = QueueId((drawn >> 33) % QUEUES);
        let consumer = queue.0 as u32;
        let settle = settle(consumer, drawn >> 20 & 7, drawn >> 24 & 15, Outcome::Accept);
        commands.push(match drawn >> 50 & 15 {
            0 => ShardCommand::Durable(Position(number / 2)),
            1..=4 => ShardCommand::Settle { queue, session: SESSION, settle },
            kind => ShardCommand::Publish {
                answer: Some((SESSION, Token(number))),
                message: message(number, kind % 3 > 0),
                targets: vec![ShardTarget { queue, durable: true, at_most_once: false, retained: false, moved: false }],
                mark: None,
                group: None,
                may_be_refused: true,
            },
        });
    }
    commands
}

#[test]
fn what_is_read_ahead_stays_as_it_is() {
    let (mut read, mut unread) = (Shard::new(shard_config()), Shard::new(shard_config()));
    let mut outcomes = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    let mut next = commands().into_iter();
    let mut others = commands().into_iter();
    while next.len() > 0 {
        read.look_ahead(next.as_slice().iter());
        for (command, other) in next.by_ref().zip(others.by_ref()).take(AHEAD) {
            read.apply(NOW, command, &mut outcomes[0].0, &mut outcomes[0].1);
            unread.apply(NOW, other, &mut outcomes[1].0, &mut outcomes[1].1);
        }
    }
    let [one, other] = outcomes.map(|(log, effects)| (format!("{log:?}"), format!("{effects:?}")));
    assert!(one.1.contains("Deliver") && one.0.contains("Settle"));
    assert!(one == other, "the shards differ");
    assert_eq!(format!("{read:?}"), format!("{unread:?}"));
}
