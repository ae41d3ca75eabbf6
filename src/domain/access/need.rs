//! What a route needs at Cloudflare: from what is asked for, what groups hold, and what the account knows.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::id::GroupId;
use super::super::route::RouteKey;
use super::account::Account;
use super::ask::AccessAsk;
use super::group::{Group, find_group};
use super::options::{AppOptions, ONE_IDP};
use super::policy::{Decision, PolicySpec, check_all};
use super::selector::Selector;

/// What has to stand before a route may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The application for the whole zone; see [`super::zone_application`].
    Zone,
    /// An application of its own.
    Application(WantedApplication),
}

impl Need {
    /// Returns the application of its own, if it takes one.
    pub fn application(&self) -> Option<&WantedApplication> {
        match self {
            Self::Application(wanted) => Some(wanted),
            Self::Nothing | Self::Zone => None,
        }
    }
}

/// An Access application as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedApplication {
    /// What it stands before: the hostname, and the path behind it.
    pub domain: String,
    /// What it is called.
    pub name: String,
    /// How it behaves; identity providers are ids here.
    pub options: AppOptions,
    /// Its policies, in their order.
    pub policies: Vec<WantedPolicy>,
}

impl WantedApplication {
    /// True if somebody comes in without Access asking anything: then no request carries a proof that it did.
    pub fn has_bypass(&self) -> bool {
        self.policies.iter().any(|policy| policy.is_bypass)
    }
}

/// Which policy it is, whatever it says: what our row about it is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum PolicyKey {
    /// Of a group.
    Group {
        /// The group.
        group: GroupId,
        /// Its place in the group, from 0.
        position: usize,
    },
    /// Of one application alone.
    Own {
        /// What the application stands before.
        domain: String,
        /// Its place there, from 0.
        position: usize,
    },
}

impl PolicyKey {
    /// Returns its name at Cloudflare, by which it is found again if the answer to its making was lost. Two keys never have
    /// one name: no id of a group and no domain holds a blank.
    pub fn name_at_cloudflare(&self, mark: &str) -> String {
        match self {
            Self::Group { group, position: 0 } => format!("Lightship-AccessGroup-{group} ({mark})"),
            Self::Group { group, position } => {
                format!("Lightship-AccessGroup-{group} #{} ({mark})", position + 1)
            }
            Self::Own { domain, position } => format!("Lightship-{domain} #{} ({mark})", position + 1),
        }
    }
}

/// True if a policy of this name, of whatever installation, is one that a route with this ask has.
pub fn is_policy_of(name: &str, route: &RouteKey, ask: &AccessAsk) -> bool {
    let of_groups = ask.groups().iter().map(|group| format!("Lightship-AccessGroup-{group} "));
    let of_its_own = std::iter::once(format!("Lightship-{route} #"));
    of_groups.chain(of_its_own).any(|front| name.starts_with(&front))
}

/// Returns the mark of an installation: enough of its id to tell it from others in one account.
pub fn policy_mark(installation: &str) -> String {
    installation.chars().take(8).collect()
}

impl Group {
    /// Returns what its policies are called at Cloudflare, in their order.
    pub fn policy_names(&self, mark: &str) -> Vec<String> {
        let key = |position| PolicyKey::Group { group: self.id.clone(), position };
        (0..self.policies.len()).map(|position| key(position).name_at_cloudflare(mark)).collect()
    }
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group { group, position } => write!(f, "policy {} of group `{group}`", position + 1),
            Self::Own { domain, position } => write!(f, "policy {} of `{domain}`", position + 1),
        }
    }
}

/// A reusable policy as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPolicy {
    /// Which one it is.
    pub key: PolicyKey,
    /// What it is called at Cloudflare.
    pub name: String,
    /// What Cloudflare is sent: name, decision and the three lists, with ids where names stood.
    pub body: Value,
    /// True if whoever it is about comes in without a question.
    pub is_bypass: bool,
}

/// Returns what a route needs, or why it has to wait and what to do about that.
///
/// `mark` is the installation's, so that two of them in one account never take each other's policies.
pub fn need(
    route: &RouteKey,
    ask: &AccessAsk,
    groups: &BTreeMap<GroupId, Group>,
    account: &Account<'_>,
    mark: &str,
) -> Result<Need, String> {
    match ask {
        AccessAsk::Nothing | AccessAsk::Public => Ok(Need::Nothing),
        AccessAsk::Inherit => Ok(Need::Zone),
        AccessAsk::Unreadable { reasons } => Err(say_unreadable(reasons)),
        AccessAsk::Groups { groups: ids } => of_groups(route, ids, groups, account, mark),
        AccessAsk::Own { options, policies } => {
            check_all(policies)
                .map_err(|wrong| format!("its own rules cannot be used: {}", wrong.join("; ")))?;
            let domain = domain_of(route)?;
            let mut wanted = Vec::new();
            for (position, policy) in policies.iter().enumerate() {
                let key = PolicyKey::Own { domain: domain.clone(), position };
                wanted.push(wanted_policy(key, policy, account, mark)?);
            }
            application(route, domain, options, wanted, account)
        }
    }
}

