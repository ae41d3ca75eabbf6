//! The command line: one file per verb; the roles build everything and start the trees.

mod access;
mod admin;
mod admin_client;
mod adopt;
mod agent;
mod agent_half;
mod agent_hands;
mod agents;
mod apply;
mod approvals;
mod common;
mod config;
mod database;
mod desk;
mod desk_lookup;
mod dockflare;
mod doctor;
mod events;
mod explain;
mod fleet;
mod fleet_updates;
mod groups_file;
mod health;
mod history;
mod host_helper;
mod host_look;
mod host_run;
mod install;
mod keys;
mod master;
mod migrate;
mod notify;
mod output;
mod plan;
mod reboot_host;
mod records;
mod repair;
mod rollback;
mod routes;
mod rules;
mod run;
mod runs;
mod scan;
mod shards;
mod sources;
mod standalone;
mod trust_key;
mod updates;
mod values;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use common::Common;

/// Publishes labelled containers through Cloudflare tunnels: one binary, a master and an agent per host.
///
/// Exit codes: 0 ok, 1 failed, 2 changes pending, 3 done in part, 4 needs root, 5 refused by policy.
#[derive(Parser)]
#[command(name = "lightship", bin_name = "lightship", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run master and local agent in one process.
    Standalone,
    /// Run the control plane: page, admin API, agent API.
    Master,
    /// Run this host's agent.
    Agent(agent::AgentArgs),
    /// Look for pending updates on this host; no master needed.
    ///
    /// Refreshes package lists if this user may. Exit codes: 0 nothing pending, 2 updates pending, 1 failed, 3 part of it
    /// could not be checked.
    Scan(scan::ScanArgs),
    /// Show how this host's last scan came out, what the host is, and whether it wants a restart.
    Status(scan::ScanArgs),
    /// List what this host's last scan found, with the reason why something stays behind.
    ListUpdates(scan::ScanArgs),
    /// Show exactly what would be installed on this host, with its id; changes nothing and needs no right.
    ///
    /// Without names and options it is everything that is newer. Exit codes: 0 nothing to install, 2 something is.
    PlanUpdates(install::PlanUpdatesArgs),
    /// Install exactly a plan on this host, look whether it worked, and remember how to put it back. Needs root.
    ///
    /// Exit codes: 0 verified, 1 failed, 4 needs root, 5 the plan no longer holds and nothing was changed.
    Install(install::InstallArgs),
    /// Put back what a run changed, or these packages. Needs root.
    Rollback(rollback::RollbackArgs),
    /// Bring an installation of packages to its end that was broken off, in exactly the shown way. Needs root.
    ///
    /// Exit codes as those of `install`; with `--dry-run` 0 nothing is broken off, 2 something is.
    Repair(repair::RepairArgs),
    /// Start this host anew, where its policy has `reboot = true`; waits until it goes down. Needs root.
    ///
    /// The run ends with the next verb, or the agent, after the start: verified if it is another start. Exit codes as those of
    /// `install`.
    RebootHost(reboot_host::RebootHostArgs),
    /// List what runs changed on this host, or show one with its log.
    History(history::HistoryArgs),
    /// Change this host as root, as its master orders, for an agent that is not root. Runs as a service of root.
    HostHelper,
    /// Show by which key orders to this host are known, or trust the one that the master shows now.
    TrustKey(trust_key::TrustKeyArgs),
    /// Show what would be changed at Cloudflare.
    Plan(plan::PlanArgs),
    /// Carry out what waits for a confirmation.
    Apply(apply::ApplyArgs),
    /// List what others made at Cloudflare and names here could have, and make it ours with --yes.
    ///
    /// Exit codes: 0 nothing to adopt, or all adopted; 2 something can be; 3 adopted in part.
    Adopt(adopt::AdoptArgs),
    /// List and manage agents.
    Agents(agents::AgentsArgs),
    /// List, make and revoke agent keys.
    Keys(keys::KeysArgs),
    /// List routes with their state and its reason.
    Routes(routes::RoutesArgs),
    /// List, make and remove rules for what is no container, and take over those that others made in a tunnel.
    Rules(rules::RulesArgs),
    /// List, make and remove groups of people and machines that may reach what is published.
    Access(access::AccessArgs),
    /// Say where people are told what happened, test that, and list what was sent.
    Notify(notify::NotifyArgs),
    /// List pending updates of all hosts, decide about them, see what installing them would change, and approve that.
    Updates(updates::UpdatesArgs),
    /// List what was done on all hosts, follow a run, and ask for the way back.
    Runs(runs::RunsArgs),
    /// List the recorded decisions (opens the database itself).
    Events(events::EventsArgs),
    /// Bring the database to this version (opens the database itself).
    Migrate(migrate::MigrateArgs),
    /// Set the password of somebody who may sign in to the page.
    Admin(admin::AdminArgs),
    /// Tell the whole story of a container, a hostname or a hostname with a path: from its labels to what it waits for.
    Explain(explain::ExplainArgs),
    /// Look at this host, and at what a role needs of others: token, rights, network, Docker, disk. Changes nothing.
    ///
    /// Exit codes: 0 all is fine, 1 there is a problem, 3 something could not be checked.
    Doctor(doctor::DoctorArgs),
    /// Look, beside a DockFlare that runs, what would be kept, changed and refused. Changes nothing, and only reads at Cloudflare.
    ///
    /// Ends with the two commands to switch and to switch back. Exit codes: 0 all is kept, 2 something would change, 3 something
    /// would be refused or could not be checked, 1 failed.
    Try(dockflare::trial::TryArgs),
    /// Take over what another program kept: rules, groups, agents and keys of DockFlare.
    Import(dockflare::import::ImportArgs),
    /// Show the settings in force and where each came from; secrets are not shown.
    Config(config::ConfigArgs),
    /// Exit 0 if the master or agent that uses this state directory is alive.
    Health,
}

