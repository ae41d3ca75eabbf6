//! The Cloudflare client against the stand-in: every call, every way to fail.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lightship::cloudflare::{CfError, Cloudflare, NewDnsRecord};
use lightship::domain::id::{AccountId, TunnelId, ZoneId};
use lightship::io::{Io, IoRuntime};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::support::cloudflare::{ACCOUNT, CloudflareStandIn, Fault, Moment, Op, TOKEN, Trouble, ZONE};

struct Setup {
    standin: CloudflareStandIn,
    client: Cloudflare,
    runtime: IoRuntime,
}

impl Setup {
    fn start() -> Self {
        let (standin, runtime) = (CloudflareStandIn::start(), IoRuntime::start().unwrap());
        let client = client(&standin.base_url(), TOKEN, runtime.io());
        Self { standin, client, runtime }
    }

    fn zone(&self) -> ZoneId {
        ZoneId::new(self.standin.zone_id(ZONE))
    }

    fn tunnel(&self, name: &str) -> TunnelId {
        TunnelId::new(self.standin.add_tunnel(name, "cloudflare"))
    }
}

fn client(base_url: &str, token: &str, io: Io) -> Cloudflare {
    rustls::crypto::ring::default_provider().install_default().ok();
    Cloudflare::new(base_url, AccountId::new(ACCOUNT), token.to_owned().into(), io).unwrap()
}

fn record(name: &str, content: &str) -> NewDnsRecord {
    NewDnsRecord { name: name.into(), content: content.into(), comment: "ours".into() }
}

fn config(hostname: &str) -> Value {
    json!({ "ingress": [{ "hostname": hostname, "service": "http://app:80" }, { "service": "http_status:404" }] })
}

#[tokio::test]
async fn a_tunnel_is_made_found_by_its_exact_name_and_gives_its_token() {
    let setup = Setup::start();
    setup.tunnel("edge-10");

    assert_eq!(setup.client.find_tunnel("edge-1").await.unwrap(), None);
    let made = setup.client.create_tunnel("edge-1").await.unwrap();

    assert!(!made.is_local());
    assert_eq!(setup.client.find_tunnel("edge-1").await.unwrap(), Some(made.clone()));
    let token = setup.client.tunnel_token(&made.id).await.unwrap();
    let token: Value = serde_json::from_slice(&STANDARD.decode(token.expose_secret()).unwrap()).unwrap();
    assert_eq!((&token["a"], &token["t"]), (&json!(ACCOUNT), &json!(made.id)));
}

#[tokio::test]
async fn a_second_tunnel_of_one_name_is_refused_until_the_first_is_deleted() {
    let setup = Setup::start();
    let first = setup.client.create_tunnel("edge").await.unwrap();

    assert!(setup.client.create_tunnel("edge").await.unwrap_err().is_tunnel_name_taken());

    setup.client.delete_tunnel(&first.id).await.unwrap();
    assert_eq!(setup.client.find_tunnel("edge").await.unwrap(), None);
    assert!(setup.client.get_tunnel(&first.id).await.unwrap().is_deleted());
    assert_ne!(setup.client.create_tunnel("edge").await.unwrap().id, first.id);
}

#[tokio::test]
async fn a_local_tunnel_says_so() {
    let setup = Setup::start();
    let id = TunnelId::new(setup.standin.add_tunnel("hand-made", "local"));
    assert!(setup.client.get_tunnel(&id).await.unwrap().is_local());
}

#[tokio::test]
async fn a_tunnel_with_live_connectors_is_not_deleted() {
    let setup = Setup::start();
    let id = setup.tunnel("edge");
    setup.standin.connect(id.as_str(), "c-1", 3);

    let error = setup.client.delete_tunnel(&id).await.unwrap_err();
    assert!(matches!(error, CfError::Refused { ref codes, .. } if codes == &[1022]), "{error}");

    let connectors = setup.client.connections(&id).await.unwrap();
    assert_eq!((connectors[0].id.as_str(), connectors[0].config_version), ("c-1", Some(3)));
    setup.standin.disconnect(id.as_str(), "c-1");
    setup.client.delete_tunnel(&id).await.unwrap();
}

