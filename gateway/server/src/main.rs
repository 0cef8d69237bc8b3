//! The `evergate` binary: configuration, wiring, subcommands.

mod cli;
mod config;
mod event_log;
mod listen;
mod observe;
mod operations;
mod protocols;
mod serve;

use std::io::IsTerminal;
use std::process::ExitCode;

use cli::Start;
use config::{Config, LogFormat};
use event_log::{Event, EventFile, event_log};
use tokio::sync::mpsc::Receiver;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// glibc's allocator grows slower with what lies in memory: with 64 MiB of a deep queue resident, a message of any
/// queue cost half as much again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let checked = match cli::start() {
        Start::Finished(code) => return code,
        Start::Serve(checked) => checked,
    };
    let events = match start_log(&checked.config) {
        Ok(events) => events,
        Err(error) => {
            eprintln!("evergate: {error}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("evergate: the threads it needs cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve::serve(*checked, events)) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the log for people and the event log. Returns the events that are to be published.
fn start_log(config: &Config) -> Result<Receiver<Event>, String> {
    let log = &config.log;
    let filter = tracing_subscriber::EnvFilter::try_new(&log.filter)
        .map_err(|error| format!("[log] filter {:?} cannot be read: {error}", log.filter))?;
    let file = match config.event_file() {
        None => None,
        Some(path) => Some(
            EventFile::open(&path, log.events_bytes_max.0)
                .map_err(|error| format!("[log] events_file {}: {error}", path.display()))?,
        ),
    };
    let (event_layer, events) = event_log(file);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(event_layer);
    match log.format {
        LogFormat::Text => {
            let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_target(false);
            registry.with(lines.with_filter(filter)).init();
        }
        LogFormat::Json => registry.with(lines.json().with_filter(filter)).init(),
    }
    Ok(events)
}
