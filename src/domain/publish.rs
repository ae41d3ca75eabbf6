//! What a route's public state is, in one word and with the reason, for page, command line and API.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::route::{RouteState, Service};
use super::zone::{ZoneChoice, ZoneProblem};

/// The setting that lets routes with `access.*` labels be published without their protection.
pub const ACCESS_SETTING: &str = "LIGHTSHIP__PUBLISH__ALLOW_UNPROTECTED_ACCESS=true";

/// A route's public state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicState {
    /// It would be published if there were a Cloudflare token.
    Planned,
    /// It waits for a person.
    Waiting,
    /// It is being written.
    Publishing,
    /// It serves.
    Published,
    /// Its container is gone; it serves until the grace period ends.
    PendingDeletion,
    /// Somebody else has the name.
    Conflict,
    /// It cannot be published as it is.
    Refused,
    /// Writing it failed; it is tried again.
    Failed,
}

impl PublicState {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Waiting => "waiting",
            Self::Publishing => "publishing",
            Self::Published => "published",
            Self::PendingDeletion => "pending_deletion",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// Returns the `status` of a rule in the v2 API: DockFlare's two words where they fit, else our own.
    pub fn v2_status(self) -> &'static str {
        match self {
            Self::Published => "active",
            other => other.as_str(),
        }
    }
}

/// What became of a route's ingress rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum IngressStatus {
    /// Not written yet.
    NotYet,
    /// Written; Cloudflare has it.
    Applied,
    /// A foreign rule has the route.
    Conflict {
        /// Where that one points.
        service: String,
    },
    /// The tunnel waits for a confirmation.
    Waiting,
    /// The last attempt failed.
    Failed {
        /// Cloudflare's words.
        reason: String,
    },
}

/// What became of a route's DNS record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum DnsStatus {
    /// Not written yet.
    NotYet,
    /// It leads to the tunnel, made by us or by somebody else.
    Ready,
    /// A foreign record has the name.
    Blocked {
        /// Which one, and the way out.
        reason: String,
    },
    /// The last attempt failed.
    Failed {
        /// Cloudflare's words.
        reason: String,
    },
}

/// All that a route's public state depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the labels ask for.
    pub service: &'a Service,
    /// Where its owner sees it.
    pub state: &'a RouteState,
    /// True if the agent has a tunnel.
    pub enrolled: bool,
    /// True if a Cloudflare token is set.
    pub has_cloudflare: bool,
    /// True if the operator lets `access.*` labels be ignored.
    pub allow_unprotected: bool,
    /// Its zone, if one was looked for.
    pub zone: Option<&'a Result<ZoneChoice, ZoneProblem>>,
    /// Its rule.
    pub ingress: &'a IngressStatus,
    /// Its record.
    pub dns: &'a DnsStatus,
}

/// A public state with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The state.
    pub state: PublicState,
    /// Why, and the way out; also a warning about a route that serves.
    pub reason: Option<String>,
}

/// Returns why a route is held back because of its `access.*` labels; `None` if it is not.
///
/// A container that asks for protection must not stand open because that protection is not built yet.
pub fn held_back(service: &Service, allow_unprotected: bool) -> Option<String> {
    (service.has_access_labels && !allow_unprotected).then(|| {
        format!(
            "its `access.*` labels ask for protection, which is not built yet, so it is not published; remove the \
             labels, or set `{ACCESS_SETTING}` to publish it without protection"
        )
    })
}

/// Returns the public state of a route.
pub fn public_state(facts: &Facts<'_>) -> Published {
    let (state, reason) = decide(facts);
    Published { state, reason }
}

fn decide(facts: &Facts<'_>) -> (PublicState, Option<String>) {
    if let RouteState::PendingDeletion { due_at, held } = facts.state {
        return (PublicState::PendingDeletion, Some(pending_reason(*due_at, *held)));
    }
    if let Some(reason) = held_back(facts.service, facts.allow_unprotected) {
        return (PublicState::Waiting, Some(reason));
    }
    if !facts.has_cloudflare {
        let reason =
            "no Cloudflare token is set, so this is only a plan; set `CF_API_TOKEN` and `CF_ACCOUNT_ID`";
        return (PublicState::Planned, Some(reason.to_owned()));
    }
    if !facts.enrolled {
        let reason =
            "its agent has no tunnel yet; enrol it on the Agents page or with `lightship agents enroll`";
        return (PublicState::Waiting, Some(reason.to_owned()));
    }
    if let Some(Err(problem)) = facts.zone {
        return (PublicState::Refused, Some(problem.to_string()));
    }
    written(facts)
}

fn written(facts: &Facts<'_>) -> (PublicState, Option<String>) {
    match (facts.ingress, facts.dns) {
        (IngressStatus::Waiting, _) => {
            let reason = "its tunnel holds rules that others wrote; agree once with `lightship apply --yes` or on the \
                          Routes page, they stay as they are";
            (PublicState::Waiting, Some(reason.to_owned()))
        }
        (IngressStatus::Conflict { service }, _) => {
            let reason = format!(
                "the tunnel has a rule for `{}` that others wrote, to `{service}`; remove it there or choose another name",
                facts.service.key
            );
            (PublicState::Conflict, Some(reason))
        }
        (_, DnsStatus::Blocked { reason }) => (PublicState::Conflict, Some(reason.clone())),
        (IngressStatus::Failed { reason }, _) | (_, DnsStatus::Failed { reason }) => {
            (PublicState::Failed, Some(reason.clone()))
        }
        (IngressStatus::Applied, DnsStatus::Ready) => {
            let warning =
                facts.zone.and_then(|zone| zone.as_ref().ok()).and_then(|zone| zone.warning.clone());
            (PublicState::Published, warning)
        }
        _ => (PublicState::Publishing, None),
    }
}

