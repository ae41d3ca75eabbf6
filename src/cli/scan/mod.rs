//! `lightship scan`, `status` and `list-updates`: one host by itself, with no master. Also in the forms of RedFlag's agent.

mod export;
mod seed_cache;
mod seed_form;
mod show;

use std::fs::Permissions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::common::Common;
use super::host_look::scan_after;
use super::values::engine;
use super::{output, sources, trust_key};
use crate::clock::Clock;
use crate::config::{Role, Settings};
use crate::docker::BollardDocker;
use crate::domain::host::Host;
use crate::domain::update::{Findings, Kind, Standing};
use crate::io::{Io, IoRuntime};
use crate::process::until_all_ended;
use crate::registry::Settings as RegistrySettings;
use crate::state_dir::{LastScan, StateError, read_last_scan, write_last_scan};
use crate::updates::{HostReader, Images, Scanner, scanners};

pub(super) use seed_form::translated;

/// How a scan is printed for other programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Export {
    /// As JSON.
    Json,
    /// As a table with commas, a line per pending update.
    Csv,
}

/// Options of `lightship scan`, `status` and `list-updates`.
#[derive(clap::Args)]
pub(super) struct ScanArgs {
    /// Print for other programs: `json` (the same as --json) or `csv`.
    #[arg(long, value_name = "FORM")]
    export: Option<Export>,
}

/// Which of the three it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Look now.
    Scan,
    /// Say how the last scan came out.
    Status,
    /// Say what the last scan found.
    ListUpdates,
}

/// In whose form JSON is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Own,
    Redflag,
}

/// Runs one of the three verbs.
pub(super) fn run(what: What, args: &ScanArgs, common: &Common) -> anyhow::Result<ExitCode> {
    run_in(Form::Own, what, args.export, common)
}

/// The same in the form of RedFlag's agent: `agent --scan`.
pub(super) fn run_as_seed(what: What, export: Option<Export>, common: &Common) -> anyhow::Result<ExitCode> {
    run_in(Form::Redflag, what, export, common)
}

fn run_in(form: Form, what: What, export: Option<Export>, common: &Common) -> anyhow::Result<ExitCode> {
    let export = export.or(common.json.then_some(Export::Json));
    let settings = sources::load(common, Role::Client)?.settings;
    let dir = settings.state.dir.clone().context("no state directory")?;
    let runtime = IoRuntime::start()?;
    let clock = Clock::system();
    let last = last_scan(what, &dir)?;
    let scan = match what {
        What::Scan => {
            let scan = runtime.io().handle().block_on(interruptible(look(
                &clock,
                scanners(images(&settings, &dir, &clock, runtime.io())?, &dir),
                last,
            )))?;
            // What was found is worth more than the file that keeps it.
            if let Err(error) = keep(&dir, form, &scan) {
                eprintln!("warning: what was found is not kept: {}", output::chain(&error));
            }
            Some(scan)
        }
        What::Status | What::ListUpdates => last,
    };
    match (what, scan) {
        (What::Status, scan) => {
            let host = runtime.io().handle().block_on(HostReader::of_this_host().read());
            print_status(&clock, export, &host, scan.as_ref(), &dir)?;
            Ok(outcome(scan.as_ref()))
        }
        (_, None) => bail!("nothing was scanned yet; run `lightship scan` first"),
        (_, Some(scan)) => {
            print(form, what, export, &scan, &clock)?;
            Ok(outcome(Some(&scan)))
        }
    }
}

/// What was found last. A file that cannot be read is set aside, and the scan begins anew.
fn last_scan(what: What, dir: &Path) -> anyhow::Result<Option<LastScan>> {
    match read_last_scan(dir) {
        Err(error @ StateError::Corrupt { .. }) => {
            eprintln!("warning: {error}");
            Ok(None)
        }
        Err(error) if what == What::Scan => {
            eprintln!("warning: {error}");
            Ok(None)
        }
        read => Ok(read?),
    }
}

/// What a look at images needs; what registries say is kept in `dir`.
pub(super) fn images(settings: &Settings, dir: &Path, clock: &Clock, io: Io) -> anyhow::Result<Images> {
    let engine = Arc::new(BollardDocker::at(engine(settings)?, io.clone()));
    let registries = RegistrySettings { insecure: settings.registry.insecure(), ..Default::default() };
    Ok(Images::of_this_host(engine, registries, dir, clock, io)?)
}

/// Looks at the host now.
async fn look(clock: &Clock, scanners: Vec<Arc<dyn Scanner>>, last: Option<LastScan>) -> LastScan {
    let reader = HostReader::of_this_host();
    if reader.virtualisation().is_application_container() {
        eprintln!("note: this is a container; its packages are looked at, not its host's");
    }
    let progress = Progress::new();
    let scan = scan_after(last, reader.hostname(), &scanners, clock, true, |kind| progress.tell(kind)).await;
    progress.end();
    scan
}

/// Ends the work, and every program that it started, when the process is asked to end. Those programs are in groups of
/// their own: the terminal does not end them.
async fn interruptible<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let why = tokio::select! {
        done = work => return Ok(done),
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "asked to end",
    };
    until_all_ended().await;
    bail!("{why}; nothing was kept")
}

/// The line that says what is being looked at.
struct Progress {
    is_line: bool,
}

impl Progress {
    fn new() -> Self {
        Self { is_line: std::io::stderr().is_terminal() }
    }

