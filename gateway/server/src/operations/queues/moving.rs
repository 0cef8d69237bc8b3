//! Messages that go elsewhere: moved, retried, edited and retried. Each is published and that committed before it
//! leaves its queue.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use evergate_admin::operations::{Operation, OperationError, Operator, arguments};
use evergate_core::{PeekFrom, Reserve};
use evergate_model::{
    Address, AddressKind, DEAD_LETTER_QUEUE, Encoding, Formats, Message, Seq, Value as Property, dead_letter,
};
use evergate_runtime::{Gateway, Moved};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::refused;
use super::cursor::{COUNT_MAX, Count, Cursor, tell_next};
use super::messages::selector;

/// Which messages are meant.
#[derive(Deserialize)]
struct Which {
    seqs: Option<Vec<u64>>,
    selector: Option<String>,
    from: Option<Cursor>,
    #[serde(default)]
    count: Count,
}

impl Which {
    fn reserve(&self) -> Result<(PeekFrom, Reserve, Option<evergate_model::Selector>), OperationError> {
        if self.seqs.is_some() && self.from.is_some() {
            return Err(OperationError::Invalid(
                "seqs says which messages are meant: from means nothing beside it".into(),
            ));
        }
        let reserve = match &self.seqs {
            None => Reserve::All,
            Some(seqs) if seqs.len() > COUNT_MAX => {
                return Err(OperationError::Invalid(format!("at most {COUNT_MAX} messages at a time")));
            }
            Some(seqs) => Reserve::Chosen(seqs.iter().copied().map(Seq).collect()),
        };
        Ok((self.from.unwrap_or_default().into(), reserve, selector(self.selector.as_deref())?))
    }
}

fn told(moved: Moved) -> Value {
    let failed: Vec<_> = moved.failed.into_iter().map(|(seq, why)| json!({ "seq": seq.0, "why": why })).collect();
    let mut answer = json!({ "moved": moved.count, "failed": failed });
    tell_next(&mut answer, moved.next);
    answer
}

pub struct Move(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveArguments {
    queue: String,
    to: String,
    #[serde(flatten)]
    which: Which,
}

#[async_trait]
impl Operation for Move {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let MoveArguments { queue, to, which } = arguments(given)?;
        let to = address(&to)?;
        let readdress = |message: &Message| Some((message.readdressed(to.clone(), []), None));
        let moved = self.0.move_messages(&queue, which.reserve()?, which.count.0, readdress).await.map_err(refused)?;
        if moved.count > 0 {
            let (count, failed) = (moved.count, moved.failed.len());
            told!(info, by, queue, %to, moved = count, failed, "messages moved by an operator");
        }
        Ok(told(moved))
    }

    fn describe(&self) -> &'static str {
        "moves messages that no consumer holds {queue, to (/queue/… or /topic/…), seqs?, selector?, from? (next of the last answer), count? (1 to 1000)}"
    }
}

pub struct Retry(pub Arc<Gateway>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryArguments {
    #[serde(default = "dead_letters")]
    queue: String,
    #[serde(flatten)]
    which: Which,
}

fn dead_letters() -> String {
    DEAD_LETTER_QUEUE.into()
}

#[async_trait]
impl Operation for Retry {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let RetryArguments { queue, which } = arguments(given)?;
        let readdress = |message: &Message| {
            let (address, only_to) = origin(message)?;
            Some((message.readdressed(address, []), only_to))
        };
        let moved = self.0.move_messages(&queue, which.reserve()?, which.count.0, readdress).await.map_err(refused)?;
        if moved.count > 0 {
            let (count, failed) = (moved.count, moved.failed.len());
            told!(info, by, queue, moved = count, failed, "dead letters retried by an operator");
        }
        Ok(told(moved))
    }

    fn describe(&self) -> &'static str {
        "sends dead letters back to where they came from {queue? (_DMQ), seqs?, selector?, from? (next of the last answer), count? (1 to 1000)}"
    }
}

pub struct Edit(pub Arc<Gateway>, pub Formats);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditArguments {
    #[serde(default = "dead_letters")]
    queue: String,
    seq: u64,
    to: Option<String>,
    body: Option<String>,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[async_trait]
impl Operation for Edit {
    async fn run(&self, given: Value, by: &Operator) -> Result<Value, OperationError> {
        let EditArguments { queue, seq, to, body, properties } = arguments(given)?;
        let to = to.as_deref().map(address).transpose()?;
        let formats = self.1;
        let readdress = |message: &Message| {
            let (address, only_to) = to.clone().map(|to| (to, None)).or_else(|| origin(message))?;
            Some((edited(message, address, body.as_deref(), &properties, &formats), only_to))
        };
        let chosen = Reserve::Chosen([Seq(seq)].into());
        let moved = self
            .0
            .move_messages(&queue, (PeekFrom::Place(Seq(seq)), chosen, None), 1, readdress)
            .await
            .map_err(refused)?;
        if moved.count == 0 && moved.failed.is_empty() {
            return Err(OperationError::NotFound(format!("no message {seq} that no consumer holds is in {queue}")));
        }
        if moved.count > 0 {
            told!(info, by, queue, seq, "message edited and retried by an operator");
        }
        Ok(told(moved))
    }

    fn describe(&self) -> &'static str {
        "sends one message back, or to another address, with another body or other application properties {queue? (_DMQ), seq, to?, body?, properties? (null removes one)}"
    }
}

