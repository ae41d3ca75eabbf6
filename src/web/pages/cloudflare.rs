//! The account at Cloudflare: how many calls are left, which zones there are, and each tunnel with its connectors. All of it
//! is known here: nobody is asked for a page.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{DateTime, Utc};

use super::filter::{self, Filter, Gathering, Shown, Wanted};
use super::overview::fragment_of;
use super::view::{Badge, Fact, Moment, badge, count, fact};
use super::{Shell, SignedIn, page, part};
use crate::actors::master::{AccountStatus, AccountView, LastZones};
use crate::db::read::{self, AgentRow, TunnelConnectorsRow, TunnelRow, TunnelStatusRow, count_owned};
use crate::domain::connector::Reach;
use crate::domain::connector_version::newer;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::publish::TunnelState;
use crate::domain::text::spell_out;
use crate::domain::update::Finding;
use crate::web::connectors::{ConnectorWords, in_words, scanned};
use crate::web::error::ApiError;
use crate::web::listings::next;
use crate::web::picture::{Members, ROWS};
use crate::web::query::Query;
use crate::web::rules::reach_without_agent;
use crate::web::state::WebState;

/// Where the page is, and where its live part.
const PLACES: (&str, &str) = ("/cloudflare", "/fragments/cloudflare");
/// Most zones that are shown.
const ZONES: usize = 500;
/// What may be made at once, and what comes back each second.
const ALLOWANCE: &str =
    "of 300 at once; 3 more come back each second. Cloudflare allows 1,200 calls in 5 minutes";

#[derive(Template)]
#[template(path = "cloudflare.html")]
struct CloudflarePage {
    shell: Shell,
    filter: Option<Filter>,
    fragment: String,
    live: String,
}

#[derive(Template)]
#[template(path = "cloudflare_live.html")]
struct Live {
    /// Why nothing is published, if that is so.
    problem: Option<String>,
    account: Vec<Fact>,
    budget: Vec<Fact>,
    waits: Badge,
    zones: ZoneCard,
    tunnels: Shown<TunnelLine>,
}

/// The zones of the account.
struct ZoneCard {
    count: String,
    names: Vec<(String, String)>,
    more: usize,
    note: Option<String>,
    age: Option<String>,
}

/// A tunnel on a line.
struct TunnelLine {
    id: String,
    name: String,
    whose: String,
    /// That agent's page.
    href: Option<String>,
    reach: Badge,
    state: Option<Badge>,
    reason: Option<String>,
    connectors: Vec<ConnectorWords>,
    listed: Option<Moment>,
    version: String,
    is_old: bool,
}

impl filter::Line for TunnelLine {
    fn texts(&self) -> Vec<&str> {
        vec![&self.name, &self.id, &self.whose]
    }

    fn word(&self) -> Option<&str> {
        Some(&self.reach.word)
    }
}

/// `GET /cloudflare`.
#[utoipa::path(get, path = "/cloudflare", tag = "pages", params(Wanted), responses((status = 200), (status = 303)),
    security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    let (live, total) = render(&state, wanted.clone()).await?;
    let words = Reach::ALL.into_iter().map(|reach| reach_badge(Some(reach)).word).collect();
    page(&CloudflarePage {
        shell: Shell::new(&person, PLACES.0),
        filter: wanted.filter(PLACES.0, "name or id of a tunnel, or an agent", words, total),
        fragment: wanted.at(PLACES.1),
        live,
    })
}

/// `GET /fragments/cloudflare`: its live part.
#[utoipa::path(get, path = "/fragments/cloudflare", tag = "pages", params(Wanted), responses((status = 200)),
    security(("session" = [])))]
pub async fn fragment(
    _: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&state, wanted).await?.0))
}

/// Returns the live part, and how many tunnels there are.
async fn render(state: &WebState, wanted: Wanted) -> Result<(String, usize), ApiError> {
    let (view, all) = (state.master().cloudflare_view().await, state.clone());
    let making = async move {
        let tunnels = tunnels(&all, wanted).await?;
        let total = tunnels.total();
        let live = Live {
            problem: problem(&all, view.as_ref()),
            account: account(&all, view.as_ref()).await?,
            budget: view.as_ref().map(budget).unwrap_or_default(),
            waits: waits(view.as_ref().map(|view| &view.status)),
            zones: zones(view.as_ref()),
            tunnels: tunnels.page(PLACES.0),
        };
        Ok((part(&live)?, total))
    };
    state.listings().make(making).await
}

