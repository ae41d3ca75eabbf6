//! `docs/from-dockflare.md` does not lie: each row of its tables is tried.

use std::collections::{BTreeMap, BTreeSet};

use lightship::config::{Loaded, Role, Sources};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::master::{ADMIN, TestMaster};

const PAGE: &str = include_str!("../../docs/from-dockflare.md");

/// DockFlare's admin routes; a line of the page for each.
const ROUTES: &str = "POST /agents/generate-key, POST /agents/revoke-key, DELETE /agents/keys/{key}, DELETE /agents/keys/revoked, \
    POST /agents/keys/cleanup, GET /agents, POST /agents/{id}/enroll, POST /agents/{id}/remove, \
    POST /agents/{id}/redeploy-tunnel, POST /agents/{id}/roll-key, POST /agents/{id}/rename, \
    POST /agents/{id}/trigger-migration, POST /agents/cf-service-token/setup, GET /agents/cf-service-token/status, \
    DELETE /agents/cf-service-token, GET /agents/deploy-info/{key}, GET /agents/deploy-script/{key}, GET /overview, \
    GET /services, GET /zones, GET /tunnels/account, GET /tunnels/{id}/dns-records, GET /reconciliation-status, GET /ping, \
    GET /debug-info, POST /reconcile, POST /rules/manual, DELETE /rules/manual/{key}, POST /rules/{key}/force-delete, \
    PUT /rules/{key}/access-policy, POST /rules/{key}/access-policy/revert-to-labels, POST /agent/start, POST /agent/stop, \
    GET /auth/settings, GET /auth/providers, DELETE /auth/users/{email}, GET /idp/list, POST /idp/create, GET /zone-policies";

/// DockFlare's variables; a line of the page for each.
const VARIABLES: &str = "USE_EXTERNAL_CLOUDFLARED EXTERNAL_TUNNEL_ID CLOUDFLARED_NETWORK_NAME CLOUDFLARED_CONTAINER_NAME \
    CLOUDFLARED_METRICS_PORT LABEL_PREFIX CLEANUP_INTERVAL_SECONDS AGENT_STATUS_UPDATE_INTERVAL_SECONDS STATE_FILE_PATH \
    SCAN_ALL_NETWORKS MAX_CONCURRENT_DNS_OPS RECONCILIATION_BATCH_SIZE AUTO_RESTORE_AGENT_RULES AUTO_RESTORE_COOLDOWN_SECONDS \
    AGENT_HEARTBEAT_TIMEOUT AGENT_ENROLLMENT_REQUIRED AGENT_KEY_STORAGE_PATH USE_REUSABLE_POLICIES SYNC_ALL_CLOUDFLARE_POLICIES \
    DOCKFLARE_PUBLIC_URL LOG_LEVEL REDIS_URL REDIS_DB_INDEX CACHE_ENABLED WAITRESS_HOST WAITRESS_PORT WAITRESS_THREADS \
    CF_API_TOKEN CF_ACCOUNT_ID CF_ZONE_ID DOCKFLARE_API_KEY TUNNEL_NAME GRACE_PERIOD_SECONDS TUNNEL_DNS_SCAN_ZONE_NAMES \
    DOCKFLARE_MASTER_URL AGENT_DISPLAY_NAME CLOUDFLARED_IMAGE DOCKER_HOST REPORT_INTERVAL_SECONDS CF_ACCESS_CLIENT_ID \
    CF_ACCESS_CLIENT_SECRET AGENT_API_PREFIX AGENT_COMMAND_POLL_INTERVAL DNS_RECORDS_CACHE_TIMEOUT CACHE_REFRESH_INTERVAL";

/// The rows of the table below a heading, each as its cells; code marks around a whole cell are left out.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

