//! A question to hosts: exactly what each would change, people's yes to that, and where each host stands after it.

mod changes;
mod group;
mod held;
pub mod let_go;
mod stand;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::overview::fragment_of;
use super::posted::{Nothing, Posted, Refusal};
use super::view::{Moment, count, host_href};
use super::{Allowed, Shell, SignedIn, go_to, page, page_with, part};
use crate::actors::master::{MasterError, OnHosts, Terms};
use crate::db::read::{ApprovalFilter, HostPlanRow, agent_names, list_approvals, list_commands};
use crate::domain::id::{AgentId, ApprovalId, RequestId};
use crate::domain::text::spell_out;
use crate::domain::update::{ApprovalMode, PlanAsk, PlanId, Problem, RebootAsk, Wanted};
use crate::web::api::plan_asks::{Asks, PlanBody, asks};
use crate::web::auth::Operator;
use crate::web::error::ApiError;
use crate::web::planned::{Named, Planned};
use crate::web::state::WebState;

pub use changes::{ChangeTable, differences, in_short};
pub use group::{HostName, mode_words};
pub use stand::{Known, Stand, run_href};

use group::{GroupCard, Names, able_hosts, find, mark_of_hosts};
use stand::is_question;

/// Most groups and most failures on a page.
const MOST: usize = 50;
/// Newest commands of a host among which a question is looked for.
const LAST_COMMANDS: u64 = 20;
/// What is said of a host that fetched nothing.
const NO_ANSWER: &str = "it did not answer in time: see whether its agent runs, then ask anew";
/// Most hosts that are named as left out.
const MOST_LEFT: usize = 20;

#[derive(Template)]
#[template(path = "plan.html")]
struct PlanPage {
    shell: Shell,
    fragment: String,
    live: String,
}

#[derive(Template)]
#[template(path = "plan_live.html")]
struct Live {
    csrf: String,
    request: String,
    step: &'static str,
    asked: String,
    at: Moment,
    answered: usize,
    all: usize,
    summary: String,
    waiting: Names,
    failed: Vec<Failure>,
    more_failed: usize,
    groups: Vec<GroupCard>,
    more_groups: usize,
}

/// A host that could not work it out.
struct Failure {
    host: HostName,
    reason: String,
}

#[derive(Template)]
#[template(path = "plan_asked.html")]
struct AskedPage {
    shell: Shell,
    href: Option<String>,
    done: String,
    left: Vec<String>,
    more: usize,
}

/// What became of a question.
pub enum Asked {
    /// Where it leads.
    Done(HttpResponse),
    /// No host could be asked.
    Refused(Refusal),
}

/// A yes.
#[derive(Debug, Deserialize)]
pub struct YesFields {
    plan: String,
    #[serde(default)]
    lifetime: String,
    #[serde(default)]
    mode: String,
    /// What stands for the hosts that were shown; empty if they were ticked one by one.
    #[serde(default)]
    shown: String,
    /// The ticked hosts, each under a name of its own.
    #[serde(flatten)]
    ticks: Map<String, Value>,
}

/// Asks hosts, and leads to where their answers come in.
pub async fn ask(person: &SignedIn, state: &WebState, body: PlanBody) -> Result<Asked, ApiError> {
    let Asks { asks, unknown } = asks(state, body).await?;
    if let (true, Some(id)) = (asks.is_empty(), unknown.first()) {
        return Ok(Asked::Refused(Refusal::of(MasterError::UpdateNotFound(id.clone()))?));
    }
    let mut asked = match state.master().ask_plans(asks, &person.name).await {
        Ok(asked) => asked,
        Err(error) => return Ok(Asked::Refused(Refusal::of(error)?)),
    };
    let to = format!("/plans/{}", asked.id);
    if asked.left.is_empty() && unknown.is_empty() {
        return Ok(Asked::Done(go_to(&to)));
    }
    if asked.done.is_empty() && asked.left.len() == 1 {
        let error = asked.left.remove(0).1;
        return Ok(Asked::Refused(Refusal::of(error)?));
    }
    let mut left = left_out(state, &asked).await?;
    if !unknown.is_empty() {
        let gone = count(unknown.len() as u64, "update is", "updates are");
        left.push(format!("{gone} not known any more: another look at the host closed what was chosen"));
    }
    let answer = page(&AskedPage {
        shell: Shell::new(person, "/updates"),
        href: (!asked.done.is_empty()).then_some(to),
        done: count(asked.done.len() as u64, "host was", "hosts were"),
        more: asked.left.len().saturating_sub(MOST_LEFT),
        left,
    })?;
    Ok(Asked::Done(answer))
}

