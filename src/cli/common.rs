//! Options of every verb.

use std::path::PathBuf;

/// Options of every verb.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Common {
    /// Configuration file (TOML); without it defaults and the environment are used.
    #[arg(long, global = true, env = "LIGHTSHIP_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// State directory. Default: LIGHTSHIP_STATE_DIR, else /var/lib/lightship for root, else
    /// ~/.local/state/lightship.
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Master to talk to, such as https://ship.example.com. An agent needs its key, every other command
    /// LIGHTSHIP_ADMIN_TOKEN. Left out, a command asks the master on this host.
    #[arg(long, global = true, value_name = "URL")]
    pub(super) master: Option<String>,
    /// Print JSON on standard output.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Says where options belong that stand before the word of what is to be done: they would count for nothing there.
pub(super) fn misplaced(right: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "the options stand before the word of what is to be done, and would not count; write that word first, as in \
         `lightship {right}`"
    )
}
