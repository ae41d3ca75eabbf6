//! The description of the API against the API: calls that are made up of it meet no fault of the master's own, and no answer
//! that it does not name.

use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::ship::{ADMIN_TOKEN, Rig};

/// Calls for each route.
const EXAMPLES: &str = "10";
/// Pages are for people, and a stream has no end.
const NO_API: &str = "^/(live|login|logout|setup|fragments|access|agents|routes|updates|system|assets)?(/|$)";

#[tokio::test]
async fn made_up_calls_meet_no_fault_and_no_answer_that_is_not_described() {
    let state = TempDir::new().unwrap();
    let master = Rig::new("master", state.path()).env("LOG_LEVEL", "warn").start();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/st");
    assert!(program.exists(), "schemathesis is needed: scripts/need api");
    let asked = Command::new(program)
        .args(["run", &format!("{}/api/openapi.json", master.url())])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_TOKEN}")])
        .args(["--checks", "not_a_server_error,status_code_conformance"])
        .args(["--phases", "fuzzing", "--max-examples", EXAMPLES, "--workers", "2"])
        .args(["--exclude-path-regex", NO_API])
        .current_dir(state.path())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success(), "{said}");
    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")?.parse::<u32>().ok());
    assert!(tested.is_some_and(|count| count > 60), "{said}");
    assert_eq!(master.stop().code(), Some(0));
}
