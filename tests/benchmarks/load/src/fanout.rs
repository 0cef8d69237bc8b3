//! One publisher and many consumers of its topic, of which some never read.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::gate::Gate;
use crate::pair::{Connected, Schedule, join, publish, publish_all, spawn, used};
use crate::protocol::Protocol;
use crate::result::{self, Received};
use crate::source::{Sent, Source};
use crate::wire::consume;
use crate::{Plan, wrong};

pub fn run(plan: &Plan, protocol: &Protocol) -> io::Result<String> {
    let subscriber = protocol.subscriber.ok_or_else(|| wrong("this protocol has no fan-out here"))?;
    // Held open to the end, and never read.
    let stalled = (0..plan.stalled).map(|number| subscriber(plan, number)).collect::<io::Result<Vec<_>>>()?;
    let reading = plan.stalled..plan.subscribers;
    let consumers = reading.map(|number| subscriber(plan, number)).collect::<io::Result<Vec<_>>>()?;
    let publisher = (protocol.publisher)(plan, 0)?;
    let schedule = Schedule::new(plan, 1);
    let gate = Arc::new(Gate::new(plan.durable.then_some(plan.window), plan.delivery_window, publisher.credit));
    let total = Arc::new(AtomicU64::new(0));
    let readers = consumers.len() as u64;
    let consuming: Vec<_> = consumers
        .into_iter()
        .map(|mut consumer| {
            let (gate, total, mut received) = (Arc::clone(&gate), Arc::clone(&total), Received::new(plan));
            spawn("consume", move || {
                consume(&mut consumer, schedule.start, &mut received, Received::is_complete, |count| {
                    // The publisher's window is over what they received on average.
                    gate.set_received((total.fetch_add(count, Relaxed) + count) / readers);
                })?;
                consumer.goodbye()?;
                Ok(received)
            })
        })
        .collect();
    let sent = Sent::new(plan.first, plan.window);
    let source = Source::new(plan, schedule.start, Arc::clone(&sent));
    let publishing = spawn("publish", {
        let gate = Arc::clone(&gate);
        move || {
            let work = |publisher: &mut Connected| publish_all(publisher, source, &gate, &schedule, Duration::ZERO);
            publish(publisher, &gate, &sent, schedule.start, work)
        }
    });
    let before = schedule.processors(plan);
    let published = join(publishing);
    let received: Vec<_> = consuming.into_iter().map(join).collect();
    let used = used(plan, &before);
    drop(stalled);
    let received = received.into_iter().collect::<io::Result<Vec<_>>>()?;
    let (_, confirms) = published?;
    Ok(result::line(&received, &confirms, schedule.full - schedule.start, &used))
}
