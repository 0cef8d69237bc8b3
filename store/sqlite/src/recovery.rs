//! What a restart reads: places, marks, state; no message.

use bytes::Bytes;
use evergate_journal::index::{Index, PackId, Recovery};
use evergate_journal::{JournalError, Recovered, Table};
use evergate_model::{IdMap, QueueId, Seq};
use rusqlite::Connection;

use crate::pack::read_places;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// For the caller.
    pub recovered: Recovered,
    /// Where each live place is.
    pub index: Index,
    /// Live places of each row.
    pub pack_live: IdMap<PackId, u64>,
    /// The highest row key in use.
    pub last_pack: PackId,
}

/// Reads it.
pub fn recover(connection: &Connection) -> Result<Found, JournalError> {
    let mut recovery = Recovery::default();
    let (pack_live, last_pack) = read_packs(connection, &mut recovery)?;
    let state = read_rest(connection, &mut recovery)
        .map_err(|error| JournalError::Open(format!("it cannot be read: {error}")))?;
    let (index, mut recovered) = recovery.finish();
    recovered.state = state;
    Ok(Found { recovered, index, pack_live, last_pack })
}

fn read_packs(connection: &Connection, recovery: &mut Recovery) -> Result<(IdMap<PackId, u64>, PackId), JournalError> {
    let failed = |error: rusqlite::Error| JournalError::Open(format!("it cannot be read: {error}"));
    let mut settled: IdMap<PackId, Vec<(QueueId, Seq, Seq)>> = IdMap::default();
    let mut statement = connection.prepare("SELECT pack, queue, first, last FROM settled").map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let number = |column| row.get(column).map(i64::cast_unsigned).map_err(failed);
        let range = (QueueId(number(1)?), Seq(number(2)?), Seq(number(3)?));
        settled.entry(PackId(number(0)?)).or_default().push(range);
    }
    let mut pack_live = IdMap::default();
    let mut last_pack = PackId(0);
    let mut statement = connection.prepare("SELECT id, places FROM pack ORDER BY id").map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let pack = PackId(row.get::<_, i64>(0).map_err(failed)?.cast_unsigned());
        let places = row.get::<_, Vec<u8>>(1).map_err(failed)?;
        let places = read_places(places.into())
            .map_err(|error| JournalError::Open(format!("row {} of its messages is damaged: {error}", pack.0)))?;
        let settled = settled.remove(&pack).unwrap_or_default();
        let is_settled =
            |queue, seq| settled.iter().any(|(id, first, last)| *id == queue && (*first..=*last).contains(&seq));
        let mut live = 0;
        for place in places.iter().filter(|place| !is_settled(place.queue, place.seq)) {
            recovery.place(place.queue, place.seq, place.size_bytes, pack);
            live += 1;
        }
        pack_live.insert(pack, live);
        last_pack = pack;
    }
    Ok((pack_live, last_pack))
}

fn read_rest(
    connection: &Connection,
    recovery: &mut Recovery,
) -> rusqlite::Result<Vec<(Table, std::sync::Arc<str>, Bytes)>> {
    let mut statement = connection.prepare("SELECT id, next_seq FROM queue")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let queue = QueueId(row.get::<_, i64>(0)?.cast_unsigned());
        recovery.index.set_kept_seq(queue, Seq(row.get::<_, i64>(1)?.cast_unsigned()));
    }
    let mut statement = connection.prepare("SELECT queue, number FROM mark")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        recovery.index.mark(QueueId(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?, true);
    }
    let mut statement = connection.prepare("SELECT kind, key, value FROM state ORDER BY kind, key")?;
    let mut rows = statement.query([])?;
    let mut state = Vec::new();
    while let Some(row) = rows.next()? {
        // A table that this version does not know is left alone.
        if let Some(table) = Table::from_number(row.get(0)?) {
            state.push((table, row.get::<_, String>(1)?.into(), row.get::<_, Vec<u8>>(2)?.into()));
        }
    }
    Ok(state)
}
