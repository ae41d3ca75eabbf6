//! The installer under moved time, with the poller and the reporter that it works with.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::actors::agent::testing::*;
use crate::domain::order::{KeyOffer, Order, SigningKey};
use crate::domain::report::Report;
use crate::domain::update::{Changes, Plan, RunId, Wanted};
use crate::protocol::v3::{RunTold, SESSION_UNKNOWN};
use crate::updates::KeyWas;

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn plans(heard: &Heard) -> Option<PlanTold> {
    if let Heard::Plan(plan) = heard { Some(PlanTold::clone(plan)) } else { None }
}

fn runs(heard: &Heard) -> Option<RunTold> {
    if let Heard::Run(run) = heard { Some(RunTold::clone(run)) } else { None }
}

/// Plans, runs and results, in the order in which they were heard.
fn order_of(heard: &Heard) -> Option<String> {
    match heard {
        Heard::Plan(plan) => Some(format!("plan {}", plan.command)),
        Heard::Run(run) => Some(format!("run {}", run.run.id)),
        Heard::Result(id, outcome) => Some(format!("result {id} {}", outcome.succeeded)),
        _ => None,
    }
}

fn progress(heard: &Heard) -> Option<RunProgress> {
    let (_, items) = batches(heard)?;
    items
        .into_iter()
        .find_map(|item| if let Report::Run { progress } = item { Some(*progress) } else { None })
}

fn ask() -> Value {
    json!({"action": "plan_updates", "ask": PlanAsk::install(Wanted::All)})
}

fn order(id: &str) -> Value {
    let now = at("2026-01-31T12:00:00Z");
    let order = Order {
        id: CommandId::new(id),
        agent: AgentId::new("a1"),
        number: 1,
        ask: PlanAsk::install(Wanted::All),
        changes: Changes::new(Vec::new()).unwrap(),
        by: "ann".into(),
        issued_at: now,
        expires_at: now + TimeDelta::hours(1),
    };
    json!({"action": "carry_out_plan", "order": order.sign(&SigningKey::from_seed(&[1; 32]))})
}

async fn until_errands(agent: &TestAgent, count: usize) {
    let came = async {
        while agent.hands.errands().len() < count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, came).await.expect("it is carried out");
}

#[test]
fn a_plan_is_told_before_the_result_of_its_command() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        let problem = Problem { reason: "no list is readable".into(), way_out: Some("refresh".into()) };
        master.queue(delivered("c1", ask()));
        master.until(1, results).await;
        agent.hands.plan_as(Err(problem.clone()));
        master.queue(delivered("c2", ask()));

        assert_eq!(
            master.until(4, order_of).await,
            ["plan c1", "result c1 true", "plan c2", "result c2 false"]
        );
        let told = master.picked(plans);
        assert_eq!((&told[0].plan, &told[0].problem), (&Some(Plan::nothing()), &None));
        assert_eq!((&told[1].plan, &told[1].problem), (&None, &Some(problem)));
    });
}

#[test]
fn a_run_is_stopped_while_it_is_under_way_and_not_after_it() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        agent.hands.hold(true);
        master.queue(delivered("c1", order("c1")));
        until_errands(&agent, 1).await;

        master.queue(delivered("c2", json!({"action": "cancel_run", "run": "run-c1", "by": "bob"})));

        assert_eq!(master.until(1, order_of).await, ["result c2 true"]);
        assert_eq!(agent.hands.cancelled(), ["run-c1 by bob"]);
        agent.hands.hold(false);
        master.until(3, order_of).await;
    });
}

#[test]
fn an_order_is_carried_out_and_told_and_the_host_looked_at_again() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        master.show_time(at("2026-01-31T12:00:30Z"));
        let scans = agent.scans();
        agent.hands.say(RunProgress {
            run: RunId::parse("run-c1").unwrap(),
            order: Some(CommandId::new("c1")),
            plan: Plan::nothing().id(),
            by: "ann".into(),
            started_at: at("2026-01-31T12:00:00Z"),
            done: vec!["check".into()],
            step: Some("install".into()),
            percent: Some(40),
            words: "unpacking".into(),
            log: "Unpacking".into(),
        });
        agent.hands.hold(true);
        master.queue(delivered("c1", order("c1")));

        let said = master.until(1, progress).await.remove(0);
        assert_eq!((said.step.as_deref(), said.percent), (Some("install"), Some(40)));
        // A master that lost its session hears again how far it is.
        master.answer_with(|heard| {
            matches!(heard, Heard::Batch(_)).then(|| refused(409, Some(SESSION_UNKNOWN)))
        });
        sleep(secs(40)).await;
        master.come_back();
        master.forget();
        master.until(1, progress).await;
        agent.hands.hold(false);

        assert_eq!(master.until(2, order_of).await, ["run run-c1", "result c1 true"]);
        let errand = agent.hands.errands().remove(0);
        assert_eq!((errand.agent.as_str(), errand.expired), ("a1", None));
        assert_eq!(errand.ahead, Some(TimeDelta::seconds(30)));
        assert_eq!(agent.hands.told(), ["run-c1 as a1"]);
        assert_eq!(agent.scans(), scans + 1);
    });
}

