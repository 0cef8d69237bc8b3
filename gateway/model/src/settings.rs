//! How queues behave: [`QueueSettings`] is what one queue goes by, [`Policy`] is what an operator says about
//! all queues whose name matches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::size::some_size;
use crate::{Filter, FilterError};

/// What happens to a message for a queue that is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// Publishers wait until a quarter is free.
    #[default]
    Block,
    /// The publisher is told that it is full.
    Reject,
    /// The oldest message that nobody holds makes room (with `messages_max`: a ring).
    DropOldest,
    /// The oldest message that nobody holds goes to `_DMQ`.
    DeadLetterOldest,
    /// Its consumers, who do not keep up, are disconnected; publishers wait until there is room.
    Disconnect,
}

/// What happens to a message that expired or was handed out too often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unwanted {
    /// It goes to `_DMQ`, with the reason.
    #[default]
    DeadLetter,
    /// It is gone.
    Discard,
}

/// Who of a queue's consumers is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consumers {
    /// All, in turn; those of higher priority first.
    #[default]
    Competing,
    /// One; the others stand by. The highest priority is served, among equals who came first.
    SingleActive,
    /// A second one is refused.
    Exclusive,
}

/// When a durable message is handed to consumers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dispatch {
    /// After its commit: what was delivered is never forgotten.
    #[default]
    Committed,
    /// At once: less latency; after a crash a message may have been delivered that nobody has.
    Eager,
}

/// How a queue keeps its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    /// Each message until a consumer has settled it.
    #[default]
    Work,
    /// For each value of an application property only the newest message.
    LastValue {
        /// The property's name.
        key: Arc<str>,
    },
    /// Every message, for replay, until it is older or more than this. Consumers do not take.
    Stream {
        /// How long.
        age_max: Option<Duration>,
        /// How many bytes.
        bytes_max: Option<u64>,
    },
}

/// The window in which a second message with the same identity is confirmed and not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupWindow {
    /// How many identities are remembered.
    pub count: u32,
    /// How long each is remembered.
    pub time: Duration,
    /// The publisher's message id counts as identity where it sent no dedup id.
    pub by_message_id: bool,
    /// The correlation id counts, before anything else: of the answers to one request the first wins.
    pub by_correlation_id: bool,
}

/// How the pause before a redelivery grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redelivery {
    /// Deliveries before the message is unwanted. `None`: no limit.
    pub deliveries_max: Option<u32>,
    /// Pause before the second delivery.
    pub delay: Duration,
    /// Each further pause is so many percent of the one before; 100: all are equal.
    pub factor_percent: u32,
    /// No pause is longer. Zero: a day.
    pub delay_max: Duration,
}

impl Redelivery {
    /// The pause after `failed` failed deliveries.
    pub fn pause(&self, failed: u32) -> Duration {
        let mut pause = self.delay;
        let bound = if self.delay_max.is_zero() { Duration::from_hours(24) } else { self.delay_max };
        for _ in 1..failed.min(64) {
            if pause >= bound || self.factor_percent <= 100 {
                break;
            }
            pause = pause.saturating_mul(self.factor_percent) / 100;
        }
        pause.min(bound)
    }
}

/// What one queue goes by. Bytes of a message: [`crate::Message::size_bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// At this many messages it is full.
    pub messages_max: u64,
    /// At this many bytes likewise.
    pub bytes_max: u64,
    /// What happens then.
    pub on_full: OnFull,
    /// A message without an expiry of its own gets this one; a longer one of its own is cut to it.
    pub time_to_live: Option<Duration>,
    /// What happens to expired messages.
    pub on_expiry: Unwanted,
    /// When a message is handed out again.
    pub redelivery: Redelivery,
    /// What happens to messages handed out too often.
    pub on_failure: Unwanted,
    /// How it keeps messages.
    pub kind: QueueKind,
    /// Who is served.
    pub consumers: Consumers,
    /// When.
    pub dispatch: Dispatch,
    /// Duplicate detection.
    pub dedup: Option<DedupWindow>,
    /// Comes into being when somebody sends to it or consumes from it.
    pub auto_create: bool,
    /// Goes when it has neither messages nor consumers for this long. `None`: never.
    pub auto_delete_after: Option<Duration>,
}

impl QueueSettings {
    /// Messages that a queue may hold, unless it is said otherwise.
    pub const MESSAGES_MAX: u64 = 1_000_000;
    /// And their bytes.
    pub const BYTES_MAX: u64 = 1 << 30;
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            messages_max: Self::MESSAGES_MAX,
            bytes_max: Self::BYTES_MAX,
            on_full: OnFull::Block,
            time_to_live: None,
            on_expiry: Unwanted::DeadLetter,
            redelivery: Redelivery { factor_percent: 100, ..Redelivery::default() },
            on_failure: Unwanted::DeadLetter,
            kind: QueueKind::Work,
            consumers: Consumers::Competing,
            dispatch: Dispatch::Committed,
            dedup: None,
            auto_create: true,
            auto_delete_after: None,
        }
    }
}

