//! Service tokens: made, rotated and revoked for people. Nothing of them is kept here: a secret goes to who asked for it, and
//! the record says who did what.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::actor::CloudflareAccount;
use super::people::Asked;
use super::requests::answer;
use super::shared::Shared;
use super::words::refused;
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::Reply;
use crate::actors::supervision::Ctx;
use crate::cloudflare::{CfError, Cloudflare, SecretToken};
use crate::db::Expected;
use crate::db::access::list_groups;
use crate::domain::access::{Account, ServiceToken, TokenDraft};
use crate::domain::account_limits::{LimitUse, Limited};
use crate::domain::event::{AccessEvent, Stream};
use crate::domain::text::repeated;

/// One at a time: whether a name is free is looked up before a token is made.
const LOCK: &str = "service tokens";

/// How long one call may take: there may be four of them one after the other.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Asks which service tokens there are; what others did in the last minute may be missing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ListTokens {
    /// Where they go.
    pub reply: Reply<Vec<ServiceToken>>,
}

/// Makes a service token whose name is free.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CreateToken {
    /// What it is to be.
    pub draft: TokenDraft,
    /// Who asks.
    pub by: String,
    /// Where it goes, with its secret.
    pub reply: Reply<SecretToken>,
}

/// Gives a service token another secret.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RotateToken {
    /// Its id or name.
    pub token: String,
    /// Who asks.
    pub by: String,
    /// Where it goes, with its secret.
    pub reply: Reply<SecretToken>,
}

/// Deletes a service token that no group names.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RevokeToken {
    /// Its id or name.
    pub token: String,
    /// Who asks.
    pub by: String,
    /// Answered once it is gone.
    pub reply: Reply<ServiceToken>,
}

/// Asks how many of each kind the account has, and may have.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CountUse {
    /// Where it goes.
    pub reply: Reply<Vec<LimitUse>>,
}

impl Handler<ListTokens> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ListTokens { reply }: ListTokens, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { answer(reply, list_lately(&shared).await) }.into_actor(self));
    }
}

impl Handler<CreateToken> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, CreateToken { draft, by, reply }: CreateToken, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { answer(reply, create(&shared, &draft, &by).await) }.into_actor(self));
    }
}

impl Handler<RotateToken> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, RotateToken { token, by, reply }: RotateToken, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { answer(reply, rotate(&shared, &token, &by).await) }.into_actor(self));
    }
}

impl Handler<RevokeToken> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, RevokeToken { token, by, reply }: RevokeToken, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { answer(reply, revoke(&shared, &token, &by).await) }.into_actor(self));
    }
}

impl Handler<CountUse> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, CountUse { reply }: CountUse, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let uses = shared.usage.count_all(&shared.cloudflare.background()).await;
            answer(reply, Ok(uses));
        };
        ctx.spawn(work.into_actor(self));
    }
}

/// Somebody waits for the secret.
fn client(shared: &Shared) -> Cloudflare {
    shared.cloudflare.with_time_limit(CALL_LIMIT)
}

/// Returns them as they were read within the last minute: whoever looks often costs no more calls.
async fn list_lately(shared: &Shared) -> Result<Vec<ServiceToken>, MasterError> {
    let asked = Asked { lists: true, ..Asked::default() };
    let listed = shared.people.read(&shared.cloudflare.background(), asked).await.map_err(refused)?;
    listed.account().all_tokens().map(<[ServiceToken]>::to_vec).map_err(MasterError::Cloudflare)
}

/// Reads them anew; rules that name one find it from now on.
async fn list(shared: &Shared) -> Result<Vec<ServiceToken>, MasterError> {
    let tokens = client(shared).list_service_tokens().await.map_err(refused)?;
    shared.people.put_tokens(tokens.clone()).await;
    Ok(tokens)
}

async fn create(shared: &Shared, draft: &TokenDraft, by: &str) -> Result<SecretToken, MasterError> {
    let _held = shared.locks.lock(LOCK).await;
    let before = list(shared).await?;
    if let Some(taken) = before.iter().find(|token| token.is_called(&draft.name)) {
        return Err(MasterError::TokenNameTaken { name: taken.name.clone(), id: taken.id.clone() });
    }
    let room = shared.usage.take_place(&client(shared), Limited::ServiceTokens).await;
    if let Some(reason) = room.map_err(refused)? {
        return Err(MasterError::AccountFull(reason));
    }
    let made = client(shared).create_service_token(draft).await;
    match shared.usage.made(Limited::ServiceTokens, made).await {
        Ok(made) => finish_create(shared, made, by).await,
        Err(error) if error.is_uncertain() => Err(look_after(shared, draft, &before, &error, by).await),
        Err(error) => Err(refused(error)),
    }
}

