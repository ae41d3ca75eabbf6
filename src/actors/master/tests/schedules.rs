//! Orders that go out at a time, and not before.

use chrono::TimeDelta;

use super::plans::{
    DAY, approval, container_plan, finish, host, image_fails, orders, planned, planned_so, state,
};
use super::*;
use crate::actors::master::Terms;
use crate::actors::master::fleet::Work;
use crate::db::due::{Due, DueKind, list_due};
use crate::domain::id::{ApprovalId, RequestId};
use crate::domain::update::{ApprovalMode, ApprovalStatus, PlanId, State};

fn in_hours(rig: &Rig, hours: i64) -> Terms {
    let not_before = Some(rig.master.clock.now() + TimeDelta::hours(hours));
    Terms { lifetime: DAY, mode: ApprovalMode::Exact, not_before }
}

async fn approve(
    rig: &Rig,
    agent: &AgentId,
    (request, plan): (&RequestId, &PlanId),
    terms: impl Into<Terms>,
    by: &str,
) -> Result<ApprovalId, MasterError> {
    let mut done = rig.master.approve_plan(request, plan, vec![agent.clone()], terms, (by, None)).await?;
    match done.left.pop() {
        Some((_, why)) => Err(why),
        None => Ok(done.id),
    }
}

/// Waits until the host is told.
async fn until_ordered(rig: &Rig, agent: &AgentId, id: &ApprovalId) {
    until("the host is told", async || {
        rig.master.env.fleet.nudge(agent, Work::Due);
        approval(rig, agent, id).await.status == ApprovalStatus::Ordered
    })
    .await;
}

#[test]
fn an_order_goes_out_when_its_time_comes_also_if_the_master_was_away_until_then() {
    run(async {
        // given: a yes for the night
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        let terms = in_hours(&rig, 5);
        let id = approve(&rig, &agent, (&request, &plan_id), terms, "ann").await.unwrap();

        // then: it is written down, and the host is not told
        let given = approval(&rig, &agent, &id).await;
        assert_eq!((given.status, given.not_before.is_some()), (ApprovalStatus::Scheduled, true));
        assert_eq!(given.ordered_by.as_deref(), Some("ann"));
        assert_eq!(state(&rig, &agent).await, Some(State::Approved));
        assert!(orders(&rig, &agent).await.is_empty());
        let again = approve(&rig, &agent, (&request, &plan_id), DAY, "bob").await.unwrap_err().to_string();
        assert!(again.contains("ann said yes"), "{again}");
        let due = |at| list_due(rig.db(), at, 10);
        let (before, after) = (terms.not_before.unwrap() - TimeDelta::seconds(1), terms.not_before.unwrap());
        assert!(!due(before).await.unwrap().iter().any(|due| due.kind == DueKind::Approval));
        let listed = due(after + TimeDelta::seconds(1)).await.unwrap();
        let of_it = |due: &&Due| due.kind == DueKind::Approval;
        assert_eq!(listed.iter().find(of_it).map(|due| &due.agent_id), Some(&agent));

        // when: the time comes while the master is away, and nobody nudges it
        rig.master.clock.jump(TimeDelta::hours(5) + TimeDelta::seconds(1));
        let rig = rig.restart().await;
        until("the host is told", async || {
            approval(&rig, &agent, &id).await.status == ApprovalStatus::Ordered
        })
        .await;

        // then
        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        let given = approval(&rig, &agent, &id).await;
        assert_eq!((order.by.as_str(), order.expires_at), ("ann", given.expires_at));
        assert_eq!(Some(given.expires_at), given.not_before.map(|at| at + TimeDelta::days(1)));
        assert_eq!(rig.events(&Stream::updates(&agent), "update_plan_ordered").await, 1);
        assert!(!list_due(rig.db(), rig.master.clock.now(), 10).await.unwrap().iter().any(|due| of_it(&due)));
    });
}

