//! Hands that change nothing and say what they are told to.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::at;
use crate::domain::host::Ability;
use crate::domain::id::AgentId;
use crate::domain::order::{KeyOffer, Order, SigningKey};
use crate::domain::update::{Plan, PlanAsk, Problem, Run, RunId, RunOutcome, RunProgress};
use crate::protocol::v3::RunTold;
use crate::updates::{Errand, Hands, HandsStatus, KeyNews, KeyWas, NotCarriedOut, TellProgress};

/// The hands; clones are the same ones.
#[derive(Clone)]
pub struct FakeHands(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    held: watch::Sender<bool>,
}

struct State {
    plan: Result<Plan, Problem>,
    outcome: Result<RunOutcome, String>,
    progress: Vec<RunProgress>,
    asked: Vec<PlanAsk>,
    errands: Vec<Errand>,
    runs: Vec<Run>,
    told: Vec<(RunId, AgentId)>,
    offers: Vec<(KeyOffer, AgentId)>,
    key: KeyWas,
    cancelled: Vec<String>,
    prefix: Option<String>,
}

impl Default for FakeHands {
    fn default() -> Self {
        let state = State {
            plan: Ok(Plan::nothing()),
            outcome: Ok(RunOutcome::Verified),
            progress: Vec::new(),
            asked: Vec::new(),
            errands: Vec::new(),
            runs: Vec::new(),
            told: Vec::new(),
            offers: Vec::new(),
            key: KeyWas::First,
            cancelled: Vec::new(),
            prefix: None,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), held: watch::Sender::new(false) }))
    }
}

impl FakeHands {
    /// Whoever plans is answered so.
    pub fn plan_as(&self, plan: Result<Plan, Problem>) {
        self.0.state.lock().plan = plan;
    }

    /// Runs end so, or are refused for a reason.
    pub fn end_as(&self, outcome: Result<RunOutcome, &str>) {
        self.0.state.lock().outcome = outcome.map_err(str::to_owned);
    }

    /// Runs say this of themselves.
    pub fn say(&self, progress: RunProgress) {
        self.0.state.lock().progress.push(progress);
    }

    /// Nothing ends until it is let go.
    pub fn hold(&self, is_held: bool) {
        self.0.held.send_replace(is_held);
    }

    /// Keys that are shown are this to the host.
    pub fn take_keys_as(&self, key: KeyWas) {
        self.0.state.lock().key = key;
    }

    /// Somebody begins a run on the host, and it ends.
    pub fn add_run(&self, id: &str) {
        let run = Run::new(RunId::parse(id).unwrap(), Plan::nothing(), "root", at("2026-01-31T11:00:00Z"));
        let outcome = Some(RunOutcome::Verified);
        self.0.state.lock().runs.push(Run { outcome, ..run });
    }

    /// What was to be carried out so far.
    pub fn errands(&self) -> Vec<Errand> {
        self.0.state.lock().errands.clone()
    }

    /// What was to be planned so far.
    pub fn asked(&self) -> Vec<PlanAsk> {
        self.0.state.lock().asked.clone()
    }

    /// What was to stop.
    pub fn cancelled(&self) -> Vec<String> {
        self.0.state.lock().cancelled.clone()
    }

    /// What was noted as told.
    pub fn told(&self) -> Vec<String> {
        self.0.state.lock().told.iter().map(|(run, agent)| format!("{run} as {agent}")).collect()
    }

    /// Which keys were shown, and to whom.
    pub fn offers(&self) -> Vec<(KeyOffer, AgentId)> {
        self.0.state.lock().offers.clone()
    }

    /// Which prefix of labels they know beside the usual ones.
    pub fn prefix(&self) -> Option<String> {
        self.0.state.lock().prefix.clone()
    }

    async fn until_let_go(&self) {
        let mut held = self.0.held.subscribe();
        held.wait_for(|is_held| !is_held).await.expect("the sender is in `self`");
    }
}

#[async_trait]
impl Hands for FakeHands {
    async fn status(&self) -> HandsStatus {
        let key = Some(SigningKey::from_seed(&[1; 32]).public().fingerprint());
        HandsStatus { installs_packages: Ability::yes(), key, ..HandsStatus::default() }
    }

    async fn refresh(&self) -> Result<(), Problem> {
        Ok(())
    }

    async fn plan(&self, ask: &PlanAsk) -> Result<Plan, Problem> {
        self.0.state.lock().asked.push(ask.clone());
        self.until_let_go().await;
        self.0.state.lock().plan.clone()
    }

    async fn carry_out(&self, errand: Errand, tell: TellProgress) -> Result<Run, NotCarriedOut> {
        let (progress, outcome) = {
            let mut state = self.0.state.lock();
            state.errands.push(errand.clone());
            (state.progress.clone(), state.outcome.clone())
        };
        progress.into_iter().for_each(|progress| tell(progress));
        self.until_let_go().await;
        let outcome = outcome.map_err(NotCarriedOut)?;
        let order: Order = serde_json::from_str(&errand.order.content).expect("an order");
        let id = RunId::parse(&format!("run-{}", order.id)).expect("a name");
        let plan = Plan { changes: order.changes, on_host: Default::default() };
        let run = Run::new(id, plan, order.by, at("2026-01-31T12:00:00Z"));
        let run = Run { order: Some(order.id), outcome: Some(outcome), ..run };
        self.0.state.lock().runs.push(run.clone());
        Ok(run)
    }

    async fn cancel(&self, run: &RunId, by: &str) -> Result<(), Problem> {
        self.0.state.lock().cancelled.push(format!("{run} by {by}"));
        Ok(())
    }

    async fn offer_key(&self, offer: &KeyOffer, agent: &AgentId) -> Result<KeyNews, Problem> {
        let mut state = self.0.state.lock();
        state.offers.push((offer.clone(), agent.clone()));
        let shown = offer.key.fingerprint();
        Ok(KeyNews { was: state.key, trusted: Some(shown.clone()), shown })
    }

    async fn learn_label_prefix(&self, said: Option<&str>) -> Result<(), Problem> {
        self.0.state.lock().prefix = said.map(str::to_owned);
        Ok(())
    }

    async fn untold(&self, agent: &AgentId) -> Result<Vec<RunId>, Problem> {
        let state = self.0.state.lock();
        let is_told = |run: &Run| state.told.contains(&(run.id.clone(), agent.clone()));
        Ok(state.runs.iter().filter(|run| !is_told(run)).map(|run| run.id.clone()).collect())
    }

    async fn read_run(&self, run: &RunId) -> Result<Option<RunTold>, Problem> {
        let found = self.0.state.lock().runs.iter().find(|one| one.id == *run).cloned();
        Ok(found.map(|run| RunTold { run, failed_images: Vec::new(), log: "done\n".into() }))
    }

    async fn mark_told(&self, run: &RunId, agent: &AgentId) -> Result<(), Problem> {
        self.0.state.lock().told.push((run.clone(), agent.clone()));
        Ok(())
    }
}
