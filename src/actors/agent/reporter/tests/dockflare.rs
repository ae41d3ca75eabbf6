//! Towards a DockFlare Master.

use serde_json::json;

use super::*;

#[test]
fn a_dockflare_master_gets_heartbeat_and_report_in_every_interval() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainerNews::Listed(vec![container("a"), container("b")])).unwrap();

        let types = master.until(4, event_types).await;
        assert_eq!(types, ["heartbeat", "status_report", "container_start", "container_start"]);
        master.forget();

        sleep(secs(300)).await;
        let types = master.picked(event_types);
        assert!((18..=22).contains(&types.len()), "{}", types.len());
        assert!(types.chunks(2).all(|pair| pair == ["heartbeat", "status_report"]), "{types:?}");
    });
}

#[test]
fn a_dockflare_master_hears_of_changes_at_once_and_one_by_one() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        agent.reporter.tell(ContainerNews::Listed(vec![container("a")])).unwrap();
        master.until(3, event_types).await;
        master.forget();

        agent.reporter.tell(TunnelObserved(running())).unwrap();
        agent.reporter.tell(ContainerNews::Stopped(ContainerId::new("a"))).unwrap();
        let sent = master.until(2, events).await;

        let state = json!({"name": "edge", "status": "running", "version": "2025.9.0"});
        assert_eq!(
            (&sent[0]["type"], &sent[0]["tunnel"], &sent[0]["container"]),
            (&json!("tunnel_status"), &state, &state)
        );
        assert_eq!(sent[1]["type"], "container_stop");
        assert_eq!(
            sent[1]["container"],
            json!({"id": "a", "name": "app-a", "labels": {"dockflare.enable": "true"}})
        );
    });
}

#[test]
fn an_agent_that_was_removed_at_a_dockflare_master_registers_at_its_next_start_only() {
    for is_seen_by_the_poller in [false, true] {
        paused(async {
            // given
            let (master, dir) = (FakeMaster::dockflare(), temp());
            let agent = TestAgent::polling(&master, &dir).await;
            master.until(1, events).await;
            // when
            master.answer_with(move |heard| {
                let is_asked = match heard {
                    Heard::Event(_) => !is_seen_by_the_poller,
                    Heard::Fetch => is_seen_by_the_poller,
                    _ => false,
                };
                is_asked.then(removed)
            });
            sleep(secs(120)).await;
            master.forget();
            sleep(secs(3600)).await;
            // then: nothing is said any more, and a restart of the actor changes nothing
            assert!(master.heard().is_empty(), "{:#?}", master.heard());
            let status = agent.reporter.ask(GetStatus, secs(1)).await.unwrap();
            assert_eq!(status.state, "removed there");
            assert!(status.problem.unwrap().contains("start the agent again"));
            agent.reporter.tell(Fail).unwrap();
            sleep(secs(600)).await;
            assert!(master.heard().is_empty(), "{:#?}", master.heard());
            // when the agent is started again, then it registers
            agent.stop().await;
            master.come_back();
            let _agent = TestAgent::polling(&master, &dir).await;
            assert_eq!(master.until(1, registrations).await[0].agent_id, Some(AgentId::new("a1")));
        });
    }
}

#[test]
fn a_404_in_other_words_than_the_masters_own_is_registered_after() {
    paused(async {
        let (master, dir) = (FakeMaster::dockflare(), temp());
        let _agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, events).await;
        let mut once = true;
        master.answer_with(move |heard| {
            matches!(heard, Heard::Event(_) if std::mem::take(&mut once)).then(|| refused(404, None))
        });

        let asked = master.until(2, registrations).await;
        assert_eq!(asked[1].agent_id, Some(AgentId::new("a1")), "under its own id");
        master.until(3, events).await;
    });
}

#[test]
fn a_master_that_was_rolled_back_is_spoken_to_as_a_dockflare_master() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = settled(&master, &dir).await;
        master.forget();

        master.roll_back();
        agent.reporter.tell(ContainerNews::Started(container("b"))).unwrap();

        let sent = master.until(2, events).await;
        assert_eq!(
            (sent[0]["type"].clone(), sent[1]["type"].clone()),
            (json!("heartbeat"), json!("status_report"))
        );
        assert_eq!(sent[1]["container"]["containers"].as_array().unwrap().len(), 2);
        let status = agent.reporter.ask(GetStatus, secs(1)).await.unwrap();
        assert_eq!((status.state, status.detail["dialect"].clone()), ("connected", json!("dockflare")));
    });
}
