//! `GET /api/v3/doctor`: what the master needs of others, looked at now.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::actors::master::MasterError;
use crate::db::read::{asks_owner, asks_protection};
use crate::domain::account_limits::LimitUse;
use crate::domain::doctor::token::Facts;
use crate::domain::doctor::{Check, Family, worst};
use crate::web::auth::Admin;
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::state::WebState;
use crate::web::token_check::Looked;

/// `GET /api/v3/doctor`: looks at the token for Cloudflare and its rights, by harmless reads.
#[utoipa::path(get, path = "/api/v3/doctor", tag = "system",
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 503)),
    security(("admin_token" = [])))]
pub async fn look(
    _: Admin,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let looked = look_now(&state).await?;
    let family = Family::new("Cloudflare", looked.checks);
    let verdict = worst(&family.checks);
    Ok(HttpResponse::Ok().json(json!({ "at": looked.at, "verdict": verdict, "families": [family] })))
}

/// Looks now; nothing is written at Cloudflare. Who asks while somebody looks waits for that, and looks again.
pub async fn look_now(state: &WebState) -> Result<Looked, ApiError> {
    let check = state.token_check();
    let _turn = check.turn.lock().await;
    let master = state.master();
    let checks = match master.look_at_token().await {
        Ok(facts) => {
            let mut checks = judge(state, facts).await?;
            checks.extend(master.account_limits().await?.iter().map(LimitUse::judge));
            checks
        }
        Err(MasterError::NoCloudflareToken) => vec![Check::not_checked(
            "API token",
            "none is set: routes are planned, and not published",
            "give one on the page Settings, or set CF_API_TOKEN and CF_ACCOUNT_ID and start the master again",
        )],
        Err(error) => return Err(error.into()),
    };
    let looked = Looked { at: master.clock.now(), checks };
    check.keep(looked.clone());
    Ok(looked)
}

/// Judges what was found of the token, and keeps how that came out.
pub async fn keep_look(state: &WebState, facts: Facts) -> Result<Looked, ApiError> {
    let looked = Looked { at: state.master().clock.now(), checks: judge(state, facts).await? };
    state.token_check().keep(looked.clone());
    Ok(looked)
}

async fn judge(state: &WebState, mut facts: Facts) -> Result<Vec<Check>, ApiError> {
    let master = state.master();
    facts.asks_protection = Some(asks_protection(&master.db).await.map_err(ApiError::internal)?);
    let asks_owner = asks_owner(&master.db).await.map_err(ApiError::internal)?;
    facts.asks_owner = Some(asks_owner && !master.has_owner_by_setting());
    Ok(facts.judge(master.clock.now()))
}
