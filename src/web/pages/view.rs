//! What templates show: plain words, made of what is known. No template decides anything.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::actors::master::Source;
use crate::db::read::{AgentView, RouteStatusRow, TunnelObservedRow};
use crate::domain::agent::AgentStatus;
use crate::domain::publish::PublicState;
use crate::domain::route::{Route, RouteState};
use crate::domain::tunnel::TunnelHealth;
use crate::web::picture::{Presence, route_word};

/// A word with its tone: `good`, `busy`, `warn`, `bad` or `idle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    /// How it looks.
    pub tone: &'static str,
    /// What it says.
    pub word: String,
}

/// Makes a badge.
pub fn badge(tone: &'static str, word: impl Into<String>) -> Badge {
    Badge { tone, word: word.into() }
}

/// A time, exactly and as a person says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// RFC 3339.
    pub exact: String,
    /// `12 s ago`.
    pub ago: String,
}

impl Moment {
    /// Says how long ago `at` was.
    pub fn of(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self { exact: at.to_rfc3339_opts(SecondsFormat::Secs, true), ago: ago(now - at) }
    }
}

fn ago(gone: TimeDelta) -> String {
    match gone.num_seconds() {
        ..2 => "now".into(),
        secs @ 2..120 => format!("{secs} s ago"),
        secs @ 120..7_200 => format!("{} min ago", secs / 60),
        secs @ 7_200..172_800 => format!("{} h ago", secs / 3_600),
        secs => format!("{} days ago", secs / 86_400),
    }
}

/// Something with a title and a text.
pub struct Fact {
    /// What it is.
    pub title: String,
    /// What there is to say.
    pub text: String,
}

/// Makes a fact.
pub fn fact(title: &str, text: impl Into<String>) -> Fact {
    Fact { title: title.into(), text: text.into() }
}

/// Something that needs a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub title: String,
    /// What is wrong, and the way out.
    pub detail: String,
    /// Where to do something about it.
    pub href: Option<String>,
    /// What the link says.
    pub link: &'static str,
}

/// A sentence as HTML: what stands between backticks is shown as code, and it begins with a capital.
pub fn said(text: impl AsRef<str>) -> String {
    let parts: Vec<&str> = text.as_ref().split('`').collect();
    let mut html = String::with_capacity(text.as_ref().len() + 32);
    for (place, part) in parts.iter().enumerate() {
        let is_closed = place + 1 < parts.len();
        match (place % 2 == 1, is_closed) {
            (true, true) => {
                html.push_str("<code>");
                escape(part, &mut html);
                html.push_str("</code>");
            }
            (true, false) => {
                html.push('`');
                escape(part, &mut html);
            }
            (false, _) if place == 0 => escape(&capital(part), &mut html),
            (false, _) => escape(part, &mut html),
        }
    }
    html
}

fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| format!("{}{}", first.to_ascii_uppercase(), rest.as_str()))
}

fn escape(text: &str, html: &mut String) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
}

/// An agent on a line.
pub struct AgentLine {
    /// Its name.
    pub name: String,
    /// Its page.
    pub href: String,
    /// Tunnel, routes, containers.
    pub detail: String,
    /// Where it stands.
    pub state: Badge,
    /// When it was last heard.
    pub heard: Option<Moment>,
    /// What a person should know.
    pub warning: Option<String>,
}

impl AgentLine {
    /// Puts an agent on a line.
    pub fn of(view: &AgentView, presence: Presence, hosts: Option<[Source; 2]>, now: DateTime<Utc>) -> Self {
        let agent = &view.agent;
        let mut parts = Vec::new();
        let health = view.tunnel.as_ref().map(|observed| tunnel_badge(observed).word);
        match (&agent.tunnel_name, health) {
            (Some(name), Some(health)) => parts.push(format!("tunnel {name} {health}")),
            (Some(name), None) => parts.push(format!("tunnel {name}")),
            (None, Some(health)) => parts.push(format!("tunnel {health}")),
            (None, None) => {}
        }
        parts.push(count(view.routes, "route", "routes"));
        parts.push(count(view.containers, "container", "containers"));
        Self {
            name: agent.display_name.clone(),
            href: format!("/agents/{}", agent.id),
            detail: parts.join(" · "),
            state: agent_badge(agent.status, presence.is_online),
            heard: presence.last_seen.map(|at| Moment::of(at, now)),
            warning: hosts.map(two_hosts).or_else(|| agent.problem.clone()),
        }
    }
}

/// Says where an agent stands.
pub fn agent_badge(status: AgentStatus, is_online: bool) -> Badge {
    match (status, is_online) {
        (AgentStatus::Enrolled, true) => badge("good", "online"),
        (AgentStatus::Enrolled, false) => badge("bad", "offline"),
        (AgentStatus::Pending, true) => badge("busy", "waits to be enrolled"),
        (AgentStatus::Pending, false) => badge("idle", "pending, offline"),
        (AgentStatus::Revoked, _) => badge("bad", "key revoked"),
        (AgentStatus::Removed, _) => badge("idle", "removed"),
    }
}

