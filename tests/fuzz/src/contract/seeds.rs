//! Valid inputs that a target starts from.

use std::path::Path;

/// Writes `seeds` into the corpus directory that this program was started with, if it is to fuzz.
/// Called before the fuzzer reads the directory.
pub fn plant(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let mut directory = None;
    for argument in std::env::args().skip(1) {
        if argument.starts_with("-merge") || argument.starts_with("-minimize") {
            return;
        }
        if directory.is_none() && !argument.starts_with('-') && Path::new(&argument).is_dir() {
            directory = Some(argument);
        }
    }
    let Some(directory) = directory else { return };
    for (number, seed) in seeds.into_iter().enumerate() {
        let path = Path::new(&directory).join(format!("seed-{number}"));
        std::fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
