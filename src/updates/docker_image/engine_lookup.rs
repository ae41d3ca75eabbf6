//! The Engine asks a registry for us: with its proxies and certificates, where the agent itself has no way out.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::docker::{DockerError, EngineImages, EngineLogin};
use crate::domain::registry::{
    Answer, Ask, Circumstance, DOCKER_HUB, Digest, Found, Outcome, Pace, Tags, refusal,
};
use crate::registry::{Credentials, Login, Lookup, Secret};

/// Has an Engine answer. It says digests and nothing of what they hold, nor of other tags, and each answer is a pull: it
/// is for what nobody else reaches.
pub struct EngineLookup {
    engine: Arc<dyn EngineImages>,
    credentials: Arc<dyn Credentials>,
    clock: Clock,
    paces: Mutex<BTreeMap<String, Pace>>,
}

impl EngineLookup {
    /// Takes an Engine and the logins that it is given.
    pub fn new(engine: Arc<dyn EngineImages>, credentials: Arc<dyn Credentials>, clock: Clock) -> Self {
        Self { engine, credentials, clock, paces: Mutex::default() }
    }

    async fn answer(&self, ask: &Ask) -> Answer {
        let found = self.digest(ask).await;
        let at = self.clock.now();
        let told =
            |what: &Circumstance| refusal(&ask.registry, &format!("{}:{}", ask.repository, ask.tag), what);
        let content = match found {
            _ if !ask.wants_content => Outcome::NotAsked,
            Ok(digest) => Outcome::Found(Found { digest, at, content: None }),
            Err(what) => Outcome::Refused(told(&what)),
        };
        let tags = match ask.wants_tags {
            true => Tags::Refused(told(&Circumstance::NoAnswer {
                reason: "only the Engine reaches it, and it lists no tags".into(),
                is_https_only: false,
            })),
            false => Tags::NotAsked,
        };
        Answer { content, tags }
    }

    /// Asks, unless the registry wants to be left alone. The Engine hands on no time, so that pauses are of our own making.
    async fn digest(&self, ask: &Ask) -> Result<Digest, Circumstance> {
        let waits_until = |now| self.paces.lock().get(&ask.registry)?.waits_until(now);
        if let Some(until) = waits_until(self.clock.now()) {
            return Err(Circumstance::Paused { until });
        }
        let name = format!("{}/{}:{}", ask.registry, ask.repository, ask.tag);
        let login = self.credentials.find(&ask.registry).await.ok().flatten();
        let account = login.as_ref().map(|login| login.account.clone());
        let login = login.map(|login| engine_login(login, &ask.registry));
        let asked = self.engine.ask_registry(&name, login).await;
        let mut paces = self.paces.lock();
        let pace = paces.entry(ask.registry.clone()).or_default();
        match asked {
            Ok(text) => {
                pace.answered();
                Digest::parse(&text).ok_or(Circumstance::Odd { reason: "the Engine named no digest".into() })
            }
            Err(error) if is_too_much(&error) => {
                Err(Circumstance::Paused { until: pace.refuse(self.clock.now(), None) })
            }
            Err(error) => Err(sorted(&error, account)),
        }
    }
}

#[async_trait]
impl Lookup for EngineLookup {
    async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
        // One after the other: the Engine is made for other work.
        let mut answers = Vec::with_capacity(asks.len());
        for ask in &asks {
            answers.push(self.answer(ask).await);
        }
        answers
    }
}

/// A login in the Engine's form.
pub(super) fn engine_login(login: Login, registry: &str) -> EngineLogin {
    let (user, secret) = match login.secret {
        Secret::Password(secret) => (Some(login.account), secret),
        Secret::Identity(secret) => (None, secret),
    };
    EngineLogin { user, secret, server: server_of(registry) }
}

fn server_of(registry: &str) -> String {
    if registry == DOCKER_HUB { "https://index.docker.io/v1/".into() } else { registry.to_owned() }
}

/// What the Engine says of a failure, in small letters; none if it said nothing.
fn said(error: &DockerError) -> Option<String> {
    match error {
        DockerError::NotFound { message, .. }
        | DockerError::Refused { message, .. }
        | DockerError::Conflict { message, .. } => Some(message.to_ascii_lowercase()),
        _ => None,
    }
}

/// True if a registry asked the Engine to wait.
fn is_too_much(error: &DockerError) -> bool {
    let words = ["toomanyrequests", "too many requests", "rate limit"];
    said(error).is_some_and(|said| words.iter().any(|word| said.contains(word)))
}

