//! Applications of Access: a PUT replaces all but id and audience, a domain belongs to one application, policies are
//! linked in the order of their precedence, and those made for one application go with it.

use lightship::domain::hostname::parse_hostname;
use regex::Regex;
use serde_json::{Map, Value, json};

use super::access::{Policy, conflict, invalid, not_found, over, written};
use super::answer::{Outcome, Refusal};
use super::state::{LONG_AGO, State, Zone};

#[derive(Debug, Clone, PartialEq)]
pub struct App {
    pub id: String,
    /// What its tokens are made out to.
    pub aud: String,
    /// What was written, without policies and what only Cloudflare writes.
    pub body: Map<String, Value>,
    /// Its policies, in order.
    pub links: Vec<Link>,
}

/// A policy of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub policy: String,
    pub precedence: i64,
}

/// Kinds that stand before hostnames.
const WITH_DOMAIN: [&str; 3] = ["self_hosted", "ssh", "vnc"];
const READ_ONLY: [&str; 6] = ["id", "aud", "uid", "created_at", "updated_at", "policies"];

impl App {
    /// What it stands before, as written: `host[/path]`. Destinations go before domains, and those before the domain.
    pub fn uris(&self) -> Vec<String> {
        uris(&self.body)
    }
}

impl State {
    pub fn create_app(&mut self, body: &Value) -> Outcome {
        if self.access.max_apps.is_some_and(|max| self.access.apps.len() >= max) {
            return Err(invalid("maximum number of applications has been reached"));
        }
        let (id, aud) = (self.uuid(), format!("{:0>64}", self.hex_id()));
        self.write_app(&id, aud, body)
    }

    pub fn put_app(&mut self, id: &str, body: &Value) -> Outcome {
        let aud = self.app(id)?.aud.clone();
        self.write_app(id, aud, body)
    }

    pub fn delete_app(&mut self, id: &str) -> Outcome {
        self.app(id)?;
        self.access.apps.retain(|app| app.id != id);
        self.access.policies.retain(|policy| policy.app.as_deref() != Some(id));
        Ok(json!({ "id": id }))
    }

    pub(super) fn get_app(&self, id: &str) -> Outcome {
        self.app(id).map(|app| self.app_json(app))
    }

    /// Filters by name and domain find parts unless `exact` is asked for, and know the first domain only.
    pub(super) fn list_apps(&self, filter: impl Fn(&str) -> Option<String>) -> Vec<Value> {
        let is_exact = filter("exact").is_some_and(|exact| exact == "true");
        let fits = |app: &App, key: &str| {
            let own = app.body.get(key).and_then(Value::as_str).unwrap_or_default();
            filter(key).is_none_or(|wanted| if is_exact { own == wanted } else { own.contains(&wanted) })
        };
        let has_aud = |app: &App| filter("aud").is_none_or(|aud| aud == app.aud);
        let apps =
            self.access.apps.iter().filter(|app| fits(app, "name") && fits(app, "domain") && has_aud(app));
        apps.map(|app| self.app_json(app)).collect()
    }

    pub(super) fn app(&self, id: &str) -> Result<&App, Refusal> {
        let unknown = || Refusal::new(404, 11021, "access.api.error.unknown_application");
        self.access.apps.iter().find(|app| app.id == id).ok_or_else(unknown)
    }

    fn write_app(&mut self, id: &str, aud: String, body: &Value) -> Outcome {
        let fields = written(body, &READ_ONLY);
        self.check_app(id, &fields)?;
        let (links, own) = self.read_links(id, &body["policies"])?;
        let app = App { id: id.to_owned(), aud, body: fields, links };
        self.access.policies.retain(|policy| policy.app.as_deref() != Some(id));
        self.access.policies.extend(own);
        match self.access.apps.iter_mut().find(|app| app.id == id) {
            Some(place) => *place = app,
            None => self.access.apps.push(app),
        }
        self.get_app(id)
    }

    fn check_app(&self, id: &str, fields: &Map<String, Value>) -> Result<(), Refusal> {
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        if !text("type").is_some_and(|kind| WITH_DOMAIN.contains(&kind)) {
            return Ok(());
        }
        let (domain, uris) = (text("domain").unwrap_or_default(), uris(fields));
        if !uris.iter().any(|uri| plain(uri) == plain(domain)) {
            return Err(invalid("domain is none of the destinations"));
        }
        uris.iter().try_for_each(|uri| self.check_uri(id, uri))?;
        let providers = fields.get("allowed_idps").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if let Some(unknown) = providers.iter().find(|id| !self.access.has_identity_provider(id)) {
            return Err(invalid(&format!("the identity provider {unknown} is not known")));
        }
        if fields.get("auto_redirect_to_identity") == Some(&Value::Bool(true)) && providers.len() != 1 {
            return Err(invalid(
                "auto_redirect_to_identity needs exactly one identity provider in allowed_idps",
            ));
        }
        match text("session_duration") {
            Some(duration) if !is_duration(duration) => Err(invalid("session_duration is not a duration")),
            _ => Ok(()),
        }
    }

