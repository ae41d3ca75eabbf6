//! What asks for protection is protected first, and open at no moment.

use std::time::Duration;

use lightship::actors::master::Account;
use lightship::db::access;
use lightship::domain::access::{AccessAsk, AppOptions, Decision, Group, PolicySpec, Selector};
use lightship::domain::id::{AccountId, GroupId, TunnelId};
use serde_json::json;

use super::APP;
use crate::support::account::TestAccount;
use crate::support::cloudflare::{ACCOUNT, CloudflareStandIn, Edge, Fault, Op, State, Trouble};

const OPEN: &str = "open.example.com";
const ADMIN_PART: &str = "app.example.com/admin";
const HOOK_PART: &str = "app.example.com/hook";

pub(super) fn group(id: &str, emails: &[&str]) -> Group {
    let include = emails.iter().map(|email| Selector::Email((*email).into())).collect();
    Group {
        id: GroupId::new(id),
        name: id.to_uppercase(),
        options: AppOptions::default(),
        policies: vec![allow(include)],
    }
}

/// A policy that lets these in.
pub(super) fn allow(include: Vec<Selector>) -> PolicySpec {
    let (require, exclude) = (Vec::new(), Vec::new());
    PolicySpec { name: None, decision: Decision::Allow, include, require, exclude }
}

pub(super) fn groups(ids: &[&str]) -> AccessAsk {
    AccessAsk::Groups { groups: ids.iter().map(|id| GroupId::new(*id)).collect() }
}

/// The stand-in, which complains about each moment at which one of these is open.
pub(super) fn guarded(names: &'static [&'static str]) -> CloudflareStandIn {
    let standin = CloudflareStandIn::start();
    standin.on_change(move |state| {
        for name in names {
            let (hostname, path) = name.find('/').map_or((*name, "/"), |at| name.split_at(at));
            if state.edge(hostname, path).is_open() {
                return Err(format!("`{name}` is open: {:?}", state.edge(hostname, path)));
            }
        }
        Ok(())
    });
    standin
}

/// Decisions and names of the policies that a visitor of the name meets.
fn policies(test: &TestAccount, name: &str) -> Vec<(String, String)> {
    match test.standin.edge(name, "/") {
        Edge::Reaches { behind: Some(behind), .. } => behind.policies,
        other => panic!("`{name}` is not behind an application: {other:?}"),
    }
}

pub(super) async fn published(standin: CloudflareStandIn) -> (TestAccount, TunnelId) {
    let test = TestAccount::start_with(standin).await;
    let tunnel = test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;
    test.claims_protected("a", APP, groups(&["staff"])).await;
    test.until_state("a", APP, "published").await;
    test.until_quiet().await;
    (test, tunnel)
}

#[actix_web::test]
async fn a_public_part_of_a_protected_site_is_at_no_moment_a_way_into_the_rest() {
    let faults = [
        None,
        Some(Fault::on(Op::PutConfig, Trouble::ServerError)),
        Some(Fault::on(Op::PutConfig, Trouble::ServerError).after_effect()),
        Some(Fault::on(Op::CreateApp, Trouble::ServerError).after_effect()),
        Some(Fault::on(Op::DeleteApp, Trouble::ServerError)),
        Some(Fault::on(Op::DeleteApp, Trouble::ServerError).after_effect()),
    ];
    for fault in faults {
        // given: a site that asks for a login
        let standin = CloudflareStandIn::start();
        standin.on_change(|state| match state.edge(APP, "/hook") {
            edge @ Edge::Reaches { .. } if edge.is_open() => match &edge {
                Edge::Reaches { service, .. } if service == "http://hook:80" => Ok(()),
                _ => Err(format!("behind `/hook` is the rest of the site: {edge:?}")),
            },
            _ => Ok(()),
        });
        let (test, _) = published(standin).await;

        // when: a part of it becomes public
        let inject = || fault.iter().for_each(|fault| test.standin.inject(fault.clone()));
        inject();
        test.claims_protected_service("a", HOOK_PART, "http://hook:80", groups(&["public-default-bypass"]))
            .await;
        test.until_state("a", HOOK_PART, "published").await;
        test.until_quiet().await;

        // then
        let (part, rest) = (test.standin.edge(APP, "/hook"), test.standin.edge(APP, "/"));
        assert!(part.is_open() && !rest.is_open(), "{part:?} {rest:?} {fault:?}");

        // when: that part goes again
        inject();
        test.releases("a", HOOK_PART).await;

        // then: nothing of it is left, the rule included that answered in its place
        let has_part = |state: &State| {
            state.access.apps.iter().any(|app| app.body["domain"] == HOOK_PART)
                || state.tunnels.iter().any(|tunnel| tunnel.config.to_string().contains("hook"))
        };
        test.standin.until("nothing of it is left", |state| !has_part(state)).await;
        assert!(!test.standin.edge(APP, "/hook").is_open());
        test.standin.assert_no_violations();
    }
}