fn code(cell: &'static str) -> &'static str {
    cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(cell)
}

/// What the requests are about.
struct Things {
    agent: String,
    key: String,
    revoked_key: String,
    tunnel: String,
}

impl Things {
    async fn make(master: &TestMaster) -> Self {
        let (_, agent) = master.new_agent("web-1").await;
        let enrolled = master.enroll(&agent, "edge").await;
        let (_, key) = master.make_key("unused").await;
        let (revoked_key, _) = master.make_key("revoked").await;
        let body = json!({ "key_id": revoked_key });
        master.admin_post("/api/v2/agents/revoke-key", body).expect(200).await;
        let tunnel = enrolled["command"]["tunnel_id"].as_str().unwrap().to_owned();
        Self { agent, key, revoked_key, tunnel }
    }

    /// The path with these things in it, and a body that makes sense for it.
    fn request(&self, route: &str) -> (String, Value) {
        let (_, path) = route.split_once(' ').unwrap();
        let rule = |path: &str| path.replace("{key}", "nas.example.com%7C");
        match route {
            "POST /agents/revoke-key" => (path.to_owned(), json!({ "key": self.key })),
            "DELETE /agents/keys/{key}" => (path.replace("{key}", &self.revoked_key), json!({})),
            "POST /agents/{id}/enroll" => {
                (path.replace("{id}", &self.agent), json!({ "tunnel_name": "edge" }))
            }
            "POST /agents/{id}/rename" => (path.replace("{id}", &self.agent), json!({ "display_name": "w" })),
            "POST /rules/manual" => {
                let body = json!({ "hostname": "nas.example.com", "service": "http://10.0.0.5:5000", "tunnel_id": self.tunnel });
                (path.to_owned(), body)
            }
            "PUT /rules/{key}/access-policy" => (rule(path), json!({ "access_policy_type": "none" })),
            _ if path.starts_with("/rules/") => (rule(path), json!({})),
            _ if path.starts_with("/tunnels/{id}") => (path.replace("{id}", &self.tunnel), json!({})),
            _ => (
                path.replace("{id}", &self.agent).replace("{key}", "x").replace("{email}", "a@example.com"),
                json!({}),
            ),
        }
    }
}

async fn ask(master: &TestMaster, things: &Things, route: &str) -> Answer {
    let (path, body) = things.request(route);
    let method: Method = route.split(' ').next().unwrap().parse().unwrap();
    let asking = master.ask(method.clone(), &format!("/api/v2{path}")).key(ADMIN);
    if [Method::GET, Method::DELETE].contains(&method) {
        asking.send().await
    } else {
        asking.json(body).send().await
    }
}

#[actix_web::test]
async fn every_route_of_dockflares_admin_api_does_what_the_page_says() {
    let rows = table("Admin API");
    let named: Vec<String> = rows.iter().map(|row| format!("{} {}", row[0], code(row[1]))).collect();
    let known: BTreeSet<&str> = ROUTES.split(", ").map(str::trim).collect();
    assert_eq!(named.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    assert_eq!(named.len(), known.len(), "each once");

    let master = TestMaster::start().await;
    let things = Things::make(&master).await;
    // The agent goes last, and a rule is there for what is done with one.
    let (last, first): (Vec<usize>, Vec<usize>) =
        (0..rows.len()).partition(|at| named[*at].ends_with("/remove"));
    for at in first.into_iter().chain(last) {
        let (route, verdict, reason) = (&named[at], rows[at][2], rows[at][3]);
        if route == "DELETE /rules/manual/{key}" {
            ask(&master, &things, "POST /rules/manual").await;
        }
        let answer = ask(&master, &things, route).await;
        match verdict {
            "works" => {
                assert!((200..300).contains(&answer.status), "{route}: {} {}", answer.status, answer.text)
            }
            "refused" => {
                assert_eq!(
                    (answer.status, &answer.json()["error"]),
                    (501, &json!("not_supported")),
                    "{route}"
                );
                assert_eq!(answer.json()["message"], format!("not supported: {reason}"), "{route}");
            }
            other => panic!("{route}: the page says `{other}`"),
        }
    }
    // Who may not call learns nothing from these either, and what DockFlare never had is not found.
    for path in ["/api/v2/debug-info", "/api/v2/auth/settings"] {
        master.get(path).expect(401).await;
    }
    master.admin_get("/api/v2/made-tomorrow").expect(404).await;
    master.stop().await;
}

#[actix_web::test]
async fn what_a_container_asks_for_is_not_changed_through_dockflares_api() {
    // given
    let master = TestMaster::start().await;
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge").await;
    let event = crate::v2_api::start_event("app.example.com");
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(event).expect(202).await;
    master.until_services("the route is there", |rules| rules.len() == 1).await;
    // when, then
    let rule = "/api/v2/rules/app.example.com%7C";
    let none = json!({ "access_policy_type": "none" });
    for (method, path, body) in [
        (Method::POST, format!("{rule}/force-delete"), json!({})),
        (Method::PUT, format!("{rule}/access-policy"), none.clone()),
    ] {
        let refused = master.ask(method, &path).key(ADMIN).json(body).expect(409).await.json();
        assert_eq!(refused["error"], "labels_decide");
        assert!(refused["message"].as_str().unwrap().contains("change those"), "{refused}");
    }
    let nobodys = "/api/v2/rules/nobody.example.com%7C/access-policy";
    master.ask(Method::PUT, nobodys).key(ADMIN).json(none).expect(404).await;
    let services = master.admin_get("/api/v2/services").expect(200).await.json();
    assert_eq!(services["services"].as_array().unwrap().len(), 1);
    master.stop().await;
}

#[actix_web::test]
async fn a_rule_is_protected_through_dockflares_api() {
    let master = TestMaster::start().await;
    let (_, id) = master.new_agent("web-1").await;
    let tunnel = master.enroll(&id, "edge").await["command"]["tunnel_id"].clone();
    let rule =
        json!({ "hostname": "nas.example.com", "service": "http://10.0.0.5:5000", "tunnel_id": tunnel });
    master.admin_post("/api/v2/rules/manual", rule).expect(201).await;
    // when
    let path = "/api/v2/rules/nas.example.com%7C/access-policy";
    let body = json!({ "access_policy_type": "authenticate_email", "auth_email": "a@example.com", "session_duration": "8h" });
    master.ask(Method::PUT, path).key(ADMIN).json(body).expect(200).await;
    // then
    let rules = master.admin_get("/api/v3/rules/manual").expect(200).await.json();
    let access = &rules["rules"][0]["access"];
    assert_eq!(access["policies"][0]["include"], json!([{ "email": { "email": "a@example.com" } }]));
    assert_eq!((&access["kind"], &access["options"]["session_duration"]), (&json!("own"), &json!("8h")));
    assert_eq!(rules["rules"][0]["service"], "http://10.0.0.5:5000", "the rest stays");
    master.stop().await;
}

#[actix_web::test]
async fn a_key_of_dockflare_opens_the_same_door_and_is_never_told() {
    // given
    let master = TestMaster::start().await;
    let raw = "Zm9yLXRlc3RzLW9ubHktbm8tcmVhbC1rZXktMDEyMzQ1";
    let sha256 = lightship::domain::dockflare::keys::digest(raw);
    let path = format!("/api/v3/keys/digests/{sha256}");
    let register = |key: &'static str, id: &'static str| {
        master.post("/api/v2/agents/register").key(key).json(json!({ "agent_id": id, "hostname": id }))
    };
    register(raw, "old-1").expect(401).await;
    master.admin_get(&path).expect(404).await;
    // when
    let body = json!({ "owner": "web-1", "seats": 2 });
    let put = async || master.ask(Method::PUT, &path).key(ADMIN).json(body.clone()).send().await;
    let (first, second) = (put().await, put().await);
    // then
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.json()["key_id"], second.json()["key_id"]);
    let known = master.admin_get(&path).expect(200).await.json();
    assert_eq!(
        (&known["status"], &known["owner"], &known["seats"]),
        (&json!("active"), &json!("web-1"), &json!(2))
    );
    register(raw, "old-1").expect(201).await;
    // A revoked one stays so, and what is no digest is refused without repeating it.
    let id = first.json()["key_id"].clone();
    master.admin_post("/api/v2/agents/revoke-key", json!({ "key_id": id })).expect(200).await;
    assert!(put().await.text.contains("was revoked here"));
    // Nor does it come back once it is off the list.
    let removed = async |kind: &str, ids: Value| {
        let body = json!({ "kind": kind, "ids": ids });
        master.admin_post("/api/v3/removed", body).expect(200).await.json()["removed"].clone()
    };
    assert_eq!(removed("key", json!([sha256])).await, json!([]));
    let deleted = master.ask(Method::DELETE, "/api/v2/agents/keys/revoked").key(ADMIN).expect(200).await;
    assert_eq!(deleted.json()["deleted_count"], 1);
    master.admin_get(&path).expect(404).await;
    let refused = put().await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("dropped from the list"), "{}", refused.text);
    let found = removed("key", json!([sha256, "0".repeat(64)])).await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &json!(sha256)), "{found}");
    register(raw, "old-2").expect(401).await;
    let refused = master
        .ask(Method::PUT, &format!("/api/v3/keys/digests/{raw}"))
        .key(ADMIN)
        .json(body.clone())
        .expect(400)
        .await;
    assert!(refused.text.contains("64 small hex digits") && !refused.text.contains(raw), "{}", refused.text);
    master.stop().await;
}

