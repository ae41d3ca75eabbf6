//! Programs of a Windows host. Who starts them is given, so that recordings can be played in their place.

use std::time::Duration;

use async_trait::async_trait;

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
