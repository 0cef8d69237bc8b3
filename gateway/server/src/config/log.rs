//! The log: a filter that says what is meant, a file that can be one.

use std::path::Path;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::check::Check;
use super::schema::Config;

/// Our own targets begin so.
const OURS: &str = "evergate";

impl Check<'_> {
    pub(super) fn log(&mut self, config: &Config) {
        let filter = &config.log.filter;
        let wrong = match EnvFilter::try_new(filter) {
            Err(error) => Some(format!("the filter {filter:?} cannot be read: {error}")),
            Ok(_) => slip(filter).map(|word| format!("{word:?} is no level; read as a target it hides even errors")),
        };
        if let Some(wrong) = wrong {
            self.wrong(
                ("log", 0, "filter"),
                wrong,
                Some("off, error, warn, info, debug or trace; then, by target, such as info,evergate_runtime=debug"),
                "correct the word, or remove the key for its default",
            );
        }
        let events_file = &config.log.events_file;
        if Path::new(events_file).is_dir() {
            self.wrong(
                ("log", 0, "events_file"),
                format!("{events_file} is a directory"),
                Some("the path of a file, \"off\", or \"\""),
                "name a file in it",
            );
        }
    }
}

/// The word that was to be a level, if the filter has none for all that it does not name.
fn slip(filter: &str) -> Option<&str> {
    let mut bare = filter.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.contains(['=', '[']));
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    if bare.clone().any(is_level) { None } else { bare.find(|word| !word.starts_with(OURS)) }
}
