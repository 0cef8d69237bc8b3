//! `evergate pub` and `evergate sub`: a small blocking MQTT 5 client. Publishes and subscribes with QoS 1.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::target::Target;
use super::wire::{self, Packet};

/// How long the gateway may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE_SECONDS: u16 = 30;
/// After this long without a byte we ask whether the gateway is still there.
const PING_AFTER: Duration = Duration::from_secs(15);
/// Messages that may be on their way to us unacknowledged.
const IN_FLIGHT_MAX: u16 = 100;

/// Why it did not work.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens there.
    NoGateway {
        /// Host and port.
        place: String,
        /// The system's word.
        source: io::Error,
    },
    /// The connection broke, or what came was no MQTT.
    Lost(io::Error),
    /// The gateway said no.
    Refused {
        /// To what.
        what: &'static str,
        /// Its reason.
        reason: String,
    },
    /// The arguments do not fit into MQTT's packets.
    TooLong,
    /// Our own output cannot be written.
    Output(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGateway { place, source } if source.kind() == io::ErrorKind::ConnectionRefused => {
                write!(
                    f,
                    "no gateway answers at {place}: start one with `evergate`, or name another with --host and --port"
                )
            }
            Self::NoGateway { place, source } => write!(f, "cannot reach {place}: {source}"),
            Self::Lost(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof => f.write_str("the gateway closed the connection"),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => f.write_str("the gateway does not answer"),
                io::ErrorKind::InvalidData => write!(f, "what answers there is no MQTT gateway: {error}"),
                _ => write!(f, "the connection to the gateway broke: {error}"),
            },
            Self::Refused { what, reason } => write!(f, "the gateway refused {what}: {reason}"),
            Self::TooLong => f.write_str("a topic may have 65,535 bytes, a message 256 MiB; this is longer"),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Publishes one message; returns when the gateway has confirmed it.
pub(super) fn publish(target: &Target, topic: &str, body: &[u8], retain: bool) -> Result<(), ClientError> {
    let packet = wire::publish(topic, body, retain).ok_or(ClientError::TooLong)?;
    let mut connection = Connection::open(target, IN_FLIGHT_MAX)?;
    connection.send(&packet)?;
    match connection.answer()? {
        Packet::PubAck { reason, .. } if reason < 0x80 => connection.send(&wire::DISCONNECT),
        Packet::PubAck { reason, text } => Err(refused("the message", reason, text)),
        other => Err(unexpected(other)),
    }
}

/// Prints `topic body` lines until `count` messages came, or for ever.
pub(super) fn subscribe(
    target: &Target,
    filter: &str,
    count: Option<u64>,
    out: &mut impl Write,
) -> Result<(), ClientError> {
    let packet = wire::subscribe(filter).ok_or(ClientError::TooLong)?;
    // With a count, no more than that many are sent to us at all: the others stay with the queue's
    // other consumers. So the acknowledgements wait for the last one, if that many can be on their way.
    let at_once = count.and_then(|count| u16::try_from(count).ok());
    let mut connection = Connection::open(target, at_once.unwrap_or(IN_FLIGHT_MAX))?;
    connection.send(&packet)?;
    let mut waiting = VecDeque::new();
    let mut subscribed = false;
    let mut left = count;
    while left != Some(0) {
        // Retained messages may come before the answer to the subscription. [MQTT-3.8.4-1]
        let packet = if subscribed { connection.next()? } else { connection.answer()? };
        match packet {
            Packet::SubAck { reason, .. } if reason < 0x80 => subscribed = true,
            Packet::SubAck { reason, text } => return Err(refused("the subscription", reason, text)),
            Packet::Publish { topic, body, packet_id } => {
                print(out, &topic, &body)?;
                left = left.map(|left| left - 1);
                waiting.extend(packet_id);
                if at_once.is_none() || left == Some(0) {
                    for packet_id in waiting.drain(..) {
                        connection.send(&wire::puback(packet_id))?;
                    }
                }
            }
            other => return Err(unexpected(other)),
        }
    }
    connection.send(&wire::DISCONNECT)
}

/// Flushed at once: another program may read us line by line. Acknowledged only after that.
fn print(out: &mut impl Write, topic: &str, body: &[u8]) -> Result<(), ClientError> {
    write!(out, "{topic} ")?;
    out.write_all(body)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    fn open(target: &Target, receive_maximum: u16) -> Result<Self, ClientError> {
        let (host, port) = target.place();
        let no_gateway = |source| ClientError::NoGateway { place: format!("{host}:{port}"), source };
        let hello = wire::connect(target.login(), KEEP_ALIVE_SECONDS, receive_maximum).ok_or(ClientError::TooLong)?;
        let mut failure = io::Error::other("the name has no address");
        for address in (host, port).to_socket_addrs().map_err(no_gateway)? {
            match TcpStream::connect_timeout(&address, ANSWER_TIMEOUT) {
                Ok(socket) => return Self { socket, received: Vec::new() }.greet(&hello),
                Err(error) => failure = error,
            }
        }
        Err(no_gateway(failure))
    }

    fn greet(mut self, hello: &[u8]) -> Result<Self, ClientError> {
        self.socket.set_nodelay(true).map_err(ClientError::Lost)?;
        self.socket.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(ClientError::Lost)?;
        self.send(hello)?;
        match self.answer()? {
            Packet::ConnAck { reason: 0, .. } => Ok(self),
            Packet::ConnAck { reason, text } => Err(refused("the connection", reason, text)),
            other => Err(unexpected(other)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.socket.write_all(bytes).map_err(ClientError::Lost)
    }

    /// What comes next, within the time that an answer may take.
    fn answer(&mut self) -> Result<Packet, ClientError> {
        loop {
            match self.receive(ANSWER_TIMEOUT).map_err(ClientError::Lost)? {
                Packet::PingResp => {}
                packet => return Ok(packet),
            }
        }
    }

    /// What comes next, however long it takes; the gateway is asked now and then whether it is there.
    fn next(&mut self) -> Result<Packet, ClientError> {
        let mut asked = false;
        loop {
            match self.receive(if asked { ANSWER_TIMEOUT } else { PING_AFTER }) {
                Ok(Packet::PingResp) => asked = false,
                Ok(packet) => return Ok(packet),
                Err(error) if !asked && is_timeout(&error) => {
                    self.send(&wire::PINGREQ)?;
                    asked = true;
                }
                Err(error) => return Err(ClientError::Lost(error)),
            }
        }
    }

    fn receive(&mut self, within: Duration) -> io::Result<Packet> {
        self.socket.set_read_timeout(Some(within))?;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some((packet, taken)) = wire::decode(&self.received)? {
                self.received.drain(..taken);
                return Ok(packet);
            }
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn unexpected(packet: Packet) -> ClientError {
    match packet {
        Packet::Disconnect { reason, text } => refused("to go on", reason, text),
        other => ClientError::Lost(io::Error::new(io::ErrorKind::InvalidData, format!("{other:?} is out of turn"))),
    }
}

/// The gateway's own words if it gave any, else those of MQTT 5, section 2.4.
fn refused(what: &'static str, reason: u8, text: String) -> ClientError {
    let words = match reason {
        _ if !text.is_empty() => text,
        0x86 => "wrong user or password; give them with --user and --password".into(),
        0x87 => "not allowed; an account may be needed: --user and --password".into(),
        0x8B => "it is shutting down".into(),
        0x8F => "the pattern is not valid".into(),
        0x90 => "the topic is not valid".into(),
        0x95 => "the message is too large".into(),
        0x97 => "a limit is reached".into(),
        other => format!("MQTT reason code 0x{other:02X}"),
    };
    ClientError::Refused { what, reason: words }
}
