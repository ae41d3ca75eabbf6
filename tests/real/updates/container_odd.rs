//! Replacements under odd circumstances: a tag that moves while its container is replaced, and disks that are full when something is
//! to be written down.

use bollard::exec::StartExecOptions;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ExecConfig};
use serde_json::{Value, json};

use super::container_kills::{Form, begin, parts, until_said};
use super::containers::{Host, outcome, well};
use crate::disk::Disk;
use crate::support::until::until;

/// Says whether it is well once it is let go, and not before.
fn judged_later(is_good: bool) -> Value {
    let mut image = well();
    let test = format!("while [ ! -e /go ]; do sleep 0.1; done; {is_good}");
    image["Healthcheck"]["Test"] = json!(["CMD-SHELL", test]);
    image["Healthcheck"]["Timeout"] = json!(60_000_000_000_u64);
    image
}

/// Lets the new container say it, once that runs.
async fn let_go(host: &Host, before: &ContainerInspectResponse) {
    until("the new one runs", || async {
        let new = host.engine.inspect("app").await?;
        (new.id != before.id && new.state?.running == Some(true)).then_some(())
    })
    .await;
    let cmd = ["/bin/busybox", "touch", "/go"].map(str::to_owned).to_vec();
    let config = ExecConfig { cmd: Some(cmd), ..ExecConfig::default() };
    let detached = StartExecOptions { detach: true, ..StartExecOptions::default() };
    let made = host.engine.client().create_exec("app", config).await.unwrap();
    host.engine.client().start_exec(&made.id, Some(detached)).await.unwrap();
}

