//! Random sequences of what containers, people, others and accidents do: nothing that asks for protection is open at any
//! moment, what is others' stays, and once it is quiet Cloudflare has what labels ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lightship::chance::Chance;
use lightship::domain::access::{AccessAsk, AppOptions, Group, Selector};
use lightship::domain::id::GroupId;
use parking_lot::Mutex;
use serde_json::json;

use super::access::allow;
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Edge, Fault, Op, State, Trouble};

const SEQUENCES: u64 = 8;
const STEPS: usize = 20;
const NAMES: [&str; 4] = ["a.example.com", "a.example.com/admin", "b.example.com", "c.example.com"];
const GROUPS: [&str; 2] = ["staff", "guests"];
const CALLS: [Op; 10] = [
    Op::ListPolicies,
    Op::CreatePolicy,
    Op::GetPolicy,
    Op::PutPolicy,
    Op::ListApps,
    Op::CreateApp,
    Op::GetApp,
    Op::PutApp,
    Op::PutConfig,
    Op::CreateRecord,
];

/// Names that may not be open at any moment from now on.
type Guarded = Arc<Mutex<BTreeSet<&'static str>>>;

/// What the world is to come to.
struct World {
    test: TestAccount,
    chance: Chance,
    guarded: Guarded,
    asks: BTreeMap<&'static str, AccessAsk>,
    groups: BTreeMap<&'static str, usize>,
    log: Vec<String>,
}

fn place(name: &str) -> (&str, &str) {
    name.find('/').map_or((name, "/"), |at| name.split_at(at))
}

fn group(id: &str, people: usize) -> Group {
    let person = |number| Selector::Email(format!("{id}-{number}@example.com"));
    Group {
        id: GroupId::new(id),
        name: id.into(),
        options: AppOptions::default(),
        policies: vec![allow((0..=people).map(person).collect())],
    }
}

fn complaint(state: &State, guarded: &Guarded) -> Result<(), String> {
    let open = guarded.lock().iter().copied().find(|name| {
        let (hostname, path) = place(name);
        state.edge(hostname, path).is_open()
    });
    open.map_or(Ok(()), |name| Err(format!("`{name}` is open")))
}

impl World {
    async fn new(seed: u64) -> Self {
        let (standin, guarded) = (CloudflareStandIn::start(), Guarded::default());
        let watched = Arc::clone(&guarded);
        standin.on_change(move |state| complaint(state, &watched));
        standin.add_app(json!({
            "type": "self_hosted", "name": "theirs", "domain": "theirs.example.com", "session_duration": "12h",
        }));
        let test = TestAccount::start_with(standin).await;
        test.enrolled("a", "edge").await;
        let (asks, groups, log) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { test, chance: Chance::seeded(seed), guarded, asks, groups, log }
    }

    fn pick<T: Copy>(&self, all: &[T]) -> T {
        let at = (self.chance.fraction() * all.len() as f64) as usize;
        all[at.min(all.len() - 1)]
    }

    fn ask(&self) -> AccessAsk {
        let named =
            |ids: &[&str]| AccessAsk::Groups { groups: ids.iter().map(|id| GroupId::new(*id)).collect() };
        match self.pick(&[0, 1, 2, 3, 4]) {
            0 => AccessAsk::Nothing,
            1 => named(&["staff"]),
            2 => named(&["guests"]),
            3 => named(&["guests", "staff"]),
            _ => named(&["nobody-made-it"]),
        }
    }

