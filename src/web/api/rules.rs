//! Rules that people make: ours below `/api/v3`, and DockFlare's.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::actors::master::{MasterError, RuleOrder, RulePlace, RuleSet};
use crate::domain::access::{AccessAsk, read_ask};
use crate::domain::id::{AgentId, GroupId};
use crate::domain::import::ForeignRule;
use crate::domain::manual_rule::{RuleDraft, read_origin_request, without_effect};
use crate::domain::route::{OriginRequest, RouteKey};
use crate::domain::zone::choose_zone;
use crate::protocol::body::shaped;
use crate::protocol::v2::answer;
use crate::web::auth::{Operator, Viewer};
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::listings;
use crate::web::picture::Members;
use crate::web::query::{KnownQuery, NoParameters};
use crate::web::rules::{key_text, read_key, rule_page, rule_record};
use crate::web::state::WebState;

/// A rule, as a person writes it. What is not known is refused: it might have been what keeps people out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleBody {
    /// Public name.
    hostname: Option<String>,
    /// Path; empty for all of the name; a regular expression behind a `~`.
    path: Option<String>,
    /// Where requests go, such as `http://10.0.0.5:5000`.
    service: Option<String>,
    /// The agent in whose tunnel it is to be.
    agent: Option<String>,
    /// Name or id of the tunnel that it is to be in.
    tunnel: Option<String>,
    /// Make the tunnel if there is none of that name.
    #[serde(default)]
    make_tunnel: bool,
    /// Zone of the record.
    zone_name: Option<String>,
    /// Options of the connector, by Cloudflare's names.
    #[schema(value_type = Option<Object>)]
    origin_request: Option<Value>,
    /// What protects it.
    #[schema(value_type = Option<Object>)]
    access: Option<Value>,
    /// Take the hostname from whoever has it.
    #[serde(default)]
    take_over: bool,
}

/// A rule, as DockFlare's scripts write it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LegacyRuleBody {
    hostname: Option<String>,
    service: Option<String>,
    tunnel_id: Option<String>,
    path: Option<String>,
    zone_id: Option<String>,
    access_group_ids: Option<Vec<String>>,
    access_group_id: Option<String>,
}

/// Which tunnel.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ForeignQuery {
    /// Its name or id.
    tunnel: Option<String>,
}

/// What is taken over.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportBody {
    /// Name or id of the tunnel.
    tunnel: Option<String>,
    /// Hostnames, `*.example.com` for all below one; without it all that others made.
    hostnames: Option<Vec<String>>,
    /// Has to be true.
    #[serde(default)]
    yes: bool,
}

/// `GET /api/v3/rules/manual`: the rules that people made, with where they stand.
#[utoipa::path(get, path = "/api/v3/rules/manual", tag = "routes",
    responses((status = 200), (status = 400), (status = 401)), security(("admin_token" = [])))]
pub async fn list(
    _: Viewer,
    state: web::Data<WebState>,
    _: KnownQuery<NoParameters>,
) -> Result<HttpResponse, ApiError> {
    let state = WebState::clone(&state);
    listings::json(|mut out| async move {
        let (lists, all) = (state.listings(), state.clone());
        let members = lists.make(async move { Members::read(&all).await.map(Arc::new) }).await?;
        out.text("{\"rules\":[");
        let page = |after| {
            rule_page(state.clone(), Arc::clone(&members), |to, view| to.push(&rule_record(view)), after)
        };
        lists.pages(&mut out, page).await?;
        out.text("]}");
        Ok(out)
    })
    .await
}

/// `PUT /api/v3/rules/manual`: makes a rule, or puts it in the place of the one with its hostname and path.
#[utoipa::path(put, path = "/api/v3/rules/manual", tag = "routes", request_body = RuleBody,
    responses((status = 200), (status = 201), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 409, description = "somebody else has the hostname"), (status = 502)),
    security(("admin_token" = [])))]
pub async fn set(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<RuleBody>,
) -> Result<HttpResponse, ApiError> {
    let set = state.master().set_rule(order(body.0)?, &operator.name).await?;
    Ok(answer_set(&set))
}

/// `DELETE /api/v3/rules/manual/{key}`: removes a rule; its record goes with it. `{key}` is `hostname|path`.
#[utoipa::path(delete, path = "/api/v3/rules/manual/{key}", tag = "routes", params(("key" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404)), security(("admin_token" = [])))]
pub async fn remove(
    operator: Operator,
    state: web::Data<WebState>,
    key: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    state.master().remove_rule(&read_key(&key), &operator.name).await?;
    Ok(HttpResponse::Ok().json(answer::success("The rule is removed; what it published goes with it.")))
}

