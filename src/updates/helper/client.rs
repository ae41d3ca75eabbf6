//! The side of the agent.

use std::io::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{Answer, Question, frame};
use crate::domain::host::Ability;
use crate::domain::id::AgentId;
use crate::domain::order::KeyOffer;
use crate::domain::update::{Plan, PlanAsk, Problem, Run, RunId};
use crate::protocol::v3::RunTold;
use crate::updates::{Errand, Hands, HandsStatus, KeyNews, NotCarriedOut, TellProgress};

/// How long the helper may take to let somebody in.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long a question may take to be taken.
const QUESTION_TIME: Duration = Duration::from_secs(60);
/// Longest time without a word from the helper.
const SILENCE: Duration = Duration::from_secs(45);
/// Largest answer, in bytes: a run with a plan of 20,000 changes and its log.
const ANSWER_LIMIT: u32 = 48 * 1024 * 1024;
/// How long a helper may be away while it carries an order out: it may be the one that is replaced.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Wait before it is asked again, at first. Replaced, it is back in a moment.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait before it is asked again.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The hands of a helper that runs as root on this host.
pub struct HelperHands {
    socket: PathBuf,
}

impl HelperHands {
    /// One that listens there.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// True if a helper was installed.
    pub fn is_there(&self) -> bool {
        use std::os::unix::fs::FileTypeExt;
        self.socket.metadata().is_ok_and(|about| about.file_type().is_socket())
    }

    /// Asks, and returns the last answer; `way` hears of those before.
    async fn asked(&self, question: &Question, way: impl Fn(Answer) + Send) -> Result<Answer, Error> {
        let connected = timeout(CONNECT_TIME, UnixStream::connect(&self.socket)).await;
        let mut stream = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        let written = frame::write(&mut stream, question, QUESTION_TIME).await;
        loop {
            // One that lets nobody in says why before it reads.
            match frame::read::<Answer>(&mut stream, ANSWER_LIMIT, SILENCE).await {
                Ok(answer) if answer.is_last() => return Ok(answer),
                Ok(answer) => way(answer),
                Err(error) => return Err(written.err().unwrap_or(error)),
            }
        }
    }

    async fn ask(&self, question: Question) -> Result<Answer, Problem> {
        match self.asked(&question, |_| ()).await {
            Ok(Answer::Failed(problem)) => Err(problem),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.away(&error)),
        }
    }

    fn away(&self, error: &Error) -> Problem {
        Problem {
            reason: format!("the helper at {} does not answer: {error}", self.socket.display()),
            way_out: Some(
                "see that `lightship host-helper` runs, and that this user may open its socket".into(),
            ),
        }
    }
}

fn odd() -> Problem {
    let way_out = "install the same version of the agent and of its helper";
    Problem { reason: "the helper answered something else".into(), way_out: Some(way_out.into()) }
}

#[async_trait]
impl Hands for HelperHands {
    async fn status(&self) -> HandsStatus {
        let problem = match self.ask(Question::Status).await {
            Ok(Answer::Status(status)) => return status,
            Ok(_) => odd(),
            Err(problem) => problem,
        };
        let no = Ability { yes: false, problem: Some(problem.clone()) };
        HandsStatus {
            installs_packages: no.clone(),
            replaces_containers: no,
            problem: Some(problem.reason),
            ..HandsStatus::default()
        }
    }

    async fn refresh(&self) -> Result<(), Problem> {
        self.ask(Question::Refresh).await.map(drop)
    }

    async fn plan(&self, ask: &PlanAsk) -> Result<Plan, Problem> {
        match self.ask(Question::Plan(ask.clone())).await? {
            Answer::Plan(plan) => Ok(*plan),
            _ => Err(odd()),
        }
    }

    async fn carry_out(&self, errand: Errand, tell: TellProgress) -> Result<Run, NotCarriedOut> {
        // Whether it is too late is known to the helper, which may have begun it in time.
        let question = Question::Apply { order: Box::new(errand.order), agent: errand.agent };
        let (mut due, mut wait) = (Instant::now() + PATIENCE, FIRST_WAIT);
        loop {
            let way = |answer| {
                if let Answer::Progress(progress) = answer {
                    tell(*progress);
                }
            };
            let begun = Instant::now();
            let error = match self.asked(&question, way).await {
                Ok(Answer::Ended(run)) => return Ok(*run),
                Ok(Answer::NotCarriedOut(refusal)) => return Err(refusal),
                Ok(Answer::Failed(problem)) => return Err(NotCarriedOut(problem.reason)),
                Ok(_) => return Err(NotCarriedOut(odd().reason)),
                Err(error) => error,
            };
            // It was there in between.
            if begun.elapsed() > SILENCE + CONNECT_TIME {
                (due, wait) = (Instant::now() + PATIENCE, FIRST_WAIT);
            }
            if Instant::now() >= due {
                return Err(NotCarriedOut(self.away(&error).reason));
            }
            warn!(%error, "the helper went away while it carried an order out; it is asked again");
            sleep(wait).await;
            wait = LAST_WAIT.min(wait * 2);
        }
    }

    async fn cancel(&self, run: &RunId, by: &str) -> Result<(), Problem> {
        self.ask(Question::Cancel { run: run.clone(), by: by.to_owned() }).await.map(drop)
    }

    async fn offer_key(&self, offer: &KeyOffer, agent: &AgentId) -> Result<KeyNews, Problem> {
        let offer = Box::new(offer.clone());
        match self.ask(Question::OfferKey { offer, agent: agent.clone() }).await? {
            Answer::Key(news) => Ok(news),
            _ => Err(odd()),
        }
    }

    async fn learn_label_prefix(&self, said: Option<&str>) -> Result<(), Problem> {
        self.ask(Question::LabelPrefix(said.map(str::to_owned))).await.map(drop)
    }

    async fn untold(&self, agent: &AgentId) -> Result<Vec<RunId>, Problem> {
        match self.ask(Question::Untold(agent.clone())).await? {
            Answer::Untold(runs) => Ok(runs),
            _ => Err(odd()),
        }
    }

    async fn read_run(&self, run: &RunId) -> Result<Option<RunTold>, Problem> {
        match self.ask(Question::Read(run.clone())).await? {
            Answer::Run(run) => Ok(run.map(|run| *run)),
            _ => Err(odd()),
        }
    }

    async fn mark_told(&self, run: &RunId, agent: &AgentId) -> Result<(), Problem> {
        self.ask(Question::Told { run: run.clone(), agent: agent.clone() }).await.map(drop)
    }
}
