//! A large fleet: agents that report every 30 seconds, and their return after the master was killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lightship::chance::Chance;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::plan::Plan;
use crate::process::Memory;
use crate::seed;
use crate::sheet::{Goal, Row};
use crate::stats::{Samples, millis};
use crate::support::ship::{Rig, Ship};

/// Connections that all agents share: the machine has no descriptors for one each, twice.
const CONNECTIONS: usize = 500;
/// Containers that an agent tells of; one of them is labelled.
const CONTAINERS: usize = 5;
/// As agents back off while their master is away.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// All agents are to be back within it.
const BACK: Duration = Duration::from_secs(30);

/// An agent as the master knows it.
#[derive(Clone)]
pub struct Agent {
    id: String,
    key: String,
}

/// Every agent reports in each interval, spread over it; then the master is killed, and all come back.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let (count, interval) = (plan.count(10_000, 1_000), Duration::from_secs(plan.count(30, 10) as u64));
    let dir = tempfile::tempdir().unwrap();
    let agents = agents(dir.path(), count).await;
    let rig = Rig::new("master", dir.path()).env("LOG_LEVEL", "warn");
    let master = rig.start();
    let rig = rig.env("SERVER_PORT", master.port().to_string());
    let lines = lines(&agents);
    // The first round tells what is there; the rest is the same again.
    reports(&master, &lines, interval, 1).await;
    let samples = reports(&master, &lines, interval, plan.count(3, 2)).await;
    let live = live_subtrees(&master).await;
    let memory = Memory::of(master.pid());
    let names = format!("{count} agents at {} s over {CONNECTIONS} connections", interval.as_secs());
    let mut rows = vec![
        Row::new(format!("{names}: p99 of a report"), Goal::AtMost(20.0), samples.percentile(99), "ms")
            .detail(samples.summary()),
        Row::new(format!("{names}: master memory"), Goal::AtMost(300.0), memory.rss, "MiB RSS")
            .detail(format!("RssAnon {:.1}", memory.anon)),
        Row::new(format!("{names}: live subtrees"), Goal::AtMost(100.0), live, ""),
    ];
    rows.extend(return_of(&rig, master, &lines, count).await);
    rows
}

/// Writes agents that nobody has heard of to the database in `dir`.
pub async fn agents(dir: &Path, count: usize) -> Vec<Agent> {
    let file = seed::agents(dir, count).await;
    let text = std::fs::read_to_string(file).unwrap();
    let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
    pairs.map(|(id, key)| Agent { id: id.into(), key: key.into() }).collect()
}

/// A connection of its own for each share of the agents.
pub fn lines(agents: &[Agent]) -> Vec<(reqwest::Client, Vec<Agent>)> {
    let share = agents.len().div_ceil(CONNECTIONS);
    let client = || {
        let one = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1);
        one.timeout(Duration::from_secs(30)).build().unwrap()
    };
    agents.chunks(share).map(|own| (client(), own.to_vec())).collect()
}

/// Lets each agent report once in each of `rounds` intervals; returns what the reports took.
pub async fn reports(
    master: &Ship,
    lines: &[(reqwest::Client, Vec<Agent>)],
    interval: Duration,
    rounds: usize,
) -> Samples {
    let chance = Chance::seeded(1);
    let mut tasks = JoinSet::new();
    for (client, own) in lines {
        let (client, own, url) = (client.clone(), own.clone(), master.url().to_owned());
        let start = Instant::now() + interval.mul_f64(chance.fraction()) / own.len() as u32;
        tasks.spawn(async move {
            let mut took = Vec::new();
            let step = interval / own.len() as u32;
            for number in 0..rounds * own.len() {
                tokio::time::sleep_until((start + step * number as u32).into()).await;
                let agent = &own[number % own.len()];
                let begun = Instant::now();
                let (status, _) = report(&client, &url, agent).await.unwrap();
                took.push(millis(begun.elapsed()));
                assert_eq!(status, 202, "a report of {}", agent.id);
            }
            took
        });
    }
    Samples::new(tasks.join_all().await.into_iter().flatten())
}

/// Reports; returns the status, and when to come again if the answer says so.
async fn report(client: &reqwest::Client, url: &str, agent: &Agent) -> reqwest::Result<(u16, Option<u64>)> {
    let request = client.post(format!("{url}/api/v2/agents/{}/events", agent.id)).bearer_auth(&agent.key);
    let answer = request.json(&body(agent)).send().await?;
    let said = (answer.status().as_u16(), retry_after(&answer));
    answer.bytes().await?;
    Ok(said)
}

