//! `lightship trust-key`: by which keys this host knows orders, and the yes of a person to another one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::common::Common;
use super::values::helper_dir;
use super::{output, sources};
use crate::config::Role;
use crate::domain::order::Fingerprint;
use crate::state_dir::OrderKeys;

/// Options of `lightship trust-key`.
#[derive(clap::Args)]
pub(super) struct TrustKeyArgs {
    /// The key that the master shows and that is not trusted yet, as its page and this host's log name it.
    #[arg(value_name = "FINGERPRINT")]
    fingerprint: Option<String>,
    /// Show the keys and change nothing.
    #[arg(long, conflicts_with = "fingerprint")]
    show: bool,
}

/// Runs the verb.
pub(super) fn run(args: &TrustKeyArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let dirs = dirs(common)?;
    if args.show {
        return show(&dirs, common);
    }
    let text = args.fingerprint.as_ref().context(
        "name the key that is to be trusted; `lightship trust-key --show` lists which are, and which one was shown and \
         refused",
    )?;
    let fingerprint = Fingerprint::parse(text)
        .with_context(|| format!("`{text}` is no fingerprint: it has eight groups of four digits"))?;
    let (mut trusted, mut known) = (Vec::new(), Vec::new());
    for dir in &dirs {
        let place = dir.display().to_string();
        if OrderKeys::of(dir).trust(&fingerprint)? {
            trusted.push(place);
        } else if Keys::of(dir)?.trusted.as_ref() == Some(&fingerprint) {
            known.push(place);
        }
    }
    if trusted.is_empty() && !known.is_empty() {
        output::line(&format!(
            "orders signed with {fingerprint} were trusted already ({})",
            known.join(", ")
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    if trusted.is_empty() {
        bail!(
            "no master showed the key {fingerprint} and was refused; `lightship trust-key --show` lists what was shown"
        );
    }
    output::line(&format!("orders signed with {fingerprint} are trusted now ({})", trusted.join(", ")))?;
    Ok(ExitCode::SUCCESS)
}

/// The agent's own directory, and the helper's if this user may see into it.
fn dirs(common: &Common) -> anyhow::Result<Vec<PathBuf>> {
    let settings = sources::load(common, Role::Client)?.settings;
    let own = settings.state.dir.clone().context("no state directory")?;
    let helper = helper_dir(&settings, &own);
    Ok([Some(own), helper].into_iter().flatten().filter(|dir| dir.is_dir()).collect())
}

fn show(dirs: &[PathBuf], common: &Common) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for dir in dirs {
        let keys = Keys::of(dir)?;
        let word =
            |key: &Option<Fingerprint>| key.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        rows.push(vec![dir.display().to_string(), word(&keys.trusted), word(&keys.refused)]);
        all.push(json!({ "dir": dir, "trusted": keys.trusted, "refused": keys.refused }));
    }
    if common.json {
        output::json(&json!({ "keys": all }))?;
    } else {
        let empty = "This host has no state directory yet.";
        output::table(&["DIRECTORY", "TRUSTED", "SHOWN AND REFUSED"], rows, empty)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Fingerprints of one directory.
struct Keys {
    trusted: Option<Fingerprint>,
    refused: Option<Fingerprint>,
}

impl Keys {
    fn of(dir: &Path) -> anyhow::Result<Self> {
        let known = OrderKeys::of(dir).read()?;
        Ok(Self {
            trusted: known.keys.present().map(|key| key.fingerprint()),
            refused: known.refused.map(|refused| refused.offer.key.fingerprint()),
        })
    }
}

/// By which keys orders to the agent with this directory are known, for `lightship status`.
pub(super) fn in_json(dir: &Path) -> Value {
    Keys::of(dir).map_or(Value::Null, |keys| json!({ "trusted": keys.trusted, "refused": keys.refused }))
}

/// The same for a person; nothing before a key was shown.
pub(super) fn line_of(dir: &Path) -> Option<String> {
    let Keys { trusted, refused } = Keys::of(dir).ok()?;
    let trusted = trusted?;
    let refused = refused.map(|key| {
        format!("; the master shows {key}, which is refused (`lightship trust-key {key}` trusts it)")
    });
    Some(format!("Orders are known by the key {trusted}{}", refused.unwrap_or_default()))
}
