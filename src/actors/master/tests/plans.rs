//! What hosts would change, people's yes to it, and what comes of it.

use super::*;
use crate::actors::master::old_plans;
use crate::db::approvals::{ApprovalFilter, ApprovalRow, list_approvals};
use crate::db::plans::{HostPlanRow, find_host_plan, find_plan};
use crate::db::runs::find_run;
use crate::db::updates::updates_of;
use crate::domain::event::CommandEvent;
use crate::domain::id::{ApprovalId, RequestId};
use crate::domain::order::{Order, PinnedKeys};
use crate::domain::update::{
    ApprovalStatus, Changes, Checked, FailedImage, Finding, Findings, Kind, Operation, Plan, PlanAsk, PlanId,
    PlannedChange, Problem, Run, RunId, RunOutcome, RunProgress, Scanned, Standing, State, Wanted,
};
use crate::protocol::v3::{PlanTold, RunTold};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn change(name: &str, to: &str) -> PlannedChange {
    PlannedChange {
        kind: Kind::Apt,
        name: name.into(),
        arch: "amd64".into(),
        operation: Operation::Upgrade,
        from: Some("1.0".into()),
        to: Some(to.into()),
        digest: Some("aa".into()),
    }
}

pub(super) fn plan(to: &str) -> Plan {
    Plan { changes: Changes::new(vec![change("bash", to)]).unwrap(), on_host: Default::default() }
}

pub(super) fn ask() -> PlanAsk {
    PlanAsk::install(Wanted::Named(vec!["apt:bash".into()]))
}

/// A scan that found this, and nothing else of its kind.
pub(super) fn only(kind: Kind, finding: Finding) -> Findings {
    let checked = Checked {
        kind,
        ok: true,
        as_of: None,
        problem: None,
        is_complete: true,
        digest: "d".into(),
        count: 1,
        pending: 1,
    };
    Findings { checked, items: vec![finding] }
}

/// The image of [`container_plan`] fails on a host, and is put back there.
pub(super) async fn image_fails(rig: &Rig, agent: &AgentId, digest: &str) {
    let at = rig.master.clock.now();
    let reason = "web is unhealthy".to_owned();
    let run = Run {
        ended_at: Some(at),
        outcome: Some(RunOutcome::RolledBack { reason: reason.clone() }),
        ..Run::new(RunId::parse("20270101-000000-aaaa").unwrap(), container_plan(digest), "ann", at)
    };
    let image = FailedImage { digest: digest.into(), image: "nginx:1.25".into(), reason };
    rig.master
        .take_run(agent, RunTold { run, log: String::new(), failed_images: vec![image] })
        .await
        .unwrap();
}

/// An enrolled agent of ours, on whose host a newer `bash` was found.
pub(super) async fn host(rig: &Rig, tunnel: &str) -> AgentId {
    let (agent, raw) = rig.enrolled(tunnel).await;
    rig.register(&raw, native(Some(&agent))).await.unwrap();
    rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();
    let mut finding = Finding::new("bash", Standing::Newer);
    finding.available_version = Some("1.1".into());
    let findings = only(Kind::Apt, finding);
    let scan = Scanned { at: rig.master.clock.now(), scanners: vec![findings.checked.clone()] };
    rig.report(&agent, vec![Report::Scanned { scan }]).await;
    rig.report(&agent, vec![Report::Findings { findings }]).await;
    agent
}

/// Asks, hands the question over, and has the host answer with a plan.
pub(super) async fn planned(rig: &Rig, agent: &AgentId, to: &str) -> (RequestId, PlanId) {
    let asked = rig.master.ask_plans(vec![(agent.clone(), ask())], "ann").await.unwrap();
    assert!(asked.left.is_empty(), "{:?}", asked.left);
    answer(rig, agent, to).await;
    (asked.id, plan(to).id())
}

