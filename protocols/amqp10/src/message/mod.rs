//! Messages (part 3, 3.2): their sections, how other protocols read them, how they are written.

mod annotations;
mod compose;
mod convert;
mod deliver;
mod format;
mod framing;
mod json;
mod large;
mod sections;
mod wishes;

pub(crate) use annotations::jms_kind;
pub use compose::{compose, compose_json};
pub(crate) use deliver::{Payload, encode};
pub use format::Amqp10Format;
pub(crate) use framing::Framing;
pub(crate) use large::{BodyError, BodyReader, announced_bytes};
pub(crate) use sections::{Incoming, control_body, parse, parse_front};
pub(crate) use wishes::meta;

#[cfg(test)]
mod tests;
