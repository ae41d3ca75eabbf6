//! Reading what agents report: by hand, so that a refusal names the field wherever it stands.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ITEMS_LIMIT, MESSAGE_LIMIT, command_id};
use crate::domain::command::Outcome;
use crate::domain::container::Container;
use crate::domain::host::Host;
use crate::domain::id::ContainerId;
use crate::domain::report::{Report, Reports};
use crate::domain::tunnel::TunnelReport;
use crate::domain::update::{
    Cause, Checked, Finding, Findings, Kind, MAX_FINDINGS, RunProgress, Scanned, Standing,
};
use crate::protocol::body::{self, BodyError};
use crate::protocol::fit;

const TEXT: &str = "a string";
const TIME: &str = "a time such as `2026-01-31T12:00:00Z`";

/// Reads the body of `POST .../reports`.
pub fn decode_reports(body: &[u8]) -> Result<Reports, BodyError> {
    let mut batch = Fields(body::parse_object(body)?);
    let items: Vec<Value> = batch.take("items", "items", "a list")?;
    if items.len() > ITEMS_LIMIT {
        return Err(BodyError::Value { field: "items", reason: "a batch holds at most 1,000 items" });
    }
    let first_seq: u64 = batch.take("first_seq", "first_seq", "a whole number")?;
    if first_seq.checked_add(items.len() as u64).is_none() {
        return Err(BodyError::Value { field: "first_seq", reason: "the number is too large" });
    }
    Ok(Reports {
        session: batch.take("session", "session", TEXT)?,
        first_seq,
        sent_at: batch.take("sent_at", "sent_at", TIME)?,
        items: items.into_iter().map(item).collect::<Result<_, _>>()?,
    })
}

/// Reads the body of `POST .../result`; the message is cut to [`MESSAGE_LIMIT`] characters.
pub fn decode_result(body: &[u8]) -> Result<Outcome, BodyError> {
    let mut fields = Fields(body::parse_object(body)?);
    outcome(&mut fields, ["succeeded", "message", "finished_at"])
}

/// An object that is taken apart.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(value: Value, path: &'static str) -> Result<Self, BodyError> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => {
                Err(BodyError::Field { field: path, found: body::type_name(&other), expected: "an object" })
            }
        }
    }

    /// Takes a field; one that is absent counts as null, which only optional ones may be.
    fn take<T: DeserializeOwned>(
        &mut self,
        name: &str,
        path: &'static str,
        expected: &'static str,
    ) -> Result<T, BodyError> {
        let value = self.0.remove(name);
        let found = value.as_ref().map_or("missing", body::type_name);
        serde_json::from_value(value.unwrap_or_default()).map_err(|_| BodyError::Field {
            field: path,
            found,
            expected,
        })
    }

    /// Takes a field that is an object of its own.
    fn inner(&mut self, name: &str, path: &'static str) -> Result<Self, BodyError> {
        Self::of(self.take(name, path, "an object")?, path)
    }
}

/// Reads one item; of a kind that was made later nothing is read.
fn item(value: Value) -> Result<Report, BodyError> {
    let mut item = Fields::of(value, "items[]")?;
    let kind: String = item.take("kind", "items[].kind", TEXT)?;
    Ok(match kind.as_str() {
        "heartbeat" => Report::Heartbeat,
        "snapshot" => Report::Snapshot { containers: snapshot(&mut item)? },
        "container_seen" => {
            let found = item.inner("container", "items[].container")?;
            Report::ContainerSeen { container: fit::container(SEEN[0], container(found, SEEN)?)? }
        }
        "container_gone" => {
            let id: ContainerId = item.take("id", "items[].id", TEXT)?;
            fit::container_id("items[].id", &id)?;
            let cause = item.take("cause", "items[].cause", "`stopped` or `died`")?;
            Report::ContainerGone { id, cause }
        }
        "tunnel" => Report::Tunnel { tunnel: fit::tunnel(tunnel(item.inner("tunnel", "items[].tunnel")?)?) },
        "command_result" => {
            let id: String = item.take("id", "items[].id", TEXT)?;
            let mut inner = item.inner("outcome", "items[].outcome")?;
            let fields =
                ["items[].outcome.succeeded", "items[].outcome.message", "items[].outcome.finished_at"];
            Report::CommandResult {
                id: command_id("items[].id", &id)?,
                outcome: outcome(&mut inner, fields)?,
            }
        }
        "scanned" => {
            let scan: Scanned = item.take("scan", "items[].scan", "an object with `at` and `scanners`")?;
            if scan.scanners.len() > Kind::ALL.len() {
                return Err(BodyError::Value {
                    field: "items[].scan.scanners",
                    reason: "there is at most one of each kind",
                });
            }
            scan.scanners.iter().try_for_each(|checked| has_updates(checked, "items[].scan.scanners"))?;
            Report::Scanned { scan }
        }
        "findings" => Report::Findings { findings: findings(item.inner("findings", "items[].findings")?)? },
        "host" => {
            let host: Host = item.take("host", "items[].host", "an object of facts")?;
            Report::Host { host: Box::new(host.fitted()) }
        }
        "run" => {
            let progress: RunProgress = item.take("progress", "items[].progress", "an object of a run")?;
            Report::Run { progress: Box::new(fit::progress(progress)) }
        }
        _ => Report::Unknown,
    })
}

