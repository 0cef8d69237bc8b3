//! Topic filters: with levels (`+` stands for one, `#` at the end for any number), globs, and regular expressions.

mod pattern;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use self::pattern::Pattern;

/// A topic filter, checked: `shop/+/orders`, `shop/#`, a plain topic; or a glob, or a regular expression.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The canonical text: that of a pattern begins with its kind.
    text: Arc<str>,
    pattern: Option<Arc<Pattern>>,
}

/// Begins the canonical text of a glob. No filter with levels begins so: `#` would have to fill its level.
const GLOB: &str = "#glob:";
/// Begins the canonical text of a regular expression.
const REGEX: &str = "#regex:";

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
    /// The glob has a class that does not end, is not in order or holds `/`, or ends in a backslash.
    Glob,
    /// The regular expression is none.
    Regex,
    /// The pattern is longer than 4,096 bytes, or takes more than 64 KiB when it is compiled.
    PatternTooLarge,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the topic filter is empty",
            Self::TooLong => "the topic filter is longer than 65535 bytes",
            Self::Nul => "the topic filter has a NUL character",
            Self::TooDeep => "the topic filter has more than 128 levels",
            Self::MisplacedWildcard => "+ must fill a level of the topic filter, # must be the whole last level",
            Self::Glob => {
                "the glob is not complete: a class [a-z] must end, rise and not hold /, a backslash needs a character"
            }
            Self::Regex => "the regular expression is not valid; look-around and back-references are not known here",
            Self::PatternTooLarge => {
                "the pattern is longer than 4096 bytes, or takes more than 64 KiB when it is compiled: repetitions {m,n} \
                 and long alternatives make it large"
            },
        })
    }
}

impl std::error::Error for FilterError {}

/// More levels than anyone uses; keeps every walk over a filter's levels short.
const LEVELS_MAX: usize = 128;

impl Filter {
    /// How MQTT clients and operators write a glob; the glob follows.
    pub const GLOB_PREFIX: &str = "$glob/";
    /// Likewise a regular expression.
    pub const REGEX_PREFIX: &str = "$regex/";
    /// Longer names match no pattern, so that a new topic is not long in meeting a thousand of them.
    pub const PATTERN_NAME_BYTES_MAX: usize = pattern::NAME_BYTES_MAX;

    /// Reads a filter of any kind as MQTT clients and operators write it: what [`Self::written`] gives.
    pub fn read(text: &str) -> Result<Self, FilterError> {
        if let Some(glob) = text.strip_prefix(Self::GLOB_PREFIX) {
            Self::glob(glob)
        } else if let Some(regex) = text.strip_prefix(Self::REGEX_PREFIX) {
            Self::regex(regex)
        } else {
            Self::new(text)
        }
    }

    /// The filter as MQTT clients and operators write it: `shop/+`, `$glob/shop/*`, `$regex/…`.
    pub fn written(&self) -> String {
        match (self.text.strip_prefix(GLOB), self.text.strip_prefix(REGEX)) {
            (Some(glob), _) => format!("{}{glob}", Self::GLOB_PREFIX),
            (_, Some(regex)) => format!("{}{regex}", Self::REGEX_PREFIX),
            (None, None) => self.text.to_string(),
        }
    }

    /// Checks a filter with levels. [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1]
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
        Ok(Self { text, pattern: None })
    }

    /// A glob over the whole name: `*` stands for any characters but `/`, `**` for any, `?` for one but `/`,
    /// `[a-z]` for one of these, `[!a-z]` for one but these and `/`; `\` takes the next character as it is.
    pub fn glob(text: &str) -> Result<Self, FilterError> {
        let pattern = Some(Arc::new(Pattern::glob(text)?));
        Ok(Self { text: format!("{GLOB}{text}").into(), pattern })
    }

    /// A regular expression over the whole name, of the kind that is tested in linear time: without
    /// look-around and back-references. `\d`, `\w`, `\s` and `\b` are those of ASCII.
    pub fn regex(text: &str) -> Result<Self, FilterError> {
        let pattern = Some(Arc::new(Pattern::regex(text)?));
        Ok(Self { text: format!("{REGEX}{text}").into(), pattern })
    }

    /// Reads the canonical text of any kind: what [`Self::as_str`] gives.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if let Some(glob) = text.strip_prefix(GLOB) {
            Self::glob(glob)
        } else if let Some(regex) = text.strip_prefix(REGEX) {
            Self::regex(regex)
        } else {
            Self::new(text)
        }
    }

    /// The canonical text: a filter with levels as written, `#glob:` or `#regex:` and the pattern.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a glob or a regular expression.
    pub fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// Whether it has a wildcard at all.
    pub fn is_wild(&self) -> bool {
        self.is_pattern() || self.text.contains(['+', '#'])
    }

    /// What every name that matches begins with; maybe nothing.
    pub fn literal_prefix(&self) -> &str {
        match &self.pattern {
            Some(pattern) => pattern.prefix(),
            // The level before `#` matches, too.
            None => self.text.find(['+', '#']).map_or(&*self.text, |end| self.text[..end].trim_end_matches('/')),
        }
    }

    /// Whether a leading wildcard keeps this filter from `topic`: names that begin with `$` or `_`
    /// are matched only by filters that spell their first level out, and by patterns that spell this first
    /// character out. [MQTT-4.7.2-1]
    pub fn hides(topic: &str) -> bool {
        topic.starts_with(['$', '_'])
    }

    /// Whether `topic` matches. An empty level is a level; `a/#` matches `a` itself.
    pub fn matches(&self, topic: &str) -> bool {
        if let Some(pattern) = &self.pattern {
            return (!Self::hides(topic) || !pattern.prefix().is_empty()) && pattern.matches(topic);
        }
        if Self::hides(topic) && self.text.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.text.split('/') {
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
        f.write_str(&self.text)
    }
}

// The text says all: the compiled pattern follows from it.

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl PartialOrd for Filter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Filter {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