/// What an operator says about the queues whose name matches: `[[policy]]` in the configuration, and the
/// `settings` of the administration. What it leaves out stays as it is. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs)] // the fields are those of QueueSettings, and described there
pub struct Policy {
    /// Which queues: a name, or a pattern with `+` and `#`. Of several policies that match, what a later one
    /// says counts.
    #[serde(rename = "match")]
    pub matches: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_max: Option<u64>,
    #[serde(deserialize_with = "some_size", skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_full: Option<OnFull>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_live_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_expiry: Option<Unwanted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliveries_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redelivery_delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redelivery_factor_percent: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redelivery_delay_max_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Unwanted>,
    /// Makes it a last-value queue over this application property.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_value_key: Option<String>,
    /// Makes it a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_age_max_ms: Option<u64>,
    #[serde(deserialize_with = "some_size", skip_serializing_if = "Option::is_none")]
    pub stream_bytes_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Consumers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatch: Option<Dispatch>,
    /// Turns duplicate detection on: how many identities are remembered. 0: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_time_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_by_message_id: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup_by_correlation_id: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_create: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_delete_after_ms: Option<u64>,
}

/// Why a policy makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Which key is wrong.
    pub key: &'static str,
    /// Why, and what is allowed.
    pub why: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}

impl std::error::Error for PolicyError {}

/// Remembered when a policy turns duplicate detection on and says no more.
const DEDUP_WINDOW: DedupWindow =
    DedupWindow { count: 100_000, time: Duration::from_mins(10), by_message_id: false, by_correlation_id: false };

impl Policy {
    /// The pattern, checked.
    pub fn filter(&self) -> Result<Filter, FilterError> {
        Filter::read(&self.matches)
    }

    /// Whether it concerns the queue of this name.
    pub fn concerns(&self, name: &str) -> bool {
        self.filter().is_ok_and(|filter| filter.matches(name))
    }

