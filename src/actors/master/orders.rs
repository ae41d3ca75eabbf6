//! Orders to hosts: the key that they are signed with, and the order that a command carries.

use secrecy::{ExposeSecret, SecretString};

use super::env::Env;
use super::error::MasterError;
use crate::db::approvals::find_approval;
use crate::db::order_keys::{list_order_keys, order_key_secret};
use crate::db::plans::{find_host_plan, find_plan};
use crate::db::secrets::find_secret;
use crate::db::{Db, DbError};
use crate::domain::command::{Command, CommandKind};
use crate::domain::id::AgentId;
use crate::domain::order::{KeyOffer, Order, SignedOrder, SigningKey};
use crate::domain::update::ApprovalStatus;

/// What a master shows to hosts that join: the key it signs with, and how that followed from earlier ones. None before one was
/// made.
pub async fn key_offer(db: &Db) -> Result<Option<KeyOffer>, DbError> {
    let mut keys = list_order_keys(db).await?;
    let Some(present) = keys.pop() else { return Ok(None) };
    let endorsed = keys.into_iter().map(|key| key.endorsed).chain([present.endorsed.clone()]).flatten();
    Ok(Some(KeyOffer { key: present.public, endorsed: endorsed.collect() }))
}

/// Returns the key that signs now.
pub async fn signing_key(env: &Env) -> Result<Option<SigningKey>, MasterError> {
    let Some(present) = list_order_keys(&env.db).await?.pop() else { return Ok(None) };
    let secret = find_secret(&env.db, &order_key_secret(&present.public.fingerprint())).await?;
    Ok(secret.as_ref().and_then(key_of))
}

/// A new key with its secret half in the form in which it is kept.
pub fn new_key(env: &Env) -> (SigningKey, SecretString) {
    let mut seed = [0; 32];
    env.chance.fill(&mut seed);
    (SigningKey::from_seed(&seed), SecretString::from(hex::encode(seed)))
}

fn key_of(kept: &SecretString) -> Option<SigningKey> {
    let seed: [u8; 32] = hex::decode(kept.expose_secret()).ok()?.try_into().ok()?;
    Some(SigningKey::from_seed(&seed))
}

/// Returns the order that a command carries. None if it carries none any more: the yes was taken back, or what belongs to it is
/// not kept.
pub async fn order_of(
    env: &Env,
    agent: &AgentId,
    command: &Command,
) -> Result<Option<SignedOrder>, MasterError> {
    let CommandKind::CarryOutPlan { approval, plan, number } = &command.kind else { return Ok(None) };
    let Some(approval) = find_approval(&env.db, agent, approval).await? else { return Ok(None) };
    let asked = find_host_plan(&env.db, agent, &approval.request_id).await?;
    let changes = find_plan(&env.db, plan).await?;
    let (Some(asked), Some(changes), Some(key)) = (asked, changes, signing_key(env).await?) else {
        return Ok(None);
    };
    // What is kept under an id has that id, or nothing is signed.
    if approval.status != ApprovalStatus::Ordered || changes.id() != *plan {
        return Ok(None);
    }
    let by = match &approval.ordered_by {
        Some(second) if *second != approval.given_by => format!("{} and {second}", approval.given_by),
        _ => approval.given_by,
    };
    let by = if approval.approved_plan.is_some() { format!("{by} (same scope)") } else { by };
    let order = Order {
        id: command.id.clone(),
        agent: agent.clone(),
        number: *number,
        ask: asked.ask,
        changes,
        by,
        issued_at: approval.given_at,
        expires_at: approval.expires_at,
    };
    Ok(Some(order.sign(&key)))
}