#[test]
fn an_order_is_younger_than_those_that_went_out_between_the_yes_and_it() {
    run(async {
        // given: a yes for later, one of another person that waits for a second, and one that is ordered at once
        let settings = MasterSettings { second_approval: true, ..MasterSettings::default() };
        let rig = Rig::with(settings).await;
        let agent = host(&rig, "edge").await;
        let (night, night_plan) = planned(&rig, &agent, "1.1").await;
        let (slow, slow_plan) = planned(&rig, &agent, "1.2").await;
        let (now, now_plan) = planned(&rig, &agent, "1.3").await;
        let night = approve(&rig, &agent, (&night, &night_plan), in_hours(&rig, 5), "ann").await.unwrap();
        let slow = approve(&rig, &agent, (&slow, &slow_plan), DAY, "ann").await.unwrap();
        let now = approve(&rig, &agent, (&now, &now_plan), DAY, "ann").await.unwrap();
        assert!(rig.master.second_approval(&night, "bob").await.unwrap().left.is_empty());
        assert_eq!(approval(&rig, &agent, &night).await.status, ApprovalStatus::Scheduled);
        let mut last = 0;
        let mut take = async || {
            let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
            assert!(order.number > last, "{} after {last}: the host would refuse it", order.number);
            last = order.number;
            finish(&rig, &agent, &order.id, true, "done").await;
            order.by.clone()
        };

        // when: they go out in another order than that in which they were given
        assert!(rig.master.second_approval(&now, "bob").await.unwrap().left.is_empty());
        assert_eq!(take().await, "ann and bob");
        assert!(rig.master.second_approval(&slow, "eve").await.unwrap().left.is_empty());
        assert_eq!(take().await, "ann and eve");
        rig.master.clock.jump(TimeDelta::hours(5) + TimeDelta::seconds(1));
        until_ordered(&rig, &agent, &night).await;

        // then: each is younger than the one before
        assert_eq!(take().await, "ann and bob");
    });
}

#[test]
fn what_is_taken_back_or_does_not_hold_any_more_when_its_time_comes_is_not_ordered() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        let id = approve(&rig, &agent, (&request, &plan_id), in_hours(&rig, 1), "ann").await.unwrap();
        assert!(rig.master.withdraw_approval(&id, "bob").await.unwrap().left.is_empty());
        assert_eq!(approval(&rig, &agent, &id).await.status, ApprovalStatus::Withdrawn);
        assert_eq!(state(&rig, &agent).await, Some(State::Discovered));

        // An image fails on another host in between.
        let other = host(&rig, "b").await;
        let bad = container_plan("sha256:bad");
        let request = planned_so(&rig, &agent, &bad).await;
        let id = approve(&rig, &agent, (&request, &bad.id()), in_hours(&rig, 1), "ann").await.unwrap();
        image_fails(&rig, &other, "sha256:bad").await;
        rig.master.clock.jump(TimeDelta::hours(2));
        until("it comes to nothing", async || {
            rig.master.env.fleet.nudge(&agent, Work::Due);
            approval(&rig, &agent, &id).await.status == ApprovalStatus::Withdrawn
        })
        .await;
        let reason = approval(&rig, &agent, &id).await.reason.unwrap();
        assert!(reason.contains("nginx:1.25") && reason.contains("let-go"), "{reason}");
        assert!(orders(&rig, &agent).await.is_empty());
    });
}

#[test]
fn nothing_waits_for_a_host_that_was_removed() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let (request, plan_id) = planned(&rig, &agent, "1.1").await;
        let later = approve(&rig, &agent, (&request, &plan_id), in_hours(&rig, 1), "ann").await.unwrap();
        let (request, plan_id) = planned(&rig, &agent, "1.2").await;
        let now = approve(&rig, &agent, (&request, &plan_id), DAY, "ann").await.unwrap();

        rig.master.remove(&agent, "bob").await.unwrap();

        for (id, words) in [(&later, "the host was removed by bob"), (&now, "before it told what came of")] {
            let given = approval(&rig, &agent, id).await;
            let reason = given.reason.unwrap_or_default();
            assert!(given.status == ApprovalStatus::Withdrawn && reason.contains(words), "{reason}");
        }
        rig.master.clock.jump(TimeDelta::hours(2));
        let due = list_due(rig.db(), rig.master.clock.now(), 10).await.unwrap();
        assert!(!due.iter().any(|due| due.kind == DueKind::Approval), "{due:?}");
    });
}

#[test]
fn what_is_due_at_once_goes_out_in_the_order_of_its_times_and_then_in_that_in_which_it_was_given() {
    run(async {
        // given: yeses in this order, for these hours
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let mut given = Vec::new();
        for (to, hours) in [("1.1", 3), ("1.2", 2), ("1.3", 3), ("1.4", 3)] {
            let (request, plan_id) = planned(&rig, &agent, to).await;
            let terms = in_hours(&rig, hours);
            given.push(approve(&rig, &agent, (&request, &plan_id), terms, "ann").await.unwrap());
        }

        // when: the master hears of all of them at the same time
        rig.master.clock.jump(TimeDelta::hours(4));
        let rig = rig.restart().await;
        for id in &given {
            until_ordered(&rig, &agent, id).await;
        }

        // then
        let mut numbers = Vec::new();
        for id in &given {
            numbers.push(approval(&rig, &agent, id).await.number);
        }
        let [first, earliest, third, last] = numbers[..] else { panic!("four") };
        assert!(earliest < first && first < third && third < last, "{numbers:?}");
    });
}
