//! The queues behind subscriptions: how they are named, and how long they live.

use std::time::Duration;

use evergate_model::{Attached, Filter, Lifetime, SHARED_PREFIX, SUBSCRIPTION_PREFIX, Selector};

use crate::error::{AmqpError, INVALID_FIELD};
use crate::terminus::Terminus;

/// How long a source outlives its link (part 3, 3.5.6). What we count from is the link's detach: our answer says so.
pub(crate) fn lifetime(source: &Terminus) -> Result<Lifetime, AmqpError> {
    let seconds = Duration::from_secs(source.timeout.into());
    Ok(match source.expiry_policy.as_deref() {
        Some("never") => Lifetime::Permanent,
        // Who wants it durable and says no more wants it kept.
        None if source.durable > 0 && source.timeout == 0 => Lifetime::Permanent,
        None | Some("link-detach" | "session-end" | "connection-close") if source.timeout == 0 => Lifetime::Attached,
        None | Some("link-detach" | "session-end" | "connection-close") => Lifetime::AfterDetach(seconds),
        Some(_) => return Err(AmqpError::new(INVALID_FIELD, "there is no such expiry-policy")),
    })
}

/// Puts what is in force into `source`.
pub(crate) fn describe_lifetime(source: &mut Terminus, queue: &Attached) {
    let (policy, timeout) = match queue.lifetime {
        Lifetime::Permanent => ("never", 0),
        Lifetime::Attached => ("link-detach", 0),
        Lifetime::AfterDetach(time) => ("link-detach", u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
    };
    source.expiry_policy = Some(policy.into());
    source.timeout = timeout;
    // One that ends with its link does so at a restart, too.
    let survives = queue.durable && queue.lifetime != Lifetime::Attached;
    source.durable = if survives { source.durable.max(1) } else { 0 };
}

/// The queue of a subscription that outlives its links: of one container, or of all (`None`). The container's
/// part is escaped, so that no two pairs of container and name have the same queue, and no container that of all.
pub(crate) fn subscription_queue(container_id: Option<&str>, name: &str) -> String {
    format!("{SUBSCRIPTION_PREFIX}{}/{name}", container_id.map_or_else(|| "|".to_owned(), escape))
}

/// The queue of a shared subscription that ends with its last consumer. MQTT clients share it by the same name,
/// if it has no selector and is of all containers.
pub(crate) fn shared_queue(
    container_id: Option<&str>,
    name: &str,
    filter: &Filter,
    selector: Option<&Selector>,
) -> String {
    let container = container_id.map(|id| format!("{}%7C", escape(id))).unwrap_or_default();
    let selector = selector.map(|selector| format!("?{}", escape(selector.as_str()))).unwrap_or_default();
    format!("{SHARED_PREFIX}{container}{}{selector}/{filter}", escape(name))
}

/// A subscription's name in the name of its link: JMS clients add a suffix after `|`, so that several consumers
/// of one connection have links of different names.
pub(crate) fn shared_name(link_name: &str) -> &str {
    link_name.split('|').next().unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F").replace('|', "%7C").replace('?', "%3F")
}
