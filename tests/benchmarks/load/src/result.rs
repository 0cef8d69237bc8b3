//! What was received, and the line that tells it.

use std::io;
use std::time::Duration;

use crate::pair::Phase;
use crate::{BODY_BYTES, wrong};

#[derive(Default)]
pub struct Received {
    pub count: u64,
    pub complete: bool,
    /// Of the messages sent at full speed.
    full: u64,
    last: Duration,
    /// Nanoseconds of each paced message, from when it was due.
    latencies: Vec<u64>,
    /// The same at full speed.
    full_latencies: Vec<u64>,
}

impl Received {
    pub fn add(&mut self, body: &[u8], now: Duration) -> io::Result<()> {
        if body.len() != BODY_BYTES {
            return Err(wrong(format!("a body of {} bytes", body.len())));
        }
        let number = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("eight bytes"));
        let latency = (now.as_nanos() as u64).saturating_sub(number(0));
        if number(8) != self.count {
            return Err(wrong(format!("message {} came where {} was due", number(8), self.count)));
        }
        self.count += 1;
        self.last = now;
        if body[16] == Phase::Paced as u8 {
            self.latencies.push(latency);
        } else if body[16] == Phase::Full as u8 {
            self.full += 1;
            self.full_latencies.push(latency);
        } else if body[16] == Phase::Last as u8 {
            self.full += 1;
            self.complete = true;
        }
        Ok(())
    }
}

/// One line of JSON. `full_start`: when the fast part began.
pub fn line(received: Vec<Received>, full_start: Duration, broker_time: Duration, load_time: Duration) -> String {
    let full: u64 = received.iter().map(|each| each.full).sum();
    let count: u64 = received.iter().map(|each| each.count).sum();
    let last = received.iter().map(|each| each.last).max().unwrap_or_default();
    let seconds = last.saturating_sub(full_start).as_secs_f64();
    let mut paced = Vec::new();
    let mut busy = Vec::new();
    for each in received {
        paced.extend(each.latencies);
        busy.extend(each.full_latencies);
    }
    paced.sort_unstable();
    busy.sort_unstable();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / full.max(1) as f64;
    format!(
        "{{\"messages\": {count}, \"rate\": {:.0}, \"p50_us\": {:.0}, \"p99_us\": {:.0}, \"busy_p50_us\": {:.0}, \
         \"busy_p99_us\": {:.0}, \"cpu_us\": {:.2}, \"load_cpu_us\": {:.2}}}",
        full as f64 / seconds,
        percentile(&paced, 50),
        percentile(&paced, 99),
        percentile(&busy, 50),
        percentile(&busy, 99),
        each(broker_time),
        each(load_time),
    )
}

/// Microseconds below which this per cent of the sorted nanoseconds lie.
fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).map_or(0.0, |&value| value as f64 / 1000.0)
}
