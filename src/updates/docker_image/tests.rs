use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::docker::EngineLogin;
use crate::domain::id::ContainerId;
use crate::domain::registry::{
    Ask, Circumstance, Content, Digest, Found, ImageLabels, Jump, NewerTags, Outcome, Tags, refusal,
};
use crate::domain::update::{Cause, Standing};

/// An Engine with these containers and images.
#[derive(Default)]
struct Host {
    used: Mutex<Vec<UsedImage>>,
    images: Mutex<BTreeMap<String, LocalImage>>,
    is_away: AtomicBool,
}

#[async_trait]
impl EngineImages for Host {
    async fn list_used(&self) -> Result<Vec<UsedImage>, DockerError> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(DockerError::StreamEnded),
            false => Ok(self.used.lock().clone()),
        }
    }

    async fn find_image(&self, name: &str) -> Result<Option<LocalImage>, DockerError> {
        Ok(self.images.lock().get(name).cloned())
    }

    async fn ask_registry(&self, _: &str, _: Option<EngineLogin>) -> Result<String, DockerError> {
        unreachable!("the scanner asks its look-up")
    }
}

/// Answers as it is told, and notes what it is asked.
#[derive(Default)]
struct Desk {
    answers: Mutex<BTreeMap<String, Answer>>,
    asked: Mutex<Vec<Ask>>,
}

#[async_trait]
impl Lookup for Desk {
    async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
        self.asked.lock().extend(asks.clone());
        let answers = self.answers.lock();
        asks.iter().map(|ask| answers[&format!("{}:{}", ask.repository, ask.tag)].clone()).collect()
    }
}

struct Scene {
    host: Arc<Host>,
    desk: Arc<Desk>,
    scanner: DockerImage,
}

impl Scene {
    fn new() -> Self {
        let (host, desk) = (Arc::new(Host::default()), Arc::new(Desk::default()));
        let scanner = DockerImage::new(host.clone(), desk.clone());
        Self { host, desk, scanner }
    }

    /// Runs a container of an image with this id, made from `name`.
    fn run(&self, container: &str, name: &str, id: u8, repo_digests: &[String]) -> &Self {
        let used = UsedImage {
            container: ContainerId::new(container.to_owned()),
            name: name.to_owned(),
            id: digest(id).to_string(),
            manifest: None,
        };
        self.host.used.lock().push(used);
        self.image(&digest(id).to_string(), id, repo_digests)
    }

    /// Has the Engine know an image under `name`.
    fn image(&self, name: &str, id: u8, repo_digests: &[String]) -> &Self {
        let image = LocalImage {
            id: digest(id).to_string(),
            repo_digests: repo_digests.to_vec(),
            os: "linux".into(),
            architecture: "amd64".into(),
            labels: [("org.opencontainers.image.version".to_owned(), format!("1.0.{id}"))].into(),
            ..Default::default()
        };
        self.host.images.lock().insert(name.to_owned(), image);
        self
    }

    fn answers(&self, name: &str, content: Outcome) -> &Self {
        self.desk.answers.lock().insert(name.to_owned(), Answer { content, tags: Tags::NotAsked });
        self
    }

    async fn scan(&self, last: Option<&Findings>) -> Findings {
        self.scanner.scan(&ScanAsk { now: time("13:00"), last, by_person: false }).await
    }
}

fn digest(n: u8) -> Digest {
    Digest::of(&[n])
}

fn time(at: &str) -> DateTime<Utc> {
    format!("2026-01-31T{at}:00Z").parse().unwrap()
}

/// A tag with this digest, which holds that manifest and configuration.
fn found(tag: u8, inner: Option<(u8, u8)>) -> Outcome {
    let content = inner.map(|(manifest, config)| Content {
        names: [tag, manifest, config].map(digest).to_vec(),
        size_bytes: Some(5),
        labels: ImageLabels { version: Some("1.1.0".into()), ..Default::default() },
    });
    Outcome::Found(Found { digest: digest(tag), at: time("12:00"), content })
}

fn refused(what: &Circumstance) -> Outcome {
    Outcome::Refused(refusal("reg.example", "app:1", what))
}

fn of(repository: &str, n: u8) -> String {
    format!("{repository}@{}", digest(n))
}

