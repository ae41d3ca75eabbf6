//! What `access.*` labels ask for, label by label.

use std::collections::BTreeSet;

use super::*;
use crate::domain::access::{AUTHENTICATED, AppOptions, Decision, PUBLIC_BYPASS, Selector};
use crate::domain::id::GroupId;

const RULES: &str = r#"[{"decision":"allow","include":[{"email":{"email":"a@example.com"}}]}]"#;

fn groups(names: &[&str]) -> AccessAsk {
    AccessAsk::Groups { groups: names.iter().map(|name| GroupId::new(*name)).collect() }
}

/// A container with one route, and these labels beside.
fn one(more: &[(&str, &str)]) -> Labels {
    let base = [
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "app.example.com"),
        ("dockflare.service", "http://app"),
    ];
    let given = labels(&[&base[..], more].concat());
    let read = read_labels(&given, None, MAX_PROBLEMS);
    assert_eq!(
        read_labels(&own_labels(&given, None), None, MAX_PROBLEMS),
        read,
        "what leaves the host says the same"
    );
    read
}

/// A container with three numbered routes, and these labels beside.
fn three(more: &[(&str, &str)]) -> Vec<AccessAsk> {
    let base = [
        ("dockflare.enable", "true"),
        ("dockflare.service", "http://app"),
        ("dockflare.0.hostname", "zero.example.com"),
        ("dockflare.1.hostname", "one.example.com"),
        ("cloudflare.tunnel.2.hostname", "two.example.com"),
    ];
    asks(&read(&[&base[..], more].concat()))
}

fn asks(read: &Labels) -> Vec<AccessAsk> {
    read.services.iter().map(|service| service.access.clone()).collect()
}

fn ask(read: &Labels) -> &AccessAsk {
    let [service] = &read.services[..] else { panic!("one route: {:?}", read.services) };
    &service.access
}

fn reasons(ask: &AccessAsk) -> &[String] {
    let AccessAsk::Unreadable { reasons } = ask else { panic!("readable: {ask:?}") };
    reasons
}

#[test]
fn each_label_that_says_who_may_come_in_is_understood() {
    for (labels, expected) in [
        (vec![], AccessAsk::Nothing),
        (vec![("dockflare.access.group", "staff")], groups(&["staff"])),
        (vec![("cloudflare.tunnel.access.group", " staff ")], groups(&["staff"])),
        (vec![("dockflare.access.group", "bypass")], groups(&[PUBLIC_BYPASS])),
        (
            vec![("dockflare.access.groups", "staff, ops,staff ,bypass")],
            groups(&["staff", "ops", PUBLIC_BYPASS]),
        ),
        (vec![("dockflare.access.policy", "bypass")], groups(&[PUBLIC_BYPASS])),
        (vec![("dockflare.access.policy", "Authenticate")], groups(&[AUTHENTICATED])),
        (vec![("dockflare.access.policy", "default_tld")], AccessAsk::Inherit),
        (vec![("dockflare.access.policy", " NONE ")], AccessAsk::Public),
    ] {
        let read = one(&labels);
        assert_eq!((ask(&read), &read.problems), (&expected, &vec![]), "{labels:?}");
    }
}

#[test]
fn rules_of_its_own_come_with_the_options_of_their_application() {
    let read = one(&[
        ("dockflare.access.custom_rules", RULES),
        ("dockflare.access.policy", "custom"),
        ("dockflare.access.name", " Shop "),
        ("dockflare.access.session_duration", "2h45m"),
        ("dockflare.access.app_launcher_visible", "yes"),
        ("dockflare.access.allowed_idps", "Google"),
        ("dockflare.access.auto_redirect_to_identity", "1"),
    ]);
    let AccessAsk::Own { options, policies } = ask(&read) else { panic!("{:?}", ask(&read)) };
    let expected = AppOptions {
        name: Some("Shop".into()),
        session_duration: "2h45m".into(),
        app_launcher_visible: true,
        allowed_idps: vec!["Google".into()],
        auto_redirect_to_identity: true,
    };
    assert_eq!((options, &read.problems), (&expected, &vec![]));
    let [policy] = &policies[..] else { panic!("one policy: {policies:?}") };
    assert_eq!(policy.decision, Decision::Allow);
    assert_eq!(policy.include, [Selector::Email("a@example.com".into())]);

    let plain =
        one(&[("dockflare.access.custom_rules", RULES), ("dockflare.access.app_launcher_visible", "no")]);
    let AccessAsk::Own { options, .. } = ask(&plain) else { panic!("{:?}", ask(&plain)) };
    assert_eq!((options, &plain.problems), (&AppOptions::default(), &vec![]));
}

