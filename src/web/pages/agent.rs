//! One agent's page: how it is, what it runs, what was asked of it, and what a person may do.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::cloudflare::AgentConnectors;
use super::confirm::{MOVE, Question, REDEPLOY, REMOVE, REVOKE_KEY};
use super::host_card::{HostCard, KeyLine, ScanLine};
use super::overview::fragment_of;
use super::posted::Refusal;
use super::runs::{RunLine, run_lines};
use super::view::{AgentLine, Badge, Fact, RouteLine, badge, fact, permitted, tunnel_badge};
use super::{Shell, SignedIn, page_with, part};
use crate::actors::master::{Dialect, Slot};
use crate::db::read::{self, AgentRow, AgentView, ContainerRow, RunFilter};
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandStatus};
use crate::domain::id::AgentId;
use crate::domain::limits::Limits;
use crate::domain::refresh::in_force;
use crate::web::api::agents::{agent_id, newest_connector_log};
use crate::web::error::ApiError;
use crate::web::label_words::{label_problem, shortened};
use crate::web::picture::{Statuses, moving, presence, warning};
use crate::web::state::WebState;

/// Most commands shown.
const COMMANDS: u64 = 10;
/// Most runs shown.
const RUNS: u64 = 5;

#[derive(Template)]
#[template(path = "agent.html")]
struct AgentPage {
    shell: Shell,
    name: String,
    href: String,
    fragment: String,
    tunnel_name: String,
    display_name: String,
    hostname_patterns: String,
    enrolled: bool,
    no_tunnel: Option<&'static str>,
    can_plan: bool,
    actions: Vec<Action>,
    live: String,
}

#[derive(Template)]
#[template(path = "agent_live.html")]
struct Live {
    agent: AgentLine,
    tunnel: Option<TunnelLine>,
    connectors: Option<AgentConnectors>,
    log: Option<LogTail>,
    facts: Vec<Fact>,
    host: Option<HostCard>,
    scans: Vec<ScanLine>,
    order_key: Option<KeyLine>,
    runs: Vec<RunLine>,
    all_runs: String,
    routes: Vec<RouteLine>,
    containers: Vec<ContainerLine>,
    commands: Vec<CommandLine>,
}

/// What the connector wrote last, as it was asked for last.
struct LogTail {
    lines: String,
    /// Why there are none, or none yet.
    note: Option<String>,
    at: String,
}

impl LogTail {
    fn of(command: &Command) -> Self {
        let asked = command.queued_at.format("%Y-%m-%d %H:%M:%S UTC");
        let (lines, note, at) = match &command.outcome {
            Some(told) if told.succeeded => (told.message.clone(), None, told.finished_at),
            Some(told) => (String::new(), Some(told.message.clone()), told.finished_at),
            None if command.status.is_open() => (String::new(), Some("the agent is asked".to_owned()), None),
            None => (String::new(), Some("the agent did not answer".to_owned()), None),
        };
        let at = at.map_or_else(
            || format!("asked for {asked}"),
            |at| format!("as of {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
        );
        Self { lines, note, at }
    }
}

struct TunnelLine {
    name: String,
    state: Badge,
    reason: Option<String>,
}

struct ContainerLine {
    name: String,
    detail: String,
    problems: Vec<String>,
}

struct CommandLine {
    title: String,
    detail: String,
    state: Badge,
}

struct Action {
    path: &'static str,
    title: &'static str,
    hint: &'static str,
    question: &'static str,
    tone: &'static str,
}

/// The fields of the forms on this page; each form sends its own one.
#[derive(Default, Deserialize)]
pub struct Fields {
    pub(super) tunnel_name: Option<String>,
    pub(super) display_name: Option<String>,
    pub(super) hostname_patterns: Option<String>,
}

/// `GET /agents/{id}`.
#[utoipa::path(get, path = "/agents/{id}", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 303), (status = 404)), security(("session" = [])))]
pub async fn show(
    person: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let shell = Shell::new(&person, "/agents");
    show_with(&state, &agent_id(&id)?, (StatusCode::OK, shell), Fields::default()).await
}

/// `GET /agents/keys`: the agent with that id, which no new one can have: forms are sent to this address, too.
#[utoipa::path(get, path = "/agents/keys", tag = "pages", responses((status = 200), (status = 303), (status = 404)),
    security(("session" = [])))]