#[tokio::test]
async fn connections_that_only_linger_are_not_counted() {
    let setup = Setup::start();
    let id = setup.tunnel("edge");
    setup.standin.connect(id.as_str(), "c-1", 1);
    let linger = |client: &mut Value| client["conns"][0]["is_pending_reconnect"] = json!(true);
    setup.standin.state().tunnel_mut(id.as_str()).unwrap().clients.iter_mut().for_each(linger);

    assert_eq!(setup.client.connections(&id).await.unwrap()[0].connections, 0);
}

#[tokio::test]
async fn a_configuration_starts_null_and_counts_up() {
    let setup = Setup::start();
    let id = setup.tunnel("edge");

    let fresh = setup.client.get_config(&id).await.unwrap();
    assert_eq!((fresh.version, fresh.config), (0, Value::Null));
    assert_eq!(setup.client.put_config(&id, config("a.example.com")).await.unwrap(), 1);
    assert_eq!(setup.client.put_config(&id, config("b.example.com")).await.unwrap(), 2);
    assert_eq!(setup.client.get_config(&id).await.unwrap().config, config("b.example.com"));
}

#[tokio::test]
async fn a_second_writer_shows_as_a_gap_in_versions() {
    let setup = Setup::start();
    let id = setup.tunnel("edge");
    let theirs = json!({ "hostname": "theirs.example.com", "service": "http://x:1" });
    setup.standin.second_writer(Moment::BeforePut, theirs.clone());
    setup.standin.second_writer(Moment::AfterPut, theirs);

    assert_eq!(setup.client.put_config(&id, config("a.example.com")).await.unwrap(), 2);
    let after = setup.client.get_config(&id).await.unwrap();
    assert_eq!(after.version, 3);
    assert_eq!(setup.standin.hostnames(id.as_str()), ["a.example.com", "theirs.example.com"]);
}

#[tokio::test]
async fn a_configuration_without_catch_all_is_refused_with_cloudflares_words() {
    let setup = Setup::start();
    let id = setup.tunnel("edge");
    let bad = json!({ "ingress": [{ "hostname": "a.example.com", "service": "http://app:80" }] });

    let error = setup.client.put_config(&id, bad).await.unwrap_err();

    assert!(error.to_string().contains("The last ingress rule must match all URLs"), "{error}");
    assert!(!error.is_transient() && !error.is_uncertain());
}

#[tokio::test]
async fn all_pages_of_zones_are_read_whatever_the_total_says() {
    let setup = Setup::start();
    (0..119).for_each(|n| drop(setup.standin.add_zone(&format!("zone-{n}.example"))));

    for total in [None, Some(1), Some(100_000)] {
        if let Some(total) = total {
            setup.standin.inject(Fault::on(Op::ListZones, Trouble::WrongTotal(total)).times(3));
        }
        let zones = setup.client.list_zones().await.unwrap();
        assert_eq!((zones.len(), zones[119].name.as_str()), (120, "zone-118.example"));
    }
    assert_eq!(setup.standin.calls_of(Op::ListZones).len(), 9);
}

#[tokio::test]
async fn records_are_made_found_replaced_and_deleted() {
    let setup = Setup::start();
    let zone = setup.zone();

    let made =
        setup.client.create_dns(&zone, &record("app.example.com", "t.cfargotunnel.com")).await.unwrap();
    assert_eq!(setup.client.list_dns(&zone, "APP.example.com").await.unwrap(), std::slice::from_ref(&made));
    assert_eq!((made.proxied, made.comment.as_deref()), (Some(true), Some("ours")));
    let moved = setup.client.put_dns(&zone, &made.id, &record("app.example.com", "u.cfargotunnel.com")).await;
    assert_eq!(moved.unwrap().content.as_deref(), Some("u.cfargotunnel.com"));
    setup.client.delete_dns(&zone, &made.id).await.unwrap();
    setup.client.delete_dns(&zone, &made.id).await.expect("gone already is no error");
    assert!(setup.standin.records("app.example.com").is_empty());
}

