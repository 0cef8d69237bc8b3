//! Requests by message: who sends one to a well-known name, with an address for the reply, is answered there.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use evergate_core::{DirectoryCommand, SessionEvent, ShardCommand, ShardId};
use evergate_model::{
    Address, AddressKind, Attach, AttachAccess, ConsumerId, Delivery, Event, Formats, Lifetime, Message, Meta,
    PeerInfo, QueueId, QueueSpec, Value,
};
use tokio::sync::oneshot;

use crate::gateway::Gateway;
use crate::house::HouseRequest;

/// Requests of all clients that are carried out at a time; more wait in their queue.
const AT_A_TIME: u64 = 16;
const CONSUMER: ConsumerId = ConsumerId(0);

/// Writes a reply: its address, the correlation id to carry, and the JSON.
pub type Compose = fn(Meta, Option<&Value<'_>>, &str) -> Message;

/// Serves requests sent to `name`, which are directed to this queue from its topic as well, until the gateway ends.
/// Each is handed to `answer`, with who sent it, and its result sent to the request's reply address. `ready` is told
/// once nobody else can take the name.
pub async fn serve_requests<F, A>(
    gateway: Arc<Gateway>,
    name: &'static str,
    (formats, compose): (Formats, Compose),
    ready: oneshot::Sender<()>,
    answer: F,
) where
    F: Fn(Bytes, PeerInfo) -> A + Send + Sync + 'static,
    A: Future<Output = String> + Send,
{
    let (session, mailbox) = gateway.open_session();
    let queue = QueueSpec { name: name.into(), durable: false, lifetime: Lifetime::Attached };
    let attach = Attach { access: AttachAccess::Exclusive, settled: true, ..Attach::new(CONSUMER, queue) };
    gateway.directory.push(DirectoryCommand::Attach { session, attach, window_bytes: u64::MAX });
    let answer = Arc::new(answer);
    let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
    let mut ready = Some(ready);
    let mut place: Option<(QueueId, ShardId)> = None;
    let mut limit = AT_A_TIME;
    let mut events = Vec::new();
    loop {
        tokio::select! {
            () = mailbox.filled() => {}
            _ = finished.recv() => limit += 1,
        }
        mailbox.take(&mut events);
        for event in events.drain(..) {
            match event {
                SessionEvent::Attached { result: Ok((queue, shard, _)), .. } => {
                    place = Some((queue, shard));
                    // Who waited for it may have been stopped.
                    let _ = ready.take().map(|ready| ready.send(()));
                }
                SessionEvent::Attached { result: Err(error), .. } => {
                    tracing::error!(name, %error, "requests to this name are not served");
                    return;
                }
                SessionEvent::Event(Event::Deliver(delivery)) => {
                    let (gateway, answer, done) = (gateway.clone(), answer.clone(), done.clone());
                    tokio::spawn(async move {
                        reply(&gateway, &delivery, formats, compose, &*answer).await;
                        let _ = done.send(()); // the gateway may have ended
                    });
                }
                _ => {}
            }
        }
        if let Some((queue, shard)) = place {
            let command = ShardCommand::Credit { queue, session, consumer: CONSUMER, limit, drain: false };
            gateway.control(shard, command);
        }
    }
}

async fn reply<F, A>(gateway: &Gateway, delivery: &Delivery, formats: Formats, compose: Compose, answer: &F)
where
    F: Fn(Bytes, PeerInfo) -> A + Send + Sync,
    A: Future<Output = String> + Send,
{
    let message = &delivery.message;
    let body = Bytes::copy_from_slice(formats.view(message).body.bytes());
    let by = message.meta.asked_by().cloned().unwrap_or_default();
    let text = answer(body, by).await;
    let view = formats.view(message);
    let Some(address) = view.reply_to.as_deref().and_then(reply_address) else { return };
    let reply = compose(Meta::new(address), view.correlation_id.as_ref(), &text);
    gateway.house.push(HouseRequest::Publish { message: Box::new(reply), retain: false });
}

/// Where a reply goes: an address of ours, not one of the gateway's own names, nor the queue of a session.
fn reply_address(text: &str) -> Option<Address> {
    let (kind, name) = Address::parse(text)?;
    let address = Address { kind, name: name.into() };
    let is_private = kind == AddressKind::Queue && Address::is_private_queue(name);
    (Address::check_topic(name).is_ok() && !address.is_reserved() && !is_private).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_goes_to_no_name_of_the_gateways_own() {
        assert_eq!(reply_address("/queue/mine"), Some(Address::queue("mine")));
        for text in ["mine", "/queue/_DMQ", "/queue/$session/c", "/topic/$SYS/x", "/topic/a/+", "/queue/"] {
            assert_eq!(reply_address(text), None, "{text}");
        }
    }
}
