//! Every route with every kind of caller. The routes are those that the description of the API has, and a test beside it
//! compares that with the declaration: a route that is new fails here until it has its line.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use lightship::domain::role::Role;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::pages::{Browser, PASSWORD};
use crate::support::cloudflare::ACCOUNT;
use crate::support::master::{ADMIN, TestMaster};

/// What registries come with.
const PUSH: &str = "push-token-of-the-tests-0123456789";

/// Whom a route lets in.
#[derive(Debug, Clone, Copy)]
enum Gate {
    /// Anybody.
    Open,
    /// Agents with their own key.
    Agent,
    /// Hosts that come with a registration token in the header, or with nothing there.
    Newcomer,
    /// RedFlag agents with their access token.
    RedFlag,
    /// Them, and people as for [`Gate::Api`] with the largest role.
    RedFlagOrAdmin,
    /// People with at least this role, the admin token, and the admin socket.
    Api(Role),
    /// Registries with the token that was set for them.
    Registry,
    /// People with at least this role at a browser; others are sent to sign in.
    Page(Role),
}

use Gate::{Agent, Api, Newcomer, Open, Page, RedFlag, RedFlagOrAdmin, Registry};
use Role::{Admin, Operator, Viewer};

/// Every route with its gate, and what it answers to whoever is let in: to a body that says nothing, about an agent, a key
/// or a person that is not there.
const ROUTES: &[(&str, &str, Gate, &[u16])] = &[
    // Each request comes from another address, so it is another host.
    ("post", "/api/v2/agents/register", Agent, &[201]),
    ("get", "/api/v2/agents/{id}/commands", Agent, &[200]),
    ("post", "/api/v2/agents/{id}/events", Agent, &[400]),
    ("post", "/api/v3/agents/{id}/reports", Agent, &[409]),
    ("get", "/api/v3/agents/{id}/commands", Agent, &[409]),
    ("post", "/api/v3/agents/{id}/commands/{command_id}/ack", Agent, &[409]),
    ("post", "/api/v3/agents/{id}/commands/{command_id}/result", Agent, &[409]),
    ("post", "/api/v3/agents/{id}/images", Agent, &[409]),
    ("post", "/api/v3/agents/{id}/plans", Agent, &[409]),
    ("post", "/api/v3/agents/{id}/runs", Agent, &[409]),
    ("get", "/accounts", Agent, &[200]),
    ("put", "/accounts/{account}/cfd_tunnel/{tunnel}/configurations", Agent, &[403]),
    ("get", "/healthz", Open, &[200]),
    ("get", "/readyz", Open, &[200]),
    ("get", "/metrics", Open, &[200]),
    ("get", "/api/openapi.json", Open, &[200]),
    ("get", "/assets/{path}", Open, &[404]),
    ("get", "/login", Open, &[200, 303]),
    ("post", "/login", Open, &[403]),
    ("get", "/setup", Open, &[303]),
    ("post", "/setup", Open, &[403]),
    ("post", "/api/v2/agents/generate-key", Api(Admin), &[201]),
    ("post", "/api/v2/agents/revoke-key", Api(Admin), &[400]),
    ("delete", "/api/v2/agents/keys/revoked", Api(Admin), &[200]),
    ("post", "/api/v2/agents/keys/cleanup", Api(Admin), &[200]),
    ("delete", "/api/v2/agents/keys/{id}", Api(Admin), &[404]),
    ("get", "/api/v2/agents", Api(Viewer), &[200]),
    ("post", "/api/v2/agents/{id}/enroll", Api(Operator), &[400]),
    ("post", "/api/v2/agents/{id}/redeploy-tunnel", Api(Operator), &[404]),
    ("post", "/api/v2/agents/{id}/rename", Api(Operator), &[400]),
    ("post", "/api/v2/agents/{id}/roll-key", Api(Admin), &[404]),
    ("post", "/api/v2/agents/{id}/remove", Api(Admin), &[404]),
    ("get", "/api/v2/overview", Api(Viewer), &[200]),
    ("get", "/api/v2/services", Api(Viewer), &[200]),
    ("get", "/api/v2/ping", Api(Viewer), &[200]),
    ("get", "/api/v2/zones", Api(Viewer), &[200]),
    ("get", "/api/v2/tunnels/account", Api(Viewer), &[200]),
    ("get", "/api/v2/tunnels/{id}/dns-records", Api(Viewer), &[404]),
    ("get", "/api/v2/reconciliation-status", Api(Viewer), &[200]),
    ("post", "/api/v2/reconcile", Api(Operator), &[202]),
    ("post", "/api/v2/rules/{key}/force-delete", Api(Operator), &[404]),
    ("put", "/api/v2/rules/{key}/access-policy", Api(Operator), &[404]),
    ("post", "/api/v3/agents/{id}/revoke", Api(Admin), &[404]),
    ("post", "/api/v3/agents/{id}/limit", Api(Admin), &[400]),
    ("post", "/api/v3/agents/{id}/move", Api(Operator), &[404]),
    ("post", "/api/v3/keys/{id}/seats", Api(Admin), &[400]),
    ("get", "/api/v3/keys/digests/{sha256}", Api(Admin), &[404]),
    ("put", "/api/v3/keys/digests/{sha256}", Api(Admin), &[400]),
    ("post", "/api/v3/removed", Api(Admin), &[400]),
    ("post", "/api/v3/admins/{name}/password", Api(Admin), &[400]),
    ("get", "/api/v3/routes", Api(Viewer), &[200]),
    ("get", "/api/v3/access/groups", Api(Viewer), &[200]),
    ("get", "/api/v3/access/groups/{id}", Api(Viewer), &[404]),
    ("put", "/api/v3/access/groups/{id}", Api(Admin), &[400]),
    ("delete", "/api/v3/access/groups/{id}", Api(Admin), &[404]),
    ("get", "/api/v3/access/service-tokens", Api(Viewer), &[200]),
    ("post", "/api/v3/access/service-tokens", Api(Admin), &[400]),
    ("post", "/api/v3/access/service-tokens/{id}/rotate", Api(Admin), &[404]),
    ("delete", "/api/v3/access/service-tokens/{id}", Api(Admin), &[404]),
    ("get", "/api/v3/cloudflare/limits", Api(Admin), &[200]),
    ("get", "/api/v3/notifications/targets", Api(Viewer), &[200]),
    ("put", "/api/v3/notifications/targets/{id}", Api(Admin), &[400]),
    ("delete", "/api/v3/notifications/targets/{id}", Api(Admin), &[404]),
    ("post", "/api/v3/notifications/targets/{id}/test", Api(Operator), &[404]),
    ("get", "/api/v3/notifications/outbox", Api(Viewer), &[200]),
    ("get", "/api/v3/explain", Api(Viewer), &[400]),
    ("get", "/api/v3/doctor", Api(Admin), &[200]),
    ("post", "/api/v3/agents/{id}/approve", Api(Operator), &[404]),
    ("post", "/api/v3/agents/{id}/scan", Api(Operator), &[404]),
    ("post", "/api/v3/agents/{id}/connector-log", Api(Operator), &[404]),
    ("get", "/api/v3/agents/{id}/connector-log", Api(Viewer), &[404]),
    ("get", "/api/v3/updates", Api(Viewer), &[200]),
    ("get", "/api/v3/updates/summary", Api(Viewer), &[200]),
    ("get", "/api/v3/updates/{id}", Api(Viewer), &[404]),
    ("post", "/api/v3/updates/decisions", Api(Operator), &[400]),
    ("post", "/api/v3/plans", Api(Operator), &[400]),
    ("get", "/api/v3/plans/{request}", Api(Viewer), &[404]),
    ("post", "/api/v3/plans/{request}/approve", Api(Operator), &[400]),
    ("get", "/api/v3/approvals", Api(Viewer), &[200]),
    ("get", "/api/v3/approvals/{id}", Api(Viewer), &[404]),
    ("post", "/api/v3/approvals/{id}/second", Api(Operator), &[404]),
    ("post", "/api/v3/approvals/{id}/withdraw", Api(Operator), &[404]),
    ("get", "/api/v3/runs", Api(Viewer), &[200]),
    ("get", "/api/v3/runs/{agent}/{run}", Api(Viewer), &[404]),
    ("post", "/api/v3/runs/{agent}/{run}/cancel", Api(Operator), &[404]),
    ("get", "/api/v3/held-images", Api(Viewer), &[200]),
    ("post", "/api/v3/held-images/{digest}/let-go", Api(Operator), &[404]),
    ("get", "/api/v3/order-key", Api(Viewer), &[200]),
    ("post", "/api/v3/order-key/exchange", Api(Admin), &[200]),
    ("post", "/api/v3/registries/events", Registry, &[400]),
    ("get", "/api/v3/rules/manual", Api(Viewer), &[200]),
    ("put", "/api/v3/rules/manual", Api(Operator), &[400]),
    ("delete", "/api/v3/rules/manual/{key}", Api(Operator), &[404]),
    ("get", "/api/v3/rules/foreign", Api(Viewer), &[400]),
    ("post", "/api/v3/rules/import", Api(Operator), &[400]),
    ("post", "/api/v2/rules/manual", Api(Operator), &[400]),
    ("delete", "/api/v2/rules/manual/{key}", Api(Operator), &[404]),
    ("get", "/api/v3/registries/logins", Api(Admin), &[200]),
    ("put", "/api/v3/registries/logins/{registry}", Api(Admin), &[400]),
    ("delete", "/api/v3/registries/logins/{registry}", Api(Admin), &[404]),
    ("get", "/api/v3/adopt", Api(Viewer), &[200]),
    ("post", "/api/v3/adopt", Api(Operator), &[400]),
    ("get", "/api/v3/plan", Api(Viewer), &[200]),
    ("post", "/api/v3/apply", Api(Operator), &[400]),
    ("get", "/api/v3/events", Api(Viewer), &[200]),
    ("get", "/api/v3/events/export", Api(Viewer), &[200]),
    ("get", "/api/v3/events/{seq}", Api(Viewer), &[404]),
    ("get", "/api/v3/tree", Api(Viewer), &[200]),
    ("post", "/api/v1/agents/register", Newcomer, &[415]),
    ("post", "/api/v1/agents/renew", Open, &[415]),
    ("post", "/api/v1/auth/login", Open, &[400]),
    ("get", "/api/v1/agents/{id}/commands", RedFlag, &[200]),
    ("post", "/api/v1/agents/{id}/updates", RedFlag, &[400]),
    ("post", "/api/v1/agents/{id}/logs", RedFlag, &[400]),
    ("post", "/api/v1/agents/{id}/dependencies", RedFlag, &[400]),
    ("post", "/api/v1/agents/{id}/system-info", RedFlag, &[200]),
    ("post", "/api/v1/agents/{id}/rapid-mode", RedFlag, &[400]),
    ("get", "/api/v1/commands", RedFlag, &[200]),
    ("post", "/api/v1/updates", RedFlag, &[400]),
    ("post", "/api/v1/auth/logout", Api(Viewer), &[200]),
    ("get", "/api/v1/auth/verify", Api(Viewer), &[200]),
    ("get", "/api/v1/agents", Api(Viewer), &[200]),
    ("get", "/api/v1/agents/{id}", Api(Viewer), &[404]),
    ("get", "/api/v1/agents/{id}/updates", Api(Viewer), &[200]),
    ("post", "/api/v1/agents/{id}/scan", Api(Operator), &[404]),
    ("get", "/api/v1/agents/{id}/heartbeat", Api(Viewer), &[404]),
    ("post", "/api/v1/agents/{id}/heartbeat", Api(Operator), &[404]),
    ("post", "/api/v1/agents/{id}/update", Api(Operator), &[404]),
    ("post", "/api/v1/agents/{id}/reboot", Api(Operator), &[404]),
    ("get", "/api/v1/updates", Api(Viewer), &[200]),
    ("post", "/api/v1/updates/approve", Api(Operator), &[400]),
    ("get", "/api/v1/updates/{id}", Api(Viewer), &[404]),
    ("get", "/api/v1/updates/{id}/logs", Api(Viewer), &[404]),
    ("post", "/api/v1/updates/{id}/reject", Api(Operator), &[404]),
    ("post", "/api/v1/updates/{id}/approve", Api(Operator), &[404]),
    ("post", "/api/v1/updates/{id}/install", Api(Operator), &[404]),
    ("post", "/api/v1/updates/{id}/confirm-dependencies", Api(Operator), &[404]),
    ("get", "/api/v1/commands/active", Api(Viewer), &[200]),
    ("get", "/api/v1/commands/recent", Api(Viewer), &[200]),
    ("delete", "/api/v1/commands/failed", Api(Operator), &[200]),
    ("post", "/api/v1/commands/{id}/retry", Api(Operator), &[404]),
    ("post", "/api/v1/commands/{id}/cancel", Api(Operator), &[404]),
    ("get", "/api/v1/logs", Api(Viewer), &[200]),
    ("get", "/api/v1/logs/active", Api(Viewer), &[200]),
    ("get", "/api/v1/stats/summary", Api(Viewer), &[200]),
    ("get", "/api/v1/settings/timezone", Api(Viewer), &[200]),
    ("put", "/api/v1/settings/timezone", Api(Admin), &[400]),
    ("get", "/api/v1/settings/timezones", Api(Viewer), &[200]),
    ("get", "/api/v1/admin/registration-tokens", Api(Admin), &[200]),
    ("post", "/api/v1/admin/registration-tokens", Api(Admin), &[400]),
    ("get", "/api/v1/admin/registration-tokens/active", Api(Admin), &[200]),
    ("post", "/api/v1/admin/registration-tokens/cleanup", Api(Admin), &[200]),
    ("get", "/api/v1/admin/registration-tokens/stats", Api(Admin), &[200]),
    ("get", "/api/v1/admin/registration-tokens/validate", Api(Admin), &[404]),
    ("delete", "/api/v1/admin/registration-tokens/delete/{id}", Api(Admin), &[404]),
    ("delete", "/api/v1/admin/registration-tokens/{token}", Api(Admin), &[404]),
    ("get", "/api/v1/admin/rate-limits", Api(Admin), &[200]),
    ("put", "/api/v1/admin/rate-limits", Api(Admin), &[400]),
    ("post", "/api/v1/admin/rate-limits/reset", Api(Admin), &[200]),
    ("post", "/api/v1/admin/rate-limits/cleanup", Api(Admin), &[200]),
    ("get", "/api/v1/admin/rate-limits/stats", Api(Admin), &[200]),
    ("get", "/live", Page(Viewer), &[200]),
    ("get", "/", Page(Viewer), &[200]),
    ("get", "/agents", Page(Viewer), &[200]),
    ("get", "/agents/{id}", Page(Viewer), &[404]),
    ("get", "/agents/keys", Page(Viewer), &[404]),
    ("get", "/routes", Page(Viewer), &[200]),
    ("get", "/access", Page(Viewer), &[200]),
    ("get", "/fragments/access", Page(Viewer), &[200]),
    ("post", "/access/groups", Page(Admin), &[400]),
    ("post", "/access/groups/{id}/remove", Page(Admin), &[404]),
    ("post", "/access/tokens", Page(Admin), &[400]),
    ("post", "/access/tokens/{id}/rotate", Page(Admin), &[200]),
    ("post", "/access/tokens/{id}/revoke", Page(Admin), &[200]),
    ("get", "/notifications", Page(Viewer), &[200]),
    ("get", "/fragments/notifications", Page(Viewer), &[200]),
    ("post", "/notifications/targets", Page(Admin), &[400]),
    ("post", "/notifications/targets/{id}/test", Page(Operator), &[404]),
    ("post", "/notifications/targets/{id}/remove", Page(Admin), &[404]),
    ("get", "/routes/of", Page(Viewer), &[404]),
    ("get", "/fragments/routes/of", Page(Viewer), &[404]),
    ("get", "/system", Page(Viewer), &[200]),
    ("get", "/settings", Page(Viewer), &[200]),
    ("get", "/activity", Page(Viewer), &[200]),
    ("get", "/fragments/activity", Page(Viewer), &[200]),
    ("get", "/activity/of", Page(Viewer), &[404]),
    ("get", "/search", Page(Viewer), &[200]),
    ("get", "/cloudflare", Page(Viewer), &[200]),
    ("get", "/fragments/cloudflare", Page(Viewer), &[200]),
    ("get", "/api/docs", Page(Viewer), &[200]),
    ("get", "/routes/adopt", Page(Viewer), &[200]),
    ("post", "/routes/adopt", Page(Operator), &[200]),
    ("get", "/routes/rule", Page(Viewer), &[200]),
    ("post", "/routes/rule", Page(Operator), &[400]),
    ("post", "/routes/rule/{key}/remove", Page(Operator), &[200]),
    ("post", "/registries/logins", Page(Admin), &[400]),
    ("post", "/registries/logins/{registry}/remove", Page(Admin), &[200]),
    ("get", "/fragments/registries", Page(Viewer), &[200]),
    ("get", "/fragments/overview", Page(Viewer), &[200]),
    ("get", "/fragments/agents", Page(Viewer), &[200]),
    ("get", "/fragments/keys", Page(Viewer), &[200]),
    ("get", "/fragments/agents/{id}", Page(Viewer), &[404]),
    ("get", "/fragments/routes", Page(Viewer), &[200]),
    ("get", "/updates", Page(Viewer), &[200]),
    ("get", "/fragments/updates", Page(Viewer), &[200]),
    ("get", "/updates/of", Page(Viewer), &[404]),
    ("get", "/fragments/updates/of", Page(Viewer), &[404]),
    ("post", "/updates/decide", Page(Operator), &[200, 400]),
    ("post", "/agents/{id}/approve", Page(Operator), &[404]),
    ("post", "/agents/{id}/scan", Page(Operator), &[404]),
    ("post", "/agents/{id}/connector-log", Page(Operator), &[404]),
    ("post", "/agents/{id}/plan", Page(Operator), &[400]),
    ("post", "/updates/plan", Page(Operator), &[200]),
    ("get", "/plans/{request}", Page(Viewer), &[404]),
    ("get", "/fragments/plans/{request}", Page(Viewer), &[404]),
    ("post", "/plans/{request}/approve", Page(Operator), &[400]),
    ("post", "/plans/{request}/let-go", Page(Operator), &[400]),
    ("post", "/approvals/{id}/second", Page(Operator), &[404]),
    ("post", "/approvals/{id}/withdraw", Page(Operator), &[404]),
    ("get", "/runs", Page(Viewer), &[200]),
    ("get", "/fragments/runs", Page(Viewer), &[200]),
    ("get", "/runs/{agent}/{run}", Page(Viewer), &[404]),
    ("get", "/fragments/runs/{agent}/{run}", Page(Viewer), &[404]),
    ("post", "/runs/{agent}/{run}/undo", Page(Operator), &[404]),
    ("post", "/runs/{agent}/{run}/cancel", Page(Operator), &[404]),
    ("get", "/fragments/system", Page(Viewer), &[200]),
    ("post", "/agents/keys", Page(Admin), &[200]),
    ("post", "/agents/keys/{id}/revoke", Page(Admin), &[200]),
    ("post", "/agents/keys/{id}/delete", Page(Admin), &[404]),
    ("post", "/tokens", Page(Admin), &[400]),
    ("post", "/tokens/{id}/revoke", Page(Admin), &[200]),
    ("post", "/tokens/{id}/delete", Page(Admin), &[404]),
    ("post", "/agents/{id}/enroll", Page(Operator), &[400]),
    ("post", "/agents/{id}/move", Page(Operator), &[200]),
    ("post", "/agents/{id}/rename", Page(Operator), &[400]),
    ("post", "/agents/{id}/limit", Page(Admin), &[400]),
    ("post", "/agents/{id}/seat", Page(Admin), &[404]),
    ("post", "/agents/{id}/redeploy", Page(Operator), &[200]),
    ("post", "/agents/{id}/roll-key", Page(Admin), &[404]),
    ("post", "/agents/{id}/revoke", Page(Admin), &[200]),
    ("post", "/agents/{id}/remove", Page(Admin), &[200]),
    ("post", "/routes/apply", Page(Operator), &[200]),
    ("post", "/settings/check-token", Page(Admin), &[303]),
    ("post", "/settings/token", Page(Admin), &[400]),
    // Nearly last: it takes the RedFlag agent off the list.
    ("delete", "/api/v1/agents/{id}", RedFlagOrAdmin, &[200, 404]),
    // Last: it ends the session of the caller.
    ("post", "/logout", Page(Viewer), &[303]),
];

