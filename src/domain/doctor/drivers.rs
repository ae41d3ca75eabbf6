//! Others that drive the same containers: they undo what an agent does, or serve the same names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Check, READ_STATE, listed};
use crate::domain::agent_tunnel::{AGENT_LABEL, CONTAINER_NAME, NEXT_NAME};
use crate::domain::id::TunnelId;

/// Watchtower's own image carries it.
const WATCHTOWER_LABEL: &str = "com.centurylinklabs.watchtower";

/// A container that runs on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// The Engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its image, as it names it.
    pub image: String,
    /// The words of its command.
    pub command: Vec<String>,
    /// The label that names an agent of ours.
    pub agent: Option<String>,
    /// True if it has Watchtower's label.
    pub is_watchtower: bool,
    /// The tunnel that it serves, if it runs `cloudflared` and that could be read.
    pub tunnel: Option<TunnelId>,
}

impl Running {
    /// Reads what concerns us of its labels.
    pub fn labelled<'a>(mut self, label: impl Fn(&str) -> Option<&'a String>) -> Self {
        self.agent = label(AGENT_LABEL).cloned();
        self.is_watchtower = label(WATCHTOWER_LABEL).is_some_and(|value| value == "true");
        self
    }

    /// True if it runs `cloudflared`, by its image.
    pub fn is_cloudflared(&self) -> bool {
        self.image_name().starts_with("cloudflared")
    }

    /// The image without registry, folders, tag and digest.
    fn image_name(&self) -> &str {
        let name = self.image.split('@').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        name.split(':').next().unwrap_or_default()
    }

    /// True if it is a DockFlare, master or agent, by its image.
    pub fn is_dockflare(&self) -> bool {
        self.image_name().contains("dockflare")
    }

    /// True if it is an agent of DockFlare.
    pub fn is_dockflare_agent(&self) -> bool {
        self.image_name().contains("dockflare-agent")
    }

    fn is_watchtower(&self) -> bool {
        self.is_watchtower || self.image_name().contains("watchtower")
    }

    fn is_agent(&self) -> bool {
        let runs_one = |word: &String| word == "agent" || word == "standalone";
        self.image_name().starts_with("lightship")
            && (self.command.is_empty() || self.command.iter().any(runs_one))
    }
}

/// Who looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The agent of this state directory, if one registered; in words why that cannot be read.
    pub agent: Result<Option<String>, String>,
    /// The tunnel of this host, if one is known; in words why that cannot be read.
    pub tunnel: Result<Option<TunnelId>, String>,
    /// The beginning of the id of the container that this runs in, if it runs in one.
    pub container: Option<String>,
}

/// Judges what runs on the host.
pub fn judge(running: &[Running], own: &Own) -> Vec<Check> {
    let mut checks: Vec<Check> = running.iter().filter_map(|one| other_driver(one, own)).collect();
    checks.extend(second_agent(running, own));
    checks.extend(running.iter().filter_map(|one| other_connector(one, own)));
    if checks.is_empty() {
        checks.push(Check::fine(
            "Others that drive containers",
            format!("none among {} that run", running.len()),
        ));
    }
    checks
}

fn other_driver(one: &Running, own: &Own) -> Option<Check> {
    let name = format!("Container `{}`", one.name);
    if one.is_dockflare() {
        return Some(Check::problem(
            name,
            "DockFlare runs here, and reads the same labels: both would claim the same names",
            format!("stop it with `docker stop {}` once this host's agent has its tunnel", one.name),
        ));
    }
    if one.is_watchtower() {
        return Some(Check::problem(
            name,
            "Watchtower runs here: it replaces containers by itself, also those that a run replaces at that moment",
            format!("stop it with `docker stop {}`, or have it leave out what Lightship updates", one.name),
        ));
    }
    let other = one.agent.as_ref().filter(|_| [CONTAINER_NAME, NEXT_NAME].contains(&one.name.as_str()))?;
    match &own.agent {
        Ok(Some(own)) if own != other => Some(Check::problem(
            name,
            format!("it is the connector of agent `{other}`, so a second agent drives this host"),
            "stop one of the two agents; each host has one",
        )),
        Ok(_) => None,
        Err(reason) => Some(Check::not_checked(
            name,
            format!("it is the connector of agent `{other}`, and nobody knows if that is this one: {reason}"),
            READ_STATE,
        )),
    }
}

