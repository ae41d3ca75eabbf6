//! What the Engine is asked to make, in the client's types.

use bollard::models::{
    ContainerCreateBody, HostConfig, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum,
};
use secrecy::ExposeSecret;

use super::types::NewConnector;

/// `cloudflared` waits up to 30 s for open requests.
const STOP_SECONDS: i64 = 35;

/// By which name a service on the host is reached, as people know it from other tools.
const HOST_NAME: &str = "host.docker.internal:host-gateway";

/// The container that a connector runs in.
pub(super) fn connector(new: &NewConnector) -> ContainerCreateBody {
    let mut env = vec![
        format!("TUNNEL_TOKEN={}", new.token.expose_secret()),
        format!("TUNNEL_METRICS={}", new.metrics),
    ];
    env.extend(new.options.variables().map(|(name, value)| format!("{name}={value}")));
    // In the host's own network the host's own names count.
    let hosts = (new.network != "host").then(|| vec![HOST_NAME.to_owned()]);
    let policy =
        RestartPolicy { name: Some(RestartPolicyNameEnum::UNLESS_STOPPED), maximum_retry_count: None };
    ContainerCreateBody {
        image: Some(new.image.clone()),
        cmd: Some(new.command.clone()),
        env: Some(env),
        labels: Some(new.labels.clone().into_iter().collect()),
        stop_timeout: Some(STOP_SECONDS),
        host_config: Some(HostConfig {
            network_mode: Some(new.network.clone()),
            restart_policy: Some(policy),
            extra_hosts: hosts,
            // `cloudflared` runs as a plain user and listens above 1024 only.
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A bridge network of ours.
pub(super) fn network(name: &str, labels: &[(&str, &str)]) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
        ..Default::default()
    }
}

/// Without tag and digest the Engine would pull every tag there is.
pub(super) fn with_tag(image: &str) -> String {
    let last_part = image.rsplit('/').next().unwrap_or(image);
    if last_part.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::agent_tunnel::ConnectorOptions;

    #[test]
    fn an_image_without_tag_means_the_latest() {
        let cases = [
            ("cloudflare/cloudflared", "cloudflare/cloudflared:latest"),
            ("host:5000/cloudflared", "host:5000/cloudflared:latest"),
            ("host:5000/cloudflared:1", "host:5000/cloudflared:1"),
            ("cloudflared@sha256:ab", "cloudflared@sha256:ab"),
        ];
        for (image, expected) in cases {
            assert_eq!(with_tag(image), expected);
        }
    }
    #[test]
    fn a_connector_may_nothing_and_reaches_its_host_by_name() {
        for (network, hosts) in [
            ("edge", Some(vec![HOST_NAME.to_owned()])),
            ("bridge", Some(vec![HOST_NAME.to_owned()])),
            ("host", None),
        ] {
            let body = connector(&NewConnector {
                name: "c".into(),
                image: "cloudflared".into(),
                command: Vec::new(),
                token: "t1".to_owned().into(),
                metrics: "0.0.0.0:20241".into(),
                options: ConnectorOptions::new(Some("http2"), None, None).unwrap(),
                network: network.into(),
                labels: std::collections::BTreeMap::new(),
            });
            let host = body.host_config.unwrap();
            assert_eq!(host.extra_hosts, hosts, "{network}");
            assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
            assert_eq!(host.security_opt, Some(vec!["no-new-privileges:true".to_owned()]));
            let env = ["TUNNEL_TOKEN=t1", "TUNNEL_METRICS=0.0.0.0:20241", "TUNNEL_TRANSPORT_PROTOCOL=http2"];
            assert_eq!(body.env.unwrap(), env);
        }
    }
}
