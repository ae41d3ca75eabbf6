//! What Cloudflare says of a tunnel's connectors, and what follows from it for agents that cannot say it themselves.

use chrono::{DateTime, TimeDelta};
use lightship::clock::Clock;
use lightship::db;
use lightship::domain::command::CommandStatus;
use lightship::domain::id::AgentId;
use serde_json::{Value, json};

use crate::pages::Browser;
use crate::support::cloudflare::{Fault, Op, Trouble};
use crate::support::master::TestMaster;
use crate::support::until::{until, until_equal};

/// A little longer than a DockFlare agent has to show that it did what it was told.
const LEASE_ENDS: TimeDelta = TimeDelta::seconds(91);

fn clock() -> Clock {
    Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap())
}

/// Fetches commands as a DockFlare agent does.
async fn fetch(master: &TestMaster, id: &str, key: &str) -> Vec<Value> {
    let answer = master.get(&format!("/api/v2/agents/{id}/commands")).key(key).expect(200).await;
    answer.json()["commands"].as_array().unwrap().clone()
}

/// State and attempts of the agent's one open `start_tunnel`; none once it is closed.
async fn open_start(master: &TestMaster, id: &str) -> Option<(CommandStatus, u32)> {
    let open = db::commands::list_open_commands(&master.db, &AgentId::new(id)).await.unwrap();
    open.first().map(|command| (command.status, command.attempt))
}

/// A DockFlare agent that was told to start a tunnel which another connector serves already.
async fn told_to_start(master: &TestMaster) -> (String, String, String) {
    let tunnel = master.standin.add_tunnel("edge", "cloudflare");
    master.standin.connect(&tunnel, "there-before", 0);
    let (key, id) = master.new_agent("web-1").await;
    master.enroll(&id, "edge").await;
    assert_eq!(fetch(master, &id, &key).await[0]["action"], "start_tunnel");
    (tunnel, id, key)
}

#[actix_web::test]
async fn a_new_connector_confirms_the_start_of_a_dockflare_agent() {
    let master = TestMaster::on_clock(clock()).await;
    let (tunnel, id, _) = told_to_start(&master).await;

    master.standin.connect(&tunnel, "started-by-the-agent", 0);
    master.clock().jump(LEASE_ENDS);

    until_equal("its open command", None, async || open_start(&master, &id).await).await;
    master.stop().await;
}

#[actix_web::test]
async fn a_connector_that_was_there_already_and_is_connected_confirms_the_start() {
    // A master that is put in the place of another: its agent's connector runs on, and the agent says nothing.
    let master = TestMaster::on_clock(clock()).await;
    let (_, id, key) = told_to_start(&master).await;

    master.clock().jump(LEASE_ENDS);

    until_equal("its open command", None, async || open_start(&master, &id).await).await;
    assert_eq!(fetch(&master, &id, &key).await, Vec::<Value>::new(), "it is handed over once");
    let commands = db::commands::list_commands(&master.db, &AgentId::new(&*id), 10).await.unwrap();
    let said = commands[0].outcome.clone().unwrap();
    assert_eq!(
        (said.succeeded, said.message.as_str()),
        (true, "a connector that was there already serves the tunnel")
    );
    master.stop().await;
}

#[actix_web::test]
async fn a_connector_that_has_gone_since_proves_nothing() {
    let master = TestMaster::on_clock(clock()).await;
    let (tunnel, id, key) = told_to_start(&master).await;
    master.standin.disconnect(&tunnel, "there-before");

    master.clock().jump(LEASE_ENDS);
    until_equal("its open command", Some((CommandStatus::Queued, 1)), async || {
        open_start(&master, &id).await
    })
    .await;

    assert_eq!(fetch(&master, &id, &key).await[0]["action"], "start_tunnel");
    assert_eq!(open_start(&master, &id).await, Some((CommandStatus::Delivered, 2)));
    master.stop().await;
}

#[actix_web::test]
async fn cloudflare_that_does_not_answer_leaves_the_start_unconfirmed() {
    let master = TestMaster::on_clock(clock()).await;
    let (tunnel, id, _) = told_to_start(&master).await;
    master.standin.inject(Fault::on(Op::ListConnectors, Trouble::ServerError).always());

    master.standin.connect(&tunnel, "started-by-the-agent", 0);
    master.clock().jump(LEASE_ENDS);

    until_equal("its open command", Some((CommandStatus::Queued, 1)), async || {
        open_start(&master, &id).await
    })
    .await;
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_is_enrolled_although_the_connectors_are_not_known() {
    let master = TestMaster::on_clock(clock()).await;
    master.standin.inject(Fault::on(Op::ListConnectors, Trouble::ServerError));
    let (key, id) = master.new_agent("web-1").await;

    let answer = master.enroll(&id, "edge").await;

    assert_eq!(answer["status"], json!("success"), "{answer}");
    let command = until("the command", async || fetch(&master, &id, &key).await.into_iter().next()).await;
    assert_eq!(command["action"], "start_tunnel");
    master.stop().await;
}

#[actix_web::test]
async fn a_restart_that_a_dockflare_agent_never_confirms_is_told_once_and_shown_as_unconfirmed() {
    let master = TestMaster::on_clock(clock()).await;
    let browser = Browser::signed_in(&master).await;
    let (tunnel, id, key) = told_to_start(&master).await;
    master.standin.connect(&tunnel, "started-by-the-agent", 0);
    master.clock().jump(LEASE_ENDS);
    until_equal("its open command", None, async || open_start(&master, &id).await).await;
    let page = async || browser.get(&format!("/agents/{id}")).await.text;
    assert!(!page().await.contains("unconfirmed"));

    master.admin_post(&format!("/api/v2/agents/{id}/redeploy-tunnel"), json!({})).expect(200).await;
    assert_eq!(fetch(&master, &id, &key).await[0]["action"], "restart_tunnel");
    master.clock().jump(LEASE_ENDS);

    until("the page says so", async || page().await.contains("unconfirmed").then_some(())).await;
    assert_eq!(fetch(&master, &id, &key).await, Vec::<Value>::new());
    master.stop().await;
}
