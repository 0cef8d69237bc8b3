//! CPU time of the broker's processes, from /proc: steadier than throughput on a machine that others use too.

use std::fs;
use std::time::Duration;

/// Clock ticks are 1/100 s on every Linux that Debian ships.
const TICK: Duration = Duration::from_millis(10);

pub struct Processor(Duration);

impl Processor {
    pub fn of(pids: &[u32]) -> Self {
        Self(TICK * pids.iter().map(|pid| ticks(*pid).unwrap_or(0)).sum::<u32>())
    }

    pub fn since(&self, before: &Self) -> Duration {
        self.0.saturating_sub(before.0)
    }
}

fn ticks(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; fields are counted from behind it: utime and stime are 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?)
}
