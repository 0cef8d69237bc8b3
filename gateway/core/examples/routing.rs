//! What routing costs: nanoseconds a look-up, a bind and an unbind, by the number of bindings and queues.
//! `cargo run --release -p evergate-core --example routing`

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use evergate_core::{RouteCache, Routes, ShardId, Target};
use evergate_model::{Address, Binding, Encoding, Filter, Message, Meta, QueueId};

const ROUNDS: u32 = 200_000;

fn message(address: Address) -> Message {
    Message::new(Meta::new(address), Encoding::Plain, Bytes::new(), Bytes::new())
}

fn target(queue: u64) -> Target {
    Target { shard: ShardId((queue % 2) as u16), queue: QueueId(queue), durable: true, at_most_once: false }
}

fn levels(text: String) -> Binding {
    Binding::new(Filter::new(text).expect("a filter"), true)
}

fn glob(text: &str) -> Binding {
    Binding::new(Filter::glob(text).expect("a glob"), true)
}

/// Nanoseconds a call.
fn nanos(mut work: impl FnMut()) -> f64 {
    (0..ROUNDS / 10).for_each(|_| work());
    let started = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    started.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS)
}

/// A look-up that reaches one queue by each of two filters, and a bind with its unbind, beside what is there.
fn measure(what: &str, routes: &mut Routes) {
    let (mine, wild) = (levels("mine/1/x".into()), levels("mine/+/x".into()));
    routes.bind(&mine, target(u64::MAX));
    routes.bind(&wild, target(u64::MAX));
    let (topic, mut cache, mut found) = (message(Address::topic("mine/1/x")), RouteCache::default(), Vec::new());
    let find = nanos(|| {
        routes.find(black_box(&topic), "me", &mut cache, &mut found);
        assert_eq!(found.len(), 1);
    });
    let other = levels("mine/1/y".into());
    let bind = nanos(|| {
        routes.bind(&other, target(u64::MAX));
        routes.unbind(QueueId(u64::MAX), &other.filter);
    });
    let pattern = glob("mine/*/z");
    let bind_glob = nanos(|| {
        routes.bind(&pattern, target(u64::MAX));
        routes.unbind(QueueId(u64::MAX), &pattern.filter);
    });
    println!("{what:<58} find {find:>6.0}   bind+unbind {bind:>6.0}   of a glob {bind_glob:>6.0}");
}

fn main() {
    println!("nanoseconds, mean of {ROUNDS}");
    for count in [1u64, 1_000, 100_000] {
        let mut routes = Routes::default();
        (0..count).for_each(|n| routes.bind(&levels(format!("other/{n}/x")), target(n)));
        measure(&format!("{count} bindings to topics of their own"), &mut routes);
    }
    for count in [1u64, 100_000] {
        let mut routes = Routes::default();
        (0..count).for_each(|n| routes.bind(&levels("other/all".into()), target(n)));
        measure(&format!("{count} bindings to one other topic"), &mut routes);
        let same = levels("other/all".into());
        let bind = nanos(|| {
            routes.unbind(QueueId(0), &same.filter);
            routes.bind(&same, target(0));
        });
        println!("{:<58} {:>11}   unbind+bind {bind:>6.0}", "  there itself", "");
    }
    for count in [1u64, 1_000, 10_000] {
        let mut routes = Routes::default();
        (0..count).for_each(|n| routes.bind(&glob(&format!("other{n}/*/x")), target(n)));
        measure(&format!("{count} globs"), &mut routes);
    }
    for count in [1u64, 10_000] {
        let mut routes = Routes::default();
        (0..count).for_each(|n| routes.add_queue(format!("queue/{n}").into(), target(n)));
        let (address, mut cache, mut found) = (message(Address::queue("queue/0")), RouteCache::default(), Vec::new());
        let find = nanos(|| routes.find(black_box(&address), "me", &mut cache, &mut found));
        println!("{:<58} find {find:>6.0}", format!("{count} queues, by name"));
    }
}
