//! The threads of a run: per pair one that publishes, one that reads confirms, one that consumes.
//!
//! Every pair first publishes at a fixed pace, where latency is measured from the moment a message was due (so a
//! broker that stalls cannot hide it), then as fast as its windows allow, where throughput is measured.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::gate::Gate;
use crate::processor::Processor;
use crate::result::{self, Received};
use crate::{BODY_BYTES, Confirms, Consumer, Decoder, PATIENCE, Plan, Progress, Publisher, amqp, mqtt, stomp, wrong};

/// A broker may hold this many messages of a pair: with more, latency and memory would grow without bound.
const DELIVERY_WINDOW: u64 = 4096;
/// Settling time between connecting and the first message, and before latency counts.
const WARM_UP: Duration = Duration::from_millis(300);
const WRITE_BYTES: usize = 32 * 1024;
const READ_BYTES: usize = 256 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    WarmUp,
    Paced,
    Full,
    Last,
}

#[derive(Clone, Copy)]
struct Schedule {
    start: Instant,
    paced: Instant,
    full: Instant,
    end: Instant,
    /// Between two messages of a pair while paced.
    interval: Duration,
}

pub fn run(plan: &Plan) -> io::Result<String> {
    let ends = match plan.protocol.as_str() {
        "mqtt" => open(plan, mqtt::publisher, mqtt::consumer),
        "amqp" => open(plan, amqp::publisher, amqp::consumer),
        "stomp" => open(plan, stomp::publisher, stomp::consumer),
        other => Err(wrong(format!("unknown protocol {other}"))),
    }?;
    let start = Instant::now() + Duration::from_millis(20);
    let paced = start + WARM_UP;
    let full = paced + plan.paced;
    let schedule = Schedule {
        start,
        paced,
        full,
        end: full + plan.full,
        interval: Duration::from_secs_f64(f64::from(plan.pairs) / plan.rate),
    };
    let mut publishers = Vec::new();
    let mut consumers = Vec::new();
    for (index, (publisher, consumer)) in ends.into_iter().enumerate() {
        let gate = Arc::new(Gate::new(plan.durable.then_some(plan.window), DELIVERY_WINDOW, publisher.credit));
        consumers.push(spawn("consume", {
            let gate = Arc::clone(&gate);
            move || consume(consumer, &gate, schedule.start)
        }));
        // The pairs' paces are spread, so that they do not all send in the same instant.
        let offset = schedule.interval.mul_f64(index as f64 / f64::from(plan.pairs));
        publishers.push(spawn("publish", move || publish(publisher, &gate, &schedule, offset)));
    }
    thread::sleep(full.saturating_duration_since(Instant::now()));
    let itself = [std::process::id()];
    let before = (Processor::of(&plan.pids), Processor::of(&itself));
    // Before the first error is told, everything has ended.
    let sent: Vec<_> = publishers.into_iter().map(join).collect();
    let received: Vec<_> = consumers.into_iter().map(join).collect();
    let broker_time = Processor::of(&plan.pids).since(&before.0);
    let load_time = Processor::of(&itself).since(&before.1);
    let sent = sent.into_iter().collect::<io::Result<Vec<u64>>>()?;
    let received = received.into_iter().collect::<io::Result<Vec<Received>>>()?;
    if let Some(pair) = (0..sent.len()).find(|&pair| received[pair].count != sent[pair]) {
        return Err(wrong(format!("pair {pair}: sent {}, received {}", sent[pair], received[pair].count)));
    }
    Ok(result::line(received, full - start, broker_time, load_time))
}

type Opened = Vec<(Publisher, Consumer)>;

/// All consumers are there before anybody publishes.
fn open(
    plan: &Plan,
    publisher: fn(&Plan, u32) -> io::Result<Publisher>,
    consumer: fn(&Plan, u32) -> io::Result<Consumer>,
) -> io::Result<Opened> {
    let consumers = (0..plan.pairs).map(|pair| consumer(plan, pair)).collect::<io::Result<Vec<_>>>()?;
    let publishers = (0..plan.pairs).map(|pair| publisher(plan, pair)).collect::<io::Result<Vec<_>>>()?;
    Ok(publishers.into_iter().zip(consumers).collect())
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().name(name.into()).spawn(work).expect("a thread")
}

fn join<T>(thread: thread::JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(wrong("a thread panicked")))
}

/// Returns how many messages were sent; all are confirmed if the protocol confirms.
fn publish(publisher: Publisher, gate: &Arc<Gate>, schedule: &Schedule, offset: Duration) -> io::Result<u64> {
    let Publisher { mut stream, mut encoder, confirms, .. } = publisher;
    gate.open();
    let confirmed = confirms.confirms_messages();
    let reader = spawn("confirm", {
        let (stream, gate) = (stream.try_clone()?, Arc::clone(gate));
        move || read_confirms(stream, confirms, &gate)
    });
    let outcome = publish_all(&mut stream, &mut *encoder, gate, schedule, offset, confirmed);
    if outcome.is_ok() {
        let mut out = Vec::new();
        encoder.goodbye(&mut out);
        stream.write_all(&out)?;
    }
    // After a goodbye the broker closes; after a failure nobody waits for that.
    let _ = stream.shutdown(if outcome.is_ok() { Shutdown::Write } else { Shutdown::Both });
    let read = join(reader);
    match outcome {
        Ok(sent) => ended(read).map(|()| sent),
        // What the broker said is the better explanation of a stall.
        Err(error) => Err(read.err().filter(|read| read.kind() == ErrorKind::Other).unwrap_or(error)),
    }
}

