//! Numbered messages: written by the publisher, with the time at which each was due kept for its confirm.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::histogram::Histogram;
use crate::{Encoder, Plan};

/// Nanoseconds since the start, number, phase; and filled up to a multiple of eight.
pub const HEAD_BYTES: usize = 24;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    WarmUp,
    Paced,
    Full,
    Last,
}

/// What a publisher sends, one after the other.
pub struct Source {
    start: Instant,
    body: Vec<u8>,
    noise: u64,
    /// Number of the next message.
    pub next: u64,
    destinations: u64,
    sent: Arc<Sent>,
}

impl Source {
    pub fn new(plan: &Plan, start: Instant, sent: Arc<Sent>) -> Self {
        let noise = 0x9e37_79b9_7f4a_7c15;
        Self { start, body: vec![0; plan.body], noise, next: plan.first, destinations: plan.destinations, sent }
    }

    /// Appends the next message.
    pub fn message(&mut self, due: Instant, phase: Phase, encoder: &mut dyn Encoder, out: &mut Vec<u8>) {
        let nanoseconds = due.saturating_duration_since(self.start).as_nanos() as u64;
        self.body[..8].copy_from_slice(&nanoseconds.to_be_bytes());
        self.body[8..16].copy_from_slice(&self.next.to_be_bytes());
        // Bodies that no store can compress (xorshift).
        for chunk in self.body[HEAD_BYTES..].chunks_exact_mut(8) {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            chunk.copy_from_slice(&self.noise.to_be_bytes());
        }
        self.body[16] = phase as u8;
        self.sent.note(self.next, nanoseconds, phase);
        encoder.message((self.next % self.destinations) as usize, &self.body, out);
        self.next += 1;
    }
}

/// When the last messages were due, for whoever reads their confirms.
pub struct Sent {
    first: u64,
    /// Nanoseconds shifted left, phase in the lowest bits.
    times: Box<[AtomicU64]>,
}

impl Sent {
    /// For a publisher with at most `window` messages unconfirmed; with room for confirms out of order.
    pub fn new(first: u64, window: u64) -> Arc<Self> {
        let length = (window * 4).next_power_of_two() as usize;
        Arc::new(Self { first, times: (0..length).map(|_| AtomicU64::new(0)).collect() })
    }

    fn note(&self, number: u64, nanoseconds: u64, phase: Phase) {
        self.cell(number).store(nanoseconds << 2 | phase as u64, Relaxed);
    }

    fn cell(&self, number: u64) -> &AtomicU64 {
        &self.times[number as usize & (self.times.len() - 1)]
    }

    /// Adds the latencies of confirmed messages, counted from the first of this run.
    pub fn confirmed(&self, messages: Range<u64>, now: Instant, start: Instant, latency: &mut Latency) {
        let now = now.saturating_duration_since(start).as_nanos() as u64;
        for message in messages {
            let noted = self.cell(self.first + message).load(Relaxed);
            latency.add(noted as u8 & 3, now.saturating_sub(noted >> 2));
        }
    }
}

/// Latencies at a fixed pace, and at full speed.
#[derive(Default)]
pub struct Latency {
    pub paced: Histogram,
    pub busy: Histogram,
}

impl Latency {
    pub fn add(&mut self, phase: u8, nanoseconds: u64) {
        if phase == Phase::Paced as u8 {
            self.paced.add(nanoseconds);
        } else if phase == Phase::Full as u8 {
            self.busy.add(nanoseconds);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.paced.merge(&other.paced);
        self.busy.merge(&other.busy);
    }
}
