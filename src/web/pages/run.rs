//! One run on a host: its progress, its steps, its log, and by whose yes it was.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::overview::fragment_of;
use super::plans::{self, Asked, ChangeTable, Known, run_href};
use super::posted::{Nothing, Posted, ticked};
use super::runs::{by, name_of, run_badge, what};
use super::view::{Badge, Fact, Moment, badge, fact, host_href};
use super::{Allowed, Shell, SignedIn, go_to, page_with, part};
use crate::db::read::{self, ApprovalRow, RunRow};
use crate::domain::text::spell_out;
use crate::domain::update::RunOutcome;
use crate::web::api::plan_asks::{PlanBody, RunName};
use crate::web::api::runs::one;
use crate::web::auth::Operator;
use crate::web::error::ApiError;
use crate::web::state::WebState;

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
    can_stop: bool,
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

/// What belongs to the way back.
#[derive(Debug, Deserialize)]
pub struct BackFields {
    #[serde(default, deserialize_with = "ticked")]
    restart_services: bool,
}

/// `POST /runs/{agent}/{run}/undo`: asks the host what taking the run back would change.
#[utoipa::path(post, path = "/runs/{agent}/{run}/undo", tag = "pages",
    params(("agent" = String, Path), ("run" = String, Path)),
    responses((status = 303), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn undo(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
    form: Posted<BackFields>,
) -> Result<HttpResponse, ApiError> {
    let (agent, run) = path.into_inner();
    let row = one(&state, &agent, &run).await?;
    let run = Some(RunName { agent, id: row.id.to_string() });
    let restart_services = Some(form.0.restart_services);
    match plans::ask(&person, &state, PlanBody { run, restart_services, ..PlanBody::default() }).await? {
        Asked::Done(answer) => Ok(answer),
        Asked::Refused(refusal) => show_with(&person, &state, &row, refusal.shell(&person, "/runs")).await,
    }
}

/// `POST /runs/{agent}/{run}/cancel`: has the host stop it at its next safe point.
#[utoipa::path(post, path = "/runs/{agent}/{run}/cancel", tag = "pages",
    params(("agent" = String, Path), ("run" = String, Path)),
    responses((status = 303), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn cancel(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    path: web::Path<(String, String)>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    let (agent, run) = path.into_inner();
    let row = one(&state, &agent, &run).await?;
    if row.ended.is_none() {
        state.master().cancel_run(&row.agent_id, &row.id, &person.name).await?;
    }
    Ok(go_to(&run_href(&row)))
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
        can_stop: row.ended.is_none(),
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
        facts.extend(plans::mode_words(yes.mode).map(|words| fact("Goes", words)));
        if let Some(at) = yes.reissued_at {
            let (first, now) = (yes.shown_plan().short(), yes.plan_id.short());
            let at = at.format("%Y-%m-%d %H:%M UTC");
            facts.push(fact(
                "Ordered anew",
                format!("plan {first} no longer held at {at}; plan {now} is in its scope"),
            ));
        }
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
