//! What the connector itself checks of Access tokens, where labels leave open whose they are: the tag is that of the route's
//! application, and the team that of the account.

use std::collections::BTreeMap;

use super::super::id::GroupId;
use super::super::route::{AccessCheck, Service};
use super::account::{Account, IDENTITY_RIGHT};
use super::group::Group;
use super::need::{Need, need};

/// How the address of a team ends.
const TEAM_DOMAIN: &str = ".cloudflareaccess.com";
/// What an operator sets to name the team.
const SETTING: &str = "`publish.access_team` (`LIGHTSHIP__PUBLISH__ACCESS_TEAM`)";

/// What is known of the account's team, once somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Team {
    /// Its name.
    Named(String),
    /// The token may not read it.
    Unreadable,
    /// The account has none, or one at an address that no connector knows.
    None,
}

impl Team {
    /// Reads it from its address.
    pub fn at(domain: &str) -> Self {
        let domain = domain.trim().to_lowercase();
        let name = domain.strip_suffix(TEAM_DOMAIN).filter(|name| !name.is_empty() && !name.contains('.'));
        name.map_or(Self::None, |name| Self::Named(name.to_owned()))
    }

    fn name(&self) -> Result<&str, String> {
        let checks = "the connector is to check Access tokens, and whose they are is not known";
        match self {
            Self::Named(name) => Ok(name),
            Self::Unreadable => Err(format!(
                "{checks}, since the team of the account could not be read; give the Cloudflare token the right \
                 `{IDENTITY_RIGHT}`, or set {SETTING} to the team's name"
            )),
            Self::None => Err(format!(
                "{checks}, since the account has no team at an address that ends in `{TEAM_DOMAIN}`; set one up under \
                 Zero Trust, or set {SETTING} to the team's name"
            )),
        }
    }
}

impl AccessCheck {
    /// True if it is asked for and leaves open which application's tokens are good, or which team's.
    pub fn is_open(&self) -> bool {
        self.required && (self.team_name.is_empty() || self.aud_tag.is_empty())
    }

    /// Says why the connector could not check what it `need`s from Access: then every visitor would be turned away, or none.
    pub fn fits(&self, need: &Need) -> Result<(), String> {
        if !self.is_open() || !self.aud_tag.is_empty() {
            return Ok(());
        }
        match need {
            Need::Nothing => Err(
                "the connector is to check for which application of Cloudflare Access a visitor's token is, and the route \
                 has none; give it a group (`access.group`), or name the application's tag in `access_aud_tag`"
                    .to_owned(),
            ),
            Need::Zone => Err(
                "the connector is to check for which application of Cloudflare Access a visitor's token is, and that of the \
                 zone is not the route's own; name its tag in `access_aud_tag`, or give the route a group"
                    .to_owned(),
            ),
            Need::Application(wanted) if wanted.has_bypass() => Err(
                "a policy lets people in without a question (`bypass`), so their requests carry no token, and the connector \
                 would turn them away; leave `access_required` out, or take another group"
                    .to_owned(),
            ),
            Need::Application(_) => Ok(()),
        }
    }

    /// Returns it with what is left open put in: the tag of the route's application, and the name of the team.
    pub fn completed(&self, aud: Option<&str>, team: Option<&Team>) -> Result<Self, String> {
        let mut whole = self.clone();
        if whole.aud_tag.is_empty() {
            let aud = aud.ok_or(
                "the connector is to check Access tokens, and the tag of the route's application is not known yet",
            )?;
            whole.aud_tag = vec![aud.to_owned()];
        }
        if whole.team_name.is_empty() {
            let team = team.ok_or(
                "the connector is to check Access tokens, and the team of the account was not read yet",
            )?;
            whole.team_name = team.name()?.to_owned();
        }
        Ok(whole)
    }
}

