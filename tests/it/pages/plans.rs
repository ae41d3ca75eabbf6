//! Updates in three steps on the page: choose, see exactly what would change, approve; and what was done.

use chrono::{DateTime, TimeDelta, Utc};
use lightship::actors::master::MasterSettings;
use lightship::clock::Clock;
use lightship::domain::role::Role;
use serde_json::{Value, json};

use super::Browser;
use crate::plan_host::{Host, upgrade};
use crate::support::asking::Answer;
use crate::support::master::TestMaster;

/// What a hostile host calls things.
const HOSTILE: &str = "<script>alert(1)</script>";

fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.header("location").to_owned()
}

/// The fields of the first form that approves this many hosts.
fn yes_fields(page: &str, place: usize) -> Vec<(String, String)> {
    let form =
        page.split("/approve\" class=\"yes\">").nth(place + 1).unwrap().split("</form>").next().unwrap();
    let field = |tag: &str| {
        let part = |name: &str| Some(tag.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.to_owned());
        let is_left = tag.contains("type=\"checkbox\"") && !tag.contains(" checked");
        (!is_left).then(|| Some((part("name")?, part("value")?)))?
    };
    let mut fields: Vec<_> = form.split("<input ").skip(1).filter_map(field).collect();
    fields.push(("lifetime".into(), "86400".into()));
    fields
}

async fn approve(browser: &Browser<'_>, page: &str, place: usize) -> Answer {
    let fields = yes_fields(&browser.get(page).await.text, place);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post(&format!("{page}/approve"), &fields).await
}