pub(super) async fn answer(rig: &Rig, agent: &AgentId, to: &str) {
    let leased = rig.master.lease_commands(agent, 10, Dialect::Native).await.unwrap();
    let question = leased.iter().find(|one| one.command.kind.action() == "plan_updates").expect("a question");
    let told = PlanTold { command: question.command.id.clone(), plan: Some(plan(to)), problem: None };
    rig.master.take_plan(agent, told).await.unwrap();
    finish(rig, agent, &question.command.id, true, "1 change").await;
}

pub(super) async fn finish(
    rig: &Rig,
    agent: &AgentId,
    id: &crate::domain::id::CommandId,
    succeeded: bool,
    message: &str,
) {
    let outcome = Outcome { succeeded, message: message.into(), finished_at: None };
    rig.master.finish(agent, id, outcome).await.unwrap();
}

async fn approve(
    rig: &Rig,
    agent: &AgentId,
    request: &RequestId,
    plan: &PlanId,
    by: &str,
) -> Result<ApprovalId, MasterError> {
    let mut done = rig.master.approve_plan(request, plan, vec![agent.clone()], DAY, (by, None)).await?;
    match done.left.pop() {
        Some((_, why)) => Err(why),
        None => Ok(done.id),
    }
}

pub(super) async fn approval(rig: &Rig, agent: &AgentId, id: &ApprovalId) -> ApprovalRow {
    db::approvals::find_approval(rig.db(), agent, id).await.unwrap().expect("it was given")
}

pub(super) async fn state(rig: &Rig, agent: &AgentId) -> Option<State> {
    updates_of(rig.db(), agent, Kind::Apt).await.unwrap()["bash"].state
}

/// Fetches the orders that wait, opened with the key that a host would have pinned.
pub(super) async fn orders(rig: &Rig, agent: &AgentId) -> Vec<Order> {
    let mut pinned = PinnedKeys::default();
    pinned.offer(&rig.master.directory.order_key().expect("a key"), rig.master.clock.now());
    let leased = rig.master.lease_commands(agent, 10, Dialect::Native).await.unwrap();
    let signed = leased.into_iter().filter_map(|one| one.order);
    signed.map(|order| order.open(&pinned, rig.master.clock.now()).unwrap()).collect()
}

pub(super) fn ended(order: &Order, outcome: RunOutcome) -> RunTold {
    let at = order.issued_at;
    let run = Run {
        order: Some(order.id.clone()),
        ended_at: Some(at),
        outcome: Some(outcome),
        ..Run::new(RunId::parse("20270115-080000-x7k2").unwrap(), plan("1.1"), "ann", at)
    };
    RunTold { run, failed_images: Vec::new(), log: "all went well\n".into() }
}

fn under_way(order: &Order) -> RunProgress {
    RunProgress {
        run: RunId::parse("20270115-080000-x7k2").unwrap(),
        order: Some(order.id.clone()),
        plan: order.changes.id(),
        by: "ann".into(),
        started_at: order.issued_at,
        done: vec!["apt.check".into()],
        step: Some("apt.fetch".into()),
        percent: Some(40),
        words: "fetching".into(),
        log: "one\n".into(),
    }
}

#[test]
fn a_plan_is_asked_for_answered_approved_ordered_and_carried_out() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        assert_eq!(state(&rig, &agent).await, Some(State::Discovered), "looking changes nothing");

        let id = approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();

        assert_eq!(state(&rig, &agent).await, Some(State::Approved));
        let given = approval(&rig, &agent, &id).await;
        assert_eq!((given.status, given.given_by.as_str()), (ApprovalStatus::Ordered, "ann"));
        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        assert_eq!((&order.agent, order.by.as_str()), (&agent, "ann"));
        assert_eq!((&order.changes, &order.ask), (&plan("1.1").changes, &ask()));
        assert_eq!(order.expires_at, given.expires_at);

        let progress = under_way(order);
        rig.report(&agent, vec![Report::Run { progress: Box::new(progress.clone()) }]).await;
        assert_eq!(state(&rig, &agent).await, Some(State::Installing));
        let row = find_run(rig.db(), &agent, &progress.run).await.unwrap().unwrap();
        assert_eq!((row.status(), row.percent), ("running", Some(40)));

        let told = ended(order, RunOutcome::Verified);
        rig.master.take_run(&agent, told.clone()).await.unwrap();
        finish(&rig, &agent, &order.id, true, "verified").await;
        // A late word about how far it was, and the same end once more, change nothing.
        rig.report(&agent, vec![Report::Run { progress: Box::new(progress) }]).await;
        rig.master.take_run(&agent, told).await.unwrap();

        assert_eq!(state(&rig, &agent).await, Some(State::Verified));
        let row = find_run(rig.db(), &agent, &RunId::parse("20270115-080000-x7k2").unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((row.status(), row.log.as_str()), ("verified", "all went well\n"));
        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Verified);
        assert_eq!(rig.events(&Stream::updates(&agent), "update_run_ended").await, 1);
    });
}

