//! Where we answer otherwise than upstream, each with its reason, and each tried.

use reqwest::Method;
use serde_json::{Value, json};

use super::{FlagAgent, REGISTER, apt, hello, log, report, unlimited};
use crate::support::master::{ADMIN, TestMaster};

/// What differs.
struct Deviation {
    what: &'static str,
    upstream: &'static str,
    why: &'static str,
}

const fn deviation(what: &'static str, upstream: &'static str, why: &'static str) -> Deviation {
    Deviation { what, upstream, why }
}

/// Every difference. A new one fails [`every_deviation_is_as_it_is_written`] until it is tried there.
const DEVIATIONS: &[Deviation] = &[
    deviation(
        "a severity outside the four words",
        "500, the report is lost",
        "the word is mapped; a scan is worth more than a word",
    ),
    deviation(
        "an item that cannot be read",
        "500, the report is lost",
        "it is counted, and the rest is kept",
    ),
    deviation("a list of updates that is null", "400", "Go writes an empty list so"),
    deviation("a failed scan's log", "500, because `failure` is no result", "agents send it"),
    deviation("a log without an action", "400, so that installs time out", "it is taken from the command"),
    deviation(
        "the path of another agent",
        "the token's agent is meant, or the path's",
        "a path id must match its token",
    ),
    deviation("a command of another agent", "finished", "an agent speaks for itself"),
    deviation(
        "an agent's token at the admin API",
        "opens it",
        "agents are on hosts that may be in other hands",
    ),
    deviation("an agent that was removed", "200 until its token ends", "gone is gone at once"),
    deviation("updates of a revoked agent", "listed", "nobody hears any more what became of them"),
    deviation(
        "a machine that calls itself otherwise",
        "not noticed",
        "a copied configuration is not served unasked",
    ),
    deviation(
        "a wrong registration token with a body that cannot be read",
        "400",
        "who is not let in is told nothing else",
    ),
    deviation("renewing for an agent that nobody knows", "404", "who guesses learns nothing"),
    deviation("macOS", "500, because it calls itself `darwin`", "it is `macos`"),
    deviation(
        "no dependencies",
        "the package is installed without anybody's yes",
        "nothing is installed unasked",
    ),
    deviation("dependencies that are null", "400", "Go writes an empty list so"),
    deviation("odd types in a check-in", "500", "what is odd says nothing"),
    deviation(
        "a command that a scan was handed over with",
        "sent, and marked so before it was",
        "the same, and written down before the answer",
    ),
    deviation("the text of a registration token in lists", "shown", "it is shown once, where it is made"),
    deviation("a registration token that is not known", "500 when it is revoked", "404"),
    deviation("a life of seven days", "400, although the text proposes `7d`", "people write it so"),
    deviation("the install command of a token", "a path that does not exist", "a line that works"),
    deviation("who a token is for", "401 always", "the token says it"),
    deviation("a command that is asked for again", "fails always", "it is asked for"),
    deviation("cancelling what is at its end", "200", "nothing was cancelled"),
    deviation("filters of the history", "500", "they filter"),
    deviation("updates by type", "always empty", "they are counted"),
    deviation("images", "reported old, all of them", "a comparison that says nothing is not shown as news"),
    deviation("columns of DNF", "swapped", "they are put right"),
    deviation("what vanished", "stays pending for ever", "a complete scan closes it"),
    deviation(
        "a rejected package with a newer version",
        "stays hidden for ever",
        "a newer version is a new thing to decide about",
    ),
    deviation("the time zone", "echoed and forgotten", "it is kept"),
    deviation(
        "the address in a header of a stranger",
        "believed",
        "only proxies that are named are believed",
    ),
    deviation(
        "checking in often for ever",
        "sent as -1, which its agent takes for a time long past",
        "what has no effect is refused",
    ),
    deviation("checking in too often", "no limit, although one can be set", "the limit holds"),
    deviation(
        "expired tokens that are tidied",
        "marked",
        "they say that they are expired by themselves, and leave the list",
    ),
];

