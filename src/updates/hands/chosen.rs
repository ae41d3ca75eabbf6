//! Of the hands of this process and those of a helper, the ones that may do more.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Errand, Hands, HandsStatus, KeyNews, NotCarriedOut, TellProgress};
use crate::domain::id::AgentId;
use crate::domain::order::KeyOffer;
use crate::domain::update::{Plan, PlanAsk, Problem, Run, RunId};
use crate::protocol::v3::RunTold;
use crate::updates::HelperHands;

/// Has a helper do it as soon as one is there.
pub struct ChosenHands {
    own: Arc<dyn Hands>,
    helper: HelperHands,
}

impl ChosenHands {
    /// Takes both.
    pub fn new(own: Arc<dyn Hands>, helper: HelperHands) -> Self {
        Self { own, helper }
    }

    fn helper(&self) -> Option<&HelperHands> {
        self.helper.is_there().then_some(&self.helper)
    }

    fn chosen(&self) -> &dyn Hands {
        match self.helper() {
            Some(helper) => helper,
            None => &*self.own,
        }
    }

    async fn has_own(&self, run: &RunId) -> Result<bool, Problem> {
        Ok(self.own.read_run(run).await?.is_some())
    }
}

#[async_trait]
impl Hands for ChosenHands {
    async fn status(&self) -> HandsStatus {
        self.chosen().status().await
    }

    async fn refresh(&self) -> Result<(), Problem> {
        self.chosen().refresh().await
    }

    async fn plan(&self, ask: &PlanAsk) -> Result<Plan, Problem> {
        self.chosen().plan(ask).await
    }

    async fn carry_out(&self, errand: Errand, tell: TellProgress) -> Result<Run, NotCarriedOut> {
        self.chosen().carry_out(errand, tell).await
    }

    async fn cancel(&self, run: &RunId, by: &str) -> Result<(), Problem> {
        match self.helper() {
            Some(helper) if !self.has_own(run).await? => helper.cancel(run, by).await,
            _ => self.own.cancel(run, by).await,
        }
    }

    /// Both learn it: a helper may come and go.
    async fn offer_key(&self, offer: &KeyOffer, agent: &AgentId) -> Result<KeyNews, Problem> {
        let own = self.own.offer_key(offer, agent).await;
        match self.helper() {
            Some(helper) => helper.offer_key(offer, agent).await,
            None => own,
        }
    }

    /// Both learn it, for the same reason.
    async fn learn_label_prefix(&self, said: Option<&str>) -> Result<(), Problem> {
        let own = self.own.learn_label_prefix(said).await;
        match self.helper() {
            Some(helper) => helper.learn_label_prefix(said).await.and(own),
            None => own,
        }
    }

    async fn untold(&self, agent: &AgentId) -> Result<Vec<RunId>, Problem> {
        let mut untold = self.own.untold(agent).await?;
        if let Some(helper) = self.helper() {
            untold.extend(helper.untold(agent).await?);
        }
        Ok(untold)
    }

    async fn read_run(&self, run: &RunId) -> Result<Option<RunTold>, Problem> {
        match (self.own.read_run(run).await?, self.helper()) {
            (None, Some(helper)) => helper.read_run(run).await,
            (own, _) => Ok(own),
        }
    }

    async fn mark_told(&self, run: &RunId, agent: &AgentId) -> Result<(), Problem> {
        match self.helper() {
            Some(helper) if !self.has_own(run).await? => helper.mark_told(run, agent).await,
            _ => self.own.mark_told(run, agent).await,
        }
    }
}
