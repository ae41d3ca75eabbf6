//! The hands of this process, for the agent.

use async_trait::async_trait;

use super::{Errand, Hands, HandsStatus, KeyNews, KeyWas, NotCarriedOut, OwnHands, TellProgress};
use crate::domain::host::Ability;
use crate::domain::id::AgentId;
use crate::domain::order::{KeyOffer, Offered};
use crate::domain::update::{Kind, Plan, PlanAsk, Problem, Run, RunId};
use crate::protocol::v3::{LOG_LIMIT, RunTold};
use crate::state_dir::{StateError, keep_label_prefix, read_end};
use crate::updates::{ScanAsk, cancel, failed_images};

/// Most runs that are named at once.
const MOST: usize = 20;

fn in_words(error: StateError) -> Problem {
    Problem { reason: error.to_string(), way_out: None }
}

/// Who may change what is not there can change nothing.
fn if_present(right: Ability, is_present: bool, why_not: &str) -> Ability {
    if right.yes && !is_present { Ability::no(why_not, None) } else { right }
}

#[async_trait]
impl Hands for OwnHands {
    async fn status(&self) -> HandsStatus {
        let rights = self.parts.rights.clone();
        let mut kinds = Vec::new();
        for installer in self.present().await.unwrap_or_default() {
            kinds.push(installer.kind());
        }
        let has_packages = kinds.iter().any(|kind| *kind != Kind::DockerImage);
        let has_engine = kinds.contains(&Kind::DockerImage);
        let mut status = HandsStatus {
            installs_packages: if_present(
                rights.packages,
                has_packages,
                "there are no packages of APT or DNF 4",
            ),
            replaces_containers: if_present(rights.containers, has_engine, "no Docker Engine answers"),
            ..HandsStatus::default()
        };
        match self.order_keys().read() {
            Ok(known) => {
                status.key = known.keys.present().map(|key| key.fingerprint());
                status.refused_key = known.refused.map(|refused| refused.offer.key.fingerprint());
            }
            Err(error) => status.problem = Some(error.to_string()),
        }
        status
    }

    async fn refresh(&self) -> Result<(), Problem> {
        for scanner in &self.parts.refreshing {
            if scanner.is_present().await {
                let ask = ScanAsk { now: self.parts.clock.now(), last: None, by_person: true };
                if let Some(problem) = scanner.scan(&ask).await.checked.problem {
                    return Err(problem);
                }
            }
        }
        Ok(())
    }

    async fn plan(&self, ask: &PlanAsk) -> Result<Plan, Problem> {
        ask.check().map_err(|fault| Problem { reason: fault.to_string(), way_out: None })?;
        self.work_out(ask).await.map_err(super::HandsFault::into_problem)
    }

    async fn carry_out(&self, errand: Errand, tell: TellProgress) -> Result<Run, NotCarriedOut> {
        self.carry_out_order(&errand, tell).await
    }

    async fn cancel(&self, run: &RunId, by: &str) -> Result<(), Problem> {
        let known = self.runs.read(run).map_err(in_words)?;
        let problem = |reason: &str| Err(Problem { reason: reason.into(), way_out: None });
        match known {
            None => problem("this host knows no such run"),
            Some(run) if run.outcome.is_some() => problem("the run is at its end already"),
            Some(_) => cancel(&self.runs, run, by).map_err(in_words),
        }
    }

    async fn offer_key(&self, offer: &KeyOffer, agent: &AgentId) -> Result<KeyNews, Problem> {
        let now = self.parts.clock.now();
        let offered = self.order_keys().offer(offer, agent, self.parts.agent_is, now);
        let (offered, known) = offered.map_err(in_words)?;
        let was = match offered {
            Offered::Same => KeyWas::Same,
            Offered::First => KeyWas::First,
            Offered::Exchanged => KeyWas::Exchanged,
            Offered::Refused => KeyWas::Refused,
        };
        let trusted = known.keys.present().map(|key| key.fingerprint());
        Ok(KeyNews { was, trusted, shown: offer.key.fingerprint() })
    }

    async fn learn_label_prefix(&self, said: Option<&str>) -> Result<(), Problem> {
        keep_label_prefix(&self.parts.dir, said).map_err(in_words)
    }

    async fn untold(&self, agent: &AgentId) -> Result<Vec<RunId>, Problem> {
        self.runs.untold(agent, MOST).map_err(in_words)
    }

    async fn read_run(&self, run: &RunId) -> Result<Option<RunTold>, Problem> {
        let Some(record) = self.runs.read(run).map_err(in_words)? else { return Ok(None) };
        let folder = self.runs.folder(run).map_err(in_words)?;
        let failed_images = failed_images(&record, &folder);
        let path = folder.join("log.txt");
        let log = read_end(&path, 0, LOG_LIMIT as u64);
        Ok(Some(RunTold { run: record, log, failed_images }))
    }

    async fn mark_told(&self, run: &RunId, agent: &AgentId) -> Result<(), Problem> {
        self.runs.mark_told(run, agent).map_err(in_words)
    }
}