#[test]
fn the_weightiest_label_decides_and_the_others_are_shown() {
    let all = [
        ("dockflare.access.groups", "a,b"),
        ("dockflare.access.group", "c"),
        ("dockflare.access.policy", "authenticate"),
        ("dockflare.access.custom_rules", RULES),
    ];
    for (from, expected) in [(0, groups(&["a", "b"])), (1, groups(&["c"])), (2, groups(&[AUTHENTICATED]))] {
        let read = one(&all[from..]);
        assert_eq!(ask(&read), &expected);
        let overruled: BTreeSet<&str> = read.problems.iter().map(|problem| problem.label.as_str()).collect();
        assert_eq!(overruled, all[from + 1..].iter().map(|(label, _)| *label).collect());
        for problem in &read.problems {
            assert!(problem.reason.contains(&format!("no effect beside `{}`", all[from].0)), "{problem:?}");
        }
    }
    // DockFlare looks at rules only beside a word, whichever it is; `none` beside rules opens nothing.
    for word in ["custom", "allow", "none", ""] {
        let read = one(&[("dockflare.access.policy", word), ("dockflare.access.custom_rules", RULES)]);
        assert!(matches!(ask(&read), AccessAsk::Own { .. }), "{word}: {:?}", ask(&read));
        assert_eq!(read.problems, [], "{word}");
    }
    for (word, expected) in [("bypass", groups(&[PUBLIC_BYPASS])), ("default_tld", AccessAsk::Inherit)] {
        let read = one(&[("dockflare.access.policy", word), ("dockflare.access.custom_rules", RULES)]);
        assert_eq!(ask(&read), &expected);
        assert!(problem_of(&read, "dockflare.access.custom_rules").reason.contains("no effect"));
    }
}

#[test]
fn the_own_prefix_comes_first_for_each_label() {
    let mut given = labels(&[
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "app.example.com"),
        ("dockflare.service", "http://app"),
        ("dockflare.access.group", "theirs"),
        ("cloudflare.tunnel.access.group", "old"),
    ]);
    assert_eq!(ask(&read_labels(&given, None, MAX_PROBLEMS)), &groups(&["theirs"]));
    given.insert("mine.access.group".into(), "mine".into());
    assert_eq!(ask(&read_labels(&given, Some("mine"), MAX_PROBLEMS)), &groups(&["mine"]));
}

#[test]
fn a_numbered_route_inherits_from_the_plain_labels_unless_it_has_its_own() {
    let base = ("dockflare.access.groups", "a,b");
    for (own, expected) in [
        (("dockflare.1.access.group", "c"), groups(&["c"])),
        (("dockflare.1.access.groups", "d"), groups(&["d"])),
        (("cloudflare.tunnel.1.access.policy", "none"), AccessAsk::Public),
        (("dockflare.1.access.policy", "bypass"), groups(&[PUBLIC_BYPASS])),
        // An unset variable opens nothing.
        (("dockflare.1.access.policy", ""), groups(&["a", "b"])),
        (("dockflare.1.access.group", " "), groups(&["a", "b"])),
    ] {
        assert_eq!(three(&[base, own]), [groups(&["a", "b"]), expected, groups(&["a", "b"])], "{own:?}");
    }
    let asks = three(&[
        ("dockflare.access.custom_rules", RULES),
        ("dockflare.access.session_duration", "1h"),
        ("dockflare.2.access.session_duration", "2h"),
        ("dockflare.0.access.group", "staff"),
    ]);
    let duration = |ask: &AccessAsk| match ask {
        AccessAsk::Own { options, .. } => options.session_duration.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        (asks[0].clone(), duration(&asks[1]), duration(&asks[2])),
        (groups(&["staff"]), "1h".into(), "2h".into())
    );
}

