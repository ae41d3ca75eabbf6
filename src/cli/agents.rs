//! `lightship agents`: the hosts.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Common, admin_client, output};

/// Options of `lightship agents`.
#[derive(clap::Args)]
pub(super) struct AgentsArgs {
    #[command(subcommand)]
    verb: Option<AgentsVerb>,
}

#[derive(Subcommand)]
enum AgentsVerb {
    /// List the agents (the default).
    List,
    /// Give an agent its tunnel and publish its containers.
    Enroll {
        /// The agent's id.
        agent: String,
        /// Tunnel to find or create.
        #[arg(long)]
        tunnel: String,
    },
    /// Replace the connector of an agent.
    Redeploy {
        /// The agent's id.
        agent: String,
    },
    /// Name an agent.
    Rename {
        /// The agent's id.
        agent: String,
        /// The name to show.
        name: String,
    },
    /// Give an agent a new key, shown once; the old one is refused from now on.
    RollKey {
        /// The agent's id.
        agent: String,
    },
    /// Stop an agent's tunnel, withdraw its routes and revoke its key.
    Remove {
        /// The agent's id.
        agent: String,
    },
}

pub(super) fn run(args: AgentsArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let verb = args.verb.unwrap_or(AgentsVerb::List);
    let answer = admin_client::converse(common, async |master| {
        let Some((agent, action, body)) = verb.request() else { return master.get("/api/v2/agents").await };
        master.post(&format!("/api/v2/agents/{agent}/{action}"), body).await
    })?;
    match &verb {
        AgentsVerb::List if common.json => output::json(&answer["agents"])?,
        AgentsVerb::List => list(&answer["agents"])?,
        _ if common.json => output::json(&answer)?,
        AgentsVerb::RollKey { .. } => output::line(answer["new_key"].as_str().unwrap_or_default())?,
        _ => eprintln!("{}", output::text(&answer, "message")),
    }
    Ok(ExitCode::SUCCESS)
}

impl AgentsVerb {
    fn request(&self) -> Option<(&str, &'static str, Value)> {
        Some(match self {
            Self::List => return None,
            Self::Enroll { agent, tunnel } => (agent, "enroll", json!({ "tunnel_name": tunnel })),
            Self::Redeploy { agent } => (agent, "redeploy-tunnel", json!({})),
            Self::Rename { agent, name } => (agent, "rename", json!({ "display_name": name })),
            Self::RollKey { agent } => (agent, "roll-key", json!({})),
            Self::Remove { agent } => (agent, "remove", json!({})),
        })
    }
}

fn list(agents: &Value) -> anyhow::Result<()> {
    let rows = agents.as_object().into_iter().flatten().map(|(id, agent)| {
        let keys = ["display_name", "status", "health", "assigned_tunnel_name", "version", "last_seen"];
        let mut row = vec![id.clone()];
        row.extend(keys.map(|key| output::text(agent, key)));
        row
    });
    let header = ["AGENT", "NAME", "STATUS", "HEALTH", "TUNNEL", "VERSION", "LAST SEEN"];
    output::table(
        &header,
        rows.collect(),
        "no agents; make a key with `lightship keys create`, then start one",
    )
}
