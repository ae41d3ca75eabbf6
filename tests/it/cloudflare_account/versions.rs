//! A connector that does not take the configuration that was written.

use std::time::Duration;

use lightship::db::cloudflare::{TunnelConnectorsRow, find_tunnel_connectors};
use lightship::domain::id::TunnelId;

use super::APP;
use crate::support::account::TestAccount;
use crate::support::cloudflare::Op;
use crate::support::until::until;

async fn row(test: &TestAccount, tunnel: &TunnelId) -> Option<TunnelConnectorsRow> {
    find_tunnel_connectors(&test.db, tunnel).await.unwrap()
}

#[actix_web::test]
async fn a_connector_that_stays_behind_has_its_configuration_written_once_more_and_no_more() {
    // given: a tunnel at version 2, and a connector at version 1
    let test = TestAccount::on_a_moved_clock().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    test.claims("a", "other.example.com").await;
    test.until_state("a", "other.example.com", "published").await;
    test.until_quiet().await;
    test.standin.connect(tunnel.as_str(), "behind", 1);
    assert_eq!(test.tunnel_status(&tunnel).await.unwrap().config_version, Some(2));

    // when: a minute goes by
    test.time_passes(Duration::from_secs(61)).await;

    // then: it is noted, and nothing is written
    let noted = until("it is noted", async || row(&test, &tunnel).await).await;
    assert_eq!(noted.listed.connectors[0].config_version, Some(1));
    assert_eq!((noted.written_again, test.standin.calls_of(Op::PutConfig).len()), (None, 2));

    // when: a few minutes more
    test.time_passes(Duration::from_secs(121)).await;

    // then: it is written once more
    let is_written = || test.standin.calls_of(Op::PutConfig).len() == 3;
    until("it is written again", async || is_written().then_some(())).await;
    assert_eq!(row(&test, &tunnel).await.unwrap().written_again, Some(2));
    test.until_quiet().await;

    // when: it stays behind
    for _ in 0..5 {
        test.time_passes(Duration::from_secs(331)).await;
        test.until_quiet().await;
    }

    // then: there is no loop
    assert_eq!(test.standin.calls_of(Op::PutConfig).len(), 3);

    // when: it takes it
    test.standin.connect(tunnel.as_str(), "behind", 3);
    test.time_passes(Duration::from_secs(331)).await;

    // then: another one that is missed may be written again
    until("it is forgotten", async || row(&test, &tunnel).await.filter(|row| row.written_again.is_none()))
        .await;
}
