//! What would become of each published name if Lightship took DockFlare's place.
//!
//! What is wanted is read by the very rules that a master goes by (labels, claims, zones, ingress, records, protection); here
//! it is only compared with what stands there, by nobody's row and with nothing that is ours.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::access::{
    ApplicationStep, FoundApplication, Need, WantedApplication, application_step, zone_application,
};
use super::super::difference::in_words;
use super::super::dns::DnsStep;
use super::super::event::RouteEvent;
use super::super::id::{AgentId, ContainerId, PolicyId};
use super::super::ingress::{Contact, Foreign, MergeOutcome, RuleId, merge};
use super::super::labels::{MAX_PROBLEMS, is_enabled, read_labels};
use super::super::limits::Limits;
use super::super::mirror::{Holder, Mirrored, Running, decide_routes};
use super::super::path::plain_path;
use super::super::route::{RouteKey, Service};
use super::super::wanted::Wanted;

/// What would become of something; the later one weighs more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It stays as it is.
    Kept,
    /// It is made, or written in another way.
    Change,
    /// Nobody could look.
    NotChecked,
    /// It is not published until a person does something.
    Refuse,
}

impl Verdict {
    /// For people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Change => "would change",
            Self::NotChecked => "could not be checked",
            Self::Refuse => "would refuse",
        }
    }
}

/// One side of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `labels`, `rule`, `record`, `protection`.
    pub about: &'static str,
    /// What would become of it.
    pub verdict: Verdict,
    /// In words.
    pub words: String,
}

impl Part {
    /// Makes one.
    pub fn new(about: &'static str, verdict: Verdict, words: impl Into<String>) -> Self {
        Self { about, verdict, words: words.into() }
    }
}

/// A published name, or a container that asks for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Name {
    /// Hostname and path; of labels that give none, the container.
    pub name: String,
    /// Who asks: a container with its host, or a rule of a person.
    pub asked_by: String,
    /// What would become of it: that of its heaviest part.
    pub verdict: Verdict,
    /// Its sides.
    pub parts: Vec<Part>,
}

impl Name {
    /// Makes one of its parts.
    pub fn new(name: impl Into<String>, asked_by: impl Into<String>, parts: Vec<Part>) -> Self {
        let verdict = parts.iter().map(|part| part.verdict).max().unwrap_or(Verdict::Kept);
        Self { name: name.into(), asked_by: asked_by.into(), verdict, parts }
    }
}

/// A host with its containers: the name of each, and its labels.
#[derive(Debug, Clone)]
pub struct Host {
    /// What it is called.
    pub name: String,
    /// Whose containers they are.
    pub agent: AgentId,
    /// The containers.
    pub containers: Vec<(String, BTreeMap<String, String>)>,
}

/// What the containers of a host ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asks {
    /// What they get, with the container that asks.
    pub given: Vec<(String, Service)>,
    /// What they do not get, and labels that do not say what they should.
    pub others: Vec<Name>,
}