    /// A domain lies in a zone of the account, has no port, query or anchor, and belongs to no other application.
    fn check_uri(&self, id: &str, uri: &str) -> Result<(), Refusal> {
        let plain_uri = plain(uri);
        let (host, path) = plain_uri.split_once('/').unwrap_or((plain_uri.as_str(), ""));
        let has_two_stars = |part: &str| part.matches('*').count() > 1;
        if uri.contains([':', '?', '#', ' ']) || host.split('.').chain(path.split('/')).any(has_two_stars) {
            return Err(invalid(&format!("{uri} is not a domain")));
        }
        let is_in = |zone: &Zone| {
            let name = parse_hostname(&zone.name).expect("a zone has a name");
            host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '*']))
        };
        if !self.zones.iter().any(is_in) {
            return Err(invalid(&format!("{uri} is in no zone of the account")));
        }
        let others = self.access.apps.iter().filter(|app| app.id != id && app.has_domain());
        if others.flat_map(App::uris).any(|other| plain(&other) == plain_uri) {
            return Err(conflict("destination belongs to another application"));
        }
        Ok(())
    }

    /// Reads which policies an application has: links to reusable ones, or such of its own, which come along.
    fn read_links(&mut self, app: &str, given: &Value) -> Result<(Vec<Link>, Vec<Policy>), Refusal> {
        let (mut links, mut own) = (Vec::<Link>::new(), Vec::new());
        for (index, item) in given.as_array().into_iter().flatten().enumerate() {
            let id = item.as_str().or_else(|| item["id"].as_str());
            let known = id.and_then(|id| self.policy_for(app, id)).cloned();
            let policy = match (id, known) {
                (Some(id), Some(known)) if known.app.is_none() => id.to_owned(),
                (Some(id), None) => return Err(invalid(&format!("the policy {id} is not known"))),
                (_, known) => {
                    let policy = self.own_policy(app, known, item)?;
                    own.push(policy.clone());
                    policy.id
                }
            };
            let precedence = item["precedence"].as_i64().unwrap_or(index as i64 + 1);
            if links.iter().any(|link| link.policy == policy) {
                return Err(invalid("a policy is linked twice"));
            }
            if links.iter().any(|link| link.precedence == precedence) {
                return Err(invalid("policy precedences must be unique"));
            }
            links.push(Link { policy, precedence });
        }
        if !own.is_empty() && own.len() < links.len() {
            return Err(invalid("reusable and inline policies are mutually exclusive"));
        }
        links.sort_by_key(|link| link.precedence);
        Ok((links, own))
    }

    /// A policy that the application may have.
    fn policy_for(&self, app: &str, id: &str) -> Option<&Policy> {
        let is_free = |policy: &Policy| policy.app.as_deref().is_none_or(|owner| owner == app);
        self.access.policies.iter().find(|policy| policy.id == id && is_free(policy))
    }

    /// One that is made for the application, or is its own already and may be written anew.
    fn own_policy(&mut self, app: &str, known: Option<Policy>, item: &Value) -> Result<Policy, Refusal> {
        match known {
            Some(known) if item.get("decision").is_none() => Ok(known),
            known => {
                let body = self.read_policy(item)?;
                let id = known.map_or_else(|| self.uuid(), |known| known.id);
                Ok(Policy { id, app: Some(app.to_owned()), body })
            }
        }
    }

    pub(super) fn app_json(&self, app: &App) -> Value {
        let mut answer = match app.has_domain() {
            true => over(defaults(), &app.body),
            false => app.body.clone(),
        };
        if app.has_domain() {
            let uris = app.uris();
            let public: Vec<Value> = uris.iter().map(|uri| json!({ "type": "public", "uri": uri })).collect();
            answer.insert("self_hosted_domains".into(), json!(uris));
            answer.entry("destinations").or_insert_with(|| json!(public));
        }
        let policies: Vec<Value> = app.links.iter().map(|link| self.link_json(link)).collect();
        answer.insert("policies".into(), json!(policies));
        answer.insert("id".into(), json!(app.id));
        answer.insert("uid".into(), json!(app.id));
        answer.insert("aud".into(), json!(app.aud));
        answer.insert("created_at".into(), json!(LONG_AGO));
        answer.insert("updated_at".into(), json!(LONG_AGO));
        Value::Object(answer)
    }

    /// The policy in full, and its place.
    fn link_json(&self, link: &Link) -> Value {
        let policy = self.access.policies.iter().find(|policy| policy.id == link.policy);
        let mut answer = self.access.policy_json(policy.expect("what is linked is not deleted"));
        answer["precedence"] = json!(link.precedence);
        answer
    }
}

