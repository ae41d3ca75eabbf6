//! What RedFlag's agents are not told, whoever asks for it: they are bound to no plan, and know of no second yes.

use secrecy::SecretString;

use super::plans::{host, image_fails, only, state, want};
use super::*;
use crate::actors::master::fleet::Work;
use crate::db::plans::find_host_plan_of;
use crate::domain::token::TokenWish;
use crate::domain::update::{Finding, Kind, Standing, State};

/// A host with RedFlag's agent, on which this was found.
async fn redflag_host(rig: &Rig, name: &str, kind: Kind, finding: Finding) -> AgentId {
    let life = Duration::from_secs(3_600);
    let wish = TokenWish { label: "lab".into(), max_seats: 1, life, metadata: Default::default() };
    let token = rig.master.make_token(wish, "admin").await.unwrap();
    let raw = SecretString::from(token.raw.expose_secret().to_owned());
    let input = RegisterInput { display_name: None, hostname: Some(name.into()), ..input(None) };
    let joined = rig.master.join(raw, input, Dialect::RedFlag).await.unwrap();
    rig.report(&joined.agent_id, vec![Report::Findings { findings: only(kind, finding) }]).await;
    joined.agent_id
}

fn newer(name: &str) -> Finding {
    Finding { available_version: Some("1.1".into()), ..Finding::new(name, Standing::Newer) }
}

async fn told(rig: &Rig, agent: &AgentId) -> Vec<&'static str> {
    let leased = rig.master.lease_commands(agent, 10, Dialect::RedFlag).await.unwrap();
    leased.iter().map(|one| one.command.kind.action()).collect()
}

async fn says(rig: &Rig, agent: &AgentId, dependencies: &[&str]) {
    let along = dependencies.iter().map(|&name| name.to_owned()).collect();
    rig.master.take_dependencies(agent, Kind::Apt, "bash".into(), along).await.unwrap();
}

/// The same master after somebody set that two people have to agree.
async fn with_second_yes(mut rig: Rig) -> Rig {
    rig.settings.second_approval = true;
    rig.restart().await
}

#[test]
fn one_person_has_a_redflag_agent_install_nothing_where_two_have_to_agree() {
    run(async {
        // given
        let settings = MasterSettings { second_approval: true, ..MasterSettings::default() };
        let rig = Rig::with(settings).await;
        let agent = redflag_host(&rig, "web", Kind::Apt, newer("bash")).await;

        // when: alone, and with others
        let alone = want(&rig, &agent, false).await.unwrap_err().to_string();
        let names = vec![(Kind::Apt, "bash".to_owned())];
        let many = rig.master.want_updates(&agent, names, None, "ann").await.unwrap().remove(0).unwrap_err();

        // then
        for refusal in [alone, many.to_string()] {
            assert!(refusal.contains("`updates.second_approval`"), "{refusal}");
        }
        assert!(told(&rig, &agent).await.is_empty());
        assert_eq!(state(&rig, &agent).await, Some(State::Discovered));
    });
}

#[test]
fn what_one_person_said_yes_to_before_two_had_to_is_not_installed_either() {
    run(async {
        // given: an agent that was asked what comes along
        let rig = Rig::start().await;
        let agent = redflag_host(&rig, "web", Kind::Apt, newer("bash")).await;
        let asked = want(&rig, &agent, false).await.unwrap();
        assert_eq!(told(&rig, &agent).await, ["dry_run_update"]);
        let rig = with_second_yes(rig).await;

        // when: it answers
        says(&rig, &agent, &[]).await;

        // then: nothing comes of it, and it is said why
        assert!(told(&rig, &agent).await.is_empty());
        assert_eq!(state(&rig, &agent).await, Some(State::Discovered));
        let row = find_host_plan_of(rig.db(), &agent, &asked).await.unwrap().unwrap();
        let problem = row.answer.unwrap().plan.unwrap_err();
        assert!(problem.reason.contains("`updates.second_approval`"), "{problem:?}");
    });
}

#[test]
fn what_waits_for_a_yes_or_for_its_time_is_not_installed_once_two_have_to_agree() {
    run(async {
        // given: one that waits for a yes to what comes along
        let rig = Rig::start().await;
        let agent = redflag_host(&rig, "web", Kind::Apt, newer("bash")).await;
        want(&rig, &agent, false).await.unwrap();
        says(&rig, &agent, &["libc6"]).await;
        assert_eq!(state(&rig, &agent).await, Some(State::Planned));
        let rig = with_second_yes(rig).await;

        // when
        let refused = want(&rig, &agent, true).await.unwrap_err().to_string();

        // then
        assert!(refused.contains("`updates.second_approval`"), "{refused}");
        assert_eq!(told(&rig, &agent).await, ["dry_run_update"]);

        // given: one that was approved for the night
        let rig = Rig::start().await;
        let agent = redflag_host(&rig, "web", Kind::Apt, newer("bash")).await;
        let at = rig.master.clock.now() + chrono::TimeDelta::hours(5);
        let names = vec![(Kind::Apt, "bash".to_owned())];
        rig.master.want_updates(&agent, names, Some(at), "ann").await.unwrap().remove(0).unwrap();
        says(&rig, &agent, &[]).await;
        assert_eq!(told(&rig, &agent).await, ["dry_run_update"]);
        let rig = with_second_yes(rig).await;

        // when: its time comes
        rig.master.clock.jump(chrono::TimeDelta::hours(6));

        // then
        until("nothing comes of it", async || {
            rig.master.env.fleet.nudge(&agent, Work::Due);
            state(&rig, &agent).await == Some(State::Discovered)
        })
        .await;
        assert!(told(&rig, &agent).await.is_empty());
    });
}

#[test]
fn an_image_that_failed_on_another_host_is_held_for_redflags_agents_too() {
    run(async {
        // given: what the last scan of our own agent left, before RedFlag's was put back
        let rig = Rig::start().await;
        let other = host(&rig, "other").await;
        let seen = |digest: &str| {
            let details = [("digest".to_owned(), digest.into())].into();
            Finding { details, ..newer("nginx:1.25") }
        };
        let [bad, good, unknown] = [Some("sha256:bad"), Some("sha256:good"), None]
            .map(|digest| digest.map_or_else(|| newer("nginx:1.25"), seen));
        image_fails(&rig, &other, "sha256:bad").await;

        for (name, finding, is_held) in [("a", bad, true), ("b", good, false), ("c", unknown, true)] {
            let agent = redflag_host(&rig, name, Kind::DockerImage, finding).await;

            // when
            let names = vec![(Kind::DockerImage, "nginx:1.25".to_owned())];
            let done = rig.master.want_updates(&agent, names, None, "ann").await.unwrap().remove(0);

            // then
            let why = done.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert_eq!(why.contains("updates let-go sha256:bad"), is_held, "{name}: {done:?}");
            assert_eq!(told(&rig, &agent).await.is_empty(), is_held, "{name}");
        }
    });
}