fn problem(state: &WebState, view: Option<&AccountView>) -> Option<String> {
    if !state.master().has_cloudflare() {
        return Some("there is no token for Cloudflare: routes are planned and not published".into());
    }
    let refusal =
        || state.master().cloudflare_refusal().map(|words| format!("Cloudflare refuses the token: {words}"));
    let away = || {
        view.is_none().then(|| "what the master knows of the account could not be read just now".to_owned())
    };
    refusal().or_else(away)
}

async fn account(state: &WebState, view: Option<&AccountView>) -> Result<Vec<Fact>, ApiError> {
    let chosen = view.map(|view| view.account.to_string()).or_else(|| state.settings().account_id.clone());
    let owned = count_owned(&state.master().db).await.map_err(ApiError::internal)?;
    let mut facts = vec![fact("Account", chosen.unwrap_or_else(|| "none is chosen".into()))];
    if let Some(view) = view {
        let every = view.compare_every;
        let words =
            if every.is_zero() { "after a start".to_owned() } else { format!("every {}", said(every)) };
        facts.push(fact("Compared with Cloudflare", words));
    }
    facts.push(fact("Tunnels known here", owned.tunnels.to_string()));
    facts.push(fact("DNS records of ours", owned.records.to_string()));
    facts.push(fact("Access applications of ours", owned.applications.to_string()));
    facts.push(fact("Access policies of ours", owned.policies.to_string()));
    Ok(facts)
}

fn budget(view: &AccountView) -> Vec<Fact> {
    let blocked =
        view.budget.blocked_for.map(|wait| format!("Cloudflare asked to make none for {}", said(wait)));
    vec![
        fact("Calls left now", format!("{} {ALLOWANCE}", view.budget.left)),
        fact(
            "Of those in the background",
            format!("{}; looks that can wait use at most a quarter", view.budget.background_left),
        ),
        fact("Held back", blocked.unwrap_or_else(|| "no".into())),
    ]
}

/// What waits, in a word.
fn waits(status: Option<&AccountStatus>) -> Badge {
    let Some(status) = status else { return badge("idle", "nothing is under way") };
    let tunnels = |number: usize| count(number as u64, "tunnel", "tunnels");
    match status {
        status if status.failing > 0 => badge("bad", format!("{} failing", tunnels(status.failing))),
        status if status.running > 0 => badge("busy", format!("{} worked on now", tunnels(status.running))),
        status if status.busy > 0 => {
            badge("busy", format!("{} waiting for their turn", tunnels(status.busy)))
        }
        status if status.unchecked > 0 => {
            badge("warn", format!("{} to be looked at", tunnels(status.unchecked)))
        }
        _ => badge("good", "nothing waits"),
    }
}

fn zones(view: Option<&AccountView>) -> ZoneCard {
    let mut card = ZoneCard { count: String::new(), names: Vec::new(), more: 0, note: None, age: None };
    let Some(view) = view else {
        card.note = Some("they are not known".into());
        return card;
    };
    let by_setting = view.default_zone.as_ref().map(|zone| {
        let name = zone.name.as_deref().map_or_else(|| "its name is not known".to_owned(), spell_out);
        format!("the zone by setting is `{}` ({name})", zone.id)
    });
    let with_setting = |words: &str| match &by_setting {
        Some(zone) => format!("{words}; {zone}"),
        None => words.to_owned(),
    };
    card.note = match &view.zones {
        LastZones::NotRead => {
            Some(with_setting("they were not read yet: the first name that is published needs them"))
        }
        LastZones::BeingRead => Some("they are being read now".into()),
        LastZones::Failed(reason) => Some(with_setting(&format!("they could not be read: {reason}"))),
        LastZones::NotAllowed => Some(with_setting("the token may not list them")),
        LastZones::Listed { zones, age } => {
            card.count = zones.len().to_string();
            card.more = zones.len().saturating_sub(ZONES);
            let mut names: Vec<_> =
                zones.iter().map(|zone| (spell_out(&zone.name), zone.id.to_string())).collect();
            names.sort();
            names.truncate(ZONES);
            card.names = names;
            card.age = Some(format!("read {} ago, all pages of the list", said(*age)));
            (zones.is_empty()).then(|| with_setting("the account has none that the token sees"))
        }
    };
    card
}

fn said(time: Duration) -> String {
    match time.as_secs() {
        secs @ ..120 => format!("{secs} s"),
        secs @ 120..7_200 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3_600),
    }
}

