//! The key that orders to hosts are signed with: made once, exchanged when a person wants it. The secret half goes into table
//! `secrets` and nowhere else; the key before gives its word for the one that follows.

use actix::prelude::*;

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::EnsureOrderKey;
use crate::actors::master::orders::{new_key, signing_key};
use crate::actors::supervision::Ctx;
use crate::db::RowChange;
use crate::db::order_keys::{list_order_keys, order_key_secret};
use crate::domain::event::{AdminEvent, Stream};
use crate::domain::order::Fingerprint;

/// Puts another key in the place of the present one.
#[derive(Message)]
#[rtype(result = "Result<Fingerprint, MasterError>")]
pub struct ExchangeOrderKey {
    /// Who asks.
    pub by: String,
}

impl Handler<EnsureOrderKey> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, _: EnsureOrderKey, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(async |env| {
            let made = if list_order_keys(&env.db).await?.is_empty() { set(&env, "system").await.map(drop) } else { Ok(()) };
            if let Err(error) = &made {
                tracing::error!(%error, "there is no key to sign orders to hosts with; it is made at the next start");
            }
            made
        })
    }
}

impl Handler<ExchangeOrderKey> for Registrar {
    type Result = AtomicResponse<Self, Result<Fingerprint, MasterError>>;

    fn handle(&mut self, ask: ExchangeOrderKey, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(async move |env| set(&env, &ask.by).await)
    }
}

async fn set(env: &Env, by: &str) -> Result<Fingerprint, MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::admin()).await?;
        let before = signing_key(env).await?;
        let (key, secret) = new_key(env);
        let fingerprint = key.public().fingerprint();
        let endorsed = before.map(|before| before.endorse(&key.public()));
        let put = RowChange::PutSecret {
            id: order_key_secret(&fingerprint),
            purpose: "order key".into(),
            plain: secret,
        };
        let event = AdminEvent::OrderKeySet { key: key.public(), endorsed };
        let batch = env.batch(by).append(Stream::admin(), end, vec![event]).row(put);
        Ok(Decision { batch, answer: fingerprint })
    })
    .await
}
