//! What is to be done about one application, given what the account has.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::difference::in_words;
use super::super::hostname::kept_form;
use super::super::id::{ApplicationId, PolicyId};
use super::super::route::RouteKey;
use super::super::text::repeated;
use super::compare::sent_back;
use super::duration::is_same_duration;
use super::need::WantedApplication;

/// The kind of application that stands before a hostname.
const SELF_HOSTED: &str = "self_hosted";
/// Kinds that are links or logins of others, and stand before nothing.
const BEFORE_NOTHING: [&str; 2] = ["bookmark", "saas"];

/// An application of the account.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundApplication {
    /// Its id.
    pub id: ApplicationId,
    /// What its proofs are made out to.
    pub aud: Option<String>,
    /// What it stands before first of all.
    pub domain: String,
    /// All of it, as it was read.
    pub raw: Map<String, Value>,
}

impl FoundApplication {
    fn text(&self, field: &str) -> &str {
        self.raw.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns all that it stands before; Cloudflare has three ways to say that.
    fn domains(&self) -> Vec<String> {
        let texts = |field: &str| self.raw.get(field).and_then(Value::as_array).into_iter().flatten();
        let listed = texts("self_hosted_domains").filter_map(Value::as_str);
        let uris = texts("destinations").filter_map(|place| place.get("uri")?.as_str());
        let all = [self.domain.as_str(), self.text("domain")].into_iter().chain(listed).chain(uris);
        all.filter(|domain| !domain.is_empty()).map(kept_domain).collect()
    }

    /// True if requests for this hostname, or this hostname with a path, meet it.
    pub fn stands_before(&self, domain: &str) -> bool {
        let place = place_of(domain);
        !BEFORE_NOTHING.contains(&self.text("type"))
            && self.domains().iter().any(|own| place_of(own) == place)
    }

    /// True if whatever list of places it has names this one: Access goes by the list where there is one.
    fn lists(&self, domain: &str) -> bool {
        let list =
            |field: &str| self.raw.get(field).and_then(Value::as_array).filter(|list| !list.is_empty());
        let list = list("destinations").or_else(|| list("self_hosted_domains"));
        list.is_none_or(|places| places.iter().any(|place| place_text(place).as_deref() == Some(domain)))
    }

    /// Returns the ids of its policies, in the order in which they count.
    fn policies(&self) -> Vec<&str> {
        let links = self.raw.get("policies").and_then(Value::as_array).into_iter().flatten();
        let mut links: Vec<(f64, &str)> = links
            .map(|link| {
                let precedence = link.get("precedence").and_then(Value::as_f64).unwrap_or(f64::MAX);
                let id = link.get("id").and_then(Value::as_str).or_else(|| link.as_str());
                (precedence, id.unwrap_or_default())
            })
            .collect();
        links.sort_by(|one, other| one.0.total_cmp(&other.0));
        links.into_iter().map(|(_, id)| id).collect()
    }

    /// Its name and id, for people.
    pub fn in_words(&self) -> String {
        format!("application `{}` ({})", repeated(self.text("name")), self.id)
    }
}

/// Returns the one form of what an application stands before.
fn kept_domain(text: &str) -> String {
    let text = text.trim();
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    let path = path.trim_end_matches('/');
    if path.is_empty() { kept_form(host) } else { format!("{}/{path}", kept_form(host)) }
}

/// The same without a star at its end: two that differ in it alone get in each other's way.
fn place_of(text: &str) -> String {
    let kept = kept_domain(text);
    kept.strip_suffix("/*").map_or(kept.clone(), str::to_owned)
}

/// Returns the place that an entry of a list of places names.
fn place_text(entry: &Value) -> Option<String> {
    entry.as_str().or_else(|| entry.get("uri")?.as_str()).map(kept_domain)
}

/// What our row says of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnApplication {
    /// Its id; none if nobody heard what became of its making.
    pub id: Option<ApplicationId>,
}

impl OwnApplication {
    /// True if it is this one: by its id, or, while nobody heard what became of its making, by its place and a policy of ours.
    pub fn is(&self, app: &FoundApplication, domain: &str, our_policies: &BTreeSet<PolicyId>) -> bool {
        match &self.id {
            Some(id) => app.id == *id,
            None => {
                app.stands_before(domain)
                    && app.policies().into_iter().any(|id| our_policies.contains(&PolicyId::new(id)))
            }
        }
    }
}

