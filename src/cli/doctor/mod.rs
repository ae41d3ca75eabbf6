//! `lightship doctor`: looks at this host, and at what a role needs of others. Facts are gathered here, one file a family;
//! what is judged of them stands in `domain::doctor`. Nothing is changed.

mod cloudflare;
mod docker;
mod hands;
mod host;
mod master;
mod network;
mod patient;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::time::timeout;

use super::common::Common;
use super::config::RoleArg;
use super::{output, sources, values};
use crate::config::Role;
use crate::domain::doctor::{Check, Family, Verdict, worst};
use crate::domain::text::spell_out;
use crate::io::IoRuntime;
use crate::process::until_all_ended;
use crate::state_dir::{self, Peek};

use patient::Patient;

/// How long a family may take; its questions have limits of their own.
const LIMIT: Duration = Duration::from_secs(50);
/// Exit code that says that something could not be checked.
const NOT_CHECKED: u8 = 3;

/// Options of `lightship doctor`.
#[derive(clap::Args)]
pub(super) struct DoctorArgs {
    /// Look as this role does. Left out: what runs here, else an agent if a master is set, else a master.
    #[arg(long, value_enum)]
    role: Option<RoleArg>,
    /// Address to ask in place of Cloudflare's edge, such as region1.v2.argotunnel.com:7844; may be repeated.
    #[arg(long = "edge", value_name = "HOST:PORT")]
    edges: Vec<String>,
}

pub(super) fn run(args: DoctorArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let role = match args.role {
        Some(role) => role.role(),
        None => likely_role(common)?,
    };
    let loaded = sources::load(common, role)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let runtime = IoRuntime::start().context("cannot start the threads for input and output")?;
    let dir = loaded.settings.state.dir.clone().context("no state directory")?;
    let Peek { agent, tunnel } = state_dir::peek(&dir);
    let patient = Patient {
        settings: loaded.settings,
        role,
        dir,
        io: runtime.io(),
        agent,
        tunnel,
        edges: args.edges,
        proxies: sources::proxies(),
    };
    let families = runtime.io().handle().block_on(async {
        let families = look(&patient).await;
        until_all_ended().await;
        families
    });
    print(&patient, &families, common.json)?;
    Ok(match worst(families.iter().flat_map(|family| &family.checks)) {
        Verdict::Fine => ExitCode::SUCCESS,
        Verdict::Problem => ExitCode::FAILURE,
        Verdict::NotChecked => ExitCode::from(NOT_CHECKED),
    })
}

/// What runs in the state directory; if nothing does, what the settings are for.
fn likely_role(common: &Common) -> anyhow::Result<Role> {
    let as_agent = sources::load(common, Role::Agent);
    let dir = match &as_agent {
        Ok(loaded) => loaded.settings.state.dir.clone(),
        // They are read again as the role that is looked at, and refused there.
        Err(_) => None,
    };
    let dir = dir.unwrap_or_default();
    let is_alive = |socket: &str| std::os::unix::net::UnixStream::connect(dir.join(socket)).is_ok();
    let has_master = || as_agent.as_ref().is_ok_and(|loaded| loaded.settings.agent.master_url.is_some());
    Ok(match (is_alive("admin.sock"), is_alive("agent.sock")) {
        (true, true) => Role::Standalone,
        (true, false) => Role::Master,
        (false, true) => Role::Agent,
        (false, false) if has_master() => Role::Agent,
        (false, false) => Role::Master,
    })
}

