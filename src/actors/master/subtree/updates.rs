//! Keeps what scans of an agent's host find, by difference, and what people decide about it.
//!
//! All rules are in `domain::update`. Nothing is held between two messages: a host has thousands of updates, and what an
//! equal scan needs to be told apart is in the agent's slot.

use std::collections::BTreeMap;

use actix::prelude::*;
use chrono::{DateTime, Utc};

use super::own::{self, Own, log, to};
use crate::actors::master::bus::Note;
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::TakeOtherMachine;
use crate::actors::master::receipt::{Part, Reply};
use crate::actors::master::requests::Approval;
use crate::actors::supervision::{Ctx, supervised};
use crate::db::updates::{ScanRow, decisions_of, find_host, overdue_of, scans_of, updates_of};
use crate::db::{self, Assumption, Batch, Expected, RowChange};
use crate::domain::command::Outcome;
use crate::domain::event::{Stream, UpdateEvent};
use crate::domain::host::Host;
use crate::domain::id::{CommandId, RequestId, UpdateId};
use crate::domain::machine::{OtherMachine, with_known_id};
use crate::domain::update::{
    Change, Checked, Decision, Findings, Kind, PlanAsk, Problem, RunProgress, Scanned, Then, after_decision,
    after_snooze, reconcile,
};
use crate::protocol::v3::{PlanTold, RunTold};

/// Owns an agent's updates.
pub struct UpdateCoordinator {
    /// Away while an operation runs.
    keeper: Option<Box<Keeper>>,
}

/// The host was looked at; what was found is asked for if it is not what is kept.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeScan {
    /// How its scanners came out.
    pub scan: Scanned,
    /// Who waits for the commit.
    pub part: Part,
}

/// All that one scanner found.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeFindings {
    /// It.
    pub findings: Findings,
    /// Who waits for the commit.
    pub part: Part,
}

/// The machine behind the agent.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeHost {
    /// What it is.
    pub host: Box<Host>,
    /// Who waits for the commit.
    pub part: Part,
}

/// A person decides about updates of this host, or takes it back.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Decide {
    /// Which, by kind and name.
    pub updates: Vec<(Kind, String)>,
    /// What; none takes back what was decided.
    pub decision: Option<Decision>,
    /// Who.
    pub by: String,
    /// How many it concerned.
    pub reply: Reply<usize>,
}

/// A person asks what the host would change.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AskPlan {
    /// The question, maybe to many hosts at once.
    pub request: RequestId,
    /// What.
    pub ask: PlanAsk,
    /// What becomes of the answer.
    pub then: Then,
    /// Who asks.
    pub by: String,
    /// The command that carries it.
    pub reply: Reply<CommandId>,
}

/// A person says yes to an update by its name, or to what comes along with it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Want {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// True if the yes is to what comes along.
    pub confirms: bool,
    /// Who.
    pub by: String,
    /// The command that goes to the host.
    pub reply: Reply<CommandId>,
}

/// A person says yes to many updates of the host.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WantAll {
    /// Their kinds and names.
    pub names: Vec<(Kind, String)>,
    /// When they are installed; none: at once.
    pub not_before: Option<DateTime<Utc>>,
    /// Who.
    pub by: String,
    /// For each the command that goes to the host, or why there is none.
    pub reply: Reply<Vec<Result<CommandId, MasterError>>>,
}

/// A RedFlag agent says what an update brings along.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeDependencies {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What comes along.
    pub dependencies: Vec<String>,
    /// The command that installs it, if nothing comes along.
    pub reply: Reply<Option<CommandId>>,
}

/// The host worked it out, or could not.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakePlan {
    /// What it says.
    pub told: Box<PlanTold>,
    /// Who waits for the commit.
    pub reply: Reply<()>,
}

/// A person's yes to a plan, or what becomes of it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Approve {
    /// What is decided.
    pub what: Approval,
    /// Done.
    pub reply: Reply<()>,
}

/// A run on the host ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeRun {
    /// What it did.
    pub told: Box<RunTold>,
    /// Who waits for the commit.
    pub reply: Reply<()>,
}