/// What an answer says of the caller.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    LetIn,
    /// 401.
    NotKnown,
    /// 403, because of the role.
    RoleTooSmall,
    /// Sent to sign in.
    HasToSignIn,
}

/// What a caller comes with.
enum Comes {
    WithNothing,
    WithToken(String),
    WithKey { key: String, agent: String },
    FromTheSocket,
    WithBrowser { cookies: String, csrf: String, role: Role },
    WithAccessOfAgent { token: String, agent: String },
    WithAccessOfPerson { token: String, role: Role },
}

/// A caller, and which keys of agents are good.
struct Caller {
    name: &'static str,
    comes: Comes,
    is_agent: bool,
    is_trusted: bool,
    is_registry: bool,
}

impl Caller {
    fn new(name: &'static str, comes: Comes) -> Self {
        Self { name, comes, is_agent: false, is_trusted: false, is_registry: false }
    }

    /// What every route has to say to it, by its gate alone.
    fn expected(&self, gate: Gate) -> Verdict {
        let role = match &self.comes {
            Comes::WithBrowser { role, .. } | Comes::WithAccessOfPerson { role, .. } => Some(*role),
            _ => None,
        };
        let is_redflag = matches!(self.comes, Comes::WithAccessOfAgent { .. });
        let has_token = matches!(self.comes, Comes::WithAccessOfPerson { .. });
        match (gate, role) {
            (RedFlag | RedFlagOrAdmin, _) if is_redflag => Verdict::LetIn,
            (RedFlag, _) => Verdict::NotKnown,
            (RedFlagOrAdmin, _) => self.expected(Api(Admin)),
            // Pages look at the cookie alone.
            (Page(_), _) if has_token => Verdict::HasToSignIn,
            (Open, _) => Verdict::LetIn,
            (Newcomer, _) if self.has_nothing_in_the_header() => Verdict::LetIn,
            (Registry, _) if self.is_registry => Verdict::LetIn,
            (Registry, _) => Verdict::NotKnown,
            (Agent, _) if self.is_agent => Verdict::LetIn,
            (Api(_), None) if self.is_trusted => Verdict::LetIn,
            (Api(needed) | Page(needed), Some(role)) if role >= needed => Verdict::LetIn,
            (Api(_) | Page(_), Some(_)) => Verdict::RoleTooSmall,
            (Page(_), None) => Verdict::HasToSignIn,
            (Agent | Newcomer | Api(_), _) => Verdict::NotKnown,
        }
    }

