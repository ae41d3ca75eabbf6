//! Programs killed, lines cut and Engines restarted at moments that a seed chooses. Afterwards every command
//! was carried out once with its result on record, there is one connector, and routes equal labels.

use std::collections::BTreeSet;
use std::time::Duration;

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use lightship::domain::agent_tunnel::{CONTAINER_NAME, NEXT_NAME};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::scene::{Dice, Scene, address, labels, with_seeds};
use crate::support::until::{DEADLINE, until};

/// How a reply that carries commands can be told.
const CARRIES_COMMANDS: &str = r#""commands":[{"#;

#[tokio::test]
async fn a_master_killed_before_delivery_still_has_the_command() {
    let mut scene = Scene::enrolled().await;
    let mut before = 0;
    with_seeds("master killed between queueing and delivery", async |dice| {
        // given: an agent that cannot fetch anything
        scene.proxy.cut();
        // when: the master dies once it took the order, or around that moment
        let is_taken = order_and_kill(&mut scene, &dice).await;
        scene.start_master();
        // Whoever got no answer asks again; an order that was answered has to be there.
        if !is_taken {
            order(&scene).await;
        }
        // then: one command, or two if the first was handed to a line that led nowhere any more
        let ids = scene.until_all_done("restart_tunnel").await;
        let most = if is_taken { 1 } else { 2 };
        assert!((1..=most).contains(&(ids.len() - before)), "{ids:?} after {before}, taken: {is_taken}");
        for id in &ids[before..] {
            scene.assert_once(id).await;
        }
        before = ids.len();
        scene.until_one_connector(&scene.token("edge")).await;
    })
    .await;
}

/// Orders a restart and kills the master: in one run as soon as it answered, in the next within 20 ms, be that before
/// or after its answer. Returns true if it answered.
async fn order_and_kill(scene: &mut Scene, dice: &Dice) -> bool {
    let limit = match dice.round % 2 {
        0 => DEADLINE,
        _ => Duration::from_millis(20).mul_f64(dice.share()),
    };
    let path = format!("/api/v2/agents/{}/redeploy-tunnel", scene.agent_id);
    let answer = timeout(limit, scene.master().try_post(&path, json!({}))).await;
    scene.kill_master();
    let answer = answer.ok().map(Result::unwrap);
    assert!(answer.is_some() || limit < DEADLINE, "no answer within {limit:?}");
    answer.inspect(|(status, body)| assert_eq!(*status, 200, "{body}")).is_some()
}