/// A tag moves twice while its container is replaced, and somebody fetches what it holds.
async fn tag_moves(is_good: bool) {
    let host = Host::start().await;
    host.push("app", "1.0", &well()).await;
    let before = host.run("app", ContainerCreateBody::default()).await;
    host.push("app", "1.1", &judged_later(is_good)).await;
    let (id, lines) = host.plan(&["app"]);
    let mut run = begin(&host, &["install", "--plan", &id, "--yes"]);
    let rest = until_said(&mut run, "app: starts the new container");
    for version in ["1.2", "1.3"] {
        host.push("app", version, &well()).await;
        host.pull("app").await;
    }
    let newest = host.image_id("app").await;
    let_go(&host, &before).await;

    let said = rest.join().unwrap();
    let code = run.wait().unwrap().code();

    // Exactly what was planned was tried, whatever the name meant meanwhile; afterwards it means what runs.
    let after = host.look("app").await;
    let running = after.image.clone().unwrap();
    assert_eq!(host.image_id("app").await, running, "{said:#?}");
    assert_ne!(running, newest, "{said:#?}");
    assert_eq!(host.running().await, ["app running"], "{said:#?}");
    if is_good {
        assert_eq!(code, Some(0), "{said:#?}");
        assert_ne!(running, before.image.clone().unwrap());
        let planned = lines[0].rsplit(' ').next().unwrap();
        let digests = host.engine.client().inspect_image(&running).await.unwrap().repo_digests.unwrap();
        assert!(digests.iter().any(|digest| digest.ends_with(planned)), "{planned}: {digests:?}");
    } else {
        assert_eq!((code, &after.id), (Some(1), &before.id), "{said:#?}");
    }
    // What the tag holds now is what is offered, once, and it is no failed image.
    let (second, lines) = host.plan(&["app"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (code, run, errors) = host.verb(&["install", "--plan", &second, "--yes", "--json"]);
    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(host.look("app").await.image.unwrap(), newest);
    host.clear().await;
}

#[tokio::test]
async fn a_tag_that_moves_twice_meanwhile_changes_nothing_of_what_was_planned() {
    tag_moves(true).await;
}

#[tokio::test]
async fn a_tag_that_moves_twice_before_the_old_one_comes_back_means_the_old_one_again() {
    tag_moves(false).await;
}

/// The disk is full from each part of a replacement on, which then ends as it can; with room again the same plan or a rollback
/// ends it as it should.
async fn full_disk(form: Form) {
    let host = Host::start().await;
    let disk = Disk::over(host.state.path(), "2m");
    let parts = parts(&host, form).await;
    for (count, part) in parts.iter().enumerate() {
        host.push("app", &format!("{count}.0"), &well()).await;
        let before = form.run(&host).await;
        host.push("app", &format!("{count}.1"), &well()).await;
        let (id, _) = host.plan(&["app"]);
        let mut run = begin(&host, &["install", "--plan", &id, "--yes"]);
        let rest = until_said(&mut run, part);
        let ballast = disk.fill();

        let said = rest.join().unwrap();
        run.wait().unwrap();

        let up = host.running().await.iter().filter(|line| line.ends_with(" running")).count();
        assert_eq!(up, 1, "{form:?}, {part}: {said:#?}");
        std::fs::remove_file(ballast).unwrap();
        let (_, history, _) = host.verb(&["history", "--json"]);
        let run = history["runs"][0].clone();
        if count % 2 == 0 {
            let (code, out, errors) = host.verb(&["install", "--plan", &id, "--yes"]);
            assert!(code == 0 || run["outcome"] == "verified", "{form:?}, {part}: {out} {errors} {said:#?}");
            assert_ne!(host.look("app").await.image, before.image, "{form:?}, {part}");
        } else {
            let (code, out, errors) = host.verb(&["rollback", run["id"].as_str().unwrap(), "--yes"]);
            assert_eq!(code, 0, "{form:?}, {part}: {out} {errors} {said:#?}");
            assert_eq!(host.look("app").await.image, before.image, "{form:?}, {part}");
        }
        assert_eq!(host.running().await, ["app running"], "{form:?}, {part}");
        host.engine.remove("app").await;
    }
    println!(
        "{form:?}: the disk was full from each of these on, lost none, doubled none: {}",
        parts.join(", ")
    );
    drop(disk);
    host.clear().await;
}

#[tokio::test]
async fn a_disk_that_is_full_at_any_part_leaves_one_that_serves_and_a_record_to_go_on_with() {
    full_disk(Form::StopFirst).await;
}

#[tokio::test]
async fn a_disk_that_is_full_loses_none_that_removes_itself() {
    full_disk(Form::Remove).await;
}

#[tokio::test]
async fn a_disk_that_is_full_leaves_one_of_two_that_serve_side_by_side() {
    full_disk(Form::Beside).await;
}

#[tokio::test]
async fn the_old_one_comes_back_on_a_full_disk_too_and_that_is_not_held_against_the_new_image() {
    let host = Host::start().await;
    let disk = Disk::over(host.state.path(), "2m");
    host.push("app", "1.0", &well()).await;
    let before = host.run("app", ContainerCreateBody::default()).await;
    host.push("app", "1.1", &judged_later(false)).await;
    let (id, _) = host.plan(&["app"]);
    let mut run = begin(&host, &["install", "--plan", &id, "--yes"]);
    let rest = until_said(&mut run, "app: starts the new container");
    let ballast = disk.fill();
    let_go(&host, &before).await;

    let said = rest.join().unwrap();
    run.wait().unwrap();

    assert_eq!(host.look("app").await.id, before.id, "{said:#?}");
    assert_eq!(host.running().await, ["app running"], "{said:#?}");
    assert!(said.iter().any(|line| line.contains("cannot be written down")), "{said:#?}");
    std::fs::remove_file(ballast).unwrap();
    let (_, history, _) = host.verb(&["history", "--json"]);
    let run = history["runs"][0]["id"].as_str().unwrap().to_owned();
    let (code, out, errors) = host.verb(&["rollback", &run, "--yes"]);
    assert_eq!(code, 0, "{out} {errors}");
    assert_eq!(host.running().await, ["app running"]);
    drop(disk);
    host.clear().await;
}

#[tokio::test]
async fn one_that_was_cut_off_on_its_way_back_serves_again_though_the_disk_is_still_full() {
    let host = Host::start().await;
    let disk = Disk::over(host.state.path(), "2m");
    host.push("app", "1.0", &well()).await;
    let before = host.run("app", ContainerCreateBody::default()).await;
    host.push("app", "1.1", &well()).await;
    let (id, _) = host.plan(&["app"]);
    let mut run = begin(&host, &["install", "--plan", &id, "--yes"]);
    let rest = until_said(&mut run, "app: starts the new container");
    run.kill().unwrap();
    run.wait().unwrap();
    rest.join().unwrap();
    // given: the new one is gone, and the old one stands beside and is stopped
    let ballast = disk.fill();
    host.engine.remove("app").await;
    assert!(
        host.running().await.iter().all(|line| !line.ends_with(" running")),
        "{:?}",
        host.running().await
    );

    let (code, out, errors) = host.verb(&["install", "--plan", &id, "--yes"]);

    assert_eq!(code, 1, "nothing goes on: {out} {errors}");
    assert!(errors.contains("the old one runs again until there is room on the disk"), "{errors}");
    assert_eq!(host.look("app").await.id, before.id, "{errors}");
    assert_eq!(host.running().await, ["app running"], "{errors}");
    std::fs::remove_file(ballast).unwrap();
    let (code, out, errors) = host.verb(&["install", "--plan", &id, "--yes"]);
    assert_eq!(code, 0, "{out} {errors}");
    assert_ne!(host.look("app").await.image, before.image);
    assert_eq!(host.running().await, ["app running"]);
    drop(disk);
    host.clear().await;
}
