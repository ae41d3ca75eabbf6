//! A rule that a person makes: the form for it, and the question before it is removed.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use utoipa::IntoParams;

use super::confirm::{Confirmation, REMOVE_RULE};
use super::posted::{Posted, Refusal};
use super::{Allowed, Shell, SignedIn, go_to, page_with};
use crate::actors::master::{MasterError, RuleOrder, RulePlace};
use crate::db::read::{self, ManualRuleRow};
use crate::domain::access::AccessAsk;
use crate::domain::id::GroupId;
use crate::domain::manual_rule::RuleDraft;
use crate::domain::origin_option::{OPTIONS, OriginOption};
use crate::domain::route::{OriginRequest, RouteKey};
use crate::web::auth::Operator;
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::rules::{place_of, read_key};
use crate::web::state::WebState;

/// Where routes are.
const PLACE: &str = "/routes";

#[derive(Template)]
#[template(path = "rule.html")]
struct RulePage {
    shell: Shell,
    form: RuleForm,
    /// True if it is there already.
    is_there: bool,
    /// Where it is removed.
    remove: String,
    /// True if it has rules of its own for Access, which no field shows.
    has_own_access: bool,
    options: Vec<OptionField>,
}

/// An option of the connector, as a field.
struct OptionField {
    label: &'static str,
    value: String,
}

/// What a person wrote.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RuleForm {
    hostname: String,
    path: String,
    service: String,
    tunnel: String,
    make_tunnel: Option<String>,
    take_over: Option<String>,
    zone_name: String,
    groups: String,
    #[serde(flatten)]
    options: BTreeMap<String, String>,
}

/// Which rule.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct RuleQuery {
    /// Its hostname and path, with a `|` between them; a new one if it is left out.
    key: String,
}

impl RuleForm {
    fn of(row: &ManualRuleRow, tunnel: String) -> Self {
        let spec = &row.rule.spec;
        let groups = match &spec.access {
            AccessAsk::Groups { groups } => groups.iter().map(GroupId::as_str).collect::<Vec<_>>().join(", "),
            _ => String::new(),
        };
        let options = OPTIONS
            .iter()
            .filter_map(|option| Some((field_name(option), option.text(&spec.origin_request)?)));
        Self {
            hostname: spec.key.hostname.clone(),
            path: spec.key.path.clone(),
            service: spec.service.clone(),
            zone_name: spec.zone_name.clone().unwrap_or_default(),
            options: options.collect(),
            tunnel,
            groups,
            ..Self::default()
        }
    }

    /// Returns what the person orders; `before` is the rule that is there.
    fn order(&self, before: Option<&ManualRuleRow>) -> Result<RuleOrder, MasterError> {
        let (mut origin_request, mut bad) = (OriginRequest::default(), Vec::new());
        for option in &OPTIONS {
            let text = self.options.get(&field_name(option)).map(|text| text.trim()).unwrap_or_default();
            if !text.is_empty()
                && let Err(reason) = option.take(text, &mut origin_request)
            {
                bad.push(format!("`{}`: {reason}", option.label));
            }
        }
        if !bad.is_empty() {
            return Err(MasterError::Invalid(bad.join("; ")));
        }
        let groups: Vec<&str> = self.groups.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
        let access = match (groups.is_empty(), before.map(|row| &row.rule.spec.access)) {
            (false, _) => AccessAsk::Groups { groups: groups.into_iter().map(GroupId::new).collect() },
            (true, Some(AccessAsk::Groups { .. }) | None) => AccessAsk::Nothing,
            // What no field shows stays.
            (true, Some(other)) => other.clone(),
        };
        Ok(RuleOrder {
            draft: RuleDraft {
                hostname: self.hostname.clone(),
                path: self.path.clone(),
                service: self.service.clone(),
                zone_name: Some(self.zone_name.clone()),
                origin_request,
                access,
            },
            place: Some(RulePlace::Tunnel(self.tunnel.clone())),
            make_tunnel: self.make_tunnel.is_some(),
            take_over: self.take_over.is_some(),
        })
    }
}

