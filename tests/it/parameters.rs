//! What stands in an address: paths, ids, parameters. What makes no sense is refused by name.

use serde_json::json;

use crate::garbage::{Caller, said};
use crate::support::master::TestMaster;

#[actix_web::test]
async fn odd_paths_and_parameters_are_refused_by_name() {
    let master = TestMaster::start().await;
    let caller = Caller::join(&master).await;
    let get = |path: String| master.get(&path).key(&caller.key).header("lightship-session", &caller.session);
    let polls = format!("/api/v3/agents/{}/commands", caller.id);
    for (query, words) in [
        ("wait=abc", "`wait` is not allowed: send a whole number from 0 up to 50"),
        ("wait=-1", "`wait` is not allowed"),
        ("wait=1.5", "`wait` is not allowed"),
        ("max=%00", "`max` is not allowed: send a whole number from 1 up to 100"),
        ("wait=0&max=%F0%9F%9A%A2", "`max` is not allowed"),
    ] {
        let refused = get(format!("{polls}?{query}")).expect(400).await;
        assert!(said(&refused).contains(words), "{query}: {}", refused.text);
        assert_eq!(refused.json()["code"], "invalid");
    }
    for query in
        ["wait=0&wait=0&max=1000", "wait=&max=", "other=%ff&&=", "wait=0&max=99999999999999999999999"]
    {
        get(format!("{polls}?{query}")).expect(200).await;
    }
    for (query, words) in [
        ("after=x", "`after` is not allowed: send a whole number from 0"),
        ("limit=many", "`limit` is not allowed: send a whole number from 1 up to 1000"),
        ("newest=maybe", "`newest` is not allowed: send `true` or `false`"),
    ] {
        let refused = master.admin_get(&format!("/api/v3/events?{query}")).expect(400).await;
        assert!(said(&refused).contains(words), "{query}: {}", refused.text);
    }
    for odd in ["%2e%2e", "%00", "%F0%9F%9A%A2", "a%2Fb", &"x".repeat(4_000)] {
        for path in [format!("/api/v2/agents/{odd}/commands"), format!("/api/v3/agents/{odd}/commands")] {
            let answer = get(path.clone()).send().await;
            assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        }
        let path = format!("/api/v2/agents/{odd}/enroll");
        let answer = master.admin_post(&path, json!({ "tunnel_name": "edge" })).send().await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        let none = master.admin_get(&format!("/api/v3/events?stream={odd}")).expect(200).await.json();
        assert_eq!(none["events"], json!([]), "{odd}");
        let path = format!("/api/v3/agents/{}/commands/{odd}/ack", caller.id);
        let answer =
            master.post(&path).key(&caller.key).header("lightship-session", &caller.session).send().await;
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn our_own_lists_refuse_a_parameter_that_they_do_not_know() {
    let master = TestMaster::start().await;
    for (path, words) in [
        ("/api/v3/updates?agnet=x", "`agnet` is not known: send `agent_id`, `kind`"),
        ("/api/v3/updates?agent_id=x&Kind=apt", "`Kind` is not known"),
        (
            "/api/v3/events?streams=x",
            "`streams` is not known: send `after`, `before`, `newest`, `limit`, `stream`",
        ),
        ("/api/v3/updates/summary?kind=apt", "`kind` is not known: there are none here"),
        ("/api/v3/routes?hostname=x", "`hostname` is not known: there are none here"),
        ("/api/v3/access/groups?name=x", "`name` is not known: there are none here"),
        ("/api/v3/notifications/targets?name=x", "`name` is not known: there are none here"),
        ("/api/v3/notifications/outbox?of=x", "`of` is not known"),
        ("/api/v3/rules/manual?name=x", "`name` is not known: there are none here"),
        ("/api/v3/plan?x", "`x` is not known"),
        ("/api/v3/tree?x=1", "`x` is not known"),
    ] {
        let refused = master.admin_get(path).expect(400).await;
        assert!(said(&refused).contains(words), "{path}: {}", refused.text);
        assert_eq!(refused.json()["code"], "invalid");
        // Who may not look learns nothing of it.
        master.get(path).expect(401).await;
    }
    // RedFlag's clients send what its server ignores.
    for path in ["/api/v1/updates?moon=full", "/api/v1/agents?moon=full", "/api/v2/agents?moon=full"] {
        master.admin_get(path).expect(200).await;
    }
    master.stop().await;
}

#[actix_web::test]
async fn an_agent_that_calls_itself_a_place_in_a_path_is_refused() {
    let master = TestMaster::start().await;
    let (_, key) = master.make_key("lab").await;
    for id in [".", ".."] {
        let refused = master
            .post("/api/v2/agents/register")
            .key(&key)
            .json(json!({ "agent_id": id }))
            .expect(400)
            .await;
        let words = said(&refused);
        assert!(words.contains("`agent_id`") && words.contains("in a path"), "{words}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_list_of_events_says_that_there_are_more() {
    let master = TestMaster::start().await;
    for name in ["a", "b", "c"] {
        master.make_key(name).await;
    }
    let read = async |query: &str| {
        master.admin_get(&format!("/api/v3/events?stream=keys&{query}")).expect(200).await.json()
    };
    let (first, all) = (read("limit=2").await, read("limit=3").await);
    assert_eq!((first["events"].as_array().unwrap().len(), &first["more"]), (2, &json!(true)));
    assert_eq!((all["events"].as_array().unwrap().len(), &all["more"]), (3, &json!(false)));
    let after = first["events"][1]["seq"].as_u64().unwrap();
    let rest = read(&format!("after={after}")).await;
    assert_eq!((rest["events"].as_array().unwrap().len(), &rest["more"]), (1, &json!(false)));
    master.stop().await;
}