async fn tunnels(
    state: &WebState,
    wanted: Wanted,
) -> Result<Gathering<TunnelLine, (String, String)>, ApiError> {
    let (db, now) = (&state.master().db, state.master().clock.now());
    let (mut versions, mut said) = (Vec::new(), HashMap::new());
    let members = Members::read_with(state, |view, _| {
        if let Some(version) = view.tunnel.as_ref().and_then(|seen| seen.report.version.clone()) {
            versions.push(version.clone());
            said.insert(view.agent.id.clone(), version);
        }
    })
    .await?;
    let scans = scanned(db, None).await?;
    let mut rows: Vec<(TunnelRow, Option<TunnelStatusRow>, Option<TunnelConnectorsRow>)> = Vec::new();
    let mut after: Option<TunnelId> = None;
    loop {
        let page = read::list_tunnels(db, after.as_ref(), ROWS).await.map_err(ApiError::internal)?;
        let ids: Vec<TunnelId> = page.iter().map(|row| row.id.clone()).collect();
        let mut statuses = read::tunnel_status_of(db, &ids).await.map_err(ApiError::internal)?;
        let mut listed = read::tunnel_connectors_of(db, &ids).await.map_err(ApiError::internal)?;
        after = next(&page, ROWS, |row| row.id.clone());
        for row in page {
            let (status, list) = (statuses.remove(&row.id), listed.remove(&row.id));
            let of_list = list.iter().flat_map(|list| &list.listed.connectors);
            versions.extend(of_list.filter_map(|connector| connector.version.clone()));
            rows.push((row, status, list));
        }
        if after.is_none() {
            break;
        }
    }
    let known = Known { members: &members, scans: &scans, versions: &versions, said: &said, now };
    let mut lines = Gathering::new(wanted, |line: &TunnelLine| (line.name.to_lowercase(), line.id.clone()));
    for (row, status, list) in &rows {
        lines.add(known.line(state, row, status.as_ref(), list.as_ref()));
    }
    Ok(lines)
}

/// What is known of all of them.
struct Known<'a> {
    members: &'a Members,
    scans: &'a HashMap<AgentId, Finding>,
    /// Versions of every connector that is known here.
    versions: &'a [String],
    /// What agents say of theirs.
    said: &'a HashMap<AgentId, String>,
    now: DateTime<Utc>,
}

impl Known<'_> {
    fn line(
        &self,
        state: &WebState,
        row: &TunnelRow,
        status: Option<&TunnelStatusRow>,
        list: Option<&TunnelConnectorsRow>,
    ) -> TunnelLine {
        let agent = row.agent_id.as_ref();
        let reach = match agent {
            Some(id) => self.members.member(id).and_then(|member| member.reach.clone()),
            None => Some(reach_without_agent(state, row, status, list)),
        };
        let listed = list.map(|list| &list.listed);
        let by_list =
            listed.and_then(|listed| listed.connectors.iter().find_map(|one| one.version.as_deref()));
        let own = agent.and_then(|id| self.said.get(id)).map(String::as_str).or(by_list);
        let newer =
            newer(own, agent.and_then(|id| self.scans.get(id)), self.versions.iter().map(String::as_str));
        let of_reach = reach.as_ref().and_then(|reach| reach.reason.clone());
        let of_status = status.and_then(|status| status.reason.clone());
        TunnelLine {
            id: row.id.to_string(),
            name: spell_out(&row.name),
            whose: match agent {
                Some(id) => format!("agent {}", spell_out(self.members.name(id).unwrap_or(id.as_str()))),
                None => "no agent has it: somebody runs its connector, or nobody".into(),
            },
            href: agent.map(|id| format!("/agents/{id}")),
            reach: reach_badge(reach.as_ref().map(|reach| reach.reach)),
            state: status.and_then(state_badge),
            reason: match (of_reach, of_status) {
                (Some(one), Some(other)) => Some(format!("{one}; {other}")),
                (one, other) => one.or(other),
            },
            connectors: listed.map(in_words).unwrap_or_default(),
            listed: listed.map(|listed| Moment::of(listed.at, self.now)),
            version: match own {
                Some(own) => format!("{}: {}", spell_out(own), newer.in_words()),
                None => format!("version not known: {}", newer.in_words()),
            },
            is_old: newer.is_known(),
        }
    }
}

fn reach_badge(reach: Option<Reach>) -> Badge {
    match reach {
        Some(Reach::Yes) => badge("good", "connected"),
        Some(Reach::Outdated) => badge("warn", "connected, configuration not in force yet"),
        Some(Reach::No) => badge("bad", "not connected"),
        Some(Reach::Unknown) | None => badge("warn", "not checked"),
    }
}