/// What a deviation is tried with: a master and an agent that has one package pending.
struct Scene<'a> {
    master: &'a TestMaster,
    agent: &'a FlagAgent<'a>,
}

impl Scene<'_> {
    fn path(&self, rest: &str) -> String {
        format!("/api/v1/agents/{}{rest}", self.agent.id)
    }

    async fn register(&self, body: Value) -> Value {
        let (_, token) = self.master.make_token(1).await;
        self.master.post(REGISTER).key(&token).json(body).expect(200).await.json()
    }

    async fn scan_ordered(&self) -> String {
        let asked = self.master.admin_post(&self.path("/scan"), json!({})).expect(200).await.json();
        asked["command_id"].as_str().unwrap().to_owned()
    }

    /// Tries the first half.
    async fn of_agents(&self, what: &str) -> bool {
        let (master, agent) = (self.master, self.agent);
        match what {
            "a severity outside the four words" => {
                let mut item = apt("odd", "2");
                item["severity"] = json!("high");
                agent.post("/updates", report("", json!([apt("curl", "2"), item])), 200).await;
                agent.updates("severity=important").await.len() == 1
            }
            "an item that cannot be read" => {
                let items = json!([apt("curl", "2"), "nonsense", {"package_type": "snap"}]);
                let answer = agent.post("/updates", report("", items), 200).await.json();
                answer["unreadable"] == 2 && answer["count"] == 3
            }
            "a list of updates that is null" => {
                agent.post("/updates", json!({"command_id": "", "updates": null}), 200).await;
                true
            }
            "a failed scan's log" => {
                agent.post("/logs", log("", "failure", "APT scan failed: x"), 200).await;
                true
            }
            "a log without an action" => {
                let command = self.scan_ordered().await;
                agent.check_in().await;
                let said = json!({"command_id": command, "action": "", "result": "success"});
                agent.post("/logs", said, 200).await;
                let logs = master.admin_get("/api/v1/logs").expect(200).await.json();
                logs["logs"][0]["action"] == "scan_updates"
            }
            "the path of another agent" => {
                let other = self.register(hello("web-2")).await;
                let path = format!("/api/v1/agents/{}/commands", other["agent_id"].as_str().unwrap());
                master.get(&path).key(&agent.access).expect(403).await;
                true
            }
            "a command of another agent" => {
                let command = self.scan_ordered().await;
                let other = FlagAgent::join(master, "web-2").await;
                other.post("/logs", log(&command, "success", ""), 404).await;
                true
            }
            "an agent's token at the admin API" => {
                master.get("/api/v1/updates").key(&agent.access).expect(401).await;
                true
            }
            "an agent that was removed" => {
                let other = FlagAgent::join(master, "web-2").await;
                let path = format!("/api/v1/agents/{}", other.id);
                master.ask(Method::DELETE, &path).key(ADMIN).expect(200).await;
                master.get(&format!("{path}/commands")).key(&other.access).expect(401).await;
                true
            }
            "renewing for an agent that nobody knows" => {
                let body = json!({"agent_id": "nobody", "refresh_token": agent.refresh});
                master.post("/api/v1/agents/renew").json(body).expect(401).await;
                true
            }
            "updates of a revoked agent" => {
                let other = FlagAgent::join(master, "web-2").await;
                other.post("/updates", report("", json!([apt("nano", "2")])), 200).await;
                let path = format!("/api/v3/agents/{}/revoke", other.id);
                let before = other.updates("").await.len();
                master.admin_post(&path, json!({})).expect(200).await;
                before == 1 && other.updates("").await.is_empty()
            }
            "a machine that calls itself otherwise" => {
                agent.post("/system-info", json!({"metadata": {"hostname": "web-9"}}), 200).await;
                agent.seen().await["standing"] == "pending"
            }
            "a wrong registration token with a body that cannot be read" => {
                master.post(REGISTER).key(&"0".repeat(64)).raw("{").expect(401).await;
                true
            }
            "macOS" => {
                let mut mac = hello("mac-1");
                mac["os_type"] = json!("darwin");
                let id = self.register(mac).await["agent_id"].as_str().unwrap().to_owned();
                let seen = master.admin_get(&format!("/api/v1/agents/{id}")).expect(200).await.json();
                seen["os_type"] == "macos"
            }
            "no dependencies" | "dependencies that are null" => {
                let list = if what == "no dependencies" { json!([]) } else { Value::Null };
                let said = json!({"package_name": "curl", "package_type": "apt", "update_id": "u", "dependencies": list});
                agent.post("/dependencies", said, 200).await;
                agent.check_in().await.is_empty()
            }
            "odd types in a check-in" => {
                let odd = json!({"cpu_percent": "x", "metadata": {"rapid_polling_enabled": 1, "rapid_polling_until": 7}});
                master.get(&self.path("/commands")).key(&agent.access).json(odd).expect(200).await;
                true
            }
            "a command that a scan was handed over with" => {
                self.scan_ordered().await;
                let first = agent.check_in().await.len();
                first == 1 && agent.check_in().await.is_empty()
            }
            "checking in too often" => {
                let rates = master.admin_get("/api/v1/admin/rate-limits").expect(200).await.json();
                let mut few = rates["settings"].clone();
                few["agent_checkin"] = json!({"requests": 1, "window": 60_000_000_000_u64, "enabled": true});
                let set =
                    |body: Value| master.ask(Method::PUT, "/api/v1/admin/rate-limits").key(ADMIN).json(body);
                set(few).expect(200).await;
                agent.check_in().await;
                master.get(&self.path("/commands")).key(&agent.access).expect(429).await;
                set(rates["settings"].clone()).expect(200).await;
                true
            }
            _ => false,
        }
    }

    /// Tries the second half.
    async fn of_people(&self, what: &str) -> bool {
        let (master, agent) = (self.master, self.agent);
        let tokens = "/api/v1/admin/registration-tokens";
        match what {
            "the text of a registration token in lists" => {
                let (_, token) = master.make_token(1).await;
                let list = master.admin_get(tokens).expect(200).await;
                !list.text.contains(&token) && list.json()["tokens"][0]["token"] == Value::Null
            }
            "a registration token that is not known" => {
                master.ask(Method::DELETE, &format!("{tokens}/nothing")).key(ADMIN).expect(404).await;
                true
            }
            "a life of seven days" => {
                master.admin_post(tokens, json!({"label": "a", "expires_in": "7d"})).expect(201).await;
                true
            }
            "the install command of a token" => {
                let made = master.admin_post(tokens, json!({"label": "a"})).expect(201).await.json();
                let line = made["install_command"].as_str().unwrap();
                line.starts_with(&format!("REDFLAG_SERVER_URL='http://{}'", master.address))
                    && line.ends_with("lightship agent")
            }
            "who a token is for" => {
                master.admin_get("/api/v1/auth/verify").expect(200).await.json()["valid"] == true
            }
            "a command that is asked for again" | "cancelling what is at its end" => {
                let command = self.scan_ordered().await;
                let ask =
                    |verb: &str| master.admin_post(&format!("/api/v1/commands/{command}/{verb}"), json!({}));
                ask("cancel").expect(200).await;
                ask("cancel").expect(400).await;
                ask("retry").expect(200).await.json()["new_id"].is_string()
            }
            "filters of the history" => {
                agent.post("/logs", log("", "success", ""), 200).await;
                let logs = master
                    .admin_get("/api/v1/logs?action=scan_updates&result=success&since=2020-01-01T00:00:00Z");
                logs.expect(200).await.json()["logs"].as_array().is_some_and(|logs| !logs.is_empty())
            }
            "checking in often for ever" => {
                let wish = json!({"enabled": true, "duration_minutes": -1});
                master.admin_post(&self.path("/heartbeat"), wish).expect(400).await;
                agent.check_in().await.is_empty()
            }
            "updates by type" => {
                let sums = master.admin_get("/api/v1/stats/summary").expect(200).await.json();
                sums["updates_by_type"]["apt"].as_u64().is_some_and(|count| count > 0)
            }
            "images" => {
                let image = json!({"package_type": "docker_image", "package_name": "nginx:1.25", "current_version": "sha256:a",
                    "available_version": "b", "severity": "moderate",
                    "metadata": {"local_full_digest": "sha256:a", "remote_digest": "sha256:b"}});
                agent.post("/updates", report("", json!([image])), 200).await;
                agent.updates("type=docker_image").await.is_empty()
            }
            "columns of DNF" => {
                let glibc = json!({"package_type": "dnf", "package_name": "glibc", "current_version": "2.40",
                    "available_version": "rawhide", "severity": "low", "repository_source": "2.41-3.fc43"});
                agent.post("/updates", report("", json!([glibc])), 200).await;
                let found = master.admin_get("/api/v1/updates?type=dnf").expect(200).await.json();
                found["updates"][0]["available_version"] == "2.41-3.fc43"
            }
            "what vanished" => {
                agent.post("/updates", report("", json!([apt("other", "2")])), 200).await;
                !agent.updates("").await.iter().any(|(name, _)| name == "curl")
            }
            "a rejected package with a newer version" => {
                let found = master
                    .admin_get(&format!("/api/v1/updates?agent_id={}&search=curl", agent.id))
                    .expect(200)
                    .await
                    .json();
                let id = found["updates"][0]["id"].as_str().unwrap().to_owned();
                master.admin_post(&format!("/api/v1/updates/{id}/reject"), json!({})).expect(200).await;
                let hidden = agent.updates("search=curl").await.is_empty();
                agent.post("/updates", report("", json!([apt("curl", "3")])), 200).await;
                hidden && agent.updates("search=curl").await.len() == 1
            }
            "the time zone" => {
                let zone = "/api/v1/settings/timezone";
                master
                    .ask(Method::PUT, zone)
                    .key(ADMIN)
                    .json(json!({"timezone": "Asia/Tokyo"}))
                    .expect(200)
                    .await;
                master.admin_get(zone).expect(200).await.json()["timezone"] == "Asia/Tokyo"
            }
            "the address in a header of a stranger" => {
                let rates = master.admin_get("/api/v1/admin/rate-limits").expect(200).await.json();
                master.admin_post("/api/v1/admin/rate-limits/reset", json!({})).expect(200).await;
                let mut last = 0;
                for n in 0..6 {
                    let asking = master.post(REGISTER).header("x-forwarded-for", &format!("10.0.0.{n}"));
                    last = asking.key("wrong").json(hello("x")).send().await.status;
                }
                let set = master.ask(Method::PUT, "/api/v1/admin/rate-limits").key(ADMIN);
                set.json(rates["settings"].clone()).expect(200).await;
                last == 429
            }
            "expired tokens that are tidied" => {
                master.admin_post(&format!("{tokens}/cleanup"), json!({})).expect(200).await.json()["cleaned"]
                    == 0
            }
            _ => false,
        }
    }
}

#[actix_web::test]
async fn every_deviation_is_as_it_is_written() {
    let master = unlimited().await;
    let mut wrong = Vec::new();
    for deviation in DEVIATIONS {
        assert!(!deviation.upstream.is_empty() && !deviation.why.is_empty(), "{}", deviation.what);
        let agent = FlagAgent::join(&master, "web-1").await;
        agent.scan("", "Found 1 APT updates", json!([apt("curl", "2")])).await;
        let scene = Scene { master: &master, agent: &agent };
        if !scene.of_agents(deviation.what).await && !scene.of_people(deviation.what).await {
            wrong.push(format!(
                "{}: upstream: {}; we differ: {}",
                deviation.what, deviation.upstream, deviation.why
            ));
        }
        master.ask(Method::DELETE, &scene.path("")).key(ADMIN).expect(200).await;
    }
    assert!(wrong.is_empty(), "not so, or not tried:\n{}", wrong.join("\n"));
    master.stop().await;
}
