//! `lightship standalone`: master and local agent in one process; they talk HTTP over loopback all the same.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::prelude::*;
use anyhow::Context as _;
use futures_util::FutureExt;
use secrecy::{ExposeSecret, SecretString};

use super::agent_half;
use super::common::Common;
use super::master::{MasterHalf, reachable};
use super::run as process;
use super::run::Start;
use crate::actors::agent::tree::AgentPorts;
use crate::actors::master::Master;
use crate::actors::supervision::{ChildSpec, Ctx, Overflow, Root, SupSpec};
use crate::config::Role;
use crate::db::{Batch, Db, RowChange, agents, secrets};
use crate::domain::agent::AgentStatus;
use crate::domain::id::{KeyId, SecretId};
use crate::supervised;
use crate::web::state::AskDocker;

/// How often the local agent's standing is looked at until it is enrolled.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a probe may wait for the local agent.
const ASK_TIME: Duration = Duration::from_millis(500);
/// How often enrolment is tried while Cloudflare refuses or does not answer.
const TRY_EVERY: Duration = Duration::from_secs(15);

/// Runs both halves until the process is asked to end.
pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    process::run(common, Role::Standalone, async |start| {
        let (spec, half) = MasterHalf::build(&start).await?;
        let master = ChildSpec::supervisor("master", spec);
        let root = Root::start(start.tree.clone(), "standalone", SupSpec::one_for_one().child(master)).await;
        let local: Arc<OnceLock<AgentPorts>> = Arc::default();
        let serving = half.serve(&start, Some(ask_docker(Arc::clone(&local)))).await?;
        let key = local_key(&start, &half).await?;
        let url = format!("http://{}", reachable(serving.address));
        let (agent, ports) = agent_half::describe(&start, &url, key.raw)?;
        let enroller = Enroller {
            master: half.master.clone(),
            db: half.db.clone(),
            key: key.id,
            tunnel: start
                .loaded
                .settings
                .tunnel
                .name
                .clone()
                .map_or_else(own_tunnel, |name| name.trim().to_owned()),
        };
        let agent = agent.child(enrolment(enroller));
        root.add("standalone", ChildSpec::supervisor("agent", agent))
            .await
            .context("cannot start the local agent")?;
        let _ = local.set(ports.clone());
        let socket = agent_half::serve_status(&start, ports)?;
        let end = process::until_end(&root, start.signals.next()).await;
        // The agent first: its last word is for a master that still listens.
        let _ = root.remove("standalone/agent").await;
        serving.stop().await;
        let code = process::finish(root, end).await;
        socket.stop(false).await;
        half.end().await?;
        Ok(code)
    })
}

/// The tunnel of this host if nobody named one.
fn own_tunnel() -> String {
    format!("lightship-{}", agent_half::kernel_host_name().unwrap_or_else(|| "local".into()))
}

/// Asks the local agent, once it runs, what is wrong with the Engine.
fn ask_docker(local: Arc<OnceLock<AgentPorts>>) -> AskDocker {
    Arc::new(move || {
        let local = Arc::clone(&local);
        async move { local.get()?.status(ASK_TIME).await.docker?.problem }.boxed_local()
    })
}

struct LocalKey {
    id: KeyId,
    raw: SecretString,
}

/// The local agent's key, kept among the stored secrets; made anew if it was revoked.
async fn local_key(start: &Start, half: &MasterHalf) -> anyhow::Result<LocalKey> {
    let secret = SecretId::new("local-agent-key");
    if let Some(raw) = secrets::find_secret(&half.db, &secret).await?
        && let Some(access) = half.master.directory.authenticate(raw.expose_secret())
    {
        return Ok(LocalKey { id: access.key_id.clone(), raw });
    }
    let key = half.master.generate_key("local agent", "system").await?;
    let put =
        RowChange::PutSecret { id: secret, purpose: "key of the local agent".into(), plain: key.raw.clone() };
    let batch = Batch::new("system", start.clock.now()).row(put);
    half.db.commit(batch).await?;
    Ok(LocalKey { id: key.key_id, raw: key.raw })
}

fn enrolment(enroller: Enroller) -> ChildSpec {
    let (spec, _) = ChildSpec::actor("enrolment", 4, Overflow::DropNewest, move || enroller.clone());
    spec
}

/// Enrols the local agent by itself: nobody else could have made its key.
#[derive(Clone)]
struct Enroller {
    master: Master,
    db: Db,
    key: KeyId,
    tunnel: String,
}

enum Standing {
    /// It has not registered yet.
    Unknown,
    /// Nothing is left to do.
    Settled,
    /// Cloudflare did not play along.
    Failed(String),
}

impl Actor for Enroller {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        self.look(ctx);
    }
}

supervised!(Enroller);

impl Enroller {
    fn look(&mut self, ctx: &mut Ctx<Self>) {
        let enroller = self.clone();
        let look = async move { enroller.settle().await };
        ctx.spawn(look.into_actor(self).map(|standing, _, ctx| {
            let again = match standing {
                Standing::Settled => return,
                Standing::Unknown => LOOK_EVERY,
                Standing::Failed(reason) => {
                    tracing::warn!(%reason, "the local agent has no tunnel yet; trying again");
                    TRY_EVERY
                }
            };
            ctx.run_later(again, |actor, ctx| actor.look(ctx));
        }));
    }

    async fn settle(&self) -> Standing {
        match self.try_settle().await {
            Ok(standing) => standing,
            Err(error) => Standing::Failed(format!("{error:#}")),
        }
    }

    async fn try_settle(&self) -> anyhow::Result<Standing> {
        let agents = agents::load_agents(&self.db).await?;
        let own = agents.into_iter().find(|agent| agent.key_id.as_ref() == Some(&self.key));
        let Some(own) = own else { return Ok(Standing::Unknown) };
        match own.status {
            // A person took it off; that stays.
            AgentStatus::Removed | AgentStatus::Revoked => return Ok(Standing::Settled),
            AgentStatus::Enrolled if own.tunnel_id.is_some() => return Ok(Standing::Settled),
            // A person looks which machine it is.
            AgentStatus::Pending if own.other_machine.is_some() => return Ok(Standing::Settled),
            AgentStatus::Enrolled | AgentStatus::Pending => {}
        }
        // Its routes are shown at once, and planned for as long as there is no tunnel.
        self.master.approve(&own.id, "system").await?;
        if self.master.has_cloudflare() {
            self.master.enroll(&own.id, &self.tunnel, "system").await?;
        }
        Ok(Standing::Settled)
    }
}