/// Policies through the application that has them.
impl State {
    pub(super) fn list_app_policies(&self, app: &str) -> Result<Vec<Value>, Refusal> {
        Ok(self.app(app)?.links.iter().map(|link| self.link_json(link)).collect())
    }

    pub(super) fn get_app_policy(&self, app: &str, id: &str) -> Outcome {
        let link = self.app(app)?.links.iter().find(|link| link.policy == id);
        link.map(|link| self.link_json(link)).ok_or_else(not_found)
    }

    pub(super) fn create_app_policy(&mut self, app: &str, body: &Value) -> Outcome {
        let mut links = self.app(app)?.links.clone();
        if links.iter().any(|link| self.own_index(app, &link.policy).is_err()) {
            return Err(invalid("reusable and inline policies are mutually exclusive"));
        }
        let next = links.last().map_or(1, |link| link.precedence + 1);
        let precedence = body["precedence"].as_i64().unwrap_or(next);
        if links.iter().any(|link| link.precedence == precedence) {
            return Err(invalid("policy precedences must be unique"));
        }
        let policy = self.own_policy(app, None, body)?;
        links.push(Link { policy: policy.id.clone(), precedence });
        links.sort_by_key(|link| link.precedence);
        let id = policy.id.clone();
        self.access.policies.push(policy);
        self.app_mut(app)?.links = links;
        self.get_app_policy(app, &id)
    }

    pub(super) fn put_app_policy(&mut self, app: &str, id: &str, body: &Value) -> Outcome {
        let (index, fields) = (self.own_index(app, id)?, self.read_policy(body)?);
        let is_taken =
            |link: &Link| link.policy != id && Some(link.precedence) == body["precedence"].as_i64();
        if self.app(app)?.links.iter().any(is_taken) {
            return Err(invalid("policy precedences must be unique"));
        }
        self.access.policies[index].body = fields;
        let links = &mut self.app_mut(app)?.links;
        if let (Some(precedence), Some(link)) =
            (body["precedence"].as_i64(), links.iter_mut().find(|link| link.policy == id))
        {
            link.precedence = precedence;
        }
        links.sort_by_key(|link| link.precedence);
        self.get_app_policy(app, id)
    }

    pub(super) fn delete_app_policy(&mut self, app: &str, id: &str) -> Outcome {
        let index = self.own_index(app, id)?;
        self.access.policies.remove(index);
        self.app_mut(app)?.links.retain(|link| link.policy != id);
        Ok(json!({ "id": id }))
    }

    /// Where a policy is that was made for the application; reusable ones are written in their own place.
    fn own_index(&self, app: &str, id: &str) -> Result<usize, Refusal> {
        if !self.app(app)?.links.iter().any(|link| link.policy == id) {
            return Err(not_found());
        }
        let is_own = |policy: &Policy| policy.id == id && policy.app.as_deref() == Some(app);
        let elsewhere = || invalid("can not update reusable policies through this endpoint");
        self.access.policies.iter().position(is_own).ok_or_else(elsewhere)
    }

    fn app_mut(&mut self, id: &str) -> Result<&mut App, Refusal> {
        self.access.apps.iter_mut().find(|app| app.id == id).ok_or_else(not_found)
    }
}

impl App {
    /// True if it stands before hostnames.
    pub(super) fn has_domain(&self) -> bool {
        self.body.get("type").and_then(Value::as_str).is_some_and(|kind| WITH_DOMAIN.contains(&kind))
    }
}

/// What the API adds to what nobody sent.
fn defaults() -> Value {
    json!({
        "allowed_idps": [],
        "app_launcher_visible": true,
        "auto_redirect_to_identity": false,
        "enable_binding_cookie": false,
        "http_only_cookie_attribute": true,
        "name": "",
        "options_preflight_bypass": false,
        "session_duration": "24h",
        "tags": [],
    })
}

fn uris(fields: &Map<String, Value>) -> Vec<String> {
    let list = |key: &str| fields.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let texts = |items: Vec<Option<&str>>| items.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    if !list("destinations").is_empty() {
        let public = list("destinations").iter().filter(|destination| destination["type"] == "public");
        return texts(public.map(|destination| destination["uri"].as_str()).collect());
    }
    if !list("self_hosted_domains").is_empty() {
        return texts(list("self_hosted_domains").iter().map(Value::as_str).collect());
    }
    texts(vec![fields.get("domain").and_then(Value::as_str)])
}

/// The form in which domains are compared.
pub(super) fn plain(uri: &str) -> String {
    let (host, path) = uri.split_once('/').unwrap_or((uri, ""));
    format!("{}/{path}", host.to_lowercase()).trim_end_matches('/').to_owned()
}

fn is_duration(text: &str) -> bool {
    let duration = Regex::new(r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$").expect("a good pattern");
    duration.is_match(text)
}
