//! How far a publisher may run ahead of its confirms, of its consumer and of the broker's credit.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::Thread;
use std::time::Instant;

use crate::{PATIENCE, wrong};

/// All numbers count messages from the start of the run.
pub struct Gate {
    confirmed: AtomicU64,
    received: AtomicU64,
    credit: AtomicU64,
    confirm_window: u64,
    delivery_window: u64,
    /// The number the publisher waits to be allowed; 0: it does not wait.
    wanted: AtomicU64,
    publisher: OnceLock<Thread>,
    /// The broker closed the publisher's connection.
    closed: AtomicBool,
}

impl Gate {
    pub fn new(confirm_window: Option<u64>, delivery_window: u64, credit: u64) -> Self {
        Self {
            confirmed: AtomicU64::new(0),
            received: AtomicU64::new(0),
            credit: AtomicU64::new(credit),
            confirm_window: confirm_window.unwrap_or(u64::MAX),
            delivery_window,
            wanted: AtomicU64::new(0),
            publisher: OnceLock::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// Called once by the publisher's thread before it sends.
    pub fn open(&self) {
        let _ = self.publisher.set(std::thread::current());
    }

    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(SeqCst)
    }

    pub fn add_confirmed(&self, count: u64) {
        self.confirmed.fetch_add(count, SeqCst);
        self.wake();
    }

    pub fn add_received(&self, count: u64) {
        self.received.fetch_add(count, SeqCst);
        self.wake();
    }

    /// Where consumers are counted together.
    pub fn set_received(&self, count: u64) {
        self.received.fetch_max(count, SeqCst);
        self.wake();
    }

    /// Nothing more will be confirmed.
    pub fn close(&self) {
        self.closed.store(true, SeqCst);
        self.publisher.get().inspect(|thread| thread.unpark());
    }

    pub fn set_credit(&self, credit: u64) {
        self.credit.store(credit, SeqCst);
        self.wake();
    }

    fn limit(&self) -> u64 {
        let confirmed = self.confirmed.load(SeqCst).saturating_add(self.confirm_window);
        let received = self.received.load(SeqCst).saturating_add(self.delivery_window);
        confirmed.min(received).min(self.credit.load(SeqCst))
    }

    fn wake(&self) {
        let wanted = self.wanted.load(SeqCst);
        if (wanted != 0 && self.limit() >= wanted) || wanted == u64::MAX {
            self.publisher.get().inspect(|thread| thread.unpark());
        }
    }

    /// Messages that may be sent now, at least one: waits for it.
    pub fn room(&self, sent: u64) -> io::Result<u64> {
        self.wait(sent + 1, || self.limit() > sent)?;
        Ok(self.limit() - sent)
    }

    pub fn all_confirmed(&self, sent: u64) -> io::Result<()> {
        self.wait(u64::MAX, || self.confirmed() >= sent)
    }

    fn wait(&self, wanted: u64, ready: impl Fn() -> bool) -> io::Result<()> {
        if ready() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        self.wanted.store(wanted, SeqCst);
        while !ready() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.closed.load(SeqCst) {
                return Err(wrong(format!(
                    "publisher {}: confirmed {}, received {}, credit {}",
                    if left.is_zero() { "stalled" } else { "cut off" },
                    self.confirmed(),
                    self.received.load(SeqCst),
                    self.credit.load(SeqCst)
                )));
            }
            std::thread::park_timeout(left);
        }
        self.wanted.store(0, SeqCst);
        Ok(())
    }
}
