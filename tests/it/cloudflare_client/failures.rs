//! Every way to fail, and what a caller learns of it.

use std::time::{Duration, Instant};

use lightship::domain::id::TunnelId;
use serde_json::json;

use super::{Setup, client, record};
use crate::support::cloudflare::{ACCOUNT, Fault, Op, TOKEN, Trouble};

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
    assert!(error.is_tunnel_gone(), "{error}");
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
