//! The filter set of a source (part 3, 3.5.1 and 3.5.8). A filter that we do not know is left out of our
//! answer, which is how the standard says that it is not in force.

use bytes::{Bytes, BytesMut};
use evergate_model::{Binding, Selector, Seq, StreamStart, Time, Value};

use crate::codec::{DecodeError, Item, MapWriter, Reader, put_string, put_symbol, put_value};
use crate::error::{AmqpError, INVALID_FIELD};

/// A filter that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Selector,
    NoLocal,
    StreamOffset,
}

/// Filters by the names and numbers of their descriptors. The first two are Apache's, registered for AMQP 1.0;
/// the last one's second name is RabbitMQ's.
const KNOWN: [(&str, Option<u64>, Kind); 4] = [
    ("apache.org:no-local-filter:list", Some(0x0000_468C_0000_0003), Kind::NoLocal),
    ("apache.org:selector-filter:string", Some(0x0000_468C_0000_0004), Kind::Selector),
    ("evergate:stream-offset", None, Kind::StreamOffset),
    ("rabbitmq:stream-offset-spec", None, Kind::StreamOffset),
];

impl Kind {
    fn of(descriptor: &Value<'_>) -> Option<Self> {
        KNOWN.iter().find_map(|(name, number, kind)| {
            let known = match descriptor {
                Value::Ulong(given) => *number == Some(*given),
                Value::Symbol(given) => given == name,
                _ => false,
            };
            known.then_some(*kind)
        })
    }
}

/// A filter as the client wrote it, for our answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    kind: Kind,
    key: String,
    /// The described value.
    value: Bytes,
}

impl Given {
    /// One of Apache's, under the key that JMS clients give it.
    fn new(kind: Kind, key: &str, put: impl FnOnce(&mut BytesMut)) -> Self {
        let descriptor = KNOWN.iter().find_map(|(_, number, known)| number.filter(|_| *known == kind));
        let mut value = BytesMut::from(&[0x00][..]);
        put_value(&mut value, &descriptor.map_or(Value::Null, Value::Ulong));
        put(&mut value);
        Self { kind, key: key.to_owned(), value: value.freeze() }
    }
}

/// The filters in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    /// Deliver only what this selects.
    pub selector: Option<Selector>,
    /// Skip what this container published.
    pub no_local: bool,
    /// Where to begin on a stream.
    pub start: Option<StreamStart>,
    given: Vec<Given>,
}

impl Filters {
    /// Reads a filter set. The inner error is of a filter that we know and that says nothing sensible: to
    /// ignore it would deliver what was not asked for.
    pub fn read(set: Option<&Item<'_>>) -> Result<Result<Self, AmqpError>, DecodeError> {
        let mut filters = Self::default();
        let mut reader = match set {
            None => return Ok(Ok(filters)),
            Some(Item::Map(items)) => items.clone(),
            Some(_) => return Err(DecodeError::WrongType),
        };
        while let Some(key) = reader.next().transpose()? {
            let raw = reader.raw()?;
            let (Item::Simple(Value::Symbol(key)), Item::Described { descriptor, value }) =
                (key, Reader::new(raw).item()?)
            else {
                continue;
            };
            let Some(kind) = Kind::of(&descriptor) else { continue };
            if let Err(error) = filters.take(kind, &Reader::new(value).item()?) {
                return Ok(Err(error));
            }
            filters.given.push(Given { kind, key: key.into_owned(), value: Bytes::copy_from_slice(raw) });
        }
        Ok(Ok(filters))
    }

    /// Those of a binding that was made before.
    pub fn of(binding: &Binding) -> Self {
        let mut given = Vec::new();
        if let Some(selector) = &binding.selector {
            given.push(Given::new(Kind::Selector, "jms-selector", |buf| put_string(buf, selector.as_str())));
        }
        if binding.no_local.is_some() {
            given.push(Given::new(Kind::NoLocal, "no-local", |buf| buf.extend_from_slice(&[0x45])));
        }
        Self { selector: binding.selector.clone(), no_local: binding.no_local.is_some(), start: None, given }
    }

    fn take(&mut self, kind: Kind, value: &Item<'_>) -> Result<(), AmqpError> {
        if self.given.iter().any(|given| given.kind == kind) {
            return Err(AmqpError::new(INVALID_FIELD, "the same filter twice"));
        }
        match (kind, value) {
            (Kind::NoLocal, _) => self.no_local = true,
            (Kind::Selector, Item::Simple(Value::String(text))) => {
                let parsed = Selector::parse(text);
                self.selector = Some(parsed.map_err(|error| AmqpError::new(INVALID_FIELD, error.to_string()))?);
            }
            (Kind::StreamOffset, Item::Simple(value)) => self.start = Some(stream_start(value)?),
            _ => return Err(AmqpError::new(INVALID_FIELD, "a filter's value has the wrong type")),
        }
        Ok(())
    }

    /// There is nothing to skip by its publisher.
    pub fn drop_no_local(&mut self) {
        self.no_local = false;
        self.given.retain(|given| given.kind != Kind::NoLocal);
    }

    /// There is no stream.
    pub fn drop_start(&mut self) {
        self.start = None;
        self.given.retain(|given| given.kind != Kind::StreamOffset);
    }

    /// Whether there is something to write.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Writes the filters in force, as the client wrote them.
    pub fn write(&self, buf: &mut BytesMut) {
        let mut map = MapWriter::new(buf);
        for given in &self.given {
            put_symbol(map.buf, &given.key);
            map.raw(2, &given.value);
        }
        map.close();
    }
}

/// `first`, `last`, `next`, a place in the stream, or a time.
fn stream_start(value: &Value<'_>) -> Result<StreamStart, AmqpError> {
    Ok(match value {
        Value::String(text) | Value::Symbol(text) => match &**text {
            "first" => StreamStart::First,
            "last" => StreamStart::Last,
            "next" => StreamStart::Next,
            _ => return Err(AmqpError::new(INVALID_FIELD, "a stream begins at first, last, next, a place or a time")),
        },
        Value::Timestamp(millis) => StreamStart::Time(Time(u64::try_from(*millis).unwrap_or(0))),
        other => match other.as_integer().map(u64::try_from) {
            Some(Ok(place)) => StreamStart::Offset(Seq(place)),
            _ => return Err(AmqpError::new(INVALID_FIELD, "a place in a stream is a whole number, 0 or more")),
        },
    })
}
