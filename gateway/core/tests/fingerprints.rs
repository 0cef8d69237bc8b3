//! What a session is told of what it published before.

mod common;

use evergate_core::{SessionEvent, SessionId, ShardCommand, ShardEffect, ShardTarget};
use evergate_model::{Fingerprint, Mark, QueueId, Token};

use common::{Bench, LIMITS, Q, message};

const SESSION: QueueId = QueueId(77);

fn told(bench: &mut Bench) -> Option<usize> {
    bench.effects.drain(..).find_map(|effect| match effect {
        ShardEffect::Tell(SessionId(2), SessionEvent::Fenced { remembered, .. }) => Some(remembered.len()),
        _ => None,
    })
}

#[test]
fn a_session_is_told_of_what_it_published_after_the_commit() {
    let mut bench = Bench::new(LIMITS);
    let targets = vec![ShardTarget { queue: Q, durable: true, at_most_once: false, retained: false, moved: false }];
    let mark = Some((SESSION, Mark::Fingerprint(Fingerprint::new(5, 1 << 20))));
    let (answer, message, group, may_be_refused) = (None, message(1, true), None, false);
    bench.apply(ShardCommand::Publish { answer, message, targets, mark, group, may_be_refused });
    let fence = || ShardCommand::Fence { session: SessionId(2), token: Token(1), queue: Some(SESSION) };
    bench.apply(fence());
    assert_eq!(told(&mut bench), None);
    bench.commit();
    assert_eq!(told(&mut bench), Some(1));
    bench.apply(ShardCommand::ForgetFingerprints { queue: SESSION });
    bench.commit();
    bench.apply(fence());
    assert_eq!(told(&mut bench), Some(0));
}