#[test]
fn a_plain_label_that_every_route_has_its_own_for_is_shown() {
    let base = [
        ("dockflare.enable", "true"),
        ("dockflare.service", "http://app"),
        ("dockflare.access.group", "all"),
        ("dockflare.0.hostname", "zero.example.com"),
        ("dockflare.0.access.group", "zero"),
        ("dockflare.1.hostname", "one.example.com"),
    ];
    assert_eq!(read(&base).problems, [], "the second route inherits it");
    let read = read(&[&base[..], &[("dockflare.1.access.policy", "none")]].concat());
    let [problem] = &read.problems[..] else { panic!("{:?}", read.problems) };
    assert!(
        problem.label == "dockflare.access.group" && problem.reason.contains("labels of its own"),
        "{problem:?}"
    );
}

#[test]
fn what_cannot_be_read_closes_the_route_and_says_why() {
    let rules = ("dockflare.access.custom_rules", RULES);
    let long = format!("[{}]", " ".repeat(64 << 10));
    let (padded, many) = (format!("a,{}b", " ".repeat(5_000)), vec!["a"; 60].join(","));
    for (beside, label, value, words) in [
        (None, "access.group", "My Group", "a-z, 0-9"),
        (None, "access.group", "a,b", "belong in `access.groups`"),
        (None, "access.group", "\"staff\"", "in quotes"),
        (None, "access.groups", "a,,b", "between two commas"),
        (None, "access.groups", "a,", "between two commas"),
        (None, "access.groups", ",", "between two commas"),
        (None, "access.groups", "a,B", "a-z, 0-9"),
        (None, "access.groups", &many, "50 groups at most"),
        (None, "access.groups", &padded, "longer than 3500 bytes"),
        (Some(rules), "access.allowed_idps", &padded, "longer than 3500 bytes"),
        (None, "access.policy", "public", "`bypass`, `authenticate`"),
        (None, "access.policy", "authenticated", "`authenticate` was probably meant"),
        (None, "access.policy", "bypas", "`bypass` was probably meant"),
        (None, "access.policy", "'bypass'", "in quotes"),
        (None, "access.custom_rules", "allow everyone", "no JSON"),
        (None, "access.custom_rules", "[]", "nobody could come in"),
        (None, "access.custom_rules", r#"[{"decision":"allow","include":[]}]"#, "about nobody"),
        (None, "access.custom_rules", &long, "longer than 64 KiB"),
        (Some(rules), "access.session_duration", "1 day", "such as `24h`"),
        (Some(rules), "access.session_duration", "7d", "no unit here"),
        (Some(rules), "access.session_duration", "24", "unit is missing"),
        (Some(rules), "access.app_launcher_visible", "on", "neither yes nor no"),
        (Some(rules), "access.auto_redirect_to_identity", "maybe", "neither yes nor no"),
        (Some(rules), "access.auto_redirect_to_identity", "true", "exactly one identity provider"),
        (Some(rules), "access.allowed_idps", "a,,b", "empty"),
        (Some(rules), "access.allowed_idps", "\"Google\"", "in quotes"),
        (Some(rules), "access.name", "a\u{202e}b", "not seen"),
        (Some(rules), "access.name", "'Shop'", "in quotes"),
    ] {
        let label = format!("dockflare.{label}");
        let more: Vec<(&str, &str)> = beside.into_iter().chain([(label.as_str(), value)]).collect();
        let read = one(&more);
        let reasons = reasons(ask(&read));
        assert!(
            reasons.iter().any(|reason| reason.contains(words) && reason.contains(&label)),
            "{value}: {reasons:?}"
        );
        assert!(problem_of(&read, &label).reason.contains(words), "{value}: {:?}", read.problems);
    }
}

#[test]
fn a_redirect_has_one_place_to_go_to() {
    let labels = |idps| {
        one(&[
            ("dockflare.access.custom_rules", RULES),
            ("dockflare.access.auto_redirect_to_identity", "true"),
            ("dockflare.access.allowed_idps", idps),
        ])
    };
    assert!(matches!(ask(&labels("google")), AccessAsk::Own { .. }));
    assert!(reasons(ask(&labels("google,github")))[0].contains("exactly one"));
}

#[test]
fn options_that_can_have_no_effect_are_shown_and_close_nothing() {
    let options = [
        ("dockflare.access.name", "Shop"),
        ("dockflare.access.session_duration", "soon"),
        ("dockflare.access.app_launcher_visible", "on"),
        ("dockflare.access.allowed_idps", ","),
        ("dockflare.access.auto_redirect_to_identity", "true"),
    ];
    for (source, expected, why) in [
        (("dockflare.access.group", "staff"), groups(&["staff"]), "set it in the first group"),
        (("dockflare.access.groups", "a,b"), groups(&["a", "b"]), "set it in the first group"),
        (("dockflare.access.policy", "authenticate"), groups(&[AUTHENTICATED]), "make a group"),
        (("dockflare.access.policy", "default_tld"), AccessAsk::Inherit, "no application of its own"),
        (("dockflare.access.policy", "none"), AccessAsk::Public, "no application of its own"),
    ] {
        let read = one(&[&options[..], &[source]].concat());
        assert_eq!(ask(&read), &expected);
        for (label, value) in options {
            let problem = problem_of(&read, label);
            assert_eq!(problem.value, value);
            assert!(
                problem.reason.starts_with("has no effect") && problem.reason.contains(why),
                "{problem:?}"
            );
        }
        assert_eq!(read.problems.len(), options.len());
    }
}

#[test]
fn a_plain_option_that_one_route_uses_has_an_effect() {
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.service", "http://app"),
        ("dockflare.access.session_duration", "1h"),
        ("dockflare.0.hostname", "zero.example.com"),
        ("dockflare.0.access.group", "staff"),
        ("dockflare.1.hostname", "one.example.com"),
        ("dockflare.1.access.custom_rules", RULES),
    ]);
    assert_eq!(read.problems, []);
}

