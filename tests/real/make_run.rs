//! What `make run` does once everything is built.

use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::scene::{labels, subfolder};
use crate::support::docker::Engine;
use crate::support::ship::{Rig, binary};

/// A clone in which everything is built; returns the script that `make run` calls.
fn built_clone(folder: &Path) -> PathBuf {
    let script = folder.join("scripts/run");
    for part in ["scripts", "target/release"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
    }
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/run"), &script).unwrap();
    symlink(binary(), folder.join("target/release/lightship")).unwrap();
    script
}

#[tokio::test]
async fn make_run_opens_a_page_shows_a_container_and_ends_with_ctrl_c() {
    let engine = Engine::lease().await;
    let clone = TempDir::new().unwrap();
    let state = subfolder(&clone, "state");
    let rig = Rig::new("standalone", &state).engine(&engine).script(&built_clone(clone.path()));
    // when: it says where its page is
    let mut ship = rig.start();
    let page = reqwest::get(ship.url()).await.unwrap();
    assert!(page.status().is_success() && page.text().await.unwrap().contains("Lightship"));
    let first = reqwest::get(ship.said("first run: open ")).await.unwrap();
    assert!(first.status().is_success() && first.url().path() == "/setup", "{first:?}");
    // and a container comes
    engine.run("app", &labels("app.example.com")).await;
    ship.until_route("app.example.com", "planned").await;
    // and Ctrl-C is pressed
    let port = ship.port();
    ship.signal(Signal::INT);
    // then: nothing is left but its files
    assert_eq!(ship.ended().await, Some(0), "{}", ship.log());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it still listens");
    assert!(state.join("lightship.db").exists());
    assert_eq!(engine.containers().await.len(), 1, "the person's own container, and no other");
}
