//! `lightship keys`: agent keys.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::common::Common;
use super::{admin_client, output};

/// Options of `lightship keys`.
#[derive(clap::Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    verb: Option<KeysVerb>,
}

#[derive(Subcommand)]
enum KeysVerb {
    /// List the keys (the default).
    List,
    /// Make a key; it is shown once.
    Create {
        /// Whom or what it is for.
        #[arg(long, default_value = "")]
        owner: String,
        /// Hostname that its agent may claim, such as *.example.com or app.example.com; may be repeated.
        /// Without it any hostname is permitted.
        #[arg(long = "hostname-pattern", value_name = "PATTERN")]
        hostname_patterns: Vec<String>,
    },
    /// Make a key useless at once.
    Revoke {
        /// The key's id, as the list shows it.
        key_id: String,
    },
    /// Say how many hosts may be enrolled with a key; each is an agent of its own.
    Seats {
        /// The key's id, as the list shows it.
        key_id: String,
        /// How many; 1 unless it was set.
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
        seats: u32,
    },
    /// Drop a revoked key from the list.
    Delete {
        /// The key's id.
        key_id: String,
    },
}

pub(super) fn run(args: KeysArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let answer = admin_client::converse(common, async |master| match args.verb.as_ref() {
        None | Some(KeysVerb::List) => master.get("/api/v2/agents").await,
        Some(KeysVerb::Create { owner, hostname_patterns }) => {
            let body = json!({ "owner": owner, "hostname_patterns": hostname_patterns });
            master.post("/api/v2/agents/generate-key", body).await
        }
        Some(KeysVerb::Revoke { key_id }) => {
            master.post("/api/v2/agents/revoke-key", json!({ "key_id": key_id })).await
        }
        Some(KeysVerb::Seats { key_id, seats }) => {
            master
                .post(
                    &format!("/api/v3/keys/{}/seats", admin_client::segment(key_id)?),
                    json!({ "seats": seats }),
                )
                .await
        }
        Some(KeysVerb::Delete { key_id }) => {
            master.delete(&format!("/api/v2/agents/keys/{}", admin_client::segment(key_id)?)).await
        }
    })?;
    match args.verb {
        None | Some(KeysVerb::List) if common.json => output::json(&answer["agent_keys"])?,
        None | Some(KeysVerb::List) => list(&answer["agent_keys"])?,
        _ if common.json => output::json(&answer)?,
        Some(KeysVerb::Create { .. }) => {
            output::line(answer["key"].as_str().unwrap_or_default())?;
            eprintln!("this key is not shown again; give it to one agent as DOCKFLARE_API_KEY");
        }
        Some(_) => eprintln!("{}", output::text(&answer, "message")),
    }
    Ok(ExitCode::SUCCESS)
}

/// The hostnames that a key permits.
fn hostnames(meta: &Value) -> String {
    let patterns = meta["hostname_patterns"].as_array().into_iter().flatten();
    let patterns: Vec<&str> = patterns.filter_map(Value::as_str).collect();
    if patterns.is_empty() { "any".into() } else { patterns.join(", ") }
}

fn list(keys: &Value) -> anyhow::Result<()> {
    let rows = keys.as_object().into_iter().flatten().map(|(id, meta)| {
        let mut row = vec![id.clone()];
        row.extend(["owner", "status", "bound_agent_id", "created_at"].map(|key| output::text(meta, key)));
        row.push(hostnames(meta));
        row.push(meta["seats"].to_string());
        row
    });
    let header = ["KEY ID", "OWNER", "STATUS", "AGENT", "CREATED", "HOSTNAMES", "SEATS"];
    output::table(&header, rows.collect(), "no keys; make one with `lightship keys create --owner NAME`")
}
