//! The token for Cloudflare: whether it is taken, which account and zones it sees, and which rights it has.
//!
//! A right is named as Cloudflare names it, with the line of its form that gives it. Whether a token may read is seen by reading.
//! Whether it may also write is known by writing alone, and nothing is written for a check: a write that was made anyway
//! counts.

use chrono::{DateTime, TimeDelta, Utc};

use super::time::{self, Told};
use super::{Answer, Check, Verdict, listed};

/// A token that ends so soon is to be replaced.
const SOON: TimeDelta = TimeDelta::days(14);
/// What to do about what nobody answered.
const AGAIN: &str = "put right what stands above it, then look again";
/// Where tokens are made and changed.
const WHERE: &str =
    "https://dash.cloudflare.com/profile/api-tokens, or under Manage Account, Account API Tokens";

/// Who owns a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A person.
    User,
    /// The account itself: it stays when people go.
    Account,
}

/// What Cloudflare says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// `active`, `disabled` or `expired`.
    pub status: String,
    /// When it ends; never if there is none.
    pub expires: Option<DateTime<Utc>>,
    /// Who owns it.
    pub owner: Owner,
}

/// An account that a token sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What a right is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing is published without it.
    Publish,
    /// Only protection by Cloudflare Access needs it.
    Protect,
    /// Only what lets in the owner of the account needs it, and only if no setting names the owner.
    Owner,
}

impl Need {
    /// Says what needs it.
    const fn words(self) -> &'static str {
        match self {
            Self::Publish => "whatever is published needs it",
            Self::Protect => "only containers with `access.*` labels need it",
            Self::Owner => {
                "only `access.policy=authenticate` needs it, and not if `publish.account_owner_email` names the owner"
            }
        }
    }
}

/// A right, and how a harmless read with it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its name.
    pub right: &'static str,
    /// The zone it was tried in, if it is one of zones.
    pub zone: Option<String>,
    /// What it is for.
    pub need: Need,
    /// How the read came out.
    pub answer: Answer<()>,
}

/// All that was learnt of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The account that the master works for.
    pub account: String,
    /// The API, without its path.
    pub api: String,
    /// What Cloudflare says of the token.
    pub said: Answer<Said>,
    /// The accounts that it sees.
    pub accounts: Answer<Vec<Account>>,
    /// The zones of the account that it sees.
    pub zones: Answer<Vec<String>>,
    /// Each right that was tried.
    pub probes: Vec<Probe>,
    /// Zones in which nothing was tried, because there are so many.
    pub zones_left: usize,
    /// Rights that were shown by more than reading: by a write, or by what only those may read who may write.
    pub written: Vec<&'static str>,
    /// Whether anything asks for protection; none if nobody here knows.
    pub asks_protection: Option<bool>,
    /// Whether anything asks for the account's owner; none if nobody here knows.
    pub asks_owner: Option<bool>,
    /// What the last answer said of the time.
    pub time: Option<Told>,
}

impl Facts {
    /// Judges them.
    pub fn judge(&self, now: DateTime<Utc>) -> Vec<Check> {
        let mut checks = vec![self.way(), self.token(now), self.account(), self.zones()];
        checks.extend(self.probes.iter().filter_map(|probe| self.right(probe)));
        checks.extend(self.zones_left());
        checks.extend(self.writing());
        checks.push(time::judge("Cloudflare", self.time));
        checks
    }

    /// Says why nothing can be done with the token; none if it is good, whatever rights it lacks.
    pub fn unusable(&self, now: DateTime<Utc>) -> Option<String> {
        let why = |check: &Check| match (check.verdict, &check.way_out) {
            (Verdict::Fine, _) => None,
            (_, Some(way_out)) => Some(format!("{}; {way_out}", check.detail)),
            (_, None) => Some(check.detail.clone()),
        };
        let (way, token, account) = (self.way(), self.token(now), self.account());
        // That a token may not list accounts says nothing against it.
        let account = Some(account).filter(|check| check.verdict == Verdict::Problem);
        why(&way).or_else(|| why(&token)).or_else(|| account.as_ref().and_then(why))
    }

