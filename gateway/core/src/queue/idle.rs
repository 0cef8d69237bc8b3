//! A queue that has neither messages nor consumers, and how it ends.

use std::time::Duration;

use evergate_model::Time;

use super::Queue;

/// How far a queue is from its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// It has messages or consumers.
    #[default]
    No,
    /// It has neither.
    Since(Time),
    /// It takes no messages any more: the directory is about to delete it.
    Retired,
}

impl Queue {
    /// After every change.
    pub fn note_idle(&mut self, now: Time) {
        if self.line.count > 0 || !self.consumers.is_empty() {
            self.is_in_use();
        } else if self.idle == Idle::No {
            self.idle = Idle::Since(now);
        }
    }

    /// It has something.
    pub fn is_in_use(&mut self) {
        if self.idle != Idle::Retired {
            self.idle = Idle::No;
        }
    }

    pub fn is_retired(&self) -> bool {
        self.idle == Idle::Retired
    }

    /// Takes it out of use if it has had nothing for so long. The error says since when it has not; `None`: it has
    /// something now.
    pub fn retire(&mut self, now: Time, idle_for: Duration, even_in_use: bool) -> Result<(), Option<Time>> {
        if self.line.count > 0 || (!self.consumers.is_empty() && !even_in_use) {
            return Err(None);
        }
        match self.idle {
            Idle::Since(since) if since.after(idle_for) > now => return Err(Some(since)),
            Idle::No if !even_in_use => {
                // It was recovered, and nothing has happened since.
                self.idle = Idle::Since(now);
                if !idle_for.is_zero() {
                    return Err(Some(now));
                }
            }
            Idle::No | Idle::Since(_) | Idle::Retired => {}
        }
        self.idle = Idle::Retired;
        Ok(())
    }

    /// Somebody needs it after all.
    pub fn reopen(&mut self) {
        if self.idle == Idle::Retired {
            self.idle = Idle::No;
        }
    }
}