/// Some brokers close with a reset: no fault once everything is confirmed and a goodbye was sent.
fn ended(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error),
        _ => Ok(()),
    }
}

fn publish_all(
    stream: &mut TcpStream,
    encoder: &mut dyn crate::Encoder,
    gate: &Gate,
    schedule: &Schedule,
    offset: Duration,
    confirmed: bool,
) -> io::Result<u64> {
    let mut body = [0; BODY_BYTES];
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(2 * WRITE_BYTES);
    let mut sent = 0_u64;
    let mut message = |due: Instant, phase: Phase, sent: &mut u64, out: &mut Vec<u8>| {
        let nanoseconds = due.saturating_duration_since(schedule.start).as_nanos() as u64;
        body[..8].copy_from_slice(&nanoseconds.to_be_bytes());
        body[8..16].copy_from_slice(&sent.to_be_bytes());
        // Bodies that no store can compress (xorshift).
        for chunk in body[24..].chunks_exact_mut(8) {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            chunk.copy_from_slice(&noise.to_be_bytes());
        }
        body[16] = phase as u8;
        encoder.message(&body, out);
        *sent += 1;
    };
    let mut due = schedule.start + offset;
    while due < schedule.full {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let room = gate.room(sent)?;
        let now = Instant::now();
        let last = sent + room;
        while due <= now && due < schedule.full && sent < last && out.len() < WRITE_BYTES {
            let phase = if due < schedule.paced { Phase::WarmUp } else { Phase::Paced };
            message(due, phase, &mut sent, &mut out);
            due += schedule.interval;
        }
        stream.write_all(&out)?;
        out.clear();
    }
    loop {
        let last = sent + gate.room(sent)?;
        let now = Instant::now();
        let ended = now >= schedule.end;
        if ended {
            message(now, Phase::Last, &mut sent, &mut out);
        }
        while !ended && sent < last && out.len() < WRITE_BYTES {
            message(now, Phase::Full, &mut sent, &mut out);
        }
        stream.write_all(&out)?;
        out.clear();
        if ended {
            break;
        }
    }
    if confirmed {
        gate.all_confirmed(sent)?;
    }
    Ok(sent)
}

fn read_confirms(mut stream: TcpStream, mut confirms: Box<dyn Confirms>, gate: &Gate) -> io::Result<()> {
    // Silence is no error here: who waits for a confirm says so itself.
    stream.set_read_timeout(Some(PATIENCE * 100))?;
    let mut buffer = Buffer::new();
    while buffer.fill(&mut stream)? != 0 {
        let mut progress = Progress::default();
        let taken = confirms.read(buffer.bytes(), &mut progress)?;
        buffer.take(taken);
        if let Some(credit) = progress.credit {
            gate.set_credit(credit);
        }
        if progress.confirmed != 0 {
            gate.add_confirmed(progress.confirmed);
        }
    }
    Ok(())
}

fn consume(consumer: Consumer, gate: &Gate, start: Instant) -> io::Result<Received> {
    let Consumer { mut stream, mut decoder, goodbye } = consumer;
    let mut buffer = Buffer::new();
    let mut received = Received::default();
    let mut out = Vec::new();
    while !received.complete {
        if buffer.fill(&mut stream).map_err(|error| wrong(format!("after {} messages: {error}", received.count)))? == 0
        {
            return Err(wrong(format!("consumer's connection closed after {} messages", received.count)));
        }
        let now = start.elapsed();
        let before = received.count;
        let taken = read_messages(&mut *decoder, buffer.bytes(), &mut received, now, &mut out)?;
        buffer.take(taken);
        stream.write_all(&out)?;
        out.clear();
        gate.add_received(received.count - before);
    }
    ended(goodbye(stream))?;
    Ok(received)
}

fn read_messages(
    decoder: &mut dyn Decoder,
    bytes: &[u8],
    received: &mut Received,
    now: Duration,
    out: &mut Vec<u8>,
) -> io::Result<usize> {
    let mut fault = None;
    let taken = decoder.read(
        bytes,
        &mut |body| {
            if let Err(error) = received.add(body, now) {
                fault.get_or_insert(error);
            }
        },
        out,
    )?;
    fault.map_or(Ok(taken), Err)
}

/// Bytes read and not yet taken.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: vec![0; READ_BYTES], start: 0, end: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn take(&mut self, count: usize) {
        self.start += count;
    }

    fn fill(&mut self, stream: &mut TcpStream) -> io::Result<usize> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = stream.read(&mut self.bytes[self.end..])?;
        self.end += count;
        Ok(count)
    }
}
