//! JMS message selectors: compiled once, evaluated over messages of any protocol.
//!
//! The grammar and its meaning are section 3.8 of JMS 2.0, which Jakarta Messaging 3.1 repeats.
//! `docs/selectors.md` says what is added to it.

mod error;
mod evaluate;
mod expression;
mod identifier;
mod input;
mod lexer;
mod like;
mod number;
mod operand;
mod parser;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use error::SelectorError;

use self::error::Fault;
use self::evaluate::Environment;
use self::expression::Program;
use crate::{Formats, Message, View};

/// The longest text.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// How deep parentheses nest. Nothing else makes an expression deep.
const NESTING_MAX: usize = 64;
/// How many operators, names, literals and characters of LIKE patterns there are together: what bounds
/// the time that one evaluation takes.
const NODES_MAX: usize = 4096;
/// Longer texts in a message compare with nothing: with [`NODES_MAX`], what bounds that time.
const COMPARED_BYTES_MAX: usize = 64 * 1024;

/// A message selector.
#[derive(Clone)]
pub struct Selector {
    text: Arc<str>,
    program: Arc<Program>,
}

impl Selector {
    /// Compiles `text`. A blank text selects every message, as JMS says of the empty selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Fault::new(0, format!("it is longer than {TEXT_BYTES_MAX} bytes")).into_error(text, 0));
        }
        let trimmed = text.trim_matches(lexer::WHITESPACE);
        let program = parser::compile(trimmed).map_err(|fault| {
            let leading = text.len() - text.trim_start_matches(lexer::WHITESPACE).len();
            fault.into_error(text, leading)
        })?;
        Ok(Self { text: trimmed.into(), program: Arc::new(program) })
    }

    /// The text as given, without the white space around it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `message`, seen as `view`, is selected: the expression is true, neither false nor unknown.
    pub fn matches(&self, message: &Message, view: &View<'_>) -> bool {
        Environment::new(&self.program, message, Some(view)).truth() == Some(true)
    }

    /// As [`Self::matches`], making a view only if the expression needs more than `message.meta`.
    pub fn matches_with(&self, message: &Message, formats: &Formats) -> bool {
        if self.program.needs_view {
            self.matches(message, &formats.view(message))
        } else {
            Environment::new(&self.program, message, None).truth() == Some(true)
        }
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Selector").field(&self.text).finish()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The text says all: the program follows from it.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl Hash for Selector {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
