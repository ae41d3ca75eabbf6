//! A master made for tests: it hears what agents say and answers as told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::LONG;
use crate::domain::command::Outcome;
use crate::domain::id::{AgentId, CommandId, TunnelId};
use crate::domain::order::KeyOffer;
use crate::domain::registry::{Answer, Ask};
use crate::domain::report::{Report, Reports};
use crate::domain::update::Kind;
use crate::protocol::command::AgentCommand;
use crate::protocol::v2::{GivenKey, RegisterRequest, Registered};
use crate::protocol::v3::{DeliveredCommand, PlanTold, RunTold};
use crate::uplink::{CommandDelivery, ReportsTaken, Uplink, UplinkError};

/// Something an agent said to the master.
#[derive(Debug, Clone)]
pub enum Heard {
    Register(RegisterRequest),
    Batch(Reports),
    Event(Value),
    Poll(Duration),
    Fetch,
    Ack(CommandId),
    Result(CommandId, Outcome),
    Ingress(TunnelId, Value),
    Plan(Box<PlanTold>),
    Run(Box<RunTold>),
}

type Mood = Box<dyn FnMut(&Heard) -> Option<UplinkError> + Send>;

/// The master; clones are the same one.
#[derive(Clone)]
pub struct FakeMaster(Arc<Inner>);

struct Inner {
    start: Instant,
    state: Mutex<State>,
    queued: Notify,
    news: watch::Sender<()>,
}

struct State {
    heard: Vec<(Duration, Heard)>,
    is_native: bool,
    sessions: u32,
    mood: Mood,
    call_takes: Duration,
    commands: VecDeque<DeliveredCommand>,
    dockflare_commands: Vec<AgentCommand>,
    wants: Vec<Kind>,
    master_time: Option<DateTime<Utc>>,
    waits: bool,
    label_prefix: Option<String>,
    gives_key: Option<String>,
    shows_key: Option<KeyOffer>,
    used_key: Option<String>,
}

impl FakeMaster {
    pub fn native() -> Self {
        Self::new(true)
    }

    pub fn dockflare() -> Self {
        Self::new(false)
    }

    fn new(is_native: bool) -> Self {
        let state = State {
            heard: Vec::new(),
            is_native,
            sessions: 0,
            mood: Box::new(|_| None),
            call_takes: Duration::ZERO,
            commands: VecDeque::new(),
            dockflare_commands: Vec::new(),
            wants: Vec::new(),
            master_time: None,
            waits: true,
            label_prefix: None,
            gives_key: None,
            shows_key: None,
            used_key: None,
        };
        Self(Arc::new(Inner {
            start: Instant::now(),
            state: Mutex::new(state),
            queued: Notify::new(),
            news: watch::Sender::new(()),
        }))
    }

    /// From now on `mood` decides which calls fail, and how.
    pub fn answer_with(&self, mood: impl FnMut(&Heard) -> Option<UplinkError> + Send + 'static) {
        self.0.state.lock().mood = Box::new(mood);
    }

    pub fn go_away(&self) {
        self.answer_with(|_| Some(no_answer()));
    }

    pub fn come_back(&self) {
        self.answer_with(|_| None);
    }

    /// From now on it is a DockFlare Master.
    pub fn roll_back(&self) {
        self.0.state.lock().is_native = false;
        self.answer_with(|heard| match heard {
            Heard::Batch(_) | Heard::Poll(_) | Heard::Ack(_) | Heard::Result(..) => Some(refused(404, None)),
            _ => None,
        });
    }

    /// Whoever registers is told this label prefix.
    pub fn tell_prefix(&self, prefix: &str) {
        self.0.state.lock().label_prefix = Some(prefix.to_owned());
    }

    /// Whoever registers next is given this key.
    pub fn give_key(&self, key: &str) {
        self.0.state.lock().gives_key = Some(key.to_owned());
    }

    /// Whoever registers is shown the key that orders are signed with.
    pub fn show_key(&self, offer: &KeyOffer) {
        self.0.state.lock().shows_key = Some(offer.clone());
    }

