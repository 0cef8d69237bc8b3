//! What a session that persists remembers of the queues that it shares with others.

use crate::Filter;

/// What a persistent session notes a subscription of a queue or a group under, among the bindings of its own
/// queue: the client's text, in which no character is a wildcard, as a pattern's may be.
pub fn note(text: &str) -> Option<Filter> {
    if !is_pattern(text) {
        return Filter::new(text).ok();
    }
    let escaped = text.replace('%', "%25").replace('+', "%2B").replace('#', "%23");
    Filter::new(escaped).ok()
}

/// The client's text of a note.
pub fn noted(filter: &Filter) -> String {
    let text = filter.as_str();
    if !is_pattern(text) {
        return text.to_owned();
    }
    text.replace("%23", "#").replace("%2B", "+").replace("%25", "%")
}

fn is_pattern(text: &str) -> bool {
    text.contains(Filter::GLOB_PREFIX) || text.contains(Filter::REGEX_PREFIX)
}
