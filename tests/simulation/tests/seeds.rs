//! Many seeds without a bug; each planted bug within a few.

use evergate_core::Bug;
use evergate_simulation::{Fault, Summary, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_promise_is_kept_whatever_the_seed() {
    let (first, count, trace) = match number("SIM_SEED") {
        Some(seed) => (seed, 1, true),
        None => (number("SIM_FROM").unwrap_or(1), number("SIM_SEEDS").unwrap_or(1000), false),
    };
    let mut sum = Summary::default();
    for seed in first..first + count {
        let summary = run(seed, None, trace).unwrap_or_else(|failure| panic!("{failure}"));
        sum.confirmed += summary.confirmed;
        sum.dispatched += summary.dispatched;
        sum.crashes += summary.crashes;
        sum.loads += summary.loads;
        sum.transactions += summary.transactions;
        sum.rollbacks += summary.rollbacks;
        sum.policies += summary.policies;
        sum.deletions += summary.deletions;
        sum.moves += summary.moves;
        sum.definitions += summary.definitions;
    }
    println!("{count} seeds: {sum:?}");
    // A simulator in which nothing happens finds nothing.
    assert!(count < 100 || (sum.confirmed > count && sum.dispatched > count && sum.crashes > 0 && sum.loads > count));
    assert!(count < 100 || (sum.policies > count / 2 && sum.deletions > count / 10 && sum.moves > count / 2));
    assert!(count < 100 || sum.definitions > count / 2);
    assert!(count < 100 || (sum.transactions > count / 2 && sum.rollbacks > count));
}

/// The planted bug breaks the promise that it should break, within some seeds.
fn is_found(fault: Fault, promise: &str) {
    const SEEDS: u64 = 4000;
    let mut others = Vec::new();
    for seed in 1..=SEEDS {
        match run(seed, Some(fault), false) {
            Err(failure) if failure.broken.contains(promise) => {
                println!("{fault:?}: seed {seed}: {}", failure.broken);
                return;
            }
            Err(failure) => others.push(failure),
            Ok(_) => {}
        }
    }
    let (count, some) = (others.len(), &others[..others.len().min(5)]);
    panic!("{fault:?} was not found in {SEEDS} seeds; {count} broke other promises, among them {some:?}");
}

#[test]
fn a_confirm_before_the_commit_is_found() {
    is_found(Fault::Core(Bug::ConfirmBeforeCommit), "was confirmed and is lost");
}

#[test]
fn a_delivery_before_the_commit_is_found() {
    is_found(Fault::DurableTooEarly, "before its commit");
}

#[test]
fn a_forgotten_settle_is_found() {
    is_found(Fault::ForgetSettle, "last word on it was confirmed");
}

#[test]
fn ignored_credit_is_found() {
    is_found(Fault::IgnoreCredit, "more than its credit");
}

#[test]
fn a_half_stored_publish_is_found() {
    is_found(Fault::SplitGroups, "but not for");
}

#[test]
fn an_attach_that_overtakes_a_publish_is_found() {
    is_found(Fault::AttachOvertakesPublish, "but was sent");
}

#[test]
fn a_retained_publish_that_overtakes_is_found() {
    is_found(Fault::RetainedOvertakes, "after number");
}

#[test]
fn a_transaction_whose_parts_are_not_kept_together_is_found() {
    is_found(Fault::TransactionApart, "without its");
}

#[test]
fn an_outcome_that_is_stored_apart_is_found() {
    is_found(Fault::OutcomeApart, "without its");
}

#[test]
fn a_settle_before_the_commit_of_its_transaction_is_found() {
    is_found(Fault::SettleBeforeCommit, "is lost");
}

#[test]
fn a_transient_message_before_the_commit_of_its_transaction_is_found() {
    is_found(Fault::TransientBeforeCommit, "before the commit of its transaction");
}

#[test]
fn a_forgotten_rollback_is_found() {
    is_found(Fault::ForgetRollback, "is lost");
}

#[test]
fn a_commit_that_is_overtaken_is_found() {
    is_found(Fault::CommitOvertaken, "which was sent after its commit");
}

#[test]
fn a_forgotten_outcome_is_found() {
    is_found(Fault::ForgetOutcome, "without its outcome");
}

#[test]
fn a_selector_that_does_not_hold_for_what_comes_back_is_found() {
    is_found(Fault::Core(Bug::ReturnedIgnoreSelectors), "which it does not select");
}

#[test]
fn a_forgotten_schedule_is_found() {
    is_found(Fault::Core(Bug::ForgetSchedule), "was confirmed and is lost");
}

#[test]
fn an_ignored_schedule_is_found() {
    is_found(Fault::Core(Bug::IgnoreSchedule), "before its time");
}

#[test]
fn reversed_priorities_are_found() {
    is_found(Fault::Core(Bug::ReversePriorities), "which has a higher priority");
}

#[test]
fn a_scattered_group_is_found() {
    is_found(Fault::Core(Bug::ScatterGroups), "is with");
}

#[test]
fn a_group_that_moves_too_early_is_found() {
    is_found(Fault::Core(Bug::GroupMovesTooEarly), "is with");
}

#[test]
fn a_ring_that_keeps_what_is_oldest_is_found() {
    is_found(Fault::Core(Bug::RingKeepsOldest), "is lost from ring");
}

#[test]
fn an_expired_message_that_is_nowhere_is_found() {
    is_found(Fault::Core(Bug::LoseExpired), "was confirmed and is lost");
}

#[test]
fn a_second_active_consumer_is_found() {
    is_found(Fault::Core(Bug::TwoActive), "is active");
}

#[test]
fn a_browser_that_takes_is_found() {
    is_found(Fault::Core(Bug::BrowserTakes), "was confirmed and is lost from");
}

#[test]
fn a_refusal_that_comes_too_late_is_found() {
    is_found(Fault::Core(Bug::RefuseTooLate), "is full and refuses");
}

#[test]
fn an_old_value_that_stays_is_found() {
    is_found(Fault::Core(Bug::KeepOldValue), "is lost from latest");
}

#[test]
fn a_forgotten_duplicate_is_found() {
    is_found(Fault::Core(Bug::ForgetDuplicates), "is in once 2 times");
}

#[test]
fn a_changed_policy_that_a_shard_does_not_go_by_is_found() {
    is_found(Fault::Core(Bug::IgnoreChange), "though desk/");
}

#[test]
fn a_forgotten_fingerprint_is_found() {
    is_found(Fault::Core(Bug::ForgetFingerprints), "but was sent");
}

#[test]
fn forgotten_policies_are_found() {
    is_found(Fault::ForgetPolicies, "but these were said to be in force");
}

#[test]
fn a_publish_that_one_shard_refuses_and_another_takes_is_found() {
    is_found(Fault::RoomNotAsked, "was refused, but");
}

#[test]
fn a_lost_binding_is_found() {
    is_found(Fault::ForgetBindings, "but was said to be");
}

#[test]
fn a_binding_that_comes_back_is_found() {
    is_found(Fault::ForgetUnbinding, "but was said to be");
}

#[test]
fn a_forgotten_deletion_is_found() {
    is_found(Fault::ForgetDeletions, "was deleted and is back");
}

#[test]
fn a_move_that_removes_first_is_found() {
    is_found(Fault::MoveRemovesFirst, "is lost");
}

#[test]
fn a_move_that_removes_later_is_found() {
    is_found(Fault::MoveRemovesLater, "came back");
}

#[test]
fn a_queue_that_goes_before_what_was_routed_to_it_is_in_is_found() {
    is_found(Fault::RetireOvertakes, "is lost from mail");
}

#[test]
fn a_message_that_does_not_wait_for_its_body_is_found() {
    is_found(Fault::BodyLeftBehind, "there are only");
}

#[test]
fn a_restart_that_does_not_say_what_is_full_is_found() {
    is_found(Fault::RestartOpensAll, "publishers do not wait for");
}
