//! Containers, as `lightship install` and `lightship rollback` replace them on a real Engine, with images of a real registry.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointIpamConfig, EndpointSettings, HealthConfig,
    HostConfig, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkingConfig, PortBinding,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{CreateImageOptionsBuilder, ListImagesOptions, RemoveImageOptionsBuilder};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::registry::parts::{Registry, Store, TwoPlatforms, Way, free_port};
use crate::support::docker::Engine;
use crate::support::ship::Rig;

/// Is well at once, and looked at often.
pub(super) fn well() -> Value {
    let second = 1_000_000_000_u64;
    json!({ "Healthcheck": { "Test": ["CMD-SHELL", "true"], "Interval": second / 5, "Timeout": 30 * second, "Retries": 3 } })
}

/// Is never well.
pub(super) fn ill() -> Value {
    let mut ill = well();
    ill["Healthcheck"]["Test"] = json!(["CMD-SHELL", "false"]);
    ill
}

/// A host with an Engine, and a registry that both reach under one name. It has no other package manager.
pub(super) struct Host {
    pub(super) engine: Engine,
    registry: Registry,
    for_the_engine: Registry,
    _store: Store,
    pub(super) state: tempfile::TempDir,
}

impl Host {
    pub(super) async fn start() -> Self {
        let engine = Engine::lease().await;
        let (store, port) = (Store::new(), free_port());
        let registry = Registry::start_at(&store, Way::Open, port, None).await;
        let for_the_engine = Registry::start_at(&store, Way::Open, port, Some(&engine.network())).await;
        Self { engine, registry, for_the_engine, _store: store, state: tempfile::tempdir().unwrap() }
    }

    pub(super) fn image(&self, name: &str) -> String {
        format!("{}/team/{name}:stable", self.registry.name())
    }

    /// Puts an image under the name's tag.
    pub(super) async fn push(&self, name: &str, version: &str, says: &Value) {
        self.registry.push(&format!("team/{name}"), "stable", &TwoPlatforms::saying(version, says)).await;
    }

    /// Has the Engine fetch what the tag holds now.
    pub(super) async fn pull(&self, name: &str) -> String {
        let image = self.image(name);
        let options = CreateImageOptionsBuilder::default().from_image(&image).build();
        let pulled = self.engine.client().create_image(Some(options), None, None);
        pulled.try_for_each(|_| async { Ok(()) }).await.unwrap();
        image
    }

    /// Runs what the tag holds now.
    pub(super) async fn run(&self, name: &str, body: ContainerCreateBody) -> ContainerInspectResponse {
        let image = self.pull(name).await;
        self.engine.run_body(name, ContainerCreateBody { image: Some(image), ..body }).await;
        self.look(name).await
    }

    pub(super) async fn look(&self, name: &str) -> ContainerInspectResponse {
        self.engine.inspect(name).await.unwrap_or_else(|| panic!("no container {name}"))
    }

    /// Its settings.
    pub(super) fn rig(&self) -> Rig {
        Rig::new("agent", self.state.path()).engine(&self.engine).env("PATH", "/nonexistent")
    }

    /// Says exit code, what was said as JSON, and what beside it.
    pub(super) fn verb(&self, args: &[&str]) -> (i32, Value, String) {
        let (code, out, errors) = self.rig().verb(args);
        (code, serde_json::from_str(&out).unwrap_or(Value::String(out)), errors)
    }

    /// The id of the plan for these names, and its lines.
    pub(super) fn plan(&self, names: &[&str]) -> (String, Vec<String>) {
        let (code, plan, errors) = self.verb(&[&["plan-updates", "--json"], names].concat());
        assert_eq!(code, 2, "{plan} {errors}");
        let line = |change: &Value| {
            let word = |key: &str| change[key].as_str().unwrap().to_owned();
            ["operation", "name", "from", "to"].map(word).join(" ")
        };
        let lines = plan["plan"]["changes"].as_array().unwrap().iter().map(line).collect();
        (plan["id"].as_str().unwrap().to_owned(), lines)
    }

    pub(super) fn install(&self, name: &str) -> (i32, Value, String) {
        self.verb(&["install", name, "--yes", "--json"])
    }

    pub(super) async fn running(&self) -> Vec<String> {
        let all = self.engine.containers().await;
        all.into_iter().map(|(name, state)| format!("{name} {state}")).collect()
    }

    pub(super) async fn image_id(&self, name: &str) -> String {
        self.engine.client().inspect_image(&self.image(name)).await.unwrap().id.unwrap()
    }

