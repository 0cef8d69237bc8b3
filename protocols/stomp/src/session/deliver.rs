//! MESSAGE.

use bytes::BufMut;
use evergate_model::{Delivery, Encoding, Output};

use super::destination::TEMP_QUEUE;
use super::subscription::{AckMode, Phase as SubscriptionPhase};
use super::{Phase, StompSession};
use crate::codec::{self, Command, Version};
use crate::format;

impl StompSession {
    pub(super) fn on_deliver(&mut self, delivery: &Delivery, out: &mut Output) {
        let id = self.delivery_id(delivery.consumer, delivery.seq);
        let Some(subscription) = self.subscriptions.get_mut(&delivery.consumer) else {
            return;
        };
        let auto = subscription.mode == AckMode::Auto;
        // After UNSUBSCRIBE and DISCONNECT nothing can be acknowledged: it goes back to the queue.
        let wanted = subscription.phase == SubscriptionPhase::Attached && (self.phase == Phase::Connected || auto);
        if !wanted {
            return;
        }
        subscription.delivered(delivery.seq);
        let (message, version) = (&delivery.message, self.version);
        let (head, body) =
            message.in_encoding(Encoding::Stomp, || format::from_view(&self.formats.view(message), &message.body));
        let wire = out.wire.tail();
        codec::begin(Command::Message, wire);
        let mut header = |name: &str, value: &str| codec::header(name, value, version, wire);
        match &subscription.temp_queue {
            Some(name) => header("destination", &format!("{TEMP_QUEUE}{name}")),
            None => header("destination", &message.meta.address.to_string()),
        }
        header("message-id", &id);
        if subscription.named {
            header("subscription", &subscription.key);
        }
        if version == Version::V1_2 && !auto {
            header("ack", &id);
        }
        header("content-length", &body.len().to_string());
        if delivery.redelivered {
            header("redelivered", "true");
        }
        if message.meta.durable {
            header("persistent", "true");
        }
        header("priority", &message.meta.priority.to_string());
        if let Some(at) = message.meta.expires_at {
            header("expires", &at.0.to_string());
        }
        for annotation in &message.annotations {
            header(&annotation.name, &annotation.value);
        }
        codec::recode_head(head, version, wire);
        wire.put_u8(b'\n');
        out.wire.push(body);
        out.wire.tail().put_u8(0);
    }
}
