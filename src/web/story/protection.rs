//! What stands before the hostname: what is asked for, and what of it was read back at Cloudflare.

use serde_json::Value;

use super::find::Owner;
use super::scene::Scene;
use super::times::moment;
use crate::db::read::AccessApplicationRow;
use crate::domain::access::{AccessAsk, PolicySpec, find_group};
use crate::domain::id::GroupId;
use crate::domain::route::RouteKey;
use crate::domain::story::Section;
use crate::domain::text::{beginning, spell_out};
use crate::web::state::WebState;

/// Most characters of one policy.
const WORDS: usize = 400;

pub(super) fn section(state: &WebState, scene: &Scene, key: &RouteKey) -> Section {
    let section = Section::new("Protection");
    let Some(spec) = scene.spec() else {
        return section.note(match scene.owner {
            Owner::Agent(_) => "Nothing is asked for: this agent does not hold the route.",
            Owner::Person => "Nothing is asked for: the rule is not there any more.",
        });
    };
    let section = section.fact("Asked for", spec.access.in_words());
    match &spec.access {
        AccessAsk::Nothing | AccessAsk::Public => left_over(section, scene),
        AccessAsk::Inherit => section.note(
            "It is left to the Access application of its zone, which is not ours: it is looked at whenever the tunnel is \
             compared, and the route waits while it is not there.",
        ),
        AccessAsk::Unreadable { .. } => closed(section, scene),
        AccessAsk::Groups { groups } => {
            let section = groups.iter().fold(section, |section, id| group(section, scene, id));
            application(state, section, scene, key)
        }
        AccessAsk::Own { policies, .. } => {
            let words = policies.iter().map(|policy| beginning(&policy.sentence(), WORDS));
            let section = words.fold(section, |section, words| section.fact("Asks", words));
            application(state, section, scene, key)
        }
    }
}

/// Nothing is asked for; what is ours there is on its way out.
fn left_over(section: Section, scene: &Scene) -> Section {
    match &scene.application {
        Some(row) => section
            .fact("Application", name_of(row))
            .note("Nothing asks for this application any more: it goes with the next pass over the tunnel."),
        None => section.note("None of ours is needed. What covers the whole zone covers it all the same."),
    }
}

fn group(section: Section, scene: &Scene, id: &GroupId) -> Section {
    match find_group(&scene.groups, id) {
        Some(group) => group
            .in_words()
            .into_iter()
            .fold(section, |section, words| section.fact(format!("Group {id}"), beginning(&words, WORDS))),
        None => {
            section.fact(format!("Group {id}"), "is not known; make it under Access, or ask for another one")
        }
    }
}

/// What we made at Cloudflare for it, as it was read back.
fn application(state: &WebState, section: Section, scene: &Scene, key: &RouteKey) -> Section {
    let Some(row) = &scene.application else {
        let section = section.fact("Application", format!("none of ours stands before `{key}` yet"));
        return closed(without_token(state, section), scene);
    };
    let mut section = section.fact("Application", name_of(row)).fact("Made", moment(row.created_at));
    let session = row.body.get("session_duration").and_then(Value::as_str);
    section = section.maybe("Session", session).maybe("Audience", row.aud.as_deref());
    for (place, id) in policy_ids(&row.body).into_iter().enumerate() {
        let title = format!("Policy {}", place + 1);
        section = match scene
            .policies
            .iter()
            .find(|policy| policy.policy_id.as_ref().is_some_and(|known| known.as_str() == id))
        {
            Some(policy) => {
                let stands = if policy.is_settled {
                    ""
                } else {
                    "; a change of it is under way, or its end is not known yet"
                };
                section.fact(
                    title,
                    format!(
                        "{}: {}{stands}",
                        spell_out(&policy.name),
                        beginning(&words_of(&policy.body), WORDS)
                    ),
                )
            }
            None => section.fact(title, format!("`{}`, which is not among ours", spell_out(id))),
        };
    }
    match row.is_settled && row.application_id.is_some() {
        true => section.note("This is what was read back at Cloudflare after it was written."),
        false => closed(
            section.note(
                "A call that makes, changes or removes it is under way, or its end is not known yet; above stands what may be \
                 there.",
            ),
            scene,
        ),
    }
}

/// What it waits for while its protection is not known to stand.
fn closed(section: Section, scene: &Scene) -> Section {
    let reason = scene.status.as_ref().and_then(|status| status.reason.as_deref());
    match reason {
        Some(reason) => section.fact("Waits for", scene.with_names(reason)),
        None => {
            section.fact("Waits for", "its turn: nothing is published before its protection was read back")
        }
    }
}

fn without_token(state: &WebState, section: Section) -> Section {
    match state.master().has_cloudflare() {
        true => section,
        false => section
            .note("There is no token for Cloudflare, so nothing is put in place and nothing is published."),
    }
}

fn name_of(row: &AccessApplicationRow) -> String {
    let name = row.body.get("name").and_then(Value::as_str).unwrap_or(&row.domain);
    match &row.application_id {
        Some(id) => format!("{} ({id}), before `{}`", spell_out(name), spell_out(&row.domain)),
        None => format!("{}, before `{}`; its id is not known yet", spell_out(name), spell_out(&row.domain)),
    }
}

/// The policies of an application, in their order.
fn policy_ids(body: &Value) -> Vec<&str> {
    let policies = body.get("policies").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    policies.iter().filter_map(|one| one.as_str().or_else(|| one.get("id").and_then(Value::as_str))).collect()
}

/// A policy as it was read back; what is no policy to us stands as it is.
fn words_of(body: &Value) -> String {
    match serde_json::from_value::<PolicySpec>(body.clone()) {
        Ok(policy) => policy.sentence(),
        Err(_) => body.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_are_found_by_their_ids_and_read_as_people_read_them() {
        let body = json!({ "policies": [{ "id": "p-1", "precedence": 1 }, "p-2", { "name": "inline" }] });
        assert_eq!(policy_ids(&body), ["p-1", "p-2"]);
        assert!(policy_ids(&json!({})).is_empty());

        let allow = json!({ "name": "x", "decision": "allow", "include": [{ "email": { "email": "a@x.io" } }], "require": [], "exclude": [] });
        assert_eq!(words_of(&allow), "lets in anyone of a@x.io");
        assert_eq!(words_of(&json!({ "decision": "new" })), r#"{"decision":"new"}"#);
    }
}
