//! What RedFlag's agents report of updates, and what becomes of what nobody can read.

use serde_json::{Value, json};

use super::{FlagAgent, apt, report, unlimited};

#[actix_web::test]
async fn items_that_cannot_be_read_are_named_at_the_agent_and_touch_no_other() {
    let master = unlimited().await;
    let agent = FlagAgent::join(&master, "web-1").await;
    let items = json!([apt("curl", "2"), {"package_type": "snap", "package_name": "<b>core"}, 7]);
    let answer = agent.post("/updates", report("", items), 200).await.json();
    assert_eq!((&answer["count"], &answer["unreadable"]), (&json!(3), &json!(2)));
    // then the agent says it, and the row that was read says nothing
    let seen = agent.seen().await;
    let problem = seen["problem"].as_str().unwrap();
    for words in [
        "2 of the 3 items",
        "number 2 (`<b>core`, of the unknown `package_type` `snap`)",
        "number 3 (it is a number",
    ] {
        assert!(problem.contains(words), "{words}: {problem}");
    }
    let listed = master.admin_get("/api/v3/updates").expect(200).await.json();
    assert_eq!(listed["updates"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed["updates"][0]["name"], &listed["updates"][0]["problem"]),
        (&json!("curl"), &Value::Null)
    );
    let summary = master.admin_get("/api/v3/updates/summary").expect(200).await.json();
    assert_eq!(summary["hosts_with_problems"], 0);
    // when the next report is whole
    agent.post("/updates", report("", json!([apt("curl", "2")])), 200).await;
    assert_eq!(agent.seen().await["problem"], Value::Null);
    master.stop().await;
}

#[actix_web::test]
async fn updates_of_a_revoked_agent_are_listed_and_counted_no_more() {
    let master = unlimited().await;
    let (gone, there) = (FlagAgent::join(&master, "web-1").await, FlagAgent::join(&master, "web-2").await);
    for agent in [&gone, &there] {
        agent.post("/updates", report("", json!([apt("curl", "2")])), 200).await;
    }
    let count = async || {
        let theirs = master.admin_get("/api/v1/updates").expect(200).await.json();
        let ours = master.admin_get("/api/v3/updates/summary").expect(200).await.json();
        let stats = master.admin_get("/api/v1/stats/summary").expect(200).await.json();
        [&theirs["total"], &theirs["stats"]["pending_updates"], &ours["pending"], &stats["pending_updates"]]
            .map(|number| number.as_u64().unwrap())
    };
    assert_eq!(count().await, [2; 4]);
    let path = format!("/api/v3/updates?agent_id={}", gone.id);
    let listed = master.admin_get(&path).expect(200).await.json();
    let id = listed["updates"][0]["id"].as_str().unwrap().to_owned();
    master.admin_post(&format!("/api/v3/agents/{}/revoke", gone.id), json!({})).expect(200).await;
    assert_eq!(count().await, [1; 4]);
    assert_eq!(gone.updates("").await, []);
    // Who asks for one by its id is shown it.
    master.admin_get(&format!("/api/v3/updates/{id}")).expect(200).await;
    assert_eq!(there.updates("").await.len(), 1);
    master.stop().await;
}
