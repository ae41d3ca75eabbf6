//! What was done on hosts, by whose yes: the list, and one run with its progress and log.

use std::collections::{BTreeMap, HashMap};

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use utoipa::IntoParams;

use super::filter::Pages;
use super::overview::fragment_of;
use super::plans::{self, Asked, ChangeTable, Known, Stand, in_short, run_href};
use super::posted::{Nothing, Posted};
use super::view::{Badge, Fact, Moment, badge, count, fact, host_href};
use super::{Allowed, Shell, SignedIn, page, page_with, part};
use crate::db::read::{self, ApprovalFilter, ApprovalRow, RunFilter, RunRow};
use crate::domain::id::AgentId;
use crate::domain::text::spell_out;
use crate::domain::update::{Changes, PlanId, RunOutcome};
use crate::web::api::plans::{PlanBody, RunName};
use crate::web::api::runs::one;
use crate::web::auth::Operator;
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

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    shell: Shell,
    title: String,
    host: String,
    host_href: String,
    fragment: String,
    live: String,
}

#[derive(Template)]
#[template(path = "run_live.html")]
struct RunLive {
    csrf: String,
    href: String,
    host: String,
    host_href: String,
    state: Badge,
    reason: Option<String>,
    progress: Option<ProgressLine>,
    begun: Moment,
    ended: Option<Moment>,
    facts: Vec<Fact>,
    links: Vec<LinkFact>,
    can_go_back: bool,
    steps: Vec<StepLine>,
    number: usize,
    changes: Option<ChangeTable>,
    log: String,
    no_log: &'static str,
}

struct ProgressLine {
    words: String,
    percent: Option<u8>,
    told: Moment,
    away: Option<String>,
}

struct LinkFact {
    title: &'static str,
    href: String,
    text: String,
}

struct StepLine {
    name: String,
    at: Option<Moment>,
    state: Badge,
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

fn name_of(names: &HashMap<AgentId, String>, id: &AgentId) -> String {
    spell_out(names.get(id).map_or(id.as_str(), String::as_str))
}

fn what(run: &RunRow, changes: Option<&Changes>) -> String {
    let named = changes.map_or_else(|| format!("Plan {}", run.plan_id.short()), in_short);
    if run.undoes.is_some() { format!("Taken back: {named}") } else { named }
}

fn by(run: &RunRow) -> String {
    let by = spell_out(&run.begun_by);
    match &run.order_id {
        Some(_) => format!("approved by {by}"),
        None => format!("on the host itself by {by}"),
    }
}

/// Says how a run came out.
fn run_badge(run: &RunRow) -> Badge {
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
        let mark = |((word, tone), number): ((String, &'static str), usize)| match rows.len() {
            1 => badge(tone, word),
            _ => badge(tone, format!("{number} {word}")),
        };
        Some(OpenLine {
            href: format!("/plans/{}", first.request_id),
            what: plans.get(&first.plan_id).map_or_else(|| first.plan_id.short().to_owned(), in_short),
            detail: format!("{hosts} · approved by {} · counts until {until}", spell_out(&first.given_by)),
            marks: counts.into_iter().map(mark).collect(),
        })
    };
    Ok(by_yes.iter().filter_map(line).collect())
}

/// `GET /runs/{agent}/{run}`: one run.
#[utoipa::path(get, path = "/runs/{agent}/{run}", tag = "pages",
    params(("agent" = String, Path), ("run" = String, Path)),
    responses((status = 200), (status = 303), (status = 404)), security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (agent, run) = path.into_inner();
    let row = one(&state, &agent, &run).await?;
    show_with(&person, &state, &row, (StatusCode::OK, Shell::new(&person, "/runs"))).await
}

/// `GET /fragments/runs/{agent}/{run}`: its live part.
#[utoipa::path(get, path = "/fragments/runs/{agent}/{run}", tag = "pages",
    params(("agent" = String, Path), ("run" = String, Path)), responses((status = 200), (status = 404)),
    security(("session" = [])))]
pub async fn fragment(
    person: SignedIn,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (agent, run) = path.into_inner();
    let row = one(&state, &agent, &run).await?;
    Ok(fragment_of(render(&person, &state, &row).await?.1))
}

