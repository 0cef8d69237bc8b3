//! Settlement (part 2, 2.6.12; in a transaction, part 4, 4.4.2): the client's dispositions and our answers.

use std::collections::BTreeMap;

use evergate_model::{Action, Outcome, Output, Seq, Settle, TransactionId, Value};

use super::channel::{Channel, Link};
use super::context::{Context, LinkId, Settling};
use super::outgoing::Outgoing;
use crate::codec::put_value;
use crate::error::{AmqpError, Fault, ROLLBACK};
use crate::performative::{DeliveryState, Disposition, TransactionRef, put_outcome, write_disposition};

/// A delivery that the client has not settled.
pub(super) struct Unsettled {
    pub link: LinkId,
    pub handle: u32,
    pub seq: Seq,
    /// The gateway does not wait for a word on it.
    pub browse: bool,
    /// A transaction decides what becomes of it.
    pub retired: Option<Box<Retired>>,
}

/// The client's word on a delivery, in force when the transaction commits.
pub(super) struct Retired {
    pub transaction: TransactionId,
    pub outcome: Outcome,
    /// The client has settled it: after a rollback it is not the client's again.
    pub settled: bool,
}

impl Channel {
    /// The client's word on deliveries.
    pub(super) fn disposition(
        &mut self,
        disposition: &Disposition,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        if !disposition.receiver {
            return Ok(()); // we settle what we receive first: nothing is left to settle
        }
        let (Some(first), Some(last)) = (self.number_of(disposition.first), self.number_of(disposition.last)) else {
            return Ok(());
        };
        if first > last {
            return Ok(());
        }
        // Only what is unsettled is visited, however wide the range.
        let ids: Vec<u64> = self.unsettled.range(first..=last).map(|(id, _)| *id).collect();
        let outcome = match &disposition.state {
            Some(DeliveryState::Terminal(outcome)) => Some(outcome),
            Some(DeliveryState::Transactional { transaction, outcome: Some(outcome) }) => {
                return self.retire(&ids, *transaction, outcome, disposition.settled, context, out);
            }
            _ if !disposition.settled => return Ok(()),
            _ => None,
        };
        self.settle(&ids, outcome, disposition.settled, context, out);
        Ok(())
    }

    /// The delivery number that a delivery-id on the wire means: the one nearest to what was sent last.
    fn number_of(&self, id: u32) -> Option<u64> {
        let distance = id.wrapping_sub(self.deliveries as u32).cast_signed();
        self.deliveries.checked_add_signed(distance.into())
    }

    fn settle(
        &mut self,
        ids: &[u64],
        outcome: Option<&Outcome>,
        settled: bool,
        context: &mut Context,
        out: &mut Output,
    ) {
        let mut run: Option<Run> = None;
        for &id in ids {
            let Some(entry) = self.unsettled.get_mut(&id) else { continue };
            if let Some(retired) = &mut entry.retired {
                // Its transaction has the say; the client only lets go of it.
                retired.settled |= settled;
                continue;
            }
            let one = Run::new(id, entry, ());
            self.unsettled.remove(&id);
            if run.as_mut().is_some_and(|run| run.extend(&one)) {
                continue;
            }
            if let Some(run) = run.replace(one) {
                self.settle_run(&run, outcome, settled, context, out);
            }
        }
        if let Some(run) = run {
            self.settle_run(&run, outcome, settled, context, out);
        }
    }

    fn settle_run(
        &mut self,
        run: &Run,
        outcome: Option<&Outcome>,
        settled: bool,
        context: &mut Context,
        out: &mut Output,
    ) {
        let (number, epoch) = (self.number, self.epoch);
        let Some(Link::Outgoing(link)) = self.links.get_mut(&run.handle) else { return };
        // The client wants no more of a delivery that it settles before its end.
        if link.give_up(run.ids, out) && !self.waiting.contains(&run.handle) {
            self.waiting.push_back(run.handle);
        }
        let outcome = outcome.cloned().unwrap_or_else(|| link.source.default_outcome());
        let settling = Settling { channel: number, epoch, first: run.ids.0 as u32, last: run.ids.1 as u32, outcome };
        if run.browse {
            link.settled_some(run.count(), context, out);
            if !settled {
                self.settled(&settling, context, out);
            }
            return;
        }
        let outcome = settling.outcome.clone();
        let token = (!settled).then(|| context.next_token());
        if let Some(token) = token {
            context.settling.insert(token, settling);
        }
        let settle = Settle::new(run.link.consumer(), run.seqs.0, run.seqs.1, outcome);
        out.actions.push(Action::Settle(Settle { token, ..settle }));
        link.settled_some(run.count(), context, out);
    }

