//! Routes of DockFlare's admin API that have no counterpart here: each is answered with the reason and what there is instead,
//! so that a script that calls one says more than "not found".

use actix_web::dev::Payload;
use actix_web::http::{Method, StatusCode};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde_json::json;

use crate::protocol::v2::answer;
use crate::web::auth::Viewer;
use crate::web::error::ApiError;

/// Where they all are.
const ROOT: &str = "/api/v2";
/// Methods that a route has whose methods are not told apart.
const ANY: &str = "*";

/// A route: its method, its path (`{}` is any one part, `**` at the end any rest), and why there is none.
type Refused = (&'static str, &'static str, &'static str);

const DEPLOY: &str = "a key does not belong into an address, where logs keep it; the page Agents shows compose file and commands once, \
                      when it makes a key";
const SERVICE_TOKEN: &str = "Lightship makes no hole for agents in Access; make a service token at Cloudflare and set \
                             `CF_ACCESS_CLIENT_ID` and `CF_ACCESS_CLIENT_SECRET` at the agents";
const CONNECTOR: &str = "the master runs no connector of its own; each host's agent keeps its connector running, and \
                         `POST /api/v2/agents/{id}/redeploy-tunnel` replaces it";
const SIGN_IN: &str =
    "who signs in to the page is set with `lightship admin`, and there is no other way to sign in";
const IDENTITY: &str =
    "identity providers are made at Cloudflare; groups (`/api/v3/access/groups`) name them by name or id";

/// All of them.
pub const REFUSED: &[Refused] = &[
    (
        "POST",
        "/agents/{}/trigger-migration",
        "rules of a tunnel are taken over with `POST /api/v3/rules/import`, and containers come back by their labels",
    ),
    ("POST", "/agents/cf-service-token/setup", SERVICE_TOKEN),
    ("GET", "/agents/cf-service-token/status", SERVICE_TOKEN),
    ("DELETE", "/agents/cf-service-token", SERVICE_TOKEN),
    ("GET", "/agents/deploy-info/{}", DEPLOY),
    ("GET", "/agents/deploy-script/{}", DEPLOY),
    (
        "GET",
        "/debug-info",
        "it tells too much; `lightship doctor` and `lightship explain NAME` say what is wrong, and `/metrics` counts",
    ),
    (
        "POST",
        "/rules/{}/access-policy/revert-to-labels",
        "labels always count here, so there is nothing to go back from; a rule of a person is set with `PUT /api/v3/rules/manual`",
    ),
    ("POST", "/agent/start", CONNECTOR),
    ("POST", "/agent/stop", CONNECTOR),
    (ANY, "/auth/**", SIGN_IN),
    (ANY, "/idp/**", IDENTITY),
    (
        ANY,
        "/zone-policies",
        "make a group and name it in a label, or protect `*.example.com` with an application at Cloudflare and write `access.policy=default_tld`",
    ),
];

/// Answers what no route of ours is for.
pub async fn fallback(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = request.path().strip_prefix(ROOT).unwrap_or_default();
    let reason = reason(request.method(), path).ok_or(ApiError::NotFound)?;
    // As with every other route of this API, nobody is told anything before he said who he is.
    Viewer::from_request(&request, &mut Payload::None).await?;
    let mut said = answer::error(&format!("not supported: {reason}"));
    said["error"] = json!("not_supported");
    Ok(HttpResponse::build(StatusCode::NOT_IMPLEMENTED).json(said))
}

fn reason(method: &Method, path: &str) -> Option<&'static str> {
    let is_asked = |(wanted, pattern, _): &&Refused| {
        let is_method = *wanted == ANY || *wanted == method.as_str();
        is_method && matches(pattern, path)
    };
    REFUSED.iter().find(is_asked).map(|(_, _, reason)| *reason)
}

fn matches(pattern: &str, path: &str) -> bool {
    if let Some(front) = pattern.strip_suffix("/**") {
        return path == front || path.strip_prefix(front).is_some_and(|rest| rest.starts_with('/'));
    }
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("{}"), Some(part)) if !part.is_empty() => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_known_by_its_parts_and_its_method() {
        for (method, path, is_known) in [
            (Method::POST, "/agents/a-1/trigger-migration", true),
            (Method::GET, "/agents/a-1/trigger-migration", false),
            (Method::POST, "/agents//trigger-migration", false),
            (Method::DELETE, "/agents/cf-service-token", true),
            (Method::GET, "/agents/deploy-info/key", true),
            (Method::GET, "/agents/deploy-info", false),
            (Method::PUT, "/auth/providers/x/y", true),
            (Method::GET, "/auth", true),
            (Method::GET, "/authors", false),
            (Method::GET, "/zone-policies", true),
            (Method::GET, "/zone-policies/x", false),
            (Method::GET, "", false),
        ] {
            assert_eq!(reason(&method, path).is_some(), is_known, "{method} {path}");
        }
    }
}
