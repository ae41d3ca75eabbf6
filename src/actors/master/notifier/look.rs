//! What is the case now: who is offline, what is down, in conflict, open to everybody or about to end. Each kind of thing
//! has its function here; what could not be looked at is left out, and then nothing is said of it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::db::access::list_groups;
use crate::db::agents::agent_names;
use crate::db::conditions::{conflicts, hearings, tunnel_troubles, tunnel_words};
use crate::db::manual_rules::{list_rules, status_of_rules};
use crate::db::read::route_views;
use crate::db::tokens::list_tokens;
use crate::domain::access::{Group, system_groups};
use crate::domain::doctor::Answer;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::notify::{How, Known, Seen, Topic};
use crate::domain::publish::{Cause, PublicState};
use crate::domain::route::{RouteState, Service};
use crate::domain::token::TokenState;
use crate::domain::tunnel::TunnelHealth;

/// Rows that are read at a time.
const ROWS: u64 = 500;
/// How long before its end a token is spoken of, if its life is long enough.
const SOON: TimeDelta = TimeDelta::hours(24);
/// The same for the token of Cloudflare, which takes a person at another place.
const CLOUDFLARE_SOON: TimeDelta = TimeDelta::days(14);
/// How often Cloudflare is asked about it.
const ASK_EVERY: TimeDelta = TimeDelta::hours(12);
/// Registration tokens that are looked at, the newest.
const TOKENS: u64 = 1_000;
/// The one token of Cloudflare.
const CLOUDFLARE_TOKEN: &str = "cloudflare-api-token";

/// What is known of the token for Cloudflare; asked for twice a day.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TokenSight {
    asked_at: Option<DateTime<Utc>>,
    /// When it ends; none: never, or not known.
    expires: Option<DateTime<Utc>>,
    is_known: bool,
}

/// What was seen.
pub(super) struct Sight {
    pub(super) seen: Vec<Seen>,
    pub(super) looked_at: BTreeSet<Topic>,
}

/// Looks at everything, at each single route only if `at_routes`; of what is `known` it is said, too, that it is not so any
/// more.
pub(super) async fn look(
    env: &Env,
    token: TokenSight,
    known: &[Known],
    at_routes: bool,
) -> Result<Sight, MasterError> {
    let mut looked_at = BTreeSet::from(Topic::ALL);
    let mut seen = agents(env, known).await?;
    seen.extend(tunnels(env, known).await?);
    seen.extend(in_conflict(env).await?);
    if at_routes {
        seen.extend(open_routes(env).await?);
    } else {
        looked_at.remove(&Topic::Unprotected);
    }
    seen.extend(registration_tokens(env).await?);
    seen.extend(token.seen(env));
    Ok(Sight { seen, looked_at })
}

fn subjects<'a>(known: &'a [Known], topics: &'a [Topic]) -> impl Iterator<Item = &'a str> {
    known.iter().filter(|known| topics.contains(&known.topic)).map(|known| known.subject.as_str())
}

async fn agents(env: &Env, known: &[Known]) -> Result<Vec<Seen>, MasterError> {
    let also: BTreeSet<AgentId> = subjects(known, &[Topic::AgentOffline]).map(AgentId::new).collect();
    let seen =
        hearings(&env.db, &also).await?.into_iter().filter(|agent| agent.status.is_heard()).map(|agent| {
            let (how, detail) = match agent.offline_since {
                Some(since) => {
                    (How::Yes, Some(format!("not heard since {}", since.format("%Y-%m-%d %H:%M UTC"))))
                }
                None => (How::No, None),
            };
            Seen { topic: Topic::AgentOffline, subject: agent.id.to_string(), name: agent.name, detail, how }
        });
    Ok(seen.collect())
}

async fn tunnels(env: &Env, known: &[Known]) -> Result<Vec<Seen>, MasterError> {
    let also: BTreeSet<TunnelId> =
        subjects(known, &[Topic::TunnelDown, Topic::Drift]).map(TunnelId::new).collect();
    let (mut seen, mut spoken_of) = (Vec::new(), BTreeSet::new());
    for word in tunnel_words(&env.db, &also).await? {
        spoken_of.insert(word.tunnel_id.clone());
        if word.report.health == TunnelHealth::Stopped {
            // Neither down nor up: none is wanted there.
            continue;
        }
        let is_about = word.report.is_about(&word.tunnel_id, word.tunnel_name.as_deref());
        let how = match word.report.health {
            // An old word says nothing.
            _ if word.agent.offline_since.is_some() || !is_about => How::Maybe,
            health if health.is_cut_off() => How::Yes,
            TunnelHealth::Unknown => How::Maybe,
            _ => How::No,
        };
        seen.push(Seen {
            topic: Topic::TunnelDown,
            subject: word.tunnel_id.to_string(),
            name: word.tunnel_name.unwrap_or_else(|| word.tunnel_id.to_string()),
            detail: Some(match (how, word.report.reason) {
                (How::Yes, Some(reason)) => format!("{}: {reason}", word.agent.name),
                _ => word.agent.name,
            }),
            how,
        });
    }
    for (row, name) in tunnel_troubles(&env.db, &also).await? {
        let name = name.unwrap_or_else(|| row.tunnel_id.to_string());
        let topic = |topic, how| Seen {
            topic,
            subject: row.tunnel_id.to_string(),
            name: name.clone(),
            detail: row.reason.clone(),
            how,
        };
        match row.cause {
            Some(Cause::TunnelGone) => seen.push(topic(Topic::TunnelDown, How::Yes)),
            Some(Cause::WrittenBetween) => seen.push(topic(Topic::Drift, How::Yes)),
            _ => seen.push(topic(Topic::Drift, How::No)),
        }
        // Whether one serves is for who runs its connector to say.
        if row.cause != Some(Cause::TunnelGone) && !spoken_of.contains(&row.tunnel_id) {
            seen.push(topic(Topic::TunnelDown, How::No));
        }
    }
    Ok(seen)
}