#[test]
fn one_yes_is_for_every_host_with_the_same_plan_and_for_no_other() {
    run(async {
        let rig = Rig::start().await;
        let [one, other, third] = [host(&rig, "a").await, host(&rig, "b").await, host(&rig, "c").await];
        let asks = [&one, &other, &third].map(|agent| (agent.clone(), ask()));
        let asked = rig.master.ask_plans(asks.to_vec(), "ann").await.unwrap();
        answer(&rig, &one, "1.1").await;
        answer(&rig, &other, "1.1").await;
        answer(&rig, &third, "1.2").await;

        let all = vec![one.clone(), other.clone(), third.clone()];
        let done =
            rig.master.approve_plan(&asked.id, &plan("1.1").id(), all, DAY, ("ann", None)).await.unwrap();

        let mut both = vec![one.clone(), other.clone()];
        both.sort();
        assert_eq!(done.done, both);
        let [(left, why)] = &done.left[..] else { panic!("one is left") };
        assert!(*left == third && why.to_string().contains("another plan"), "{why}");
        for agent in [&one, &other] {
            assert_eq!(orders(&rig, agent).await[0].agent, *agent);
        }
        assert!(orders(&rig, &third).await.is_empty());
    });
}

#[test]
fn a_second_person_has_to_agree_if_that_is_set() {
    run(async {
        let settings = MasterSettings { second_approval: true, ..MasterSettings::default() };
        let rig = Rig::with(settings).await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;

        let id = approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();

        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Waiting);
        assert!(orders(&rig, &agent).await.is_empty());
        let same = rig.master.second_approval(&id, "ann").await.unwrap();
        assert!(same.left[0].1.to_string().contains("a second person"), "{}", same.left[0].1);
        assert!(orders(&rig, &agent).await.is_empty());

        let second = rig.master.second_approval(&id, "bob").await.unwrap();
        assert!(second.left.is_empty(), "{:?}", second.left);
        assert_eq!(orders(&rig, &agent).await[0].by, "ann and bob");
    });
}

#[test]
fn a_yes_is_taken_back_only_before_the_host_has_it() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        let id = approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();
        let again = approve(&rig, &agent, &request, &plan_id, "bob").await.unwrap_err().to_string();
        assert!(again.contains("ann said yes"), "{again}");

        assert!(rig.master.withdraw_approval(&id, "bob").await.unwrap().left.is_empty());

        let given = approval(&rig, &agent, &id).await;
        assert_eq!(
            (given.status, given.reason.as_deref()),
            (ApprovalStatus::Withdrawn, Some("taken back by bob"))
        );
        assert_eq!(state(&rig, &agent).await, Some(State::Discovered));
        assert!(orders(&rig, &agent).await.is_empty());

        let id = approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();
        assert_eq!(orders(&rig, &agent).await.len(), 1);
        let late = rig.master.withdraw_approval(&id, "bob").await.unwrap();
        assert!(late.left[0].1.to_string().contains("fetched"), "{}", late.left[0].1);
        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Ordered);
    });
}