fn pending_reason(due_at: DateTime<Utc>, held: bool) -> String {
    if held {
        return "its container is gone, and so many routes would go with it that a person must agree: \
                `lightship apply --yes` or the button on the Routes page"
            .to_owned();
    }
    format!(
        "its container is gone; it is withdrawn at {} unless the container comes back",
        due_at.format("%FT%TZ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::id::ZoneId;
    use super::super::route::{OriginRequest, RouteKey};
    use super::*;

    struct Case {
        service: Service,
        state: RouteState,
        enrolled: bool,
        has_cloudflare: bool,
        allow_unprotected: bool,
        zone: Result<ZoneChoice, ZoneProblem>,
        ingress: IngressStatus,
        dns: DnsStatus,
    }

    fn case(change: impl FnOnce(&mut Case)) -> (&'static str, String) {
        let mut case = Case {
            service: Service {
                key: RouteKey { hostname: "app.example.com".into(), path: String::new() },
                service: "http://app".into(),
                origin_request: OriginRequest::default(),
                zone_name: None,
                has_access_labels: false,
            },
            state: RouteState::Active,
            enrolled: true,
            has_cloudflare: true,
            allow_unprotected: false,
            zone: Ok(ZoneChoice { id: ZoneId::new("z"), name: None, warning: None }),
            ingress: IngressStatus::Applied,
            dns: DnsStatus::Ready,
        };
        change(&mut case);
        let published = public_state(&Facts {
            service: &case.service,
            state: &case.state,
            enrolled: case.enrolled,
            has_cloudflare: case.has_cloudflare,
            allow_unprotected: case.allow_unprotected,
            zone: Some(&case.zone),
            ingress: &case.ingress,
            dns: &case.dns,
        });
        (published.state.as_str(), published.reason.unwrap_or_default())
    }

    #[test]
    fn every_state_has_its_reason_and_way_out() {
        let due_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let pending = move |held| RouteState::PendingDeletion { due_at, held };
        type Change = Box<dyn FnOnce(&mut Case)>;
        let cases: Vec<(Change, &str, &str)> = vec![
            (Box::new(|_| {}), "published", ""),
            (Box::new(|c| c.has_cloudflare = false), "planned", "CF_API_TOKEN"),
            (Box::new(|c| c.enrolled = false), "waiting", "enrol"),
            (Box::new(|c| c.service.has_access_labels = true), "waiting", ACCESS_SETTING),
            (Box::new(|c| c.zone = Err(ZoneProblem::NotListed)), "refused", "Zone Read"),
            (Box::new(|c| c.ingress = IngressStatus::NotYet), "publishing", ""),
            (Box::new(|c| c.dns = DnsStatus::NotYet), "publishing", ""),
            (Box::new(|c| c.ingress = IngressStatus::Waiting), "waiting", "apply --yes"),
            (
                Box::new(|c| c.ingress = IngressStatus::Conflict { service: "http://x".into() }),
                "conflict",
                "http://x",
            ),
            (
                Box::new(|c| c.dns = DnsStatus::Blocked { reason: "an A record".into() }),
                "conflict",
                "an A record",
            ),
            (Box::new(|c| c.dns = DnsStatus::Failed { reason: "429".into() }), "failed", "429"),
            (Box::new(|c| c.ingress = IngressStatus::Failed { reason: "500".into() }), "failed", "500"),
            (Box::new(move |c| c.state = pending(false)), "pending_deletion", "2027-01-15T08:00:00Z"),
            (Box::new(move |c| c.state = pending(true)), "pending_deletion", "a person must agree"),
        ];
        for (change, state, words) in cases {
            let (found, reason) = case(change);
            assert_eq!(found, state);
            assert!(reason.contains(words), "{state}: {reason}");
            assert!(!words.is_empty() || reason.is_empty(), "{state}: {reason}");
        }
    }

    #[test]
    fn protection_that_is_not_built_is_never_left_out_in_silence() {
        let (state, reason) = case(|c| {
            c.service.has_access_labels = true;
            c.has_cloudflare = false;
        });
        assert_eq!((state, reason.is_empty()), ("waiting", false));
        assert_eq!(
            case(|c| {
                c.service.has_access_labels = true;
                c.allow_unprotected = true;
            })
            .0,
            "published"
        );
    }

    #[test]
    fn a_route_that_serves_may_carry_a_warning() {
        let warning = Some("two levels".to_owned());
        let (state, reason) = case(|c| c.zone = Ok(ZoneChoice { id: ZoneId::new("z"), name: None, warning }));
        assert_eq!((state, reason.as_str()), ("published", "two levels"));
    }

    #[test]
    fn the_v2_api_keeps_the_words_of_dockflare() {
        assert_eq!(PublicState::Published.v2_status(), "active");
        assert_eq!(PublicState::PendingDeletion.v2_status(), "pending_deletion");
        assert_eq!(PublicState::Planned.v2_status(), "planned");
    }
}
