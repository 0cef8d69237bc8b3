//! Reading ahead. Where thousands of queues or consumers are met in turn, the processor's cache has lost each since it
//! was met last, and a message waits for one line of memory after the other. What several messages will ask for is
//! read at once instead, in loops so short that the processor waits for all of it together.

use std::hint::black_box;

/// For so many messages at once: what they ask for fits into the innermost cache.
pub const AHEAD: usize = 16;

/// So few queues or consumers stay in the cache.
pub const CACHED: usize = 256;

/// Reads what is sampled: a value of each line of memory that will be asked for. What they are does not matter.
pub fn read(samples: impl Iterator<Item = u64>) {
    black_box(samples.fold(0, |all, sample| all ^ sample));
}
