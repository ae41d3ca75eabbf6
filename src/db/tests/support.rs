//! Databases to test on, and short words for events.

use std::path::Path;

use super::postgres::Lease;
use crate::chance::Chance;
use crate::db::{Batch, CommitError, Committed, Db, Expected, SecretKey};
use crate::domain::access::AccessAsk;
use crate::domain::command::CommandKind;
use crate::domain::event::{AdminEvent, AgentEvent, CommandEvent, Event, KeyEvent, RouteEvent, Stream};
use crate::domain::id::{AccountId, AgentId, CommandId, ContainerId, KeyId, SecretId, TunnelId};
use crate::domain::route::{OriginRequest, Release, RouteKey, Service};
use crate::io::Io;
use chrono::{DateTime, TimeDelta, Utc};

/// Runs a test on SQLite in memory, SQLite in a file and PostgreSQL.
pub(super) async fn on_every_engine(test: impl AsyncFn(Db)) {
    test(Db::in_memory(Io::current()).await.unwrap()).await;
    on_every_lasting_engine(async |url| {
        let db = writer_at(url).await;
        test(db.clone()).await;
        // A test may have closed it.
        let _ = db.close().await;
    })
    .await;
}

/// Runs a test on the address of an empty database that is there as long as the test: SQLite in a file, PostgreSQL.
pub(super) async fn on_every_lasting_engine(test: impl AsyncFn(&str)) {
    let folder = tempfile::tempdir().unwrap();
    test(&url_of(&folder.path().join("lightship.db"))).await;
    let lease = Lease::empty();
    test(&lease.url()).await;
}

/// A migrated database, opened by the process that may write to it.
pub(super) async fn writer_at(url: &str) -> Db {
    let db = Db::open(url, Io::current()).await.unwrap();
    db.become_writer().await.unwrap();
    db.migrate().await.unwrap();
    db.unlock_secrets(SecretKey::random(Chance::system())).await.unwrap();
    db
}

/// A migrated database in a file.
pub(super) async fn file_db(path: &Path) -> Db {
    writer_at(&url_of(path)).await
}

pub(super) fn url_of(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", path.display())
}

/// A fixed time and `secs` more.
pub(super) fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(secs)
}

pub(super) fn agent(name: &str) -> AgentId {
    AgentId::new(name)
}

/// A batch of one stream, at the end of it.
pub(super) fn batch(stream: Stream, events: Vec<Event>) -> Batch {
    Batch::new("tester", at(0)).append(stream, Expected::Head, events)
}

pub(super) async fn commit(db: &Db, stream: Stream, events: Vec<Event>) -> Result<Committed, CommitError> {
    db.commit(batch(stream, events)).await
}

pub(super) fn setting(key: &str, value: i64) -> Event {
    Event::Admin(AdminEvent::SettingChanged { key: key.into(), value: value.into() })
}

pub(super) fn key_made(key: &str) -> Event {
    Event::Key(KeyEvent::Generated {
        key_id: KeyId::new(key),
        owner: "ops".into(),
        sha256: format!("digest-of-{key}"),
        rolled_from: None,
    })
}

pub(super) fn registered(name: &str, key: &str) -> Event {
    Event::Agent(AgentEvent::Registered {
        agent_id: agent(name),
        key_id: KeyId::new(key),
        display_name: format!("host {name}"),
        version: Some("0.1.0".into()),
        key_owner: "ops".into(),
        shares_key: false,
    })
}

pub(super) fn enrolled(name: &str, tunnel: &str) -> Event {
    Event::Agent(AgentEvent::Enrolled {
        agent_id: agent(name),
        account_id: AccountId::new("acc"),
        tunnel_id: TunnelId::new(tunnel),
        tunnel_name: format!("name of {tunnel}"),
        secret_id: SecretId::new(format!("tunnel/{tunnel}")),
        connectors: None,
    })
}

pub(super) fn route_key(hostname: &str, path: &str) -> RouteKey {
    RouteKey { hostname: hostname.into(), path: path.into() }
}

pub(super) fn service(hostname: &str, path: &str) -> Service {
    Service {
        key: route_key(hostname, path),
        service: "http://app:8080".into(),
        origin_request: OriginRequest::default(),
        zone_name: None,
        access: AccessAsk::Nothing,
    }
}

pub(super) fn claimed(name: &str, hostname: &str, path: &str) -> Event {
    Event::Route(RouteEvent::Claimed {
        agent_id: agent(name),
        container_id: ContainerId::new("c1"),
        container_name: "app".into(),
        service: service(hostname, path),
    })
}

pub(super) fn released(name: &str, hostname: &str, path: &str) -> Event {
    Event::Route(RouteEvent::Released {
        agent_id: agent(name),
        route: route_key(hostname, path),
        why: Release::Missing,
    })
}

pub(super) fn lost(name: &str, hostname: &str, due_at: DateTime<Utc>) -> Event {
    Event::Route(RouteEvent::Lost {
        agent_id: agent(name),
        route: route_key(hostname, ""),
        due_at,
        explained: false,
    })
}

pub(super) fn queued(name: &str, command: &str, expires_at: DateTime<Utc>) -> Event {
    Event::Command(CommandEvent::Queued {
        agent_id: agent(name),
        command_id: CommandId::new(command),
        command: CommandKind::StopTunnel,
        expires_at,
    })
}
