//! Frames to bytes and back, for STOMP 1.0, 1.1 and 1.2.

mod decode;
mod encode;
mod error;
mod escape;
mod frame;
#[cfg(test)]
mod tests;

pub use decode::{Decoded, Decoder};
pub use encode::{begin, encode, header, recode_head};
pub use error::FrameError;
pub use frame::{Command, Frame, Headers, Version};

pub(crate) use encode::head_lines;
pub(crate) use escape::unescape;
