//! A SEND whose body is too large for memory: its pieces are passed on as they come. Nothing else comes meanwhile,
//! since frames do not mix.

use bytes::Bytes;
use evergate_model::{Action, LargeEnd, Output, Publish, PublishError, Time};

use super::StompSession;
use super::fault::Fault;
use crate::codec::Frame;

/// What of it has come.
#[derive(Debug)]
pub(super) enum Arriving {
    /// There is none.
    Nothing,
    /// The head, which may have to wait as that of any SEND. The body has so many bytes.
    Head(u64),
    /// The head was looked at and is good; this follows the body.
    Body(Box<Publish>),
}

impl StompSession {
    pub(super) fn on_large_head(&mut self, now: Time, frame: Frame, length: u64, out: &mut Output) {
        self.arriving = Arriving::Head(length);
        self.on_frame(now, frame, out);
    }

    /// A SEND is good: it is published, or follows its body.
    pub(super) fn publish(&mut self, mut publish: Publish, out: &mut Output) -> Result<(), Fault> {
        let Arriving::Head(payload_bytes) = self.arriving else {
            self.publishing += 1;
            out.actions.push(Action::Publish(publish));
            return Ok(());
        };
        // Said before the body is sent in vain. It is nothing for the administration, either.
        if publish.message.meta.address.is_reserved() {
            return Err(Fault::refused(format!("the message was not taken: {}", PublishError::Reserved)));
        }
        publish.large = Some(LargeEnd { body: publish.token, payload_bytes });
        self.arriving = Arriving::Body(Box::new(publish));
        self.heartbeat.within_body(true);
        Ok(())
    }

    pub(super) fn on_piece(&mut self, bytes: Bytes, out: &mut Output) {
        if let Arriving::Body(publish) = &self.arriving {
            out.actions.push(Action::Piece { body: publish.token, bytes });
        }
    }

    pub(super) fn on_large_end(&mut self, out: &mut Output) {
        if let Arriving::Body(publish) = std::mem::replace(&mut self.arriving, Arriving::Nothing) {
            self.publishing += 1;
            self.heartbeat.within_body(false);
            out.actions.push(Action::Publish(*publish));
        }
    }

    /// The rest of the body will not be read.
    pub(super) fn abandon(&mut self, out: &mut Output) {
        if let Arriving::Body(publish) = std::mem::replace(&mut self.arriving, Arriving::Nothing) {
            out.actions.push(Action::Abandon { body: publish.token });
        }
    }
}
