//! What was received, and the line that tells it.

use std::io;
use std::time::Duration;

use crate::source::{Latency, Phase};
use crate::{Plan, wrong};

pub struct Received {
    body: usize,
    pub count: u64,
    /// Of the messages sent at full speed.
    full: u64,
    /// How many there will be, once it is known.
    expected: Option<u64>,
    /// Number that each destination is to bring next.
    next: Vec<u64>,
    last: Duration,
    latency: Latency,
}

impl Received {
    pub fn new(plan: &Plan) -> Self {
        Self {
            body: plan.body,
            count: 0,
            full: 0,
            expected: None,
            next: (0..plan.destinations).map(|destination| plan.first + destination).collect(),
            last: Duration::ZERO,
            latency: Latency::default(),
        }
    }

    pub fn is_complete(&self) -> bool {
        self.expected == Some(self.count)
    }

    pub fn add(&mut self, body: &[u8], now: Duration) -> io::Result<()> {
        if body.len() != self.body {
            return Err(wrong(format!("a body of {} bytes", body.len())));
        }
        let value = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().expect("eight bytes"));
        let number = value(8);
        let destinations = self.next.len() as u64;
        let next = &mut self.next[(number % destinations) as usize];
        if number != *next {
            return Err(wrong(format!("message {number} came where {next} was due")));
        }
        *next += destinations;
        self.count += 1;
        self.last = now;
        self.latency.add(body[16], (now.as_nanos() as u64).saturating_sub(value(0)));
        self.full += u64::from(body[16] >= Phase::Full as u8);
        if body[16] == Phase::Last as u8 {
            self.expected = Some(number + 1);
        }
        Ok(())
    }
}

/// CPU time while at full speed.
pub struct Used {
    pub broker: Duration,
    pub load: Duration,
}

/// One line of JSON. `full_start`: when the fast part began.
pub fn line(received: &[Received], confirms: &Latency, full_start: Duration, used: &Used) -> String {
    let full: u64 = received.iter().map(|each| each.full).sum();
    let count: u64 = received.iter().map(|each| each.count).sum();
    let last = received.iter().map(|each| each.last).max().unwrap_or_default();
    let seconds = last.saturating_sub(full_start).as_secs_f64();
    let mut delivery = Latency::default();
    received.iter().for_each(|each| delivery.merge(&each.latency));
    let each = |time: Duration| time.as_secs_f64() * 1e6 / full.max(1) as f64;
    let mut line = format!(
        "{{\"messages\": {count}, \"rate\": {:.0}, \"cpu_us\": {:.3}, \"load_cpu_us\": {:.3}",
        full as f64 / seconds.max(1e-9),
        each(used.broker),
        each(used.load),
    );
    let histograms = [
        ("", &delivery.paced),
        ("busy_", &delivery.busy),
        ("confirm_", &confirms.paced),
        ("busy_confirm_", &confirms.busy),
    ];
    for (name, histogram) in histograms {
        for (part, value) in
            [("p50", histogram.quantile(0.5)), ("p99", histogram.quantile(0.99)), ("max", histogram.max_us())]
        {
            line += &format!(", \"{name}{part}_us\": {value:.1}");
        }
    }
    line + "}"
}