#[test]
fn whoever_sets_an_option_alone_does_not_want_an_open_door() {
    for (label, value) in [
        ("dockflare.access.allowed_idps", "Google"),
        ("dockflare.access.session_duration", "1h"),
        ("dockflare.access.name", "Shop"),
        ("dockflare.access.app_launcher_visible", "false"),
    ] {
        let read = one(&[(label, value)]);
        assert!(reasons(ask(&read))[0].contains("alone protects nothing"), "{label}");
        assert!(problem_of(&read, label).reason.contains("`access.group`"));
        assert!(
            reasons(ask(&one(&[(label, value), ("dockflare.access.policy", "")])))[0].contains("alone"),
            "{label}"
        );
    }
}

#[test]
fn an_empty_label_opens_nothing_but_an_empty_policy_alone() {
    for label in ["access.group", "access.groups", "access.custom_rules"] {
        for more in [vec![], vec![("dockflare.access.policy", "")]] {
            let label = format!("cloudflare.tunnel.{label}");
            let read = one(&[&[(label.as_str(), " ")][..], &more[..]].concat());
            assert!(reasons(ask(&read))[0].contains("it is empty"), "{label}: {:?}", ask(&read));
        }
    }
    let empty = one(&[("dockflare.access.policy", "")]);
    assert_eq!(ask(&empty), &AccessAsk::Public);
    assert!(problem_of(&empty, "dockflare.access.policy").reason.contains("write `none`"));
    let filled = one(&[("dockflare.access.group", ""), ("dockflare.access.policy", "authenticate")]);
    assert_eq!(ask(&filled), &groups(&[AUTHENTICATED]));
    // An option that is empty says nothing, as everywhere.
    assert_eq!(ask(&one(&[("dockflare.access.name", "")])), &AccessAsk::Nothing);
}

