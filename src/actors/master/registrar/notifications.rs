//! Where people are told what happened. What opens a target goes into table `secrets` and nowhere else.

use actix::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db::RowChange;
use crate::db::notifications::{find_target, list_targets, target_secret};
use crate::db::secrets::find_secret;
use crate::domain::event::{NotifyEvent, Stream};
use crate::domain::id::TargetId;
use crate::domain::notify::{Draft, MAX_TARGETS, Secrets};

/// Makes a target, or puts it in the place of the one that has its id.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct SetTarget {
    /// The target, as it was handed in.
    pub draft: Draft,
    /// Who asks.
    pub by: String,
}

/// Removes a target, with all that waits for it.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct RemoveTarget {
    /// Which one.
    pub id: TargetId,
    /// Who asks.
    pub by: String,
}

impl Handler<SetTarget> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: SetTarget, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { set(&env, &ask).await })
    }
}

impl Handler<RemoveTarget> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: RemoveTarget, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { remove(&env, &ask).await })
    }
}

async fn set(env: &Env, ask: &SetTarget) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::notifications()).await?;
        let stored = find_target(&env.db, ask.draft.id()).await?;
        if stored.is_none() && list_targets(&env.db).await?.len() >= MAX_TARGETS {
            return Err(MasterError::Invalid(format!(
                "there are {MAX_TARGETS} targets, and no more are kept; remove one, or change it"
            )));
        }
        let before = match &stored {
            Some(row) => Some((&row.target, opened(env, &row.target.id).await?)),
            None => None,
        };
        let draft = ask.draft.clone();
        let (target, secrets) =
            draft.complete(before).map_err(|wrong| MasterError::Invalid(wrong.join("; ")))?;
        let plain =
            serde_json::to_string(&secrets).map_err(|error| MasterError::Database(Box::new(error)))?;
        let put = RowChange::PutSecret {
            id: target_secret(&target.id),
            purpose: "notification target".into(),
            plain: SecretString::from(plain),
        };
        let event = NotifyEvent::TargetSet { target: Box::new(target) };
        let batch = env.batch(&ask.by).append(Stream::notifications(), end, vec![event]).row(put);
        Ok(Decision { batch, answer: () })
    })
    .await
}

/// What opens a target now; nothing if that cannot be read any more: then all of it has to come along.
async fn opened(env: &Env, id: &TargetId) -> Result<Secrets, MasterError> {
    let sealed = find_secret(&env.db, &target_secret(id)).await?;
    Ok(sealed.and_then(|text| serde_json::from_str(text.expose_secret()).ok()).unwrap_or_default())
}

async fn remove(env: &Env, ask: &RemoveTarget) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::notifications()).await?;
        if find_target(&env.db, &ask.id).await?.is_none() {
            return Err(MasterError::TargetNotFound);
        }
        let event = NotifyEvent::TargetRemoved { target_id: ask.id.clone() };
        let batch = env
            .batch(&ask.by)
            .append(Stream::notifications(), end, vec![event])
            .row(RowChange::DeleteSecret { id: target_secret(&ask.id) })
            .row(RowChange::ForgetTarget { target_id: ask.id.clone() });
        Ok(Decision { batch, answer: () })
    })
    .await
}
