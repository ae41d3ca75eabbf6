//! Services that run on files which a run of packages replaces: what a plan says of them, and the steps that restart them if
//! that was asked for, and look whether they are alive.

mod systemd;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::host::HostReader;
use super::installer::Installer;
use super::processes::{code_among, gone_among, look_at_processes, own_service};
use super::run::{At, Progress, Step, StepFailed};
use crate::domain::update::{Aftermath, Changes, HOST_LOOK, OnHost, Problem, Run, Service};
use systemd::Systemd;

/// How long a service may take to be what it becomes.
const SETTLE: Duration = Duration::from_secs(60);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Words of a service that is on its way.
const ON_THE_WAY: [&str; 3] = ["activating", "deactivating", "reloading"];

/// The step that notes what runs before anything is replaced.
const NOTE: &str = "services.note";
/// The step that restarts.
const RESTART: &str = "services.restart";

/// What runs on files that will be replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// By the name of the service.
    services: BTreeMap<String, NotedService>,
    /// Why they are not known, or not all.
    unknown: Option<String>,
}

/// A service as it was before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct NotedService {
    /// The files of the plan that it runs on.
    files: BTreeSet<String>,
    /// True if it was active.
    was_active: bool,
}

/// Says in a plan which services run on what it replaces.
pub(super) async fn told(changes: &Changes, on_host: &mut OnHost, installers: &[Arc<dyn Installer>]) {
    if !concerns(changes) {
        return;
    }
    let noted = note(changes, installers).await;
    let own = own_service();
    on_host.services = noted.services.into_keys().map(|name| Service::found(name, own.as_deref())).collect();
    on_host.services_unknown = noted.unknown;
}

/// True if a plan replaces files that services may run on.
fn concerns(changes: &Changes) -> bool {
    changes.all().iter().any(|change| change.kind.is_package() && change.from.is_some())
}

/// Puts the steps around those of installers.
pub(super) fn around(
    run: &Run,
    installers: &[Arc<dyn Installer>],
    steps: Vec<Box<dyn Step>>,
) -> Vec<Box<dyn Step>> {
    if !run.plan.changes.all().iter().any(|change| change.kind.is_package()) {
        return steps;
    }
    let note: Box<dyn Step> = Box::new(Note(installers.to_vec()));
    let behind: [Box<dyn Step>; 2] = [Box::new(Restart), Box::new(Look)];
    std::iter::once(note).chain(steps).chain(behind).collect()
}

/// Notes which services run on what will be replaced.
struct Note(Vec<Arc<dyn Installer>>);
/// Restarts those that still run on what was replaced, if that was asked for.
struct Restart;
/// Looks whether they are alive, and whether the host wants a restart.
struct Look;

#[async_trait]
impl Step for Note {
    fn name(&self) -> &'static str {
        NOTE
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let mut noted = note(&at.run.plan.changes, &self.0).await;
        let names: Vec<String> = noted.services.keys().cloned().collect();
        if let Ok(systemd) = Systemd::of_this_host().await {
            match systemd.states(&names).await {
                Ok(states) => {
                    for (name, service) in &mut noted.services {
                        service.was_active = states.get(name).is_some_and(|state| state == "active");
                    }
                }
                Err(reason) => noted.unknown = noted.unknown.or(Some(reason)),
            }
        }
        Ok(json!(noted))
    }
}

#[async_trait]
impl Step for Restart {
    fn name(&self) -> &'static str {
        RESTART
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        if !at.run.asked().restarts_services() {
            return Ok(Value::Null);
        }
        // Who said yes saw these, and no others.
        let shown = |service: &Service| {
            let planned = &at.run.plan.on_host.services;
            service.left_alone.is_none() && planned.iter().any(|one| one.name == service.name)
        };
        let names: Vec<String> =
            stale(&noted(at)).await.into_iter().filter(shown).map(|service| service.name).collect();
        if names.is_empty() {
            return Ok(Value::Null);
        }
        let systemd = match Systemd::of_this_host().await {
            Ok(systemd) => systemd,
            Err(reason) => return Ok(json!({ "unknown": reason })),
        };
        (at.tell)(Progress::Does(format!("restarts {}", names.join(", "))));
        // What became of each is looked at next, whatever is said here.
        let problem = systemd.restart(&names).await.err();
        Ok(json!({ "restarted": names, "problem": problem }))
    }
}

