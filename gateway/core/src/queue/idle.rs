//! Since when a queue has had neither messages nor consumers.

use std::time::Duration;

use evergate_model::Time;

use super::Queue;

impl Queue {
    /// After every change.
    pub fn note_idle(&mut self, now: Time) {
        if self.line.count > 0 || !self.consumers.is_empty() {
            self.idle_since = None;
        } else {
            self.idle_since.get_or_insert(now);
        }
    }

    /// Whether it has had nothing for so long. The error says since when; `None`: it has something.
    pub fn idle_enough(&mut self, now: Time, idle_for: Duration, even_in_use: bool) -> Result<(), Option<Time>> {
        if self.line.count > 0 || (!self.consumers.is_empty() && !even_in_use) {
            if self.consumers.is_empty() {
                self.look_for_expired();
            }
            return Err(None);
        }
        if idle_for.is_zero() {
            return Ok(());
        }
        // Of one that was recovered nothing is known from before.
        let since = *self.idle_since.get_or_insert(now);
        if since.after(idle_for) <= now { Ok(()) } else { Err(Some(since)) }
    }
}
