//! A new token whose connector finds no edge, in the whole agent with an Engine.

use secrecy::ExposeSecret;

use super::failures::{start_tunnel, until_tunnel_runs};
use super::*;
use crate::docker::RunState;
use crate::domain::agent_tunnel::CONTAINER_NAME;

/// Long enough for any patience and any back-off.
const A_WHILE: Duration = Duration::from_secs(600);

/// The token of the container with the tunnel's name, if it runs.
pub(super) async fn serving(engine: &FakeEngine) -> Option<String> {
    let main = engine.find_container(CONTAINER_NAME).await.unwrap()?;
    let token = main.token.as_ref().map(|token| token.expose_secret().to_owned());
    token.filter(|_| main.state == RunState::Running)
}

/// Waits until the agent keeps this one connector and no other.
async fn until_only(engine: &FakeEngine, token: &str) {
    let alone = async {
        while engine.tokens() != [token] || serving(engine).await.as_deref() != Some(token) {
            tokio::time::sleep(secs(1)).await;
        }
    };
    let waited = tokio::time::timeout(LONG, alone).await;
    assert!(waited.is_ok(), "{:?}", engine.tokens());
}

/// A host whose tunnel runs with the token `old` and was told to run another with `new`, which finds no edge.
async fn told_to_change(master: &FakeMaster, engine: &FakeEngine, dir: &tempfile::TempDir) -> Host {
    engine.set_ready("new", false);
    let host = host_with(engine.clone(), master, dir).await;
    master.queue(start_tunnel("c1", "u1", "old"));
    until_tunnel_runs(master, "u1").await;
    master.until(1, results).await;
    master.queue(start_tunnel("c2", "u2", "new"));
    let (id, outcome) = master.until(2, results).await.remove(1);
    assert_eq!((id.as_str(), outcome.succeeded), ("c2", false));
    assert!(outcome.message.contains("the old one serves on"), "{}", outcome.message);
    host
}

#[test]
fn the_old_connector_serves_until_the_new_one_is_ready_however_long_that_takes() {
    paused(async {
        // Given a new connector that is not ready when the order is answered,
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        let host = told_to_change(&master, &engine, &dir).await;
        // when time goes by, and when the supervisor starts anew with what is on disk,
        for restarts in [false, true] {
            if restarts {
                host.fail("tunnel");
                host.until_restarted("tunnel").await;
            }
            tokio::time::sleep(A_WHILE).await;
            // then the old one serves, and nothing else does,
            assert_eq!(serving(&engine).await.as_deref(), Some("old"), "restarted: {restarts}");
            assert_eq!(engine.tokens(), ["old", "new"], "restarted: {restarts}");
        }
        // until the new one is ready.
        engine.set_ready("new", true);
        until_only(&engine, "new").await;
    });
}

#[test]
fn a_new_connector_that_is_not_ready_is_kept_when_the_old_one_is_gone() {
    paused(async {
        let (master, dir, engine) =
            (FakeMaster::native(), tempfile::tempdir().unwrap(), FakeEngine::default());
        let _host = told_to_change(&master, &engine, &dir).await;

        let old = engine.find_container(CONTAINER_NAME).await.unwrap().unwrap();
        engine.remove(&old.id).await.unwrap();

        until_only(&engine, "new").await;
        tokio::time::sleep(A_WHILE).await;
        until_only(&engine, "new").await;
    });
}