#[test]
fn what_a_host_refuses_or_nobody_fetches_is_shown_with_the_reason_and_changes_nothing() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        let refused = approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();
        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        finish(&rig, &agent, &order.id, false, "the policy of this host forbids it").await;
        let given = approval(&rig, &agent, &refused).await;
        assert_eq!(given.status, ApprovalStatus::Withdrawn);
        assert_eq!(given.reason.as_deref(), Some("the policy of this host forbids it"));
        assert_eq!(state(&rig, &agent).await, Some(State::Discovered));

        let forgotten = approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();
        rig.master.clock.jump(chrono::TimeDelta::days(1));
        until("it is over", async || {
            rig.master.env.fleet.nudge(&agent, super::super::fleet::Work::Due);
            approval(&rig, &agent, &forgotten).await.status == ApprovalStatus::Withdrawn
        })
        .await;
        assert!(orders(&rig, &agent).await.is_empty());
    });
}

#[test]
fn a_run_that_takes_longer_than_its_yes_counts_is_neither_ordered_again_nor_said_to_have_come_to_nothing() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        let id = approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();
        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        rig.master.acknowledge(&agent, &order.id).await.unwrap();
        let tell = async || {
            rig.report(&agent, vec![Report::Run { progress: Box::new(under_way(order)) }]).await;
        };
        let commands = Stream::commands(&agent);

        // It tells of itself; after most of its lease it gets another.
        tell().await;
        rig.master.clock.jump(chrono::TimeDelta::seconds(599));
        tell().await;
        rig.master.clock.jump(chrono::TimeDelta::seconds(2));
        tell().await;
        assert_eq!(rig.events(&commands, "command_renewed").await, 1);
        assert!(orders(&rig, &agent).await.is_empty(), "it has it");

        // Then nothing is heard of the host until long after the time for which the yes counted.
        rig.master.clock.jump(chrono::TimeDelta::days(2));
        rig.master.env.fleet.nudge(&agent, super::super::fleet::Work::Due);
        until("the lease is over", async || rig.events(&commands, "command_expired").await == 1).await;
        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Ordered);
        assert_eq!(state(&rig, &agent).await, Some(State::Installing));
        let late = rig.master.withdraw_approval(&id, "bob").await.unwrap();
        assert!(late.left[0].1.to_string().contains("has fetched the order"), "{:?}", late.left);
        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Ordered);

        rig.master.take_run(&agent, ended(order, RunOutcome::Verified)).await.unwrap();
        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Verified);
        assert_eq!(state(&rig, &agent).await, Some(State::Verified));
    });
}

#[test]
fn a_host_that_fetched_an_order_and_fell_silent_is_not_said_to_have_changed_nothing() {
    run(async {
        // given: a host that has the order, and a line that is down until after it would have expired
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        let id = approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();
        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        rig.master.acknowledge(&agent, &order.id).await.unwrap();
        rig.master.clock.jump(chrono::TimeDelta::days(2));
        let event = CommandEvent::Expired { agent_id: agent.clone(), command_id: order.id.clone() };
        let env = &rig.master.env;
        let batch = env.batch("system").append(Stream::commands(&agent), db::Expected::Head, vec![event]);
        env.ledger.commit(batch).await.unwrap();

        // when
        let late = rig.master.withdraw_approval(&id, "bob").await.unwrap();

        // then: it is not called taken back, and its end says what is known
        if approval(&rig, &agent, &id).await.status == ApprovalStatus::Ordered {
            assert!(late.left[0].1.to_string().contains("has fetched the order"), "{:?}", late.left);
        }
        until("it is over", async || {
            env.fleet.nudge(&agent, super::super::fleet::Work::Due);
            approval(&rig, &agent, &id).await.status == ApprovalStatus::Withdrawn
        })
        .await;
        let reason = approval(&rig, &agent, &id).await.reason.unwrap();
        assert!(reason.contains("fetched it and was not heard of since"), "{reason}");

        // What the host tells later stands in its place.
        rig.master.take_run(&agent, ended(order, RunOutcome::Verified)).await.unwrap();
        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Verified);
    });
}