#[async_trait]
impl Step for Look {
    fn name(&self) -> &'static str {
        HOST_LOOK
    }

    async fn go(&self, at: &At<'_>) -> Result<Value, StepFailed> {
        let noted = noted(at);
        let found = |name: &str| at.run.found(RESTART).and_then(|found| found.get(name)).cloned();
        let restarted: Vec<String> =
            found("restarted").and_then(|names| serde_json::from_value(names).ok()).unwrap_or_default();
        let mut unknown = noted.unknown.clone();
        let wanted: Vec<String> = noted
            .services
            .iter()
            .filter(|(name, service)| service.was_active || restarted.contains(name))
            .map(|(name, _)| name.clone())
            .collect();
        if !wanted.is_empty() {
            let seen = match Systemd::of_this_host().await {
                Ok(systemd) => settled(&systemd, &wanted).await,
                Err(reason) => Err(reason),
            };
            match seen {
                Ok(states) => {
                    let down = down(&states);
                    if !down.is_empty() {
                        let said = found("problem").and_then(|said| said.as_str().map(str::to_owned));
                        let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
                        let reason = format!("the packages are as planned, but {}{said}", down.join(", "));
                        return Err(StepFailed::because(reason));
                    }
                }
                Err(reason) => unknown = Some(reason),
            }
        }
        let mut reboot: Vec<String> = at.run.plan.on_host.reboot.iter().cloned().collect();
        reboot.extend(HostReader::of_this_host().wants_reboot().await);
        let stale = stale(&noted).await;
        Ok(json!(Aftermath { restarted, stale, services_unknown: unknown, reboot }))
    }
}

/// What was noted before anything was replaced.
fn noted(at: &At<'_>) -> Noted {
    let found = at.run.found(NOTE).cloned();
    found.and_then(|found| serde_json::from_value(found).ok()).unwrap_or_default()
}

async fn note(changes: &Changes, installers: &[Arc<dyn Installer>]) -> Noted {
    if let Err(reason) = Systemd::of_this_host().await {
        return Noted { unknown: Some(reason), ..Noted::default() };
    }
    let mut files = BTreeSet::new();
    for installer in installers {
        match installer.replaced_files(changes).await {
            Ok(some) => files.extend(some),
            Err(Problem { reason, .. }) => return Noted { unknown: Some(reason), ..Noted::default() },
        }
    }
    let looked = tokio::task::spawn_blocking(move || {
        look_at_processes(Path::new("/proc"), |map| code_among(map, &files))
    });
    let Ok(looked) = looked.await else { return Noted::default() };
    let of_services = looked.owners.into_iter().filter(|(owner, _)| owner.is_service);
    Noted {
        services: of_services
            .map(|(owner, files)| (owner.name, NotedService { files, was_active: false }))
            .collect(),
        unknown: (looked.hidden > 0).then(|| {
            let (hidden, count) = (looked.hidden, looked.count);
            format!("{hidden} of {count} processes belong to others and could not be looked at")
        }),
    }
}

/// Those that still run on what was there before.
async fn stale(noted: &Noted) -> Vec<Service> {
    let files: BTreeSet<String> = noted.services.values().flat_map(|service| service.files.clone()).collect();
    if files.is_empty() {
        return Vec::new();
    }
    let looked = tokio::task::spawn_blocking(move || {
        look_at_processes(Path::new("/proc"), |map| gone_among(map, &files))
    });
    let Ok(looked) = looked.await else { return Vec::new() };
    let own = own_service();
    let names = looked.owners.into_keys().filter(|owner| owner.is_service).map(|owner| owner.name);
    names.map(|name| Service::found(name, own.as_deref())).collect()
}

/// Waits until none is on its way any more.
async fn settled(systemd: &Systemd, names: &[String]) -> Result<BTreeMap<String, String>, String> {
    let due = Instant::now() + SETTLE;
    loop {
        let states = systemd.states(names).await?;
        let is_on_the_way = states.values().any(|state| ON_THE_WAY.contains(&state.as_str()));
        if !is_on_the_way || Instant::now() >= due {
            return Ok(states);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Says which services do not run any more.
fn down(states: &BTreeMap<String, String>) -> Vec<String> {
    let is_down = |state: &str| state != "active" && state != "reloading";
    let down = states.iter().filter(|(_, state)| is_down(state));
    down.map(|(name, state)| format!("the service {name} is {state} now and ran before")).collect()
}
