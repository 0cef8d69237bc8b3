//! The gateway's own publisher: dead letters, wills, and what operators move. A session without a socket.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evergate_core::{Publisher, PublisherCounts, PublisherOut, ShardCommand, ShardId, TransactionLimits, Waiting};
use evergate_model::{Event, Message, PublishError, QueueId, Seq, Token, TransactionError, TransactionId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::gateway::Gateway;
use crate::publisher;

/// How often what waits looks again: nobody tells when memory has room.
const RETRY: Duration = Duration::from_millis(5);

/// How long a dead letter that was refused waits before it is sent again.
const LETTER_PAUSE: Duration = Duration::from_secs(1);

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

/// A dead letter that is on its way, and where it stands in its queue until it has arrived.
struct Letter {
    shard: ShardId,
    queue: QueueId,
    seq: Seq,
    message: Arc<Message>,
}

impl Letter {
    /// To be sent again: as a message of its own, since in the journal an id names one.
    fn again(self) -> HouseRequest {
        let Self { shard, queue, seq, message } = self;
        let message = Box::new(message.readdressed(message.meta.address.clone(), []));
        HouseRequest::DeadLetter { shard, queue, seq, message }
    }
}

/// Dead letters that were refused. They stay where they are, which fills their queues, until `_DMQ` takes them.
#[derive(Default)]
struct Refused {
    letters: Vec<HouseRequest>,
    until: Option<Instant>,
}

impl Refused {
    /// Those that came since the last pause began wait for the end of this one.
    fn add(&mut self, now: Instant, letter: Letter, error: &PublishError) {
        if self.until.is_none() {
            self.until = Some(now + LETTER_PAUSE);
            tracing::error!(%error, "dead letters could not be published: they stay in their queues, and are sent again");
        }
        self.letters.push(letter.again());
    }

    async fn pause(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Takes those whose pause is over.
    fn take(&mut self, now: Instant, requests: &mut Vec<HouseRequest>) {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            requests.append(&mut self.letters);
        }
    }
}

/// Runs until it is aborted.
pub async fn run(gateway: Arc<Gateway>) {
    let (session, mailbox) = gateway.open_session();
    let mut publisher = Publisher::new(session, UNLIMITED);
    let mut announced: HashSet<Token> = HashSet::new();
    let mut letters: HashMap<Token, Letter> = HashMap::new();
    let mut refused = Refused::default();
    let mut moves: HashMap<Token, Told> = HashMap::new();
    let (mut requests, mut events, mut out) = (Vec::new(), Vec::new(), PublisherOut::default());
    let (mut last_token, mut asked) = (0, Vec::new());
    loop {
        tokio::select! {
            () = gateway.house.filled() => {}
            () = mailbox.filled() => {}
            () = refused.pause() => {}
            () = gateway.opened.notified(), if publisher.is_blocked() => {}
            () = tokio::time::sleep(RETRY), if publisher.is_blocked() => {}
        }
        gateway.house.take(&mut requests);
        refused.take(Instant::now(), &mut requests);
        for request in requests.drain(..) {
            last_token += 1;
            let token = Token(last_token);
            let (message, retain) = match request {
                HouseRequest::DeadLetter { shard, queue, seq, message } => {
                    let message = gateway.admit(*message);
                    letters.insert(token, Letter { shard, queue, seq, message: message.clone() });
                    publisher.submit(Waiting { token, message, retain: false, mark: None, body: None });
                    continue;
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
            match (result, letters.remove(&token)) {
                (Ok(_), Some(Letter { shard, queue, seq, .. })) => {
                    gateway.control(shard, ShardCommand::Remove { queue, seq });
                }
                (Ok(_), None) => {}
                (Err(error), Some(letter)) => {
                    out.counts.refused -= 1;
                    refused.add(Instant::now(), letter, &error);
                }
                (Err(error), None) => tracing::error!(%error, "a will or reply could not be published"),
            }
        }
        // The totals are those of the clients.
        out.counts =
            PublisherCounts { refused: out.counts.refused, dropped: out.counts.dropped, ..PublisherCounts::default() };
        publisher::count(&gateway, &mut out);
        if publisher.load().0 == 0 {
            for told in asked.drain(..) {
                let _ = told.send(()); // who asked may be gone
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use evergate_model::{Address, Encoding, MessageId, Meta};

    use super::*;

    fn letter(seq: u64) -> Letter {
        let meta = Meta { id: MessageId(seq), ..Meta::new(Address::queue("_DMQ")) };
        let message = Arc::new(Message::new(meta, Encoding::Plain, "".into(), "x".into()));
        Letter { shard: ShardId(0), queue: QueueId(1), seq: Seq(seq), message }
    }

    #[test]
    fn dead_letters_that_were_refused_are_sent_again_after_a_pause() {
        let (mut refused, mut requests) = (Refused::default(), Vec::new());
        let begin = Instant::now();
        let error = PublishError::Unavailable;
        refused.add(begin, letter(5), &error);
        refused.add(begin + LETTER_PAUSE / 2, letter(6), &error);
        refused.take(begin + LETTER_PAUSE - Duration::from_nanos(1), &mut requests);
        assert!(requests.is_empty());
        refused.take(begin + LETTER_PAUSE, &mut requests);
        let sent = requests.drain(..).map(|request| match request {
            HouseRequest::DeadLetter { seq, message, .. } => (seq.0, message.meta.address.to_string(), message.body),
            other => panic!("{other:?}"),
        });
        let wanted = [5, 6].map(|seq| (seq, "/queue/_DMQ".to_owned(), "x".into()));
        assert_eq!(sent.collect::<Vec<_>>(), wanted);
        refused.take(begin + 2 * LETTER_PAUSE, &mut requests);
        assert!(requests.is_empty(), "once");
    }
}
