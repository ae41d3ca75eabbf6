//! What hosts would change, the yes to it and the runs, on the command line.

use serde_json::{Value, json};

use super::Desk;
use crate::support::ship::Ship;

/// A host of ours that a person said yes to, made of bare requests.
struct Host {
    http: reqwest::Client,
    base: String,
    key: String,
    id: String,
    session: String,
}

impl Host {
    async fn new(master: &Ship, name: &str) -> Self {
        let (key, http) = (master.new_key().await, reqwest::Client::builder().no_proxy().build().unwrap());
        let hello = json!({ "display_name": name, "lightship": { "protocols": [3], "host": name } });
        let url = format!("{}/api/v2/agents/register", master.url());
        let joined = http.post(url).bearer_auth(&key).json(&hello).send().await.unwrap();
        let joined: Value = joined.json().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, session) = (text(&joined["agent_id"]), text(&joined["lightship"]["session"]));
        let (status, body) = master.post(&format!("/api/v3/agents/{id}/approve"), json!({})).await;
        assert_eq!(status, 200, "{body}");
        let base = format!("{}/api/v3/agents/{id}", master.url());
        Self { http, base, key, id, session }
    }

    async fn tell(&self, what: &str, body: Value) {
        let asking = self.http.post(format!("{}/{what}", self.base)).bearer_auth(&self.key);
        let answer = asking.header("lightship-session", &self.session).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{what}: {}", answer.text().await.unwrap());
    }

    /// Fetches its commands, and returns the id of the one that asks for this.
    async fn fetch(&self, action: &str) -> String {
        let asking = self.http.get(format!("{}/commands?wait=10&max=10", self.base)).bearer_auth(&self.key);
        let answer = asking.header("lightship-session", &self.session).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let is_it = |command: &&Value| command.to_string().contains(action);
        let found = answer["commands"].as_array().unwrap().iter().find(is_it);
        let found = found.unwrap_or_else(|| panic!("no {action}: {answer}"));
        found["command_id"].as_str().or(found["id"].as_str()).unwrap().to_owned()
    }

    /// Answers the next question with these changes.
    async fn answer(&self, changes: Value) {
        let command = self.fetch("plan_updates").await;
        let on_host = json!({ "undo": { "bash:amd64": "kept" } });
        self.tell("plans", json!({ "command": command, "plan": { "changes": changes, "on_host": on_host } }))
            .await;
        let done = json!({ "succeeded": true, "message": "planned" });
        self.tell(&format!("commands/{command}/result"), done).await;
    }
}

fn upgrade(to: &str) -> Value {
    json!([{ "kind": "apt", "name": "bash", "arch": "amd64", "operation": "upgrade", "from": "1.0", "to": to,
        "digest": "aa" }])
}

