//! From the client's types to ours.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum,
    EndpointSettings, EventMessage, EventMessageTypeEnum,
};
use chrono::DateTime;
use secrecy::SecretString;

use super::types::{ContainerDetails, EngineAction, EngineEvent};
use crate::domain::agent_tunnel::{OPTIONS, RunState};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::networks::Networks;

/// What we subscribe to events of.
pub(super) const TYPES: [&str; 2] = ["container", "network"];
/// The actions we subscribe to; `exec_*` and `health_status` would be most of the traffic.
pub(super) const ACTIONS: [&str; 10] =
    ["start", "unpause", "rename", "die", "stop", "destroy", "pause", "kill", "connect", "disconnect"];

/// Returns the event, or `None` if it is of no concern. The legacy top-level `id` is not looked at: newer
/// Engines do not send it.
pub(super) fn event(message: EventMessage) -> Option<EngineEvent> {
    let at = message.time_nano.map(DateTime::from_timestamp_nanos);
    if message.typ == Some(EventMessageTypeEnum::NETWORK) {
        let is_move = matches!(message.action?.as_str(), "connect" | "disconnect");
        let container = message.actor?.attributes?.remove("container").filter(|_| is_move)?;
        let (action, id) = (EngineAction::Networks, ContainerId::new(container));
        return Some(EngineEvent { action, id, attributes: BTreeMap::new(), at });
    }
    let action = match message.action?.as_str() {
        "start" => EngineAction::Start,
        "unpause" => EngineAction::Unpause,
        "rename" => EngineAction::Rename,
        "die" => EngineAction::Die,
        "stop" => EngineAction::Stop,
        "destroy" => EngineAction::Destroy,
        "pause" => EngineAction::Pause,
        "kill" => EngineAction::Kill,
        _ => return None,
    };
    let actor = message.actor?;
    Some(EngineEvent { action, id: ContainerId::new(actor.id?), attributes: sorted(actor.attributes), at })
}

/// Returns the container if it holds its place now: it runs, or it is paused.
pub(super) fn running_container(summary: ContainerSummary) -> Option<Container> {
    let state = summary.state?;
    if !matches!(state, ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED) {
        return None;
    }
    // A linked container has further names with a second slash; its own is the one without.
    let names = summary.names.unwrap_or_default();
    let name =
        names.iter().find_map(|n| n.strip_prefix('/').filter(|own| !own.contains('/'))).unwrap_or_default();
    Some(Container {
        id: ContainerId::new(summary.id?),
        name: name.to_owned(),
        labels: sorted(summary.labels),
        image: summary.image,
        status: Some(state.to_string()),
        networks: summary.network_settings.and_then(|settings| settings.networks).map(named),
    })
}

/// Returns what an inspection said, or `None` if it named no container.
pub(super) fn details(found: ContainerInspectResponse) -> Option<ContainerDetails> {
    let config = found.config.unwrap_or_default();
    let host = found.host_config.unwrap_or_default();
    let state = found.state.unwrap_or_default();
    let env = config.env.unwrap_or_default();
    let networks = found.network_settings.and_then(|n| n.networks).unwrap_or_default();
    let address = |text: Option<String>| text?.parse::<IpAddr>().ok();
    let addresses =
        networks.iter().map(|(name, end)| (name.clone(), address(end.ip_address.clone()))).collect();
    Some(ContainerDetails {
        id: ContainerId::new(found.id?),
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        token: variable(&env, "TUNNEL_TOKEN").map(SecretString::from),
        metrics: variable(&env, "TUNNEL_METRICS"),
        options: OPTIONS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), variable(&env, name)?)))
            .collect(),
        labels: sorted(config.labels),
        network: match host.network_mode.unwrap_or_default() {
            // What the Engine means by it, and lists it as.
            mode if mode == "default" => "bridge".to_owned(),
            mode => mode,
        },
        restart_policy: host.restart_policy.and_then(|p| p.name).map(|n| n.to_string()).unwrap_or_default(),
        addresses,
        networks: named(networks),
        state: run_state(state.status),
        exit_code: state.exit_code,
        error: state.error.filter(|text| !text.is_empty()),
        restarts: found.restart_count.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
    })
}

/// Returns the names that a container goes by on each network. Older Engines call them aliases.
fn named(networks: HashMap<String, EndpointSettings>) -> Networks {
    let names = |end: EndpointSettings| {
        end.aliases.into_iter().chain(end.dns_names).flatten().filter(|name| !name.is_empty()).collect()
    };
    networks.into_iter().map(|(network, end)| (network, names(end))).collect()
}

