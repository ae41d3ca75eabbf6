//! Images at a real registry, pulled by a real Engine: what is newer, how often the registry is asked for it, and what its
//! refusals are called.

mod desk;
pub mod parts;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptionsBuilder};
use chrono::TimeDelta;
use lightship::clock::Clock;
use lightship::docker::{BollardDocker, Docker};
use lightship::domain::registry::{Ask, Outcome, Platform, Refusal};
use lightship::domain::update::{Cause, Finding, Findings, Standing};
use lightship::io::Io;
use lightship::registry::{
    Answer, Credentials, DockerLogins, HelperEnded, Lookup, NoLogins, RegistryClient, RunHelper, Settings,
};
use lightship::updates::{DockerImage, EngineLookup, ScanAsk, Scanner};
use serde_json::json;

use crate::support::docker::{APP_IMAGE, Engine};
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::ship::Rig;
use parts::{Registry, Store, TokenServer, TwoPlatforms, Way, free_port};

fn clock() -> Clock {
    Clock::moved("2026-01-31T12:00:00Z".parse().unwrap())
}

fn client(clock: &Clock, credentials: Arc<dyn Credentials>, insecure: &[String]) -> RegistryClient {
    rustls::crypto::ring::default_provider().install_default().ok();
    let settings = Settings { insecure: insecure.to_vec(), ..Settings::default() };
    RegistryClient::new(settings, credentials, clock.clone(), Io::current()).unwrap()
}

/// A host whose Engine pulls from the same store as the registry that is asked, but not through it: what its log says, the
/// scanner asked.
struct Host {
    engine: Engine,
    docker: BollardDocker,
    registry: Registry,
    _for_the_engine: Registry,
    _store: Store,
    clock: Clock,
    scanner: DockerImage,
    image: String,
}

impl Host {
    async fn start() -> Self {
        let engine = Engine::lease().await;
        let (store, port) = (Store::new(), free_port());
        let registry = Registry::start_at(&store, Way::Open, port, None).await;
        let for_the_engine = Registry::start_at(&store, Way::Open, port, Some(&engine.network())).await;
        let docker = BollardDocker::new(&engine.docker_host(), Io::current()).unwrap();
        let clock = clock();
        let lookup = Arc::new(client(&clock, Arc::new(NoLogins), &[]));
        let scanner = DockerImage::new(Arc::new(docker.clone()), lookup);
        let image = format!("{}/team/app:stable", registry.name());
        Self {
            engine,
            docker,
            registry,
            _for_the_engine: for_the_engine,
            _store: store,
            clock,
            scanner,
            image,
        }
    }

    async fn push(&self, image: &TwoPlatforms) {
        self.registry.push("team/app", "stable", image).await;
    }

    async fn pull(&self) {
        self.docker.pull_image(&self.image).await.unwrap();
    }

    async fn run(&self, name: &str) {
        let body = ContainerCreateBody { image: Some(self.image.clone()), ..Default::default() };
        self.engine.run_body(name, body).await;
    }

    /// Scans after what was known is too old to be said again.
    async fn scan(&self, last: Option<&Findings>) -> (Findings, Finding) {
        self.clock.jump(TimeDelta::minutes(6));
        let found = self.scanner.scan(&ScanAsk { now: self.clock.now(), last, by_person: false }).await;
        let item = found.items.iter().find(|item| item.name == self.image).unwrap().clone();
        (found, item)
    }

    /// Leaves the Engine as it was.
    async fn clear(&self, containers: &[&str]) {
        for name in containers {
            self.engine.remove(name).await;
        }
        let force = RemoveImageOptionsBuilder::default().force(true).build();
        let client = self.engine.client();
        for image in client.list_images(None::<ListImagesOptions>).await.unwrap() {
            if image.repo_digests.iter().any(|digest| digest.starts_with(&self.registry.name())) {
                let _ = client.remove_image(&image.id, Some(force.clone()), None).await;
            }
        }
    }
}

