//! Sources and targets (part 3, 3.5), and which destination they name.

use bytes::{Bytes, BytesMut};
use evergate_model::{ADMIN_NAME, Address, AddressKind, Filter, Outcome, Value};

use crate::codec::{DecodeError, Fields, Item, ListWriter, MapWriter, Reader, put_descriptor, put_string, put_symbol};
use crate::error::{AmqpError, INVALID_FIELD, NOT_ALLOWED, NOT_IMPLEMENTED};
use crate::filters::Filters;
use crate::message::jms_kind;
use crate::performative::{DeliveryState, code, put_outcome, read_state};
use crate::transaction::check_coordinator;

/// What `amqp:…:list` outcomes a consumer may use: all of the standard's.
const OUTCOMES: [&str; 4] = ["amqp:accepted:list", "amqp:rejected:list", "amqp:released:list", "amqp:modified:list"];

/// The highest terminus durability (3.5.5).
const UNSETTLED_STATE: u32 = 2;

/// What stands before a pattern in a source's address.
const GLOB: &str = "/glob/";
const REGEX: &str = "/regex/";

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
    /// Dynamic nodes: when they go.
    pub lifetime_policy: LifetimePolicy,
    /// Sources: deliver without taking.
    pub copy: bool,
    pub filters: Filters,
    /// Sources: what becomes of a delivery that is settled without an outcome.
    pub default_outcome: Option<Outcome>,
    /// Sources: the outcomes that their end understands; none: all.
    pub outcomes: Vec<String>,
    pub capabilities: Vec<String>,
}

/// When a dynamic node goes (part 3, 3.5.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LifetimePolicy {
    /// With the link that made it.
    #[default]
    OnClose,
    /// With its last link.
    OnNoLinks,
    /// When it is empty, which we do not do.
    Other,
}

impl LifetimePolicy {
    fn read(properties: Option<Item<'_>>) -> Result<Self, DecodeError> {
        let mut items = match properties {
            None => return Ok(Self::default()),
            Some(Item::Map(items)) => items,
            Some(_) => return Err(DecodeError::WrongType),
        };
        while let Some(key) = items.next().transpose()? {
            let value = items.next().transpose()?;
            if !matches!(key, Item::Simple(Value::Symbol(key)) if key == "lifetime-policy") {
                continue;
            }
            let Some(Item::Described { descriptor, .. }) = value else { return Err(DecodeError::WrongType) };
            return Ok(match descriptor {
                Value::Ulong(number) if number == u64::from(code::DELETE_ON_CLOSE) => Self::OnClose,
                Value::Ulong(number) if number == u64::from(code::DELETE_ON_NO_LINKS) => Self::OnNoLinks,
                Value::Symbol(name) if name == "amqp:delete-on-close:list" => Self::OnClose,
                Value::Symbol(name) if name == "amqp:delete-on-no-links:list" => Self::OnNoLinks,
                _ => Self::Other,
            });
        }
        Ok(Self::default())
    }

    fn write(self, buf: &mut BytesMut) {
        let mut map = MapWriter::new(buf);
        put_symbol(map.buf, "lifetime-policy");
        put_descriptor(map.buf, if self == Self::OnNoLinks { code::DELETE_ON_NO_LINKS } else { code::DELETE_ON_CLOSE });
        map.raw(2, &[0x45]);
        map.close();
    }
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

    /// Whether a name without a prefix is a topic's.
    pub fn is_topic(&self) -> bool {
        self.is("topic") || self.is("temporary-topic")
    }

    /// Whether the outcome of this name is understood.
    pub fn may_come_to(&self, outcome: &str) -> bool {
        self.outcomes.is_empty() || self.outcomes.iter().any(|name| name == outcome)
    }

    /// Reads a source.
    pub fn source(bytes: &[u8]) -> Result<Result<Self, AmqpError>, DecodeError> {
        let (code, mut f) = Fields::described(&mut Reader::new(bytes))?;
        if code != u64::from(code::SOURCE) {
            return Err(DecodeError::UnknownDescriptor);
        }
        let mut source = Self::common(&mut f)?;
        source.copy = match f.symbol()?.as_deref() {
            Some("copy") => true,
            None | Some("move") => false,
            Some(_) => return Ok(Err(AmqpError::new(INVALID_FIELD, "there is no such distribution-mode"))),
        };
        match Filters::read(f.item()?.as_ref())? {
            Ok(filters) => source.filters = filters,
            Err(error) => return Ok(Err(error)),
        }
        source.default_outcome = match read_state(f.item()?)? {
            Some(DeliveryState::Terminal(outcome)) => Some(outcome),
            _ => None,
        };
        source.outcomes = f.symbols()?;
        source.capabilities = f.symbols()?;
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
        if durable > UNSETTLED_STATE {
            return Err(DecodeError::NoSuchChoice);
        }
        let expiry_policy = f.symbol()?.map(std::borrow::Cow::into_owned);
        let timeout = f.u32()?.unwrap_or(0);
        let dynamic = f.flag()?;
        let lifetime_policy = LifetimePolicy::read(f.item()?)?;
        Ok(Self { address, durable, expiry_policy, timeout, dynamic, lifetime_policy, ..Self::default() })
    }