#[tokio::test]
async fn only_a_change_for_our_platform_is_newer_and_it_has_a_target() {
    for (why, held, answer, standing) in [
        ("unchanged", vec![of("reg.example/app", 1)], found(1, None), Standing::Same),
        (
            "another platform changed",
            vec![of("reg.example/app", 1)],
            found(2, Some((30, 50))),
            Standing::Same,
        ),
        (
            "two digests",
            vec![of("reg.example/app", 8), of("reg.example/app", 1)],
            found(1, None),
            Standing::Same,
        ),
        (
            "one of another name",
            vec![of("reg.example/b", 2), of("reg.example/app", 1)],
            found(2, Some((31, 51))),
            Standing::Newer,
        ),
        ("ours changed", vec![of("reg.example/app", 1)], found(2, Some((31, 51))), Standing::Newer),
    ] {
        let scene = Scene::new();
        scene.run("c1", "reg.example/app:1", 50, &held).answers("app:1", answer);

        let found = scene.scan(None).await;

        let item = &found.items[0];
        assert_eq!((item.name.as_str(), &item.standing), ("reg.example/app:1", &standing), "{why}");
        assert_eq!(item.available_version.is_some(), item.is_pending(), "{why}");
        assert_eq!(item.containers, ["c1"]);
        assert_eq!(found.checked.as_of, Some(time("12:00")));
        if item.is_pending() {
            let available = format!("1.1.0 ({})", digest(2).short());
            assert_eq!((item.available_version.as_ref(), item.size_bytes), (Some(&available), Some(5)));
            assert_eq!(item.current_version, Some(format!("1.0.50 ({})", digest(1).short())));
        }
    }
}

#[tokio::test]
async fn an_image_that_was_pulled_waits_for_a_restart() {
    let scene = Scene::new();
    // The Engine's list has the bare id of the older one; the container still knows its name.
    scene
        .run("old", "app:1", 50, &[of("app", 1)])
        .image("app:1", 51, &[of("app", 2)])
        .answers("library/app:1", found(2, None));

    let found = scene.scan(None).await;

    assert_eq!(found.items[0].standing, Standing::RestartNeeded);
    assert_eq!(found.items[0].available_version, Some(format!("1.0.51 ({})", digest(2).short())));
}

#[tokio::test]
async fn what_cannot_be_looked_up_says_why_and_nobody_is_asked() {
    let scene = Scene::new();
    let pinned = format!("reg.example/app@{}", digest(1));
    let id = digest(60).to_string();
    scene
        .run("built", "own-app", 50, &[])
        .run("pinned", &pinned, 51, &[of("reg.example/app", 1)])
        .run("by-id", &id, 60, &[])
        .run("odd", "Not/A/Name", 61, &[])
        .run("rebuilt", "second:1", 52, &[])
        .image("second:1", 53, &[]);

    let found = scene.scan(None).await;

    let cause = |name: &str| {
        let item = found.items.iter().find(|item| item.containers == [name]).unwrap();
        match &item.standing {
            Standing::Untracked { cause, .. } => Some(*cause),
            Standing::RestartNeeded => None,
            other => panic!("{name}: {other:?}"),
        }
    };
    let causes = ["built", "pinned", "by-id", "odd", "rebuilt"].map(cause);
    assert_eq!(
        causes,
        [Some(Cause::Local), Some(Cause::Pinned), Some(Cause::Unnamed), Some(Cause::Unnamed), None]
    );
    assert!(scene.desk.asked.lock().is_empty());
    assert_eq!((found.checked.ok, found.checked.as_of), (true, Some(time("13:00"))));
}

#[tokio::test]
async fn what_could_not_be_checked_keeps_what_was_known_and_since_when() {
    let scene = Scene::new();
    scene.run("c1", "reg.example/app:1", 50, &[of("reg.example/app", 1)]);
    scene.answers("app:1", found(2, Some((31, 51))));
    let first = scene.scan(None).await;
    let until = time("14:00");

    scene.answers("app:1", refused(&Circumstance::Paused { until }));
    let second = scene.scan(Some(&first)).await;
    let away = Circumstance::NoAnswer { reason: "no route".into(), is_https_only: false };
    scene.answers("app:1", refused(&away));
    let third = scene.scan(Some(&second)).await;

    for (found, cause, retry_at) in
        [(&second, Cause::Waits, Some(until)), (&third, Cause::NotReachable, None)]
    {
        let item = &found.items[0];
        assert_eq!(item.available_version, first.items[0].available_version);
        let Standing::Unchecked { cause: told, last_known_at, retry_at: at, .. } = &item.standing else {
            panic!("{:?}", item.standing)
        };
        assert_eq!((*told, *last_known_at, *at), (cause, Some(time("12:00")), retry_at));
        assert!(!found.checked.ok && found.checked.is_complete);
        assert_eq!(found.checked.as_of, Some(time("12:00")));
    }
}

#[tokio::test]
async fn an_image_that_was_built_here_is_local_even_if_it_carries_a_digest() {
    let denied = Circumstance::Denied { account: None, note: None };
    for (name, labels, what, expected) in [
        ("shop-web:latest", vec!["com.docker.compose.project"], &denied, true),
        ("reg.example/shop:1", vec!["com.docker.compose.project"], &Circumstance::NotFound, true),
        // Docker Hub shows its own images to everybody.
        ("shop:1", vec![], &denied, true),
        ("shop:1", vec![], &Circumstance::NotFound, false),
        ("reg.example/shop:1", vec![], &denied, false),
    ] {
        let scene = Scene::new();
        let repository = name.rsplit_once(':').unwrap().0;
        scene.run("c1", name, 50, &[of(repository, 50)]);
        for image in scene.host.images.lock().values_mut() {
            image.labels.extend(labels.iter().map(|label| ((*label).to_owned(), "x".to_owned())));
        }
        let asked = name.trim_start_matches("reg.example/");
        let asked = if asked == name { format!("library/{asked}") } else { asked.to_owned() };
        scene.answers(&asked, refused(what));

        let standing = scene.scan(None).await.items.remove(0).standing;

        let is_local = matches!(standing, Standing::Untracked { cause: Cause::Local, .. });
        assert_eq!(is_local, expected, "{name} {what:?}: {standing:?}");
    }
}

