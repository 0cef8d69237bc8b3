//! What one evaluation of a selector costs: `cargo run --release -p evergate-model --example selector_cost`.

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use evergate_model::{Address, Body, Encoding, Formats, Message, Meta, Selector, Value, View};

/// Short, so that many of them are not interrupted.
const ROUNDS: u32 = 1_000;
const BATCHES: u32 = 1_000;

/// Of the fastest batch: other programs only ever add to it.
fn nanoseconds(mut evaluate: impl FnMut() -> bool) -> f64 {
    let batch = |_| {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(evaluate());
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
    };
    (0..BATCHES).map(batch).fold(f64::INFINITY, f64::min)
}

fn main() {
    let mut meta = Meta::new(Address::queue("orders"));
    meta.priority = 7;
    let message = Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new());
    let mut view = View::new(Body::Binary(b"".into()));
    view.message_id = Some(Value::text("ID:1"));
    view.application = vec![
        ("region".into(), Value::text("eu")),
        ("size".into(), Value::Long(12)),
        ("colour".into(), Value::text("red")),
        ("weight".into(), Value::Int(5)),
    ];

    let priority = Selector::parse("JMSPriority > 4").expect("a selector");
    let formats = Formats::default();
    println!("{priority}: {:.1} ns", nanoseconds(|| black_box(&priority).matches_with(black_box(&message), &formats)));
    for text in [
        "colour = 'red' AND weight BETWEEN 3 AND 9",
        "colour = 'blue' AND weight BETWEEN 3 AND 9",
        "region LIKE '%u' AND size * 2 + 1 > weight",
        "region IN ('us', 'eu', 'asia') AND unknown IS NULL",
    ] {
        let selector = Selector::parse(text).expect("a selector");
        let cost = nanoseconds(|| black_box(&selector).matches(black_box(&message), black_box(&view)));
        println!("{text}: {cost:.1} ns");
        let parse = nanoseconds(|| Selector::parse(black_box(text)).is_ok());
        println!("    compiling it: {parse:.0} ns");
    }
}
