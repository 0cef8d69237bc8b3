//! Load for message brokers. The same code drives every broker.
//!
//! One run is one mode with its options against one broker; its result is one line of JSON. A message that is lost,
//! repeated or out of order fails the run.

mod amqp;
mod backlog;
mod bystand;
mod fanout;
mod gate;
mod histogram;
mod mqtt;
mod pair;
mod plan;
mod processor;
mod protocol;
mod result;
mod source;
mod stomp;
mod wire;

use std::io::{self, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::plan::{Mode, Plan};
use self::protocol::Protocol;

/// A broker that says nothing for this long while it owes something has failed the run.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Messages that a consumer may hold unacknowledged, in every protocol.
pub const PREFETCH: u32 = 1024;

/// Bytes of what a connection reads at once.
pub const READ_BYTES: usize = 256 * 1024;

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(2);

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
    /// Bytes to read at once.
    pub buffer: usize,
    /// Ends the connection in order; the broker's answer is awaited if there is one.
    pub goodbye: Box<dyn FnOnce(TcpStream) -> io::Result<()> + Send>,
}

impl Consumer {
    pub fn goodbye(self) -> io::Result<()> {
        match (self.goodbye)(self.stream) {
            // Some brokers close with a reset: no fault once everything is received.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(()),
        }
    }
}

/// Writes messages.
pub trait Encoder: Send {
    /// `destination`: which of the pair's.
    fn message(&mut self, destination: usize, body: &[u8], out: &mut Vec<u8>);
    fn goodbye(&mut self, out: &mut Vec<u8>);
}

/// What a broker tells a publisher.
#[derive(Default)]
pub struct Progress {
    /// Messages of this connection, counted from 0.
    pub confirmed: Vec<Range<u64>>,
    /// New absolute number of messages that may be sent.
    pub credit: Option<u64>,
}

impl Progress {
    /// Notes messages as confirmed.
    pub fn confirm(&mut self, messages: Range<u64>) {
        match self.confirmed.last_mut() {
            Some(last) if last.end == messages.start => last.end = messages.end,
            _ => self.confirmed.push(messages),
        }
    }
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

/// Connects; tries again for as long as the plan says.
pub fn connect(plan: &Plan) -> io::Result<TcpStream> {
    let deadline = Instant::now() + plan.connect;
    let stream = loop {
        match TcpStream::connect(&plan.address) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(RETRY),
            outcome => break outcome?,
        }
    };
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn run(plan: &Plan) -> Result<String, String> {
    let protocol = Protocol::named(&plan.protocol).ok_or_else(|| format!("unknown protocol {}", plan.protocol))?;
    let outcome = match plan.mode {
        Mode::Pairs => pair::run(plan, &protocol),
        Mode::Fill => backlog::fill(plan, &protocol),
        Mode::Drain => backlog::drain(plan, &protocol),
        Mode::Fanout => fanout::run(plan, &protocol),
        Mode::Bystand => bystand::run(plan, &protocol),
    };
    outcome.map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match Plan::from(std::env::args().skip(1)).and_then(|plan| run(&plan)) {
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
