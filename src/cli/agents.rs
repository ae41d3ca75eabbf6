//! `lightship agents`: the hosts.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::admin_client::AdminClient;
use super::common::Common;
use super::{admin_client, output};
use crate::domain::text::spell_out;

/// How long an agent is waited for that is asked something: one of ours is handed it at once, unless it is away.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How often is looked whether it answered.
const LOOK_EVERY: Duration = Duration::from_millis(200);

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
    /// Say yes to an agent without a tunnel: its host is looked after for updates, and it publishes nothing. One that
    /// reports from another machine than before goes on as it was.
    Approve {
        /// The agent's id.
        agent: String,
    },
    /// Have an agent look at its host for updates now.
    Scan {
        /// The agent's id.
        agent: String,
    },
    /// Show the last lines that an agent's connector wrote.
    Log {
        /// The agent's id.
        agent: String,
    },
    /// Replace the connector of an agent.
    Redeploy {
        /// The agent's id.
        agent: String,
    },
    /// Move an agent's names to its new tunnel now, although no connector was seen there.
    Move {
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
    /// Permit an agent certain hostnames only. What it publishes already stays until its container goes.
    Limit {
        /// The agent's id.
        agent: String,
        /// Hostname that it may claim, such as *.example.com or app.example.com; may be repeated.
        #[arg(long = "hostname-pattern", value_name = "PATTERN", required_unless_present = "any_hostname")]
        hostname_patterns: Vec<String>,
        /// Permit every hostname again; its key may still say otherwise.
        #[arg(long, conflicts_with = "hostname_patterns")]
        any_hostname: bool,
    },
    /// Make a new key for an agent, shown once; the old one works until the agent registers with the new one.
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
        let Some((path, body)) = verb.request()? else { return master.get("/api/v2/agents").await };
        let asked = master.post(&path, body).await.map_err(|error| verb.explain(error))?;
        match verb {
            AgentsVerb::Log { .. } => answered(&master, &path, &asked["command_id"]).await,
            _ => Ok(asked),
        }
    })?;
    match &verb {
        AgentsVerb::List if common.json => output::json(&answer["agents"])?,
        AgentsVerb::List => list(&answer["agents"])?,
        _ if common.json => output::json(&answer)?,
        AgentsVerb::Log { .. } => {
            for line in answer["lines"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                output::line(&spell_out(line))?;
            }
        }
        AgentsVerb::RollKey { .. } => output::line(answer["new_key"].as_str().unwrap_or_default())?,
        AgentsVerb::Limit { hostname_patterns, .. } if hostname_patterns.is_empty() => {
            eprintln!("The agent may claim any hostname.");
        }
        AgentsVerb::Limit { hostname_patterns, .. } => {
            eprintln!("The agent may claim {} only.", hostname_patterns.join(", "));
        }
        _ => eprintln!("{}", output::text(&answer, "message")),
    }
    Ok(ExitCode::SUCCESS)
}

impl AgentsVerb {
    /// Names the agent that is not there; DockFlare's words, which the master has to use, do not.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let agent = match self {
            Self::List => return error,
            Self::Enroll { agent, .. }
            | Self::Approve { agent }
            | Self::Scan { agent }
            | Self::Log { agent }
            | Self::Redeploy { agent }
            | Self::Move { agent }
            | Self::Rename { agent, .. }
            | Self::Limit { agent, .. }
            | Self::RollKey { agent }
            | Self::Remove { agent } => agent,
        };
        if !error.is::<admin_client::NotFound>() {
            return error;
        }
        anyhow::anyhow!("there is no agent `{agent}`; `lightship agents` lists all agents with their ids")
    }

    /// The path and the body of the call; none to list.
    fn request(&self) -> anyhow::Result<Option<(String, Value)>> {
        let v2 = |agent: &str, action: &str| {
            anyhow::Ok(format!("/api/v2/agents/{}/{action}", admin_client::segment(agent)?))
        };
        let v3 = |agent: &str, action: &str| {
            anyhow::Ok(format!("/api/v3/agents/{}/{action}", admin_client::segment(agent)?))
        };
        Ok(Some(match self {
            Self::List => return Ok(None),
            Self::Enroll { agent, tunnel } => (v2(agent, "enroll")?, json!({ "tunnel_name": tunnel })),
            Self::Approve { agent } => (v3(agent, "approve")?, json!({})),
            Self::Scan { agent } => (v3(agent, "scan")?, json!({})),
            Self::Log { agent } => (v3(agent, "connector-log")?, json!({})),
            Self::Redeploy { agent } => (v2(agent, "redeploy-tunnel")?, json!({})),
            Self::Move { agent } => (v3(agent, "move")?, json!({})),
            Self::Rename { agent, name } => (v2(agent, "rename")?, json!({ "display_name": name })),
            Self::Limit { agent, hostname_patterns, .. } => {
                (v3(agent, "limit")?, json!({ "hostname_patterns": hostname_patterns }))
            }
            Self::RollKey { agent } => (v2(agent, "roll-key")?, json!({})),
            Self::Remove { agent } => (v2(agent, "remove")?, json!({})),
        }))
    }
}

/// Waits for what an agent answers to a question.
async fn answered(master: &AdminClient, path: &str, command: &Value) -> anyhow::Result<Value> {
    let due = tokio::time::Instant::now() + ANSWER_LIMIT;
    loop {
        let answer = master.get(path).await?;
        if answer["command_id"] != *command {
            anyhow::bail!("somebody else asked after you; ask again");
        }
        match answer["status"].as_str() {
            Some("succeeded") => return Ok(answer),
            Some("failed") => anyhow::bail!(
                "{}",
                spell_out(answer["reason"].as_str().unwrap_or("the agent says no reason"))
            ),
            Some("expired") => anyhow::bail!(
                "the agent did not fetch the question; `lightship agents` shows whether it is there"
            ),
            _ if tokio::time::Instant::now() >= due => anyhow::bail!(
                "the agent did not answer within {} s; `lightship agents` shows whether it is there",
                ANSWER_LIMIT.as_secs()
            ),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

fn list(agents: &Value) -> anyhow::Result<()> {
    let rows = agents.as_object().into_iter().flatten().map(|(id, agent)| {
        let keys =
            ["display_name", "status", "health", "assigned_tunnel_name", "serves", "version", "last_seen"];
        let mut row = vec![id.clone()];
        row.extend(keys.map(|key| output::text(agent, key)));
        row
    });
    let header = ["AGENT", "NAME", "STATUS", "HEALTH", "TUNNEL", "SERVES", "VERSION", "LAST SEEN"];
    output::table(
        &header,
        rows.collect(),
        "no agents; make a key with `lightship keys create`, then start one",
    )?;
    // Beside the table, which scripts read: what a person should know of one.
    for agent in agents.as_object().into_iter().flat_map(|agents| agents.values()) {
        if agent["problem"].is_string() {
            eprintln!("{}: {}", output::text(agent, "display_name"), output::text(agent, "problem"));
        }
    }
    Ok(())
}
