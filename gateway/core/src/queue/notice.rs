//! What an operator should hear of a queue: its consumers do not keep up, or it is full.

use std::time::Duration;

use evergate_model::Time;

use super::Queue;
use crate::effect::{Notice, NoticeKind};

/// The same is not told again sooner: a queue may be full a thousand times a second.
const QUIET: Duration = Duration::from_mins(1);
/// So many of the consumers are named.
const NAMED_MAX: usize = 3;

/// What was told.
#[derive(Debug)]
pub struct Notices {
    /// That consumers do not keep up, and not yet that they do again.
    is_behind: bool,
    behind_at: Option<Time>,
    /// That it is full.
    full_at: Option<Time>,
}

impl Notices {
    pub const fn new() -> Self {
        Self { is_behind: false, behind_at: None, full_at: None }
    }
}

impl Queue {
    /// What there is to tell since the last call.
    pub fn notice(&mut self, now: Time) -> Option<Notice> {
        let what = self.news(now)?;
        Some(Notice {
            queue: self.name.clone(),
            what,
            messages: self.line.count,
            bytes: self.bytes(),
            consumers: self.consumers.keys().take(NAMED_MAX).map(|key| key.session).collect(),
        })
    }

    fn news(&mut self, now: Time) -> Option<NoticeKind> {
        let is_quiet = |told: Option<Time>| told.is_some_and(|at| now < at.after(QUIET));
        if self.full && !is_quiet(self.rare.get().notices.full_at) {
            self.rare.make().notices.full_at = Some(now);
            return Some(NoticeKind::Full);
        }
        let memory = self.config.limits.resident_bytes_max;
        if self.rare.get().notices.is_behind {
            // Half is free: not told again and again around the bound.
            let is_behind = self.line.bytes > memory / 2;
            self.rare.make().notices.is_behind = is_behind;
            return (!is_behind).then_some(NoticeKind::KeepsUp);
        }
        let is_behind = self.line.bytes >= memory && !self.consumers.is_empty() && self.has_to_be_consumed();
        if is_behind && !is_quiet(self.rare.get().notices.behind_at) {
            let notices = &mut self.rare.make().notices;
            (notices.is_behind, notices.behind_at) = (true, Some(now));
            return Some(NoticeKind::Behind);
        }
        None
    }

    /// A stream keeps what was consumed, and pieces of a body wait for their reader.
    fn has_to_be_consumed(&self) -> bool {
        !self.is_stream() && !self.holds_body
    }
}
