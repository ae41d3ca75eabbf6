//! The three roles as processes: what a signal during the start does, and what a standalone says of itself.

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

#[tokio::test]
async fn a_standalone_keeps_its_hosts_name_and_says_when_docker_is_away() {
    let dir = TempDir::new().unwrap();
    let rig = Rig::new("standalone", dir.path());
    let mut names = Vec::new();
    for _ in 0..2 {
        let ship = rig.start();
        let noted = until("Docker is named", || async {
            let ready = ship.get("/readyz").await;
            let notes = ready["notes"].as_array()?.clone();
            notes.into_iter().find(|note| note.as_str().is_some_and(|note| note.contains("docker engine")))
        });
        let note = noted.await.to_string();
        assert!(note.contains("unix:///nonexistent/docker.sock"), "{note}");
        let name = until("the local agent is there", || async {
            let agents = ship.get("/api/v2/agents").await;
            let own = agents["agents"].as_object()?.values().find(|agent| agent["online"] == true)?;
            Some(own["display_name"].as_str()?.to_owned())
        });
        names.push(name.await);
        ship.stop();
    }
    assert_eq!(names[0], names[1], "a restart changes no name");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(names[0] == host.trim() || names[0].starts_with("agent-"), "{names:?} on {host}");
}

#[tokio::test]
async fn an_agents_key_in_the_old_variable_of_the_admin_token_opens_no_admin_api() {
    for role in ["master", "standalone"] {
        // given: a `.env` that was an agent's, on the host of the master that knows the key
        let dir = TempDir::new().unwrap();
        let ship = Rig::new(role, dir.path()).start();
        let key = ship.new_key().await;
        assert!(ship.stop().success());
        for (alias, status) in [(key.as_str(), 401), ("what-an-admin-chose", 200)] {
            // when
            let rig = Rig::new(role, dir.path()).env("LIGHTSHIP_ADMIN_TOKEN", "");
            let ship = rig.env("DOCKFLARE_API_KEY", alias).start();
            let asking = reqwest::Client::new().get(format!("{}/api/v2/agents", ship.url()));
            // then
            assert_eq!(asking.bearer_auth(alias).send().await.unwrap().status(), status, "{role}");
            let is_said = ship.log().contains("DOCKFLARE_API_KEY holds an agent's key");
            assert_eq!(is_said, status == 401, "{role}: {}", ship.log());
            assert!(!ship.log().contains(alias), "{role}: {}", ship.log());
            assert!(ship.stop().success());
        }
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for role in ["master", "standalone"] {
        let dir = TempDir::new().unwrap();

        let rig = Rig::new(role, dir.path()).env("SERVER_PORT", address.port().to_string());
        let (code, _, said) = rig.verb(&[role]);

        assert_eq!(code, 1, "{role}: {said}");
        assert!(said.contains(&address.to_string()) && said.contains("set SERVER_PORT"), "{role}: {said}");
    }
}
