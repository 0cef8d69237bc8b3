//! The statements of a commit, in as few round trips as its size allows.

use futures_util::future::{try_join, try_join_all};
use futures_util::{FutureExt as _, SinkExt as _, future::BoxFuture};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, CopyInSink, Error, Statement};

use crate::array::{Array, Raw};
use crate::pack::{COLUMNS, Pack, copy_bytes};
use crate::plan::{Plan, Settled};

/// Up to so many rows of messages go by INSERT; more by COPY, which costs a round trip and then wins.
const INSERT_ROWS_MAX: usize = 3;

const SETTLED_COLUMNS: &str = "id, generation, queues, firsts, lasts, mark_queues, mark_numbers, mark_sets";

/// Prepared statements that do not change with the ring.
#[derive(Debug)]
pub struct Statements {
    keep: Statement,
    forget: Statement,
    put: Statement,
    delete: Statement,
    moved: Statement,
    slot: Option<SlotStatements>,
}

/// Those for the ring tables being written.
#[derive(Debug)]
struct SlotStatements {
    message: Statement,
    settled: Statement,
    both: Statement,
    copy: Statement,
}

impl Statements {
    /// Prepares them.
    pub async fn prepare(client: &Client) -> Result<Self, Error> {
        let keep = "INSERT INTO evergate.queue (id, next_seq) SELECT * FROM unnest($1::bigint[], $2::bigint[]) \
            ON CONFLICT (id) DO UPDATE SET next_seq = excluded.next_seq";
        let put = "INSERT INTO evergate.state (kind, key, value) \
            SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::bytea[]) \
            ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value";
        let delete = "DELETE FROM evergate.state \
            WHERE (kind, key) IN (SELECT * FROM unnest($1::smallint[], $2::bytea[]))";
        Ok(Self {
            keep: client.prepare(keep).await?,
            forget: client.prepare("DELETE FROM evergate.queue WHERE id = ANY ($1)").await?,
            put: client.prepare(put).await?,
            delete: client.prepare(delete).await?,
            moved: client.prepare("UPDATE evergate.ring SET moved_id = $2 WHERE slot = $1").await?,
            slot: None,
        })
    }

    /// From now on writes go to these ring tables.
    pub async fn use_slot(&mut self, client: &Client, slot: i32) -> Result<(), Error> {
        let places = |from: usize, to: usize| (from..=to).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
        let message = format!("INSERT INTO evergate.message_{slot} ({COLUMNS}) VALUES ({})", places(1, 16));
        let settled = |from: usize| {
            format!("INSERT INTO evergate.settled_{slot} ({SETTLED_COLUMNS}) VALUES ({})", places(from, from + 7))
        };
        let copy = format!("COPY evergate.message_{slot} ({COLUMNS}) FROM STDIN (FORMAT binary)");
        self.slot = Some(SlotStatements {
            message: client.prepare(&message).await?,
            settled: client.prepare(&settled(1)).await?,
            both: client.prepare(&format!("WITH m AS ({message}) {}", settled(17))).await?,
            copy: client.prepare(&copy).await?,
        });
        Ok(())
    }

    /// Writes a plan as one transaction.
    pub async fn write(&self, client: &Client, plan: &Plan) -> Result<(), Error> {
        let Some(slot) = &self.slot else { return Ok(()) };
        match (&plan.packs[..], &plan.settled, plan.has_state()) {
            ([], None, false) => Ok(()),
            // One statement is a transaction of its own: one round trip.
            ([pack], None, false) => execute(client, &slot.message, &pack.parameters()).await,
            ([], Some(settled), false) => execute(client, &slot.settled, &settled.parameters()).await,
            ([pack], Some(settled), false) => {
                let mut parameters = pack.parameters();
                parameters.extend(settled.parameters());
                execute(client, &slot.both, &parameters).await
            }
            (packs, ..) if packs.len() <= INSERT_ROWS_MAX => {
                let mut steps = vec![client.batch_execute("BEGIN").boxed()];
                steps.extend(packs.iter().map(|pack| insert(client, &slot.message, pack)));
                steps.extend(self.rest(client, slot, plan));
                // All are sent at once, in this order, and answered in one round trip.
                try_join_all(steps).await.map(drop)
            }
            (packs, ..) => {
                let mut sink = begin_copy(client, &slot.copy).await?;
                sink.send(copy_bytes(packs)).await?;
                let finish = async move { sink.as_mut().finish().await.map(drop) }.boxed();
                try_join_all([finish].into_iter().chain(self.rest(client, slot, plan))).await.map(drop)
            }
        }
    }

    /// What follows the messages, with the end of the transaction.
    fn rest<'a>(
        &'a self,
        client: &'a Client,
        slot: &'a SlotStatements,
        plan: &'a Plan,
    ) -> Vec<BoxFuture<'a, Result<(), Error>>> {
        let mut steps: Vec<BoxFuture<'a, Result<(), Error>>> = Vec::new();
        if let Some(settled) = &plan.settled {
            steps.push(async move { execute(client, &slot.settled, &settled.parameters()).await }.boxed());
        }
        if !plan.next_seqs.0.is_empty() {
            let (queues, seqs) = &plan.next_seqs;
            steps.push(async move { execute(client, &self.keep, &[queues, seqs]).await }.boxed());
        }
        if !plan.forgotten.is_empty() {
            steps.push(async move { execute(client, &self.forget, &[&plan.forgotten]).await }.boxed());
        }
        if !plan.state.put.0.is_empty() {
            let (tables, keys, values) = &plan.state.put;
            let (keys, values) = (byte_array(keys), byte_array(values));
            steps.push(async move { execute(client, &self.put, &[tables, &keys, &values]).await }.boxed());
        }
        if !plan.state.deleted.0.is_empty() {
            let (tables, keys) = &plan.state.deleted;
            let keys = byte_array(keys);
            steps.push(async move { execute(client, &self.delete, &[tables, &keys]).await }.boxed());
        }
        if let Some((table, last)) = &plan.moved {
            steps.push(async move { execute(client, &self.moved, &[table, last]).await }.boxed());
        }
        steps.push(client.batch_execute("COMMIT").boxed());
        steps
    }
}

async fn begin_copy(client: &Client, copy: &Statement) -> Result<std::pin::Pin<Box<CopyInSink<bytes::Bytes>>>, Error> {
    let ((), sink) = try_join(client.batch_execute("BEGIN"), client.copy_in(copy)).await?;
    Ok(Box::pin(sink))
}

fn insert<'a>(client: &'a Client, statement: &'a Statement, pack: &'a Pack) -> BoxFuture<'a, Result<(), Error>> {
    async move { execute(client, statement, &pack.parameters()).await }.boxed()
}

async fn execute(client: &Client, statement: &Statement, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), Error> {
    client.execute(statement, parameters).await.map(drop)
}

fn byte_array(elements: &[bytes::Bytes]) -> Raw {
    let mut array = Array::new(&Type::BYTEA);
    for element in elements {
        array.push(element);
    }
    array.finish()
}

impl Settled {
    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.id,
            &self.generation,
            &self.queues,
            &self.firsts,
            &self.lasts,
            &self.mark_queues,
            &self.mark_numbers,
            &self.mark_sets,
        ]
    }
}