/// `GET /routes/rule`: the form for a new rule, or for one that is there.
#[utoipa::path(get, path = "/routes/rule", tag = "pages", params(RuleQuery),
    responses((status = 200), (status = 303), (status = 404)), security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(query): Query<RuleQuery>,
) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, PLACE);
    if query.key.is_empty() {
        return render(StatusCode::OK, shell, RuleForm::default(), None);
    }
    let row = find(&state, &read_key(&query.key)).await?.ok_or(MasterError::RuleNotFound)?;
    let tunnel =
        read::find_tunnel(&state.master().db, &row.rule.tunnel_id).await.map_err(ApiError::internal)?;
    let tunnel = tunnel.map_or_else(|| row.rule.tunnel_id.to_string(), |tunnel| tunnel.name);
    render(StatusCode::OK, shell, RuleForm::of(&row, tunnel), Some(&row))
}

/// `POST /routes/rule`: makes the rule, or changes it.
#[utoipa::path(post, path = "/routes/rule", tag = "pages",
    responses((status = 303), (status = 400), (status = 403), (status = 409), (status = 502)),
    security(("session" = [])))]
pub async fn set(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    form: Posted<RuleForm>,
) -> Result<HttpResponse, ApiError> {
    let form = form.0;
    let before = find(&state, &read_key(&format!("{}|{}", form.hostname, form.path))).await?;
    let set = match form.order(before.as_ref()) {
        Ok(order) => state.master().set_rule(order, &person.name).await.map(drop),
        Err(error) => Err(error),
    };
    match set {
        Ok(()) => Ok(go_to(PLACE)),
        Err(MasterError::TunnelNotFound(name)) => {
            let (_, shell) =
                Refusal::of(MasterError::Invalid(MasterError::TunnelNotFound(name).to_string()))?
                    .shell(&person, PLACE);
            render(StatusCode::BAD_REQUEST, shell, form, before.as_ref())
        }
        Err(error) => {
            let (status, shell) = Refusal::of(error)?.shell(&person, PLACE);
            render(status, shell, form, before.as_ref())
        }
    }
}

/// `POST /routes/rule/{key}/remove`: removes it, once that was confirmed.
#[utoipa::path(post, path = "/routes/rule/{key}/remove", tag = "pages", params(("key" = String, Path)),
    responses((status = 200), (status = 303), (status = 403), (status = 404)), security(("session" = [])))]
pub async fn remove(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    key: web::Path<String>,
    form: Posted<Confirmation>,
) -> Result<HttpResponse, ApiError> {
    let key = read_key(&key);
    if !form.0.is_given() {
        return REMOVE_RULE.ask(&person, &place_of(&key), PLACE);
    }
    state.master().remove_rule(&key, &person.name).await?;
    Ok(go_to(PLACE))
}

async fn find(state: &WebState, key: &RouteKey) -> Result<Option<ManualRuleRow>, ApiError> {
    read::find_rule(&state.master().db, key).await.map_err(ApiError::internal)
}

fn render(
    status: StatusCode,
    shell: Shell,
    form: RuleForm,
    row: Option<&ManualRuleRow>,
) -> Result<HttpResponse, ApiError> {
    let options = OPTIONS.iter().map(|option| OptionField {
        label: option.label,
        value: form.options.get(&field_name(option)).cloned().unwrap_or_default(),
    });
    let access = row.map(|row| &row.rule.spec.access);
    page_with(
        status,
        &RulePage {
            options: options.collect(),
            remove: row.map(|row| format!("{}/remove", place_of(&row.rule.spec.key))).unwrap_or_default(),
            is_there: row.is_some(),
            has_own_access: access
                .is_some_and(|ask| !matches!(ask, AccessAsk::Nothing | AccessAsk::Groups { .. })),
            shell,
            form,
        },
    )
}

fn field_name(option: &OriginOption) -> String {
    format!("option.{}", option.label)
}
