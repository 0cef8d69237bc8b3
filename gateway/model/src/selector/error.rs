//! Why a text is no selector, and where.

use std::borrow::Cow;
use std::fmt;

use winnow::error::ParserError;
use winnow::stream::Stream;

/// Why a text is no selector, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    reason: Cow<'static, str>,
    column: usize,
}

impl SelectorError {
    /// Where, counted in characters from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "selector: {} at column {}", self.reason, self.column)
    }
}

impl std::error::Error for SelectorError {}

/// An error while the text is read: where in bytes, which become a column at the end.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    offset: usize,
    reason: Cow<'static, str>,
}

impl Fault {
    pub(super) fn new(offset: usize, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { offset, reason: reason.into() }
    }

    /// The error in `text`, of which `leading` bytes were cut off.
    pub(super) fn into_error(self, text: &str, leading: usize) -> SelectorError {
        let end = leading + self.offset;
        let column = 1 + text.char_indices().take_while(|(at, _)| *at < end).count();
        SelectorError { reason: self.reason, column }
    }
}

/// What winnow's own parsers say: nothing, since whoever calls them says what it expected.
impl<I: Stream> ParserError<I> for Fault {
    type Inner = Self;

    fn from_input(_input: &I) -> Self {
        Self::new(0, "")
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}
