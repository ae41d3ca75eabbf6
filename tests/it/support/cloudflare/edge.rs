//! What a visitor meets: the record of a name leads to a tunnel, the tunnel's first rule that fits to a service, and
//! the application of Access that fits best stands before it.
//!
//! Whether a connector is there is left out: what would be reachable once one comes counts as reachable.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::access::{LISTS, Policy};
use super::apps::{App, plain};
use super::state::{Record, State, Tunnel};

/// What somebody meets who asks for a name and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// No proxied record leads from the name to a tunnel.
    NoRecord,
    /// The tunnel has no rule for it; a tunnel that was never configured has none at all.
    NoRule,
    /// An answer without a service: a rule says so, or the tunnel is deleted (530).
    Status(u16),
    Reaches {
        service: String,
        behind: Option<Behind>,
        /// The connector lets nobody through whom Access did not.
        jwt_required: bool,
    },
}

/// The application that stands before a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    pub app: String,
    /// Which of its domains it was.
    pub domain: String,
    /// Decision and name of each of its policies, in order.
    pub policies: Vec<(String, String)>,
    /// One of them lets everybody through who signed in nowhere.
    pub lets_all_in: bool,
}

impl Edge {
    /// True if everybody reaches a service, without a word about who it is.
    pub fn is_open(&self) -> bool {
        let Self::Reaches { behind, jwt_required, .. } = self else { return false };
        !jwt_required && behind.as_ref().is_none_or(|behind| behind.lets_all_in)
    }
}

impl State {
    /// What somebody meets who asks for this, right now.
    pub fn edge(&self, hostname: &str, path: &str) -> Edge {
        let hostname = hostname.to_lowercase();
        let Some(tunnel) = self.tunnel_of(&hostname) else { return Edge::NoRecord };
        let Some(tunnel) = self.tunnels.iter().find(|known| known.id == tunnel && !known.is_deleted) else {
            return Edge::Status(530);
        };
        let Some(rule) = tunnel.first_rule(&hostname, path) else { return Edge::NoRule };
        let service = rule["service"].as_str().unwrap_or_default();
        if let Some(status) = service.strip_prefix("http_status:") {
            return Edge::Status(status.parse().expect("checked when it was put"));
        }
        let access = rule["originRequest"].get("access").unwrap_or(&tunnel.config["originRequest"]["access"]);
        Edge::Reaches {
            service: service.to_owned(),
            behind: self.app_before(&hostname, path).map(|(app, domain)| self.behind(app, domain)),
            jwt_required: access["required"] == true,
        }
    }

    /// The id of the tunnel that a name leads to. A wildcard record stands for names below it that have no record and
    /// lie below none that has.
    fn tunnel_of(&self, hostname: &str) -> Option<&str> {
        let tunnel = |record: &'_ Record| record.proxied && record.kind == "CNAME";
        let named = |name: &str| self.records.iter().filter(|record| record.name == name).collect::<Vec<_>>();
        let exists = |name: &str| {
            let below = format!(".{name}");
            self.records.iter().any(|record| record.name == name || record.name.ends_with(&below))
        };
        let mut found = named(hostname);
        let mut rest = hostname;
        while found.is_empty() && !exists(rest) {
            rest = rest.split_once('.')?.1;
            found = named(&format!("*.{rest}"));
        }
        found
            .into_iter()
            .filter(|record| tunnel(record))
            .find_map(|record| record.content.strip_suffix(".cfargotunnel.com"))
    }

    /// The application that fits best, with the domain by which it does: an exact host before a wildcard, then the
    /// longer path.
    fn app_before(&self, hostname: &str, path: &str) -> Option<(&App, String)> {
        let apps = self.access.apps.iter().filter(|app| app.has_domain());
        let domains = apps.flat_map(|app| app.uris().into_iter().map(move |uri| (app, plain(&uri))));
        domains.filter(|(_, domain)| covers(domain, hostname, path)).max_by_key(|(_, domain)| {
            let (host, path) = domain.split_once('/').unwrap_or((domain.as_str(), ""));
            (!host.contains('*'), host.len(), path.len())
        })
    }

