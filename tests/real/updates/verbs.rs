//! What the tests of installers have in common: how verbs are begun, and what they say.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::ship::Rig;

/// Runs a verb: its exit code, what it says as JSON or as text, and what it says beside it.
pub fn verb(rig: &Rig, args: &[&str]) -> (i32, Value, String) {
    let (code, out, errors) = rig.verb(args);
    (code, serde_json::from_str(&out).unwrap_or(Value::String(out)), errors)
}

/// The steps that the host's newest run took.
pub fn steps(rig: &Rig) -> Vec<String> {
    let (_, history, _) = verb(rig, &["history", "--json"]);
    let (_, run, _) = verb(rig, &["history", history["runs"][0]["id"].as_str().unwrap(), "--json"]);
    let steps = run["steps"].as_array().unwrap_or_else(|| panic!("{run}"));
    assert!(!steps.is_empty(), "{run}");
    steps.iter().map(|step| step["name"].as_str().unwrap().to_owned()).collect()
}

/// How a run came out, in a word and in its reason.
pub fn outcome(run: &Value) -> (&str, &str) {
    (run["run"]["outcome"].as_str().unwrap_or("-"), run["run"]["reason"].as_str().unwrap_or_default())
}

/// Reads what it says beside its data until it says this.
pub fn until_said(child: &mut Child, words: &str) {
    let mut said = Vec::new();
    for line in BufReader::new(child.stderr.as_mut().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains(words) {
            return;
        }
        said.push(line);
    }
    panic!("it never said {words:?}: {said:#?}");
}

/// Waits until a file is there.
pub fn until_there(path: &str) {
    let due = Instant::now() + Duration::from_secs(60);
    while !std::path::Path::new(path).exists() {
        assert!(Instant::now() < due, "`{path}` was never made");
        std::thread::yield_now();
    }
}
