//! Load for message brokers: pairs of one publisher and one consumer, each pair with a queue of its own.
//!
//! The same code drives every broker. One run is one case (protocol, durable or not, number of pairs) against one
//! broker; its result is one line of JSON. A message that is lost, repeated or out of order fails the run.

mod amqp;
mod gate;
mod mqtt;
mod pair;
mod processor;
mod result;
mod stomp;

use std::io::{self, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

/// A broker that says nothing for this long while it owes something has failed the run.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of a message's body.
pub const BODY_BYTES: usize = 256;

/// Messages that a consumer may hold unacknowledged, in every protocol.
pub const PREFETCH: u32 = 1024;

/// What to do, from the command line.
pub struct Plan {
    pub protocol: String,
    pub address: String,
    pub durable: bool,
    pub pairs: u32,
    /// Prefix of queues and client names: makes a run independent of those before it.
    pub name: String,
    /// Messages a second, all pairs together, while latency is measured.
    pub rate: f64,
    pub paced: Duration,
    pub full: Duration,
    /// Unconfirmed messages of a publisher (durable only).
    pub window: u64,
    /// Processes whose CPU time is the broker's.
    pub pids: Vec<u32>,
}

/// One end of a pair on the wire.
pub struct Publisher {
    pub stream: TcpStream,
    pub encoder: Box<dyn Encoder>,
    pub confirms: Box<dyn Confirms>,
    /// Messages that may be sent at the start; grows by `Confirms::read` where a protocol has credit.
    pub credit: u64,
}

pub struct Consumer {
    pub stream: TcpStream,
    pub decoder: Box<dyn Decoder>,
    /// Ends the connection in order; the broker's answer is awaited if there is one.
    pub goodbye: Box<dyn FnOnce(TcpStream) -> io::Result<()> + Send>,
}

/// Writes messages.
pub trait Encoder: Send {
    fn message(&mut self, body: &[u8], out: &mut Vec<u8>);
    fn goodbye(&mut self, out: &mut Vec<u8>);
}

/// What a broker tells a publisher.
#[derive(Default)]
pub struct Progress {
    pub confirmed: u64,
    /// New absolute number of messages that may be sent.
    pub credit: Option<u64>,
}

/// Reads what a broker answers to a publisher. Takes whole frames, returns the bytes taken.
pub trait Confirms: Send {
    /// Whether every message is confirmed.
    fn confirms_messages(&self) -> bool;
    fn read(&mut self, bytes: &[u8], progress: &mut Progress) -> io::Result<usize>;
}

/// Reads messages, writes acknowledgements of all that one call read. Takes whole frames, returns the bytes taken.
pub trait Decoder: Send {
    fn read(&mut self, bytes: &[u8], body: &mut dyn FnMut(&[u8]), out: &mut Vec<u8>) -> io::Result<usize>;
}

pub fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::other(text.into())
}

pub fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn plan() -> Result<Plan, String> {
    let mut plan = Plan {
        protocol: String::new(),
        address: String::new(),
        durable: false,
        pairs: 1,
        name: "bench".into(),
        rate: 1000.0,
        paced: Duration::from_secs(1),
        full: Duration::from_secs(2),
        window: 1024,
        pids: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        if option == "--durable" {
            plan.durable = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{option} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|_| format!("{option} needs a number"));
        match option.as_str() {
            "--protocol" => plan.protocol = value,
            "--address" => plan.address = value,
            "--name" => plan.name = value,
            "--pairs" => plan.pairs = number()? as u32,
            "--rate" => plan.rate = number()?,
            "--window" => plan.window = number()? as u64,
            "--paced-seconds" => plan.paced = Duration::from_secs_f64(number()?),
            "--full-seconds" => plan.full = Duration::from_secs_f64(number()?),
            "--pids" => {
                plan.pids = value.split(',').filter_map(|pid| pid.parse().ok()).collect();
            }
            _ => return Err(format!("unknown option {option}")),
        }
    }
    Ok(plan)
}

fn main() -> ExitCode {
    let outcome = plan().and_then(|plan| pair::run(&plan).map_err(|error| error.to_string()));
    match outcome {
        Ok(line) => {
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
