//! What a SUBSCRIBE consumes from, and how.

use std::sync::Arc;

use evergate_model::{
    Attach, AttachAccess, Binding, ConsumerId, Filter, Lifetime, QueueSpec, Retained, SHARED_PREFIX,
    SUBSCRIPTION_PREFIX, Selector, StreamStart,
};

use super::connect::durable_owner;
use super::destination::Destination;
use super::fault::Fault;
use super::wishes::first_of;
use super::{StompSession, is_true};
use crate::codec::Frame;

/// Where to begin on a stream, as RabbitMQ writes it.
pub(super) const STREAM_OFFSET: &str = "x-stream-offset";

/// A durable subscription's name: given by itself, as ActiveMQ and Artemis have it, or by `durable:true` and
/// the subscription's id. `None`: it is not durable.
pub(super) fn durable_name(frame: &Frame) -> Result<Option<&str>, Fault> {
    if let Some((_, name)) = first_of(frame, &["durable-subscription-name", "activemq.subscriptionName"]) {
        return Ok(Some(name));
    }
    if !is_true(frame, "durable") {
        return Ok(None);
    }
    super::required(frame, "id").map(Some)
}

impl StompSession {
    /// What a SUBSCRIBE consumes from. The consumer's number is to be filled in.
    pub(super) fn source(&mut self, frame: &Frame, destination: &Destination<'_>) -> Result<Attach, Fault> {
        let mut attach = match destination {
            Destination::Queue(name) if name.starts_with('$') => {
                return Err(Fault::refused("queues that begin with $ belong to subscriptions and sessions"));
            }
            Destination::Queue(name) => queue_source(frame, QueueSpec::named(*name), AttachAccess::Shared)?,
            Destination::TempQueue(_) => queue_source(frame, QueueSpec::temporary(), AttachAccess::Exclusive)?,
            Destination::Pattern(filter) => self.topic_source(frame, filter.clone())?,
            Destination::Topic(name) => self.topic_source(frame, filter(name)?)?,
            Destination::TempTopic(name) => {
                let topic = self.temp_topic(name)?;
                self.topic_source(frame, filter(&topic.name)?)?
            }
        };
        if is_true(frame, "exclusive") {
            attach.access = AttachAccess::Exclusive;
        }
        let names = ["consumer-priority", "priority", "x-priority", "activemq.priority"];
        if let Some((name, text)) = first_of(frame, &names) {
            attach.priority =
                text.parse().map_err(|_| Fault::refused(format!("{name} must be a whole number: {text}")))?;
        }
        Ok(attach)
    }

    fn topic_source(&mut self, frame: &Frame, filter: Filter) -> Result<Attach, Fault> {
        for (name, asked) in
            [("browser", is_true(frame, "browser")), (STREAM_OFFSET, frame.headers.get(STREAM_OFFSET).is_some())]
        {
            if asked {
                return Err(Fault::refused(format!("{name} is for queues, not for topics")));
            }
        }
        let durable = durable_name(frame)?;
        let (queue, access) = match (frame.headers.get("shared"), durable) {
            (Some(group), durable) => (shared_queue(group, &filter, durable.is_some())?, AttachAccess::Shared),
            (None, Some(name)) => (self.durable_queue(name)?, AttachAccess::TakeOver),
            (None, None) => (QueueSpec::temporary(), AttachAccess::Exclusive),
        };
        let mut binding = Binding::new(filter, true);
        binding.selector = selector(frame)?;
        if wants_no_local(frame) {
            if frame.headers.get("shared").is_some() {
                return Err(Fault::refused("no-local is not for shared subscriptions"));
            }
            binding.no_local = Some(self.name_itself());
        }
        let wants_retained = is_true(frame, "retained") || is_true(frame, "activemq.retroactive");
        let retained = if wants_retained { Retained::Send } else { Retained::Skip };
        Ok(Attach { bindings: vec![binding], retained, access, ..Attach::new(ConsumerId(0), queue) })
    }

    pub(super) fn durable_queue(&self, name: &str) -> Result<QueueSpec, Fault> {
        let client_id = durable_owner(&self.client_id)?;
        Ok(QueueSpec::named(format!("{SUBSCRIPTION_PREFIX}{client_id}/{name}")))
    }

    /// The name that tells what this connection publishes from what others do. A client without a client-id
    /// gets one for as long as it is connected.
    fn name_itself(&mut self) -> Arc<str> {
        if self.client_id.is_empty() && self.given_id.is_none() {
            self.given_id = Some(format!("stomp-connection-{}", self.conn_id).into());
        }
        self.identity().clone()
    }

    /// The client-id, or the one that was given.
    pub(super) fn identity(&self) -> &Arc<str> {
        self.given_id.as_ref().unwrap_or(&self.client_id)
    }
}

fn filter(text: &str) -> Result<Filter, Fault> {
    Filter::new(text).map_err(|reason| Fault::refused(reason.to_string()))
}

fn queue_source(frame: &Frame, queue: QueueSpec, access: AttachAccess) -> Result<Attach, Fault> {
    if wants_no_local(frame) {
        return Err(Fault::refused("no-local is for topics, not for queues"));
    }
    let start = match frame.headers.get(STREAM_OFFSET) {
        Some(text) => stream_start(text.trim())?,
        None => StreamStart::Next,
    };
    let (browse, selector) = (is_true(frame, "browser"), selector(frame)?);
    Ok(Attach { browse, selector, start, access, ..Attach::new(ConsumerId(0), queue) })
}

fn selector(frame: &Frame) -> Result<Option<Selector>, Fault> {
    let Some((_, text)) = first_of(frame, &["selector"]) else {
        return Ok(None);
    };
    Selector::parse(text).map(Some).map_err(|reason| Fault::refused(reason.to_string()))
}

fn wants_no_local(frame: &Frame) -> bool {
    is_true(frame, "no-local") || is_true(frame, "activemq.noLocal")
}

fn stream_start(text: &str) -> Result<StreamStart, Fault> {
    StreamStart::parse(text).ok_or_else(|| {
        Fault::refused(format!("{STREAM_OFFSET} must be first, last, next, offset=… or timestamp=… (seconds): {text}"))
    })
}

fn shared_queue(group: &str, filter: &Filter, durable: bool) -> Result<QueueSpec, Fault> {
    if group.is_empty() || group.contains(['/', '+', '#']) {
        return Err(Fault::refused("shared must be a name without /, + and #"));
    }
    let lifetime = if durable { Lifetime::Permanent } else { Lifetime::Attached };
    Ok(QueueSpec { name: format!("{SHARED_PREFIX}{group}/{filter}").into(), durable, lifetime })
}
