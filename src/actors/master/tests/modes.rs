//! How far a yes goes: to exactly what was shown, to newer versions of the same, or past hosts that differ.

use super::plans::{DAY, answer, approval, ask, change, ended, finish, host, orders, plan, planned, state};
use super::*;
use crate::actors::master::Terms;
use crate::domain::id::{ApprovalId, RequestId};
use crate::domain::order::Order;
use crate::domain::update::{
    ApprovalMode, ApprovalStatus, Changes, FailedImage, Kind, Operation, Plan, PlanId, PlannedChange,
    Problem, Run, RunId, RunOutcome, State,
};
use crate::protocol::v3::{PlanTold, RunTold};

/// What a host says whose plan is not what it was.
const NO_LONGER: &str =
    "the plan no longer holds: bash: upgrade 1.0 → 1.2, planned was upgrade 1.0 → 1.1; nothing was changed";

fn terms(mode: ApprovalMode) -> Terms {
    Terms { lifetime: DAY, mode, not_before: None }
}

/// Says yes, and has the host fetch the order.
async fn ordered(rig: &Rig, agent: &AgentId, mode: ApprovalMode) -> (ApprovalId, Order) {
    let (request, plan_id) = planned(rig, agent, "1.1").await;
    let (id, left) = yes(rig, std::slice::from_ref(agent), (&request, &plan_id), mode).await;
    assert!(left.is_empty(), "{left:?}");
    let order = orders(rig, agent).await.pop().expect("an order");
    (id, order)
}

async fn yes(
    rig: &Rig,
    agents: &[AgentId],
    (request, plan): (&RequestId, &PlanId),
    mode: ApprovalMode,
) -> (ApprovalId, Vec<(AgentId, String)>) {
    let who = ("ann", None);
    let done = rig.master.approve_plan(request, plan, agents.to_vec(), terms(mode), who).await.unwrap();
    (done.id, done.left.into_iter().map(|(agent, why)| (agent, format!("{} {why}", why.code()))).collect())
}

/// The host answers the question that waits with other changes, or says why it cannot.
async fn answer_with(rig: &Rig, agent: &AgentId, told: Result<Vec<PlannedChange>, &str>) {
    let leased = rig.master.lease_commands(agent, 10, Dialect::Native).await.unwrap();
    let question = leased.iter().find(|one| one.command.kind.action() == "plan_updates").expect("a question");
    let command = question.command.id.clone();
    let is_good = told.is_ok();
    let (plan, problem) = match told {
        Ok(changes) => {
            (Some(Plan { changes: Changes::new(changes).unwrap(), on_host: Default::default() }), None)
        }
        Err(reason) => (None, Some(Problem { reason: reason.into(), way_out: None })),
    };
    rig.master.take_plan(agent, PlanTold { command: command.clone(), plan, problem }).await.unwrap();
    finish(rig, agent, &command, is_good, "planned").await;
}

#[test]
fn newer_versions_of_the_same_are_ordered_in_the_place_of_what_no_longer_holds_once() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (id, first) = ordered(&rig, &agent, ApprovalMode::SameScope).await;

        finish(&rig, &agent, &first.id, false, NO_LONGER).await;
        assert_eq!(
            approval(&rig, &agent, &id).await.status,
            ApprovalStatus::Ordered,
            "nobody has to say yes again"
        );
        answer(&rig, &agent, "1.2").await;

        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        assert_eq!((&order.changes, &order.ask), (&plan("1.2").changes, &ask()));
        assert!(order.number > first.number && order.id != first.id, "a host takes each number once");
        assert_eq!((order.by.as_str(), order.expires_at), ("ann (same scope)", first.expires_at));
        let given = approval(&rig, &agent, &id).await;
        assert_eq!((given.mode, &given.plan_id), (ApprovalMode::SameScope, &plan("1.2").id()));
        assert_eq!((given.shown_plan(), given.reissued_at.is_some()), (&plan("1.1").id(), true));
        assert_eq!(rig.events(&Stream::updates(&agent), "update_plan_reissued").await, 1);

        // It moves once more: that is the end of it.
        finish(&rig, &agent, &order.id, false, NO_LONGER).await;
        let given = approval(&rig, &agent, &id).await;
        assert_eq!((given.status, given.reason.as_deref()), (ApprovalStatus::Withdrawn, Some(NO_LONGER)));
        assert_eq!(state(&rig, &agent).await, Some(State::Discovered));
        assert!(orders(&rig, &agent).await.is_empty());
    });
}

