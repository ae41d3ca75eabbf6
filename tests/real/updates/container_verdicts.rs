//! What a new container is judged by beside its health check: what visitors are answered, and the network that it lives in.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, NetworkCreateRequest};
use serde_json::{Value, json};

use super::containers::{Host, in_network_of, outcome, well};
use super::orders::Site;
use crate::support::ship::binary;

/// An image that serves this at port 8080, and says so; its health check is always content.
fn serving(status: &str) -> Value {
    let page = format!("#!/bin/sh\nprintf \"Status: {status}\\r\\n\\r\\n{status}\\n\"\n");
    let script = format!(
        "busybox mkdir -p /www/cgi-bin; printf '%s' '{page}' > /www/cgi-bin/index.cgi; \
         busybox chmod +x /www/cgi-bin/index.cgi; echo serves {status}; \
         busybox httpd -f -p 8080 -h /www & p=$!; trap 'busybox kill $p; exit 0' TERM; wait"
    );
    let mut image = well();
    image["Cmd"] = json!(["/bin/sh", "-c", script]);
    image["Env"] = json!(["PATH=/bin"]);
    image
}

fn without_a_check(mut image: Value) -> Value {
    image.as_object_mut().unwrap().remove("Healthcheck");
    image
}

/// Published by a label, on the network where it goes by its name.
pub(super) fn published(network: &str, more: &[(&str, &str)]) -> ContainerCreateBody {
    let labels = [("enable", "true"), ("hostname", "app.example.com"), ("service", "http://app:8080")];
    let labels =
        labels.iter().chain(more).map(|(key, value)| (format!("dockflare.{key}"), (*value).to_owned()));
    ContainerCreateBody {
        labels: Some(labels.collect::<HashMap<_, _>>()),
        host_config: Some(HostConfig { network_mode: Some(network.to_owned()), ..Default::default() }),
        ..Default::default()
    }
}

pub(super) async fn network(host: &Host, name: &str) {
    let request = NetworkCreateRequest { name: name.into(), ..Default::default() };
    host.engine.client().create_network(request).await.unwrap();
}

/// The same as the verb of a rig, for as long as it takes, begun by `before`.
fn verb(host: &Host, before: &[&str], args: &[&str]) -> (i32, Value, String) {
    let program = binary().to_str().unwrap().to_owned();
    let all: Vec<&str> =
        before.iter().copied().chain([program.as_str()]).chain(args.iter().copied()).collect();
    let mut verb = Command::new(all[0]);
    verb.args(&all[1..])
        .env_clear()
        .env("PATH", "/nonexistent")
        .env("LIGHTSHIP_STATE_DIR", host.state.path());
    let ended = verb.env("DOCKER_HOST", host.engine.docker_host()).output().unwrap();
    let said = serde_json::from_slice(&ended.stdout).unwrap_or(Value::Null);
    (ended.status.code().unwrap(), said, String::from_utf8(ended.stderr).unwrap())
}

fn install(host: &Host, name: &str) -> (i32, Value, String) {
    verb(host, &[], &["install", name, "--yes", "--json"])
}

/// What the run says of visitors.
fn asked(host: &Host, run: &Value) -> Vec<String> {
    let (_, whole, _) = host.verb(&["history", run["run"]["id"].as_str().unwrap(), "--json"]);
    let steps = whole["steps"].as_array().unwrap_or_else(|| panic!("{whole}"));
    let look = steps.iter().find(|step| step["name"] == "docker_image.look").unwrap();
    let asked = look["found"]["asked"].as_array().unwrap();
    asked.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// The old one serves; the new one does not, and the old one is back as it was.
async fn does_not_serve(bad: Value, words: &[&str]) {
    let host = Host::start().await;
    network(&host, "edge").await;
    host.push("app", "1.0", &serving("200 Fine")).await;
    let before = host.run("app", published("edge", &[])).await;
    host.push("app", "1.1", &bad).await;

    let (code, run, errors) = install(&host, "app");

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "rolled_back"), "{reason} {errors}");
    let all = ["`http://app:8080`", "app.example.com", "the old one answered 200"];
    assert!(all.iter().chain(words).all(|word| reason.contains(word)), "{reason}");
    assert_eq!(host.look("app").await.id, before.id);
    assert_eq!(host.running().await, ["app running"]);
    let (_, history, _) = host.verb(&["history", run["run"]["id"].as_str().unwrap()]);
    assert!(history.to_string().contains("app | "), "its last lines are kept: {history}");
    host.clear().await;
}