fn state_badge(status: &TunnelStatusRow) -> Option<Badge> {
    TunnelState::parse(&status.state).map(|state| match state {
        TunnelState::Applied => badge("good", "configuration applied"),
        TunnelState::Applying => badge("busy", "being written"),
        TunnelState::Waiting => badge("warn", "waits for you"),
        TunnelState::Failed => badge("bad", "failed"),
    })
}

/// The tunnel of one agent with its connectors, for that agent's page.
pub struct AgentConnectors {
    /// Those that Cloudflare lists.
    pub connectors: Vec<ConnectorWords>,
    /// When it listed them.
    pub listed: Option<Moment>,
    /// Its version, and whether a newer one is known.
    pub version: String,
    /// True if a newer one is known.
    pub is_old: bool,
}

impl AgentConnectors {
    /// Reads it; none if the agent has no tunnel.
    pub async fn read(
        state: &WebState,
        agent: &AgentRow,
        own: Option<&str>,
    ) -> Result<Option<Self>, ApiError> {
        let (db, now) = (&state.master().db, state.master().clock.now());
        let Some(tunnel) = agent.publishes_in() else { return Ok(None) };
        let list = read::find_tunnel_connectors(db, tunnel).await.map_err(ApiError::internal)?;
        let listed = list.as_ref().map(|list| &list.listed);
        let versions: Vec<&str> = listed
            .iter()
            .flat_map(|listed| &listed.connectors)
            .filter_map(|one| one.version.as_deref())
            .collect();
        let own = own.or_else(|| versions.first().copied());
        let scans = scanned(db, Some(&agent.id)).await?;
        let newer = newer(own, scans.get(&agent.id), versions.iter().copied());
        Ok(Some(Self {
            connectors: listed.map(in_words).unwrap_or_default(),
            listed: listed.map(|listed| Moment::of(listed.at, now)),
            version: match own {
                Some(own) => format!("{}: {}", spell_out(own), newer.in_words()),
                None => format!("version not known: {}", newer.in_words()),
            },
            is_old: newer.is_known(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::master::BudgetView;
    use crate::domain::id::{AccountId, ZoneId};
    use crate::domain::zone::{DefaultZone, Zone};

    fn view(zones: LastZones) -> AccountView {
        AccountView {
            account: AccountId::new("acc"),
            status: AccountStatus::default(),
            budget: BudgetView { left: 250, background_left: 60, blocked_for: None },
            zones,
            default_zone: Some(DefaultZone { id: ZoneId::new("z9"), name: None }),
            compare_every: Duration::from_secs(600),
        }
    }

    #[test]
    fn what_is_not_known_of_the_zones_is_said_and_not_shown_as_none() {
        for (zones_known, words) in [
            (LastZones::NotRead, "not read yet"),
            (LastZones::BeingRead, "being read now"),
            (
                LastZones::Failed("no route".into()),
                "could not be read: no route; the zone by setting is `z9`",
            ),
            (
                LastZones::NotAllowed,
                "the token may not list them; the zone by setting is `z9` (its name is not known)",
            ),
            (LastZones::Listed { zones: Vec::new(), age: Duration::ZERO }, "none that the token sees"),
        ] {
            let card = zones(Some(&view(zones_known)));
            assert!(card.names.is_empty() && card.note.unwrap().contains(words), "{words}");
        }
        let many = (0..600)
            .map(|n| Zone { id: ZoneId::new(format!("z{n}")), name: format!("{n:03}.example") })
            .collect();
        let card = zones(Some(&view(LastZones::Listed { zones: many, age: Duration::from_secs(180) })));
        assert_eq!((card.names.len(), card.more, card.count.as_str()), (500, 100, "600"));
        assert_eq!(card.age.as_deref(), Some("read 3 min ago, all pages of the list"));
    }

    #[test]
    fn the_worst_that_waits_is_named() {
        let status =
            AccountStatus { failing: 1, running: 2, busy: 3, unchecked: 4, ..AccountStatus::default() };
        assert_eq!(waits(Some(&status)).word, "1 tunnel failing");
        assert_eq!(
            waits(Some(&AccountStatus { failing: 0, ..status.clone() })).word,
            "2 tunnels worked on now"
        );
        assert_eq!(
            waits(Some(&AccountStatus { unchecked: 4, ..AccountStatus::default() })).word,
            "4 tunnels to be looked at"
        );
        assert_eq!(waits(Some(&AccountStatus::default())).word, "nothing waits");
    }
}