#[tokio::test]
async fn records_of_other_names_are_left_out_even_if_cloudflare_sends_them() {
    let setup = Setup::start();
    setup.standin.state().has_loose_name_filter = true;
    setup.standin.add_record(ZONE, "A", "my-app.example.com", "192.0.2.1");

    assert_eq!(setup.client.list_dns(&setup.zone(), "app.example.com").await.unwrap(), []);
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict() {
    let setup = Setup::start();
    setup.standin.add_record(ZONE, "A", "a.example.com", "192.0.2.1");
    setup.standin.add_record(ZONE, "CNAME", "c.example.com", "t.cfargotunnel.com");
    setup.standin.add_record(ZONE, "CNAME", "d.example.com", "elsewhere.example.net");

    for (name, code) in [("a.example.com", 81053), ("c.example.com", 81057), ("d.example.com", 81054)] {
        let error =
            setup.client.create_dns(&setup.zone(), &record(name, "t.cfargotunnel.com")).await.unwrap_err();
        assert!(error.is_dns_conflict() && error.to_string().contains(&code.to_string()), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_token_is_verified_whoever_owns_it() {
    let setup = Setup::start();
    assert!(setup.client.verify_token().await.unwrap().is_active());

    setup.standin.state().has_account_token = true;
    assert!(setup.client.verify_token().await.unwrap().is_active());
}

#[tokio::test]
async fn a_wrong_token_is_denied_and_shown_nowhere() {
    let setup = Setup::start();
    let wrong = client(&setup.standin.base_url(), "very-secret-and-wrong", setup.runtime.io());
    let repeat = Trouble::Refused { status: 403, code: 9109, message: "very-secret-and-wrong is bad".into() };
    setup.standin.inject(Fault::on(Op::GetTunnel, repeat));

    let denied = wrong.list_zones().await.unwrap_err();
    let repeated = wrong.get_tunnel(&TunnelId::new("x")).await.unwrap_err();

    assert!(denied.is_denied() && repeated.is_denied());
    let shown = format!("{wrong:?} {denied} {denied:?} {repeated} {repeated:?}");
    assert!(!shown.contains("very-secret"), "{shown}");
}

#[tokio::test]
async fn every_failure_has_its_own_name() {
    let setup = Setup::start();
    let client = setup.client.with_time_limit(Duration::from_millis(300));
    let words = || "no such thing".to_owned();
    for (trouble, expected) in [
        (Trouble::ServerError, "Cloudflare refused `list zones`: the answer is empty (status 500)"),
        (
            Trouble::BadGatewayPage,
            "Cloudflare refused `list zones`: an error page came instead of an answer (status 502)",
        ),
        (
            Trouble::RefusedWith200 { code: 7003, message: words() },
            "Cloudflare refused `list zones`: no such thing (status 200, code 7003)",
        ),
        (
            Trouble::Refused { status: 401, code: 10000, message: "Authentication error".into() },
            "Cloudflare refused `list zones`: Authentication error (status 401, code 10000)",
        ),
        (Trouble::NeverAnswers, "Cloudflare did not answer `list zones`: no answer within 0.3 s"),
        (
            Trouble::Slow(Duration::from_secs(60)),
            "Cloudflare did not answer `list zones`: no answer within 0.3 s",
        ),
        (Trouble::HalfAnswer, "Cloudflare did not answer `list zones`: "),
        (Trouble::RateLimited(Some(7)), "Cloudflare's rate limit holds `list zones` back for 7 s"),
    ] {
        setup.standin.inject(Fault::on(Op::ListZones, trouble));
        let error = client.list_zones().await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_no_answer_and_nothing_was_sent() {
    let setup = Setup::start();
    let nobody = client("http://127.0.0.1:9/client/v4", TOKEN, setup.runtime.io());
    let error = nobody.create_tunnel("edge").await.unwrap_err();
    assert!(error.is_transient() && !error.is_uncertain(), "{error}");
}

#[tokio::test]
async fn a_write_whose_answer_breaks_off_is_uncertain() {
    let setup = Setup::start();
    for (name, trouble) in
        [("a", Trouble::HalfAnswer), ("b", Trouble::ServerError), ("c", Trouble::BadGatewayPage)]
    {
        setup.standin.inject(Fault::on(Op::CreateRecord, trouble).after_effect());
        let name = format!("{name}.example.com");
        let error =
            setup.client.create_dns(&setup.zone(), &record(&name, "t.cfargotunnel.com")).await.unwrap_err();
        assert!(error.is_uncertain(), "{error}");
        assert_eq!(setup.standin.records(&name).len(), 1, "it took effect all the same");
    }
    assert_eq!(setup.standin.calls_of(Op::CreateRecord).len(), 3, "no call was sent twice");
}

#[tokio::test]
async fn after_a_429_nothing_is_sent_until_the_time_is_over() {
    let setup = Setup::start();
    setup.standin.inject(Fault::any(Trouble::RateLimited(Some(3))));
    let started = Instant::now();

    let refused = setup.client.list_zones().await.unwrap_err();
    let held = setup.client.background().list_dns(&setup.zone(), "a.example.com").await.unwrap_err();

    assert_eq!(refused.retry_after(), Some(Duration::from_secs(3)));
    let wait = held.retry_after().expect("held back");
    assert!(wait <= Duration::from_secs(3) && wait + started.elapsed() >= Duration::from_secs(2), "{wait:?}");
    assert_eq!(setup.standin.calls().len(), 1);
}

#[tokio::test]
async fn a_short_429_is_waited_for() {
    let setup = Setup::start();
    setup.standin.inject(Fault::any(Trouble::RateLimited(Some(1))));
    let started = Instant::now();

    setup.client.list_zones().await.unwrap_err();
    setup.client.list_zones().await.unwrap();

    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    let setup = Setup::start();
    let id = setup.tunnel("edge");
    setup.standin.write_config(id.as_str(), json!({ "note": "x".repeat(9 << 20) }));

    let error = setup.client.get_config(&id).await.unwrap_err();
    assert!(error.to_string().contains("larger than 8 MiB"), "{error}");
}

#[tokio::test]
async fn the_base_url_may_end_with_a_slash() {
    let setup = Setup::start();
    let client = client(&format!("{}/", setup.standin.base_url()), TOKEN, setup.runtime.io());
    assert_eq!(client.list_zones().await.unwrap().len(), 1);
}

#[tokio::test]
async fn ids_are_opaque_and_never_leave_their_place_in_the_path() {
    let setup = Setup::start();
    let error = setup.client.get_tunnel(&TunnelId::new("a/../b?c=d")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert_eq!(setup.standin.calls()[0].op, Some(Op::GetTunnel));
}

#[tokio::test]
async fn the_stand_in_notices_requests_outside_the_contract() {
    let setup = Setup::start();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let tunnels = format!("{}/accounts/{ACCOUNT}/cfd_tunnel", setup.standin.base_url());
    let records = format!("{}/zones/{}/dns_records", setup.standin.base_url(), setup.zone());
    let config = format!("{tunnels}/x/configurations");
    let text_timeout = json!({ "service": "http_status:404", "originRequest": { "connectTimeout": "10s" } });
    let bad = [
        http.post(&tunnels).json(&json!({ "name": "x", "config_src": "remote" })),
        http.post(&tunnels).json(&json!({ "config_src": "local" })),
        http.get(format!("{tunnels}?page=0")),
        http.get(format!("{tunnels}?names=x")),
        http.put(&config).json(&json!({ "config": { "ingress": [] } })),
        http.put(&config).json(&json!({ "config": { "ingress": [text_timeout] } })),
        http.post(&records).json(&json!({ "type": "CNAME", "content": "x", "ttl": 1 })),
        http.post(&records).json(&json!({ "type": "HINFO", "name": "x", "ttl": 1 })),
        http.post(&records).body("not json"),
        http.get(format!("{}/nothing", setup.standin.base_url())),
    ];
    for (index, request) in bad.into_iter().enumerate() {
        let status = request.bearer_auth(TOKEN).send().await.unwrap().status();
        assert!(status.is_client_error(), "request {index}: {status}");
        assert!(!setup.standin.take_violations().is_empty(), "request {index}");
    }
}
