//! How often messages were handed out in vain, where that is limited, until when they are not handed out again, and
//! which of them are to go to `_DMQ`: a restart goes on counting and waiting, so that what kills its consumers does not
//! begin anew with it, and what a consumer was told is done stays done.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use evergate_journal::{Record, Table};
use evergate_model::{Outcome, QueueId, Seq, Time, Unwanted};

use super::rows::{parse_key, row, stored_row};
use super::{Out, Queue};
use crate::lane::{Lane, Place};

/// Why it was refused, if its consumer says nothing.
pub fn reason_of(said: &str) -> &str {
    if said.is_empty() { "rejected" } else { said }
}

/// Why it goes to `_DMQ`.
pub const TOO_MANY_DELIVERIES: &str = "deliveries";

/// A row of [`Table::Failure`].
#[derive(Debug)]
pub struct FailureRow {
    /// The queue, by the id of the lane.
    pub queue: QueueId,
    /// The message's place.
    pub seq: Seq,
    failed: Failed,
}

/// What is remembered of a message whose delivery failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// How often.
    pub count: u32,
    /// Nobody gets it before.
    pub until: Option<Time>,
    /// It goes to `_DMQ`, for this reason, and to nobody else.
    pub verdict: Option<Arc<str>>,
}

/// Stands where the time would: there is none, and the reason follows.
const VERDICT: &str = "- ";

impl FailureRow {
    /// Reads a row. `None`: it is not of this release's form.
    pub fn decode(key: &str, value: &[u8]) -> Option<Self> {
        let (queue, seq) = parse_key(key)?;
        let text = std::str::from_utf8(value).ok()?;
        let (count, rest) = text.split_once(' ').unwrap_or((text, ""));
        let verdict = rest.strip_prefix(VERDICT).map(Arc::from);
        let until = if rest.is_empty() || verdict.is_some() { None } else { Some(Time(rest.parse().ok()?)) };
        Some(Self { queue, seq, failed: Failed { count: count.parse().ok()?, until, verdict } })
    }

    /// The record that deletes it.
    pub fn delete(&self) -> Record {
        stored_row(Table::Failure, self.queue, self.seq, None)
    }
}

impl Queue {
    /// Takes over a row that a restart found.
    pub fn recover_failures(&mut self, row: &FailureRow) {
        let (_, lane) = Lane::split(row.queue);
        self.rare.make().failures.insert(Place { lane, seq: row.seq }, row.failed.clone());
    }

    /// A delivery failed: it counts, and what that leads to is known from now on.
    pub(super) fn count_failure(&mut self, place: Place, now: Time, out: &mut Out<'_>) -> Failed {
        let Some(entry) = self.line.get_mut(place) else { return Failed::default() };
        entry.failed_count += 1;
        let count = entry.failed_count;
        let failed = self.failure(count, now);
        self.note_failure(place, &failed, out);
        failed
    }

    /// What a failure leads to that is the `count`th.
    fn failure(&self, count: u32, now: Time) -> Failed {
        let pause = self.settings.redelivery.pause(count);
        let until = (!pause.is_zero()).then(|| now.after(pause));
        let is_condemned = self.is_last(count) && self.settings.on_failure == Unwanted::DeadLetter;
        Failed { count, until, verdict: is_condemned.then(|| TOO_MANY_DELIVERIES.into()) }
    }

    /// A transaction that is being committed has this word on it, and carries it out when it is: what must not be
    /// forgotten then is written down with it.
    pub fn foretell(&mut self, place: Place, outcome: &Outcome, now: Time, out: &mut Out<'_>) {
        let Some(entry) = self.line.get(place) else { return };
        let count = entry.failed_count + 1;
        let failed = match outcome {
            Outcome::Reject { reason } if !self.is_for_letters => {
                Failed { count, until: None, verdict: Some(reason_of(reason).into()) }
            }
            Outcome::Modify { failed: true, .. } => self.failure(count, now),
            _ => return,
        };
        self.note_failure(place, &failed, out);
    }

    /// It was handed out as often as it may be. Who gives up on a dead letter leaves it to the next: there is nowhere to
    /// send it.
    pub(super) fn is_last(&self, failed_count: u32) -> bool {
        !self.is_for_letters && self.settings.redelivery.deliveries_max.is_some_and(|max| failed_count >= max)
    }

    /// A consumer refused it, or cannot be sent it: it counts, and goes to `_DMQ`.
    pub(super) fn condemn(&mut self, place: Place, reason: &Arc<str>, out: &mut Out<'_>) {
        let Some(entry) = self.line.get_mut(place) else { return };
        entry.failed_count += 1;
        let failed = Failed { count: entry.failed_count, until: None, verdict: Some(reason.clone()) };
        self.note_failure(place, &failed, out);
    }

    /// What must not be forgotten of a stored message is written down.
    fn note_failure(&mut self, place: Place, failed: &Failed, out: &mut Out<'_>) {
        let is_stored = self.line.get(place).is_some_and(|entry| entry.stored);
        let is_limited = self.settings.redelivery.deliveries_max.is_some();
        if !is_stored || !(is_limited || failed.until.is_some() || failed.verdict.is_some()) {
            return;
        }
        let value = match failed {
            Failed { count, verdict: Some(reason), .. } => format!("{count} {VERDICT}{reason}"),
            Failed { count, until: Some(until), .. } => format!("{count} {}", until.0),
            Failed { count, .. } => count.to_string(),
        };
        self.rare.make().failures.insert(place, failed.clone());
        out.records.push(row(Table::Failure, self.id, place, Some(Bytes::from(value))));
    }

    /// What a restart found on its way to `_DMQ` is read back, so that it goes on.
    pub(super) fn look_for_condemned(&mut self) -> bool {
        let rare = self.rare.get();
        let condemned = rare.failures.iter().filter(|(_, failed)| failed.verdict.is_some());
        let ranges = condemned.filter_map(|(place, _)| Some((place.lane, self.line.paged_at(*place)?.1.range.first)));
        let due: Vec<Place> = ranges.map(|(lane, seq)| Place { lane, seq }).collect();
        let is_any = !due.is_empty();
        if is_any {
            self.rare.make().due.extend(due);
        }
        is_any
    }

    /// What is remembered of a message that is read back.
    pub(super) fn failures_of(&self, place: Place) -> Failed {
        self.rare.get().failures.get(&place).cloned().unwrap_or_default()
    }

    /// The messages of these places are gone.
    pub(super) fn forget_failures(&mut self, first: Place, last: Seq, out: &mut Out<'_>) {
        let gone: Vec<Place> =
            self.rare.get().failures.range(first..=Place { seq: last, ..first }).map(|(place, _)| *place).collect();
        for place in gone {
            self.rare.make().failures.remove(&place);
            out.records.push(row(Table::Failure, self.id, place, None));
        }
    }

    /// The records that delete every row, as the queue goes.
    pub fn delete_failures(&self) -> impl Iterator<Item = Record> {
        self.rare.get().failures.keys().map(|place| row(Table::Failure, self.id, *place, None))
    }
}

/// By place.
pub type Failures = BTreeMap<Place, Failed>;