/// Says of the first hosts that something does not concern why.
async fn left_out<T>(state: &WebState, done: &OnHosts<T>) -> Result<Vec<String>, ApiError> {
    let ids: Vec<AgentId> = done.left.iter().take(MOST_LEFT).map(|(id, _)| id.clone()).collect();
    let names = agent_names(&state.master().db, &ids).await.map_err(ApiError::internal)?;
    let line = |(id, why): &(AgentId, MasterError)| match why {
        MasterError::CannotPlan { .. } => spell_out(&why.to_string()),
        _ => spell_out(&format!("`{}`: {why}", names.get(id).map_or(id.as_str(), String::as_str))),
    };
    Ok(done.left.iter().take(MOST_LEFT).map(line).collect())
}

/// `GET /plans/{request}`: what hosts answered.
#[utoipa::path(get, path = "/plans/{request}", tag = "pages", params(("request" = String, Path)),
    responses((status = 200), (status = 303), (status = 404)), security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    request: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, "/updates");
    show_with(&person, &state, &RequestId::new(request.into_inner()), (StatusCode::OK, shell)).await
}

/// `GET /fragments/plans/{request}`: its live part.
#[utoipa::path(get, path = "/fragments/plans/{request}", tag = "pages", params(("request" = String, Path)),
    responses((status = 200), (status = 404)), security(("session" = [])))]
pub async fn fragment(
    person: SignedIn,
    state: web::Data<WebState>,
    request: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&person, &state, &RequestId::new(request.into_inner())).await?))
}

async fn show_with(
    person: &SignedIn,
    state: &WebState,
    request: &RequestId,
    (status, shell): (StatusCode, Shell),
) -> Result<HttpResponse, ApiError> {
    let live = render(person, state, request).await?;
    let fragment = format!("/fragments/plans/{request}");
    page_with(status, &PlanPage { shell, fragment, live })
}

async fn render(person: &SignedIn, state: &WebState, request: &RequestId) -> Result<String, ApiError> {
    let (csrf, name) = (person.session.csrf.clone(), person.name.clone());
    let (all, request) = (state.clone(), request.clone());
    let making = async move {
        let planned = Planned::read(&all, &request).await?;
        let known = known(&all, &planned).await?;
        let lost = lost(&all, &planned, &known).await?;
        part(&live(&planned, &known, &lost, (csrf, &name)))
    };
    state.listings().make(making).await
}

/// Reads what is known of the hosts of a question.
async fn known(state: &WebState, planned: &Planned) -> Result<Known, ApiError> {
    let able: Vec<AgentId> =
        planned.groups.iter().flat_map(|group| &group.hosts).map(|(host, _)| host.id.clone()).collect();
    let open = planned.approvals.iter().filter(|row| row.status.is_open());
    let ordered: BTreeSet<PlanId> = open.clone().map(|row| row.plan_id.clone()).collect();
    let waiting = planned.waiting.iter().map(|host| host.id.clone());
    let busy: BTreeSet<AgentId> = open.map(|row| row.agent_id.clone()).chain(waiting).collect();
    let (busy, plans): (Vec<_>, Vec<_>) = (busy.into_iter().collect(), ordered.into_iter().collect());
    Known::read(state, &able, &busy, &plans).await
}

/// Returns the hosts that will not answer any more, and why.
async fn lost(
    state: &WebState,
    planned: &Planned,
    known: &Known,
) -> Result<BTreeMap<AgentId, String>, ApiError> {
    let request = &planned.first.request_id;
    let mut lost = BTreeMap::new();
    for host in planned.waiting.iter().filter(|host| !known.is_asked(&host.id, request)) {
        let mut reason = None;
        if lost.len() < MOST {
            let last = list_commands(&state.master().db, &host.id, LAST_COMMANDS).await;
            let last = last.map_err(ApiError::internal)?;
            let its = last.into_iter().find(|command| is_question(&command.kind, request));
            reason = its.and_then(|command| command.outcome).map(|outcome| outcome.message);
        }
        let reason = reason.filter(|reason| !reason.is_empty()).map(|reason| spell_out(&reason));
        lost.insert(host.id.clone(), reason.unwrap_or_else(|| NO_ANSWER.into()));
    }
    Ok(lost)
}

