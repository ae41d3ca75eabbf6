//! 404 has many reasons, and only one of them is that a thing is gone.

use lightship::clock::Clock;
use lightship::db::{Batch, Expected};
use lightship::domain::event::{AgentEvent, Event, Stream};
use lightship::domain::id::{AccountId, AgentId, SecretId};

use super::APP;
use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Op, Trouble};

fn no_route() -> Trouble {
    Trouble::Refused { status: 404, code: 7003, message: "Could not route to /accounts/x".into() }
}

#[actix_web::test]
async fn a_404_that_is_not_about_the_tunnel_forgets_nothing_of_ours() {
    for trouble in [Trouble::NotFoundPage, no_route()] {
        let test = TestAccount::start().await;
        let tunnel = test.enrolled("a", "edge").await;
        test.claims("a", APP).await;
        test.until_state("a", APP, "published").await;
        test.until_quiet().await;

        test.standin.inject(Fault::any(trouble.clone()).always());
        test.releases("a", APP).await;
        let row = test.until_tunnel(&tunnel, "failed").await;

        assert!(!row.reason.unwrap().contains("deleted at Cloudflare"), "{trouble:?}");
        assert_eq!((test.standin.hostnames(tunnel.as_str()).len(), test.standin.records(APP).len()), (1, 1));
        test.standin.heal();
        test.apply().await;
        test.standin.until("the record goes", |state| state.records.is_empty()).await;
        assert!(test.standin.hostnames(tunnel.as_str()).is_empty(), "{trouble:?}");
    }
}

#[actix_web::test]
async fn a_record_stays_ours_until_cloudflare_says_that_it_is_gone() {
    let gone = Trouble::Refused { status: 404, code: 81044, message: "Record does not exist.".into() };
    for (trouble, stays) in [(Trouble::NotFoundPage, true), (no_route(), true), (gone, false)] {
        let test = TestAccount::start().await;
        let tunnel = test.enrolled("a", "edge").await;
        test.claims("a", APP).await;
        test.until_state("a", APP, "published").await;
        test.until_quiet().await;
        test.standin.inject(Fault::on(Op::DeleteRecord, trouble.clone()).always());

        test.releases("a", APP).await;
        test.standin.until("it is tried", |_| !test.standin.calls_of(Op::DeleteRecord).is_empty()).await;

        let state = if stays { "failed" } else { "applied" };
        test.until_tunnel(&tunnel, state).await;
        let rows = lightship::db::cloudflare::list_dns_records(&test.db, &tunnel).await.unwrap();
        assert_eq!(!rows.is_empty(), stays, "{trouble:?}");
        test.standin.heal();
        test.apply().await;
        assert_eq!(test.standin.records(APP).is_empty(), stays, "{trouble:?}");
    }
}

#[actix_web::test]
async fn a_tunnel_that_says_of_itself_that_it_is_deleted_is_gone_whatever_the_code() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", APP).await;
    test.until_state("a", APP, "published").await;
    test.standin.state().tunnel_mut(tunnel.as_str()).unwrap().is_deleted = true;
    test.standin.inject(Fault::on(Op::GetConfig, no_route()).always());

    test.claims("a", "b.example.com").await;

    let row = test.until_state("a", "b.example.com", "failed").await;
    assert!(row.reason.unwrap().contains("the tunnel was deleted at Cloudflare"));
}

#[actix_web::test]
async fn a_tunnel_of_another_account_is_left_alone_and_the_setting_is_named() {
    let test = TestAccount::start().await;
    let tunnel_id = test.enrolled("a", "edge").await;
    let agent_id = AgentId::new("a");
    let elsewhere = Event::Agent(AgentEvent::Enrolled {
        agent_id: agent_id.clone(),
        account_id: AccountId::new("elsewhere"),
        tunnel_id,
        tunnel_name: "edge".into(),
        secret_id: SecretId::new("token-a"),
        connectors: None,
    });
    let batch = Batch::new("test", Clock::system().now());
    test.db.commit(batch.append(Stream::agent(&agent_id), Expected::Head, vec![elsewhere])).await.unwrap();
    let calls = test.standin.calls().len();

    test.claims("a", APP).await;

    let row = test.until_state("a", APP, "failed").await;
    let reason = row.reason.unwrap();
    assert!(reason.contains("`elsewhere`") && reason.contains("CF_ACCOUNT_ID"), "{reason}");
    assert_eq!(test.standin.calls().len(), calls);
}