/// When to come again, in seconds, if the answer says so.
pub fn retry_after(answer: &reqwest::Response) -> Option<u64> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

fn body(agent: &Agent) -> Value {
    let containers: Vec<Value> = (0..CONTAINERS)
        .map(|number| {
            let labels = if number == 0 {
                json!({
                    "dockflare.enable": "true", "dockflare.service": "http://app:80",
                    "dockflare.hostname": format!("{}.example.com", agent.id),
                })
            } else {
                json!({ "com.docker.compose.service": format!("app-{number}") })
            };
            json!({ "id": format!("c{number}"), "name": format!("app-{number}"), "status": "running", "labels": labels })
        })
        .collect();
    json!({ "type": "status_report", "container": { "containers": containers } })
}

/// How many agents have actors of their own just now.
async fn live_subtrees(master: &Ship) -> f64 {
    let text = reqwest::get(format!("{}/metrics", master.url())).await.unwrap().text().await.unwrap();
    let ingesters = text.lines().filter(|line| {
        line.starts_with("actor_nodes{") && line.contains("ingester") && line.contains("\"running\"")
    });
    ingesters.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Kills the master and starts it again; every agent registers as often as it takes, then reports.
async fn return_of(
    rig: &Rig,
    master: Ship,
    lines: &[(reqwest::Client, Vec<Agent>)],
    count: usize,
) -> [Row; 2] {
    let url = master.url().to_owned();
    master.kill();
    let (back, turned_away, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new([back, turned_away, wrong]);
    let mut tasks = JoinSet::new();
    for (client, own) in lines {
        let (client, own, url, counts) = (client.clone(), own.clone(), url.clone(), counts.clone());
        tasks.spawn(async move {
            // Side by side their requests would be as many connections; each waits by itself.
            let line = Semaphore::new(1);
            join_all(own.iter().map(|agent| come_back(&line, &client, &url, agent, &counts))).await;
        });
    }
    let master = rig.start();
    let begun = Instant::now();
    tasks.join_all().await;
    let took = begun.elapsed().as_secs_f64();
    master.stop();
    let [back, turned_away, wrong] = [0, 1, 2].map(|n| counts[n].load(Ordering::Relaxed));
    assert_eq!(back, count);
    let what = format!("{count} agents after the master was killed");
    [
        Row::new(format!("{what}: all back after it listens"), Goal::AtMost(BACK.as_secs_f64()), took, "s")
            .detail(format!("{turned_away} times 503 with Retry-After")),
        Row::new(
            format!("{what}: answers that are no success and no such 503"),
            Goal::AtMost(0.0),
            wrong as f64,
            "",
        ),
    ]
}

async fn come_back(
    line: &Semaphore,
    client: &reqwest::Client,
    url: &str,
    agent: &Agent,
    counts: &[AtomicUsize; 3],
) {
    let [back, turned_away, wrong] = counts;
    let mut pause = FIRST_PAUSE;
    loop {
        let turn = line.acquire().await.expect("nobody closes it");
        let hello =
            json!({ "agent_id": agent.id, "display_name": format!("host-{}", agent.id), "version": "1.0.0" });
        let register = client.post(format!("{url}/api/v2/agents/register")).bearer_auth(&agent.key);
        let mut wait = pause.mul_f64(Chance::system().fraction());
        match register.json(&hello).send().await {
            Ok(answer) if answer.status().is_success() => {
                match report(client, url, agent).await {
                    Ok((202, _)) => {
                        back.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    // Not all agents' actors are awake at once.
                    Ok((503, Some(secs))) => {
                        turned_away.fetch_add(1, Ordering::Relaxed);
                        wait += Duration::from_secs(secs);
                    }
                    _ => _ = wrong.fetch_add(1, Ordering::Relaxed),
                }
            }
            Ok(answer) => match retry_after(&answer) {
                Some(secs) if answer.status().as_u16() == 503 => {
                    turned_away.fetch_add(1, Ordering::Relaxed);
                    wait += Duration::from_secs(secs);
                }
                _ => _ = wrong.fetch_add(1, Ordering::Relaxed),
            },
            // Nobody listens yet.
            Err(_) => {}
        }
        drop(turn);
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
