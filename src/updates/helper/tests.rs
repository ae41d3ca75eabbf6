use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use super::*;
use crate::domain::id::CommandId;
use crate::domain::order::{Order, SigningKey};
use crate::domain::update::{Changes, Wanted};
use crate::updates::{Allowed, ChosenHands, Errand, Hands, HandsStatus, KeyWas, TellProgress};

/// Answers at once, but for orders, which wait to be let go.
#[derive(Default)]
struct Slow {
    errands: Mutex<Vec<Errand>>,
    prefix: Mutex<Option<String>>,
    go: Notify,
    ended: Notify,
}

fn at() -> DateTime<Utc> {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

fn run() -> Run {
    Run::new(RunId::parse("r1").unwrap(), Plan::nothing(), "ann", at())
}

#[async_trait]
impl Hands for Slow {
    async fn status(&self) -> HandsStatus {
        HandsStatus { problem: Some("none".into()), ..HandsStatus::default() }
    }

    async fn refresh(&self) -> Result<(), Problem> {
        Err(Problem { reason: "no network".into(), way_out: None })
    }

    async fn plan(&self, _: &PlanAsk) -> Result<Plan, Problem> {
        Ok(Plan::nothing())
    }

    async fn carry_out(&self, errand: Errand, tell: TellProgress) -> Result<Run, NotCarriedOut> {
        self.errands.lock().push(errand);
        tell(RunProgress {
            run: run().id,
            order: None,
            plan: run().plan.id(),
            by: "ann".into(),
            started_at: at(),
            done: Vec::new(),
            step: Some("install".into()),
            percent: None,
            words: String::new(),
            log: String::new(),
        });
        self.go.notified().await;
        self.ended.notify_one();
        Ok(run())
    }

    async fn cancel(&self, run: &RunId, by: &str) -> Result<(), Problem> {
        Err(Problem { reason: format!("{by} cannot stop {run}"), way_out: None })
    }

    async fn offer_key(&self, offer: &KeyOffer, _: &AgentId) -> Result<KeyNews, Problem> {
        Ok(KeyNews { was: KeyWas::First, trusted: None, shown: offer.key.fingerprint() })
    }

    async fn learn_label_prefix(&self, said: Option<&str>) -> Result<(), Problem> {
        *self.prefix.lock() = said.map(str::to_owned);
        Ok(())
    }

    async fn untold(&self, _: &AgentId) -> Result<Vec<RunId>, Problem> {
        Ok(vec![run().id])
    }

    async fn read_run(&self, _: &RunId) -> Result<Option<RunTold>, Problem> {
        Ok(Some(RunTold { run: run(), log: "x".repeat(200_000), failed_images: Vec::new() }))
    }

    async fn mark_told(&self, _: &RunId, _: &AgentId) -> Result<(), Problem> {
        Ok(())
    }
}

/// A helper at a socket of its own.
struct Rig {
    dir: tempfile::TempDir,
    hands: Arc<Slow>,
    server: tokio::task::JoinHandle<()>,
}

impl Rig {
    fn new() -> Self {
        let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Slow::default()));
        let server = Self::listen(dir.path(), &hands);
        Self { dir, hands, server }
    }

    fn listen(dir: &Path, hands: &Arc<Slow>) -> tokio::task::JoinHandle<()> {
        let listener = UnixListener::bind(dir.join("s")).unwrap();
        let allowed = Allowed { user: Some(rustix::process::geteuid().as_raw()) };
        tokio::spawn(serve(listener, allowed, hands.clone()))
    }

    fn client(&self) -> HelperHands {
        HelperHands::at(&self.dir.path().join("s"))
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn errand() -> Errand {
    let order = Order {
        id: CommandId::new("c1"),
        agent: AgentId::new("a1"),
        number: 1,
        ask: PlanAsk::install(Wanted::All),
        changes: Changes::new(Vec::new()).unwrap(),
        by: "ann".into(),
        issued_at: at(),
        expires_at: at(),
    };
    let ahead = Some(chrono::TimeDelta::hours(-9));
    Errand { order: order.sign(&key()), agent: order.agent, ahead, expired: None }
}

#[tokio::test]
async fn every_question_has_its_answer() {
    let rig = Rig::new();
    let (client, agent) = (rig.client(), AgentId::new("a1"));
    assert!(client.is_there());
    assert_eq!(client.status().await.problem.as_deref(), Some("none"));
    assert_eq!(client.refresh().await.unwrap_err().reason, "no network");
    assert_eq!(client.plan(&PlanAsk::install(Wanted::All)).await.unwrap(), Plan::nothing());
    let offer = KeyOffer { key: key().public(), endorsed: Vec::new() };
    assert_eq!(client.offer_key(&offer, &agent).await.unwrap().was, KeyWas::First);
    assert_eq!(client.untold(&agent).await.unwrap(), [run().id]);
    assert_eq!(client.read_run(&run().id).await.unwrap().unwrap().log.len(), 200_000);
    client.mark_told(&run().id, &agent).await.unwrap();
}

#[tokio::test]
async fn an_order_is_carried_out_with_its_progress_and_by_the_clock_of_the_helper() {
    let rig = Rig::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (sink, hands) = (Arc::clone(&told), Arc::clone(&rig.hands));
    let tell: TellProgress = Arc::new(move |said| {
        sink.lock().push(said.step.unwrap());
        hands.go.notify_one();
    });

    let ended = rig.client().carry_out(errand(), tell).await.unwrap();

    assert_eq!((ended, told.lock().clone()), (run(), vec!["install".to_owned()]));
    let heard = rig.hands.errands.lock().remove(0);
    assert_eq!((heard.order, heard.ahead), (errand().order, None));
}

#[tokio::test]
async fn what_was_begun_goes_on_when_the_agent_goes_away() {
    let rig = Rig::new();
    let (client, hands) = (rig.client(), Arc::clone(&rig.hands));
    let told = Arc::new(Notify::new());
    let bell = Arc::clone(&told);
    let tell: TellProgress = Arc::new(move |_| bell.notify_one());
    let asked = tokio::spawn(async move { client.carry_out(errand(), tell).await });
    told.notified().await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    hands.go.notify_one();
    tokio::time::timeout(Duration::from_secs(20), hands.ended.notified()).await.expect("it ends");
}

#[tokio::test]
async fn who_says_nothing_sound_is_not_listened_to_and_others_are() {
    let rig = Rig::new();
    for bytes in [&u32::MAX.to_be_bytes()[..], &[0, 0, 0, 2, b'{', b'}'], &[0, 0, 0, 9, b'"']] {
        let mut stream = UnixStream::connect(rig.dir.path().join("s")).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said).await.unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("the question cannot be read"), "{said}");
    }
    assert!(rig.client().status().await.problem.is_some());
}