#[test]
fn a_label_that_nobody_knows_closes_what_it_is_about() {
    for (label, meant, closed) in [
        ("dockflare.acess.policy", "`access.policy` was probably meant", [true; 3]),
        ("cloudflare.tunnel.access.grup", "`access.group` was probably meant", [true; 3]),
        ("dockflare.policy", "`access.policy` was probably meant", [true; 3]),
        ("dockflare.Access.Policy", "`access.policy` was probably meant", [true; 3]),
        ("dockflare.access.unheard_of", "table of labels", [true; 3]),
        ("dockflare.access.policy.0", "", [true; 3]),
        ("dockflare.00.access.policy", "", [true; 3]),
        ("dockflare.1.acces.groups", "`access.groups` was probably meant", [false, true, false]),
        ("dockflare.2.access", "", [false, false, true]),
        // Nobody can tell which route the number means.
        ("dockflare.9.access.grup", "", [true; 3]),
        ("com.example.access.policy", "", [false; 3]),
    ] {
        for value in ["", "staff", "none"] {
            let asks = three(&[(label, value)]);
            assert_eq!(asks.iter().map(AccessAsk::keeps_out).collect::<Vec<_>>(), closed, "{label}");
            for ask in asks.iter().filter(|ask| ask.keeps_out()) {
                let reason = &reasons(ask)[0];
                assert!(reason.contains(meant) && reason.contains(label) | label.contains(".9."), "{reason}");
            }
        }
    }
}

#[test]
fn many_reasons_are_counted() {
    let many: Vec<String> = (0..50).map(|i| format!("dockflare.access.zzz{i}")).collect();
    let labels: Vec<(&str, &str)> = many.iter().map(|label| (label.as_str(), "x")).collect();
    let read = one(&labels);
    let reasons = reasons(ask(&read));
    assert_eq!(reasons.len(), 3);
    assert!(reasons[2].ends_with("and 47 more"), "{reasons:?}");
}

#[test]
fn no_route_answers_for_a_protected_one_that_is_not_there() {
    let base = [
        ("dockflare.enable", "true"),
        ("dockflare.service", "http://app"),
        ("dockflare.0.hostname", "app.example.com"),
        ("dockflare.1.hostname", "other.example.com"),
    ];
    let lost = |more: &[(&str, &str)]| -> Vec<bool> {
        let read = read(&[&base[..], more].concat());
        read.services.iter().map(|service| service.access.keeps_out()).collect()
    };
    let staff = ("dockflare.2.access.group", "staff");
    for (more, closed) in [
        // Its service, its zone or its path cannot be read.
        (
            vec![
                ("dockflare.2.hostname", "app.example.com"),
                ("dockflare.2.path", "/admin"),
                ("dockflare.2.service", "x"),
                staff,
            ],
            [true, false],
        ),
        (
            vec![("dockflare.2.hostname", "app.example.com"), ("dockflare.2.path", "/a*b"), staff],
            [true, false],
        ),
        (
            vec![("dockflare.2.hostname", "app.example.com"), ("dockflare.2.zonename", "a b"), staff],
            [true, false],
        ),
        // Its name cannot.
        (vec![("dockflare.2.hostname", "my_app.example.com"), staff], [true, true]),
        // It asks for nothing, or for everybody.
        (vec![("dockflare.2.hostname", "app.example.com"), ("dockflare.2.service", "x")], [false, false]),
        (
            vec![
                ("dockflare.2.hostname", "app.example.com"),
                ("dockflare.2.service", "x"),
                ("dockflare.2.access.policy", "bypass"),
            ],
            [false, false],
        ),
        // Nobody comes to read it.
        (
            vec![("dockflare.3.hostname", "app.example.com"), ("dockflare.3.access.group", "staff")],
            [true, false],
        ),
        (vec![("dockflare.3.access.group", "staff")], [true, true]),
        (vec![("dockflare.3.access.policy", "none")], [false, false]),
        // Another name.
        (
            vec![("dockflare.2.hostname", "third.example.com"), ("dockflare.2.service", "x"), staff],
            [false, false],
        ),
    ] {
        assert_eq!(lost(&more), closed, "{more:?}");
    }
    // A route that cannot get its requests stays open.
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.service", "http://app"),
        ("dockflare.0.hostname", "app.example.com"),
        ("dockflare.0.path", "/open"),
        ("dockflare.1.hostname", "app.example.com"),
        ("dockflare.1.path", "/admin"),
        ("dockflare.1.service", "x"),
        ("dockflare.1.access.group", "staff"),
    ]);
    assert_eq!(asks(&read), [AccessAsk::Nothing]);
}