#[test]
fn a_yes_survives_a_restart_of_the_master_and_orders_once() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        approve(&rig, &agent, &request, &plan_id, "ann").await.unwrap();
        let rig = rig.restart().await;
        assert_eq!(orders(&rig, &agent).await.len(), 1);
        let filter = ApprovalFilter { agent: Some(agent.clone()), ..ApprovalFilter::default() };
        assert_eq!(list_approvals(rig.db(), &filter, 10).await.unwrap().len(), 1);
    });
}

#[test]
fn orders_reach_a_host_in_the_order_in_which_they_were_given() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (first, first_plan) = planned(&rig, &agent, "1.1").await;
        let (second, second_plan) = planned(&rig, &agent, "1.2").await;
        approve(&rig, &agent, &first, &first_plan, "ann").await.unwrap();
        let [before] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        // Whether it arrived is not known: nothing that was decided later overtakes it.
        approve(&rig, &agent, &second, &second_plan, "ann").await.unwrap();
        assert!(orders(&rig, &agent).await.is_empty());

        rig.master.clock.jump(chrono::TimeDelta::seconds(6));

        let both = orders(&rig, &agent).await;
        assert_eq!(both.iter().map(|order| &order.id).next(), Some(&before.id));
        assert!(both.len() == 2 && both[0].number < both[1].number);
    });
}

#[test]
fn only_a_host_of_ours_that_a_person_said_yes_to_is_asked_and_an_empty_plan_needs_no_yes() {
    run(async {
        let rig = Rig::start().await;
        let (pending, _) = rig.agent().await;
        let (dockflare, _) = rig.enrolled("old").await;
        let agent = host(&rig, "edge").await;
        let asks = [&pending, &dockflare, &agent].map(|agent| (agent.clone(), ask()));
        let asked = rig.master.ask_plans(asks.to_vec(), "ann").await.unwrap();
        assert_eq!(asked.done, std::slice::from_ref(&agent));
        let said: Vec<String> = asked.left.iter().map(|(_, why)| why.to_string()).collect();
        assert!(said.iter().any(|why| why.contains("approve the host first")), "{said:?}");
        assert!(said.iter().any(|why| why.contains("DockFlare")), "{said:?}");

        let leased = rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();
        let command = leased[0].command.id.clone();
        let empty = PlanTold { command: command.clone(), plan: Some(Plan::nothing()), problem: None };
        rig.master.take_plan(&agent, empty).await.unwrap();
        let why =
            approve(&rig, &agent, &asked.id, &Plan::nothing().id(), "ann").await.unwrap_err().to_string();
        assert!(why.contains("changes nothing"), "{why}");
        // A host that cannot say is heard with its reason.
        let problem = Problem { reason: "no list".into(), way_out: None };
        rig.master.take_plan(&agent, PlanTold { command, plan: None, problem: Some(problem) }).await.unwrap();
        let row: HostPlanRow = find_host_plan(rig.db(), &agent, &asked.id).await.unwrap().unwrap();
        assert_eq!(row.answer.unwrap().plan.unwrap_err().reason, "no list");
    });
}

#[test]
fn a_run_that_was_begun_on_the_host_itself_joins_the_history_once() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let at = rig.master.clock.now();
        let alone = Run {
            ended_at: Some(at),
            outcome: Some(RunOutcome::Verified),
            ..Run::new(RunId::parse("20270101-000000-aaaa").unwrap(), plan("1.1"), "root", at)
        };
        for _ in 0..2 {
            let told = RunTold { run: alone.clone(), log: String::new(), failed_images: Vec::new() };
            rig.master.take_run(&agent, told).await.unwrap();
        }
        assert_eq!(rig.events(&Stream::updates(&agent), "update_run_ended").await, 1);
        let row = find_run(rig.db(), &agent, &alone.id).await.unwrap().unwrap();
        assert_eq!((row.begun_by.as_str(), row.order_id), ("root", None));
    });
}