/// A run on the host goes on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeProgress {
    /// How far it is.
    pub progress: Box<RunProgress>,
    /// Who waits for the commit.
    pub part: Part,
}

/// The host answered a command; if that carried an order, and there is no run, that is its end.
#[derive(Message)]
#[rtype(result = "()")]
pub struct OrderAnswered {
    /// Which command.
    pub command: CommandId,
    /// How it ended.
    pub outcome: Outcome,
    /// Who waits for the commit.
    pub part: Part,
}

/// A time is over until which something was put off, or a yes counted; or one has come for which something was scheduled.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookWhatIsDue;

impl UpdateCoordinator {
    /// Makes one that reads what it needs.
    pub fn new(own: Own) -> Self {
        Self { keeper: Some(Box::new(Keeper { own })) }
    }

    fn run<T: 'static>(
        &mut self,
        operation: impl AsyncFnOnce(&mut Keeper) -> Result<T, MasterError> + 'static,
        answer: impl FnOnce(Result<T, MasterError>) + 'static,
    ) -> AtomicResponse<Self, ()> {
        own::run(self, |actor| &mut actor.keeper, operation, |result, _| answer(result))
    }
}

supervised!(UpdateCoordinator);

impl Actor for UpdateCoordinator {
    type Context = Ctx<Self>;
}

impl Handler<TakeScan> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, TakeScan { scan, part }: TakeScan, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |keeper| keeper.take_scan(scan).await, move |result| part.finish(result))
    }
}

impl Handler<TakeFindings> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, TakeFindings { findings, part }: TakeFindings, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |keeper| keeper.take_findings(findings).await, move |result| part.finish(result))
    }
}

impl Handler<TakeHost> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, TakeHost { host, part }: TakeHost, _: &mut Ctx<Self>) -> Self::Result {
        let waiting = part.split();
        let take = async move |keeper: &mut Keeper| keeper.take_host(host, waiting).await;
        self.run(take, move |result| part.finish(result))
    }
}

impl Handler<Decide> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Decide { updates, decision, by, reply }: Decide, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |keeper| keeper.decide(&updates, decision.as_ref(), &by).await, to(reply))
    }
}

impl Handler<AskPlan> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, asked: AskPlan, _: &mut Ctx<Self>) -> Self::Result {
        let AskPlan { request, ask, then, by, reply } = asked;
        self.run(async move |keeper| keeper.ask_plan(request, ask, then, None, &by).await, to(reply))
    }
}

impl Handler<Want> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, want: Want, _: &mut Ctx<Self>) -> Self::Result {
        let Want { kind, name, confirms, by, reply } = want;
        let decide = async move |keeper: &mut Keeper| match confirms {
            true => keeper.confirm(kind, &name, &by).await,
            false => keeper.want(kind, &name, None, &by).await,
        };
        self.run(decide, to(reply))
    }
}

impl Handler<WantAll> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, want: WantAll, _: &mut Ctx<Self>) -> Self::Result {
        let WantAll { names, not_before, by, reply } = want;
        self.run(async move |keeper| keeper.want_all(&names, not_before, &by).await, to(reply))
    }
}

impl Handler<TakeDependencies> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, told: TakeDependencies, _: &mut Ctx<Self>) -> Self::Result {
        let TakeDependencies { kind, name, dependencies, reply } = told;
        let take = async move |keeper: &mut Keeper| keeper.take_dependencies(kind, &name, dependencies).await;
        self.run(take, to(reply))
    }
}

impl Handler<TakePlan> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, TakePlan { told, reply }: TakePlan, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |keeper| keeper.take_plan(*told).await, to(reply))
    }
}

impl Handler<Approve> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Approve { what, reply }: Approve, _: &mut Ctx<Self>) -> Self::Result {
        let decide = async move |keeper: &mut Keeper| match &what {
            Approval::Give(yes) => keeper.approve(yes).await,
            Approval::Second { approval, by } => keeper.second(approval, by).await,
            Approval::Withdraw { approval, by } => keeper.withdraw(approval, by).await,
            Approval::CallOff { command, by } => keeper.call_off(command, by).await,
        };
        self.run(decide, to(reply))
    }
}