/// Says what a route needs of which the connector is to check tokens in this way; or why it cannot be protected so.
pub fn need_of(
    service: &Service,
    check: Option<&AccessCheck>,
    groups: &BTreeMap<GroupId, Group>,
    account: &Account<'_>,
    mark: &str,
) -> Result<Need, String> {
    let need = need(&service.key, &service.access, groups, account, mark)?;
    check.map_or(Ok(()), |check| check.fits(&need)).map(|()| need)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::need::{PolicyKey, WantedApplication, WantedPolicy};
    use super::super::options::AppOptions;
    use super::*;

    fn check(required: bool, team: &str, tags: &[&str]) -> AccessCheck {
        let aud_tag = tags.iter().map(|tag| (*tag).to_owned()).collect();
        AccessCheck { required, team_name: team.into(), aud_tag }
    }

    fn application(is_bypass: bool) -> Need {
        let key = PolicyKey::Own { domain: "a.example.com".into(), position: 0 };
        let policy = WantedPolicy { key, name: "p".into(), body: json!({}), is_bypass };
        Need::Application(WantedApplication {
            domain: "a.example.com".into(),
            name: "a".into(),
            options: AppOptions::default(),
            policies: vec![policy],
        })
    }

    #[test]
    fn a_team_is_known_by_its_address() {
        for (domain, team) in [
            ("My-Team.cloudflareaccess.com", Team::Named("my-team".into())),
            (" my-team.cloudflareaccess.com ", Team::Named("my-team".into())),
            ("login.example.com", Team::None),
            ("a.b.cloudflareaccess.com", Team::None),
            (".cloudflareaccess.com", Team::None),
            ("", Team::None),
        ] {
            assert_eq!(Team::at(domain), team, "{domain:?}");
        }
    }

    #[test]
    fn only_what_is_left_open_is_put_in() {
        let team = Team::Named("ours".into());
        for (given, whole) in [
            (check(true, "", &[]), check(true, "ours", &["tag"])),
            (check(true, "theirs", &[]), check(true, "theirs", &["tag"])),
            (check(true, "", &["aa", "bb"]), check(true, "ours", &["aa", "bb"])),
            (check(true, "theirs", &["aa"]), check(true, "theirs", &["aa"])),
        ] {
            assert_eq!(given.is_open(), given != whole, "{given:?}");
            assert_eq!(given.completed(Some("tag"), Some(&team)), Ok(whole));
        }
        assert!(!check(false, "", &[]).is_open(), "what asks for no check leaves nothing open");
    }

    #[test]
    fn what_is_missing_is_told_with_the_way_out() {
        let open = check(true, "", &[]);
        for (aud, team, words) in [
            (None, Some(Team::Named("t".into())), "tag of the route's application"),
            (Some("a"), None, "was not read yet"),
            (
                Some("a"),
                Some(Team::Unreadable),
                "`Access: Organizations, Identity Providers, and Groups Read`",
            ),
            (Some("a"), Some(Team::Unreadable), "`publish.access_team`"),
            (Some("a"), Some(Team::None), "`publish.access_team`"),
        ] {
            let reason = open.completed(aud, team.as_ref()).unwrap_err();
            assert!(reason.contains(words), "{words}: {reason}");
        }
    }

    #[test]
    fn a_check_needs_an_application_of_the_route_that_asks_everybody() {
        let (open, tagged) = (check(true, "", &[]), check(true, "", &["aa"]));
        for (need, words) in [
            (Need::Nothing, Some("`access_aud_tag`")),
            (Need::Zone, Some("`access_aud_tag`")),
            (application(true), Some("`bypass`")),
            (application(false), None),
        ] {
            let said = open.fits(&need).err();
            assert_eq!(said.is_some(), words.is_some(), "{need:?}");
            assert!(
                words.is_none_or(|words| said.as_ref().is_some_and(|said| said.contains(words))),
                "{said:?}"
            );
            assert_eq!(tagged.fits(&need), Ok(()), "whose tokens are good was said");
            assert_eq!(check(false, "", &[]).fits(&need), Ok(()));
        }
    }
}
