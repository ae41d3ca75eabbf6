//! This program as APT's solver and as its gate: APT starts it by these names.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::gate::{self, Work};
use super::solver;
use crate::updates::kept::Kept;

/// Its name as a solver.
pub(super) const SOLVER: &str = "lightship-apt-solver";
/// Its name as the gate before dpkg.
pub(super) const GATE: &str = "lightship-apt-gate";
/// The variable that names the file with the plan.
pub(super) const WORK: &str = "LIGHTSHIP_APT_WORK";
/// Most bytes that the gate is told; it is APT's whole configuration and a line per package.
const MOST: u64 = 64 * 1024 * 1024;

/// Does APT's work if it was started by one of the two names; none if it was not.
pub fn run_for_apt(program: Option<&OsString>) -> Option<ExitCode> {
    let name = Path::new(program?).file_name()?.to_str()?;
    let done = match name {
        SOLVER => work().and_then(|work| solve(&work)),
        GATE => work().and_then(|work| {
            let passed = pass(&work);
            if let Err(refusal) = &passed {
                let _ = fs::write(&work.refusal, refusal);
            }
            passed
        }),
        _ => return None,
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "lightship: {reason}");
            ExitCode::FAILURE
        }
    })
}

fn work() -> Result<Work, String> {
    let path = std::env::var_os(WORK).map(PathBuf::from).ok_or("APT is to start it, with a plan")?;
    let bytes = fs::read(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{} is no plan: {error}", path.display()))
}

fn solve(work: &Work) -> Result<(), String> {
    let answer = solver::answer(BufReader::new(io::stdin().lock()), &work.changes);
    let answer = answer.map_err(|error| format!("APT's question cannot be read: {error}"))?;
    if let Some(reason) = answer.strip_prefix(solver::REFUSED) {
        let _ = fs::write(&work.refusal, reason.trim());
    }
    io::stdout().lock().write_all(answer.as_bytes()).map_err(|error| format!("APT does not listen: {error}"))
}

fn pass(work: &Work) -> Result<(), String> {
    let mut text = Vec::new();
    let read = io::stdin().lock().take(MOST).read_to_end(&mut text);
    read.map_err(|error| format!("APT's question cannot be read: {error}"))?;
    gate::pass(work, &Kept::of(work.kept.clone(), ".deb"), &String::from_utf8_lossy(&text))
}
