//! What registries send when somebody pushed: which tags hold something else now.

use std::collections::BTreeSet;

use serde_json::Value;

use super::reference::{DOCKER_HUB, Reference};

/// What a message about pushes says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushes {
    /// Each tag that was pushed, once.
    pub tags: BTreeSet<Reference>,
    /// How many there were whose names no image has.
    pub left_out: usize,
}

/// The forms of messages that are understood, for those whose message is none of them.
pub const PUSH_FORMS: &str = "the notifications of docker-registry (`events`), the webhooks of Docker Hub (`push_data`), Harbor \
     (`event_data`) and GitHub (`package`), and `{\"image\": \"ghcr.io/team/app:1\"}`";

/// Reads a message of a registry, or of a script that speaks for it; none if it has no form that is known.
///
/// Messages about something else than a push, and pushes without a tag, say nothing of any tag.
pub fn read_pushes(message: &Value) -> Option<Pushes> {
    let mut pushes = Pushes::default();
    for name in names(message)? {
        pushes.add(name);
    }
    Some(pushes)
}

/// What is said to be pushed, in the words of the message; none is what has no name.
fn names(message: &Value) -> Option<Vec<Option<String>>> {
    if let Some(events) = message["events"].as_array() {
        let pushes = events.iter().filter(|event| event["action"] == "push");
        return Some(pushes.filter_map(pushed).collect());
    }
    if let Some(resources) = message["event_data"]["resources"].as_array() {
        let is_push = matches!(message["type"].as_str(), Some("PUSH_ARTIFACT" | "pushImage"));
        let tagged = resources.iter().filter(|resource| is_push && is_filled(&resource["tag"]));
        return Some(tagged.map(|resource| text(&resource["resource_url"])).collect());
    }
    if message["push_data"].is_object() {
        let (repository, tag) = (&message["repository"]["repo_name"], &message["push_data"]["tag"]);
        return Some(is_filled(tag).then(|| named(DOCKER_HUB, repository, tag)).into_iter().collect());
    }
    let mut packages = ["package", "registry_package"].iter().filter_map(|of| message.get(of));
    if let Some(package) = packages.find(|package| package.is_object()) {
        let url = &package["package_version"]["package_url"];
        // One that was pushed by its digest only has an address without a tag.
        let is_tagged = is_filled(url) && !url.as_str().is_some_and(|url| url.ends_with(':'));
        return Some(is_tagged.then(|| text(url)).into_iter().collect());
    }
    if let Some(images) = message["images"].as_array() {
        return Some(images.iter().map(text).collect());
    }
    match &message["image"] {
        // GitHub says a saying when a webhook is set up.
        Value::Null => message["zen"].is_string().then(Vec::new),
        image => Some(vec![text(image)]),
    }
}

/// The name that docker-registry says of a push; layers and manifests without a tag are not looked at.
fn pushed(event: &Value) -> Option<Option<String>> {
    let target = &event["target"];
    let host = event["request"]["host"].as_str().unwrap_or_default();
    is_filled(&target["tag"]).then(|| named(host, &target["repository"], &target["tag"]))
}

fn named(registry: &str, repository: &Value, tag: &Value) -> Option<String> {
    Some(format!("{registry}/{}:{}", text(repository)?, text(tag)?))
        // Without a dot or a port it would be a folder at Docker Hub.
        .filter(|name| {
            registry == DOCKER_HUB || Reference::parse(name).is_ok_and(|read| read.registry != DOCKER_HUB)
        })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.trim().to_owned())
}

fn is_filled(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}