#[test]
fn a_reissued_order_ends_verified_like_any_other_and_survives_a_restart() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (id, first) = ordered(&rig, &agent, ApprovalMode::SameScope).await;
        finish(&rig, &agent, &first.id, false, NO_LONGER).await;
        let rig = rig.restart().await;
        answer(&rig, &agent, "1.2").await;
        let rig = rig.restart().await;
        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };

        let mut told = ended(order, RunOutcome::Verified);
        told.run.plan = plan("1.2");
        rig.master.take_run(&agent, told).await.unwrap();

        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Verified);
        assert_eq!(state(&rig, &agent).await, Some(State::Verified));
    });
}

#[test]
fn what_is_beyond_the_scope_or_was_refused_for_another_reason_ends_the_yes_and_says_why() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (newer, more) = (change("bash", "1.2"), change("libc6", "2.0"));
        for (told, message, words) in [
            (
                Ok(vec![newer.clone(), more]),
                NO_LONGER,
                "`libc6`: it would be changed so too, which was not approved",
            ),
            (
                Ok(vec![change("bash", "1.0.5")]),
                NO_LONGER,
                "`bash`: it would be at an older version than the approved one",
            ),
            (Ok(vec![]), NO_LONGER, "`bash`: it was approved, and would not be changed so any more"),
            (Err("APT is broken"), NO_LONGER, "it could not be planned anew: APT is broken"),
            (
                Ok(vec![change("bash", "1.1")]),
                "the policy of this host forbids it",
                "the policy of this host forbids it",
            ),
        ] {
            let (id, order) = ordered(&rig, &agent, ApprovalMode::SameScope).await;
            finish(&rig, &agent, &order.id, false, message).await;
            answer_with(&rig, &agent, told).await;
            let given = approval(&rig, &agent, &id).await;
            let reason = given.reason.unwrap_or_default();
            assert!(given.status == ApprovalStatus::Withdrawn && reason.contains(words), "{words}: {reason}");
            assert_eq!(state(&rig, &agent).await, Some(State::Discovered), "{words}");
            assert!(orders(&rig, &agent).await.is_empty(), "{words}");
        }
        assert_eq!(rig.events(&Stream::updates(&agent), "update_plan_reissued").await, 0);
    });
}

#[test]
fn a_yes_that_is_taken_back_or_over_while_the_host_plans_anew_is_given_no_order() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (id, order) = ordered(&rig, &agent, ApprovalMode::SameScope).await;
        finish(&rig, &agent, &order.id, false, NO_LONGER).await;
        assert!(rig.master.withdraw_approval(&id, "bob").await.unwrap().left.is_empty());
        answer(&rig, &agent, "1.2").await;
        assert!(orders(&rig, &agent).await.is_empty());
        let given = approval(&rig, &agent, &id).await;
        assert_eq!(given.reason.as_deref(), Some("taken back by bob"));
    });
}

#[test]
fn an_exact_yes_is_reissued_by_nothing_and_a_host_that_is_passed_over_says_so() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        for (mode, words) in [
            (ApprovalMode::Exact, NO_LONGER.to_owned()),
            (ApprovalMode::Skip, format!("passed over: {NO_LONGER}")),
        ] {
            let (id, order) = ordered(&rig, &agent, mode).await;
            assert_eq!(order.by, "ann");
            finish(&rig, &agent, &order.id, false, NO_LONGER).await;
            let given = approval(&rig, &agent, &id).await;
            assert_eq!((given.status, given.mode), (ApprovalStatus::Withdrawn, mode));
            assert_eq!(given.reason, Some(words));
            let waiting = rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();
            assert!(waiting.is_empty(), "nothing is asked anew: {waiting:?}");
        }
    });
}