fn live(
    planned: &Planned,
    known: &Known,
    lost: &BTreeMap<AgentId, String>,
    (csrf, person): (String, &str),
) -> Live {
    let request = &planned.first.request_id;
    let waiting: Vec<&Named> = planned.waiting.iter().filter(|host| !lost.contains_key(&host.id)).collect();
    let most = planned.groups.iter().find(|group| !group.changes.is_empty());
    let cards = planned.groups.iter().take(MOST).map(|group| {
        let others = most.filter(|most| most.plan != group.plan && !group.changes.is_empty());
        GroupCard::of(group, others.map(|most| &most.changes), planned, known, person)
    });
    let answers: usize = planned.groups.iter().map(|group| group.hosts.len()).sum();
    let failures = failures(planned, lost);
    Live {
        csrf,
        request: request.to_string(),
        step: match planned.approvals.is_empty() {
            true => {
                "Step 2 of 3: look at exactly what would change. Nothing is changed before you approve it below."
            }
            false => "Step 3 of 3: approved, and where each host stands.",
        },
        asked: asked(planned),
        at: Moment::of(planned.first.asked_at, known.now),
        answered: answers + failures.len(),
        all: answers + failures.len() + waiting.len(),
        summary: summary(answers, waiting.len(), failures.len()),
        waiting: Names::of(waiting.into_iter(), |host| {
            known.away(&host.id).map(|away| format!("{away}; it is asked once it is heard again"))
        }),
        more_failed: failures.len().saturating_sub(MOST),
        failed: failures.into_iter().take(MOST).collect(),
        more_groups: planned.groups.len().saturating_sub(MOST),
        groups: cards.collect(),
    }
}

fn failures(planned: &Planned, lost: &BTreeMap<AgentId, String>) -> Vec<Failure> {
    let name = |host: &Named| HostName { name: spell_out(&host.name), href: host_href(&host.id), note: None };
    let failed = planned
        .failed
        .iter()
        .map(|(host, problem)| Failure { host: name(host), reason: spell_out(&told(problem)) });
    let lost = planned.waiting.iter().filter_map(|host| {
        let reason = lost.get(&host.id)?.clone();
        Some(Failure { host: name(host), reason })
    });
    failed.chain(lost).collect()
}

fn told(problem: &Problem) -> String {
    match &problem.way_out {
        Some(way_out) => format!("{}: {way_out}", problem.reason.trim_end_matches('.')),
        None => problem.reason.clone(),
    }
}

fn summary(answers: usize, waiting: usize, failed: usize) -> String {
    let hosts = |number: usize| count(number as u64, "host", "hosts");
    let mut parts = vec![format!("{} answered", hosts(answers))];
    if waiting > 0 {
        parts.push(format!("{waiting} still {} it out", if waiting == 1 { "works" } else { "work" }));
    }
    if failed > 0 {
        parts.push(format!("{failed} could not"));
    }
    format!("{}.", parts.join(", "))
}

/// Says who asked for what.
fn asked(planned: &Planned) -> String {
    let HostPlanRow { asked_by, ask, .. } = &planned.first;
    let services = match ask.restarts_services() {
        true => ", and for a restart of the services that run on replaced files afterwards",
        false => "",
    };
    format!("{} asked for {}{services}", spell_out(asked_by), wanted(ask))
}

/// Says what was asked for.
fn wanted(ask: &PlanAsk) -> String {
    match ask {
        PlanAsk::Install { wanted: Wanted::All, .. } => "everything that is newer".into(),
        PlanAsk::Install { wanted: Wanted::Security, .. } => "everything that mends a hole".into(),
        PlanAsk::Install { wanted: Wanted::Named(names), .. } => {
            let shown: Vec<String> = names.iter().take(3).map(|name| spell_out(name)).collect();
            match names.len().saturating_sub(3) {
                0 => shown.join(", "),
                more => format!("{} and {more} more", shown.join(", ")),
            }
        }
        PlanAsk::Repair => "what brings a broken off installation to its end".into(),
        PlanAsk::Reboot(RebootAsk { delay_minutes, .. }) => {
            format!("a restart of the host in {}", count(u64::from(*delay_minutes), "minute", "minutes"))
        }
        PlanAsk::Undo { run, only, .. } if only.is_empty() => format!("the way back from run {run}"),
        PlanAsk::Undo { run, only, .. } => {
            format!("the way back from run {run} for {}", spell_out(&only.join(", ")))
        }
    }
}