    fn behind(&self, app: &App, domain: String) -> Behind {
        let linked = |id: &str| self.access.policies.iter().find(|policy| policy.id == id);
        let policies: Vec<&Policy> = app.links.iter().filter_map(|link| linked(&link.policy)).collect();
        let text = |policy: &Policy, key: &str| {
            policy.body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Behind {
            app: app.id.clone(),
            domain,
            policies: policies
                .iter()
                .map(|policy| (text(policy, "decision"), text(policy, "name")))
                .collect(),
            lets_all_in: policies.iter().any(|policy| self.lets_all_in(policy)),
        }
    }

    /// Bypass and service authentication come before all others, wherever they stand, and ask nobody to sign in.
    fn lets_all_in(&self, policy: &Policy) -> bool {
        let asks_nobody = policy
            .body
            .get("decision")
            .is_some_and(|decision| decision == "bypass" || decision == "non_identity");
        asks_nobody && self.is_everyone(&policy.body)
    }

    /// True if the rules fit a stranger from anywhere. Exceptions leave all others in, so they do not count.
    fn is_everyone(&self, rules: &Map<String, Value>) -> bool {
        let [include, require, _] =
            LISTS.map(|list| rules.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice));
        include.iter().any(|rule| self.fits_everyone(rule))
            && require.iter().all(|rule| self.fits_everyone(rule))
    }

    fn fits_everyone(&self, rule: &Value) -> bool {
        let group = self.access.groups.iter().find(|group| rule["group"]["id"] == group.id);
        rule.get("everyone").is_some()
            || rule["ip"]["ip"] == "0.0.0.0/0"
            || rule["ip"]["ip"] == "::/0"
            || group.is_some_and(|group| self.is_everyone(&group.body))
    }
}

impl Tunnel {
    fn first_rule(&self, hostname: &str, path: &str) -> Option<&Value> {
        self.config["ingress"].as_array()?.iter().find(|rule| {
            let host = rule["hostname"].as_str().unwrap_or_default();
            let fits_host = match host.strip_prefix('*') {
                Some(rest) => hostname.ends_with(rest),
                None => host.is_empty() || host == hostname,
            };
            fits_host && rule["path"].as_str().is_none_or(|pattern| fits_path(pattern, path))
        })
    }
}

/// True if a rule's pattern fits. Reading one costs much, and the same are asked again and again.
fn fits_path(pattern: &str, path: &str) -> bool {
    thread_local!(static READ: RefCell<HashMap<String, Option<Regex>>> = RefCell::default());
    READ.with_borrow_mut(|read| {
        let pattern = read.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        // One that cannot be read might fit anything.
        pattern.as_ref().is_none_or(|pattern| pattern.is_match(path))
    })
}

/// True if `domain` (`host[/path]`) is one for this. A star in the host stands for a part of one label; one in the path
/// for anything. A path covers all below it.
fn covers(domain: &str, hostname: &str, path: &str) -> bool {
    let (host, below) = match domain.split_once('/') {
        Some((host, path)) => (host, Some(format!("/{path}"))),
        None => (domain, None),
    };
    let mut ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let is_below = |wanted: String| ends.any(|end| is_like(&wanted, &path[..end], |_| true));
    is_like(host, hostname, |part| !part.contains('.')) && below.is_none_or(is_below)
}

/// True if `text` is `pattern`, in which a star stands for any text that `star` lets pass.
fn is_like(pattern: &str, text: &str, star: fn(&str) -> bool) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let mut cuts = (0..=rest.len()).filter_map(|at| rest.split_at_checked(at));
    cuts.any(|(skipped, rest)| star(skipped) && is_like(after, rest, star))
}
