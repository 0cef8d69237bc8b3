//! A session's subscriptions: what their filters mean, their options, which of them a message matches.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use evergate_model::{
    Address, Filter, FilterError, Formats, Message, RecentTopics, SHARED_PREFIX, Selector, Seq, StreamStart, Time,
};

use super::consuming::Consuming;
use crate::codec::{Qos, ReasonCode, RetainHandling, SubscribeFilter};
use crate::format::QUEUE_PREFIX;

/// What a topic filter of MQTT stands for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Topics, through the session's own queue.
    Topics(Filter),
    /// `$share/GROUP/FILTER`: a queue that the group's members share. Its name and its binding.
    Shared(Arc<str>, Filter),
    /// `$queue/NAME`, also behind `$share/GROUP/`.
    Queue(Arc<str>),
}

impl Target {
    pub(super) fn parse(text: &str, levels_max: usize) -> Result<Self, Refused> {
        let invalid = ReasonCode::TOPIC_FILTER_INVALID;
        if text.starts_with(Filter::GLOB_PREFIX) || text.starts_with(Filter::REGEX_PREFIX) {
            return Ok(Self::Topics(Filter::read(text)?));
        }
        if text.split('/').count() > levels_max {
            return Err(invalid.into());
        }
        if let Some(rest) = text.strip_prefix(SHARED_PREFIX) {
            let (group, inner) = rest.split_once('/').ok_or(invalid)?;
            // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
            if group.is_empty() || group.contains(['+', '#']) {
                return Err(invalid.into());
            }
            return match Self::parse(inner, levels_max)? {
                Self::Topics(filter) => Ok(Self::Shared(format!("{SHARED_PREFIX}{group}/{filter}").into(), filter)),
                Self::Queue(name) => Ok(Self::Queue(name)),
                Self::Shared(..) => Err(invalid.into()),
            };
        }
        if let Some(name) = text.strip_prefix(QUEUE_PREFIX) {
            if Address::is_private_queue(name) {
                return Err(ReasonCode::NOT_AUTHORIZED.into());
            }
            return Address::check_topic(name).map(|()| Self::Queue(name.into())).map_err(|_| invalid.into());
        }
        Ok(Self::Topics(Filter::new(text)?))
    }
}

/// Why a filter is not subscribed to.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: ReasonCode,
    /// For the reason string of SUBACK.
    pub(super) text: Option<String>,
}

impl Refused {
    /// For what MQTT has no code.
    pub(super) fn because(text: String) -> Self {
        Self { reason: ReasonCode::IMPLEMENTATION_SPECIFIC, text: Some(text) }
    }
}

impl From<ReasonCode> for Refused {
    fn from(reason: ReasonCode) -> Self {
        Self { reason, text: None }
    }
}

impl From<FilterError> for Refused {
    fn from(error: FilterError) -> Self {
        Self { reason: ReasonCode::TOPIC_FILTER_INVALID, text: Some(error.to_string()) }
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
    pub(super) consuming: Consuming,
}

/// First byte of the stored options: those of MQTT, or these and [`Consuming`].
const PLAIN_LAYOUT: u8 = 1;
const CONSUMING_LAYOUT: u8 = 2;

impl Options {
    pub(super) fn new(filter: &SubscribeFilter, subscription_id: u32, consuming: Consuming) -> Self {
        Self {
            qos: filter.qos,
            no_local: filter.no_local,
            retain_as_published: filter.retain_as_published,
            retain_handling: filter.retain_handling,
            subscription_id,
            consuming,
        }
    }

    /// The bytes kept with the binding: layout, flags, subscription identifier; then, if it is not as usual,
    /// consumer priority, browse, the kind of start and its number.
    pub(super) fn encode(self) -> Bytes {
        let plain = self.consuming == Consuming::default();
        let mut bytes = BytesMut::with_capacity(20);
        bytes.put_u8(if plain { PLAIN_LAYOUT } else { CONSUMING_LAYOUT });
        let flags = u8::from(self.no_local) << 2 | u8::from(self.retain_as_published) << 3;
        bytes.put_u8(self.qos as u8 | flags | (self.retain_handling as u8) << 4);
        bytes.put_u32(self.subscription_id);
        if !plain {
            let (kind, number) = match self.consuming.start {
                None => (0, 0),
                Some(StreamStart::First) => (1, 0),
                Some(StreamStart::Last) => (2, 0),
                Some(StreamStart::Next) => (3, 0),
                Some(StreamStart::Offset(place)) => (4, place.0),
                Some(StreamStart::Time(time)) => (5, time.0),
            };
            bytes.put_i32(self.consuming.priority);
            bytes.put_u8(u8::from(self.consuming.browse));
            bytes.put_u8(kind);
            bytes.put_u64(number);
        }
        bytes.freeze()
    }

