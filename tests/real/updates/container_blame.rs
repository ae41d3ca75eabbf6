//! What is done when others were at a container meanwhile, what is held against an image and what is not, and which images stay.

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::TagImageOptionsBuilder;
use serde_json::{Value, json};

use super::container_kills::{begin, until_said};
use super::containers::{Host, ill, outcome, well};
use crate::support::until::until;

/// Begins to carry a plan out, and is killed as soon as it says this.
fn cut_off(host: &Host, plan: &str, words: &str) {
    let mut run = begin(host, &["install", "--plan", plan, "--yes"]);
    let rest = until_said(&mut run, words);
    run.kill().unwrap();
    run.wait().unwrap();
    rest.join().unwrap();
}

/// What a plan of all leaves out, with the reasons.
fn left_out(host: &Host) -> Value {
    let (_, plan, errors) = host.verb(&["plan-updates", "--json"]);
    let left = plan["plan"]["on_host"]["left_out"].clone();
    assert!(left.is_array(), "{plan} {errors}");
    left
}

#[tokio::test]
async fn a_container_that_others_made_anew_or_paused_while_a_run_was_cut_off_is_left_as_it_is() {
    let host = Host::start().await;
    let other = host.image("app").replace(":stable", ":other");
    for is_another in [true, false] {
        host.push("app", "1.0", &well()).await;
        host.run("app", ContainerCreateBody::default()).await;
        host.push("app", if is_another { "1.1" } else { "1.2" }, &well()).await;
        let (id, _) = host.plan(&["app"]);
        cut_off(&host, &id, "pulls ");
        if is_another {
            host.push("app", "2.0", &well()).await;
            let pulled = host.pull("app").await;
            let (repository, tag) = other.rsplit_once(':').unwrap();
            let named = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
            host.engine.client().tag_image(&pulled, Some(named)).await.unwrap();
            host.engine.remove("app").await;
            let body = ContainerCreateBody { image: Some(other.clone()), ..Default::default() };
            host.engine.run_body("app", body).await;
        } else {
            host.engine.client().pause_container("app").await.unwrap();
        }
        let before = host.look("app").await;

        let (code, run, errors) = host.verb(&["install", "--plan", &id, "--yes", "--json"]);

        let (word, reason) = outcome(&run);
        assert_eq!((code, word), (5, "not_started"), "{reason} {errors}");
        let expected = if is_another { "app runs sha256:" } else { "it is paused" };
        assert!(reason.contains("no longer holds") && reason.contains(expected), "{reason}");
        let after = host.look("app").await;
        assert_eq!((&after.id, &after.image), (&before.id, &before.image));
        if is_another {
            let named = host.engine.client().inspect_image(&other).await.unwrap().id;
            assert_eq!(named, before.image, "its name means what it meant");
        }
        host.engine.remove("app").await;
    }
    host.clear().await;
}

#[tokio::test]
async fn what_is_in_the_way_of_a_new_container_is_not_held_against_its_image() {
    let host = Host::start().await;
    let folder = tempfile::tempdir().unwrap();
    host.push("app", "1.0", &well()).await;
    let mount = Mount {
        target: Some("/conf".into()),
        source: Some(folder.path().to_str().unwrap().to_owned()),
        typ: Some(MountType::BIND),
        ..Default::default()
    };
    let host_config = Some(HostConfig { mounts: Some(vec![mount]), ..Default::default() });
    let before = host.run("app", ContainerCreateBody { host_config, ..Default::default() }).await;
    host.push("app", "1.1", &well()).await;
    drop(folder);

    let (code, run, errors) = host.install("app");

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "rolled_back"), "{reason} {errors}");
    assert!(reason.contains("/conf") || reason.contains("bind source path"), "{reason}");
    assert_eq!(host.look("app").await.id, before.id);
    assert_eq!(host.running().await, ["app running"]);
    assert_eq!(left_out(&host), json!([]), "it is no failed image");
    host.clear().await;
}

