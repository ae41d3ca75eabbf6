//! Programs of a Windows host. Who starts them is given, so that recordings can be played in their place.

use std::time::Duration;

use async_trait::async_trait;

use crate::process::{self, Program};

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code. Windows programs return 32 bits.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// The beginning of what it said beside that.
    pub stderr: String,
}

/// Finds and runs programs.
#[async_trait]
pub trait Programs: Send + Sync {
    /// Returns where a program is, if it is there.
    async fn find(&self, name: &str) -> Option<String>;

    /// Runs one to its end, with its arguments as a list. Fails with why there is no result.
    async fn run(&self, program: &str, args: &[String], limit: Duration) -> Result<Ran, String>;
}

/// Those of this host.
pub struct HostPrograms;

#[async_trait]
impl Programs for HostPrograms {
    async fn find(&self, name: &str) -> Option<String> {
        process::find(name).map(|path| path.display().to_string())
    }

    async fn run(&self, program: &str, args: &[String], limit: Duration) -> Result<Ran, String> {
        let ended = Program::new(program).args(args.iter().cloned()).time_limit(limit).run().await;
        let ended = ended.map_err(|error| error.to_string())?;
        Ok(Ran { code: ended.code.unwrap_or(-1), stdout: ended.stdout, stderr: ended.stderr })
    }
}
