//! The `evergate` binary: configuration, wiring, subcommands.

mod cli;
mod config;
mod descriptors;
mod event_log;
mod listen;
mod log;
mod observe;
mod operations;
mod protocols;
mod serve;

use std::process::ExitCode;

use cli::Start;

/// glibc's allocator grows slower with what lies in memory: with 64 MiB of a deep queue resident, a message of any
/// queue cost half as much again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let checked = match cli::start() {
        Start::Finished(code) => return code,
        Start::Serve(checked) => checked,
    };
    let events = match log::start(&checked.config) {
        Ok(events) => events,
        Err(error) => {
            eprintln!("evergate: {error}");
            return ExitCode::from(error.exit_code);
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
            tracing::error!(target: log::LAST_WORDS, "{error}");
            ExitCode::FAILURE
        }
    }
}