    /// True if Cloudflare answered at all.
    fn is_answered(&self) -> bool {
        !matches!(
            (&self.said, &self.accounts, &self.zones),
            (Answer::None(_), Answer::None(_), Answer::None(_))
        )
    }

    fn way(&self) -> Check {
        let name = format!("Way to {}", self.api);
        match &self.said {
            Answer::None(reason) if !self.is_answered() => Check::problem(
                name,
                reason.clone(),
                "let this machine reach it over TCP, or set HTTPS_PROXY to a proxy that does; CF_API_BASE_URL is left \
                 empty for Cloudflare itself",
            ),
            _ => Check::fine(name, "it answers"),
        }
    }

    fn token(&self, now: DateTime<Utc>) -> Check {
        let name = "API token";
        let said = match &self.said {
            Answer::Told(said) => said,
            Answer::Refused(words) => {
                let way_out = format!("make a token at {WHERE}, and set CF_API_TOKEN to it");
                return Check::problem(name, format!("Cloudflare does not take it: {words}"), way_out);
            }
            Answer::None(reason) => {
                return Check::not_checked(name, reason.clone(), AGAIN);
            }
        };
        let owner = match said.owner {
            Owner::User => "a user owns it",
            Owner::Account => "the account owns it",
        };
        if said.status != "active" {
            let way_out = format!("make another one at {WHERE}, and set CF_API_TOKEN to it");
            return Check::problem(name, format!("it is {}; {owner}", said.status), way_out);
        }
        match said.expires {
            None => Check::fine(name, format!("active; {owner}; it never expires")),
            Some(at) if at - now <= SOON => Check::problem(
                name,
                format!(
                    "it expires {}; nothing is published or withdrawn after that",
                    at.format("%Y-%m-%d %H:%M UTC")
                ),
                format!("make another one at {WHERE}, set CF_API_TOKEN to it and restart the master"),
            ),
            Some(at) => {
                let (date, days) = (at.format("%Y-%m-%d"), (at - now).num_days());
                Check::fine(name, format!("active; {owner}; it expires {date}, in {days} days"))
            }
        }
    }

    fn account(&self) -> Check {
        let name = "Account";
        let is_reached = self.probes.iter().any(|probe| {
            probe.zone.is_none() && probe.need == Need::Publish && matches!(probe.answer, Answer::Told(()))
        });
        let seen: &[Account] = match &self.accounts {
            Answer::Told(seen) => seen,
            Answer::Refused(_) => &[],
            Answer::None(reason) if !is_reached => {
                return Check::not_checked(name, reason.clone(), AGAIN);
            }
            Answer::None(_) => &[],
        };
        match seen.iter().find(|account| account.id == self.account) {
            Some(account) => {
                let others = seen.len() - 1;
                let more =
                    if others == 0 { String::new() } else { format!("; the token sees {others} more") };
                Check::fine(name, format!("`{}` ({}){more}", account.name, account.id))
            }
            None if is_reached => {
                Check::fine(name, format!("{}; the token reaches it, and does not list it", self.account))
            }
            None => {
                let names: Vec<String> =
                    seen.iter().map(|account| format!("`{}` ({})", account.name, account.id)).collect();
                let sees = if names.is_empty() { "no account".to_owned() } else { listed(&names) };
                Check::problem(
                    name,
                    format!("the token does not see account {}; it sees {sees}", self.account),
                    "set CF_ACCOUNT_ID to the account that the token was made for, or CF_API_TOKEN to one of that account",
                )
            }
        }
    }