#[tokio::test]
async fn one_that_is_healthy_and_answers_500_is_not_verified_and_the_old_one_comes_back() {
    does_not_serve(serving("500 Odd"), &["answers 500", "its last line: `serves 500 Odd`"]).await;
}

#[tokio::test]
async fn one_without_a_health_check_that_never_answers_is_not_verified_either() {
    let silent = json!({ "Cmd": ["/bin/sh", "-c", "echo silent; trap 'exit 0' TERM; sleep 1000000 & wait"] });
    does_not_serve(silent, &["answers nothing", "its last line: `silent`"]).await;
}

#[tokio::test]
async fn what_visitors_are_answered_is_compared_with_what_the_old_one_answered() {
    let host = Host::start().await;
    network(&host, "edge").await;
    for (count, (old, new, port, words)) in [
        // It takes its time, and answers with what is no failure.
        (
            serving("200 Fine"),
            without_a_check(serving("404 Gone")),
            "8080",
            "answers 404 for app.example.com",
        ),
        (
            serving("503 Busy"),
            serving("500 Odd"),
            "8080",
            "answers 500 for app.example.com; the old one answered 503",
        ),
        (serving("200 Fine"), serving("200 Fine"), "8081", "could not be asked for app.example.com: "),
    ]
    .into_iter()
    .enumerate()
    {
        host.push("app", &format!("{count}.0"), &old).await;
        let service = format!("http://app:{port}");
        host.run("app", published("edge", &[("service", &service)])).await;
        host.push("app", &format!("{count}.1"), &new).await;

        let (code, run, errors) = install(&host, "app");

        assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
        let asked = asked(&host, &run);
        assert!(asked.len() == 1 && asked[0].contains(words), "{words}: {asked:?}");
        host.engine.remove("app").await;
    }
    host.clear().await;
}