#[tokio::test]
async fn one_that_ended_with_the_host_while_it_was_judged_is_started_once_more_and_judged_by_that() {
    let mut host = Host::start().await;
    let mut slow = well();
    slow["Healthcheck"]["Test"] = json!(["CMD-SHELL", "[ -e /ready ]"]);
    slow["Healthcheck"]["StartPeriod"] = json!(60_000_000_000_u64);
    slow["Cmd"] = json!(["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 8; : > /ready; sleep 1000000 & wait"]);
    let mut never = ill();
    never["Healthcheck"]["StartPeriod"] = json!(8_000_000_000_u64);
    for (new, is_good) in [(slow, true), (never, false)] {
        let version = if is_good { "1" } else { "2" };
        host.push("app", &format!("{version}.0"), &well()).await;
        let before = host.run("app", ContainerCreateBody::default()).await;
        host.push("app", &format!("{version}.1"), &new).await;
        let (id, _) = host.plan(&["app"]);
        let mut run = begin(&host, &["install", "--plan", &id, "--yes"]);
        let rest = until_said(&mut run, "app: starts the new container");
        until("the new one runs", || async {
            let new = host.engine.inspect("app").await?;
            (new.id != before.id && new.state?.running == Some(true)).then_some(())
        })
        .await;
        run.kill().unwrap();
        run.wait().unwrap();
        rest.join().unwrap();
        // given: nobody starts either of the two again
        host.engine.stop_daemon().await;
        host.engine.start_daemon().await;
        assert!(host.running().await.iter().all(|line| !line.ends_with(" running")));

        let (code, run, errors) = host.verb(&["install", "--plan", &id, "--yes", "--json"]);

        let (word, reason) = outcome(&run);
        let after = host.look("app").await;
        if is_good {
            assert_eq!((code, word), (0, "verified"), "{reason} {errors}");
            assert_ne!(after.image, before.image);
        } else {
            // It is as ill as it was: that is its image's own doing.
            assert_eq!((code, word), (1, "rolled_back"), "{reason} {errors}");
            assert_eq!(after.id, before.id);
            let left = left_out(&host);
            assert!(left[0]["reason"].as_str().unwrap().contains("failed here"), "{left}");
        }
        assert_eq!(host.running().await, ["app running"]);
        host.engine.remove("app").await;
    }
    host.clear().await;
}

/// Makes all runs a month older than they are.
fn age_runs(host: &Host) {
    for entry in std::fs::read_dir(host.state.path().join("runs")).unwrap() {
        let path = entry.unwrap().path().join("run.json");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let mut run: Value = serde_json::from_str(&text).unwrap();
        assert!(run["started_at"].is_string(), "{run}");
        run["started_at"] = "2020-01-31T12:00:00Z".into();
        std::fs::write(&path, run.to_string()).unwrap();
    }
}

#[tokio::test]
async fn an_image_goes_once_nobody_needs_it_and_one_that_failed_at_once() {
    let host = Host::start().await;
    let is_there = async |id: &str| host.engine.client().inspect_image(id).await.is_ok();
    host.push("app", "1.0", &well()).await;
    let first = host.run("app", ContainerCreateBody::default()).await.image.unwrap();
    let install = async |version: &str| {
        host.push("app", version, &well()).await;
        let (code, run, errors) = host.install("app");
        assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
        host.look("app").await.image.unwrap()
    };
    let second = install("1.1").await;
    let third = install("1.2").await;
    assert!(is_there(&first).await, "a run of this week is taken back with it");
    assert!(is_there(&second).await);
    age_runs(&host);

    let fourth = install("1.3").await;

    assert!(!is_there(&first).await, "no run of the window needs it, and no container has it");
    assert!(!is_there(&second).await, "the same");
    assert!(is_there(&third).await && is_there(&fourth).await, "the last one can be taken back");

    // One that somebody has named stays, and so does one that a container has which does not run.
    let named = TagImageOptionsBuilder::default().repo("mine").tag("1").build();
    host.engine.client().tag_image(&third, Some(named)).await.unwrap();
    let body = ContainerCreateBody { image: Some(fourth.clone()), ..Default::default() };
    host.engine.run_body("beside", body).await;
    host.engine.stop("beside").await;
    for version in ["1.4", "1.5"] {
        install(version).await;
        age_runs(&host);
    }
    let last = install("1.6").await;
    assert!(is_there(&third).await && is_there(&fourth).await, "somebody needs them");
    host.engine.remove("beside").await;

    host.push("app", "1.7", &ill()).await;
    let (_, lines) = host.plan(&["app"]);
    let digest = lines[0].rsplit(' ').next().unwrap().to_owned();
    let pinned = host.image("app").replace(":stable", &format!("@{digest}"));
    let (code, run, errors) = host.install("app");
    assert_eq!((code, outcome(&run).0), (1, "rolled_back"), "{errors}");
    assert!(!is_there(&pinned).await, "the new one that failed");
    assert_eq!(host.look("app").await.image.unwrap(), last);

    // What is kept of one that is gone for good goes with the next run of another.
    let kept = "lightship-kept:app";
    assert!(is_there(kept).await);
    age_runs(&host);
    host.engine.remove("app").await;
    host.push("other", "1.0", &well()).await;
    host.run("other", ContainerCreateBody::default()).await;
    host.push("other", "1.1", &well()).await;
    let (code, run, errors) = host.install("other");
    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert!(!is_there(kept).await && is_there("lightship-kept:other").await);
    host.engine
        .client()
        .remove_image("mine:1", None::<bollard::query_parameters::RemoveImageOptions>, None)
        .await
        .unwrap();
    host.clear().await;
}
