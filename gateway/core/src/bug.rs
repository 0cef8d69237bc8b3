//! Planted bugs: the simulator must find each of them. No gateway is ever started with one.

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is described below
pub enum Bug {
    /// Confirm before the commit.
    ConfirmBeforeCommit,
    /// What was given back is offered to whoever is there, whatever it selects.
    ReturnedIgnoreSelectors,
    /// A message whose time has not come is never looked at again.
    ForgetSchedule,
    /// A message is handed out before its time.
    IgnoreSchedule,
    /// Lanes of lower priority go first.
    ReversePriorities,
    /// A message of a group goes to whoever has room.
    ScatterGroups,
    /// A group changes hands although its consumer is still at work on it.
    GroupMovesTooEarly,
    /// A full ring drops what comes instead of what is oldest.
    RingKeepsOldest,
    /// An expired message is discarded although it belongs into `_DMQ`.
    LoseExpired,
    /// A second consumer is served beside the active one.
    TwoActive,
    /// A browser takes what it looks at.
    BrowserTakes,
    /// A queue that should refuse when it is full takes one more, and forgets it.
    RefuseTooLate,
    /// Of two messages with one key the older stays.
    KeepOldValue,
    /// A queue goes by the settings that it was made with, whatever it is told later.
    IgnoreChange,
    /// Duplicate detection forgets what was consumed.
    ForgetDuplicates,
    /// What sessions published is forgotten with a restart.
    ForgetFingerprints,
}
