//! Hosts that would change the same: what, what it means there, the yes of people to it, and the form to give one.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::changes::{ChangeTable, differences, source};
use super::held::HeldLine;
use super::stand::{Known, Stand};
use crate::db::read::ApprovalRow;
use crate::domain::id::AgentId;
use crate::domain::role::may_be_one_person;
use crate::domain::text::spell_out;
use crate::domain::update::{ApprovalMode, ApprovalStatus, Changes, OnHost, PlanId, Service, UndoSource};
use crate::web::pages::view::{Badge, Fact, Moment, badge, count, fact, host_href, size};
use crate::web::planned::{Group, Named, Planned};

/// So few hosts are listed openly, each with a box to tick.
pub const FEW: usize = 20;
/// Most hosts that are listed by name.
const MOST_NAMES: usize = 300;
/// Most lines of a list beside the changes.
const MOST_LINES: usize = 50;

/// Hosts by name.
pub struct Names {
    /// The first of them.
    pub lines: Vec<HostName>,
    /// How many more there are.
    pub more: usize,
}

/// A host by name.
pub struct HostName {
    /// What people call it.
    pub name: String,
    /// Its page.
    pub href: String,
    /// What else is to say.
    pub note: Option<String>,
}

/// A list with a title.
pub struct Listed {
    /// What it is a list of.
    pub title: String,
    /// How it looks.
    pub tone: &'static str,
    /// The first lines of it.
    pub lines: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

/// Hosts that would change the same.
pub struct GroupCard {
    /// How many, in words.
    pub heading: String,
    /// Stands for the plan in names of fields and places.
    pub mark: String,
    /// The plan's id.
    pub plan: String,
    /// The hosts.
    pub hosts: Names,
    /// True if the hosts are many.
    pub are_many: bool,
    /// True if nothing would be changed.
    pub is_empty: bool,
    /// What it means.
    pub facts: Vec<Fact>,
    /// What differs from the plan of most hosts; none of that one itself.
    pub differs: Option<Listed>,
    /// The changes.
    pub changes: ChangeTable,
    /// How many there are, in words.
    pub size: String,
    /// What else a person should know.
    pub lists: Vec<Listed>,
    /// Images of it that failed on a host: nothing of it is approved as long as they are held.
    pub held: Vec<HeldLine>,
    /// What people said to it.
    pub yeses: Vec<YesCard>,
    /// How to say yes; none if there is no host left to say it for.
    pub form: Option<YesForm>,
}

/// How to say yes.
pub struct YesForm {
    /// Hosts to tick; none if there is one, or many.
    pub ticks: Vec<Tick>,
    /// What the button says.
    pub label: String,
    /// Stands for the hosts that are shown: a yes is for these and no others.
    pub shown: String,
}

/// A host to tick.
pub struct Tick {
    /// Name of its field.
    pub mark: String,
    /// Its agent.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// True if it is ticked beforehand.
    pub is_on: bool,
    /// Why it is not.
    pub note: Option<String>,
}

/// One yes.
pub struct YesCard {
    /// Its id.
    pub id: String,
    /// Who gave it, for how many hosts.
    pub heading: String,
    /// When.
    pub at: Moment,
    /// Until when it counts, from where it came, who else agreed.
    pub detail: String,
    /// How many hosts stand where.
    pub marks: Vec<Badge>,
    /// The hosts.
    pub hosts: Vec<StandLine>,
    /// How many more there are.
    pub more: usize,
    /// True if the hosts are many.
    pub are_many: bool,
    /// True if this person can add the second yes.
    pub can_second: bool,
    /// True if it can be taken back for some host.
    pub can_go_back: bool,
}

/// A host after a yes.
pub struct StandLine {
    /// What people call it.
    pub name: String,
    /// Its page.
    pub href: String,
    /// Where it stands.
    pub stand: Stand,
}

impl Names {
    /// Lists hosts.
    pub fn of<'a>(
        hosts: impl ExactSizeIterator<Item = &'a Named>,
        note: impl Fn(&Named) -> Option<String>,
    ) -> Self {
        let more = hosts.len().saturating_sub(MOST_NAMES);
        let line = |host: &Named| HostName {
            name: spell_out(&host.name),
            href: host_href(&host.id),
            note: note(host),
        };
        Self { lines: hosts.take(MOST_NAMES).map(line).collect(), more }
    }
}

impl Listed {
    /// Cuts a list.
    pub fn of(title: impl Into<String>, tone: &'static str, mut lines: Vec<String>) -> Option<Self> {
        let more = lines.len().saturating_sub(MOST_LINES);
        lines.truncate(MOST_LINES);
        (!lines.is_empty()).then(|| Self { title: title.into(), tone, lines, more })
    }
}

