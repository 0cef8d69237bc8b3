//! Heart-beats both ways. [STOMP 1.2, Heart-beating]

use std::time::Duration;

use evergate_model::Time;

use crate::StompConfig;

/// Who is to be heard how often.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    /// We send at least this often.
    send_every: Option<Duration>,
    /// The client is silent after this long.
    silent_after: Option<Duration>,
    last_sent: Time,
    last_heard: Time,
    /// A body goes on: the client cannot send a heart-beat before its end.
    within_body: bool,
}

/// A client may be silent so many times as long within a body that goes on in pieces: its source may be slow, and the
/// gateway may not be reading while pieces await their commit.
const BODY_GRACE: u32 = 6;

impl Heartbeat {
    /// The intervals of `<cx>,<cy>` in milliseconds; `None`: the header makes no sense.
    pub(super) fn parse(text: &str) -> Option<(Duration, Duration)> {
        let (cx, cy) = text.split_once(',')?;
        let millis = |part: &str| part.trim().parse::<u32>().ok().map(|ms| Duration::from_millis(ms.into()));
        Some((millis(cx)?, millis(cy)?))
    }

    /// Agrees with a client that can send every `cx` and wants to hear every `cy`.
    pub(super) fn agree(config: &StompConfig, (cx, cy): (Duration, Duration), now: Time) -> Self {
        let agreed = |a: Duration, b: Duration| (!a.is_zero() && !b.is_zero()).then(|| a.max(b));
        Self {
            // A quarter earlier than promised, for the way to the client.
            send_every: agreed(config.heartbeat_send, cy).map(|every| every * 3 / 4),
            silent_after: agreed(cx, config.heartbeat_receive)
                .map(|every| every.saturating_mul(config.heartbeat_grace_percent.max(100)) / 100),
            last_sent: now,
            last_heard: now,
            within_body: false,
        }
    }

    pub(super) fn within_body(&mut self, within_body: bool) {
        self.within_body = within_body;
    }

    pub(super) fn sent(&mut self, now: Time) {
        self.last_sent = now;
    }

    pub(super) fn heard(&mut self, now: Time) {
        self.last_heard = now;
    }

    /// When the next heart-beat is to be sent.
    pub(super) fn send_at(&self) -> Option<Time> {
        self.send_every.map(|every| self.last_sent.after(every))
    }

    /// When the client has been silent for too long.
    pub(super) fn silent_at(&self) -> Option<Time> {
        let times = if self.within_body { BODY_GRACE } else { 1 };
        self.silent_after.map(|after| self.last_heard.after(after.saturating_mul(times)))
    }

    /// Whether the client was silent for too long.
    pub(super) fn is_silent(&self, now: Time) -> bool {
        self.silent_at().is_some_and(|at| at <= now)
    }
}