    /// The key that was used last, if another one than at first.
    pub fn used_key(&self) -> Option<String> {
        self.0.state.lock().used_key.clone()
    }

    /// Every call takes this long.
    pub fn slow_down(&self, by: Duration) {
        self.0.state.lock().call_takes = by;
    }

    /// What the header `Date` of its answers says.
    pub fn show_time(&self, at: DateTime<Utc>) {
        self.0.state.lock().master_time = Some(at);
    }

    /// Polls are answered at once from now on.
    pub fn stop_waiting(&self) {
        self.0.state.lock().waits = false;
    }

    pub fn queue(&self, command: DeliveredCommand) {
        self.0.state.lock().commands.push_back(command);
        self.0.queued.notify_one();
    }

    /// Asks for these findings with the next answer.
    pub fn want(&self, kinds: &[Kind]) {
        self.0.state.lock().wants = kinds.to_vec();
    }

    pub fn queue_dockflare(&self, command: AgentCommand) {
        self.0.state.lock().dockflare_commands.push(command);
    }

    /// Everything heard so far, with the time since the start.
    pub fn heard(&self) -> Vec<(Duration, Heard)> {
        self.0.state.lock().heard.clone()
    }

    /// Forgets what was heard so far.
    pub fn forget(&self) {
        self.0.state.lock().heard.clear();
    }

    /// What `pick` makes of everything heard so far.
    pub fn picked<T>(&self, pick: impl Fn(&Heard) -> Option<T>) -> Vec<T> {
        self.0.state.lock().heard.iter().filter_map(|(_, heard)| pick(heard)).collect()
    }

    /// Waits until `pick` makes `count` things of what was heard; returns them.
    pub async fn until<T>(&self, count: usize, pick: impl Fn(&Heard) -> Option<T>) -> Vec<T> {
        let mut news = self.0.news.subscribe();
        let heard_enough = news.wait_for(|()| self.picked(&pick).len() >= count);
        let waited = tokio::time::timeout(LONG, heard_enough).await.map(drop);
        assert!(waited.is_ok(), "not heard {count} times: {:#?}", self.heard());
        self.picked(&pick)
    }

    pub fn since_start(&self) -> Duration {
        self.0.start.elapsed()
    }

    async fn hear(&self, heard: Heard) -> Result<(), UplinkError> {
        let (failure, takes) = {
            let mut state = self.0.state.lock();
            let failure = (state.mood)(&heard);
            state.heard.push((self.0.start.elapsed(), heard));
            (failure, state.call_takes)
        };
        self.0.news.send_replace(());
        sleep(takes).await;
        failure.map_or(Ok(()), Err)
    }
}

pub fn no_answer() -> UplinkError {
    UplinkError::NoAnswer { address: "http://m".into(), reason: "connection refused".into() }
}

pub fn refused(status: u16, code: Option<&str>) -> UplinkError {
    UplinkError::Refused {
        address: "http://m".into(),
        status,
        code: code.map(str::to_owned),
        message: "no".into(),
        retry_after: None,
    }
}

/// What a DockFlare Master says of an agent that a person removed there.
pub fn removed() -> UplinkError {
    UplinkError::Refused {
        address: "http://m".into(),
        status: 404,
        code: None,
        message: "Agent not found.".into(),
        retry_after: None,
    }
}

// === picks ===

pub fn registrations(heard: &Heard) -> Option<RegisterRequest> {
    if let Heard::Register(request) = heard { Some(request.clone()) } else { None }
}

/// The numbers and items of batches.
pub fn batches(heard: &Heard) -> Option<(u64, Vec<Report>)> {
    if let Heard::Batch(batch) = heard { Some((batch.first_seq, batch.items.clone())) } else { None }
}

pub fn events(heard: &Heard) -> Option<Value> {
    if let Heard::Event(event) = heard { Some(event.clone()) } else { None }
}

/// The `type` of events.
pub fn event_types(heard: &Heard) -> Option<String> {
    Some(events(heard)?["type"].as_str()?.to_owned())
}