/// Reads the labels of a host. Names in `held` are given already: to the host that is named, or to a rule of a person.
pub fn read_host(
    host: &Host,
    prefix: Option<&str>,
    held: &BTreeMap<String, Option<AgentId>>,
    now: DateTime<Utc>,
) -> Asks {
    let by = |container: &str| format!("container {container} on {}", host.name);
    let mut asks = Asks::default();
    let mut running = Vec::new();
    for (container, labels) in &host.containers {
        if !is_enabled(labels, prefix) {
            continue;
        }
        let read = read_labels(labels, prefix, MAX_PROBLEMS);
        let verdict = if read.services.is_empty() { Verdict::Refuse } else { Verdict::Change };
        let part = |words: String| Part::new("labels", verdict, words);
        let mut parts: Vec<Part> = read
            .problems
            .iter()
            .map(|problem| part(format!("`{}`: {}", problem.label, problem.reason)))
            .collect();
        if parts.is_empty() && read.services.is_empty() {
            parts.push(part("they ask for nothing".to_owned()));
        }
        if !parts.is_empty() {
            asks.others.push(Name::new(container, by(container), parts));
        }
        let (container_id, container_name) = (ContainerId::new(container.clone()), container.clone());
        running.push(Running { container_id, container_name, services: read.services });
    }
    let others = held.iter().filter_map(|(name, agent)| {
        Some((name.clone(), Holder { agent: agent.clone()?, given_up_at: None }))
    });
    let decided = decide_routes(&Mirrored {
        agent_id: &host.agent,
        enrolled: true,
        running: &running,
        routes: &[],
        ended: &BTreeMap::new(),
        others: &others.filter(|(_, holder)| holder.agent != host.agent).collect(),
        ruled: &held.iter().filter(|(_, agent)| agent.is_none()).map(|(name, _)| name.clone()).collect(),
        turns: &BTreeMap::new(),
        away: &BTreeMap::new(),
        limits: &Limits::default(),
        now,
        grace: TimeDelta::zero(),
    });
    for event in decided.events {
        if let RouteEvent::Claimed { container_name, service, .. } = event {
            asks.given.push((by(&container_name), service));
        }
    }
    for conflict in decided.conflicts {
        let part = Part::new("labels", Verdict::Refuse, conflict.reason.to_string());
        asks.others.push(Name::new(
            conflict.wanted.key.to_string(),
            by(&conflict.container_name),
            vec![part],
        ));
    }
    asks
}

/// Compares the rules of a tunnel with its configuration, once a person has agreed to what is in it. Fails if nobody could
/// write to it.
pub fn rule_parts(wanted: &Wanted, config: &Value) -> Result<BTreeMap<RouteKey, Part>, String> {
    let merged =
        merge(&[], &wanted.all_rules(), config, Contact::Confirmed).map_err(|error| error.to_string())?;
    let part = |service: &Service| (service.key.clone(), rule_part(service, &merged, config));
    Ok(wanted.services.iter().map(part).collect())
}

/// Names the rules of a tunnel that nobody here asks for: they stay as they are.
pub fn left_alone(wanted: &Wanted, config: &Value) -> Vec<Name> {
    let Ok(merged) = merge(&[], &wanted.all_rules(), config, Contact::Confirmed) else { return Vec::new() };
    let is_in_the_way =
        |id: &RuleId| merged.conflicts.iter().any(|conflict| conflict.wanted.hostname == id.hostname);
    let rules = merged.foreign.iter().filter_map(|foreign| match foreign {
        Foreign::Rule { id, service, .. } if !is_in_the_way(id) => Some((id, service)),
        _ => None,
    });
    rules
        .map(|(id, service)| {
            let words = format!(
                "nobody here asks for it, so it stays and leads to `{service}`; `lightship rules import` takes it over"
            );
            let name = if id.hostname.is_empty() { "every hostname" } else { &id.hostname };
            Name::new(format!("{name}{}", id.path), "the tunnel", vec![Part::new("rule", Verdict::Kept, words)])
        })
        .collect()
}

fn rule_part(service: &Service, merged: &MergeOutcome, config: &Value) -> Part {
    let id = RuleId::of(&service.key);
    if let Some(conflict) = merged.conflicts.iter().find(|conflict| conflict.wanted.id() == id) {
        let words = format!(
            "the tunnel leads it to `{}` and the labels to `{}`; put the labels right, or adopt the rule",
            conflict.service, service.service
        );
        return Part::new("rule", Verdict::Refuse, words);
    }
    if !merged.adopted.contains(&id) {
        return Part::new(
            "rule",
            Verdict::Change,
            format!("a rule to `{}` is added to the tunnel", service.service),
        );
    }
    if !merged.fresh.contains(&id) {
        return Part::new("rule", Verdict::Kept, format!("the tunnel leads it to `{}`", service.service));
    }
    let changes = match (rule_at(config, &id), rule_at(&merged.config, &id)) {
        (Some(before), Some(after)) => in_words(before, after),
        _ => Vec::new(),
    };
    Part::new("rule", Verdict::Change, format!("its rule is written in another way: {}", changes.join("; ")))
}