#[test]
fn a_run_that_failed_and_an_order_that_was_refused_say_why() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        agent.hands.end_as(Ok(RunOutcome::RolledBack { reason: "nginx did not start".into() }));
        master.queue(delivered("c1", order("c1")));
        master.until(1, results).await;
        agent.hands.end_as(Err("the plan no longer holds: bash"));
        master.queue(delivered("c2", order("c2")));

        let told = master.until(2, results).await;

        assert!(told.iter().all(|(_, outcome)| !outcome.succeeded), "{told:?}");
        assert_eq!(told[0].1.message, "run-c1: rolled back: nginx did not start");
        assert_eq!(told[1].1.message, "the plan no longer holds: bash");
        assert_eq!(master.picked(runs).len(), 1, "what was refused is no run");
    });
}

#[test]
fn one_thing_is_done_at_a_time_and_too_much_is_refused() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        agent.hands.hold(true);
        master.queue(delivered("c0", order("c0")));
        until_errands(&agent, 1).await;
        for number in 1..=QUEUE + 1 {
            master.queue(delivered(&format!("c{number}"), ask()));
        }

        let (id, outcome) = master.until(1, results).await.remove(0);
        assert_eq!((id, outcome.succeeded), (format!("c{}", QUEUE + 1), false));
        assert!(outcome.message.contains("try again later"), "{}", outcome.message);
        assert_eq!(agent.hands.asked().len(), 0, "a run is interrupted by nothing");
        let status = agent.installer.ask(GetStatus, secs(1)).await.unwrap();
        assert_eq!((status.state, status.detail["waiting"].clone()), ("carrying out", json!(QUEUE)));

        agent.hands.hold(false);
        master.until(QUEUE + 2, results).await;
        assert_eq!(agent.hands.asked().len(), QUEUE);
    });
}

#[test]
fn an_order_is_gone_on_with_after_a_restart_even_if_it_expired_meanwhile() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        agent.hands.hold(true);
        let mut command = delivered("c1", order("c1"));
        command.expires_at = command.issued_at + TimeDelta::seconds(10);
        master.queue(command);
        until_errands(&agent, 1).await;
        sleep(secs(20)).await;
        agent.stop().await;

        let agent = TestAgent::polling_later(&master, &dir, TimeDelta::seconds(60)).await;

        assert_eq!(master.until(1, results).await[0].0, "c1");
        assert!(agent.hands.errands()[0].expired.is_some(), "whether it was begun is known to the hands");
    });
}

#[test]
fn runs_that_somebody_began_on_the_host_are_told_once() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        agent.hands.add_run("20260131-110000-a");
        assert_eq!(master.until(1, runs).await[0].log, "done\n");
        agent.hands.add_run("20260131-120000-a");
        let told = master.until(2, runs).await;
        sleep(secs(3600)).await;

        assert_eq!(told[1].run.id.as_str(), "20260131-120000-a");
        assert_eq!(master.picked(runs).len(), 2);
        assert_eq!(agent.hands.told(), ["20260131-110000-a as a1", "20260131-120000-a as a1"]);
    });
}

#[test]
fn a_master_that_takes_no_runs_is_told_of_none() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let agent = TestAgent::polling(&master, &dir).await;
        agent.hands.add_run("20260131-110000-a");
        sleep(secs(3600)).await;
        assert_eq!(agent.state.count_spooled().await.unwrap(), 0);
        assert!(agent.hands.told().is_empty());
    });
}

#[test]
fn a_master_that_was_replaced_by_an_older_one_does_not_hold_up_results() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let _agent = TestAgent::polling(&master, &dir).await;
        master.answer_with(|heard| matches!(heard, Heard::Run(_)).then(|| refused(404, None)));
        master.queue(delivered("c1", order("c1")));
        assert_eq!(master.until(2, order_of).await, ["run run-c1", "result c1 true"]);
        assert_eq!(master.picked(registrations).len(), 1);
    });
}

#[test]
fn the_key_of_the_master_is_shown_to_the_hands_and_one_that_is_refused_is_a_problem() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let offer = KeyOffer { key: SigningKey::from_seed(&[1; 32]).public(), endorsed: Vec::new() };
        master.show_key(&offer);
        let agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, batches).await;
        assert_eq!(agent.hands.offers(), [(offer, AgentId::new("a1"))]);
        assert_eq!(agent.reporter.ask(GetStatus, secs(1)).await.unwrap().problem, None);

        agent.hands.take_keys_as(KeyWas::Refused);
        master.answer_with(|heard| {
            matches!(heard, Heard::Batch(_)).then(|| refused(409, Some(SESSION_UNKNOWN)))
        });
        sleep(secs(60)).await;
        master.come_back();
        master.forget();
        master.until(1, batches).await;

        let problem = agent.reporter.ask(GetStatus, secs(1)).await.unwrap().problem.unwrap();
        assert!(problem.contains("lightship trust-key"), "{problem}");
    });
}
