//! Hands that work on the `io` runtime, for who must not be held up.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Errand, Hands, HandsStatus, KeyNews, NotCarriedOut, TellProgress};
use crate::domain::id::AgentId;
use crate::domain::order::KeyOffer;
use crate::domain::update::{Plan, PlanAsk, Problem, Run, RunId};
use crate::io::Io;
use crate::protocol::v3::RunTold;

/// Has other hands work on the `io` runtime. What nobody waits for any more is ended.
pub struct OnIo {
    hands: Arc<dyn Hands>,
    io: Io,
}

impl OnIo {
    /// Takes the hands that work.
    pub fn new(hands: Arc<dyn Hands>, io: Io) -> Self {
        Self { hands, io }
    }
}

#[async_trait]
impl Hands for OnIo {
    async fn status(&self) -> HandsStatus {
        let hands = Arc::clone(&self.hands);
        self.io.run(async move { hands.status().await }).await
    }

    async fn refresh(&self) -> Result<(), Problem> {
        let hands = Arc::clone(&self.hands);
        self.io.run(async move { hands.refresh().await }).await
    }

    async fn plan(&self, ask: &PlanAsk) -> Result<Plan, Problem> {
        let (hands, ask) = (Arc::clone(&self.hands), ask.clone());
        self.io.run(async move { hands.plan(&ask).await }).await
    }

    async fn carry_out(&self, errand: Errand, tell: TellProgress) -> Result<Run, NotCarriedOut> {
        let hands = Arc::clone(&self.hands);
        self.io.run(async move { hands.carry_out(errand, tell).await }).await
    }

    async fn cancel(&self, run: &RunId, by: &str) -> Result<(), Problem> {
        let (hands, run, by) = (Arc::clone(&self.hands), run.clone(), by.to_owned());
        self.io.run(async move { hands.cancel(&run, &by).await }).await
    }

    async fn offer_key(&self, offer: &KeyOffer, agent: &AgentId) -> Result<KeyNews, Problem> {
        let (hands, offer, agent) = (Arc::clone(&self.hands), offer.clone(), agent.clone());
        self.io.run(async move { hands.offer_key(&offer, &agent).await }).await
    }

    async fn learn_label_prefix(&self, said: Option<&str>) -> Result<(), Problem> {
        let (hands, said) = (Arc::clone(&self.hands), said.map(str::to_owned));
        self.io.run(async move { hands.learn_label_prefix(said.as_deref()).await }).await
    }

    async fn untold(&self, agent: &AgentId) -> Result<Vec<RunId>, Problem> {
        let (hands, agent) = (Arc::clone(&self.hands), agent.clone());
        self.io.run(async move { hands.untold(&agent).await }).await
    }

    async fn read_run(&self, run: &RunId) -> Result<Option<RunTold>, Problem> {
        let (hands, run) = (Arc::clone(&self.hands), run.clone());
        self.io.run(async move { hands.read_run(&run).await }).await
    }

    async fn mark_told(&self, run: &RunId, agent: &AgentId) -> Result<(), Problem> {
        let (hands, run, agent) = (Arc::clone(&self.hands), run.clone(), agent.clone());
        self.io.run(async move { hands.mark_told(&run, &agent).await }).await
    }
}
