//! Groups, and what a rule asks for, as people hand them in: in a call, in a file. What cannot be read names its field, the
//! reason and the way out: a slip must not let more people in than were meant.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::id::GroupId;
use super::super::text::repeated;
use super::ask::AccessAsk;
use super::group::{Group, system_groups};
use super::options::AppOptions;
use super::policy::{PolicySpec, parse_rules};

/// What a group holds.
const KNOWN: [&str; 4] = ["id", "name", "options", "policies"];
/// What is told of a group beside it: who takes a group, changes it and hands it in again need not remove these.
pub const TOLD: [&str; 7] =
    ["in_words", "is_built_in", "is_open_to_everyone", "set_at", "set_by", "routes", "routes_total"];
/// What the options of a group hold; its applications are called by their hostnames.
const KNOWN_OPTIONS: [&str; 4] =
    ["session_duration", "app_launcher_visible", "allowed_idps", "auto_redirect_to_identity"];
/// What the options of one application hold.
const OWN_OPTIONS: [&str; 5] =
    ["name", "session_duration", "app_launcher_visible", "allowed_idps", "auto_redirect_to_identity"];
/// Most bytes of a file of groups.
pub const MAX_FILE: usize = 1 << 20;
/// Most groups that are kept: each of their policies is one of the account's, which has room for 500.
pub const MAX_GROUPS: usize = 500;

const EXAMPLE: &str = r#"{"name":"Staff","policies":[{"decision":"allow","include":[{"email_domain":{"domain":"example.com"}}]}]}"#;

/// True if the group is always there and is nobody's to change.
pub fn is_built_in(id: &GroupId) -> bool {
    system_groups().iter().any(|group| group.id == *id)
}

/// Reads a group; `id` is the one that it is handed in under, if it is.
pub fn read_group(id: Option<&GroupId>, value: Value) -> Result<Group, Vec<String>> {
    let Value::Object(mut fields) = value else {
        return Err(vec![format!("a group is a JSON object, such as `{EXAMPLE}`")]);
    };
    fields.retain(|name, _| !TOLD.contains(&name.as_str()));
    let mut wrong: Vec<String> = unknown("", &fields, &KNOWN);
    let id = noting(&mut wrong, read_id(id, fields.get("id")));
    let name = noting(&mut wrong, read_name(id.as_ref(), fields.get("name")));
    let options = noting(&mut wrong, read_options(fields.remove("options"), &KNOWN_OPTIONS));
    let policies = noting(&mut wrong, read_policies(fields.remove("policies")));
    match (id, name, options, policies) {
        (Some(id), Some(name), Some(options), Some(policies)) if wrong.is_empty() => {
            let group = Group { id, name, options, policies };
            group.validate().map(|()| group)
        }
        _ => Err(wrong),
    }
}

/// Reads what is to protect a rule.
pub fn read_ask(value: Value) -> Result<AccessAsk, Vec<String>> {
    const KINDS: &str = "`nothing`, `public`, `inherit`, `groups` and `own`";
    let Value::Object(mut fields) = value else {
        return Err(vec![
            "it is no object; write such as `{\"kind\":\"groups\",\"groups\":[\"staff\"]}`".into(),
        ]);
    };
    let kind = fields.remove("kind");
    let Some(kind) = kind.as_ref().and_then(Value::as_str) else {
        return Err(vec![format!("`kind` is missing or no text; there are {KINDS}")]);
    };
    let known: &[&str] = match kind {
        "nothing" | "public" | "inherit" => &[],
        "groups" => &["groups"],
        "own" => &["options", "policies"],
        other => return Err(vec![format!("`{}` is no kind; there are {KINDS}", repeated(other))]),
    };
    let mut wrong = unknown_beside_kind(kind, &fields, known);
    let ask = match kind {
        "nothing" => Some(AccessAsk::Nothing),
        "public" => Some(AccessAsk::Public),
        "inherit" => Some(AccessAsk::Inherit),
        "groups" => noting(&mut wrong, read_group_ids(fields.get("groups")))
            .map(|groups| AccessAsk::Groups { groups }),
        _ => {
            let options = noting(&mut wrong, read_own_options(fields.remove("options")));
            let policies = noting(&mut wrong, read_policies(fields.remove("policies")));
            options.zip(policies).map(|(options, policies)| AccessAsk::Own { options, policies })
        }
    };
    ask.filter(|_| wrong.is_empty()).ok_or(wrong)
}