#[test]
fn one_yes_reaches_hosts_with_newer_versions_or_passes_them_over_as_the_person_says() {
    run(async {
        let rig = Rig::start().await;
        let [one, newer, other] = [host(&rig, "a").await, host(&rig, "b").await, host(&rig, "c").await];
        let all = [one.clone(), newer.clone(), other.clone()];
        for mode in [ApprovalMode::Skip, ApprovalMode::SameScope] {
            let asks = all.iter().map(|agent| (agent.clone(), ask())).collect();
            let asked = rig.master.ask_plans(asks, "ann").await.unwrap().id;
            answer(&rig, &one, "1.1").await;
            answer(&rig, &newer, "1.2").await;
            answer_with(&rig, &other, Ok(vec![change("bash", "1.1"), change("libc6", "2.0")])).await;
            let (id, left) = yes(&rig, &all, (&asked, &plan("1.1").id()), mode).await;
            let reason =
                |agent: &AgentId| left.iter().find(|(left, _)| left == agent).map(|(_, why)| why.as_str());
            assert_eq!(reason(&one), None);
            match mode {
                ApprovalMode::SameScope => {
                    assert_eq!(reason(&newer), None);
                    assert!(reason(&other).unwrap().contains("`libc6`"), "{left:?}");
                    let [order] = &orders(&rig, &newer).await[..] else { panic!("one order") };
                    assert_eq!(
                        (&order.changes, order.by.as_str()),
                        (&plan("1.2").changes, "ann (same scope)")
                    );
                    let given = approval(&rig, &newer, &id).await;
                    assert_eq!((given.shown_plan(), given.reissued_at), (&plan("1.1").id(), None));
                }
                _ => {
                    assert!(reason(&newer).unwrap().starts_with("passed_over"), "{left:?}");
                    assert!(reason(&other).unwrap().starts_with("passed_over"), "{left:?}");
                    assert!(orders(&rig, &newer).await.is_empty());
                    assert!(rig.master.withdraw_approval(&id, "ann").await.unwrap().left.is_empty());
                }
            }
        }
        // A yes that reaches further begins at a plan that was shown.
        let asked = rig.master.ask_plans(vec![(one.clone(), ask())], "ann").await.unwrap().id;
        answer(&rig, &one, "1.3").await;
        let who = ("ann", None);
        let refused = rig
            .master
            .approve_plan(&asked, &plan("1.1").id(), vec![one], terms(ApprovalMode::SameScope), who)
            .await;
        assert_eq!(refused.unwrap_err().code(), "plan_not_found");
    });
}

#[test]
fn an_image_that_is_held_is_reached_by_no_yes() {
    run(async {
        let rig = Rig::start().await;
        let (agent, elsewhere) = (host(&rig, "edge").await, host(&rig, "other").await);
        let replace = |to: &str| PlannedChange {
            kind: Kind::DockerImage,
            arch: String::new(),
            operation: Operation::Replace,
            from: Some("sha256:a".into()),
            digest: Some(to.into()),
            ..change("web", to)
        };
        let asked = rig.master.ask_plans(vec![(agent.clone(), ask())], "ann").await.unwrap().id;
        answer_with(&rig, &agent, Ok(vec![replace("sha256:b")])).await;
        let plan_id = Changes::new(vec![replace("sha256:b")]).unwrap().id();
        let (id, left) =
            yes(&rig, std::slice::from_ref(&agent), (&asked, &plan_id), ApprovalMode::SameScope).await;
        assert!(left.is_empty(), "{left:?}");
        let order = orders(&rig, &agent).await.pop().unwrap();
        // given: the image that the tag holds by now failed elsewhere
        let failed =
            FailedImage { digest: "sha256:c".into(), image: "web:1".into(), reason: "it died".into() };
        let at = rig.master.clock.now();
        let run = Run {
            ended_at: Some(at),
            outcome: Some(RunOutcome::RolledBack { reason: "it died".into() }),
            ..Run::new(RunId::parse("20270115-080000-x7k2").unwrap(), plan("1.1"), "root", at)
        };
        let told = RunTold { run, failed_images: vec![failed], log: String::new() };
        rig.master.take_run(&elsewhere, told).await.unwrap();

        finish(&rig, &agent, &order.id, false, NO_LONGER).await;
        answer_with(&rig, &agent, Ok(vec![replace("sha256:c")])).await;

        let reason = approval(&rig, &agent, &id).await.reason.unwrap_or_default();
        assert!(reason.contains("it is held on all hosts"), "{reason}");
        assert!(orders(&rig, &agent).await.is_empty());
    });
}