#[test]
fn the_key_of_orders_is_made_once_and_an_exchanged_one_is_followed_by_hosts() {
    run(async {
        let rig = Rig::start().await;
        until("there is a key", async || rig.master.directory.order_key().is_some()).await;
        let first = rig.master.directory.order_key().unwrap();
        let rig = rig.restart().await;
        assert_eq!(rig.master.directory.order_key(), Some(first.clone()));
        let mut host = PinnedKeys::default();
        host.offer(&first, rig.master.clock.now());

        let fingerprint = rig.master.exchange_order_key("ann").await.unwrap();

        let shown = rig.master.directory.order_key().unwrap();
        assert_eq!(shown.key.fingerprint(), fingerprint);
        host.offer(&shown, rig.master.clock.now());
        assert_eq!(host.present(), Some(&shown.key));
        let rig = rig.restart().await;
        assert_eq!(rig.master.directory.order_key(), Some(shown));
    });
}

/// Says yes to `bash` by its name, as RedFlag's API does.
pub(super) async fn want(
    rig: &Rig,
    agent: &AgentId,
    confirms: bool,
) -> Result<crate::domain::id::CommandId, MasterError> {
    let update = updates_of(rig.db(), agent, Kind::Apt).await.unwrap().remove("bash").unwrap();
    let row = db::updates::UpdateRow { agent_id: agent.clone(), kind: Kind::Apt, update };
    rig.master.want_update(&row, confirms, "ann").await
}

#[test]
fn a_yes_by_name_is_carried_out_if_that_changes_nothing_else() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let asked = want(&rig, &agent, false).await.unwrap();
        assert_eq!(state(&rig, &agent).await, Some(State::Approved));
        assert_eq!(want(&rig, &agent, false).await.unwrap(), asked, "it is on its way already");

        answer(&rig, &agent, "1.1").await;

        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        assert_eq!((order.by.as_str(), &order.changes), ("ann", &plan("1.1").changes));
    });
}

#[test]
fn what_a_yes_by_name_brings_along_waits_for_a_yes_to_all_of_it() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let command = want(&rig, &agent, false).await.unwrap();
        rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();
        let more = Changes::new(vec![change("bash", "1.1"), change("libc6", "2.0")]).unwrap();
        let more = Plan { changes: more, on_host: Default::default() };
        let told = PlanTold { command: command.clone(), plan: Some(more.clone()), problem: None };
        rig.master.take_plan(&agent, told).await.unwrap();
        finish(&rig, &agent, &command, true, "2 changes").await;

        assert_eq!(state(&rig, &agent).await, Some(State::Planned));
        assert!(orders(&rig, &agent).await.is_empty());

        want(&rig, &agent, true).await.unwrap();

        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        assert_eq!(order.changes, more.changes);
    });
}

#[test]
fn a_yes_by_name_comes_to_nothing_if_the_host_cannot_or_need_not() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        for told in [Some(Plan::nothing()), None] {
            let command = want(&rig, &agent, false).await.unwrap();
            rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();
            match told {
                Some(plan) => {
                    let told = PlanTold { command: command.clone(), plan: Some(plan), problem: None };
                    rig.master.take_plan(&agent, told).await.unwrap();
                    finish(&rig, &agent, &command, true, "nothing to change").await;
                }
                None => finish(&rig, &agent, &command, false, "the agent is too old").await,
            }
            assert_eq!(state(&rig, &agent).await, Some(State::Discovered));
            assert!(orders(&rig, &agent).await.is_empty());
        }
        assert!(want(&rig, &agent, true).await.unwrap_err().to_string().contains("nothing waits"));
    });
}

