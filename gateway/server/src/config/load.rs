//! Reads the file, lays environment and command line over it, and checks the result.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Table;

use super::check::{Checked, check};
use super::environment::{self, SetBy};
use super::problem::{Place, Problem, Problems, explain};
use super::schema::Config;

/// Read if it is there and no other is named.
const DEFAULT_FILE: &str = "evergate.toml";

/// From where each key has its value, to say so when it is wrong.
pub(super) struct Origins {
    file: Option<(PathBuf, String)>,
    set_by: SetBy,
    journal_argument: bool,
}

impl Origins {
    /// The place of `section.key`, or of the nearest that encloses it. `item` counts from 0 in a list
    /// of tables (`[[listener]]`).
    pub(super) fn place(&self, section: &str, item: usize, key: &str) -> Place {
        let path = format!("{section}.{key}");
        if self.journal_argument && path == "journal.url" {
            return Place::CommandLine("--journal");
        }
        let by_variable = self.set_by.get(&path).or_else(|| self.set_by.get(section));
        if let Some(name) = by_variable {
            return Place::Environment(name.clone());
        }
        let Some((path, content)) = &self.file else { return Place::Default };
        match span_of(content, section, item, key) {
            Some(span) => Place::in_file(path, content, &span),
            None => Place::WholeFile(path.clone()),
        }
    }
}

fn span_of(content: &str, section: &str, item: usize, key: &str) -> Option<std::ops::Range<usize>> {
    let document = toml::de::DeTable::parse(content).ok()?;
    let value = document.get_ref().get(section)?;
    let entry = match value.get_ref() {
        toml::de::DeValue::Array(list) => list.get(item)?,
        _ => value,
    };
    let inner = entry.get_ref().as_table().and_then(|table| table.get_key_value(key));
    Some(inner.map_or_else(|| entry.span(), |(key, _)| key.span()))
}

/// The configuration in force, checked. `file`: must exist if named, else [`DEFAULT_FILE`] is read if
/// it is there.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
    journal: Option<String>,
) -> Result<Checked, Problems> {
    let file = read(file)?;
    let mut table = match &file {
        Some((path, content)) => parse(path, content)?,
        None => Table::new(),
    };
    let set_by = environment::apply(&mut table, variables).map_err(Problems)?;
    let mut config =
        Config::deserialize(table).map_err(|error| Problems(vec![explain(Place::Default, error.message())]))?;
    let journal_argument = journal.is_some();
    if let Some(url) = journal {
        config.journal.url = url;
    }
    check(config, &Origins { file, set_by, journal_argument })
}

fn read(file: Option<&Path>) -> Result<Option<(PathBuf, String)>, Problems> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(content) => Ok(Some((path.to_path_buf(), content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => Ok(None),
        Err(error) => Err(Problems(vec![Problem {
            place: Place::WholeFile(path.to_path_buf()),
            wrong: format!("cannot be read: {error}"),
            allowed: None,
            next: "check the path and who may read it; without --config all defaults apply".into(),
        }])),
    }
}

fn parse(path: &Path, content: &str) -> Result<Table, Problems> {
    let problem = |error: &toml::de::Error| {
        let place = match error.span() {
            Some(span) => Place::in_file(path, content, &span),
            None => Place::WholeFile(path.to_path_buf()),
        };
        Problems(vec![explain(place, error.message())])
    };
    let table: Table = content.parse().map_err(|error| problem(&error))?;
    // Read as a configuration too, from the text: only so the errors know their line.
    toml::from_str::<Config>(content).map_err(|error| problem(&error))?;
    Ok(table)
}