/// Why a route waits whose labels cannot be read.
fn say_unreadable(reasons: &[String]) -> String {
    if reasons.is_empty() {
        return "it asks for protection, and an older release did not write down for which; it is known as soon as its \
                host reports the container again"
            .to_owned();
    }
    format!(
        "what it asks of Cloudflare Access cannot be read, so it is not published: {}",
        reasons.join("; ")
    )
}

fn of_groups(
    route: &RouteKey,
    ids: &[GroupId],
    groups: &BTreeMap<GroupId, Group>,
    account: &Account<'_>,
    mark: &str,
) -> Result<Need, String> {
    let mut options = None;
    let mut wanted: Vec<WantedPolicy> = Vec::new();
    for id in ids {
        let group = find_group(groups, id).ok_or_else(|| {
            format!("group `{id}` is not known; make it under Access, or name another group in the labels")
        })?;
        group.validate().map_err(|wrong| {
            format!("group `{id}` cannot be used until it is put right: {}", wrong.join("; "))
        })?;
        for (position, policy) in group.policies.iter().enumerate() {
            let key = PolicyKey::Group { group: id.clone(), position };
            if wanted.iter().all(|known| known.key != key) {
                wanted.push(wanted_policy(key, policy, account, mark)?);
            }
        }
        options = options.or_else(|| Some(group.options.clone()));
    }
    let options = options.ok_or("no group is named; name one in `access.group`")?;
    application(route, domain_of(route)?, &options, wanted, account)
}

/// Returns what Access knows the route by.
fn domain_of(route: &RouteKey) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@/".contains(c);
    match route.path.chars().find(|c| !is_plain(*c)) {
        Some(odd) => Err(format!(
            "`{}` in the path cannot be told to Access exactly, so nothing could be promised; choose a path of letters, digits and `-._~/`",
            odd.escape_debug()
        )),
        None => Ok(route.to_string()),
    }
}

fn application(
    route: &RouteKey,
    domain: String,
    options: &AppOptions,
    policies: Vec<WantedPolicy>,
    account: &Account<'_>,
) -> Result<Need, String> {
    options.check().map_err(|wrong| format!("its application cannot be made: {}", wrong.join("; ")))?;
    let mut idps: Vec<String> = Vec::new();
    for idp in &options.allowed_idps {
        let id = account.idp(idp).map_err(|reason| format!("`allowed_idps`: {reason}"))?.to_string();
        if !idps.contains(&id) {
            idps.push(id);
        }
    }
    if options.auto_redirect_to_identity && idps.len() != 1 {
        return Err(ONE_IDP.to_owned());
    }
    let named = format!("DockFlare-{}{}", route.hostname, route.path.replace('/', "-"));
    let name = options.name.clone().unwrap_or(named);
    let options = AppOptions { name: None, allowed_idps: idps, ..options.clone() };
    Ok(Need::Application(WantedApplication { domain, name, options, policies }))
}

fn wanted_policy(
    key: PolicyKey,
    policy: &PolicySpec,
    account: &Account<'_>,
    mark: &str,
) -> Result<WantedPolicy, String> {
    let list = |selectors: &[Selector]| -> Result<Value, String> {
        let ids: Result<Value, String> = selectors.iter().map(|one| resolved(one, account)).collect();
        ids.map_err(|reason| format!("{key}: {reason}"))
    };
    let (include, require, exclude) =
        (list(&policy.include)?, list(&policy.require)?, list(&policy.exclude)?);
    let name = key.name_at_cloudflare(mark);
    let body = json!({
        "name": name, "decision": policy.decision.as_str(),
        "include": include, "require": require, "exclude": exclude,
    });
    Ok(WantedPolicy { key, name, body, is_bypass: policy.decision == Decision::Bypass })
}

/// Returns a rule with ids where names stood.
fn resolved(selector: &Selector, account: &Account<'_>) -> Result<Value, String> {
    let known = match selector {
        Selector::IdentityProvider(idp) => Selector::IdentityProvider(account.idp(idp)?.to_string()),
        Selector::ServiceToken(token) => Selector::ServiceToken(account.token(token)?.id.to_string()),
        Selector::AccountOwner => Selector::Email(account.owner()?.to_owned()),
        Selector::Country(code) => Selector::Country(code.to_ascii_uppercase()),
        other => other.clone(),
    };
    Ok(Value::Object(Map::from(known)))
}
