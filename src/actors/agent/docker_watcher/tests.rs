//! The watcher under moved time, with an Engine that fails as told. The real Engine is in `tests/it`.

mod losses;

use std::collections::VecDeque;
use std::net::SocketAddr;

use async_trait::async_trait;
use chrono::TimeDelta;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::actors::supervision::{ChildSpec, Info, Overflow, Port, Root, SupSpec, Tree};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::docker::{ConnectorStatus, ContainerDetails, DockerError, Events, NewConnector};

/// What the Engine answers to the next listings; after the last one it repeats it.
#[derive(Default)]
struct Script {
    listings: VecDeque<Option<Vec<Container>>>,
    asked: Vec<Instant>,
    events: Option<mpsc::Sender<Result<EngineEvent, DockerError>>>,
    hangs_up: bool,
}

struct ScriptedDocker(Arc<Mutex<Script>>);

#[async_trait]
impl Docker for ScriptedDocker {
    async fn connect(&self) -> Result<EngineInfo, DockerError> {
        Ok(EngineInfo { api_version: "1.41".into(), time: None })
    }

    async fn watch(&self, _: DateTime<Utc>) -> Result<Events, DockerError> {
        let (sender, items) = mpsc::channel(16);
        let mut script = self.0.lock();
        script.events = (!script.hangs_up).then_some(sender);
        Ok(Events::from_channel(items))
    }

    async fn list_running(&self) -> Result<Vec<Container>, DockerError> {
        let mut script = self.0.lock();
        script.asked.push(Instant::now());
        let next = script.listings.pop_front().expect("there is always one left");
        if script.listings.is_empty() {
            script.listings.push_back(next.clone());
        }
        next.ok_or(DockerError::StreamEnded)
    }

    async fn find_container(&self, _: &str) -> Result<Option<ContainerDetails>, DockerError> {
        Ok(None)
    }

    async fn create_connector(&self, _: &NewConnector) -> Result<ContainerId, DockerError> {
        Err(DockerError::StreamEnded)
    }

    async fn start(&self, _: &ContainerId) -> Result<(), DockerError> {
        Ok(())
    }

    async fn stop(&self, _: &ContainerId) -> Result<(), DockerError> {
        Ok(())
    }

    async fn remove(&self, _: &ContainerId) -> Result<(), DockerError> {
        Ok(())
    }

    async fn rename(&self, _: &ContainerId, _: &str) -> Result<(), DockerError> {
        Ok(())
    }

    async fn unpause(&self, _: &ContainerId) -> Result<(), DockerError> {
        Ok(())
    }

    async fn has_image(&self, _: &str) -> Result<bool, DockerError> {
        Ok(true)
    }

    async fn pull_image(&self, _: &str) -> Result<(), DockerError> {
        Ok(())
    }

    async fn ensure_network(&self, _: &str, _: &[(&str, &str)]) -> Result<bool, DockerError> {
        Ok(false)
    }

    async fn network_name(&self, _: &str) -> Result<Option<String>, DockerError> {
        Ok(None)
    }

    async fn last_log_lines(&self, _: &ContainerId) -> Result<Vec<String>, DockerError> {
        Ok(Vec::new())
    }

    async fn read_connector(&self, _: SocketAddr) -> ConnectorStatus {
        ConnectorStatus::default()
    }
}

/// A watcher in a tree, the script of its Engine, and what it told.
struct Stage {
    script: Arc<Mutex<Script>>,
    told: Arc<Mutex<Vec<ContainerNews>>>,
    is_deaf: Arc<Mutex<bool>>,
    port: Port<DockerWatcher>,
    tree: Tree,
    clock: Clock,
    _root: Root,
}

impl Stage {
    async fn set(listings: Vec<Option<Vec<Container>>>) -> Self {
        let script = Arc::new(Mutex::new(Script { listings: listings.into(), ..Script::default() }));
        let told = Arc::new(Mutex::new(Vec::new()));
        let is_deaf = Arc::new(Mutex::new(false));
        let (ears, deaf) = (Arc::clone(&told), Arc::clone(&is_deaf));
        let parts = WatcherParts {
            docker: Arc::new(ScriptedDocker(Arc::clone(&script))),
            label_prefix: LabelPrefix::new(None),
            resync: Duration::from_secs(60),
            tell_reporter: Arc::new(move |news| {
                let hears = !*deaf.lock();
                if hears {
                    ears.lock().push(news);
                }
                hears
            }),
            connector_touched: Arc::new(|| {}),
        };
        let (spec, port) =
            ChildSpec::actor("docker", 16, Overflow::Reject, move || DockerWatcher::new(parts.clone()));
        let start = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let clock = Clock::moved(start);
        let tree = Tree::new(clock.clone(), Chance::seeded(3), |_| {});
        let root = Root::start(tree.clone(), "agent", SupSpec::one_for_one().child(spec)).await;
        Self { script, told, is_deaf, port, tree, clock, _root: root }
    }

    async fn happens(&self, action: EngineAction, container: &Container) {
        self.happens_at(action, container, self.clock.now()).await;
    }