/// A token of which nothing is on record is not handed out: it goes again.
async fn finish_create(shared: &Shared, made: SecretToken, by: &str) -> Result<SecretToken, MasterError> {
    let token = &made.token;
    // What waits for a token of this name is looked at again because of the event; then it is to be found.
    shared.people.add_token(token.clone()).await;
    let event = AccessEvent::TokenCreated { token_id: token.id.clone(), name: token.name.clone() };
    if let Err(error) = note(shared, event, by).await {
        return Err(match client(shared).delete_service_token(&token.id).await {
            Ok(()) => error,
            Err(_) => MasterError::Cloudflare(nobody_has_its_secret(token, "it could not be written down")),
        });
    }
    Ok(made)
}

/// The answer to the making was lost: says what is there now.
async fn look_after(
    shared: &Shared,
    draft: &TokenDraft,
    before: &[ServiceToken],
    error: &CfError,
    by: &str,
) -> MasterError {
    let was_there = |token: &ServiceToken| before.iter().any(|known| known.id == token.id);
    let words = match list(shared).await {
        Err(_) => format!(
            "{error}; whether the service token `{}` was made is not known: look with `lightship access tokens list`, and \
             if it is there, revoke it, since nobody has its secret",
            repeated(&draft.name)
        ),
        Ok(now) => match now.iter().find(|token| token.is_called(&draft.name) && !was_there(token)) {
            None => format!("{error}; the service token was not made, so try again"),
            Some(made) => {
                let event = AccessEvent::TokenCreated { token_id: made.id.clone(), name: made.name.clone() };
                if let Err(error) = note(shared, event, by).await {
                    tracing::warn!(%error, "that a service token was made could not be written down");
                }
                nobody_has_its_secret(made, &error.to_string())
            }
        },
    };
    MasterError::Cloudflare(words)
}

fn nobody_has_its_secret(token: &ServiceToken, why: &str) -> String {
    format!(
        "{why}; the service token `{}` was made all the same, and nobody has its secret: have it get another one with \
         `lightship access tokens rotate {id}`, or revoke it with `lightship access tokens revoke {id}`",
        repeated(&token.name),
        id = token.id
    )
}

async fn rotate(shared: &Shared, wanted: &str, by: &str) -> Result<SecretToken, MasterError> {
    let _held = shared.locks.lock(LOCK).await;
    let token = find(shared, wanted).await?;
    let rotated = client(shared).rotate_service_token(&token.id).await;
    let is_unconfirmed = rotated.as_ref().is_err_and(CfError::is_uncertain);
    if rotated.is_ok() || is_unconfirmed {
        let (token_id, name) = (token.id.clone(), token.name.clone());
        let event = AccessEvent::TokenRotated { token_id, name, is_unconfirmed };
        note(shared, event, by).await.map_err(|error| nobody_may_have_its_secret(&token, &error))?;
    }
    rotated.map_err(|error| match is_unconfirmed {
        true => nobody_may_have_its_secret(&token, &error),
        false => refused(error),
    })
}

fn nobody_may_have_its_secret(token: &ServiceToken, why: &impl std::fmt::Display) -> MasterError {
    MasterError::Cloudflare(format!(
        "{why}; the service token `{}` may have another secret by now that nobody has: rotate it again",
        repeated(&token.name)
    ))
}

async fn revoke(shared: &Shared, wanted: &str, by: &str) -> Result<ServiceToken, MasterError> {
    let _held = shared.locks.lock(LOCK).await;
    let token = find(shared, wanted).await?;
    let rows = list_groups(&shared.db).await?;
    let groups = token.named_by(rows.iter().map(|row| &row.group));
    if !groups.is_empty() {
        return Err(MasterError::ServiceTokenInUse { name: token.name, groups });
    }
    match client(shared).delete_service_token(&token.id).await {
        // It may be gone all the same.
        Err(error) if error.is_uncertain() => {
            let left = list(shared).await.map_err(|_| refused(error.clone()))?;
            if left.iter().any(|known| known.id == token.id) {
                return Err(refused(error));
            }
        }
        Err(error) if error.is_access_conflict() => {
            return Err(MasterError::Cloudflare(format!(
                "{error}; a policy that no group here is mirrored by names the token: rules of a container's own labels, or \
                 somebody else's policy"
            )));
        }
        deleted => deleted.map_err(refused)?,
    }
    shared.people.remove_token(&token.id).await;
    let event = AccessEvent::TokenRevoked { token_id: token.id.clone(), name: token.name.clone() };
    note(shared, event, by).await?;
    Ok(token)
}

/// Finds a token by its id or name.
async fn find(shared: &Shared, wanted: &str) -> Result<ServiceToken, MasterError> {
    let tokens = list(shared).await?;
    let account = Account { tokens: Some(&tokens), ..Account::default() };
    account.token(wanted).cloned().map_err(MasterError::ServiceTokenNotFound)
}

async fn note(shared: &Shared, event: AccessEvent, by: &str) -> Result<(), MasterError> {
    let mut batch = shared.batch().append(Stream::access(), Expected::Head, vec![event]);
    batch.by = by.to_owned();
    Ok(shared.store.commit(batch).await?)
}