    fn zones(&self) -> Check {
        let name = "Zones";
        match &self.zones {
            Answer::Told(zones) if !zones.is_empty() => {
                Check::fine(name, format!("{}: {}", zones.len(), listed(zones)))
            }
            Answer::Told(_) => Check::problem(
                name,
                "the token sees no zone of the account, so no hostname can be published",
                format!(
                    "give it `{}` for the zones, at {WHERE}; or set CF_ZONE_ID to the one zone",
                    in_form(ZONE_READ)
                ),
            ),
            Answer::Refused(words) => Check::problem(
                name,
                format!("the token may not list zones: {words}"),
                format!("give it `{}`, at {WHERE}; or set CF_ZONE_ID to the one zone", in_form(ZONE_READ)),
            ),
            Answer::None(reason) => Check::not_checked(name, reason.clone(), AGAIN),
        }
    }

    /// Whether anything here needs what is for this; none if nobody knows.
    fn asks(&self, need: Need) -> Option<bool> {
        match need {
            Need::Publish => Some(true),
            Need::Protect => self.asks_protection,
            Need::Owner => self.asks_owner,
        }
    }

    /// Of a right that is for nothing here, and that nobody could look at, nothing is said.
    fn right(&self, probe: &Probe) -> Option<Check> {
        let place = probe.zone.as_ref().map(|zone| format!(", zone {zone}")).unwrap_or_default();
        let name = format!("Right `{}`{place}", probe.right);
        let (asks, needed_by) = (self.asks(probe.need), probe.need.words());
        let is_for_nothing = asks == Some(false);
        Some(match &probe.answer {
            Answer::None(_) if is_for_nothing => return None,
            Answer::Told(()) if self.written.contains(&probe.right) => {
                Check::fine(name, "the token has it, which was shown by more than reading")
            }
            Answer::Told(()) => Check::fine(name, "the token may read with it"),
            Answer::Refused(_) if is_for_nothing => {
                Check::fine(name, format!("the token lacks it, and nothing here needs it: {needed_by}"))
            }
            Answer::Refused(words) if asks.is_none() => Check::not_checked(
                name,
                format!(
                    "the token lacks it ({words}), and whether it is needed is not known here: {needed_by}"
                ),
                format!(
                    "add `{}` at {WHERE} if {}",
                    in_form(probe.right),
                    match probe.need {
                        Need::Owner => "the owner of the account is to be let in",
                        _ => "a container is to be protected by Cloudflare Access",
                    }
                ),
            ),
            Answer::Refused(words) => Check::problem(
                name,
                format!("the token lacks it: {words}"),
                format!(
                    "open the token at {WHERE}, add the permission `{}`{place}, and save; the token stays the same",
                    in_form(probe.right)
                ),
            ),
            Answer::None(reason) => Check::not_checked(name, reason.clone(), AGAIN),
        })
    }

    fn zones_left(&self) -> Option<Check> {
        (self.zones_left > 0).then(|| {
            Check::not_checked(
                format!("Rights in {} more zones", self.zones_left),
                "so many zones would take too many of the calls that Cloudflare allows",
                "look at the token's zones in Cloudflare's form; a route whose zone it may not change says so",
            )
        })
    }

    /// Rights to write of which only reading is known.
    fn writing(&self) -> Option<Check> {
        let mut open: Vec<&str> = Vec::new();
        for probe in &self.probes {
            let is_asked = self.asks(probe.need) == Some(true);
            let is_open = is_asked
                && probe.right.ends_with(WRITE)
                && matches!(probe.answer, Answer::Told(()))
                && !self.written.contains(&probe.right)
                && !open.contains(&probe.right);
            if is_open {
                open.push(probe.right);
            }
        }
        (!open.is_empty()).then(|| {
            let names = open.iter().map(|right| format!("`{right}`")).collect::<Vec<_>>().join(", ");
            Check::not_checked(
                "Rights to write",
                format!("{names}: reading shows `Read` only, whether it is `Edit` in the form is known by writing, and nothing is written for a check"),
                "look at the token in Cloudflare's form, or publish a route: a running master knows what it wrote",
            )
        })
    }
}

