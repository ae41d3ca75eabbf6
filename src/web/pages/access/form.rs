//! The form that makes or changes a group without JSON: each policy is a decision and three boxes of lines.

use serde_json::{Map, Value, json};

use crate::domain::access::{AppOptions, Decision, Group, PolicySpec, Selector, read_lines, write_lines};
use crate::domain::id::GroupId;
use crate::domain::text::repeated;

/// What a policy does, as the form says it.
pub const DECISIONS: [(&str, &str); 4] = [
    ("allow", "let in who signs in"),
    ("non_identity", "let in without a sign-in, such as service tokens"),
    ("bypass", "ask nothing of them: open"),
    ("deny", "keep out"),
];
/// Most policies that are read.
const MOST: usize = 50;

/// What stands in the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupForm {
    /// True if it makes a group, false if it changes one.
    pub is_new: bool,
    /// The group's id.
    pub id: String,
    /// For people.
    pub name: String,
    /// How long a sign-in lasts.
    pub session_duration: String,
    /// Identity providers that may be used, each on a line.
    pub allowed_idps: String,
    /// True if applications are shown in the App Launcher.
    pub app_launcher_visible: bool,
    /// True if the page where an identity provider is chosen is left out.
    pub auto_redirect_to_identity: bool,
    /// The policies, and room for another one.
    pub policies: Vec<PolicyForm>,
}

/// A policy in the form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyForm {
    /// Its place, from 1.
    pub number: usize,
    /// What it is called, if it was given a name elsewhere.
    pub name: String,
    /// What it does.
    pub decision: String,
    /// Anyone of these,
    pub include: String,
    /// who also meets all of these,
    pub require: String,
    /// except these.
    pub exclude: String,
}

impl GroupForm {
    /// For a new group.
    pub fn empty() -> Self {
        let options = AppOptions::default();
        let new = Self {
            is_new: true,
            id: String::new(),
            name: String::new(),
            session_duration: options.session_duration,
            allowed_idps: String::new(),
            app_launcher_visible: options.app_launcher_visible,
            auto_redirect_to_identity: options.auto_redirect_to_identity,
            policies: Vec::new(),
        };
        new.with_room()
    }

    /// For changing this group.
    pub fn of(group: &Group) -> Self {
        let options = group.options.clone();
        let policies =
            group.policies.iter().enumerate().map(|(place, policy)| PolicyForm::of(place + 1, policy));
        let form = Self {
            is_new: false,
            id: group.id.to_string(),
            name: group.name.clone(),
            session_duration: options.session_duration,
            allowed_idps: options.allowed_idps.join("\n"),
            app_launcher_visible: options.app_launcher_visible,
            auto_redirect_to_identity: options.auto_redirect_to_identity,
            policies: policies.collect(),
        };
        form.with_room()
    }

    /// As a browser sent it.
    pub fn posted(fields: &Map<String, Value>) -> Self {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_ticked = |name: &str| text(name) == "yes";
        let policy = |number: usize| PolicyForm {
            number,
            name: text(&format!("policy-{number}")),
            decision: text(&format!("decision-{number}")),
            include: text(&format!("include-{number}")),
            require: text(&format!("require-{number}")),
            exclude: text(&format!("exclude-{number}")),
        };
        let sent = (1..=MOST).take_while(|number| fields.contains_key(&format!("include-{number}")));
        let form = Self {
            is_new: !is_ticked("is_known"),
            id: text("id"),
            name: text("name"),
            session_duration: text("session_duration"),
            allowed_idps: text("allowed_idps"),
            app_launcher_visible: is_ticked("app_launcher_visible"),
            auto_redirect_to_identity: is_ticked("auto_redirect_to_identity"),
            policies: sent.map(policy).collect(),
        };
        form.with_room()
    }

    /// With an empty policy at its end.
    fn with_room(mut self) -> Self {
        if self.policies.last().is_none_or(|last| !last.is_blank()) && self.policies.len() < MOST {
            let (number, decision) = (self.policies.len() + 1, "allow".to_owned());
            self.policies.push(PolicyForm { number, decision, ..PolicyForm::default() });
        }
        self
    }

    /// Returns the group that it describes, or everything in it that cannot be read.
    pub fn group(&self) -> Result<Group, Vec<String>> {
        let (mut wrong, mut policies) = (Vec::new(), Vec::new());
        let id = GroupId::parse(self.id.trim()).map_err(|error| wrong.push(error.to_string())).ok();
        for policy in self.policies.iter().filter(|policy| !policy.is_blank()) {
            match policy.spec() {
                Ok(spec) => policies.push(spec),
                Err(reasons) => wrong.extend(reasons),
            }
        }
        let Some(id) = id.filter(|_| wrong.is_empty()) else { return Err(wrong) };
        let name = Some(self.name.trim()).filter(|name| !name.is_empty()).unwrap_or(id.as_str()).to_owned();
        let allowed_idps = self.allowed_idps.lines().map(str::trim).filter(|line| !line.is_empty());
        let options = AppOptions {
            name: None,
            session_duration: self.session_duration.trim().to_owned(),
            app_launcher_visible: self.app_launcher_visible,
            allowed_idps: allowed_idps.map(str::to_owned).collect(),
            auto_redirect_to_identity: self.auto_redirect_to_identity,
        };
        let group = Group { id, name, options, policies };
        group.validate().map(|()| group)
    }
}

