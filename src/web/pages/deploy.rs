//! What a person takes to a host: a compose file, a `docker run` line, or the bare command.

use actix_web::HttpRequest;

use crate::web::state::WebState;

/// Image that the lines name until a person sets another one.
const IMAGE: &str = "lightship:local";

/// Returns the address under which other hosts reach this master, as far as it can be known.
pub fn address(req: &HttpRequest, state: &WebState) -> String {
    match &state.settings().public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let scheme = if state.settings().secure_cookies { "https" } else { "http" };
            let host: String = state
                .host(req)
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || ".-:[]_".contains(*c))
                .take(255)
                .collect();
            format!("{scheme}://{host}")
        }
    }
}

/// The compose file that is in the repository too; it reads its values from `.env`.
const COMPOSE: &str = include_str!("../../../compose/agent.yaml");

/// Returns the compose file for one host, its values filled in. The agent reaches the Engine through a socket
/// proxy only.
pub fn compose(master: &str, key: &str, name: &str, prefix: Option<&str>) -> String {
    // What stands before the first empty comment says how to fill in what is filled in here.
    let (_, text) = COMPOSE.split_once("\n#\n").unwrap_or(("", COMPOSE));
    let filled = [("DOCKFLARE_MASTER_URL", master), ("DOCKFLARE_API_KEY", key), ("AGENT_DISPLAY_NAME", name)];
    let prefix = prefix.map(|prefix| ("LABEL_PREFIX", prefix));
    filled.into_iter().chain(prefix).fold(text.to_owned(), |text, (variable, value)| {
        text.replace(&format!("${{{variable}:-}}"), &quoted(value))
    })
}

/// Returns the one line for a host with Docker.
pub fn docker_run(master: &str, key: &str, prefix: Option<&str>) -> String {
    let (master, key) = (in_shell(master), in_shell(key));
    let prefix =
        prefix.map(|prefix| format!("-e LABEL_PREFIX={} \\\n  ", in_shell(prefix))).unwrap_or_default();
    format!(
        "docker run -d --name lightship-agent --restart unless-stopped \\\n  \
         -e DOCKFLARE_MASTER_URL={master} \\\n  -e DOCKFLARE_API_KEY={key} \\\n  \
         {prefix}-e LIGHTSHIP__TUNNEL__ON_SHUTDOWN=keep \\\n  \
         --group-add \"$(stat -c %g /var/run/docker.sock)\" -v /var/run/docker.sock:/var/run/docker.sock \\\n  \
         -v lightship-agent:/app/data {IMAGE} agent"
    )
}

/// Returns the line for a host that registers itself with a registration token.
pub fn with_token(master: &str, token: &str) -> String {
    let (master, token) = (in_shell(master), in_shell(token));
    format!("REDFLAG_SERVER_URL={master} REDFLAG_REGISTRATION_TOKEN={token} lightship agent")
}

/// Returns the line for a host without a container.
pub fn bare(master: &str, key: &str, prefix: Option<&str>) -> String {
    let (master, key) = (in_shell(master), in_shell(key));
    let prefix = prefix.map(|prefix| format!("LABEL_PREFIX={} ", in_shell(prefix))).unwrap_or_default();
    format!("DOCKFLARE_MASTER_URL={master} DOCKFLARE_API_KEY={key} {prefix}lightship agent")
}

/// One word of a shell, whatever is in it.
fn in_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A YAML string in double quotes; JSON's are the same for what may stand in a name.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_the_compose_file() {
        let text = compose("http://m:8080", "k", "a\"\n  privileged: true ${HOME}", None);
        assert!(text.contains(r#"AGENT_DISPLAY_NAME: "a\"\n  privileged: true $${HOME}""#), "{text}");
        assert!(!text.contains("\n  privileged"));
    }

    #[test]
    fn an_address_cannot_break_out_of_the_lines_that_people_paste() {
        let address = "http://m:8080/x';touch /tmp/x;'";
        let word = in_shell(address);
        assert_eq!(word.replace(r"'\''", ""), "'http://m:8080/x;touch /tmp/x;'");
        for line in [docker_run(address, "k", None), bare(address, "k", None)] {
            assert!(line.contains(&format!("DOCKFLARE_MASTER_URL={word} ")), "{line}");
        }
        assert!(
            bare("http://m:8080", "k", None)
                .starts_with("DOCKFLARE_MASTER_URL='http://m:8080' DOCKFLARE_API_KEY='k' ")
        );
    }

    #[test]
    fn the_compose_file_is_the_one_of_the_repository_with_its_values() {
        let text = compose("http://m:8080", "k-1", "web 1", Some("mine"));
        for line in [
            "      DOCKFLARE_MASTER_URL: \"http://m:8080\"",
            "      DOCKFLARE_API_KEY: \"k-1\"",
            "      AGENT_DISPLAY_NAME: \"web 1\"",
            "      LABEL_PREFIX: \"mine\"",
            "      DOCKER_HOST: tcp://docker-socket-proxy:2375",
        ] {
            assert!(text.lines().any(|own| own == line), "`{line}` is missing in {text}");
        }
        assert!(text.starts_with("# Who reaches the socket proxy is root on this host"), "{text}");
        assert_eq!(text.lines().count() + 3, COMPOSE.lines().count(), "nothing else is left out");
    }

    #[test]
    fn what_people_paste_mounts_the_engines_socket_and_nothing_else_of_the_host() {
        let socket = "/var/run/docker.sock:/var/run/docker.sock";
        let run = docker_run("http://m", "k", None);
        let mounts = run.split(" -v ").skip(1).map(|rest| rest.split_whitespace().next().unwrap_or_default());
        assert_eq!(mounts.collect::<Vec<_>>(), [socket, "lightship-agent:/app/data"]);
        let text = compose("http://m", "k", "web-1", None);
        let mounts: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with("- /")).collect();
        assert_eq!(mounts, [format!("      - {socket}:ro")]);
    }

    #[test]
    fn a_prefix_that_is_set_at_the_master_is_in_every_line_and_cannot_break_out_of_it() {
        for (prefix, shown) in [("mine", "LABEL_PREFIX='mine' "), ("a'b", r"LABEL_PREFIX='a'\''b' ")] {
            for line in [docker_run("http://m", "k", Some(prefix)), bare("http://m", "k", Some(prefix))] {
                assert!(line.contains(shown), "{line}");
            }
        }
        for line in [docker_run("http://m", "k", None), bare("http://m", "k", None)] {
            assert!(!line.contains("LABEL_PREFIX"), "{line}");
        }
    }
}
