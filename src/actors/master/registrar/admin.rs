//! Administrators, their sessions, and settings.

use actix::prelude::*;
use secrecy::SecretString;

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::bus::Note;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db::sessions::SessionRow;
use crate::db::settings::password_secret;
use crate::db::{self, RowChange};
use crate::domain::event::{AdminEvent, Stream};
use crate::domain::role::{BY_FILE, BY_SOCKET, BY_TOKEN, Role};

/// Longest administrator name.
const MAX_NAME: usize = 64;

/// Makes the first administrator; refused once there is one.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct SetUpAdmin {
    /// Sign-in name.
    pub name: String,
    /// Hash of the password, made by the caller: hashing is slow and would hold up everybody here.
    pub password_hash: SecretString,
}

/// Gives an administrator another password; sessions of the old one end.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct SetAdminPassword {
    /// Sign-in name.
    pub name: String,
    /// Hash of the password.
    pub password_hash: SecretString,
    /// Who asks.
    pub by: String,
}

/// Signs a browser in; answers what its cookie has to name.
#[derive(Message)]
#[rtype(result = "Result<String, MasterError>")]
pub struct OpenSession {
    /// Who signs in.
    pub name: String,
    /// Which password that was shown by: the session ends with it.
    pub version: u32,
}

/// Signs a browser out.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct EndSession {
    /// What its cookie names.
    pub id: String,
    /// Whose it is.
    pub name: String,
}

/// Changes a setting.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct ChangeSetting {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: serde_json::Value,
    /// Who asks.
    pub by: String,
}

impl Handler<SetUpAdmin> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: SetUpAdmin, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { set_up(&env, &ask).await })
    }
}

impl Handler<SetAdminPassword> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: SetAdminPassword, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { set_password(&env, &ask).await })
    }
}

impl Handler<OpenSession> for Registrar {
    type Result = AtomicResponse<Self, Result<String, MasterError>>;

    fn handle(&mut self, ask: OpenSession, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { open_session(&env, &ask).await })
    }
}

impl Handler<EndSession> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: EndSession, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { end_session(&env, &ask).await })
    }
}

impl Handler<ChangeSetting> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: ChangeSetting, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { change_setting(&env, &ask).await })
    }
}

async fn set_up(env: &Env, ask: &SetUpAdmin) -> Result<(), MasterError> {
    let name = ask.name.trim();
    if matches!(name, BY_TOKEN | BY_SOCKET | BY_FILE) {
        let words = format!("`{name}` is what the record calls the operator; choose another name");
        return Err(MasterError::Invalid(words));
    }
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(MasterError::Invalid(format!("the name must have 1 to {MAX_NAME} printable characters")));
    }
    commit(env, async || {
        let end = expected(env, &Stream::admin()).await?;
        if db::settings::has_admin(&env.db).await? {
            return Err(MasterError::AlreadySetUp);
        }
        let event = AdminEvent::Created { name: name.into(), role: Role::Admin };
        let batch = env
            .batch(name)
            .append(Stream::admin(), end, vec![event])
            .row(put_hash(name, ask.password_hash.clone()));
        Ok(Decision { batch, answer: () })
    })
    .await
}

async fn set_password(env: &Env, ask: &SetAdminPassword) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::admin()).await?;
        if db::settings::find_admin(&env.db, &ask.name).await?.is_none() {
            return Err(MasterError::AdminNotFound(ask.name.clone()));
        }
        let event = AdminEvent::PasswordChanged { name: ask.name.clone() };
        let batch = env
            .batch(&ask.by)
            .append(Stream::admin(), end, vec![event])
            .row(put_hash(&ask.name, ask.password_hash.clone()));
        Ok(Decision { batch, answer: () })
    })
    .await
}

async fn open_session(env: &Env, ask: &OpenSession) -> Result<String, MasterError> {
    let id = env.chance.key();
    commit(env, async || {
        let session = SessionRow {
            id: id.clone(),
            admin: ask.name.clone(),
            version: ask.version,
            opened_at: env.clock.now(),
        };
        Ok(Decision { batch: env.batch(&ask.name).row(RowChange::OpenSession(session)), answer: () })
    })
    .await?;
    Ok(id)
}

async fn end_session(env: &Env, ask: &EndSession) -> Result<(), MasterError> {
    commit(env, async || {
        let end = RowChange::EndSession { id: ask.id.clone() };
        Ok(Decision { batch: env.batch(&ask.name).row(end), answer: () })
    })
    .await?;
    // Open pages of that browser look again, and find that they may not.
    env.notices.announce(Note::Settings);
    Ok(())
}

fn put_hash(name: &str, hash: SecretString) -> RowChange {
    RowChange::PutSecret { id: password_secret(name), purpose: "administrator password".into(), plain: hash }
}

async fn change_setting(env: &Env, ask: &ChangeSetting) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::admin()).await?;
        let event = AdminEvent::SettingChanged { key: ask.key.clone(), value: ask.value.clone() };
        Ok(Decision { batch: env.batch(&ask.by).append(Stream::admin(), end, vec![event]), answer: () })
    })
    .await
}
