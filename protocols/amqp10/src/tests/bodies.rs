//! A gateway that has large bodies, and gives their pieces to readers as their credit allows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use evergate_model::{
    Action, Address, AttachError, Attached, ConsumerId, Delivery, Encoding, Event, LargeBody, Message, Meta, OnRelease,
    Seq, Settle,
};

use super::client::Client;

struct Reader {
    body: Arc<str>,
    limit: u64,
    given: u64,
}

#[derive(Default)]
pub struct Bodies {
    pieces: HashMap<Arc<str>, Vec<Bytes>>,
    readers: HashMap<ConsumerId, Reader>,
    /// How many bodies nobody holds any more.
    pub released: Arc<AtomicUsize>,
    /// What the session settled.
    pub settles: Vec<Settle>,
    /// Refuse readers.
    pub gone: bool,
}

impl Bodies {
    /// A message whose body stands here in pieces of a size.
    pub fn message(&mut self, encoding: Encoding, head: &[u8], body: &[u8], payload: u64, size: usize) -> Arc<Message> {
        let name: Arc<str> = format!("$body/{}", self.pieces.len()).into();
        self.pieces.insert(name.clone(), body.chunks(size).map(Bytes::copy_from_slice).collect());
        let released = self.released.clone();
        let on_release = OnRelease::new(move |_: &Arc<str>| {
            released.fetch_add(1, Ordering::Relaxed);
        });
        let mut meta = Meta::new(Address::queue("orders"));
        let large = LargeBody::new(name, body.len() as u64, payload, on_release);
        meta.rare_mut().large = Some(Arc::new(large));
        Arc::new(Message::new(meta, encoding, Bytes::copy_from_slice(head), Bytes::new()))
    }

    /// Carries out what the session asked, and gives each reader one piece in turn, until nothing is left to do.
    pub fn run(&mut self, client: &mut Client) {
        while self.step(client) {}
    }

    /// One round. False: there was nothing to do.
    pub fn step(&mut self, client: &mut Client) -> bool {
        let actions = client.actions();
        let mut busy = !actions.is_empty();
        for action in actions {
            match action {
                Action::Attach(attach) if self.gone => {
                    let result = Err(AttachError::NotFound);
                    client.event(Event::Attached { consumer: attach.consumer, result });
                }
                Action::Attach(attach) => {
                    assert!(attach.browse && attach.queue.name.starts_with("$body/"));
                    let reader = Reader { body: attach.queue.name, limit: 0, given: 0 };
                    assert!(self.readers.insert(attach.consumer, reader).is_none(), "an id is used once");
                    client.event(Event::Attached { consumer: attach.consumer, result: Ok(Attached::default()) });
                }
                Action::Credit(credit) => {
                    if let Some(reader) = self.readers.get_mut(&credit.consumer) {
                        reader.limit = credit.limit;
                    }
                }
                Action::Detach { consumer, .. } => {
                    self.readers.remove(&consumer);
                    client.event(Event::Detached { consumer });
                }
                Action::Settle(settle) => self.settles.push(settle),
                other => panic!("not expected: {other:?}"),
            }
        }
        let mut due = Vec::new();
        for (consumer, reader) in &mut self.readers {
            let pieces = &self.pieces[&reader.body];
            if let Some(piece) = pieces.get(reader.given as usize).filter(|_| reader.given < reader.limit) {
                reader.given += 1;
                due.push((*consumer, reader.given, piece.clone()));
            }
        }
        for (consumer, seq, piece) in due {
            busy = true;
            client.event(Event::Deliver(piece_for(consumer, seq, piece)));
        }
        busy
    }

    /// Readers that are attached now.
    pub fn readers(&self) -> Vec<ConsumerId> {
        self.readers.keys().copied().collect()
    }

    pub fn released(&self) -> usize {
        self.released.load(Ordering::Relaxed)
    }
}

fn piece_for(consumer: ConsumerId, seq: u64, piece: Bytes) -> Delivery {
    let message = Message::new(Meta::new(Address::queue("$body")), Encoding::Plain, Bytes::new(), piece);
    deliver(consumer, seq, Arc::new(message))
}

pub fn deliver(consumer: ConsumerId, seq: u64, message: Arc<Message>) -> Delivery {
    Delivery { consumer, seq: Seq(seq), message, failed_count: 0, redelivered: false, retained: false }
}