    fn has_nothing_in_the_header(&self) -> bool {
        matches!(self.comes, Comes::WithNothing | Comes::FromTheSocket | Comes::WithBrowser { .. })
    }
}

/// Every kind of caller.
async fn callers(master: &TestMaster) -> Vec<Caller> {
    let (pending, enrolled, removed) =
        (master.new_agent("web-1").await, master.new_agent("web-2").await, master.new_agent("web-3").await);
    master.enroll(&enrolled.1, "edge-1").await;
    master.admin_post(&format!("/api/v2/agents/{}/remove", removed.1), json!({})).expect(200).await;
    let agent = |name, (key, agent): (String, String), is_good| Caller {
        is_agent: is_good,
        ..Caller::new(name, Comes::WithKey { key, agent })
    };
    let mut all = vec![
        Caller::new("nobody", Comes::WithNothing),
        Caller::new("a wrong key", Comes::WithToken("wrong".into())),
        agent("the key of a pending agent", pending, true),
        agent("the key of an enrolled agent", enrolled, true),
        agent("the key of a removed agent", removed, false),
        Caller { is_trusted: true, ..Caller::new("the admin token", Comes::WithToken(ADMIN.into())) },
        Caller { is_trusted: true, ..Caller::new("the admin socket", Comes::FromTheSocket) },
        Caller { is_registry: true, ..Caller::new("a registry", Comes::WithToken(PUSH.into())) },
    ];
    let (token, agent) = master.new_redflag_agent("web-4").await;
    all.push(Caller::new("a RedFlag agent", Comes::WithAccessOfAgent { token, agent }));
    for role in [Viewer, Operator, Admin] {
        let browser = Browser::with_role(master, role).await;
        let (csrf, cookies) = (browser.csrf().await, browser.cookie_header());
        all.push(Caller::new(role.as_str(), Comes::WithBrowser { cookies, csrf, role }));
        let token = master.log_in(role.as_str(), PASSWORD).await;
        all.push(Caller::new("with an access token", Comes::WithAccessOfPerson { token, role }));
    }
    all
}