/// Says how an agent sees its tunnel.
pub fn tunnel_badge(observed: &TunnelObservedRow) -> Badge {
    match observed.report.health {
        TunnelHealth::Running => badge("good", "running"),
        TunnelHealth::Degraded => badge("warn", "degraded"),
        TunnelHealth::Unknown => badge("idle", "state unknown"),
        TunnelHealth::Restarting => badge("warn", "restarting"),
        TunnelHealth::Failed => badge("bad", "failed"),
        TunnelHealth::Stopped => badge("idle", "stopped"),
    }
}

/// Says that two hosts use one key.
pub fn two_hosts([one, other]: [Source; 2]) -> String {
    let place = |source: &Source| match &source.host {
        Some(host) => format!("{} ({host})", source.peer),
        None => source.peer.to_string(),
    };
    format!(
        "Two hosts use this key: {} and {}. Generate another key and give it to one of them.",
        place(&one),
        place(&other)
    )
}

/// A route on a line.
pub struct RouteLine {
    /// Public name with its path.
    pub name: String,
    /// Its address, if it is live.
    pub href: Option<String>,
    /// What it leads to.
    pub service: String,
    /// The container behind it.
    pub container: String,
    /// Whose it is.
    pub agent: String,
    /// That agent's page.
    pub agent_href: String,
    /// Where it stands.
    pub state: Badge,
    /// Until when it stays.
    pub due: Option<String>,
    /// Why it stands there.
    pub reason: Option<String>,
    /// How the reason looks: on a live route it is a warning.
    pub reason_tone: &'static str,
    /// Last answer of Cloudflare.
    pub cloudflare: Option<String>,
}

impl RouteLine {
    /// Puts a route on a line.
    pub fn of(route: &Route, status: Option<&RouteStatusRow>, agent: Option<&str>) -> Self {
        let word = route_word(route, status);
        let is_link = word == "published" && !route.spec.key.hostname.starts_with('*');
        let due = match &route.state {
            RouteState::PendingDeletion { due_at, .. } => Some(due_at.format("%H:%M:%S UTC").to_string()),
            RouteState::Active => None,
        };
        let state = route_badge(word);
        Self {
            reason_tone: if state.tone == "good" { "warn" } else { state.tone },
            name: route.spec.key.to_string(),
            href: is_link.then(|| format!("https://{}", route.spec.key)),
            service: route.spec.service.clone(),
            container: route.container_name.clone(),
            agent: agent.unwrap_or(route.agent_id.as_str()).to_owned(),
            agent_href: format!("/agents/{}", route.agent_id),
            state,
            due,
            reason: status.and_then(|status| status.reason.clone()),
            cloudflare: status.and_then(|status| status.answer.clone()),
        }
    }
}

/// Says where a route stands, for a person.
pub fn route_badge(word: &str) -> Badge {
    match PublicState::parse(word) {
        Some(PublicState::Published) => badge("good", "live"),
        Some(PublicState::Planned) => badge("idle", "planned"),
        Some(PublicState::Publishing) => badge("busy", "being published"),
        Some(PublicState::Waiting) => badge("warn", "waits for you"),
        Some(PublicState::Blocked) => badge("bad", "not published"),
        Some(PublicState::PendingDeletion) => badge("warn", "container gone"),
        Some(PublicState::Held) => badge("warn", "removal held"),
        Some(state @ (PublicState::Conflict | PublicState::Failed)) => badge("bad", state.as_str()),
        None => badge("warn", word.replace('_', " ")),
    }
}

/// True for a state in which a route does not work and will not by itself.
pub fn is_bad(word: &str) -> bool {
    PublicState::parse(word).is_some_and(PublicState::is_bad)
}

/// `1 route`, `2 routes`.
pub fn count(number: impl Into<u64>, one: &str, many: &str) -> String {
    match number.into() {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        for (secs, expected) in [
            (-5, "now"),
            (1, "now"),
            (2, "2 s ago"),
            (119, "119 s ago"),
            (120, "2 min ago"),
            (7_200, "2 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(ago(TimeDelta::seconds(secs)), expected);
        }
    }

    #[test]
    fn a_sentence_shows_code_and_nothing_of_a_stranger_is_html() {
        for (text, html) in [
            ("the disk is full", "The disk is full"),
            ("", ""),
            ("its `a.*` labels; set `B=1`", "Its <code>a.*</code> labels; set <code>B=1</code>"),
            ("`x` is taken", "<code>x</code> is taken"),
            ("an open ` stays", "An open ` stays"),
            ("`<b>` & \"it's\"", "<code>&lt;b&gt;</code> &amp; &quot;it&#39;s&quot;"),
            ("`a<` `<i>", "<code>a&lt;</code> `&lt;i&gt;"),
        ] {
            assert_eq!(said(text), html, "{text}");
        }
    }

    #[test]
    fn an_unknown_state_is_shown_and_not_hidden() {
        assert_eq!(route_badge("made_tomorrow"), badge("warn", "made tomorrow"));
        assert_eq!(route_badge("conflict"), badge("bad", "conflict"));
    }
}