/// Reads a file of groups, a JSON array; what is wrong names the group.
pub fn read_groups(text: &str) -> Result<Vec<Group>, String> {
    let groups: Vec<Value> = serde_json::from_str(text).map_err(|error| {
        format!("this is no JSON array of groups ({error}); write `[{{\"id\":\"staff\",…}}]`")
    })?;
    if groups.len() > MAX_GROUPS {
        return Err(format!("{} groups are more than the {MAX_GROUPS} that are kept", groups.len()));
    }
    let (mut read, mut seen) = (Vec::new(), BTreeSet::new());
    for (number, value) in groups.into_iter().enumerate() {
        let named = match value.get("id").and_then(Value::as_str) {
            Some(id) => format!("group `{}`", repeated(id)),
            None => format!("group {} of the list", number + 1),
        };
        let group = read_group(None, value).map_err(|wrong| format!("{named}: {}", wrong.join("; ")))?;
        if is_built_in(&group.id) {
            return Err(format!("{named}: it is built in and stays as it is; choose another id"));
        }
        if !seen.insert(group.id.clone()) {
            return Err(format!("{named} stands there twice; remove one of them"));
        }
        read.push(group);
    }
    Ok(read)
}

/// Keeps what was read, or the reason why it was not.
fn noting<T>(wrong: &mut Vec<String>, read: Result<T, String>) -> Option<T> {
    read.map_err(|reason| wrong.push(reason)).ok()
}

fn unknown(within: &str, fields: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let names = fields.keys().filter(|name| !known.contains(&name.as_str()));
    names.take(5).map(|name| format!("`{within}{}` is not known; there are {list}", repeated(name))).collect()
}

fn read_id(given: Option<&GroupId>, field: Option<&Value>) -> Result<GroupId, String> {
    let field = match field {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(GroupId::parse(id).map_err(|error| format!("`id`: {error}"))?),
        Some(_) => return Err("`id` is no text; write such as `\"staff\"`".into()),
    };
    match (given, field) {
        (Some(given), Some(field)) if *given != field => {
            Err(format!("`id` is `{field}`, and the group is handed in as `{given}`; leave `id` out"))
        }
        (Some(id), _) => Ok(id.clone()),
        (None, Some(id)) => Ok(id),
        (None, None) => Err("`id` is missing; labels name the group by it, such as `\"staff\"`".into()),
    }
}

/// A group without a name is called by its id.
fn read_name(id: Option<&GroupId>, field: Option<&Value>) -> Result<String, String> {
    match field {
        None | Some(Value::Null) => Ok(id.map(ToString::to_string).unwrap_or_default()),
        Some(Value::String(name)) => Ok(name.trim().to_owned()),
        Some(_) => Err("`name` is no text; write such as `\"Staff\"`".into()),
    }
}

fn unknown_beside_kind(kind: &str, fields: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    match fields.keys().next().filter(|_| known.is_empty()) {
        Some(name) => vec![format!("`{}` does not belong to `{kind}`, which stands alone", repeated(name))],
        None => unknown("", fields, known),
    }
}

fn read_group_ids(field: Option<&Value>) -> Result<Vec<GroupId>, String> {
    let ids = field.and_then(Value::as_array).filter(|ids| !ids.is_empty());
    let read = |id: &Value| {
        GroupId::parse(id.as_str().unwrap_or_default()).map_err(|error| format!("`groups`: {error}"))
    };
    match ids {
        Some(ids) => ids.iter().map(read).collect(),
        None => Err("`groups` names no group; write such as `[\"staff\"]`".into()),
    }
}

fn read_policies(field: Option<Value>) -> Result<Vec<PolicySpec>, String> {
    match field {
        None => Err(format!("`policies` is missing; they say who comes in, as in `{EXAMPLE}`")),
        Some(policies) => {
            parse_rules(&policies.to_string()).map_err(|reason| format!("`policies`: {reason}"))
        }
    }
}

/// Those of one application, which may have a name.
fn read_own_options(field: Option<Value>) -> Result<AppOptions, String> {
    let options = read_options(field, &OWN_OPTIONS)?;
    options.check().map_err(|wrong| {
        wrong.into_iter().map(|reason| format!("`options`: {reason}")).collect::<Vec<_>>().join("; ")
    })?;
    Ok(options)
}

