//! Pairs of a publisher and a consumer. The threads of each: one that publishes, one that reads confirms, one that
//! consumes.
//!
//! Every pair first publishes at a fixed pace, where latency is measured from the moment a message was due (so a
//! broker that stalls cannot hide it), then as fast as its windows allow, where throughput is measured.

use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::gate::Gate;
use crate::processor::Processor;
use crate::protocol::Protocol;
use crate::result::{self, Received, Used};
use crate::source::{Latency, Phase, Sent, Source};
use crate::wire::{consume, read_confirms};
use crate::{Consumer, Plan, Publisher, wrong};

/// Settling time between connecting and the first message, and before latency counts.
const WARM_UP: Duration = Duration::from_millis(300);
const WRITE_BYTES: usize = 32 * 1024;

#[derive(Clone, Copy)]
pub struct Schedule {
    pub start: Instant,
    pub paced: Instant,
    pub full: Instant,
    pub end: Instant,
    /// Between two messages of a publisher while paced.
    pub interval: Duration,
}

impl Schedule {
    /// That begins now, for `publishers` that share the plan's rate.
    pub fn new(plan: &Plan, publishers: u32) -> Self {
        let start = Instant::now() + Duration::from_millis(20);
        let paced = start + WARM_UP;
        let full = paced + plan.paced;
        let interval = Duration::from_secs_f64(f64::from(publishers) / plan.rate);
        Self { start, paced, full, end: full + plan.full, interval }
    }

    /// The broker's and our own CPU time when the fast part begins.
    pub fn processors(&self, plan: &Plan) -> [Processor; 2] {
        thread::sleep(self.full.saturating_duration_since(Instant::now()));
        processors(plan)
    }
}

fn processors(plan: &Plan) -> [Processor; 2] {
    [Processor::of(&plan.pids), Processor::of(&[std::process::id()])]
}

pub fn used(plan: &Plan, before: &[Processor; 2]) -> Used {
    let now = processors(plan);
    Used { broker: now[0].since(&before[0]), load: now[1].since(&before[1]) }
}

pub fn run(plan: &Plan, protocol: &Protocol) -> io::Result<String> {
    // All consumers, or their queues, are there before anybody publishes.
    let mut consumers = Vec::new();
    for pair in 0..plan.pairs {
        if plan.later {
            (protocol.prepare)(plan, pair)?;
        } else {
            consumers.push((protocol.consumer)(plan, pair)?);
        }
    }
    let publishers = (0..plan.pairs).map(|pair| (protocol.publisher)(plan, pair)).collect::<io::Result<Vec<_>>>()?;
    let schedule = Schedule::new(plan, plan.pairs);
    let delivery_window = if plan.later { u64::MAX } else { plan.delivery_window };
    let mut publishing = Vec::new();
    let mut gates = Vec::new();
    for (index, publisher) in publishers.into_iter().enumerate() {
        let gate = Arc::new(Gate::new(plan.durable.then_some(plan.window), delivery_window, publisher.credit));
        gates.push(Arc::clone(&gate));
        let sent = Sent::new(plan.first, plan.window);
        let source = Source::new(plan, schedule.start, Arc::clone(&sent));
        // The pairs' paces are spread, so that they do not all send in the same instant.
        let offset = schedule.interval.mul_f64(index as f64 / f64::from(plan.pairs));
        let work = move |publisher: &mut Connected| publish_all(publisher, source, &gate, &schedule, offset);
        publishing.push((publisher, sent, work));
    }
    let publishing: Vec<_> = publishing
        .into_iter()
        .zip(&gates)
        .map(|((publisher, sent, work), gate)| {
            let gate = Arc::clone(gate);
            spawn("publish", move || publish(publisher, &gate, &sent, schedule.start, work))
        })
        .collect();
    let consuming: Vec<_> = consumers
        .into_iter()
        .zip(&gates)
        .map(|(consumer, gate)| {
            let (gate, received) = (Arc::clone(gate), Received::new(plan));
            spawn("consume", move || consume_all(consumer, received, &gate, schedule.start))
        })
        .collect();
    let before = schedule.processors(plan);
    // Before the first error is told, everything has ended.
    let sent: Vec<_> = publishing.into_iter().map(join).collect();
    let received: Vec<_> = consuming.into_iter().map(join).collect();
    let used = used(plan, &before);
    // A consumer's fault comes first: its publisher only stalls for want of it.
    let mut received = received.into_iter().collect::<io::Result<Vec<_>>>()?;
    let sent = sent.into_iter().collect::<io::Result<Vec<_>>>()?;
    if plan.later {
        for (pair, gate) in gates.iter().enumerate() {
            let consumer = (protocol.consumer)(plan, pair as u32)?;
            received.push(consume_all(consumer, Received::new(plan), gate, schedule.start)?);
        }
    }
    let mut confirms = Latency::default();
    for (pair, ((count, latency), received)) in sent.iter().zip(&received).enumerate() {
        confirms.merge(latency);
        if received.count != *count {
            return Err(wrong(format!("pair {pair}: sent {count}, received {}", received.count)));
        }
    }
    Ok(result::line(&received, &confirms, schedule.full - schedule.start, &used))
}

pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().name(name.into()).stack_size(256 * 1024).spawn(work).expect("a thread")
}

pub fn join<T>(thread: thread::JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(wrong("a thread panicked")))
}

/// A publisher whose confirms are read elsewhere.
pub struct Connected {
    pub stream: TcpStream,
    pub encoder: Box<dyn crate::Encoder>,
    /// Whether every message is confirmed.
    pub confirmed: bool,
}

/// Runs `work` beside a thread that reads confirms, then says goodbye. Returns what it returned, and the confirms'
/// latencies.
pub fn publish<T>(
    publisher: Publisher,
    gate: &Arc<Gate>,
    sent: &Arc<Sent>,
    start: Instant,
    work: impl FnOnce(&mut Connected) -> io::Result<T>,
) -> io::Result<(T, Latency)> {
    let Publisher { stream, encoder, confirms, .. } = publisher;
    gate.open();
    let confirmed = confirms.confirms_messages();
    let reader = spawn("confirm", {
        let (stream, gate, sent) = (stream.try_clone()?, Arc::clone(gate), Arc::clone(sent));
        move || {
            let outcome = read_confirms(stream, confirms, &gate, &sent, start);
            gate.close();
            outcome
        }
    });
    let mut connected = Connected { stream, encoder, confirmed };
    let outcome = work(&mut connected);
    let Connected { mut stream, mut encoder, .. } = connected;
    if outcome.is_ok() {
        let mut out = Vec::new();
        encoder.goodbye(&mut out);
        stream.write_all(&out)?;
    }
    // After a goodbye the broker closes; after a failure nobody waits for that.
    let _ = stream.shutdown(if outcome.is_ok() { Shutdown::Write } else { Shutdown::Both });
    let read = join(reader);
    match outcome {
        Ok(outcome) => read.map(|latency| (outcome, latency)),
        // What the broker said is the better explanation of a stall.
        Err(error) => Err(read.err().filter(|read| read.kind() == ErrorKind::Other).unwrap_or(error)),
    }
}

/// Paced, then at full speed. Returns how many messages were sent; all are confirmed if the protocol confirms.
pub fn publish_all(
    publisher: &mut Connected,
    mut source: Source,
    gate: &Gate,
    schedule: &Schedule,
    offset: Duration,
) -> io::Result<u64> {
    let Connected { stream, encoder, confirmed } = publisher;
    let encoder = &mut **encoder;
    let mut out = Vec::with_capacity(2 * WRITE_BYTES);
    let first = source.next;
    let mut due = schedule.start + offset;
    while due < schedule.full {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let last = source.next + gate.room(source.next - first)?;
        let now = Instant::now();
        while due <= now && due < schedule.full && source.next < last && out.len() < WRITE_BYTES {
            let phase = if due < schedule.paced { Phase::WarmUp } else { Phase::Paced };
            source.message(due, phase, encoder, &mut out);
            due += schedule.interval;
        }
        stream.write_all(&out)?;
        out.clear();
    }
    // The last one was due before that: no burst where nothing is to be sent at full speed.
    thread::sleep(schedule.full.saturating_duration_since(Instant::now()));
    loop {
        let last = source.next + gate.room(source.next - first)?;
        let now = Instant::now();
        let ended = now >= schedule.end;
        if ended {
            source.message(now, Phase::Last, encoder, &mut out);
        }
        while !ended && source.next < last && out.len() < WRITE_BYTES {
            source.message(now, Phase::Full, encoder, &mut out);
        }
        stream.write_all(&out)?;
        out.clear();
        if ended {
            break;
        }
    }
    if *confirmed {
        gate.all_confirmed(source.next - first)?;
    }
    Ok(source.next - first)
}

fn consume_all(mut consumer: Consumer, mut received: Received, gate: &Gate, start: Instant) -> io::Result<Received> {
    consume(&mut consumer, start, &mut received, Received::is_complete, |count| gate.add_received(count))?;
    consumer.goodbye()?;
    Ok(received)
}
