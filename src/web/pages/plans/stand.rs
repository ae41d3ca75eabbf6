//! Where a host stands after a yes, in words.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::db::read::{self, ApprovalRow, HostRow, RunFilter, RunRow};
use crate::domain::command::{Command, CommandKind};
use crate::domain::host::Ability;
use crate::domain::id::{AgentId, RequestId};
use crate::domain::text::spell_out;
use crate::domain::update::{ApprovalStatus, Changes, Kind, PlanId};
use crate::web::error::ApiError;
use crate::web::pages::view::{Badge, Moment, badge};
use crate::web::picture::presence;
use crate::web::state::WebState;

/// Most runs under way of one plan that are looked at.
const MOST_RUNS: u64 = 1_000;

/// What is known of hosts beside their plans.
pub struct Known {
    state: WebState,
    hosts: BTreeMap<AgentId, HostRow>,
    commands: HashMap<AgentId, Vec<Command>>,
    running: Vec<RunRow>,
    /// When it was read.
    pub now: DateTime<Utc>,
}

/// Where a host stands.
pub struct Stand {
    /// In a word.
    pub badge: Badge,
    /// Why, and what comes next.
    pub note: Option<String>,
    /// The page of its run.
    pub run: Option<String>,
    /// True if a second person has to say yes, and still can.
    pub awaits_second: bool,
    /// True if it can be taken back.
    pub can_go_back: bool,
}

impl Known {
    /// Reads it: of `able` what they can do, of `busy` what they were told and do, as far as these plans go.
    pub async fn read(
        state: &WebState,
        able: &[AgentId],
        busy: &[AgentId],
        plans: &[PlanId],
    ) -> Result<Self, ApiError> {
        let db = &state.master().db;
        let mut running = Vec::new();
        for plan in plans {
            let filter = RunFilter { plan: Some(plan.clone()), running: Some(true), ..RunFilter::default() };
            let page = read::list_runs(db, &filter, 0, MOST_RUNS).await.map_err(ApiError::internal)?;
            running.extend(page.runs);
        }
        Ok(Self {
            hosts: read::hosts_of(db, able).await.map_err(ApiError::internal)?,
            commands: read::open_commands_of(db, busy).await.map_err(ApiError::internal)?,
            running,
            now: state.master().clock.now(),
            state: state.clone(),
        })
    }

    /// Says since when a host was not heard; nothing of one that is online.
    pub fn away(&self, agent: &AgentId) -> Option<String> {
        let presence = presence(&self.state, agent, None);
        if presence.is_online {
            return None;
        }
        let heard = presence.last_seen.map(|at| format!(", heard {}", Moment::of(at, self.now).ago));
        Some(format!("offline{}", heard.unwrap_or_default()))
    }

    /// True if a host still has this question before it.
    pub fn is_asked(&self, agent: &AgentId, request: &RequestId) -> bool {
        self.commands.get(agent).into_iter().flatten().any(|command| is_question(&command.kind, request))
    }

    /// Says why a host cannot carry out such changes; nothing if it can, or has not said what it is.
    pub fn inability(&self, agent: &AgentId, changes: &Changes) -> Option<String> {
        let abilities = &self.hosts.get(agent)?.host.abilities;
        let is_there = |is: fn(Kind) -> bool| changes.all().iter().any(|change| is(change.kind));
        let lacks = |what: &str, ability: &Ability| {
            let why = ability.problem.as_ref().map_or_else(
                || ": its agent is older, or not permitted; `docs/updates.md` says how to let it".to_owned(),
                |problem| match &problem.way_out {
                    Some(way_out) => format!(": {}; {way_out}", problem.reason),
                    None => format!(": {}", problem.reason),
                },
            );
            (!ability.yes).then(|| spell_out(&format!("{what}{why}")))
        };
        let images = is_there(|kind| kind == Kind::DockerImage);
        let packages = is_there(|kind| kind != Kind::DockerImage);
        let packages = packages.then(|| lacks("cannot install packages", &abilities.installs_packages));
        let images = images.then(|| lacks("cannot replace containers", &abilities.replaces_containers));
        packages.flatten().or_else(|| images.flatten())
    }

    fn command(&self, row: &ApprovalRow) -> Option<&Command> {
        let id = row.command_id.as_ref()?;
        self.commands.get(&row.agent_id)?.iter().find(|command| command.id == *id)
    }

    /// Returns the run under way that carries an order out.
    fn run_of(&self, row: &ApprovalRow) -> Option<&RunRow> {
        row.command_id.as_ref()?;
        self.running.iter().find(|run| run.agent_id == row.agent_id && run.order_id == row.command_id)
    }
}