/// The message with a new body, if one is given, and with application properties set and removed.
fn edited(
    message: &Message,
    address: Address,
    body: Option<&str>,
    properties: &Map<String, Value>,
    formats: &Formats,
) -> Message {
    let mut view = formats.view(message);
    view.application.retain(|(name, _)| !properties.contains_key(&**name));
    for (name, value) in properties {
        let value = match value {
            Value::Null => continue,
            Value::Bool(flag) => Property::Bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Property::Long(whole),
                (None, other) => Property::Double(other.unwrap_or_default()),
            },
            Value::String(text) => Property::String(text.into()),
            other => Property::String(other.to_string().into()),
        };
        view.application.push((name.into(), value));
    }
    if let Some(text) = body {
        view.body = evergate_model::Body::Text(text.into());
    }
    let mut meta = message.meta.clone();
    meta.address = address;
    let keeps_large_body = body.is_none() && meta.large().is_some();
    if !keeps_large_body && let Some(rare) = &mut meta.rare {
        rare.large = None;
    }
    let mut edited = match message.encoding {
        // The pieces stay in their encoding. Nobody else's bodies are as large.
        Encoding::Stomp if keeps_large_body => evergate_stomp::compose(meta, &view),
        _ => evergate_amqp10::compose(meta, &view),
    };
    if keeps_large_body {
        edited.body = Bytes::new();
    }
    edited.annotations.clone_from(&message.annotations);
    edited
}

/// Where a dead letter came from: the queue that it left. If clients do not reach that one by name, the topic that the
/// letter was sent to, and of all that take from it that queue alone.
fn origin(message: &Message) -> Option<(Address, Option<Arc<str>>)> {
    let note = |name| message.annotations.iter().find(|note| &*note.name == name).map(|note| &note.value);
    match note(dead_letter::QUEUE) {
        Some(queue) if !Address::is_private_queue(queue) => Some((Address::queue(queue.clone()), None)),
        left => {
            let (kind, name) = Address::parse(note(dead_letter::ORIGIN)?)?;
            Some((Address { kind, name: name.into() }, left.cloned()))
        }
    }
}

/// Where a message can be sent to.
fn address(text: &str) -> Result<Address, OperationError> {
    let invalid = |why: String| OperationError::Invalid(format!("{text}: {why}"));
    let Some((kind, name)) = Address::parse(text) else {
        return Err(invalid("an address begins with /queue/ or /topic/".into()));
    };
    Address::check_topic(name).map_err(|error| invalid(error.to_string()))?;
    let address = Address { kind, name: name.into() };
    let is_private = Address::is_private_queue(name) && !address.is_reserved();
    if is_private && kind == AddressKind::Queue {
        return Err(invalid(
            "a queue of a session or a subscription takes only what is published to its topics".into(),
        ));
    }
    if is_private || address.is_reserved() {
        return Err(invalid("the gateway's own names take no messages".into()));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use evergate_model::{Annotation, LargeBody, Meta};

    use super::*;

    #[test]
    fn a_field_that_a_move_does_not_know_is_refused() {
        let error = arguments::<MoveArguments>(json!({ "queue": "a", "to": "b", "seq": 1 })).err().unwrap();
        assert!(error.to_string().contains("unknown field `seq`"), "{error}");
        let error = arguments::<RetryArguments>(json!({ "queues": "a" })).err().unwrap();
        assert!(error.to_string().contains("unknown field `queues`"), "{error}");
        let given = json!({ "seqs": [1], "selector": "a = 1", "count": 7 });
        assert_eq!(arguments::<RetryArguments>(given).ok().unwrap().which.count, Count(7));
    }

    #[test]
    fn an_edited_large_message_keeps_its_body_unless_it_gets_another() {
        let formats = crate::protocols::formats();
        let properties = json!({ "colour": "red", "old": null });
        let properties = properties.as_object().unwrap();
        let large = |source: Encoding| {
            let mut view = evergate_model::View::new(evergate_model::Body::Binary(b"".into()));
            view.application.push(("old".into(), Property::String("x".into())));
            let mut meta = Meta::new(Address::queue("_DMQ"));
            meta.rare_mut().large = Some(Arc::new(LargeBody::named("$body/1".into(), 12, 10)));
            let mut message = match source {
                Encoding::Stomp => evergate_stomp::compose(meta, &view),
                _ => evergate_amqp10::compose(meta, &view),
            };
            message.body = Bytes::new();
            message.annotations.push(Annotation { name: "a".into(), value: "b".into() });
            message
        };
        for encoding in [Encoding::Stomp, Encoding::Amqp10] {
            let message = large(encoding);
            let kept = edited(&message, Address::queue("q"), None, properties, &formats);
            // What reads the pieces goes by the encoding.
            assert_eq!((kept.encoding, kept.body.len()), (encoding, 0));
            assert!(Arc::ptr_eq(kept.meta.large().unwrap(), message.meta.large().unwrap()));
            assert_eq!((&*kept.meta.address.name, &kept.annotations), ("q", &message.annotations));
            let view = formats.view(&kept);
            assert_eq!(view.application, [("colour".into(), Property::String("red".into()))]);

            let replaced = edited(&message, Address::queue("q"), Some("new"), properties, &formats);
            assert_eq!(replaced.meta.large(), None);
            assert_eq!(formats.view(&replaced).body.bytes(), b"new");
        }
    }
}
