//! Groups of Access: made, changed and removed by people, with what asks for them.

use lightship::db::events;
use lightship::db::read::EventFilter;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::master::{ADMIN, TestMaster};

const GROUPS: &str = "/api/v3/access/groups";

fn staff() -> Value {
    json!({
        "name": "Staff", "options": { "session_duration": "8h" },
        "policies": [
            { "decision": "bypass", "include": [{ "ip": { "ip": "10.0.0.0/8" } }] },
            { "decision": "allow", "include": [{ "email_domain": { "domain": "example.com" } }],
              "require": [{ "login_method": { "id": "Google" } }], "exclude": [{ "email": { "email": "eve@example.com" } }] },
        ],
    })
}

async fn put(master: &TestMaster, id: &str, group: Value) -> Answer {
    master.ask(Method::PUT, &format!("{GROUPS}/{id}")).key(ADMIN).json(group).send().await
}

async fn delete(master: &TestMaster, place: &str) -> Answer {
    master.ask(Method::DELETE, &format!("{GROUPS}/{place}")).key(ADMIN).send().await
}

async fn group(master: &TestMaster, id: &str) -> Value {
    master.admin_get(&format!("{GROUPS}/{id}")).expect(200).await.json()
}

/// A host whose containers carry these labels about protection, each with its hostname.
pub async fn asking(master: &TestMaster, containers: &[(&str, &[(&str, &str)])]) {
    let (key, id) = master.new_agent("web-1").await;
    master.admin_post(&format!("/api/v3/agents/{id}/approve"), json!({})).expect(200).await;
    let container = |(name, access): &(&str, &[(&str, &str)])| {
        let mut labels = json!({ "dockflare.enable": "true", "dockflare.hostname": format!("{name}.example.com"),
            "dockflare.service": "http://app:80" });
        for (label, value) in *access {
            labels[format!("dockflare.{label}")] = json!(value);
        }
        json!({ "id": format!("id-of-{name}"), "name": name, "labels": labels })
    };
    let list: Vec<Value> = containers.iter().map(container).collect();
    let report = json!({ "type": "status_report", "container": { "containers": list } });
    master.post(&format!("/api/v2/agents/{id}/events")).key(&key).json(report).expect(202).await;
    master.until_services("all are there", |rules| rules.len() == containers.len()).await;
}

#[actix_web::test]
async fn a_group_is_made_told_in_words_replaced_and_removed() {
    let master = TestMaster::without_cloudflare().await;
    // when
    let made = put(&master, "staff", staff()).await;
    // then
    assert_eq!(made.status, 200, "{}", made.text);
    let told = group(&master, "staff").await;
    assert_eq!(made.json(), told);
    assert_eq!(
        (&told["id"], &told["name"], &told["set_by"]),
        (&json!("staff"), &json!("Staff"), &json!("token"))
    );
    assert_eq!(
        told["in_words"],
        json!([
            "asks nothing of anyone from 10.0.0.0/8",
            "lets in anyone of @example.com, who also signs in with Google, except eve@example.com",
        ])
    );
    assert_eq!(
        (&told["routes"], &told["routes_total"], &told["is_built_in"]),
        (&json!([]), &json!(0), &json!(false))
    );
    assert_eq!(told["policies"][1], staff()["policies"][1]);
    // What was told can be changed and handed in again; the same once more changes nothing.
    let mut changed = told.clone();
    changed["name"] = json!("All staff");
    assert_eq!(put(&master, "staff", changed.clone()).await.json()["name"], "All staff");
    let set_at = group(&master, "staff").await["set_at"].clone();
    assert_eq!(put(&master, "staff", changed).await.json()["set_at"], set_at);
    let list = master.admin_get(GROUPS).expect(200).await.json();
    let ids: Vec<&str> =
        list["groups"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["staff", "public-default-bypass", "authenticated-default"]);
    // when
    assert_eq!(delete(&master, "staff").await.status, 200);
    // then
    for gone in [delete(&master, "staff").await, delete(&master, "Not%20An%20Id").await] {
        assert_eq!((gone.status, &gone.json()["code"]), (404, &json!("group_not_found")));
    }
    master.admin_get(&format!("{GROUPS}/staff")).expect(404).await;
    let record = events::list_events(&master.db, &EventFilter::default(), 1_000).await.unwrap();
    let of_groups: Vec<String> = record
        .iter()
        .filter(|row| row.actor == "token")
        .map(|row| serde_json::to_value(&row.event).unwrap()["type"].as_str().unwrap().to_owned())
        .filter(|kind| kind.starts_with("access_group_"))
        .collect();
    assert_eq!(of_groups, ["access_group_set", "access_group_set", "access_group_removed"]);
    master.stop().await;
}

