//! Carries out what a session's publisher wants.

use evergate_core::{Publisher, PublisherCounts, PublisherEffect, PublisherOut, Surroundings};

use crate::connections::add;
use crate::gateway::Gateway;

/// Sends on what can be sent on.
pub fn pump(gateway: &Gateway, publisher: &mut Publisher, client_id: &str, taken_over: bool, out: &mut PublisherOut) {
    let routes = gateway.routes.read();
    let memory_is_exhausted = gateway.memory.is_exhausted();
    publisher.pump(Surroundings { routes: &routes, client_id, taken_over, memory_is_exhausted }, out);
    // The routes are still held: were a queue to be deleted in between, a message could arrive behind that.
    carry_out(gateway, out);
}

/// Passes on commands; leaves counts and answers.
pub fn carry_out(gateway: &Gateway, out: &mut PublisherOut) {
    for effect in out.effects.drain(..) {
        match effect {
            PublisherEffect::Directory(command) => gateway.directory.push(command),
            PublisherEffect::Publish(shard, command) => gateway.publish_to(shard, command),
            PublisherEffect::Control(shard, command) => gateway.control(shard, command),
        }
    }
}

/// Adds what it counted to the totals.
pub fn count(gateway: &Gateway, out: &mut PublisherOut) {
    let PublisherCounts { published, confirmed, refused, dropped, transactions } = std::mem::take(&mut out.counts);
    let totals = &gateway.totals;
    let counters = [
        (&totals.published, published),
        (&totals.confirmed, confirmed),
        (&totals.rejected, refused),
        (&totals.dropped, dropped),
        (&totals.transactions_begun, transactions.begun),
        (&totals.transactions_ended, transactions.ended),
        (&totals.transactions_committed, transactions.committed),
        (&totals.transactions_rolled_back, transactions.rolled_back),
        (&totals.transactions_beyond_limit, transactions.beyond_limit),
    ];
    for (counter, amount) in counters {
        if amount > 0 {
            add(counter, amount);
        }
    }
}