async fn order(scene: &Scene) {
    let path = format!("/api/v2/agents/{}/redeploy-tunnel", scene.agent_id);
    let (status, body) = scene.master().post(&path, json!({})).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn a_master_killed_after_delivery_learns_how_the_command_ended() {
    let mut scene = Scene::enrolled().await;
    let mut restarts = 0;
    with_seeds("master killed between delivery and effect", async |dice| {
        // given: the master dies when its answer is on the way, which arrives whole, in part or not at all
        let share = [1.0, dice.share(), 1.0, 0.0, dice.share()][dice.round % 5];
        let pid = Pid::from_raw(scene.master().pid().cast_signed()).unwrap();
        let sprung = scene.proxy.sprung();
        scene.proxy.trap(CARRIES_COMMANDS, share, move || kill_process(pid, Signal::KILL).unwrap());
        // when
        order(&scene).await;
        until("the master is dead", || async { (scene.proxy.sprung() > sprung).then_some(()) }).await;
        sleep(Duration::from_millis(500).mul_f64(dice.share())).await;
        scene.start_master();
        // then
        restarts += 1;
        let id = scene.until_done("restart_tunnel", restarts).await;
        scene.assert_once(&id).await;
        scene.until_one_connector(&scene.token("edge")).await;
    })
    .await;
}

#[tokio::test]
async fn a_command_whose_answer_was_cut_on_the_way_is_carried_out_once() {
    let scene = Scene::enrolled().await;
    let mut restarts = 0;
    with_seeds("poll reply cut", async |dice| {
        let sprung = scene.proxy.sprung();
        scene.proxy.trap(CARRIES_COMMANDS, dice.share(), || {});

        order(&scene).await;

        restarts += 1;
        let id = scene.until_done("restart_tunnel", restarts).await;
        assert_eq!(scene.proxy.sprung(), sprung + 1);
        scene.assert_once(&id).await;
        scene.until_one_connector(&scene.token("edge")).await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_killed_while_it_replaces_the_connector_leaves_exactly_one() {
    let mut scene = Scene::enrolled().await;
    let mut starts = 1;
    with_seeds("agent killed while it replaces the connector", async |dice| {
        // given: a replacement that the agent is killed in, after so many events of connectors
        let name = format!("edge-{}", dice.round);
        let options = EventsOptionsBuilder::default()
            .filters(&std::collections::HashMap::from([("type", vec!["container"])]))
            .build();
        let mut events = scene.engine.client().clone().events(Some(options));
        let mut left = 1 + dice.below(6);
        // when
        scene.enroll(&name).await;
        let count = async {
            while left > 0 {
                let event = events.next().await.unwrap().unwrap();
                let of = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
                let is_connector =
                    of.get("name").is_some_and(|n| [CONTAINER_NAME, NEXT_NAME].contains(&n.as_str()));
                left -= usize::from(is_connector);
            }
        };
        timeout(DEADLINE, count).await.expect("a replacement takes at least as many events");
        scene.kill_agent();
        scene.start_agent();
        // then
        starts += 1;
        scene.until_one_connector(&scene.token(&name)).await;
        scene.until_done("start_tunnel", starts).await;
        scene.until_one_connector(&scene.token(&name)).await;
    })
    .await;
}

#[tokio::test]
async fn routes_equal_labels_after_the_master_was_away() {
    let mut scene = Scene::enrolled().await;
    with_seeds("master away while containers come and go", async |dice| {
        let name = |n: usize| format!("app-{n}");
        let host = |n: usize| format!("app-{n}.example.com");
        // given: a line that is cut, or a master that is dead
        let is_dead = dice.below(2) == 0;
        if is_dead {
            scene.kill_master();
        } else {
            scene.proxy.cut();
        }
        // when: containers come and go
        for _ in 0..8 {
            let n = dice.below(5);
            match scene.engine.inspect(&name(n)).await {
                Some(_) => scene.engine.remove(&name(n)).await,
                None => drop(scene.engine.run(&name(n), &labels(&host(n))).await),
            }
        }
        match is_dead {
            true => scene.start_master(),
            false => scene.proxy.mend(address(scene.master())),
        }
        // then
        let running: BTreeSet<String> = running_apps(&scene).await;
        scene.until_routes(&running).await;
        let published: BTreeSet<String> = scene.standin.hostnames(&scene.tunnel).into_iter().collect();
        assert!(running.is_subset(&published), "{running:?} are in {published:?}");
    })
    .await;
}

async fn running_apps(scene: &Scene) -> BTreeSet<String> {
    let all = scene.engine.containers().await;
    let apps = all.into_iter().filter(|(name, state)| name.starts_with("app-") && state == "running");
    apps.map(|(name, _)| format!("{name}.example.com")).collect()
}

#[tokio::test]
async fn routes_and_connector_survive_a_restart_of_the_engine() {
    let mut scene = Scene::enrolled().await;
    scene.engine.run_always("app-web", &labels("app-web.example.com")).await;
    with_seeds("engine restarted", async |dice| {
        // given
        let name = format!("app-job-{}", dice.round);
        scene.engine.run(&name, &labels(&format!("{name}.example.com"))).await;
        scene.until_routes(&running_apps(&scene).await).await;
        // when: the Engine ends in order, or falls
        if dice.below(2) == 0 {
            scene.engine.stop_daemon().await;
        } else {
            scene.engine.kill_daemon().await;
        }
        sleep(Duration::from_millis(300).mul_f64(dice.share())).await;
        scene.engine.start_daemon().await;
        // then: what the Engine starts again stays, and what it does not is given its grace period
        scene.until_one_connector(&scene.token("edge")).await;
        scene.until_routes(&BTreeSet::from(["app-web.example.com".to_owned()])).await;
        scene.master().until_route(&format!("{name}.example.com"), "pending_deletion").await;
    })
    .await;
}
