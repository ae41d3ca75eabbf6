//! Sessions and keys that end.

use super::*;

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