    /// Leaves the Engine without images of this test.
    pub(super) async fn clear(self) {
        let client = self.engine.client();
        for (name, _) in self.engine.containers().await {
            self.engine.remove(&name).await;
        }
        let force = RemoveImageOptionsBuilder::default().force(true).build();
        for image in client.list_images(None::<ListImagesOptions>).await.unwrap() {
            if image.repo_digests.iter().any(|digest| digest.starts_with(&self.registry.name())) {
                let _ = client.remove_image(&image.id, Some(force.clone()), None).await;
            }
        }
    }
}

pub(super) fn outcome(run: &Value) -> (&str, &str) {
    (run["run"]["outcome"].as_str().unwrap_or("-"), run["run"]["reason"].as_str().unwrap_or_default())
}

fn version_of(container: &ContainerInspectResponse) -> Vec<String> {
    let mut env = container.config.clone().unwrap().env.unwrap_or_default();
    env.sort();
    env
}

/// What must be the same before and after: volumes, networks, ports, and what a person said of it.
pub(super) fn lasting(container: &ContainerInspectResponse) -> Value {
    let container = serde_json::to_value(container).unwrap();
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    let mut mounts: Vec<String> = container["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| {
            format!("{} {}", mount["Name"].as_str().unwrap(), mount["Destination"].as_str().unwrap())
        })
        .collect();
    mounts.sort();
    let short = container["Id"].as_str().unwrap()[..12].to_owned();
    let networks = container["NetworkSettings"]["Networks"].as_object().unwrap();
    let networks: Value = networks
        .iter()
        .map(|(name, endpoint)| {
            let aliases = endpoint["Aliases"].as_array().into_iter().flatten();
            let aliases: Vec<&Value> = aliases.filter(|alias| **alias != short.as_str()).collect();
            (name.clone(), json!({ "aliases": aliases, "fixed": endpoint["IPAMConfig"]["IPv4Address"] }))
        })
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({
        "name": container["Name"], "image": config["Image"], "hostname": config["Hostname"], "mounts": mounts,
        "networks": networks, "ports": host["PortBindings"], "restart": host["RestartPolicy"]["Name"],
    })
}

/// Two networks, one with a fixed address, a port, a volume without a name, and a name of its own.
async fn rich(host: &Host) -> ContainerCreateBody {
    for (name, subnet) in [("edge", "10.77.1.0/24"), ("back", "10.77.2.0/24")] {
        let config = IpamConfig { subnet: Some(subnet.into()), ..Default::default() };
        let ipam = Ipam { config: Some(vec![config]), ..Default::default() };
        let request = NetworkCreateRequest { name: name.into(), ipam: Some(ipam), ..Default::default() };
        host.engine.client().create_network(request).await.unwrap();
    }
    let fixed = EndpointIpamConfig { ipv4_address: Some("10.77.1.9".into()), ..Default::default() };
    let endpoint = EndpointSettings {
        aliases: Some(vec!["api".into()]),
        ipam_config: Some(fixed),
        ..Default::default()
    };
    let port = PortBinding { host_ip: None, host_port: Some("18080".into()) };
    let policy = RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
    ContainerCreateBody {
        hostname: Some("my-host".into()),
        env: Some(vec!["OWN=1".into()]),
        labels: Some(HashMap::from([("own".to_owned(), "1".to_owned())])),
        host_config: Some(HostConfig {
            network_mode: Some("edge".into()),
            port_bindings: Some(HashMap::from([("80/tcp".to_owned(), Some(vec![port]))])),
            restart_policy: Some(policy),
            ..Default::default()
        }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([("edge".to_owned(), endpoint)])),
        }),
        ..Default::default()
    }
}

async fn run_rich(host: &Host) -> ContainerInspectResponse {
    let body = rich(host).await;
    host.run("app", body).await;
    let endpoint_config =
        Some(EndpointSettings { aliases: Some(vec!["inner".into()]), ..Default::default() });
    let request = NetworkConnectRequest { container: "app".into(), endpoint_config };
    host.engine.client().connect_network("back", request).await.unwrap();
    host.look("app").await
}

fn first() -> Value {
    json!({ "Env": ["PATH=/bin", "IMG_VER=1.0"], "Volumes": { "/data": {} } })
}

