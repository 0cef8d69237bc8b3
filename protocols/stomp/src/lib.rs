//! STOMP 1.2, and 1.1 and 1.0 where a client asks for them: codec, sans-IO session, conversion.
//!
//! Missing, and answered with an ERROR frame that says so: scheduled delivery that repeats.

pub mod codec;
mod config;
mod format;
mod session;
#[cfg(test)]
mod tests;

pub use config::{Limits, StompConfig};
pub use format::{StompFormat, compose};
pub use session::StompSession;