/// Reads what a scanner found. One item that cannot be read is kept with what can be, and marked: it spoils no report.
fn findings(mut fields: Fields) -> Result<Findings, BodyError> {
    let checked: Checked =
        fields.take("checked", "items[].findings.checked", "an object with `kind` and `digest`")?;
    has_updates(&checked, "items[].findings.checked")?;
    let items: Vec<Value> = fields.take("items", "items[].findings.items", "a list")?;
    if items.len() > MAX_FINDINGS {
        return Err(BodyError::Value {
            field: "items[].findings.items",
            reason: "at most 20,000 findings of one kind are taken",
        });
    }
    Ok(Findings { checked, items: items.into_iter().map(finding).collect() })
}

fn has_updates(checked: &Checked, field: &'static str) -> Result<(), BodyError> {
    match checked.kind {
        Kind::Host => Err(BodyError::Value { field, reason: "there are no updates of the kind `host`" }),
        _ => Ok(()),
    }
}

fn finding(value: Value) -> Finding {
    let name = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = serde_json::from_value(value).unwrap_or_else(|error| {
        let mut odd = Finding::new(
            name,
            Standing::Unchecked {
                cause: Cause::Misunderstood,
                reason: "what the agent said of it could not be read".into(),
                last_known_at: None,
                retry_at: None,
            },
        );
        odd.flaw = Some(format!("it could not be read: {error}"));
        odd
    });
    read.fitted()
}

const SEEN: [&str; 6] = [
    "items[].container.id",
    "items[].container.name",
    "items[].container.labels",
    "items[].container.image",
    "items[].container.status",
    "items[].container.networks",
];
const LISTED: [&str; 6] = [
    "items[].containers[].id",
    "items[].containers[].name",
    "items[].containers[].labels",
    "items[].containers[].image",
    "items[].containers[].status",
    "items[].containers[].networks",
];

fn snapshot(item: &mut Fields) -> Result<Vec<Container>, BodyError> {
    let list: Vec<Value> = item.take("containers", "items[].containers", "a list")?;
    let read = |value| container(Fields::of(value, "items[].containers[]")?, LISTED);
    let found: Vec<Container> = list.into_iter().map(read).collect::<Result<_, _>>()?;
    fit::containers("items[].containers", LISTED[0], found)
}

/// Reads a container; `paths` are those of its fields.
fn container(mut fields: Fields, paths: [&'static str; 6]) -> Result<Container, BodyError> {
    let [id, name, labels, image, status, networks] = paths;
    if !fields.0.contains_key("labels") {
        fields.0.insert("labels".into(), Value::Object(Map::new()));
    }
    Ok(Container {
        id: fields.take("id", id, TEXT)?,
        name: fields.take("name", name, TEXT)?,
        labels: fields.take("labels", labels, "an object of strings")?,
        image: fields.take("image", image, TEXT)?,
        status: fields.take("status", status, TEXT)?,
        networks: fields.take("networks", networks, "an object with a list of names for each network")?,
    })
}

fn tunnel(mut fields: Fields) -> Result<TunnelReport, BodyError> {
    Ok(TunnelReport {
        health: fields.take("health", "items[].tunnel.health", "a state such as `running`")?,
        tunnel_id: fields.take("tunnel_id", "items[].tunnel.tunnel_id", TEXT)?,
        name: fields.take("name", "items[].tunnel.name", TEXT)?,
        version: fields.take("version", "items[].tunnel.version", TEXT)?,
        reason: fields.take("reason", "items[].tunnel.reason", TEXT)?,
        ready_connections: fields.take(
            "ready_connections",
            "items[].tunnel.ready_connections",
            "a whole number",
        )?,
        connector_id: fields.take("connector_id", "items[].tunnel.connector_id", TEXT)?,
        config_version: fields.take("config_version", "items[].tunnel.config_version", "a whole number")?,
        networks: fields.take("networks", "items[].tunnel.networks", "a list of strings")?,
        observed_at: fields.take("observed_at", "items[].tunnel.observed_at", TIME)?,
    })
}

/// Reads how a command ended; `paths` are those of its three fields.
fn outcome(fields: &mut Fields, paths: [&'static str; 3]) -> Result<Outcome, BodyError> {
    let [succeeded, message, finished_at] = paths;
    let text: String = fields.take("message", message, TEXT)?;
    Ok(Outcome {
        succeeded: fields.take("succeeded", succeeded, "`true` or `false`")?,
        message: text.chars().take(MESSAGE_LIMIT).collect(),
        finished_at: fields.take("finished_at", finished_at, TIME)?,
    })
}

#[cfg(test)]
mod tests;