impl Pushes {
    fn add(&mut self, name: Option<String>) {
        let reference = name.and_then(|name| Reference::parse(&name).ok());
        match reference.filter(|reference| reference.digest.is_none()) {
            // As everybody writes it, so that each is there once.
            Some(reference) => self.tags.extend(Reference::parse(&reference.familiar())),
            None => self.left_out += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(action: &str, host: &str, repository: &str, tag: Option<&str>) -> Value {
        let mut target = json!({ "mediaType": "application/vnd.oci.image.index.v1+json", "repository": repository,
            "digest": "sha256:0123", "url": format!("http://{host}/v2/{repository}/manifests/sha256:0123") });
        if let Some(tag) = tag {
            target["tag"] = json!(tag);
        }
        json!({ "id": "320678d8", "timestamp": "2026-01-31T12:00:00Z", "action": action, "target": target,
            "request": { "id": "6df24a34", "addr": "10.0.0.9:51000", "host": host, "method": "PUT" },
            "actor": {}, "source": { "addr": "registry:5000" } })
    }

    fn github(url: &str) -> Value {
        json!({ "action": "published", "package": { "name": "app", "package_type": "CONTAINER",
            "package_version": { "package_url": url } } })
    }

    #[test]
    fn every_form_of_a_message_names_the_tags_that_were_pushed() {
        let harbor = |kind: &str| {
            json!({ "type": kind, "occur_at": 1, "operator": "bob", "event_data": { "resources": [
                { "digest": "sha256:0123", "tag": "1", "resource_url": "harbor.example/lib/app:1" },
                { "digest": "sha256:0123", "tag": "", "resource_url": "harbor.example/lib/app@sha256:0123" }] } })
        };
        let many = [
            event("push", "reg.example:5000", "team/app", Some("1")),
            event("push", "Reg.Example:5000", "team/app", Some("1")),
            event("push", "reg.example:5000", "team/app", Some("2")),
            // Its platforms and layers come with it.
            event("push", "reg.example:5000", "team/app", None),
            event("pull", "reg.example:5000", "team/other", Some("1")),
            event("delete", "reg.example:5000", "team/other", Some("1")),
        ];
        let hub = |tag: &str| {
            json!({ "callback_url": "https://registry.hub.docker.com/u/x/hook/1/",
                "push_data": { "pushed_at": 1, "pusher": "x", "tag": tag }, "repository": { "repo_name": "x/hook" } })
        };
        for (message, expected) in [
            (json!({ "events": many }), &["reg.example:5000/team/app:1", "reg.example:5000/team/app:2"][..]),
            (json!({ "events": [] }), &[]),
            (hub("latest"), &["x/hook:latest"]),
            (hub(""), &[]),
            (harbor("PUSH_ARTIFACT"), &["harbor.example/lib/app:1"]),
            (harbor("SCANNING_COMPLETED"), &[]),
            (github("ghcr.io/team/app:v1"), &["ghcr.io/team/app:v1"]),
            (github("ghcr.io/team/app:"), &[]),
            (json!({ "zen": "Keep it logically awesome.", "hook_id": 1 }), &[]),
            (json!({ "image": "docker.io/library/nginx" }), &["nginx:latest"]),
            (
                json!({ "images": ["nginx", "nginx:latest", "localhost:5000/a:b"] }),
                &["localhost:5000/a:b", "nginx:latest"],
            ),
        ] {
            let read = read_pushes(&message).unwrap_or_else(|| panic!("{message}"));
            let mut names: Vec<String> = read.tags.iter().map(Reference::familiar).collect();
            names.sort();
            assert_eq!(
                (names.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), read.left_out),
                (expected, 0),
                "{message}"
            );
        }
    }

    #[test]
    fn names_that_no_image_has_are_counted_and_harm_no_others() {
        let pinned = format!("a@sha256:{}", "0".repeat(64));
        for (message, left_out) in [
            (json!({ "events": [event("push", "registry", "team/app", Some("1"))] }), 1),
            (
                json!({ "events": [event("push", "", "app", Some("1")), event("push", "r.example", "A B", Some("1"))] }),
                2,
            ),
            (json!({ "events": [{ "action": "push", "target": { "tag": "1" } }, null, 7] }), 1),
            (json!({ "images": [1, null, "a b", "../x", pinned] }), 5),
            (json!({ "image": {} }), 1),
        ] {
            let read = read_pushes(&message).unwrap();
            assert_eq!((read.tags.len(), read.left_out), (0, left_out), "{message}");
        }
        let mixed = json!({ "images": ["a b", "nginx"] });
        assert_eq!(read_pushes(&mixed).unwrap().tags.len(), 1);
    }

    #[test]
    fn what_has_no_known_form_is_told_apart_from_what_says_nothing() {
        for message in
            [json!({}), json!([]), json!(null), json!("x"), json!({ "events": "x" }), json!({ "push": 1 })]
        {
            assert_eq!(read_pushes(&message), None, "{message}");
        }
    }
}
