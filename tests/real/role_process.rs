//! The three roles as processes: what a signal during the start does.

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::ship::{Rig, Ship};
use crate::support::until::until;

/// Whether the process takes SIGTERM itself, by its line in `/proc`.
fn hears_term(ship: &Ship) -> Option<()> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", ship.pid())).ok()?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
    (caught & (1 << (Signal::TERM.as_raw() - 1)) != 0).then_some(())
}

#[tokio::test]
async fn a_signal_during_the_start_ends_each_role_in_order() {
    for role in ["master", "agent", "standalone"] {
        // given: a role that cannot go on before its configuration was written
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("slow.toml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RWXU).unwrap();
        let mut ship = Rig::new(role, dir.path())
            .env("LIGHTSHIP_CONFIG", file.to_str().unwrap())
            .env("DOCKFLARE_MASTER_URL", "http://127.0.0.1:9")
            .env("DOCKFLARE_API_KEY", "a-key")
            .launch();
        until("it hears signals", || async { hears_term(&ship) }).await;
        // when
        ship.signal(Signal::TERM);
        // Opens only once the program reads, which it must have lived to do.
        until("it reads its configuration", || async {
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
            rustix::fs::open(&file, flags, rustix::fs::Mode::empty()).ok()
        })
        .await;
        // then
        assert_eq!(ship.ended().await, Some(0), "{role}: {}", ship.log());
        assert!(ship.log().contains("SIGTERM: stopping"), "{role}: {}", ship.log());
    }
}