/// The Engine has one answer for every failure, and tells them apart in words.
fn sorted(error: &DockerError, account: Option<String>) -> Circumstance {
    let Some(said) = said(error) else {
        return Circumstance::NoAnswer { reason: error.to_string(), is_https_only: false };
    };
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&[
        "no basic auth credentials",
        "unauthorized",
        "denied",
        "authentication required",
        "insufficient_scope",
    ]) {
        return Circumstance::Denied { account, note: None };
    }
    if says(&["manifest unknown", "name unknown", "not found"]) {
        return Circumstance::NotFound;
    }
    Circumstance::NoAnswer { reason: format!("the Engine said: {}", shortened(&said)), is_https_only: false }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;

    use super::*;
    use crate::docker::{LocalImage, UsedImage};
    use crate::domain::registry::{Platform, Refusal};
    use crate::domain::update::Cause;
    use crate::registry::NoLogins;

    type Answers = fn() -> Result<String, DockerError>;

    /// Says of every registry what it was made with.
    struct Says(Answers);

    #[async_trait]
    impl EngineImages for Says {
        async fn list_used(&self) -> Result<Vec<UsedImage>, DockerError> {
            unreachable!("not asked")
        }

        async fn find_image(&self, _name: &str) -> Result<Option<LocalImage>, DockerError> {
            unreachable!("not asked")
        }

        async fn ask_registry(&self, name: &str, login: Option<EngineLogin>) -> Result<String, DockerError> {
            assert_eq!((name, login.is_none()), ("reg.example/a:1", true));
            (self.0)()
        }
    }

    fn moved() -> Clock {
        Clock::moved("2026-01-31T12:00:00Z".parse().unwrap())
    }

    async fn asked(says: Answers) -> Outcome {
        asked_of(&EngineLookup::new(Arc::new(Says(says)), Arc::new(NoLogins), moved())).await
    }

    async fn asked_of(lookup: &EngineLookup) -> Outcome {
        let ask = Ask {
            registry: "reg.example".into(),
            repository: "a".into(),
            tag: "1".into(),
            platform: Platform::new("linux", "amd64", None),
            known: Vec::new(),
            wants_content: true,
            wants_tags: false,
            is_fresh: false,
        };
        lookup.look_up(vec![ask]).await.remove(0).content
    }

    fn refused(message: &str) -> Result<String, DockerError> {
        Err(DockerError::Refused { what: "ask a registry", status: 500, message: message.into() })
    }

    #[tokio::test]
    async fn the_engines_words_are_told_apart() {
        let digest = || Ok(Digest::of(b"a").to_string());
        assert!(matches!(asked(digest).await, Outcome::Found(found) if found.digest == Digest::of(b"a")));
        let cases: [(Answers, Cause); 5] = [
            (|| refused("no basic auth credentials"), Cause::NotAllowed),
            (|| refused("errors: denied: requested access to the resource is denied"), Cause::NotAllowed),
            (|| refused("manifest unknown: manifest unknown"), Cause::GoneUpstream),
            (|| refused("Get \"https://reg.example/v2/\": dial tcp: no such host"), Cause::NotReachable),
            (|| Ok("no digest".into()), Cause::Misunderstood),
        ];
        for (says, expected) in cases {
            let Outcome::Refused(Refusal { cause, .. }) = asked(says).await else { panic!("refused") };
            assert_eq!(cause, expected);
        }
    }

    /// Says that it is too much, and notes how often it was asked.
    struct Busy(AtomicUsize);

    #[async_trait]
    impl EngineImages for Busy {
        async fn list_used(&self) -> Result<Vec<UsedImage>, DockerError> {
            unreachable!("not asked")
        }

        async fn find_image(&self, _name: &str) -> Result<Option<LocalImage>, DockerError> {
            unreachable!("not asked")
        }

        async fn ask_registry(
            &self,
            _name: &str,
            _login: Option<EngineLogin>,
        ) -> Result<String, DockerError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            refused("toomanyrequests: You have reached your unauthenticated pull rate limit.")
        }
    }

    #[tokio::test]
    async fn a_registry_that_asks_the_engine_to_wait_is_left_alone_for_growing_pauses() {
        let (clock, engine) = (moved(), Arc::new(Busy(AtomicUsize::new(0))));
        let lookup = EngineLookup::new(engine.clone(), Arc::new(NoLogins), clock.clone());
        let count = || engine.0.load(Ordering::Relaxed);
        let until = |outcome: Outcome| match outcome {
            Outcome::Refused(Refusal { cause: Cause::Waits, retry_at: Some(at), .. }) => at,
            other => panic!("{other:?}"),
        };
        let begun = clock.now();

        let first = until(asked_of(&lookup).await);
        assert!(first >= begun + TimeDelta::seconds(60) && first < begun + TimeDelta::seconds(90), "{first}");
        clock.jump(TimeDelta::seconds(20));
        assert_eq!((until(asked_of(&lookup).await), count()), (first, 1), "nothing is sent before");
        clock.jump(first - clock.now() + TimeDelta::seconds(1));
        let second = until(asked_of(&lookup).await);
        assert!(second >= first + TimeDelta::seconds(120), "{second}");
        assert_eq!(count(), 2);
    }
}
