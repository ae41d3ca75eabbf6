//! The image and the compose files, without any network.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ExecConfig, HealthConfig, HealthStatusEnum, HostConfig};
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, InspectContainerOptions, LogsOptionsBuilder,
};
use futures_util::TryStreamExt;
use parking_lot::Mutex;

use crate::support::docker::Engine;
use crate::support::ship::binary;
use crate::support::until::until;

const IMAGE: &str = "lightship-test/lightship:image";

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds the image as `image`, with these variables.
fn build_image(engine: &Engine, image: &str, env: &[(&str, &str)]) {
    // The script lays the files out in one folder of the project.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock();
    let built = Command::new("scripts/image")
        .arg(binary())
        .current_dir(project())
        .env("DOCKER_HOST", engine.docker_host())
        // The Engine's own builder: the newer one is not part of Debian's packages.
        .env("DOCKER_BUILDKIT", "0")
        .env("LIGHTSHIP_IMAGE", image)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

#[tokio::test]
async fn the_image_runs_read_only_as_an_ordinary_user() {
    let engine = Engine::lease().await;
    build_image(&engine, IMAGE, &[]);
    // when: as compose/master.yaml runs it
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["master".to_owned()]),
        env: Some(vec!["TZ=Asia/Kolkata".to_owned()]),
        host_config: Some(HostConfig {
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            ..Default::default()
        }),
        ..Default::default()
    };
    engine.run_body("ship", body).await;
    // then
    until("it is healthy", || async {
        let health = exec(&engine, "ship", &["/usr/bin/lightship", "health"]).await;
        (health == Some(0)).then_some(())
    })
    .await;
    let log = log_of(&engine, "ship").await;
    assert!(log.contains("+05:30"), "local time, as TZ says:\n{log}");
    let found = engine.client().inspect_container("ship", None::<InspectContainerOptions>).await.unwrap();
    assert_eq!(found.config.unwrap().user.as_deref(), Some("65532:65532"));
    let changes = engine.client().container_changes("ship").await.unwrap().unwrap_or_default();
    assert!(changes.iter().all(|change| change.path.starts_with("/app")), "{changes:?}");
    let bundle = file_in(&engine, "ship", "/etc/ssl/certs/ca-certificates.crt").await;
    assert!(bundle.contains("BEGIN CERTIFICATE"));
    let address = address_of(&engine, "ship").await;
    // Installed already, if another test was first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let answer = reqwest::get(format!("http://{address}:8080/readyz")).await.unwrap();
    assert_eq!(answer.status(), 200);
    engine.stop("ship").await;
    let ended = engine.inspect("ship").await.unwrap().state.unwrap();
    assert_eq!(ended.exit_code, Some(0), "{}", log_of(&engine, "ship").await);
}

#[tokio::test]
async fn the_image_can_be_made_for_another_user_and_says_itself_that_it_is_healthy() {
    let engine = Engine::lease().await;
    let image = "lightship-test/lightship:1234";
    build_image(&engine, image, &[("DOCKFLARE_UID", "1234"), ("DOCKFLARE_GID", "1234")]);
    let config = engine.client().inspect_image(image).await.unwrap().config.unwrap();
    let check = config.healthcheck.and_then(|check| check.test).unwrap_or_default();
    assert_eq!(check, ["CMD", "/usr/bin/lightship", "health"]);
    // when: the image's own check, asked more often than every 30 s
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["master".to_owned()]),
        healthcheck: Some(HealthConfig { interval: Some(500_000_000), ..Default::default() }),
        ..Default::default()
    };
    engine.run_body("ship", body).await;
    // then
    until("it says that it is healthy", || async {
        let health = engine.inspect("ship").await?.state?.health?.status?;
        (health == HealthStatusEnum::HEALTHY).then_some(())
    })
    .await;
    let config = engine.inspect("ship").await.unwrap().config.unwrap();
    assert_eq!(config.user.as_deref(), Some("1234:1234"));
    assert_eq!(owner_of(&engine, "ship", "/app/data").await, (1234, 1234));
}

async fn exec(engine: &Engine, container: &str, words: &[&str]) -> Option<i64> {
    let cmd = Some(words.iter().map(|word| (*word).to_owned()).collect());
    let config =
        ExecConfig { cmd, attach_stdout: Some(true), attach_stderr: Some(true), ..Default::default() };
    let made = engine.client().create_exec(container, config).await.ok()?;
    let started = engine.client().start_exec(&made.id, None::<StartExecOptions>).await.ok()?;
    if let StartExecResults::Attached { output, .. } = started {
        let said: Vec<LogOutput> = output.try_collect().await.ok()?;
        println!("{words:?}: {said:?}");
    }
    engine.client().inspect_exec(&made.id).await.ok()?.exit_code
}