#[actix_web::test]
async fn a_route_is_protected_and_then_published_and_nothing_more_is_called() {
    // given, when
    let (test, _) = published(guarded(&[APP])).await;

    // then
    let [(decision, name)] = policies(&test, APP).try_into().unwrap();
    assert_eq!(decision, "allow");
    assert!(name.contains("staff") && name.contains("test"), "{name}");
    let order: Vec<Op> = test.standin.calls().iter().filter_map(|call| call.op).collect();
    let at = |op| order.iter().position(|known| *known == op).unwrap();
    assert!(at(Op::CreatePolicy) < at(Op::CreateApp) && at(Op::CreateApp) < at(Op::PutConfig), "{order:?}");
    assert!(at(Op::CreateApp) < at(Op::CreateRecord), "{order:?}");
    let count = test.standin.calls().len();
    for _ in 0..5 {
        test.account.wake();
    }
    test.until_quiet().await;
    assert_eq!(test.standin.calls().len(), count);
}

#[actix_web::test]
async fn a_route_whose_group_nobody_made_waits_until_somebody_does() {
    // given
    let test = TestAccount::start_with(guarded(&[APP])).await;
    test.enrolled("a", "edge").await;

    // when
    test.claims_protected("a", APP, groups(&["staff"])).await;

    // then
    let row = test.until_state("a", APP, "blocked").await;
    assert!(row.reason.as_ref().is_some_and(|reason| reason.contains("`staff`")), "{row:?}");
    test.until_quiet().await;
    assert_eq!(test.standin.edge(APP, "/"), Edge::NoRecord);

    // when
    test.sets_group(group("staff", &["ann@example.com"])).await;

    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(policies(&test, APP).len(), 1);
}

#[actix_web::test]
async fn a_group_that_changes_changes_its_policy_and_one_that_goes_closes_its_routes() {
    // given
    let (test, _) = published(guarded(&[APP])).await;
    let calls = test.standin.calls().len();

    // when
    test.sets_group(group("staff", &["ann@example.com", "bob@example.com"])).await;
    test.standin
        .until("bob is in", |state| {
            state.access.policies.iter().any(|policy| policy.body["include"].to_string().contains("bob"))
        })
        .await;
    test.until_quiet().await;

    // then
    let more: Vec<Op> = test.standin.calls().iter().skip(calls).filter_map(|call| call.op).collect();
    assert!(!more.contains(&Op::PutConfig) && !more.contains(&Op::PutApp), "only the policy: {more:?}");

    // when
    test.removes_group("staff").await;

    // then
    test.until_state("a", APP, "blocked").await;
    test.until_quiet().await;
    assert!(
        !matches!(test.standin.edge(APP, "/"), Edge::Reaches { .. }),
        "{:?}",
        test.standin.edge(APP, "/")
    );
}

#[actix_web::test]
async fn a_part_of_a_site_that_waits_is_not_reached_through_the_rest() {
    // given
    let test = TestAccount::start_with(guarded(&[ADMIN_PART])).await;
    test.enrolled("a", "edge").await;

    // when
    test.claims("a", APP).await;
    test.claims_protected("a", ADMIN_PART, groups(&["staff"])).await;

    // then
    test.until_state("a", APP, "published").await;
    test.until_state("a", ADMIN_PART, "blocked").await;
    test.until_quiet().await;
    assert!(matches!(test.standin.edge(APP, "/"), Edge::Reaches { behind: None, .. }));
    assert_eq!(test.standin.edge(APP, "/admin/x"), Edge::Status(503));

    // when
    test.sets_group(group("staff", &["ann@example.com"])).await;

    // then
    test.until_state("a", ADMIN_PART, "published").await;
    test.until_quiet().await;
    assert!(matches!(test.standin.edge(APP, "/admin/x"), Edge::Reaches { behind: Some(_), .. }));
}

