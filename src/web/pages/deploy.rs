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
            let info = req.connection_info();
            let scheme = if state.settings().secure_cookies { "https" } else { "http" };
            let host: String = info
                .host()
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || ".-:[]_".contains(*c))
                .take(255)
                .collect();
            format!("{scheme}://{host}")
        }
    }
}

/// Returns the compose file for one host. The agent reaches the Engine through a socket proxy only.
pub fn compose(master: &str, key: &str, name: &str) -> String {
    let name = quoted(name);
    format!(
        r#"services:
  lightship-agent:
    image: ${{LIGHTSHIP_IMAGE:-{IMAGE}}}
    command: ["agent"]
    restart: unless-stopped
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    environment:
      DOCKFLARE_MASTER_URL: "{master}"
      DOCKFLARE_API_KEY: "{key}"
      AGENT_DISPLAY_NAME: {name}
      DOCKER_HOST: tcp://docker-socket-proxy:2375
      CLOUDFLARED_NETWORK_NAME: cloudflare-net
      LIGHTSHIP__TUNNEL__ON_SHUTDOWN: keep
    volumes:
      - agent-data:/app/data
    networks: [docker-socket, agent-tunnel, default]
    depends_on: [docker-socket-proxy]
    stop_grace_period: 80s

  docker-socket-proxy:
    image: tecnativa/docker-socket-proxy:0.3
    restart: unless-stopped
    environment: {{CONTAINERS: 1, EVENTS: 1, IMAGES: 1, NETWORKS: 1, INFO: 1, PING: 1, VERSION: 1, POST: 1}}
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock:ro
    networks: [docker-socket]

volumes:
  agent-data:

networks:
  # Who reaches the socket proxy is root on the host: nothing else may join this network.
  docker-socket:
    internal: true
  agent-tunnel:
    name: cloudflare-net
"#
    )
}

/// Returns the one line for a host with Docker.
pub fn docker_run(master: &str, key: &str) -> String {
    format!(
        "docker run -d --name lightship-agent --restart unless-stopped \\\n  \
         -e DOCKFLARE_MASTER_URL='{master}' \\\n  -e DOCKFLARE_API_KEY='{key}' \\\n  \
         -e LIGHTSHIP__TUNNEL__ON_SHUTDOWN=keep \\\n  \
         --group-add \"$(stat -c %g /var/run/docker.sock)\" -v /var/run/docker.sock:/var/run/docker.sock \\\n  \
         -v lightship-agent:/app/data {IMAGE} agent"
    )
}

/// Returns the line for a host without a container.
pub fn bare(master: &str, key: &str) -> String {
    format!("DOCKFLARE_MASTER_URL='{master}' DOCKFLARE_API_KEY='{key}' lightship agent")
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
        let text = compose("http://m:8080", "k", "a\"\n  privileged: true ${HOME}");
        assert!(text.contains(r#"AGENT_DISPLAY_NAME: "a\"\n  privileged: true $${HOME}""#), "{text}");
        assert!(!text.contains("\n  privileged"));
    }
}
