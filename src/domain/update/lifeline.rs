//! Packages that all containers of a host hang on, this program's own among them.

/// The Engine, and what starts and holds its containers.
const ENGINE: [&str; 4] = ["docker.io", "docker-ce", "docker-engine", "runc"];
/// Beginnings of further names of the same.
const ENGINE_BEGINS: [&str; 2] = ["containerd", "moby-"];

/// True for a package of the container Engine: installing it ends the Engine and starts it anew.
pub fn is_engine_package(name: &str) -> bool {
    ENGINE.contains(&name) || ENGINE_BEGINS.iter().any(|begin| name.starts_with(begin))
}

/// Returns what becomes of containers meanwhile, by the Engine's own settings; `daemon_json` is their file, if there is one.
pub fn while_engine_restarts(daemon_json: Option<&str>) -> &'static str {
    let settings = daemon_json.map(serde_json::from_str::<serde_json::Value>);
    match settings {
        Some(Ok(settings)) if settings["live-restore"] == true => {
            "the Engine is started anew; its containers go on meanwhile, since `live-restore` is set"
        }
        Some(Err(_)) => {
            "the Engine is started anew; whether its containers go on meanwhile is not known, since \
             `/etc/docker/daemon.json` cannot be read"
        }
        _ => {
            "the Engine is started anew and all its containers stop for it, since `live-restore` is not set in \
             `/etc/docker/daemon.json`"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_and_what_it_stands_on_are_known_by_their_names() {
        for (name, expected) in [
            ("docker.io", true),
            ("docker-ce", true),
            ("containerd", true),
            ("containerd.io", true),
            ("runc", true),
            ("moby-engine", true),
            ("docker-ce-cli", false),
            ("docker-compose-plugin", false),
            ("crun", false),
            ("nginx", false),
        ] {
            assert_eq!(is_engine_package(name), expected, "{name}");
        }
    }

    #[test]
    fn what_becomes_of_containers_is_told_by_the_engine_s_settings() {
        for (file, words) in [
            (None, "all its containers stop"),
            (Some("{}"), "all its containers stop"),
            (Some(r#"{"live-restore": false}"#), "all its containers stop"),
            (Some(r#"{"live-restore": true}"#), "go on meanwhile"),
            (Some("{"), "not known"),
        ] {
            assert!(while_engine_restarts(file).contains(words), "{file:?}");
        }
    }
}
