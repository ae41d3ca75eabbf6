//! DockFlare's ways to change what is there: what protects a rule, and removing one at once. They concern rules of people: what
//! a container asks for stands in its labels.

use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::rules::Refusal;
use crate::actors::master::{RuleOrder, RulePlace};
use crate::db::read::{self, ManualRuleRow};
use crate::domain::access::{AccessAsk, AppOptions, Decision, PUBLIC_BYPASS, PolicySpec, Selector};
use crate::domain::id::GroupId;
use crate::domain::manual_rule::RuleDraft;
use crate::protocol::v2::answer;
use crate::web::auth::Operator;
use crate::web::body::Lenient;
use crate::web::error::ApiError;
use crate::web::rules::{key_text, read_key};
use crate::web::state::WebState;

/// Why a route of a container is not changed.
const OF_LABELS: &str = "it is no rule that a person made; what a container asks for stands in its labels, so change those (`access.*`), \
                         or take its labels off or stop it to remove it";

/// What is to protect a rule, in DockFlare's words.
#[derive(Deserialize, ToSchema)]
pub struct LegacyAccessBody {
    access_policy_type: Option<String>,
    auth_email: Option<String>,
    session_duration: Option<String>,
    app_launcher_visible: Option<bool>,
    allowed_idps_str: Option<String>,
    auto_redirect: Option<bool>,
}

/// `PUT /api/v2/rules/{key}/access-policy`: DockFlare's way to say what protects a rule of a person.
#[utoipa::path(put, path = "/api/v2/rules/{key}/access-policy", tag = "routes", params(("key" = String, Path)),
    request_body = LegacyAccessBody,
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn set_access(
    operator: Operator,
    state: web::Data<WebState>,
    key: web::Path<String>,
    body: Lenient<LegacyAccessBody>,
) -> Result<HttpResponse, ApiError> {
    let row = match find(&state, &key).await? {
        Ok(row) => row,
        Err(refusal) => return Ok(refusal.answer()),
    };
    let access = match access(body.0) {
        Ok(access) => access,
        Err(reason) => return Ok(Refusal::new(400, "validation_failed", reason).answer()),
    };
    let spec = row.rule.spec;
    let order = RuleOrder {
        draft: RuleDraft {
            hostname: spec.key.hostname,
            path: spec.key.path,
            service: spec.service,
            zone_name: spec.zone_name,
            origin_request: spec.origin_request,
            access,
        },
        place: Some(RulePlace::Tunnel(row.rule.tunnel_id.as_str().to_owned())),
        make_tunnel: false,
        take_over: false,
    };
    match state.master().set_rule(order, &operator.name).await {
        Ok(set) => {
            let mut said = answer::success("The rule is changed; what protects it follows within seconds.");
            said["rule_key"] = json!(key_text(&set.spec.key));
            Ok(HttpResponse::Ok().json(said))
        }
        Err(error) => Ok(Refusal::of(&error).answer()),
    }
}

/// `POST /api/v2/rules/{key}/force-delete`: DockFlare's way to remove a rule at once. What it published goes within seconds.
#[utoipa::path(post, path = "/api/v2/rules/{key}/force-delete", tag = "routes", params(("key" = String, Path)),
    responses((status = 200), (status = 401), (status = 403), (status = 404), (status = 409)),
    security(("admin_token" = [])))]
pub async fn force_delete(
    operator: Operator,
    state: web::Data<WebState>,
    key: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    if let Err(refusal) = find(&state, &key).await? {
        return Ok(refusal.answer());
    }
    match state.master().remove_rule(&read_key(&key), &operator.name).await {
        Ok(()) => {
            let mut said = answer::success("The rule is removed; what it published goes within seconds.");
            // Nothing of it is deleted here and now, and nobody waits for it.
            said["details"] =
                json!({ "dns_deleted": null, "access_app_deleted": null, "config_updated": null });
            Ok(HttpResponse::Ok().json(said))
        }
        Err(error) => Ok(Refusal::of(&error).answer()),
    }
}