impl WantedApplication {
    /// Returns what Cloudflare is sent to make it.
    pub fn body(&self, policy_ids: &[PolicyId]) -> Value {
        written_over(self, policy_ids, &Map::new())
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum ApplicationStep {
    /// Nothing: it is there as it is to be.
    Keep {
        /// Its id.
        id: ApplicationId,
        /// What its proofs are made out to.
        aud: Option<String>,
    },
    /// It is to be made.
    Create {
        /// What is to be sent.
        body: Value,
    },
    /// It is to be written.
    Update {
        /// Its id.
        id: ApplicationId,
        /// Ours, written over what is there.
        body: Value,
    },
    /// It cannot be done.
    Blocked {
        /// Why, and the way out.
        reason: String,
    },
}

/// Returns what is to be done. `policy_ids` are those of the wanted policies, in their order; `our_policies` all that are
/// ours.
///
/// An application is ours if our row has its id. Without an id, or if that one is gone, it is ours if it stands before the
/// same place under the same name and has a policy of ours. Without a row nothing is ours, and what others put before the
/// same place is in the way: nobody can tell which of the two would count.
pub fn application_step(
    wanted: &WantedApplication,
    policy_ids: &[PolicyId],
    our_policies: &BTreeSet<PolicyId>,
    found: &[FoundApplication],
    own: Option<&OwnApplication>,
) -> ApplicationStep {
    if policy_ids.len() != wanted.policies.len() || policy_ids.is_empty() {
        let reason = format!(
            "{} of the {} policies for `{}` are there; it waits for the others",
            policy_ids.len(),
            wanted.policies.len(),
            wanted.domain
        );
        return ApplicationStep::Blocked { reason };
    }
    let ours = own.and_then(|own| find_ours(wanted, our_policies, found, own));
    let is_other = |app: &&FoundApplication| ours.is_none_or(|ours| ours.id != app.id);
    if let Some(other) = found.iter().filter(is_other).find(|app| app.stands_before(&wanted.domain)) {
        let reason = format!(
            "{} that is not ours stands before `{}` already; make it ours with `lightship adopt`, or choose another name",
            other.in_words(),
            wanted.domain
        );
        return ApplicationStep::Blocked { reason };
    }
    match ours {
        None => ApplicationStep::Create { body: written_over(wanted, policy_ids, &Map::new()) },
        Some(there) if is_as_wanted(wanted, policy_ids, there) => {
            ApplicationStep::Keep { id: there.id.clone(), aud: there.aud.clone() }
        }
        Some(there) => ApplicationStep::Update {
            id: there.id.clone(),
            body: written_over(wanted, policy_ids, &there.raw),
        },
    }
}

fn find_ours<'a>(
    wanted: &WantedApplication,
    our_policies: &BTreeSet<PolicyId>,
    found: &'a [FoundApplication],
    own: &OwnApplication,
) -> Option<&'a FoundApplication> {
    let by_id = own.id.as_ref().and_then(|id| found.iter().find(|app| app.id == *id));
    let is_made_by_us = |app: &&FoundApplication| {
        app.stands_before(&wanted.domain)
            && app.text("name") == wanted.name
            && app.policies().into_iter().any(|id| our_policies.contains(&PolicyId::new(id)))
    };
    by_id.or_else(|| found.iter().find(is_made_by_us))
}

/// True if an application is as it is wanted; what we never set is not looked at.
pub fn is_as_wanted(wanted: &WantedApplication, policy_ids: &[PolicyId], found: &FoundApplication) -> bool {
    let options = &wanted.options;
    let flag = |field: &str| found.raw.get(field).and_then(Value::as_bool).unwrap_or_default();
    let idps = found.raw.get("allowed_idps").and_then(Value::as_array).into_iter().flatten();
    let idps: BTreeSet<&str> = idps.filter_map(Value::as_str).collect();
    found.text("type") == SELF_HOSTED
        && found.text("name") == wanted.name
        && kept_domain(found.text("domain")) == kept_domain(&wanted.domain)
        && found.lists(&kept_domain(&wanted.domain))
        && is_same_duration(found.text("session_duration"), &options.session_duration)
        && flag("app_launcher_visible") == options.app_launcher_visible
        && flag("auto_redirect_to_identity") == options.auto_redirect_to_identity
        && idps == options.allowed_idps.iter().map(String::as_str).collect()
        && found.policies() == policy_ids.iter().map(PolicyId::as_str).collect::<Vec<_>>()
}

