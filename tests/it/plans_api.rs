//! What people and scripts ask of hosts through the API, and every way in which that is refused: by name, with the way out.

use futures_util::future::join_all;
use lightship::actors::master::MasterSettings;
use serde_json::{Value, json};

use crate::plan_host::{Host, upgrade};
use crate::support::asking::Answer;
use crate::support::master::{ADMIN, TestMaster};

/// A run that ended well, as hosts tell it.
fn run(id: &str) -> Value {
    json!({ "run": { "id": id, "plan": { "changes": [upgrade("bash", "1.1")], "on_host": {} }, "by": "root",
        "started_at": "2026-01-31T12:00:00Z", "ended_at": "2026-01-31T12:01:00Z", "steps": [], "outcome": "verified" },
        "log": "" })
}

/// Asks a host for everything, and has it answer with one change. Returns the question and the plan.
async fn planned(master: &TestMaster, host: &Host<'_>) -> (String, Value) {
    let asked =
        master.admin_post("/api/v3/plans", json!({ "agents": [host.id], "what": "all" })).expect(202).await;
    host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    let path = format!("/api/v3/plans/{}", asked.json()["request"].as_str().unwrap());
    let plan = master.admin_get(&path).expect(200).await.json()["plans"][0]["id"].clone();
    (path, plan)
}

#[track_caller]
fn says(answer: &Answer, code: &str, words: &str) {
    let body = answer.json();
    let said = body["error"].as_str().unwrap_or_default();
    assert!(body["code"] == code && said.contains(words), "{code}, {words}: {}", answer.text);
}

#[actix_web::test]
async fn what_is_not_known_is_named_and_nobody_is_asked_twice() {
    let master = TestMaster::start().await;
    let host = Host::new(&master, "web-1").await;
    host.has_newer("bash").await;
    let listed = master.admin_get("/api/v3/updates").expect(200).await.json();
    let known = listed["updates"][0]["id"].clone();
    // given: a known update among unknown ones, each twice
    let body = json!({ "updates": [known, "gone", known, "gone"] });
    let asked = master.admin_post("/api/v3/plans", body).expect(202).await.json();
    assert_eq!(asked["agents"], json!([host.id]));
    let [left] = &asked["left"].as_array().unwrap()[..] else { panic!("{asked}") };
    assert!(
        left["code"] == "update_not_found" && left["reason"].as_str().unwrap().contains("`gone`"),
        "{left}"
    );
    host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    // given: nothing but unknown ones
    let none = master.admin_post("/api/v3/plans", json!({ "updates": ["gone", "lost"] })).expect(404).await;
    says(&none, "update_not_found", "`gone`");
    assert!(
        none.json().get("request").is_none() && none.json()["left"].as_array().unwrap().len() == 2,
        "{}",
        none.text
    );
    // given: a host that is named twice
    let body = json!({ "agents": [host.id, host.id, "nobody", "nobody"], "what": "all" });
    let asked = master.admin_post("/api/v3/plans", body).expect(202).await.json();
    assert_eq!(
        (&asked["agents"], asked["left"].as_array().unwrap().len()),
        (&json!([host.id]), 1),
        "{asked}"
    );
    host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    let path = format!("/api/v3/plans/{}", asked["request"].as_str().unwrap());
    let plan = master.admin_get(&path).expect(200).await.json()["plans"][0]["id"].clone();
    // A plan's id is meant in capitals too.
    let capitals = plan.as_str().unwrap().to_uppercase();
    let body = json!({ "plan": capitals, "agents": [host.id, host.id, "nobody"] });
    let given = master.admin_post(&format!("{path}/approve"), body).expect(202).await.json();
    assert_eq!(
        (&given["agents"], given["left"].as_array().unwrap().len()),
        (&json!([host.id]), 1),
        "{given}"
    );
    // given: a run that is not known, of a host that is and of one that is not
    for (agent, code) in [(host.id.as_str(), "run_not_found"), ("nobody", "agent_not_found")] {
        let body = json!({ "run": { "agent": agent, "id": "20260131-120000-aaaa" } });
        says(&master.admin_post("/api/v3/plans", body).expect(404).await, code, "lightship");
    }
    master.stop().await;
}

