//! Sources and targets (part 3, 3.5), and which destination they name.

use bytes::{Bytes, BytesMut};
use evergate_model::{Address, AddressKind, Filter, Outcome, Value};

use crate::codec::{DecodeError, Fields, Item, ListWriter, MapWriter, Reader, put_string, put_symbol, put_value};
use crate::error::{AmqpError, INVALID_FIELD, NOT_ALLOWED, NOT_IMPLEMENTED};
use crate::performative::{DeliveryState, code, put_outcome, read_state};
use crate::transaction::check_coordinator;

const NO_LOCAL: &str = "apache.org:no-local-filter:list";
const NO_LOCAL_CODE: u64 = 0x0000_468C_0000_0003;
const SELECTOR: &str = "apache.org:selector-filter:string";
const SELECTOR_CODE: u64 = 0x0000_468C_0000_0004;

/// What `amqp:…:list` outcomes a consumer may use: all of the standard's.
const OUTCOMES: [&str; 4] = ["amqp:accepted:list", "amqp:rejected:list", "amqp:released:list", "amqp:modified:list"];

/// Capabilities that mean something here; others are not echoed.
const CAPABILITIES: [&str; 6] = ["queue", "topic", "temporary-queue", "temporary-topic", "shared", "global"];

/// A source or target.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Terminus {
    pub address: Option<String>,
    /// 0 none, 1 configuration, 2 unsettled-state.
    pub durable: u32,
    pub expiry_policy: Option<String>,
    pub timeout: u32,
    pub dynamic: bool,
    /// Sources: deliver without taking.
    pub copy: bool,
    /// Sources: skip what this container published.
    pub no_local: Option<String>,
    /// Sources: what becomes of a delivery that is settled without an outcome.
    pub default_outcome: Option<Outcome>,
    /// Sources: the outcomes that their end understands; none: all.
    pub outcomes: Vec<String>,
    pub capabilities: Vec<String>,
}

/// A target as an `attach` may carry it.
pub(crate) enum Target {
    Terminus(Terminus),
    /// A transaction coordinator, or why not.
    Coordinator(Result<(), AmqpError>),
}

impl Terminus {
    pub fn is(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }

    /// Whether the outcome of this name is understood.
    pub fn may_come_to(&self, outcome: &str) -> bool {
        self.outcomes.is_empty() || self.outcomes.iter().any(|name| name == outcome)
    }

    /// Reads a source. A selector is an error: ignoring it would deliver what was not asked for.
    pub fn source(bytes: &[u8]) -> Result<Result<Self, AmqpError>, DecodeError> {
        let (code, mut f) = Fields::described(&mut Reader::new(bytes))?;
        if code != u64::from(code::SOURCE) {
            return Err(DecodeError::UnknownDescriptor);
        }
        let mut source = Self::common(&mut f)?;
        source.copy = f.symbol()?.is_some_and(|mode| mode == "copy");
        let selector = source.read_filters(f.item()?.as_ref())?;
        source.default_outcome = match read_state(f.item()?)? {
            Some(DeliveryState::Terminal(outcome)) => Some(outcome),
            _ => None,
        };
        source.outcomes = f.symbols()?;
        source.capabilities = f.symbols()?;
        if selector {
            return Ok(Err(AmqpError::new(NOT_IMPLEMENTED, "message selectors are not supported")));
        }
        Ok(Ok(source))
    }

    /// Reads a target.
    pub fn target(bytes: &[u8]) -> Result<Target, DecodeError> {
        let (code, mut f) = Fields::described(&mut Reader::new(bytes))?;
        if code == u64::from(code::COORDINATOR) {
            return Ok(Target::Coordinator(check_coordinator(&mut f)?));
        }
        if code != u64::from(code::TARGET) {
            return Err(DecodeError::UnknownDescriptor);
        }
        let mut target = Self::common(&mut f)?;
        target.capabilities = f.symbols()?;
        Ok(Target::Terminus(target))
    }

    fn common(f: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let address = f.string()?.map(std::borrow::Cow::into_owned);
        let durable = f.u32()?.unwrap_or(0);
        let expiry_policy = f.symbol()?.map(std::borrow::Cow::into_owned);
        let timeout = f.u32()?.unwrap_or(0);
        let dynamic = f.flag()?;
        f.skip()?; // dynamic-node-properties: a dynamic node lives as long as its link
        Ok(Self { address, durable, expiry_policy, timeout, dynamic, ..Self::default() })
    }

    /// Takes the filters that are honoured; whether there is a selector.
    fn read_filters(&mut self, filters: Option<&Item<'_>>) -> Result<bool, DecodeError> {
        let mut items = match filters {
            None => return Ok(false),
            Some(Item::Map(items)) => items.clone(),
            Some(_) => return Err(DecodeError::WrongType),
        };
        let mut selector = false;
        while let Some(key) = items.next().transpose()? {
            let value = items.next().transpose()?;
            let (Item::Simple(Value::Symbol(key)), Some(Item::Described { descriptor, .. })) = (key, value) else {
                continue;
            };
            selector |= matches!(&descriptor, Value::Ulong(SELECTOR_CODE))
                || matches!(&descriptor, Value::Symbol(name) if name == SELECTOR);
            if matches!(&descriptor, Value::Ulong(NO_LOCAL_CODE))
                || matches!(&descriptor, Value::Symbol(name) if name == NO_LOCAL)
            {
                self.no_local = Some(key.into_owned());
            }
        }
        Ok(selector)
    }

