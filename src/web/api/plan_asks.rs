//! Reads whom a question is for, and what it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::master::{MOST_HOSTS, MasterError};
use crate::db::read::{find_run, find_updates};
use crate::domain::id::{AgentId, UpdateId};
use crate::domain::update::{PlanAsk, RebootAsk, RunId, Wanted};
use crate::web::error::ApiError;
use crate::web::state::WebState;

/// Most updates that one question is about.
const MOST_IDS: usize = 10_000;

/// What hosts are asked: updates by id; or hosts, with what; or a run that is to be taken back.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanBody {
    /// Ids of updates, at most 10,000; each host is asked about its own.
    pub updates: Option<Vec<String>>,
    /// Ids of agents whose hosts are asked.
    pub agents: Option<Vec<String>>,
    /// With `agents`: `all`, `security`, `repair` (what was broken off) or `reboot`; or `names`.
    pub what: Option<String>,
    /// With `agents`: names such as `bash`, `apt:bash` or `docker_image:web`.
    pub names: Option<Vec<String>>,
    /// A run that is to be taken back.
    pub run: Option<RunName>,
    /// With `run`: only these names of it.
    pub only: Option<Vec<String>>,
    /// Whether services are restarted afterwards that run on files which are replaced; false if it is left out.
    pub restart_services: Option<bool>,
    /// With `reboot`: minutes until then, 0 to 1,440; 1 if it is left out.
    pub delay_minutes: Option<u16>,
    /// With `reboot`: what people on the host are told.
    pub message: Option<String>,
}

/// Names a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunName {
    /// The agent on whose host it was.
    pub agent: String,
    /// Its name there.
    pub id: String,
}

/// What is asked of whom.
#[derive(Debug, Default)]
pub struct Asks {
    /// The question to each host.
    pub asks: Vec<(AgentId, PlanAsk)>,
    /// Updates that are named and not known, so that no host is asked about them.
    pub unknown: Vec<UpdateId>,
}

/// Reads whom a question is for, and what it is.
pub async fn asks(state: &WebState, body: PlanBody) -> Result<Asks, ApiError> {
    body.must_be_one_question()?;
    let restart_services = body.restart_services.unwrap_or(false);
    match body {
        PlanBody { run: Some(run), only, .. } => {
            undo(state, run, only.unwrap_or_default(), restart_services).await
        }
        PlanBody { updates: Some(ids), .. } => asks_of_updates(state, ids, restart_services).await,
        PlanBody { agents: Some(agents), what, names, delay_minutes, message, .. } => {
            if agents.is_empty() || agents.len() > MOST_HOSTS {
                return Err(bad("agents", "send 1 to 20,000 ids of agents"));
            }
            let install = |wanted| PlanAsk::Install { wanted, restart_services };
            let ask = match (what.as_deref(), names) {
                (_, Some(names)) => install(Wanted::Named(names)),
                (Some("all"), None) => install(Wanted::All),
                (Some("security"), None) => install(Wanted::Security),
                (Some("repair"), None) => PlanAsk::Repair,
                (Some("reboot"), None) => PlanAsk::Reboot(RebootAsk {
                    delay_minutes: delay_minutes.unwrap_or(1),
                    message: message.unwrap_or_default(),
                }),
                _ => return Err(bad("what", "send `all`, `security`, `repair` or `reboot`, or `names`")),
            };
            let ask = |id| (AgentId::new(id), ask.clone());
            Ok(Asks { asks: agents.into_iter().map(ask).collect(), unknown: Vec::new() })
        }
        _ => Err(ApiError::Invalid(NOTHING.into())),
    }
}

const NOTHING: &str = "nothing is asked: send `updates`, `agents` with `what` or `names`, or `run`";

impl PlanBody {
    /// Fails if fields stand together of which one would count for nothing.
    fn must_be_one_question(&self) -> Result<(), ApiError> {
        let whose = [
            ("updates", self.updates.is_some()),
            ("agents", self.agents.is_some()),
            ("run", self.run.is_some()),
        ];
        let given: Vec<&str> =
            whose.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
        if let [one, other, ..] = given.as_slice() {
            let words = format!(
                "fields `{one}` and `{other}` are two questions: send one of `updates`, `agents`, `run`"
            );
            return Err(ApiError::Invalid(words));
        }
        let rest = [
            ("what", self.what.is_some(), "agents"),
            ("names", self.names.is_some(), "agents"),
            ("only", self.only.is_some(), "run"),
        ];
        for (name, is_given, needed) in rest {
            if is_given && given.as_slice() != [needed] {
                return Err(bad(name, &format!("it goes with `{needed}` alone")));
            }
        }
        if self.what.is_some() && self.names.is_some() {
            return Err(bad("names", "it does not go with `what`: send one of the two"));
        }
        let is_reboot = self.what.as_deref() == Some("reboot");
        for (name, is_given) in
            [("delay_minutes", self.delay_minutes.is_some()), ("message", self.message.is_some())]
        {
            if is_given && !is_reboot {
                return Err(bad(name, "it goes with `what: \"reboot\"` alone"));
            }
        }
        if self.restart_services.is_some() && matches!(self.what.as_deref(), Some("reboot" | "repair")) {
            return Err(bad("restart_services", "it goes with what installs or takes back"));
        }
        Ok(())
    }
}

