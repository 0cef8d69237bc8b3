//! The `evergate` binary: configuration, wiring, subcommands.

mod cli;
mod config;
mod listen;
mod observe;
mod protocols;
mod serve;

use std::io::IsTerminal;
use std::process::ExitCode;

use cli::Start;
use config::{Log, LogFormat};

fn main() -> ExitCode {
    let checked = match cli::start() {
        Start::Finished(code) => return code,
        Start::Serve(checked) => checked,
    };
    if let Err(error) = start_log(&checked.config.log) {
        eprintln!("evergate: {error}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("evergate: the threads it needs cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve::serve(*checked)) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(log: &Log) -> Result<(), String> {
    let filter = tracing_subscriber::EnvFilter::try_new(&log.filter)
        .map_err(|error| format!("[log] filter {:?} cannot be read: {error}", log.filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
