//! What is wrong with a configuration, for a person.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file; line and column count from 1.
    File {
        /// Which.
        path: PathBuf,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
        /// The line's text.
        text: String,
    },
    /// The file as a whole.
    WholeFile(PathBuf),
    /// An environment variable.
    Environment(String),
    /// An argument.
    CommandLine(&'static str),
    /// A default.
    Default,
}

impl Place {
    /// The place of a span in a file's text.
    pub fn in_file(path: &Path, content: &str, span: &Range<usize>) -> Self {
        let before = content.get(..span.start).unwrap_or(content);
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |start| start.chars().count());
        let text = content.lines().nth(line).unwrap_or_default().to_owned();
        Self::File { path: path.to_path_buf(), line: line + 1, column: column + 1, text }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column, .. } => write!(f, "{}:{line}:{column}", path.display()),
            Self::WholeFile(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::CommandLine(argument) => write!(f, "argument {argument}"),
            Self::Default => f.write_str("configuration"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub wrong: String,
    /// What is allowed, if that can be said in a line.
    pub allowed: Option<String>,
    /// What to do next.
    pub next: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.wrong)?;
        if let Place::File { line, text, column, .. } = &self.place {
            let margin = line.to_string().len();
            write!(f, "\n  {line} | {}\n  {:margin$} | {:>column$}", shown(text), "", "^")?;
        }
        if let Some(allowed) = &self.allowed {
            write!(f, "\n  allowed: {allowed}")?;
        }
        write!(f, "\n  next: {}", self.next)
    }
}

/// The line, without what may be a secret.
fn shown(text: &str) -> String {
    match text.split_once('=') {
        Some((key, value)) if key.trim_start().starts_with("password") || value.contains("postgres") => {
            format!("{key}= …")
        }
        _ => text.to_owned(),
    }
}

/// Everything that is wrong; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Says what the parser found in words for a person.
pub(super) fn explain(place: Place, message: &str) -> Problem {
    const MANUAL: &str = "docs/configuration.md lists every key, its default and its unit";
    let quoted = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let names = quoted(rest);
        if let Some((unknown, known)) = names.split_first() {
            let next = match nearest(unknown, known) {
                Some(near) => format!("write `{near}` if that is what you mean, else remove it; {MANUAL}"),
                None => format!("remove it; {MANUAL}"),
            };
            let allowed = Some(known.join(", ")).filter(|list| !list.is_empty());
            return Problem { place, wrong: format!("unknown key `{unknown}`"), allowed, next };
        }
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        return Problem {
            place,
            wrong: format!("the key {} is missing here", rest.trim()),
            allowed: None,
            next: format!("add it; {MANUAL}"),
        };
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let names = quoted(rest);
        if let Some((unknown, known)) = names.split_first() {
            let next = format!("choose one of them; {MANUAL}");
            return Problem {
                place,
                wrong: format!("`{unknown}` is no choice"),
                allowed: Some(known.join(", ")),
                next,
            };
        }
    }
    for (prefix, says) in [("invalid type: ", "this is"), ("invalid value: ", "this is")] {
        if let Some((found, expected)) = message.strip_prefix(prefix).and_then(|rest| rest.split_once(", expected ")) {
            return Problem {
                place,
                wrong: format!("{says} {found}"),
                allowed: Some(in_words(expected)),
                next: format!("change it; {MANUAL}"),
            };
        }
    }
    let next = format!("correct the TOML there; {MANUAL}");
    Problem { place, wrong: message.replace('\n', ", "), allowed: None, next }
}

fn in_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" => {
            let bits: u32 = expected[1..].parse().unwrap_or(64);
            format!("a whole number from 0 to {}", u64::MAX >> (64 - bits))
        }
        "a boolean" => "true or false".into(),
        "a sequence" => "a list: [\"…\", \"…\"]".into(),
        other => other.to_owned(),
    }
}

/// The known name that a slip of the finger may have meant.
fn nearest<'a>(unknown: &str, known: &'a [String]) -> Option<&'a str> {
    // Two letters exchanged are two changes; a short name would be near to everything.
    let far = if unknown.chars().count() < 4 { 1 } else { 2 };
    let ranked = known.iter().map(|name| (distance(&unknown.to_lowercase(), name), name.as_str()));
    ranked.min().filter(|(distance, _)| *distance <= far).map(|(_, name)| name)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