#[tokio::test]
async fn a_helper_that_is_away_is_named() {
    let rig = Rig::new();
    rig.server.abort();
    std::fs::remove_file(rig.dir.path().join("s")).unwrap();
    let client = rig.client();
    assert!(!client.is_there());
    let problem = client.status().await.installs_packages.problem.unwrap();
    assert!(problem.reason.contains("does not answer"), "{problem:?}");
}

#[tokio::test]
async fn the_helper_does_it_as_soon_as_it_is_there_and_runs_of_both_are_told() {
    let (away, own) = (tempfile::tempdir().unwrap(), Arc::new(Slow::default()));
    let alone = ChosenHands::new(own.clone(), HelperHands::at(&away.path().join("s")));
    own.go.notify_one();
    alone.carry_out(errand(), Arc::new(|_| ())).await.unwrap();
    assert_eq!(own.errands.lock().len(), 1);

    let rig = Rig::new();
    let both = ChosenHands::new(own.clone(), rig.client());
    rig.hands.go.notify_one();
    both.carry_out(errand(), Arc::new(|_| ())).await.unwrap();
    assert_eq!((own.errands.lock().len(), rig.hands.errands.lock().len()), (1, 1));
    assert_eq!(both.untold(&AgentId::new("a1")).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_prefix_of_labels_that_a_master_named_is_known_to_both() {
    let (rig, own) = (Rig::new(), Arc::new(Slow::default()));
    let both = ChosenHands::new(own.clone(), rig.client());
    for said in [Some("team"), None] {
        both.learn_label_prefix(said).await.unwrap();
        assert_eq!((own.prefix.lock().as_deref(), rig.hands.prefix.lock().as_deref()), (said, said));
    }
}