async fn log_of(engine: &Engine, container: &str) -> String {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let lines: Vec<LogOutput> = engine.client().logs(container, Some(options)).try_collect().await.unwrap();
    lines.iter().map(ToString::to_string).collect()
}

async fn file_in(engine: &Engine, container: &str, path: &str) -> String {
    String::from_utf8_lossy(&archive_of(engine, container, path).await).into_owned()
}

/// User and group that a file or folder belongs to.
async fn owner_of(engine: &Engine, container: &str, path: &str) -> (u32, u32) {
    let archive = archive_of(engine, container, path).await;
    // The first header is that of `path`: two octal numbers of eight bytes each.
    let number = |at: usize| {
        let digits = std::str::from_utf8(&archive[at..at + 8]).unwrap();
        u32::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap()
    };
    (number(108), number(116))
}

/// A file or folder as a tar archive.
async fn archive_of(engine: &Engine, container: &str, path: &str) -> Vec<u8> {
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let parts = engine.client().download_from_container(container, Some(options));
    let archive: Vec<bytes::Bytes> = parts.try_collect().await.unwrap();
    archive.concat()
}

async fn address_of(engine: &Engine, container: &str) -> String {
    let networks = engine.inspect(container).await.unwrap().network_settings.unwrap().networks.unwrap();
    networks.into_values().find_map(|network| network.ip_address).unwrap()
}

fn compose(file: &str, env: &HashMap<&str, &str>) -> Output {
    Command::new("docker-compose")
        .args(["-f", file, "config"])
        .current_dir(project().join("compose"))
        .envs(env)
        .output()
        .expect("docker-compose is needed")
}

#[test]
fn the_compose_files_are_valid_and_grant_no_more_than_is_needed() {
    for file in ["master.yaml", "agent.yaml"] {
        let made = compose(file, &HashMap::from([("DOCKFLARE_MASTER_URL", "http://master:8080")]));
        assert!(made.status.success(), "{file}: {}", String::from_utf8_lossy(&made.stderr));
        let made = String::from_utf8(made.stdout).unwrap();
        assert!(made.contains("image: lightship:local"), "{made}");
        assert!(made.contains("read_only: true"), "{made}");
        assert!(!made.contains("privileged: true"), "{made}");
    }
    let made = compose("agent.yaml", &HashMap::from([("LIGHTSHIP_IMAGE", "registry.example/ship:1")]));
    let made = String::from_utf8(made.stdout).unwrap();
    assert!(made.contains("image: registry.example/ship:1"), "{made}");
    let (_, proxy) = made.split_once("docker-socket-proxy:\n    environment:\n").expect("the socket proxy");
    let granted = proxy.lines().take_while(|line| line.starts_with("      "));
    let mut granted: Vec<&str> = granted.filter_map(|line| line.trim().split(':').next()).collect();
    granted.sort_unstable();
    granted.retain(|name| *name != "DISABLE_IPV6");
    assert_eq!(granted, ["CONTAINERS", "EVENTS", "IMAGES", "INFO", "NETWORKS", "PING", "POST", "VERSION"]);
    assert!(made.contains("internal: true"), "the proxy's network leads nowhere: {made}");
    assert!(made.contains("image: tecnativa/docker-socket-proxy:"), "{made}");
    assert!(made.contains("LIGHTSHIP__TUNNEL__ON_SHUTDOWN: keep"), "an upgrade cuts no door: {made}");
}

#[test]
fn both_ways_to_make_the_image_end_in_the_same_one() {
    let file = std::fs::read_to_string(project().join("Dockerfile")).unwrap();
    let stages: Vec<&str> = file.split("\nFROM ").collect();
    // What a stage takes in differs by where it comes from; everything else must not.
    let settings = |stage: &str| -> Vec<String> {
        let lines = stage.lines().skip(1).filter(|line| !line.starts_with("COPY"));
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    assert!(!file.contains("syntax="), "the Engine's own builder reads no other syntax, and fetches none");
    // Only BuildKit skips the stage that a plain clone has no files for.
    assert!(file.contains("DOCKER_BUILDKIT=1 docker build -t lightship:local .\n"));
    let (prebuilt, whole) = (stages[1], stages[stages.len() - 1]);
    assert!(prebuilt.starts_with("scratch AS prebuilt\n") && whole.starts_with("scratch\n"));
    assert_eq!(settings(prebuilt), settings(whole));
}
