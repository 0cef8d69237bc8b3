//! A session's subscriptions: what their filters mean, their options, which of them a message matches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use evergate_model::{Address, Filter};

use crate::codec::{Qos, ReasonCode, RetainHandling, SubscribeFilter};
use crate::format::QUEUE_PREFIX;

/// What a topic filter of MQTT stands for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Topics, through the session's own queue.
    Topics(Filter),
    /// `$share/GROUP/FILTER`: a queue that the group's members share.
    Shared(Filter),
    /// `$queue/NAME`, also behind `$share/GROUP/`.
    Queue(Arc<str>),
}

impl Target {
    pub(super) fn parse(text: &str, levels_max: usize) -> Result<Self, ReasonCode> {
        let invalid = ReasonCode::TOPIC_FILTER_INVALID;
        if text.split('/').count() > levels_max || text.starts_with("$glob/") || text.starts_with("$regex/") {
            return Err(invalid);
        }
        if let Some(rest) = text.strip_prefix("$share/") {
            let (group, inner) = rest.split_once('/').ok_or(invalid)?;
            // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
            if group.is_empty() || group.contains(['+', '#']) {
                return Err(invalid);
            }
            return match Self::parse(inner, levels_max)? {
                Self::Topics(filter) => Ok(Self::Shared(filter)),
                Self::Queue(name) => Ok(Self::Queue(name)),
                Self::Shared(_) => Err(invalid),
            };
        }
        if let Some(name) = text.strip_prefix(QUEUE_PREFIX) {
            if Address::is_private_queue(name) {
                return Err(ReasonCode::NOT_AUTHORIZED);
            }
            return Address::check_topic(name).map(|()| Self::Queue(name.into())).map_err(|_| invalid);
        }
        Filter::new(text).map(Self::Topics).map_err(|_| invalid)
    }
}

/// The options of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) qos: Qos,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    pub(super) retain_handling: RetainHandling,
    /// 0: none.
    pub(super) subscription_id: u32,
}

/// First byte of the stored options. Raised when their layout changes.
const LAYOUT: u8 = 1;

impl Options {
    pub(super) fn new(filter: &SubscribeFilter, subscription_id: u32) -> Self {
        Self {
            qos: filter.qos,
            no_local: filter.no_local,
            retain_as_published: filter.retain_as_published,
            retain_handling: filter.retain_handling,
            subscription_id,
        }
    }

    /// The bytes kept with the binding: layout, flags, subscription identifier.
    pub(super) fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(6);
        bytes.put_u8(LAYOUT);
        let flags = u8::from(self.no_local) << 2 | u8::from(self.retain_as_published) << 3;
        bytes.put_u8(self.qos as u8 | flags | (self.retain_handling as u8) << 4);
        bytes.put_u32(self.subscription_id);
        bytes.freeze()
    }

    /// Reads them back; `None` if another program wrote them.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let [LAYOUT, flags, a, b, c, d] = *bytes else { return None };
        let retain_handling = match flags >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        };
        Some(Self {
            qos: Qos::from_number(flags & 0x03)?,
            no_local: flags & 0x04 != 0,
            retain_as_published: flags & 0x08 != 0,
            retain_handling,
            subscription_id: u32::from_be_bytes([a, b, c, d]),
        })
    }
}

/// What the subscriptions that match a message ask for, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) qos: Qos,
    pub(super) retain_as_published: bool,
    pub(super) subscription_ids: Vec<u32>,
}

impl Wanted {
    pub(super) fn by(options: Options) -> Self {
        let mut wanted =
            Self { qos: options.qos, retain_as_published: options.retain_as_published, subscription_ids: Vec::new() };
        wanted.note_id(options);
        wanted
    }

    fn note_id(&mut self, options: Options) {
        if options.subscription_id != 0 {
            self.subscription_ids.push(options.subscription_id);
        }
    }

    /// Overlapping subscriptions: the highest QoS, all identifiers. [MQTT-3.3.4-2], [MQTT-3.3.4-3]
    fn and(&mut self, options: Options) {
        self.qos = self.qos.max(options.qos);
        self.retain_as_published |= options.retain_as_published;
        self.note_id(options);
    }
}

/// The subscriptions of the session's own queue. Plain topics are found by name, wildcards one by one.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    plain: HashMap<Arc<str>, Options>,
    wild: BTreeMap<Filter, Options>,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.wild.len()
    }

    pub(super) fn contains(&self, filter: &Filter) -> bool {
        self.plain.contains_key(filter.as_str()) || self.wild.contains_key(filter)
    }

    pub(super) fn insert(&mut self, filter: Filter, options: Options) {
        if filter.is_wild() {
            self.wild.insert(filter, options);
        } else {
            self.plain.insert(filter.as_str().into(), options);
        }
    }

    pub(super) fn remove(&mut self, filter: &Filter) {
        self.plain.remove(filter.as_str());
        self.wild.remove(filter);
    }

    /// What is wanted of a message to `topic`; `None`: nothing matches any more.
    pub(super) fn wanted(&self, topic: &str) -> Option<Wanted> {
        let wild = self.wild.iter().filter(|(filter, _)| filter.matches(topic)).map(|(_, options)| options);
        let mut matching = self.plain.get(topic).into_iter().chain(wild).copied();
        let mut wanted = Wanted::by(matching.next()?);
        for options in matching {
            wanted.and(options);
        }
        Some(wanted)
    }
}
