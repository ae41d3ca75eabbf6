//! Agents that speak from another machine than before.

use super::*;
use crate::actors::master::fleet::Work;
use crate::domain::host::Host;

fn machine(id: Option<&str>, name: &str) -> Vec<Report> {
    let host = Host { machine_id: id.map(str::to_owned), hostname: Some(name.into()), ..Host::default() };
    vec![Report::Host { host: Box::new(host) }]
}

/// An enrolled agent in a native session with a route, that told of machine `a`.
async fn at_home(rig: &Rig) -> AgentId {
    let (agent, raw) = rig.enrolled("edge").await;
    rig.register(&raw, native(Some(&agent))).await.unwrap();
    rig.report(&agent, snapshot(&[container("web", "c1", "a.example.com")])).await;
    rig.report(&agent, machine(Some("a"), "home")).await;
    agent
}

async fn changes(rig: &Rig, agent: &AgentId) -> usize {
    rig.events(&Stream::agent(agent), "agent_machine_changed").await
}

async fn known_machine(rig: &Rig, agent: &AgentId) -> Option<String> {
    db::updates::find_host(rig.db(), agent).await.unwrap().unwrap().host.machine_id
}

#[test]
fn an_agent_on_another_machine_waits_for_a_person_and_keeps_what_it_published() {
    run(async {
        let rig = Rig::start().await;
        let agent = at_home(&rig).await;
        let slot = rig.master.directory.slot(&agent).unwrap();
        assert!(slot.pending_commands(), "the start of its tunnel waits for it");

        rig.report(&agent, machine(Some("b"), "home")).await;

        assert_eq!((rig.status(&agent).await, slot.status()), (AgentStatus::Pending, AgentStatus::Pending));
        let row = db::agents::get_agent(rig.db(), &agent).await.unwrap();
        assert!(row.other_machine.is_some() && row.tunnel_id.is_some());
        // It is served nothing: a command carries the token of the tunnel.
        assert!(rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap().is_empty());
        until("no poll is woken for it", async || !slot.pending_commands()).await;
        let scan = rig.master.scan_now(&agent, "admin").await.unwrap_err().to_string();
        assert!(scan.contains("approve it"), "{scan}");
        // What it says takes nothing away, and gives it nothing.
        rig.report(&agent, snapshot(&[container("other", "c2", "b.example.com")])).await;
        assert_eq!(rig.hostnames(&agent).await, ["a.example.com"]);
        assert_eq!(rig.routes(&agent).await[0].state, RouteState::Active);
        // The first machine that comes again decides nothing either.
        rig.report(&agent, machine(Some("a"), "home")).await;
        assert_eq!((rig.status(&agent).await, changes(&rig, &agent).await), (AgentStatus::Pending, 1));
        // A master that starts anew reads the same.
        let rig = rig.restart().await;
        assert_eq!(rig.master.directory.slot(&agent).unwrap().status(), AgentStatus::Pending);
    });
}

#[test]
fn approving_an_agent_takes_the_machine_that_it_speaks_from() {
    run(async {
        let rig = Rig::start().await;
        let agent = at_home(&rig).await;
        rig.report(&agent, machine(Some("b"), "home")).await;

        rig.master.approve(&agent, "admin").await.unwrap();

        let row = db::agents::get_agent(rig.db(), &agent).await.unwrap();
        assert_eq!((row.status, row.other_machine), (AgentStatus::Enrolled, None));
        let slot = rig.master.directory.slot(&agent).unwrap();
        until("its commands wait for it again", async || slot.pending_commands()).await;
        assert_eq!(rig.master.lease_commands(&agent, 10, Dialect::Native).await.unwrap().len(), 1);
        rig.report(&agent, machine(Some("b"), "renamed")).await;
        assert_eq!(rig.status(&agent).await, AgentStatus::Enrolled);
        // Now it is the first one that is another.
        rig.report(&agent, machine(Some("a"), "home")).await;
        assert_eq!((rig.status(&agent).await, changes(&rig, &agent).await), (AgentStatus::Pending, 2));
    });
}

#[test]
fn a_machine_that_tells_no_id_is_the_one_that_is_known() {
    run(async {
        let rig = Rig::start().await;
        let agent = at_home(&rig).await;
        for (id, name) in [(None, "0f1e2d"), (Some("a"), "elsewhere"), (None, "again")] {
            rig.report(&agent, machine(id, name)).await;
            assert_eq!(rig.status(&agent).await, AgentStatus::Enrolled, "{id:?} {name}");
            assert_eq!(known_machine(&rig, &agent).await.as_deref(), Some("a"), "{id:?} {name}");
        }
        rig.report(&agent, machine(Some("b"), "again")).await;
        assert_eq!(rig.status(&agent).await, AgentStatus::Pending);
    });
}

#[test]
fn a_host_that_nobody_said_yes_to_may_change_its_machine() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.agent().await;
        for id in ["a", "b"] {
            rig.report(&agent, machine(Some(id), "home")).await;
            assert_eq!(known_machine(&rig, &agent).await.as_deref(), Some(id));
        }
        assert_eq!(changes(&rig, &agent).await, 0);
        rig.master.enroll(&agent, "edge", "admin").await.unwrap();
        rig.report(&agent, machine(Some("b"), "home")).await;
        assert_eq!(rig.status(&agent).await, AgentStatus::Enrolled);
    });
}

#[test]
fn nothing_is_withdrawn_from_an_agent_that_waits_for_a_person_again() {
    run(async {
        let grace = Duration::from_secs(2);
        let rig = Rig::with(MasterSettings { grace, ..MasterSettings::default() }).await;
        let agent = at_home(&rig).await;
        let app = container("web", "c1", "a.example.com");
        rig.report(&agent, gone(&app, GoneCause::Stopped)).await;
        rig.report(&agent, machine(Some("b"), "home")).await;

        let route = rig.routes(&agent).await.remove(0);
        let RouteState::PendingDeletion { due_at, .. } = route.state else { panic!("{route:?}") };
        until("its grace is over", async || rig.master.clock.now() > due_at).await;
        // The mirror takes its messages in order: once the report is answered it has looked.
        rig.master.env.fleet.nudge(&agent, Work::Due);
        rig.report(&agent, seen(&container("other", "c2", "b.example.com"))).await;

        assert_eq!(rig.hostnames(&agent).await, ["a.example.com"]);
        assert_eq!(rig.events(&Stream::routes(&agent), "route_released").await, 0);
        rig.master.approve(&agent, "admin").await.unwrap();
        until("its grace goes on", async || rig.hostnames(&agent).await == ["b.example.com"]).await;
    });
}
