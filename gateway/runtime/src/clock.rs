//! The time that sessions and core are handed, and that messages carry.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evergate_model::Time;

/// Wall-clock time that never goes backwards: read once at start, then carried on by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_at: Time,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_at = Time(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX));
        Self { started: Instant::now(), started_at }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.started_at.after(self.started.elapsed())
    }

    /// When it started.
    pub fn started_at(&self) -> Time {
        self.started_at
    }

    /// `time` as tokio wants it. At least a millisecond ahead, so that a timer that fires early does not spin.
    pub fn instant(&self, time: Time) -> tokio::time::Instant {
        let ahead = time.since(self.started_at).max(self.started.elapsed() + Duration::from_millis(1));
        tokio::time::Instant::from_std(self.started + ahead)
    }
}
