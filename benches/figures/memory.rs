//! Memory that is given back: what a master with a large fleet holds some time after people signed in, and after lists of
//! everything were read, against what it held before.

use std::time::Duration;

use crate::fleet;
use crate::plan::Plan;
use crate::process::Memory;
use crate::sheet::{Goal, Row};
use crate::support::ship::{Rig, Ship};
use crate::visitor::Visitor;

/// Sign-ins, every second one with a wrong password.
const SIGN_INS: usize = 20;
/// Lists of the API.
const LISTS: [&str; 8] = [
    "/api/v2/agents",
    "/api/v2/services",
    "/api/v2/overview",
    "/api/v3/routes",
    "/api/v3/events?limit=1000",
    "/api/v3/updates",
    "/api/v3/runs",
    "/api/v3/approvals",
];
/// Pages with their live parts.
const PAGES: [[&str; 2]; 3] =
    [["/", "/fragments/overview"], ["/agents", "/fragments/agents"], ["/routes", "/fragments/routes"]];

/// Measures it after each of them, always against the first rest.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let (count, interval) = (plan.count(5_000, 500), Duration::from_secs(plan.count(30, 5) as u64));
    let dir = tempfile::tempdir().unwrap();
    let agents = fleet::agents(dir.path(), count).await;
    let mut master = Rig::new("master", dir.path()).env("LOG_LEVEL", "error").start();
    let mut visitor = Visitor::of(&master);
    visitor.set_up(&master.said("first run: open ")).await;
    // The second round changes nothing: what it needs is there before it counts.
    fleet::reports(&master, &fleet::lines(&agents), interval, 2).await;
    let mut rest = Rest::after(&master, Duration::from_secs(plan.count(15, 3) as u64), count).await;

    for number in 0..SIGN_INS {
        visitor.sign_in(number).await;
    }
    rest.measure(&format!("{SIGN_INS} sign-ins")).await;
    for list in LISTS {
        visitor.read(list).await;
        rest.measure(&format!("`GET {list}`")).await;
    }
    for [page, fragment] in PAGES {
        visitor.read(page).await;
        visitor.read(fragment).await;
        rest.measure(&format!("page `{page}` and its live part")).await;
    }
    rest.rows
}

/// A process at rest, and what it holds after each load.
struct Rest {
    pid: u32,
    pause: Duration,
    fleet: usize,
    before: Memory,
    rows: Vec<Row>,
}

impl Rest {
    async fn after(master: &Ship, pause: Duration, fleet: usize) -> Self {
        tokio::time::sleep(pause).await;
        Self { pid: master.pid(), pause, fleet, before: Memory::of(master.pid()), rows: Vec::new() }
    }

    async fn measure(&mut self, what: &str) {
        tokio::time::sleep(self.pause).await;
        let now = Memory::of(self.pid);
        let (fleet, secs) = (self.fleet, self.pause.as_secs());
        let what = format!("master memory {secs} s after {what}, {fleet} agents, against before");
        let detail = format!(
            "{:.1} MiB RSS, RssAnon {:.1}; before {:.1}, {:.1}",
            now.rss, now.anon, self.before.rss, self.before.anon
        );
        self.rows.push(Row::new(what, Goal::AtMost(1.2), now.rss / self.before.rss, "").detail(detail));
    }
}