#[actix_web::test]
async fn what_does_not_go_together_or_is_no_name_is_refused_and_no_dead_id_is_handed_out() {
    let master = TestMaster::start().await;
    let host = Host::new(&master, "web-1").await;
    let (path, plan) = planned(&master, &host).await;
    for (body, words) in [
        (json!({ "agents": [host.id], "what": "all", "names": ["bash"] }), "`names`"),
        (json!({ "agents": [host.id], "what": "all", "only": ["bash"] }), "`only`"),
        (json!({ "agents": [host.id], "what": "all", "updates": ["u"] }), "`updates` and `agents`"),
        (json!({ "agents": [host.id], "what": "some" }), "`what`"),
        (
            json!({ "agents": [host.id], "names": ["ba sh"] }),
            "`ba sh` names nothing that could be planned: it has blanks",
        ),
        (json!({ "agents": [host.id], "names": ["bash", ""] }), "it is empty"),
        (json!({ "run": { "id": "x" } }), "field `run.agent` is missing"),
        (json!({ "agent": [host.id] }), "field `agent` is not known; those that are: `updates`, `agents`"),
    ] {
        let refused = master.admin_post("/api/v3/plans", body.clone()).expect(400).await;
        assert!(refused.text.contains(words), "{body}: {}", refused.text);
        assert!(refused.json().get("request").is_none(), "{}", refused.text);
    }
    let form = master.post("/api/v3/plans").key(ADMIN).form(&[("agents", "x")]).expect(400).await;
    assert!(form.text.contains("field `agents` is a string; send a list"), "{}", form.text);
    // A yes that is given for no host has no id either.
    let again = json!({ "plan": plan });
    master.admin_post(&format!("{path}/approve"), again.clone()).expect(202).await;
    let twice = master.admin_post(&format!("{path}/approve"), again).expect(409).await;
    says(&twice, "cannot_approve", "said yes to this plan already");
    assert!(twice.json().get("approval").is_none(), "{}", twice.text);
    master.stop().await;
}

