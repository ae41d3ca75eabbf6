//! The two commands: the one that puts Lightship in DockFlare's place, and the one that takes it back.
//!
//! They are for a person to read and to run. DockFlare is stopped and not removed, and its connector is left alone, so that
//! requests are served all the time and the way back is short.

/// Image that the commands name.
const IMAGE: &str = "lightship:local";

/// How DockFlare runs on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// The file with its variables.
    pub env_file: String,
    /// Names of the containers of a master that runs here.
    pub masters: Vec<String>,
    /// Names of the containers of agents that run here.
    pub agents: Vec<String>,
    /// The network of the first of them; where a socket proxy is reached by its name.
    pub network: Option<String>,
    /// True if the Engine is reached by a socket on this host.
    pub has_socket: bool,
    /// Name of the tunnel of this host.
    pub tunnel: Option<String>,
    /// The port that a master listens on with these variables.
    pub port: u16,
}

/// Returns the command to switch, and the one to switch back.
pub fn commands(setup: &Setup) -> (String, String) {
    let old: Vec<String> = setup.masters.iter().chain(&setup.agents).map(|name| word(name)).collect();
    let (stop, start) = match old.is_empty() {
        true => (String::new(), String::new()),
        false => {
            (format!("docker stop {} && ", old.join(" ")), format!(" && docker start {}", old.join(" ")))
        }
    };
    let engine = match setup.has_socket {
        true => {
            " --group-add \"$(stat -c %g /var/run/docker.sock)\" -v /var/run/docker.sock:/var/run/docker.sock"
        }
        false => "",
    };
    let network = setup.network.as_ref().map(|name| format!(" --network {}", word(name))).unwrap_or_default();
    // An agent goes on with the id and the tunnel that are in DockFlare's files; a master has files of its own.
    let (role, place) = match (setup.masters.is_empty(), setup.agents.first()) {
        (true, Some(agent)) => ("agent", format!(" --volumes-from {}", word(agent))),
        _ => {
            let tunnel =
                setup.tunnel.as_ref().map(|name| format!(" -e {}", word(&format!("TUNNEL_NAME={name}"))));
            let place =
                format!(" -p 8080:{} -v lightship-data:/app/data{}", setup.port, tunnel.unwrap_or_default());
            ("standalone", place)
        }
    };
    let run = format!(
        "docker run -d --name lightship --restart unless-stopped{network}{engine} --env-file {}{place} \
         -e LIGHTSHIP__TUNNEL__ON_SHUTDOWN=keep {IMAGE} {role}",
        word(&setup.env_file)
    );
    (format!("{stop}{run}"), format!("docker rm -f lightship{start}"))
}

/// One word of a shell, whatever is in it.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_is_followed_by_a_standalone_and_started_again() {
        let setup = Setup {
            env_file: ".env".into(),
            masters: vec!["dockflare".into()],
            agents: Vec::new(),
            network: Some("cloudflare-net".into()),
            has_socket: false,
            tunnel: Some("edge".into()),
            port: 5000,
        };
        let (switch, back) = commands(&setup);
        assert_eq!(
            switch,
            "docker stop dockflare && docker run -d --name lightship --restart unless-stopped --network cloudflare-net \
             --env-file .env -p 8080:5000 -v lightship-data:/app/data -e TUNNEL_NAME=edge -e LIGHTSHIP__TUNNEL__ON_SHUTDOWN=keep lightship:local standalone"
        );
        assert_eq!(back, "docker rm -f lightship && docker start dockflare");
    }

    #[test]
    fn an_agent_keeps_its_files_and_an_engine_is_reached_as_before() {
        let setup = Setup {
            env_file: "my env".into(),
            agents: vec!["dockflare-agent".into()],
            has_socket: true,
            ..Setup::default()
        };
        let (switch, back) = commands(&setup);
        for words in [
            "--env-file 'my env'",
            "--volumes-from dockflare-agent",
            "docker.sock:/var/run/docker.sock",
            "lightship:local agent",
        ] {
            assert!(switch.contains(words), "{words}: {switch}");
        }
        assert_eq!(back, "docker rm -f lightship && docker start dockflare-agent");
        let (switch, back) = commands(&Setup { env_file: "-x'y".into(), ..Setup::default() });
        assert!(switch.starts_with("docker run") && switch.contains(r"--env-file '-x'\''y'"), "{switch}");
        assert_eq!(back, "docker rm -f lightship");
    }
}
