//! What the Engine is asked to make, in the client's types.

use bollard::models::{
    ContainerCreateBody, HostConfig, NetworkCreateRequest, RestartPolicy, RestartPolicyNameEnum,
};
use secrecy::ExposeSecret;

use super::types::NewConnector;

/// `cloudflared` waits up to 30 s for open requests.
const STOP_SECONDS: i64 = 35;

/// The container that a connector runs in.
pub(super) fn connector(new: &NewConnector) -> ContainerCreateBody {
    let env = vec![
        format!("TUNNEL_TOKEN={}", new.token.expose_secret()),
        format!("TUNNEL_METRICS={}", new.metrics),
    ];
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
}
