//! Labels of a container, read into the services it wants published.
//!
//! Nothing is dropped in silence: a label that does not say what it should gives a [`LabelProblem`] with the
//! way out. Values of labels that are not ours are never looked at, and values of labels that we do not know
//! are never repeated, since nobody can tell what they hold.

mod allowance;
mod near_miss;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::hostname::parse_hostname;
use super::origin::parse_service;
use super::path::normalise_path;
use super::route::{OriginRequest, RouteKey, Service};
pub use allowance::{Allowance, MAX_ROUTES};
use table::{Labelled, Level};

/// Most routes that one container may ask for.
pub const MAX_SERVICES: usize = 256;
/// Most labels of one container that are read.
pub const MAX_LABELS: usize = 1_000;
/// Most problems that are kept of one container; the last of them counts the others.
pub const MAX_PROBLEMS: usize = 100;
/// Most characters of a label or a value that are repeated.
const MAX_SHOWN: usize = 200;
/// Most bytes of a header or server name in a label.
const MAX_NAME: usize = 255;

/// A label that does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LabelProblem {
    /// The label, cut to 200 characters.
    pub label: String,
    /// Its value, cut to 200 characters; empty if the label is not one that we know.
    pub value: String,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl LabelProblem {
    fn new(label: &str, value: &str, reason: impl ToString) -> Self {
        Self { label: cut(label), value: cut(value), reason: reason.to_string() }
    }
}

/// What the labels of one container say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// True if the container asks to be published.
    pub enabled: bool,
    /// What it asks for, in the order of its labels; empty if it is not enabled.
    pub services: Vec<Service>,
    /// What could not be read.
    pub problems: Vec<LabelProblem>,
}

/// Reads all labels of one container. `prefix` is the operator's own one (`LABEL_PREFIX`), if any; at most `most`
/// problems are kept, and the last of them counts the others.
///
/// Of a container with more than [`MAX_LABELS`] none is read: one that asks for protection might be among the rest.
pub fn read_labels(labels: &BTreeMap<String, String>, prefix: Option<&str>, most: usize) -> Labels {
    if labels.len() > MAX_LABELS {
        return Labels { problems: vec![too_many_labels()], ..Labels::default() };
    }
    let table = Labelled::new(labels, prefix);
    let mut read = Labels { enabled: table.is_enabled(), ..Labels::default() };
    let explicit_no = table.get(Level::Base, "enable").is_some_and(|found| is_no(found.value));
    if explicit_no {
        return read;
    }
    near_miss::find(&table, most, &mut read.problems);
    if !read.enabled {
        explain_not_enabled(&table, &mut read.problems);
    } else {
        read_services(&table, &mut read);
    }
    keep_first(&mut read.problems, most);
    read
}

fn too_many_labels() -> LabelProblem {
    let reason = format!(
        "this container has more than {MAX_LABELS} labels, so none of them is read; take some off it"
    );
    LabelProblem::new("labels", "", reason)
}

/// Keeps the first `most` problems; the last of them says how many more there are.
fn keep_first(problems: &mut Vec<LabelProblem>, most: usize) {
    let more = problems.len().saturating_sub(most);
    problems.truncate(most);
    if let Some(last) = problems.last_mut().filter(|_| more > 0) {
        last.reason = format!("{}; {more} more labels of this container are wrong", last.reason);
    }
}

/// Says whether a container asks to be published, as every master understands it.
pub fn is_enabled(labels: &BTreeMap<String, String>, prefix: Option<&str>) -> bool {
    Labelled::new(labels, prefix).is_enabled()
}

/// Says whether a container carries any label of ours, enabled or not: such a one is worth showing.
pub fn concerns_us(labels: &BTreeMap<String, String>, prefix: Option<&str>) -> bool {
    let table = Labelled::new(labels, prefix);
    labels.keys().any(|label| table.suffix(label).is_some())
}

/// Returns the labels of ours, with `enable` written as `true` if it means that.
///
/// Labels of others stay on the host, since they may hold secrets; and older masters and agents know no other
/// word than `true`.
pub fn own_labels(labels: &BTreeMap<String, String>, prefix: Option<&str>) -> BTreeMap<String, String> {
    let table = Labelled::new(labels, prefix);
    let own =
        labels.iter().filter_map(|(label, value)| table.suffix(label).map(|suffix| (label, value, suffix)));
    own.map(|(label, value, suffix)| {
        let value = if suffix == "enable" && is_yes(value) { "true".to_owned() } else { value.clone() };
        (label.clone(), value)
    })
    .collect()
}

fn is_yes(value: &str) -> bool {
    ["true", "1", "t", "yes"].iter().any(|yes| value.trim().eq_ignore_ascii_case(yes))
}

