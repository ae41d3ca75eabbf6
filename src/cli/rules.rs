//! `lightship rules`: routes for what is no container, made by people.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};

use super::common::Common;
use super::plan::items;
use super::{admin_client, output};
use crate::domain::import::is_named;
use crate::domain::origin_option::{OPTIONS, OriginOption};
use crate::domain::route::OriginRequest;

/// Exit code that says that something can be taken over.
const PENDING: u8 = 2;
/// Exit code for what was done in part.
const IN_PART: u8 = 3;

/// Options of `lightship rules`.
#[derive(clap::Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    verb: Option<RulesVerb>,
}

#[derive(Subcommand)]
enum RulesVerb {
    /// List the rules with their state and its reason (the default).
    List,
    /// Make a rule, or put it in the place of the one with its hostname and path.
    ///
    /// What is not said is not kept: options, groups and zone of an earlier one are gone. Without --tunnel and --agent it
    /// stays in its tunnel.
    Set(SetArgs),
    /// Remove a rule; what it published is not reachable any more.
    Remove {
        /// Its hostname.
        hostname: String,
        /// Its path, if it has one.
        #[arg(long, default_value = "")]
        path: String,
    },
    /// Show the rules that others made in a tunnel, or take them over with --yes.
    ///
    /// Exit codes: 0 nothing to take over, or all taken; 2 something can be; 3 taken in part.
    Import {
        /// Name or id of the tunnel.
        tunnel: String,
        /// Only rules of these hostnames; *.example.com is all below it.
        hostnames: Vec<String>,
        /// Take them over: they are rules of yours then, changed and removed here. The tunnel counts as confirmed.
        #[arg(long)]
        yes: bool,
    },
}

/// What a rule is to be.
#[derive(clap::Args)]
struct SetArgs {
    /// Public name, such as nas.example.com or *.example.com.
    hostname: String,
    /// Where requests go, such as http://10.0.0.5:5000 or unix:/run/app.sock.
    service: String,
    /// Only requests below this path; behind a ~ a regular expression.
    #[arg(long, default_value = "")]
    path: String,
    /// Name or id of the tunnel that it is to be in.
    #[arg(long, conflicts_with = "agent")]
    tunnel: Option<String>,
    /// Id of the agent in whose tunnel it is to be.
    #[arg(long)]
    agent: Option<String>,
    /// Make the tunnel if there is none of that name, for a connector of your own.
    #[arg(long, requires = "tunnel")]
    make_tunnel: bool,
    /// Zone of the record, if it is not to be found by the hostname.
    #[arg(long)]
    zone: Option<String>,
    /// Option of the connector, by the name of its label, such as connect_timeout=10s; may be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// Access group that protects it; may be repeated, in order.
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<String>,
    /// Take the hostname from the agent, or the tunnel, that has it.
    #[arg(long)]
    take_over: bool,
}

pub(super) fn run(args: RulesArgs, common: &Common) -> anyhow::Result<ExitCode> {
    match args.verb {
        None | Some(RulesVerb::List) => list(common),
        Some(RulesVerb::Set(args)) => set(&args, common),
        Some(RulesVerb::Remove { hostname, path }) => {
            let key = admin_client::segment(&format!("{hostname}|{path}"))?;
            let place = format!("/api/v3/rules/manual/{key}");
            let answer = admin_client::converse(common, async |master| master.delete(&place).await)?;
            tell(&answer, common)
        }
        Some(RulesVerb::Import { tunnel, hostnames, yes: false }) => preview(&tunnel, &hostnames, common),
        Some(RulesVerb::Import { tunnel, hostnames, yes: true }) => import(&tunnel, &hostnames, common),
    }
}

fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let answer = admin_client::converse(common, async |master| master.get("/api/v3/rules/manual").await)?;
    let rules = items(&answer, "rules");
    if common.json {
        output::json(&rules)?;
        return Ok(ExitCode::SUCCESS);
    }
    let keys = ["hostname", "path", "service", "tunnel_name", "state", "serves", "set_by", "reason"];
    let rows = rules.iter().map(|rule| keys.map(|key| output::text(rule, key)).to_vec()).collect();
    let header = ["HOSTNAME", "PATH", "SERVICE", "TUNNEL", "STATE", "SERVES", "SET BY", "REASON"];
    output::table(&header, rows, "no rules; `lightship rules set --help` says how to make one")?;
    Ok(ExitCode::SUCCESS)
}

