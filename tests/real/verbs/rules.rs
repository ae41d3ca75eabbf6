//! Rules of people from the command line.

use serde_json::{Value, json};

use super::Desk;

#[tokio::test]
async fn rules_are_made_changed_listed_and_removed_from_the_command_line() {
    let desk = Desk::start();
    // when: a rule is made in a tunnel that only a connector of ours would run
    let args = "rules set nas.example.com https://10.0.0.5:5001 --tunnel own --make-tunnel --option connect_timeout=1m30s \
                --option no_tls_verify=true";
    desk.far(0, &args.split_whitespace().collect::<Vec<_>>());
    // then
    desk.master.until_route("nas.example.com", "published").await;
    let (list, _) = desk.near(0, &["rules"]);
    for words in ["nas.example.com", "https://10.0.0.5:5001", "own", "published"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let (list, _) = desk.near(0, &["rules", "list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let options = json!({ "connectTimeout": 90, "noTLSVerify": true });
    assert_eq!((&list[0]["origin_request"], list.as_array().unwrap().len()), (&options, 1));
    let (routes, _) = desk.near(0, &["routes"]);
    assert!(routes.contains("rule in own"), "{routes}");

    desk.near(0, &["rules", "set", "nas.example.com", "http://10.0.0.6:80"]);
    let (list, _) = desk.near(0, &["rules", "list"]);
    assert!(list.contains("http://10.0.0.6:80") && list.contains("own"), "{list}");

    for (args, words) in [
        (&["rules", "set", "b.example.com", "http://b"][..], "tunnel"),
        (
            &["rules", "set", "b.example.com", "http://b", "--tunnel", "nowhere"],
            "no tunnel is called `nowhere`",
        ),
        (
            &["rules", "set", "b.example.com", "http://b", "--tunnel", "own", "--option", "x=1"],
            "`x` is no option",
        ),
        (
            &["rules", "set", "b.example.com", "gopher://b", "--tunnel", "own"],
            "`service`: the service must begin",
        ),
        (&["rules", "remove", "b.example.com"], "`lightship rules` lists them"),
    ] {
        let (_, said) = desk.near(1, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }

    desk.near(0, &["rules", "remove", "nas.example.com"]);
    let (list, _) = desk.near(0, &["rules", "list", "--json"]);
    assert_eq!(list.trim(), "[]");
}

#[tokio::test]
async fn what_others_made_is_shown_and_then_taken_over() {
    let desk = Desk::start();
    let (shown, _) = desk.near(2, &["rules", "import", "shared"]);
    assert!(shown.contains("theirs.example.com") && shown.contains("nothing"), "{shown}");
    let before = desk.standin.config(&desk.tunnel).1;
    let (taken, _) = desk.near(0, &["rules", "import", "shared", "--yes"]);
    assert!(taken.contains("theirs.example.com"), "{taken}");
    desk.master.until_route("theirs.example.com", "published").await;
    assert_eq!(desk.standin.config(&desk.tunnel).1, before);
    desk.near(0, &["rules", "import", "shared"]);
}