pub async fn show_keys(person: SignedIn, state: web::Data<WebState>) -> Result<HttpResponse, ApiError> {
    show(person, state, web::Path::from("keys".to_owned())).await
}

/// Shows the page again, with why a form was not carried out and what was written.
pub async fn show_refused(
    person: &SignedIn,
    state: &WebState,
    id: &AgentId,
    refusal: Refusal,
    written: Fields,
) -> Result<HttpResponse, ApiError> {
    show_with(state, id, refusal.shell(person, "/agents"), written).await
}

async fn show_with(
    state: &WebState,
    id: &AgentId,
    (status, shell): (StatusCode, Shell),
    written: Fields,
) -> Result<HttpResponse, ApiError> {
    let view = find(state, id).await?;
    let agent = &view.agent;
    let tunnel = || {
        let host = agent.hostname.as_deref().unwrap_or(&agent.display_name);
        agent.tunnel_name.clone().unwrap_or_else(|| suggested_tunnel(host))
    };
    let template = AgentPage {
        shell,
        name: agent.display_name.clone(),
        href: format!("/agents/{id}"),
        fragment: format!("/fragments/agents/{id}"),
        tunnel_name: written.tunnel_name.unwrap_or_else(tunnel),
        display_name: written.display_name.unwrap_or_else(|| agent.display_name.clone()),
        hostname_patterns: written.hostname_patterns.unwrap_or_else(|| agent.hostname_patterns.join(", ")),
        enrolled: agent.status == AgentStatus::Enrolled,
        no_tunnel: is_redflag(agent).then_some(NO_TUNNEL),
        can_plan: agent.status == AgentStatus::Enrolled && is_native(state, id),
        actions: actions(agent, state.master().directory.lacking_seat(&agent.id).is_some()),
        live: render(state, view).await?,
    };
    page_with(status, &template)
}

/// `GET /fragments/agents/{id}`: its live part.
#[utoipa::path(get, path = "/fragments/agents/{id}", tag = "pages", params(("id" = String, Path)),
    responses((status = 200), (status = 404)), security(("session" = [])))]
pub async fn fragment(
    _: SignedIn,
    state: web::Data<WebState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let view = find(&state, &agent_id(&id)?).await?;
    Ok(fragment_of(render(&state, view).await?))
}

async fn find(state: &WebState, id: &AgentId) -> Result<AgentView, ApiError> {
    let view = read::find_agent_view(&state.master().db, id).await.map_err(ApiError::internal)?;
    view.filter(|view| view.agent.status != AgentStatus::Removed).ok_or(ApiError::AgentNotFound)
}

fn suggested_tunnel(host: &str) -> String {
    let plain: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    format!("lightship-{}", plain.trim_matches('-'))
}

/// Why there is no form for a tunnel on the page of a RedFlag agent.
const NO_TUNNEL: &str = "This host runs RedFlag's agent: it has no tunnel, publishes nothing and takes no key. Put Lightship's \
    agent on the host to publish from it.";

fn is_redflag(agent: &AgentRow) -> bool {
    agent.dialect.as_deref().map(Dialect::of) == Some(Dialect::RedFlag)
}

fn is_native(state: &WebState, id: &AgentId) -> bool {
    state.master().directory.slot(id).is_some_and(|slot| slot.dialect() == Dialect::Native)
}