    /// Writes this source. Only what is honoured is in it.
    pub fn encode_source(&self) -> Bytes {
        let mut buf = BytesMut::new();
        let mut list = ListWriter::described(&mut buf, code::SOURCE);
        self.put_common(&mut list);
        list.field(|buf| put_symbol(buf, if self.copy { "copy" } else { "move" }))
            .option(Some(&self.filters).filter(|filters| !filters.is_empty()), |buf, filters| filters.write(buf))
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
            .option(self.dynamic.then_some(self.lifetime_policy), |buf, policy| policy.write(buf));
    }

    fn known_capabilities(&self) -> Vec<&'static str> {
        CAPABILITIES.into_iter().filter(|known| self.is(known)).collect()
    }

    /// Settled without an outcome: back to its place, as it is when the link ends.
    pub fn default_outcome(&self) -> Outcome {
        self.default_outcome.clone().unwrap_or(Outcome::Release)
    }

    /// Checks what is asked of a dynamic node.
    pub fn check_dynamic(&self) -> Result<(), AmqpError> {
        if self.address.is_some() {
            // 3.5.3, 3.5.4
            return Err(AmqpError::new(INVALID_FIELD, "a dynamic node has no address until the gateway gives it one"));
        }
        if self.lifetime_policy == LifetimePolicy::Other {
            let text = "a dynamic node lives until its link is closed, or until it has no links";
            return Err(AmqpError::new(NOT_IMPLEMENTED, text));
        }
        Ok(())
    }

    /// Whether the node goes when this link is closed.
    pub fn is_deleted_on_close(&self) -> bool {
        self.dynamic && self.lifetime_policy == LifetimePolicy::OnClose
    }

    fn kind_and_name<'a>(&self, text: &'a str) -> (AddressKind, &'a str) {
        let bare = if self.is_topic() { AddressKind::Topic } else { AddressKind::Queue };
        Address::parse(text).unwrap_or((bare, text))
    }

    /// Where messages sent to this target go; `None`: to where each message says.
    pub fn destination(&self) -> Result<Option<Address>, AmqpError> {
        match self.address.as_deref() {
            None => Ok(None),
            Some(text) => {
                check_no_pattern(text)?;
                let (kind, name) = self.kind_and_name(text);
                destination(kind, name).map(Some)
            }
        }
    }

    /// What this source reads.
    pub fn origin(&self) -> Result<Origin, AmqpError> {
        let text = self.address.as_deref().unwrap_or_default();
        let invalid = |error: &dyn std::fmt::Display| AmqpError::new(INVALID_FIELD, error.to_string());
        let topics = match (text.strip_prefix(GLOB), text.strip_prefix(REGEX), self.kind_and_name(text)) {
            (Some(glob), ..) => Filter::glob(glob),
            (_, Some(regex), _) => Filter::regex(regex),
            (.., (AddressKind::Topic, name)) => Filter::new(name),
            (.., (AddressKind::Queue, name)) => {
                Address::check_name(name).map_err(|error| invalid(&error))?;
                check_private(name)?;
                return Ok(Origin::Queue(name.into()));
            }
        };
        topics.map(Origin::Topic).map_err(|error| invalid(&error))
    }
}

/// The address of a source with this filter.
pub(crate) fn address_of(filter: &Filter) -> String {
    let text = filter.as_str();
    match (text.strip_prefix("#glob:"), text.strip_prefix("#regex:")) {
        (Some(glob), _) => format!("{GLOB}{glob}"),
        (_, Some(regex)) => format!("{REGEX}{regex}"),
        _ => format!("/topic/{text}"),
    }
}

fn check_no_pattern(address: &str) -> Result<(), AmqpError> {
    if address.starts_with(GLOB) || address.starts_with(REGEX) {
        return Err(AmqpError::new(INVALID_FIELD, "a message cannot be sent to a pattern"));
    }
    Ok(())
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
    // Who may send requests to the administration is checked with each.
    if address.is_reserved() && &*address.name != ADMIN_NAME {
        return Err(AmqpError::new(NOT_ALLOWED, "names that begin with _ are the gateway's own"));
    }
    Ok(address)
}

/// Where a message on an anonymous relay goes: its `to`, and JMS's word on what kind that is.
pub(crate) fn relay_destination(to: Option<&str>, jms_dest: Option<i8>) -> Result<Address, AmqpError> {
    let to =
        to.ok_or_else(|| AmqpError::new(INVALID_FIELD, "the message has no «to», and its link no target address"))?;
    check_no_pattern(to)?;
    let bare = jms_dest.map_or(AddressKind::Queue, jms_kind);
    let (kind, name) = Address::parse(to).unwrap_or((bare, to));
    destination(kind, name)
}