#[test]
fn of_two_routes_with_one_key_the_open_one_does_not_win() {
    let twice = |first: &str, second: &str| {
        let read = read(&[
            ("dockflare.enable", "true"),
            ("dockflare.service", "http://app"),
            ("dockflare.0.hostname", "app.example.com"),
            ("dockflare.0.access.policy", first),
            ("dockflare.1.hostname", "app.example.com"),
            ("dockflare.1.access.policy", second),
        ]);
        ask(&read).clone()
    };
    assert!(reasons(&twice("none", "authenticate"))[0].contains("asks for protection"));
    assert_eq!(twice("authenticate", "none"), groups(&[AUTHENTICATED]));
    assert_eq!(twice("none", "bypass"), AccessAsk::Public);
}

#[test]
fn rules_leave_the_host_as_a_whole_and_those_that_are_too_long_stay_so() {
    let rules = |bytes: usize| {
        let filler = "x".repeat(1_000);
        let rule = format!(r#"{{"odd":{{"a":"{filler}"}}}}"#);
        let list = vec![rule; bytes / 1_020].join(",");
        format!(r#"[{{"decision":"allow","include":[{list}]}}]"#)
    };
    for (bytes, is_read) in [(5_000, true), (60_000, true), (70_000, false), (300_000, false)] {
        let mut given = labels(&[
            ("dockflare.enable", "true"),
            ("dockflare.hostname", "app.example.com"),
            ("dockflare.service", "http://app"),
        ]);
        given.insert("dockflare.access.custom_rules".into(), rules(bytes));
        let sent = own_labels(&given, None);
        let read = read_labels(&given, None, MAX_PROBLEMS);
        assert_eq!(read_labels(&sent, None, MAX_PROBLEMS), read);
        assert_eq!(matches!(ask(&read), AccessAsk::Own { .. }), is_read, "{bytes}");
    }
}

#[test]
fn rules_at_the_base_are_copied_within_bounds() {
    let mut given = labels(&[("dockflare.enable", "true"), ("dockflare.service", "http://app")]);
    let filler = "x".repeat(7_000);
    let rules = vec![format!(r#"{{"odd":{{"a":"{filler}"}}}}"#); 8].join(",");
    given.insert(
        "dockflare.access.custom_rules".into(),
        format!(r#"[{{"decision":"allow","include":[{rules}]}}]"#),
    );
    given.extend((0..20).map(|i| (format!("dockflare.{i}.hostname"), format!("h{i}.example.com"))));
    let read = read_labels(&given, None, MAX_PROBLEMS);
    let own = read.services.iter().filter(|s| matches!(s.access, AccessAsk::Own { .. })).count();
    assert_eq!((own, read.services.len()), (4, 20));
    assert!(reasons(&read.services[19].access)[0].contains("256 KiB together"));
    assert!(problem_of(&read, "dockflare.access.custom_rules").reason.contains("make a group"));
}

#[test]
fn routes_beyond_what_an_agent_may_have_leave_no_door_open() {
    // given: room for one more route, and a container with an open name and a protected path of it
    let mut allowance = Allowance::default();
    let filler: BTreeMap<_, _> = (0..250)
        .map(|i| (format!("dockflare.{i}.hostname"), format!("h{i}.example.com")))
        .chain([("dockflare.enable".into(), "true".into()), ("dockflare.service".into(), "http://a".into())])
        .collect();
    for container in 0..MAX_ROUTES / 250 {
        let mut filler = filler.clone();
        if container == 0 {
            filler.remove("dockflare.249.hostname");
        }
        allowance.read(&filler, None);
    }
    let given = labels(&[
        ("dockflare.enable", "true"),
        ("dockflare.service", "http://app"),
        ("dockflare.0.hostname", "app.example.com"),
        ("dockflare.1.hostname", "app.example.com"),
        ("dockflare.1.path", "/admin"),
        ("dockflare.1.access.group", "staff"),
    ]);
    // when
    let read = allowance.read(&given, None);
    // then
    assert!(reasons(ask(&read))[0].contains("app.example.com/admin"), "{:?}", read.services);
}

fn any_access_label() -> impl Strategy<Value = (String, String)> {
    let known: Vec<&str> =
        table::SUFFIXES.into_iter().filter(|suffix| suffix.starts_with("access.")).collect();
    let name = prop_oneof![
        4 => proptest::sample::select(known).prop_map(str::to_owned),
        1 => "access\\.[a-z_]{0,12}".prop_map(String::from),
    ];
    let level = proptest::sample::select(vec!["", "0.", "1.", "2.", "7."]);
    let value = prop_oneof![
        Just(String::new()),
        Just("none".to_owned()),
        Just("bypass".to_owned()),
        Just("staff".to_owned()),
        Just("true".to_owned()),
        Just(RULES.to_owned()),
        ".{0,20}",
    ];
    (level, name, value).prop_map(|(level, name, value)| (format!("dockflare.{level}{name}"), value))
}

proptest! {
    #[test]
    fn a_route_is_open_only_if_nothing_was_asked_or_that_was_said(
        access in proptest::collection::btree_map(
            any_access_label().prop_map(|l| l.0), any_access_label().prop_map(|l| l.1), 0..8)
    ) {
        let mut given = labels(&[
            ("dockflare.enable", "true"),
            ("dockflare.service", "http://app"),
            ("dockflare.0.hostname", "zero.example.com"),
            ("dockflare.1.hostname", "one.example.com"),
            ("dockflare.2.hostname", "two.example.com"),
        ]);
        given.extend(access.clone());
        let read = read_labels(&given, None, MAX_PROBLEMS);
        prop_assert_eq!(read.services.len(), 3);
        for (i, service) in read.services.iter().enumerate() {
            let of_it: Vec<(&String, &String)> = access
                .iter()
                .filter(|(label, _)| label.starts_with("dockflare.access") || label.starts_with(&format!("dockflare.{i}.")))
                .filter(|(_, value)| !value.trim().is_empty())
                .collect();
            let is_said = of_it.iter().any(|(label, value)| {
                let word = value.trim().to_ascii_lowercase();
                (label.ends_with("access.policy") && ["none", "bypass"].contains(&word.as_str()))
                    || (label.ends_with("access.group") && *value == "bypass")
                    || (label.ends_with("access.groups") && *value == "bypass")
            });
            if !service.access.keeps_out() {
                prop_assert!(of_it.is_empty() || is_said, "{:?} {:?}", service.access, access);
            }
            if let AccessAsk::Unreadable { reasons } = &service.access {
                prop_assert!(!reasons.is_empty() && reasons.len() <= 3);
                prop_assert!(reasons.iter().all(|reason| !reason.contains(is_hidden)), "{:?}", reasons);
            }
        }
    }
}