#[test]
fn a_host_that_can_only_say_that_it_failed_answers_its_question_with_that() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let asked = rig.master.ask_plans(vec![(agent.clone(), ask())], "ann").await.unwrap();
        let leased = rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();

        finish(&rig, &agent, &leased[0].command.id, false, "unsupported: this agent does not know it").await;

        let row = find_host_plan(rig.db(), &agent, &asked.id).await.unwrap().unwrap();
        assert!(row.answer.unwrap().plan.unwrap_err().reason.contains("does not know it"));
    });
}

pub(super) fn container_plan(digest: &str) -> Plan {
    let change = PlannedChange {
        kind: Kind::DockerImage,
        name: "web".into(),
        arch: String::new(),
        operation: Operation::Replace,
        from: Some("sha256:old".into()),
        to: Some(digest.into()),
        digest: Some(digest.into()),
    };
    Plan { changes: Changes::new(vec![change]).unwrap(), on_host: Default::default() }
}

/// Asks a host, which answers with this plan.
pub(super) async fn planned_so(rig: &Rig, agent: &AgentId, plan: &Plan) -> RequestId {
    let asked = rig.master.ask_plans(vec![(agent.clone(), ask())], "ann").await.unwrap();
    let leased = rig.master.lease_commands(agent, 10, Dialect::Native).await.unwrap();
    let command = leased[0].command.id.clone();
    let told = PlanTold { command: command.clone(), plan: Some(plan.clone()), problem: None };
    rig.master.take_plan(agent, told).await.unwrap();
    finish(rig, agent, &command, true, "1 change").await;
    asked.id
}

#[test]
fn an_image_that_failed_on_one_host_is_held_on_all_until_a_newer_one_or_a_person() {
    run(async {
        let rig = Rig::start().await;
        let [one, other] = [host(&rig, "a").await, host(&rig, "b").await];
        let bad = container_plan("sha256:bad");
        image_fails(&rig, &one, "sha256:bad").await;

        let request = planned_so(&rig, &other, &bad).await;
        let why = approve(&rig, &other, &request, &bad.id(), "ann").await.unwrap_err().to_string();
        assert!(why.contains("nginx:1.25") && why.contains("web is unhealthy"), "{why}");
        let newer = container_plan("sha256:newer");
        let request = planned_so(&rig, &other, &newer).await;
        approve(&rig, &other, &request, &newer.id(), "ann").await.unwrap();

        rig.master.let_image_go("sha256:bad", "ann").await.unwrap();

        assert!(matches!(rig.master.let_image_go("sha256:bad", "ann").await, Err(MasterError::ImageNotHeld)));
        let request = planned_so(&rig, &one, &bad).await;
        approve(&rig, &one, &request, &bad.id(), "ann").await.unwrap();
    });
}

#[test]
fn old_questions_go_and_plans_that_nothing_is_about_any_more_go_with_them() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let kept = async |to: &str| find_plan(rig.db(), &plan(to).id()).await.unwrap().is_some();
        let (approved, approved_plan) = planned(&rig, &agent, "1.1").await;
        let id = approve(&rig, &agent, &approved, &approved_plan, "ann").await.unwrap();
        let (looked_at, _) = planned(&rig, &agent, "1.2").await;
        old_plans::forget(&rig.master.env).await;
        assert!(kept("1.1").await && kept("1.2").await);

        rig.master.clock.jump(chrono::TimeDelta::days(91));
        let (recent, _) = planned(&rig, &agent, "1.3").await;
        // The questions go first, and then what only they were about.
        for _ in 0..2 {
            old_plans::forget(&rig.master.env).await;
        }

        for (request, is_there) in [(&approved, false), (&looked_at, false), (&recent, true)] {
            assert_eq!(find_host_plan(rig.db(), &agent, request).await.unwrap().is_some(), is_there);
        }
        assert!(!kept("1.2").await && kept("1.3").await);
        // What somebody said yes to is on record with all of it.
        assert!(kept("1.1").await && approval(&rig, &agent, &id).await.plan_id == approved_plan);

        // A plan that is worked out again is there again.
        planned(&rig, &agent, "1.2").await;
        old_plans::forget(&rig.master.env).await;
        assert!(kept("1.2").await);
    });
}
