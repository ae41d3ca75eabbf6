//! The connector's container, the network it joins, and whether services on the host are reached from it.

use super::{Check, READ_STATE};
use crate::domain::agent_tunnel::RunState;
use crate::domain::tunnel::CONTAINER_NAME;

/// The network that the connector is to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// It is there.
    There,
    /// It is made with the connector.
    Missing,
    /// Nobody could look, for this reason.
    Unknown(String),
}

/// The connector's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The agent that its label names.
    pub agent: Option<String>,
    /// Whether it runs.
    pub state: RunState,
    /// How often it was started again.
    pub restarts: u64,
    /// Its own network mode.
    pub network: String,
    /// Names that it has addresses for.
    pub hosts: Vec<String>,
    /// Connections to the edge, if it could be asked.
    pub connections: Option<u32>,
    /// The last words of one that does not run.
    pub last_words: Option<String>,
}

/// What was learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Name of the network by setting, and what is known of it.
    pub network: (String, Network),
    /// The container, if it is there; in words why nobody could look.
    pub container: Result<Option<Container>, String>,
    /// The agent of this state directory, if one registered; in words why that cannot be read.
    pub own_agent: Result<Option<String>, String>,
    /// True if this host is to have a tunnel; in words why that cannot be read.
    pub wants_tunnel: Result<bool, String>,
}

impl Facts {
    /// Judges them.
    pub fn judge(&self) -> Vec<Check> {
        let mut checks = vec![self.network()];
        match (&self.container, &self.wants_tunnel) {
            (Err(reason), _) => checks.push(Check::not_checked(
                "Connector",
                reason.clone(),
                "put right the way to the Engine first",
            )),
            (Ok(None), Err(reason)) => checks.push(Check::not_checked(
                "Connector",
                format!(
                    "there is no container `{CONTAINER_NAME}`, and nobody knows if one is wanted: {reason}"
                ),
                READ_STATE,
            )),
            (Ok(None), Ok(true)) => checks.push(Check::problem(
                "Connector",
                format!("this host has a tunnel, and there is no container `{CONTAINER_NAME}`"),
                "see that the agent runs: it makes the container, and its log says what hinders it",
            )),
            (Ok(None), Ok(false)) => {
                checks.push(Check::fine("Connector", "none is wanted: this host has no tunnel yet"));
            }
            (Ok(Some(container)), _) => {
                checks.push(self.owner(container).unwrap_or_else(|| running(container)));
                checks.extend(host_name(container));
            }
        }
        checks
    }

    fn network(&self) -> Check {
        let (network, state) = &self.network;
        let name = "Network of the connector";
        match state {
            Network::There => Check::fine(name, format!("`{network}`")),
            Network::Missing => {
                Check::fine(name, format!("`{network}` is not there yet; it is made with the connector"))
            }
            Network::Unknown(reason) => {
                Check::not_checked(name, reason.clone(), "put right the way to the Engine first")
            }
        }
    }

    /// A container of another agent is not repaired, so nothing else counts.
    fn owner(&self, container: &Container) -> Option<Check> {
        let other = container.agent.as_ref()?;
        let own = match &self.own_agent {
            Ok(own) => own.as_ref(),
            Err(reason) => {
                let words = format!(
                    "`{CONTAINER_NAME}` belongs to agent `{other}`, and nobody knows if that is this one: {reason}"
                );
                return Some(Check::not_checked("Connector", words, READ_STATE));
            }
        };
        (Some(other) != own).then(|| {
            let own = own.map_or_else(|| "none yet".to_owned(), |own| format!("`{own}`"));
            Check::problem(
                "Connector",
                format!("`{CONTAINER_NAME}` belongs to agent `{other}`, and the one of this state directory is {own}"),
                format!(
                    "stop the other agent, or remove the container with `docker rm -f {CONTAINER_NAME}` if that agent is \
                     gone; two agents on one host need a host each"
                ),
            )
        })
    }
}

fn running(container: &Container) -> Check {
    let name = "Connector";
    let words = container.last_words.as_ref().map(|words| format!("; it said: {words}")).unwrap_or_default();
    match (container.state, container.connections) {
        (RunState::Running, Some(0)) => Check::problem(
            name,
            "it runs, and has no connection to the edge",
            "see the ways to the edge; `docker logs` of the container says what it tries",
        ),
        (RunState::Running, Some(connections)) => {
            Check::fine(name, format!("it runs, with {connections} connections to the edge"))
        }
        (RunState::Running, None) => Check::not_checked(
            name,
            "it runs; whether it is connected could not be asked from here",
            "run this where its network is reached, or see `lightship routes`, which also knows Cloudflare's word",
        ),
        (RunState::Restarting, _) => Check::problem(
            name,
            format!("it ends again and again ({} times){words}", container.restarts),
            "see what it says with `docker logs`; a token that was revoked needs `lightship agents redeploy`",
        ),
        (RunState::Paused, _) => Check::problem(
            name,
            "it is paused",
            format!("let it go on with `docker unpause {CONTAINER_NAME}`"),
        ),
        (RunState::Created | RunState::Exited | RunState::Dead, _) => Check::problem(
            name,
            format!("it does not run{words}"),
            "see that the agent runs: it starts the container, and its log says what hinders it",
        ),
    }
}

