//! Where routes and tunnels stand, each in one word: the same on the page, the command line and in the API.

use serde::{Deserialize, Serialize};

use super::host_access::opens;
use super::ingress::Contact;
use super::route::{RouteState, Service};

/// What an operator sets to publish services that open the host or its network as a whole.
pub const HOST_SETTING: &str = "LIGHTSHIP__PUBLISH__ALLOW_HOST_ACCESS=true";

/// Why a route or a tunnel stands where it does, for what is decided by it. The sentence beside it is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A rule that is not ours serves the route already, from the same service: a person's agreement makes it ours.
    EqualRule,
    /// The tunnel is not at Cloudflare any more.
    TunnelGone,
    /// The tunnel takes its configuration from its host.
    TunnelLocal,
    /// Somebody wrote to the tunnel between our read and our write.
    WrittenBetween,
    /// Somebody changed or deleted something of ours, and a person is to say whether it is put right.
    Drift,
    /// It is new, and a person is to say yes to it.
    InReview,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::EqualRule,
        Self::TunnelGone,
        Self::TunnelLocal,
        Self::WrittenBetween,
        Self::Drift,
        Self::InReview,
    ];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EqualRule => "equal_rule",
            Self::TunnelGone => "tunnel_gone",
            Self::TunnelLocal => "tunnel_local",
            Self::WrittenBetween => "written_between",
            Self::Drift => "drift",
            Self::InReview => "in_review",
        }
    }

    /// Returns the cause of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// Why a route is held.
pub const HELD: &str = "too many routes would go at once; confirm their removal";

/// Where a route stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicState {
    /// Nobody publishes it yet: there is no Cloudflare token, or its agent has no tunnel.
    Planned,
    /// Its rule and record are on their way.
    Publishing,
    /// Rule and record are there: it serves.
    Published,
    /// Its tunnel waits for a person.
    Waiting,
    /// Something of its own is in the way, and a person has to decide; other routes are not concerned.
    Blocked,
    /// Somebody else has the name.
    Conflict,
    /// Cloudflare refused or does not answer; it is tried again.
    Failed,
    /// Its container is gone; it serves until the grace period ends.
    PendingDeletion,
    /// Its grace period is over, but so many routes would go with it that a person must agree.
    Held,
}

impl PublicState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Planned,
        Self::Publishing,
        Self::Published,
        Self::Waiting,
        Self::Blocked,
        Self::Conflict,
        Self::Failed,
        Self::PendingDeletion,
        Self::Held,
    ];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Publishing => "publishing",
            Self::Published => "published",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
            Self::PendingDeletion => "pending_deletion",
            Self::Held => "held",
        }
    }

    /// Returns the state of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Returns the `status` of a rule in the v2 API: DockFlare's word where there is one, else our own.
    pub fn v2_status(self) -> &'static str {
        match self {
            Self::Published => "active",
            other => other.as_str(),
        }
    }

    /// True if only the publisher says so; other words about a route belong to others.
    pub fn is_from_publisher(self) -> bool {
        matches!(self, Self::Publishing | Self::Published | Self::Waiting | Self::Blocked | Self::Failed)
    }

    /// True if the route does not serve as it should, and not because it is on its way.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Blocked | Self::Conflict | Self::Failed)
    }
}

/// Returns where a route stands: its owner's decision first, then what the publisher said of it. If nothing was said
/// yet it is on its way, provided that it `is_led`: there is a publisher, and a tunnel to lead it to.
pub fn public_state(route: &RouteState, said: Option<PublicState>, is_led: bool) -> PublicState {
    match route {
        RouteState::PendingDeletion { held: true, .. } => PublicState::Held,
        RouteState::PendingDeletion { .. } => PublicState::PendingDeletion,
        RouteState::Active if is_led => said.unwrap_or(PublicState::Publishing),
        RouteState::Active => said.unwrap_or(PublicState::Planned),
    }
}

/// How far the configuration of a tunnel has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelState {
    /// A write is on its way.
    Applying,
    /// It holds what we want.
    Applied,
    /// It holds foreign rules, and no person agreed yet.
    Waiting,
    /// Cloudflare refused or does not answer; it is tried again.
    Failed,
}

impl TunnelState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Applying, Self::Applied, Self::Waiting, Self::Failed];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
        }
    }

    /// Returns the state of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What a person's `apply` means for a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent {
    /// It is confirmed.
    pub is_given: bool,
    /// It is looked at again, whatever is known of it.
    pub look_again: bool,
}

impl Consent {
    /// Says what an `apply` means for a tunnel of which `state` was said last, and of its `routes` where they stand and
    /// why.
    pub fn to(
        contact: Contact,
        state: Option<TunnelState>,
        routes: impl IntoIterator<Item = (Option<PublicState>, Option<Cause>)>,
    ) -> Self {
        let (mut has_equal, mut is_stuck) = (false, false);
        for (state, cause) in routes {
            has_equal |= cause == Some(Cause::EqualRule);
            is_stuck |= matches!(state, Some(PublicState::Blocked | PublicState::Failed));
        }
        let is_waiting = state == Some(TunnelState::Waiting) && contact == Contact::First;
        Self {
            is_given: is_waiting || (has_equal && contact == Contact::Written),
            look_again: is_stuck || state.is_some_and(|state| state != TunnelState::Applied),
        }
    }
}

/// What becomes of what somebody changed or deleted of ours at Cloudflare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftMode {
    /// It is put right.
    #[default]
    Heal,
    /// It is shown, and waits for a person.
    Show,
}

