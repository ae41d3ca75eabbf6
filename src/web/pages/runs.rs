//! What was done on hosts, and by whose yes.

use std::collections::{BTreeMap, HashMap};

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use utoipa::IntoParams;

use super::filter::Pages;
use super::overview::fragment_of;
use super::plans::{Known, Stand, in_short, mode_words, run_href};
use super::view::{Badge, Moment, badge, count};
use super::{Shell, SignedIn, page, part};
use crate::db::read::{self, ApprovalFilter, ApprovalRow, RunFilter, RunRow};
use crate::domain::id::AgentId;
use crate::domain::text::spell_out;
use crate::domain::update::{Changes, PlanId, RunOutcome};
use crate::web::error::ApiError;
use crate::web::query::Query;
use crate::web::state::WebState;

/// Lines on a page.
const LINES: u64 = 50;
/// Most approvals that are shown above.
const OPEN: u64 = 500;
/// Most hosts that can be chosen from.
const HOSTS: u64 = 1_000;

/// What a person wants to see; all of it stands in the address.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
pub struct Wanted {
    /// Id of a host.
    agent: String,
    /// `yes` for those under way, `no` for those that ended.
    running: String,
    /// Which page, from 1.
    page: String,
}

struct Selectable {
    value: String,
    word: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    shell: Shell,
    hosts: Vec<Selectable>,
    states: Vec<Selectable>,
    is_narrow: bool,
    fragment: String,
    live: String,
}

#[derive(Template)]
#[template(path = "runs_live.html")]
struct ListLive {
    open: Vec<OpenLine>,
    runs: Vec<RunLine>,
    total: u64,
    empty: &'static str,
    pages: Option<Pages>,
}

struct OpenLine {
    href: String,
    what: String,
    detail: String,
    marks: Vec<Badge>,
}

/// A run on a line.
pub struct RunLine {
    /// Its page.
    pub href: String,
    /// What it changes.
    pub what: String,
    /// On which host; none on that host's own page.
    pub host: Option<String>,
    /// By whose yes.
    pub by: String,
    /// How it came out.
    pub state: Badge,
    /// When it began.
    pub at: Moment,
    /// Why it is not verified.
    pub note: Option<String>,
}

impl Wanted {
    fn number(&self) -> u64 {
        self.page.trim().parse().unwrap_or(1).clamp(1, 100_000)
    }

    fn filter(&self) -> RunFilter {
        RunFilter {
            agent: (!self.agent.is_empty()).then(|| AgentId::new(self.agent.as_str())),
            plan: None,
            running: match self.running.as_str() {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            },
        }
    }

    fn is_narrow(&self) -> bool {
        !self.agent.is_empty() || !self.running.is_empty()
    }

    fn address(&self, path: &str, page: u64) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        let fields = [("agent", &self.agent), ("running", &self.running), ("page", &page)];
        let mut query = Serializer::new(String::new());
        query.extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()));
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }
}

/// `GET /runs`: what was done on hosts, the newest first.
#[utoipa::path(get, path = "/runs", tag = "pages", params(Wanted), responses((status = 200), (status = 303)),
    security(("session" = [])))]
pub async fn list(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    let agents = read::list_agents(&state.master().db, None, HOSTS).await.map_err(ApiError::internal)?;
    let mut hosts: Vec<Selectable> = agents
        .into_iter()
        .map(|agent| Selectable {
            chosen: agent.id.as_str() == wanted.agent,
            value: agent.id.to_string(),
            word: spell_out(&agent.display_name),
        })
        .collect();
    if !wanted.agent.is_empty() && !hosts.iter().any(|host| host.chosen) {
        let value = wanted.agent.clone();
        hosts.push(Selectable { word: spell_out(&value), value, chosen: true });
    }
    hosts.sort_by(|one, other| one.word.cmp(&other.word));
    let states = [("", "all"), ("yes", "under way"), ("no", "ended")].map(|(value, word)| Selectable {
        value: value.into(),
        word: word.into(),
        chosen: value == wanted.running,
    });
    page(&RunsPage {
        shell: Shell::new(&person, "/runs"),
        hosts,
        states: states.into(),
        is_narrow: wanted.is_narrow(),
        fragment: wanted.address("/fragments/runs", wanted.number()),
        live: render_list(&state, &wanted).await?,
    })
}

/// `GET /fragments/runs`: its live part.
#[utoipa::path(get, path = "/fragments/runs", tag = "pages", params(Wanted), responses((status = 200)),
    security(("session" = [])))]
pub async fn list_fragment(
    _: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render_list(&state, &wanted).await?))
}

async fn render_list(state: &WebState, wanted: &Wanted) -> Result<String, ApiError> {
    let (all, wanted) = (state.clone(), wanted.clone());
    let making = async move {
        let number = wanted.number();
        let skip = (number - 1) * LINES;
        let db = &all.master().db;
        let found = read::list_runs(db, &wanted.filter(), skip, LINES).await.map_err(ApiError::internal)?;
        let shown = found.runs.len() as u64;
        let is_cut = found.total > LINES || number > 1;
        part(&ListLive {
            open: open_lines(&all, &wanted).await?,
            runs: run_lines(&all, &found.runs, true).await?,
            total: found.total,
            empty: match wanted.is_narrow() {
                true => "Nothing on this list is like that.",
                false => "Nothing was installed yet. Choose updates, see what would change, and approve it.",
            },
            pages: is_cut.then(|| Pages {
                place: format!("{} to {} of {}", (skip + 1).min(found.total), skip + shown, found.total),
                back: (number > 1).then(|| wanted.address("/runs", number - 1)),
                onward: (skip + shown < found.total && shown > 0)
                    .then(|| wanted.address("/runs", number + 1)),
            }),
        })
    };
    state.listings().make(making).await
}