/// Whether a service on the host is reached by the name that people know.
fn host_name(container: &Container) -> Option<Check> {
    const HOST: &str = "host.docker.internal";
    let is_known = container.hosts.iter().any(|host| host.split(':').next() == Some(HOST));
    match (container.network.as_str(), is_known) {
        ("host", _) => None,
        (_, true) => Some(Check::fine(HOST, "the connector reaches services of the host by this name")),
        (_, false) => Some(Check::problem(
            HOST,
            "the connector does not know the name, so `http://host.docker.internal:…` is no service for it",
            "run an agent of this version: it makes such a container anew",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Fine, NotChecked, Problem};
    use super::*;

    fn container() -> Container {
        Container {
            agent: Some("a-1".into()),
            state: RunState::Running,
            restarts: 0,
            network: "cloudflare-net".into(),
            hosts: vec!["host.docker.internal:host-gateway".into()],
            connections: Some(4),
            last_words: None,
        }
    }

    fn facts(container: Option<Container>) -> Facts {
        Facts {
            network: ("cloudflare-net".into(), Network::There),
            container: Ok(container),
            own_agent: Ok(Some("a-1".into())),
            wants_tunnel: Ok(true),
        }
    }

    fn verdicts(facts: &Facts) -> Vec<Verdict> {
        facts.judge().iter().map(|check| check.verdict).collect()
    }

    #[test]
    fn a_connector_is_judged_by_what_it_does() {
        for (found, expected) in [
            (Some(container()), vec![Fine, Fine, Fine]),
            (Some(Container { connections: Some(0), ..container() }), vec![Fine, Problem, Fine]),
            (Some(Container { connections: None, ..container() }), vec![Fine, NotChecked, Fine]),
            (Some(Container { state: RunState::Restarting, ..container() }), vec![Fine, Problem, Fine]),
            (Some(Container { state: RunState::Exited, ..container() }), vec![Fine, Problem, Fine]),
            (Some(Container { state: RunState::Paused, ..container() }), vec![Fine, Problem, Fine]),
            (Some(Container { hosts: vec![], ..container() }), vec![Fine, Fine, Problem]),
            (Some(Container { hosts: vec![], network: "host".into(), ..container() }), vec![Fine, Fine]),
            (None, vec![Fine, Problem]),
        ] {
            assert_eq!(verdicts(&facts(found.clone())), expected, "{found:?}");
        }
        assert_eq!(verdicts(&Facts { wants_tunnel: Ok(false), ..facts(None) }), [Fine, Fine]);
        let away = Facts {
            network: ("edge".into(), Network::Unknown("away".into())),
            container: Err("away".into()),
            ..facts(None)
        };
        assert_eq!(verdicts(&away), [NotChecked, NotChecked]);
    }

    #[test]
    fn what_the_state_directory_does_not_tell_is_not_fine() {
        let unknown = |found: Option<Container>| Facts {
            own_agent: Err("damaged".into()),
            wants_tunnel: Err("damaged".into()),
            ..facts(found)
        };
        for (found, expected) in [
            (None, vec![Fine, NotChecked]),
            (Some(container()), vec![Fine, NotChecked, Fine]),
            (Some(Container { agent: None, ..container() }), vec![Fine, Fine, Fine]),
        ] {
            let facts = unknown(found);
            assert_eq!(verdicts(&facts), expected, "{facts:?}");
            let checks = facts.judge();
            let open = checks.iter().filter(|check| check.verdict == NotChecked);
            assert!(open.into_iter().all(|check| check.detail.contains("damaged")), "{checks:?}");
        }
    }

    #[test]
    fn a_connector_of_another_agent_is_named_with_both() {
        let other = facts(Some(Container { agent: Some("b-2".into()), ..container() }));
        let check = &other.judge()[1];
        assert_eq!(check.verdict, Problem);
        assert!(check.detail.contains("`b-2`") && check.detail.contains("`a-1`"), "{}", check.detail);
        let unlabelled = facts(Some(Container { agent: None, ..container() }));
        assert_eq!(unlabelled.judge()[1].verdict, Fine, "a DockFlare agent's is taken over");
    }
}