#[tokio::test]
async fn a_container_keeps_all_that_is_its_own_on_a_newer_image_and_goes_back_without_a_registry() {
    let host = Host::start().await;
    host.push("app", "1.0", &first()).await;
    let before = run_rich(&host).await;
    let mut second = well();
    second["Env"] = json!(["PATH=/bin", "IMG_VER=1.1"]);
    second["Volumes"] = json!({ "/data": {} });
    host.push("app", "1.1", &second).await;
    let (id, lines) = host.plan(&["app"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with(&format!("replace app {} sha256:", before.image.clone().unwrap())),
        "{lines:?}"
    );
    assert_eq!(host.look("app").await.id, before.id, "a plan changes nothing");

    let (code, run, errors) = host.verb(&["install", "--plan", &id, "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let after = host.look("app").await;
    assert_ne!(after.image, before.image);
    assert_eq!(version_of(&after), ["IMG_VER=1.1", "OWN=1", "PATH=/bin"]);
    let labels = after.config.clone().unwrap().labels.unwrap();
    assert_eq!((labels["own"].as_str(), labels["org.opencontainers.image.version"].as_str()), ("1", "1.1"));
    assert_eq!(lasting(&after), lasting(&before));
    assert_eq!(host.running().await, ["app running"]);
    assert_eq!(host.image_id("app").await, after.image.clone().unwrap(), "its name means what runs");
    let (code, _, _) = host.verb(&["plan-updates", "app", "--json"]);
    assert_eq!(code, 0, "nothing is newer any more");

    // The Engine reaches no registry any more.
    let Host { engine, registry, for_the_engine, _store, state } = host;
    drop(for_the_engine);
    let silent = Store::new();
    let host =
        Host { for_the_engine: Registry::start(&silent, Way::Open).await, engine, registry, _store, state };
    let run_id = run["run"]["id"].as_str().unwrap();
    let (code, undo, errors) = host.verb(&["rollback", run_id, "--yes", "--json"]);

    assert_eq!((code, outcome(&undo)), (0, ("verified", "")), "{errors}");
    let back = host.look("app").await;
    assert_eq!(back.image, before.image);
    assert_eq!(version_of(&back), ["IMG_VER=1.0", "OWN=1", "PATH=/bin"]);
    assert_eq!(lasting(&back), lasting(&before));
    assert_eq!(host.running().await, ["app running"]);
    host.clear().await;
}

#[tokio::test]
async fn an_image_that_dies_or_is_unwell_leaves_the_old_container_as_it_was_and_is_not_tried_again() {
    let dies = json!({ "Cmd": ["/bin/sh", "-c", "echo boom; exit 3"] });
    let mut unwell = well();
    unwell["Healthcheck"]["Test"] = json!(["CMD-SHELL", "echo no answer; exit 7"]);
    let mut hangs = unwell.clone();
    hangs["Healthcheck"]["StartPeriod"] = json!(1_000_000_000_u64);
    for (bad, words) in [
        (dies, &["app: it ended", "boom"][..]),
        (unwell, &["health check `echo no answer; exit 7` says unhealthy", "exit code 7", "no answer"]),
        (hangs, &["unhealthy", "no answer"]),
    ] {
        let host = Host::start().await;
        host.push("app", "1.0", &first()).await;
        let before = run_rich(&host).await;
        host.push("app", "1.1", &bad).await;

        let (code, run, errors) = host.install("app");

        let (word, reason) = outcome(&run);
        assert_eq!((code, word), (1, "rolled_back"), "{reason} {errors}");
        assert!(words.iter().all(|word| reason.contains(word)), "{reason}");
        let after = host.look("app").await;
        assert_eq!((&after.id, lasting(&after)), (&before.id, lasting(&before)));
        assert_eq!(host.running().await, ["app running"]);
        assert_eq!(host.image_id("app").await, before.image.unwrap(), "its name means what runs");
        let (code, plan, _) = host.verb(&["plan-updates", "--json"]);
        let left = &plan["plan"]["on_host"]["left_out"][0];
        assert_eq!((code, &left["name"]), (0, &"app".into()), "{plan}");
        assert!(left["reason"].as_str().unwrap().contains("failed here"), "{plan}");
        assert_eq!(host.plan(&["app"]).1.len(), 1, "by name it is");
        host.clear().await;
    }
}

#[tokio::test]
async fn one_that_takes_long_to_be_well_is_waited_for_and_a_check_follows_the_new_image_where_nothing_was_said()
 {
    let host = Host::start().await;
    host.push("app", "1.0", &ill()).await;
    // Only one field was said by a person.
    let own = HealthConfig { interval: Some(300_000_000), ..Default::default() };
    host.run("app", ContainerCreateBody { healthcheck: Some(own), ..Default::default() }).await;
    let mut slow = well();
    slow["Healthcheck"]["Test"] = json!(["CMD-SHELL", "[ -e /ready ]"]);
    slow["Healthcheck"]["StartPeriod"] = json!(30_000_000_000_u64);
    slow["Cmd"] = json!(["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 4; : > /ready; sleep 1000000 & wait"]);
    host.push("app", "1.1", &slow).await;

    let (code, run, errors) = host.install("app");

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let check = host.look("app").await.config.unwrap().healthcheck.unwrap();
    assert_eq!(check.test.unwrap()[1], "[ -e /ready ]");
    assert_eq!(check.interval, Some(300_000_000));
    host.clear().await;
}

pub(super) fn in_network_of(provider: &str) -> ContainerCreateBody {
    let host_config =
        Some(HostConfig { network_mode: Some(format!("container:{provider}")), ..Default::default() });
    ContainerCreateBody { host_config, ..Default::default() }
}

#[tokio::test]
async fn who_lives_in_anothers_network_goes_along_and_comes_back_with_it() {
    let host = Host::start().await;
    host.push("vpn", "1.0", &well()).await;
    host.push("app", "1.0", &well()).await;
    host.run("vpn", ContainerCreateBody::default()).await;
    let app = host.run("app", in_network_of("vpn")).await;
    host.push("vpn", "1.1", &well()).await;
    let (id, lines) = host.plan(&["vpn"]);
    let names: Vec<&str> = lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(names, ["app", "vpn"], "it is in the plan");

    let (code, run, errors) = host.verb(&["install", "--plan", &id, "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let mode =
        |container: &ContainerInspectResponse| container.host_config.clone().unwrap().network_mode.unwrap();
    let (vpn, new_app) = (host.look("vpn").await, host.look("app").await);
    assert_eq!(mode(&new_app), format!("container:{}", vpn.id.clone().unwrap()));
    assert_eq!(new_app.image, app.image);
    assert_eq!(host.running().await, ["app running", "vpn running"]);

    // One that fails brings both back, and who stands on it is in its network again.
    host.push("vpn", "1.2", &json!({ "Cmd": ["/bin/sh", "-c", "exit 4"] })).await;
    let (code, run, errors) = host.install("vpn");
    assert_eq!((code, outcome(&run).0), (1, "rolled_back"), "{errors}");
    let (back, app_back) = (host.look("vpn").await, host.look("app").await);
    assert_eq!((&back.id, &app_back.id), (&vpn.id, &new_app.id));
    let started = |container: &ContainerInspectResponse| container.state.clone().unwrap().started_at.unwrap();
    assert!(started(&app_back) > started(&back), "the network that it was in ended with the stop");
    assert_eq!(host.running().await, ["app running", "vpn running"]);
    host.clear().await;
}

#[tokio::test]
async fn lifelines_are_named_with_their_own_way_and_the_ordinary_one_beside_them_is_replaced() {
    let host = Host::start().await;
    let lifelines = ["docker-socket-proxy", "cloudflared"];
    for name in lifelines.into_iter().chain(["app"]) {
        host.push(name, "1.0", &well()).await;
        host.run(name, ContainerCreateBody::default()).await;
        host.push(name, "1.1", &well()).await;
    }
    let started = async |name: &str| host.look(name).await.state.unwrap().started_at.unwrap();
    let before = [started(lifelines[0]).await, started(lifelines[1]).await];

    let (code, plan, errors) = host.verb(&["plan-updates", "--all", "--json"]);
    assert_eq!(code, 2, "{errors}");
    let (code, run, errors) = host.verb(&["install", "--all", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let changes = plan["plan"]["changes"].as_array().unwrap();
    assert_eq!(changes.iter().map(|change| change["name"].as_str().unwrap()).collect::<Vec<_>>(), ["app"]);
    let left = plan["plan"]["on_host"]["left_out"].as_array().unwrap();
    let reason = |name: &str| {
        let left =
            left.iter().find(|left| left["name"] == name).unwrap_or_else(|| panic!("{name}: {left:?}"));
        left["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason("cloudflared").contains("CLOUDFLARED_IMAGE"));
    assert!(reason("docker-socket-proxy").contains("the Engine is reached through it"));
    assert_eq!([started(lifelines[0]).await, started(lifelines[1]).await], before, "no gap");
    let (code, named, errors) = host.verb(&["install", "cloudflared", "nobody", "--yes", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let left = named["plan"]["on_host"]["left_out"].as_array().unwrap();
    let reasons: Vec<&str> = left.iter().map(|left| left["reason"].as_str().unwrap()).collect();
    assert!(reasons[0].contains("CLOUDFLARED_IMAGE") && reasons[1].contains("has that name"), "{reasons:?}");
    host.clear().await;
}