#[actix_web::test]
async fn what_was_removed_is_known_until_a_person_makes_it_again() {
    // given
    let master = TestMaster::start().await;
    let (_, id) = master.new_agent("web-1").await;
    let tunnel = master.enroll(&id, "edge").await["command"]["tunnel_id"].clone();
    let removed = async |kind: &str, id: &str| {
        let body = json!({ "kind": kind, "ids": [id, "other"] });
        let answer = master.admin_post("/api/v3/removed", body).expect(200).await.json();
        answer["removed"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    let group = json!({ "policies": [{ "decision": "allow", "include": [{ "email": { "email": "a@example.com" } }] }] });
    let rule = json!({ "hostname": "nas.example.com", "path": "/files", "service": "http://10.0.0.5:5000", "tunnel": tunnel });
    let things = [
        ("group", "staff", "/api/v3/access/groups/staff", "/api/v3/access/groups/staff", group),
        (
            "rule",
            "nas.example.com|/files",
            "/api/v3/rules/manual",
            "/api/v3/rules/manual/nas.example.com%7C%2Ffiles",
            rule,
        ),
    ];
    for (kind, id, put, delete, body) in things {
        let put = async || master.ask(Method::PUT, put).key(ADMIN).json(body.clone()).send().await.status;
        assert!(put().await < 300);
        assert_eq!(removed(kind, id).await, Vec::<Value>::new());
        // when
        master.ask(Method::DELETE, delete).key(ADMIN).expect(200).await;
        // then
        assert_eq!(removed(kind, id).await, [json!(id)]);
        assert!(put().await < 300);
        assert_eq!(removed(kind, id).await, Vec::<Value>::new(), "{kind}: a person made it again");
    }
    let many: Vec<String> = (0..=1000).map(|n| n.to_string()).collect();
    for (body, words) in [
        (json!({ "kind": "group", "ids": many }), "ask in parts"),
        (json!({ "kind": "agent", "ids": [] }), "kind"),
    ] {
        let refused = master.admin_post("/api/v3/removed", body).expect(400).await;
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    master.stop().await;
}

#[actix_web::test]
async fn keys_that_were_revoked_lately_survive_a_cleanup() {
    let master = TestMaster::start().await;
    let (id, _) = master.make_key("web-1").await;
    master.admin_post("/api/v2/agents/revoke-key", json!({ "key_id": id })).expect(200).await;
    let path = "/api/v2/agents/keys/cleanup";
    let kept = master.admin_post(path, json!({})).expect(200).await.json();
    assert_eq!((&kept["cleaned_count"], &kept["retention_days"]), (&json!(0), &json!(30)));
    let gone = master.admin_post(path, json!({ "retention_days": 0 })).expect(200).await.json();
    assert_eq!((&gone["cleaned_count"], &gone["expired_keys"]), (&json!(1), &json!([id])));
    master.stop().await;
}

/// A value that makes sense for a variable.
fn value(name: &str) -> &'static str {
    match name {
        "DOCKFLARE_PUBLIC_URL" | "DOCKFLARE_MASTER_URL" => "https://ship.example.com",
        "DOCKFLARE_API_KEY" => "a-key-of-dockflare-0123456789",
        "LOG_LEVEL" => "WARNING",
        "WAITRESS_HOST" => "127.0.0.1",
        "DOCKER_HOST" => "tcp://docker-socket-proxy:2375",
        "REDIS_URL" => "redis://redis:6379/0",
        "LABEL_PREFIX" => "ship",
        "USE_EXTERNAL_CLOUDFLARED" => "true",
        "CLOUDFLARED_IMAGE" => "cloudflare/cloudflared:latest",
        "CF_ACCESS_CLIENT_ID" | "CF_ACCESS_CLIENT_SECRET" | "TUNNEL_NAME" | "CLOUDFLARED_NETWORK_NAME" => {
            "some-name"
        }
        _ => "60",
    }
}

#[test]
fn every_variable_of_dockflare_does_what_the_page_says() {
    let rows = table("Variables");
    let named: Vec<&str> = rows.iter().map(|row| code(row[0])).collect();
    assert_eq!(named.iter().copied().collect::<BTreeSet<_>>(), VARIABLES.split_whitespace().collect());
    assert_eq!(named.len(), VARIABLES.split_whitespace().count(), "each once");
    for (name, row) in named.iter().zip(&rows) {
        let environment = BTreeMap::from([((*name).to_owned(), value(name).to_owned())]);
        let loaded = Loaded::read(&Sources { environment, ..Sources::default() }, Role::Standalone).unwrap();
        match row[1] {
            "works" => {
                assert!(loaded.origins.contains_key(code(row[2])), "{name}: {:?}", loaded.origins);
                assert_eq!(loaded.warnings, Vec::<String>::new(), "{name}");
            }
            "accepted and ignored" => {
                let [warning] = &loaded.warnings[..] else { panic!("{name}: {:?}", loaded.warnings) };
                assert!(warning.contains(row[2]), "{name}: {warning}");
            }
            other => panic!("{name}: the page says `{other}`"),
        }
    }
}
