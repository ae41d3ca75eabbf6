//! `lightship updates`: pending updates of all hosts, what is decided about them, and what installing them would change.

use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::common::{Common, misplaced};
use super::{admin_client, approvals, fleet_updates, output};
use crate::clock::Clock;
use crate::domain::text::spell_out;

/// Options of `lightship updates`.
#[derive(clap::Args)]
pub(super) struct UpdatesArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(subcommand)]
    verb: Option<UpdatesVerb>,
}

/// Which updates are listed.
#[derive(Default, PartialEq, clap::Args)]
struct Filter {
    /// Of this agent, by its id.
    #[arg(long)]
    agent: Option<String>,
    /// Of this kind: apt, dnf, docker_image, windows_update or winget.
    #[arg(long)]
    kind: Option<String>,
    /// Of this severity: critical, important, moderate or low.
    #[arg(long)]
    severity: Option<String>,
    /// In these states, with commas between them, or any; open ones if it is left out.
    #[arg(long)]
    state: Option<String>,
    /// Those that mend a hole only.
    #[arg(long)]
    security: bool,
    /// Those that a published route leads to only.
    #[arg(long)]
    public: bool,
    /// Those that are public without a login only.
    #[arg(long)]
    unprotected: bool,
    /// Those whose name has this in it.
    #[arg(long)]
    search: Option<String>,
    /// Exit with 2 if anything is listed.
    #[arg(long)]
    exit_code: bool,
}

#[derive(Subcommand)]
enum UpdatesVerb {
    /// List updates (the default).
    List(Filter),
    /// Show one update with all that is known of it.
    Show {
        /// The update's id.
        update: String,
    },
    /// Ask hosts exactly what installing updates would change; nothing is changed by it.
    ///
    /// Exit codes: 0 nothing to change, 2 something is, 3 not all hosts answered.
    Plan(fleet_updates::PlanArgs),
    /// Say yes to a plan; its hosts carry out exactly that.
    Approve(fleet_updates::ApproveArgs),
    /// List who said yes to what, as far as something may still come of it.
    Approvals(approvals::ApprovalsArgs),
    /// Add a second person's yes.
    Second {
        /// The approval's id.
        approval: String,
    },
    /// Take a yes back, for every host that has not fetched the order.
    Withdraw {
        /// The approval's id.
        approval: String,
    },
    /// List images that failed on a host and are approved on none until they are let go.
    Held,
    /// Let an image go that failed on a host: it may be approved again.
    LetGo {
        /// Its digest, as `lightship updates held` shows it.
        digest: String,
    },
    /// Keep what is installed, whatever comes.
    Hold {
        /// Ids of updates.
        #[arg(required = true)]
        updates: Vec<String>,
    },
    /// Hear nothing of this version any more.
    Ignore {
        /// Ids of updates.
        #[arg(required = true)]
        updates: Vec<String>,
    },
    /// Hear of it later.
    Snooze {
        /// Ids of updates.
        #[arg(required = true)]
        updates: Vec<String>,
        /// For how many days.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=3_650))]
        days: u32,
    },
    /// Take back what was decided.
    Reconsider {
        /// Ids of updates.
        #[arg(required = true)]
        updates: Vec<String>,
    },
}

