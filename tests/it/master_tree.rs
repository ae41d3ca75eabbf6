//! The master's tree from outside: on a file, cut off without a goodbye.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::System;
use async_trait::async_trait;
use lightship::actors::master::{
    Account, ApplyReport, Dialect, Master, MasterError, MasterParts, MasterSettings, Plan, ProvidedTunnel,
    RegisterInput,
};
use lightship::actors::supervision::{Root, Tree};
use lightship::chance::Chance;
use lightship::clock::Clock;
use lightship::db::{self, Db, SecretKey};
use lightship::domain::connector::Connector;
use lightship::domain::container::Container;
use lightship::domain::id::{AccountId, AgentId, ContainerId, TunnelId};
use lightship::domain::report::Report;
use lightship::io::IoRuntime;
use secrecy::ExposeSecret;

use crate::support::database;

#[test]
fn a_master_that_is_cut_off_loses_neither_routes_nor_commands() {
    let folder = tempfile::tempdir().unwrap();
    let agent = System::new().block_on(async {
        let (rig, io) = Rig::on_file(folder.path()).await;
        let agent = rig.enrolled("edge").await;
        rig.master.report(&agent, vec![snapshot("a.example.com")]).await.unwrap();
        // Nothing is stopped and nothing closed: threads and connections go as in a crash.
        drop(io);
        agent
    });
    System::new().block_on(async {
        let (rig, _io) = Rig::on_file(folder.path()).await;
        let routes = db::routes::list_agent_routes(&rig.master.db, &agent).await.unwrap();
        assert_eq!(routes.len(), 1);
        let delivered = rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap();
        assert_eq!(delivered[0].command.kind.action(), "start_tunnel");
        assert_eq!(delivered[0].token.as_ref().unwrap().expose_secret(), "token");
        rig.root.shutdown(Duration::from_secs(10)).await;
    });
}

struct Rig {
    master: Master,
    root: Root,
}

impl Rig {
    async fn on_file(folder: &Path) -> (Self, IoRuntime) {
        let io = IoRuntime::start().unwrap();
        let (clock, chance) = (Clock::system(), Chance::system());
        let file = || format!("sqlite://{}", folder.join("lightship.db").display());
        let url = database::url_for(folder).unwrap_or_else(file);
        let db = Db::open(&url, io.io()).await.unwrap();
        db.migrate().await.unwrap();
        let key = SecretKey::load(&folder.join("secret.key"), None, chance.clone()).unwrap();
        db.unlock_secrets(key).await.unwrap();
        let tree = Tree::new(clock.clone(), chance.clone(), |_| {});
        let parts = MasterParts {
            db,
            cloudflare: None,
            take_token: None,
            default_zone: None,
            account: Some(Arc::new(Tunnels)),
            writer: None,
            registries: None,
            messenger: None,
            settings: MasterSettings::default(),
            clock,
            chance,
            tree: tree.clone(),
            arbiters: Vec::new(),
        };
        let (spec, master) = Master::start(parts).await.unwrap();
        (Self { master, root: Root::start(tree, "master", spec).await }, io)
    }

    async fn enrolled(&self, tunnel: &str) -> AgentId {
        let key = self.master.generate_key("lab", "admin").await.unwrap();
        let access = self.master.directory.authenticate(key.raw.expose_secret()).unwrap();
        let input = RegisterInput {
            agent_id: None,
            display_name: None,
            hostname: Some(tunnel.into()),
            version: None,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            native: true,
        };
        let agent = self.master.register(access, input).await.unwrap().agent_id;
        self.master.enroll(&agent, tunnel, "admin").await.unwrap();
        agent
    }
}

fn snapshot(hostname: &str) -> Report {
    let labels =
        [("dockflare.enable", "true"), ("dockflare.hostname", hostname), ("dockflare.service", "http://a:1")];
    let container = Container {
        id: ContainerId::new("c1"),
        name: "web".into(),
        labels: labels.into_iter().map(|(label, value)| (label.to_owned(), value.to_owned())).collect(),
        image: None,
        status: None,
        networks: None,
    };
    Report::Snapshot { containers: vec![container] }
}

/// Provides any tunnel and publishes nothing.
struct Tunnels;

#[async_trait]
impl Account for Tunnels {
    fn wake(&self) {}

    async fn provide_tunnel(&self, name: &str, _: Duration) -> Result<ProvidedTunnel, MasterError> {
        Ok(ProvidedTunnel {
            is_made: true,
            account_id: AccountId::new("account"),
            tunnel_id: TunnelId::new(name),
            name: name.into(),
            token: "token".to_owned().into(),
            connectors: Some(Vec::new()),
        })
    }

    async fn plan(&self) -> Result<Plan, MasterError> {
        Ok(Plan::default())
    }

    async fn apply(&self, _: &str, _: Duration) -> Result<ApplyReport, MasterError> {
        Ok(ApplyReport::default())
    }

    async fn put_agent_rules(&self, _: &AgentId, _: &TunnelId) -> Result<i64, MasterError> {
        Ok(1)
    }

    async fn connectors(&self, _: &TunnelId) -> Result<Vec<Connector>, MasterError> {
        Ok(Vec::new())
    }
}