/// The ids of commands whose results came.
pub fn results(heard: &Heard) -> Option<(String, Outcome)> {
    if let Heard::Result(id, outcome) = heard { Some((id.to_string(), outcome.clone())) } else { None }
}

pub fn acks(heard: &Heard) -> Option<String> {
    if let Heard::Ack(id) = heard { Some(id.to_string()) } else { None }
}

#[async_trait]
impl Uplink for FakeMaster {
    async fn register(&self, request: &RegisterRequest) -> Result<Registered, UplinkError> {
        self.hear(Heard::Register(request.clone())).await?;
        let mut state = self.0.state.lock();
        state.sessions += 1;
        let session = state.is_native.then(|| format!("s{}", state.sessions));
        let agent_id = request.agent_id.clone().unwrap_or_else(|| AgentId::new("a1"));
        let key = state.gives_key.take().map(|key| GivenKey(key.into()));
        let (label_prefix, orders) = (state.label_prefix.clone(), state.shows_key.clone());
        Ok(Registered { agent_id, session, label_prefix, key, orders })
    }

    fn use_key(&self, key: &SecretString) {
        self.0.state.lock().used_key = Some(key.expose_secret().to_owned());
    }

    async fn send_event(&self, _: &AgentId, event: Value) -> Result<(), UplinkError> {
        self.hear(Heard::Event(event)).await
    }

    async fn fetch_commands(&self, _: &AgentId) -> Result<Vec<AgentCommand>, UplinkError> {
        self.hear(Heard::Fetch).await?;
        Ok(std::mem::take(&mut self.0.state.lock().dockflare_commands))
    }

    async fn send_reports(&self, _: &AgentId, batch: &Reports) -> Result<ReportsTaken, UplinkError> {
        self.hear(Heard::Batch(batch.clone())).await?;
        let wants = std::mem::take(&mut self.0.state.lock().wants);
        Ok(ReportsTaken { next_seq: batch.first_seq + batch.items.len() as u64, wants })
    }

    async fn ask_images(&self, _: &AgentId, _: &str, _: Vec<Ask>) -> Result<Vec<Answer>, UplinkError> {
        Ok(Vec::new())
    }

    async fn wait_for_commands(
        &self,
        _: &AgentId,
        _: &str,
        wait: Duration,
    ) -> Result<CommandDelivery, UplinkError> {
        self.hear(Heard::Poll(wait)).await?;
        let until = Instant::now() + wait;
        loop {
            let (commands, master_time, waits) = {
                let mut state = self.0.state.lock();
                (state.commands.drain(..).collect::<Vec<_>>(), state.master_time, state.waits)
            };
            if !commands.is_empty() || !waits || Instant::now() >= until {
                return Ok(CommandDelivery { commands, master_time });
            }
            tokio::select! { () = self.0.queued.notified() => {}, () = tokio::time::sleep_until(until) => {} }
        }
    }

    async fn acknowledge(&self, _: &AgentId, _: &str, command: &CommandId) -> Result<(), UplinkError> {
        self.hear(Heard::Ack(command.clone())).await
    }

    async fn send_result(
        &self,
        _: &AgentId,
        _: &str,
        id: &CommandId,
        outcome: &Outcome,
    ) -> Result<(), UplinkError> {
        self.hear(Heard::Result(id.clone(), outcome.clone())).await
    }

    async fn send_plan(&self, _: &AgentId, _: &str, plan: &PlanTold) -> Result<(), UplinkError> {
        self.hear(Heard::Plan(Box::new(plan.clone()))).await
    }

    async fn send_run(&self, _: &AgentId, _: &str, run: &RunTold) -> Result<(), UplinkError> {
        self.hear(Heard::Run(Box::new(run.clone()))).await
    }

    async fn put_ingress(&self, tunnel: &TunnelId, ingress: Value) -> Result<(), UplinkError> {
        self.hear(Heard::Ingress(tunnel.clone(), ingress)).await
    }
}
