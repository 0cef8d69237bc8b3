//! `destination` and `reply-to` headers.

use evergate_model::{Address, AddressKind, Filter};

/// What a destination header names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination<'a> {
    Queue(&'a str),
    Topic(&'a str),
    /// A queue of this connection.
    TempQueue(&'a str),
    /// A topic of this connection.
    TempTopic(&'a str),
    /// All topics that match: nobody can send to it.
    Pattern(Filter),
}

/// The prefix of a connection's own queues.
pub(super) const TEMP_QUEUE: &str = "/temp-queue/";
/// The prefix of a connection's own topics.
pub(super) const TEMP_TOPIC: &str = "/temp-topic/";

impl<'a> Destination<'a> {
    /// Reads a header; the error is text for the client. A bare name is a queue.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        if let Some((kind, name)) = Address::parse(text) {
            Address::check_name(name).map_err(|reason| reason.to_string())?;
            return Ok(match kind {
                AddressKind::Queue => Self::Queue(name),
                AddressKind::Topic => Self::Topic(name),
            });
        }
        if let Some(name) = text.strip_prefix(TEMP_QUEUE) {
            Address::check_name(name).map_err(|reason| reason.to_string())?;
            return Ok(Self::TempQueue(name));
        }
        if let Some(name) = text.strip_prefix(TEMP_TOPIC) {
            Address::check_topic(name).map_err(|reason| reason.to_string())?;
            return Ok(Self::TempTopic(name));
        }
        if let Some(glob) = text.strip_prefix("/glob/") {
            return Filter::glob(glob).map(Self::Pattern).map_err(|reason| reason.to_string());
        }
        if let Some(regex) = text.strip_prefix("/regex/") {
            return Filter::regex(regex).map(Self::Pattern).map_err(|reason| reason.to_string());
        }
        if text.starts_with('/') {
            return Err(format!(
                "a destination begins with /queue/, /topic/, /temp-queue/, /temp-topic/, /glob/ or /regex/: {text}"
            ));
        }
        Address::check_name(text).map_err(|reason| reason.to_string())?;
        Ok(Self::Queue(text))
    }
}
