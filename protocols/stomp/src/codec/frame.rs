//! A frame and its headers.

use bytes::Bytes;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// No escapes, subscriptions without id.
    V1_0,
    /// Escapes `\n`, `\c`, `\\`; NACK; heart-beats.
    V1_1,
    /// Also `\r`; CRLF; acknowledgement by the `ack` header.
    V1_2,
}

impl Version {
    /// As in `accept-version`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }
}

macro_rules! commands {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// A frame's command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // each is the specification's frame of its name
        pub enum Command { $($name),* }

        impl Command {
            /// Every command.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// Reads the command line.
            pub fn parse(line: &[u8]) -> Option<Self> {
                Self::ALL.iter().copied().find(|command| command.as_str().as_bytes() == line)
            }
        }
    };
}

commands! {
    Send = "SEND", Ack = "ACK", Nack = "NACK", Subscribe = "SUBSCRIBE", Unsubscribe = "UNSUBSCRIBE",
    Begin = "BEGIN", Commit = "COMMIT", Abort = "ABORT", Disconnect = "DISCONNECT",
    Connect = "CONNECT", Stomp = "STOMP",
    Connected = "CONNECTED", Message = "MESSAGE", Receipt = "RECEIPT", Error = "ERROR",
}

impl Command {
    /// Whether a frame of this command may have a body. [STOMP 1.2, Body]
    pub fn has_body(self) -> bool {
        matches!(self, Self::Send | Self::Message | Self::Error)
    }

    /// Whether header values travel as they are: CONNECT and CONNECTED, so that 1.0 peers understand
    /// them. [STOMP 1.2, Value Encoding]
    pub fn is_raw(self) -> bool {
        matches!(self, Self::Connect | Self::Stomp | Self::Connected)
    }
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it asks or tells.
    pub command: Command,
    /// Its headers, unescaped.
    pub headers: Headers,
    /// Its body: a slice of the bytes received.
    pub body: Bytes,
}

/// Where a header's name and value are in the text.
#[derive(Clone, Copy, Debug)]
struct Span {
    name: (u32, u32),
    value: (u32, u32),
}

/// Headers in the order of the wire. One text holds all of them.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    text: String,
    spans: Vec<Span>,
}

impl Headers {
    /// None yet, with room for so much text and so many headers.
    pub(crate) fn with_capacity(text_bytes: usize, headers: usize) -> Self {
        Self { text: String::with_capacity(text_bytes), spans: Vec::with_capacity(headers) }
    }

    /// Appends a header.
    pub fn push(&mut self, name: &str, value: &str) {
        let name = self.append(name);
        let value = self.append(value);
        self.spans.push(Span { name, value });
    }

    fn append(&mut self, part: &str) -> (u32, u32) {
        let start = self.text.len() as u32; // a head is far below 4 GiB
        self.text.push_str(part);
        (start, self.text.len() as u32)
    }

    fn part(&self, (start, end): (u32, u32)) -> &str {
        &self.text[start as usize..end as usize]
    }

    /// The first header of this name: repeated ones do not count. [STOMP 1.2, Repeated Header Entries]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// All headers in order, repeated ones too.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spans.iter().map(|span| (self.part(span.name), self.part(span.value)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.push(name, value);
        }
        headers
    }
}
