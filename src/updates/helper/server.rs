//! The side of the helper.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Answer, Question, frame};
use crate::domain::id::AgentId;
use crate::domain::update::Problem;
use crate::updates::{Errand, Hands};

/// Most connections that are worked on at once; others wait.
const MOST: usize = 8;
/// Largest question, in bytes: an order of 8 MiB is a text within a text there.
const QUESTION_LIMIT: u32 = 20 * 1024 * 1024;
/// How long a question may take to come.
const QUESTION_TIME: Duration = Duration::from_secs(20);
/// How long an answer may take to be read.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How long one that is refused may take to read why, and to hang up.
const REFUSAL_TIME: Duration = Duration::from_secs(5);
/// Longest time without a word to who waits.
const SILENCE: Duration = Duration::from_secs(10);
/// Longest work on anything but an order.
const WORK_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Words on the way that wait to be written; newer ones are left out then.
const WORDS: usize = 8;

/// Who may ask, beside root.
#[derive(Debug, Clone, Copy)]
pub struct Allowed {
    /// The user of the agent; none if only root may.
    pub user: Option<u32>,
}

impl Allowed {
    fn holds(self, user: u32) -> bool {
        user == 0 || self.user == Some(user)
    }
}

/// Answers whoever may ask, until it is dropped. What was begun for an order is brought to its end, whoever waits for it.
pub async fn serve(listener: UnixListener, allowed: Allowed, hands: Arc<dyn Hands>) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "nobody can be let in");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let hands = Arc::clone(&hands);
        tokio::spawn(async move {
            if let Err(error) = attend(stream, allowed, hands, place).await {
                warn!(%error, "a connection was ended");
            }
        });
    }
}

/// Attends to one connection. Its place is free again when the work is done, also if nobody waits for that.
async fn attend(
    mut stream: UnixStream,
    allowed: Allowed,
    hands: Arc<dyn Hands>,
    place: OwnedSemaphorePermit,
) -> std::io::Result<()> {
    let user = stream.peer_cred()?.uid();
    if !allowed.holds(user) {
        let reason = format!("the user {user} may not ask here: only root and the user of the agent may");
        let way_out = "set `updates.helper_user` of the helper to the user that the agent runs as";
        let refusal = Problem { reason: reason.clone(), way_out: Some(way_out.into()) };
        refuse(stream, refusal).await;
        return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, reason));
    }
    let question: Question = match frame::read(&mut stream, QUESTION_LIMIT, QUESTION_TIME).await {
        Ok(question) => question,
        Err(error) => {
            let reason = format!("the question cannot be read: {error}");
            refuse(stream, Problem { reason, way_out: None }).await;
            return Err(error);
        }
    };
    if question.agent().is_some_and(|agent| AgentId::parse(agent.as_str()).is_err()) {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "that is no id of an agent"));
    }
    let (words, mut heard) = mpsc::channel(WORDS);
    // A task of its own: it is not ended by who goes away.
    let work = tokio::spawn(async move {
        answer(question, hands, words).await;
        drop(place);
    });
    loop {
        match timeout(SILENCE, heard.recv()).await {
            Ok(Some(answer)) => {
                let is_last = Answer::is_last(&answer);
                frame::write(&mut stream, &answer, ANSWER_TIME).await?;
                if is_last {
                    return Ok(());
                }
            }
            Ok(None) => {
                return work.await.map_err(std::io::Error::other);
            }
            Err(_) => frame::write(&mut stream, &Answer::Working, ANSWER_TIME).await?,
        }
    }
}

/// Says why there is no answer. What is still on its way is read until the other side has hung up: one that closes with
/// something unread takes the words it has sent away with it, and ends who is writing.
async fn refuse(mut stream: UnixStream, problem: Problem) {
    let _ = timeout(REFUSAL_TIME, async {
        frame::write(&mut stream, &Answer::Failed(problem), REFUSAL_TIME).await?;
        stream.shutdown().await?;
        copy(&mut stream.take(u64::from(QUESTION_LIMIT)), &mut sink()).await
    })
    .await;
}

async fn answer(question: Question, hands: Arc<dyn Hands>, words: mpsc::Sender<Answer>) {
    let answer = if let Question::Apply { order, agent } = question {
        info!(agent.id = %agent, "an order came");
        let way = words.clone();
        let tell = Arc::new(move |progress| {
            // What finds no room is said again a moment later.
            let _ = way.try_send(Answer::Progress(Box::new(progress)));
        });
        // The helper's own clock decides: what an agent says of the time is not signed.
        let errand = Errand { order: *order, agent, ahead: None, expired: None };
        match hands.carry_out(errand, tell).await {
            Ok(run) => Answer::Ended(Box::new(run)),
            Err(refusal) => {
                warn!(reason = %refusal, "an order is not carried out");
                Answer::NotCarriedOut(refusal)
            }
        }
    } else {
        let late = || Answer::Failed(Problem { reason: "it took too long".into(), way_out: None });
        timeout(WORK_LIMIT, answer_quickly(question, &*hands)).await.unwrap_or_else(|_| late())
    };
    // Nobody may be left to hear it.
    let _ = words.send(answer).await;
}

async fn answer_quickly(question: Question, hands: &dyn Hands) -> Answer {
    let answered = match question {
        Question::Status => Ok(Answer::Status(hands.status().await)),
        Question::Refresh => hands.refresh().await.map(|()| Answer::Done),
        Question::Plan(ask) => hands.plan(&ask).await.map(|plan| Answer::Plan(Box::new(plan))),
        Question::Untold(agent) => hands.untold(&agent).await.map(Answer::Untold),
        Question::Read(run) => hands.read_run(&run).await.map(|run| Answer::Run(run.map(Box::new))),
        Question::Told { run, agent } => hands.mark_told(&run, &agent).await.map(|()| Answer::Done),
        Question::Cancel { run, by } => hands.cancel(&run, &by).await.map(|()| Answer::Done),
        Question::OfferKey { offer, agent } => hands.offer_key(&offer, &agent).await.map(Answer::Key),
        Question::LabelPrefix(said) => hands.learn_label_prefix(said.as_deref()).await.map(|()| Answer::Done),
        Question::Apply { .. } => Err(Problem { reason: "it is no quick question".into(), way_out: None }),
    };
    answered.unwrap_or_else(Answer::Failed)
}
