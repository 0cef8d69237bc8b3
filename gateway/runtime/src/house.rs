//! The gateway's own publisher: dead letters, wills, and what operators move. A session without a socket.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evergate_core::{Publisher, PublisherCounts, PublisherOut, ShardCommand, ShardId, TransactionLimits, Waiting};
use evergate_model::{Event, Message, QueueId, Seq, Token, TransactionError, TransactionId};
use tokio::sync::oneshot;

use crate::gateway::Gateway;
use crate::publisher;

/// How often what waits looks again: nobody tells when memory has room.
const RETRY: Duration = Duration::from_millis(5);

/// Who is told whether a message arrived.
pub type Told = oneshot::Sender<Result<(), TransactionError>>;

/// What the gateway publishes itself.
#[derive(Debug)]
pub enum HouseRequest {
    /// To `_DMQ`; removed from its queue once that is committed.
    DeadLetter { shard: ShardId, queue: QueueId, seq: Seq, message: Box<Message> },
    /// Reserved in its queue, and to go elsewhere: it leaves the one and comes to the other in one commit, or is given
    /// back.
    Move { shard: ShardId, queue: QueueId, seq: Seq, message: Box<Message>, told: Told },
    /// A will, or anything else that nobody waits for.
    Publish { message: Box<Message>, retain: bool },
    /// Says when all that was asked before is published, and stored.
    TellWhenDone(oneshot::Sender<()>),
    /// What may be lost: an event of `_LOG` and the like.
    Announce { message: Box<Message>, retain: bool },
}

/// A move is a transaction of one message; how many there are is limited where they are asked for.
const UNLIMITED: TransactionLimits = TransactionLimits {
    messages_max: usize::MAX,
    bytes_max: u64::MAX,
    age_max: Duration::MAX,
    per_session_max: usize::MAX,
};

/// Runs until it is aborted.
pub async fn run(gateway: Arc<Gateway>) {
    let (session, mailbox) = gateway.open_session();
    let mut publisher = Publisher::new(session, UNLIMITED);
    let mut announced: HashSet<Token> = HashSet::new();
    let mut origins: HashMap<Token, (ShardId, QueueId, Seq)> = HashMap::new();
    let mut moves: HashMap<Token, Told> = HashMap::new();
    let (mut requests, mut events, mut out) = (Vec::new(), Vec::new(), PublisherOut::default());
    let (mut last_token, mut asked) = (0, Vec::new());
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
                    moves.insert(token, told);
                    let id = TransactionId(gateway.next_message_id().0);
                    let waiting =
                        Waiting { token, message: gateway.admit(*message), retain: false, mark: None, body: None };
                    publisher.begin(gateway.clock.now(), id, token, &mut out);
                    publisher.take_in(id, (shard, queue, seq), &mut out);
                    publisher.publish_in(id, waiting, false, &mut out);
                    publisher.commit(id, token, &mut out);
                    continue;
                }
                HouseRequest::Publish { message, retain } => (message, retain),
                HouseRequest::TellWhenDone(told) => {
                    asked.push(told);
                    continue;
                }
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
        out.counts =
            PublisherCounts { refused: out.counts.refused, dropped: out.counts.dropped, ..PublisherCounts::default() };
        publisher::count(&gateway, &mut out);
        for event in out.answers.drain(..) {
            let (token, result) = match event {
                Event::Published { token, result } if !moves.contains_key(&token) => (token, result),
                Event::Committed { token, result } => {
                    let _ = moves.remove(&token).map(|told| told.send(result)); // who asked may be gone
                    continue;
                }
                _ => continue,
            };
            if announced.remove(&token) {
                // An error here is not logged: logging it would announce it.
                gateway.announcements.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            match (result, origins.remove(&token)) {
                (Ok(_), Some((shard, queue, seq))) => gateway.control(shard, ShardCommand::Remove { queue, seq }),
                (Ok(_), None) => {}
                (Err(error), _) => tracing::error!(%error, "a dead letter or will could not be published"),
            }
        }
        if publisher.load().0 == 0 {
            for told in asked.drain(..) {
                let _ = told.send(()); // who asked may be gone
            }
        }
    }
}
