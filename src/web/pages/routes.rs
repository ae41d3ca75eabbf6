//! Routes: their state, the reason for it, Cloudflare's last answer, and the button that confirms what waits.

use actix_web::{HttpResponse, web};
use askama::Template;

use super::filter::{Cut, Filter, Gathering, LINES, Shown, Wanted};
use super::overview::{each_refusal, each_route, each_rule, fragment_of, route_line};
use super::posted::{Nothing, Posted};
use super::view::{Problem, RouteLine, count, route_words};
use super::{Allowed, Shell, SignedIn, page, part};
use crate::actors::master::{ChangeKind, Plan};
use crate::web::api::native::what;
use crate::web::auth::Operator;
use crate::web::error::ApiError;
use crate::web::picture::Members;
use crate::web::query::Query;
use crate::web::state::WebState;

/// Where the page is, and where its live part.
const PLACES: (&str, &str) = ("/routes", "/fragments/routes");

#[derive(Template)]
#[template(path = "routes.html")]
struct RoutesPage {
    shell: Shell,
    filter: Option<Filter>,
    fragment: String,
    live: String,
}

#[derive(Template)]
#[template(path = "routes_live.html")]
struct Live {
    csrf: String,
    waiting: Cut<Problem>,
    /// True if applying carries something out that waits by setting.
    planned: Cut<PlanLine>,
    is_review: bool,
    routes: Shown<RouteLine>,
    refused: Cut<Problem>,
}

/// `GET /routes`.
#[utoipa::path(get, path = "/routes", tag = "pages", params(Wanted), responses((status = 200), (status = 303)),
    security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    show_with(&person, &state, Shell::new(&person, PLACES.0), wanted).await
}

async fn show_with(
    person: &SignedIn,
    state: &WebState,
    shell: Shell,
    wanted: Wanted,
) -> Result<HttpResponse, ApiError> {
    let fragment = wanted.at(PLACES.1);
    let (live, total) = render(person, state, wanted.clone()).await?;
    let filter =
        wanted.filter(PLACES.0, "name, service, container, agent or protection", route_words(), total);
    page(&RoutesPage { shell, filter, fragment, live })
}

/// `GET /fragments/routes`: its live part.
#[utoipa::path(get, path = "/fragments/routes", tag = "pages", params(Wanted), responses((status = 200)),
    security(("session" = [])))]
pub async fn fragment(
    person: SignedIn,
    state: web::Data<WebState>,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, ApiError> {
    Ok(fragment_of(render(&person, &state, wanted).await?.0))
}

/// `POST /routes/apply`: confirms what waits, carries it out, and says how it went.
#[utoipa::path(post, path = "/routes/apply", tag = "pages", responses((status = 200), (status = 403)), security(("session" = [])))]
pub async fn apply(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    _: Posted<Nothing>,
) -> Result<HttpResponse, ApiError> {
    let report = state.master().apply(&person.name, state.settings().apply_patience).await?;
    let (tone, word) = match ((report.blocked.len() + report.failed.len()) as u64, report.finished) {
        (0, true) => ("good", "Done: everything that waited is applied.".to_owned()),
        // What is blocked or failing may still come right.
        (_, false) => (
            "warn",
            "It is still being carried out: Cloudflare is slow. It goes on by itself, and this page shows how far it is."
                .to_owned(),
        ),
        (left, true) => (
            "warn",
            format!(
                "Done in part: {} blocked or failed, with the reason below.",
                count(left, "route is", "routes are")
            ),
        ),
    };
    let shell = Shell::new(&person, PLACES.0).with_notice(tone, word);
    show_with(&person, &state, shell, Wanted::default()).await
}

/// Returns the live part, and how many lines there are.
async fn render(person: &SignedIn, state: &WebState, wanted: Wanted) -> Result<(String, usize), ApiError> {
    let plan = state.master().plan().await?;
    let (csrf, waiting, all) = (person.session.csrf.clone(), waiting(&plan), state.clone());
    let (planned, is_review) = (planned(&plan), plan.review && plan.connected);
    let live = async move {
        let members = Members::read(&all).await?;
        let mut routes = Gathering::new(wanted.clone(), |_| ());
        each_route(&all, |view| routes.add(route_line(&members, view))).await?;
        each_rule(&all, &members, |view| routes.add(RouteLine::of_rule(view))).await?;
        let (mut refused, mut not_published) = (Cut::new(LINES), 0);
        each_refusal(&all, &members, |problem| {
            not_published += 1;
            if wanted.fits(&problem) {
                refused.add(problem);
            }
        })
        .await?;
        let total = routes.total() + not_published;
        let routes = routes.page(PLACES.0);
        Ok((part(&Live { csrf, waiting, planned, is_review, routes, refused })?, total))
    };
    state.listings().make(live).await
}

/// A change at Cloudflare.
struct PlanLine {
    action: String,
    what: String,
    tunnel: String,
    reason: String,
}

/// What is due at Cloudflare, or waits for a person, the first of it.
fn planned(plan: &Plan) -> Cut<PlanLine> {
    let mut lines = Cut::new(LINES);
    for change in &plan.changes {
        lines.add(PlanLine {
            action: action(change.kind).to_owned(),
            what: what(change),
            tunnel: change.tunnel_name.clone(),
            reason: change.reason.clone(),
        });
    }
    lines
}

fn action(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::AddRule => "Add rule",
        ChangeKind::ChangeRule => "Change rule",
        ChangeKind::RemoveRule => "Remove rule",
        ChangeKind::CreateDns => "Create record",
        ChangeKind::ChangeDns => "Change record",
        ChangeKind::DeleteDns => "Delete record",
        ChangeKind::CreatePolicy => "Create policy",
        ChangeKind::ChangePolicy => "Change policy",
        ChangeKind::DeletePolicy => "Delete policy",
        ChangeKind::CreateApplication => "Create application",
        ChangeKind::ChangeApplication => "Change application",
        ChangeKind::DeleteApplication => "Delete application",
    }
}

/// Tunnels that hold rules of others, removals that the guard holds, and what others changed.
fn waiting(plan: &Plan) -> Cut<Problem> {
    let tunnels = plan.waiting.iter().map(|tunnel| Problem {
        title: format!("Tunnel {}", tunnel.tunnel_name),
        detail: format!("It holds what others made: {}", tunnel.foreign.join("; ")),
        href: None,
        link: "",
    });
    let held = plan.held.iter().map(|one| Problem {
        title: format!("{}{}", one.hostname, one.path),
        detail: one.reason.clone(),
        href: None,
        link: "",
    });
    let drift = plan.drift.iter().filter(|drifted| drifted.waits).map(|drifted| Problem {
        title: drifted.name.clone(),
        detail: drifted.reason.clone(),
        href: None,
        link: "",
    });
    let mut waiting = Cut::new(LINES);
    tunnels.chain(held).chain(drift).for_each(|problem| waiting.add(problem));
    waiting
}