#[actix_web::test]
async fn what_was_chosen_is_planned_approved_run_and_looked_back_on() {
    // given: three hosts with a newer bash, of which one would change something else
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let hosts = [
        Host::new(&master, "web-1").await,
        Host::new(&master, "web-2").await,
        Host::new(&master, "web-3").await,
    ];
    for host in &hosts {
        host.has_newer("bash").await;
    }

    // when: it is chosen over all hosts
    let list = browser.get("/updates").await.text;
    assert!(list.contains("See what would change"), "{list}");
    let asked = browser.submit("/updates", "/updates/plan", &[("pick-x", "apt bash")]).await;
    let page = location(&asked);

    // then: the page says who still works it out, and nothing can be approved
    let shown = browser.get(&page).await.text;
    assert!(page.starts_with("/plans/") && shown.contains("3 still work it out"), "{shown}");
    assert!(!shown.contains("/approve"), "{shown}");

    // when: two answer alike and one differently
    let on_host = json!({ "undo": { "bash:amd64": "kept" }, "download_bytes": 2_097_152, "disk_bytes": 1024,
        "left_out": [{ "name": "curl", "reason": "it is on hold" }], "reboot": "a newer kernel",
        "config_files": [{ "package": "bash", "path": "/etc/bash.bashrc", "is_edited": true, "outcome": "it stays" }],
        "stands_on": ["libc6"] });
    hosts[0].answers(json!([upgrade("bash", "1.1")]), on_host.clone()).await;
    hosts[1].answers(json!([upgrade("bash", "1.1")]), on_host).await;
    hosts[2].answers(json!([upgrade("bash", "1.2")]), json!({})).await;

    // then: those that are alike stand together, and the difference of the other is said
    let shown = browser.get(&page).await.text;
    for words in [
        "Step 2 of 3",
        "3 hosts answered.",
        "The same plan on 2 hosts",
        "Another plan on web-3",
        "upgrade 1.0 → 1.2; on most hosts upgrade 1.0 → 1.1",
        "2.0 MiB",
        "certain, kept on this host",
        "impossible: nobody has",
        "<code>curl</code>: it is on hold",
        "A newer kernel",
        "<code>/etc/bash.bashrc</code> of bash: it stays",
        "<code>libc6</code>",
    ] {
        assert!(shown.contains(words), "`{words}` is missing: {shown}");
    }

    // when: the plan of most is approved
    let fields = yes_fields(&shown, 0);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(location(&browser.submit(&page, &format!("{page}/approve"), &fields).await), page);

    // then: those two wait for their orders, and the third for a yes
    let shown = browser.get(&page).await.text;
    assert!(shown.contains("ann said yes for 2 hosts") && shown.contains("2 ordered"), "{shown}");
    assert!(shown.contains("Take back") && shown.contains("Approve for web-3"), "{shown}");
    let history = browser.get("/runs").await.text;
    assert!(
        history.contains("Approved and not done yet") && history.contains("2 hosts · approved by ann"),
        "{history}"
    );

    // when: a host fetches its order and runs it
    let order = hosts[0].fetch("carry_out_plan").await;
    assert!(browser.get(&page).await.text.contains("fetched"));
    let plan = fields.iter().find(|(name, _)| *name == "plan").unwrap().1.to_owned();
    let log = format!("one\n{HOSTILE}\u{1b}[2J\n");
    hosts[0]
        .progresses(json!({ "run": "20260131-120000-x7k2", "order": order, "plan": plan, "by": "ann",
            "started_at": "2026-01-31T12:00:00Z", "done": ["apt.check"], "step": "apt.fetch", "percent": 40,
            "words": "fetching", "log": log }))
        .await;

    // then: its progress and its log are on the page, and nothing of it is HTML or moves a cursor
    let run_page = format!("/runs/{}/20260131-120000-x7k2", hosts[0].id);
    assert!(browser.get(&page).await.text.contains(&format!("href=\"{run_page}\"")));
    for path in [run_page.clone(), format!("/fragments{run_page}")] {
        let shown = browser.get(&path).await.text;
        assert!(
            shown.contains("In step apt.fetch: fetching, 40 %") && shown.contains("value=\"40\""),
            "{shown}"
        );
        assert!(shown.contains("&#60;script&#62;") && shown.contains("\\u{1b}[2J"), "{shown}");
        assert!(!shown.contains(HOSTILE) && !shown.contains('\u{1b}'), "{shown}");
        assert!(shown.contains("apt.check") && shown.contains("approved by ann"), "{shown}");
    }

    // when: it ends well
    let run = json!({ "id": "20260131-120000-x7k2", "plan": { "changes": [upgrade("bash", "1.1")], "on_host": {} },
        "by": "ann", "order": order, "started_at": "2026-01-31T12:00:00Z", "ended_at": "2026-01-31T12:01:00Z",
        "steps": [{ "name": "apt.check", "at": "2026-01-31T12:00:10Z" }], "outcome": "verified" });
    hosts[0].tell("runs", json!({ "run": run, "log": "all went well\n" }), 200).await;

    // then: history and host tell of it, and it can be taken back
    for path in
        ["/runs".to_owned(), format!("/runs?agent={}", hosts[0].id), format!("/agents/{}", hosts[0].id)]
    {
        let shown = browser.get(&path).await.text;
        assert!(shown.contains(&run_page) && shown.contains("verified"), "{path}: {shown}");
    }
    assert!(!browser.get(&format!("/runs?agent={}", hosts[1].id)).await.text.contains(&run_page));
    let undo = browser.submit(&run_page, &format!("{run_page}/undo"), &[]).await;
    let back = browser.get(&location(&undo)).await.text;
    assert!(back.contains("the way back from run 20260131-120000-x7k2"), "{back}");

    // when: the host says that it cannot work that out, then: its words are on the page
    let question = hosts[0].fetch("plan_updates").await;
    let refused = json!({ "succeeded": false, "message": "it does not know how" });
    hosts[0].tell(&format!("commands/{question}/result"), refused, 200).await;
    let back = browser.get(undo.header("location")).await.text;
    assert!(
        back.contains("0 hosts answered, 1 could not") && back.contains("It does not know how"),
        "{back}"
    );

    // when: it was taken back on the host itself, then: the run names that one, and has no button any more
    let run = json!({ "id": "20260201-120000-back", "plan": { "changes": [upgrade("bash", "1.1")], "on_host": {} },
        "by": "root", "undoes": "20260131-120000-x7k2", "started_at": "2026-02-01T12:00:00Z",
        "ended_at": "2026-02-01T12:01:00Z", "steps": [], "outcome": "verified" });
    hosts[0].tell("runs", json!({ "run": run, "log": "" }), 200).await;
    let shown = browser.get(&run_page).await.text;
    assert!(shown.contains("Taken back by") && !shown.contains("/undo\""), "{shown}");
    master.stop().await;
}

