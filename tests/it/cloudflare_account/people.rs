//! Who is let in that only Cloudflare knows: the owner of the account, and programs with service tokens.

use lightship::actors::master::Account;
use lightship::domain::access::{
    AUTHENTICATED, AccessAsk, Decision, Group, PolicySpec, Selector, TokenDraft,
};
use lightship::domain::id::GroupId;
use serde_json::Value;

use super::APP;
use super::access::{groups, guarded};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{CloudflareStandIn, Edge, Fault, OWNER, Op, Trouble};

const RIGHT: &str = "Account Settings Read";

/// An account with a way to sign in, and these members: address, status, Super Administrator or not.
fn account(members: &[(&str, &str, bool)]) -> CloudflareStandIn {
    let standin = guarded(&[APP]);
    standin.add_identity_provider("PIN", "onetimepin");
    standin.set_members(members);
    standin
}

async fn asks_for_owner(test: &TestAccount) {
    test.enrolled("a", "edge").await;
    test.claims_protected("a", APP, groups(&[AUTHENTICATED])).await;
}

/// What the only policy of the account asks of whoever comes.
fn required(test: &TestAccount) -> Value {
    test.standin.state().access.policies[0].body["require"].clone()
}

#[actix_web::test]
async fn authenticate_lets_in_the_one_super_administrator_and_reads_members_only_for_that() {
    // given
    let members = [
        ("ann@example.com", "accepted", true),
        ("bob@example.com", "accepted", false),
        ("eve@example.com", "pending", true),
    ];
    let test = TestAccount::start_with(account(&members)).await;
    test.enrolled("b", "other").await;
    test.claims("b", "plain.example.com").await;
    test.until_state("b", "plain.example.com", "published").await;
    assert!(test.standin.calls_of(Op::ListMembers).is_empty(), "nothing asked for it");
    // when
    asks_for_owner(&test).await;
    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(required(&test), serde_json::json!([{ "email": { "email": "ann@example.com" } }]));
    test.until_quiet().await;
    let count = test.standin.calls().len();
    test.account.wake();
    test.until_quiet().await;
    assert_eq!(test.standin.calls().len(), count, "what is known is not read again");
}

#[actix_web::test]
async fn without_one_owner_the_route_waits_and_says_what_to_set() {
    for (members, words) in [
        (
            &[("ann@example.com", "accepted", true), ("bob@example.com", "accepted", true)][..],
            "2 of its members",
        ),
        (&[("ann@example.com", "pending", true)][..], "no member who has accepted"),
    ] {
        let test = TestAccount::start_with(account(members)).await;
        asks_for_owner(&test).await;
        let row = test.until_state("a", APP, "blocked").await;
        let reason = row.reason.unwrap();
        assert!(reason.contains(words) && reason.contains("`publish.account_owner_email`"), "{reason}");
        test.until_quiet().await;
        assert_eq!(test.standin.edge(APP, "/"), Edge::NoRecord);
    }
}

#[actix_web::test]
async fn a_missing_right_is_named_and_the_setting_wins_over_reading() {
    // given
    let standin = account(&[(OWNER, "accepted", true)]);
    standin.take_right("Account Settings");
    let test = TestAccount::start_with(standin).await;
    // when
    asks_for_owner(&test).await;
    // then
    let reason = test.until_state("a", APP, "blocked").await.reason.unwrap();
    assert!(
        reason.contains(&format!("`{RIGHT}`")) && reason.contains("`publish.account_owner_email`"),
        "{reason}"
    );
    drop(test);

    // given
    let standin = account(&[("ann@example.com", "accepted", true)]);
    standin.take_right("Account Settings");
    let test =
        TestAccount::set_up(standin, |settings| settings.owner_email = Some("boss@example.org".into())).await;
    // when
    asks_for_owner(&test).await;
    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(required(&test), serde_json::json!([{ "email": { "email": "boss@example.org" } }]));
    assert!(test.standin.calls_of(Op::ListMembers).is_empty());
}

#[actix_web::test]
async fn members_that_are_not_told_for_now_are_asked_for_again() {
    // given
    let standin = account(&[(OWNER, "accepted", true)]);
    standin.inject(Fault::on(Op::ListMembers, Trouble::ServerError));
    let test = TestAccount::start_with(standin).await;
    // when
    asks_for_owner(&test).await;
    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(test.standin.calls_of(Op::ListMembers).len(), 2);
}

/// A group that programs with this token come in by.
fn for_programs(id: &str, token: &str) -> Group {
    let policy = PolicySpec {
        name: None,
        decision: Decision::NonIdentity,
        include: vec![Selector::ServiceToken(token.into())],
        require: Vec::new(),
        exclude: Vec::new(),
    };
    let options = Default::default();
    Group { id: GroupId::new(id), name: id.to_uppercase(), options, policies: vec![policy] }
}

#[actix_web::test]
async fn a_route_that_waits_for_a_token_is_published_as_soon_as_it_is_made_here() {
    // given
    let test = TestAccount::start_with(guarded(&[APP])).await;
    test.enrolled("a", "edge").await;
    test.sets_group(for_programs("ci", "deploy")).await;
    test.claims_protected("a", APP, AccessAsk::Groups { groups: vec![GroupId::new("ci")] }).await;
    let reason = test.until_state("a", APP, "blocked").await.reason.unwrap();
    assert!(reason.contains("no `deploy` as a service token"), "{reason}");
    test.until_quiet().await;
    // when
    let draft = TokenDraft::read("deploy", None).unwrap();
    let made = test.account.create_service_token(draft, "alice").await.unwrap();
    // What follows the record wakes the account.
    test.account.wake();
    // then
    test.until_state("a", APP, "published").await;
    let include = test.standin.state().access.policies[0].body["include"].clone();
    assert_eq!(include, serde_json::json!([{ "service_token": { "token_id": made.token.id } }]));
}