impl PolicyForm {
    fn of(number: usize, policy: &PolicySpec) -> Self {
        Self {
            number,
            name: policy.name.clone().unwrap_or_default(),
            decision: policy.decision.as_str().to_owned(),
            include: write_lines(&policy.include),
            require: write_lines(&policy.require),
            exclude: write_lines(&policy.exclude),
        }
    }

    /// True if nobody stands in it: it does not count.
    pub fn is_blank(&self) -> bool {
        [&self.include, &self.require, &self.exclude].iter().all(|lines| lines.trim().is_empty())
    }

    fn spec(&self) -> Result<PolicySpec, Vec<String>> {
        let mut wrong = Vec::new();
        let mut lines = |title: &str, text: &str| -> Vec<Selector> {
            let reasons = |reasons: Vec<String>| {
                wrong.extend(
                    reasons.iter().map(|reason| format!("policy {}, {title}, {reason}", self.number)),
                );
            };
            read_lines(text).map_err(reasons).unwrap_or_default()
        };
        let include = lines("anyone of", &self.include);
        let require = lines("who also", &self.require);
        let exclude = lines("except", &self.exclude);
        let decision: Option<Decision> = serde_json::from_value(json!(self.decision)).ok();
        if decision.is_none() {
            let word = repeated(&self.decision);
            wrong.push(format!("policy {}: `{word}` is no decision; choose one of the list", self.number));
        }
        match decision {
            Some(decision) if wrong.is_empty() => {
                let name = Some(self.name.trim().to_owned()).filter(|name| !name.is_empty());
                Ok(PolicySpec { name, decision, include, require, exclude })
            }
            _ => Err(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::read_group;

    fn fields(pairs: &[(&str, &str)]) -> Map<String, Value> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }

    #[test]
    fn a_group_comes_out_of_the_form_as_it_went_in() {
        let group = json!({
            "id": "staff", "name": "Staff <1>",
            "options": { "session_duration": "8h", "allowed_idps": ["Google", "Okta"], "app_launcher_visible": true },
            "policies": [
                { "decision": "bypass", "include": [{ "ip": { "ip": "10.0.0.0/8" } }] },
                { "name": "people", "decision": "allow",
                  "include": [{ "email": { "email": "a@example.com" } }, { "email_domain": { "domain": "example.com" } }],
                  "require": [{ "login_method": { "id": "Google" } }, { "github-organization": { "name": "acme" } }],
                  "exclude": [{ "geo": { "country_code": "DE" } }, { "service_token": { "token_id": "ci" } }] },
            ],
        });
        let group = read_group(None, group).unwrap();
        let form = GroupForm::of(&group);
        assert_eq!((form.policies.len(), form.policies[2].is_blank(), form.is_new), (3, true, false));
        assert_eq!(form.group().unwrap(), group);
        // And through a browser, which ends lines in its own way.
        let mut sent = fields(&[
            ("is_known", "yes"),
            ("id", "staff"),
            ("name", "Staff <1>"),
            ("session_duration", "8h"),
            ("allowed_idps", "Google\r\nOkta\r\n"),
            ("app_launcher_visible", "yes"),
        ]);
        for policy in &form.policies {
            for (name, text) in [
                ("policy", &policy.name),
                ("decision", &policy.decision),
                ("include", &policy.include),
                ("require", &policy.require),
                ("exclude", &policy.exclude),
            ] {
                sent.insert(format!("{name}-{}", policy.number), json!(text.replace('\n', "\r\n")));
            }
        }
        assert_eq!(GroupForm::posted(&sent).group().unwrap(), group);
    }

    #[test]
    fn what_cannot_be_read_names_policy_box_and_line() {
        let new = |include: &str, decision: &str| {
            GroupForm::posted(&fields(&[
                ("id", "staff"),
                ("session_duration", "24h"),
                ("decision-1", decision),
                ("include-1", include),
            ]))
        };
        let good = new("a@example.com", "allow").group().unwrap();
        assert_eq!((good.name.as_str(), good.policies.len()), ("staff", 1));
        for (form, words) in [
            (new("a@example.com\nnobody", "allow"), "policy 1, anyone of, line 2: `nobody` cannot be read"),
            (new("everyone", "maybe"), "policy 1: `maybe` is no decision"),
            (new("", "allow"), "nobody could come in"),
            (GroupForm { id: "My Group".into(), ..new("everyone", "allow") }, "id of a group"),
            (GroupForm { session_duration: "1d".into(), ..new("everyone", "allow") }, "`d` is no unit"),
            (GroupForm::empty(), "id of a group"),
        ] {
            let wrong = form.group().unwrap_err().join("; ");
            assert!(wrong.contains(words), "{wrong}");
        }
    }
}