/// `GET /api/v3/rules/foreign`: what others made in a tunnel, and what would become of it if it was taken over. Changes
/// nothing.
#[utoipa::path(get, path = "/api/v3/rules/foreign", tag = "routes", params(ForeignQuery),
    responses((status = 200), (status = 400), (status = 401), (status = 404), (status = 409), (status = 502)),
    security(("admin_token" = [])))]
pub async fn foreign(
    _: Viewer,
    state: web::Data<WebState>,
    KnownQuery(query): KnownQuery<ForeignQuery>,
) -> Result<HttpResponse, ApiError> {
    let tunnel = query.tunnel.unwrap_or_default();
    let (tunnel_id, preview) = state.master().preview_import(&tunnel, None).await?;
    let rules: Vec<Value> = preview.rules.iter().map(foreign_record).collect();
    Ok(HttpResponse::Ok().json(json!({
        "tunnel_id": tunnel_id, "rules": rules, "order_changes": preview.order_changes,
    })))
}

/// `POST /api/v3/rules/import`: takes over what others made in a tunnel, as rules of people.
#[utoipa::path(post, path = "/api/v3/rules/import", tag = "routes", request_body = ImportBody,
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409),
        (status = 502)), security(("admin_token" = [])))]
pub async fn import(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<ImportBody>,
) -> Result<HttpResponse, ApiError> {
    let ImportBody { tunnel, hostnames, yes } = body.0;
    if !yes {
        let way_out =
            "look at `GET /api/v3/rules/foreign`, then send `\"yes\": true` to take over what it shows";
        return Err(ApiError::Invalid(way_out.into()));
    }
    let (tunnel, names) = (tunnel.unwrap_or_default(), hostnames.as_deref());
    let imported = state.master().import_rules(&tunnel, names, &operator.name).await?;
    let taken: Vec<String> = imported.taken.iter().map(ToString::to_string).collect();
    let left: Vec<Value> = imported
        .left
        .iter()
        .map(|(hostname, why)| json!({ "hostname": hostname, "code": why.code(), "reason": why.to_string() }))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "taken": taken, "left": left })))
}

/// `POST /api/v2/rules/manual`: DockFlare's way to make a rule.
#[utoipa::path(post, path = "/api/v2/rules/manual", tag = "routes", request_body = LegacyRuleBody,
    responses((status = 200), (status = 201), (status = 400), (status = 401), (status = 403), (status = 404),
        (status = 409), (status = 503)), security(("admin_token" = [])))]
pub async fn legacy_set(
    operator: Operator,
    state: web::Data<WebState>,
    body: Lenient<Value>,
) -> Result<HttpResponse, ApiError> {
    let body = match shaped(body.0) {
        Ok(body) => body,
        Err(error) => return Ok(Refusal::new(400, "validation_failed", error.to_string()).answer()),
    };
    let order = match legacy_order(&state, body).await {
        Ok(order) => order,
        Err(refusal) => return Ok(refusal.answer()),
    };
    match state.master().set_rule(order, &operator.name).await {
        Ok(set) => Ok(answer_set(&set)),
        Err(error) => Ok(Refusal::of(&error).answer()),
    }
}

/// `DELETE /api/v2/rules/manual/{key}`: DockFlare's way to remove one.
#[utoipa::path(delete, path = "/api/v2/rules/manual/{key}", tag = "routes", params(("key" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 503)),
    security(("admin_token" = [])))]
pub async fn legacy_remove(
    operator: Operator,
    state: web::Data<WebState>,
    key: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    match state.master().remove_rule(&read_key(&key), &operator.name).await {
        Ok(()) => Ok(HttpResponse::Ok().json(answer::success("The rule is removed."))),
        Err(error) => Ok(Refusal::of(&error).answer()),
    }
}

/// What a person orders.
fn order(body: RuleBody) -> Result<RuleOrder, ApiError> {
    let invalid = |bad: Vec<String>| ApiError::Invalid(bad.join("; "));
    let origin_request = match body.origin_request.filter(|value| !value.is_null()) {
        Some(value) => read_origin_request(&value).map_err(invalid)?,
        None => OriginRequest::default(),
    };
    let access = match body.access.filter(|value| !value.is_null()) {
        Some(value) => {
            read_ask(value).map_err(|wrong| invalid(vec![format!("`access`: {}", wrong.join("; "))]))?
        }
        None => AccessAsk::Nothing,
    };
    let place = match (body.agent, body.tunnel) {
        (Some(_), Some(_)) => return Err(ApiError::Invalid("send `agent` or `tunnel`, not both".into())),
        (Some(agent), None) => Some(RulePlace::Agent(AgentId::new(agent))),
        (None, tunnel) => tunnel.map(RulePlace::Tunnel),
    };
    Ok(RuleOrder {
        draft: RuleDraft {
            hostname: body.hostname.unwrap_or_default(),
            path: body.path.unwrap_or_default(),
            service: body.service.unwrap_or_default(),
            zone_name: body.zone_name,
            origin_request,
            access,
        },
        place,
        make_tunnel: body.make_tunnel,
        take_over: body.take_over,
    })
}

