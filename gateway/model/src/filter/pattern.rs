//! Globs and regular expressions over whole names.

use std::fmt;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use super::FilterError;

/// Longest pattern, in bytes.
const TEXT_BYTES_MAX: usize = 4096;
/// Longest name that patterns are tested against.
pub const NAME_BYTES_MAX: usize = 1024;
/// A compiled pattern is no larger, about.
const COMPILED_BYTES_MAX: usize = 64 << 10;
/// What compiling may take meanwhile, in each of its two steps.
const COMPILING_BYTES_MAX: usize = 256 << 10;
/// How deep groups nest.
const NESTING_MAX: u32 = 64;

/// A glob or a regular expression, compiled to a table: testing it is one step for each byte of the name, whatever
/// the pattern.
pub struct Pattern {
    table: dense::DFA<Vec<u32>>,
    /// What every name that matches begins with.
    prefix: String,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pattern").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Pattern {
    pub fn glob(text: &str) -> Result<Self, FilterError> {
        check_text(text)?;
        let (regex, prefix) = translate(text)?;
        Ok(Self { table: compile(&regex)?, prefix })
    }

    pub fn regex(text: &str) -> Result<Self, FilterError> {
        check_text(text)?;
        // By itself first: what is no expression by itself must not become one by what is put around it.
        syntax::parse_with(text, &syntax()).map_err(|_| FilterError::Regex)?;
        let table = compile(&format!(r"(?:{})\z", with_ascii_classes(text)))?;
        Ok(Self { table, prefix: literal_prefix(text) })
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn matches(&self, name: &str) -> bool {
        if name.len() > NAME_BYTES_MAX || !name.starts_with(&self.prefix) {
            return false;
        }
        let name = Input::new(name).anchored(Anchored::Yes);
        self.table.try_search_fwd(&name).is_ok_and(|found| found.is_some())
    }
}

fn check_text(text: &str) -> Result<(), FilterError> {
    if text.is_empty() {
        return Err(FilterError::Empty);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(FilterError::PatternTooLarge);
    }
    if text.contains('\0') {
        return Err(FilterError::Nul);
    }
    Ok(())
}

fn syntax() -> syntax::Config {
    syntax::Config::new().nest_limit(NESTING_MAX)
}

fn compile(text: &str) -> Result<dense::DFA<Vec<u32>>, FilterError> {
    let parsed = syntax::parse_with(text, &syntax()).map_err(|_| FilterError::Regex)?;
    let steps =
        thompson::Config::new().which_captures(thompson::WhichCaptures::None).nfa_size_limit(Some(COMPILING_BYTES_MAX));
    let steps = thompson::Compiler::new().configure(steps).build_from_hir(&parsed);
    let table = dense::Config::new()
        .start_kind(StartKind::Anchored)
        .match_kind(MatchKind::All)
        .accelerate(false)
        .dfa_size_limit(Some(COMPILED_BYTES_MAX))
        .determinize_size_limit(Some(COMPILING_BYTES_MAX));
    let table =
        dense::Builder::new().configure(table).build_from_nfa(&steps.map_err(|_| FilterError::PatternTooLarge)?);
    table
        .map_err(|error| if error.is_size_limit_exceeded() { FilterError::PatternTooLarge } else { FilterError::Regex })
}

/// `\d`, `\w`, `\s` and `\b` as those of ASCII: of Unicode, a pattern with three of them would be too large.
fn with_ascii_classes(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        if next != '\\' {
            ascii.push(next);
            continue;
        }
        match rest.next() {
            Some('d') => ascii.push_str("[[:digit:]]"),
            Some('D') => ascii.push_str("[^[:digit:]]"),
            Some('w') => ascii.push_str("[[:word:]]"),
            Some('W') => ascii.push_str("[^[:word:]]"),
            Some('s') => ascii.push_str("[[:space:]]"),
            Some('S') => ascii.push_str("[^[:space:]]"),
            Some('b') => ascii.push_str(r"(?-u:\b)"),
            Some('B') => ascii.push_str(r"(?-u:\B)"),
            other => {
                ascii.push('\\');
                ascii.extend(other);
            }
        }
    }
    ascii
}