#[actix_web::test]
async fn whatever_call_fails_nothing_is_open_and_in_the_end_it_is_published() {
    for op in [Op::ListPolicies, Op::CreatePolicy, Op::GetPolicy, Op::ListApps, Op::CreateApp, Op::GetApp] {
        let faults = [
            Fault::on(op, Trouble::BadGatewayPage),
            Fault::on(op, Trouble::HalfAnswer),
            Fault::on(op, Trouble::ServerError).after_effect(),
        ];
        for fault in faults {
            // given
            let test = TestAccount::start_with(guarded(&[APP])).await;
            test.enrolled("a", "edge").await;
            test.sets_group(group("staff", &["ann@example.com"])).await;
            test.standin.inject(fault.clone().times(2));

            // when
            test.claims_protected("a", APP, groups(&["staff"])).await;

            // then
            test.until_state("a", APP, "published").await;
            test.until_quiet().await;
            let state = test.standin.state();
            let found = (state.access.policies.len(), state.access.apps.len());
            assert_eq!(found, (1, 1), "{fault:?}: each once, also if an answer was lost");
        }
    }
}

#[actix_web::test]
async fn what_is_refused_keeps_the_route_closed_with_the_words_of_cloudflare() {
    for op in [Op::CreatePolicy, Op::CreateApp] {
        // given
        let test = TestAccount::start_with(guarded(&[APP])).await;
        test.enrolled("a", "edge").await;
        test.sets_group(group("staff", &["ann@example.com"])).await;
        let trouble = Trouble::Refused { status: 400, code: 12130, message: "invalid policy".into() };
        test.standin.inject(Fault::on(op, trouble).always());

        // when
        test.claims_protected("a", APP, groups(&["staff"])).await;
        test.claims("a", "open.example.com").await;

        // then
        let row = test.until_state("a", APP, "failed").await;
        assert!(row.answer.as_ref().is_some_and(|answer| answer.contains("invalid policy")), "{row:?}");
        test.until_state("a", "open.example.com", "published").await;
        assert_eq!(test.standin.edge(APP, "/"), Edge::NoRecord);
        let tries = test.standin.calls_of(op).len();
        test.claims("a", "more.example.com").await;
        test.until_state("a", "more.example.com", "published").await;
        assert_eq!(test.standin.calls_of(op).len(), tries, "what was refused is not asked for all the time");
    }
}

#[actix_web::test]
async fn an_application_of_others_on_the_same_domain_is_a_conflict_and_stays() {
    // given
    let standin = guarded(&[APP]);
    let theirs = standin.add_app(json!({
        "type": "self_hosted", "name": "theirs", "domain": APP, "session_duration": "12h", "something_new": [1],
    }));
    let before = standin.state().access.apps.clone();
    let test = TestAccount::start_with(standin).await;
    test.enrolled("a", "edge").await;
    test.sets_group(group("staff", &["ann@example.com"])).await;

    // when
    test.claims_protected("a", APP, groups(&["staff"])).await;

    // then
    let row = test.until_state("a", APP, "blocked").await;
    assert!(row.reason.as_ref().is_some_and(|reason| reason.contains("theirs")), "{row:?}");
    test.until_quiet().await;
    assert_eq!(test.standin.state().access.apps, before);
    assert_eq!(before[0].id, theirs);
}

#[actix_web::test]
async fn what_somebody_changed_or_deleted_is_put_right_by_the_next_comparison() {
    // given
    let (test, _) = published(CloudflareStandIn::start()).await;

    // when
    test.standin.state().access.apps.clear();
    test.until_compared().await;

    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(policies(&test, APP).len(), 1);

    // when
    {
        let mut state = test.standin.state();
        let app = state.access.apps.first_mut().unwrap();
        app.links.clear();
    }
    test.until_compared().await;

    // then
    assert_eq!(policies(&test, APP).len(), 1);
}

#[actix_web::test]
async fn what_somebody_changed_and_cannot_be_put_right_closes_the_route() {
    for (op, is_deleted) in [(Op::CreateApp, true), (Op::PutApp, false)] {
        // given
        let (test, _) = published(CloudflareStandIn::start()).await;
        match is_deleted {
            true => test.standin.state().access.apps.clear(),
            false => test.standin.state().access.apps.iter_mut().for_each(|app| app.links.clear()),
        }
        test.standin.inject(Fault::on(op, Trouble::ServerError).always());

        // when
        test.interval_passes().await;

        // then
        test.until_state("a", APP, "failed").await;
        let tries = test.standin.calls_of(op).len();
        test.standin.until("it is tried again", |_| test.standin.calls_of(op).len() > tries + 1).await;
        let edge = test.standin.edge(APP, "/");
        assert!(
            !matches!(edge, Edge::Reaches { .. }),
            "{op:?}: closed, and not opened by a further try: {edge:?}"
        );

        // when
        test.standin.heal();

        // then
        test.until_state("a", APP, "published").await;
        assert_eq!(policies(&test, APP).len(), 1);
    }
}

