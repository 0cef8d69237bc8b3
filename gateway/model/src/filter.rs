//! Topic filters with levels: `+` stands for one level, `#` at the end for any number.

use std::fmt;
use std::sync::Arc;

/// A topic filter, checked. `shop/+/orders`, `shop/#`, or a plain topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Arc<str>);

/// Why a string is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// The filter is empty.
    Empty,
    /// The filter is longer than 65,535 bytes.
    TooLong,
    /// The filter has a NUL character.
    Nul,
    /// The filter has more than 128 levels.
    TooDeep,
    /// `#` is not the last level, or `+` or `#` share a level with other characters.
    MisplacedWildcard,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the topic filter is empty",
            Self::TooLong => "the topic filter is longer than 65535 bytes",
            Self::Nul => "the topic filter has a NUL character",
            Self::TooDeep => "the topic filter has more than 128 levels",
            Self::MisplacedWildcard => "+ must fill a level of the topic filter, # must be the whole last level",
        })
    }
}

impl std::error::Error for FilterError {}

/// More levels than anyone uses; keeps every walk over a filter's levels short.
const LEVELS_MAX: usize = 128;

impl Filter {
    /// Checks `text`. [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1]
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, FilterError> {
        let text = text.into();
        if text.is_empty() {
            return Err(FilterError::Empty);
        }
        if text.len() > usize::from(u16::MAX) {
            return Err(FilterError::TooLong);
        }
        if text.contains('\0') {
            return Err(FilterError::Nul);
        }
        if text.split('/').nth(LEVELS_MAX).is_some() {
            return Err(FilterError::TooDeep);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let wild = level.contains(['+', '#']);
            if wild && (level.len() > 1 || (level == "#" && levels.peek().is_some())) {
                return Err(FilterError::MisplacedWildcard);
            }
        }
        Ok(Self(text))
    }

    /// The filter as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has a wildcard at all.
    pub fn is_wild(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Whether a leading wildcard keeps this filter from `topic`: names that begin with `$` or `_`
    /// are matched only by filters that spell their first level out. [MQTT-4.7.2-1]
    pub fn hides(topic: &str) -> bool {
        topic.starts_with(['$', '_'])
    }

    /// Whether `topic` matches. An empty level is a level; `a/#` matches `a` itself.
    pub fn matches(&self, topic: &str) -> bool {
        if Self::hides(topic) && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == "+" || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_mqtt_4_7_says() {
        let table = [
            ("sport/tennis/#", "sport/tennis", true),
            ("sport/tennis/#", "sport/tennis/a/b", true),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "a//b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("#", "_LOG", false),
            ("$SYS/#", "$SYS/x", true),
            ("_LOG", "_LOG", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ];
        for (filter, topic, expected) in table {
            assert_eq!(Filter::new(filter).unwrap().matches(topic), expected, "{filter} on {topic}");
        }
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for text in ["a#", "a/#/b", "a+/b", "+a", "#/"] {
            assert_eq!(Filter::new(text), Err(FilterError::MisplacedWildcard), "{text}");
        }
        assert_eq!(Filter::new(""), Err(FilterError::Empty));
        assert!(Filter::new(["a"; 128].join("/")).is_ok());
        assert_eq!(Filter::new(["a"; 129].join("/")), Err(FilterError::TooDeep));
        for text in ["#", "+", "+/#", "/", "a//+"] {
            assert!(Filter::new(text).is_ok(), "{text}");
        }
    }
}
