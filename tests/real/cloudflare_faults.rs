//! Cloudflare at its worst: whatever it does to our calls, the tunnel ends up with every route of ours, one
//! record for each, and everything of others as it was.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::raw_client::RawClient;
use crate::scene::{Dice, subfolder, with_seeds};
use crate::support::cloudflare::{CloudflareStandIn, Fault, Moment, Op, Trouble};
use crate::support::ship::{Rig, Ship};
use crate::support::until::until;

/// Calls that a new route takes.
const CALLS: [Op; 3] = [Op::GetConfig, Op::PutConfig, Op::CreateRecord];

/// A master with one agent whose tunnel holds rules of others.
struct Account {
    master: Ship,
    standin: CloudflareStandIn,
    agent: RawClient,
    tunnel: String,
    containers: Vec<(String, String)>,
    /// Rules of others that have to stay.
    foreign: Vec<Value>,
    _dir: TempDir,
}

impl Account {
    async fn confirmed() -> Self {
        let standin = CloudflareStandIn::start();
        let tunnel = standin.add_tunnel("edge", "cloudflare");
        let foreign = foreign_rule("old");
        let config = json!({
            "ingress": [foreign.clone(), { "service": "http_status:404" }], "warp-routing": { "enabled": true },
        });
        standin.write_config(&tunnel, config);
        let dir = TempDir::new().unwrap();
        let master = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin).start();
        let agent = RawClient::enrolled(&master, "raw-1", "edge").await;
        let mut account = Self {
            master,
            standin,
            agent,
            tunnel,
            containers: Vec::new(),
            foreign: vec![foreign],
            _dir: dir,
        };
        account.report("first").await;
        account.master.until_route("first.example.com", "waiting").await;
        assert_eq!(
            account.standin.hostnames(&account.tunnel),
            ["old.example.org"],
            "nothing before a person agrees"
        );
        let (status, answer) = account.master.post("/api/v3/apply", json!({ "yes": true })).await;
        assert_eq!((status, &answer["finished"]), (200, &json!(true)), "{answer}");
        account.check().await;
        account
    }

    /// One more container runs.
    async fn report(&mut self, name: &str) {
        self.containers.push((name.to_owned(), format!("{name}.example.com")));
        self.agent.status_report(&self.containers).await;
    }

    /// Waits until all is published, then looks at everything in the account.
    async fn check(&self) {
        for (_, host) in &self.containers {
            self.master.until_route(host, "published").await;
        }
        let (_, config) = self.standin.config(&self.tunnel);
        let rules = config["ingress"].as_array().cloned().unwrap_or_default();
        for (_, host) in &self.containers {
            assert_eq!(
                rules.iter().filter(|rule| rule["hostname"] == **host).count(),
                1,
                "{host} in {rules:#?}"
            );
            assert_eq!(self.standin.records(host).len(), 1, "{host}");
        }
        for foreign in &self.foreign {
            assert!(rules.contains(foreign), "{foreign} in {rules:#?}");
        }
        assert_eq!(config["warp-routing"], json!({ "enabled": true }));
        assert_eq!(rules.last(), Some(&json!({ "service": "http_status:404" })));
        self.standin.assert_no_violations();
    }

    /// Makes some calls fail in a way while a route is added.
    async fn suffer(&mut self, dice: &Dice, trouble: Trouble, times: usize) {
        let op = CALLS[dice.below(CALLS.len())];
        let fault = Fault::on(op, trouble).times(times);
        let has_effect = dice.below(2) == 1;
        println!("  {op:?} fails {times} times, with its effect: {has_effect}");
        self.standin.inject(if has_effect { fault.after_effect() } else { fault });
        self.report(&format!("app-{}", self.containers.len())).await;
        self.check().await;
        assert!(self.standin.failures_left() < times, "the fault happened");
        self.standin.heal();
    }
}

fn foreign_rule(name: &str) -> Value {
    json!({
        "hostname": format!("{name}.example.org"), "service": "http://elsewhere:1",
        "originRequest": { "noTLSVerify": true },
    })
}

#[tokio::test]
async fn a_rate_limit_is_waited_out() {
    let mut account = Account::confirmed().await;
    with_seeds("cloudflare answers 429", async |dice| {
        let times = 1 + dice.below(2);
        account.suffer(&dice, Trouble::RateLimited(Some(1)), times).await;
    })
    .await;
}

#[tokio::test]
async fn a_server_error_is_tried_again() {
    let mut account = Account::confirmed().await;
    with_seeds("cloudflare answers 500", async |dice| {
        let times = 1 + dice.below(3);
        let trouble = if dice.below(2) == 0 { Trouble::ServerError } else { Trouble::BadGatewayPage };
        account.suffer(&dice, trouble, times).await;
    })
    .await;
}

#[tokio::test]
async fn a_call_without_an_answer_is_made_again() {
    let mut account = Account::confirmed().await;
    with_seeds("cloudflare does not answer", async |dice| {
        account.suffer(&dice, Trouble::NeverAnswers, 1).await;
    })
    .await;
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let mut account = Account::confirmed().await;
    with_seeds("cloudflare's answer is cut", async |dice| {
        let times = 1 + dice.below(2);
        account.suffer(&dice, Trouble::HalfAnswer, times).await;
    })
    .await;
}

#[tokio::test]
async fn a_second_writer_is_noticed_and_keeps_what_was_there_to_see() {
    let mut account = Account::confirmed().await;
    with_seeds("somebody else writes at the same time", async |dice| {
        // given: somebody who writes right before or right after our PUT
        let rule = foreign_rule(&format!("other-{}", dice.round));
        let moment = if dice.round % 2 == 0 { Moment::BeforePut } else { Moment::AfterPut };
        let count = 1 + dice.below(2);
        for _ in 1..count {
            account.standin.second_writer(Moment::BeforePut, foreign_rule("noise"));
        }
        account.standin.second_writer(moment, rule.clone());
        let (version, _) = account.standin.config(&account.tunnel);
        // when
        account.report(&format!("app-{}", account.containers.len())).await;
        // then: what we could not see was overwritten, and that is said; what came after our PUT stays
        if moment == Moment::AfterPut {
            account.foreign.push(rule);
        } else {
            until_gap_is_shown(&account, version).await;
        }
        account.check().await;
    })
    .await;
}

/// Waits until a gap is shown that came after this version: the one before stays until the next write.
async fn until_gap_is_shown(account: &Account, version: i64) {
    until("the gap in versions is shown", || async {
        let answer = account.master.get("/api/v3/routes").await;
        let tunnels = answer["tunnels"].as_array().cloned().unwrap_or_default();
        let tunnel = tunnels.into_iter().find(|tunnel| tunnel["tunnel_id"] == *account.tunnel)?;
        let gap = tunnel["reason"].as_str()?.strip_prefix("someone wrote version")?;
        let first = gap.trim_start_matches('s').split_whitespace().next()?.parse::<i64>().ok()?;
        (first > version && gap.ends_with("between our read and our write")).then_some(())
    })
    .await;
}