/// `POST /runs/{agent}/{run}/undo`: asks the host what taking the run back would change.
#[utoipa::path(post, path = "/runs/{agent}/{run}/undo", tag = "pages",
    params(("agent" = String, Path), ("run" = String, Path)),
    responses((status = 303), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn undo(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    let (agent, run) = path.into_inner();
    let row = one(&state, &agent, &run).await?;
    let name = RunName { agent, id: row.id.to_string() };
    match plans::ask(&person, &state, PlanBody { run: Some(name), ..PlanBody::default() }).await? {
        Asked::Done(answer) => Ok(answer),
        Asked::Refused(refusal) => show_with(&person, &state, &row, refusal.shell(&person, "/runs")).await,
    }
}

async fn show_with(
    person: &SignedIn,
    state: &WebState,
    row: &RunRow,
    (status, shell): (StatusCode, Shell),
) -> Result<HttpResponse, ApiError> {
    let ((title, host), live) = render(person, state, row).await?;
    let template = RunPage {
        shell,
        title,
        host,
        host_href: host_href(&row.agent_id),
        fragment: format!("/fragments{}", run_href(row)),
        live,
    };
    page_with(status, &template)
}

/// Returns what the run is called and its host's name, with the live part.
async fn render(
    person: &SignedIn,
    state: &WebState,
    row: &RunRow,
) -> Result<((String, String), String), ApiError> {
    let (db, now) = (&state.master().db, state.master().clock.now());
    let names = read::agent_names(db, std::slice::from_ref(&row.agent_id)).await;
    let host = name_of(&names.map_err(ApiError::internal)?, &row.agent_id);
    let changes = read::find_plan(db, &row.plan_id).await.map_err(ApiError::internal)?;
    let taken_back =
        read::run_that_took_back(db, &row.agent_id, &row.id).await.map_err(ApiError::internal)?;
    let approval = match &row.order_id {
        None => None,
        Some(order) => read::find_approval_of(db, &row.agent_id, order).await.map_err(ApiError::internal)?,
    };
    let known = Known::read(state, &[], &[], &[]).await?;
    let title = what(row, changes.as_ref());
    let mut links = Vec::new();
    let run = |title, id: &crate::domain::update::RunId| LinkFact {
        title,
        href: format!("/runs/{}/{id}", row.agent_id),
        text: id.to_string(),
    };
    links.extend(row.undoes.as_ref().map(|id| run("Takes back", id)));
    links.extend(taken_back.as_ref().map(|id| run("Taken back by", id)));
    links.extend(approval.as_ref().map(|row| LinkFact {
        title: "Approved as",
        href: format!("/plans/{}", row.request_id),
        text: format!("plan {}", row.plan_id.short()),
    }));
    let live = part(&RunLive {
        csrf: person.session.csrf.clone(),
        href: run_href(row),
        host: host.clone(),
        host_href: host_href(&row.agent_id),
        state: run_badge(row),
        reason: row.ended.as_ref().and_then(|(_, outcome)| outcome.reason()).map(spell_out),
        progress: row.ended.is_none().then(|| progress(row, &known)),
        begun: Moment::of(row.started_at, now),
        ended: row.ended.as_ref().map(|(at, _)| Moment::of(*at, now)),
        facts: facts(row, approval.as_ref()),
        links,
        can_go_back: can_go_back(row) && taken_back.is_none(),
        steps: steps(row, now),
        number: changes.as_ref().map_or(0, |changes| changes.all().len()),
        changes: changes.as_ref().map(|changes| ChangeTable::of(changes, None)),
        log: row.log.lines().map(spell_out).collect::<Vec<_>>().join("\n"),
        no_log: match row.ended {
            None => "Nothing was told of it yet.",
            Some(_) => {
                "None is kept: it was empty, or the run is an old one. The host itself may still have it."
            }
        },
    })?;
    Ok(((title, host), live))
}

fn progress(row: &RunRow, known: &Known) -> ProgressLine {
    let step = row.step.as_deref().map_or_else(|| "It begins".to_owned(), |step| format!("In step {step}"));
    let words = match row.words.as_str() {
        "" => step,
        words => format!("{step}: {words}"),
    };
    let percent = row.percent.map(|percent| percent.min(100));
    let share = percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
    ProgressLine {
        words: spell_out(&format!("{words}{share}")),
        percent,
        told: Moment::of(row.told_at, known.now),
        away: known.away(&row.agent_id),
    }
}

fn facts(row: &RunRow, approval: Option<&ApprovalRow>) -> Vec<Fact> {
    let mut facts = vec![fact("Run", row.id.as_str()), fact("By", by(row))];
    if let Some(yes) = approval {
        let from = yes.given_from.as_deref().unwrap_or("the master's own host");
        let at = yes.given_at.format("%Y-%m-%d %H:%M UTC");
        facts.push(fact("First yes", format!("{} at {at}, from {from}", spell_out(&yes.given_by))));
        if let Some(by) = yes.ordered_by.as_ref().filter(|by| **by != yes.given_by) {
            facts.push(fact("Second yes", spell_out(by)));
        }
    }
    facts
}

/// True if something may be changed by it that could be taken back.
fn can_go_back(row: &RunRow) -> bool {
    let outcome = row.ended.as_ref().map(|(_, outcome)| outcome);
    let has_changed = matches!(
        outcome,
        Some(RunOutcome::Verified | RunOutcome::Failed { .. } | RunOutcome::RollbackFailed { .. })
    );
    has_changed && row.undoes.is_none()
}

fn steps(row: &RunRow, now: chrono::DateTime<chrono::Utc>) -> Vec<StepLine> {
    let done = row.steps.iter().map(|step| StepLine {
        name: spell_out(&step.name),
        at: step.at.map(|at| Moment::of(at, now)),
        state: badge("good", "done"),
    });
    let begun = row.step.as_ref().map(|step| StepLine {
        name: spell_out(step),
        at: None,
        state: match row.ended {
            None => badge("busy", "under way"),
            Some(_) => badge("bad", "begun, not done"),
        },
    });
    done.chain(begun).collect()
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