    /// Writes this source. Only what is honoured is in it.
    pub fn encode_source(&self) -> Bytes {
        let mut buf = BytesMut::new();
        let mut list = ListWriter::described(&mut buf, code::SOURCE);
        self.put_common(&mut list);
        list.option(self.copy.then_some("copy"), put_symbol)
            .option(self.no_local.as_deref(), |buf, name| {
                let mut map = MapWriter::new(buf);
                put_symbol(map.buf, name);
                map.buf.extend_from_slice(&[0x00]);
                put_value(map.buf, &Value::Ulong(NO_LOCAL_CODE));
                map.raw(2, &[0x45]);
                map.close();
            })
            .field(|buf| put_outcome(buf, &self.default_outcome(), None))
            .symbols(&OUTCOMES)
            .symbols(&self.known_capabilities())
            .close();
        buf.freeze()
    }

    /// Writes this target.
    pub fn encode_target(&self) -> Bytes {
        let mut buf = BytesMut::new();
        let mut list = ListWriter::described(&mut buf, code::TARGET);
        self.put_common(&mut list);
        list.symbols(&self.known_capabilities()).close();
        buf.freeze()
    }

    fn put_common(&self, list: &mut ListWriter<'_>) {
        list.option(self.address.as_deref(), put_string)
            .uint(self.durable)
            .option(self.expiry_policy.as_deref(), put_symbol)
            .uint(self.timeout)
            .flag(self.dynamic)
            .null();
    }

    fn known_capabilities(&self) -> Vec<&'static str> {
        CAPABILITIES.into_iter().filter(|known| self.is(known)).collect()
    }

    /// Settled without an outcome: back to its place, counted, so that nothing is lost and nothing loops
    /// for ever.
    pub fn default_outcome(&self) -> Outcome {
        self.default_outcome.clone().unwrap_or(Outcome::Modify { failed: true, undeliverable_here: false })
    }

    fn kind_and_name<'a>(&self, text: &'a str) -> Result<(AddressKind, &'a str), AmqpError> {
        if text.starts_with("/glob/") || text.starts_with("/regex/") {
            return Err(AmqpError::new(NOT_IMPLEMENTED, "glob and regex patterns are not supported yet"));
        }
        let bare = if self.is("topic") || self.is("temporary-topic") { AddressKind::Topic } else { AddressKind::Queue };
        Ok(Address::parse(text).unwrap_or((bare, text)))
    }

    /// Where messages sent to this target go; `None`: to where each message says.
    pub fn destination(&self) -> Result<Option<Address>, AmqpError> {
        match self.address.as_deref() {
            None => Ok(None),
            Some(text) => {
                let (kind, name) = self.kind_and_name(text)?;
                destination(kind, name).map(Some)
            }
        }
    }

    /// What this source reads.
    pub fn origin(&self) -> Result<Origin, AmqpError> {
        let text = self.address.as_deref().unwrap_or_default();
        let invalid = |error: &dyn std::fmt::Display| AmqpError::new(INVALID_FIELD, error.to_string());
        match self.kind_and_name(text)? {
            (AddressKind::Topic, name) => Filter::new(name).map(Origin::Topic).map_err(|error| invalid(&error)),
            (AddressKind::Queue, name) => {
                Address::check_name(name).map_err(|error| invalid(&error))?;
                check_private(name)?;
                Ok(Origin::Queue(name.into()))
            }
        }
    }
}

/// What a consumer reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Origin {
    Queue(String),
    Topic(Filter),
}

fn check_private(queue: &str) -> Result<(), AmqpError> {
    if Address::is_private_queue(queue) {
        return Err(AmqpError::new(NOT_ALLOWED, "queues of sessions and subscriptions are not addressed by name"));
    }
    Ok(())
}

fn destination(kind: AddressKind, name: &str) -> Result<Address, AmqpError> {
    let checked = match kind {
        AddressKind::Queue => Address::check_name(name),
        AddressKind::Topic => Address::check_topic(name),
    };
    checked.map_err(|error| AmqpError::new(INVALID_FIELD, error.to_string()))?;
    if kind == AddressKind::Queue {
        check_private(name)?;
    }
    let address = Address { kind, name: name.into() };
    if address.is_reserved() {
        return Err(AmqpError::new(NOT_ALLOWED, "names that begin with _ are the gateway's own"));
    }
    Ok(address)
}

/// Where a message on an anonymous relay goes: its `to`, and JMS's word on what kind that is.
pub(crate) fn relay_destination(to: Option<&str>, jms_dest: Option<i8>) -> Result<Address, AmqpError> {
    let to =
        to.ok_or_else(|| AmqpError::new(INVALID_FIELD, "the message has no «to», and its link no target address"))?;
    // Byte values of x-opt-jms-dest: 1 and 3 are topics (AMQP JMS mapping, 4.3.1).
    let bare = if matches!(jms_dest, Some(1 | 3)) { AddressKind::Topic } else { AddressKind::Queue };
    let (kind, name) = Address::parse(to).unwrap_or((bare, to));
    destination(kind, name)
}

/// The queue behind a durable subscription. The container's part is escaped, so that no two pairs of
/// container and name have the same queue.
pub(crate) fn subscription_queue(container_id: &str, link_name: &str) -> String {
    format!("$subscription/{}/{link_name}", escape(container_id))
}

/// The queue behind a shared subscription: of one container, or global.
pub(crate) fn shared_queue(container_id: &str, link_name: &str, global: bool, filter: &Filter) -> String {
    // JMS makes link names unique by `|` and a suffix (AMQP JMS mapping, shared subscriptions).
    let name = escape(link_name.split('|').next().unwrap_or_default());
    if global {
        format!("$share/{name}/{filter}")
    } else {
        format!("$share/{}%7C{name}/{filter}", escape(container_id))
    }
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F").replace('|', "%7C")
}
