//! Random sequences of what containers, people, others and accidents do: nothing that asks for protection is open at any
//! moment, what is others' stays, and once it is quiet Cloudflare has what labels ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lightship::actors::master::Account;
use lightship::actors::master::cloudflare_account::PublishSettings;
use lightship::chance::Chance;
use lightship::domain::access::{AccessAsk, AppOptions, Group, Selector};
use lightship::domain::adopt::Meant;
use lightship::domain::id::{GroupId, TunnelId};
use lightship::domain::publish::DriftMode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::access::allow;
use super::content;
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Edge, Fault, Op, State, Trouble, ZONE};

const SEQUENCES: u64 = 8;
const STEPS: usize = 20;
const NAMES: [&str; 6] =
    ["a.example.com", "a.example.com/admin", "b.example.com", "c.example.com", THEIR_APP, THEIR_RECORD];
/// Somebody's record and application are there for it, as DockFlare leaves them.
const THEIR_APP: &str = "d.example.com";
/// Somebody's record is there for it.
const THEIR_RECORD: &str = "e.example.com";
/// A person makes a rule for it.
const RULED: &str = "m.example.com";
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
    tunnel: TunnelId,
    is_ruled: bool,
    /// What others made, by its id, as it was; without what was adopted.
    foreign: BTreeMap<String, Value>,
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

/// Everything that is in the account, by its id.
fn all_things(state: &State) -> BTreeMap<String, Value> {
    let records = state.records.iter().map(|record| {
        let what =
            json!([record.kind, record.name, record.content, record.comment, record.proxied, record.ttl]);
        (record.id.clone(), what)
    });
    let apps = state.access.apps.iter().map(|app| {
        let links: Vec<&String> = app.links.iter().map(|link| &link.policy).collect();
        (app.id.clone(), json!([app.body, app.aud, links]))
    });
    let policies = state.access.policies.iter().map(|policy| (policy.id.clone(), json!(policy.body)));
    records.chain(apps).chain(policies).collect()
}

/// What others have in the account before anything begins.
fn add_foreign(standin: &CloudflareStandIn, tunnel: &TunnelId) {
    let policy = standin.add_policy(json!({
        "name": "DockFlare-AccessGroup-staff", "decision": "allow", "include": [{ "email": { "email": "a@x.io" } }],
    }));
    let app = |name: &str, domain: &str| {
        standin.add_app(json!({
            "type": "self_hosted", "name": name, "domain": domain, "session_duration": "12h",
            "policies": [{ "id": policy, "precedence": 1 }], "something_new": [domain],
        }))
    };
    app("theirs", "theirs.example.com");
    app("DockFlare-d.example.com", THEIR_APP);
    standin.add_record(ZONE, "A", "theirs.example.com", "192.0.2.1");
    for name in [THEIR_APP, THEIR_RECORD] {
        standin.add_record(ZONE, "CNAME", name, &content(tunnel));
    }
}

