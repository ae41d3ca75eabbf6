//! Labels of a container, read into the services it wants published.
//!
//! Nothing is dropped in silence: a label that does not say what it should gives a [`LabelProblem`] with the
//! way out. Values of labels that are not ours are never looked at, and values of labels that we do not know
//! are never repeated, since nobody can tell what they hold.

mod access;
mod allowance;
mod effects;
mod lost;
mod near_miss;
mod problem;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::access::{AccessAsk, MAX_RULES};
use super::hostname::parse_hostname;
use super::origin::{Wish, parse_service};
use super::origin_option::{OPTIONS, OriginOption, problem_of_check};
use super::path::normalise_path;
use super::route::{OriginRequest, RouteKey, Service};
use super::text::is_in_quotes;
use access::AccessReader;
pub use allowance::{Allowance, MAX_ROUTES};
use effects::Effects;
use lost::{Guard, Lost};
pub use problem::LabelProblem;
use problem::{IN_QUOTES, note};
pub use table::MAX_SERVICES;
use table::{Labelled, Level, is_no, is_yes};

/// Most labels of one container that are read.
pub const MAX_LABELS: usize = 1_000;
/// Most problems that are kept of one container; the last of them counts the others.
pub const MAX_PROBLEMS: usize = 100;
/// Most characters of a label or a value that leave the host; nothing that is half as long has a meaning, but for rules of
/// Access.
const MAX_SENT: usize = 4_096;
/// Most bytes of our labels of one container, as a report writes them: all containers of a host share one.
const MAX_WRITTEN: usize = 512 << 10;
/// The label that stands for those of a container that have more than [`MAX_WRITTEN`].
const TOO_LARGE: &str = "labels-too-large";

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
/// Of a container with more than [`MAX_LABELS`], or with more text than a report has room for, none is read: one that asks
/// for protection might be among the rest.
pub fn read_labels(labels: &BTreeMap<String, String>, prefix: Option<&str>, most: usize) -> Labels {
    if labels.len() > MAX_LABELS {
        return Labels { problems: vec![too_many_labels()], ..Labels::default() };
    }
    let table = Labelled::new(labels, prefix);
    if is_too_large(&table, labels) {
        return Labels { problems: vec![too_large_labels()], ..Labels::default() };
    }
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

fn too_large_labels() -> LabelProblem {
    let reason = format!(
        "the labels of this container have more than {} KiB together, so none of them is read; shorten them",
        MAX_WRITTEN >> 10
    );
    LabelProblem::new("labels", "", reason)
}

fn is_too_large(table: &Labelled<'_>, labels: &BTreeMap<String, String>) -> bool {
    let own = labels.iter().filter_map(|(label, value)| Some((label, value, table.suffix(label)?)));
    let mut bytes = 0;
    own.into_iter().any(|(label, value, suffix)| {
        bytes += written(sent(label)) + written(sent_value(suffix, value));
        suffix == TOO_LARGE || bytes > MAX_WRITTEN
    })
}

/// Returns how many bytes a text has in JSON.
fn written(text: &str) -> usize {
    let bytes = |c: char| match c {
        '"' | '\\' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    };
    text.chars().map(bytes).sum()
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
/// word than `true`. What is too long or too much to be read is cut, in a way that reads as before: all containers of
/// a host share one report, and one of them must not make it too large.
pub fn own_labels(labels: &BTreeMap<String, String>, prefix: Option<&str>) -> BTreeMap<String, String> {
    let table = Labelled::new(labels, prefix);
    let own =
        labels.iter().filter_map(|(label, value)| table.suffix(label).map(|suffix| (label, value, suffix)));
    if labels.len() <= MAX_LABELS && is_too_large(&table, labels) {
        let mark = own.filter_map(|(label, _, suffix)| label.strip_suffix(suffix)).next();
        return mark.map(|prefix| (format!("{prefix}{TOO_LARGE}"), "true".to_owned())).into_iter().collect();
    }
    let own = own.map(|(label, value, suffix)| {
        let value = if suffix == "enable" && is_yes(value) { "true" } else { value };
        (sent(label).to_owned(), sent_value(suffix, value).to_owned())
    });
    fitted(own.collect())
}

/// Returns what of a label's name leaves the host.
fn sent(text: &str) -> &str {
    cut(text, MAX_SENT)
}

/// Returns what of a label's value leaves the host. Of rules that are too long so much does that they are still too long.
fn sent_value<'v>(suffix: &str, value: &'v str) -> &'v str {
    cut(value, if suffix.ends_with("access.custom_rules") { MAX_RULES + 1 } else { MAX_SENT })
}