    /// By the Engine's clock.
    async fn happens_at(&self, action: EngineAction, container: &Container, at: DateTime<Utc>) {
        let mut attributes = container.labels.clone();
        attributes.insert("name".into(), container.name.clone());
        let sender = self.script.lock().events.clone().unwrap();
        let event = EngineEvent { action, id: container.id.clone(), attributes, at: Some(at) };
        sender.send(Ok(event)).await.unwrap();
    }

    fn told(&self) -> Vec<ContainerNews> {
        std::mem::take(&mut self.told.lock())
    }

    async fn status(&self) -> ActorStatus {
        self.port.ask(GetStatus, Duration::from_secs(1)).await.unwrap()
    }

    fn watcher(&self) -> Info {
        self.tree.snapshot().into_iter().find(|info| &*info.path == "agent/docker").unwrap()
    }
}

fn container(id: &str) -> Container {
    Container {
        id: ContainerId::new(id),
        name: id.to_owned(),
        labels: BTreeMap::from([("dockflare.enable".to_owned(), "true".to_owned())]),
        image: None,
        status: Some("running".into()),
        networks: None,
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_told_once_and_what_they_missed_heals_with_the_next_listing() {
    let script = async {
        let stage = Stage::set(vec![Some(vec![]), Some(vec![container("c")])]).await;
        sleep(Duration::from_millis(10)).await;

        for action in [EngineAction::Start, EngineAction::Start, EngineAction::Kill, EngineAction::Pause] {
            stage.happens(action, &container("a")).await;
        }
        for action in [EngineAction::Die, EngineAction::Stop, EngineAction::Destroy] {
            stage.happens(action, &container("a")).await;
        }
        sleep(Duration::from_millis(10)).await;
        let gone = ContainerNews::Stopped(ContainerId::new("a"));
        let expected = [ContainerNews::Listed(vec![]), ContainerNews::Started(container("a")), gone];
        assert_eq!(stage.told(), expected);

        // It is listed soon for the networks of what started, and again when it is time.
        for seconds in [2, 70] {
            sleep(Duration::from_secs(seconds)).await;
            assert_eq!(stage.told(), [ContainerNews::Listed(vec![container("c")])]);
        }
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn what_an_engine_noted_before_its_clock_was_set_back_is_not_told_again() {
    let script = async {
        // Given an Engine that tells each subscriber what it noted two hours ahead of its clock,
        let stage = Stage::set(vec![Some(vec![container("a")])]).await;
        sleep(Duration::from_millis(10)).await;
        stage.told();
        let ahead = stage.clock.now() + TimeDelta::hours(2);
        for action in [EngineAction::Die, EngineAction::Start] {
            stage.happens_at(action, &container("a"), ahead).await;
        }
        sleep(Duration::from_millis(10)).await;
        assert_eq!(stage.told(), [], "the listing is newer");

        // when its clock is set forward while it is watched, what it tells counts.
        sleep(Duration::from_secs(5)).await;
        stage.happens_at(EngineAction::Die, &container("a"), ahead + TimeDelta::hours(5)).await;
        sleep(Duration::from_millis(10)).await;
        assert_eq!(stage.told(), [ContainerNews::Stopped(ContainerId::new("a"))]);
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_changes_neither_listings_nor_waits() {
    let script = async {
        let mut listings = vec![Some(vec![]); 10];
        listings.extend(vec![None; 10]);
        listings.push(Some(vec![container("a")]));
        let stage = Stage::set(listings).await;
        for hours in [6, -12, 6, -48] {
            sleep(Duration::from_secs(150)).await;
            stage.clock.jump(TimeDelta::hours(hours));
        }

        sleep(Duration::from_secs(300)).await;

        let asked = stage.script.lock().asked.clone();
        let waits: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (calm, away) = (&waits[..9], &waits[10..19]);
        let minute = Duration::from_secs(54)..=Duration::from_secs(66);
        assert!(calm.iter().all(|wait| minute.contains(wait)), "{calm:?}");
        assert!(away.iter().all(|wait| *wait <= Duration::from_millis(7500)), "{away:?}");
        assert_eq!(stage.told().last(), Some(&ContainerNews::Listed(vec![container("a")])));
        assert_eq!(stage.watcher().restarts, 0);
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn news_of_networks_lead_to_a_listing_soon_however_many_there_are_and_each_only_once() {
    let script = async {
        // given
        let stage = Stage::set(vec![Some(vec![container("a")])]).await;
        let listings = || stage.script.lock().asked.len();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(listings(), 1);
        // when: it is put on networks and taken off them all the time, for three seconds
        let first = stage.clock.now();
        for _ in 0..12 {
            stage.happens(EngineAction::Networks, &container("a")).await;
            sleep(Duration::from_millis(250)).await;
        }
        // then
        assert!((3..=4).contains(&listings()), "{}", listings());
        // and when: an engine tells again what it told before, and of a container that is not ours
        sleep(Duration::from_secs(3)).await;
        let before = listings();
        stage.happens_at(EngineAction::Networks, &container("a"), first).await;
        stage.happens(EngineAction::Networks, &container("b")).await;
        sleep(Duration::from_secs(10)).await;
        // then
        assert_eq!(listings(), before);
    };
    LocalSet::new().run_until(script).await;
}