    fn tell(&self, kind: Kind) {
        if self.is_line {
            let _ = write!(std::io::stderr(), "\r\x1b[2Kscanning {}…", kind.title());
        } else {
            let _ = writeln!(std::io::stderr(), "scanning {}", kind.title());
        }
    }

    fn end(&self) {
        if self.is_line {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

/// Keeps what was found for who asks next; RedFlag's file too if it has a place. Only in its own form a place is made.
fn keep(dir: &Path, form: Form, scan: &LastScan) -> anyhow::Result<()> {
    write_last_scan(dir, scan)?;
    let path = Path::new(seed_cache::PATH);
    let folder = path.parent().expect("it is a constant");
    if form == Form::Redflag && std::fs::create_dir(folder).is_ok() {
        // As RedFlag's agent makes it, whatever umask this process has. Who may not make it has none.
        let _ = std::fs::set_permissions(folder, Permissions::from_mode(0o755));
    }
    if folder.is_dir()
        && let Err(error) = seed_cache::write(path, scan)
        && form == Form::Redflag
    {
        eprintln!("warning: {error}");
    }
    Ok(())
}

fn print(
    form: Form,
    what: What,
    export: Option<Export>,
    scan: &LastScan,
    clock: &Clock,
) -> anyhow::Result<()> {
    match (export, form) {
        (Some(Export::Csv), _) => output::line(&export::csv(&export::redflag_items(scan))),
        (Some(Export::Json), Form::Redflag) => output::json(&export::redflag_items(scan)),
        (Some(Export::Json), Form::Own) if what == What::Scan => output::json(&export::whole(scan)),
        (Some(Export::Json), Form::Own) => output::json(&export::updates(scan, true)),
        (None, _) => {
            let now = clock.now();
            if what == What::ListUpdates {
                warn_of_age(scan, clock);
            }
            show::list(scan, sources::wants_colour())?;
            output::line(&show::scanners(scan, now))
        }
    }
}

/// A list that is a day old says little.
fn warn_of_age(scan: &LastScan, clock: &Clock) {
    let age = clock.now() - scan.at;
    if age > chrono::TimeDelta::hours(24) {
        eprintln!("warning: the last scan was {}; `lightship scan` looks again", show::ago(age));
    }
}

fn print_status(
    clock: &Clock,
    export: Option<Export>,
    host: &Host,
    scan: Option<&LastScan>,
    dir: &Path,
) -> anyhow::Result<()> {
    match export {
        Some(Export::Json) => output::json(&json!({
            "order_keys": trust_key::in_json(dir),
            "host": host.hostname,
            "at": scan.map(|scan| scan.at),
            "scanners": scan.map(export::scanners),
            "facts": host,
        })),
        Some(Export::Csv) => {
            bail!("the status has no form as CSV; use `--export=json`, or `list-updates --export=csv`")
        }
        None => {
            output::line(&show::host(host))?;
            if let Some(line) = trust_key::line_of(dir) {
                output::line(&line)?;
            }
            let Some(scan) = scan else {
                return output::line("Last scan: never; `lightship scan` looks");
            };
            output::line(&format!("Last scan: {}", show::ago(clock.now() - scan.at)))?;
            output::line(&show::scanners(scan, clock.now()))
        }
    }
}

/// 0 nothing pending, 2 updates pending, 1 failed, 3 part could not be checked.
fn outcome(scan: Option<&LastScan>) -> ExitCode {
    ExitCode::from(scan.map_or(3, code))
}

fn code(scan: &LastScan) -> u8 {
    let items = || scan.scanners.iter().flat_map(|found| &found.items);
    let is_ok = |found: &Findings| found.checked.ok;
    if scan.scanners.iter().all(|found| !is_ok(found) && found.items.is_empty()) {
        return 1;
    }
    if !scan.scanners.iter().all(is_ok)
        || items().any(|item| matches!(item.standing, Standing::Unchecked { .. }))
    {
        return 3;
    }
    if items().any(|item| item.is_pending()) { 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Cause, Finding, FirstSeen};

    #[test]
    fn the_exit_code_never_calls_unknown_what_is_up_to_date() {
        let newer = || vec![Finding::new("a", Standing::Newer)];
        let same = || vec![Finding::new("a", Standing::Same)];
        let unchecked = || {
            let (cause, reason) = (Cause::NotReachable, String::new());
            vec![Finding::new(
                "a",
                Standing::Unchecked { cause, reason, last_known_at: None, retry_at: None },
            )]
        };
        let ok = |items| Findings::new(Kind::Apt, items);
        let failed = |items| Findings::new(Kind::Dnf, items).with_problem("no", None);
        let noted = |items| Findings::new(Kind::Apt, items).with_notice("half installed", None);
        for (scanners, expected) in [
            (vec![ok(same())], 0),
            (vec![ok(vec![])], 0),
            (vec![ok(newer())], 2),
            (vec![noted(newer())], 2),
            (vec![ok(newer()), failed(vec![])], 3),
            (vec![failed(newer())], 3),
            (vec![ok(unchecked())], 3),
            (vec![failed(vec![])], 1),
            (vec![], 1),
        ] {
            let at = "2026-01-31T12:00:00Z".parse().unwrap();
            let scan = LastScan { host: "h".into(), at, scanners, first_seen: FirstSeen::default() };
            assert_eq!(code(&scan), expected, "{scan:?}");
        }
    }
}