/// Looks at everything that matters to the role, side by side.
async fn look(patient: &Patient) -> Vec<Family> {
    let (is_master, is_agent) = (patient.role != Role::Agent, patient.role != Role::Master);
    let mut families: Vec<(&str, BoxFuture<'_, Vec<Check>>)> = Vec::new();
    families.push(("Settings", Box::pin(async { vec![settings(patient)] })));
    if is_master {
        families.push(("Cloudflare", Box::pin(cloudflare::look(patient))));
    }
    if patient.role == Role::Agent {
        families.push(("Master", Box::pin(master::look(patient))));
    }
    families.push(("Network", Box::pin(network::look(patient))));
    if is_agent {
        families.push(("Docker", Box::pin(docker::look(patient))));
    }
    families.push(("Host", Box::pin(host::look(patient))));
    if is_agent {
        families.push(("Packages", Box::pin(hands::look(patient))));
    }
    join_all(families.into_iter().map(|(name, checks)| within(name, checks))).await
}

async fn within(name: &str, checks: impl Future<Output = Vec<Check>>) -> Family {
    let checks = timeout(LIMIT, checks).await.unwrap_or_else(|_| {
        let because = format!("the look took longer than {} s", LIMIT.as_secs());
        vec![Check::not_checked(name, because, "try again; if it stays so, something on the way hangs")]
    });
    Family::new(name, checks)
}

/// What would stop a start.
fn settings(patient: &Patient) -> Check {
    let name = "Settings";
    match values::check(&patient.settings, patient.role, patient.io.clone()) {
        Ok(()) => Check::fine(name, format!("{} could start with them", word(patient.role))),
        Err(error) => Check::problem(
            name,
            output::chain(&error),
            "`lightship config --role ROLE` shows the settings in force, and where each came from",
        ),
    }
}

fn word(role: Role) -> &'static str {
    match role {
        Role::Standalone => "a standalone",
        Role::Master | Role::Client => "a master",
        Role::Agent => "an agent",
    }
}

fn print(patient: &Patient, families: &[Family], as_json: bool) -> anyhow::Result<()> {
    let verdict = worst(families.iter().flat_map(|family| &family.checks));
    if as_json {
        let role = word(patient.role).split(' ').next_back();
        return output::json(&json!({ "role": role, "verdict": verdict, "families": families }));
    }
    let mut text =
        format!("Looked at as {} with its state in {}.\n", word(patient.role), patient.dir.display());
    for family in families {
        text.push_str(&format!("\n{}\n", family.name));
        for check in &family.checks {
            text.push_str(&line(check));
        }
    }
    output::line(text.trim_end())?;
    eprintln!("{}", summary(families));
    Ok(())
}

fn line(check: &Check) -> String {
    let (name, detail) = (spell_out(&check.name), spell_out(&check.detail));
    let said = match check.verdict {
        Verdict::NotChecked => format!("  could not be checked  {name}, because {detail}\n"),
        verdict => format!("  {:<20}  {name}: {detail}\n", verdict.words()),
    };
    match &check.way_out {
        Some(way_out) => format!("{said}{:24}→ {}\n", "", spell_out(way_out)),
        None => said,
    }
}

fn summary(families: &[Family]) -> String {
    let count = |verdict: Verdict| {
        families.iter().flat_map(|family| &family.checks).filter(|check| check.verdict == verdict).count()
    };
    let (fine, problems, open) = (count(Verdict::Fine), count(Verdict::Problem), count(Verdict::NotChecked));
    format!("{fine} fine, {}, {open} could not be checked", output::count(problems as u64, "problem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_checked_is_said_with_its_reason_and_its_way_out() {
        let open = Check::not_checked("Rights to write", "reading shows reading only", "look at the form");
        let said = line(&open);
        assert!(said.starts_with("  could not be checked  Rights to write, because reading shows"), "{said}");
        assert!(said.contains("→ look at the form"), "{said}");
        let families = [Family::new("A", vec![open, Check::fine("b", "c"), Check::problem("d", "e", "f")])];
        assert_eq!(summary(&families), "1 fine, 1 problem, 1 could not be checked");
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_hangs_is_no_fine_one_and_stops_nobody() {
        let family = within("Docker", std::future::pending()).await;
        assert_eq!(worst(&family.checks), Verdict::NotChecked);
        assert!(family.checks[0].detail.contains("longer than 50 s"));
    }
}