fn actions(agent: &AgentRow, lacks_seat: bool) -> Vec<Action> {
    let asked = |question: &Question, hint, tone| Action {
        path: question.verb,
        title: question.title,
        hint,
        question: question.text,
        tone,
    };
    let quiet = |path, title, hint| Action { path, title, hint, question: "", tone: "quiet" };
    let (status, has_tunnels) = (agent.status, !is_redflag(agent));
    let mut actions = Vec::new();
    if agent.moving_from.is_some() {
        actions.push(asked(&MOVE, "Does not wait for the connector of its new tunnel", "quiet"));
    }
    if lacks_seat {
        let hint = "Its key is another host's; with one more seat both can be enrolled";
        actions.push(quiet("seat", "Allow it a seat", hint));
    }
    match (status, &agent.other_machine) {
        (AgentStatus::Pending, Some(_)) => {
            let hint =
                "The machine that it reports from now is the right one; what it published goes on as it was";
            actions.push(quiet("approve", "Approve this machine", hint));
        }
        (AgentStatus::Pending, None) if has_tunnels => {
            let hint = "Its host is looked after for updates; it publishes nothing until it is enrolled";
            actions.push(quiet("approve", "Approve without a tunnel", hint));
        }
        (AgentStatus::Pending, None) => {
            actions.push(quiet("approve", "Approve", "Its host is looked after for updates"));
        }
        (AgentStatus::Enrolled, _) => {
            let hint = "The agent looks at its host; what it finds appears here";
            actions.push(quiet("scan", "Look for updates now", hint));
            if has_tunnels {
                let hint = "What cloudflared wrote last appears here; its connector keeps running";
                actions.push(quiet("connector-log", "Show the connector's log", hint));
                actions.push(asked(&REDEPLOY, "Makes the agent replace cloudflared", "quiet"));
            }
        }
        (AgentStatus::Revoked | AgentStatus::Removed, _) => {}
    }
    if has_tunnels {
        let hint = "The old key works until the agent uses the new one";
        actions.push(quiet("roll-key", "New key", hint));
    }
    if status != AgentStatus::Revoked {
        actions.push(asked(&REVOKE_KEY, "The agent is not heard any more", "danger"));
    }
    let removes = match has_tunnels {
        true => "Stops the tunnel and withdraws the routes",
        false => "It is off the list, and not heard any more",
    };
    actions.push(asked(&REMOVE, removes, "danger"));
    actions
}

async fn render(state: &WebState, view: AgentView) -> Result<String, ApiError> {
    let (db, id) = (&state.master().db, &view.agent.id);
    let slot = state.master().directory.slot(id);
    let routes = read::list_agent_routes(db, id).await.map_err(ApiError::internal)?;
    let statuses = Statuses::read(state, &view.agent).await?;
    let problems =
        read::list_container_problems(db, Some(id), read::ALL).await.map_err(ApiError::internal)?;
    let containers = read::list_containers(db, id).await.map_err(ApiError::internal)?;
    let commands = read::list_commands(db, id, COMMANDS).await.map_err(ApiError::internal)?;
    let asked_for_log = newest_connector_log(state, id).await?;
    let limits = read::find_limits(db, id).await.map_err(ApiError::internal)?;
    let host = read::find_host(db, id).await.map_err(ApiError::internal)?;
    let scans = read::scans_of(db, id).await.map_err(ApiError::internal)?;
    let filter = RunFilter { agent: Some(id.clone()), ..RunFilter::default() };
    let runs = read::list_runs(db, &filter, 0, RUNS).await.map_err(ApiError::internal)?;
    let master_key = state.master().directory.order_key().map(|offer| offer.key.fingerprint());
    let order_key =
        host.as_ref().filter(|_| is_native(state, id)).and_then(|row| KeyLine::of(&row.host, master_key));
    let now = state.master().clock.now();
    let mut problems_of: HashMap<_, Vec<_>> = HashMap::new();
    for row in &problems {
        problems_of.entry(&row.container_id).or_default().push(label_problem(&row.problem));
    }
    let mut container_line = |row: &ContainerRow| {
        let problems = problems_of.remove(&row.container.id).unwrap_or_default();
        container_line(row, problems)
    };
    let route_line = |route: &crate::domain::route::Route| {
        RouteLine::of(route, statuses.standing(route), Some(&view.agent.display_name))
    };
    part(&Live {
        agent: AgentLine::of(
            &view,
            presence(state, id, Some(&view.agent)),
            warning(state, &view.agent),
            state.master().clock.now(),
        ),
        tunnel: tunnel_line(&view),
        connectors: AgentConnectors::read(
            state,
            &view.agent,
            view.tunnel.as_ref().and_then(|seen| seen.report.version.as_deref()),
        )
        .await?,
        log: asked_for_log.as_ref().map(LogTail::of),
        facts: moving(state, &view.agent)
            .map(|(words, _)| fact("Names", words))
            .into_iter()
            .chain(facts(&view, slot.as_deref(), &limits))
            .chain(credential(state, id).await?)
            .collect(),
        host: host.map(|row| HostCard::of(&row.host)),
        order_key,
        runs: run_lines(state, &runs.runs, false).await?,
        all_runs: format!("/runs?agent={id}"),
        scans: scans.values().map(|scan| ScanLine::of(scan, slot.as_deref(), now)).collect(),
        routes: routes.iter().map(route_line).collect(),
        containers: containers.iter().map(&mut container_line).collect(),
        commands: commands.iter().map(command_line).collect(),
    })
}