    async fn step(self, number: usize) -> Self {
        let mut this = self;
        match this.pick(&[
            "claim", "claim", "claim", "ask", "ask", "release", "group", "group", "no group", "fault",
            "fault", "compare", "restart",
        ]) {
            "claim" | "ask" => {
                let (name, ask) = (this.pick(&NAMES), this.ask());
                this.labels(name, ask).await;
            }
            "release" => {
                let name = this.pick(&NAMES);
                if this.asks.remove(name).is_some() {
                    // The rest of the host may answer for it then.
                    this.guarded.lock().remove(name);
                    this.log.push(format!("{number}: {name} goes"));
                    this.test.releases("a", name).await;
                }
            }
            "group" => {
                let (id, people) = (this.pick(&GROUPS), this.pick(&[0, 1, 2]));
                this.log.push(format!("{number}: {id} has {people} more"));
                this.groups.insert(id, people);
                this.test.sets_group(group(id, people)).await;
            }
            "no group" => {
                let id = this.pick(&GROUPS);
                if this.groups.remove(id).is_some() {
                    this.log.push(format!("{number}: {id} goes"));
                    this.test.removes_group(id).await;
                }
            }
            "fault" => {
                let op = this.pick(&CALLS);
                let trouble = match this.pick(&[0, 1, 2]) {
                    0 => Fault::on(op, Trouble::ServerError),
                    1 => Fault::on(op, Trouble::ServerError).after_effect(),
                    _ => Fault::on(op, Trouble::BadGatewayPage),
                };
                this.log.push(format!("{number}: {trouble:?}"));
                this.test.standin.inject(trouble.times(this.pick(&[1, 2])));
            }
            "compare" => this.test.interval_passes().await,
            _ => {
                this.log.push(format!("{number}: a restart"));
                this.test = this.test.restart_unchecked(async |_| {}).await;
            }
        }
        if this.pick(&[true, false]) {
            this.test.until_quiet().await;
            this.guard_what_settled();
        }
        this
    }

    /// A container asks for this from now on. Until that was worked on, what was open before still is.
    async fn labels(&mut self, name: &'static str, ask: AccessAsk) {
        self.log.push(format!("{name} asks for {ask:?}"));
        if ask == AccessAsk::Nothing {
            self.guarded.lock().remove(name);
        } else if !self.asks.contains_key(name) && !self.is_below_an_open_one(name) {
            self.guarded.lock().insert(name);
        }
        match self.asks.insert(name, ask.clone()) {
            None => self.test.claims_protected("a", name, ask).await,
            Some(_) => self.test.asks_for("a", name, ask).await,
        }
    }

    /// What the rest of the host serves is reached there until the rule of its own is written.
    fn is_below_an_open_one(&self, name: &str) -> bool {
        let (hostname, path) = place(name);
        path != "/" && self.asks.contains_key(hostname)
    }

    /// It is quiet: what asks for protection has it, or is closed, and stays so.
    fn guard_what_settled(&self) {
        if self.test.standin.failures_left() > 0 {
            return;
        }
        let asked = self.asks.iter().filter(|(_, ask)| **ask != AccessAsk::Nothing);
        self.guarded.lock().extend(asked.map(|(name, _)| *name));
    }

    fn is_known(&self, ask: &AccessAsk) -> bool {
        match ask {
            AccessAsk::Groups { groups } => groups.iter().all(|id| self.groups.contains_key(id.as_str())),
            _ => true,
        }
    }

    async fn ends_as_asked(mut self) {
        self.test.standin.heal();
        self.test = self.test.restart().await;
        self.test.until_compared().await;
        for (name, ask) in &self.asks {
            let state = if self.is_known(ask) { "published" } else { "blocked" };
            self.test.until_state("a", name, state).await;
        }
        self.test.until_quiet().await;
        self.guard_what_settled();
        let log = self.log.join("\n");
        assert_eq!(self.test.standin.violations(), Vec::<String>::new(), "{log}");
        let mut apps = 1;
        for (name, ask) in &self.asks {
            let (hostname, path) = place(name);
            let edge = self.test.standin.edge(hostname, path);
            let reaches = matches!(edge, Edge::Reaches { .. });
            assert_eq!(reaches, self.is_known(ask), "{name}: {edge:?}\n{log}");
            if let (AccessAsk::Groups { groups }, Edge::Reaches { behind: Some(behind), .. }) = (ask, &edge) {
                apps += 1;
                assert_eq!(behind.policies.len(), groups.len(), "{name}: {behind:?}\n{log}");
            }
        }
        let state = self.test.standin.state();
        let closed = self.asks.values().filter(|ask| !self.is_known(ask)).count();
        let found = state.access.apps.len();
        assert!((apps..=apps + closed).contains(&found), "{found} applications instead of {apps}\n{log}");
        let theirs = state.access.apps.iter().find(|app| app.body["name"] == "theirs").unwrap();
        assert_eq!(theirs.body["session_duration"], "12h");
    }
}

#[actix_web::test]
async fn whatever_happens_in_whatever_order_nothing_is_open_that_asks_for_protection() {
    for seed in 0..SEQUENCES {
        println!("seed {seed}");
        let mut world = World::new(seed).await;
        for number in 0..STEPS {
            world = world.step(number).await;
        }
        world.ends_as_asked().await;
    }
}