fn is_no(value: &str) -> bool {
    ["", "false", "0", "f", "no"].iter().any(|no| value.trim().eq_ignore_ascii_case(no))
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn explain_not_enabled(table: &Labelled<'_>, problems: &mut Vec<LabelProblem>) {
    if let Some(found) = table.get(Level::Base, "enable") {
        let reason = "the value means neither yes nor no; write `true` to publish this container";
        problems.push(LabelProblem::new(&found.label, found.value, reason));
    } else if let Some(label) = table.any_hostname() {
        let enable = table.beside(&label, "enable");
        let reason = "this container is not published, since the label is missing; set it to `true`";
        if !problems.iter().any(|problem| problem.reason.contains("`enable`")) {
            problems.push(LabelProblem::new(&enable, "", reason));
        }
    }
}

fn read_services(table: &Labelled<'_>, read: &mut Labels) {
    let mut seen = BTreeSet::new();
    let indices = table.contiguous_indices();
    let levels = std::iter::once(Level::Base).chain((0..indices).map(Level::Index));
    for level in levels {
        if read.services.len() == MAX_SERVICES {
            let reason = format!(
                "one container may ask for {MAX_SERVICES} routes at most; this one and those after it are ignored"
            );
            read.problems.push(LabelProblem::new(&table.name_at(level, "hostname"), "", reason));
            break;
        }
        let Some(service) = read_service(table, level, indices > 0, &mut read.problems) else { continue };
        if seen.insert(service.key.clone()) {
            read.services.push(service);
        } else if let Some(found) = table.get(level, "hostname") {
            let reason = format!("this container asks for `{}` twice; the first one counts", service.key);
            read.problems.push(LabelProblem::new(&found.label, found.value, reason));
        }
    }
    // Beyond the bound no number is looked for, so none is missing.
    if indices <= MAX_SERVICES {
        near_miss::find_gaps(table, indices, &mut read.problems);
    }
    if read.services.is_empty() && read.problems.is_empty() {
        let enable = table.get(Level::Base, "enable");
        let (label, value) = enable.map_or((String::new(), ""), |found| (found.label, found.value));
        let reason = "nothing is published, since no `hostname` and `service` labels are set";
        read.problems.push(LabelProblem::new(&label, value, reason));
    }
}

/// Reads the service of one level; `None` if there is none, or if what must be right is not.
fn read_service(
    table: &Labelled<'_>,
    level: Level,
    has_indices: bool,
    problems: &mut Vec<LabelProblem>,
) -> Option<Service> {
    let hostname = table.get(level, "hostname");
    let service = table.get_or_base(level, "service");
    let (hostname, service) = match (hostname, service) {
        (Some(hostname), Some(service)) => (hostname, service),
        (Some(hostname), None) => {
            let reason =
                format!("no `{}` says where requests go; add it", table.beside(&hostname.label, "service"));
            problems.push(LabelProblem::new(&hostname.label, hostname.value, reason));
            return None;
        }
        // A base service without a base hostname is what indexed routes fall back to.
        (None, Some(service)) if level == Level::Base && !has_indices => {
            let reason =
                format!("no `{}` says what to publish; add it", table.beside(&service.label, "hostname"));
            problems.push(LabelProblem::new(&service.label, service.value, reason));
            return None;
        }
        (None, _) => return None,
    };
    let mut reader = Reader { table, level, problems };
    let name = reader.checked(&hostname, parse_hostname);
    let target = reader.checked(&service, parse_service);
    let path = reader.setting("path", normalise_path).map(Option::unwrap_or_default);
    let zone_name = reader.setting("zonename", parse_hostname);
    let origin_request = reader.origin_request();
    Some(Service {
        key: RouteKey { hostname: name?, path: path? },
        service: target?,
        origin_request,
        zone_name: zone_name?,
        has_access_labels: table.has_access_labels(),
    })
}

/// Reads settings of one level and notes what is wrong with them.
struct Reader<'a, 'p> {
    table: &'a Labelled<'a>,
    level: Level,
    problems: &'p mut Vec<LabelProblem>,
}

impl Reader<'_, '_> {
    fn problem(&mut self, found: &table::Found<'_>, reason: impl ToString) {
        let problem = LabelProblem::new(&found.label, found.value, reason);
        // Base labels are read once for each route that falls back to them, and shown once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn checked<T, E: ToString>(
        &mut self,
        found: &table::Found<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(found.value).map_err(|error| self.problem(found, error)).ok()
    }

    /// A label that may be left out, but withholds the route if it is wrong: `None` then.
    fn setting<T, E: ToString>(
        &mut self,
        suffix: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        match self.table.get_or_base(self.level, suffix) {
            None => Some(None),
            Some(found) => self.checked(&found, parse).map(Some),
        }
    }

    /// Options whose labels are wrong are left out and shown; the route itself is good.
    fn origin_request(&mut self) -> OriginRequest {
        OriginRequest {
            no_tls_verify: self.flag("no_tls_verify"),
            origin_server_name: self.name("originsrvname"),
            http_host_header: self.name("httpHostHeader"),
            http2_origin: self.flag("http2_origin"),
            disable_chunked_encoding: self.flag("disable_chunked_encoding"),
            match_sni_to_host: self.flag("match_sni_to_host"),
        }
    }

    fn flag(&mut self, suffix: &str) -> Option<bool> {
        let found = self.table.get_or_base(self.level, suffix)?;
        if !is_yes(found.value) && !is_no(found.value) {
            self.problem(
                &found,
                "the value means neither yes nor no, so it counts as no; write `true` or `false`",
            );
        }
        is_yes(found.value).then_some(true)
    }

    fn name(&mut self, suffix: &str) -> Option<String> {
        let found = self.table.get_or_base(self.level, suffix)?;
        let value = found.value.trim();
        if value.len() > MAX_NAME || value.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.problem(
                &found,
                format!("a name without white space of at most {MAX_NAME} bytes belongs here; ignored"),
            );
            return None;
        }
        Some(value.to_owned())
    }
}