#[tokio::test]
async fn a_name_that_only_this_host_gave_an_image_is_local_whatever_its_registry_says() {
    let denied = Circumstance::Denied { account: None, note: None };
    let away = Circumstance::NoAnswer { reason: "no route".into(), is_https_only: false };
    let paused = Circumstance::Paused { until: time("14:00") };
    for what in [&denied, &away, &paused, &Circumstance::NotFound] {
        for (held, expected) in [
            (vec![of("other.example/base", 50)], true),
            (vec![of("other.example/base", 50), of("reg.example/app", 7)], false),
        ] {
            let scene = Scene::new();
            scene.run("c1", "reg.example/app:1", 50, &held).answers("app:1", refused(what));

            let standing = scene.scan(None).await.items.remove(0).standing;

            let is_local = matches!(&standing, Standing::Untracked { cause: Cause::Local, reason }
                if reason.contains("tagged on this host"));
            assert_eq!(is_local, expected, "{what:?}: {standing:?}");
        }
    }
    // A registry that had it once and does not now says something about it.
    let scene = Scene::new();
    scene.run("c1", "reg.example/app:1", 50, &[of("other.example/base", 50)]);
    scene.answers("app:1", found(2, Some((31, 51))));
    let first = scene.scan(None).await;
    scene.answers("app:1", refused(&Circumstance::NotFound));
    let standing = scene.scan(Some(&first)).await.items.remove(0).standing;
    assert!(matches!(standing, Standing::Unchecked { cause: Cause::GoneUpstream, .. }), "{standing:?}");
}

#[tokio::test]
async fn a_change_that_did_not_concern_us_is_remembered_as_long_as_the_image_runs() {
    let scene = Scene::new();
    scene.run("c1", "reg.example/app:1", 50, &[of("reg.example/app", 1)]);
    scene.answers("app:1", found(2, Some((30, 50))));
    let first = scene.scan(None).await;
    // Whoever is asked next need not look into it, and does not.
    scene.answers("app:1", found(2, None));

    let second = scene.scan(Some(&first)).await;

    let known = scene.desk.asked.lock().iter().map(|ask| ask.known.contains(&digest(2))).collect::<Vec<_>>();
    assert_eq!(known, [false, true]);
    assert_eq!(second.items[0].standing, Standing::Same);
    assert_eq!(second.checked.digest, first.checked.digest);
    // Another image runs: what was the same as the one before says nothing about it.
    scene.host.used.lock().clear();
    scene.run("c1", "reg.example/app:1", 60, &[of("reg.example/app", 7)]);
    assert_eq!(scene.scan(Some(&second)).await.items[0].standing, Standing::Newer);
}

#[tokio::test]
async fn one_name_however_it_is_written_is_one_finding_with_newer_tags() {
    let scene = Scene::new();
    let held = [of("nginx", 1)];
    scene.run("a", "nginx:1.25.3", 50, &held).run("b", "docker.io/library/nginx:1.25.3", 50, &held);
    let newer =
        NewerTags { major: None, minor: Some("1.27.0".into()), patch: Some("1.25.5".into()), is_cut: false };
    let answer = Answer { content: found(1, None), tags: Tags::Newer(newer) };
    scene.desk.answers.lock().insert("library/nginx:1.25.3".into(), answer);

    let found = scene.scan(None).await;

    assert_eq!(scene.desk.asked.lock().len(), 1);
    assert!(scene.desk.asked.lock()[0].wants_tags);
    let item = &found.items[0];
    assert_eq!((found.items.len(), item.containers.len(), &item.standing), (1, 2, &Standing::Same));
    let told = &item.details["newer_tags"];
    assert_eq!((&told["newest"], &told["jump"]), (&json!("1.27.0"), &json!(Jump::Minor)));
}

#[tokio::test]
async fn an_engine_that_is_away_takes_nothing_away() {
    let scene = Scene::new();
    scene
        .run("c1", "reg.example/app:1", 50, &[of("reg.example/app", 1)])
        .answers("app:1", found(2, Some((31, 51))));
    let first = scene.scan(None).await;
    scene.host.is_away.store(true, Ordering::Relaxed);

    let second = scene.scan(Some(&first)).await;

    assert_eq!(second.items, first.items);
    assert!(!second.checked.is_complete && second.checked.problem.is_some());
    assert!(scene.scanner.is_present().await);
}
