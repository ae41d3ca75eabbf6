//! What a registry's refusal means, in one of five words and a sentence with a way out.

use chrono::{DateTime, Utc};

use super::ask::Refusal;
use crate::domain::update::Cause;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Circumstance {
    /// It asked to wait.
    Paused {
        /// Until when.
        until: DateTime<Utc>,
    },
    /// Its quota of pulls is nearly used up, and to compare would be a pull.
    PullsAreScarce {
        /// When to look again.
        until: DateTime<Utc>,
    },
    /// It says that there is no such thing.
    NotFound,
    /// It has the tag, and nothing in it for this platform.
    NotForPlatform {
        /// Which.
        platform: String,
    },
    /// It does not let us see it.
    Denied {
        /// As whom we asked; none if nobody is signed in.
        account: Option<String>,
        /// Why there was no account, if there should have been one.
        note: Option<String>,
    },
    /// It names a place to which a password must not go.
    UnsafeRealm {
        /// Which.
        realm: String,
    },
    /// Nobody answered.
    NoAnswer {
        /// What happened, in words.
        reason: String,
        /// True if it is only asked by https.
        is_https_only: bool,
    },
    /// It answered with a failure of its own.
    Failed {
        /// HTTP status.
        status: u16,
    },
    /// Its answer makes no sense.
    Odd {
        /// Why.
        reason: String,
    },
}

/// Says what it means that `registry` did not tell about `image`.
pub fn refusal(registry: &str, image: &str, what: &Circumstance) -> Refusal {
    let (cause, reason, retry_at) = match what {
        Circumstance::Paused { until } => {
            (Cause::Waits, format!("`{registry}` asked to wait; it is asked again after that"), Some(*until))
        }
        Circumstance::PullsAreScarce { until } => {
            let reason = format!(
                "`{registry}` has something else under this tag, and to compare it would cost a pull; those that are left \
                 are kept for pulling. Sign in with `docker login` to have more"
            );
            (Cause::Waits, reason, Some(*until))
        }
        Circumstance::NotFound => {
            let reason = format!("`{registry}` has no `{image}`: it was deleted there, or never was");
            (Cause::GoneUpstream, reason, None)
        }
        Circumstance::NotForPlatform { platform } => (
            Cause::GoneUpstream,
            format!("`{image}` at `{registry}` has nothing for {platform} any more"),
            None,
        ),
        Circumstance::Denied { account, note } => {
            (Cause::NotAllowed, denied(registry, image, account, note), None)
        }
        Circumstance::UnsafeRealm { realm } => {
            let reason = format!(
                "`{registry}` wants a password sent to `{realm}` without encryption; this is not done. Have it name an https \
                 address"
            );
            (Cause::NotAllowed, reason, None)
        }
        Circumstance::NoAnswer { reason, is_https_only } => {
            let way_out = match is_https_only {
                true => "; if it speaks plain http, list it in `registry.insecure`",
                false => "",
            };
            (Cause::NotReachable, format!("`{registry}` did not answer: {reason}{way_out}"), None)
        }
        Circumstance::Failed { status } => {
            (Cause::NotReachable, format!("`{registry}` answered with a failure of its own ({status})"), None)
        }
        Circumstance::Odd { reason } => {
            (Cause::Misunderstood, format!("the answer of `{registry}` was not understood: {reason}"), None)
        }
    };
    Refusal { cause, reason, retry_at }
}

fn denied(registry: &str, image: &str, account: &Option<String>, note: &Option<String>) -> String {
    let note = note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    match account {
        Some(account) => format!(
            "`{registry}` does not show `{image}` to account `{account}`, or does not have it; sign in again with \
             `docker login {registry}`, or allow that account to read it{note}"
        ),
        None => format!(
            "`{registry}` does not show `{image}` to those who are not signed in, or does not have it; sign in with \
             `docker login {registry}`{note}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_word_and_names_the_registry() {
        let until = "2026-01-31T12:01:00Z".parse().unwrap();
        let account = Some("bob".to_owned());
        for (what, cause, says) in [
            (Circumstance::Paused { until }, Cause::Waits, "wait"),
            (Circumstance::PullsAreScarce { until }, Cause::Waits, "docker login"),
            (Circumstance::NotFound, Cause::GoneUpstream, "app:1"),
            (Circumstance::NotForPlatform { platform: "linux/arm".into() }, Cause::GoneUpstream, "linux/arm"),
            (Circumstance::Denied { account, note: None }, Cause::NotAllowed, "`bob`"),
            (
                Circumstance::Denied { account: None, note: Some("no helper".into()) },
                Cause::NotAllowed,
                "no helper",
            ),
            (Circumstance::UnsafeRealm { realm: "http://x".into() }, Cause::NotAllowed, "http://x"),
            (
                Circumstance::NoAnswer { reason: "refused".into(), is_https_only: true },
                Cause::NotReachable,
                "registry.insecure",
            ),
            (Circumstance::Failed { status: 502 }, Cause::NotReachable, "502"),
            (Circumstance::Odd { reason: "wrong digest".into() }, Cause::Misunderstood, "wrong digest"),
        ] {
            let told = refusal("reg.example", "app:1", &what);
            assert_eq!(told.cause, cause, "{what:?}");
            assert!(told.reason.contains(says) && told.reason.contains("reg.example"), "{}", told.reason);
            assert_eq!(told.retry_at.is_some(), cause == Cause::Waits);
        }
    }
}