async fn in_conflict(env: &Env) -> Result<Vec<Seen>, MasterError> {
    let rows = conflicts(&env.db).await?;
    let askers: Vec<AgentId> = rows.iter().filter_map(|row| row.agent_id.clone()).collect();
    let names = agent_names(&env.db, &askers).await?;
    let seen = rows.into_iter().map(|row| {
        let whose = row.agent_id.as_ref().map_or("", AgentId::as_str);
        let name = row.agent_id.as_ref().and_then(|id| names.get(id));
        let asker = name.map(|name| format!("asked for by {name}"));
        let said = [asker, row.reason].into_iter().flatten().collect::<Vec<_>>().join("; ");
        Seen {
            topic: Topic::Conflict,
            subject: format!("{whose}|{}", row.key),
            name: row.key.to_string(),
            detail: Some(said).filter(|said| !said.is_empty()),
            how: How::Yes,
        }
    });
    Ok(seen.collect())
}

async fn open_routes(env: &Env) -> Result<Vec<Seen>, MasterError> {
    let mut groups: Vec<Group> = list_groups(&env.db).await?.into_iter().map(|row| row.group).collect();
    groups.extend(system_groups());
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let views = route_views(&env.db, after.as_ref(), ROWS).await?;
        for view in &views {
            let route = &view.route.route;
            // One that is about to go is as open as before.
            let is_active = route.state == RouteState::Active;
            let state = view.status.as_ref().map(|row| row.state.as_str()).filter(|_| is_active);
            seen.extend(open_route(&route.spec, state, &groups));
        }
        after = views.last().map(|view| view.route.route.spec.key.clone());
        if (views.len() as u64) < ROWS {
            break;
        }
    }
    let rules = list_rules(&env.db, None, crate::db::ALL).await?;
    let names: Vec<String> = rules.iter().map(|row| row.rule.spec.key.hostname.clone()).collect();
    let said = status_of_rules(&env.db, &names).await?;
    for row in &rules {
        let spec = &row.rule.spec;
        let state = said.iter().find(|said| said.key == spec.key).map(|said| said.state.as_str());
        seen.extend(open_route(spec, state, &groups));
    }
    Ok(seen)
}

fn open_route(spec: &Service, state: Option<&str>, groups: &[Group]) -> Option<Seen> {
    let because = spec.access.open_because(groups)?;
    let is_reached = state == Some(PublicState::Published.as_str());
    Some(Seen {
        topic: Topic::Unprotected,
        subject: spec.key.to_string(),
        name: spec.key.to_string(),
        detail: Some(because.to_owned()),
        how: if is_reached { How::Yes } else { How::Maybe },
    })
}

async fn registration_tokens(env: &Env) -> Result<Vec<Seen>, MasterError> {
    let now = env.now();
    let seen = list_tokens(&env.db, TOKENS).await?.into_iter().filter_map(|row| {
        // Of one that is made for a day nobody wants to hear at once.
        let lead = SOON.min((row.expires_at - row.created_at) / 4);
        let is_soon = row.state(now) == TokenState::Active && row.expires_at - now <= lead;
        is_soon.then(|| Seen {
            topic: Topic::KeyExpiring,
            subject: format!("registration-token/{}", row.id),
            name: format!("registration token {}", row.label),
            detail: Some(format!(
                "it expires {}, with {} of {} seats taken",
                row.expires_at.format("%Y-%m-%d %H:%M UTC"),
                row.seats_used,
                row.max_seats
            )),
            how: How::Yes,
        })
    });
    Ok(seen.collect())
}

impl TokenSight {
    /// True if Cloudflare is to be asked.
    pub(super) fn is_due(self, env: &Env) -> bool {
        let now = env.now();
        env.account.is_connected() && self.asked_at.is_none_or(|at| now - at >= ASK_EVERY || at > now)
    }

    /// Notes that it is asked now.
    pub(super) fn begin(&mut self, env: &Env) {
        self.asked_at = Some(env.now());
    }

    /// Asks; what was known before stays if there is no answer.
    pub(super) async fn asked(mut self, env: &Env) -> Self {
        if let Ok(facts) = env.account.look_at_token().await
            && let Answer::Told(said) = facts.said
        {
            (self.expires, self.is_known) = (said.expires, true);
        }
        self
    }

    fn seen(self, env: &Env) -> Option<Seen> {
        let now = env.now();
        let how = match self.expires {
            Some(at) if at - now <= CLOUDFLARE_SOON => How::Yes,
            _ if self.is_known => How::No,
            _ => How::Maybe,
        };
        let ends = |at: DateTime<Utc>| {
            format!(
                "it expires {}; nothing is published or withdrawn after that",
                at.format("%Y-%m-%d %H:%M UTC")
            )
        };
        env.account.is_connected().then(|| Seen {
            topic: Topic::KeyExpiring,
            subject: CLOUDFLARE_TOKEN.into(),
            name: "the API token for Cloudflare".into(),
            detail: self.expires.map(ends),
            how,
        })
    }
}