#[actix_web::test]
async fn what_is_not_there_is_named_with_its_code_on_every_route() {
    let master = TestMaster::start().await;
    let host = Host::new(&master, "web-1").await;
    host.tell("runs", run("20260131-120000-aaaa"), 200).await;
    let plan = json!({ "plan": "0".repeat(64) });
    let posted = [
        ("/api/v3/plans/no%0Asuch/approve", plan, 404, "plan_not_found", "`no\\nsuch`"),
        ("/api/v3/approvals/none/second", json!({}), 404, "approval_not_found", "`none`"),
        (
            "/api/v3/approvals/none/withdraw",
            json!({}),
            404,
            "approval_not_found",
            "lightship updates approvals",
        ),
        ("/api/v3/runs/nobody/20260131-120000-aaaa/cancel", json!({}), 404, "run_not_found", "`nobody`"),
        (&format!("/api/v3/runs/{}/X%20Y/cancel", host.id), json!({}), 404, "run_not_found", "`X Y`"),
        (
            &format!("/api/v3/runs/{}/20260131-120000-aaaa/cancel", host.id),
            json!({}),
            409,
            "run_ended",
            "its end",
        ),
        ("/api/v3/held-images/sha256:00/let-go", json!({}), 404, "image_not_held", "held"),
    ];
    for (path, body, status, code, words) in posted {
        says(&master.admin_post(path, body).expect(status).await, code, words);
    }
    for (path, code, words) in [
        ("/api/v3/plans/none", "plan_not_found", "ask anew"),
        ("/api/v3/approvals/none", "approval_not_found", "`none`"),
        ("/api/v3/runs/nobody/x", "run_not_found", "`x`"),
        ("/api/v3/updates/none", "update_not_found", "`none`"),
    ] {
        says(&master.admin_get(path).expect(404).await, code, words);
    }
    for path in [
        "/api/v3/runs?limit=0",
        "/api/v3/runs?limit=201",
        "/api/v3/approvals?limit=0",
        "/api/v3/approvals?limit=1001",
        "/api/v3/held-images?x=1",
        "/api/v3/order-key?x=1",
        "/api/v3/approvals?opne=true",
    ] {
        says(&master.admin_get(path).expect(400).await, "invalid", "query parameter `");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_call_without_a_body_takes_none_and_a_broken_one_changes_nothing() {
    let master = TestMaster::start().await;
    let host = Host::new(&master, "web-1").await;
    let (path, plan) = planned(&master, &host).await;
    let given =
        master.admin_post(&format!("{path}/approve"), json!({ "plan": plan })).expect(202).await.json();
    let approval = format!("/api/v3/approvals/{}", given["approval"].as_str().unwrap());
    let key = master.admin_get("/api/v3/order-key").expect(200).await.json()["fingerprint"].clone();
    for call in [
        "/api/v3/order-key/exchange".into(),
        format!("{approval}/second"),
        format!("{approval}/withdraw"),
        format!("/api/v3/runs/{}/20260131-120000-aaaa/cancel", host.id),
        "/api/v3/held-images/sha256:00/let-go".into(),
        format!("/api/v3/agents/{}/scan", host.id),
        format!("/api/v3/agents/{}/approve", host.id),
        format!("/api/v3/agents/{}/revoke", host.id),
        format!("/api/v3/agents/{}/move", host.id),
    ] {
        let broken = master.post(&call).key(ADMIN).raw("{");
        says(&broken.expect(400).await, "invalid_json", "not JSON");
        says(&master.admin_post(&call, json!([1])).expect(400).await, "invalid_body", "object");
        says(
            &master.admin_post(&call, json!({ "force": 1 })).expect(400).await,
            "invalid_body",
            "field `force`",
        );
    }
    assert_eq!(master.admin_get("/api/v3/order-key").expect(200).await.json()["fingerprint"], key);
    let standing = master.admin_get(&approval).expect(200).await.json();
    assert_eq!(standing["approvals"][0]["status"], "ordered");
    // A second yes to what needs none is no success.
    says(
        &master.admin_post(&format!("{approval}/second"), json!({})).expect(409).await,
        "no_second_needed",
        "",
    );
    master.admin_post(&format!("{approval}/withdraw"), json!({})).expect(200).await;
    master.stop().await;
}

#[actix_web::test]
async fn hosts_that_are_not_on_the_list_start_nothing_and_take_no_time_of_others() {
    let master = TestMaster::start().await;
    let host = Host::new(&master, "web-1").await;
    let before = master.admin_get("/api/v3/tree").expect(200).await.text;
    // given: thousands of ids that nobody has, some of them longer than any, posted side by side
    let mut ids: Vec<String> = (0..10_000).map(|number| format!("nobody-{number}")).collect();
    ids.push("x".repeat(100_000));
    let asked = join_all(
        (0..4).map(|_| master.admin_post("/api/v3/plans", json!({ "agents": ids, "what": "all" })).send()),
    )
    .await;
    for answer in asked {
        assert_eq!(answer.status, 404, "{}", answer.text.chars().take(300).collect::<String>());
        assert_eq!(answer.json()["left"].as_array().unwrap().len(), ids.len());
        assert!(answer.json().get("request").is_none());
    }
    // then: no actor was started for one of them, and who is on the list is asked
    let after = master.admin_get("/api/v3/tree").expect(200).await.text;
    assert!(!after.contains("nobody-") && !before.contains("nobody-"), "actors were started");
    planned(&master, &host).await;
    master.stop().await;
}

#[actix_web::test]
async fn the_admin_token_and_the_socket_are_one_person() {
    let settings = MasterSettings { second_approval: true, ..MasterSettings::default() };
    let master = TestMaster::with_actors(settings).await;
    let host = Host::new(&master, "web-1").await;
    let (path, plan) = planned(&master, &host).await;
    let given =
        master.admin_post(&format!("{path}/approve"), json!({ "plan": plan })).expect(202).await.json();
    let second = format!("/api/v3/approvals/{}/second", given["approval"].as_str().unwrap());
    // when: whoever holds the token comes again, over the socket of the master's host
    let local = master
        .local_client()
        .post(format!("http://localhost{second}"))
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    let (status, text) = (local.status().as_u16(), local.text().await.unwrap());
    assert!(status == 409 && text.contains("one person"), "{status} {text}");
    says(
        &master.admin_post(&second, json!({})).expect(409).await,
        "cannot_approve",
        "a second person has to say yes",
    );
    master.stop().await;
}

#[actix_web::test]
async fn a_yes_that_passes_hosts_over_names_each_and_is_a_success() {
    let master = TestMaster::start().await;
    let (one, other) = (Host::new(&master, "web-1").await, Host::new(&master, "web-2").await);
    let body = json!({ "agents": [one.id, other.id], "what": "all" });
    let asked = master.admin_post("/api/v3/plans", body).expect(202).await.json();
    one.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    other.answers(json!([upgrade("bash", "1.2"), upgrade("curl", "2")]), json!({})).await;
    let path = format!("/api/v3/plans/{}", asked["request"].as_str().unwrap());
    let plans = master.admin_get(&path).expect(200).await.json()["plans"].clone();
    let is_of_one = |plan: &&Value| plan["hosts"][0]["agent_id"] == one.id;
    let plan = plans.as_array().unwrap().iter().find(is_of_one).unwrap()["id"].clone();
    let approve = format!("{path}/approve");
    let refused = master.admin_post(&approve, json!({ "plan": plan, "mode": "all" })).expect(400).await;
    says(&refused, "invalid", "`mode`");
    // when: hosts with other plans are to be passed over, then: they are named, and the others are told
    let done = master.admin_post(&approve, json!({ "plan": plan, "mode": "skip" })).expect(202).await.json();
    assert_eq!(done["agents"], json!([one.id]));
    let [left] = &done["left"].as_array().unwrap()[..] else { panic!("{done}") };
    assert!(left["agent_id"] == other.id && left["code"] == "passed_over", "{left}");
    // when: what differs is more than versions, then: no yes of that plan reaches it
    let beyond = json!({ "plan": plan, "mode": "same_scope", "agents": [other.id] });
    says(&master.admin_post(&approve, beyond).expect(409).await, "cannot_approve", "`curl`");
    master.stop().await;
}
