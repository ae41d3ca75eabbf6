//! What visitors notice of a replacement: a hundred requests a second by a connector's way, side by side and stop-first.

use std::time::Instant;

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::TryStreamExt;
use serde_json::json;

use super::container_verdicts::{network, published};
use super::containers::{Host, outcome, well};
use crate::support::docker::{APP_IMAGE, static_program};
use crate::support::until::until;

/// The program that visits and serves, as containers see it.
fn program() -> String {
    format!("{}:/visitor:ro", static_program("visitor").display())
}

/// Serves, and ends when it is told to.
fn serving() -> serde_json::Value {
    let mut image = well();
    image["Cmd"] = json!(["/bin/sh", "-c", "trap 'exit 0' TERM; /visitor serve 8080 & wait"]);
    image
}

/// On the visitors' network under its name, with what it needs.
fn body() -> ContainerCreateBody {
    let mut body = published("edge", &[]);
    body.host_config.as_mut().unwrap().binds = Some(vec![program()]);
    body
}

/// Visits `app` a hundred times a second from its network.
struct Visitors<'a>(&'a Host);

impl<'a> Visitors<'a> {
    async fn start(host: &'a Host) -> Self {
        let host_config = HostConfig {
            network_mode: Some("edge".into()),
            binds: Some(vec![program()]),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(APP_IMAGE.to_owned()),
            cmd: Some(["/visitor", "app", "8080"].map(str::to_owned).to_vec()),
            host_config: Some(host_config),
            ..Default::default()
        };
        host.engine.run_body("visitors", body).await;
        let this = Self(host);
        this.until_served(0).await;
        this
    }

    /// When each request began, in milliseconds, and how it ended.
    async fn seen(&self) -> Vec<(u64, String)> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let lines: Vec<String> = self
            .0
            .engine
            .client()
            .logs("visitors", Some(options))
            .map_ok(|line| line.to_string())
            .try_collect()
            .await
            .unwrap();
        let parsed = |line: &str| {
            let (at, how) = line.trim().split_once(' ')?;
            Some((at.parse().ok()?, how.to_owned()))
        };
        let mut seen: Vec<_> = lines.iter().flat_map(|line| line.lines()).filter_map(parsed).collect();
        seen.sort();
        seen
    }

    /// Waits for twenty answers to requests that begin after this.
    async fn until_served(&self, after: u64) {
        until("visitors are served", || async {
            let seen = self.seen().await;
            let served = seen.iter().filter(|(at, how)| *at > after && how == "200").count();
            (served >= 20).then_some(())
        })
        .await;
    }

    /// Ends them; returns how many requests there were, what failed, and the longest time without an answer.
    async fn end(self) -> (usize, Vec<(u64, String)>, u64) {
        let last = self.seen().await.last().map_or(0, |(at, _)| *at);
        self.until_served(last).await;
        let seen = self.seen().await;
        let served: Vec<u64> = seen.iter().filter(|(_, how)| how == "200").map(|(at, _)| *at).collect();
        let gap = served.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let failed = seen.iter().filter(|(_, how)| how != "200").cloned().collect();
        self.0.engine.remove("visitors").await;
        (seen.len(), failed, gap)
    }
}

/// Replaces `app`, which is to be done as the plan says; returns what visitors noticed.
async fn replaced(host: &Host, how: &str) -> (usize, Vec<(u64, String)>, u64) {
    let visitors = Visitors::start(host).await;
    let (code, plan, errors) = host.verb(&["plan-updates", "app", "--json"]);
    assert_eq!(code, 2, "{errors}");
    let said = plan["plan"]["on_host"]["containers"]["app"].as_str().unwrap();
    assert!(said.contains(how), "{said}");
    let before = host.look("app").await.id;
    let (code, run, errors) = host.install("app");
    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_ne!(host.look("app").await.id, before);
    visitors.end().await
}

#[tokio::test]
async fn nobody_notices_a_replacement_side_by_side_and_a_gap_is_said_beforehand() {
    let host = Host::start().await;
    network(&host, "edge").await;
    host.push("app", "1.0", &serving()).await;
    host.run("app", body()).await;
    host.push("app", "1.1", &serving()).await;

    let (all, failed, gap) = replaced(&host, "serves beside the old one first").await;

    println!("side by side: {all} requests at 100 a second, {} failed, longest gap {gap} ms", failed.len());
    assert!(failed.is_empty(), "{failed:?}");

    host.engine.remove("app").await;
    let mut bound = body();
    let port = PortBinding { host_ip: None, host_port: Some("18080".into()) };
    bound.host_config.as_mut().unwrap().port_bindings =
        Some([("8080/tcp".to_owned(), Some(vec![port]))].into());
    host.run("app", bound).await;
    host.push("app", "1.2", &serving()).await;
    let (all, failed, gap) = replaced(&host, "the old one is stopped first: both would hold its port").await;
    println!("stop-first: {all} requests at 100 a second, {} failed, longest gap {gap} ms", failed.len());
    host.clear().await;
}

#[tokio::test]
async fn a_bad_image_is_put_back_within_fifteen_seconds_at_a_health_interval_of_one() {
    let second = 1_000_000_000_u64;
    let host = Host::start().await;
    host.push("app", "1.0", &well()).await;
    let before = host.run("app", ContainerCreateBody::default()).await;
    let check =
        json!({ "Test": ["CMD-SHELL", "false"], "Interval": second, "Timeout": second, "Retries": 3 });
    host.push("app", "1.1", &json!({ "Healthcheck": check })).await;
    let began = Instant::now();

    let (code, run, errors) = host.install("app");

    let took = began.elapsed();
    assert_eq!((code, outcome(&run).0), (1, "rolled_back"), "{errors}");
    assert_eq!(host.look("app").await.id, before.id);
    println!(
        "undo of a bad image at a health interval of 1 s: {:.1} s with the plan and the pull",
        took.as_secs_f64()
    );
    assert!(took.as_secs() < 15, "{took:?}");
    host.clear().await;
}
