//! What a route waits for, and who can do something about it.

use serde::{Deserialize, Serialize};

use crate::domain::connector::Reach;
use crate::domain::publish::{Cause, PublicState};

/// Who asks for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asker {
    /// A container of an agent, by its labels.
    #[serde(rename = "agent")]
    Container,
    /// A person, who made a rule.
    #[serde(rename = "manual")]
    Person,
}

/// Where a route stands, as far as it decides what it waits for.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Who asks for it.
    pub asker: Asker,
    /// The word for it.
    pub state: PublicState,
    /// Why, in a word.
    pub cause: Option<Cause>,
    /// Whether requests reach its tunnel, if it is published.
    pub reach: Option<Reach>,
    /// True if there is a token for Cloudflare.
    pub has_token: bool,
    /// True if there is a tunnel for it.
    pub has_tunnel: bool,
    /// True if the agent of its tunnel is heard; none if no agent has the tunnel.
    pub is_heard: Option<bool>,
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
            "an administrator gives one on the page Settings, or whoever runs the master sets CF_API_TOKEN and CF_ACCOUNT_ID and starts \
             it again",
        ),
        (PublicState::Planned, _) if !place.has_tunnel => wait(
            "its agent to get a tunnel",
            "an operator enrols the agent, on its page or with `lightship agents enroll`",
        ),
        (PublicState::Planned, _) => by_itself("its first turn at Cloudflare"),
        (PublicState::Publishing, _) => {
            by_itself("the calls that are under way, or their turn under Cloudflare's limit")
        }
        (PublicState::Waiting, Some(Cause::InReview)) => wait(
            "a person's yes: changes are reviewed before they are carried out",
            "an operator looks at `lightship plan` or the Routes page and applies it, there or with `lightship apply --yes`",
        ),
        (PublicState::Waiting, _) => wait(
            "a person's yes to what others wrote into its tunnel",
            "an operator looks at the Routes page and confirms, there or with `lightship apply --yes`",
        ),
        (PublicState::Blocked, Some(Cause::EqualRule)) => wait(
            "a person's yes: a rule that is not ours serves it already",
            "an operator makes the rule ours with `lightship apply --yes`",
        ),
        (PublicState::Blocked, Some(Cause::Drift)) => wait(
            "a person's word: somebody changed or deleted something of it at Cloudflare",
            "an operator has it put right with `lightship apply --yes` or on the Routes page",
        ),
        (_, Some(Cause::TunnelGone)) => {
            wait("a tunnel: its own was deleted at Cloudflare", other_tunnel(place.asker))
        }
        (_, Some(Cause::TunnelLocal)) => {
            wait("a tunnel that takes its configuration from Cloudflare", remote_tunnel(place.asker))
        }
        (PublicState::Blocked, _) => wait("what is in the way to be gone", way_free(place.asker)),
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

/// Who can do something about a tunnel that is gone.
fn other_tunnel(asker: Asker) -> &'static str {
    match asker {
        Asker::Container => "an operator enrols the agent again, with the same tunnel name or another",
        Asker::Person => {
            "an operator sets the rule again with another tunnel, or enrols the agent of this one again"
        }
    }
}

/// Who can do something about a tunnel that is configured on its host.
fn remote_tunnel(asker: Asker) -> &'static str {
    match asker {
        Asker::Container => {
            "whoever manages the account makes the tunnel remotely managed, or an operator enrols the agent with another one"
        }
        Asker::Person => {
            "whoever manages the account makes the tunnel remotely managed, or an operator sets the rule again with another one"
        }
    }
}

/// Who can do something about what is in the way.
fn way_free(asker: Asker) -> &'static str {
    match asker {
        Asker::Container => {
            "whoever sets the labels, or whoever manages the account, as the reason says; then `lightship apply --yes` looks \
             again at once"
        }
        Asker::Person => {
            "an operator changes the rule, or whoever manages the account changes what is there, as the reason says; then \
             `lightship apply --yes` looks again at once"
        }
    }
}

fn published(place: Place) -> Wait {
    match place.reach {
        Some(Reach::Yes) => Wait { what: "nothing: it is published, and its tunnel is connected", who: None },
        Some(Reach::Outdated) => Wait {
            what: "its connector to take the newest configuration; it is written once more by itself",
            who: None,
        },
        Some(Reach::No) if place.is_heard.is_none() => Wait {
            what: "a connector of its tunnel: none is connected",
            who: Some(
                "whoever runs `cloudflared` for this tunnel starts it with the tunnel's token; no agent does it for this one",
            ),
        },
        Some(Reach::No) => Wait {
            what: "its connector, which is not connected",
            who: Some(
                "whoever has the host looks there with `lightship doctor`; an operator makes the connector anew with \
                       `lightship agents redeploy`",
            ),
        },
        Some(Reach::Unknown) | None if place.is_heard == Some(false) => Wait {
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
        let (asker, is_heard) = (Asker::Container, Some(true));
        Place { asker, state, cause: None, reach: None, has_token: true, has_tunnel: true, is_heard }
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
            (Place { is_heard: Some(false), ..place(Published) }, "is not heard"),
            (Place { is_heard: None, reach: Some(Reach::No), ..place(Published) }, "none is connected"),
            (Place { is_heard: None, ..place(Published) }, "could not be checked yet"),
            (place(Published), "could not be checked yet"),
        ] {
            assert!(waits_for(place).what.contains(words), "{place:?}: {}", waits_for(place).what);
        }
    }

    #[test]
    fn nobody_is_sent_to_labels_for_a_rule_that_a_person_made() {
        for state in
            [PublicState::Blocked, PublicState::Failed, PublicState::Publishing, PublicState::Waiting]
        {
            for cause in [None, Some(Cause::TunnelGone), Some(Cause::TunnelLocal)] {
                let rule = Place { asker: Asker::Person, cause, ..place(state) };
                let who = waits_for(rule).who.unwrap_or_default();
                assert!(!who.contains("labels") && !who.contains("container"), "{state:?} {cause:?}: {who}");
            }
        }
    }
}
