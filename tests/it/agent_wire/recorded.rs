//! What was recorded between a DockFlare agent and its master, said by ours.

use std::sync::Arc;
use std::time::Duration;

use lightship::actors::agent::link::CurrentLink;
use lightship::actors::agent::tree::{AgentParts, AgentSettings, agent};
use lightship::actors::supervision::{Root, Tree};
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::config::Settings;
use lightship::docker::BollardDocker;
use lightship::domain::delivery::Dialect;
use lightship::domain::id::AgentId;
use lightship::domain::report::{Report, Reports};
use lightship::protocol::command::AgentCommand;
use lightship::protocol::v2::{RegisterRequest, decode_event, event_form};
use lightship::state_dir::{AgentIs, DesiredState, StateDir};
use lightship::updates::{HandsParts, OwnHands, Rights};
use lightship::uplink::{HttpUplink, Uplink, Verdict};
use serde_json::{Value, json};

use super::{RECORDED_AGENT, StandIn, io, recorded_agent_requests};
use crate::support::until::until;

/// Every field of `recorded` is in `ours`, with the same value.
fn assert_holds(ours: &Value, recorded: &Value, place: &str) {
    match recorded {
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(name, value)| assert_holds(&ours[name], value, &format!("{place}.{name}")));
        }
        _ => assert_eq!(ours, recorded, "{place}"),
    }
}

/// Sends what the recorded agent sent, the way our agent sends it.
async fn send_as_we_do(uplink: &HttpUplink, recorded: &Value) {
    let id = AgentId::new(RECORDED_AGENT);
    let body = &recorded["request_body"];
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let path = recorded["path"].as_str().unwrap();
    if path.ends_with("/register") {
        let request = RegisterRequest {
            agent_id: text("agent_id").map(AgentId::new),
            display_name: text("display_name"),
            version: text("version"),
            ..RegisterRequest::default()
        };
        uplink.register(&request).await.unwrap();
    } else if path.ends_with("/commands") {
        uplink.fetch_commands(&id).await.unwrap();
    } else {
        let event = decode_event(body.to_string().as_bytes()).unwrap();
        let known = serde_json::from_value(body["container"].clone()).ok();
        let form = event_form(&event.report, known.as_ref(), event.sent_at.unwrap()).unwrap();
        uplink.send_event(&id, form).await.unwrap();
    }
}

#[actix_web::test]
async fn every_recorded_request_has_its_equal_of_ours() {
    let ((_runtime, io), master) = (io(), StandIn::dockflare());
    let uplink = master.uplink(&io);
    let mut kinds = std::collections::BTreeSet::new();

    for recorded in recorded_agent_requests() {
        let mut wanted = recorded["request_body"].clone();
        if wanted.get("type").is_some_and(|kind| !kind.is_string()) {
            continue; // what the recorded agent sends by mistake
        }
        if wanted["type"] == "container_die" {
            wanted["type"] = json!("container_stop"); // its master ignores the other word
        }
        send_as_we_do(&uplink, &recorded).await;

        let seen = master.last();
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            (recorded["method"].as_str().unwrap(), recorded["path"].as_str().unwrap())
        );
        for header in ["authorization", "content-type"] {
            assert_eq!(
                seen.header(header),
                recorded["request_headers"][header].as_str(),
                "{header} of {}",
                seen.target
            );
        }
        assert_holds(&seen.body, &wanted, &seen.target);
        kinds.insert(format!("{} {}", seen.method, wanted["type"]));
    }
    assert!(kinds.len() >= 7, "{kinds:?}");
}

#[actix_web::test]
async fn the_recorded_master_gives_its_answers_to_us() {
    let ((_runtime, io), master) = (io(), StandIn::dockflare());
    let uplink = master.uplink(&io);

    let registered = uplink.register(&RegisterRequest::default()).await.unwrap();
    assert_eq!((registered.agent_id.as_str(), registered.session), (RECORDED_AGENT, None));
    let commands = uplink.fetch_commands(&registered.agent_id).await.unwrap();
    assert!(
        matches!(&commands[..], [AgentCommand::StartTunnel(order)] if order.token.is_some()),
        "{commands:?}"
    );

    let batch = Reports { session: "s".into(), first_seq: 0, sent_at: None, items: vec![Report::Heartbeat] };
    let error = uplink.send_reports(&registered.agent_id, &batch).await.unwrap_err();
    assert_eq!(error.verdict(Dialect::Native), Verdict::RegisterAgain, "it knows no native routes");
}

#[actix_web::test]
async fn a_whole_agent_lives_with_a_dockflare_master() {
    let ((_runtime, io), master, dir) = (io(), StandIn::dockflare(), tempfile::tempdir().unwrap());
    let state = StateDir::open(dir.path(), io.clone()).unwrap();
    let mut settings = Settings::default();
    settings.agent.report_interval_seconds = 1;
    settings.agent.display_name = Some("Lab Host".into());
    let nowhere = format!("unix://{}/docker.sock", dir.path().display());
    let (spec, _ports) = agent(AgentParts {
        settings: AgentSettings::new(&settings, None),
        docker: Arc::new(BollardDocker::new(&nowhere, io.clone()).unwrap()),
        uplink: Arc::new(master.uplink(&io)),
        state: state.clone(),
        link: CurrentLink::default(),
        look: Arc::new(|_| Box::pin(async { Err("nothing is looked at here".to_owned()) })),
        hands: Arc::new(OwnHands::new(HandsParts {
            dir: dir.path().to_owned(),
            beside: None,
            installers: Vec::new(),
            refreshing: Vec::new(),
            rights: Rights::all(),
            agent_is: AgentIs::Own,
            policy_file: dir.path().join("policy.toml"),
            undo_window: chrono::TimeDelta::days(7),
            clock: Clock::system(),
            chance: Chance::system(),
        })),
    });
    let tree = Tree::new(Clock::system(), Chance::system(), |_| {});
    let root = Root::start(tree, "agent", spec).await;

    until("the command of the recorded master is taken over", async || {
        let kept = state.tunnel_state().await.ok()??;
        (kept.desired_state == DesiredState::Running && kept.token.is_some()).then_some(())
    })
    .await;
    until("three signs of life", async || {
        let seen = master.seen.lock();
        (seen.iter().filter(|s| s.body["type"] == "heartbeat").count() >= 3).then_some(())
    })
    .await;

    assert_eq!(state.agent_id().await.unwrap(), Some(AgentId::new(RECORDED_AGENT)));
    let seen = master.seen.lock().clone();
    assert_eq!(
        (&seen[0].body["display_name"], seen[0].target.as_str()),
        (&json!("Lab Host"), "/api/v2/agents/register")
    );
    assert!(
        seen.iter().all(|s| s.body["type"] != "status_report"),
        "without an Engine there is no list to report"
    );
    root.shutdown(Duration::from_secs(20)).await;
}
