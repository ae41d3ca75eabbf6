//! Which containers are replaced together and in which order, because one hangs on the other.

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
    /// Its project and service, if Compose made it.
    pub service: Option<(String, String)>,
    /// Services of the same project that Compose starts before it, each with how it hangs on them.
    pub depends_on: Vec<(String, Tie)>,
}

/// How a container hangs on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tie {
    /// It does not work without this very one: it shares its namespace, or is linked to it.
    StandsOn,
    /// Compose restarts it when the other one is another (`restart: true`).
    RestartsWith,
    /// Compose starts it after the other one.
    Follows,
}

impl Tie {
    /// True if it is made anew when the other one is.
    fn goes_along(self) -> bool {
        self != Self::Follows
    }

    /// Says it of a container, before the other one's name.
    pub fn words(self) -> &'static str {
        match self {
            Self::StandsOn => "it stands on",
            Self::RestartsWith => "Compose restarts it with",
            Self::Follows => "Compose starts it after",
        }
    }
}

/// Reads an inspection.
pub fn node(container: &Value) -> Node {
    let host = &container["HostConfig"];
    let shared = ["NetworkMode", "PidMode", "IpcMode"];
    let shared = shared.iter().filter_map(|key| host.get(key)?.as_str()?.strip_prefix("container:"));
    let links = host["Links"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let linked = links.filter_map(|link| Some(link.split_once(':')?.0.trim_start_matches('/')));
    let label =
        |name: &str| container["Config"]["Labels"].get(format!("com.docker.compose.{name}"))?.as_str();
    let is_one_off = label("oneoff").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let service = || Some((label("project")?.to_owned(), label("service")?.to_owned()));
    Node {
        id: id(container).to_owned(),
        name: container["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        stands_on: shared.chain(linked).map(str::to_owned).collect(),
        service: if is_one_off { None } else { service() },
        depends_on: depends_on(label("depends_on").unwrap_or_default(), &container["State"]),
    }
}

/// Reads `db:service_healthy:true,cache:service_started:false`. What does not run needs no restart.
fn depends_on(label: &str, state: &Value) -> Vec<(String, Tie)> {
    let runs = state["Running"] == true;
    let one = |text: &str| {
        let mut parts = text.split(':');
        let service = parts.next()?.trim();
        let tie = if runs && parts.nth(1) == Some("true") { Tie::RestartsWith } else { Tie::Follows };
        (!service.is_empty()).then(|| (service.to_owned(), tie))
    };
    label.split(',').filter_map(one).collect()
}

/// Returns what a container hangs on among `nodes`, each with how.
pub fn ties<'a>(nodes: &'a [Node], of: &Node) -> Vec<(&'a Node, Tie)> {
    let means = |text: &str, node: &Node| {
        node.name == text || node.id == text || text.len() >= 12 && node.id.starts_with(text)
    };
    let mut found: Vec<(&Node, Tie)> = of
        .stands_on
        .iter()
        .filter_map(|text| nodes.iter().find(|other| means(text, other)))
        .map(|other| (other, Tie::StandsOn))
        .collect();
    for (service, tie) in &of.depends_on {
        let is_it = |other: &&Node| {
            let project = of.service.as_ref().map(|(project, _)| project);
            other.service.as_ref().is_some_and(|(its, name)| Some(its) == project && name == service)
        };
        found.extend(nodes.iter().filter(is_it).map(|other| (other, *tie)));
    }
    found
}

/// Returns the ids of the wanted ones and of all that go along with them, in groups; in each, what others hang on comes
/// first.
pub fn groups(nodes: &[Node], wanted: &BTreeSet<String>) -> Vec<Vec<String>> {
    let below: BTreeMap<&str, Vec<(&str, Tie)>> = nodes
        .iter()
        .map(|node| {
            let ties = ties(nodes, node).into_iter();
            (node.id.as_str(), ties.map(|(other, tie)| (other.id.as_str(), tie)).collect())
        })
        .collect();
    // All that go along with one of them, until there are no more.
    let mut all: BTreeSet<&str> =
        nodes.iter().map(|node| node.id.as_str()).filter(|id| wanted.contains(*id)).collect();
    loop {
        let goes = |ties: &[(&str, Tie)]| ties.iter().any(|(id, tie)| tie.goes_along() && all.contains(id));
        let more = below.iter().filter(|(id, ties)| !all.contains(**id) && goes(ties));
        let more: Vec<&str> = more.map(|(id, _)| *id).collect();
        if more.is_empty() {
            break;
        }
        all.extend(more);
    }
    // In the order of their names, each after what it hangs on.
    let mut sorted: Vec<&Node> = nodes.iter().filter(|node| all.contains(node.id.as_str())).collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    let mut placed: Vec<&str> = Vec::new();
    while placed.len() < sorted.len() {
        let is_next = |node: &&&Node| {
            let id = node.id.as_str();
            let mut on = below.get(id).into_iter().flatten();
            !placed.contains(&id) && on.all(|(on, _)| !all.contains(on) || placed.contains(on))
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
        let hangs_on =
            |other: &String| below.get(id).is_some_and(|ties| ties.iter().any(|(on, _)| *on == other));
        let (own, others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(hangs_on));
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
    fn compose_s_order_counts_among_those_that_are_replaced_and_a_restart_takes_others_along() {
        let of = |letter: &str, service: &str, project: &str, depends_on: &str, runs: bool| {
            let mut container = container(letter, &format!("{project}-{service}-1"), json!({}));
            container["State"] = json!({ "Running": runs });
            container["Config"] = json!({ "Labels": { "com.docker.compose.project": project,
                "com.docker.compose.service": service, "com.docker.compose.depends_on": depends_on } });
            container
        };
        let containers = [
            of("a", "api", "shop", "db:service_healthy:false,cache:service_started:false", true),
            of("b", "cache", "shop", "", true),
            of("c", "db", "shop", "", true),
            of("d", "mail", "shop", "cache:service_started:true", true),
            of("e", "idle", "shop", "cache:service_started:true", false),
            of("f", "api", "other", "db:service_healthy:true", true),
        ];
        let nodes: Vec<Node> = containers.iter().map(node).collect();
        let grouped = |wanted: &[&str]| -> Vec<Vec<String>> {
            let name = |id: &String| nodes.iter().find(|node| node.id == *id).unwrap().name.clone();
            let wanted = wanted.iter().map(|letter| id_of(letter)).collect();
            groups(&nodes, &wanted).iter().map(|group| group.iter().map(name).collect()).collect()
        };
        for (wanted, expected) in [
            (vec!["c"], vec![vec!["shop-db-1"]]),
            (vec!["a"], vec![vec!["shop-api-1"]]),
            (vec!["a", "c"], vec![vec!["shop-db-1", "shop-api-1"]]),
            (vec!["b"], vec![vec!["shop-cache-1", "shop-mail-1"]]),
            (vec!["a", "b", "c"], vec![vec!["shop-cache-1", "shop-db-1", "shop-api-1", "shop-mail-1"]]),
            (vec!["c", "f"], vec![vec!["other-api-1"], vec!["shop-db-1"]]),
        ] {
            assert_eq!(grouped(&wanted), expected, "{wanted:?}");
        }
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
