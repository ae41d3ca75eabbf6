//! An agent's way to its master.

use super::patient::Patient;
use crate::cli::output;
use crate::cli::values::{agent_way, uplink};
use crate::domain::doctor::master::{self, AgentAnswer, Asked};
use crate::domain::doctor::{Check, time};
use crate::state_dir;

pub(super) async fn look(patient: &Patient) -> Vec<Check> {
    let settings = &patient.settings;
    let uplink = match agent_way(settings)
        .and_then(|(master, key)| uplink(settings, &master, key, patient.io.clone()))
    {
        Ok(uplink) => uplink,
        Err(error) => {
            let way_out =
                "set DOCKFLARE_MASTER_URL and DOCKFLARE_API_KEY, as the master's page Agents shows them";
            return vec![Check::problem("Way to the master", output::chain(&error), way_out)];
        }
    };
    let agent = patient.agent.as_ref().ok().and_then(Option::as_ref);
    let (mut asked, told) = uplink.look(!is_token(patient), agent).await;
    if let (Err(reason), Asked::Answered { agent: Some(answer), .. }) = (&patient.agent, &mut asked) {
        *answer = AgentAnswer::NotRead(reason.clone());
    }
    let mut checks = master::judge(&asked);
    checks.push(time::judge("the master", told));
    checks
}

/// True if this agent comes with a registration token, which is used up by being shown.
fn is_token(patient: &Patient) -> bool {
    let agent = &patient.settings.agent;
    let is_kept = || state_dir::find_agent_key(&patient.dir).is_ok_and(|key| key.is_some());
    let has_key = agent.api_key.get().is_some() || is_kept();
    !has_key && agent.registration_token.get().is_some()
}
