//! A queue filled by one publisher, and emptied by one consumer: in two runs, with what happens between them.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use crate::gate::Gate;
use crate::pair::{Connected, publish};
use crate::protocol::Protocol;
use crate::result::Received;
use crate::source::{Phase, Sent, Source};
use crate::wire::consume;
use crate::{Plan, wrong};

const WRITE_BYTES: usize = 32 * 1024;

/// Publishes as many messages as wanted. Tells how many were confirmed, also when the broker failed meanwhile.
pub fn fill(plan: &Plan, protocol: &Protocol) -> io::Result<String> {
    (protocol.prepare)(plan, 0)?;
    let publisher = (protocol.publisher)(plan, 0)?;
    let gate = Arc::new(Gate::new(plan.durable.then_some(plan.window), u64::MAX, publisher.credit));
    let sent = Sent::new(plan.first, plan.window);
    let start = Instant::now();
    let source = Source::new(plan, start, Arc::clone(&sent));
    let work = |publisher: &mut Connected| send(publisher, source, &gate, plan.messages);
    let outcome = publish(publisher, &gate, &sent, start, work);
    let seconds = start.elapsed().as_secs_f64();
    let error = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let latency = outcome.map(|(_, latency)| latency).unwrap_or_default().busy;
    Ok(format!(
        "{{\"confirmed\": {}, \"seconds\": {seconds:.3}, \"rate\": {:.0}, \"confirm_p50_us\": {:.1}, \
         \"confirm_p99_us\": {:.1}, \"confirm_max_us\": {:.1}, \"error\": {error:?}}}",
        gate.confirmed(),
        gate.confirmed() as f64 / seconds,
        latency.quantile(0.5),
        latency.quantile(0.99),
        latency.max_us(),
    ))
}

fn send(publisher: &mut Connected, mut source: Source, gate: &Gate, messages: u64) -> io::Result<()> {
    let Connected { stream, encoder, confirmed } = publisher;
    let (first, end) = (source.next, source.next + messages);
    let mut out = Vec::with_capacity(2 * WRITE_BYTES);
    while source.next < end {
        let last = end.min(source.next + gate.room(source.next - first)?);
        let now = Instant::now();
        while source.next < last && out.len() < WRITE_BYTES {
            source.message(now, Phase::Full, &mut **encoder, &mut out);
        }
        stream.write_all(&out)?;
        out.clear();
    }
    if *confirmed { gate.all_confirmed(messages) } else { Ok(()) }
}

/// Consumes as many messages as wanted, in order.
pub fn drain(plan: &Plan, protocol: &Protocol) -> io::Result<String> {
    let start = Instant::now();
    let mut consumer = (protocol.consumer)(plan, 0)?;
    let mut received = Received::new(plan);
    let mut first = None;
    consume(
        &mut consumer,
        start,
        &mut received,
        |received| received.count >= plan.messages,
        |count| {
            if count != 0 {
                first.get_or_insert_with(|| start.elapsed());
            }
        },
    )?;
    let seconds = start.elapsed().as_secs_f64();
    consumer.goodbye()?;
    let first = first.ok_or_else(|| wrong("nothing was wanted"))?;
    Ok(format!(
        "{{\"received\": {}, \"seconds\": {seconds:.3}, \"first_seconds\": {:.4}, \"rate\": {:.0}}}",
        received.count,
        first.as_secs_f64(),
        received.count as f64 / seconds
    ))
}