#[actix_web::test]
async fn a_host_is_asked_from_its_own_page_and_an_empty_plan_has_no_button() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let host = Host::new(&master, "web-1").await;
    let own = format!("/agents/{}", host.id);
    assert!(browser.get(&own).await.text.contains("See what all pending updates would change"));

    let page = location(&browser.submit(&own, &format!("{own}/plan"), &[("what", "security")]).await);
    host.answers(json!([]), json!({ "left_out": [{ "name": "curl", "reason": "on hold" }] })).await;

    let shown = browser.get(&page).await.text;
    assert!(shown.contains("everything that mends a hole"), "{shown}");
    assert!(
        shown.contains("Nothing to change on web-1") && shown.contains("<code>curl</code>: on hold"),
        "{shown}"
    );
    assert!(!shown.contains("/approve"), "{shown}");
    // A host that cannot be asked says why on its own page.
    let (_, dockflare) = master.new_agent("old").await;
    let old = format!("/agents/{dockflare}");
    let refused = browser.submit(&old, &format!("{old}/plan"), &[("what", "all")]).await;
    assert!(refused.status == 409 && refused.text.contains("cannot be asked"), "{}", refused.text);
    assert!(!browser.get(&old).await.text.contains("See what all pending"), "no button where it cannot work");
    master.stop().await;
}

#[actix_web::test]
async fn services_are_restarted_where_the_box_was_ticked_and_the_page_of_the_plan_says_so() {
    // given: a host with a newer bash, and a run on it that could be taken back
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let host = Host::new(&master, "web-1").await;
    host.has_newer("bash").await;
    let run = json!({ "id": "20260131-120000-x7k2", "plan": { "changes": [upgrade("dash", "1.1")], "on_host": {} },
        "by": "root", "started_at": "2026-01-31T12:00:00Z", "ended_at": "2026-01-31T12:01:00Z", "steps": [],
        "outcome": "verified" });
    host.tell("runs", json!({ "run": run, "log": "" }), 200).await;
    let (own, back) = (format!("/agents/{}", host.id), format!("/runs/{}/20260131-120000-x7k2", host.id));
    let forms = [
        ("/updates", "/updates/plan".to_owned(), ("pick-x", "apt bash")),
        (own.as_str(), format!("{own}/plan"), ("what", "all")),
        (back.as_str(), format!("{back}/undo"), ("back", "")),
    ];
    for (place, to, field) in &forms {
        for is_ticked in [false, true] {
            // when: that is asked for with the box, or without it
            let shown = browser.get(place).await.text;
            assert!(shown.contains("name=\"restart_services\" value=\"true\""), "{place}: {shown}");
            let mut fields = vec![*field];
            fields.extend(is_ticked.then_some(("restart_services", "true")));
            let page = location(&browser.submit(place, to, &fields).await);

            // then: the host is asked so, and the page of the plan says what is approved with it
            let answer = master.admin_get(&format!("/api/v3{page}")).expect(200).await.json();
            let asked = &answer["ask"]["restart_services"];
            assert_eq!(*asked, if is_ticked { json!(true) } else { Value::Null }, "{place}: {answer}");
            let on_host = json!({ "services": [{ "name": "t-web" }] });
            host.answers(json!([upgrade("bash", "1.1")]), on_host).await;
            let shown = browser.get(&page).await.text;
            assert_eq!(shown.contains("for a restart of the services"), is_ticked, "{place}: {shown}");
            assert_eq!(
                shown.contains("Services that are restarted afterwards"),
                is_ticked,
                "{place}: {shown}"
            );
            assert!(shown.contains("<code>t-web</code>"), "{place}: {shown}");
        }
    }
    let odd = [("what", "all"), ("restart_services", "perhaps")];
    let refused = browser.submit(&own, &format!("{own}/plan"), &odd).await;
    assert!(refused.status == 400 && refused.text.contains("restart_services"), "{}", refused.text);
    master.stop().await;
}

