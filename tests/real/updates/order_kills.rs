//! Orders of a real master to an agent without rights, killed when any step of the run begins: the helper that carries them
//! out, or the agent that waits for it. Each order is taken back by another one, in which the other of the two is killed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::apt_install::{self, offer};
use super::apt_root::AptRoot;
use super::dnf_install;
use super::helper::Helper;
use super::orders::Site;
use super::rpm_root::RpmRoot;
use super::verbs::PackageHost;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Helper,
    Agent,
}

impl Victim {
    fn other(self) -> Self {
        match self {
            Self::Helper => Self::Agent,
            Self::Agent => Self::Helper,
        }
    }
}

/// Who is killed, and which step begins then.
type Kill = (Victim, String);

/// A host, its agent and their master, and how many orders were given.
struct Scene<R: PackageHost> {
    site: Site<Helper<R>>,
    orders: usize,
    before: Vec<String>,
    after: Vec<String>,
}

impl<R: PackageHost> Scene<R> {
    async fn start(root: R, before: &[&str], after: &[&str]) -> Self {
        let own = |all: &[&str]| all.iter().map(|&line| line.to_owned()).collect();
        let site = Site::start(Helper::on(root)).await;
        Self { site, orders: 0, before: own(before), after: own(after) }
    }

    /// Kills each of both at every step that an order takes which nobody disturbs, and the other one on the way back: at one
    /// step of each order, or at all steps of one.
    async fn kill_at_every_step(&mut self, at_once: bool) {
        let done = self.carry_out(self.everything(), &[]).await;
        let steps: Vec<String> =
            self.record(&done)["steps"].as_array().unwrap().iter().map(name_of).collect();
        assert!(steps.len() > 5, "{steps:?}");
        self.take_back(&done, &[]).await;
        let groups: Vec<&[String]> = if at_once { vec![steps.as_slice()] } else { steps.chunks(1).collect() };
        for (victim, group) in [Victim::Helper, Victim::Agent]
            .into_iter()
            .flat_map(|victim| groups.iter().map(move |group| (victim, group)))
        {
            let kills = |victim: Victim| group.iter().map(|step| (victim, step.clone())).collect::<Vec<_>>();
            let done = self.carry_out(self.everything(), &kills(victim)).await;
            assert_eq!(self.site.root.root.installed(), self.after, "{victim:?} {group:?}");
            self.take_back(&done, &kills(victim.other())).await;
        }
        println!(
            "helper and agent killed when each of these began, also on the way back: {}",
            steps.join(", ")
        );
    }

    fn everything(&self) -> Value {
        json!({ "agents": [self.site.id], "what": "all" })
    }

    async fn take_back(&mut self, done: &Value, kills: &[Kill]) {
        let back = json!({ "run": { "agent": self.site.id, "id": done["run"] } });
        let undone = self.carry_out(back, kills).await;
        assert_eq!(self.site.run(&undone["run"]).await["undoes"], done["run"], "{kills:?}");
        assert_eq!(self.site.root.root.installed(), self.before, "{kills:?}");
    }

    /// Has something done by an order; it has to end verified, once, whoever is killed meanwhile.
    async fn carry_out(&mut self, what: Value, kills: &[Kill]) -> Value {
        let (request, plan) = self.site.ask(what).await;
        let known = self.records();
        let approval = self.site.approve(&request, &plan).await;
        for (victim, step) in kills {
            self.until_begun(&known, step);
            match victim {
                Victim::Helper => {
                    self.site.root.kill();
                    self.site.root.begin();
                }
                Victim::Agent => {
                    if let Some(agent) = self.site.agent.take() {
                        agent.kill();
                    }
                    self.site.begin();
                }
            }
        }
        let over = self.site.until_over(&approval).await;
        self.orders += 1;
        let run = self.site.run(&over["run"]).await;
        assert_eq!(
            (&over["status"], &run["status"]),
            (&json!("verified"), &json!("verified")),
            "{kills:?}: {over}"
        );
        assert_eq!(run["order"], over["command_id"], "{kills:?}: {run}");
        let told = self.site.master.get("/api/v3/runs").await;
        assert_eq!(told["total"], self.orders, "{kills:?}: one run for each order at the master");
        assert_eq!(self.records().len(), self.orders, "{kills:?}: and on the host");
        assert_eq!(self.site.root.root.audit(), "", "{kills:?}");
        over
    }

    /// The runs that the host has a record of.
    fn records(&self) -> Vec<String> {
        let runs = std::fs::read_dir(self.site.root.root.path("helper/runs")).into_iter().flatten().flatten();
        let has_record = |run: &std::fs::DirEntry| run.path().join("run.json").exists();
        runs.filter(has_record).map(|run| run.file_name().into_string().unwrap()).collect()
    }

    /// What the host wrote down of a run.
    fn record(&self, over: &Value) -> Value {
        let run = over["run"].as_str().unwrap();
        let path = self.site.root.root.path(&format!("helper/runs/{run}/run.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// Waits until a run that was not known begins a step, or is beyond it.
    fn until_begun(&self, known: &[String], step: &str) {
        let due = Instant::now() + Duration::from_secs(60);
        loop {
            let run = self.records().into_iter().find(|run| !known.contains(run));
            let record = run.map(|run| self.record(&json!({ "run": run }))).unwrap_or_default();
            let is_done = |done: &Value| name_of(done) == step;
            let steps = record["steps"].as_array().map_or(&[][..], Vec::as_slice);
            if record["begun"] == step || steps.iter().any(is_done) {
                return;
            }
            assert!(Instant::now() < due, "`{step}` never began: {record}");
            std::thread::yield_now();
        }
    }
}

fn name_of(step: &Value) -> String {
    step["name"].as_str().unwrap().to_owned()
}

/// How often the script of t-new ran.
fn told(path: &str) -> usize {
    std::fs::read_to_string(path).unwrap().len()
}

#[actix_web::test]
async fn an_order_for_apt_ends_verified_once_whether_helper_or_agent_is_killed_when_any_step_begins() {
    let root: AptRoot = apt_install::host();
    root.package_that_runs("t-new", "1.0", &format!("printf x >>{}", root.at("told")));
    offer(&root);
    let mut scene = Scene::start(root, &apt_install::BEFORE, &apt_install::AFTER).await;

    scene.kill_at_every_step(false).await;

    let told = told(&scene.site.root.root.path("told"));
    assert_eq!(told, scene.orders / 2, "its script ran once for each order that installed it");
}

#[actix_web::test]
async fn an_order_for_dnf_ends_verified_once_whether_helper_or_agent_is_killed_when_any_step_begins() {
    let root: RpmRoot = dnf_install::host();
    root.package_that_runs("t-new", "1.0", "local f = io.open('/told', 'a'); f:write('x'); f:close()");
    root.offer();
    let mut scene = Scene::start(root, &dnf_install::BEFORE, &dnf_install::AFTER).await;

    // DNF needs seconds for each order.
    scene.kill_at_every_step(true).await;

    let told = told(&scene.site.root.root.path("root/told"));
    assert_eq!(told, scene.orders / 2, "its script ran once for each order that installed it");
}
