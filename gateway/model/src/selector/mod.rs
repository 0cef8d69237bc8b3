//! Message selectors (stand-in until the parser lands).
use std::sync::Arc;

use crate::{Formats, Message, View};

/// A selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector(Arc<str>);

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError(String);

impl std::fmt::Display for SelectorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SelectorError {}

impl Selector {
    /// Compiles `text`.
    pub fn parse(_text: &str) -> Result<Self, SelectorError> {
        Err(SelectorError("selectors are not supported yet".into()))
    }
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether it selects the message.
    pub fn matches(&self, _message: &Message, _view: &View<'_>) -> bool {
        true
    }
    /// Whether it selects the message.
    pub fn matches_with(&self, _message: &Message, _formats: &Formats) -> bool {
        true
    }
}
