//! What a call carries, and where it goes.

use std::time::Duration;

use actix_web::HttpResponse;
use lightship::domain::command::Outcome;
use lightship::domain::id::{AgentId, CommandId, ContainerId, TunnelId};
use lightship::domain::report::{Report, Reports};
use lightship::protocol::v2::RegisterRequest;
use lightship::uplink::{AccessToken, HttpUplink, Uplink, UplinkSettings};
use serde_json::json;

use super::{Seen, StandIn, io, settings, uplink};

#[actix_web::test]
async fn native_calls_carry_session_wait_and_compressed_reports() {
    let (_runtime, io) = io();
    let master = StandIn::start(|seen| match seen.target.contains("/reports") {
        true => HttpResponse::Accepted().json(json!({"next_seq": 8})),
        false => HttpResponse::Ok().json(json!({"commands": []})),
    });
    let (uplink, id, command) = (master.uplink(&io), AgentId::new("a1"), CommandId::new("c-1"));

    let gone = |n: u32| Report::ContainerGone {
        id: ContainerId::new(format!("{n:064}")),
        cause: lightship::domain::report::GoneCause::Stopped,
    };
    let batch =
        Reports { session: "s-1".into(), first_seq: 7, sent_at: None, items: (0..500).map(gone).collect() };
    assert_eq!(uplink.send_reports(&id, &batch).await.unwrap().next_seq, 8);
    let seen = master.last();
    assert_eq!(
        (seen.target.as_str(), seen.header("lightship-session")),
        ("/api/v3/agents/a1/reports", Some("s-1"))
    );
    assert_eq!(seen.header("content-encoding"), Some("gzip"));
    assert_eq!(serde_json::from_value::<Reports>(seen.body).unwrap(), batch, "unpacked, nothing is missing");

    let delivery = uplink.wait_for_commands(&id, "s-1", Duration::from_secs(90)).await.unwrap();
    assert!(delivery.master_time.is_some(), "the master's clock is in its `Date`");
    assert_eq!(master.last().target, "/api/v3/agents/a1/commands?wait=50&max=100");

    uplink.acknowledge(&id, "s-1", &command).await.unwrap();
    assert_eq!(master.last().target, "/api/v3/agents/a1/commands/c-1/ack");
    let outcome = Outcome { succeeded: true, message: "done".into(), finished_at: None };
    uplink.send_result(&id, "s-1", &command, &outcome).await.unwrap();
    assert_eq!(master.last().body, json!({"succeeded": true, "message": "done", "finished_at": null}));
}

#[actix_web::test]
async fn a_base_with_slashes_or_a_prefix_gives_the_same_paths() {
    let ((_runtime, io), master) = (io(), StandIn::dockflare());
    for (suffix, path) in [
        ("/", "/api/v2/agents/register"),
        ("///", "/api/v2/agents/register"),
        ("/fleet/", "/fleet/api/v2/agents/register"),
    ] {
        uplink(&format!("{}{suffix}", master.address), &io)
            .register(&RegisterRequest::default())
            .await
            .unwrap();
        assert_eq!(master.last().target, path);
    }
}

#[actix_web::test]
async fn access_credentials_are_sent_and_never_shown() {
    let ((_runtime, io), master) = (io(), StandIn::dockflare());
    let access = AccessToken { client_id: "id.access".into(), client_secret: "hidden-secret".into() };
    let settings = UplinkSettings { access: Some(access), ..settings(&master.address) };
    HttpUplink::new(&settings, io).unwrap().register(&RegisterRequest::default()).await.unwrap();

    let seen = master.last();
    assert_eq!(seen.header("cf-access-client-id"), Some("id.access"));
    assert_eq!(seen.header("cf-access-client-secret"), Some("hidden-secret"));
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hidden-secret") && !shown.contains("AGENT-KEY-01"), "{shown}");
}

#[actix_web::test]
async fn ingress_goes_through_the_cloudflare_routes_of_the_master() {
    let (_runtime, io) = io();
    let master = StandIn::start(|seen| match seen.method.as_str() {
        "GET" => HttpResponse::Ok().json(json!({"success": true, "result": [{"id": "acc-1"}]})),
        _ => HttpResponse::Ok().json(json!({"success": true})),
    });
    let list = json!([{"service": "http_status:404"}]);
    master.uplink(&io).put_ingress(&TunnelId::new("u/1"), list.clone()).await.unwrap();

    let seen: Vec<Seen> = master.seen.lock().clone();
    assert_eq!(seen[0].target, "/accounts");
    assert_eq!(seen[1].target, "/accounts/acc-1/cfd_tunnel/u%2F1/configurations");
    assert_eq!((seen[1].method.as_str(), &seen[1].body), ("PUT", &json!({"config": {"ingress": list}})));

    let none = StandIn::dockflare();
    let error = none.uplink(&io).put_ingress(&TunnelId::new("u1"), json!([])).await.unwrap_err();
    assert_eq!(none.seen.lock().len(), 1, "without an account nothing is written: {error}");
}

/// A certificate authority that nobody uses.
const CA: &str = "\
-----BEGIN CERTIFICATE-----
MIIBjzCCATWgAwIBAgIUL6AkkecVvJ1mxk5pAN4NXi5lwN8wCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRbGlnaHRzaGlwIHRlc3QgQ0EwIBcNMjYxMTIyMDIzMjMzWhgP
MjEyNjEwMjkwMjMyMzNaMBwxGjAYBgNVBAMMEWxpZ2h0c2hpcCB0ZXN0IENBMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1GrYZ3PUnUhaUYeezQgE+QaNlpFhQvDE
DuOmU+vUzNL0IDB3Wd3To/2wmdvzSY7CDTZ4xAO35O673vaM9DsOxaNTMFEwHQYD
VR0OBBYEFExYa+Nqoc6GNgOiTeLj/dT5cgYpMB8GA1UdIwQYMBaAFExYa+Nqoc6G
NgOiTeLj/dT5cgYpMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIh
AKxBVb8fTTUJFTkDTDMxcQHSJ+fzdFVlpfJWT3X0gibgAiA2CVmDbUYG5aOa8Wz+
pPObUCa9yDCjxl8YlFfdCWnrtg==
-----END CERTIFICATE-----
";

#[actix_web::test]
async fn a_file_of_certificates_is_used_or_named_with_the_way_out() {
    let ((_runtime, io), dir) = (io(), tempfile::tempdir().unwrap());
    let with = |name: &str, text: Option<&str>| {
        let path = dir.path().join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let settings = UplinkSettings { ca_file: Some(path), ..settings("https://master") };
        HttpUplink::new(&settings, io.clone()).map(drop).map_err(|error| error.to_string())
    };

    assert_eq!(with("good.pem", Some(CA)), Ok(()));
    let damaged = CA.replace("MIIB", "!!!!");
    for (name, text) in
        [("missing.pem", None), ("empty.pem", Some("no certificate")), ("damaged.pem", Some(&*damaged))]
    {
        let error = with(name, text).unwrap_err();
        for part in [name, "agent.ca_file", "LIGHTSHIP__AGENT__CA_FILE", "PEM file"] {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
    }
}
