//! What others made at Cloudflare and what names here could have: listed, and made ours.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::domain::adopt::Meant;
use crate::domain::owned::OwnedKind;
use crate::web::auth::{Operator, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::state::WebState;

/// Most names in one order.
const MAX_NAMES: usize = 1_000;

/// What is adopted.
#[derive(Deserialize, ToSchema)]
pub struct AdoptBody {
    /// Names: hostnames, `*.example.com` for all below one, names of policies and tunnels.
    names: Option<Vec<String>>,
    /// Everything that can be, instead of names.
    #[serde(default)]
    all: bool,
    /// Only these kinds: `record`, `application`, `policy`, `tunnel`.
    kinds: Option<Vec<String>>,
    /// Has to be true.
    #[serde(default)]
    yes: bool,
}

/// `GET /api/v3/adopt`: what others made that could be made ours, read from Cloudflare now. Changes nothing.
#[utoipa::path(get, path = "/api/v3/adopt", tag = "routes",
    responses((status = 200), (status = 400), (status = 401), (status = 409, description = "no Cloudflare token"),
        (status = 502)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(json!({ "offers": state.master().offers().await? })))
}

/// `POST /api/v3/adopt`: makes ours what is named: it goes with its route from then on.
#[utoipa::path(post, path = "/api/v3/adopt", tag = "routes", request_body = AdoptBody,
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 409), (status = 502)),
    security(("admin_token" = [])))]
pub async fn adopt(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<AdoptBody>,
) -> Result<HttpResponse, ApiError> {
    let adopted = state.master().adopt(meant(body.0)?, &operator.name).await?;
    let left: Vec<Value> = adopted
        .left
        .iter()
        .map(|(offer, reason)| json!({ "kind": offer.kind, "name": offer.name, "id": offer.id, "reason": reason }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "taken": adopted.taken, "left": left })))
}

fn meant(body: AdoptBody) -> Result<Meant, ApiError> {
    let invalid = |reason: &str| Err(ApiError::Invalid(reason.to_owned()));
    if !body.yes {
        return invalid(
            "look at `GET /api/v3/adopt`, then send `\"yes\": true` with `names`, or with `\"all\": true`",
        );
    }
    let names = body.names.filter(|names| !names.is_empty());
    match &names {
        Some(_) if body.all => return invalid("send `names` or `all`, not both"),
        None if !body.all => {
            return invalid("name what is to be adopted in `names`, or send `\"all\": true`");
        }
        Some(names) if names.len() > MAX_NAMES => return invalid("`names`: at most 1000 at once"),
        _ => {}
    }
    let mut kinds = Vec::new();
    for word in body.kinds.unwrap_or_default() {
        match OwnedKind::parse(&word) {
            Some(kind) => kinds.push(kind),
            None => return invalid("`kinds`: those are `record`, `application`, `policy` and `tunnel`"),
        }
    }
    Ok(Meant { names, kinds })
}