    /// What makes no sense in it: the key, and why.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.matches.is_empty() {
            let why = "it is missing: the name of a queue, or a filter".into();
            return Err(PolicyError { key: "match", why });
        }
        self.filter().map_err(|error| PolicyError { key: "match", why: error.to_string() })?;
        self.check_settings()
    }

    /// The same without its pattern, for settings of one queue.
    pub fn check_settings(&self) -> Result<(), PolicyError> {
        let wrong = |key, why: &str| Err(PolicyError { key, why: why.to_owned() });
        let positive = [
            ("messages_max", self.messages_max),
            ("bytes_max", self.bytes_max),
            ("stream_age_max_ms", self.stream_age_max_ms),
            ("stream_bytes_max", self.stream_bytes_max),
            ("dedup_time_ms", self.dedup_time_ms),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, number)| *number == Some(0)) {
            return wrong(key, "0 would leave nothing that works; 1 or more is allowed");
        }
        if self.redelivery_factor_percent.is_some_and(|factor| factor < 100) {
            return wrong("redelivery_factor_percent", "pauses do not shrink; 100 or more is allowed");
        }
        if let (Some(delay), Some(max)) = (self.redelivery_delay_ms, self.redelivery_delay_max_ms)
            && max > 0
            && max < delay
        {
            return wrong("redelivery_delay_max_ms", "it is less than redelivery_delay_ms");
        }
        if self.last_value_key.as_deref() == Some("") {
            return wrong("last_value_key", "it names no application property");
        }
        if self.last_value_key.is_some() && self.stream == Some(true) {
            return wrong("stream", "a queue is either a stream or a last-value queue");
        }
        Ok(())
    }

    /// Puts what it says into `settings`.
    pub fn apply(&self, settings: &mut QueueSettings) {
        let millis = Duration::from_millis;
        set(&mut settings.messages_max, self.messages_max);
        set(&mut settings.bytes_max, self.bytes_max);
        set(&mut settings.on_full, self.on_full);
        set(&mut settings.on_expiry, self.on_expiry);
        set(&mut settings.on_failure, self.on_failure);
        set(&mut settings.consumers, self.consumers);
        set(&mut settings.dispatch, self.dispatch);
        set(&mut settings.auto_create, self.auto_create);
        set(&mut settings.redelivery.delay, self.redelivery_delay_ms.map(millis));
        set(&mut settings.redelivery.factor_percent, self.redelivery_factor_percent);
        set(&mut settings.redelivery.delay_max, self.redelivery_delay_max_ms.map(millis));
        // Zero takes back what an earlier policy said.
        set(&mut settings.time_to_live, self.time_to_live_ms.map(|ms| (ms > 0).then(|| millis(ms))));
        set(&mut settings.redelivery.deliveries_max, self.deliveries_max.map(|count| (count > 0).then_some(count)));
        set(&mut settings.auto_delete_after, self.auto_delete_after_ms.map(|ms| (ms > 0).then(|| millis(ms))));
        self.apply_kind(settings);
        self.apply_dedup(settings);
    }

    fn apply_kind(&self, settings: &mut QueueSettings) {
        if let Some(key) = &self.last_value_key {
            let key = key.as_str().into();
            settings.kind = QueueKind::LastValue { key };
        }
        match self.stream {
            Some(true) => settings.kind = QueueKind::Stream { age_max: None, bytes_max: None },
            Some(false) if matches!(settings.kind, QueueKind::Stream { .. }) => settings.kind = QueueKind::Work,
            _ => {}
        }
        if let QueueKind::Stream { age_max, bytes_max } = &mut settings.kind {
            set(age_max, self.stream_age_max_ms.map(|ms| Some(Duration::from_millis(ms))));
            set(bytes_max, self.stream_bytes_max.map(Some));
        }
    }

    fn apply_dedup(&self, settings: &mut QueueSettings) {
        let is_meant = self.dedup_count.is_some()
            || self.dedup_time_ms.is_some()
            || self.dedup_by_message_id.is_some()
            || self.dedup_by_correlation_id.is_some();
        if self.dedup_count == Some(0) {
            settings.dedup = None;
        } else if is_meant {
            let window = settings.dedup.get_or_insert(DEDUP_WINDOW);
            set(&mut window.count, self.dedup_count);
        }
        if let Some(window) = &mut settings.dedup {
            set(&mut window.time, self.dedup_time_ms.map(Duration::from_millis));
            set(&mut window.by_message_id, self.dedup_by_message_id);
            set(&mut window.by_correlation_id, self.dedup_by_correlation_id);
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_policy_counts_and_leaves_the_rest() {
        let mut settings = QueueSettings::default();
        let first = Policy { messages_max: Some(5), dedup_count: Some(7), ..Policy::default() };
        let second = Policy { messages_max: Some(6), dedup_time_ms: Some(1), ..Policy::default() };
        first.apply(&mut settings);
        second.apply(&mut settings);
        assert_eq!(settings.messages_max, 6);
        let window = DedupWindow { count: 7, time: Duration::from_millis(1), ..DEDUP_WINDOW };
        assert_eq!(settings.dedup, Some(window));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        let any = || Policy { matches: "a".into(), ..Policy::default() };
        assert_eq!(any().check(), Ok(()));
        let table = [
            (Policy::default(), "match"),
            (Policy { matches: "a#".into(), ..any() }, "match"),
            (Policy { matches: "$glob/a[".into(), ..any() }, "match"),
            (Policy { matches: "$regex/(".into(), ..any() }, "match"),
            (Policy { messages_max: Some(0), ..any() }, "messages_max"),
            (Policy { redelivery_factor_percent: Some(99), ..any() }, "redelivery_factor_percent"),
            (
                Policy { redelivery_delay_ms: Some(2), redelivery_delay_max_ms: Some(1), ..any() },
                "redelivery_delay_max_ms",
            ),
            (Policy { last_value_key: Some(String::new()), ..any() }, "last_value_key"),
            (Policy { last_value_key: Some("k".into()), stream: Some(true), ..any() }, "stream"),
        ];
        for (policy, key) in table {
            assert_eq!(policy.check().map_err(|error| error.key), Err(key), "{policy:?}");
        }
    }

    #[test]
    fn a_policy_concerns_what_its_filter_matches() {
        for (matches, name, concerns) in [
            ("shop/+", "shop/a", true),
            ("$glob/shop-*", "shop-a", true),
            ("$glob/shop-*", "shop", false),
            ("$regex/shop[0-9]+", "shop17", true),
            ("$regex/.*", "$session/a", false),
            ("$glob/$session/a*", "$session/ab", true),
        ] {
            let policy = Policy { matches: matches.into(), ..Policy::default() };
            assert_eq!(policy.concerns(name), concerns, "{matches} {name}");
        }
    }

    #[test]
    fn pauses_grow_to_their_bound() {
        let secs = Duration::from_secs;
        let redelivery = Redelivery { deliveries_max: None, delay: secs(1), factor_percent: 200, delay_max: secs(5) };
        let pauses: Vec<_> = (1..=5).map(|failed| redelivery.pause(failed).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5]);
        let unsaid = Redelivery { delay_max: Duration::ZERO, ..redelivery };
        assert_eq!((unsaid.pause(17).as_secs(), unsaid.pause(18).as_secs()), (1 << 16, 86_400));
    }
}
