//! Calls about tunnels, their configuration and their connectors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lightship::cloudflare::CfError;
use lightship::domain::id::TunnelId;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Setup, config};
use crate::support::cloudflare::{ACCOUNT, Moment, Op};

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
async fn a_tunnel_is_found_behind_pages_of_such_that_are_called_alike() {
    let setup = Setup::start();
    (0..250).for_each(|n| drop(setup.tunnel(&format!("edge-{n}"))));
    let last = setup.tunnel("edge");

    assert_eq!(setup.client.find_tunnel("edge").await.unwrap().map(|tunnel| tunnel.id), Some(last));
    assert_eq!(setup.standin.calls_of(Op::ListTunnels).len(), 3);
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
    assert!(setup.client.get_config(&id).await.unwrap().is_local());
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