#[tokio::test]
async fn only_what_changes_for_our_platform_is_an_update_until_it_runs() {
    let host = Host::start().await;
    host.push(&TwoPlatforms::new("1.0", "1.0")).await;
    host.pull().await;
    host.run("app").await;

    // Unchanged.
    let (found, item) = host.scan(None).await;
    assert_eq!((&item.standing, item.containers.len()), (&Standing::Same, 1), "{item:?}");
    let (heads, gets, blobs) = host.registry.counts();
    assert_eq!((heads > 0, gets, blobs), (true, 0, 0));

    // Only the other platform's image is another one; that costs two fetches, once.
    host.push(&TwoPlatforms::new("1.0", "1.1")).await;
    let (found, item) = host.scan(Some(&found)).await;
    assert_eq!((item.standing, host.registry.counts().1), (Standing::Same, 2));
    let (found, item) = host.scan(Some(&found)).await;
    assert_eq!((item.standing, host.registry.counts().1), (Standing::Same, 2));

    // Pulled all the same: one image with two digests of its repository.
    host.pull().await;
    let (found, item) = host.scan(Some(&found)).await;
    assert_eq!((item.standing, host.registry.counts().1), (Standing::Same, 2));

    // Ours changed.
    let newer = TwoPlatforms::new("1.2", "1.1");
    host.push(&newer).await;
    let (found, item) = host.scan(Some(&found)).await;
    assert_eq!(item.standing, Standing::Newer);
    assert_eq!(item.available_version, Some(format!("1.2 ({})", newer.digest().short())));
    assert!(item.current_version.unwrap().starts_with("1.0 ("));
    assert_eq!(item.size_bytes, Some(newer.layer.len() as u64));
    let (_, gets, blobs) = host.registry.counts();
    assert_eq!((gets, blobs), (4, 1));
    let (found, again) = host.scan(Some(&found)).await;
    assert_eq!((again.standing, host.registry.counts().1), (Standing::Newer, 4));

    // Pulled, and the container still runs the older one.
    host.pull().await;
    let (found, item) = host.scan(Some(&found)).await;
    assert_eq!(item.standing, Standing::RestartNeeded);
    assert!(item.available_version.unwrap().starts_with("1.2 ("));
    host.engine.remove("app").await;
    host.run("app").await;
    let (_, item) = host.scan(Some(&found)).await;
    assert_eq!((item.standing, host.registry.counts().1), (Standing::Same, 4));
    host.clear(&["app"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_another_process_fetches_nothing_again_and_leaves_a_registry_alone_that_asked_to_wait() {
    let mut host = Host::start().await;
    host.push(&TwoPlatforms::new("1.0", "1.0")).await;
    host.pull().await;
    host.run("app").await;
    host.push(&TwoPlatforms::new("1.2", "1.1")).await;
    let dir = tempfile::tempdir().unwrap();
    let nothing = dir.path().join("bin");
    std::fs::create_dir(&nothing).unwrap();
    // Only its images are looked at.
    let rig = Rig::new("agent", &dir.path().join("state"))
        .engine(&host.engine)
        .env("HOME", dir.path().to_str().unwrap())
        .env("PATH", nothing.to_str().unwrap());
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let scan = || {
        let (_, out, errors) = rig.verb(&["scan", "--json"]);
        let said: serde_json::Value =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}"));
        let updates = said["updates"].as_array().unwrap().clone();
        let own = updates.iter().find(|update| update["name"] == host.image.as_str());
        (own.unwrap_or_else(|| panic!("{said}")).clone(), said["scanners"]["docker_image"]["ok"].clone())
    };

    let (first, ok) = scan();
    assert!(first["available_version"].as_str().unwrap().starts_with("1.2 (") && ok == true, "{first}");
    let (_, gets, blobs) = host.registry.counts();
    assert_eq!((gets, blobs), (2, 1));
    assert_eq!(scan().0["available_version"], first["available_version"]);
    assert_eq!((host.registry.counts().1, host.registry.counts().2), (gets, blobs), "what it holds is known");

    // In its place one that wants to be left alone.
    let port = host.registry.port;
    host.registry = Registry::start(&Store::new(), Way::Open).await;
    let busy = FakeRegistry::start_at(port, |_| Reply::new(429, &[("retry-after", "60")], "{}")).await;
    std::fs::remove_file(dir.path().join("state/host_registries.json")).unwrap();
    let (refused, ok) = scan();
    assert_eq!(
        (refused["available_version"].clone(), ok),
        (first["available_version"].clone(), json!(false))
    );
    assert!(refused["problem"].as_str().unwrap().contains("asked to wait"), "{refused}");
    assert_eq!(busy.take_seen().len(), 1);
    let (again, _) = scan();
    assert_eq!((again["problem"].clone(), busy.take_seen().len()), (refused["problem"].clone(), 0));
    host.engine.remove("app").await;
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    let _ = host.engine.client().remove_image(&host.image, Some(force), None).await;
}

#[tokio::test]
async fn a_host_without_a_way_out_has_its_engine_ask_and_what_was_built_there_is_local() {
    let host = Host::start().await;
    host.push(&TwoPlatforms::new("1.0", "1.0")).await;
    host.pull().await;
    host.run("app").await;
    host.engine.run("built", &[]).await;
    let lookup = EngineLookup::new(Arc::new(host.docker.clone()), Arc::new(NoLogins), host.clock.clone());
    let scanner = DockerImage::new(Arc::new(host.docker.clone()), Arc::new(lookup));
    let ask = || ScanAsk { now: host.clock.now(), last: None, by_person: false };

    let same = scanner.scan(&ask()).await;
    host.push(&TwoPlatforms::new("2.0", "1.0")).await;
    let newer = scanner.scan(&ask()).await;

    let of =
        |found: &Findings, name: &str| found.items.iter().find(|item| item.name == name).unwrap().clone();
    assert_eq!(of(&same, &host.image).standing, Standing::Same);
    assert!(matches!(of(&same, APP_IMAGE).standing, Standing::Untracked { cause: Cause::Local, .. }));
    let newer = of(&newer, &host.image);
    assert_eq!((newer.standing, &newer.details["platform_compared"]), (Standing::Newer, &json!(false)));
    host.clear(&["app", "built"]).await;
}

/// No helper is named in these files.
struct NoHelper;

#[async_trait]
impl RunHelper for NoHelper {
    async fn get(&self, helper: &str, _server: &str) -> Result<HelperEnded, String> {
        Err(format!("no helper is expected, not even `{helper}`"))
    }
}

/// What `docker login` leaves behind for bob.
fn logged_in(folder: &tempfile::TempDir, registry: &str, password: &str) -> Arc<DockerLogins> {
    let file: PathBuf = folder.path().join(format!("{password}.json"));
    let auth = STANDARD.encode(format!("bob:{password}"));
    std::fs::write(&file, json!({ "auths": { registry: { "auth": auth } } }).to_string()).unwrap();
    Arc::new(DockerLogins::new(file, Arc::new(NoHelper)))
}

fn ask(registry: &str, repository: &str, tag: &str, image: &TwoPlatforms) -> Ask {
    Ask {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        platform: Platform::new("linux", "amd64", None),
        known: vec![image.digest()],
        wants_content: true,
        wants_tags: false,
        is_fresh: false,
    }
}

fn cause(answer: &Answer) -> Option<Cause> {
    match &answer.content {
        Outcome::Found(_) => None,
        Outcome::Refused(Refusal { cause, .. }) => Some(*cause),
        Outcome::NotAsked => panic!("it was asked"),
    }
}

#[tokio::test]
async fn stored_logins_open_their_registry_and_wrong_or_absent_ones_are_told_apart_from_what_is_gone() {
    let (store, image, folder) = (Store::new(), TwoPlatforms::new("1", "1"), tempfile::tempdir().unwrap());
    let tokens = TokenServer::start().await;
    let open = Registry::start(&store, Way::Open).await;
    for repository in ["open/app", "team/app", "team/other"] {
        open.push(repository, "1", &image).await;
    }
    let basic = Registry::start(&store, Way::Basic).await;
    let token = Registry::start(&store, Way::Token(&tokens)).await;
    let nobody = || -> Arc<dyn Credentials> { Arc::new(NoLogins) };

    for (registry, is_token) in [(&basic, false), (&token, true)] {
        let name = registry.name();
        let asks = || {
            let tags = [("team/app", "1"), ("team/other", "1"), ("open/app", "1"), ("team/app", "gone")];
            tags.map(|(repository, tag)| ask(&name, repository, tag, &image)).to_vec()
        };
        let causes = async |credentials: Arc<dyn Credentials>| {
            let answers = client(&clock(), credentials, &[]).look_up(asks()).await;
            answers.iter().map(cause).collect::<Vec<_>>()
        };
        let (denied, gone) = (Some(Cause::NotAllowed), Some(Cause::GoneUpstream));
        let right = causes(logged_in(&folder, &name, "pw")).await;
        assert_eq!(right, [None, None, None, gone], "{name}");
        assert_eq!(if is_token { tokens.asked() } else { 1 }, 1, "one token for all");
        assert_eq!(causes(logged_in(&folder, &name, "wrong")).await, [denied; 4], "{name}");
        let open_to_all = if is_token { None } else { denied };
        assert_eq!(causes(nobody()).await, [denied, denied, open_to_all, denied], "{name}");
        assert_eq!(causes(logged_in(&folder, "other.example", "pw")).await[0], denied, "{name}");
    }
    let (_, gets, _) = basic.counts();
    assert_eq!((gets, token.counts().1), (0, 0));
    // Wrong passwords name whose they are.
    let answer = client(&clock(), logged_in(&folder, &basic.name(), "wrong"), &[]);
    let answer = answer.look_up(vec![ask(&basic.name(), "team/app", "1", &image)]).await.remove(0);
    assert!(matches!(answer.content, Outcome::Refused(Refusal { reason, .. }) if reason.contains("`bob`")));
}

#[tokio::test]
async fn plain_http_on_a_private_address_is_out_of_reach_until_it_is_listed() {
    let engine = Engine::lease().await;
    let (store, image) = (Store::new(), TwoPlatforms::new("1", "1"));
    let registry = Registry::start(&store, Way::Open).await;
    registry.push("team/app", "1", &image).await;
    let name = format!("{}:{}", engine.gateway(), registry.port);
    let ask = ask(&name, "team/app", "1", &image);

    let refused = client(&clock(), Arc::new(NoLogins), &[]).look_up(vec![ask.clone()]).await.remove(0);
    let listed = client(&clock(), Arc::new(NoLogins), &[name]).look_up(vec![ask]).await.remove(0);

    assert!(refused.is_out_of_reach());
    assert!(
        matches!(refused.content, Outcome::Refused(Refusal { reason, .. }) if reason.contains("registry.insecure"))
    );
    assert_eq!(cause(&listed), None);
}

#[tokio::test]
async fn a_fleet_of_200_with_50_images_costs_50_heads_and_no_manifest() {
    let (store, image) = (Store::new(), TwoPlatforms::new("1", "1"));
    let registry = Registry::start(&store, Way::Open).await;
    for n in 0..50 {
        registry.push(&format!("team/app{n}"), "1", &image).await;
    }
    let desk = client(&clock(), Arc::new(NoLogins), &[]);
    let before = registry.counts();
    let asks = || (0..50).map(|n| ask(&registry.name(), &format!("team/app{n}"), "1", &image)).collect();

    let answers = futures_util::future::join_all((0..200).map(|_| desk.look_up(asks()))).await;

    assert!(answers.iter().flatten().all(|answer| cause(answer).is_none()));
    let after = registry.counts();
    assert_eq!((after.0 - before.0, after.1), (50, 0));
}
