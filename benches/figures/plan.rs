//! How much is measured.

use std::path::{Path, PathBuf};

/// Groups that can be measured alone.
const GROUPS: [&str; 15] = [
    "heartbeats",
    "publish",
    "commands",
    "account",
    "registrations",
    "updates",
    "orders",
    "scans",
    "exact",
    "images",
    "start",
    "fleet",
    "churn",
    "memory",
    "growth",
];

/// What was asked for on the command line.
pub struct Plan {
    /// Fewer samples, done in four minutes.
    pub quick: bool,
    /// Where the results go.
    pub json: PathBuf,
    only: Option<String>,
}

impl Plan {
    /// Reads the arguments; says what is wrong with them.
    pub fn read(args: &[String]) -> Result<Self, String> {
        let json = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
        let mut plan = Self { quick: false, json, only: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => plan.quick = true,
                "--json" => plan.json = args.next().ok_or("`--json` needs a file")?.into(),
                "--only" => plan.only = Some(args.next().ok_or("`--only` needs a group")?.clone()),
                // cargo adds it.
                "--bench" => {}
                other => return Err(format!("unknown argument `{other}`; known: --quick, --only, --json")),
            }
        }
        match &plan.only {
            Some(group) if !GROUPS.contains(&group.as_str()) => {
                Err(format!("unknown group `{group}`; known: {}", GROUPS.join(", ")))
            }
            _ => Ok(plan),
        }
    }

    /// True if this group is to be measured.
    pub fn wants(&self, group: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == group)
    }

    /// `full`, or `quick` if that was asked for.
    pub fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}