fn second_agent(running: &[Running], own: &Own) -> Option<Check> {
    let is_own = |one: &Running| own.container.as_ref().is_some_and(|own| one.id.starts_with(own.as_str()));
    let others: Vec<String> =
        running.iter().filter(|one| one.is_agent() && !is_own(one)).map(|one| one.name.clone()).collect();
    // Who looks from outside of containers may look after one of them.
    let most = usize::from(own.container.is_none());
    (others.len() > most).then(|| {
        Check::problem(
            "Agents on this host",
            format!("more than one runs in a container: {}", listed(&others)),
            "stop all but one; each host has one agent",
        )
    })
}

fn other_connector(one: &Running, own: &Own) -> Option<Check> {
    if !one.is_cloudflared() || [CONTAINER_NAME, NEXT_NAME].contains(&one.name.as_str()) {
        return None;
    }
    let name = format!("Container `{}`", one.name);
    let tunnel = match &own.tunnel {
        Ok(Some(tunnel)) => tunnel,
        Ok(None) => {
            return Some(Check::not_checked(
                name,
                "it runs `cloudflared`, and no tunnel of this host is known yet, so nobody knows if it is for that one",
                "look again once the agent has its tunnel; two connectors of one tunnel share its requests",
            ));
        }
        Err(reason) => {
            let words =
                format!("it runs `cloudflared`, and nobody knows if it is for this host's tunnel: {reason}");
            return Some(Check::not_checked(name, words, READ_STATE));
        }
    };
    match &one.tunnel {
        Some(its) if its == tunnel => Some(Check::problem(
            name,
            "it runs `cloudflared` for the tunnel of this host, beside the agent's own connector: a part of the requests goes \
             through it, and reaches only what it reaches",
            format!("stop it with `docker stop {}` once the agent's connector is connected", one.name),
        )),
        Some(_) => None,
        None => Some(Check::not_checked(
            name,
            "it runs `cloudflared`, and for which tunnel cannot be read",
            "see whether it has the token of this host's tunnel; two connectors of one tunnel share its requests",
        )),
    }
}

/// Returns the tunnel that a token opens.
pub fn tunnel_of(token: &str) -> Option<TunnelId> {
    #[derive(Deserialize)]
    struct Token {
        t: TunnelId,
    }
    let bytes = STANDARD.decode(token.trim()).ok()?;
    serde_json::from_slice::<Token>(&bytes).ok().map(|token| token.t)
}

