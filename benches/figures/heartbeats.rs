//! Heartbeats per second: a real master against a bare handler, in pairs, so that both see the same machine.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::bare::{ANSWER, Bare};
use crate::plan::Plan;
use crate::process::{Memory, cpu_time};
use crate::sheet::{Goal, Row};
use crate::stats::Samples;
use crate::support::ship::{Rig, Ship};
use crate::{seed, wrk};

const AGENTS: [usize; 3] = [1, 1_000, 10_000];
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// How long one load lasts. Many short ones say more than a few long ones on a machine whose speed changes.
const LOAD_TIME: Duration = Duration::from_secs(1);

/// A running master with this many agents.
struct Master {
    agents: usize,
    ship: Ship,
    file: PathBuf,
    _dir: TempDir,
}

/// One load on the bare handler and one on a master, one right after the other.
struct Pair {
    connections: usize,
    agents: usize,
    bare: f64,
    ours: f64,
    ours_p99_ms: f64,
    cpu_micros: f64,
    bare_cpu_micros: f64,
}

impl Master {
    async fn start(agents: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = seed::agents(dir.path(), agents).await;
        let ship = Rig::new("master", dir.path())
            .env("LOG_LEVEL", "info")
            // Two masters wait while the third is measured; nobody is to be written down as offline meanwhile.
            .env("LIGHTSHIP__PUBLISH__AGENT_TIMEOUT_SECONDS", "86400")
            .start();
        let master = Self { agents, ship, file, _dir: dir };
        master.check().await;
        master
    }

    /// The two must answer the same, or there is nothing to compare.
    async fn check(&self) {
        let text = std::fs::read_to_string(&self.file).unwrap();
        let (id, key) = text.lines().next().unwrap().split_once(' ').unwrap();
        let url = format!("{}/api/v2/agents/{id}/events", self.ship.url());
        let request = reqwest::Client::new().post(url).bearer_auth(key);
        let answer = request.json(&serde_json::json!({ "type": "heartbeat" })).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.text().await.unwrap(), ANSWER);
    }
}

/// Measures every number of connections with every number of agents.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let bare = Bare::start();
    let mut masters = Vec::new();
    for agents in AGENTS {
        masters.push(Master::start(agents).await);
    }
    let mut pairs = Vec::new();
    for round in 0..plan.count(8, 2) {
        for connections in CONNECTIONS {
            for master in &masters {
                pairs.push(pair(&bare, master, connections, LOAD_TIME, round).await);
            }
        }
    }
    let mut rows = rows(&pairs);
    for master in &masters {
        let memory = Memory::of(master.ship.pid());
        let what = format!("master memory under heartbeats, {} registered agents", master.agents);
        let goal = if master.agents == 10_000 { Goal::AtMost(300.0) } else { Goal::Shown };
        rows.push(Row::new(what, goal, memory.rss, "MiB RSS").detail(format!("RssAnon {:.1}", memory.anon)));
    }
    for master in masters {
        master.ship.stop();
    }
    rows
}

/// Loads both, the first first in every other round.
async fn pair(bare: &Bare, master: &Master, connections: usize, time: Duration, round: usize) -> Pair {
    let on_bare = async || {
        let before = cpu_time(bare.pid());
        let load = wrk::heartbeats(&bare.url, &master.file, connections, time).await;
        (cpu_each(bare.pid(), before, load.requests), load)
    };
    let on_ours = async || {
        let before = cpu_time(master.ship.pid());
        let load = wrk::heartbeats(master.ship.url(), &master.file, connections, time).await;
        (cpu_each(master.ship.pid(), before, load.requests), load)
    };
    let ((bare_cpu_micros, bare), (cpu_micros, ours)) = if round.is_multiple_of(2) {
        let first = on_bare().await;
        (first, on_ours().await)
    } else {
        let first = on_ours().await;
        (on_bare().await, first)
    };
    Pair {
        connections,
        agents: master.agents,
        bare: bare.per_second(),
        ours: ours.per_second(),
        ours_p99_ms: ours.p99_micros as f64 / 1000.0,
        cpu_micros,
        bare_cpu_micros,
    }
}

fn cpu_each(pid: u32, before: Duration, requests: u64) -> f64 {
    (cpu_time(pid) - before).as_secs_f64() * 1e6 / requests as f64
}

fn rows(pairs: &[Pair]) -> Vec<Row> {
    let of = |connections, agents, value: fn(&Pair) -> f64| {
        let chosen = pairs.iter().filter(|p| p.connections == connections && p.agents == agents);
        Samples::new(chosen.map(value)).median()
    };
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        for agents in AGENTS {
            let what =
                format!("heartbeats, share of a bare handler: {connections} connections, {agents} agents");
            let [ours, bare, p99] = [|p: &Pair| p.ours, |p: &Pair| p.bare, |p: &Pair| p.ours_p99_ms]
                .map(|value| of(connections, agents, value));
            let detail =
                format!("{ours:.0}/s of {bare:.0}/s, p99 {p99:.1} ms; 0.88 to 0.95 on a quiet machine");
            let share = of(connections, agents, |p| p.ours / p.bare);
            rows.push(Row::new(what, Goal::AtLeast(0.8), share, "").detail(detail));
        }
    }
    let most = CONNECTIONS[2];
    let [one, thousand, many] = AGENTS.map(|agents| of(most, agents, |p| p.ours));
    rows.push(Row::new("heartbeats, 64 connections, 1 agent", Goal::AtLeast(29_000.0), one, "/s"));
    for (agents, rate) in [("1,000", thousand), ("10,000", many)] {
        let what = format!("heartbeats, 64 connections: {agents} agents against 1");
        let detail = format!("{rate:.0}/s of {one:.0}/s");
        rows.push(Row::new(what, Goal::AtLeast(0.8), rate / one, "").detail(detail));
    }
    let [cpu, bare] =
        [|p: &Pair| p.cpu_micros, |p: &Pair| p.bare_cpu_micros].map(|value| of(most, 1_000, value));
    let what = "processor time of a heartbeat, 64 connections, 1,000 agents";
    rows.push(Row::new(what, Goal::AtMost(15.0), cpu, "µs").detail(format!("bare handler {bare:.1} µs")));
    let ratio = of(most, 1_000, |p| p.cpu_micros / p.bare_cpu_micros);
    let what = "the same against the bare handler beside it";
    rows.push(Row::new(what, Goal::AtMost(1.2), ratio, "").detail("1.11 on a quiet machine"));
    rows
}