/// The rule for these very requests, however its path is written.
fn rule_at<'v>(config: &'v Value, id: &RuleId) -> Option<&'v Map<String, Value>> {
    let text = |rule: &'v Map<String, Value>, field: &str| {
        rule.get(field).and_then(Value::as_str).unwrap_or_default()
    };
    let meaning = |path: &str| if path.is_empty() { Some(String::new()) } else { plain_path(path) };
    let rules = config.get("ingress").and_then(Value::as_array)?;
    rules.iter().filter_map(Value::as_object).find(|rule| {
        let path = text(rule, "path");
        let is_path = path == id.path || meaning(path).is_some_and(|plain| meaning(&id.path) == Some(plain));
        text(rule, "hostname").eq_ignore_ascii_case(&id.hostname) && is_path
    })
}

/// Says what would become of a name's record.
pub fn record_part(steps: &[DnsStep]) -> Part {
    let part = |verdict, words: &str| Part::new("record", verdict, words);
    match steps.last() {
        Some(DnsStep::Keep { .. } | DnsStep::UseAsIs { .. }) => {
            part(Verdict::Kept, "it leads to the tunnel already")
        }
        Some(DnsStep::Create { .. }) => part(Verdict::Change, "a record is made"),
        Some(DnsStep::Update { .. }) => part(Verdict::Change, "the record is changed"),
        Some(DnsStep::Blocked { reason, .. }) => part(Verdict::Refuse, reason),
        Some(DnsStep::Delete { .. } | DnsStep::Forget { .. }) | None => {
            part(Verdict::NotChecked, "nothing is known of it")
        }
    }
}

/// Says what would become of what protects a route; `zone` is the name of its zone, as far as it is known.
pub fn protection_part(
    route: &RouteKey,
    need: &Result<Need, String>,
    zone: Option<&str>,
    found: &[FoundApplication],
) -> Part {
    let part = |verdict, words: String| Part::new("protection", verdict, words);
    match need {
        Err(reason) => part(Verdict::Refuse, format!("it is not published before it is protected: {reason}")),
        Ok(Need::Nothing) => {
            let domain = route.to_string();
            match found.iter().find(|app| app.stands_before(&domain)) {
                None => part(Verdict::Kept, "none, as before".to_owned()),
                Some(app) => part(
                    Verdict::Change,
                    format!(
                        "{} stays before it, but no label asks for it, so nobody would look after it; name its group in a label",
                        app.in_words()
                    ),
                ),
            }
        }
        Ok(Need::Zone) => match zone.ok_or("the name of its zone is not known".to_owned()) {
            Err(reason) => part(Verdict::NotChecked, reason),
            Ok(zone) => match zone_application(route, zone, found) {
                Ok(app) => part(Verdict::Kept, format!("{} covers it", app.in_words())),
                Err(reason) => part(Verdict::Refuse, reason),
            },
        },
        Ok(Need::Application(wanted)) => application_part(wanted, found),
    }
}