impl Handler<TakeRun> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, TakeRun { told, reply }: TakeRun, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |keeper| keeper.take_run(*told).await, to(reply))
    }
}

impl Handler<TakeProgress> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, TakeProgress { progress, part }: TakeProgress, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |keeper| keeper.take_progress(*progress).await, move |result| part.finish(result))
    }
}

impl Handler<OrderAnswered> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, told: OrderAnswered, _: &mut Ctx<Self>) -> Self::Result {
        let OrderAnswered { command, outcome, part } = told;
        let take = async move |keeper: &mut Keeper| keeper.order_answered(&command, &outcome).await;
        self.run(take, move |result| part.finish(result))
    }
}

impl Handler<LookWhatIsDue> for UpdateCoordinator {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: LookWhatIsDue, _: &mut Ctx<Self>) -> Self::Result {
        let look = async |keeper: &mut Keeper| {
            keeper.end_snoozes().await?;
            keeper.end_approvals().await?;
            keeper.end_unanswered().await?;
            keeper.order_what_is_due().await?;
            keeper.install_what_is_due().await
        };
        self.run(look, log("updates that were put off, and approvals"))
    }
}

/// Said of a scanner that a host had and has no more.
const NO_SCANNER: &str = "the host says nothing of it any more";

/// Decides and commits for one host.
pub(super) struct Keeper {
    pub(super) own: Own,
}