fn run_state(status: Option<ContainerStateStatusEnum>) -> RunState {
    match status {
        Some(ContainerStateStatusEnum::CREATED) => RunState::Created,
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING) => RunState::Running,
        Some(ContainerStateStatusEnum::PAUSED) => RunState::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => RunState::Restarting,
        Some(ContainerStateStatusEnum::EXITED) => RunState::Exited,
        Some(
            ContainerStateStatusEnum::REMOVING
            | ContainerStateStatusEnum::DEAD
            | ContainerStateStatusEnum::EMPTY,
        )
        | None => RunState::Dead,
    }
}

fn variable(env: &[String], name: &str) -> Option<String> {
    env.iter().find_map(|pair| {
        pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    })
}

fn sorted(map: Option<HashMap<String, String>>) -> BTreeMap<String, String> {
    map.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: serde_json::Value) -> Option<EngineEvent> {
        event(serde_json::from_value(json).unwrap())
    }

    #[test]
    fn events_of_old_and_new_engines_read_the_same() {
        let actor =
            serde_json::json!({"ID": "abc", "Attributes": {"name": "web", "image": "nginx", "a.b": "c"}});
        let old = serde_json::json!({"status": "start", "id": "abc", "from": "nginx", "Type": "container",
            "Action": "start", "Actor": actor, "scope": "local", "time": 1, "timeNano": 1_000_000_000});
        let new = serde_json::json!({"Type": "container", "Action": "start", "Actor": actor, "scope": "local",
            "time": 1, "timeNano": 1_000_000_000});

        let event = parsed(new).unwrap();

        assert_eq!(parsed(old).unwrap(), event);
        assert_eq!((event.action, event.id.as_str()), (EngineAction::Start, "abc"));
        assert_eq!(event.attributes["name"], "web");
        assert_eq!(event.at, DateTime::from_timestamp(1, 0));
    }

    #[test]
    fn events_without_an_actor_or_of_another_kind_are_left_out() {
        let cases = [
            serde_json::json!({"Type": "container", "Action": "start", "id": "abc"}),
            serde_json::json!({"Type": "container", "Action": "exec_create: sh", "Actor": {"ID": "abc"}}),
            serde_json::json!({"Type": "container", "Action": "start", "Actor": {"Attributes": {}}}),
        ];
        for case in cases {
            assert_eq!(parsed(case.clone()), None, "{case}");
        }
    }

    #[test]
    fn what_happens_to_its_networks_is_an_event_of_the_container() {
        let told = |action: &str, attributes: serde_json::Value| {
            parsed(serde_json::json!({"Type": "network", "Action": action, "timeNano": 1_000_000_000,
                "Actor": {"ID": "n1", "Attributes": attributes}}))
        };
        for action in ["connect", "disconnect"] {
            let event =
                told(action, serde_json::json!({"container": "abc", "name": "edge", "type": "bridge"}))
                    .unwrap();
            assert_eq!((event.action, event.id.as_str()), (EngineAction::Networks, "abc"));
            assert!(event.attributes.is_empty(), "the name there is the network's");
        }
        assert_eq!(told("destroy", serde_json::json!({"name": "edge"})), None);
        assert_eq!(told("connect", serde_json::json!({"name": "edge"})), None);
    }

    #[test]
    fn names_on_networks_are_read_in_the_words_of_old_and_new_engines() {
        let inspected: ContainerInspectResponse = serde_json::from_value(serde_json::json!({"Id": "abc",
            "NetworkSettings": {"Networks": {
                "old": {"Aliases": ["web", "abc"], "IPAddress": "10.0.0.2"},
                "new": {"Aliases": ["web"], "DNSNames": ["app", "web", "abc"]},
                "bridge": {"Aliases": null}}}}))
        .unwrap();
        let listed: ContainerSummary =
            serde_json::from_value(serde_json::json!({"Id": "abc", "State": "running",
            "NetworkSettings": {"Networks": {"old": {"Aliases": null, "IPAddress": "10.0.0.2"}}}}))
            .unwrap();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let expected =
            [("old", names(&["abc", "web"])), ("new", names(&["abc", "app", "web"])), ("bridge", names(&[]))];
        let expected: Networks = expected.map(|(network, names)| (network.to_owned(), names)).into();
        assert_eq!(details(inspected).unwrap().networks, expected);
        let networks = running_container(listed).unwrap().networks;
        assert_eq!(networks, Some(Networks::from([("old".to_owned(), names(&[]))])));
    }

    #[test]
    fn only_containers_that_hold_their_place_are_listed() {
        let summary = |state: &str| {
            serde_json::from_value::<ContainerSummary>(serde_json::json!({
                "Id": "abc", "Names": ["/other/alias", "/web"], "State": state, "Labels": {"a": "b"}}))
            .unwrap()
        };
        assert_eq!(running_container(summary("running")).unwrap().name, "web");
        assert!(running_container(summary("paused")).is_some());
        for state in ["created", "restarting", "exited", "dead", "removing"] {
            assert_eq!(running_container(summary(state)), None, "{state}");
        }
    }
}
