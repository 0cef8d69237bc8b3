//! What the user properties of a SUBSCRIBE say of how to consume: MQTT has no fields for it. The names are those
//! of docs/protocols/mqtt.md.

use evergate_model::{Attach, Selector, StreamStart};

use crate::codec::{Properties, PropertyValue, id};

/// How a subscription wants its messages, beyond MQTT's options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wishes {
    /// Only what this selects.
    pub(super) selector: Option<Selector>,
    pub(super) consuming: Consuming,
}

/// How a subscription of a queue or of a group consumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Consuming {
    pub(super) priority: i32,
    /// Look, and take nothing.
    pub(super) browse: bool,
    /// Where to begin on a stream. Set: deliveries tell their place.
    pub(super) start: Option<StreamStart>,
}

impl Wishes {
    /// Reads them; the error is text for the client. Of repeated properties the first counts.
    pub(super) fn read(properties: &Properties) -> Result<Self, String> {
        let find = |wanted: &str| {
            properties.0.iter().find_map(|property| match (&property.value, property.id) {
                (PropertyValue::Pair(name, text), id::USER_PROPERTY) if name == wanted => Some(text.as_str()),
                _ => None,
            })
        };
        let mut wishes = Self::default();
        if let Some(text) = find("selector").filter(|text| !text.is_empty()) {
            wishes.selector = Some(Selector::parse(text).map_err(|reason| reason.to_string())?);
        }
        if let Some(text) = find("consumer-priority") {
            wishes.consuming.priority =
                text.parse().map_err(|_| format!("consumer-priority must be a whole number: {text}"))?;
        }
        if let Some(text) = find("browse") {
            wishes.consuming.browse = text.parse().map_err(|_| format!("browse must be true or false: {text}"))?;
        }
        if let Some(text) = find("x-stream-offset") {
            let start = StreamStart::parse(text);
            wishes.consuming.start = Some(start.ok_or_else(|| {
                format!("x-stream-offset must be first, last, next, offset=… or timestamp=… (seconds): {text}")
            })?);
        }
        Ok(wishes)
    }

    /// Puts them where a queue's consumer has them.
    pub(super) fn apply(&self, attach: &mut Attach) {
        attach.selector.clone_from(&self.selector);
        attach.priority = self.consuming.priority;
        attach.browse = self.consuming.browse;
        attach.start = self.consuming.start.unwrap_or_default();
    }
}
