//! Which queue a source means, and how its consumer attaches.

use std::sync::Arc;

use evergate_model::{
    Address, Attach as Request, AttachAccess, Binding, Filter, Lifetime, QueueSpec, Retained, Standing,
    TEMPORARY_PREFIX, Value,
};

use super::context::{Context, LinkId};
use super::outgoing::Outgoing;
use crate::codec::{DecodeError, Item, Reader};
use crate::error::{AmqpError, INVALID_FIELD};
use crate::performative::Attach;
use crate::subscription::{lifetime, shared_name, shared_queue, subscription_queue};
use crate::terminus::{Origin, Terminus};

/// Link properties that say a consumer's priority: ours, then Artemis's and RabbitMQ's.
const PRIORITY: [&str; 3] = ["x-opt-consumer-priority", "priority", "rabbitmq:priority"];

/// A link property: a new subscription begins with the retained messages that match.
const RETAINED: &str = "x-opt-retained";

/// Terminus durability: unsettled-state.
const DURABLE: u32 = 2;

/// What the gateway is asked for a receiver's link.
pub(super) fn consume(link: &mut Outgoing, attach: &Attach<'_>, context: &Context) -> Result<Request, AmqpError> {
    let mut request = Request::new(link.id.consumer(), QueueSpec::temporary());
    read_properties(attach.properties, &mut request)?;
    match attach.source {
        Some(bytes) => {
            link.source = Terminus::source(bytes)??;
            describe(link, context, &mut request)?;
        }
        None => resume(link, attach, context, &mut request),
    }
    request.settled = link.settled && !link.browse;
    request.browse = link.browse;
    Ok(request)
}

/// A null source asks for the subscription of that name, if there is one (2.6.3; JMS unsubscribes so).
fn resume(link: &mut Outgoing, attach: &Attach<'_>, context: &Context, request: &mut Request) {
    link.resume = true;
    link.subscription = true;
    link.tells_lifetime = true;
    // Durable or not is all that is kept of it.
    link.source.durable = DURABLE;
    let is_global = link.name.ends_with("|global") || attach.desired.iter().any(|wanted| wanted == "global");
    let queue = if is_global {
        subscription_queue(None, shared_name(&link.name))
    } else {
        subscription_queue(Some(&context.container_id), &link.name)
    };
    request.queue = QueueSpec { name: queue.into(), durable: true, lifetime: Lifetime::Permanent };
    request.standing = Standing::Needed;
    // One container's link takes over from its predecessor; nobody ends what other containers consume from.
    request.access = if is_global { AttachAccess::Exclusive } else { AttachAccess::TakeOver };
}

fn describe(link: &mut Outgoing, context: &Context, request: &mut Request) -> Result<(), AmqpError> {
    if link.source.dynamic {
        return describe_dynamic(link, context, request);
    }
    if link.source.address.is_none() {
        return Err(AmqpError::new(INVALID_FIELD, "the source has no address"));
    }
    match link.source.origin()? {
        Origin::Queue(queue) => describe_queue(link, queue, request),
        Origin::Topic(filter) => describe_topic(link, filter, context, request)?,
    }
    Ok(())
}

fn describe_dynamic(link: &mut Outgoing, context: &Context, request: &mut Request) -> Result<(), AmqpError> {
    let source = &mut link.source;
    source.check_dynamic()?;
    source.copy = false;
    source.filters.drop_no_local();
    source.filters.drop_start();
    if source.is_topic() {
        let topic = temporary_topic(context, link.id);
        let filter =
            Filter::new(topic.name.clone()).map_err(|error| AmqpError::new(INVALID_FIELD, error.to_string()))?;
        let selector = source.filters.selector.clone();
        request.bindings.push(Binding { selector, ..Binding::new(filter, true) });
        source.address = Some(topic.to_string());
    } else {
        request.selector.clone_from(&source.filters.selector);
    }
    link.tells_lifetime = true;
    Ok(())
}

fn describe_queue(link: &mut Outgoing, queue: String, request: &mut Request) {
    link.browse = link.source.copy;
    link.source.filters.drop_no_local(); // of topics only
    link.source.durable = 0;
    // Temporary queues have the gateway's `$` names; nobody makes one permanent by reading it.
    request.queue = if queue.starts_with('$') {
        QueueSpec { name: queue.into(), durable: false, lifetime: Lifetime::Attached }
    } else {
        QueueSpec::named(queue)
    };
    request.selector.clone_from(&link.source.filters.selector);
    request.start = link.source.filters.start.unwrap_or_default();
}

fn describe_topic(
    link: &mut Outgoing,
    filter: Filter,
    context: &Context,
    request: &mut Request,
) -> Result<(), AmqpError> {
    let source = &mut link.source;
    source.copy = false;
    source.filters.drop_start();
    let selector = source.filters.selector.clone();
    let lifetime = lifetime(source)?;
    let outlives = lifetime != Lifetime::Attached;
    let is_shared = source.is("shared");
    let container = (!is_shared || !source.is("global")).then_some(&*context.container_id);
    if outlives {
        let name = if is_shared { shared_name(&link.name) } else { &link.name };
        let queue = subscription_queue(container, name);
        request.queue = QueueSpec { name: queue.into(), durable: source.durable > 0, lifetime };
        request.access = if is_shared { AttachAccess::Shared } else { AttachAccess::TakeOver };
        link.subscription = !is_shared;
    } else if is_shared {
        let queue = shared_queue(container, shared_name(&link.name), &filter, selector.as_ref());
        request.queue = QueueSpec { name: queue.into(), durable: false, lifetime };
    } else {
        // If it was to outlive its link before, it no longer does.
        request.standing = Standing::Instead(subscription_queue(container, &link.name).into());
    }
    let no_local: Option<Arc<str>> = source.filters.no_local.then(|| context.container_id.clone());
    // What is not selected is not stored either.
    request.bindings.push(Binding { no_local, selector, ..Binding::new(filter, true) });
    link.tells_lifetime = true;
    Ok(())
}

/// Unique in the gateway; beginning with `$`, so that `#` does not match it.
pub(super) fn temporary_topic(context: &Context, link: LinkId) -> Address {
    Address::topic(format!("{TEMPORARY_PREFIX}{:x}/{}", context.conn_id, link.0))
}

/// Takes the link's properties that mean something here.
fn read_properties(properties: Option<&[u8]>, request: &mut Request) -> Result<(), AmqpError> {
    let Some(bytes) = properties else { return Ok(()) };
    let Item::Map(mut items) = Reader::new(bytes).item()? else { return Err(DecodeError::WrongType.into()) };
    while let Some(key) = items.next().transpose()? {
        let value = items.next().transpose()?;
        let Item::Simple(Value::Symbol(key)) = key else { continue };
        if PRIORITY.contains(&&*key) {
            request.priority = match value {
                Some(Item::Simple(value)) => value.as_integer().and_then(|number| i32::try_from(number).ok()),
                _ => None,
            }
            .ok_or_else(|| AmqpError::new(INVALID_FIELD, "a consumer's priority is a whole number"))?;
        } else if key == RETAINED {
            request.retained = match value {
                Some(Item::Simple(Value::Bool(true))) => Retained::SendIfNew,
                Some(Item::Simple(Value::Bool(false))) => Retained::Skip,
                _ => return Err(AmqpError::new(INVALID_FIELD, "x-opt-retained is true or false")),
            };
        }
    }
    Ok(())
}