#[actix_web::test]
async fn what_is_no_group_names_field_reason_and_way_out_and_changes_nothing() {
    let master = TestMaster::without_cloudflare().await;
    assert_eq!(put(&master, "staff", staff()).await.status, 200);
    let before = group(&master, "staff").await;
    let with = |field: &str, value: Value| {
        let mut group = staff();
        group[field] = value;
        group
    };
    let one = |include: Value| json!([{ "decision": "allow", "include": [include] }]);
    for (id, body, words) in [
        ("Staff", staff(), "the id of a group"),
        ("a%20b", staff(), "the id of a group"),
        ("staff", json!({}), "`policies` is missing"),
        ("staff", json!([]), "a group is a JSON object"),
        ("staff", with("policys", json!([])), "`policys` is not known; there are `id`, `name`"),
        ("staff", with("id", json!("other")), "`id` is `other`, and the group is handed in as `staff`"),
        ("staff", with("name", json!("a\u{202e}b")), "not seen"),
        ("staff", with("options", json!({ "session_duration": "1d" })), "write hours, such as `24h`"),
        (
            "staff",
            with("options", json!({ "auto_redirect_to_identity": true })),
            "exactly one identity provider",
        ),
        ("staff", with("policies", json!([])), "nobody could come in"),
        (
            "staff",
            with("policies", one(json!({ "email": { "email": "nobody" } }))),
            "policy 1: `nobody` is no e-mail",
        ),
        ("staff", with("policies", one(json!({ "ip": { "ip": "10.0.0.0/33" } }))), "`203.0.113.0/24`"),
        ("staff", with("policies", one(json!({}))), "exactly one key"),
    ] {
        let refused = put(&master, id, body).await;
        let said = refused.json();
        assert_eq!((refused.status, &said["code"]), (400, &json!("invalid")), "{id}: {}", refused.text);
        assert!(said["error"].as_str().unwrap().contains(words), "{words}: {}", refused.text);
    }
    let odd = master.ask(Method::PUT, &format!("{GROUPS}/staff")).key(ADMIN).raw("{").send().await;
    assert_eq!((odd.status, &odd.json()["code"]), (400, &json!("invalid_json")));
    // A kind of rule that Cloudflare knows and we do not is passed on.
    let unknown = one(json!({ "made_tomorrow": { "deep": [1] } }));
    assert_eq!(put(&master, "later", with("policies", unknown.clone())).await.status, 200);
    assert_eq!(group(&master, "later").await["policies"], unknown);
    assert_eq!(group(&master, "staff").await, before);
    let refused = delete(&master, "staff?close_routes=maybe").await;
    assert!(refused.status == 400 && refused.text.contains("`close_routes`"), "{}", refused.text);
    assert_eq!(delete(&master, "staff?close=true").await.status, 400);
    master.stop().await;
}

