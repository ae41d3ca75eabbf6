//! The master's accounts at registries. The password goes into table `secrets` and nowhere else.

use actix::prelude::*;
use secrecy::{ExposeSecret, SecretString};

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db::RowChange;
use crate::db::registry_logins::{find_registry_login, login_secret};
use crate::domain::event::{AdminEvent, Stream};
use crate::domain::registry::{Account, registry_named};

/// Sets the account at a registry, in the place of an earlier one.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct SetRegistryLogin {
    /// The registry, as people write it.
    pub registry: String,
    /// The account's name.
    pub account: String,
    /// Its password, or a token in its place.
    pub password: SecretString,
    /// Who asks.
    pub by: String,
}

/// Forgets the account at a registry.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct RemoveRegistryLogin {
    /// The registry, as people write it.
    pub registry: String,
    /// Who asks.
    pub by: String,
}

impl Handler<SetRegistryLogin> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: SetRegistryLogin, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { set(&env, &ask).await })
    }
}

impl Handler<RemoveRegistryLogin> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: RemoveRegistryLogin, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { remove(&env, &ask).await })
    }
}

async fn set(env: &Env, ask: &SetRegistryLogin) -> Result<(), MasterError> {
    let account = Account::new(&ask.registry, &ask.account, ask.password.expose_secret())
        .map_err(|bad| MasterError::Invalid(bad.to_string()))?;
    commit(env, async || {
        let end = expected(env, &Stream::admin()).await?;
        let (registry, name) = (account.registry.clone(), account.name.clone());
        let put = RowChange::PutSecret {
            id: login_secret(&registry),
            purpose: "registry login".into(),
            plain: ask.password.clone(),
        };
        let event = AdminEvent::RegistryLoginSet { registry, account: name };
        let batch = env.batch(&ask.by).append(Stream::admin(), end, vec![event]).row(put);
        Ok(Decision { batch, answer: () })
    })
    .await
}

async fn remove(env: &Env, ask: &RemoveRegistryLogin) -> Result<(), MasterError> {
    let registry = registry_named(&ask.registry).ok_or(MasterError::LoginNotFound)?;
    commit(env, async || {
        let end = expected(env, &Stream::admin()).await?;
        if find_registry_login(&env.db, &registry).await?.is_none() {
            return Err(MasterError::LoginNotFound);
        }
        let event = AdminEvent::RegistryLoginRemoved { registry: registry.clone() };
        let forget = RowChange::DeleteSecret { id: login_secret(&registry) };
        let batch = env.batch(&ask.by).append(Stream::admin(), end, vec![event]).row(forget);
        Ok(Decision { batch, answer: () })
    })
    .await
}