/// Returns the hosts of a group for which a yes can be given now.
pub fn free_hosts<'a>(group: &'a Group, approvals: &[ApprovalRow]) -> Vec<&'a Named> {
    // The newest come first.
    let newest = |agent: &AgentId| {
        approvals.iter().find(|row| row.agent_id == *agent && row.is_about(&group.plan)).map(|row| row.status)
    };
    let is_free = |host: &&Named| {
        matches!(newest(&host.id), None | Some(ApprovalStatus::Withdrawn | ApprovalStatus::NotStarted))
    };
    group.hosts.iter().map(|(host, _)| host).filter(is_free).collect()
}

/// Returns the hosts that a yes to all of a group is for.
pub fn able_hosts<'a>(group: &'a Group, approvals: &[ApprovalRow], known: &Known) -> Vec<&'a Named> {
    let free = free_hosts(group, approvals);
    free.into_iter().filter(|host| known.inability(&host.id, &group.changes).is_none()).collect()
}

/// Stands for a set of hosts.
pub fn mark_of_hosts(hosts: &[&Named]) -> String {
    let mut hash = Sha256::new();
    for host in hosts {
        hash.update(host.id.as_str());
        hash.update(b"\n");
    }
    hex::encode(hash.finalize())
}

impl GroupCard {
    /// Puts a group together; `most` are the changes of most hosts, if it is not their group.
    pub fn of(group: &Group, most: Option<&Changes>, planned: &Planned, known: &Known, person: &str) -> Self {
        let approvals = &planned.approvals;
        let undo = least_sure(group);
        let differs = most.and_then(|most| {
            Listed::of(
                "How it differs from the plan of most hosts",
                "idle",
                differences(most, &group.changes),
            )
        });
        let is_empty = group.changes.is_empty();
        Self {
            heading: heading(group, most.is_some()),
            mark: group.plan.short().to_owned(),
            plan: group.plan.to_string(),
            hosts: Names::of(group.hosts.iter().map(|(host, _)| host), |host| known.away(&host.id)),
            are_many: group.hosts.len() > FEW,
            is_empty,
            facts: if is_empty { Vec::new() } else { facts(group, &undo) },
            differs,
            changes: ChangeTable::of(&group.changes, Some(&undo)),
            size: count(group.changes.all().len() as u64, "change", "changes"),
            lists: lists(group, known, planned.first.ask.restarts_services()),
            held: group.held.iter().map(|held| HeldLine::of(held, known)).collect(),
            yeses: yeses(group, planned, known, person),
            form: if is_empty || !group.held.is_empty() { None } else { form(group, approvals, known) },
        }
    }
}

fn heading(group: &Group, is_other: bool) -> String {
    let is_empty = group.changes.is_empty();
    match (group.hosts.as_slice(), is_other) {
        ([(host, _)], _) if is_empty => format!("Nothing to change on {}", spell_out(&host.name)),
        ([(host, _)], false) => format!("What would change on {}", spell_out(&host.name)),
        ([(host, _)], true) => format!("Another plan on {}", spell_out(&host.name)),
        (hosts, _) if is_empty => format!("Nothing to change on {} hosts", hosts.len()),
        (hosts, false) => format!("The same plan on {} hosts", hosts.len()),
        (hosts, true) => format!("Another plan, the same on {} hosts", hosts.len()),
    }
}

/// Returns the least sure source of each thing, over all hosts.
fn least_sure(group: &Group) -> BTreeMap<String, UndoSource> {
    let mut least = BTreeMap::<String, UndoSource>::new();
    for change in group.changes.all() {
        let worst = group.hosts.iter().map(|(_, on_host)| source(change, &on_host.undo)).max();
        let thing = format!("{}:{}", change.name, change.arch);
        least.insert(thing, worst.unwrap_or(UndoSource::Impossible));
    }
    least
}

fn facts(group: &Group, undo: &BTreeMap<String, UndoSource>) -> Vec<Fact> {
    let range = |values: Vec<i64>, word: fn(i64) -> String| {
        let (least, most) = (values.iter().min().copied(), values.iter().max().copied());
        let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
        let (one, other) = (word(least), word(most));
        if one == other { one } else { format!("{one} to {other} a host") }
    };
    let of = |value: fn(&OnHost) -> i64| group.hosts.iter().map(|(_, on_host)| value(on_host)).collect();
    let sources = || group.changes.all().iter().map(|change| source(change, undo));
    let certain = sources().filter(|source| source.is_certain()).count();
    let mut way_back = format!("{certain} of {} certain", group.changes.all().len());
    let others = [(UndoSource::Rebuilt, "rebuilt"), (UndoSource::Impossible, "impossible")];
    for (kind, word) in others {
        let number = sources().filter(|source| *source == kind).count();
        if number > 0 {
            way_back += &format!(", {number} {word}");
        }
    }
    let fetched = of(|on_host| i64::try_from(on_host.download_bytes).unwrap_or(i64::MAX));
    vec![
        fact("Plan", group.plan.short()),
        fact("Changes", group.changes.all().len().to_string()),
        fact("To fetch", range(fetched, |bytes| size(bytes.unsigned_abs()))),
        fact("On the disk", range(of(|on_host| on_host.disk_bytes), signed)),
        fact("Way back", way_back),
    ]
}

