//! The client of registries against one that answers as it is told: how often it asks, what it sends to whom, and what it
//! makes of answers that are slow, wrong, too large or none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use futures_util::future::join_all;
use lightship::clock::Clock;
use lightship::domain::registry::{Answer, Ask, Digest, Jump, Outcome, Platform, Refusal, Tags};
use lightship::domain::update::Cause;
use lightship::io::Io;
use lightship::registry::{
    Credentials, Kept, Limits, Login, Lookup, NoLogins, Registries, RegistryClient, Secret, Settings,
};
use lightship::updates::KnownRegistries;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::fake_registry::{FakeRegistry, Reply, Seen};

/// What a registry answers.
type Script = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// Logins by registry: account and password.
struct Logins(BTreeMap<String, (String, String)>);

#[async_trait]
impl Credentials for Logins {
    async fn find(&self, registry: &str) -> Result<Option<Login>, String> {
        Ok(self.0.get(registry).map(|(account, password)| Login {
            account: account.clone(),
            secret: Secret::Password(SecretString::from(password.clone())),
        }))
    }
}

fn signed_in(registry: &str) -> Arc<Logins> {
    Arc::new(Logins([(registry.to_owned(), ("bob".to_owned(), "pw".to_owned()))].into()))
}

fn clock() -> Clock {
    Clock::moved("2026-01-31T12:00:00Z".parse().unwrap())
}

fn client(clock: &Clock, credentials: Arc<dyn Credentials>) -> RegistryClient {
    client_within(clock, credentials, Duration::from_secs(10))
}