#[actix_web::test]
async fn a_container_that_only_the_masters_prefix_publishes_is_asked_as_visitors_ask_it_too() {
    let host = Host::start().await;
    network(&host, "edge").await;
    host.push("app", "1.0", &serving("200 Fine")).await;
    let mut body = published("edge", &[]);
    let labels = body.labels.take().unwrap().into_iter();
    body.labels =
        Some(labels.map(|(label, value)| (label.replacen("dockflare.", "team.", 1), value)).collect());
    let before = host.run("app", body).await;
    host.push("app", "1.1", &serving("500 Odd")).await;
    let site = Site::with(host, &[("LABEL_PREFIX", "team")]).await;

    let (request, plan) = site.ask(json!({ "agents": [site.id], "names": ["docker_image:app"] })).await;
    let how = plan["plans"][0]["hosts"][0]["on_host"]["containers"]["app"].as_str().unwrap();
    assert!(how.contains("serves beside the old one first"), "it is known as published: {how}");
    let id = site.approve(&request, &plan).await;
    // A bad answer is asked for again for half a minute.
    let due = Instant::now() + Duration::from_secs(180);
    let over = loop {
        let row = site.approval(&id).await;
        if row["status"] != "ordered" {
            break row;
        }
        assert!(Instant::now() < due, "it does not end: {row}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };

    let reason = over["reason"].as_str().unwrap_or_default();
    assert_eq!(over["status"], "rolled_back", "{over}");
    assert!(reason.contains("app.example.com") && reason.contains("answers 500"), "{over}");
    assert_eq!(site.root.look("app").await.id, before.id);
    // The verbs of the host know it too, also while the master is away.
    let kept = std::fs::read_to_string(site.root.state.path().join("label_prefix.txt")).unwrap();
    assert_eq!(kept, "team");
    let Site { agent, root, .. } = site;
    drop(agent);
    root.clear().await;
}

#[tokio::test]
async fn one_that_lives_in_a_network_without_an_interface_brings_both_back() {
    let host = Host::start().await;
    let mut vpn = well();
    host.push("vpn", "1.0", &vpn).await;
    host.push("app", "1.0", &well()).await;
    let cap_add = Some(vec!["NET_ADMIN".to_owned()]);
    let host_config = Some(HostConfig { cap_add, ..Default::default() });
    let old = host.run("vpn", ContainerCreateBody { host_config, ..Default::default() }).await;
    let app = host.run("app", in_network_of("vpn")).await;
    // It runs, is healthy, and leaves nobody a way out.
    vpn["Cmd"] =
        json!(["/bin/sh", "-c", "/bin/busybox ip link del eth0; trap 'exit 0' TERM; sleep 1000000 & wait"]);
    host.push("vpn", "1.1", &vpn).await;
    let init = host.engine.network();
    let init = init.to_str().unwrap().split('/').nth(2).unwrap();

    // As on the Engine's host, where its processes are seen.
    let inside = ["/usr/bin/nsenter", "--target", init, "--net", "--mount", "--pid"];
    let (code, run, errors) = verb(&host, &inside, &["install", "vpn", "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "rolled_back"), "{reason} {errors}");
    assert!(reason.contains("app: it has nothing but a loopback in the network of `vpn`"), "{reason}");
    let (vpn_now, app_now) = (host.look("vpn").await, host.look("app").await);
    assert_eq!((&vpn_now.id, &app_now.id), (&old.id, &app.id));
    let started = |container: &ContainerInspectResponse| container.state.clone().unwrap().started_at.unwrap();
    assert!(started(&app_now) > started(&vpn_now), "it lives in the network that is there now");
    assert_eq!(host.running().await, ["app running", "vpn running"]);
    host.clear().await;
}

fn of_compose(service: &str, depends_on: &str) -> ContainerCreateBody {
    let labels = [("project", "shop"), ("service", service), ("depends_on", depends_on)];
    let labels = labels.map(|(key, value)| (format!("com.docker.compose.{key}"), value.to_owned()));
    ContainerCreateBody { labels: Some(HashMap::from(labels)), ..Default::default() }
}

#[tokio::test]
async fn compose_s_order_is_kept_and_said_and_what_it_restarts_goes_along() {
    let host = Host::start().await;
    for (name, depends_on) in
        [("zdb", ""), ("api", "zdb:service_healthy:false"), ("mail", "zdb:service_started:true")]
    {
        host.push(name, "1.0", &well()).await;
        host.run(name, of_compose(name, depends_on)).await;
    }
    let mail = host.look("mail").await;
    for name in ["zdb", "api"] {
        host.push(name, "1.1", &well()).await;
    }
    let (code, plan, errors) = host.verb(&["plan-updates", "--json"]);
    assert_eq!(code, 2, "{errors}");
    let how = &plan["plan"]["on_host"]["containers"];
    let says = |name: &str, words: &str| how[name].as_str().is_some_and(|how| how.contains(words));
    assert!(says("api", "Compose starts it after `zdb`"), "{how}");
    assert!(says("mail", "made anew on the image that it has: Compose restarts it with `zdb`"), "{how}");

    let (code, run, errors) = host.verb(&["install", "--all", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let mut started = Vec::new();
    for name in ["zdb", "api", "mail"] {
        let found = host.look(name).await;
        started.push((found.state.clone().unwrap().started_at.unwrap(), name));
        if name == "mail" {
            assert_eq!(found.image, mail.image);
            assert_ne!(found.id, mail.id, "it was restarted");
        }
    }
    started.sort();
    assert_eq!(started[0].1, "zdb", "{started:?}");
    assert_eq!(host.running().await, ["api running", "mail running", "zdb running"]);

    // One that is bad brings back those that were replaced with it, and leaves alone whom it does not concern.
    let api = host.look("api").await;
    host.push("api", "1.2", &json!({ "Cmd": ["/bin/sh", "-c", "exit 3"] })).await;
    host.push("zdb", "1.2", &well()).await;
    let zdb = host.look("zdb").await;
    let (code, run, errors) = host.verb(&["install", "--all", "--yes", "--json"]);
    assert_eq!((code, outcome(&run).0), (1, "rolled_back"), "{errors}");
    assert_eq!((host.look("api").await.id, host.look("zdb").await.id), (api.id, zdb.id));
    assert_eq!(host.running().await, ["api running", "mail running", "zdb running"]);
    host.clear().await;
}
