//! Public names that stand behind what a plan changes.

use super::kind::Kind;
use super::plan::Changes;
use crate::domain::route::Route;

/// Returns those of a host's routes whose containers the plan replaces or makes anew: nobody may be answered there meanwhile.
pub fn routes_behind<'a>(changes: &Changes, routes: &'a [Route]) -> Vec<&'a Route> {
    let is_changed = |name: &str| changes.of(Kind::DockerImage).any(|change| change.name == name);
    routes.iter().filter(|route| is_changed(&route.container_name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::AccessAsk;
    use crate::domain::id::{AgentId, ContainerId};
    use crate::domain::route::{OriginRequest, RouteKey, RouteState, Service};
    use crate::domain::update::{Operation, PlannedChange};

    fn change(kind: Kind, name: &str, operation: Operation) -> PlannedChange {
        PlannedChange {
            kind,
            name: name.into(),
            arch: String::new(),
            operation,
            from: Some("a".into()),
            to: Some("b".into()),
            digest: Some("b".into()),
        }
    }

    fn route(container: &str, hostname: &str) -> Route {
        let key = RouteKey { hostname: hostname.into(), path: String::new() };
        Route {
            agent_id: AgentId::new("a1"),
            container_name: container.into(),
            container_id: ContainerId::new("c1"),
            spec: Service {
                key,
                service: "http://app:80".into(),
                origin_request: OriginRequest::default(),
                zone_name: None,
                access: AccessAsk::Nothing,
            },
            state: RouteState::Active,
        }
    }

    #[test]
    fn names_of_replaced_and_remade_containers_are_behind_a_plan_and_a_package_of_that_name_is_not() {
        let changes = Changes::new(vec![
            change(Kind::DockerImage, "web", Operation::Replace),
            change(Kind::Apt, "db", Operation::Upgrade),
        ])
        .unwrap();
        let routes =
            [route("web", "a.example.com"), route("web", "b.example.com"), route("db", "c.example.com")];

        let behind: Vec<String> =
            routes_behind(&changes, &routes).iter().map(|route| route.spec.key.to_string()).collect();

        assert_eq!(behind, ["a.example.com", "b.example.com"]);
    }
}
