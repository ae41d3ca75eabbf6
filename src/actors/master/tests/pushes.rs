//! What was pushed to registries, and which hosts are told to look.

use std::collections::BTreeSet;

use super::*;
use crate::domain::event::Event;
use crate::domain::registry::{Answer, Ask, Outcome, Reference, Tags};
use crate::domain::update::{Checked, Findings, Kind};
use crate::registry::Lookup;

/// Notes what is forgotten.
#[derive(Default)]
struct Forgetting(Mutex<Vec<String>>);

#[async_trait]
impl Lookup for Forgetting {
    async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
        asks.iter().map(|_| Answer { content: Outcome::NotAsked, tags: Tags::NotAsked }).collect()
    }
}

impl Registries for Forgetting {
    fn forget(&self, registry: &str, repository: &str) {
        self.0.lock().push(format!("{registry}/{repository}"));
    }

    fn forget_registry(&self, registry: &str) {
        self.0.lock().push(registry.to_owned());
    }
}

/// A master that does not wait long between pushes, and what its desk forgot.
async fn rig() -> (Rig, Arc<Forgetting>) {
    let settings = MasterSettings {
        push_settles: Duration::from_millis(50),
        push_rests: Duration::ZERO,
        ..MasterSettings::default()
    };
    let registries = Arc::new(Forgetting::default());
    let db = Db::in_memory(Io::current()).await.unwrap();
    (Rig::asking(db, settings, registries.clone()).await, registries)
}

/// An agent on whose host these images run.
async fn running(rig: &Rig, is_native: bool, images: &[&str]) -> AgentId {
    let (agent, raw) = rig.agent().await;
    if is_native {
        rig.register(&raw, native(Some(&agent))).await.unwrap();
    }
    rig.master.approve(&agent, "admin").await.unwrap();
    let item = |name: &&str| {
        serde_json::from_value(serde_json::json!({ "name": name, "standing": "same", "severity": "moderate",
            "containers": [format!("c-{name}")] }))
    };
    let items: Vec<_> = images.iter().map(|name| item(name).unwrap()).collect();
    let checked = Checked {
        kind: Kind::DockerImage,
        ok: true,
        as_of: None,
        problem: None,
        is_complete: true,
        digest: "d".into(),
        count: items.len(),
        pending: 0,
    };
    rig.report(&agent, vec![Report::Findings { findings: Findings { checked, items } }]).await;
    agent
}

fn tags(names: &[&str]) -> BTreeSet<Reference> {
    names.iter().map(|name| Reference::parse(name).unwrap()).collect()
}

/// How often an agent was told to look, and by whom.
async fn told(rig: &Rig, agent: &AgentId) -> Vec<String> {
    let events = db::events::list_stream(rig.db(), &Stream::commands(agent), 0, 100).await.unwrap();
    let queued = events.into_iter().filter(|row| matches!(row.event, Event::Command(_)));
    let is_queued =
        |row: &db::events::EventRow| serde_json::to_value(&row.event).unwrap()["type"] == "command_queued";
    queued.filter(is_queued).map(|row| row.actor).collect()
}

#[test]
fn many_pushes_have_each_host_that_runs_the_image_look_once_and_no_other() {
    run(async {
        let (rig, registries) = rig().await;
        let both = running(&rig, true, &["reg.example/app:1", "nginx:latest"]).await;
        let one = running(&rig, true, &["nginx:latest"]).await;
        let other = running(&rig, true, &["reg.example/app:2", "other.example/app:1", "fence:1"]).await;
        let foreign = running(&rig, false, &["nginx:latest"]).await;
        // when
        for _ in 0..20 {
            rig.master.pushed(tags(&["reg.example/app:1", "nginx", "nobody:1"])).unwrap();
            rig.master.pushed(tags(&["reg.example/app:1"])).unwrap();
        }
        // then
        until("both are told", async || {
            told(&rig, &both).await.len() == 1 && told(&rig, &one).await.len() == 1
        })
        .await;
        assert_eq!(
            *registries.0.lock(),
            ["docker.io/library/nginx", "docker.io/library/nobody", "reg.example/app"]
        );
        rig.master.pushed(tags(&["fence:1"])).unwrap();
        until("the next round", async || !told(&rig, &other).await.is_empty()).await;
        for agent in [&both, &one, &other] {
            assert_eq!(told(&rig, agent).await, ["registry"]);
        }
        assert!(told(&rig, &foreign).await.is_empty(), "it could not be told");
        // One that was told and has not come for it has enough to do.
        rig.master.pushed(tags(&["nginx", "fence:1"])).unwrap();
        rig.master.lease_commands(&other, 10, Dialect::Native).await.unwrap();
        rig.master.pushed(tags(&["fence:1"])).unwrap();
        until("one that came is told again", async || told(&rig, &other).await.len() == 2).await;
        assert_eq!(told(&rig, &one).await.len(), 1);
    });
}

#[test]
fn a_login_that_changes_has_the_desk_forget_its_registry() {
    run(async {
        let (rig, registries) = rig().await;
        let set = |password: &str| {
            rig.master.set_registry_login(
                "https://index.docker.io/v1/",
                "bob",
                password.to_owned().into(),
                "ann",
            )
        };
        set("pw").await.unwrap();
        set("pw2").await.unwrap();
        rig.master.remove_registry_login("docker.io", "ann").await.unwrap();
        assert!(matches!(
            rig.master.remove_registry_login("docker.io", "ann").await,
            Err(MasterError::LoginNotFound)
        ));
        assert_eq!(*registries.0.lock(), ["docker.io"; 3]);
    });
}