fn cut(text: &str, most: usize) -> &str {
    // White space around a value is not read, so it must not push out what is.
    let text = if text.len() > most { text.trim() } else { text };
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// Of a container with more labels than are read, none is read: the shortest names are enough to show that there are
/// too many, and leave room for what the other containers of the host have to say.
fn fitted(labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if labels.len() <= MAX_LABELS {
        return labels;
    }
    let mut names: Vec<String> = labels.into_keys().collect();
    names.sort_by_key(String::len);
    names.into_iter().take(MAX_LABELS + 1).map(|name| (name, String::new())).collect()
}

fn explain_not_enabled(table: &Labelled<'_>, problems: &mut Vec<LabelProblem>) {
    if let Some(found) = table.get(Level::Base, "enable") {
        let reason = match is_in_quotes(found.value) {
            true => IN_QUOTES,
            false => "the value means neither yes nor no; write `true` to publish this container",
        };
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
    let mut effects = Effects::default();
    let mut guard = Guard::new(near_miss::access_typos(table));
    let indices = table.contiguous_indices();
    let levels = std::iter::once(Level::Base).chain((0..indices).map(Level::Index));
    let mut unread = indices;
    for level in levels {
        if read.services.len() == MAX_SERVICES {
            let reason = format!(
                "one container may ask for {MAX_SERVICES} routes at most; this one and those after it are ignored"
            );
            read.problems.push(LabelProblem::new(&table.name_at(level, "hostname"), "", reason));
            unread = if let Level::Index(i) = level { i } else { 0 };
            break;
        }
        let Some(service) =
            read_service(table, level, indices > 0, &mut effects, &mut guard, &mut read.problems)
        else {
            continue;
        };
        add(read, service, table.get(level, "hostname"));
    }
    effects.note_what_is_without(&mut read.problems);
    guard.lose_unread(table, unread);
    guard.close(&mut read.services);
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

/// Adds a service. Of two with one key the first counts, but an open one does not win over one that is to be protected.
fn add(read: &mut Labels, service: Service, found: Option<table::Found<'_>>) {
    let Some(first) = read.services.iter_mut().find(|first| first.key == service.key) else {
        read.services.push(service);
        return;
    };
    let reason = format!("this container asks for `{}` twice; the first one counts", service.key);
    if service.access.keeps_out() && !first.access.keeps_out() {
        let reason = format!("{reason}, and only another one asks for protection; remove one of them");
        first.access = AccessAsk::Unreadable { reasons: vec![reason] };
    }
    read.problems.extend(found.map(|found| LabelProblem::new(&found.label, found.value, reason)));
}

/// Reads the service of one level with what it asks of Access; `None` if there is none, or if what must be right is not.
fn read_service<'a>(
    table: &'a Labelled<'a>,
    level: Level,
    has_indices: bool,
    effects: &mut Effects<'a>,
    guard: &mut Guard<'a>,
    problems: &mut Vec<LabelProblem>,
) -> Option<Service> {
    let is_route = table.get(level, "hostname").is_some();
    let access = match is_route {
        true => AccessReader::new(table, level, problems, effects).ask(guard.typos()),
        false => AccessAsk::Nothing,
    };
    let keeps_out = access.keeps_out();
    let service = Reader { table, level, problems, effects }.service(has_indices, access);
    match service {
        Some(mut service) => {
            guard.count_rules(table, level, &mut service, problems);
            Some(service)
        }
        None => {
            if keeps_out || asks_for_check(table, level) {
                guard.lose(Lost::of(table, level));
            }
            None
        }
    }
}

/// True if the connector is to turn away visitors without a token, however well that is said.
fn asks_for_check(table: &Labelled<'_>, level: Level) -> bool {
    table.get_or_base(level, "access_required").is_some_and(|found| !is_no(found.value))
}

/// Reads the labels of one level and notes what is wrong with them.
struct Reader<'a, 'p> {
    table: &'a Labelled<'a>,
    level: Level,
    problems: &'p mut Vec<LabelProblem>,
    effects: &'p mut Effects<'a>,
}

impl<'a> Reader<'a, '_> {
    /// Reads the service; `None` if there is none, or if what must be right is not.
    fn service(mut self, has_indices: bool, access: AccessAsk) -> Option<Service> {
        let (hostname, service) = self.target(has_indices)?;
        let name = self.checked(&hostname, |text| match names_several(text) {
            true => Err(self.table.say_numbered(&hostname.label)),
            false => parse_hostname(text).map_err(|error| error.to_string()),
        });
        let target = self.checked(&service, parse_service);
        let path = self.setting("path", normalise_path).map(Option::unwrap_or_default);
        let zone_name = self.setting("zonename", parse_hostname);
        let options = self.origin_request(&access);
        let (target, (options, wishes)) = (target?, options?);
        for (found, wish) in wishes {
            self.effects.note(&target, found, wish);
        }
        let mut key = RouteKey { hostname: name?, path: path? };
        if !key.path.is_empty()
            && let Some(found) = self.table.get_or_base(self.level, "path")
            && !self.effects.note(&target, found, Wish::Path)
        {
            key.path.clear();
        }
        Some(Service { key, service: target, origin_request: options, zone_name: zone_name?, access })
    }

    /// Finds what to publish and where requests go.
    fn target(&mut self, has_indices: bool) -> Option<(table::Found<'a>, table::Found<'a>)> {
        let hostname = self.table.get(self.level, "hostname");
        let service = self.table.get_or_base(self.level, "service");
        match (hostname, service) {
            (Some(hostname), Some(service)) => Some((hostname, service)),
            (Some(hostname), None) => {
                let missing = self.table.beside(&hostname.label, "service");
                self.problem(&hostname, format!("no `{missing}` says where requests go; add it"));
                None
            }
            // A base service without a base hostname is what indexed routes fall back to.
            (None, Some(service)) if self.level == Level::Base && !has_indices => {
                let missing = self.table.beside(&service.label, "hostname");
                self.problem(&service, format!("no `{missing}` says what to publish; add it"));
                None
            }
            (None, _) => None,
        }
    }

    fn problem(&mut self, found: &table::Found<'_>, reason: impl ToString) {
        note(self.problems, found, reason);
    }

    fn checked<T, E: ToString>(
        &mut self,
        found: &table::Found<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let read = parse(found.value);
        read.map_err(|error| match is_in_quotes(found.value) {
            true => self.problem(found, IN_QUOTES),
            false => self.problem(found, error),
        })
        .ok()
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

    /// Options whose labels are wrong are left out and shown, and the route itself is good; unless they are to keep
    /// visitors out: then there is no route. Beside them: what is wished, by which label.
    fn origin_request(
        &mut self,
        access: &AccessAsk,
    ) -> Option<(OriginRequest, Vec<(table::Found<'a>, Wish)>)> {
        let (mut options, mut wishes, mut is_open) = (OriginRequest::default(), Vec::new(), true);
        for option in &OPTIONS {
            let Some(found) = self.table.get_or_base(self.level, option.label) else { continue };
            match self.take(option, &found, &mut options) {
                Some(true) => wishes.push((found, option.wish)),
                Some(false) => {}
                None => is_open &= !option.is_check(),
            }
        }
        let is_checked = options.access.as_ref().is_some_and(|check| check.required);
        for (found, _) in wishes.iter().filter(|(_, wish)| *wish == Wish::AccessCheck && !is_checked) {
            self.problem(found, "has no effect unless `access_required` says that tokens are checked");
        }
        if let Some((found, _)) = wishes.iter().find(|(_, wish)| *wish == Wish::AccessCheck)
            && let Some(reason) = problem_of_check(&options, access)
        {
            self.problem(found, reason);
            is_open = false;
        }
        options.access = options.access.filter(|check| check.required);
        is_open.then_some((options, wishes))
    }

    /// Returns whether a label sets its option; `None` if nobody can tell.
    fn take(
        &mut self,
        option: &OriginOption,
        found: &table::Found<'a>,
        options: &mut OriginRequest,
    ) -> Option<bool> {
        let taken = match is_in_quotes(found.value) {
            true => Err(IN_QUOTES.to_owned()),
            false => option.take(found.value, options),
        };
        taken.map_err(|reason| self.problem(found, reason)).ok()
    }
}

/// True if a text holds several hostnames, whatever stands between them.
fn names_several(text: &str) -> bool {
    let parts =
        |is_between: fn(char) -> bool| text.split(is_between).map(str::trim).filter(|part| !part.is_empty());
    parts(|c| matches!(c, ',' | ';' | '|')).count() > 1
        || (parts(char::is_whitespace).count() > 1
            && parts(char::is_whitespace).all(|part| part.contains('.')))
}
