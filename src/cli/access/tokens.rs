//! `lightship access tokens`: what programs show Cloudflare Access instead of a sign-in.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cli::common::Common;
use crate::cli::{admin_client, output, plan};
use crate::domain::text::spell_out;

const PATH: &str = "/api/v3/access/service-tokens";

#[derive(Subcommand)]
pub(super) enum TokensVerb {
    /// List the service tokens of the Cloudflare account, without their secrets (the default).
    List,
    /// Make a service token; its secret is printed once, and nobody can look it up again.
    Create {
        /// What it is called; groups name it by that, so it has to be free.
        name: String,
        /// How long it is good, such as 24h or 8760h (a year, the default), or `forever`.
        #[arg(long, value_name = "TIME")]
        duration: Option<String>,
    },
    /// Give a service token another secret; the one before is good no longer.
    Rotate {
        /// Its id or name.
        token: String,
    },
    /// Delete a service token that no group names.
    Revoke {
        /// Its id or name.
        token: String,
    },
}

/// Runs the verb.
pub(super) fn run(verb: TokensVerb, common: &Common) -> anyhow::Result<()> {
    match verb {
        TokensVerb::List => {
            let answer = admin_client::converse(common, async |master| master.get(PATH).await)?;
            if common.json { output::json(&answer["service_tokens"]) } else { list(&answer) }
        }
        TokensVerb::Create { name, duration } => {
            let body = json!({ "name": name, "duration": duration });
            let made = admin_client::converse(common, async |master| master.post(PATH, body).await)?;
            show_secret(&made, common)
        }
        TokensVerb::Rotate { token } => {
            let path = format!("{PATH}/{}/rotate", admin_client::segment(&token)?);
            let made = admin_client::converse(common, async |master| master.post(&path, json!({})).await)?;
            show_secret(&made, common)
        }
        TokensVerb::Revoke { token } => {
            let path = format!("{PATH}/{}", admin_client::segment(&token)?);
            let answer = admin_client::converse(common, async |master| master.delete(&path).await)?;
            if common.json {
                return output::json(&answer);
            }
            eprintln!("the service token `{}` is revoked", output::text(&answer, "name"));
            Ok(())
        }
    }
}

fn list(answer: &Value) -> anyhow::Result<()> {
    let row = |token: &Value| {
        let expires = match (&token["expires_at"], token["is_expired"] == true) {
            (Value::Null, _) => "never".to_owned(),
            (_, true) => format!("{} (over)", output::text(token, "expires_at")),
            (_, false) => output::text(token, "expires_at"),
        };
        let groups = token["groups"].as_array().into_iter().flatten().filter_map(Value::as_str);
        vec![
            output::text(token, "name"),
            output::text(token, "id"),
            output::text(token, "client_id"),
            expires,
            output::text(token, "last_seen_at"),
            groups.map(spell_out).collect::<Vec<_>>().join(", "),
        ]
    };
    let rows = plan::items(answer, "service_tokens").iter().map(row).collect();
    let header = ["NAME", "ID", "CLIENT ID", "EXPIRES", "LAST SEEN", "GROUPS"];
    output::table(&header, rows, "no service tokens; make one with `lightship access tokens create NAME`")
}

/// The secret goes to standard output with what belongs to it; what is to be said of it does not.
fn show_secret(made: &Value, common: &Common) -> anyhow::Result<()> {
    if common.json {
        output::json(made)?;
    } else {
        output::line(&format!("CF-Access-Client-Id: {}", output::text(made, "client_id")))?;
        output::line(&format!("CF-Access-Client-Secret: {}", output::text(made, "client_secret")))?;
    }
    eprintln!(
        "the secret of `{}` is shown this once; keep it where its program finds it",
        output::text(made, "name")
    );
    Ok(())
}
