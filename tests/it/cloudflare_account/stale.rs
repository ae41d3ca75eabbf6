//! Old and incomplete answers about a tunnel's configuration: nothing is written after them.

use serde_json::{Value, json};

use super::{APP, foreign_config, foreign_rule, is_there};
use crate::support::account::TestAccount;
use crate::support::cloudflare::{Fault, Op, Trouble};

const FIRST: &str = "first.example.com";
const SECOND: &str = "second.example.com";

#[actix_web::test]
async fn nothing_is_written_after_an_old_or_incomplete_answer() {
    for (answer, words) in [
        (
            json!({ "version": 1, "config": { "ingress": [{ "service": "http_status:404" }] } }),
            "version 3 is known",
        ),
        (json!({ "version": 0, "config": null }), "version 3 is known"),
        (json!({ "version": 3, "config": null }), "the configuration is missing"),
        (json!({}), "the version is missing"),
    ] {
        writes_nothing_after(answer, words).await;
    }
}

async fn writes_nothing_after(answer: Value, words: &str) {
    // given a tunnel in which what others wrote was read already
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", FIRST).await;
    test.until_state("a", FIRST, "published").await;
    let theirs = foreign_rule("theirs.example.com");
    test.standin.write_config(tunnel.as_str(), foreign_config(std::slice::from_ref(&theirs)));
    test.claims("a", SECOND).await;
    test.until_state("a", SECOND, "published").await;
    test.until_quiet().await;
    let puts = test.standin.calls_of(Op::PutConfig).len();

    // when
    test.standin.inject(Fault::on(Op::GetConfig, Trouble::Result(answer)).always());
    test.claims("a", APP).await;
    let row = test.until_state("a", APP, "failed").await;

    // then
    let said = row.answer.or(row.reason).unwrap();
    assert!(said.contains(words), "{said}");
    assert_eq!(test.status_of("a", FIRST).await.unwrap().state, "published");
    assert_eq!(test.standin.calls_of(Op::PutConfig).len(), puts, "{words}");
    test.standin.heal();
    test.until_state("a", APP, "published").await;
    let config = test.standin.config(tunnel.as_str()).1;
    assert!(is_there(&config, &theirs) && config["something-new"] == json!([1, 2]), "{config}");
}

#[actix_web::test]
async fn a_version_that_was_read_is_known_although_the_write_after_it_failed() {
    let test = TestAccount::start().await;
    let tunnel = test.enrolled("a", "edge").await;
    test.claims("a", FIRST).await;
    test.until_state("a", FIRST, "published").await;
    test.until_quiet().await;
    let (version, config) = test.standin.config(tunnel.as_str());
    let theirs = foreign_rule("theirs.example.com");
    test.standin.write_config(tunnel.as_str(), foreign_config(std::slice::from_ref(&theirs)));
    test.standin.inject(Fault::on(Op::PutConfig, Trouble::ServerError).always());
    test.claims("a", APP).await;
    test.until_state("a", APP, "failed").await;

    let old = json!({ "version": version, "config": config });
    test.standin.inject(Fault::on(Op::GetConfig, Trouble::Result(old)).always());
    let looks = test.standin.calls_of(Op::GetConfig).len();
    test.standin.until("it is read again", |_| test.standin.calls_of(Op::GetConfig).len() > looks + 1).await;

    test.standin.heal();
    test.until_state("a", APP, "published").await;
    assert!(is_there(&test.standin.config(tunnel.as_str()).1, &theirs));
}
