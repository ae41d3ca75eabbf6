use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde_json::Value;

use super::*;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::domain::id::{AgentId, CommandId};
use crate::domain::order::{KeyOffer, SignedOrder, SigningKey};
use crate::domain::update::{
    Changes, Operation, Plan, PlanAsk, PlannedChange, Problem, RebootAsk, RunId, RunOutcome, Wanted,
};
use crate::protocol::v3::RunTold;
use crate::state_dir::AgentIs;
use crate::updates::run::{At, Step, StepFailed};
use crate::updates::{Hands, HandsParts, Installer, KeyWas, Rights};

/// Knows one package and the version that there is of it.
struct OnePackage {
    newest: Mutex<&'static str>,
    changed: Arc<AtomicUsize>,
}

struct Change(Arc<AtomicUsize>);

#[async_trait]
impl Step for Change {
    fn name(&self) -> &'static str {
        "change"
    }

    fn changes_the_host(&self) -> bool {
        true
    }

    async fn go(&self, _: &At<'_>) -> Result<Value, StepFailed> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Value::Null)
    }
}

fn upgrade(to: &str) -> Changes {
    let change = PlannedChange {
        kind: Kind::Apt,
        name: "bash".into(),
        arch: "amd64".into(),
        operation: Operation::Upgrade,
        from: Some("1.0".into()),
        to: Some(to.into()),
        digest: Some("aa".into()),
    };
    Changes::new(vec![change]).unwrap()
}

#[async_trait]
impl Installer for OnePackage {
    fn kind(&self) -> Kind {
        Kind::Apt
    }

    async fn is_present(&self) -> bool {
        true
    }

    async fn plan(&self, _: &Wanted, _: &Path) -> Result<Plan, Problem> {
        let changes = upgrade(*self.newest.lock());
        Ok(Plan { changes, on_host: Default::default() })
    }

    async fn plan_undo(&self, _: &Run, _: &[String], _: &Path) -> Result<Plan, Problem> {
        self.plan(&Wanted::All, Path::new("")).await
    }

    async fn automatic(&self, _: &Plan) -> Result<Vec<String>, Problem> {
        Ok(Vec::new())
    }

    fn steps(&self, _: &Path) -> Vec<Box<dyn Step>> {
        vec![Box::new(Change(Arc::clone(&self.changed)))]
    }
}

/// A host whose agent is `a1`, and whose master signs with the key of seed 1.
struct Rig {
    dir: tempfile::TempDir,
    hands: OwnHands,
    package: Arc<OnePackage>,
}

