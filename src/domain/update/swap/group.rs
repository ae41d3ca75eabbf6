//! Which containers are replaced together, because one stands on the other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::anew::id;

/// A container and what it names of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Others that it shares a namespace with or is linked to, by id, the beginning of it, or name.
    pub stands_on: Vec<String>,
}

/// Reads an inspection.
pub fn node(container: &Value) -> Node {
    let host = &container["HostConfig"];
    let shared = ["NetworkMode", "PidMode", "IpcMode"];
    let shared = shared.iter().filter_map(|key| host.get(key)?.as_str()?.strip_prefix("container:"));
    let links = host["Links"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let linked = links.filter_map(|link| Some(link.split_once(':')?.0.trim_start_matches('/')));
    Node {
        id: id(container).to_owned(),
        name: container["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        stands_on: shared.chain(linked).map(str::to_owned).collect(),
    }
}

/// Returns the ids of the wanted ones and of all that stand on them, in groups; in each, what others stand on comes first.
pub fn groups(nodes: &[Node], wanted: &BTreeSet<String>) -> Vec<Vec<String>> {
    let means = |text: &str, node: &Node| {
        node.name == text || node.id == text || text.len() >= 12 && node.id.starts_with(text)
    };
    let below = |node: &Node| -> Vec<&str> {
        let found = node.stands_on.iter().filter_map(|text| nodes.iter().find(|other| means(text, other)));
        found.map(|other| other.id.as_str()).collect()
    };
    let below: BTreeMap<&str, Vec<&str>> = nodes.iter().map(|node| (node.id.as_str(), below(node))).collect();
    // All that stand on one of them, until there are no more.
    let mut all: BTreeSet<&str> =
        nodes.iter().map(|node| node.id.as_str()).filter(|id| wanted.contains(*id)).collect();
    loop {
        let more =
            below.iter().filter(|(id, on)| !all.contains(**id) && on.iter().any(|id| all.contains(id)));
        let more: Vec<&str> = more.map(|(id, _)| *id).collect();
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    // In the order of their names, each after what it stands on.
    let mut sorted: Vec<&Node> = nodes.iter().filter(|node| all.contains(node.id.as_str())).collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    let mut placed: Vec<&str> = Vec::new();
    while placed.len() < sorted.len() {
        let is_next = |node: &&&Node| {
            let id = node.id.as_str();
            !placed.contains(&id)
                && below.get(id).into_iter().flatten().all(|on| !all.contains(on) || placed.contains(on))
        };
        let is_left = |node: &&&Node| !placed.contains(&node.id.as_str());
        // No Engine makes a circle; if there is one, its order does not matter.
        match sorted.iter().find(is_next).or_else(|| sorted.iter().find(is_left)) {
            Some(node) => placed.push(&node.id),
            None => break,
        }
    }
    let mut groups: Vec<Vec<String>> = Vec::new();
    for id in placed {
        let (own, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| {
            group.iter().any(|other| below.get(id).is_some_and(|on| on.contains(&other.as_str())))
        });
        let mut group: Vec<String> = own.into_iter().flatten().collect();
        group.push(id.to_owned());
        groups = others;
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id_of(letter: &str) -> String {
        letter.repeat(64)
    }

    fn container(letter: &str, name: &str, host: Value) -> Value {
        json!({ "Id": id_of(letter), "Name": format!("/{name}"), "HostConfig": host })
    }

    fn grouped(wanted: &[&str]) -> Vec<Vec<String>> {
        let on = |letter: &str| json!({ "NetworkMode": format!("container:{}", id_of(letter)) });
        let containers = [
            container("a", "app", on("f")),
            container("b", "app2", json!({ "NetworkMode": "edge", "PidMode": "container:app" })),
            container("c", "linked", json!({ "NetworkMode": "bridge", "Links": ["/vpn:/linked/v"] })),
            container("d", "alone", json!({ "NetworkMode": "host" })),
            container("f", "vpn", json!({ "NetworkMode": "bridge" })),
        ];
        let nodes: Vec<Node> = containers.iter().map(node).collect();
        let name = |id: &String| nodes.iter().find(|node| node.id == *id).unwrap().name.clone();
        let wanted = wanted.iter().map(|letter| id_of(letter)).collect();
        groups(&nodes, &wanted).iter().map(|group| group.iter().map(name).collect()).collect()
    }

    #[test]
    fn who_stands_on_a_replaced_one_goes_along_after_it_and_once() {
        for (wanted, expected) in [
            (vec!["d"], vec![vec!["alone"]]),
            (vec!["b"], vec![vec!["app2"]]),
            (vec!["a"], vec![vec!["app", "app2"]]),
            (vec!["f"], vec![vec!["vpn", "app", "app2", "linked"]]),
            (vec!["a", "f"], vec![vec!["vpn", "app", "app2", "linked"]]),
            (vec!["b", "d"], vec![vec!["alone"], vec!["app2"]]),
        ] {
            assert_eq!(grouped(&wanted), expected, "{wanted:?}");
        }
    }
}
