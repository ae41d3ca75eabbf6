//! The results: a table for people, JSON for programs.

use std::future::Future;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use comfy_table::{Table, presets};
use futures_util::FutureExt;
use lightship::clock::Clock;
use serde_json::{Value, json};
use tokio::time::timeout;

/// What a figure has to reach.
#[derive(Clone, Copy)]
pub enum Goal {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// Nothing: shown because it explains another one.
    Shown,
}

/// One figure.
pub struct Row {
    what: String,
    goal: Goal,
    value: f64,
    unit: &'static str,
    detail: String,
}

impl Row {
    /// A figure with its goal; `unit` is empty for ratios and counts.
    pub fn new(what: impl Into<String>, goal: Goal, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), goal, value, unit, detail: String::new() }
    }

    /// Adds what helps to understand it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    fn is_met(&self) -> Option<bool> {
        match self.goal {
            Goal::AtMost(limit) => Some(self.value <= limit),
            Goal::AtLeast(limit) => Some(self.value >= limit),
            Goal::Shown => None,
        }
    }

    fn goal_text(&self) -> String {
        let with_unit = |limit| format!("{} {}", number(limit), self.unit).trim_end().to_owned();
        match self.goal {
            Goal::AtMost(limit) => format!("at most {}", with_unit(limit)),
            Goal::AtLeast(limit) => format!("at least {}", with_unit(limit)),
            Goal::Shown => String::new(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let met = self.is_met().map_or("", |met| if met { "met" } else { "NOT MET" });
        let figure = format!("{} {}", number(self.value), self.unit).trim_end().to_owned();
        vec![self.what.clone(), self.goal_text(), figure, met.to_owned(), self.detail.clone()]
    }

    fn json(&self) -> Value {
        let (at_most, at_least) = match self.goal {
            Goal::AtMost(limit) => (Some(limit), None),
            Goal::AtLeast(limit) => (None, Some(limit)),
            Goal::Shown => (None, None),
        };
        json!({
            "what": self.what, "at_most": at_most, "at_least": at_least, "value": self.value,
            "unit": self.unit, "met": self.is_met(), "detail": self.detail,
        })
    }
}

/// Three digits that mean something are enough for a figure.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => {
            let digits = format!("{value:.0}");
            let (head, tail) = digits.split_at(digits.len() - 3);
            format!("{head},{tail}")
        }
        medium if medium >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        small if small >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// All figures of a run, and what could not be measured.
pub struct Sheet {
    is_quick: bool,
    load_before: String,
    rows: Vec<Row>,
    failed: Vec<&'static str>,
}

impl Sheet {
    /// An empty sheet; notes how busy the machine is now.
    pub fn new(is_quick: bool) -> Self {
        Self { is_quick, load_before: load(), rows: Vec::new(), failed: Vec::new() }
    }

    /// Measures one group. What goes wrong in it is said and harms no other.
    pub async fn group(
        &mut self,
        name: &'static str,
        limit: Duration,
        figures: impl Future<Output = Vec<Row>>,
    ) {
        eprintln!("measuring: {name}");
        match timeout(limit, AssertUnwindSafe(figures).catch_unwind()).await {
            Ok(Ok(rows)) => self.rows.extend(rows),
            // The panic has said what is wrong.
            Ok(Err(_)) => self.failed.push(name),
            Err(_) => {
                eprintln!("{name}: not done in {limit:?}");
                self.failed.push(name);
            }
        }
    }

    /// True if everything was measured.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// Prints the table.
    pub fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(vec!["WHAT", "GOAL", "FIGURE", "", "DETAIL"]);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{table}").unwrap();
        for group in &self.failed {
            writeln!(out, "NOT MEASURED: {group}").unwrap();
        }
        writeln!(out, "load average: {} before, {} after", self.load_before, load()).unwrap();
    }

    /// Writes the JSON.
    pub fn write(&self, path: &Path) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let sheet = json!({
            "version": env!("CARGO_PKG_VERSION"), "at": Clock::system().now(), "quick": self.is_quick,
            "cores": cores, "load_before": self.load_before, "load_after": load(),
            "not_measured": self.failed, "figures": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_string_pretty(&sheet).unwrap() + "\n").unwrap();
        eprintln!("written: {}", path.display());
    }
}

/// The load averages of the last 1, 5 and 15 minutes.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
