//! Finding and making tunnels, and those that stop to take what is written at Cloudflare.

use std::time::Duration;

use lightship::actors::master::{Account, MasterError};
use lightship::clock::Clock;
use lightship::db::tunnels::{OwnedTunnelRow, find_owned_tunnel};
use lightship::db::{Batch, RowChange};
use lightship::domain::id::AccountId;

use super::APP;
use crate::support::account::TestAccount;
use crate::support::cloudflare::{ACCOUNT, Fault, Op, Trouble};

#[actix_web::test]
async fn a_tunnel_that_cannot_be_ours_is_refused() {
    let test = TestAccount::start().await;
    test.standin.add_tunnel("hand-made", "local");
    let limit = Duration::from_secs(10);

    let local = test.account.provide_tunnel("hand-made", limit).await.unwrap_err();
    test.standin.inject(Fault::on(Op::ListTunnels, denied()));
    let refused = test.account.provide_tunnel("new", limit).await.unwrap_err();

    assert!(matches!(local, MasterError::TunnelIsLocal(_)), "{local}");
    assert!(matches!(&refused, MasterError::Cloudflare(words) if words.contains("Authentication error")));
}

#[actix_web::test]
async fn a_tunnel_is_never_made_twice() {
    let test = TestAccount::with_time_limit(Duration::from_millis(300)).await;
    let limit = Duration::from_secs(10);
    test.standin.inject(Fault::on(Op::CreateTunnel, Trouble::NeverAnswers).after_effect());

    let found = test.account.provide_tunnel("edge", limit).await.unwrap();
    let again = test.account.provide_tunnel("edge", limit).await.unwrap();

    assert_eq!(found.tunnel_id, again.tunnel_id);
    assert!(found.is_made, "it was not there before that call");
    assert_eq!(test.standin.calls_of(Op::CreateTunnel).len(), 1);
}

#[actix_web::test]
async fn a_tunnel_whose_making_nobody_heard_the_end_of_is_ours_and_one_of_others_is_not() {
    // given: what is there if the master is killed right after the call
    let test = TestAccount::start().await;
    let limit = Duration::from_secs(10);
    let row = OwnedTunnelRow {
        account_id: AccountId::new(ACCOUNT),
        name: "edge".into(),
        tunnel_id: None,
        created_at: Clock::system().now(),
        is_settled: false,
    };
    test.db.commit(Batch::new("system", row.created_at).row(RowChange::PutOwnedTunnel(row))).await.unwrap();
    for name in ["edge", "theirs"] {
        test.standin.add_tunnel(name, "cloudflare");
    }

    // when
    let ours = test.account.provide_tunnel("edge", limit).await.unwrap();
    let theirs = test.account.provide_tunnel("theirs", limit).await.unwrap();

    // then
    assert!(ours.is_made);
    assert!(!theirs.is_made);
    assert!(test.standin.calls_of(Op::CreateTunnel).is_empty());
    let row = find_owned_tunnel(&test.db, &AccountId::new(ACCOUNT), "edge").await.unwrap().unwrap();
    assert_eq!((row.tunnel_id, row.is_settled), (Some(ours.tunnel_id), true));
    assert_eq!(find_owned_tunnel(&test.db, &AccountId::new(ACCOUNT), "theirs").await.unwrap(), None);

    // when ours is deleted and somebody makes another one
    test.standin.state().tunnels.iter_mut().for_each(|tunnel| tunnel.is_deleted = true);
    test.standin.add_tunnel("edge", "cloudflare");
    let again = test.account.provide_tunnel("edge", limit).await.unwrap();

    // then
    assert!(!again.is_made);
}

#[actix_web::test]
async fn a_tunnel_that_became_local_blocks_its_routes_and_is_not_written_to() {
    const OTHER: &str = "b.example.com";
    // given
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    let set_source = |source: &str| {
        test.standin.state().tunnel_mut(tunnel.as_str()).unwrap().config_src = source.into();
    };
    set_source("local");
    let puts = test.standin.calls_of(Op::PutConfig).len();

    // when
    test.claims("a", OTHER).await;
    let row = test.until_state("a", OTHER, "blocked").await;

    // then
    let reason = row.reason.unwrap();
    assert!(reason.contains("configured locally") && reason.contains("remotely managed"), "{reason}");
    assert_eq!(test.status_of("a", APP).await.unwrap().reason.as_deref(), Some(reason.as_str()));
    assert_eq!(test.tunnel_status(&tunnel).await.unwrap().reason, Some(reason));
    let plan = test.account.plan().await.unwrap();
    assert_eq!((plan.changes.len(), plan.blocked.len()), (0, 2), "{plan:?}");
    assert_eq!(test.standin.calls_of(Op::PutConfig).len(), puts);
    assert!(test.standin.records(OTHER).is_empty());

    set_source("cloudflare");
    test.interval_passes().await;
    test.until_state("a", APP, "published").await;
    test.until_state("a", OTHER, "published").await;
}

#[actix_web::test]
async fn a_tunnel_is_gone_only_if_cloudflare_says_so() {
    let test = TestAccount::start().await;
    let limit = Duration::from_secs(10);
    let tunnel = test.account.provide_tunnel("edge", limit).await.unwrap().tunnel_id;
    let has_it = async || test.account.has_tunnel(&tunnel, limit).await;

    assert!(has_it().await.unwrap());
    assert_eq!(test.standin.calls_of(Op::GetTunnel).len(), 1, "one read says it");
    test.standin.inject(Fault::on(Op::GetTunnel, denied()));
    assert!(matches!(has_it().await, Err(MasterError::Cloudflare(_))));
    // As for an account that there is not.
    let elsewhere =
        Trouble::Refused { status: 404, code: 7003, message: "Could not route to the account".into() };
    test.standin.inject(Fault::on(Op::GetTunnel, elsewhere));
    assert!(matches!(has_it().await, Err(MasterError::Cloudflare(_))));
    test.standin.state().tunnel_mut(tunnel.as_str()).unwrap().is_deleted = true;
    assert!(!has_it().await.unwrap());
    test.standin.state().tunnels.clear();
    assert!(!has_it().await.unwrap());
}

fn denied() -> Trouble {
    Trouble::Refused { status: 403, code: 10000, message: "Authentication error".into() }
}
