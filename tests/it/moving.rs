//! An agent gets another tunnel, or is removed: what becomes of its names and of the tunnels that it leaves.

use chrono::{DateTime, TimeDelta};
use lightship::clock::Clock;
use serde_json::{Value, json};

use crate::support::cloudflare::Op;
use crate::support::master::TestMaster;
use crate::support::until::until;

const APP: &str = "app.example.com";

/// An agent of ours with a route that is published in tunnel `edge-1`.
struct Host<'a> {
    master: &'a TestMaster,
    key: String,
    id: String,
    session: String,
    next: std::cell::Cell<u64>,
}

impl<'a> Host<'a> {
    async fn published(master: &'a TestMaster) -> Self {
        let (key, id, session) = master.new_native_agent("web-1").await;
        master.enroll(&id, "edge-1").await;
        let host = Self { master, key, id, session, next: 0.into() };
        let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": APP, "dockflare.service": "http://app:80" });
        let container = json!({ "id": "c".repeat(64), "name": "app", "labels": labels });
        host.report(json!({ "kind": "snapshot", "containers": [container] })).await;
        host.until_leads_to("edge-1").await;
        master
            .until_services("it is published", |rules| rules.iter().any(|rule| rule["status"] == "active"))
            .await;
        host
    }

    async fn report(&self, item: Value) {
        let first_seq = self.next.replace(self.next.get() + 1);
        let batch = json!({ "session": self.session, "first_seq": first_seq, "sent_at": "2026-11-21T21:00:00Z",
            "items": [item] });
        let asking = self.master.post(&format!("/api/v3/agents/{}/reports", self.id)).key(&self.key);
        asking.header("lightship-session", &self.session).json(batch).expect(202).await;
    }

    async fn record(&self) -> Value {
        let agents = self.master.admin_get("/api/v2/agents").expect(200).await.json();
        agents["agents"][&self.id].clone()
    }

    fn leads_to(&self, tunnel: &str) -> bool {
        let target = format!("{}.cfargotunnel.com", id_of(self.master, tunnel));
        self.master.standin.records(APP).iter().any(|record| record.content == target)
    }

    /// Waits until the name leads to a tunnel, and its rule is in that one alone.
    async fn until_leads_to(&self, tunnel: &str) {
        let leads = || {
            let other = if tunnel == "edge-1" { "edge-2" } else { "edge-1" };
            let (here, there) = (id_of(self.master, tunnel), id_of(self.master, other));
            let is_here = self.leads_to(tunnel) && self.master.standin.hostnames(&here) == [APP];
            is_here && (there.is_empty() || self.master.standin.hostnames(&there).is_empty())
        };
        until(&format!("the name is in `{tunnel}`"), async || leads().then_some(())).await;
    }
}

/// The id of a tunnel at the stand-in; empty if there is none.
fn id_of(master: &TestMaster, name: &str) -> String {
    let state = master.standin.state();
    let tunnel = state.tunnels.iter().find(|tunnel| tunnel.name == name && !tunnel.is_deleted);
    tunnel.map(|tunnel| tunnel.id.clone()).unwrap_or_default()
}

#[actix_web::test]
async fn names_move_to_another_tunnel_when_its_connector_is_seen_and_not_before() {
    for by_agent in [true, false] {
        // given: a published route, and an agent that is told to run another tunnel
        let master = TestMaster::start().await;
        let host = Host::published(&master).await;
        let puts = master.standin.calls_of(Op::PutRecord).len();
        master.enroll(&host.id, "edge-2").await;

        // then: nothing moves, and it is said
        let record = host.record().await;
        assert_eq!(record["moving"]["overdue"], json!(false), "{record}");
        assert!(record["moving"]["reason"].as_str().unwrap().contains("tunnel `edge-2` once"), "{record}");
        assert!(host.leads_to("edge-1"));
        assert_eq!(master.standin.hostnames(&id_of(&master, "edge-1")), [APP]);

        // when: its connector is there
        let new = id_of(&master, "edge-2");
        match by_agent {
            true => {
                let tunnel = json!({ "health": "running", "tunnel_id": new, "name": "edge-2", "ready_connections": 4 });
                host.report(json!({ "kind": "tunnel", "tunnel": tunnel })).await;
            }
            false => master.standin.connect(&new, "the-new-one", 1),
        }

        // then: the record is led over and never missing
        host.until_leads_to("edge-2").await;
        assert_eq!(host.record().await["moving"], Value::Null);
        assert_eq!(master.standin.calls_of(Op::PutRecord).len(), puts + 1, "by the agent: {by_agent}");
        assert!(master.standin.calls_of(Op::DeleteRecord).is_empty());
        master.stop().await;
    }
}

#[actix_web::test]
async fn a_wait_for_a_connector_that_ends_says_so_and_a_person_may_move_the_names_anyway() {
    // given: an agent that does not start its new tunnel
    let master =
        TestMaster::on_clock(Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap())).await;
    let host = Host::published(&master).await;
    master.enroll(&host.id, "edge-2").await;

    // when
    master.clock().jump(TimeDelta::minutes(11));

    // then
    let record = host.record().await;
    assert!(record["problem"].as_str().unwrap().contains("was not seen within 10 minutes"), "{record}");
    assert!(host.leads_to("edge-1"));

    // when
    master.admin_post(&format!("/api/v3/agents/{}/move", host.id), json!({})).expect(200).await;

    // then
    host.until_leads_to("edge-2").await;
    assert_eq!(host.record().await["moving"], Value::Null);
    master.stop().await;
}

#[actix_web::test]
async fn enrolling_with_the_first_tunnel_again_ends_the_wait() {
    let master = TestMaster::start().await;
    let host = Host::published(&master).await;
    master.enroll(&host.id, "edge-2").await;

    master.enroll(&host.id, "edge-1").await;

    assert_eq!(host.record().await["moving"], Value::Null);
    host.until_leads_to("edge-1").await;
    assert!(master.standin.calls_of(Op::PutRecord).is_empty());
    master.stop().await;
}

#[actix_web::test]
async fn a_removed_agents_tunnel_is_deleted_if_we_made_it_and_kept_else() {
    for was_there in [true, false] {
        // given: an agent whose connector is connected
        let master = TestMaster::start().await;
        if was_there {
            master.standin.add_tunnel("edge-1", "cloudflare");
        }
        let host = Host::published(&master).await;
        let tunnel = id_of(&master, "edge-1");
        master.standin.connect(&tunnel, "its-connector", 1);

        // when
        let removed =
            master.admin_post(&format!("/api/v2/agents/{}/remove", host.id), json!({})).expect(200).await;

        // then: the answer says which
        let removed = removed.json();
        let words = if was_there {
            "was there before, and is kept"
        } else {
            "is deleted once no connector is connected"
        };
        assert!(
            removed["message"]
                .as_str()
                .unwrap()
                .contains(&format!("Tunnel `edge-1` {}", if was_there { words } else { "was made for it" })),
            "{removed}"
        );
        assert_eq!(removed["cleanup"]["tunnel_will_be_deleted"], json!(!was_there));

        // then: it stays while it is served, and goes after that
        master
            .standin
            .until("its rules are gone", |_| master.standin.calls_of(Op::DeleteRecord).len() == 1)
            .await;
        assert_eq!(id_of(&master, "edge-1"), tunnel);
        master.standin.disconnect(&tunnel, "its-connector");
        if !was_there {
            until("it is deleted", async || id_of(&master, "edge-1").is_empty().then_some(())).await;
        }
        assert_eq!(master.standin.calls_of(Op::DeleteTunnel).is_empty(), was_there);
        master.stop().await;
    }
}
