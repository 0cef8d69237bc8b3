//! The command line: what was asked for, and everything that is done without a gateway in this process.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Checked};

mod client;
mod hash;
mod target;
mod wire;

#[cfg(test)]
mod tests;

pub use client::ClientError;
use target::Target;

/// What was asked for cannot be done as it was written (as clap has it).
const EXIT_USAGE: u8 = 2;

/// A durable messaging gateway: MQTT, AMQP, STOMP and browsers through one destination core.
#[derive(Debug, Parser)]
#[command(name = "evergate", version)]
struct Cli {
    /// Configuration file [default: evergate.toml, if it is there]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Where durable state lives: sqlite:DIRECTORY or postgres://…
    #[arg(long, global = true, value_name = "URL")]
    journal: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway; what happens without a subcommand, too
    Serve,
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prepare accounts
    #[command(subcommand)]
    User(UserCommand),
    /// Print the messages of a topic, a pattern (shop/#) or a queue ($queue/orders), a line each
    Sub(Sub),
    /// Publish one message and wait until the gateway has it
    Pub(Pub),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration and print the listeners it gives
    Check,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Read a password from standard input and print the `[[user]]` lines for it
    Hash {
        /// Name of the user
        #[arg(default_value = "NAME")]
        name: String,
    },
}

#[derive(Debug, Args)]
struct Sub {
    /// Topic, pattern, or $queue/NAME
    filter: String,
    /// Stop after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Pub {
    /// Topic, or $queue/NAME
    topic: String,
    /// The message
    body: String,
    /// Keep it as the topic's last message
    #[arg(long)]
    retain: bool,
    #[command(flatten)]
    target: Target,
}

/// What `main` has to do.
pub enum Start {
    /// Run the gateway.
    Serve(Box<Checked>),
    /// Nothing more.
    Finished(ExitCode),
}

/// Reads the command line and does all that needs no gateway.
pub fn start() -> Start {
    let cli = Cli::parse();
    let (mut out, mut errors) = (io::stdout().lock(), io::stderr().lock());
    let code = match cli.command {
        None | Some(Command::Serve) => match checked(cli.config.as_deref(), cli.journal) {
            Ok(checked) => return Start::Serve(Box::new(checked)),
            Err(problems) => failed(&mut errors, EXIT_USAGE, &problems),
        },
        Some(Command::Config(ConfigCommand::Check)) => match checked(cli.config.as_deref(), cli.journal) {
            Ok(checked) => finished(&mut errors, report(&mut out, &checked).map_err(Into::into)),
            Err(problems) => failed(&mut errors, EXIT_USAGE, &problems),
        },
        Some(Command::User(UserCommand::Hash { name })) => match hash::user_lines(&name, &mut io::stdin().lock()) {
            Ok(lines) => finished(&mut errors, write!(out, "{lines}").map_err(Into::into)),
            Err(error) => failed(&mut errors, EXIT_USAGE, &error),
        },
        Some(Command::Sub(sub)) => {
            finished(&mut errors, client::subscribe(&sub.target, &sub.filter, sub.count, &mut out))
        }
        Some(Command::Pub(publish)) => {
            let (topic, body) = (&publish.topic, publish.body.as_bytes());
            finished(&mut errors, client::publish(&publish.target, topic, body, publish.retain))
        }
    };
    Start::Finished(code)
}

fn checked(file: Option<&Path>, journal: Option<String>) -> Result<Checked, config::Problems> {
    // A variable that is not UTF-8 is none of ours: it cannot hold a value in TOML.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::load(file, variables, journal)
}

fn report(out: &mut impl Write, checked: &Checked) -> io::Result<()> {
    writeln!(out, "OK")?;
    writeln!(out, "journal  {}", without_password(&checked.config.journal.url))?;
    for listener in &checked.listeners {
        writeln!(out, "listens  {listener}")?;
    }
    writeln!(out, "accounts {}", checked.config.user.len())?;
    for warning in &checked.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    out.flush()
}

/// Parameters of a URL that are no secret.
const SHOWN: [&str; 7] =
    ["application_name", "connect_timeout", "host", "port", "sslmode", "sslrootcert", "target_session_attrs"];

/// `postgres://user:…@host/database?sslmode=require`: without the password, wherever it stands.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
    let login = match login {
        None => String::new(),
        // Whatever this is, the password may be anywhere in it.
        Some(login) if login.contains(['/', '?']) => return format!("{scheme}://…"),
        Some(login) => login.split_once(':').map_or(format!("{login}@"), |(user, _)| format!("{user}:…@")),
    };
    let Some((place, parameters)) = place.split_once('?') else { return format!("{scheme}://{login}{place}") };
    let shown = parameters.split('&').map(|parameter| match parameter.split_once('=') {
        Some((key, _)) if !SHOWN.contains(&key) => format!("{key}=…"),
        _ => parameter.to_owned(),
    });
    format!("{scheme}://{login}{place}?{}", shown.collect::<Vec<_>>().join("&"))
}

fn finished(errors: &mut impl Write, result: Result<(), ClientError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has seen enough (`evergate sub … | head -1`).
        Err(ClientError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(errors, 1, &error),
    }
}

fn failed(errors: &mut impl Write, code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    // Nobody is left to be told if standard error is gone.
    let _ = writeln!(errors, "{error}");
    ExitCode::from(code)
}

/// One line without its end.
fn read_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
