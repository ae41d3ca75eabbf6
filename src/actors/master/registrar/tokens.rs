//! Registration tokens: made once and kept as digests, taken back, dropped from the list.

use actix::prelude::*;
use chrono::TimeDelta;
use secrecy::ExposeSecret;

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::directory::digest_key;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::NewToken;
use crate::actors::supervision::Ctx;
use crate::db::{self, ALL};
use crate::domain::event::Stream;
use crate::domain::id::TokenId;
use crate::domain::text::spell_out;
use crate::domain::token::{MAX_LABEL_CHARS, TokenEvent, TokenState, TokenWish};

/// Makes a token.
#[derive(Message)]
#[rtype(result = "Result<NewToken, MasterError>")]
pub struct MakeToken {
    /// What it is to be.
    pub wish: TokenWish,
    /// Who asks.
    pub by: String,
}

/// Takes a token back; who registered with it stays.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct RevokeToken {
    /// Which one.
    pub token: TokenId,
    /// Why, in words.
    pub reason: Option<String>,
    /// Who asks.
    pub by: String,
}

/// Drops a token from the list; nobody registers with it any more.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct DeleteToken {
    /// Which one.
    pub token: TokenId,
    /// Who asks.
    pub by: String,
}

/// Drops the tokens from the list that ended without any host; returns how many.
#[derive(Message)]
#[rtype(result = "Result<usize, MasterError>")]
pub struct DropExpiredTokens {
    /// Who asks.
    pub by: String,
}

impl Handler<MakeToken> for Registrar {
    type Result = AtomicResponse<Self, Result<NewToken, MasterError>>;

    fn handle(&mut self, ask: MakeToken, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { make(&env, ask).await })
    }
}

impl Handler<RevokeToken> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: RevokeToken, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { revoke(&env, &ask).await })
    }
}

impl Handler<DeleteToken> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: DeleteToken, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { delete(&env, &ask).await })
    }
}

impl Handler<DropExpiredTokens> for Registrar {
    type Result = AtomicResponse<Self, Result<usize, MasterError>>;

    fn handle(&mut self, ask: DropExpiredTokens, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { drop_expired(&env, &ask.by).await })
    }
}

async fn make(env: &Env, ask: MakeToken) -> Result<NewToken, MasterError> {
    let wish = ask.wish.checked().map_err(MasterError::Invalid)?;
    let raw = secret_text(env);
    let token_id = TokenId::new(env.chance.sorted_uuid(&env.clock).to_string());
    let expires_at = env.now() + TimeDelta::from_std(wish.life).unwrap_or(TimeDelta::MAX);
    commit(env, async || {
        let made = TokenEvent::Made {
            token_id: token_id.clone(),
            label: wish.label.clone(),
            sha256: hex::encode(digest_key(raw.expose_secret())),
            max_seats: wish.max_seats,
            expires_at,
            metadata: wish.metadata.clone(),
        };
        let end = db::Expected::Version(0);
        Ok(Decision {
            batch: env.batch(&ask.by).append(Stream::token(&token_id), end, vec![made]),
            answer: (),
        })
    })
    .await?;
    Ok(NewToken { token_id, raw, wish, expires_at })
}

/// Returns 32 random bytes as RedFlag writes them: 64 hex digits.
pub(super) fn secret_text(env: &Env) -> secrecy::SecretString {
    let mut bytes = [0; 32];
    env.chance.fill(&mut bytes);
    hex::encode(bytes).into()
}

async fn revoke(env: &Env, ask: &RevokeToken) -> Result<(), MasterError> {
    let reason = ask.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| spell_out(reason).chars().take(MAX_LABEL_CHARS).collect::<String>());
    commit(env, async || {
        let stream = Stream::token(&ask.token);
        let end = expected(env, &stream).await?;
        let row = db::tokens::find_token(&env.db, &ask.token).await?.ok_or(MasterError::TokenNotFound)?;
        let mut batch = env.batch(&ask.by);
        if row.revoked_at.is_none() {
            let event = TokenEvent::Revoked { token_id: row.id, reason: reason.clone() };
            batch = batch.append(stream, end, vec![event]);
        }
        Ok(Decision { batch, answer: () })
    })
    .await
}

async fn delete(env: &Env, ask: &DeleteToken) -> Result<(), MasterError> {
    commit(env, async || {
        let stream = Stream::token(&ask.token);
        let end = expected(env, &stream).await?;
        let row = db::tokens::find_token(&env.db, &ask.token).await?.ok_or(MasterError::TokenNotFound)?;
        let event = TokenEvent::Deleted { token_id: row.id };
        Ok(Decision { batch: env.batch(&ask.by).append(stream, end, vec![event]), answer: () })
    })
    .await
}

async fn drop_expired(env: &Env, by: &str) -> Result<usize, MasterError> {
    let now = env.now();
    let rows = db::tokens::list_tokens(&env.db, ALL).await?;
    let is_over = |row: &db::tokens::TokenRow| row.seats_used == 0 && row.state(now) == TokenState::Expired;
    let over: Vec<TokenId> = rows.into_iter().filter(is_over).map(|row| row.id).collect();
    let asked = over.len();
    for token in over {
        delete(env, &DeleteToken { token, by: by.to_owned() }).await?;
    }
    Ok(asked)
}