    /// Reads them back; `None` if another program wrote them.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (plain, rest) = bytes.split_first_chunk::<6>()?;
        let [layout, flags, a, b, c, d] = *plain;
        let retain_handling = match flags >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        };
        let consuming = match layout {
            PLAIN_LAYOUT if rest.is_empty() => Consuming::default(),
            CONSUMING_LAYOUT => decode_consuming(rest)?,
            _ => return None,
        };
        Some(Self {
            qos: Qos::from_number(flags & 0x03)?,
            no_local: flags & 0x04 != 0,
            retain_as_published: flags & 0x08 != 0,
            retain_handling,
            subscription_id: u32::from_be_bytes([a, b, c, d]),
            consuming,
        })
    }
}

fn decode_consuming(bytes: &[u8]) -> Option<Consuming> {
    let (priority, rest) = bytes.split_first_chunk::<4>()?;
    let (&[browse, kind], rest) = rest.split_first_chunk::<2>()?;
    let number = u64::from_be_bytes(rest.try_into().ok()?);
    let start = match kind {
        0 => None,
        1 => Some(StreamStart::First),
        2 => Some(StreamStart::Last),
        3 => Some(StreamStart::Next),
        4 => Some(StreamStart::Offset(Seq(number))),
        5 => Some(StreamStart::Time(Time(number))),
        _ => return None,
    };
    Some(Consuming { priority: i32::from_be_bytes(*priority), browse: browse != 0, start })
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

/// One of them.
#[derive(Clone, Debug)]
struct Subscribed {
    options: Options,
    selector: Option<Selector>,
}

impl Subscribed {
    /// The gateway has looked at the selectors; but of several subscriptions that match, it does not say through
    /// which a message comes.
    fn selects(&self, message: &Message, formats: &Formats) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.matches_with(message, formats))
    }
}

/// So few wildcards are matched as fast as what is remembered of a topic is found.
const FEW: usize = 8;
/// Topics of which a session remembers which of many wildcards match.
const TOPICS_MAX: usize = 256;

/// The subscriptions of the session's own queue. Plain topics are found by name, wildcards one by one.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    plain: HashMap<Arc<str>, Subscribed>,
    /// In the order of their filters.
    wild: Vec<(Filter, Subscribed)>,
    /// The places in `wild` of those that match.
    recent: RecentTopics<Box<[u32]>, TOPICS_MAX>,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.wild.len()
    }

    pub(super) fn contains(&self, filter: &Filter) -> bool {
        self.get(filter).is_some()
    }

    fn get(&self, filter: &Filter) -> Option<&Subscribed> {
        self.plain.get(filter.as_str()).or_else(|| Some(&self.wild[self.place_of(filter).ok()?].1))
    }

    /// Where a wildcard stands, or would.
    fn place_of(&self, filter: &Filter) -> Result<usize, usize> {
        self.wild.binary_search_by(|(other, _)| other.cmp(filter))
    }

    /// Whether there is such a subscription with another QoS or selector.
    pub(super) fn asks_otherwise(&self, filter: &Filter, qos: Qos, selector: Option<&Selector>) -> bool {
        self.get(filter).is_some_and(|known| known.options.qos != qos || known.selector.as_ref() != selector)
    }

    pub(super) fn insert(&mut self, filter: Filter, options: Options, selector: Option<Selector>) {
        let subscribed = Subscribed { options, selector };
        if !filter.is_wild() {
            self.plain.insert(filter.as_str().into(), subscribed);
            return;
        }
        self.recent.clear();
        match self.place_of(&filter) {
            Ok(place) => self.wild[place].1 = subscribed,
            Err(place) => self.wild.insert(place, (filter, subscribed)),
        }
    }

    pub(super) fn remove(&mut self, filter: &Filter) {
        self.plain.remove(filter.as_str());
        if let Ok(place) = self.place_of(filter) {
            self.recent.clear();
            self.wild.remove(place);
        }
    }

    /// What is wanted of a message; `None`: nothing matches any more.
    pub(super) fn wanted(&mut self, message: &Message, formats: &Formats) -> Option<Wanted> {
        let topic = &message.meta.address.name;
        let plain = self.plain.get(topic);
        let matching = self.wild.iter().enumerate().filter(|(_, (filter, _))| filter.matches(topic));
        // Long topics are not worth their place.
        if self.wild.len() <= FEW || topic.len() > Filter::PATTERN_NAME_BYTES_MAX {
            return together(plain.into_iter().chain(matching.map(|(_, (_, found))| found)), message, formats);
        }
        let places = self.recent.get(topic, || matching.map(|(place, _)| place as u32).collect());
        let wild = places.iter().map(|place| &self.wild[*place as usize].1);
        together(plain.into_iter().chain(wild), message, formats)
    }
}

/// What the subscriptions that match a message's topic want of it.
fn together<'a>(
    matching: impl Iterator<Item = &'a Subscribed>,
    message: &Message,
    formats: &Formats,
) -> Option<Wanted> {
    let mut matching = matching.filter(|found| found.selects(message, formats)).map(|found| found.options);
    let mut wanted = Wanted::by(matching.next()?);
    for options in matching {
        wanted.and(options);
    }
    Some(wanted)
}
