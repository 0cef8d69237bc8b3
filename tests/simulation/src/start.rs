//! How a node starts, and by what it goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use evergate_core::{
    DirectoryCommand, DirectoryConfig, DirectoryEffect, DirectoryLimits, FingerprintLimits, ManageReply, ManageRequest,
    OutcomeLimits, QueueEntry, QueueLimits, RecoveredCore, SessionEvent, Shard, ShardConfig, ShardId, recover,
};
use evergate_journal::{Batch, Table};
use evergate_model::{BODY_PREFIX, Encoding, Formats, Policy, QueueId, QueueSettings, Time, Token};

use crate::journal::SimJournal;
use crate::model::Model;
use crate::node::Fault;
use crate::operator::OPERATOR;
use crate::released::Released;
use crate::traits::{self, Numbers};

/// Small enough that random clients meet them.
const FINGERPRINT_LIMITS: FingerprintLimits =
    FingerprintLimits { per_session_max: 60, total_max: 10_000, stale_max: 20 };

/// What shards go by.
pub fn shard_config(limits: QueueLimits, fault: Option<Fault>) -> ShardConfig {
    let bug = match fault {
        Some(Fault::Core(bug)) => Some(bug),
        _ => None,
    };
    let formats = Formats::default().with(Encoding::Plain, &Numbers);
    ShardConfig { id: ShardId(0), limits, formats, fingerprints: FINGERPRINT_LIMITS, bug }
}

/// Those of the configuration.
pub fn policies(fault: Option<Fault>) -> Vec<Policy> {
    let mut policies = traits::policies();
    if let Some(Fault::Core(_)) = fault {
        // Queues that go when they are empty give planted bugs less time to show.
        policies.retain(|policy| policy.auto_delete_after_ms.is_none());
    }
    policies
}

/// Starts a node on what the journal holds.
pub fn start(
    now: Time,
    journal: &SimJournal,
    model: &mut Model,
    shards: u16,
    config: ShardConfig,
    defaults: &QueueSettings,
) -> Result<(RecoveredCore, Released), String> {
    let recovered = journal.store.recover_now();
    let rows = recovered.state.iter().filter(|(table, ..)| *table == Table::Queue);
    let found: BTreeSet<QueueId> = rows.filter_map(|(_, key, _)| key.parse().ok().map(QueueId)).collect();
    model.restarted(&found)?;
    let outcomes = OutcomeLimits { outcomes_max: 100_000, age_max: std::time::Duration::from_secs(1 << 20) };
    let released = Released::default();
    let directory = DirectoryConfig {
        on_release: released.on_release(),
        limits: DirectoryLimits { queues_max: 100, retained_max: 100, retained_bytes_max: 1 << 20, outcomes },
        defaults: defaults.clone(),
        policies: policies(config.bug.map(Fault::Core)),
        ..DirectoryConfig::default()
    };
    let mut core = recover(now, recovered, shards, config, directory)?;
    let mut batch = Batch::default();
    for record in core.records.drain(..) {
        batch.add(record);
    }
    journal.store.apply(&batch).map_err(|error| error.to_string())?;
    model.found(&listed(now, &mut core)?)?;
    Ok((core, released))
}

/// The names that an operator is given with the shards' figures.
pub fn names(shards: &[Shard]) -> BTreeSet<Arc<str>> {
    let names = shards.iter().flat_map(|shard| shard.stats().map(|(name, _)| name.clone()));
    names.filter(|name| !name.starts_with(BODY_PREFIX)).collect()
}

/// The queues that an operator would find.
fn listed(now: Time, core: &mut RecoveredCore) -> Result<Vec<QueueEntry>, String> {
    let mut shown = Vec::new();
    for name in names(&core.shards) {
        let request = Box::new(ManageRequest::Queue { name: name.to_string() });
        let command = DirectoryCommand::Manage { session: OPERATOR, token: Token(0), request };
        let (mut log, mut effects) = (Vec::new(), Vec::new());
        core.directory.apply(now, command, &mut core.routes, &mut log, &mut effects);
        match effects.pop() {
            Some(DirectoryEffect::Tell(
                _,
                SessionEvent::Managed { result: Ok(ManageReply::Queue { entry, .. }), .. },
            )) => shown.push(*entry),
            other => return Err(format!("a shard has {name}, of which the directory says: {other:?}")),
        }
    }
    Ok(shown)
}
