//! What the kernel says of a process.

use std::time::Duration;

/// Memory of a process, in MiB.
pub struct Memory {
    /// All that is resident, shared pages of the program file included.
    pub rss: f64,
    /// What only this process has.
    pub anon: f64,
}

impl Memory {
    /// Reads it.
    pub fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
            kib / 1024.0
        };
        Self { rss: field("VmRSS:"), anon: field("RssAnon:") }
    }
}

/// Processor time that a process has used so far, with all its threads.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in brackets may hold anything; after it come state, parent and so on, and 11 later the times.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|f| f.parse::<u64>().unwrap()).sum();
    // Linux reports them in hundredths of a second on every platform.
    Duration::from_millis(ticks * 10)
}
