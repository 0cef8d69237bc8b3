//! What the gateway notes on a dead letter: the names of its [`Annotation`](crate::Annotation)s.

/// All of them begin so.
pub const PREFIX: &str = "dead-letter-";

/// The address that it was sent to.
pub const ORIGIN: &str = "dead-letter-origin";

/// The queue that it left.
pub const QUEUE: &str = "dead-letter-queue";

/// Why.
pub const REASON: &str = "dead-letter-reason";

/// Failed deliveries.
pub const COUNT: &str = "dead-letter-count";

/// When it became a dead letter first, in milliseconds since 1970.
pub const FIRST_TIME: &str = "dead-letter-first-time";

/// When it did so last.
pub const LAST_TIME: &str = "dead-letter-last-time";