fn signed(bytes: i64) -> String {
    let word = size(bytes.unsigned_abs());
    match bytes {
        0 => "no difference".into(),
        1.. => format!("{word} more"),
        _ => format!("{word} less"),
    }
}

fn lists(group: &Group, known: &Known, restarts_services: bool) -> Vec<Listed> {
    let told = |lines: fn(&OnHost) -> Vec<String>| tally(&group.hosts, lines);
    let restart = told(|on_host| on_host.reboot.clone().into_iter().collect());
    let services = told(|on_host| {
        let line = |service: &Service| match &service.left_alone {
            Some(reason) => format!("`{}`: never restarted by a run: {reason}", service.name),
            None => format!("`{}`", service.name),
        };
        let unknown = on_host.services_unknown.iter().map(|reason| format!("not known: {reason}"));
        on_host.services.iter().map(line).chain(unknown).collect()
    });
    let services_title = match restarts_services {
        true => "Services that are restarted afterwards, for they run on what is replaced",
        false => "Services that run on what is replaced, and go on until somebody restarts them",
    };
    let files = told(|on_host| {
        let edited = on_host.config_files.iter().filter(|file| file.is_edited);
        edited.map(|file| format!("`{}` of {}: {}", file.path, file.package, file.outcome)).collect()
    });
    let left = told(|on_host| {
        on_host.left_out.iter().map(|left| format!("`{}`: {}", left.name, left.reason)).collect()
    });
    let containers =
        told(|on_host| on_host.containers.iter().map(|(name, how)| format!("`{name}`: {how}")).collect());
    let ground = told(|on_host| on_host.stands_on.iter().map(|thing| format!("`{thing}`")).collect());
    let mut unable = BTreeMap::<String, usize>::new();
    if !group.changes.is_empty() {
        let why = group.hosts.iter().filter_map(|(host, _)| known.inability(&host.id, &group.changes));
        why.for_each(|why| *unable.entry(why).or_default() += 1);
    }
    let behind = group.behind.iter().map(|one| {
        let place = if group.hosts.len() > 1 { format!(" on {}", one.host.name) } else { String::new() };
        spell_out(&format!("`{}`, container `{}`{place}", one.route, one.container))
    });
    [
        Listed::of("Public names behind it", "warn", behind.collect()),
        Listed::of("Cannot be carried out as things stand", "bad", counted(unable, group.hosts.len())),
        Listed::of("Wants a restart of the host", "warn", restart),
        Listed::of(services_title, "idle", services),
        Listed::of("Configuration files that somebody edited", "warn", files),
        Listed::of("This program itself stands on", "warn", ground),
        Listed::of("How containers are replaced", "idle", containers),
        Listed::of("Left as it is", "idle", left),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Collects what hosts say; of what not all say it is said how many do.
fn tally(hosts: &[(Named, Box<OnHost>)], lines: fn(&OnHost) -> Vec<String>) -> Vec<String> {
    let mut found = BTreeMap::<String, usize>::new();
    for (_, on_host) in hosts {
        for line in lines(on_host) {
            *found.entry(spell_out(&line)).or_default() += 1;
        }
    }
    counted(found, hosts.len())
}

fn counted(found: BTreeMap<String, usize>, all: usize) -> Vec<String> {
    let line = |(line, number): (String, usize)| match number {
        number if number == all => line,
        number => format!("{line} (on {number} of {all} hosts)"),
    };
    found.into_iter().map(line).collect()
}

fn form(group: &Group, approvals: &[ApprovalRow], known: &Known) -> Option<YesForm> {
    let free = free_hosts(group, approvals);
    if free.len() > FEW {
        let able = able_hosts(group, approvals, known);
        let label = format!("Approve for these {}", count(able.len() as u64, "host", "hosts"));
        return (!able.is_empty()).then(|| YesForm { ticks: Vec::new(), label, shown: mark_of_hosts(&able) });
    }
    let label = match free.as_slice() {
        [] => return None,
        [host] => format!("Approve for {}", spell_out(&host.name)),
        _ => "Approve for the ticked hosts".into(),
    };
    let tick = |host: &&Named| {
        let note = known.inability(&host.id, &group.changes).or_else(|| known.away(&host.id));
        Tick {
            mark: format!("host-{}-{}", group.plan.short(), host.id),
            id: host.id.to_string(),
            name: spell_out(&host.name),
            is_on: known.inability(&host.id, &group.changes).is_none(),
            note,
        }
    };
    Some(YesForm { shown: String::new(), ticks: free.iter().map(tick).collect(), label })
}

fn yeses(group: &Group, planned: &Planned, known: &Known, person: &str) -> Vec<YesCard> {
    let mut by_yes = Vec::<Vec<&ApprovalRow>>::new();
    for row in planned.approvals.iter().filter(|row| *row.shown_plan() == group.plan) {
        match by_yes.iter_mut().find(|rows| rows.first().is_some_and(|first| first.id == row.id)) {
            Some(rows) => rows.push(row),
            None => by_yes.push(vec![row]),
        }
    }
    // A yes can reach hosts whose own plan is another one.
    let hosts = planned.groups.iter().flat_map(|group| &group.hosts);
    let names: BTreeMap<&AgentId, &str> = hosts.map(|(host, _)| (&host.id, host.name.as_str())).collect();
    by_yes.iter().filter_map(|rows| yes(rows, &names, known, person)).collect()
}

fn yes(
    rows: &[&ApprovalRow],
    names: &BTreeMap<&AgentId, &str>,
    known: &Known,
    person: &str,
) -> Option<YesCard> {
    let first = rows.first()?;
    let mut hosts: Vec<StandLine> = rows
        .iter()
        .map(|row| StandLine {
            name: spell_out(names.get(&row.agent_id).copied().unwrap_or(row.agent_id.as_str())),
            href: host_href(&row.agent_id),
            stand: Stand::of(row, known),
        })
        .collect();
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    let can = |what: fn(&Stand) -> bool| hosts.iter().any(|line| what(&line.stand));
    let is_own = may_be_one_person(&first.given_by, person);
    let (awaits, can_go_back) = (can(|stand| stand.awaits_second), can(|stand| stand.can_go_back));
    let marks = marks(&hosts);
    let more = hosts.len().saturating_sub(MOST_NAMES);
    hosts.truncate(MOST_NAMES);
    let number = rows.len();
    Some(YesCard {
        id: first.id.to_string(),
        heading: format!("{} said yes for {}", first.given_by, count(number as u64, "host", "hosts")),
        at: Moment::of(first.given_at, known.now),
        detail: detail(first, awaits && is_own),
        marks,
        are_many: number > FEW,
        hosts,
        more,
        can_second: awaits && !is_own,
        can_go_back,
    })
}

fn detail(row: &ApprovalRow, is_own: bool) -> String {
    let until = row.expires_at.format("%Y-%m-%d %H:%M UTC");
    let mut parts = vec![match row.not_before {
        Some(at) => format!("counts from {} until {until}", at.format("%Y-%m-%d %H:%M UTC")),
        None => format!("counts until {until}"),
    }];
    parts.extend(mode_words(row.mode).map(str::to_owned));
    parts.push(match &row.given_from {
        Some(from) => format!("from {from}"),
        None => "on the master's own host".into(),
    });
    if let Some(by) = row.ordered_by.as_ref().filter(|by| row.needs_second && **by != row.given_by) {
        parts.push(format!("{by} said yes too"));
    }
    if is_own {
        parts.push("another person has to say yes too, not you".into());
    }
    parts.join(" · ")
}

/// Says how far a yes goes that is not exact.
pub fn mode_words(mode: ApprovalMode) -> Option<&'static str> {
    match mode {
        ApprovalMode::Exact => None,
        ApprovalMode::SameScope => Some("also to newer versions of the same (same scope)"),
        ApprovalMode::Skip => Some("hosts that differ are passed over (skip)"),
    }
}

fn marks(hosts: &[StandLine]) -> Vec<Badge> {
    let mut counts = BTreeMap::<(&str, &'static str), usize>::new();
    for line in hosts {
        *counts.entry((line.stand.badge.word.as_str(), line.stand.badge.tone)).or_default() += 1;
    }
    counts.into_iter().map(|((word, tone), number)| badge(tone, format!("{number} {word}"))).collect()
}

/// Returns a group's plan.
pub fn find<'a>(groups: &'a [Group], plan: &PlanId) -> Option<&'a Group> {
    groups.iter().find(|group| group.plan == *plan)
}