/// Puts runs on lines.
pub async fn run_lines(state: &WebState, runs: &[RunRow], with_host: bool) -> Result<Vec<RunLine>, ApiError> {
    let (db, now) = (&state.master().db, state.master().clock.now());
    let ids: Vec<AgentId> = runs.iter().map(|run| run.agent_id.clone()).collect();
    let names = read::agent_names(db, &ids).await.map_err(ApiError::internal)?;
    let plans: Vec<PlanId> = runs.iter().map(|run| run.plan_id.clone()).collect();
    let plans = read::plans_by_id(db, &plans).await.map_err(ApiError::internal)?;
    let line = |run: &RunRow| RunLine {
        href: run_href(run),
        what: what(run, plans.get(&run.plan_id)),
        host: with_host.then(|| name_of(&names, &run.agent_id)),
        by: by(run),
        state: run_badge(run),
        at: Moment::of(run.started_at, now),
        note: run.ended.as_ref().and_then(|(_, outcome)| outcome.reason()).map(spell_out),
    };
    Ok(runs.iter().map(line).collect())
}

/// Returns what people call an agent.
pub fn name_of(names: &HashMap<AgentId, String>, id: &AgentId) -> String {
    spell_out(names.get(id).map_or(id.as_str(), String::as_str))
}

/// Says what a run changes.
pub fn what(run: &RunRow, changes: Option<&Changes>) -> String {
    let named = changes.map_or_else(|| format!("Plan {}", run.plan_id.short()), in_short);
    if run.undoes.is_some() { format!("Taken back: {named}") } else { named }
}

/// Says by whose yes it runs.
pub fn by(run: &RunRow) -> String {
    let by = spell_out(&run.begun_by);
    match &run.order_id {
        Some(_) => format!("approved by {by}"),
        None => format!("on the host itself by {by}"),
    }
}

/// Says how a run came out.
pub fn run_badge(run: &RunRow) -> Badge {
    match run.ended.as_ref().map(|(_, outcome)| outcome) {
        None => badge("busy", "running"),
        Some(RunOutcome::Verified) => badge("good", "verified"),
        Some(RunOutcome::NotStarted { is_refused: true, .. }) => badge("warn", "refused by the host"),
        Some(RunOutcome::NotStarted { .. }) => badge("warn", "not started, nothing was changed"),
        Some(RunOutcome::Failed { .. }) => badge("bad", "failed"),
        Some(RunOutcome::RolledBack { .. }) => badge("warn", "failed, the old state is back"),
        Some(RunOutcome::RollbackFailed { .. }) => badge("bad", "failed, the old state is not back"),
    }
}

async fn open_lines(state: &WebState, wanted: &Wanted) -> Result<Vec<OpenLine>, ApiError> {
    let db = &state.master().db;
    let filter = ApprovalFilter { agent: wanted.filter().agent, open: true, ..ApprovalFilter::default() };
    let rows = read::list_approvals(db, &filter, OPEN).await.map_err(ApiError::internal)?;
    let agents: Vec<AgentId> = rows.iter().map(|row| row.agent_id.clone()).collect();
    let mut ids: Vec<PlanId> = rows.iter().map(|row| row.plan_id.clone()).collect();
    ids.sort();
    ids.dedup();
    let plans = read::plans_by_id(db, &ids).await.map_err(ApiError::internal)?;
    let names = read::agent_names(db, &agents).await.map_err(ApiError::internal)?;
    let known = Known::read(state, &[], &agents, &ids).await?;
    let mut by_yes = Vec::<Vec<&ApprovalRow>>::new();
    for row in &rows {
        match by_yes.iter_mut().find(|rows| rows.first().is_some_and(|first| first.id == row.id)) {
            Some(rows) => rows.push(row),
            None => by_yes.push(vec![row]),
        }
    }
    let line = |rows: &Vec<&ApprovalRow>| {
        let first = rows.first()?;
        let mut counts = BTreeMap::<(String, &'static str), usize>::new();
        for row in rows {
            let stand = Stand::of(row, &known).badge;
            *counts.entry((stand.word, stand.tone)).or_default() += 1;
        }
        let hosts = match rows.len() {
            1 => name_of(&names, &first.agent_id),
            number => count(number as u64, "host", "hosts"),
        };
        let until = first.expires_at.format("%Y-%m-%d %H:%M UTC");
        let from = first.not_before.map(|at| format!("from {} ", at.format("%Y-%m-%d %H:%M UTC")));
        let mode = mode_words(first.mode).map(|words| format!(" · {words}")).unwrap_or_default();
        let mark = |((word, tone), number): ((String, &'static str), usize)| match rows.len() {
            1 => badge(tone, word),
            _ => badge(tone, format!("{number} {word}")),
        };
        Some(OpenLine {
            href: format!("/plans/{}", first.request_id),
            what: plans.get(&first.plan_id).map_or_else(|| first.plan_id.short().to_owned(), in_short),
            detail: format!(
                "{hosts} · approved by {} · counts {}until {until}{mode}",
                spell_out(&first.given_by),
                from.unwrap_or_default()
            ),
            marks: counts.into_iter().map(mark).collect(),
        })
    };
    Ok(by_yes.iter().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_stands_in_the_address() {
        let wanted = Wanted { agent: "a&b".into(), running: "yes".into(), page: "3".into() };
        assert_eq!(wanted.address("/runs", 2), "/runs?agent=a%26b&running=yes&page=2");
        assert_eq!(Wanted::default().address("/runs", 1), "/runs");
    }
}