/// Runs the verb that the command line names.
pub fn run() -> ExitCode {
    if let Some(code) = crate::updates::run_for_apt(std::env::args_os().next().as_ref()) {
        return code;
    }
    let args = scan::translated(std::env::args_os().collect());
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(usage) => return explain(&usage),
    };
    // Every file and socket that is made from here on is for this user only, whatever umask somebody gave the process.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // The only reason for a second provider would be a library that installs its own first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            // Unlike the macro, this does not panic if nobody can be told.
            let _ = writeln!(std::io::stderr(), "lightship: {}", output::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Prints help, version or what is wrong with the command line. clap itself would end with 2, which says
/// "changes pending" here.
fn explain(usage: &clap::Error) -> ExitCode {
    // Nobody is left to be told if neither stream can be written.
    let _ = usage.print();
    if usage.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let common = cli.common;
    match cli.verb {
        Verb::Standalone => standalone::run(&common),
        Verb::Master => master::run(&common),
        Verb::Agent(args) => agent::run(&args, &common),
        Verb::Scan(args) => scan::run(scan::What::Scan, &args, &common),
        Verb::Status(args) => scan::run(scan::What::Status, &args, &common),
        Verb::ListUpdates(args) => scan::run(scan::What::ListUpdates, &args, &common),
        Verb::PlanUpdates(args) => install::plan_updates(args, &common),
        Verb::Install(args) => install::install(args, &common),
        Verb::Rollback(args) => rollback::run(&args, &common),
        Verb::Repair(args) => repair::run(&args, &common),
        Verb::RebootHost(args) => reboot_host::run(args, &common),
        Verb::History(args) => history::run(&args, &common),
        Verb::HostHelper => host_helper::run(&common),
        Verb::TrustKey(args) => trust_key::run(&args, &common),
        Verb::Plan(args) => plan::run(args, &common),
        Verb::Apply(args) => apply::run(args, &common),
        Verb::Agents(args) => agents::run(args, &common),
        Verb::Keys(args) => keys::run(args, &common),
        Verb::Routes(args) => routes::run(args, &common),
        Verb::Rules(args) => rules::run(args, &common),
        Verb::Adopt(args) => adopt::run(args, &common),
        Verb::Access(args) => access::run(args, &common),
        Verb::Notify(args) => notify::run(args, &common),
        Verb::Updates(args) => updates::run(args, &common),
        Verb::Runs(args) => runs::run(args, &common),
        Verb::Events(args) => events::run(args, &common),
        Verb::Migrate(args) => migrate::run(args, &common),
        Verb::Admin(args) => admin::run(args, &common),
        Verb::Explain(args) => explain::run(&args, &common),
        Verb::Doctor(args) => doctor::run(args, &common),
        Verb::Try(args) => dockflare::trial::run(&args, &common),
        Verb::Import(args) => dockflare::import::run(&args, &common),
        Verb::Config(args) => config::run(args, &common),
        Verb::Health => health::run(&common),
    }
}