/// A path about the caller itself if it is an agent, and else about nobody.
fn filled(path: &str, caller: &Caller) -> String {
    let id = match &caller.comes {
        Comes::WithKey { agent, .. } | Comes::WithAccessOfAgent { agent, .. } => agent.as_str(),
        _ => "not-there",
    };
    let path = path.replace("{id}", id).replace("{account}", ACCOUNT);
    let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// A request of `caller`, each from another address, so that wrong keys are not counted together.
fn request(master: &TestMaster, caller: &Caller, method: &Method, path: &str, gate: Gate) -> RequestBuilder {
    static ASKED: AtomicU16 = AtomicU16::new(0);
    let [high, low] = ASKED.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let local = matches!(caller.comes, Comes::FromTheSocket).then(|| master.local_client());
    let http = local.as_ref().unwrap_or(&master.http);
    let mut request = http.request(method.clone(), master.url(&filled(path, caller)));
    request = request.header("x-forwarded-for", format!("10.0.{high}.{low}"));
    let mut form = String::new();
    match &caller.comes {
        Comes::WithNothing | Comes::FromTheSocket => {}
        Comes::WithToken(token)
        | Comes::WithKey { key: token, .. }
        | Comes::WithAccessOfAgent { token, .. }
        | Comes::WithAccessOfPerson { token, .. } => request = request.bearer_auth(token),
        Comes::WithBrowser { cookies, csrf, .. } => {
            request = request.header("cookie", cookies).header("x-csrf-token", csrf);
            form = format!("csrf={csrf}");
        }
    }
    let of_form = |request: RequestBuilder| request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    match (method, gate) {
        (&Method::GET | &Method::HEAD, _) => request,
        (_, Open | Newcomer) => of_form(request).body("csrf=wrong"),
        (_, Page(_)) => of_form(request).body(form),
        (_, Agent | RedFlag | RedFlagOrAdmin | Registry | Api(_)) => request.json(&json!({})),
    }
}

/// Sends it; reads no more of the answer than it has to, because some of them never end.
async fn verdict(request: RequestBuilder, method: &Method, gate: Gate) -> (u16, Verdict) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let to = answer.headers().get(LOCATION).map_or("", |to| to.to_str().unwrap()).to_owned();
    let verdict = match status {
        303 if to.starts_with("/login?next=") => Verdict::HasToSignIn,
        401 => Verdict::NotKnown,
        403 if *method != Method::HEAD => {
            let says = answer.text().await.unwrap().to_lowercase();
            if says.contains("this needs the role") { Verdict::RoleTooSmall } else { Verdict::LetIn }
        }
        403 if matches!(gate, Api(_) | Page(_)) => Verdict::RoleTooSmall,
        _ => Verdict::LetIn,
    };
    (status, verdict)
}

