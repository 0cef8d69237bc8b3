//! The log for people, and beside it the event log.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;

use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};
use crate::event_log::{EventFile, Events, event_log};

/// Target of the line that says why the gateway ends: it is written whatever the filter says.
pub const LAST_WORDS: &str = "evergate::last_words";

/// Why the log cannot be started, for people.
#[derive(Debug)]
pub struct LogError {
    text: String,
    /// 2 if the configuration is wrong, else 1.
    pub exit_code: u8,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Starts both. Returns the events that are to be published.
pub fn start(config: &Config) -> Result<Events, LogError> {
    let log = &config.log;
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| LogError {
        text: format!("[log] filter {:?} cannot be read: {error}", log.filter),
        exit_code: 2,
    })?;
    let file = match config.event_file() {
        None => None,
        Some(path) => {
            Some(EventFile::open(&path, log.events_bytes_max.0).map_err(|error| unusable(config, &path, &error))?)
        }
    };
    let (event_layer, events) = event_log(file);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(event_layer);
    let last_words = FilterFn::new(|metadata| metadata.target() == LAST_WORDS).with_max_level_hint(LevelFilter::ERROR);
    let filter = filter.or(last_words);
    match log.format {
        LogFormat::Text => {
            let lines = lines.with_ansi(io::stderr().is_terminal()).with_target(false);
            registry.with(lines.with_filter(filter)).init();
        }
        LogFormat::Json => registry.with(lines.json().with_filter(filter)).init(),
    }
    Ok(events)
}

/// The event file is the first that is opened in the data directory: what is wrong there is no matter of `[log]`.
fn unusable(config: &Config, path: &Path, error: &io::Error) -> LogError {
    match path.parent().filter(|_| config.log.events_file.is_empty()) {
        Some(directory) => LogError {
            text: format!(
                "the data directory {} cannot be used: {}: {error}; let this user write there, or name another \
                 directory in [journal] url",
                directory.display(),
                path.display()
            ),
            exit_code: 1,
        },
        None => LogError {
            text: format!(
                "[log] events_file {}: {error}; name a file that this user may write, or \"off\"",
                path.display()
            ),
            exit_code: 2,
        },
    }
}