/// Returns the token among the words of a command, such as `--token X` or `--token=X`.
pub fn token_in(command: &[String]) -> Option<&str> {
    let mut words = command.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word.strip_prefix("--token") {
            Some("") => return words.next(),
            Some(rest) => {
                if let Some(token) = rest.strip_prefix('=') {
                    return Some(token);
                }
            }
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Fine, NotChecked, Problem};
    use super::*;

    fn running(name: &str, image: &str) -> Running {
        Running {
            id: format!("{name}-0123456789"),
            name: name.into(),
            image: image.into(),
            ..Running::default()
        }
    }

    fn own() -> Own {
        Own {
            agent: Ok(Some("a-1".into())),
            tunnel: Ok(Some(TunnelId::new("t-1"))),
            container: Some("me-0123".into()),
        }
    }

    fn found(list: &[Running], own: &Own) -> Vec<(Verdict, String)> {
        judge(list, own).into_iter().map(|check| (check.verdict, check.name)).collect()
    }

    #[test]
    fn each_kind_of_other_driver_is_known_by_what_it_is() {
        let connector = |name: &str, tunnel: Option<&str>| Running {
            tunnel: tunnel.map(TunnelId::new),
            ..running(name, "cloudflare/cloudflared:2025.9.0")
        };
        let labelled =
            |agent: &str| Running { agent: Some(agent.into()), ..connector(CONTAINER_NAME, Some("t-1")) };
        for (one, verdict) in [
            (running("web", "nginx:1"), Fine),
            (running("dockflare", "alplat/dockflare:stable"), Problem),
            (running("df-agent", "ghcr.io/x/dockflare-agent@sha256:ab"), Problem),
            (running("wt", "containrrr/watchtower"), Problem),
            (Running { is_watchtower: true, ..running("wt", "my/fork") }, Problem),
            (labelled("a-1"), Fine),
            (labelled("b-2"), Problem),
            (connector("tunnel", Some("t-1")), Problem),
            (connector("tunnel", Some("t-2")), Fine),
            (connector("tunnel", None), NotChecked),
            (running("me", "lightship:local"), Fine),
            (running("second", "registry:5000/lightship:1"), Problem),
        ] {
            let checks = found(std::slice::from_ref(&one), &own());
            assert_eq!(checks.len(), 1, "{checks:?}");
            assert_eq!(checks[0].0, verdict, "{one:?}: {checks:?}");
        }
    }

    #[test]
    fn a_connector_beside_a_tunnel_that_nobody_knows_is_not_fine() {
        let connector =
            Running { tunnel: Some(TunnelId::new("t-1")), ..running("tunnel", "cloudflare/cloudflared") };
        let labelled =
            Running { agent: Some("a-1".into()), ..running(CONTAINER_NAME, "cloudflare/cloudflared") };
        let unread = Own { agent: Err("damaged".into()), tunnel: Err("damaged".into()), ..own() };
        for (one, own, verdict) in [
            (&connector, Own { tunnel: Ok(None), ..own() }, NotChecked),
            (&connector, unread.clone(), NotChecked),
            (&labelled, unread.clone(), NotChecked),
            (&labelled, Own { tunnel: Ok(None), ..own() }, Fine),
            (&running("web", "nginx:1"), unread, Fine),
        ] {
            let checks = judge(std::slice::from_ref(one), &own);
            assert_eq!((checks.len(), checks[0].verdict), (1, verdict), "{one:?}: {checks:?}");
            assert_eq!(checks[0].detail.contains("damaged"), own.tunnel.is_err() && verdict == NotChecked);
        }
    }

    #[test]
    fn an_agent_that_looks_at_itself_from_outside_is_no_second_one() {
        let outside = Own { container: None, ..own() };
        let one = running("ship", "lightship:local");
        let master = Running { command: vec!["master".into()], ..running("desk", "lightship:local") };
        assert_eq!(found(&[one.clone(), master.clone()], &outside)[0].0, Fine);
        let two = [one, running("ship-2", "lightship:local"), master];
        assert_eq!(found(&two, &outside), [(Problem, "Agents on this host".to_owned())]);
    }

    #[test]
    fn a_tunnel_is_read_from_its_token_wherever_that_stands() {
        let token = STANDARD.encode(r#"{"a":"acc","t":"t-1","s":"c2VjcmV0"}"#);
        assert_eq!(tunnel_of(&format!(" {token}\n")), Some(TunnelId::new("t-1")));
        for bad in ["", "abc", "eyJhIjoxfQ=="] {
            assert_eq!(tunnel_of(bad), None, "{bad}");
        }
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (command, expected) in [
            (words(&["tunnel", "run", "--token", "T"]), Some("T")),
            (words(&["tunnel", "run", "--token=T"]), Some("T")),
            (words(&["tunnel", "run", "--token-file", "/x"]), None),
            (words(&["tunnel", "--token"]), None),
        ] {
            assert_eq!(token_in(&command), expected, "{command:?}");
        }
    }
}