fn read_options(field: Option<Value>, known: &[&str]) -> Result<AppOptions, String> {
    let fields = match field {
        None | Some(Value::Null) => return Ok(AppOptions::default()),
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            return Err("`options` is no object; write such as `{\"session_duration\":\"24h\"}`".into());
        }
    };
    if let Some(reason) = unknown("options.", &fields, known).into_iter().next() {
        return Err(reason);
    }
    let read = serde_json::from_value(Value::Object(fields));
    read.map_err(|error| {
        let reason: String = error.to_string().chars().take(200).collect();
        format!("`options`: {reason}; write such as `{{\"session_duration\":\"24h\",\"allowed_idps\":[\"Google\"]}}`")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn staff() -> Value {
        json!({
            "id": "staff", "name": "Staff",
            "options": { "session_duration": "8h", "allowed_idps": ["Google"], "auto_redirect_to_identity": true },
            "policies": [{ "decision": "allow", "include": [{ "email_domain": { "domain": "example.com" } }] }],
        })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut group = staff();
        group[field] = value;
        group
    }

    #[test]
    fn a_group_is_read_as_it_is_told_and_as_briefly_as_it_can_be_said() {
        let id = GroupId::new("staff");
        let group = read_group(Some(&id), staff()).unwrap();
        assert_eq!((group.name.as_str(), group.options.session_duration.as_str()), ("Staff", "8h"));
        // What is told of it beside it may come back.
        let mut told = serde_json::to_value(&group).unwrap();
        for name in TOLD {
            told[name] = json!("x");
        }
        assert_eq!(read_group(None, told).unwrap(), group);
        let brief = json!({ "policies": [{ "decision": "block", "include": [{ "everyone": {} }] }] });
        let group = read_group(Some(&id), brief).unwrap();
        assert_eq!((group.name.as_str(), &group.options), ("staff", &AppOptions::default()));
    }

    #[test]
    fn what_cannot_be_read_names_field_reason_and_way_out() {
        let id = GroupId::new("staff");
        for (value, words) in [
            (json!([]), "a group is a JSON object, such as"),
            (json!({}), "`policies` is missing; they say who comes in"),
            (
                with("polices", json!([])),
                "`polices` is not known; there are `id`, `name`, `options`, `policies`",
            ),
            (with("id", json!("other")), "`id` is `other`, and the group is handed in as `staff`"),
            (with("id", json!("My Staff")), "`id`: "),
            (with("id", json!(1)), "`id` is no text"),
            (with("name", json!({})), "`name` is no text"),
            (with("name", json!(" ")), "name of a group"),
            (with("options", json!("24h")), "`options` is no object"),
            (
                with("options", json!({ "session": "24h" })),
                "`options.session` is not known; there are `session_duration`",
            ),
            (with("options", json!({ "name": "x" })), "`options.name` is not known"),
            (with("options", json!({ "session_duration": 24 })), "`options`: "),
            (with("options", json!({ "session_duration": "1d" })), "`session_duration`: `d` is no unit"),
            (with("options", json!({ "auto_redirect_to_identity": true })), "exactly one identity provider"),
            (with("policies", json!({})), "`policies`: an array of policies belongs here"),
            (with("policies", json!([])), "nobody could come in"),
            (
                with(
                    "policies",
                    json!([{ "decision": "allow", "include": [{ "email": { "email": "x" } }] }]),
                ),
                "policy 1: `x` is no e-mail address",
            ),
            (with("policies", json!([{ "decision": "maybe", "include": [] }])), "policy 1: "),
        ] {
            let wrong = read_group(Some(&id), value.clone()).unwrap_err().join("; ");
            assert!(wrong.contains(words) && wrong.len() < 900, "{value}: {wrong}");
        }
        let several = json!({ "id": 1, "name": 2, "policies": [] });
        assert_eq!(read_group(None, several).unwrap_err().len(), 3);
        let long = with(&"x".repeat(50_000), json!(1));
        assert!(read_group(None, long).unwrap_err().join("; ").len() < 400);
    }

    #[test]
    fn what_a_rule_asks_for_is_read_as_it_is_kept() {
        let own = json!({
            "kind": "own", "options": { "name": "Shop", "session_duration": "8h" },
            "policies": [{ "decision": "allow", "include": [{ "everyone": {} }], "require": [{ "geo": { "country_code": "DE" } }] }],
        });
        for value in [
            json!({ "kind": "nothing" }),
            json!({ "kind": "public" }),
            json!({ "kind": "inherit" }),
            json!({ "kind": "groups", "groups": ["staff", "family"] }),
            own.clone(),
        ] {
            let read = read_ask(value.clone()).unwrap();
            assert_eq!(serde_json::from_value::<AccessAsk>(value).unwrap(), read);
            assert_eq!(
                read_ask(serde_json::to_value(&read).unwrap()),
                Ok(read),
                "what is told may come back"
            );
        }
        let mut brief = own;
        brief.as_object_mut().unwrap().remove("options");
        assert!(
            matches!(read_ask(brief), Ok(AccessAsk::Own { options, .. }) if options == AppOptions::default())
        );
    }

    #[test]
    fn a_slip_in_what_a_rule_asks_for_is_refused_and_lets_nobody_in() {
        let policy = |more: Value| {
            let mut policy = json!({ "decision": "allow", "include": [{ "everyone": {} }] });
            policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            policy
        };
        let own = |more: Value| {
            let mut own = json!({ "kind": "own", "policies": [policy(json!({}))] });
            own.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            own
        };
        for (value, words) in [
            (json!([]), "it is no object"),
            (json!({}), "`kind` is missing"),
            (json!({ "kind": "everybody" }), "`everybody` is no kind; there are `nothing`"),
            (json!({ "kind": "unreadable", "reasons": [] }), "`unreadable` is no kind"),
            (json!({ "kind": "public", "groups": ["staff"] }), "`groups` does not belong to `public`"),
            (json!({ "kind": "groups", "group": ["staff"] }), "`group` is not known; there are `groups`"),
            (json!({ "kind": "groups" }), "`groups` names no group"),
            (json!({ "kind": "groups", "groups": [] }), "`groups` names no group"),
            (json!({ "kind": "groups", "groups": ["My Staff"] }), "`groups`: "),
            (json!({ "kind": "groups", "groups": [1] }), "`groups`: "),
            (json!({ "kind": "own" }), "`policies` is missing"),
            (own(json!({ "policies": [] })), "nobody could come in"),
            (
                own(
                    json!({ "policies": [policy(json!({ "requires": [{ "email": { "email": "a@example.com" } }] }))] }),
                ),
                "policy 1: `requires` cannot be set here",
            ),
            (own(json!({ "option": {} })), "`option` is not known; there are `options`, `policies`"),
            (own(json!({ "options": { "session": "1h" } })), "`options.session` is not known"),
            (own(json!({ "options": { "session_duration": "1d" } })), "`d` is no unit"),
        ] {
            let wrong = read_ask(value.clone()).expect_err(&value.to_string()).join("; ");
            assert!(wrong.contains(words), "{value}: {wrong}");
        }
    }

    #[test]
    fn a_file_of_groups_is_read_as_a_whole_or_says_which_group_is_wrong() {
        let text = json!([staff(), with("id", json!("family"))]).to_string();
        let ids: Vec<_> = read_groups(&text).unwrap().into_iter().map(|group| group.id.to_string()).collect();
        assert_eq!(ids, ["staff", "family"]);
        assert_eq!(read_groups("[]").unwrap(), []);
        for (text, words) in [
            ("{}".to_owned(), "no JSON array of groups"),
            ("[{]".to_owned(), "line 1"),
            (json!([staff(), staff()]).to_string(), "group `staff` stands there twice"),
            (json!([{ "policies": [] }]).to_string(), "group 1 of the list: `id` is missing"),
            (json!([with("policies", json!([]))]).to_string(), "group `staff`: "),
            (
                json!([with("id", json!("public-default-bypass"))]).to_string(),
                "group `public-default-bypass`: it is built in",
            ),
            (json!([1]).to_string(), "group 1 of the list: a group is a JSON object"),
            (Value::from(vec![staff(); 501]).to_string(), "501 groups are more than the 500"),
        ] {
            let said = read_groups(&text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }

    #[test]
    fn built_in_groups_are_known_by_their_ids() {
        assert!(
            is_built_in(&GroupId::new("public-default-bypass"))
                && is_built_in(&GroupId::new("authenticated-default"))
        );
        assert!(!is_built_in(&GroupId::new("staff")));
    }
}
