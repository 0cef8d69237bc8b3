//! `EVERGATE__SECTION__KEY=value` over what the file says.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::problem::{Place, Problem, explain};
use super::schema::Config;

const PREFIX: &str = "EVERGATE__";

/// Which variable set a key: by `section.key`.
pub(super) type SetBy = BTreeMap<String, String>;

/// Applies the variables to `table`, in the order of their names. Each must leave it a valid
/// configuration, so that what is wrong can be told by the variable's name.
pub(super) fn apply(
    table: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<SetBy, Vec<Problem>> {
    let ours: BTreeMap<String, String> = variables.into_iter().filter(|(name, _)| is_ours(name)).collect();
    let (mut set_by, mut problems) = (SetBy::new(), Vec::new());
    for (name, text) in ours {
        let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_lowercase).collect();
        match with_one(table, &path, &text) {
            Ok(changed) => {
                *table = changed;
                set_by.insert(path.join("."), name);
            }
            Err(message) => problems.push(explain(Place::Environment(name), &message)),
        }
    }
    if problems.is_empty() { Ok(set_by) } else { Err(problems) }
}

fn is_ours(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

fn with_one(table: &Table, path: &[String], text: &str) -> Result<Table, String> {
    let as_text = Value::String(text.to_owned());
    // As TOML where it is TOML (1000, true, ["a", "b"]), else as text: nobody quotes twice in a shell.
    let value = match format!("value = {text}").parse::<Table>() {
        Ok(mut parsed) if parsed.len() == 1 => parsed.remove("value").unwrap_or_else(|| as_text.clone()),
        _ => as_text.clone(),
    };
    let first = try_value(table, path, value.clone());
    if first.is_err() && value != as_text {
        // A name or a password may look like a number.
        if let Ok(changed) = try_value(table, path, as_text) {
            return Ok(changed);
        }
    }
    first
}

fn try_value(table: &Table, path: &[String], value: Value) -> Result<Table, String> {
    let mut changed = table.clone();
    let Some((key, sections)) = path.split_last() else { return Ok(changed) };
    let mut inner = &mut changed;
    for section in sections {
        let entry = inner.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
        inner = entry
            .as_table_mut()
            .ok_or_else(|| format!("`{section}` has no keys of its own; give it as a whole, in TOML's form"))?;
    }
    inner.insert(key.clone(), value);
    Config::deserialize(changed.clone()).map(|_| changed).map_err(|error| error.message().to_owned())
}
