//! Reporter and poller of one host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{FakeHands, FakeMaster, LONG, at, secs};
use crate::actors::agent::command_poller::{CommandPoller, PollerParts, SendTask, TunnelTask};
use crate::actors::agent::label_prefix::LabelPrefix;
use crate::actors::agent::link::CurrentLink;
use crate::actors::agent::reporter::{
    LastContainers, LastSeen, LastTunnel, Reporter, ReporterParts, ReporterSettings, ResultSpooled, RunSeen,
};
use crate::actors::agent::update_installer::{Install, InstallerParts, UpdateInstaller};
use crate::actors::agent::update_scanner::Looked;
use crate::actors::supervision::{ChildSpec, Overflow, Port, Root, SupSpec, Tree};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::domain::command::Outcome;
use crate::io::Io;
use crate::state_dir::{StateDir, StateError};

/// Opens a state directory as soon as the last write of its former holder is done.
async fn open(dir: &TempDir) -> StateDir {
    let free = async {
        loop {
            match StateDir::open(dir.path(), Io::current()) {
                Err(StateError::InUse { .. }) => sleep(Duration::from_millis(1)).await,
                other => return other.expect("a state directory"),
            }
        }
    };
    tokio::time::timeout(LONG, free).await.expect("the former holder lets go")
}

/// Reporter and poller of one host, supervised, with a real state directory and a tunnel that only listens.
pub struct TestAgent {
    pub reporter: Port<Reporter>,
    /// What is known of its containers; whoever tells the reporter fills it.
    pub last_containers: LastContainers,
    pub poller: Port<CommandPoller>,
    pub installer: Port<UpdateInstaller>,
    pub hands: FakeHands,
    scans: Arc<AtomicUsize>,
    pub state: StateDir,
    pub tasks: Arc<Mutex<Vec<TunnelTask>>>,
    /// Why no command can be taken in, as the master would read it.
    refusing: watch::Receiver<Option<String>>,
    news: watch::Sender<()>,
    pub root: Root,
    pub clock: Clock,
}

impl TestAgent {
    /// Starts the reporter alone.
    pub async fn reporting(master: &FakeMaster, dir: &TempDir) -> Self {
        Self::start(master, dir, false, TimeDelta::zero()).await
    }

    /// Starts reporter, installer and poller.
    pub async fn polling(master: &FakeMaster, dir: &TempDir) -> Self {
        Self::start(master, dir, true, TimeDelta::zero()).await
    }

    /// The same on a host whose clock is so much later.
    pub async fn polling_later(master: &FakeMaster, dir: &TempDir, by: TimeDelta) -> Self {
        Self::start(master, dir, true, by).await
    }

    /// How often the host was to be looked at.
    pub fn scans(&self) -> usize {
        self.scans.load(Ordering::SeqCst)
    }

    async fn start(master: &FakeMaster, dir: &TempDir, polls: bool, later: TimeDelta) -> Self {
        let state = open(dir).await;
        let (uplink, link) = (Arc::new(master.clone()), CurrentLink::default());
        let settings = ReporterSettings {
            display_name: Some("Lab Host".into()),
            hostname: Some("h1".into()),
            version: "1.2.3".into(),
            interval: secs(30),
        };
        let (hands, scans) = (FakeHands::default(), Arc::new(AtomicUsize::new(0)));
        let last_containers = LastContainers::default();
        let parts = ReporterParts {
            settings,
            uplink: uplink.clone(),
            state: state.clone(),
            link: link.clone(),
            last_tunnel: LastTunnel::default(),
            last_containers: last_containers.clone(),
            last_seen: LastSeen::default(),
            label_prefix: LabelPrefix::new(None),
            hands: Arc::new(hands.clone()),
        };
        let make = move || Reporter::new(parts.clone());
        let (reporter_spec, reporter) = ChildSpec::actor("reporter", 256, Overflow::Reject, make);

        let tasks: Arc<Mutex<Vec<TunnelTask>>> = Arc::default();
        let (sink, news) = (Arc::clone(&tasks), watch::Sender::new(()));
        let bell = news.clone();
        let tunnel: SendTask = Arc::new(move |task| {
            sink.lock().push(task);
            bell.send_replace(());
            Ok(())
        });
        let counted = Arc::clone(&scans);
        let scan: Arc<dyn Fn(Looked) -> bool + Send + Sync> = Arc::new(move |done| {
            counted.fetch_add(1, Ordering::SeqCst);
            done(Ok("apt: 0 pending".into()));
            true
        });
        let (run_sink, spooled) = (reporter.clone(), reporter.clone());
        let parts = InstallerParts {
            hands: Arc::new(hands.clone()),
            state: state.clone(),
            link: link.clone(),
            scan: Arc::clone(&scan),
            tell_run: Arc::new(move |run| drop(run_sink.tell(RunSeen(run.map(Box::new))))),
            spooled: Arc::new(move || {
                let _ = spooled.tell(ResultSpooled);
            }),
        };
        let make = move || UpdateInstaller::new(parts.clone());
        let (installer_spec, installer) = ChildSpec::actor("installer", 64, Overflow::Reject, make);
        let host_tasks = installer.clone();
        let (refuse, refusing) = watch::channel(None);
        let parts = PollerParts {
            uplink,
            state: state.clone(),
            link,
            reporter: reporter.clone(),
            tunnel,
            host: Arc::new(move |task| {
                host_tasks.tell(Install(task)).map(drop).map_err(|back| Box::new(back.into_inner().0))
            }),
            scan,
            connector_log: Arc::new(|done| {
                done(Ok("INF Registered tunnel connection".into()));
                true
            }),
            no_commands: Arc::new(move |why| drop(refuse.send(why))),
        };
        let make = move || CommandPoller::new(parts.clone());
        let (poller_spec, poller) = ChildSpec::actor("command-poller", 64, Overflow::Reject, make);

        let mut spec = SupSpec::one_for_one().child(reporter_spec);
        if polls {
            spec = spec.child(installer_spec).child(poller_spec);
        }
        let clock = Clock::moved(at("2026-01-31T12:00:00Z") + later);
        let tree = Tree::new(clock.clone(), Chance::seeded(7), |_| {});
        let root = Root::start(tree, "agent", spec).await;
        Self {
            reporter,
            last_containers,
            poller,
            installer,
            hands,
            scans,
            state,
            tasks,
            refusing,
            news,
            root,
            clock,
        }
    }

    /// Waits until `count` tasks were handed over; returns their ids.
    pub async fn until_tasks(&self, count: usize) -> Vec<String> {
        let mut news = self.news.subscribe();
        let came = news.wait_for(|()| self.tasks.lock().len() >= count);
        let waited = tokio::time::timeout(LONG, came).await.map(drop);
        assert!(waited.is_ok(), "only {:?} came", self.tasks.lock());
        self.tasks.lock().iter().map(|task| task.id.to_string()).collect()
    }

    /// Waits until the poller says that it takes no commands in, or that it does again.
    pub async fn until_refusing(&self, is_refusing: bool) -> Option<String> {
        let mut told = self.refusing.clone();
        let waited = tokio::time::timeout(LONG, told.wait_for(|why| why.is_some() == is_refusing)).await;
        waited.expect("it is said").expect("the poller lives").clone()
    }

    /// Answers the oldest task.
    pub fn answer(&self, succeeded: bool) {
        let task = self.tasks.lock().remove(0);
        task.reply.send(Outcome { succeeded, message: "done".into(), finished_at: None });
    }

    /// Ends the agent; the state directory can then be opened again.
    pub async fn stop(self) {
        self.root.shutdown(secs(30)).await;
    }
}