impl Keeper {
    /// Notes how the scanners came out, and which findings are to be sent.
    async fn take_scan(&mut self, scan: Scanned) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        let slot = self.own.known_slot()?;
        let now = env.now();
        let mut stored = scans_of(&env.db, agent).await?;
        let mut batch = self.batch();
        let mut wanted = Vec::new();
        for checked in &scan.scanners {
            let before = stored.remove(&checked.kind);
            if before.as_ref().is_none_or(|row| row.checked.digest != checked.digest) {
                wanted.push(checked.kind);
            }
            // What is kept is what was found before, until the new findings are here.
            let digest = before.map(|row| row.checked.digest).unwrap_or_default();
            let checked = Checked { digest, ..checked.clone() };
            batch = batch.row(RowChange::PutScan { agent_id: agent.clone(), checked });
        }
        for row in stored.into_values().filter(|row| row.checked.problem.is_none()) {
            batch = batch.row(RowChange::PutScan { agent_id: agent.clone(), checked: silent(row) });
        }
        env.ledger.commit(batch).await?;
        slot.note_scan(&scan, &wanted, now);
        env.notices.announce(Note::Updates(agent.clone()));
        Ok(())
    }

    /// Keeps what differs.
    async fn take_findings(&mut self, findings: Findings) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        let slot = self.own.known_slot()?;
        let kind = findings.checked.kind;
        let known = updates_of(&env.db, agent, kind).await?;
        let installing = Self::under_way(&known);
        let decisions = decisions_of(&env.db, agent, kind).await?;
        let now = env.now();
        let new_id = || UpdateId::new(env.chance.uuid().to_string());
        let mut changes = reconcile(known, &decisions, &findings, now, new_id);
        self.after_redflag_install(&findings, installing, &mut changes).await?;
        self.wake_for(&changes);
        let checked = findings.checked;
        let batch = self
            .batch()
            .row(RowChange::PutUpdates { agent_id: agent.clone(), kind, changes })
            .row(RowChange::PutScan { agent_id: agent.clone(), checked });
        env.ledger.commit(batch).await?;
        slot.note_findings(kind);
        env.notices.announce(Note::Updates(agent.clone()));
        Ok(())
    }

    /// Keeps what differs; whether another machine may speak for the agent is not decided here.
    async fn take_host(&mut self, host: Box<Host>, waiting: Part) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        let known = find_host(&env.db, agent).await?.map(|row| row.host);
        let dialect = self.own.known_slot()?.dialect();
        if known.as_ref().is_some_and(|known| OtherMachine::between(known, &host, dialect).is_some()) {
            // With no room the receipt goes with it: the agent says it again.
            let _ = env.other_machine.tell(TakeOtherMachine { agent: agent.clone(), host, part: waiting });
            return Ok(());
        }
        waiting.finish(Ok(()));
        let host = Box::new(with_known_id(*host, known.as_ref()));
        if known.is_some_and(|known| known == *host) {
            return Ok(());
        }
        let batch = self.batch().row(RowChange::PutHost { agent_id: agent.clone(), host });
        env.ledger.commit(batch).await?;
        env.notices.announce(Note::Agent(agent.clone()));
        Ok(())
    }

    /// Writes down what a person decided; returns how many updates it concerned.
    async fn decide(
        &mut self,
        updates: &[(Kind, String)],
        decision: Option<&Decision>,
        by: &str,
    ) -> Result<usize, MasterError> {
        let Own { env, agent } = &self.own;
        let stream = Stream::updates(agent);
        let end = Expected::Version(db::events::stream_version(&env.db, &stream).await?);
        let now = env.now();
        let mut known = BTreeMap::new();
        for kind in Kind::ALL.into_iter().filter(|kind| updates.iter().any(|(of, _)| of == kind)) {
            known.insert(kind, updates_of(&env.db, agent, kind).await?);
        }
        let mut changes = BTreeMap::<Kind, Vec<Change>>::new();
        let mut events = Vec::new();
        for (kind, name) in updates {
            let Some(update) = known.get(kind).and_then(|of_kind| of_kind.get(name)) else { continue };
            let decision =
                decision.map(|decision| for_version(decision, update.finding.available_version.as_ref()));
            let Some(after) = after_decision(update, decision.as_ref(), now) else { continue };
            let (agent_id, kind, name) = (agent.clone(), *kind, name.clone());
            events.push(match decision {
                Some(decision) => UpdateEvent::Decided { agent_id, kind, name, decision },
                None => UpdateEvent::Reconsidered { agent_id, kind, name },
            });
            changes.entry(kind).or_default().push(Change::Put(Box::new(after)));
        }
        let count = events.len();
        if count == 0 {
            return Ok(0);
        }
        let mut batch = env.batch(by).assume(self.is_listed()).append(stream, end, events);
        for (kind, changes) in changes {
            self.wake_for(&changes);
            batch = batch.row(RowChange::PutUpdates { agent_id: agent.clone(), kind, changes });
        }
        env.ledger.commit(batch).await?;
        env.notices.announce(Note::Updates(agent.clone()));
        Ok(count)
    }

    async fn end_snoozes(&mut self) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        let now = env.now();
        let mut batch = self.batch();
        for (kind, update) in overdue_of(&env.db, agent, now).await? {
            let Some(after) = after_snooze(&update, now) else { continue };
            let changes = vec![Change::Put(Box::new(after))];
            batch = batch.row(RowChange::PutUpdates { agent_id: agent.clone(), kind, changes });
        }
        if batch.rows.is_empty() {
            return Ok(());
        }
        env.ledger.commit(batch).await?;
        env.notices.announce(Note::Updates(agent.clone()));
        Ok(())
    }

    pub(super) fn batch(&self) -> Batch {
        self.own.env.batch(format!("agent:{}", self.own.agent)).assume(self.is_listed())
    }

    pub(super) fn is_listed(&self) -> Assumption {
        Assumption::IsListed { agent_id: self.own.agent.clone() }
    }

    /// Asks to be woken when what was put off is due.
    fn wake_for(&self, changes: &[Change]) {
        let due = changes.iter().filter_map(|change| match change {
            Change::Put(update) => update.due_at,
            Change::Forget(_) => None,
        });
        if let Some(at) = due.min() {
            self.own.env.due_at(&self.own.agent, at);
        }
    }
}

/// Ignoring means the version that is on offer now.
fn for_version(decision: &Decision, available: Option<&String>) -> Decision {
    match decision {
        Decision::Ignore { .. } => Decision::Ignore { version: available.cloned() },
        other => other.clone(),
    }
}

/// What is said of a scanner of which the host says nothing any more.
fn silent(row: ScanRow) -> Checked {
    let problem = Problem { reason: NO_SCANNER.into(), way_out: None };
    Checked { ok: false, is_complete: false, problem: Some(problem), ..row.checked }
}
