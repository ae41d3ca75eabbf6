//! The figures of `docs/figures.md`, measured on the real program: `make bench`.
//!
//! The program under test is the release binary, as processes of its own; only what surrounds it (the Cloudflare
//! stand-in, a bare handler to compare with, load) belongs to this one. Everything runs on loopback and in
//! namespaces made here, and ends with this process.
//!
//! `--quick` takes fewer samples, `--only GROUP` measures one group, `--json FILE` says where the results go.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot be taken has failed")]
#![allow(clippy::disallowed_methods, reason = "it starts what it measures, in real time")]

mod account;
mod apt_root;
mod bare;
mod churn;
mod commands;
mod engine;
mod exact;
mod fleet;
mod footprint;
mod growth;
mod heartbeats;
mod history;
mod images;
mod kills;
mod memory;
mod orders;
mod plan;
mod process;
mod publish;
mod registrations;
mod scans;
mod scene;
mod seed;
mod sheet;
mod start;
mod stats;
#[path = "../../tests/it/support/mod.rs"]
#[allow(unused_imports, reason = "shared with the tests; a part of it is used here")]
mod support;
mod updates;
mod visitor;
mod wrk;

use std::process::ExitCode;
use std::time::Duration;

use plan::Plan;
use sheet::Sheet;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == bare::FLAG) {
        return bare::serve();
    }
    let plan = match Plan::read(&args) {
        Ok(plan) => plan,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    rustls::crypto::ring::default_provider().install_default().ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sheet = runtime.block_on(measure(&plan));
    sheet.write(&plan.json);
    sheet.print();
    if sheet.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures one group after the other; each has its limit, so that all of them end in forty minutes.
async fn measure(plan: &Plan) -> Sheet {
    let mut sheet = Sheet::new(plan.quick);
    let limit = Duration::from_secs;
    if plan.wants("heartbeats") {
        sheet.group("heartbeats", limit(210), heartbeats::measure(plan)).await;
    }
    if plan.wants("publish") {
        sheet.group("publish", limit(330), publish::measure(plan)).await;
    }
    if plan.wants("commands") {
        sheet.group("commands", limit(60), commands::measure(plan)).await;
        sheet.group("commands", limit(60), history::measure(plan)).await;
    }
    if plan.wants("account") {
        sheet.group("account", limit(60), account::measure(plan)).await;
    }
    if plan.wants("registrations") {
        sheet.group("registrations", limit(120), registrations::measure(plan)).await;
    }
    if plan.wants("updates") {
        sheet.group("updates", limit(120), updates::measure(plan)).await;
    }
    if plan.wants("orders") {
        sheet.group("orders", limit(120), orders::measure(plan)).await;
    }
    if plan.wants("scans") {
        sheet.group("scans", limit(240), scans::measure(plan)).await;
    }
    if plan.wants("exact") {
        sheet.group("exact", limit(300), exact::measure(plan)).await;
    }
    if plan.wants("images") {
        sheet.group("images", limit(60), images::measure(plan)).await;
    }
    if plan.wants("start") {
        sheet.group("start", limit(60), start::measure(plan)).await;
    }
    if plan.wants("fleet") {
        sheet.group("fleet", limit(360), fleet::measure(plan)).await;
    }
    if plan.wants("churn") {
        sheet.group("churn", limit(300), churn::measure(plan)).await;
    }
    if plan.wants("memory") {
        sheet.group("memory", limit(420), memory::measure(plan)).await;
    }
    if plan.wants("growth") {
        sheet.group("growth", limit(600), growth::measure(plan)).await;
    }
    sheet
}
