//! Groups of Access from the command line, and from a file at the start.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Desk, ended};
use crate::support::ship::Rig;
use crate::support::until::until;

#[tokio::test]
async fn groups_are_made_shown_and_removed_from_the_command_line() {
    let desk = Desk::start();
    // when
    let args = "access set staff --name Staff --domain example.com --require-idp Google --exclude-email eve@example.com \
                --session-duration 8h";
    let (said, _) = desk.far(0, &args.split_whitespace().collect::<Vec<_>>());
    // then
    let words = "lets in anyone of @example.com, who also signs in with Google, except eve@example.com";
    assert!(
        said.contains(words) && said.contains("lasts 8h") && said.contains("no route asks for it"),
        "{said}"
    );
    let (list, _) = desk.near(0, &["access"]);
    for words in ["staff", "Staff", "public-default-bypass", "built in"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let (list, _) = desk.near(0, &["access", "groups", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list[0]["id"], list.as_array().unwrap().len()), (&json!("staff"), 3));
    // What is shown is what `--file` takes.
    let (shown, _) = desk.near(0, &["access", "show", "staff", "--json"]);
    let copy = ["access", "set", "copy", "--file", "-", "--json"];
    let (_, refused) = ended(1, &copy, desk.near.verb_reading(&copy, &shown));
    assert!(refused.contains("`id` is `staff`, and the group is handed in as `copy`"), "{refused}");
    let again = ["access", "set", "staff", "--file", "-"];
    ended(0, &again, desk.near.verb_reading(&again, &shown.replace("Staff", "All staff")));
    let (shown, _) = desk.far(0, &["access", "show", "staff"]);
    assert!(shown.contains("All staff") && shown.contains(words), "{shown}");

    for (args, words) in [
        (&["access", "set", "x"][..], "such as `--email a@example.com`"),
        (&["access", "set", "x", "--email", "nobody"], "`nobody` is no e-mail address"),
        (&["access", "set", "X", "--everyone"], "the id of a group"),
        (&["access", "set", "x", "--file", "/nowhere.json"], "`/nowhere.json`: it cannot be read"),
        (&["access", "set", "x", "--file", "-"], "standard input: it is no JSON"),
        (&["access", "set", "x", "--file", "-", "--everyone"], "leave the other options out"),
        (&["access", "set", "public-default-bypass", "--everyone"], "is built in"),
        (&["access", "show", "nobody"], "`lightship access groups` lists them"),
        (&["access", "remove", "nobody"], "`lightship access groups` lists them"),
    ] {
        let (_, said) = desk.near(1, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }

    let (_, said) = desk.far(0, &["access", "remove", "staff"]);
    assert!(said.contains("the group `staff` is removed"), "{said}");
    desk.near(1, &["access", "show", "staff"]);
}

#[tokio::test]
async fn a_group_that_a_route_asks_for_goes_only_with_it() {
    // given
    let desk = Desk::start();
    let agent = desk.enrolled().await;
    desk.near(0, &["access", "set", "staff", "--email", "a@example.com"]);
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "app.example.com",
        "dockflare.service": "http://app:80", "dockflare.access.group": "staff" });
    let container = json!({ "id": "app000000000", "name": "app", "status": "running", "labels": labels });
    agent.event(json!({ "type": "status_report", "container": { "containers": [container] } })).await;
    until("the route is there", || async {
        desk.master.routes().await.contains_key("app.example.com").then_some(())
    })
    .await;
    // then
    let (routes, _) = desk.near(0, &["routes"]);
    assert!(routes.contains("PROTECTION") && routes.contains("`staff`"), "{routes}");
    let (shown, _) = desk.near(0, &["access", "show", "staff"]);
    assert!(shown.contains("1 route asks for it") && shown.contains("app.example.com"), "{shown}");
    let (_, refused) = desk.near(1, &["access", "remove", "staff"]);
    assert!(refused.contains("app.example.com") && refused.contains("--close-routes"), "{refused}");
    desk.near(0, &["access", "show", "staff"]);
    desk.near(0, &["access", "remove", "staff", "--close-routes"]);
    desk.near(1, &["access", "show", "staff"]);
    assert_eq!(desk.standin.hostnames(&desk.tunnel), ["theirs.example.com"], "it was never published");
}