/// `POST /plans/{request}/approve`: says yes to a plan for the hosts that were shown with it.
#[utoipa::path(post, path = "/plans/{request}/approve", tag = "pages", params(("request" = String, Path)),
    responses((status = 303), (status = 400), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn approve(
    Allowed(person, _): Allowed<Operator>,
    req: HttpRequest,
    state: web::Data<WebState>,
    request: web::Path<String>,
    form: Posted<YesFields>,
) -> Result<HttpResponse, ApiError> {
    let request = RequestId::new(request.into_inner());
    let YesFields { plan, lifetime, mode, shown, ticks } = form.0;
    let plan = PlanId::parse(&plan).ok_or_else(|| ApiError::Invalid("the form names no plan".into()))?;
    let lifetime = Duration::from_secs(lifetime.parse().unwrap_or(0));
    let mode = if mode.is_empty() { Some(ApprovalMode::Exact) } else { ApprovalMode::parse(&mode) };
    let mode = mode.ok_or_else(|| ApiError::Invalid("the form names no way to approve".into()))?;
    let agents = match shown.as_str() {
        "" => ticked(ticks),
        shown => match shown_hosts(&state, &request, &plan, shown).await? {
            Some(agents) => agents,
            None => {
                let words =
                    "Meanwhile the hosts with this plan are others: look again, and approve it for those.";
                let shell = Shell::new(&person, "/updates").with_notice("warn", words);
                return show_with(&person, &state, &request, (StatusCode::CONFLICT, shell)).await;
            }
        },
    };
    if agents.is_empty() {
        let shell = Shell::new(&person, "/updates")
            .with_notice("warn", "No host was ticked: tick those that the plan is approved for.");
        return show_with(&person, &state, &request, (StatusCode::BAD_REQUEST, shell)).await;
    }
    let who = (person.name.as_str(), Some(state.source(&req).to_string()));
    match state
        .master()
        .approve_plan(&request, &plan, agents, Terms { lifetime, mode, not_before: None }, who)
        .await
    {
        Ok(done) => after(&person, &state, &request, &done).await,
        Err(error) => {
            let refused = Refusal::of(error)?.shell(&person, "/updates");
            show_with(&person, &state, &request, refused).await
        }
    }
}

fn ticked(ticks: Map<String, Value>) -> Vec<AgentId> {
    let ticked = ticks.into_iter().filter(|(name, _)| name.starts_with("host-"));
    ticked.filter_map(|(_, value)| Some(AgentId::new(value.as_str()?))).collect()
}

/// Returns the hosts that a yes to all of a group is for, if they are still those that were shown.
async fn shown_hosts(
    state: &WebState,
    request: &RequestId,
    plan: &PlanId,
    shown: &str,
) -> Result<Option<Vec<AgentId>>, ApiError> {
    let planned = Planned::read(state, request).await?;
    let known = known(state, &planned).await?;
    let Some(group) = find(&planned.groups, plan) else { return Ok(None) };
    let able = able_hosts(group, &planned.approvals, &known);
    let is_same = mark_of_hosts(&able) == shown;
    Ok(is_same.then(|| able.into_iter().map(|host| host.id.clone()).collect()))
}

/// Goes back to the page; if something does not concern all hosts, the page says which and why.
async fn after(
    person: &SignedIn,
    state: &WebState,
    request: &RequestId,
    done: &OnHosts<ApprovalId>,
) -> Result<HttpResponse, ApiError> {
    if done.left.is_empty() {
        return Ok(go_to(&format!("/plans/{request}")));
    }
    let why = left_out(state, done).await?.join("; ");
    let (status, tone, words) = match done.done.len() {
        0 => (StatusCode::CONFLICT, "bad", format!("Nothing was decided. {why}.")),
        number => {
            let left = count(done.left.len() as u64, "host", "hosts");
            (StatusCode::OK, "warn", format!("Done for {number}, but not for {left}: {why}."))
        }
    };
    let shell = Shell::new(person, "/updates").with_notice(tone, words);
    show_with(person, state, request, (status, shell)).await
}

/// `POST /approvals/{id}/second`: a second person says yes too.
#[utoipa::path(post, path = "/approvals/{id}/second", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn second(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    let id = ApprovalId::new(id.into_inner());
    let request = request_of(&state, &id).await?;
    let done = state.master().second_approval(&id, &person.name).await?;
    after(&person, &state, &request, &done).await
}

/// `POST /approvals/{id}/withdraw`: takes a yes back, for every host that has not fetched it.
#[utoipa::path(post, path = "/approvals/{id}/withdraw", tag = "pages", params(("id" = String, Path)),
    responses((status = 303), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn withdraw(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    id: web::Path<String>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    let id = ApprovalId::new(id.into_inner());
    let request = request_of(&state, &id).await?;
    let done = state.master().withdraw_approval(&id, &person.name).await?;
    after(&person, &state, &request, &done).await
}

async fn request_of(state: &WebState, id: &ApprovalId) -> Result<RequestId, ApiError> {
    let filter = ApprovalFilter { id: Some(id.clone()), ..ApprovalFilter::default() };
    let rows = list_approvals(&state.master().db, &filter, 1).await.map_err(ApiError::internal)?;
    let missing = || ApiError::from(MasterError::ApprovalNotFound(id.clone()));
    let first = rows.into_iter().next().ok_or_else(missing)?;
    Ok(first.request_id)
}
