//! A delivery that is too large to be put together in memory: what stands before its body is kept, the body goes on
//! to the gateway frame by frame.

use bytes::Bytes;
use evergate_model::{Action, LargeEnd, Output, Token};

use super::context::Context;
use crate::error::{AmqpError, MESSAGE_SIZE_EXCEEDED};
use crate::message::{self, BodyError, BodyReader};

/// A large delivery of which more is to come.
pub(super) struct Large {
    /// The gateway's pieces are named so.
    body: Token,
    /// What stood before the body.
    front: message::Incoming,
    reader: BodyReader,
    /// Bytes of the delivery so far.
    bytes: u64,
}

impl Large {
    /// Takes over a delivery that has grown too large. `bytes`: all that is here of it.
    pub fn begin(bytes: &Bytes, context: &mut Context, out: &mut Output) -> Result<Self, AmqpError> {
        let limit = context.config.large_message_bytes_max;
        if bytes.len() as u64 > limit {
            return Err(too_large(limit));
        }
        let depth_max = context.config.depth_max;
        let Some(mut front) = message::parse_front(bytes, depth_max)? else {
            let limit = context.config.message_bytes_max;
            let text = format!("the sections before the body are larger than the limit of {limit} bytes");
            return Err(AmqpError::new(MESSAGE_SIZE_EXCEEDED, text));
        };
        let here = std::mem::take(&mut front.body);
        let mut large = Self {
            body: context.next_token(),
            front,
            reader: BodyReader::new(depth_max),
            bytes: (bytes.len() - here.len()) as u64,
        };
        large.check(&here, context)?;
        large.pass_on(here, out);
        Ok(large)
    }

    /// Passes the next bytes on. An error abandons the body.
    pub fn take(&mut self, bytes: Bytes, context: &Context, out: &mut Output) -> Result<(), AmqpError> {
        self.check(&bytes, context).inspect_err(|_| self.abandon(out))?;
        self.pass_on(bytes, out);
        Ok(())
    }

    /// The body ends here. An error abandons it.
    pub fn end(self, context: &Context, out: &mut Output) -> Result<(message::Incoming, LargeEnd), AmqpError> {
        let finished = self.reader.finish().map_err(|error| refusal(error, context));
        let payload_bytes = finished.inspect_err(|_| self.abandon(out))?;
        Ok((self.front, LargeEnd { body: self.body, payload_bytes }))
    }

    fn check(&mut self, bytes: &Bytes, context: &Context) -> Result<(), AmqpError> {
        self.bytes += bytes.len() as u64;
        let limit = context.config.large_message_bytes_max;
        if self.bytes > limit {
            return Err(too_large(limit));
        }
        self.reader.read(bytes, &mut drop).map_err(|error| refusal(error, context))
    }

    fn pass_on(&self, bytes: Bytes, out: &mut Output) {
        if !bytes.is_empty() {
            out.actions.push(Action::Piece { body: self.body, bytes });
        }
    }

    /// No publish follows.
    pub fn abandon(&self, out: &mut Output) {
        out.actions.push(Action::Abandon { body: self.body });
    }
}

/// The message is larger than what this link takes.
pub(super) fn too_large(limit: u64) -> AmqpError {
    AmqpError::new(MESSAGE_SIZE_EXCEEDED, format!("the message is larger than the limit of {limit} bytes"))
}

fn refusal(error: BodyError, context: &Context) -> AmqpError {
    let what = match error {
        BodyError::Decode(error) => return error.into(),
        BodyError::Kind => "its body must be data sections, or an amqp-value that is binary or a string",
        BodyError::Footer => "its footer is too long",
    };
    let limit = context.config.message_bytes_max;
    AmqpError::new(MESSAGE_SIZE_EXCEEDED, format!("the message is larger than {limit} bytes: then {what}"))
}
