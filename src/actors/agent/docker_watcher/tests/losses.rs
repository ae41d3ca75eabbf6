//! What the Engine does not tell, or the reporter does not take.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failed_listing_is_never_an_empty_one_and_never_a_crash() {
    let script = async {
        // Given an Engine that is away for a long time,
        let mut listings = vec![None; 40];
        listings.push(Some(vec![container("a")]));
        let stage = Stage::set(listings).await;

        sleep(Duration::from_secs(300)).await;

        // Then the loss was told once, and the listing once it worked.
        let mut told = stage.told();
        assert_eq!(told.remove(0), ContainerNews::ListingLost);
        let listed = ContainerNews::Listed(vec![container("a")]);
        assert!(!told.is_empty() && told.iter().all(|news| *news == listed), "{told:?}");
        assert_eq!(stage.watcher().restarts, 0);
        let asked = stage.script.lock().asked.clone();
        let waits: Vec<Duration> = asked.windows(2).take(39).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits[0] <= Duration::from_millis(150), "the first attempts come soon: {waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(7500)), "{waits:?}");
        let (low, high) = (waits[20..].iter().min().unwrap(), waits[20..].iter().max().unwrap());
        assert!(*high - *low > Duration::from_millis(500), "they do not come in step: {waits:?}");
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_held_and_ends_is_opened_again_at_once() {
    let script = async {
        let stage = Stage::set(vec![Some(vec![container("a")]), Some(vec![])]).await;
        sleep(Duration::from_secs(2)).await;
        stage.told();

        stage.script.lock().events = None;
        sleep(Duration::from_millis(10)).await;

        assert_eq!(stage.told(), [ContainerNews::Listed(vec![])]);
        assert_eq!(stage.watcher().restarts, 0);
        assert_eq!(stage.status().await.problem, None);
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn streams_that_end_at_once_are_asked_for_with_growing_waits_and_are_a_problem() {
    let script = async {
        // Given an Engine that can be listed but not watched,
        let listings = (0..100).map(|n| Some(vec![container(&n.to_string())])).collect();
        let stage = Stage::set(listings).await;
        {
            let mut script = stage.script.lock();
            (script.hangs_up, script.events) = (true, None);
        }
        stage.told();

        // then it is listed now and then,
        sleep(Duration::from_secs(30)).await;
        let told = stage.told();
        assert!((6..=14).contains(&told.len()), "{} listings in 30 s", told.len());
        assert!(told.iter().all(|news| matches!(news, ContainerNews::Listed(_))), "{told:?}");
        let status = stage.status().await;
        assert_eq!(
            (status.state, status.problem.unwrap()),
            ("watching", DockerError::StreamEnded.to_string())
        );

        // and all is well as soon as a stream holds.
        stage.script.lock().hangs_up = false;
        sleep(Duration::from_secs(10)).await;
        let status = stage.status().await;
        assert_eq!((status.problem, &status.detail["failures_in_a_row"]), (None, &json!(0)));
        stage.told();
        sleep(Duration::from_secs(30)).await;
        assert_eq!(stage.told(), []);
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_could_not_be_passed_on_is_told_later() {
    let script = async {
        // Given an Engine that goes away while the reporter takes no news,
        let mut listings = vec![Some(vec![container("a")])];
        listings.push(None);
        let stage = Stage::set(listings).await;
        sleep(Duration::from_secs(2)).await;
        stage.told();
        *stage.is_deaf.lock() = true;
        stage.script.lock().events = None;
        sleep(Duration::from_secs(30)).await;
        *stage.is_deaf.lock() = false;

        sleep(Duration::from_secs(60)).await;

        assert_eq!(stage.told(), [ContainerNews::ListingLost]);
    };
    LocalSet::new().run_until(script).await;
}

#[tokio::test(start_paused = true)]
async fn news_that_could_not_be_passed_on_come_with_a_listing_soon() {
    let script = async {
        let stage = Stage::set(vec![Some(vec![]), Some(vec![container("a")])]).await;
        sleep(Duration::from_millis(10)).await;
        stage.told();
        *stage.is_deaf.lock() = true;
        stage.happens(EngineAction::Start, &container("a")).await;
        sleep(Duration::from_millis(10)).await;
        *stage.is_deaf.lock() = false;

        sleep(Duration::from_secs(2)).await;

        assert_eq!(stage.told(), [ContainerNews::Listed(vec![container("a")])]);
    };
    LocalSet::new().run_until(script).await;
}
