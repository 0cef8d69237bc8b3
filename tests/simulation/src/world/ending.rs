//! How a run ends: everybody leaves, the last one takes what there is, and nothing may be left.

use evergate_core::{DirectoryCommand, SessionId, Waiting};
use evergate_journal::Table;
use evergate_model::{Address, BODY_PREFIX, Encoding, Message, Meta, Outcome};

use super::World;
use crate::connection::{AttachOptions, Connection, Kind, Pending, Told};
use crate::model::{Check, DEAD_LETTERS};
use crate::node::Node;
use crate::traits::{DESK, PECULIAR, PLAIN};

impl World {
    /// All clients leave; everything that is left is consumed. Then nothing may be missing, and nothing be
    /// left over.
    pub(super) fn empty_all(&mut self) -> Check {
        for index in 0..self.clients.len() {
            let (client, mut around) = self.client(index);
            client.leave(&mut around)?;
        }
        for (session, publisher) in std::mem::take(&mut self.half_open) {
            publisher.end(&mut self.node, &mut self.journal);
            self.node.to_directory.push_back(DirectoryCommand::Gone { session, failed: true });
        }
        self.rest()?;
        // Sessions and expiring messages end with time.
        self.node.now.0 += 1_000_000;
        self.rest()?;
        self.note(|| "everybody left".into());
        self.last = Some(self.last_connection());
        self.rest()?;
        // What failed before pauses from when its body was read back.
        self.node.now.0 += 1000;
        self.rest()?;
        if let Some(last) = self.last.take() {
            last.check_answered()?;
            let session = last.session;
            last.close(&mut self.node, &mut self.model);
            self.node.to_directory.push_back(DirectoryCommand::Gone { session, failed: false });
        }
        self.rest()?;
        self.operator.check_answered()?;
        self.nothing_is_left()
    }

    /// It consumes from every queue and clears every retained message.
    fn last_connection(&mut self) -> Connection {
        let mut last = Connection::open(&mut self.node, SessionId(u64::MAX));
        clear_retained(&mut self.node, &mut last, &self.uncleared);
        let options = AttachOptions { durable: true, window_bytes: 1 << 40, ..AttachOptions::default() };
        let others = [DEAD_LETTERS, "$subscription/1", "$subscription/2", "$subscription/3"];
        for name in PLAIN.into_iter().chain(PECULIAR).chain(DESK).chain(others) {
            last.attach(&mut self.node, "", Kind::Named(name), options);
        }
        last
    }

    /// The last connection takes whatever there is.
    pub(super) fn consume_all(&mut self) -> Check {
        let Some(last) = &mut self.last else { return Ok(()) };
        let sent = last.publisher.pump(&mut self.node, &mut self.journal, &self.model, "")?;
        let mut told: Vec<Told> =
            sent.into_iter().filter_map(|answer| last.answered(&mut self.model, answer)).collect();
        told.extend(last.handle(&mut self.node, &mut self.journal, &mut self.model)?);
        for told in told {
            match told {
                // A queue is still full that refuses.
                Told::NotPublished(None) => {}
                Told::Answered(Pending::Publish(None)) => _ = self.uncleared.pop(),
                _ => continue,
            }
            clear_retained(&mut self.node, last, &self.uncleared);
        }
        let consumers: Vec<_> = last.consumers.keys().copied().collect();
        for consumer in consumers {
            let state = &last.consumers[&consumer];
            if state.limit == 0 && state.place.is_some() {
                last.grant(&mut self.node, &mut self.model, consumer, u64::MAX, false);
            } else if let Some((seq, _)) = state.held.first() {
                let (range, confirm) = (state.run_around(*seq), (true, None));
                last.settle(&mut self.node, &mut self.model, consumer, range, Outcome::Accept, confirm);
            }
        }
        Ok(())
    }

    fn nothing_is_left(&mut self) -> Check {
        self.model.resolve(|id| self.journal.committed.contains(&id))?;
        self.model.nothing_is_lost()?;
        for (name, stats) in self.node.shards.iter().flat_map(evergate_core::Shard::stats) {
            if stats.messages + stats.bytes + stats.resident_bytes + stats.unsettled + stats.consumers > 0 {
                return Err(format!("{name} should be empty: {stats:?}"));
            }
            if name.starts_with(BODY_PREFIX) {
                return Err(format!("nobody refers to {name}"));
            }
        }
        if self.journal.store.live_count() > 0 {
            let found = self.journal.store.recover_now().queues;
            let left: Vec<_> = found.iter().filter(|queue| !queue.live.is_empty()).collect();
            return Err(format!("the journal still holds {left:?}"));
        }
        let state = self.journal.store.recover_now().state;
        if let Some((table, key, _)) = state.iter().find(|(table, ..)| matches!(table, Table::Body | Table::Failure)) {
            return Err(format!("the journal still holds the row {key} of {table:?}"));
        }
        if self.memory.used_bytes() > 0 {
            return Err(format!("{} bytes of memory were not given back", self.memory.used_bytes()));
        }
        Ok(())
    }
}

/// One at a time: each may fill a queue that refuses the next.
fn clear_retained(node: &mut Node, last: &mut Connection, uncleared: &[&str]) {
    let Some(topic) = uncleared.last() else { return };
    let mut meta = Meta::new(Address::topic(*topic));
    meta.durable = true;
    let clear = Message::new(meta, Encoding::Plain, bytes::Bytes::new(), bytes::Bytes::new());
    let (message, token) = (node.admit(clear), last.token(Pending::Publish(None)));
    last.publisher.submit(Waiting { token, message, retain: true, mark: None, body: None });
}
