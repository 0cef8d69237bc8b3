//! MESSAGE.

use bytes::{BufMut, Bytes, BytesMut};
use evergate_model::{ConsumerId, Delivery, Encoding, Message, Output};

use super::outgoing::LargeMessage;
use super::source::STREAM_OFFSET;
use super::subscription::{AckMode, Browsing, Phase as SubscriptionPhase};
use super::{Phase, StompSession};
use crate::codec::{self, Command, Frame, Headers, Version};
use crate::format;

impl StompSession {
    pub(super) fn on_deliver(&mut self, delivery: &Delivery, out: &mut Output) {
        let id = self.delivery_id(delivery.consumer, delivery.seq);
        let Some(subscription) = self.subscriptions.get_mut(&delivery.consumer) else {
            return;
        };
        let auto = subscription.mode == AckMode::Auto;
        // After UNSUBSCRIBE and DISCONNECT nothing can be acknowledged: it goes back to the queue.
        // What is large would keep who says goodbye waiting.
        let may_be_late = auto && delivery.message.meta.large().is_none();
        let wanted =
            subscription.phase == SubscriptionPhase::Attached && (self.phase == Phase::Connected || may_be_late);
        if !wanted {
            return;
        }
        subscription.delivered(delivery.seq);
        let (message, version) = (&delivery.message, self.version);
        let (head, body) =
            message.in_encoding(Encoding::Stomp, || format::from_view(&self.formats.view(message), &message.body));
        let large = message.meta.large();
        let mut apart = BytesMut::new();
        let wire = if large.is_some() { &mut apart } else { self.outgoing.wire(&mut out.wire).tail() };
        codec::begin(Command::Message, wire);
        let mut header = |name: &str, value: &str| codec::header(name, value, version, wire);
        match &subscription.temporary {
            Some(_) => header("destination", &subscription.destination),
            None => header("destination", &message.meta.address.to_string()),
        }
        header("message-id", &id);
        if subscription.named {
            header("subscription", &subscription.key);
        }
        if version == Version::V1_2 && !auto {
            header("ack", &id);
        }
        let length = large.map_or(body.len() as u64, |large| large.payload_bytes);
        header("content-length", &length.to_string());
        if delivery.redelivered {
            header("redelivered", "true");
        }
        if delivery.retained {
            header("retained", "true");
        }
        if delivery.failed_count > 0 {
            header("delivery-count", &delivery.failed_count.to_string());
        }
        if subscription.tells_offset {
            header(STREAM_OFFSET, &delivery.seq.0.to_string());
        }
        meta_headers(message, &mut header);
        for annotation in &message.annotations {
            header(&annotation.name, &annotation.value);
        }
        // A publisher that gave a timestamp of its own keeps it.
        if message.meta.ingress.0 > 0 && !has_header(head, TIMESTAMP) {
            header(TIMESTAMP, &message.meta.ingress.0.to_string());
        }
        codec::recode_head(head, version, wire);
        wire.put_u8(b'\n');
        if large.is_some() {
            let (head, message) = (apart.freeze(), message.clone());
            let (consumer, seq) = (delivery.consumer, delivery.seq);
            return self.send_large(LargeMessage { consumer, seq, head, message }, out);
        }
        let wire = self.outgoing.wire(&mut out.wire);
        wire.push(body);
        wire.tail().put_u8(0);
    }

    /// A browser has seen all that was there: told as ActiveMQ does.
    pub(super) fn on_drained(&mut self, consumer: ConsumerId, delivered: u64, out: &mut Output) {
        let Some(subscription) = self.subscriptions.get_mut(&consumer) else {
            return;
        };
        let ended = subscription.browsing == Browsing::Yes
            && subscription.phase == SubscriptionPhase::Attached
            && !subscription.is_at_limit(delivered);
        if !ended {
            return;
        }
        subscription.browsing = Browsing::Over;
        let mut headers = Headers::default();
        if subscription.named {
            headers.push("subscription", &subscription.key);
        }
        headers.push("destination", &subscription.destination);
        headers.push("message-id", "");
        headers.push("browser", "end");
        let frame = Frame { command: Command::Message, headers, body: Bytes::new() };
        codec::encode(&frame, self.version, self.outgoing.wire(&mut out.wire).tail());
    }
}

/// When the gateway took the message.
const TIMESTAMP: &str = "timestamp";

/// What the publisher asked of the gateway.
fn meta_headers(message: &Message, header: &mut impl FnMut(&str, &str)) {
    let meta = &message.meta;
    if meta.durable {
        header("persistent", "true");
    }
    header("priority", &meta.priority.to_string());
    if let Some(at) = meta.expires_at {
        header("expires", &at.0.to_string());
    }
    if let Some(at) = meta.deliver_at() {
        header("deliver-at", &at.0.to_string());
    }
    if meta.is_discardable() {
        header("discardable", "true");
    }
}

/// Whether there is a header of this plain name among the lines of `head`.
fn has_header(head: &[u8], name: &str) -> bool {
    memchr::memmem::find_iter(head, name.as_bytes()).any(|at| {
        let begins = at == 0 || head[at - 1] == b'\n';
        begins && head.get(at + name.len()) == Some(&b':')
    })
}
