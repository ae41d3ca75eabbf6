//! What hosts say late, or twice, of what was said yes to by its name; and what of that has to be kept.

use chrono::TimeDelta;

use super::plans::{
    answer, ask, change, container_plan, finish, host, image_fails, only, orders, plan, planned, state, want,
};
use super::*;
use crate::actors::master::fleet::Work;
use crate::db::RowChange;
use crate::db::approvals::{ApprovalFilter, list_approvals};
use crate::db::plans::{HostPlanAnswer, HostPlanRow, find_host_plan_of};
use crate::db::updates::updates_of;
use crate::domain::id::CommandId;
use crate::domain::update::{Changes, Finding, Kind, OnHost, Plan, PlanId, Standing, State};
use crate::protocol::v3::PlanTold;

/// The host has the question, and says nothing yet.
async fn asked(rig: &Rig, agent: &AgentId, in_hours: Option<i64>) -> CommandId {
    let at = in_hours.map(|hours| rig.master.clock.now() + TimeDelta::hours(hours));
    let names = vec![(Kind::Apt, "bash".to_owned())];
    let mut done = rig.master.want_updates(agent, names, at, "ann").await.unwrap();
    let command = done.pop().unwrap().unwrap();
    rig.master.lease_commands(agent, 10, Dialect::Native).await.unwrap();
    assert_eq!(state(rig, agent).await, Some(State::Approved));
    command
}

async fn tells(rig: &Rig, agent: &AgentId, command: &CommandId, plan: Plan) {
    let told = PlanTold { command: command.clone(), plan: Some(plan), problem: None };
    rig.master.take_plan(agent, told).await.unwrap();
}

async fn until_state(rig: &Rig, agent: &AgentId, expected: State) {
    until("the update stands so", async || {
        rig.master.env.fleet.nudge(agent, Work::Due);
        state(rig, agent).await == Some(expected)
    })
    .await;
}

async fn row(rig: &Rig, agent: &AgentId, command: &CommandId) -> HostPlanRow {
    find_host_plan_of(rig.db(), agent, command).await.unwrap().expect("it is kept")
}

async fn approvals(rig: &Rig, agent: &AgentId) -> usize {
    let filter = ApprovalFilter { agent: Some(agent.clone()), ..ApprovalFilter::default() };
    list_approvals(rig.db(), &filter, 10).await.unwrap().len()
}

#[test]
fn a_yes_that_was_taken_back_or_ran_out_does_not_come_back_with_a_late_plan() {
    run(async {
        for (is_taken_back, in_hours) in [(true, None), (true, Some(5)), (false, None), (false, Some(5))] {
            // given
            let rig = Rig::start().await;
            let agent = host(&rig, "edge").await;
            let command = asked(&rig, &agent, in_hours).await;
            let rig = if is_taken_back {
                rig.master.give_up(&agent, &command, "bob").await.unwrap();
                rig
            } else {
                rig.master.clock.jump(TimeDelta::hours(2));
                rig.restart().await
            };
            until_state(&rig, &agent, State::Discovered).await;
            let asked_for = row(&rig, &agent, &command).await.not_before;

            // when
            tells(&rig, &agent, &command, plan("1.1")).await;

            // then: it is there to be looked at, and nothing comes of it
            let kept = row(&rig, &agent, &command).await;
            assert_eq!(kept.answer.unwrap().plan.unwrap().0, plan("1.1").id());
            assert_eq!((kept.not_before, asked_for.is_some()), (asked_for, in_hours.is_some()));
            assert_eq!(
                (approvals(&rig, &agent).await, state(&rig, &agent).await),
                (0, Some(State::Discovered))
            );
            rig.master.clock.jump(TimeDelta::hours(6));
            rig.master.env.fleet.nudge(&agent, Work::Due);
            assert!(orders(&rig, &agent).await.is_empty());

            // It can be said yes to anew, and a word about the old question says nothing of that.
            let second = want(&rig, &agent, false).await.unwrap();
            tells(&rig, &agent, &command, Plan::nothing()).await;
            assert_eq!(state(&rig, &agent).await, Some(State::Approved));
            answer(&rig, &agent, "1.1").await;
            assert_eq!(orders(&rig, &agent).await.len(), 1);
            assert_ne!(second, command);
        }
    });
}