/// Runs a verb while hosts answer; asserts its exit code, and returns standard output and standard error.
async fn beside(
    desk: &Desk,
    code: i32,
    args: &[&str],
    answers: impl Future<Output = ()>,
) -> (String, String) {
    let (near, args) = (desk.near.clone(), args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    let shown = args.join(" ");
    let verb =
        tokio::task::spawn_blocking(move || near.verb(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    answers.await;
    let (ended, out, said) = verb.await.unwrap();
    assert_eq!(ended, code, "{shown}: {out}{said}");
    (out, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_listed_a_question_is_shown_again_and_a_yes_goes_as_far_as_was_said() {
    // given: a host, and one that would change a newer version of the same
    let desk = Desk::start();
    let (one, other) = (Host::new(&desk.master, "web-1").await, Host::new(&desk.master, "web-2").await);
    let (_, none) = desk.near(0, &["updates", "approvals"]);
    assert!(none.contains("nothing that was approved is open"), "{none}");
    let args = ["updates", "plan", "--host", "web-1", "--host", "web-2", "--all"];
    let (_, said) = beside(&desk, 2, &args, async {
        one.answer(upgrade("1.1")).await;
        other.answer(upgrade("1.2")).await;
    })
    .await;
    let words =
        said.lines().find_map(|line| line.strip_prefix("approve it with `lightship updates approve "));
    let request = words.unwrap().split(' ').next().unwrap();
    // then: it is shown again without asking anybody
    let (again, _) = desk.near(2, &["updates", "plan", "--request", request, "--json"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    let of_one = |plan: &&Value| plan["hosts"][0]["agent_id"] == one.id;
    let plan =
        again["plans"].as_array().unwrap().iter().find(of_one).unwrap()["id"].as_str().unwrap().to_owned();
    // when: hosts that differ are passed over, then: that is said, and is a success
    let skip = ["updates", "approve", request, &plan.to_uppercase(), "--mode", "skip", "--yes"];
    let (done, passed) = desk.near(0, &skip);
    assert!(
        done.contains("approved for 1 host") && passed.contains(&format!("passed over {}", other.id)),
        "{done}{passed}"
    );
    let (list, _) = desk.near(0, &["updates", "approvals", "--host", "web-1"]);
    let approval = done.split(' ').next().unwrap();
    assert!(list.contains(approval) && list.contains("skip") && list.contains("ordered"), "{list}");
    let (_, second) = desk.near(1, &["updates", "second", approval]);
    assert!(second.contains("needs no second one"), "{second}");
    desk.near(0, &["updates", "withdraw", approval]);
    let (_, none) = desk.near(0, &["updates", "approvals"]);
    assert!(none.contains("nothing that was approved is open"), "{none}");
    let (all, _) = desk.near(0, &["updates", "approvals", "--all"]);
    assert!(all.contains(approval) && all.contains("withdrawn"), "{all}");
    // when: newer versions of the same are meant too, then: both hosts have an order
    let (done, _) = desk.near(0, &["updates", "approve", request, &plan, "--mode", "same-scope", "--yes"]);
    assert!(done.contains("approved for 2 hosts"), "{done}");
    one.fetch("carry_out_plan").await;
    other.fetch("carry_out_plan").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_said_is_named_with_the_way_out() {
    let desk = Desk::start();
    for (args, words) in [
        (&["updates", "plan", "--all"][..], "say on which hosts: `--host NAME`"),
        (&["updates", "plan"], "say what is to be planned"),
        (&["updates", "plan", "gone"], "no update `gone` is known; `lightship updates list --state any`"),
        (&["updates", "plan", "--request", "a%zz"], "no question `a%zz` to hosts is kept; ask anew"),
        (&["updates", "plan", "--request", "a\u{1b}b"], "no question `a\\u{1b}b` to hosts is kept"),
        (&["updates", "approve", "none", "000000000000"], "no question `none` to hosts is kept"),
        (&["updates", "second", "none"], "no approval `none` is known; `lightship updates approvals --all`"),
        (&["updates", "withdraw", "%ff"], "no approval `%ff` is known"),
        (&["updates", "let-go", "sha256:00"], "no image with this digest is held"),
        (&["updates", "show", "none"], "no update `none` is known"),
        (&["runs", "show", "web-9", "x"], "there is no host `web-9`"),
        (&["runs", "show", "web-9", "X\n"], "there is no host `web-9`"),
    ] {
        let (_, said) = desk.near(1, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    let host = Host::new(&desk.master, "web-1").await;
    for (args, words) in [
        (
            &["runs", "show", "web-1", "20260131-120000-aaaa"][..],
            "no run `20260131-120000-aaaa` is known of the host",
        ),
        (&["runs", "show", "web-1", "X\n"], "`X\\n` is no run; `lightship runs` lists them"),
        (&["runs", "cancel", "web-1", "%00"], "`%00` is no run"),
        (&["runs", "undo", "web-1", "20260131-120000-aaaa"], "no run `20260131-120000-aaaa` is known"),
        (
            &["updates", "plan", "--host", "web-1", "ba sh"],
            "`ba sh` names nothing that could be planned: it has blanks",
        ),
        (&["updates", "plan", "--host", &host.id, "a\tb"], "it has control characters"),
    ] {
        let (_, said) = desk.near(1, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_planned_approved_followed_and_taken_back_by_verbs() {
    // given: two hosts that would change the same, and one that differs
    let desk = Desk::start();
    let one = Host::new(&desk.master, "web-1").await;
    let (other, third) = (Host::new(&desk.master, "web-2").await, Host::new(&desk.master, "web-3").await);
    let args = ["updates", "plan", "--host", "web-1", "--host", "web-2", "--host", &third.id, "--all"];
    let (out, said) = beside(&desk, 2, &args, async {
        one.answer(upgrade("1.1")).await;
        other.answer(upgrade("1.1")).await;
        third.answer(upgrade("1.2")).await;
    })
    .await;
    assert!(out.contains("The plan of 2 hosts: web-1, web-2"), "{out}");
    assert!(out.contains("differs: bash: upgrade 1.0 → 1.2; on most hosts upgrade 1.0 → 1.1"), "{out}");
    assert!(out.contains("certain, kept on this host"), "{out}");

    // when: it is approved with the words that were said
    let words =
        said.lines().find_map(|line| line.strip_prefix("approve it with `lightship updates approve "));
    let (request, plan) = words.unwrap().trim_end_matches('`').split_once(' ').unwrap();
    let (_, refused) = desk.near(1, &["updates", "approve", request, plan]);
    assert!(refused.contains("add `--yes`"), "{refused}");
    desk.near(1, &["updates", "approve", request, "000000000000", "--yes"]);
    desk.near(1, &["updates", "approve", request, plan, "--yes", "--host", "web-3"]);
    desk.near(1, &["updates", "approve", request, plan, "--yes", "--for", "9d"]);
    let (done, _) = desk.near(0, &["updates", "approve", request, plan, "--yes", "--for", "1h"]);
    assert!(done.contains("approved for 2 hosts"), "{done}");
    let approval = done.split(' ').next().unwrap();

    // then: a host has it, and for the other it can be taken back
    let order = one.fetch("carry_out_plan").await;
    let (back, left) = desk.near(3, &["updates", "withdraw", approval]);
    assert!(back.contains("taken back for 1 host") && left.contains("fetched"), "{back}{left}");

    // when: the run ended, then: it is listed, shown and followed
    let run = json!({ "id": "20260131-120000-x7k2", "plan": { "changes": upgrade("1.1"), "on_host": {} }, "by": "ann",
        "order": order, "started_at": "2026-01-31T12:00:00Z", "ended_at": "2026-01-31T12:01:00Z",
        "steps": [{ "name": "apt.check", "at": "2026-01-31T12:00:10Z" }], "outcome": "verified" });
    one.tell("runs", json!({ "run": run, "log": "all\u{1b}[2J well\n" })).await;
    let (list, _) = desk.near(0, &["runs", "--host", "web-1"]);
    assert!(list.contains("20260131-120000-x7k2") && list.contains("verified"), "{list}");
    let (_, none) = desk.near(0, &["runs", "list", "--host", "web-2"]);
    assert!(none.contains("no run is known"), "{none}");
    let (shown, _) = desk.near(0, &["runs", "show", "web-1", "20260131-120000-x7k2"]);
    assert!(
        shown.contains("bash") && shown.contains("apt.check done") && shown.contains("all\\u{1b}[2J well"),
        "{shown}"
    );
    let (followed, _) = desk.near(0, &["runs", "show", "web-1", "20260131-120000-x7k2", "--follow"]);
    assert!(followed.contains("well") && followed.contains("verified, approved by ann"), "{followed}");
    desk.near(1, &["runs", "show", "web-9", "20260131-120000-x7k2"]);

    // and: the way back is asked for as a plan
    let undo = ["runs", "undo", "web-1", "20260131-120000-x7k2", "--json"];
    let (plan, _) = beside(&desk, 0, &undo, one.answer(json!([]))).await;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["ask"]["undo"]["run"], "20260131-120000-x7k2", "{plan}");
}