fn set(args: &SetArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let access = match args.groups.is_empty() {
        true => Value::Null,
        false => json!({ "kind": "groups", "groups": args.groups }),
    };
    let body = json!({
        "hostname": args.hostname, "path": args.path, "service": args.service, "tunnel": args.tunnel,
        "agent": args.agent, "make_tunnel": args.make_tunnel, "zone_name": args.zone, "access": access,
        "origin_request": read_options(&args.options)?, "take_over": args.take_over,
    });
    let answer =
        admin_client::converse(common, async |master| master.put("/api/v3/rules/manual", body).await)?;
    for note in items(&answer, "without_effect") {
        eprintln!("{}", note.as_str().unwrap_or_default());
    }
    tell(&answer, common)
}

fn tell(answer: &Value, common: &Common) -> anyhow::Result<ExitCode> {
    match common.json {
        true => output::json(answer)?,
        false => eprintln!("{}", output::text(answer, "message")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads options as the labels of their names are read.
fn read_options(given: &[String]) -> anyhow::Result<OriginRequest> {
    let mut options = OriginRequest::default();
    for one in given {
        let Some((name, value)) = one.split_once('=') else { bail!("`{one}`: write NAME=VALUE") };
        let Some(option) = OriginOption::find(name) else {
            let known: Vec<&str> = OPTIONS.iter().map(|option| option.label).collect();
            bail!("`{name}` is no option; those are {}", known.join(", "));
        };
        if let Err(reason) = option.take(value, &mut options) {
            bail!("`{name}`: {reason}");
        }
    }
    Ok(options)
}

fn preview(tunnel: &str, hostnames: &[String], common: &Common) -> anyhow::Result<ExitCode> {
    let place = format!("/api/v3/rules/foreign?tunnel={}", admin_client::segment(tunnel)?);
    let answer = admin_client::converse(common, async |master| master.get(&place).await)?;
    let is_meant = |rule: &&Value| {
        let hostname = rule["rule"]["hostname"].as_str().unwrap_or_default().to_ascii_lowercase();
        hostnames.is_empty() || is_named(&hostname, hostnames)
    };
    let rules: Vec<&Value> = items(&answer, "rules").iter().filter(is_meant).collect();
    if common.json {
        output::json(&rules)?;
    } else {
        let rows = rules.iter().map(|rule| row(rule)).collect();
        let header = ["HOSTNAME", "PATH", "SERVICE", "WHAT CHANGES"];
        output::table(&header, rows, "nobody else made a rule in this tunnel")?;
        if answer["order_changes"] == true {
            eprintln!(
                "once all are taken over, rules stand in another order: exact names and longer paths first"
            );
        }
    }
    let can_be_taken = rules.iter().any(|rule| rule["reason"].is_null());
    if can_be_taken && !common.json {
        eprintln!("`lightship rules import {tunnel} --yes [HOSTNAME…]` takes them over");
    }
    Ok(if can_be_taken { ExitCode::from(PENDING) } else { ExitCode::SUCCESS })
}

fn row(rule: &Value) -> Vec<String> {
    let there = &rule["rule"];
    let changes: Vec<&str> = items(rule, "changes").iter().filter_map(Value::as_str).collect();
    let fate = match (rule["reason"].as_str(), changes.is_empty()) {
        (Some(reason), _) => format!("it stays: {reason}"),
        (None, true) => "nothing".to_owned(),
        (None, false) => changes.join("; "),
    };
    vec![
        output::text(there, "hostname"),
        output::text(there, "path"),
        output::text(there, "service"),
        crate::domain::text::spell_out(&fate),
    ]
}

fn import(tunnel: &str, hostnames: &[String], common: &Common) -> anyhow::Result<ExitCode> {
    let names = (!hostnames.is_empty()).then_some(hostnames);
    let body = json!({ "tunnel": tunnel, "hostnames": names, "yes": true });
    let answer =
        admin_client::converse(common, async |master| master.post("/api/v3/rules/import", body).await)?;
    let left = items(&answer, "left");
    if common.json {
        output::json(&answer)?;
    } else {
        for name in items(&answer, "taken") {
            output::line(&crate::domain::text::spell_out(name.as_str().unwrap_or_default()))?;
        }
        for one in left {
            eprintln!("left: {}: {}", output::text(one, "hostname"), output::text(one, "reason"));
        }
    }
    Ok(if left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(IN_PART) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_written_as_their_labels() {
        let read =
            |given: &[&str]| read_options(&given.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        let options = read(&["connect_timeout=1m30s", "no_tls_verify=true"]).unwrap();
        assert_eq!((options.connect_timeout, options.no_tls_verify), (Some(90), Some(true)));
        for (given, words) in [
            ("connect_timeout", "NAME=VALUE"),
            ("connectTimeout=1", "is no option; those are no_tls_verify"),
            ("connect_timeout=soon", "whole seconds"),
        ] {
            let said = read(&[given]).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
