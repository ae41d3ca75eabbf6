//! What a route waits for, and who can do something about it.

use crate::domain::connector::Reach;
use crate::domain::publish::{Cause, PublicState};

/// Where a route stands, as far as it decides what it waits for.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The word for it.
    pub state: PublicState,
    /// Why, in a word.
    pub cause: Option<Cause>,
    /// Whether requests reach its tunnel, if it is published.
    pub reach: Option<Reach>,
    /// True if there is a token for Cloudflare.
    pub has_token: bool,
    /// True if its agent has a tunnel.
    pub has_tunnel: bool,
    /// True if its agent is heard.
    pub is_heard: bool,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// For what.
    pub what: &'static str,
    /// Who can do what about it; none if it goes on by itself.
    pub who: Option<&'static str>,
}

/// Returns what a route waits for.
pub fn waits_for(place: Place) -> Wait {
    let wait = |what, who| Wait { what, who: Some(who) };
    let by_itself = |what| Wait { what, who: None };
    match (place.state, place.cause) {
        (PublicState::Published, _) => published(place),
        (PublicState::Planned, _) if !place.has_token => wait(
            "a token for Cloudflare: without one routes are only planned",
            "whoever runs the master sets CF_API_TOKEN and CF_ACCOUNT_ID and starts it again",
        ),
        (PublicState::Planned, _) if !place.has_tunnel => wait(
            "its agent to get a tunnel",
            "an operator enrols the agent, on its page or with `lightship agents enroll`",
        ),
        (PublicState::Planned, _) => by_itself("its first turn at Cloudflare"),
        (PublicState::Publishing, _) => {
            by_itself("the calls that are under way, or their turn under Cloudflare's limit")
        }
        (PublicState::Waiting, _) => wait(
            "a person's yes to what others wrote into its tunnel",
            "an operator looks at the Routes page and confirms, there or with `lightship apply --yes`",
        ),
        (PublicState::Blocked, Some(Cause::EqualRule)) => wait(
            "a person's yes: a rule that is not ours serves it already",
            "an operator makes the rule ours with `lightship apply --yes`",
        ),
        (_, Some(Cause::TunnelGone)) => wait(
            "a tunnel: its own was deleted at Cloudflare",
            "an operator enrols the agent again, with the same tunnel name or another",
        ),
        (_, Some(Cause::TunnelLocal)) => wait(
            "a tunnel that takes its configuration from Cloudflare",
            "whoever manages the account makes the tunnel remotely managed, or an operator enrols the agent with another one",
        ),
        (PublicState::Blocked, _) => wait(
            "what is in the way to be gone",
            "whoever sets the labels, or whoever manages the account, as the reason says; then `lightship apply --yes` looks \
             again at once",
        ),
        (PublicState::Conflict, _) => wait(
            "the name to be free for it",
            "whoever runs the holder's container gives the name up, or whoever sets these labels takes another name; patterns \
             of an agent or key are changed on the agent's page",
        ),
        (PublicState::Failed, _) => wait(
            "the next try, which is made by itself",
            "`lightship apply --yes` tries at once; what Cloudflare said stands with its answer",
        ),
        (PublicState::PendingDeletion, _) => wait(
            "the end of its grace period: its container is gone, and then rule and record go",
            "whoever runs the container starts it again to keep the route",
        ),
        (PublicState::Held, _) => wait(
            "a person's yes: too many routes would go at once",
            "an operator confirms with `lightship apply --yes`, or starts the containers again",
        ),
    }
}

fn published(place: Place) -> Wait {
    match place.reach {
        Some(Reach::Yes) => Wait { what: "nothing: it is published, and its tunnel is connected", who: None },
        Some(Reach::Outdated) => Wait {
            what: "its connector to take the newest configuration; it is written once more by itself",
            who: None,
        },
        Some(Reach::No) => Wait {
            what: "its connector, which is not connected",
            who: Some(
                "whoever has the host looks there with `lightship doctor`; an operator makes the connector anew with \
                       `lightship agents redeploy`",
            ),
        },
        Some(Reach::Unknown) | None if !place.is_heard => Wait {
            what: "word of its agent, which is not heard: whether its tunnel serves is not known",
            who: Some("whoever has the host sees whether the agent runs and reaches the master"),
        },
        Some(Reach::Unknown) | None => Wait {
            what: "word of its connector: whether its tunnel serves could not be checked yet",
            who: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(state: PublicState) -> Place {
        Place { state, cause: None, reach: None, has_token: true, has_tunnel: true, is_heard: true }
    }

    #[test]
    fn every_state_waits_for_something_of_its_own() {
        let said: Vec<&str> =
            PublicState::ALL.into_iter().map(|state| waits_for(place(state)).what).collect();
        let mut different = said.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), said.len(), "{said:?}");
    }

    #[test]
    fn what_is_missing_decides_what_is_waited_for() {
        use PublicState::{Blocked, Failed, Planned, Published};
        for (place, words) in [
            (Place { has_token: false, ..place(Planned) }, "a token for Cloudflare"),
            (Place { has_tunnel: false, ..place(Planned) }, "its agent to get a tunnel"),
            (Place { cause: Some(Cause::EqualRule), ..place(Blocked) }, "a rule that is not ours"),
            (Place { cause: Some(Cause::TunnelGone), ..place(Failed) }, "deleted at Cloudflare"),
            (Place { cause: Some(Cause::TunnelLocal), ..place(Failed) }, "takes its configuration"),
            (Place { reach: Some(Reach::Yes), ..place(Published) }, "nothing"),
            (Place { reach: Some(Reach::No), ..place(Published) }, "not connected"),
            (Place { is_heard: false, ..place(Published) }, "is not heard"),
            (place(Published), "could not be checked yet"),
        ] {
            assert!(waits_for(place).what.contains(words), "{place:?}: {}", waits_for(place).what);
        }
    }
}