#[tokio::test]
async fn groups_in_a_file_are_set_at_the_start_and_a_wrong_file_stops_it() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("groups.json");
    let write = |groups: Value| std::fs::write(&file, groups.to_string()).unwrap();
    let group = |id: &str, email: &str| json!({ "id": id, "policies": [{ "decision": "allow", "include": [{ "email": { "email": email } }] }] });
    let rig = Rig::new("master", &dir.path().join("state"))
        .env("LIGHTSHIP__PUBLISH__ACCESS_GROUPS_FILE", file.to_str().unwrap());
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let set_events = async |master: &crate::support::ship::Ship| {
        let answer = master.get("/api/v3/events?stream=access").await;
        let events = answer["events"].as_array().unwrap().clone();
        assert!(events.iter().all(|row| row["actor"] == "file"), "{events:?}");
        events.len()
    };
    // when
    write(json!([group("staff", "a@example.com"), group("family", "b@example.com")]));
    let master = rig.start();
    // then
    let staff = master.get("/api/v3/access/groups/staff").await;
    assert_eq!((&staff["set_by"], &staff["name"]), (&json!("file"), &json!("staff")));
    assert_eq!(set_events(&master).await, 2);
    assert!(master.stop().success());
    // One that differs is set again; one that is in the file no more stays.
    write(json!([group("staff", "c@example.com")]));
    let master = rig.start();
    let staff = master.get("/api/v3/access/groups/staff").await;
    assert_eq!(staff["policies"][0]["include"], json!([{ "email": { "email": "c@example.com" } }]));
    assert_eq!(master.get("/api/v3/access/groups/family").await["id"], "family");
    assert_eq!(set_events(&master).await, 3);
    assert!(master.stop().success());
    // A file that cannot be used stops the start, and `lightship config` says the same.
    for (content, words) in [
        (json!([group("staff", "nobody")]).to_string(), "group `staff`: "),
        (json!([group("Staff", "a@example.com")]).to_string(), "group `Staff`: `id`: "),
        (json!([group("public-default-bypass", "a@example.com")]).to_string(), "it is built in"),
        ("{".to_owned(), "no JSON array of groups"),
    ] {
        std::fs::write(&file, content).unwrap();
        for verb in ["master", "config"] {
            let (code, _, said) = rig.verb(&[verb]);
            assert_eq!(code, 1, "{verb}: {said}");
            for words in [words, "groups.json", "publish.access_groups_file"] {
                assert!(said.contains(words), "{verb}: {words}: {said}");
            }
        }
    }
    std::fs::remove_file(&file).unwrap();
    let (code, _, said) = rig.verb(&["master"]);
    assert!(code == 1 && said.contains("it cannot be read"), "{said}");
}

#[tokio::test]
async fn service_tokens_are_made_listed_rotated_and_revoked_and_a_secret_is_printed_once() {
    let desk = Desk::start();
    // when
    let (made, said) = desk.far(0, &["access", "tokens", "create", "ci", "--duration", "24h"]);
    // then
    let secret =
        made.lines().find_map(|line| line.strip_prefix("CF-Access-Client-Secret: ")).unwrap().to_owned();
    assert!(made.contains("CF-Access-Client-Id: ") && said.contains("shown this once"), "{made}{said}");
    desk.near(0, &["access", "set", "robots", "--decision", "non_identity", "--service-token", "ci"]);
    let (list, _) = desk.near(0, &["access", "tokens"]);
    assert!(list.contains("ci") && list.contains("robots") && !list.contains(&secret), "{list}");
    let (rotated, _) = desk.near(0, &["access", "tokens", "rotate", "ci", "--json"]);
    let rotated: Value = serde_json::from_str(&rotated).unwrap();
    assert!(rotated["client_secret"].is_string() && rotated["client_secret"] != secret.as_str(), "{rotated}");
    for (args, words) in [
        (&["access", "tokens", "create", "CI"][..], "there is a service token `ci` already"),
        (&["access", "tokens", "create", "x", "--duration", "1d"], "`d` is no unit"),
        (&["access", "tokens", "rotate", "nobody"], "no `nobody` as a service token"),
        (&["access", "tokens", "revoke", "ci"], "group `robots`"),
    ] {
        let (_, said) = desk.near(1, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    desk.near(0, &["access", "remove", "robots"]);
    let (_, said) = desk.far(0, &["access", "tokens", "revoke", "ci"]);
    assert!(said.contains("the service token `ci` is revoked"), "{said}");
    let (events, _) = desk.near(0, &["events", "--json"]);
    assert!(events.contains("access_token_revoked") && !events.contains(&secret), "{events}");
}