#[actix_web::test]
async fn a_host_that_cannot_carry_it_out_is_named_with_the_way_out_and_not_ticked() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (able, unable) = (Host::new(&master, "web-1").await, Host::new(&master, "web-2").await);
    let why = json!({ "yes": false, "problem": { "reason": "no helper answers", "way_out": "install it" } });
    let told = json!({ "hostname": "web-2", "abilities": { "installs_packages": why } });
    unable.say(json!({ "kind": "host", "host": told })).await;
    let ids = [able.id.clone(), unable.id.clone()];
    let asked = master.admin_post("/api/v3/plans", json!({ "agents": ids, "what": "all" })).expect(202).await;
    let page = format!("/plans/{}", asked.json()["request"].as_str().unwrap());
    able.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    unable.answers(json!([upgrade("bash", "1.1")]), json!({})).await;

    let shown = browser.get(&page).await.text;

    assert!(
        shown.contains("Cannot install packages: no helper answers; install it (on 1 of 2 hosts)"),
        "{shown}"
    );
    let ticked: Vec<_> =
        yes_fields(&shown, 0).into_iter().filter(|(name, _)| name.starts_with("host-")).collect();
    assert_eq!(ticked.iter().map(|(_, id)| id).collect::<Vec<_>>(), [&able.id]);
    // Without a tick nothing is approved.
    let plan = yes_fields(&shown, 0).into_iter().find(|(name, _)| name == "plan").unwrap().1;
    let none =
        browser.submit(&page, &format!("{page}/approve"), &[("plan", &plan), ("lifetime", "86400")]).await;
    assert!(none.status == 400 && none.text.contains("No host was ticked"), "{}", none.text);
    master.stop().await;
}