#[actix_web::test]
async fn every_route_lets_in_whom_it_is_for_and_nobody_else() {
    let master = TestMaster::build(true, |settings| {
        settings.trusted_proxies = vec![IpAddr::from([127, 0, 0, 1])];
        settings.push_token = Some(PUSH.to_owned().into());
    })
    .await;
    let described = master.get("/api/openapi.json").expect(200).await.json();
    let mut left = BTreeSet::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        left.extend(methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())));
    }
    let callers = callers(&master).await;
    let mut wrong = Vec::new();
    for (method, path, gate, answers) in ROUTES {
        if !left.remove(&((*method).to_owned(), (*path).to_owned())) {
            wrong.push(format!("{method} {path} is not declared, or stands here twice"));
        }
        for caller in &callers {
            // What looks without taking has the same gate.
            let and_head = (*method == "get").then_some(Method::HEAD);
            let own = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for method in and_head.into_iter().chain([own]) {
                let expected = caller.expected(*gate);
                let asking = request(&master, caller, &method, path, *gate);
                let (status, verdict) = verdict(asking, &method, *gate).await;
                let is_other = method != Method::HEAD && !answers.contains(&status);
                if verdict != expected || (verdict == Verdict::LetIn && is_other) {
                    let who = caller.name;
                    wrong.push(format!(
                        "{method} {path} for {who}: {status} {verdict:?}, not {expected:?} {answers:?}"
                    ));
                }
            }
        }
    }
    wrong.extend(left.iter().map(|(method, path)| format!("{method} {path} has no line in this table")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    master.stop().await;
}

#[actix_web::test]
async fn the_first_credential_counts_and_a_refused_one_does_not_fall_back_on_the_next() {
    // given
    let master = TestMaster::start().await;
    let (key, _) = master.new_agent("web-1").await;
    let browser = Browser::with_role(&master, Viewer).await;
    let ask = async |token: Option<&str>, cookies: &str, http: &reqwest::Client| {
        let mut request = http.get(master.url("/api/v2/ping")).header("cookie", cookies);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let (cookies, local) = (browser.cookie_header(), master.local_client());
    for (token, cookies, http, expected) in [
        // An agent's key opens nothing of what people use, wherever it comes from and whoever else is there.
        (Some(key.as_str()), cookies.as_str(), &master.http, 401),
        (Some(&key), "", &local, 401),
        (Some("wrong"), &cookies, &master.http, 401),
        (Some("wrong"), "", &local, 401),
        (Some(ADMIN), "", &local, 200),
        (Some(ADMIN), "lightship_session=made-up", &master.http, 200),
        (None, "lightship_session=made-up", &local, 200),
        (None, &cookies, &master.http, 200),
        (None, "lightship_session=made-up", &master.http, 401),
    ] {
        assert_eq!(ask(token, cookies, http).await, expected, "{token:?} with {cookies:?}");
    }
    // A proxy before the pages may use the header for itself.
    for header in ["Basic abc", "Bearer of-a-proxy", &format!("Bearer {key}")] {
        let page = master.get("/agents").header("cookie", &cookies).header("authorization", header);
        page.expect(200).await;
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_refusal_names_the_role_that_would_do() {
    let master = TestMaster::start().await;
    let browser = Browser::with_role(&master, Viewer).await;
    let csrf = browser.csrf().await;
    let asking = master.post("/api/v3/apply").header("cookie", &browser.cookie_header());
    let refused: Value = asking.header("x-csrf-token", &csrf).json(json!({})).expect(403).await.json();
    assert_eq!(
        (&refused["code"], &refused["error"]),
        (&json!("forbidden"), &json!("this needs the role `operator`"))
    );
    master.stop().await;
}