/// The right to list zones.
pub const ZONE_READ: &str = "Zone Read";
/// How rights end that include writing.
const WRITE: &str = " Write";
/// How the others end.
const READ: &str = " Read";

/// Returns the line of Cloudflare's form that gives a right: scope, group and level.
fn in_form(right: &str) -> String {
    let (group, level) = match (right.strip_suffix(WRITE), right.strip_suffix(READ)) {
        (Some(group), _) => (group, "Edit"),
        (None, Some(group)) => (group, "Read"),
        (None, None) => (right, "Edit"),
    };
    let scope = if matches!(group, "Zone" | "DNS") { "Zone" } else { "Account" };
    format!("{scope} / {group} / {level}")
}

#[cfg(test)]
mod tests {
    use super::super::{Verdict, worst};
    use super::*;

    const TUNNEL: &str = "Cloudflare Tunnel Write";
    const DNS: &str = "DNS Write";
    const APPS: &str = "Access: Apps and Policies Write";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn probe(right: &'static str, need: Need, zone: Option<&str>) -> Probe {
        Probe { right, zone: zone.map(str::to_owned), need, answer: Answer::Told(()) }
    }

    /// A token that has all that publishing takes, and wrote with it.
    fn good() -> Facts {
        Facts {
            account: "acc".into(),
            api: "https://api.cloudflare.com".into(),
            said: Answer::Told(Said { status: "active".into(), expires: None, owner: Owner::User }),
            accounts: Answer::Told(vec![Account { id: "acc".into(), name: "Home".into() }]),
            zones: Answer::Told(vec!["example.com".into()]),
            probes: vec![
                probe(TUNNEL, Need::Publish, None),
                probe(DNS, Need::Publish, Some("example.com")),
                probe(APPS, Need::Protect, None),
            ],
            zones_left: 0,
            written: vec![TUNNEL, DNS],
            asks_protection: Some(false),
            asks_owner: Some(false),
            time: Some(Told { theirs: now(), ours: now() }),
        }
    }

