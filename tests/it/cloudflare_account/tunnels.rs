//! Finding and making tunnels.

use std::time::Duration;

use lightship::actors::master::{Account, MasterError};

use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Op, Trouble};

#[actix_web::test]
async fn a_tunnel_that_cannot_be_ours_is_refused() {
    let test = TestAccount::start().await;
    test.standin.add_tunnel("hand-made", "local");
    let limit = Duration::from_secs(10);

    let local = test.account.provide_tunnel("hand-made", limit).await.unwrap_err();
    test.standin.inject(Fault::on(
        Op::ListTunnels,
        Trouble::Refused { status: 403, code: 10000, message: "Authentication error".into() },
    ));
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
    assert_eq!(test.standin.calls_of(Op::CreateTunnel).len(), 1);
}