fn now() -> DateTime<Utc> {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

impl Rig {
    async fn new() -> Self {
        let rig = Self::of(tempfile::tempdir().unwrap(), Rights::all());
        let offer = KeyOffer { key: SigningKey::from_seed(&[1; 32]).public(), endorsed: Vec::new() };
        let news = rig.hands.offer_key(&offer, &AgentId::new("a1")).await.unwrap();
        assert_eq!(news.was, KeyWas::First);
        rig
    }

    fn of(dir: tempfile::TempDir, rights: Rights) -> Self {
        let package = Arc::new(OnePackage { newest: Mutex::new("1.1"), changed: Arc::default() });
        let hands = OwnHands::new(HandsParts {
            dir: dir.path().to_owned(),
            beside: None,
            installers: vec![package.clone()],
            refreshing: Vec::new(),
            rights,
            agent_is: AgentIs::Own,
            policy_file: dir.path().join("policy.toml"),
            undo_window: TimeDelta::days(7),
            clock: Clock::moved(now()),
            chance: Chance::seeded(3),
        });
        Self { dir, hands, package }
    }

    async fn carry_out(&self, order: SignedOrder) -> Result<Run, NotCarriedOut> {
        let agent = AgentId::new("a1");
        self.hands.carry_out(Errand { order, agent, ahead: None, expired: None }, Arc::new(|_| ())).await
    }

    fn changed(&self) -> usize {
        self.package.changed.load(Ordering::SeqCst)
    }

    /// Expects that it is refused for this reason, and that nothing was changed.
    async fn refuses(&self, order: SignedOrder, word: &str) {
        let (before, runs) = (self.changed(), self.hands.runs().list().unwrap().len());
        let refusal = self.carry_out(order).await.unwrap_err();
        assert!(refusal.0.contains(word), "{word}: {refusal}");
        assert_eq!((self.changed(), self.hands.runs().list().unwrap().len()), (before, runs), "{word}");
    }
}

fn order(id: &str, number: u64) -> Order {
    Order {
        id: CommandId::new(id),
        agent: AgentId::new("a1"),
        number,
        ask: PlanAsk::install(Wanted::All),
        changes: upgrade("1.1"),
        by: "ann".into(),
        issued_at: now(),
        expires_at: now() + TimeDelta::hours(1),
    }
}

fn signed(order: &Order) -> SignedOrder {
    order.sign(&SigningKey::from_seed(&[1; 32]))
}

#[tokio::test(start_paused = true)]
async fn an_order_becomes_one_run_however_often_it_comes() {
    let rig = Rig::new().await;
    let run = rig.carry_out(signed(&order("c1", 1))).await.unwrap();
    assert_eq!(run.outcome, Some(RunOutcome::Verified));
    assert_eq!((run.by.as_str(), run.order.as_ref().map(CommandId::as_str)), ("ann", Some("c1")));

    let again = rig.carry_out(signed(&order("c1", 1))).await.unwrap();

    assert_eq!((again.id, rig.changed()), (run.id, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_signed_for_this_host_now_and_once_is_refused() {
    let rig = Rig::new().await;
    let whole = order("c1", 5);
    let mut unsigned = signed(&whole);
    unsigned.signature = String::new();
    rig.refuses(unsigned, "altered").await;
    let mut altered = signed(&whole);
    altered.content = altered.content.replace("bash", "dash");
    rig.refuses(altered, "altered").await;
    rig.refuses(whole.sign(&SigningKey::from_seed(&[2; 32])), "signed with the key").await;
    rig.refuses(signed(&Order { agent: AgentId::new("a2"), ..whole.clone() }), "for the agent a2").await;
    rig.refuses(signed(&Order { expires_at: now(), ..whole.clone() }), "expired").await;
    assert_eq!(rig.hands.order_keys().read().unwrap().taken.len(), 0, "none of them uses the number up");

    rig.carry_out(signed(&whole)).await.unwrap();
    rig.refuses(signed(&order("c2", 5)), "used before").await;
    rig.refuses(signed(&order("c3", 4)), "the last one was 5").await;
    rig.carry_out(signed(&order("c4", 6))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_the_master_decides_whether_an_order_expired() {
    let rig = Rig::new().await;
    let agent = AgentId::new("a1");
    let ahead = Some(TimeDelta::hours(2));
    let errand = Errand { order: signed(&order("c1", 1)), agent, ahead, expired: None };
    let late = rig.hands.carry_out(errand.clone(), Arc::new(|_| ())).await.unwrap_err();
    assert!(late.0.contains("expired"), "{late}");
    let on_its_way = Errand { ahead: None, expired: Some(now()), ..errand };
    assert!(rig.hands.carry_out(on_its_way, Arc::new(|_| ())).await.is_err());
    rig.carry_out(signed(&order("c1", 1))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_no_longer_holds_is_refused_for_good() {
    let rig = Rig::new().await;
    *rig.package.newest.lock() = "1.2";
    let whole = signed(&order("c1", 1));
    rig.refuses(whole.clone(), "bash: upgrade 1.0 → 1.2, planned was upgrade 1.0 → 1.1").await;
    // It would hold again: who has the order cannot wait for a day that suits him better.
    *rig.package.newest.lock() = "1.1";
    rig.refuses(whole, "no longer holds").await;
    rig.refuses(signed(&order("c2", 1)), "used before").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_owner_of_the_host_forbids_no_master_can_order() {
    let rig = Rig::new().await;
    std::fs::write(rig.dir.path().join("policy.toml"), "deny = ['bash']").unwrap();
    rig.refuses(signed(&order("c1", 1)), "`bash` is denied").await;
    std::fs::write(rig.dir.path().join("policy.toml"), "denies = []").unwrap();
    rig.refuses(signed(&order("c2", 2)), "cannot be followed").await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_the_right_says_so() {
    let rig = Rig::new().await;
    let rights = Rights { packages: Ability::no("it is not root", None), containers: Ability::yes() };
    let rig = Rig::of(rig.dir, rights);
    rig.refuses(signed(&order("c1", 1)), "it is not root").await;
}

#[tokio::test(start_paused = true)]
async fn a_host_without_a_key_carries_nothing_out() {
    let rig = Rig::of(tempfile::tempdir().unwrap(), Rights::all());
    rig.refuses(signed(&order("c1", 1)), "knows no key").await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_off_while_it_changed_the_host_is_gone_on_with_whatever_is_allowed_now() {
    let rig = Rig::new().await;
    let late = Order { expires_at: now() + TimeDelta::seconds(1), ..order("c1", 1) };
    let plan = Plan { changes: upgrade("1.1"), on_host: Default::default() };
    let id = RunId::parse("20260131-110000-abc").unwrap();
    let begun = Some("change".to_owned());
    let run = Run { order: Some(late.id.clone()), begun, ..Run::new(id.clone(), plan, "ann", now()) };
    rig.hands.order_keys().take(&late).unwrap();
    // Nor does it matter what is allowed now: what was begun is not left half done.
    std::fs::write(rig.dir.path().join("policy.toml"), "deny = ['bash']").unwrap();
    rig.hands.runs().write(&run).unwrap();
    rig.refuses(signed(&order("c2", 2)), "was cut off").await;

    let agent = AgentId::new("a1");
    let errand =
        Errand { order: signed(&late), agent, ahead: Some(TimeDelta::hours(9)), expired: Some(now()) };
    let ended = rig.hands.carry_out(errand, Arc::new(|_| ())).await.unwrap();

    assert_eq!((ended.id, ended.outcome), (id, Some(RunOutcome::Verified)));
    assert_eq!((rig.changed(), rig.hands.runs().list().unwrap().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_off_before_it_changed_anything_is_judged_once_more() {
    let (in_time, late) = (None, Some(TimeDelta::hours(9)));
    for (policy, ahead, expected) in [
        // 2026-01-31 is a Saturday.
        (Some("windows = ['Mon-Wed']"), in_time, "outside of Mon-Wed"),
        (Some("deny = ['bash']"), in_time, "`bash` is denied"),
        (Some("no policy"), in_time, "cannot be followed"),
        (None, late, "expired"),
        (Some("windows = ['Fri-Sun']"), in_time, ""),
    ] {
        // given: a host that lost power while it fetched
        let rig = Rig::new().await;
        let whole = order("c1", 1);
        let plan = Plan { changes: upgrade("1.1"), on_host: Default::default() };
        let (order, begun) = (Some(whole.id.clone()), Some("fetch".to_owned()));
        let id = RunId::parse("20260131-110000-abc").unwrap();
        let run = Run { order, begun, ..Run::new(id.clone(), plan, "ann", now()) };
        rig.hands.order_keys().take(&whole).unwrap();
        rig.hands.runs().write(&run).unwrap();
        if let Some(policy) = policy {
            std::fs::write(rig.dir.path().join("policy.toml"), policy).unwrap();
        }

        // when: the order comes again, and once more
        let errand = Errand { order: signed(&whole), agent: AgentId::new("a1"), ahead, expired: None };
        let ended = rig.hands.carry_out(errand.clone(), Arc::new(|_| ())).await.unwrap();
        std::fs::remove_file(rig.dir.path().join("policy.toml")).ok();
        let again = rig.hands.carry_out(errand, Arc::new(|_| ())).await.unwrap();

        // then: it is at its end, with the reason, and nothing was changed; or it went on
        assert_eq!((&again, &ended.id), (&ended, &id), "{policy:?}");
        let changed = usize::from(expected.is_empty());
        assert_eq!(rig.changed(), changed, "{policy:?}: {:?}", ended.outcome);
        match ended.outcome {
            Some(RunOutcome::Verified) => assert_eq!(expected, ""),
            Some(RunOutcome::NotStarted { reason, is_refused: true }) => {
                assert!(!expected.is_empty() && reason.contains(expected), "{expected}: {reason}");
            }
            other => panic!("{policy:?}: {other:?}"),
        }
        // It stands in the way of nothing else.
        rig.carry_out(signed(&Order { id: CommandId::new("c2"), number: 2, ..whole })).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_run_is_not_walked_back_beyond_what_the_owner_of_the_host_allows() {
    // given: a run of yesterday, and one of before what is kept in any case
    let rig = Rig::new().await;
    let lower = Changes::new(vec![PlannedChange {
        operation: Operation::Downgrade,
        from: Some("1.1".into()),
        to: Some("1.0".into()),
        ..upgrade("1.1").all()[0].clone()
    }])
    .unwrap();
    let run = |id: &str, days: i64| {
        let plan = Plan { changes: upgrade("1.1"), on_host: Default::default() };
        let outcome = Some(RunOutcome::Verified);
        Run { outcome, ..Run::new(RunId::parse(id).unwrap(), plan, "ann", now() - TimeDelta::days(days)) }
    };
    let (recent, old) = (run("20260130-120000-abc", 1), run("20260120-120000-abc", 8));
    for run in [&recent, &old] {
        rig.hands.runs().write(run).unwrap();
    }
    let policy = rig.dir.path().join("policy.toml");
    let back = |id: &str, number, run: &Run| {
        signed(&Order {
            ask: PlanAsk::undo(run.id.clone(), Vec::new()),
            changes: lower.clone(),
            ..order(id, number)
        })
    };

    // when, then: the older one may not go where the policy allows nothing to go
    std::fs::write(&policy, "downgrades = false").unwrap();
    rig.refuses(back("c1", 1, &old), "older than `updates.undo_days`").await;
    std::fs::write(&policy, "undo = false").unwrap();
    rig.refuses(back("c2", 2, &recent), "`undo = true`").await;
    // The plan of this host's only package is another one: beyond the policy, that is what is found.
    std::fs::write(&policy, "downgrades = false").unwrap();
    rig.refuses(back("c3", 3, &recent), "no longer holds").await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_taken_and_not_begun_before_a_crash_is_begun() {
    let rig = Rig::new().await;
    rig.hands.order_keys().take(&order("c1", 1)).unwrap();
    rig.carry_out(signed(&order("c1", 1))).await.unwrap();
    assert_eq!(rig.changed(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_order_waits_for_the_run_that_is_under_way() {
    let rig = Rig::new().await;
    let lock = rig.hands.runs().lock().unwrap();
    let (other, run) = tokio::join!(
        async {
            sleep(Duration::from_secs(30)).await;
            drop(lock);
        },
        rig.carry_out(signed(&order("c1", 1)))
    );
    assert_eq!((other, run.unwrap().outcome), ((), Some(RunOutcome::Verified)));
}

#[tokio::test(start_paused = true)]
async fn a_run_is_told_with_the_end_of_its_log_until_it_was_told() {
    let rig = Rig::new().await;
    let agent = AgentId::new("a1");
    let run = rig.carry_out(signed(&order("c1", 1))).await.unwrap();
    let log = "é".repeat(crate::protocol::v3::LOG_LIMIT);
    std::fs::write(rig.hands.runs().folder(&run.id).unwrap().join("log.txt"), log + "end").unwrap();
    assert_eq!(rig.hands.untold(&agent).await.unwrap(), std::slice::from_ref(&run.id));

    let RunTold { run: told, log, .. } = rig.hands.read_run(&run.id).await.unwrap().unwrap();
    assert_eq!(told, run);
    assert!(log.len() <= crate::protocol::v3::LOG_LIMIT && log.ends_with("éend"));
    rig.hands.mark_told(&run.id, &agent).await.unwrap();

    assert_eq!(rig.hands.untold(&agent).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_the_host_says_whether_it_is_restarted_and_whether_its_services_are() {
    let rig = Rig::new().await;
    let restart = PlannedChange::restart_of_host();
    let ask = PlanAsk::Reboot(RebootAsk { delay_minutes: 1, message: String::new() });
    let changes = Changes::new(vec![restart]).unwrap();
    rig.refuses(signed(&Order { ask: ask.clone(), changes, ..order("c1", 1) }), "`reboot = true`").await;
    // What it was asked for is signed too: a restart cannot hide behind an upgrade, nor an upgrade behind a restart.
    rig.refuses(signed(&Order { ask, ..order("c2", 2) }), "no longer holds").await;
    std::fs::write(rig.dir.path().join("policy.toml"), "restart_services = false").unwrap();
    let ask = PlanAsk::Install { wanted: Wanted::All, restart_services: true };
    rig.refuses(signed(&Order { ask, ..order("c3", 3) }), "no service may be restarted").await;
}