fn tunnel_line(view: &AgentView) -> Option<TunnelLine> {
    let name = view.agent.tunnel_name.clone()?;
    let state = view.tunnel.as_ref().map_or_else(|| badge("idle", "not reported yet"), tunnel_badge);
    Some(TunnelLine { name, state, reason: view.tunnel.as_ref().and_then(|t| t.report.reason.clone()) })
}

/// Says what renews the access of a RedFlag agent, and whether it is ever replaced.
async fn credential(state: &WebState, id: &AgentId) -> Result<Option<Fact>, ApiError> {
    let ids = std::slice::from_ref(id);
    let tokens = read::refresh_tokens_of(&state.master().db, ids).await.map_err(ApiError::internal)?;
    let tokens = tokens.get(id).map(Vec::as_slice).unwrap_or_default();
    Ok(in_force(tokens, state.master().clock.now()).map(|of| {
        let until = of.token.expires_at.format("%Y-%m-%d");
        let words = match of.is_rotated {
            true => format!("replaced with each renewal, good until {until}"),
            false => format!("never replaced, belongs to this machine, good until {until}"),
        };
        fact("Refresh token", words)
    }))
}

fn facts(view: &AgentView, slot: Option<&Slot>, limits: &Limits) -> Vec<Fact> {
    let agent = &view.agent;
    let speaks = match slot.map_or(Dialect::V2, Slot::dialect) {
        Dialect::Native => "Lightship (native)",
        Dialect::V2 => "DockFlare v2",
        Dialect::RedFlag => "RedFlag v1",
    };
    // The row follows within a minute; where it was heard last is known at once.
    let source = slot.and_then(Slot::source);
    let host = agent.hostname.clone().or_else(|| source.as_ref()?.host.clone());
    let peer = agent.peer.clone().or_else(|| Some(source.as_ref()?.peer.to_string()));
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "not known".into());
    let mut facts = vec![
        fact("Agent id", agent.id.as_str()),
        fact("Host", known(&host)),
        fact("Address", known(&peer)),
        fact("Version", known(&agent.version)),
        fact("Speaks", speaks),
        fact("Key", agent.key_id.as_ref().map_or("none", |id| id.as_str())),
        fact("May publish", permitted(&limits.agent)),
        fact("Registered", agent.registered_at.format("%Y-%m-%d %H:%M UTC").to_string()),
    ];
    if !limits.key.is_empty() {
        facts.push(fact("Its key permits", permitted(&limits.key)));
    }
    if let Some(connections) = view.tunnel.as_ref().and_then(|observed| observed.report.ready_connections) {
        facts.push(fact("Connections to the edge", connections.to_string()));
    }
    facts
}

fn container_line(row: &ContainerRow, problems: Vec<String>) -> ContainerLine {
    let one = &row.container;
    let asked =
        one.labels.iter().find(|(label, _)| label.ends_with(".hostname")).map(|(_, value)| shortened(value));
    let parts = [one.image.clone(), asked.map(|host| format!("asks for {host}")), one.status.clone()];
    ContainerLine {
        name: one.name.clone(),
        detail: parts.into_iter().flatten().collect::<Vec<_>>().join(" · "),
        problems,
    }
}

fn command_line(command: &Command) -> CommandLine {
    let state = match command.status {
        CommandStatus::Queued => badge("busy", "queued"),
        CommandStatus::Delivered => badge("busy", "delivered"),
        CommandStatus::Acknowledged => badge("busy", "being carried out"),
        CommandStatus::Succeeded => badge("good", "done"),
        CommandStatus::Failed => badge("bad", "failed"),
        CommandStatus::Expired => badge("warn", "unconfirmed"),
    };
    let outcome = command.outcome.as_ref().map(|outcome| shortened(&outcome.message)).unwrap_or_default();
    let queued = command.queued_at.format("%Y-%m-%d %H:%M:%S UTC");
    CommandLine {
        title: command.kind.action().replace('_', " "),
        detail: if outcome.is_empty() {
            format!("queued {queued}")
        } else {
            format!("queued {queued} · {outcome}")
        },
        state,
    }
}