#[test]
fn a_plan_that_is_told_twice_is_approved_once_also_after_its_yes_was_taken_back() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let command = asked(&rig, &agent, None).await;
        tells(&rig, &agent, &command, plan("1.1")).await;
        let filter = ApprovalFilter { agent: Some(agent.clone()), ..ApprovalFilter::default() };
        let given = list_approvals(rig.db(), &filter, 10).await.unwrap().remove(0);
        assert!(rig.master.withdraw_approval(&given.id, "bob").await.unwrap().left.is_empty());

        tells(&rig, &agent, &command, plan("1.1")).await;

        assert_eq!((approvals(&rig, &agent).await, state(&rig, &agent).await), (1, Some(State::Discovered)));
        assert!(orders(&rig, &agent).await.is_empty());
    });
}

#[test]
fn a_master_that_was_stopped_between_the_plan_and_its_yes_gives_it_when_the_host_tells_it_again() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let command = asked(&rig, &agent, None).await;
        let id: PlanId = plan("1.1").id();
        let answer = HostPlanAnswer { at: rig.master.clock.now(), plan: Ok((id, Box::default())) };
        let row = HostPlanRow { answer: Some(answer), ..row(&rig, &agent, &command).await };
        let env = &rig.master.env;
        let batch = env.batch("system").row(RowChange::PutPlan(plan("1.1").changes));
        env.ledger.commit(batch.row(RowChange::PutHostPlan(Box::new(row)))).await.unwrap();
        let rig = rig.restart().await;

        tells(&rig, &agent, &command, plan("1.1")).await;

        assert_eq!(orders(&rig, &agent).await.len(), 1);
    });
}

#[test]
fn what_waits_for_a_yes_is_kept_however_many_questions_come_after_it() {
    run(async {
        let rig = Rig::start().await;
        let agent = host(&rig, "edge").await;
        let command = asked(&rig, &agent, None).await;
        let more = Changes::new(vec![change("bash", "1.1"), change("libc6", "2.0")]).unwrap();
        tells(&rig, &agent, &command, Plan { changes: more.clone(), on_host: Default::default() }).await;
        finish(&rig, &agent, &command, true, "2 changes").await;
        assert_eq!(state(&rig, &agent).await, Some(State::Planned));

        for _ in 0..=db::plans::KEPT {
            planned(&rig, &agent, "1.2").await;
        }
        want(&rig, &agent, true).await.unwrap();

        let [order] = &orders(&rig, &agent).await[..] else { panic!("one order") };
        assert_eq!(order.changes, more);
        // Of what is over the newest are kept, and no more.
        finish(&rig, &agent, &order.id, false, "no").await;
        rig.master.ask_plans(vec![(agent.clone(), ask())], "ann").await.unwrap();
        assert!(find_host_plan_of(rig.db(), &agent, &command).await.unwrap().is_none());
    });
}

#[test]
fn a_yes_by_name_to_what_may_not_be_approved_comes_to_nothing_and_stays_so() {
    run(async {
        // given: an image that failed on another host
        let rig = Rig::start().await;
        let [one, other] = [host(&rig, "a").await, host(&rig, "b").await];
        let bad = container_plan("sha256:bad");
        image_fails(&rig, &one, "sha256:bad").await;
        let findings = only(Kind::DockerImage, Finding::new("nginx:1.25", Standing::Newer));
        rig.report(&other, vec![Report::Findings { findings }]).await;
        let stands = async || {
            let of_kind = updates_of(rig.db(), &other, Kind::DockerImage).await.unwrap();
            of_kind.get("nginx:1.25").and_then(|update| update.state)
        };

        // when
        let names = vec![(Kind::DockerImage, "nginx:1.25".to_owned())];
        let command = rig.master.want_updates(&other, names, None, "ann").await.unwrap().remove(0).unwrap();
        assert_eq!(stands().await, Some(State::Approved));
        rig.master.lease_commands(&other, 10, Dialect::Native).await.unwrap();
        let images = [("web".to_owned(), "nginx:1.25".to_owned())].into();
        let plan = Plan { on_host: OnHost { images, ..OnHost::default() }, ..bad };
        tells(&rig, &other, &command, plan.clone()).await;

        // then
        assert_eq!((stands().await, approvals(&rig, &other).await), (Some(State::Discovered), 0));
        rig.master.let_image_go("sha256:bad", "ann").await.unwrap();
        tells(&rig, &other, &command, plan).await;
        assert_eq!((stands().await, approvals(&rig, &other).await), (Some(State::Discovered), 0));
    });
}
