//! The registry desk: what tags hold, asked once for the whole fleet.
//!
//! It is a service and no actor: whoever asks for the same tag waits for the one who asked first, and nobody else waits
//! for anybody. What only a host itself reaches is told to be out of reach, so that its agent asks there.

use std::sync::Arc;

use crate::domain::registry::{Answer, Ask, Circumstance, is_loopback, refusal};
use crate::registry::Registries;

/// Answers agents' questions about tags.
#[derive(Clone, Default)]
pub struct Desk(Option<Arc<dyn Registries>>);

impl Desk {
    /// Takes who asks the registries; without anybody everything is out of reach.
    pub fn new(registries: Option<Arc<dyn Registries>>) -> Self {
        Self(registries)
    }

    /// Answers each question, in their order.
    pub async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = asks.iter().map(|ask| self.out_of_reach(ask)).collect();
        let open: Vec<usize> = (0..asks.len()).filter(|&at| answers[at].is_none()).collect();
        if let Some(lookup) = self.0.as_ref().filter(|_| !open.is_empty()) {
            let asked = open.iter().map(|&at| asks[at].clone()).collect();
            for (at, answer) in open.into_iter().zip(lookup.look_up(asked).await) {
                answers[at] = Some(answer);
            }
        }
        let missed =
            |(answer, ask): (Option<Answer>, &Ask)| answer.unwrap_or_else(|| away(ask, "nobody asks it"));
        answers.into_iter().zip(&asks).map(missed).collect()
    }

    /// Answers an agent that no person said yes to: the master's credentials are not for it, and it may ask by itself.
    pub fn turn_away(asks: &[Ask]) -> Vec<Answer> {
        asks.iter().map(|ask| away(ask, "this agent waits for a person's yes")).collect()
    }

    /// Forgets what was known of a repository's tags.
    pub fn forget(&self, registry: &str, repository: &str) {
        if let Some(registries) = &self.0 {
            registries.forget(registry, repository);
        }
    }

    /// Forgets all that was known of a registry.
    pub fn forget_registry(&self, registry: &str) {
        if let Some(registries) = &self.0 {
            registries.forget_registry(registry);
        }
    }

    fn out_of_reach(&self, ask: &Ask) -> Option<Answer> {
        match &self.0 {
            None => Some(away(ask, "this master asks no registries")),
            // To an agent that is its own host, and not ours.
            Some(_) if is_loopback(&ask.registry) => Some(away(ask, "it is the host itself")),
            Some(_) => None,
        }
    }
}

fn away(ask: &Ask, reason: &str) -> Answer {
    let what = Circumstance::NoAnswer { reason: reason.to_owned(), is_https_only: false };
    Answer::refused(ask, &refusal(&ask.registry, &format!("{}:{}", ask.repository, ask.tag), &what))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;
    use crate::domain::registry::{Outcome, Platform, Tags};
    use crate::registry::Lookup;

    /// Notes what it is asked, and has nothing against it.
    #[derive(Default)]
    struct Asked(Mutex<Vec<String>>);

    #[async_trait]
    impl Lookup for Asked {
        async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
            self.0.lock().extend(asks.iter().map(|ask| ask.registry.clone()));
            asks.iter().map(|_| Answer { content: Outcome::NotAsked, tags: Tags::NotAsked }).collect()
        }
    }

    impl Registries for Asked {
        fn forget(&self, _: &str, _: &str) {}

        fn forget_registry(&self, _: &str) {}
    }

    fn ask(registry: &str) -> Ask {
        Ask {
            registry: registry.to_owned(),
            repository: "app".to_owned(),
            tag: "1".to_owned(),
            platform: Platform::new("linux", "amd64", None),
            known: Vec::new(),
            wants_content: true,
            wants_tags: false,
            is_fresh: false,
        }
    }

    #[tokio::test]
    async fn what_only_the_host_reaches_is_left_to_it() {
        let registries = Arc::new(Asked::default());
        let desk = Desk::new(Some(registries.clone()));

        let answers =
            desk.look_up(["localhost:5000", "docker.io", "127.0.0.1", "ghcr.io"].map(ask).to_vec()).await;

        let left: Vec<bool> = answers.iter().map(Answer::is_out_of_reach).collect();
        assert_eq!(left, [true, false, true, false]);
        assert_eq!(*registries.0.lock(), ["docker.io", "ghcr.io"]);
        assert!(Desk::default().look_up(vec![ask("docker.io")]).await[0].is_out_of_reach());
    }
}
