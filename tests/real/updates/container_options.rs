//! What was said of a container in odd ways, and has to be there afterwards all the same.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, NetworkDisconnectRequest};
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::TryStreamExt;
use serde_json::json;

use super::container_verdicts::network;
use super::containers::{Host, outcome, well};

async fn installed(host: &Host, name: &str) -> bollard::models::ContainerInspectResponse {
    let before = host.look(name).await;
    let (code, run, errors) = host.install(name);
    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    let after = host.look(name).await;
    assert_ne!(after.image, before.image, "{name}");
    after
}

#[tokio::test]
async fn an_entry_point_that_was_reset_stays_reset() {
    let host = Host::start().await;
    let mut wrapped = well();
    wrapped["Entrypoint"] = json!(["/bin/sh", "-c", "echo the entry point; exit 9"]);
    host.push("app", "1.0", &wrapped).await;
    let own = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"].map(str::to_owned).to_vec();
    for (count, reset) in [vec![String::new()], Vec::new()].into_iter().enumerate() {
        let (cmd, entrypoint) = (Some(own.clone()), Some(reset));
        host.run("app", ContainerCreateBody { cmd, entrypoint, ..Default::default() }).await;
        host.push("app", &format!("1.{}", count + 1), &wrapped).await;

        let after = installed(&host, "app").await.config.unwrap();

        assert!(after.entrypoint.unwrap_or_default().is_empty());
        assert_eq!(after.cmd.as_ref(), Some(&own));
        host.engine.remove("app").await;
    }
    host.clear().await;
}

#[tokio::test]
async fn volumes_of_another_one_stay_when_that_one_was_made_anew_before() {
    let host = Host::start().await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["data", "app"] {
        host.push(name, "1.0", &well()).await;
    }
    let bind = format!("{}:/conf:ro", folder.path().display());
    let data = ContainerCreateBody {
        volumes: Some(vec!["/srv".to_owned()]),
        host_config: Some(HostConfig { binds: Some(vec![bind]), ..Default::default() }),
        ..Default::default()
    };
    let provider = host.run("data", data).await.id.unwrap();
    // As Compose writes it.
    let host_config = Some(HostConfig { volumes_from: Some(vec![provider]), ..Default::default() });
    let before = host.run("app", ContainerCreateBody { host_config, ..Default::default() }).await;
    let mounts = |container: &bollard::models::ContainerInspectResponse| {
        let mut mounts: Vec<_> = container
            .mounts
            .iter()
            .flatten()
            .map(|mount| (mount.destination.clone(), mount.source.clone(), mount.rw))
            .collect();
        mounts.sort();
        mounts
    };
    assert_eq!(mounts(&before).len(), 2);
    host.push("data", "1.1", &well()).await;
    installed(&host, "data").await;

    host.push("app", "1.1", &well()).await;
    let after = installed(&host, "app").await;

    assert_eq!(mounts(&after), mounts(&before), "what its provider was called leads nowhere");

    // One that is there is called by its name, so that it may be made anew.
    let provider = host.look("data").await.id.unwrap();
    host.engine.remove("app").await;
    let host_config = Some(HostConfig { volumes_from: Some(vec![provider]), ..Default::default() });
    host.run("app", ContainerCreateBody { host_config, ..Default::default() }).await;
    host.push("app", "1.2", &well()).await;
    let after = installed(&host, "app").await;
    assert_eq!(after.host_config.clone().unwrap().volumes_from.unwrap(), ["data"]);
    assert_eq!(mounts(&after), mounts(&before));
    host.clear().await;
}

#[tokio::test]
async fn a_container_for_another_processor_stays_one() {
    let host = Host::start().await;
    host.push("app", "1.0", &well()).await;
    let image = host.image("app");
    let options = CreateImageOptionsBuilder::default().from_image(&image).platform("linux/arm64").build();
    let pulled = host.engine.client().create_image(Some(options), None, None);
    pulled.try_for_each(|_| async { Ok(()) }).await.unwrap();
    let body = ContainerCreateBody { image: Some(image), ..Default::default() };
    host.engine.run_body("app", body).await;
    let architecture = async |id: &str| {
        host.engine.client().inspect_image(id).await.unwrap().architecture.unwrap_or_default()
    };
    assert_eq!(architecture(&host.look("app").await.image.unwrap()).await, "arm64");
    host.push("app", "1.1", &well()).await;
    // What the Engine has under the same digest for itself is not it, and this Engine keeps one for a digest.
    host.pull("app").await;
    let before = host.look("app").await;
    let (code, run, errors) = host.install("app");
    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "not_started"), "{reason} {errors}");
    assert!(reason.contains("could not be pulled"), "{reason}");
    assert_eq!(host.look("app").await.id, before.id);
    let force = RemoveImageOptionsBuilder::default().force(true).build();
    host.engine.client().remove_image(&host.image_id("app").await, Some(force), None).await.unwrap();

    let after = installed(&host, "app").await;

    assert_eq!(architecture(&after.image.unwrap()).await, "arm64");
    host.clear().await;
}

#[tokio::test]
async fn one_that_was_taken_out_of_all_networks_stays_out_and_compose_knows_what_it_built() {
    let host = Host::start().await;
    network(&host, "edge").await;
    let project = ("com.docker.compose.project".to_owned(), "shop".to_owned());
    let mut built = well();
    built["Labels"] = json!({ "com.docker.compose.project": "shop" });
    host.push("app", "1.0", &built).await;
    let host_config = Some(HostConfig { network_mode: Some("edge".into()), ..Default::default() });
    let labels = Some(HashMap::from([project.clone()]));
    host.run("app", ContainerCreateBody { host_config, labels, ..Default::default() }).await;
    let request = NetworkDisconnectRequest { container: "app".into(), force: None };
    host.engine.client().disconnect_network("edge", request).await.unwrap();
    host.push("app", "1.1", &well()).await;

    let after = installed(&host, "app").await;

    assert_eq!(after.network_settings.unwrap().networks.unwrap().len(), 0);
    assert_eq!(after.config.unwrap().labels.unwrap().get(&project.0), Some(&project.1));
    host.clear().await;
}
