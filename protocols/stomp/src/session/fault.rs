//! What ends a connection: an ERROR frame, then the close.

use bytes::{BufMut, BytesMut};
use evergate_model::{Close, shortened};

use crate::codec::{self, Command, Version};

/// Why the connection ends.
#[derive(Debug)]
pub(super) struct Fault {
    /// The `message` header.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: &'static str,
    /// The receipt header of the frame that failed.
    pub(super) receipt: Option<String>,
    /// A `version` header (version negotiation failed).
    pub(super) versions: bool,
    /// What the log is told.
    pub(super) close: Close,
}

impl Fault {
    /// The client broke the protocol or a limit, or asks for what cannot be.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        let message = shortened(&message.into()).into_owned();
        let close = Close::ProtocolError(message.clone());
        Self { message, hint: "", receipt: None, versions: false, close }
    }

    pub(super) fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    pub(super) fn with_close(mut self, close: Close) -> Self {
        self.close = close;
        self
    }

    /// Appends the ERROR frame. [STOMP 1.2, ERROR]
    pub(super) fn encode(&self, version: Version, out: &mut BytesMut) {
        codec::begin(Command::Error, out);
        codec::header("message", &self.message, version, out);
        if let Some(receipt) = &self.receipt {
            codec::header("receipt-id", receipt, version, out);
        }
        if self.versions {
            codec::header("version", "1.0,1.1,1.2", version, out);
        }
        let separator = if self.hint.is_empty() { "" } else { "\n" };
        let body = format!("{}{separator}{}\n", self.message, self.hint).replace('\0', "\u{fffd}");
        codec::header("content-type", "text/plain", version, out);
        codec::header("content-length", &body.len().to_string(), version, out);
        out.put_u8(b'\n');
        out.put_slice(body.as_bytes());
        out.put_u8(0);
    }
}
