//! What the figures of transactions count.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evergate_core::{
    Publisher, PublisherOut, Routes, SessionEvent, SessionId, Surroundings, TransactionCounts, TransactionLimits,
    Waiting,
};
use evergate_model::{Address, Encoding, Event, Message, Meta, Time, Token, TransactionId};

const LIMITS: TransactionLimits =
    TransactionLimits { messages_max: 2, bytes_max: 10_000, age_max: Duration::from_secs(10), per_session_max: 2 };

fn publish_in(publisher: &mut Publisher, id: u64, out: &mut PublisherOut) {
    let message = Message::new(Meta::new(Address::queue("a")), Encoding::Plain, Bytes::new(), Bytes::new());
    let waiting = Waiting { token: Token(9), message: Arc::new(message), retain: false, mark: None, body: None };
    publisher.publish_in(TransactionId(id), waiting, false, out);
}

fn commit(publisher: &mut Publisher, id: u64, out: &mut PublisherOut) {
    publisher.commit(TransactionId(id), Token(id), out);
    let routes = Routes::default();
    publisher.pump(Surroundings { routes: &routes, client_id: "", taken_over: false, memory_is_exhausted: false }, out);
}

#[test]
fn a_transaction_is_counted_once_when_it_ends_and_a_refusal_says_which_limit() {
    let mut publisher = Publisher::new(SessionId(1), LIMITS);
    let mut out = PublisherOut::default();
    let begin = |publisher: &mut Publisher, id, out: &mut PublisherOut| {
        publisher.begin(Time(1), TransactionId(id), Token(id), out);
    };
    (1..=3).for_each(|id| begin(&mut publisher, id, &mut out));
    commit(&mut publisher, 1, &mut out);
    publisher.handle(SessionEvent::CommitRouted { token: Token(1), result: Ok(()) }, &mut out);
    publisher.handle(SessionEvent::Event(Event::Committed { token: Token(1), result: Ok(()) }), &mut out);
    publisher.rollback(TransactionId(2), Token(2), &mut out);
    (4..=5).for_each(|id| begin(&mut publisher, id, &mut out));
    (0..4).for_each(|_| publish_in(&mut publisher, 4, &mut out));
    commit(&mut publisher, 4, &mut out);
    let counts = TransactionCounts { begun: 4, ended: 3, committed: 1, rolled_back: 2, beyond_limit: 2 };
    assert_eq!(out.counts.transactions, counts, "one is still open");
    let limits = &out.beyond_limits;
    assert!(limits[0].contains("are open on this connection") && limits[1].contains("more messages"), "{limits:?}");
    publisher.end(&mut out);
    assert_eq!(out.counts.transactions, TransactionCounts { ended: 4, rolled_back: 3, ..counts });
}

#[test]
fn a_transaction_that_is_too_old_is_beyond_a_limit() {
    let (mut publisher, mut out) = (Publisher::new(SessionId(1), LIMITS), PublisherOut::default());
    publisher.begin(Time(1), TransactionId(1), Token(1), &mut out);
    publisher.expire(Time(10_001), &mut out);
    publisher.expire(Time(10_002), &mut out);
    let counts = TransactionCounts { begun: 1, ended: 1, committed: 0, rolled_back: 1, beyond_limit: 1 };
    assert_eq!((out.counts.transactions, out.beyond_limits.len()), (counts, 1));
}
