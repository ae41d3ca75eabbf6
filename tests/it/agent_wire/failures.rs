//! Redirects, refusals, nonsense and silence.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use lightship::domain::delivery::Dialect;
use lightship::domain::id::AgentId;
use lightship::protocol::v2::RegisterRequest;
use lightship::uplink::{Uplink, UplinkError, Verdict};
use serde_json::json;

use super::{StandIn, io, uplink};

#[actix_web::test]
async fn a_redirect_on_the_same_host_keeps_method_body_and_key() {
    for status in [301, 302, 307, 308] {
        let (_runtime, io) = io();
        let master = StandIn::start(move |seen| match seen.target.starts_with("/moved") {
            true => HttpResponse::Created().json(json!({"agent_id": "a1"})),
            false => HttpResponse::build(StatusCode::from_u16(status).unwrap())
                .insert_header(("Location", format!("/moved{}", seen.target)))
                .finish(),
        });
        let request = RegisterRequest { version: Some("9".into()), ..RegisterRequest::default() };
        master.uplink(&io).register(&request).await.unwrap();

        let seen = master.last();
        assert_eq!((seen.method.as_str(), &seen.body), ("POST", &json!({"version": "9"})), "{status}");
        assert_eq!(seen.header("authorization"), Some("Bearer AGENT-KEY-01"));
    }
}

#[actix_web::test]
async fn the_key_never_goes_to_another_host() {
    let (_runtime, io) = io();
    let stranger = StandIn::start(|_| HttpResponse::Ok().json(json!({"agent_id": "a1"})));
    let target = stranger.address.clone();
    let master = StandIn::start(move |_| {
        HttpResponse::Found().insert_header(("Location", format!("{target}/cdn-cgi/access/login"))).finish()
    });

    let error = master.uplink(&io).register(&RegisterRequest::default()).await.unwrap_err();

    assert!(matches!(error, UplinkError::Elsewhere { .. }), "{error}");
    assert!(error.to_string().contains("CF_ACCESS_CLIENT_ID"), "{error}");
    assert!(stranger.seen.lock().is_empty());
}

#[actix_web::test]
async fn answers_that_no_master_gives_are_named() {
    let (_runtime, io) = io();
    let large = StandIn::start(|_| HttpResponse::Ok().body(vec![b' '; 2 << 20]));
    let error = large.uplink(&io).fetch_commands(&AgentId::new("a1")).await.unwrap_err();
    assert!(matches!(error, UplinkError::TooLarge { limit_bytes: 1_048_576, .. }), "{error}");

    let page = StandIn::start(|_| HttpResponse::Ok().content_type("text/html").body("<html>welcome</html>"));
    let error = page.uplink(&io).register(&RegisterRequest::default()).await.unwrap_err().to_string();
    assert!(error.contains("DOCKFLARE_MASTER_URL"), "{error}");

    let busy = StandIn::start(|_| {
        HttpResponse::ServiceUnavailable()
            .insert_header(("Retry-After", "7"))
            .json(json!({"error": "busy", "code": "busy"}))
    });
    let error = busy.uplink(&io).register(&RegisterRequest::default()).await.unwrap_err();
    assert_eq!(error.verdict(Dialect::V2), Verdict::Retry { after: Some(Duration::from_secs(7)) });
}

#[actix_web::test]
async fn nobody_at_the_address_is_no_answer() {
    let (_runtime, io) = io();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error =
        uplink(&format!("http://{free}"), &io).register(&RegisterRequest::default()).await.unwrap_err();
    assert!(matches!(&error, UplinkError::NoAnswer { reason, .. } if reason.contains("refused")), "{error}");
    assert_eq!(error.verdict(Dialect::V2), Verdict::Retry { after: None });
}
