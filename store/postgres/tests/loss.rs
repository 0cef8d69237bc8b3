//! The connection is lost at every step of a commit, of beginning a table, of writing down what is live, of
//! moving messages: what comes back is what a model says, after the last confirmed commit or the one after it.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use evergate_journal::contract::{Rng, Storage as _};
use evergate_journal::{Batch, Journal, Record, Recovered, StateChange, Table};
use evergate_model::{Address, Encoding, Message, MessageId, Meta, QueueId, Seq};
use support::proxy::Proxy;
use support::{Database, Server};

const QUEUES: u64 = 3;

/// Live places with their sizes and marks, after a number of rounds.
#[derive(Clone, Default)]
struct Model {
    round: u64,
    live: BTreeMap<(u64, u64), u64>,
    marks: BTreeSet<(u64, u32)>,
    next: u64,
}

impl Model {
    /// The next round's batch, the same each time, and the model after it.
    fn step(&self) -> (Batch, Self) {
        let mut after = self.clone();
        after.round += 1;
        let mut rng = Rng::new(after.round);
        let mut batch = Batch::default();
        // Ten of eleven of those so far are settled in the next two rounds or later; some stay.
        let young: Vec<(u64, u64)> = self.live.keys().copied().filter(|(_, seq)| seq % 11 != 0).collect();
        for _ in 0..rng.below(40) {
            after.next += 1;
            let mut meta = Meta::new(Address::queue("orders"));
            (meta.id, meta.durable) = (MessageId(after.next), true);
            let body = Bytes::from(vec![b'x'; rng.below(200) as usize]);
            let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), body));
            let wide = if rng.one_in(5) { QUEUES } else { 1 };
            for n in 0..wide {
                let queue = 1 + (after.next + n) % QUEUES;
                after.live.insert((queue, after.next), message.size_bytes());
                batch.add(Record::Enqueue {
                    message: message.clone(),
                    queue: QueueId(queue),
                    seq: Seq(after.next),
                    origin: None,
                });
            }
        }
        for (queue, seq) in young {
            if !rng.one_in(4) {
                after.settle(&mut batch, queue, seq, seq);
            }
        }
        if rng.one_in(10) {
            // Old ones, too.
            let first = rng.below(after.next + 1);
            after.settle(&mut batch, 1 + rng.below(QUEUES), first, (first + 60).min(after.next));
        }
        let (queue, number, set) = (1 + rng.below(QUEUES), rng.below(9) as u32, rng.one_in(2));
        batch.add(Record::Mark { queue: QueueId(queue), number, set });
        if set {
            after.marks.insert((queue, number));
        } else {
            after.marks.remove(&(queue, number));
        }
        let value = Some(Bytes::from(after.round.to_string()));
        batch.add(Record::State(StateChange { table: Table::Counter, key: "round".into(), value }));
        (batch, after)
    }

    fn settle(&mut self, batch: &mut Batch, queue: u64, first: u64, last: u64) {
        batch.add(Record::Settle { queue: QueueId(queue), first: Seq(first), last: Seq(last) });
        self.live.retain(|(live, seq), _| *live != queue || *seq < first || *seq > last);
    }

    async fn assert_is(&self, found: &Recovered, journal: &dyn Journal) {
        let round = self.round;
        let reader = journal.reader();
        for queue in 1..=QUEUES {
            let expected: Vec<(u64, u64)> =
                self.live.range((queue, 0)..=(queue, u64::MAX)).map(|((_, seq), size)| (*seq, *size)).collect();
            let loaded = reader.load(QueueId(queue), Seq(0), Seq(u64::MAX), usize::MAX, u64::MAX).await.unwrap();
            let places: Vec<(u64, u64)> =
                loaded.messages.iter().map(|(seq, message)| (seq.0, message.size_bytes())).collect();
            assert_eq!(places, expected, "round {round}, queue {queue}");
            assert!(loaded.messages.iter().all(|(seq, message)| message.meta.id.0 == seq.0), "round {round}");
            let recovered = found.queues.iter().find(|one| one.id == QueueId(queue));
            let (mut count, mut bytes) = (0, 0);
            for range in recovered.iter().flat_map(|queue| &queue.live) {
                (count, bytes) = (count + range.count, bytes + range.bytes);
            }
            let sum = expected.iter().map(|(_, size)| size).sum::<u64>();
            assert_eq!((count, bytes), (expected.len() as u64, sum), "round {round}, queue {queue}");
            let marks: Vec<u32> = self.marks.iter().filter(|(of, _)| *of == queue).map(|(_, mark)| *mark).collect();
            assert_eq!(recovered.map_or(vec![], |one| one.marks.clone()), marks, "round {round}, queue {queue}");
        }
    }

    async fn assert_shown(&self, client: &tokio_postgres::Client) {
        let rows = client.query("SELECT queue_id, seq FROM evergate.live ORDER BY 1, 2", &[]).await.unwrap();
        let shown: Vec<(u64, u64)> = rows
            .iter()
            .map(|row| (row.get::<_, i64>(0).cast_unsigned(), row.get::<_, i64>(1).cast_unsigned()))
            .collect();
        assert_eq!(shown, self.live.keys().copied().collect::<Vec<_>>(), "round {}", self.round);
    }
}

fn round(found: &Recovered) -> u64 {
    found.state.first().map_or(0, |(.., value)| std::str::from_utf8(value).unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_lost_connection_leaves_a_prefix_at_every_step() {
    let losses: u64 = if std::env::var_os("EVERGATE_TEST_LONG").is_some() { 2_000 } else { 120 };
    let server = Server::start().await;
    let mut database = server.database().await;
    database.options.table_messages = 60;
    database.options.row_bytes = 1_000;
    let client = database.client().await;
    let proxy = Proxy::start(&database.url).await;
    let cut = Database { url: proxy.url(&database.url), options: database.options };
    let mut model = Model::default();
    let mut rng = Rng::new(7);
    let mut moved = 0;
    for loss in 0..losses {
        let mut journal = cut.open().await.unwrap();
        let found = journal.recover().await.unwrap();
        if round(&found) == model.round + 1 {
            model = model.step().1;
        }
        assert_eq!(round(&found), model.round, "loss {loss}");
        model.assert_is(&found, &*journal).await;
        if loss % 4 == 0 {
            model.assert_shown(&client).await;
        }
        proxy.cut_after(rng.below(45).cast_signed(), rng.one_in(2));
        loop {
            let (batch, after) = model.step();
            if journal.commit(&batch).await.is_err() {
                break;
            }
            model = after;
            if rng.one_in(6) && journal.idle().await.is_err() {
                break;
            }
        }
        proxy.cut_after(i64::MAX, false);
        let query = "SELECT count(*) FROM evergate.ring WHERE moved_id > 0";
        moved += client.query_one(query, &[]).await.unwrap().get::<_, i64>(0);
    }
    let highest: i64 = client.query_one("SELECT max(generation) FROM evergate.ring", &[]).await.unwrap().get(0);
    println!("{} rounds, {highest} generations, {moved} times one was half moved", model.round);
    assert!(highest > 20 && moved > 5, "{highest} generations, {moved} times one was half moved");
    let mut journal = database.open().await.unwrap();
    let found = journal.recover().await.unwrap();
    model.assert_is(&found, &*journal).await;
    journal.close().await.unwrap();
    server.remove_databases().await;
}
