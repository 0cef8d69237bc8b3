//! The gateway's own publisher: dead letters and wills. A session without a socket.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evergate_core::{Publisher, PublisherCounts, PublisherOut, ShardCommand, ShardId, Waiting};
use evergate_model::{Event, Message, PublishError, QueueId, Seq, Token};
use tokio::sync::oneshot;

use crate::gateway::Gateway;
use crate::publisher;

/// How often it looks whether memory has room again.
const RETRY: Duration = Duration::from_millis(5);

/// Who is told whether a message arrived.
pub type Told = oneshot::Sender<Result<(), PublishError>>;

/// What the gateway publishes itself.
#[derive(Debug)]
pub enum HouseRequest {
    /// To `_DMQ`; removed from its queue once that is committed.
    DeadLetter { shard: ShardId, queue: QueueId, seq: Seq, message: Box<Message> },
    /// Reserved in its queue, and to go elsewhere: removed there once that is committed, else given back.
    Move { shard: ShardId, queue: QueueId, seq: Seq, message: Box<Message>, told: Told },
    /// A will, or anything else that nobody waits for.
    Publish { message: Box<Message>, retain: bool },
    /// What may be lost: an event of `_LOG` and the like.
    Announce { message: Box<Message>, retain: bool },
}

/// Runs until it is aborted.
pub async fn run(gateway: Arc<Gateway>) {
    let (session, mailbox) = gateway.open_session();
    let mut publisher = Publisher::new(session, gateway.config.transactions);
    let mut announced: HashSet<Token> = HashSet::new();
    let mut origins: HashMap<Token, (ShardId, QueueId, Seq)> = HashMap::new();
    let mut moves: HashMap<Token, Told> = HashMap::new();
    let (mut requests, mut events, mut out) = (Vec::new(), Vec::new(), PublisherOut::default());
    let mut last_token = 0;
    loop {
        tokio::select! {
            () = gateway.house.filled() => {}
            () = mailbox.filled() => {}
            () = gateway.opened.notified(), if publisher.is_blocked() => {}
            () = tokio::time::sleep(RETRY), if publisher.is_blocked() => {}
        }
        gateway.house.take(&mut requests);
        for request in requests.drain(..) {
            last_token += 1;
            let token = Token(last_token);
            let (message, retain) = match request {
                HouseRequest::DeadLetter { shard, queue, seq, message } => {
                    origins.insert(token, (shard, queue, seq));
                    (message, false)
                }
                HouseRequest::Move { shard, queue, seq, message, told } => {
                    origins.insert(token, (shard, queue, seq));
                    moves.insert(token, told);
                    (message, false)
                }
                HouseRequest::Publish { message, retain } => (message, retain),
                HouseRequest::Announce { message, retain } => {
                    announced.insert(token);
                    (message, retain)
                }
            };
            let message = gateway.admit(*message);
            publisher.submit(Waiting { token, message, retain, mark: None, body: None });
        }
        mailbox.take(&mut events);
        for event in events.drain(..) {
            publisher.handle(event, &mut out);
        }
        publisher::pump(&gateway, &mut publisher, "", false, &mut out);
        // The totals are those of the clients.
        out.counts = PublisherCounts { published: 0, confirmed: 0, ..out.counts };
        publisher::count(&gateway, &mut out);
        for event in out.answers.drain(..) {
            let Event::Published { token, result } = event else { continue };
            if announced.remove(&token) {
                // An error here is not logged: logging it would announce it.
                gateway.announcements.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let origin = origins.remove(&token);
            if let (Some(told), Some((shard, queue, seq))) = (moves.remove(&token), origin) {
                let command = match &result {
                    Ok(_) => ShardCommand::Remove { queue, seq },
                    Err(_) => ShardCommand::GiveBack { queue, seq },
                };
                gateway.control(shard, command);
                let _ = told.send(result.map(drop)); // who asked may be gone
                continue;
            }
            match (result, origin) {
                (Ok(_), Some((shard, queue, seq))) => gateway.control(shard, ShardCommand::Remove { queue, seq }),
                (Ok(_), None) => {}
                (Err(error), _) => tracing::error!(%error, "a dead letter or will could not be published"),
            }
        }
    }
}