/// Finds a rule of a person, or says that it is a container's, or nobody's.
async fn find(state: &WebState, key: &str) -> Result<Result<ManualRuleRow, Refusal>, ApiError> {
    let (db, key) = (&state.master().db, read_key(key));
    if let Some(row) = read::find_rule(db, &key).await.map_err(ApiError::internal)? {
        return Ok(Ok(row));
    }
    let route = read::find_route(db, &key).await.map_err(ApiError::internal)?;
    Ok(Err(match route {
        Some(_) => Refusal::new(409, "labels_decide", OF_LABELS.into()),
        None => Refusal::new(404, "rule_not_found", "there is no rule of this hostname and path".into()),
    }))
}

/// What DockFlare's word asks for.
fn access(body: LegacyAccessBody) -> Result<AccessAsk, String> {
    let kind = body.access_policy_type.as_deref().map(str::trim);
    Ok(match kind {
        Some("none" | "public_no_policy") => AccessAsk::Nothing,
        Some("default_tld") => AccessAsk::Inherit,
        Some("bypass") => AccessAsk::Groups { groups: vec![GroupId::new(PUBLIC_BYPASS)] },
        Some("authenticate_email") => {
            let email = body.auth_email.as_deref().map(str::trim).filter(|email| !email.is_empty());
            let include = vec![Selector::Email(email.ok_or("`auth_email` is missing")?.to_owned())];
            let (require, exclude) = (Vec::new(), Vec::new());
            let policy = PolicySpec { name: None, decision: Decision::Allow, include, require, exclude };
            policy.check()?;
            let idps = body.allowed_idps_str.as_deref().unwrap_or_default().split(',');
            let options = AppOptions {
                session_duration: body
                    .session_duration
                    .unwrap_or_else(|| AppOptions::default().session_duration),
                app_launcher_visible: body.app_launcher_visible.unwrap_or_default(),
                allowed_idps: idps.map(str::trim).filter(|idp| !idp.is_empty()).map(str::to_owned).collect(),
                auto_redirect_to_identity: body.auto_redirect.unwrap_or_default(),
                name: None,
            };
            options.check().map_err(|wrong| wrong.join("; "))?;
            AccessAsk::Own { options, policies: vec![policy] }
        }
        _ => {
            return Err("`access_policy_type` is one of `none`, `public_no_policy`, `default_tld`, `bypass` and `authenticate_email`".into());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: serde_json::Value) -> Result<AccessAsk, String> {
        access(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn dockflares_words_mean_what_they_meant() {
        for (kind, expected) in [
            ("none", json!({"kind": "nothing"})),
            ("public_no_policy", json!({"kind": "nothing"})),
            ("default_tld", json!({"kind": "inherit"})),
            ("bypass", json!({"kind": "groups", "groups": [PUBLIC_BYPASS]})),
        ] {
            let ask = read(json!({ "access_policy_type": kind })).unwrap();
            assert_eq!(serde_json::to_value(ask).unwrap(), expected, "{kind}");
        }
        let own = read(json!({"access_policy_type": "authenticate_email", "auth_email": " a@example.com ",
            "session_duration": "8h", "allowed_idps_str": "one, two"}));
        let AccessAsk::Own { options, policies } = own.unwrap() else { panic!("its own policy") };
        assert_eq!((options.session_duration.as_str(), options.allowed_idps.len()), ("8h", 2));
        assert_eq!(policies[0].include, [Selector::Email("a@example.com".into())]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (body, words) in [
            (json!({}), "`access_policy_type` is one of"),
            (json!({"access_policy_type": "open sesame"}), "`access_policy_type` is one of"),
            (json!({"access_policy_type": "authenticate_email"}), "`auth_email` is missing"),
            (
                json!({"access_policy_type": "authenticate_email", "auth_email": "nobody"}),
                "no e-mail address",
            ),
            (
                json!({"access_policy_type": "authenticate_email", "auth_email": "a@example.com", "session_duration": "1d"}),
                "`session_duration`",
            ),
        ] {
            let said = read(body.clone()).unwrap_err();
            assert!(said.contains(words), "{body}: {said}");
        }
    }
}