/// True if a command carries this question.
pub fn is_question(kind: &CommandKind, request: &RequestId) -> bool {
    matches!(kind, CommandKind::PlanUpdates { request: of, .. } if of == request)
}

/// Address of the page of a run.
pub fn run_href(run: &RunRow) -> String {
    format!("/runs/{}/{}", run.agent_id, run.id)
}

impl Stand {
    /// Says where the host of a yes stands, and which plan it was given if that is not the one that was looked at.
    pub fn of(row: &ApprovalRow, known: &Known) -> Self {
        let stand = Self::as_given(row, known);
        let Some(other) = row.approved_plan.as_ref().map(|_| row.plan_id.short()) else { return stand };
        let why = match row.reissued_at {
            Some(_) => {
                "the plan no longer held, and what the host would change instead is in the scope of the yes"
            }
            None => "what the host would change is another plan in the scope of the yes",
        };
        let note = stand.note.map(|note| format!("{note}; ")).unwrap_or_default();
        Self { note: Some(format!("{note}{why}: plan {other}")), ..stand }
    }

    fn as_given(row: &ApprovalRow, known: &Known) -> Self {
        let run = row.run_id.as_ref().map(|id| format!("/runs/{}/{id}", row.agent_id));
        let reason = row.reason.as_deref().map(spell_out);
        let stand = |tone, word: &str| Self {
            badge: badge(tone, word),
            note: reason.clone(),
            run: run.clone(),
            awaits_second: false,
            can_go_back: false,
        };
        match row.status {
            ApprovalStatus::Waiting if known.now >= row.expires_at => Self {
                note: Some("nobody else said yes in time; ask anew what would change".into()),
                ..stand("idle", "over")
            },
            ApprovalStatus::Waiting => Self {
                note: Some("nothing is told to the host before another person says yes too".into()),
                awaits_second: true,
                can_go_back: true,
                ..stand("warn", "waits for a second yes")
            },
            ApprovalStatus::Scheduled => Self {
                note: row.not_before.map(|at| {
                    let at = at.format("%Y-%m-%d %H:%M UTC");
                    format!("the host is told at {at}; until then it can be taken back")
                }),
                can_go_back: true,
                ..stand("idle", "scheduled")
            },
            ApprovalStatus::Ordered => Self::ordered(row, known),
            ApprovalStatus::Withdrawn if row.ended_at.is_some_and(|at| at >= row.expires_at) => {
                // Whether anything was changed is said by the reason: the host may have fetched it.
                stand("idle", "over")
            }
            ApprovalStatus::Withdrawn => stand("idle", "not carried out"),
            ApprovalStatus::Verified => stand("good", "verified"),
            ApprovalStatus::NotStarted => stand("warn", "not started, nothing was changed"),
            ApprovalStatus::Failed => stand("bad", "failed"),
            ApprovalStatus::RolledBack => stand("warn", "failed, the old state is back"),
            ApprovalStatus::RollbackFailed => stand("bad", "failed, the old state is not back"),
        }
    }

    fn ordered(row: &ApprovalRow, known: &Known) -> Self {
        let stand = |tone, word: &str, note: String| Self {
            badge: badge(tone, word),
            note: Some(note),
            run: None,
            awaits_second: false,
            can_go_back: false,
        };
        if let Some(run) = known.run_of(row) {
            let step = run.step.clone().unwrap_or_else(|| "its beginning".into());
            let percent = run.percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
            let note = spell_out(&format!("in {step}{percent}"));
            return Self { run: Some(run_href(run)), ..stand("busy", "running", note) };
        }
        let until = row.expires_at.format("%Y-%m-%d %H:%M UTC");
        let away = known.away(&row.agent_id);
        if known.is_asked(&row.agent_id, &RequestId::new(row.id.as_str())) {
            let note = "the plan no longer holds; the host works out whether what it would change now is in the scope of the yes";
            return Self { can_go_back: true, ..stand("busy", "planned anew", note.into()) };
        }
        let Some(command) = known.command(row) else {
            return stand(
                "busy",
                "fetched",
                "the host answered the order; what its run did is told next".into(),
            );
        };
        match (command.attempt > 0, away) {
            (true, None) => {
                stand("busy", "fetched", "the host has the order and looks whether it still holds".into())
            }
            (true, Some(away)) => {
                let note =
                    format!("the host has the order and is {away}; what it did is told when it is back");
                stand("warn", "fetched", note)
            }
            (false, None) => Self {
                can_go_back: true,
                ..stand("busy", "ordered", "the host fetches it with its next question".into())
            },
            (false, Some(away)) => Self {
                can_go_back: true,
                ..stand(
                    "warn",
                    "ordered",
                    format!("the host is {away}; the order waits for it until {until}"),
                )
            },
        }
    }
}