async fn legacy_order(state: &WebState, body: LegacyRuleBody) -> Result<RuleOrder, Refusal> {
    let groups = body.access_group_ids.unwrap_or_default().into_iter().chain(body.access_group_id);
    let groups: Vec<String> = groups.filter(|id| !id.trim().is_empty()).collect();
    let mut draft = RuleDraft {
        hostname: body.hostname.unwrap_or_default(),
        path: body.path.unwrap_or_default(),
        service: body.service.unwrap_or_default(),
        access: match groups.is_empty() {
            true => AccessAsk::Nothing,
            false => AccessAsk::Groups { groups: groups.into_iter().map(GroupId::new).collect() },
        },
        ..RuleDraft::default()
    };
    let spec = draft.check().map_err(|bad| Refusal::new(400, "validation_failed", bad.join("; ")))?;
    let Some(tunnel) = body.tunnel_id.filter(|id| !id.trim().is_empty()) else {
        return Err(Refusal::new(400, "validation_failed", "`tunnel_id` is missing".into()));
    };
    let zones = state.master().zones().await.map_err(|error| Refusal::of(&error))?;
    if let Some(zones) = zones {
        let id = body.zone_id.filter(|id| !id.trim().is_empty());
        let named = id.as_ref().map(|id| zones.iter().find(|zone| zone.id.as_str() == id.trim()));
        if let Some(None) = named {
            return Err(Refusal::new(
                409,
                "zone_not_found",
                "`zone_id` is no active zone of this account".into(),
            ));
        }
        draft.zone_name = named.flatten().map(|zone| zone.name.clone());
        choose_zone(&spec.key.hostname, draft.zone_name.as_deref(), Some(&zones), None)
            .map_err(|problem| Refusal::new(409, "zone_not_found", problem.to_string()))?;
    }
    Ok(RuleOrder { draft, place: Some(RulePlace::Tunnel(tunnel)), make_tunnel: false, take_over: false })
}

fn answer_set(set: &RuleSet) -> HttpResponse {
    let is_new = !set.outcome.made.is_empty();
    let mut said = answer::success(match is_new {
        true => "The rule is made; it is published within seconds.",
        false => "The rule is changed; what is published follows within seconds.",
    });
    said["rule_key"] = json!(key_text(&set.spec.key));
    said["tunnel_id"] = json!(set.tunnel_id);
    said["taken_from"] = json!(set.outcome.taken_from);
    said["without_effect"] = json!(without_effect(&set.spec));
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    HttpResponse::build(status).json(said)
}

fn foreign_record(rule: &ForeignRule) -> Value {
    let key: Option<RouteKey> = rule.spec.as_ref().ok().map(|spec| spec.key.clone());
    json!({
        "rule": rule.there, "key": key.as_ref().map(key_text), "changes": rule.changes,
        "reason": rule.spec.as_ref().err(),
    })
}

/// Why it was not done, in the words that DockFlare's scripts know.
pub(super) struct Refusal {
    status: u16,
    word: &'static str,
    message: String,
    more: Value,
}

impl Refusal {
    pub(super) fn new(status: u16, word: &'static str, message: String) -> Self {
        Self { status, word, message, more: json!({}) }
    }

    pub(super) fn of(error: &MasterError) -> Self {
        let said = |status, word| Self::new(status, word, error.to_string());
        match error {
            MasterError::Invalid(_) | MasterError::TooMuch(_) => said(400, "validation_failed"),
            MasterError::TunnelNotFound(_) => said(404, "tunnel_not_found"),
            MasterError::HostnameHeld { by, .. } => {
                let more = json!({ "rule_key": key_text(&by.route), "existing_tunnel_id": by.tunnel_id });
                Self { more, ..said(409, "hostname_conflict") }
            }
            MasterError::RuleElsewhere { route, tunnel_id, .. }
            | MasterError::RecordOfOthers { route, tunnel_id, .. } => {
                let more = json!({ "rule_key": key_text(route), "existing_tunnel_id": tunnel_id });
                Self { more, ..said(409, "hostname_conflict") }
            }
            MasterError::Busy | MasterError::StorageFull | MasterError::Cloudflare(_) => {
                said(503, "system_unavailable")
            }
            error => said(error.status(), error.code()),
        }
    }

    pub(super) fn answer(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut said = answer::error(&self.message);
        said["error"] = json!(self.word);
        if let (Value::Object(said), Value::Object(more)) = (&mut said, self.more) {
            said.extend(more);
        }
        HttpResponse::build(status).json(said)
    }
}