async fn undo(
    state: &WebState,
    run: RunName,
    only: Vec<String>,
    restart_services: bool,
) -> Result<Asks, ApiError> {
    let agent = AgentId::new(run.agent);
    if state.master().directory.slot(&agent).is_none() {
        return Err(MasterError::AgentNotFound(agent).into());
    }
    let known = match RunId::parse(&run.id) {
        Some(id) => find_run(&state.master().db, &agent, &id).await.map_err(ApiError::internal)?,
        None => None,
    };
    match known {
        Some(row) => {
            let ask = PlanAsk::Undo { run: row.id, only, restart_services };
            Ok(Asks { asks: vec![(agent, ask)], unknown: Vec::new() })
        }
        None => Err(MasterError::RunNotFound { agent, run: run.id }.into()),
    }
}

async fn asks_of_updates(
    state: &WebState,
    ids: Vec<String>,
    restart_services: bool,
) -> Result<Asks, ApiError> {
    if ids.is_empty() || ids.len() > MOST_IDS {
        return Err(bad("updates", "send 1 to 10,000 ids of updates"));
    }
    let mut unknown: BTreeSet<UpdateId> = ids.into_iter().map(UpdateId::new).collect();
    let asked: Vec<UpdateId> = unknown.iter().cloned().collect();
    let found = find_updates(&state.master().db, &asked).await.map_err(ApiError::internal)?;
    let mut names = BTreeMap::<AgentId, Vec<String>>::new();
    for row in found {
        unknown.remove(&row.update.id);
        names.entry(row.agent_id).or_default().push(format!("{}:{}", row.kind, row.update.finding.name));
    }
    let ask = |(agent, mut names): (AgentId, Vec<String>)| {
        names.sort();
        (agent, PlanAsk::Install { wanted: Wanted::Named(names), restart_services })
    };
    Ok(Asks { asks: names.into_iter().map(ask).collect(), unknown: unknown.into_iter().collect() })
}

/// Says what is wrong with a field.
pub fn bad(field: &str, expected: &str) -> ApiError {
    ApiError::Invalid(format!("field `{field}` is not allowed: {expected}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_which_one_would_count_for_nothing_are_named() {
        let run = json!({ "agent": "a", "id": "r" });
        for (body, words) in [
            (json!({ "updates": ["u"], "agents": ["a"] }), "`updates` and `agents` are two questions"),
            (json!({ "updates": ["u"], "run": run }), "`updates` and `run` are two questions"),
            (json!({ "agents": ["a"], "what": "all", "run": run }), "`agents` and `run` are two questions"),
            (
                json!({ "updates": ["u"], "what": "all" }),
                "`what` is not allowed: it goes with `agents` alone",
            ),
            (json!({ "run": run, "names": ["x"] }), "`names` is not allowed: it goes with `agents` alone"),
            (
                json!({ "agents": ["a"], "what": "all", "only": ["x"] }),
                "`only` is not allowed: it goes with `run`",
            ),
            (
                json!({ "agents": ["a"], "what": "all", "names": ["x"] }),
                "`names` is not allowed: it does not go",
            ),
            (
                json!({ "agents": ["a"], "what": "all", "delay_minutes": 5 }),
                "`delay_minutes` is not allowed: it goes with `what",
            ),
            (
                json!({ "agents": ["a"], "what": "reboot", "restart_services": true }),
                "`restart_services` is not allowed",
            ),
            (json!({ "what": "all" }), "`what` is not allowed: it goes with `agents` alone"),
        ] {
            let read: PlanBody = serde_json::from_value(body.clone()).unwrap();
            let error = read.must_be_one_question().unwrap_err().to_string();
            assert!(error.contains(words), "{body}: {error}");
        }
        for body in [
            json!({}),
            json!({ "updates": ["u"] }),
            json!({ "agents": ["a"], "what": "all" }),
            json!({ "agents": ["a"], "names": ["x"], "restart_services": true }),
            json!({ "agents": ["a"], "what": "reboot", "delay_minutes": 5 }),
            json!({ "run": run, "only": ["x"] }),
        ] {
            let read: PlanBody = serde_json::from_value(body.clone()).unwrap();
            assert!(read.must_be_one_question().is_ok(), "{body}");
        }
    }
}