pub(super) fn run(args: UpdatesArgs, common: &Common) -> anyhow::Result<ExitCode> {
    if args.verb.is_some() && args.filter != Filter::default() {
        return Err(misplaced("updates list --kind apt"));
    }
    match args.verb {
        None => list(&args.filter, common),
        Some(UpdatesVerb::List(filter)) => list(&filter, common),
        Some(UpdatesVerb::Show { update }) => {
            let path = format!("/api/v3/updates/{}", admin_client::segment(&update)?);
            let answer = admin_client::converse(common, async |master| master.get(&path).await)?;
            if common.json {
                output::json(&answer)?
            } else {
                print_one(&answer)?
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(UpdatesVerb::Plan(args)) => fleet_updates::plan(&args, common),
        Some(UpdatesVerb::Approve(args)) => fleet_updates::approve(&args, common),
        Some(UpdatesVerb::Approvals(args)) => approvals::list(&args, common),
        Some(UpdatesVerb::Second { approval }) => approvals::decide(&approval, "second", common),
        Some(UpdatesVerb::Withdraw { approval }) => approvals::decide(&approval, "withdraw", common),
        Some(UpdatesVerb::Held) => fleet_updates::held(common),
        Some(UpdatesVerb::LetGo { digest }) => fleet_updates::let_go(&digest, common),
        Some(UpdatesVerb::Hold { updates }) => decide("hold", &updates, None, common),
        Some(UpdatesVerb::Ignore { updates }) => decide("ignore", &updates, None, common),
        Some(UpdatesVerb::Reconsider { updates }) => decide("reconsider", &updates, None, common),
        Some(UpdatesVerb::Snooze { updates, days }) => {
            let until = Clock::system().now() + TimeDelta::days(i64::from(days));
            decide("snooze", &updates, Some(until), common)
        }
    }
}

/// Prints all that is known of an update, a line each.
fn print_one(update: &Value) -> anyhow::Result<()> {
    for (name, value) in update.as_object().into_iter().flatten() {
        let text = match value {
            Value::Null => continue,
            Value::Array(list) if list.is_empty() => continue,
            Value::Array(list) => {
                let parts =
                    list.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned));
                spell_out(&parts.collect::<Vec<_>>().join(", "))
            }
            Value::Object(_) => spell_out(&value.to_string()),
            _ => output::text(update, name),
        };
        output::line(&format!("{:<20} {text}", name.replace('_', " ")))?;
    }
    Ok(())
}

fn decide(
    word: &str,
    ids: &[String],
    until: Option<DateTime<Utc>>,
    common: &Common,
) -> anyhow::Result<ExitCode> {
    let body = json!({ "ids": ids, "decision": word, "until": until });
    let answer = admin_client::converse(common, async |master| {
        master.post("/api/v3/updates/decisions", body.clone()).await
    })?;
    let left = answer["left"].as_u64().unwrap_or(0);
    if common.json {
        output::json(&answer)?;
    } else {
        eprintln!("{} decided", answer["decided"]);
    }
    if left > 0 {
        eprintln!(
            "{left} left as they were: not known, under way, or at their end; `lightship updates --state any` lists all"
        );
    }
    Ok(if left > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn list(filter: &Filter, common: &Common) -> anyhow::Result<ExitCode> {
    let query = filter.query();
    let updates = admin_client::converse(common, async |master| {
        let (mut updates, mut after) = (Vec::new(), json!(0));
        while !after.is_null() {
            let mut answer = master.get(&format!("/api/v3/updates?limit=1000&after={after}{query}")).await?;
            if let Value::Array(more) = answer["updates"].take() {
                updates.extend(more);
            }
            after = answer["next"].take();
        }
        Ok(Value::Array(updates))
    })?;
    let updates = updates.as_array().cloned().unwrap_or_default();
    if common.json {
        output::json(&updates)?;
    } else {
        print(&updates, query.is_empty())?;
    }
    Ok(if filter.exit_code && !updates.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

impl Filter {
    /// What stands in the address beside where to go on.
    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        let texts = [
            ("agent_id", &self.agent),
            ("kind", &self.kind),
            ("severity", &self.severity),
            ("state", &self.state),
            ("search", &self.search),
        ];
        query.extend_pairs(texts.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
        let flags = [("security", self.security), ("public", self.public), ("unprotected", self.unprotected)];
        query.extend_pairs(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (name, "true")));
        match query.finish() {
            query if query.is_empty() => query,
            query => format!("&{query}"),
        }
    }
}

fn print(updates: &[Value], is_all: bool) -> anyhow::Result<()> {
    let keys = ["id", "agent", "kind", "name", "current_version", "available_version", "severity", "state"];
    let row = |update: &Value| {
        let mut row: Vec<String> = keys.iter().map(|key| output::text(update, key)).collect();
        let reach = match (update["is_public"] == true, update["is_protected"] == true) {
            (true, false) => "public, no login",
            (true, true) => "public",
            _ => "",
        };
        row.push(reach.to_owned());
        let why = if update["problem"].is_string() { "problem" } else { "reason" };
        row.push(output::text(update, why));
        row
    };
    let header =
        ["UPDATE", "HOST", "KIND", "NAME", "CURRENT", "AVAILABLE", "SEVERITY", "STATE", "REACH", "WHY"];
    output::table(
        &header,
        updates.iter().map(row).collect(),
        match is_all {
            true => {
                "nothing is known to be pending; `lightship agents` lists the hosts, and their pages say whether they were looked at"
            }
            false => {
                "none of the updates is like that; `lightship updates` lists the open ones, `--state any` all"
            }
        },
    )
}