/// When what labels ask for is carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeMode {
    /// At once.
    #[default]
    Automatic,
    /// Once a person said yes.
    Review,
}

/// What may be published, by setting.
#[derive(Debug, Clone, Default)]
pub struct PublishSettings {
    /// Publish services that open the host or its network as a whole.
    pub publish_host_access: bool,
    /// What becomes of what others change.
    pub drift: DriftMode,
    /// When changes are carried out.
    pub changes: ChangeMode,
    /// The team of the account whose Access tokens connectors check; none if it is to be read.
    pub access_team: Option<String>,
}

/// Returns why a route is held back until the operator allows it; `None` if it is not.
///
/// No container hands over the host it runs on.
pub fn held_back(service: &Service, settings: &PublishSettings) -> Option<String> {
    let opened = opens(&service.service).filter(|_| !settings.publish_host_access)?;
    Some(format!(
        "`{}` opens {} to visitors, so it is not published; choose another service, or set `{HOST_SETTING}` if you mean it",
        service.service,
        opened.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::super::access::AccessAsk;
    use super::super::route::{OriginRequest, RouteKey};
    use super::*;

    #[test]
    fn every_word_means_one_state_and_is_what_json_says() {
        for state in PublicState::ALL {
            assert_eq!(PublicState::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!(PublicState::parse("made_tomorrow"), None);
        for state in TunnelState::ALL {
            assert_eq!(TunnelState::parse(state.as_str()), Some(state));
        }
        for cause in Cause::ALL {
            assert_eq!(Cause::parse(cause.as_str()), Some(cause));
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
        }
    }

    #[test]
    fn the_owners_decision_goes_before_what_the_publisher_says() {
        let due_at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let pending = |held| RouteState::PendingDeletion { due_at, held, explained: false };
        let published = Some(PublicState::Published);
        for (route, said, is_led, word) in [
            (RouteState::Active, None, false, "planned"),
            (RouteState::Active, None, true, "publishing"),
            (RouteState::Active, published, true, "published"),
            (RouteState::Active, published, false, "published"),
            (RouteState::Active, Some(PublicState::Failed), true, "failed"),
            (pending(false), None, true, "pending_deletion"),
            (pending(true), published, true, "held"),
        ] {
            assert_eq!(public_state(&route, said, is_led).as_str(), word);
        }
    }

    #[test]
    fn a_state_is_from_the_publisher_or_from_somebody_else() {
        let words = |is: fn(PublicState) -> bool| -> Vec<&str> {
            PublicState::ALL.into_iter().filter(|state| is(*state)).map(PublicState::as_str).collect()
        };
        let from_publisher = ["publishing", "published", "waiting", "blocked", "failed"];
        assert_eq!(words(PublicState::is_from_publisher), from_publisher);
        assert_eq!(words(PublicState::is_bad), ["blocked", "conflict", "failed"]);
    }

    #[test]
    fn the_v2_api_keeps_the_words_of_dockflare() {
        assert_eq!(PublicState::Published.v2_status(), "active");
        assert_eq!(PublicState::PendingDeletion.v2_status(), "pending_deletion");
        assert_eq!(PublicState::Planned.v2_status(), "planned");
    }

    #[test]
    fn an_apply_confirms_what_waits_for_it_and_looks_again_at_what_is_stuck() {
        let stuck = |state| vec![(Some(PublicState::Published), None), (Some(state), None)];
        let equal = || vec![(Some(PublicState::Blocked), Some(Cause::EqualRule))];
        for (contact, state, routes, is_given, look_again) in [
            (Contact::First, None, Vec::new(), false, false),
            (Contact::First, Some(TunnelState::Waiting), Vec::new(), true, true),
            (Contact::Confirmed, Some(TunnelState::Waiting), Vec::new(), false, true),
            (Contact::Written, Some(TunnelState::Applied), stuck(PublicState::Published), false, false),
            (Contact::Written, Some(TunnelState::Applied), stuck(PublicState::Blocked), false, true),
            (Contact::Written, Some(TunnelState::Applied), stuck(PublicState::Failed), false, true),
            (Contact::Written, Some(TunnelState::Failed), Vec::new(), false, true),
            (Contact::Written, Some(TunnelState::Applied), equal(), true, true),
            (Contact::Confirmed, Some(TunnelState::Applied), equal(), false, true),
        ] {
            let consent = Consent::to(contact, state, routes.clone());
            assert_eq!(consent, Consent { is_given, look_again }, "{contact:?} {state:?} {routes:?}");
        }
    }

    #[test]
    fn what_opens_the_host_waits_for_its_own_setting() {
        let service = |service: &str| Service {
            key: RouteKey { hostname: "app.example.com".into(), path: String::new() },
            service: service.into(),
            origin_request: OriginRequest::default(),
            zone_name: None,
            access: AccessAsk::Nothing,
        };
        let strict = PublishSettings::default();
        let allowed = PublishSettings { publish_host_access: true, ..PublishSettings::default() };
        for held in ["bastion", "unix:/var/run/docker.sock", "http://169.254.169.254"] {
            let reason = held_back(&service(held), &strict).unwrap_or_default();
            assert!(reason.contains(HOST_SETTING) && reason.contains(&format!("`{held}`")), "{reason}");
            assert_eq!(held_back(&service(held), &allowed), None);
        }
        assert_eq!(held_back(&service("http://localhost:8080"), &strict), None);
    }
}
