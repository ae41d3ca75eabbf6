//! Containers that move, double and crash, as their visitors see it at Cloudflare.

use serde_json::{Value, json};

use crate::support::cloudflare::Op;
use crate::support::master::TestMaster;

const NAME: &str = "app.example.com";

fn app(id: &str, name: &str, service: &str) -> Value {
    let labels = json!({
        "dockflare.enable": "true", "dockflare.hostname": NAME, "dockflare.service": service,
    });
    json!({ "id": id, "name": name, "labels": labels })
}

/// A host with its key, its id and its tunnel.
struct Host {
    key: String,
    id: String,
    tunnel: String,
}

impl Host {
    async fn new(master: &TestMaster, name: &str) -> Self {
        let (key, id) = master.new_agent(name).await;
        let enrolled = master.enroll(&id, &format!("edge-{name}")).await;
        Self { key, id, tunnel: enrolled["command"]["tunnel_id"].as_str().unwrap().to_owned() }
    }

    async fn says(&self, master: &TestMaster, event: Value) {
        master
            .post(&format!("/api/v2/agents/{}/events", self.id))
            .key(&self.key)
            .json(event)
            .expect(202)
            .await;
    }

    async fn reports(&self, master: &TestMaster, containers: &[Value]) {
        self.says(master, json!({ "type": "status_report", "container": { "containers": containers } }))
            .await;
    }
}

/// Waits until the route is published by this host; returns it.
async fn published_by(master: &TestMaster, host: &Host) {
    let by = |rule: &Value| rule["status"] == "active" && rule["agent_id"] == host.id.as_str();
    master.until_services("it is published there", |rules| rules.len() == 1 && rules.iter().all(by)).await;
}

#[actix_web::test]
async fn a_container_that_comes_up_on_another_host_takes_its_name_along() {
    // given
    let master = TestMaster::start().await;
    let (one, two) = (Host::new(&master, "one").await, Host::new(&master, "two").await);
    one.reports(&master, &[app("c1", "app", "http://app:80")]).await;
    published_by(&master, &one).await;
    let record = master.standin.records(NAME)[0].id.clone();
    // when
    one.reports(&master, &[]).await;
    two.reports(&master, &[app("c2", "app", "http://app:80")]).await;
    // then
    published_by(&master, &two).await;
    let target = format!("{}.cfargotunnel.com", two.tunnel);
    master
        .standin
        .until("the record leads there", |state| {
            state.records.iter().any(|record| record.name == NAME && record.content == target)
        })
        .await;
    assert_eq!(master.standin.records(NAME)[0].id, record, "the record was moved");
    assert!(master.standin.calls_of(Op::DeleteRecord).is_empty(), "it was never missing");
    assert_eq!(master.standin.hostnames(&two.tunnel), [NAME]);
}

#[actix_web::test]
async fn copies_of_one_service_are_one_route_and_the_end_of_one_writes_nothing() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    let copies = ["web-1", "web-2"].map(|name| app(name, name, "http://web:80"));
    host.reports(&master, &copies).await;
    published_by(&master, &host).await;
    let problems = master.admin_get("/api/v3/routes").expect(200).await.json()["label_problems"].clone();
    assert_eq!(problems, json!([]));
    let writes = || master.standin.calls_of(Op::PutConfig).len();
    let before = writes();
    // when
    host.says(&master, json!({ "type": "container_stop", "container": copies[0] })).await;
    host.reports(&master, &copies[1..]).await;
    // then
    published_by(&master, &host).await;
    // A change of another name is written after it, and alone.
    let mut other = app("other", "other", "http://other:80");
    other["labels"]["dockflare.hostname"] = json!("other.example.com");
    host.reports(&master, &[copies[1].clone(), other]).await;
    master
        .until_services("both are there", |rules| {
            rules.iter().filter(|r| r["status"] == "active").count() == 2
        })
        .await;
    assert_eq!(writes(), before + 1);
    // and what asks for something else is a conflict still
    host.reports(&master, &[copies[1].clone(), app("web-3", "web-3", "http://elsewhere:80")]).await;
    let problems = master.admin_get("/api/v3/routes").expect(200).await.json()["label_problems"].clone();
    assert_eq!(problems.as_array().unwrap().len(), 1, "{problems}");
}

#[actix_web::test]
async fn a_recreation_that_failed_half_way_leaves_no_gap() {
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    let new = app("b", "shop", "http://shop:80");
    host.reports(&master, &[app("a", "shop", "http://shop:80")]).await;
    published_by(&master, &host).await;
    let before = master.standin.calls_of(Op::PutConfig).len();
    host.reports(&master, &[app("a", "aaaaaaaaaaaa_shop", "http://shop:80"), new.clone()]).await;
    published_by(&master, &host).await;
    host.reports(&master, &[new]).await;
    published_by(&master, &host).await;
    assert!(master.standin.calls_of(Op::DeleteRecord).is_empty());
    assert!(master.standin.calls_of(Op::PutConfig).len() <= before + 1);
}

#[actix_web::test]
async fn a_container_that_crashes_all_night_calls_nobody() {
    // given
    let master = TestMaster::start().await;
    let host = Host::new(&master, "one").await;
    let web = app("c1", "app", "http://app:80");
    host.reports(&master, std::slice::from_ref(&web)).await;
    published_by(&master, &host).await;
    let calls = || {
        [Op::PutConfig, Op::CreateRecord, Op::PutRecord, Op::DeleteRecord]
            .map(|op| master.standin.calls_of(op).len())
    };
    let before = calls();
    let events = async || {
        master.admin_get("/api/v3/events?limit=1000").expect(200).await.json()["events"]
            .as_array()
            .unwrap()
            .len()
    };
    let written = events().await;
    // when
    for _ in 0..30 {
        host.says(&master, json!({ "type": "container_die", "container": web })).await;
        host.says(&master, json!({ "type": "container_stop", "container": web })).await;
        host.says(&master, json!({ "type": "container_start", "container": web })).await;
    }
    // then
    published_by(&master, &host).await;
    assert!(events().await - written <= 21, "{} events", events().await - written);
    assert_eq!(calls(), before);
}
