//! Sessions and keys that end.

use super::*;
use crate::domain::update::{Finding, Findings, HostScan, Kind, Standing};

#[test]
fn a_forgotten_session_is_renewed_at_once() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = settled(&master, &dir).await;
        master.forget();
        let mut once = true;
        master.answer_with(move |heard| {
            matches!(heard, Heard::Batch(_) if std::mem::take(&mut once))
                .then(|| refused(409, Some("session_unknown")))
        });

        agent.reporter.tell(ContainerNews::Started(container("b"))).unwrap();
        let sent = master.until(2, batches).await;

        assert_eq!(sent[1].0, 0, "a new session counts from zero");
        assert!(sent[1].1.contains(&snapshot(&["a", "b"])));
        let (asked, told) = (master.heard()[1].0, master.heard()[0].0);
        assert!(asked - told < Duration::from_millis(5), "it took {:?}", asked - told);
    });
}

#[test]
fn a_master_that_offers_a_session_and_refuses_it_is_not_stormed() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        master.answer_with(|heard| matches!(heard, Heard::Batch(_)).then(|| refused(404, None)));
        let _agent = TestAgent::reporting(&master, &dir).await;

        sleep(secs(600)).await;

        let count = master.picked(registrations).len();
        assert!((30..300).contains(&count), "{count} registrations in ten minutes");
    });
}

#[test]
fn a_refused_key_is_tried_again_slowly_and_for_ever() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = TestAgent::reporting(&master, &dir).await;
        master.until(1, batches).await;
        master.answer_with(|_| Some(refused(401, None)));
        sleep(secs(40)).await;
        master.forget();

        sleep(secs(3600)).await;
        let times: Vec<_> = master.heard().iter().map(|(at, _)| *at).collect();
        assert!(times.windows(2).all(|w| (secs(15)..=secs(61)).contains(&(w[1] - w[0]))), "{times:?}");
        let status = agent.reporter.ask(GetStatus, secs(1)).await.unwrap();
        assert_eq!(status.state, "registering");
        assert!(status.problem.unwrap().contains("401"));

        master.come_back();
        master.forget();
        master.until(1, batches).await;
    });
}

#[test]
fn a_native_route_that_is_gone_ends_the_session() {
    paused(async {
        for status in [404, 405, 415] {
            let (master, dir) = (FakeMaster::native(), temp());
            let agent = settled(&master, &dir).await;
            let mut once = true;
            master.answer_with(move |heard| {
                matches!(heard, Heard::Batch(_) if std::mem::take(&mut once)).then(|| refused(status, None))
            });

            agent.reporter.tell(ContainerNews::Started(container("b"))).unwrap();

            master.until(2, registrations).await;
            let sent = master.until(2, has_snapshot).await;
            assert!(sent[1].contains(&snapshot(&["a", "b"])), "{status}");
        }
    });
}

#[test]
fn what_a_look_found_is_sent_when_the_master_asks_for_it_and_not_before() {
    paused(async {
        let (master, dir) = (FakeMaster::native(), temp());
        let agent = settled(&master, &dir).await;
        let findings = vec![
            Findings::new(Kind::Apt, vec![Finding::new("openssl", Standing::Newer)]),
            Findings::new(Kind::DockerImage, vec![Finding::new("nginx:1", Standing::Same)]),
        ];
        let scan = Arc::new(HostScan::new(at("2026-01-31T12:00:00Z"), findings));
        // when the master lacks both, and a kind that this host does not have
        master.want(&[Kind::Apt, Kind::DockerImage, Kind::Winget]);
        agent.reporter.tell(HostSeen { scan: Arc::clone(&scan), host: Box::default() }).unwrap();
        let sent = |heard: &Heard| {
            let (_, items) = batches(heard)?;
            let kinds = items.into_iter().filter_map(|item| match item {
                Report::Host { .. } => Some("host".to_owned()),
                Report::Scanned { .. } => Some("scanned".to_owned()),
                Report::Findings { findings } => Some(findings.checked.kind.to_string()),
                _ => None,
            });
            Some(kinds.collect::<Vec<_>>()).filter(|kinds| !kinds.is_empty())
        };
        // then: each scanner's findings have a call of their own
        let all: Vec<_> = master.until(3, sent).await;
        assert_eq!(all, [vec!["host", "scanned"], vec!["apt"], vec!["docker_image"]]);
        // when it is looked at again and the master has all
        agent.reporter.tell(HostSeen { scan, host: Box::default() }).unwrap();
        assert_eq!(master.until(4, sent).await[3], ["scanned"]);
        agent.stop().await;
    });
}
