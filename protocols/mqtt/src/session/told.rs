//! What the gateway tells of a delivery.

use bytes::BytesMut;
use evergate_model::Delivery;

use super::MqttSession;
use crate::format;

impl MqttSession {
    /// What the gateway tells of a delivery, as user properties; `None`: nothing, as of most. They come before
    /// the publisher's own.
    pub(super) fn told_by_the_gateway(&self, delivery: &Delivery) -> Option<BytesMut> {
        let tells_offset = self.consumers.get(&delivery.consumer).is_some_and(|consumer| consumer.tells_offset());
        let annotations = &delivery.message.annotations;
        if !self.is_v5() || (annotations.is_empty() && delivery.failed_count == 0 && !tells_offset) {
            return None;
        }
        let mut told = BytesMut::new();
        for annotation in annotations {
            format::put_pair(&mut told, &annotation.name, &annotation.value);
        }
        if delivery.failed_count > 0 {
            format::put_pair(&mut told, "delivery-count", &delivery.failed_count.to_string());
        }
        if tells_offset {
            format::put_pair(&mut told, "x-stream-offset", &delivery.seq.0.to_string());
        }
        Some(told)
    }
}
