//! The token for Cloudflare that a person gave the master. It goes into table `secrets` and nowhere else.

use actix::prelude::*;
use secrecy::SecretString;

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db::RowChange;
use crate::db::settings::{CLOUDFLARE_ACCOUNT, cloudflare_token_secret};
use crate::domain::event::{AdminEvent, Stream};
use crate::domain::id::AccountId;

/// Keeps a token in the place of an earlier one.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct SetCloudflareToken {
    /// The account that it is for.
    pub account: AccountId,
    /// The token.
    pub token: SecretString,
    /// Who gave it.
    pub by: String,
}

impl Handler<SetCloudflareToken> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: SetCloudflareToken, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { set(&env, &ask).await })
    }
}

async fn set(env: &Env, ask: &SetCloudflareToken) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::admin()).await?;
        let put = RowChange::PutSecret {
            id: cloudflare_token_secret(),
            purpose: "Cloudflare token".into(),
            plain: ask.token.clone(),
        };
        let value = ask.account.as_str().into();
        let event = AdminEvent::SettingChanged { key: CLOUDFLARE_ACCOUNT.into(), value };
        let batch = env.batch(&ask.by).append(Stream::admin(), end, vec![event]).row(put);
        Ok(Decision { batch, answer: () })
    })
    .await
}
