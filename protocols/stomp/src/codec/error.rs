//! Why bytes are no frame.

use std::fmt;

use super::Command;

/// Why bytes are no frame. All are fatal: the `Display` text goes into the ERROR frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The first line is no command of STOMP; its text, shortened.
    UnknownCommand(String),
    /// Before CONNECT nothing else may come: refused at its first line, so that nobody unknown fills memory.
    BeforeConnect(Command),
    /// A command or header line is longer than this.
    LineTooLong(usize),
    /// There are more header lines than this.
    TooManyHeaders(usize),
    /// Command and headers are longer than this.
    HeadTooLarge(usize),
    /// The body is longer than this.
    BodyTooLarge(u64),
    /// The body is longer than this, which needs `content-length`.
    BodyWithoutLength(usize),
    /// The head is not UTF-8.
    NotUtf8,
    /// A header line has no colon; its text, shortened.
    NoColon(String),
    /// A header line has an empty name.
    EmptyName,
    /// A NUL within the head.
    NulInHead,
    /// A backslash with something that is no escape in this version; its text, shortened.
    BadEscape(String),
    /// A carriage return that ends no line.
    CarriageReturn,
    /// `content-length` is no number.
    BadContentLength(String),
    /// After `content-length` bytes there is no NUL.
    NoNul,
    /// This command has no body.
    UnexpectedBody(Command),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand(text) => write!(f, "unknown command {text:?}"),
            Self::BeforeConnect(command) => write!(f, "{} before CONNECT", command.as_str()),
            Self::LineTooLong(limit) => write!(f, "a header line is longer than {limit} bytes"),
            Self::TooManyHeaders(limit) => write!(f, "a frame has more than {limit} headers"),
            Self::HeadTooLarge(limit) => write!(f, "the headers of a frame are longer than {limit} bytes"),
            Self::BodyTooLarge(limit) => write!(f, "the body is longer than {limit} bytes"),
            Self::BodyWithoutLength(limit) => {
                write!(f, "the body is longer than {limit} bytes and has no content-length, which such bodies need")
            }
            Self::NotUtf8 => f.write_str("the headers are not UTF-8"),
            Self::NoColon(text) => write!(f, "a header line has no colon: {text:?}"),
            Self::EmptyName => f.write_str("a header has an empty name"),
            Self::NulInHead => f.write_str("NUL before the empty line that ends the headers"),
            Self::BadEscape(text) => write!(f, "undefined escape sequence in header {text:?}"),
            Self::CarriageReturn => f.write_str("carriage return within a header line"),
            Self::BadContentLength(text) => write!(f, "content-length is not a number: {text:?}"),
            Self::NoNul => f.write_str("no NUL after content-length bytes of body"),
            Self::UnexpectedBody(command) => write!(f, "{} frames must not have a body", command.as_str()),
        }
    }
}

impl std::error::Error for FrameError {}
