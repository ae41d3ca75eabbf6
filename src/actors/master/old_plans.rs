//! Forgets questions to hosts that are old, and plans that nothing is about any more.

use std::time::Duration;

use chrono::TimeDelta;

use super::env::Env;
use super::error::MasterError;
use crate::db::RowChange;
use crate::db::plans::{questions_before, unused_plans};

/// How often that is looked for.
pub const EVERY: Duration = Duration::from_secs(3_600);
/// So long a question and its answers are kept: far longer than any yes counts, and than a host is asked again.
const QUESTIONS: TimeDelta = TimeDelta::days(90);
/// So long a plan is kept that nothing is about: who works one out says at once what it is for.
const PLANS: TimeDelta = TimeDelta::days(1);
/// Most of each that are forgotten at a time.
const AT_ONCE: u64 = 1_000;

/// Forgets what is due; what goes wrong is tried again the next time.
pub async fn forget(env: &Env) {
    if let Err(error) = forgotten(env).await {
        tracing::warn!(%error, "old plans could not be forgotten");
    }
}

async fn forgotten(env: &Env) -> Result<(), MasterError> {
    let now = env.now();
    let mut batch = env.batch("system");
    for (agent_id, request_id) in questions_before(&env.db, now - QUESTIONS, AT_ONCE).await? {
        batch = batch.row(RowChange::DeleteHostPlan { agent_id, request_id });
    }
    let made_before = now - PLANS;
    for id in unused_plans(&env.db, made_before, AT_ONCE).await? {
        batch = batch.row(RowChange::DeletePlan { id, made_before });
    }
    if !batch.rows.is_empty() {
        env.ledger.commit(batch).await?;
    }
    Ok(())
}