#[actix_web::test]
async fn a_second_person_agrees_on_the_page_and_a_viewer_can_do_nothing() {
    // given
    let settings = MasterSettings { second_approval: true, ..MasterSettings::default() };
    let master = TestMaster::with_actors(settings).await;
    let ann = Browser::signed_in(&master).await;
    let (viewer, other) =
        (Browser::with_role(&master, Role::Viewer).await, Browser::with_role(&master, Role::Operator).await);
    let host = Host::new(&master, "web-1").await;
    let own = format!("/agents/{}", host.id);
    let page = location(&ann.submit(&own, &format!("{own}/plan"), &[("what", "all")]).await);
    host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    let fields = yes_fields(&ann.get(&page).await.text, 0);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let to = format!("{page}/approve");
    assert_eq!(viewer.submit(&page, &to, &fields).await.status, 403);
    // when: one person said yes
    assert_eq!(location(&ann.submit(&page, &to, &fields).await), page);
    // then: it waits for another one
    let own_view = ann.get(&page).await.text;
    assert!(own_view.contains("waits for a second yes") && !own_view.contains("Second yes"), "{own_view}");
    let theirs = other.get(&page).await.text;
    let id = theirs.split("/approvals/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    assert_eq!(viewer.submit(&page, &format!("/approvals/{id}/second"), &[]).await.status, 403);
    assert_eq!(viewer.submit(&page, &format!("/approvals/{id}/withdraw"), &[]).await.status, 403);
    let refused = ann.submit(&page, &format!("/approvals/{id}/second"), &[]).await;
    assert!(
        refused.status == 409 && refused.text.contains("a second person has to say yes"),
        "{}",
        refused.text
    );
    // when: another one says yes, then: it is ordered, and can be taken back until it is fetched
    assert_eq!(location(&other.submit(&page, &format!("/approvals/{id}/second"), &[]).await), page);
    assert!(ann.get(&page).await.text.contains("operator said yes too"));
    assert_eq!(location(&ann.submit(&page, &format!("/approvals/{id}/withdraw"), &[]).await), page);
    let after = ann.get(&page).await.text;
    assert!(after.contains("Taken back by ann") && after.contains("Approve for web-1"), "{after}");
    master.stop().await;
}

#[actix_web::test]
async fn a_yes_to_what_no_host_answered_or_for_no_hosts_is_refused() {
    // given: a question that a host answered
    let master = TestMaster::start().await;
    let host = Host::new(&master, "web-1").await;
    let question = json!({ "agents": [host.id], "what": "all" });
    let asked = master.admin_post("/api/v3/plans", question).expect(202).await.json();
    host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    let path = format!("/api/v3/plans/{}", asked["request"].as_str().unwrap());
    let plan = master.admin_get(&path).expect(200).await.json()["plans"][0]["id"].clone();
    let approve = format!("{path}/approve");
    // then
    let none = master.admin_post(&approve, json!({ "plan": "0".repeat(64) })).expect(404).await.json();
    assert_eq!(none["code"], "plan_not_found");
    master.admin_post(&approve, json!({ "plan": plan, "agents": [] })).expect(400).await;
    master.admin_post(&approve, json!({ "plan": plan, "agent": [host.id] })).expect(400).await;
    assert_eq!(master.admin_get("/api/v3/approvals").expect(200).await.json()["approvals"], json!([]));
    master.admin_post(&approve, json!({ "plan": plan })).expect(202).await;
    master.stop().await;
}

fn replace(to: &str) -> Value {
    json!({ "kind": "docker_image", "name": "web", "operation": "replace", "from": "sha256:a", "to": to, "digest": to })
}

#[actix_web::test]
async fn an_image_that_failed_before_is_shown_before_anybody_approves_it_and_is_let_go_there() {
    // given: an image failed on one host, and another one would get it
    let master = TestMaster::start().await;
    let (browser, viewer) =
        (Browser::signed_in(&master).await, Browser::with_role(&master, Role::Viewer).await);
    let (one, other) = (Host::new(&master, "web-1").await, Host::new(&master, "web-2").await);
    let run = json!({ "id": "20260131-120000-aaaa", "plan": { "changes": [replace("sha256:b")], "on_host": {} }, "by": "root",
        "started_at": "2026-01-31T12:00:00Z", "ended_at": "2026-01-31T12:01:00Z", "steps": [], "outcome": "rolled_back",
        "reason": "web was unhealthy" });
    let failed = json!([{ "digest": "sha256:b", "image": "nginx:1.27", "reason": "web was unhealthy" }]);
    one.tell("runs", json!({ "run": run, "log": "", "failed_images": failed }), 200).await;
    let own = format!("/agents/{}", other.id);
    let page = location(&browser.submit(&own, &format!("{own}/plan"), &[("what", "all")]).await);
    other.answers(json!([replace("sha256:b"), upgrade("bash", "1.1")]), json!({})).await;
    // then: the page says so with the reason, and has no button to approve it; the API has it too
    let shown = browser.get(&page).await.text;
    for words in
        ["Failed before, and held on all hosts", "nginx:1.27", "web-1", "web was unhealthy", "Let it go"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(shown.contains(&format!("/runs/{}/20260131-120000-aaaa", one.id)), "{shown}");
    assert!(!shown.contains("/approve\" class=\"yes\""), "{shown}");
    let answer = master.admin_get(&format!("/api/v3{page}")).expect(200).await.json();
    let held = &answer["plans"][0]["held"][0];
    assert!(
        held["digest"] == "sha256:b" && held["agent"] == "web-1" && held["reason"] == "web was unhealthy",
        "{answer}"
    );
    let (to, digest) = (format!("{page}/let-go"), [("digest", "sha256:b")]);
    assert_eq!(viewer.submit(&page, &to, &digest).await.status, 403);
    // when: it is let go, then: the plan can be approved, and a second press says how it stands
    assert_eq!(location(&browser.submit(&page, &to, &digest).await), page);
    let late = browser.submit(&page, &to, &digest).await;
    assert!(late.status == 409 && late.text.contains("not held any more"), "{}", late.text);
    let after = browser.get(&page).await.text;
    assert!(!after.contains("Failed before") && after.contains("Approve for web-2"), "{after}");
    assert_eq!(location(&approve(&browser, &page, 0).await), page);
    master.stop().await;
}

#[actix_web::test]
async fn the_public_names_behind_a_container_are_shown_with_its_plan() {
    // given: a host whose container `web` is published, and one that has no such container
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let (one, other) = (Host::new(&master, "web-1").await, Host::new(&master, "web-2").await);
    master.enroll(&one.id, "edge").await;
    let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": "a.example.com",
        "dockflare.service": "http://web:80", "dockflare.path": "/shop" });
    let web = json!({ "id": "c1", "name": "web", "labels": labels, "status": "running" });
    one.say(json!({ "kind": "snapshot", "containers": [web] })).await;
    master.until_services("the route is there", |services| services.len() == 1).await;
    // when
    let body = json!({ "agents": [one.id, other.id], "what": "all" });
    let asked = master.admin_post("/api/v3/plans", body).expect(202).await.json();
    for host in [&one, &other] {
        host.answers(json!([replace("sha256:b")]), json!({})).await;
    }
    // then
    let page = format!("/plans/{}", asked["request"].as_str().unwrap());
    let shown = browser.get(&page).await.text;
    for words in ["Public names behind it", "a.example.com/shop", "on web-1"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let answer = master.admin_get(&format!("/api/v3{page}")).expect(200).await.json();
    let hosts = answer["plans"][0]["hosts"].as_array().unwrap();
    let routes: Vec<&Value> = hosts.iter().map(|host| &host["routes"]).collect();
    let behind = json!([{ "hostname": "a.example.com", "path": "/shop", "container": "web" }]);
    assert_eq!(routes, [&behind, &json!([])], "{answer}");
    master.stop().await;
}

#[actix_web::test]
async fn how_far_a_yes_goes_is_chosen_on_the_page_and_stands_in_the_record() {
    // given: a yes that reaches newer versions of the same
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let host = Host::new(&master, "web-1").await;
    let own = format!("/agents/{}", host.id);
    let page = location(&browser.submit(&own, &format!("{own}/plan"), &[("what", "all")]).await);
    host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    let mut fields = yes_fields(&browser.get(&page).await.text, 0);
    fields.push(("mode".into(), "anything".into()));

    let send = async |fields: Vec<(String, String)>| {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post(&format!("{page}/approve"), &fields).await
    };
    assert_eq!(send(fields.clone()).await.status, 400);
    fields.pop();
    fields.push(("mode".into(), "same_scope".into()));
    assert_eq!(location(&send(fields).await), page);
    assert!(browser.get("/runs").await.text.contains("same scope"));
    // when: the plan no longer holds on the host
    let order = host.fetch("carry_out_plan").await;
    let refused = json!({ "succeeded": false, "message": "the plan no longer holds: bash" });
    host.tell(&format!("commands/{order}/result"), refused, 200).await;
    let meanwhile = browser.get(&page).await.text;
    assert!(meanwhile.contains("planned anew"), "{meanwhile}");
    host.answers(json!([upgrade("bash", "1.2")]), json!({})).await;
    // then: what it would change now is ordered, and the page says which plan that is
    let after = browser.get(&page).await.text;
    assert!(after.contains("ordered") && after.contains("in the scope of the yes"), "{after}");
    assert!(!after.contains("Approve for web-1"), "it is approved already: {after}");
    host.fetch("carry_out_plan").await;
    let given = master.admin_get("/api/v3/approvals").expect(200).await.json();
    let row = &given["approvals"][0];
    assert!(
        row["mode"] == "same_scope" && row["plan"] != row["approved_plan"] && row["reissued_at"].is_string(),
        "{given}"
    );
    master.stop().await;
}

#[actix_web::test]
async fn a_yes_for_a_later_time_stands_on_the_pages_with_it_and_is_taken_back_there() {
    // given
    let clock = Clock::moved(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
    let master = TestMaster::on_clock(clock.clone()).await;
    let browser = Browser::signed_in(&master).await;
    let host = Host::new(&master, "web-1").await;
    let question = json!({ "agents": [host.id], "what": "all" });
    let asked = master.admin_post("/api/v3/plans", question).expect(202).await.json();
    let page = format!("/plans/{}", asked["request"].as_str().unwrap());
    host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    let answer = master.admin_get(&format!("/api/v3{page}")).expect(200).await.json();
    let approve = async |at: DateTime<Utc>, status: u16| {
        let body = json!({ "plan": answer["plans"][0]["id"], "not_before": at });
        master.admin_post(&format!("/api/v3{page}/approve"), body).expect(status).await
    };
    let far = approve(clock.now() + TimeDelta::days(8), 400).await;
    assert!(far.text.contains("more than 7 days away"), "{}", far.text);
    // when: it is approved for the night
    approve(DateTime::from_timestamp(1_800_020_000, 0).unwrap(), 202).await;
    // then
    let shown = browser.get(&page).await.text;
    for words in
        ["scheduled", "The host is told at 2027-01-15 13:33 UTC", "counts from 2027-01-15 13:33 UTC until"]
    {
        assert!(shown.contains(words), "`{words}` is missing: {shown}");
    }
    assert!(!shown.contains("Approve for web-1"), "{shown}");
    let history = browser.get("/runs").await.text;
    assert!(history.contains("scheduled") && history.contains("from 2027-01-15 13:33 UTC"), "{history}");
    let id = shown.split("/approvals/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    assert_eq!(location(&browser.submit(&page, &format!("/approvals/{id}/withdraw"), &[]).await), page);
    assert!(browser.get(&page).await.text.contains("Taken back by ann"));
    assert!(host.fetch_all().await.is_empty());
    master.stop().await;
}

#[actix_web::test]
async fn nothing_that_a_host_calls_something_is_html_on_the_new_pages() {
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let host = Host::new(&master, HOSTILE).await;
    let own = format!("/agents/{}", host.id);
    let page = location(&browser.submit(&own, &format!("{own}/plan"), &[("what", "all")]).await);
    let on_host = json!({ "reboot": HOSTILE, "left_out": [{ "name": HOSTILE, "reason": "\u{202e}x" }],
        "stands_on": [HOSTILE], "config_files": [{ "package": HOSTILE, "path": HOSTILE, "is_edited": true, "outcome": HOSTILE }] });
    host.answers(json!([upgrade(HOSTILE, HOSTILE)]), on_host).await;
    let run = json!({ "id": "20260131-120000-aaaa", "plan": { "changes": [upgrade(HOSTILE, HOSTILE)], "on_host": {} },
        "by": HOSTILE, "started_at": "2026-01-31T12:00:00Z", "ended_at": "2026-01-31T12:01:00Z",
        "steps": [{ "name": HOSTILE, "at": "2026-01-31T12:00:10Z" }], "outcome": "failed", "reason": HOSTILE });
    host.tell("runs", json!({ "run": run, "log": HOSTILE }), 200).await;
    for path in [page, "/runs".into(), format!("/runs/{}/20260131-120000-aaaa", host.id), own] {
        let shown = browser.get(&path).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text);
        assert!(shown.text.contains("script") && !shown.text.contains(HOSTILE), "{path}: {}", shown.text);
        assert!(!shown.text.contains('\u{202e}') && !shown.text.contains("style=\""), "{path}");
    }
    master.stop().await;
}

#[actix_web::test]
async fn a_yes_to_many_hosts_is_for_those_that_were_shown() {
    // given: more hosts than are ticked one by one, with one plan
    let master = TestMaster::start().await;
    let browser = Browser::signed_in(&master).await;
    let mut hosts = Vec::new();
    for number in 0..22 {
        hosts.push(Host::new(&master, &format!("web-{number:02}")).await);
    }
    let ids: Vec<&str> = hosts.iter().map(|host| host.id.as_str()).collect();
    let asked = master.admin_post("/api/v3/plans", json!({ "agents": ids, "what": "all" })).expect(202).await;
    let page = format!("/plans/{}", asked.json()["request"].as_str().unwrap());
    for host in &hosts[..21] {
        host.answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    }
    let seen = browser.get(&page).await.text;
    assert!(seen.contains("Approve for these 21 hosts") && seen.contains("1 still works it out"), "{seen}");
    // when: another one answers alike before the button is pressed
    hosts[21].answers(json!([upgrade("bash", "1.1")]), json!({})).await;
    let fields = yes_fields(&seen, 0);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // then: nothing is approved, until it was seen
    let refused = browser.post(&format!("{page}/approve"), &fields).await;
    assert!(
        refused.status == 409 && refused.text.contains("the hosts with this plan are others"),
        "{}",
        refused.text
    );
    assert_eq!(location(&approve(&browser, &page, 0).await), page);
    assert!(browser.get(&page).await.text.contains("ann said yes for 22 hosts"));
    master.stop().await;
}
