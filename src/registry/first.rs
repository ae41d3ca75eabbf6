//! One who is asked first, and another for what the first one does not reach.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Answer, Ask, Lookup};

/// Asks `first`; whatever is out of its reach is asked of `then`.
pub struct FirstOf {
    first: Arc<dyn Lookup>,
    then: Arc<dyn Lookup>,
}

impl FirstOf {
    /// Puts one before the other.
    pub fn new(first: Arc<dyn Lookup>, then: Arc<dyn Lookup>) -> Self {
        Self { first, then }
    }
}

#[async_trait]
impl Lookup for FirstOf {
    async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
        let mut answers = self.first.look_up(asks.clone()).await;
        let missed: Vec<usize> =
            (0..asks.len()).filter(|&at| answers.get(at).is_none_or(Answer::is_out_of_reach)).collect();
        if missed.is_empty() {
            return answers;
        }
        let again = missed.iter().map(|&at| asks[at].clone()).collect();
        for (at, answer) in missed.into_iter().zip(self.then.look_up(again).await) {
            match answers.get_mut(at) {
                // Who was asked first knows better why nobody was reached.
                Some(_) if answer.is_out_of_reach() => {}
                Some(place) => *place = answer,
                None => answers.push(answer),
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::domain::registry::{Circumstance, Outcome, Platform, Refusal, Tags, refusal};

    struct Knows(&'static str, Mutex<Vec<String>>);

    #[async_trait]
    impl Lookup for Knows {
        async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
            self.1.lock().extend(asks.iter().map(|ask| ask.tag.clone()));
            let answer = |ask: &Ask| match ask.tag == self.0 {
                true => Answer { content: Outcome::NotAsked, tags: Tags::NotAsked },
                false => Answer::refused(ask, &away(self.0)),
            };
            asks.iter().map(answer).collect()
        }
    }

    fn away(who: &str) -> Refusal {
        let what = Circumstance::NoAnswer { reason: "no route".into(), is_https_only: false };
        refusal(who, "a", &what)
    }

    fn ask(tag: &str) -> Ask {
        Ask {
            registry: "r".into(),
            repository: "a".into(),
            tag: tag.into(),
            platform: Platform::new("linux", "amd64", None),
            known: Vec::new(),
            wants_content: true,
            wants_tags: false,
            is_fresh: false,
        }
    }

    #[tokio::test]
    async fn only_what_the_first_does_not_reach_is_asked_of_the_second() {
        let (first, then) = (Arc::new(Knows("1", Mutex::default())), Arc::new(Knows("2", Mutex::default())));
        let both = FirstOf::new(first, then.clone());

        let answers = both.look_up(vec![ask("3"), ask("1"), ask("2")]).await;

        assert_eq!(*then.1.lock(), ["3", "2"]);
        let reached: Vec<bool> = answers.iter().map(|answer| !answer.is_out_of_reach()).collect();
        assert_eq!(reached, [false, true, true]);
        assert_eq!(answers[0], Answer::refused(&ask("3"), &away("1")));
    }
}
