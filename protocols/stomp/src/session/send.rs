//! SEND.

use bytes::{Bytes, BytesMut};
use evergate_model::{Address, Encoding, Message, Output, Publish, TEMPORARY_PREFIX, Time};

use super::destination::Destination;
use super::fault::Fault;
use super::temporary::Place;
use super::wishes::read_meta;
use super::{StompSession, required};
use crate::codec::{self, Frame, Version};
use crate::format::{ORIGINAL_ID, is_taken};

impl StompSession {
    /// Gives the frame back if it must wait for the name of a temporary queue.
    pub(super) fn on_send(&mut self, now: Time, frame: Frame, out: &mut Output) -> Result<Option<Frame>, Fault> {
        let text = required(&frame, "destination")?;
        let address = match Destination::parse(text).map_err(Fault::refused)? {
            Destination::Queue(name) => Address::queue(name),
            Destination::Topic(name) => {
                Address::check_topic(name).map_err(|reason| Fault::refused(reason.to_string()))?;
                Address::topic(name)
            }
            Destination::Pattern(_) => {
                return Err(Fault::refused(format!("a message cannot be sent to a pattern: {text}")));
            }
            Destination::TempTopic(name) => self.temp_topic(name)?,
            Destination::TempQueue(name) => match self.temp_queue(name)? {
                Place::Known(address) => address,
                Place::Awaited => return Ok(Some(frame)),
            },
        };
        let reply_to = match frame.headers.get("reply-to") {
            None => None,
            Some(text) => match self.reply_address(text, out)? {
                Some(address) => Some(address),
                None => return Ok(Some(frame)),
            },
        };
        let meta = read_meta(now, address, &frame)?;
        let transaction = self.transactions.enlist(&frame, self.config.transaction_frames_max)?;
        let head = message_head(&frame, reply_to.as_deref());
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        let token = self.pending.add(receipt);
        if meta.address.name.starts_with(TEMPORARY_PREFIX) {
            self.replies.insert(token);
        }
        let message = Message::new(meta, Encoding::Stomp, head, frame.body);
        self.publish(Publish { token, message, retain: false, mark: None, transaction, large: None }, out)?;
        Ok(None)
    }
}

/// The headers that travel, in 1.2 escaping.
fn message_head(frame: &Frame, reply_to: Option<&str>) -> Bytes {
    let mut head = BytesMut::new();
    let own_id = frame.headers.get("message-id");
    if let Some(id) = own_id {
        codec::header(ORIGINAL_ID, id, Version::V1_2, &mut head);
    }
    if let Some(address) = reply_to {
        codec::header("reply-to", address, Version::V1_2, &mut head);
    }
    for (name, value) in frame.headers.iter() {
        let written = name == "reply-to" || (name == ORIGINAL_ID && own_id.is_some());
        if !written && !is_taken(name) {
            codec::header(name, value, Version::V1_2, &mut head);
        }
    }
    head.freeze()
}