impl World {
    async fn new(seed: u64) -> Self {
        let (standin, guarded) = (CloudflareStandIn::start(), Guarded::default());
        let tunnel = TunnelId::new(standin.add_tunnel("edge", "cloudflare"));
        add_foreign(&standin, &tunnel);
        let foreign = all_things(&standin.state());
        let watched = Arc::clone(&guarded);
        standin.on_change(move |state| complaint(state, &watched));
        let drift = if seed.is_multiple_of(2) { DriftMode::Heal } else { DriftMode::Show };
        let test =
            TestAccount::publishing(standin, PublishSettings { drift, ..PublishSettings::default() }).await;
        test.enrolled("a", "edge").await;
        let (asks, groups, log) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let is_ruled = false;
        let chance = Chance::seeded(seed);
        Self { test, chance, guarded, asks, groups, log, tunnel, is_ruled, foreign }
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
            "fault", "compare", "restart", "drift", "drift", "adopt", "rule", "apply",
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
            "drift" => this.drifts(number).await,
            "adopt" => {
                let name = this.pick(&[THEIR_APP, THEIR_RECORD]);
                this.log.push(format!("{number}: {name} is adopted"));
                this.adopts(name).await;
            }
            "rule" => {
                this.is_ruled = !this.is_ruled;
                this.log.push(format!("{number}: the rule is there: {}", this.is_ruled));
                match this.is_ruled {
                    true => {
                        this.test.sets_rule(&this.tunnel, RULED, "http://10.0.0.5", AccessAsk::Nothing).await;
                    }
                    false => this.test.removes_rule(&this.tunnel, RULED).await,
                }
            }
            "apply" => drop(this.test.account.apply("alice", Duration::from_secs(20)).await),
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

    /// Somebody changes or deletes something of ours. What he opens is open until the next comparison.
    async fn drifts(&mut self, number: usize) {
        if self.test.standin.failures_left() > 0 || self.is_nothing_asked() {
            return;
        }
        self.test.until_quiet().await;
        self.guarded.lock().clear();
        let what = self.pick(&["rules", "record", "application", "policy"]);
        self.log.push(format!("{number}: somebody changes {what}"));
        {
            let mut state = self.test.standin.state();
            let ours = |id: &String| !self.foreign.contains_key(id);
            match what {
                "record" => state.records.retain(|record| !ours(&record.id) || record.name == RULED),
                "application" => state.access.apps.iter_mut().filter(|app| ours(&app.id)).for_each(|app| {
                    app.links.clear();
                }),
                "policy" => {
                    state.access.policies.iter_mut().filter(|policy| ours(&policy.id)).for_each(|policy| {
                        policy.body.insert("decision".into(), json!("bypass"));
                    })
                }
                _ => {}
            }
        }
        if what == "rules" {
            self.test
                .standin
                .write_config(self.tunnel.as_str(), json!({ "ingress": [{ "service": "http_status:404" }] }));
        }
        self.test.until_compared().await;
        self.guard_what_settled();
    }

    /// Then Cloudflare is not asked either.
    fn is_nothing_asked(&self) -> bool {
        self.asks.is_empty() && !self.is_ruled
    }

    async fn compared(&self) {
        match self.is_nothing_asked() {
            true => self.test.until_quiet().await,
            false => self.test.until_compared().await,
        }
    }

    async fn adopts(&mut self, name: &'static str) {
        let meant = Meant { names: Some(vec![name.to_owned()]), kinds: Vec::new() };
        let adopted = self.test.account.adopt(meant, "alice", Duration::from_secs(20)).await;
        for offer in adopted.map(|adopted| adopted.taken).unwrap_or_default() {
            self.foreign.remove(&offer.id);
        }
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
        // What is asked for and has something of others in its way is adopted in the end, and what waits is put right.
        for name in [THEIR_APP, THEIR_RECORD] {
            if self.asks.contains_key(name) {
                self.adopts(name).await;
            }
        }
        for _ in 0..3 {
            self.test.apply().await;
            self.compared().await;
        }
        let log = self.log.join("\n");
        for (name, ask) in &self.asks {
            let state = if self.is_known(ask) { "published" } else { "blocked" };
            self.test.until_state("a", name, state).await;
        }
        self.test.until_quiet().await;
        self.guard_what_settled();
        assert_eq!(self.test.standin.violations(), Vec::<String>::new(), "{log}");
        for (name, ask) in &self.asks {
            let (hostname, path) = place(name);
            let edge = self.test.standin.edge(hostname, path);
            let reaches = matches!(edge, Edge::Reaches { .. });
            assert_eq!(reaches, self.is_known(ask), "{name}: {edge:?}\n{log}");
            if let (AccessAsk::Groups { groups }, Edge::Reaches { behind: Some(behind), .. }) = (ask, &edge) {
                assert_eq!(behind.policies.len(), groups.len(), "{name}: {behind:?}\n{log}");
            }
        }
        let is_ruled = matches!(self.test.standin.edge(RULED, "/"), Edge::Reaches { .. });
        assert_eq!(is_ruled, self.is_ruled, "{log}");
        let state = self.test.standin.state();
        let now = all_things(&state);
        for (id, before) in &self.foreign {
            assert_eq!(now.get(id), Some(before), "{id} is others' and stays as it was\n{log}");
        }
        let with_access = self.asks.iter().filter(|(_, ask)| **ask != AccessAsk::Nothing);
        let (known, unknown): (Vec<_>, Vec<_>) = with_access.partition(|(_, ask)| self.is_known(ask));
        let ours = state.access.apps.iter().filter(|app| !self.foreign.contains_key(&app.id)).count();
        assert!(
            (known.len()..=known.len() + unknown.len()).contains(&ours),
            "{ours} applications instead of {}\n{log}",
            known.len()
        );
        let named = |name: &str| state.records.iter().any(|record| record.name == name);
        for name in [THEIR_APP, THEIR_RECORD].into_iter().filter(|name| !self.asks.contains_key(name)) {
            let is_theirs = state
                .records
                .iter()
                .any(|record| record.name == name && self.foreign.contains_key(&record.id));
            assert!(is_theirs || !named(name), "what was adopted goes with its route: {name}\n{log}");
        }
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