fn client_within(clock: &Clock, credentials: Arc<dyn Credentials>, answer: Duration) -> RegistryClient {
    rustls::crypto::ring::default_provider().install_default().ok();
    let limits = Limits { answer, page: answer, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    RegistryClient::new(settings, credentials, clock.clone(), Io::current()).unwrap()
}

fn nobody() -> Arc<dyn Credentials> {
    Arc::new(NoLogins)
}

fn ask(registry: &str, repository: &str, tag: &str) -> Ask {
    Ask {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        platform: Platform::new("linux", "amd64", None),
        known: vec![digest_of("held")],
        wants_content: true,
        wants_tags: false,
        is_fresh: false,
    }
}

fn tags_of(registry: &str, tag: &str) -> Ask {
    Ask { wants_content: false, wants_tags: true, ..ask(registry, "app", tag) }
}

async fn one(client: &RegistryClient, ask: Ask) -> Answer {
    client.look_up(vec![ask]).await.remove(0)
}

fn refusal(answer: &Answer) -> &Refusal {
    match (&answer.content, &answer.tags) {
        (Outcome::Refused(refusal), _) | (_, Tags::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn digest_of(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn with_digest(digest: &Digest) -> Reply {
    Reply::new(200, &[("docker-content-digest", digest.as_str()), ("etag", "\"e1\"")], "")
}

fn held() -> Reply {
    with_digest(&digest_of("held"))
}

/// An index, the manifest that it has for our platform, and its configuration: each by its digest.
struct Image {
    index: String,
    manifest: String,
    config: String,
}

impl Image {
    /// `ours` and `other` are what the two platforms' images hold.
    fn new(ours: &str, other: &str) -> Self {
        let config = json!({ "os": "linux", "x": ours,
            "config": { "Labels": { "org.opencontainers.image.version": ours } } });
        let config = config.to_string();
        let manifest = json!({ "schemaVersion": 2, "layers": [{ "digest": digest_of(ours), "size": 7 }],
            "config": { "digest": digest_of(&config), "size": config.len() } });
        let manifest = manifest.to_string();
        let line = |digest, architecture| {
            json!({ "digest": digest, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "platform": { "os": "linux", "architecture": architecture } })
        };
        let lines = [line(digest_of(other), "arm64"), line(digest_of(&manifest), "amd64")];
        let index = json!({ "schemaVersion": 2, "manifests": lines }).to_string();
        Self { index, manifest, config }
    }

    /// Answers for the tag, and for all that it holds.
    fn reply(&self, seen: &Seen) -> Reply {
        let by_digest = |text: &String| seen.path.ends_with(digest_of(text).as_str());
        match [&self.index, &self.manifest, &self.config].into_iter().find(|text| by_digest(text)) {
            Some(text) => Reply::new(200, &[], text.clone()),
            None if seen.header("if-none-match") == Some("\"e1\"") => Reply::new(304, &[], ""),
            None => with_digest(&digest_of(&self.index)),
        }
    }
}

#[tokio::test]
async fn a_whole_fleet_that_asks_costs_one_head_for_each_tag_and_no_manifest() {
    let registry = FakeRegistry::start(|_| held()).await;
    let clock = clock();
    let client = client(&clock, nobody());
    let asks =
        || (0..10).map(|n| ask(registry.name(), &format!("team/app{n}"), "latest")).collect::<Vec<_>>();

    let answers = join_all((0..40).map(|_| client.look_up(asks()))).await;

    assert!(answers.iter().flatten().all(|answer| matches!(answer.content, Outcome::Found(_))));
    let seen = registry.take_seen();
    assert_eq!((seen.len(), seen.iter().filter(|seen| seen.method == "HEAD").count()), (10, 10));
    let accepts = seen[0].header("accept").unwrap();
    let kinds = [
        "oci.image.index.v1",
        "distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "distribution.manifest.v2",
    ];
    assert!(kinds.iter().all(|kind| accepts.contains(kind)), "{accepts}");

    clock.jump(TimeDelta::minutes(4));
    client.look_up(asks()).await;
    assert_eq!(registry.take_seen().len(), 0);
    clock.jump(TimeDelta::minutes(2));
    client.look_up(asks()).await;
    assert!(registry.take_seen().iter().all(|seen| seen.header("if-none-match") == Some("\"e1\"")));
}

#[tokio::test]
async fn a_change_is_looked_into_once_and_described_only_if_it_concerns_the_platform() {
    for (config_is_known, gets) in [(true, 2), (false, 3)] {
        let image = Image::new("1.1", "other");
        let config = digest_of(&image.config);
        let index = digest_of(&image.index);
        let registry = FakeRegistry::start(move |seen| image.reply(seen)).await;
        let clock = clock();
        let client = client(&clock, nobody());
        let mut ask = ask(registry.name(), "app", "1");
        if config_is_known {
            ask.known.push(config.clone());
        }

        let first = join_all((0..5).map(|_| one(&client, ask.clone()))).await;
        clock.jump(TimeDelta::minutes(6));
        let later = one(&client, ask.clone()).await;

        let Outcome::Found(found) = &later.content else { panic!("{later:?}") };
        let content = found.content.as_ref().unwrap();
        assert_eq!(
            (&found.digest, content.names.first(), content.names.last()),
            (&index, Some(&index), Some(&config))
        );
        assert_eq!(content.labels.version.is_some(), !config_is_known);
        assert!(
            first
                .iter()
                .all(|answer| matches!(&answer.content, Outcome::Found(f) if f.content == found.content))
        );
        let methods = |method: &str, seen: &[Seen]| seen.iter().filter(|seen| seen.method == method).count();
        let seen = registry.take_seen();
        assert_eq!((methods("HEAD", &seen), methods("GET", &seen)), (2, gets));
    }
}

#[tokio::test]
async fn indexes_are_followed_three_deep_and_no_further() {
    for (depth, is_found) in [(1, true), (2, true), (3, true), (4, false)] {
        let image = Image::new("1.1", "other");
        let config = digest_of(&image.config);
        // The image's own index is the innermost one.
        let mut indexes = vec![image.index.clone()];
        for _ in 1..depth {
            let inner = json!({ "digest": digest_of(indexes.last().unwrap()),
                "mediaType": "application/vnd.oci.image.index.v1+json" });
            indexes.push(json!({ "schemaVersion": 2, "manifests": [inner] }).to_string());
        }
        let outer = digest_of(indexes.last().unwrap());
        let registry = FakeRegistry::start(move |seen| {
            let holds = |text: &&String| seen.path.ends_with(digest_of(text).as_str());
            match indexes.iter().chain([&image.manifest, &image.config]).find(holds) {
                Some(text) => Reply::new(200, &[], text.clone()),
                None => with_digest(&digest_of(indexes.last().unwrap())),
            }
        })
        .await;

        let answer = one(&client(&clock(), nobody()), ask(registry.name(), "app", "1")).await;

        let gets =
            registry.take_seen().iter().filter(|seen| seen.method == "GET" && seen.is_manifest()).count();
        match &answer.content {
            Outcome::Found(found) if is_found => {
                let names = &found.content.as_ref().unwrap().names;
                assert_eq!((names.first(), names.last()), (Some(&outer), Some(&config)), "{depth}");
                assert_eq!((names.len(), gets), (depth + 2, depth + 1), "{depth}");
            }
            Outcome::Refused(refusal) if !is_found => {
                assert!(refusal.reason.contains("linux/amd64"), "{refusal:?}");
                assert_eq!(gets, 4, "what lies deeper is not asked for");
            }
            other => panic!("{depth}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn who_is_forbidden_for_a_while_waits_and_who_is_for_good_does_not() {
    for (headers, expected) in [(vec![("retry-after", "60")], Cause::Waits), (vec![], Cause::NotAllowed)] {
        let registry = FakeRegistry::start(move |_| Reply::new(403, &headers, "{}")).await;
        let clock = clock();
        let client = client(&clock, nobody());
        let answer = one(&client, ask(registry.name(), "app", "1")).await;
        assert_eq!(refusal(&answer).cause, expected);
        registry.take_seen();
        one(&client, ask(registry.name(), "other", "1")).await;
        assert_eq!(registry.take_seen().is_empty(), expected == Cause::Waits);
    }
}

#[tokio::test]
async fn a_process_that_is_killed_leaves_the_next_one_what_registries_said() {
    let is_busy = Arc::new(AtomicBool::new(false));
    let (busy, image) = (is_busy.clone(), Image::new("1.1", "other"));
    let registry = FakeRegistry::start(move |seen| match busy.load(Ordering::Relaxed) {
        true => Reply::new(429, &[("retry-after", "60")], "{}"),
        false => image.reply(seen),
    })
    .await;
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let dir = dir.path().join("not-there-yet");
    // Nobody says good-bye: each is dropped as it is.
    let process = || {
        let client = client(&clock, nobody());
        KnownRegistries::open(client, &dir, "r.json", TimeDelta::minutes(3), clock.clone(), Io::current())
    };
    let ask = |tag: &str| vec![ask(registry.name(), "app", tag)];

    let first = process().look_up(ask("1")).await;
    assert!(registry.take_seen().len() > 1);
    assert_eq!(process().look_up(ask("1")).await, first, "digests and what they hold");
    assert_eq!(registry.take_seen().len(), 0);

    // A refusal is written down at once, however young the file is.
    let told = process();
    told.look_up(ask("1")).await;
    is_busy.store(true, Ordering::Relaxed);
    let refused = told.look_up(ask("2")).await.remove(0);
    assert_eq!((refusal(&refused).cause, registry.take_seen().len()), (Cause::Waits, 1));
    let beside = process();
    let again = process().look_up(ask("3")).await.remove(0);
    assert_eq!((refusal(&again).retry_at, registry.take_seen().len()), (refusal(&refused).retry_at, 0));

    // One that writes later keeps what another one beside it was told.
    clock.jump(TimeDelta::seconds(30));
    is_busy.store(false, Ordering::Relaxed);
    std::fs::write(dir.join("r.json"), "{\"half").unwrap();
    let fresh = process();
    beside.keep();
    fresh.keep();
    let last = process().look_up(ask("4")).await.remove(0);
    assert_eq!((refusal(&last).cause, registry.take_seen().len()), (Cause::Waits, 0));
    clock.jump(TimeDelta::seconds(31));
    assert!(matches!(process().look_up(ask("4")).await.remove(0).content, Outcome::Found(_)));

    // What somebody pushed is not known any more, for the next process neither.
    let told = process();
    told.look_up(ask("4")).await;
    told.forget(registry.name(), "app");
    told.look_up(ask("1")).await;
    registry.take_seen();
    process().look_up(ask("4")).await;
    assert_eq!(registry.take_seen().len(), 1);
}

#[tokio::test]
async fn after_too_many_requests_nothing_is_sent_before_the_time_not_even_by_the_next_process() {
    let is_busy = Arc::new(AtomicBool::new(true));
    let busy = is_busy.clone();
    let registry = FakeRegistry::start(move |_| match busy.load(Ordering::Relaxed) {
        true => Reply::new(429, &[("retry-after", "60")], "{}"),
        false => held(),
    })
    .await;
    let clock = clock();
    let first = client(&clock, nobody());

    let answer = one(&first, ask(registry.name(), "app", "1")).await;
    let until = refusal(&answer).retry_at.unwrap();
    assert_eq!((refusal(&answer).cause, (until - clock.now()).num_seconds() >= 58), (Cause::Waits, true));
    assert_eq!(registry.take_seen().len(), 1);

    is_busy.store(false, Ordering::Relaxed);
    let kept: Kept = serde_json::from_value(serde_json::to_value(first.keep()).unwrap()).unwrap();
    let second = client(&clock, nobody());
    second.resume(kept);
    clock.jump(TimeDelta::seconds(50));
    for client in [&first, &second] {
        let answers =
            client.look_up((0..9).map(|n| ask(registry.name(), &format!("a{n}"), "1")).collect()).await;
        assert!(answers.iter().all(|answer| refusal(answer).retry_at == Some(until)));
    }
    assert_eq!(registry.take_seen().len(), 0);

    clock.jump(TimeDelta::seconds(11));
    assert!(matches!(one(&second, ask(registry.name(), "app", "1")).await.content, Outcome::Found(_)));
}

/// A registry with a token server of its own at `/token`; what that answers, and whether a token is good, a test says.
async fn with_tokens(
    token: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    error: impl Fn(&Seen) -> Option<&'static str> + Send + Sync + 'static,
) -> FakeRegistry {
    FakeRegistry::start_knowing(|name| {
        move |seen: &Seen| {
            if seen.path.starts_with("/token") {
                return token(seen);
            }
            let asks = |error: &str| {
                let value = format!("Bearer realm=\"http://{name}/token\",service=\"reg\"{error}");
                Reply::new(401, &[("www-authenticate", value.as_str())], "")
            };
            match (seen.header("authorization"), error(seen)) {
                (None, _) => asks(""),
                (Some(_), Some(error)) => asks(&format!(",error=\"{error}\"")),
                (Some(_), None) => held(),
            }
        }
    })
    .await
}

fn a_token() -> Reply {
    Reply::new(200, &[], json!({ "token": "t1", "expires_in": 300 }).to_string())
}

fn at_token_server(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().filter(|seen| seen.path.starts_with("/token")).collect()
}

#[tokio::test]
async fn one_token_is_good_for_all_repositories_and_the_login_goes_with_it_first() {
    let registry = with_tokens(|_| a_token(), |_| None).await;
    let clock = clock();
    let client = client(&clock, signed_in(registry.name()));
    let asks: Vec<Ask> = (0..30).map(|n| ask(registry.name(), &format!("team/app{n}"), "1")).collect();

    let answers = client.look_up(asks.clone()).await;
    clock.jump(TimeDelta::minutes(4));
    client.look_up(asks.into_iter().map(|ask| Ask { is_fresh: true, ..ask }).collect()).await;

    assert!(answers.iter().all(|answer| matches!(answer.content, Outcome::Found(_))));
    let seen = registry.take_seen();
    let tokens = at_token_server(&seen);
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].path.matches("scope=").count(), 30);
    assert_eq!(tokens[0].header("authorization"), Some("Basic Ym9iOnB3"));
    let bare = seen.iter().filter(|seen| seen.header("authorization").is_none()).count();
    assert_eq!(bare, 1, "one learns for all that a token is wanted");
}

/// Holds a token that stands for an account.
struct Identity;

#[async_trait]
impl Credentials for Identity {
    async fn find(&self, _registry: &str) -> Result<Option<Login>, String> {
        let secret = Secret::Identity(SecretString::from("idt/+"));
        Ok(Some(Login { account: "token".to_owned(), secret }))
    }
}

#[tokio::test]
async fn an_identity_token_is_exchanged_in_the_body_of_a_post() {
    let registry = with_tokens(|_| a_token(), |_| None).await;

    let answer = one(&client(&clock(), Arc::new(Identity)), ask(registry.name(), "app", "1")).await;

    assert!(matches!(answer.content, Outcome::Found(_)));
    let seen = registry.take_seen();
    let sent = at_token_server(&seen)[0];
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/token"));
    for part in [
        "grant_type=refresh_token",
        "refresh_token=idt%2F%2B",
        "scope=repository%3Aapp%3Apull",
        "service=reg",
    ] {
        assert!(sent.body.contains(part), "{}", sent.body);
    }
}

#[tokio::test]
async fn a_token_server_that_asks_to_wait_keeps_its_registry_unasked() {
    let registry = with_tokens(|_| Reply::new(429, &[("retry-after", "60")], ""), |_| None).await;
    let clock = clock();
    let client = client(&clock, nobody());

    let answer = one(&client, ask(registry.name(), "app", "1")).await;
    assert_eq!(refusal(&answer).cause, Cause::Waits);
    registry.take_seen();
    let later = one(&client, ask(registry.name(), "other", "1")).await;

    assert_eq!(refusal(&later).cause, Cause::Waits);
    assert_eq!(registry.take_seen().len(), 0);
}

#[tokio::test]
async fn a_refusal_for_good_is_not_answered_by_trying_on() {
    for (error, tokens, heads) in [("insufficient_scope", 2, 3), ("invalid_token", 3, 4)] {
        let registry =
            with_tokens(|_| a_token(), move |seen| seen.path.contains("/private/").then_some(error)).await;
        let client = client(&clock(), signed_in(registry.name()));
        let open = one(&client, ask(registry.name(), "open/app", "1")).await;
        assert!(matches!(open.content, Outcome::Found(_)));
        registry.take_seen();

        let asks = vec![ask(registry.name(), "private/app", "1"), ask(registry.name(), "open/app", "1")];
        let answers = client.look_up(asks).await;

        assert_eq!(refusal(&answers[0]).cause, Cause::NotAllowed, "{error}");
        assert!(refusal(&answers[0]).reason.contains("`bob`"));
        assert!(matches!(answers[1].content, Outcome::Found(_)));
        let seen = registry.take_seen();
        assert!(
            at_token_server(&seen).len() <= tokens
                && seen.iter().filter(|s| s.is_manifest()).count() <= heads,
            "{error}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_refuses_all_because_of_one_is_asked_for_each() {
    let refuses = |seen: &Seen| match seen.path.contains("private") {
        true => Reply::new(403, &[], r#"{"errors":[{"code":"DENIED"}]}"#),
        false => a_token(),
    };
    let registry = with_tokens(refuses, |_| None).await;
    let client = client(&clock(), nobody());
    let asks = ["open/a", "private/b", "open/c"].map(|name| ask(registry.name(), name, "1")).to_vec();

    let answers = client.look_up(asks).await;

    let found: Vec<bool> = answers.iter().map(|answer| matches!(answer.content, Outcome::Found(_))).collect();
    assert_eq!(found, [true, false, true]);
    assert_eq!(refusal(&answers[1]).cause, Cause::NotAllowed);
}

#[tokio::test]
async fn a_login_goes_to_its_own_registry_and_to_no_other() {
    let basic = |seen: &Seen| match seen.header("authorization") {
        Some("Basic Ym9iOnB3") => held(),
        _ => Reply::new(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    };
    let (own, other) = (FakeRegistry::start(basic).await, FakeRegistry::start(basic).await);
    let client = client(&clock(), signed_in(own.name()));

    let answers = client.look_up(vec![ask(own.name(), "app", "1"), ask(other.name(), "app", "1")]).await;

    assert!(matches!(answers[0].content, Outcome::Found(_)));
    assert_eq!(refusal(&answers[1]).cause, Cause::NotAllowed);
    assert!(refusal(&answers[1]).reason.contains("docker login"));
    assert!(other.take_seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn a_redirect_elsewhere_goes_on_without_the_login() {
    let elsewhere = FakeRegistry::start(|_| held()).await;
    let target = format!("http://{}/v2/app/manifests/1", elsewhere.name());
    let registry = FakeRegistry::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        Some(_) => Reply::new(307, &[("location", target.as_str())], ""),
    })
    .await;
    let client = client(&clock(), signed_in(registry.name()));

    let answer = one(&client, ask(registry.name(), "app", "1")).await;

    assert!(matches!(answer.content, Outcome::Found(_)));
    let seen = elsewhere.take_seen();
    assert_eq!((seen.len(), seen[0].header("authorization")), (1, None));
}

#[tokio::test]
async fn a_password_is_not_sent_to_a_token_server_without_encryption() {
    let challenge = [("www-authenticate", "Bearer realm=\"http://auth.example.com/token\",service=\"reg\"")];
    let registry = FakeRegistry::start(move |_| Reply::new(401, &challenge, "")).await;
    let client = client(&clock(), signed_in(registry.name()));

    let answer = one(&client, ask(registry.name(), "app", "1")).await;

    assert_eq!(refusal(&answer).cause, Cause::NotAllowed);
    assert!(refusal(&answer).reason.contains("without encryption"));
}

#[tokio::test]
async fn without_a_digest_in_the_header_the_manifest_is_fetched_and_hashed_once() {
    let image = Image::new("1.0", "other");
    let manifest = image.manifest.clone();
    let registry = FakeRegistry::start(move |seen| match (seen.is_manifest(), seen.method.as_str()) {
        (true, "HEAD") => Reply::new(200, &[], ""),
        (true, _) => Reply::new(200, &[], manifest.clone()),
        _ => Reply::new(404, &[], ""),
    })
    .await;
    let clock = clock();
    let client = client(&clock, nobody());

    let answer = one(&client, ask(registry.name(), "app", "1")).await;
    clock.jump(TimeDelta::minutes(10));
    one(&client, ask(registry.name(), "app", "1")).await;

    let Outcome::Found(found) = answer.content else { panic!("{answer:?}") };
    assert_eq!(found.digest, digest_of(&image.manifest));
    assert_eq!(found.content.unwrap().names, [digest_of(&image.manifest), digest_of(&image.config)]);
    let gets = registry.take_seen().iter().filter(|seen| seen.is_manifest() && seen.method == "GET").count();
    assert_eq!(gets, 1);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_never_taken_for_news() {
    let wrong = digest_of("another").to_string();
    let cases: Vec<(&str, Script, Cause)> = vec![
        (
            "a page to sign in",
            Box::new(|_| Reply::new(200, &[("content-type", "text/html")], "<html>")),
            Cause::Misunderstood,
        ),
        (
            "another digest than its bytes",
            Box::new(move |_| Reply::new(200, &[("docker-content-digest", wrong.as_str())], "{}")),
            Cause::Misunderstood,
        ),
        ("gone", Box::new(|_| Reply::new(404, &[], "")), Cause::GoneUpstream),
        ("a failure", Box::new(|_| Reply::new(502, &[], "")), Cause::NotReachable),
        ("a teapot", Box::new(|_| Reply::new(418, &[], "")), Cause::Misunderstood),
        ("refused", Box::new(|_| Reply::new(403, &[], "")), Cause::NotAllowed),
        (
            "a circle",
            Box::new(|seen| Reply::new(302, &[("location", seen.path.as_str())], "")),
            Cause::Misunderstood,
        ),
        (
            "a way out of encryption",
            Box::new(|_| Reply::new(302, &[("location", "http://example.com/")], "")),
            Cause::Misunderstood,
        ),
        ("a flood", Box::new(|_| Reply::new(200, &[], vec![b'x'; 5 << 20])), Cause::Misunderstood),
    ];
    for (why, answer, cause) in cases {
        let registry = FakeRegistry::start(answer).await;
        let client = client(&clock(), nobody());

        let answer = one(&client, ask(registry.name(), "app", "1")).await;

        assert_eq!(refusal(&answer).cause, cause, "{why}: {answer:?}");
    }
}

#[tokio::test]
async fn a_registry_that_is_slow_or_silent_costs_its_time_limit_and_no_more() {
    let pieces = |_: &Seen| Reply::Pieces(200, Vec::new(), vec![b'x'; 1000], Duration::from_millis(20));
    for registry in [FakeRegistry::start(|_| Reply::Never).await, FakeRegistry::start(pieces).await] {
        let client = client_within(&clock(), nobody(), Duration::from_millis(300));
        let asks = |n: usize| (0..n).map(|n| ask(registry.name(), &format!("a{n}"), "1")).collect::<Vec<_>>();

        let answers = tokio::time::timeout(Duration::from_secs(20), client.look_up(asks(40))).await.unwrap();

        assert!(answers.iter().all(|answer| refusal(answer).cause == Cause::NotReachable));
        // Those that were under way when the third came too late; nobody after them.
        assert!(registry.take_seen().len() <= 8, "it is left alone then");
    }
}

#[tokio::test]
async fn nobody_there_is_out_of_reach_and_says_what_plain_http_would_need() {
    let client = client_within(&clock(), nobody(), Duration::from_secs(2));

    let answers =
        client.look_up(vec![ask("127.0.0.1:1", "app", "1"), ask("registry.invalid:5000", "app", "1")]).await;

    assert!(answers.iter().all(Answer::is_out_of_reach));
    assert!(!refusal(&answers[0]).reason.contains("registry.insecure"));
    assert!(refusal(&answers[1]).reason.contains("registry.insecure"), "{:?}", answers[1]);
}

#[tokio::test]
async fn pulls_that_are_scarce_are_left_to_whoever_pulls() {
    let registry = FakeRegistry::start(|_| {
        let digest = digest_of("new");
        let headers = [
            ("docker-content-digest", digest.as_str()),
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "3;w=21600"),
        ];
        Reply::new(200, &headers, "")
    })
    .await;
    let client = client(&clock(), nobody());

    let answer = one(&client, ask(registry.name(), "app", "1")).await;

    assert_eq!(refusal(&answer).cause, Cause::Waits);
    let methods: Vec<String> = registry.take_seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["HEAD"]);
}

fn page(tags: &[&str]) -> Vec<u8> {
    json!({ "name": "app", "tags": tags }).to_string().into_bytes()
}

#[tokio::test]
async fn tags_are_read_page_by_page_and_once_for_all() {
    let registry = FakeRegistry::start(|seen| match seen.path.as_str() {
        "/v2/app/tags/list?n=1000" => Reply::new(
            200,
            &[("link", "</v2/app/tags/list?n=1000&last=b>; rel=\"next\"")],
            page(&["1.2.4", "latest"]),
        ),
        "/v2/app/tags/list?n=1000&last=b" => Reply::new(200, &[], page(&["1.3.0", "2.0.0-rc1"])),
        _ => Reply::new(404, &[], ""),
    })
    .await;
    let client = client(&clock(), nobody());

    let answers =
        client.look_up(vec![tags_of(registry.name(), "1.2.3"), tags_of(registry.name(), "1.2.4")]).await;

    let newest = |answer: &Answer| match &answer.tags {
        Tags::Newer(found) => found.newest().map(|(tag, jump)| (tag.to_owned(), jump)),
        other => panic!("{other:?}"),
    };
    let expected = Some(("1.3.0".to_owned(), Jump::Minor));
    assert_eq!((newest(&answers[0]), newest(&answers[1])), (expected.clone(), expected));
    assert_eq!(registry.take_seen().len(), 2);
}

#[tokio::test]
async fn lists_of_tags_that_never_end_are_cut_and_say_so() {
    let many: Vec<String> = (0..60_000).map(|n| format!("1.0.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let large = page(&many);
    let count = AtomicUsize::new(0);
    let cases: Vec<(&str, Script, usize)> = vec![
        (
            "a circle",
            Box::new(|seen| {
                Reply::new(200, &[("link", &format!("<{}>; rel=\"next\"", seen.path))], page(&["1.2.4"]))
            }),
            1,
        ),
        (
            "a circle of two",
            Box::new(|seen| {
                let next = if seen.path.ends_with("&p=1") {
                    "/v2/app/tags/list?n=1000&p=2"
                } else {
                    "/v2/app/tags/list?n=1000&p=1"
                };
                Reply::new(200, &[("link", &format!("<{next}>; rel=\"next\""))], page(&["1.2.4"]))
            }),
            3,
        ),
        (
            "always another page",
            Box::new(move |_| {
                let next =
                    format!("</v2/app/tags/list?p={}>; rel=\"next\"", count.fetch_add(1, Ordering::Relaxed));
                Reply::new(200, &[("link", &next)], page(&["1.2.4"]))
            }),
            20,
        ),
        (
            "more bytes than are read",
            Box::new(move |seen| {
                let next = format!("<{}x>; rel=\"next\"", seen.path);
                Reply::new(200, &[("link", &next)], large.clone())
            }),
            9,
        ),
    ];
    for (why, answer, most) in cases {
        let registry = FakeRegistry::start(answer).await;
        let client = client(&clock(), nobody());

        let answer = one(&client, tags_of(registry.name(), "1.0.3")).await;

        let Tags::Newer(found) = answer.tags else { panic!("{why}: {answer:?}") };
        assert!(found.is_cut && found.newest().is_some(), "{why}: {found:?}");
        let seen = registry.take_seen().len();
        assert!(seen <= most, "{why}: {seen}");
    }
}

#[tokio::test]
async fn another_hosts_page_of_tags_is_not_asked_for() {
    let other = FakeRegistry::start(|_| Reply::new(200, &[], page(&["9.9.9"]))).await;
    let link = format!("<http://{}/v2/app/tags/list>; rel=\"next\"", other.name());
    let registry = FakeRegistry::start(move |_| Reply::new(200, &[("link", &link)], page(&["1.2.4"]))).await;
    let client = client(&clock(), nobody());

    let answer = one(&client, tags_of(registry.name(), "1.2.3")).await;

    assert!(matches!(answer.tags, Tags::Newer(found) if found.newest() == Some(("1.2.4", Jump::Patch))));
    assert!(other.take_seen().is_empty());
}

#[tokio::test]
async fn what_was_known_is_known_to_the_next_process_and_a_push_is_not_waited_for() {
    let image = Image::new("1.1", "other");
    let registry = FakeRegistry::start(move |seen| image.reply(seen)).await;
    let clock = clock();
    let first = client(&clock, nobody());
    let before = one(&first, ask(registry.name(), "app", "1")).await;
    let kept: Value = serde_json::to_value(first.keep()).unwrap();
    registry.take_seen();

    let second = client(&clock, nobody());
    second.resume(serde_json::from_value(kept).unwrap());
    assert_eq!(one(&second, ask(registry.name(), "app", "1")).await, before);
    assert_eq!(registry.take_seen().len(), 0);
    second.forget(registry.name(), "app");
    one(&second, ask(registry.name(), "app", "1")).await;

    let methods: Vec<String> = registry.take_seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["HEAD"]);
}

/// A login that is changed while the client runs.
struct Changing(parking_lot::Mutex<Option<&'static str>>);

#[async_trait]
impl Credentials for Changing {
    async fn find(&self, _registry: &str) -> Result<Option<Login>, String> {
        let password = *self.0.lock();
        let secret = |password: &str| Secret::Password(SecretString::from(password));
        Ok(password.map(|password| Login { account: "bob".to_owned(), secret: secret(password) }))
    }
}

#[tokio::test]
async fn another_password_of_the_same_account_counts_once_the_registry_is_forgotten() {
    // given a token server that knows one password, and a registry that is asked with the other one
    let tokens = FakeRegistry::start(|seen| match seen.header("authorization") {
        Some(basic) if basic == basic_of("bob:pw") => {
            Reply::new(200, &[], r#"{"token":"t","expires_in":300}"#)
        }
        _ => Reply::new(401, &[], "{}"),
    })
    .await;
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"r\"", tokens.name());
    let registry = FakeRegistry::start(move |seen| match seen.header("authorization") {
        Some("Bearer t") => held(),
        _ => Reply::new(401, &[("www-authenticate", &challenge)], "{}"),
    })
    .await;
    let logins = Arc::new(Changing(parking_lot::Mutex::new(Some("wrong"))));
    let client = client(&clock(), logins.clone());
    let asked = async || one(&client, ask(registry.name(), "app", "1")).await;
    assert_eq!(refusal(&asked().await).cause, Cause::NotAllowed);
    // when it changes, then what was said before holds until it is forgotten
    for (password, before, after) in [("pw", false, true), ("wrong", true, false)] {
        *logins.0.lock() = Some(password);
        assert_eq!(matches!(asked().await.content, Outcome::Found(_)), before, "{password}");
        client.forget_registry("other.example");
        assert_eq!(matches!(asked().await.content, Outcome::Found(_)), before, "{password}");
        client.forget_registry(registry.name());
        assert_eq!(matches!(asked().await.content, Outcome::Found(_)), after, "{password}");
    }
}

fn basic_of(pair: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}