    /// Settles in a transaction. Until it ends the deliveries count as unsettled: a rollback brings them back.
    fn retire(
        &mut self,
        ids: &[u64],
        named: TransactionRef,
        outcome: &Outcome,
        settled: bool,
        context: &mut Context,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let mut browsed = Vec::new();
        let mut runs: Vec<Run> = Vec::new();
        for &id in ids {
            let Some(entry) = self.unsettled.get_mut(&id) else { continue };
            if entry.browse {
                browsed.push(id);
                continue;
            }
            if let Some(retired) = &mut entry.retired {
                // Said twice: the first word counts. It may come late, when the discharge is on its way.
                if Some(retired.transaction) != named {
                    let text = "a delivery cannot be settled in two transactions";
                    return Err(Fault::Session(AmqpError::new(ROLLBACK, text)));
                }
                retired.settled |= settled;
                continue;
            }
            let handle = entry.handle;
            let transaction = context.transactions.find(named).map_err(|error| Fault::Link(handle, error))?;
            entry.retired = Some(Box::new(Retired { transaction, outcome: outcome.clone(), settled }));
            let run = Run::new(id, entry, ());
            if !runs.last_mut().is_some_and(|last| last.extend(&run)) {
                runs.push(run);
            }
        }
        for run in runs {
            let settle = Settle::new(run.link.consumer(), run.seqs.0, run.seqs.1, outcome.clone());
            out.actions.push(Action::Settle(Settle { transaction: named, ..settle }));
        }
        self.settle(&browsed, Some(outcome), settled, context, out);
        Ok(())
    }

    /// The gateway has committed a settlement that the client waits for.
    pub(super) fn settled(&mut self, settling: &Settling, context: &mut Context, out: &mut Output) {
        if settling.epoch != self.epoch {
            return;
        }
        let range = (settling.first, settling.last);
        write_disposition(context.buf(out), self.number, false, range, |buf| put_outcome(buf, &settling.outcome, None));
    }
}

/// Settles the older half of what a browser has not settled: its words on them mean nothing, and it may have more.
pub(super) fn forget_browsed(
    link: &mut Outgoing,
    unsettled: &mut BTreeMap<u64, Unsettled>,
    channel: u16,
    context: &mut Context,
    out: &mut Output,
) {
    let count = link.unsettled.div_ceil(2);
    link.unsettled -= count;
    let of_it = unsettled.iter().filter(|(_, entry)| entry.link == link.id);
    let oldest: Vec<u64> = of_it.take(count as usize).map(|(number, _)| *number).collect();
    for numbers in oldest.chunk_by(|one, next| one + 1 == *next) {
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { continue };
        let range = (*first as u32, *last as u32);
        write_disposition(context.buf(out), channel, false, range, |buf| put_value(buf, &Value::Null));
    }
    for number in oldest {
        unsettled.remove(&number);
    }
}

/// Neighbouring deliveries of one link with the same word on them, settled in one step.
pub(super) struct Run<W = ()> {
    pub link: LinkId,
    pub handle: u32,
    browse: bool,
    /// First and last delivery number.
    pub ids: (u64, u64),
    /// First and last place in the queue.
    pub seqs: (Seq, Seq),
    pub word: W,
}

impl<W: PartialEq> Run<W> {
    pub fn new(id: u64, entry: &Unsettled, word: W) -> Self {
        Self {
            link: entry.link,
            handle: entry.handle,
            browse: entry.browse,
            ids: (id, id),
            seqs: (entry.seq, entry.seq),
            word,
        }
    }

    /// Takes in `next` if it follows without a gap, in the session and in the queue.
    pub fn extend(&mut self, next: &Self) -> bool {
        let follows = next.link == self.link
            && next.ids.0 == self.ids.1 + 1
            && next.seqs.0.0 == self.seqs.1.0.wrapping_add(1)
            && next.word == self.word;
        if follows {
            self.ids.1 = next.ids.1;
            self.seqs.1 = next.seqs.1;
        }
        follows
    }

    pub fn count(&self) -> u32 {
        (self.ids.1 - self.ids.0 + 1) as u32
    }
}