    fn found<'a>(checks: &'a [Check], name: &str) -> &'a Check {
        checks
            .iter()
            .find(|check| check.name.contains(name))
            .unwrap_or_else(|| panic!("no {name}: {checks:#?}"))
    }

    #[test]
    fn a_token_that_wrote_all_that_is_needed_is_fine() {
        let checks = good().judge(now());
        assert_eq!(worst(&checks), Verdict::Fine, "{checks:#?}");
        assert!(found(&checks, "API token").detail.contains("never expires"));
        assert!(found(&checks, "Account").detail.contains("`Home` (acc)"));
    }

    #[test]
    fn what_only_was_read_is_not_called_writable() {
        let checks = Facts { written: vec![TUNNEL], ..good() }.judge(now());
        let writing = found(&checks, "Rights to write");
        assert_eq!(writing.verdict, Verdict::NotChecked);
        assert!(writing.detail.contains(DNS) && !writing.detail.contains(TUNNEL), "{}", writing.detail);
        assert!(!writing.detail.contains(APPS), "nothing asks for protection");
    }

    #[test]
    fn a_missing_right_is_named_as_the_form_names_it_with_its_zone() {
        let mut facts = good();
        facts.probes[1].answer = Answer::Refused("Authentication error".into());
        let checks = facts.judge(now());
        let check = found(&checks, "`DNS Write`, zone example.com");
        assert_eq!(check.verdict, Verdict::Problem);
        assert!(
            check.way_out.as_ref().unwrap().contains("`Zone / DNS / Edit`, zone example.com"),
            "{check:?}"
        );
        assert!(checks.iter().all(|check| check.name != "Rights to write"), "it is named once");
    }

    #[test]
    fn a_right_for_protection_is_a_problem_only_where_something_asks_for_it() {
        for (asks, verdict) in
            [(Some(true), Verdict::Problem), (Some(false), Verdict::Fine), (None, Verdict::NotChecked)]
        {
            let mut facts = Facts { asks_protection: asks, ..good() };
            facts.probes[2].answer = Answer::Refused("Authentication error".into());
            let checks = facts.judge(now());
            let check = found(&checks, "Access: Apps");
            assert_eq!(check.verdict, verdict, "{asks:?}");
            assert!(check.detail.contains("lacks it"), "{}", check.detail);
        }
    }

    #[test]
    fn a_token_that_ends_is_named_before_it_does() {
        let said = |status: &str, days: Option<i64>| {
            let expires = days.map(|days| now() + TimeDelta::days(days));
            Answer::Told(Said { status: status.into(), expires, owner: Owner::Account })
        };
        for (said, verdict, words) in [
            (said("active", Some(90)), Verdict::Fine, "the account owns it; it expires"),
            (said("active", Some(3)), Verdict::Problem, "it expires 2027-01-18"),
            (said("expired", Some(-1)), Verdict::Problem, "it is expired"),
            (said("disabled", None), Verdict::Problem, "it is disabled"),
            (Answer::Refused("Invalid API Token".into()), Verdict::Problem, "does not take it"),
            (Answer::None("time-out".into()), Verdict::NotChecked, "time-out"),
        ] {
            let checks = Facts { said, ..good() }.judge(now());
            let check = found(&checks, "API token");
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.detail.contains(words), "{check:?}");
        }
    }

    #[test]
    fn another_account_is_named_with_those_that_the_token_sees() {
        let mut facts = Facts { account: "other".into(), ..good() };
        assert_eq!(found(&facts.judge(now()), "Account").verdict, Verdict::Fine, "its tunnels are reached");
        facts.probes[0].answer = Answer::Refused("Authentication error".into());
        let checks = facts.judge(now());
        let check = checks.iter().find(|check| check.name == "Account").unwrap();
        assert_eq!(check.verdict, Verdict::Problem);
        assert!(check.detail.contains("account other") && check.detail.contains("`Home` (acc)"), "{check:?}");
    }

    #[test]
    fn without_an_answer_the_way_is_the_problem_and_nothing_else_is_called_fine() {
        let lost = || Answer::None("connection refused".into());
        let probes = good().probes.into_iter().map(|probe| Probe { answer: lost(), ..probe }).collect();
        let facts = Facts {
            said: Answer::None("connection refused".into()),
            accounts: Answer::None("connection refused".into()),
            zones: Answer::None("connection refused".into()),
            probes,
            time: None,
            ..good()
        };
        let checks = facts.judge(now());
        assert_eq!(found(&checks, "Way to").verdict, Verdict::Problem);
        assert!(checks[1..].iter().all(|check| check.verdict == Verdict::NotChecked), "{checks:#?}");
    }

    #[test]
    fn a_right_is_found_in_the_form_by_its_line() {
        for (right, line) in [
            (TUNNEL, "Account / Cloudflare Tunnel / Edit"),
            (DNS, "Zone / DNS / Edit"),
            (ZONE_READ, "Zone / Zone / Read"),
            (APPS, "Account / Access: Apps and Policies / Edit"),
            ("Access: Service Tokens Read", "Account / Access: Service Tokens / Read"),
        ] {
            assert_eq!(in_form(right), line);
        }
    }

    #[test]
    fn no_zone_and_more_zones_than_are_tried_are_named() {
        let none = Facts { zones: Answer::Told(vec![]), ..good() }.judge(now());
        assert!(found(&none, "Zones").way_out.as_ref().unwrap().contains("`Zone / Zone / Read`"));
        let many = Facts { zones_left: 7, ..good() }.judge(now());
        assert_eq!(found(&many, "7 more zones").verdict, Verdict::NotChecked);
    }
}
