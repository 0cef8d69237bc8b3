//! The queues whose policies call for something, and what is promised of each.

use std::borrow::Cow;

use evergate_model::{Body, Consumers, Dispatch, Format, Message, OnFull, Policy, Value, View};

use crate::key::Key;

/// Queues that behave as the defaults say, and those with a policy of their own.
pub const PLAIN: [&str; 3] = ["orders", "bills", "mail"];
pub const PECULIAR: [&str; 10] =
    ["ring", "refusing", "overflow", "single", "latest", "stream", "once", "patient", "short", "eager"];

/// Queues whose policies change while the node runs.
pub const DESK: [&str; 2] = ["desk/1", "desk/2"];

/// At so many messages `ring`, `refusing` and `overflow` are full.
pub const SMALL: u64 = 5;

/// How many keys there are on `latest`, and how many values selectors tell apart.
pub const KEYS: u64 = 3;

pub fn policies() -> Vec<Policy> {
    let of = |name: &str| Policy { matches: name.into(), ..Policy::default() };
    vec![
        Policy { messages_max: Some(SMALL), on_full: Some(OnFull::DropOldest), ..of("ring") },
        Policy { messages_max: Some(SMALL), on_full: Some(OnFull::Reject), ..of("refusing") },
        Policy { messages_max: Some(SMALL), on_full: Some(OnFull::DeadLetterOldest), ..of("overflow") },
        Policy { consumers: Some(Consumers::SingleActive), ..of("single") },
        Policy { last_value_key: Some("key".into()), ..of("latest") },
        Policy { stream: Some(true), stream_age_max_ms: Some(400), stream_bytes_max: Some(4000), ..of("stream") },
        Policy { dedup_count: Some(10_000), dedup_time_ms: Some(100_000), ..of("once") },
        Policy {
            deliveries_max: Some(3),
            redelivery_delay_ms: Some(10),
            redelivery_factor_percent: Some(200),
            ..of("patient")
        },
        Policy { time_to_live_ms: Some(150), ..of("short") },
        Policy { dispatch: Some(Dispatch::Eager), ..of("eager") },
        Policy { auto_delete_after_ms: Some(50), ..of("mail") },
    ]
}

/// Whether the policy of a queue lets a confirmed message go.
pub fn drops(queue: &str) -> bool {
    matches!(queue, "ring" | "stream")
}

/// Whether a message may go to `_DMQ` though nobody rejected it.
pub fn dead_letters(queue: &str) -> bool {
    matches!(queue, "overflow" | "patient" | "short") || DESK.contains(&queue)
}

/// Whether a queue may refuse a message.
pub fn refuses(queue: &str) -> bool {
    queue == "refusing" || DESK.contains(&queue)
}

/// The simulator's own encoding: the number in the body is all there is to see.
pub struct Numbers;

impl Format for Numbers {
    fn view<'a>(&self, message: &'a Message) -> View<'a> {
        let mut view = View::new(Body::Binary(Cow::Borrowed(&message.body)));
        if let Some(key) = Key::of(message) {
            view.application.push(("key".into(), Value::Ulong(key.number % KEYS)));
        }
        view
    }
}
