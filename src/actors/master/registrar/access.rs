//! Groups of people and machines that may reach what is published.

use actix::prelude::*;

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db::access::{find_group, list_groups};
use crate::db::routes::routes_asking_for_group;
use crate::domain::access::{Group, MAX_GROUPS, is_built_in};
use crate::domain::event::{AccessEvent, Stream};
use crate::domain::id::GroupId;

/// Makes a group, or puts it in the place of the one that has its id.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct SetGroup {
    /// The group.
    pub group: Group,
    /// Who asks.
    pub by: String,
}

/// Removes a group.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct RemoveGroup {
    /// Which one.
    pub id: GroupId,
    /// True if it goes although routes ask for it: those are closed then.
    pub close_routes: bool,
    /// Who asks.
    pub by: String,
}

impl Handler<SetGroup> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: SetGroup, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { set(&env, &ask).await })
    }
}

impl Handler<RemoveGroup> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: RemoveGroup, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { remove(&env, &ask).await })
    }
}

async fn set(env: &Env, ask: &SetGroup) -> Result<(), MasterError> {
    must_be_somebodys(&ask.group.id)?;
    ask.group.validate().map_err(|bad| MasterError::Invalid(bad.join("; ")))?;
    commit(env, async || {
        let end = expected(env, &Stream::access()).await?;
        let stored = find_group(&env.db, &ask.group.id).await?;
        if stored.is_none() && list_groups(&env.db).await?.len() >= MAX_GROUPS {
            return Err(MasterError::Invalid(format!(
                "there are {MAX_GROUPS} groups, and no more are kept; remove one that nothing asks for, or change it"
            )));
        }
        let batch = match stored.is_some_and(|row| row.group == ask.group) {
            true => env.batch(&ask.by),
            false => {
                let event = AccessEvent::GroupSet { group: ask.group.clone() };
                env.batch(&ask.by).append(Stream::access(), end, vec![event])
            }
        };
        Ok(Decision { batch, answer: () })
    })
    .await
}

/// Fails for the groups that are always there.
fn must_be_somebodys(id: &GroupId) -> Result<(), MasterError> {
    if is_built_in(id) { Err(MasterError::GroupBuiltIn(id.clone())) } else { Ok(()) }
}

async fn remove(env: &Env, ask: &RemoveGroup) -> Result<(), MasterError> {
    must_be_somebodys(&ask.id)?;
    commit(env, async || {
        let end = expected(env, &Stream::access()).await?;
        if find_group(&env.db, &ask.id).await?.is_none() {
            return Err(MasterError::GroupNotFound);
        }
        let routes = routes_asking_for_group(&env.db, &ask.id).await?;
        if !routes.is_empty() && !ask.close_routes {
            let routes = routes.iter().map(ToString::to_string).collect();
            return Err(MasterError::GroupInUse { id: ask.id.clone(), routes });
        }
        let event = AccessEvent::GroupRemoved { group_id: ask.id.clone() };
        Ok(Decision { batch: env.batch(&ask.by).append(Stream::access(), end, vec![event]), answer: () })
    })
    .await
}
