//! One budget for the bytes of all messages in memory; a permit travels with each message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The gateway's memory for messages. Shared; counting only: who is over it waits elsewhere.
#[derive(Debug)]
pub struct MemoryBudget {
    used_bytes: AtomicU64,
    max_bytes: u64,
}

impl MemoryBudget {
    /// A budget of `max_bytes`.
    pub fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicU64::new(0), max_bytes })
    }

    /// Takes `bytes`, also beyond the maximum: what is in memory is counted, whatever it is.
    pub fn take(self: &Arc<Self>, bytes: u64) -> MemoryPermit {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        MemoryPermit { budget: self.clone(), bytes }
    }

    /// Bytes of messages in memory now.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The maximum.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Whether new messages must wait.
    pub fn is_exhausted(&self) -> bool {
        self.used_bytes() >= self.max_bytes
    }
}

/// Bytes taken from a budget; given back when dropped.
#[derive(Debug)]
pub struct MemoryPermit {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_gives_its_bytes_back_once() {
        let budget = MemoryBudget::new(100);
        let permit = budget.take(60);
        let other = budget.take(40);
        assert!(budget.is_exhausted());
        drop(permit);
        assert_eq!(budget.used_bytes(), 40);
        drop(other);
        assert_eq!(budget.used_bytes(), 0);
    }
}
