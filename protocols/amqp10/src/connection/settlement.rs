//! Settlement (part 2, 2.6.12): the client's dispositions and our answers.

use evergate_model::{Action, Outcome, Output, Seq, Settle};

use super::channel::{Channel, Link};
use super::context::{Context, LinkId, Settling};
use crate::error::{AmqpError, Fault, NOT_IMPLEMENTED};
use crate::performative::{DeliveryState, Disposition, write_disposition};

/// A delivery that the client has not settled.
pub(super) struct Unsettled {
    pub link: LinkId,
    pub handle: u32,
    pub seq: Seq,
    /// The gateway does not wait for a word on it.
    pub browse: bool,
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
        let outcome = match &disposition.state {
            Some(DeliveryState::Terminal(outcome)) => Some(outcome.clone()),
            Some(DeliveryState::Transactional) => {
                return Err(Fault::Session(AmqpError::new(NOT_IMPLEMENTED, "transactions are not supported")));
            }
            Some(DeliveryState::Received) | None if !disposition.settled => return Ok(()),
            Some(DeliveryState::Received) | None => None,
        };
        let (Some(first), Some(last)) = (self.number_of(disposition.first), self.number_of(disposition.last)) else {
            return Ok(());
        };
        if first > last {
            return Ok(());
        }
        // Only what is unsettled is visited, however wide the range.
        let ids: Vec<u64> = self.unsettled.range(first..=last).map(|(id, _)| *id).collect();
        let mut run: Option<Run> = None;
        for id in ids {
            let Some(entry) = self.unsettled.remove(&id) else { continue };
            match &mut run {
                Some(run) if run.extends(id, &entry) => {
                    run.last = id;
                    run.last_seq = entry.seq;
                }
                _ => {
                    if let Some(run) = run.take() {
                        self.settle_run(&run, outcome.as_ref(), disposition.settled, context, out);
                    }
                    run = Some(Run { first: id, last: id, first_seq: entry.seq, last_seq: entry.seq, entry });
                }
            }
        }
        if let Some(run) = run {
            self.settle_run(&run, outcome.as_ref(), disposition.settled, context, out);
        }
        Ok(())
    }

    /// The delivery number that a delivery-id on the wire means: the one nearest to what was sent last.
    fn number_of(&self, id: u32) -> Option<u64> {
        let distance = id.wrapping_sub(self.deliveries as u32).cast_signed();
        self.deliveries.checked_add_signed(distance.into())
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
        let Some(Link::Outgoing(link)) = self.links.get_mut(&run.entry.handle) else { return };
        let outcome = outcome.cloned().unwrap_or_else(|| link.source.default_outcome());
        let settling = Settling { channel: number, epoch, first: run.first as u32, last: run.last as u32, outcome };
        if run.entry.browse {
            link.settled_some((run.last - run.first + 1) as u32, context, out);
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
        out.actions.push(Action::Settle(Settle {
            consumer: run.entry.link.consumer(),
            first: run.first_seq,
            last: run.last_seq,
            outcome,
            mark: None,
            token,
            transaction: None,
        }));
        link.settled_some((run.last - run.first + 1) as u32, context, out);
    }

    /// The gateway has committed a settlement that the client waits for.
    pub(super) fn settled(&mut self, settling: &Settling, context: &mut Context, out: &mut Output) {
        if settling.epoch != self.epoch {
            return;
        }
        let range = (settling.first, settling.last);
        write_disposition(context.buf(out), self.number, false, range, &settling.outcome, None);
    }
}

/// Neighbouring deliveries of one link, settled in one step.
struct Run {
    first: u64,
    last: u64,
    first_seq: Seq,
    last_seq: Seq,
    entry: Unsettled,
}

impl Run {
    /// Whether the delivery `id` follows without a gap, in the session and in the queue.
    fn extends(&self, id: u64, entry: &Unsettled) -> bool {
        entry.link == self.entry.link && id == self.last + 1 && entry.seq.0 == self.last_seq.0.wrapping_add(1)
    }
}