#[actix_web::test]
async fn the_groups_that_are_built_in_are_told_and_stay_as_they_are() {
    let master = TestMaster::without_cloudflare().await;
    for (id, words, is_open) in [
        ("public-default-bypass", "asks nothing of everyone", true),
        ("authenticated-default", "the account's owner", false),
    ] {
        let told = group(&master, id).await;
        assert_eq!(
            (&told["is_built_in"], &told["set_by"], &told["set_at"]),
            (&json!(true), &Value::Null, &Value::Null)
        );
        assert_eq!(told["is_open_to_everyone"], json!(is_open));
        assert!(told["in_words"][0].as_str().unwrap().contains(words), "{told}");
        for refused in
            [put(&master, id, staff()).await, delete(&master, &format!("{id}?close_routes=true")).await]
        {
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (409, &json!("group_built_in")),
                "{}",
                refused.text
            );
            assert!(refused.text.contains("another id"), "{}", refused.text);
        }
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_group_that_routes_ask_for_is_removed_only_with_them_closed() {
    // given
    let master = TestMaster::without_cloudflare().await;
    assert_eq!(put(&master, "staff", staff()).await.status, 200);
    assert_eq!(put(&master, "spare", staff()).await.status, 200);
    asking(&master, &[("shop", &[("access.group", "staff")]), ("wiki", &[("access.groups", "spare,staff")])])
        .await;
    let told = group(&master, "staff").await;
    let route = |name: &str| json!({ "hostname": format!("{name}.example.com"), "path": "" });
    assert_eq!((&told["routes"], &told["routes_total"]), (&json!([route("shop"), route("wiki")]), &json!(2)));
    assert_eq!(group(&master, "spare").await["routes"], json!([route("wiki")]));
    // when
    let refused = delete(&master, "staff").await;
    // then
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("group_in_use")), "{}", refused.text);
    for words in ["shop.example.com", "wiki.example.com", "?close_routes=true"] {
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    assert_eq!(group(&master, "staff").await, told);
    // when
    assert_eq!(delete(&master, "staff?close_routes=true").await.status, 200);
    // then
    master.admin_get(&format!("{GROUPS}/staff")).expect(404).await;
    assert_eq!(group(&master, "spare").await["routes_total"], 1);
    master.stop().await;
}

#[actix_web::test]
async fn every_list_of_routes_says_what_protects_each() {
    // given
    let master = TestMaster::without_cloudflare().await;
    let rules = r#"[{"decision":"allow","include":[{"email":{"email":"a@example.com"}}]}]"#;
    asking(
        &master,
        &[
            ("bare", &[]),
            ("group", &[("access.group", "staff")]),
            ("groups", &[("access.groups", "staff,family")]),
            ("open", &[("access.policy", "bypass")]),
            ("own", &[("access.custom_rules", rules)]),
            ("zone", &[("access.policy", "default_tld")]),
            ("odd", &[("access.group", "Not An Id")]),
        ],
    )
    .await;
    // when
    let routes = master.admin_get("/api/v3/routes").expect(200).await.json();
    let services = master.admin_get("/api/v2/services").expect(200).await.json();
    // then
    let of = |list: &Value, name: &str| {
        let hostname = json!(format!("{name}.example.com"));
        list.as_array().unwrap().iter().find(|route| route["hostname"] == hostname).unwrap().clone()
    };
    for (name, kind, words, group) in [
        ("bare", "nothing", "none of its own", Value::Null),
        ("group", "groups", "group `staff`", json!(["staff"])),
        ("groups", "groups", "groups `staff`, `family`", json!(["staff", "family"])),
        ("open", "groups", "lets everybody in", json!(["public-default-bypass"])),
        ("own", "own", "rules of its own: lets in anyone of a@example.com", Value::Null),
        ("zone", "inherit", "the Access application of its zone", Value::Null),
        ("odd", "unreadable", "so it is closed", Value::Null),
    ] {
        let (route, rule) = (of(&routes["routes"], name), of(&services["services"], name));
        assert_eq!(route["protection"]["kind"], kind, "{route}");
        assert!(route["protection"]["in_words"].as_str().unwrap().contains(words), "{route}");
        assert_eq!((&rule["access_group_id"], &rule["protection"]), (&group, &route["protection"]), "{rule}");
    }
    master.stop().await;
}
