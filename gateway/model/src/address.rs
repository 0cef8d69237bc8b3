//! Where a message goes: one string in every protocol, levels separated by `/`.

use std::fmt;
use std::sync::Arc;

use crate::large::BODY_PREFIX;

/// Names that begin with this are the gateway's own ([`DEAD_LETTER_QUEUE`], `_LOG`); clients cannot publish to them.
pub const RESERVED_PREFIX: char = '_';

/// Requests to the administration go here: the one reserved name that some clients may publish to.
pub const ADMIN_NAME: &str = "_ADMIN";

/// Dead letters are sent here; clients consume it and cannot publish to it.
pub const DEAD_LETTER_QUEUE: &str = "_DMQ";

/// The gateway's figures, which MQTT tools look for here; clients cannot publish to them either.
pub const SYSTEM_PREFIX: &str = "$SYS/";

/// The gateway names temporary queues so.
pub const TEMPORARY_PREFIX: &str = "$temporary/";

/// Before the client id: the queue of an MQTT session.
pub const SESSION_PREFIX: &str = "$session/";

/// Before the client id and the name: the queue of a subscription that outlives its consumer.
pub const SUBSCRIPTION_PREFIX: &str = "$subscription/";

/// Before the group and the filter: the queue of a subscription that several share.
pub const SHARED_PREFIX: &str = "$share/";

/// Queue or topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressKind {
    /// Each message goes to one consumer.
    Queue,
    /// Each message goes to every subscription that matches.
    Topic,
}

/// A destination's kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Queue or topic.
    pub kind: AddressKind,
    /// The name, as every protocol writes it: `orders`, `shop/eu/orders`.
    pub name: Arc<str>,
}

/// Why a string names no destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// The name is empty.
    Empty,
    /// The name is longer than 65,535 bytes, MQTT's limit, which holds for all.
    TooLong,
    /// The name has a NUL character.
    Nul,
    /// A publish address has a wildcard (`+` or `#` as a level).
    Wildcard,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the destination name is empty",
            Self::TooLong => "the destination name is longer than 65535 bytes",
            Self::Nul => "the destination name has a NUL character",
            Self::Wildcard => "a message cannot be sent to a wildcard (+ or #)",
        })
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// A queue.
    pub fn queue(name: impl Into<Arc<str>>) -> Self {
        Self { kind: AddressKind::Queue, name: name.into() }
    }

    /// A topic.
    pub fn topic(name: impl Into<Arc<str>>) -> Self {
        Self { kind: AddressKind::Topic, name: name.into() }
    }

    /// Splits `/queue/orders`, `queue://orders`, `/topic/a/b`, `topic://a/b` into kind and name.
    /// `None`: the text carries no kind (a bare name), or another prefix.
    pub fn parse(text: &str) -> Option<(AddressKind, &str)> {
        let table = [
            ("/queue/", AddressKind::Queue),
            ("queue://", AddressKind::Queue),
            ("/topic/", AddressKind::Topic),
            ("topic://", AddressKind::Topic),
        ];
        table.iter().find_map(|(prefix, kind)| Some((*kind, text.strip_prefix(prefix)?)))
    }

    /// Checks that a message can be sent to `name`.
    pub fn check_name(name: &str) -> Result<(), AddressError> {
        if name.is_empty() {
            return Err(AddressError::Empty);
        }
        if name.len() > usize::from(u16::MAX) {
            return Err(AddressError::TooLong);
        }
        if name.contains('\0') {
            return Err(AddressError::Nul);
        }
        Ok(())
    }

    /// Checks a topic name that a message is sent to: as [`Self::check_name`], and no wildcard characters.
    pub fn check_topic(name: &str) -> Result<(), AddressError> {
        Self::check_name(name)?;
        if name.contains(['+', '#']) {
            return Err(AddressError::Wildcard);
        }
        Ok(())
    }

    /// Whether this is the name of a queue that clients do not reach by name: that of a session or of a
    /// subscription. Temporary queues are reply addresses, so they are reached.
    pub fn is_private_queue(name: &str) -> bool {
        name.starts_with('$') && !name.starts_with(TEMPORARY_PREFIX)
    }

    /// Whether clients may not publish here.
    pub fn is_reserved(&self) -> bool {
        self.name.starts_with(RESERVED_PREFIX)
            || self.name.starts_with(SYSTEM_PREFIX)
            || self.name.starts_with(BODY_PREFIX)
    }
}

/// The canonical form, `/queue/orders` or `/topic/shop/eu/orders`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.kind {
            AddressKind::Queue => "/queue/",
            AddressKind::Topic => "/topic/",
        };
        write!(f, "{prefix}{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses_parse_to_themselves() {
        for text in ["/queue/orders", "/topic/shop/eu/orders", "/topic//", "/queue/a b"] {
            let (kind, name) = Address::parse(text).unwrap();
            assert_eq!(Address { kind, name: name.into() }.to_string(), text);
        }
        assert_eq!(Address::parse("topic://a/b"), Some((AddressKind::Topic, "a/b")));
        assert_eq!(Address::parse("orders"), None);
    }

    #[test]
    fn queues_of_sessions_and_subscriptions_are_private() {
        for (name, private) in [("$session/a", true), ("$share/g/f", true), ("$temporary/1", false), ("a", false)] {
            assert_eq!(Address::is_private_queue(name), private, "{name}");
        }
    }

    #[test]
    fn clients_cannot_publish_to_the_gateways_own_names() {
        for (name, reserved) in [("_LOG/info", true), ("$SYS/x", true), ("$SYS", false), ("a/_b", false)] {
            assert_eq!(Address::topic(name).is_reserved(), reserved, "{name}");
        }
    }

    #[test]
    fn names_are_checked_at_their_edges() {
        assert_eq!(Address::check_name(""), Err(AddressError::Empty));
        assert_eq!(Address::check_name(&"x".repeat(65_535)), Ok(()));
        assert_eq!(Address::check_name(&"x".repeat(65_536)), Err(AddressError::TooLong));
        assert_eq!(Address::check_name("a\0"), Err(AddressError::Nul));
        assert_eq!(Address::check_topic("a/+"), Err(AddressError::Wildcard));
    }
}