fn application_part(wanted: &WantedApplication, found: &[FoundApplication]) -> Part {
    // Nobody has made the policies yet; that they are all there is taken for granted.
    let ids: Vec<PolicyId> =
        wanted.policies.iter().map(|policy| PolicyId::new(policy.name.clone())).collect();
    let (verdict, words) = match application_step(wanted, &ids, &BTreeSet::new(), found, None) {
        ApplicationStep::Blocked { reason } => (Verdict::Refuse, reason),
        ApplicationStep::Keep { id, .. } => (Verdict::Kept, format!("application {id} is as it is to be")),
        ApplicationStep::Create { .. } | ApplicationStep::Update { .. } => {
            let policies = if ids.len() == 1 { "policy" } else { "policies" };
            (Verdict::Change, format!("an application is made, with {} {policies}", ids.len()))
        }
    };
    Part::new("protection", verdict, words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::access::{Account, AppOptions, need};
    use super::super::super::dns::{FoundRecord, WantedName, dns_steps};
    use super::super::super::id::{ApplicationId, GroupId, RecordId, TunnelId, ZoneId};
    use super::super::super::publish::PublishSettings;
    use super::super::super::wanted::{KnownZones, Published};
    use super::super::super::zone::Zone;
    use super::*;

    fn labels(hostname: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = [
            ("dockflare.enable", "true"),
            ("dockflare.hostname", hostname),
            ("dockflare.service", "http://app:80"),
        ];
        own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn host(containers: &[(&str, BTreeMap<String, String>)]) -> Host {
        let containers =
            containers.iter().map(|(name, labels)| ((*name).to_owned(), labels.clone())).collect();
        Host { name: "here".into(), agent: AgentId::new("here"), containers }
    }

    fn read(host: &Host, held: &BTreeMap<String, Option<AgentId>>) -> Asks {
        read_host(host, None, held, DateTime::from_timestamp(1_800_000_000, 0).unwrap())
    }

    fn wanted(asks: &Asks) -> Wanted {
        let zones = [Zone { id: ZoneId::new("z"), name: "example.com".into() }];
        let services = asks.given.iter().map(|(_, service)| service);
        Wanted::read(services, KnownZones::Listed(&zones), &PublishSettings::default(), &Published::default())
    }

    fn key(hostname: &str, path: &str) -> RouteKey {
        RouteKey { hostname: hostname.into(), path: path.into() }
    }

    #[test]
    fn labels_are_read_as_a_master_reads_them() {
        let host = host(&[
            ("app", labels("app.example.com", &[])),
            ("bad", labels("my app", &[])),
            ("late", labels("app.example.com", &[("dockflare.httpHostHeader", "other")])),
            ("taken", labels("nas.example.com", &[])),
            ("away", labels("db.example.com", &[])),
            ("off", BTreeMap::from([("dockflare.enabled".to_owned(), "true".to_owned())])),
        ]);
        let held = BTreeMap::from([
            ("nas.example.com".to_owned(), None),
            ("db.example.com".to_owned(), Some(AgentId::new("other"))),
        ]);
        let asks = read(&host, &held);
        let given: Vec<_> =
            asks.given.iter().map(|(by, service)| (by.as_str(), service.key.to_string())).collect();
        assert_eq!(given, [("container app on here", "app.example.com".to_owned())]);
        let refused: Vec<_> = asks.others.iter().map(|name| (name.name.as_str(), name.verdict)).collect();
        assert_eq!(
            refused,
            [
                ("bad", Verdict::Refuse),
                ("app.example.com", Verdict::Refuse),
                ("db.example.com", Verdict::Refuse),
                ("nas.example.com", Verdict::Refuse)
            ]
        );
        let words = |at: usize| &asks.others[at].parts[0].words;
        assert!(words(0).contains("dockflare.hostname"), "{}", words(0));
        assert!(words(1).contains("container `app`") && words(2).contains("agent `other`"));
        assert!(words(3).contains("a person made"));
    }

    #[test]
    fn rules_are_kept_changed_added_or_refused() {
        let host = host(&[
            ("a", labels("kept.example.com", &[])),
            ("b", labels("path.example.com", &[("dockflare.path", "/api")])),
            ("c", labels("new.example.com", &[])),
            ("d", labels("other.example.com", &[])),
        ]);
        let config = json!({"ingress": [
            {"hostname": "kept.example.com", "service": "http://app:80", "originRequest": {"connectTimeout": 5}},
            {"hostname": "path.example.com", "path": "/api", "service": "http://app:80"},
            {"hostname": "other.example.com", "service": "http://elsewhere:80"},
            {"hostname": "theirs.example.com", "service": "http://theirs:80"},
            {"service": "http_status:404"},
        ]});
        let asked = wanted(&read(&host, &BTreeMap::new()));
        let parts = rule_parts(&asked, &config).unwrap();
        let part = |hostname: &str, path: &str| &parts[&key(hostname, path)];
        assert_eq!(part("kept.example.com", "").verdict, Verdict::Kept);
        assert_eq!(part("new.example.com", "").verdict, Verdict::Change);
        let changed = part("path.example.com", "/api");
        assert_eq!(changed.verdict, Verdict::Change);
        assert!(changed.words.contains("path: `\"/api\"` becomes"), "{changed:?}");
        let refused = part("other.example.com", "");
        assert!(
            refused.verdict == Verdict::Refuse && refused.words.contains("`http://elsewhere:80`"),
            "{refused:?}"
        );
        let left: Vec<_> =
            left_alone(&asked, &config).into_iter().map(|name| (name.name, name.verdict)).collect();
        assert_eq!(left, [("theirs.example.com".to_owned(), Verdict::Kept)]);
        assert!(rule_parts(&Wanted::default(), &json!({"ingress": 7})).unwrap_err().contains("not a list"));
    }

    #[test]
    fn records_are_kept_made_or_in_the_way() {
        let (zone_id, tunnel_id) = (ZoneId::new("z"), TunnelId::new("t-1"));
        let name = WantedName { zone_id: zone_id.clone(), name: "app.example.com".into(), tunnel_id };
        let record = |content: &str| FoundRecord {
            zone_id: zone_id.clone(),
            id: RecordId::new("r"),
            kind: "CNAME".into(),
            name: "app.example.com".into(),
            content: content.into(),
            is_proxied: true,
            comment: None,
            keeper: None,
        };
        for (found, verdict) in [
            (vec![record("t-1.cfargotunnel.com")], Verdict::Kept),
            (vec![], Verdict::Change),
            (vec![record("t-2.cfargotunnel.com")], Verdict::Refuse),
        ] {
            let part = record_part(&dns_steps(std::slice::from_ref(&name), &found, &[], "lightship:x"));
            assert_eq!(part.verdict, verdict, "{found:?}: {part:?}");
        }
        assert_eq!(record_part(&[]).verdict, Verdict::NotChecked);
    }

    #[test]
    fn protection_is_never_taken_for_granted() {
        let route = key("app.example.com", "");
        let app = |domain: &str| FoundApplication {
            id: ApplicationId::new("x"),
            aud: None,
            domain: domain.into(),
            raw: json!({"type": "self_hosted", "name": format!("DockFlare-{domain}"), "domain": domain})
                .as_object()
                .unwrap()
                .clone(),
        };
        let wanted = WantedApplication {
            domain: "app.example.com".into(),
            name: "DockFlare-app.example.com".into(),
            options: AppOptions::default(),
            policies: Vec::new(),
        };
        let ask = super::super::super::access::AccessAsk::Groups { groups: vec![GroupId::new("staff")] };
        let unknown = need(&route, &ask, &BTreeMap::new(), &Account::default(), "m");
        let bypass = super::super::super::access::AccessAsk::Groups {
            groups: vec![GroupId::new("public-default-bypass")],
        };
        let known = need(&route, &bypass, &BTreeMap::new(), &Account::default(), "m");
        for (need, zone, found, verdict, words) in [
            (Ok(Need::Nothing), None, vec![], Verdict::Kept, "none"),
            (Ok(Need::Nothing), None, vec![app("app.example.com")], Verdict::Change, "no label asks"),
            (unknown, None, vec![], Verdict::Refuse, "group `staff` is not known"),
            (known.clone(), None, vec![], Verdict::Change, "is made, with 1 policy"),
            (known, None, vec![app("app.example.com")], Verdict::Refuse, "`DockFlare-app.example.com` (x)"),
            (Ok(Need::Application(wanted)), None, vec![], Verdict::Refuse, "0 of the 0 policies"),
            (Ok(Need::Zone), Some("example.com"), vec![app("*.example.com")], Verdict::Kept, "covers it"),
            (Ok(Need::Zone), Some("example.com"), vec![], Verdict::Refuse, "there is none"),
            (Ok(Need::Zone), None, vec![], Verdict::NotChecked, "not known"),
        ] {
            let part = protection_part(&route, &need, zone, &found);
            assert!(part.verdict == verdict && part.words.contains(words), "{need:?}: {part:?}");
        }
    }

    #[test]
    fn the_heaviest_part_is_what_becomes_of_a_name() {
        let part = |verdict| Part::new("rule", verdict, "x");
        let of = |parts: &[Verdict]| Name::new("a", "b", parts.iter().copied().map(part).collect()).verdict;
        assert_eq!(of(&[]), Verdict::Kept);
        assert_eq!(of(&[Verdict::Kept, Verdict::Change]), Verdict::Change);
        assert_eq!(of(&[Verdict::NotChecked, Verdict::Change]), Verdict::NotChecked);
        assert_eq!(of(&[Verdict::Refuse, Verdict::NotChecked]), Verdict::Refuse);
    }
}