/// A glob as a regular expression, and the characters before its first wildcard.
fn translate(glob: &str) -> Result<(String, String), FilterError> {
    let (mut regex, mut prefix) = (String::from("(?s)"), String::new());
    let mut wild = false;
    let mut rest = glob.chars().peekable();
    while let Some(next) = rest.next() {
        let literal = match next {
            '*' if rest.next_if_eq(&'*').is_some() => {
                regex.push_str(".*");
                None
            }
            '*' => {
                regex.push_str("[^/]*");
                None
            }
            '?' => {
                regex.push_str("[^/]");
                None
            }
            '[' => {
                class(&mut rest, &mut regex)?;
                None
            }
            '\\' => Some(rest.next().ok_or(FilterError::Glob)?),
            other => Some(other),
        };
        match literal {
            Some(literal) => {
                regex.push_str(&escaped(literal));
                if !wild {
                    prefix.push(literal);
                }
            }
            None => wild = true,
        }
    }
    regex.push_str(r"\z");
    Ok((regex, prefix))
}

/// `[a-z]`, `[!a-z]`: one character, never `/`.
fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, regex: &mut String) -> Result<(), FilterError> {
    let negated = rest.next_if(|next| matches!(next, '!' | '^')).is_some();
    regex.push_str(if negated { "[^/" } else { "[" });
    let mut last = None;
    loop {
        let next = match rest.next().ok_or(FilterError::Glob)? {
            ']' if last.is_some() => break,
            '/' => return Err(FilterError::Glob),
            '\\' => rest.next().ok_or(FilterError::Glob)?,
            '-' if last.is_some_and(|last| last != '-') && rest.peek().is_some_and(|next| *next != ']') => {
                let end = match rest.next().ok_or(FilterError::Glob)? {
                    '\\' => rest.next().ok_or(FilterError::Glob)?,
                    end => end,
                };
                if last.is_some_and(|start| start > end || (start..=end).contains(&'/')) {
                    return Err(FilterError::Glob);
                }
                regex.push('-');
                regex.push_str(&escaped(end));
                last = Some('-');
                continue;
            }
            other => other,
        };
        regex.push_str(&escaped(next));
        last = Some(next);
    }
    regex.push(']');
    Ok(())
}

/// A character by itself in a regular expression, in a class too.
fn escaped(literal: char) -> String {
    if literal.is_ascii_punctuation() { format!("\\{literal}") } else { literal.to_string() }
}

/// The plain characters that an expression begins with. Empty where that is not certain at a glance: a flag
/// such as `(?i)` stands before what it concerns, so it ends them.
fn literal_prefix(text: &str) -> String {
    if has_alternatives(text) {
        return String::new();
    }
    let mut prefix = String::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        let literal = match next {
            '\\' if rest.peek().is_some_and(char::is_ascii_punctuation) => rest.next(),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '/' | '-' | '_' | ' ' | ':' | '@' | ',' | '=' => Some(next),
            _ => None,
        };
        let Some(literal) = literal else { break };
        // A quantifier concerns the character before it.
        if rest.peek().is_some_and(|next| matches!(next, '*' | '?' | '{' | '+')) {
            break;
        }
        prefix.push(literal);
    }
    prefix
}

/// Whether there may be alternatives to the expression as a whole. Inside a group they do not concern its begin.
fn has_alternatives(text: &str) -> bool {
    if !text.contains('|') {
        return false;
    }
    // In a class parentheses are characters like others; whoever has both is not worth a parser.
    let (mut depth, mut in_doubt) = (0, text.contains('['));
    let mut rest = text.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => drop(rest.next()),
            '(' => depth += 1,
            ')' => depth -= 1,
            '|' if depth == 0 => in_doubt = true,
            _ => {}
        }
    }
    in_doubt
}