fn written_over(wanted: &WantedApplication, policy_ids: &[PolicyId], there: &Map<String, Value>) -> Value {
    let options = &wanted.options;
    let mut body = sent_back(there);
    let links =
        policy_ids.iter().zip(1..).map(|(id, precedence)| json!({ "id": id, "precedence": precedence }));
    let ours = json!({
        "type": SELF_HOSTED,
        "name": wanted.name,
        "domain": wanted.domain,
        "session_duration": options.session_duration,
        "app_launcher_visible": options.app_launcher_visible,
        "allowed_idps": options.allowed_idps,
        "auto_redirect_to_identity": options.auto_redirect_to_identity,
        "policies": links.collect::<Vec<_>>(),
    });
    body.extend(ours.as_object().cloned().unwrap_or_default());
    name_place(&mut body, &wanted.domain);
    Value::Object(body)
}

/// Has what an application stands before name our place too. What others added to it stays; only one of the two lists is
/// sent, since Cloudflare takes no more.
fn name_place(body: &mut Map<String, Value>, domain: &str) {
    let has_destinations =
        body.get("destinations").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let (list, dropped) = match has_destinations {
        true => ("destinations", "self_hosted_domains"),
        false => ("self_hosted_domains", "destinations"),
    };
    body.remove(dropped);
    let Some(Value::Array(places)) = body.get_mut(list) else { return };
    let kept = kept_domain(domain);
    if places.iter().all(|place| place_text(place).as_deref() != Some(kept.as_str())) {
        let ours = match has_destinations {
            true => json!({ "type": "public", "uri": domain }),
            false => json!(domain),
        };
        places.insert(0, ours);
    }
}

/// Says what would become of an application of somebody else that stands before what is wanted, if it was made ours; or why it
/// cannot be: what else it stands before would lose it when the route goes. `policy_ids` are those of the wanted policies, as
/// far as they are there.
pub fn adoption(
    wanted: &WantedApplication,
    policy_ids: &[PolicyId],
    found: &FoundApplication,
) -> Option<Result<Vec<String>, String>> {
    if !found.stands_before(&wanted.domain) {
        return None;
    }
    if found.text("type") != SELF_HOSTED {
        return Some(Err(format!(
            "it is of kind `{}`, and what protects a route is `{SELF_HOSTED}`; choose another name, or delete it at Cloudflare once no rule of others leads to the service",
            repeated(found.text("type"))
        )));
    }
    let place = kept_domain(&wanted.domain);
    let others: BTreeSet<String> = found.domains().into_iter().filter(|domain| *domain != place).collect();
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(|domain| format!("`{}`", repeated(domain))).collect();
        return Some(Err(format!(
            "it stands before {} too, which would lose it with this route; take them out of it at Cloudflare first",
            others.join(", ")
        )));
    }
    let after = written_over(wanted, policy_ids, &found.raw);
    let mut changes =
        after.as_object().map(|after| in_words(&sent_back(&found.raw), after)).unwrap_or_default();
    // Its one place is said in one way instead of another, and its policies are named below.
    let is_said = |change: &String| {
        ["policies: ", "self_hosted_domains: ", "destinations: "]
            .iter()
            .any(|field| change.starts_with(field))
    };
    changes.retain(|change| !is_said(change));
    let names: Vec<&str> = wanted.policies.iter().map(|policy| policy.name.as_str()).collect();
    changes.push(format!("policies: what it has becomes {}", names.join(", ")));
    changes.push("it is deleted when its route goes".to_owned());
    Some(Ok(changes))
}

/// Returns the application that covers a route as a part of its zone, or why none does. To Access a star stands for one
/// label, and no more.
pub fn zone_application<'a>(
    route: &RouteKey,
    zone: &str,
    found: &'a [FoundApplication],
) -> Result<&'a FoundApplication, String> {
    let pattern = format!("*.{zone}");
    let is_one_label = |label: &str| !label.is_empty() && !label.contains('.');
    let label = route.hostname.strip_suffix(zone).and_then(|front| front.strip_suffix('.'));
    if !label.is_some_and(is_one_label) {
        return Err(format!(
            "`{pattern}` does not cover `{}`; give the route a group of its own instead of `default_tld`",
            route.hostname
        ));
    }
    let covers_all = |app: &&FoundApplication| app.text("type") == SELF_HOSTED && app.stands_before(&pattern);
    found.iter().find(covers_all).ok_or_else(|| {
        format!(
            "`default_tld` asks for the application on `{pattern}`, and there is none; make it under Access, or name a group"
        )
    })
}