#[actix_web::test]
async fn what_was_changed_while_a_route_was_closed_is_seen_before_it_opens() {
    // given
    let (test, _) = published(guarded(&[APP])).await;
    test.removes_group("staff").await;
    test.until_state("a", APP, "blocked").await;
    test.until_quiet().await;
    test.standin.state().access.apps.iter_mut().for_each(|app| app.links.clear());

    // when
    test.sets_group(group("staff", &["ann@example.com"])).await;

    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(policies(&test, APP).len(), 1);
}

#[actix_web::test]
async fn a_policy_that_was_changed_is_put_right_before_it_protects_what_was_open() {
    // given
    let (test, _) = published(CloudflareStandIn::start()).await;
    test.claims("a", OPEN).await;
    test.until_state("a", OPEN, "published").await;
    test.until_quiet().await;
    test.standin.state().access.policies[0].body["include"] = json!([{ "everyone": {} }]);

    // when
    test.asks_for("a", OPEN, groups(&["staff"])).await;

    // then
    let is_behind = |edge| matches!(edge, Edge::Reaches { behind: Some(_), .. });
    test.standin.until("it is behind an application", |state| is_behind(state.edge(OPEN, "/"))).await;
    let include = test.standin.state().access.policies[0].body["include"].to_string();
    assert!(include.contains("ann@example.com") && !include.contains("everyone"), "{include}");
}

#[actix_web::test]
async fn a_route_that_goes_is_withdrawn_before_its_protection() {
    // given
    let (test, _) = published(guarded(&[APP])).await;
    let calls = test.standin.calls().len();

    // when
    test.releases("a", APP).await;
    test.standin.until("its application is gone", |state| state.access.apps.is_empty()).await;
    test.until_quiet().await;

    // then
    let order: Vec<Op> = test.standin.calls().iter().skip(calls).filter_map(|call| call.op).collect();
    let at = |op| order.iter().position(|known| *known == op).unwrap();
    assert!(
        at(Op::PutConfig) < at(Op::DeleteRecord) && at(Op::DeleteRecord) < at(Op::DeleteApp),
        "{order:?}"
    );
    assert!(access::applications_of(&test.db, &AccountId::new(ACCOUNT)).await.unwrap().is_empty());
}

#[actix_web::test]
async fn labels_that_no_longer_ask_open_a_route_and_nothing_before() {
    // given
    let (test, _) = published(CloudflareStandIn::start()).await;

    // when
    test.asks_for("a", APP, AccessAsk::Nothing).await;
    test.standin.until("its application is gone", |state| state.access.apps.is_empty()).await;

    // then
    test.until_quiet().await;
    assert!(test.standin.edge(APP, "/").is_open());
    test.until_state("a", APP, "published").await;
}

#[actix_web::test]
async fn a_name_that_moves_to_another_tunnel_keeps_its_application() {
    // given
    let (test, _) = published(guarded(&[APP])).await;
    let before = test.standin.state().access.apps[0].id.clone();

    // when
    test.moves("a", "other").await;
    test.until_quiet().await;

    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(
        test.standin.state().access.apps.iter().map(|app| app.id.clone()).collect::<Vec<_>>(),
        [before]
    );
    assert!(test.standin.calls_of(Op::DeleteApp).is_empty());
}

#[actix_web::test]
async fn a_change_that_time_may_heal_leaves_the_route_as_it_is_protected() {
    // given
    let (test, _) = published(guarded(&[APP])).await;
    test.standin.inject(Fault::on(Op::PutPolicy, Trouble::ServerError).times(3));

    // when
    test.sets_group(group("staff", &["bob@example.com"])).await;

    // then
    test.standin.until("it was tried", |_| !test.standin.calls_of(Op::PutPolicy).is_empty()).await;
    assert!(matches!(test.standin.edge(APP, "/"), Edge::Reaches { behind: Some(_), .. }));
    test.standin
        .until("bob is in", |state| state.access.policies[0].body["include"].to_string().contains("bob"))
        .await;
    test.until_state("a", APP, "published").await;
}

#[actix_web::test]
async fn after_a_restart_nothing_is_called_for_what_is_in_place() {
    // given
    let (test, _) = published(guarded(&[APP])).await;
    let writes = |test: &TestAccount| {
        let of = |op| test.standin.calls_of(op).len();
        [Op::CreatePolicy, Op::PutPolicy, Op::CreateApp, Op::PutApp, Op::PutConfig].map(of)
    };
    let before = writes(&test);

    // when
    let test = test.restart().await;

    // then
    test.until_state("a", APP, "published").await;
    assert_eq!(writes(&test), before);
    tokio::time::timeout(Duration::from_secs(5), test.until_quiet()).await.unwrap();
}
