//! Tables and properties of label reading.

mod access;

use proptest::prelude::*;

use super::*;
use crate::domain::route::AccessCheck;
use crate::domain::text::{is_hidden, spell_out};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn read(pairs: &[(&str, &str)]) -> Labels {
    read_labels(&labels(pairs), None, MAX_PROBLEMS)
}

fn keys(read: &Labels) -> Vec<String> {
    read.services.iter().map(|s| format!("{} -> {}", s.key, s.service)).collect()
}

fn problem_of<'a>(read: &'a Labels, label: &str) -> &'a LabelProblem {
    read.problems.iter().find(|p| p.label == label).unwrap_or_else(|| panic!("{label}: {:?}", read.problems))
}

#[test]
fn every_label_of_the_table_is_read() {
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "App.example.com"),
        ("dockflare.service", "https://app:8443"),
        ("dockflare.path", "api/"),
        ("dockflare.zonename", "Example.com"),
        ("dockflare.no_tls_verify", "yes"),
        ("dockflare.originsrvname", " inner.example.com "),
        ("dockflare.httpHostHeader", "inner"),
        ("dockflare.http2_origin", "1"),
        ("dockflare.disable_chunked_encoding", "T"),
        ("dockflare.match_sni_to_host", "TRUE"),
        ("dockflare.connect_timeout", "10"),
        ("dockflare.tls_timeout", "10s"),
        ("cloudflare.tunnel.tcp_keep_alive", "1m30s"),
        ("dockflare.keep_alive_timeout", "2m"),
        ("dockflare.keep_alive_connections", "100"),
        ("dockflare.no_happy_eyeballs", "true"),
        ("dockflare.ca_pool", "/etc/ssl/own-ca.pem"),
        ("dockflare.access_required", "true"),
        ("dockflare.access_team_name", "my-team"),
        ("dockflare.access_aud_tag", "aa11,bb22"),
    ]);
    assert_eq!(read.problems, []);
    assert_eq!(
        read.services,
        [Service {
            key: RouteKey { hostname: "app.example.com".into(), path: "/api".into() },
            service: "https://app:8443".into(),
            origin_request: OriginRequest {
                no_tls_verify: Some(true),
                origin_server_name: Some("inner.example.com".into()),
                http_host_header: Some("inner".into()),
                http2_origin: Some(true),
                disable_chunked_encoding: Some(true),
                match_sni_to_host: Some(true),
                connect_timeout: Some(10),
                tls_timeout: Some(10),
                tcp_keep_alive: Some(90),
                keep_alive_timeout: Some(120),
                keep_alive_connections: Some(100),
                no_happy_eyeballs: Some(true),
                ca_pool: Some("/etc/ssl/own-ca.pem".into()),
                proxy_type: None,
                access: Some(AccessCheck {
                    required: true,
                    team_name: "my-team".into(),
                    aud_tag: vec!["aa11".into(), "bb22".into()],
                }),
            },
            zone_name: Some("example.com".into()),
            access: AccessAsk::Nothing,
        }]
    );
}

#[test]
fn enable_is_understood_as_masters_do() {
    for (value, expected) in [
        ("true", true),
        ("TRUE", true),
        ("1", true),
        ("t", true),
        ("Yes", true),
        ("false", false),
        ("0", false),
        ("on", false),
        ("", false),
        ("\"true\"", false),
    ] {
        let given = labels(&[("cloudflare.tunnel.enable", value)]);
        assert_eq!(is_enabled(&given, None), expected, "{value}");
    }
}

#[test]
fn each_label_is_chosen_by_prefix_on_its_own() {
    let given = labels(&[
        ("cloudflare.tunnel.enable", "true"),
        ("cloudflare.tunnel.hostname", "old.example.com"),
        ("dockflare.hostname", "new.example.com"),
        ("cloudflare.tunnel.service", "http://old"),
        ("my.prefix.service", "http://own"),
    ]);
    assert_eq!(keys(&read_labels(&given, None, MAX_PROBLEMS)), ["new.example.com -> http://old"]);
    for prefix in ["my.prefix", "my.prefix."] {
        assert_eq!(keys(&read_labels(&given, Some(prefix), MAX_PROBLEMS)), ["new.example.com -> http://own"]);
    }
}

#[test]
fn the_own_prefix_wins_for_enable_too() {
    let given = labels(&[("x.enable", "false"), ("dockflare.enable", "true")]);
    assert!(is_enabled(&given, None) && is_enabled(&given, Some(" ")));
    assert!(!is_enabled(&given, Some("x")));
}

#[test]
fn numbered_labels_fall_back_to_the_base_and_stand_beside_it() {
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "base.example.com"),
        ("dockflare.service", "https://app"),
        ("dockflare.no_tls_verify", "true"),
        ("dockflare.0.hostname", "zero.example.com"),
        ("cloudflare.tunnel.1.hostname", "one.example.com"),
        ("dockflare.1.service", "http://other:81"),
        ("dockflare.1.no_tls_verify", "false"),
    ]);
    assert_eq!(
        keys(&read),
        [
            "base.example.com -> https://app",
            "zero.example.com -> https://app",
            "one.example.com -> http://other:81"
        ]
    );
    let flags: Vec<_> = read.services.iter().map(|s| s.origin_request.no_tls_verify).collect();
    assert_eq!(flags, [Some(true), Some(true), None]);
    assert_eq!(read.problems, []);
}

#[test]
fn a_gap_in_the_numbers_ends_the_list_and_is_shown() {
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.service", "http://app"),
        ("dockflare.0.hostname", "zero.example.com"),
        ("dockflare.2.hostname", "two.example.com"),
    ]);
    assert_eq!(keys(&read), ["zero.example.com -> http://app"]);
    assert!(problem_of(&read, "dockflare.2.hostname").reason.contains("`dockflare.1.hostname` is not set"));
}

#[test]
fn what_is_wrong_is_shown_with_label_value_and_reason() {
    for (label, value, words) in [
        ("dockflare.hostname", "my_app.example.com", "`_` is not allowed"),
        ("dockflare.hostname", "https://app.example.com", "only the name"),
        ("dockflare.service", "app:80", "must begin with"),
        ("dockflare.service", "http://app:70000", "1 to 65535"),
        ("dockflare.path", "/a?b", "path alone"),
        ("dockflare.path", "^/(api|ws)", "`^` is the sign of a regular expression"),
        ("dockflare.path", "/api,/ws", "a route has one path"),
        ("dockflare.service", "http://a,http://b", "a route has one service"),
        ("dockflare.hostname", "\"app.example.com\"", "the value is in quotes"),
        ("dockflare.service", "'http://app'", "the value is in quotes"),
        ("dockflare.path", "\"/a?b\"", "the value is in quotes"),
        ("dockflare.zonename", "a b", "no blanks"),
    ] {
        let mut given = labels(&[
            ("dockflare.enable", "true"),
            ("dockflare.hostname", "app.example.com"),
            ("dockflare.service", "http://app"),
        ]);
        given.insert(label.into(), value.into());
        let read = read_labels(&given, None, MAX_PROBLEMS);
        let problem = problem_of(&read, label);
        assert_eq!((problem.value.as_str(), read.services.len()), (value, 0), "{label}");
        assert!(problem.reason.contains(words), "{}", problem.reason);
    }
}

#[test]
fn a_wrong_option_is_shown_and_the_route_stays() {
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "app.example.com"),
        ("dockflare.service", "http://app"),
        ("dockflare.no_tls_verify", "maybe"),
        ("dockflare.httpHostHeader", "a\r\nb: c"),
    ]);
    assert_eq!(read.services[0].origin_request, OriginRequest::default());
    assert!(problem_of(&read, "dockflare.no_tls_verify").reason.contains("neither yes nor no"));
    assert_eq!(problem_of(&read, "dockflare.httpHostHeader").value, "a\u{fffd}\u{fffd}b: c");
}

#[test]
fn numbered_options_are_read_under_both_prefixes() {
    for prefix in ["dockflare", "cloudflare.tunnel"] {
        let label = |name: &str| format!("{prefix}.{name}");
        let mut given = labels(&[("dockflare.enable", "true"), ("dockflare.hostname", "db.example.com")]);
        given.extend([
            (label("service"), "tcp://db:5432".to_owned()),
            (label("connect_timeout"), "5".to_owned()),
            (label("proxy_type"), "socks".to_owned()),
            (label("0.hostname"), "app.example.com".to_owned()),
            (label("0.service"), "https://app".to_owned()),
            (label("0.connect_timeout"), "7s".to_owned()),
            (label("0.ca_pool"), "/ca.pem".to_owned()),
        ]);
        let read = read_labels(&given, None, MAX_PROBLEMS);
        assert_eq!(read.problems, [], "{prefix}");
        let [db, app] = &read.services[..] else { panic!("two routes: {:?}", read.services) };
        assert_eq!(
            (db.origin_request.connect_timeout, app.origin_request.connect_timeout),
            (Some(5), Some(7))
        );
        assert_eq!(
            (db.origin_request.proxy_type.as_deref(), &db.origin_request.ca_pool),
            (Some("socks"), &None)
        );
        assert_eq!(app.origin_request.ca_pool.as_deref(), Some("/ca.pem"));
    }
}

#[test]
fn every_option_has_its_label_and_no_label_is_an_option_twice() {
    for option in &OPTIONS {
        assert_eq!(table::SUFFIXES.iter().filter(|suffix| **suffix == option.label).count(), 1, "{option:?}");
    }
}

#[test]
fn a_slip_in_what_keeps_visitors_out_withholds_the_route() {
    let base = [
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "app.example.com"),
        ("dockflare.service", "http://app"),
    ];
    let good = [
        ("dockflare.access_required", "true"),
        ("dockflare.access_team_name", "my-team"),
        ("dockflare.access_aud_tag", "aa11"),
    ];
    for (changed, at, words) in [
        ("ture", 0, "neither yes nor no"),
        ("'true'", 0, "in quotes"),
        ("my team", 1, "name of a team"),
        ("a b", 2, "audience tags"),
        ("", 2, "`access_aud_tag`"),
    ] {
        let mut given = labels(&base);
        given.extend(labels(&good));
        given.insert(good[at].0.into(), changed.into());
        let read = read_labels(&given, None, MAX_PROBLEMS);
        assert_eq!(read.services, [], "{changed:?}");
        assert!(read.problems.iter().any(|problem| problem.reason.contains(words)), "{:?}", read.problems);
    }
    // The team may be left open, and the tag where the route has an application of its own.
    let parts = [
        (
            AccessCheck { required: true, team_name: String::new(), aud_tag: vec!["aa11".into()] },
            "access_aud_tag",
            "aa11",
        ),
        (AccessCheck { required: true, ..AccessCheck::default() }, "access.group", "staff"),
    ];
    for (check, suffix, value) in parts {
        let mut given = labels(&base);
        given.extend(labels(&[("dockflare.access_required", "true")]));
        given.insert(format!("dockflare.{suffix}"), value.into());
        let read = read_labels(&given, None, MAX_PROBLEMS);
        assert_eq!(read.services[0].origin_request.access, Some(check), "{:?}", read.problems);
    }
    // What asks for no check is none.
    let mut given = labels(&base);
    given.extend(labels(&[("dockflare.access_required", "false"), ("dockflare.access_aud_tag", "aa11")]));
    let read = read_labels(&given, None, MAX_PROBLEMS);
    assert_eq!(read.services[0].origin_request, OriginRequest::default());
    assert!(problem_of(&read, "dockflare.access_aud_tag").reason.contains("`access_required`"));
}

#[test]
fn several_hostnames_in_one_label_are_refused_with_the_way_out() {
    for names in [
        "a.example.com,b.example.com",
        "a.example.com, b.example.com",
        "a.example.com;b.example.com",
        "a.example.com b.example.com",
        "a.example.com\nb.example.com",
        "a.example.com | b.example.com",
        "a.example.com,https://b.example.com/",
    ] {
        for (label, prefix) in
            [("dockflare.hostname", "dockflare"), ("cloudflare.tunnel.0.hostname", "cloudflare.tunnel")]
        {
            let enable = format!("{prefix}.enable");
            let read = read(&[(&enable, "true"), (label, names), ("dockflare.service", "http://app")]);
            assert!(read.services.is_empty());
            let reason = &problem_of(&read, label).reason;
            assert!(reason.contains(&format!("`{prefix}.0.hostname`, `{prefix}.1.hostname`")), "{reason}");
        }
    }
    let one = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "my app.example.com"),
        ("dockflare.service", "http://app"),
    ]);
    assert!(problem_of(&one, "dockflare.hostname").reason.contains("no blanks"));
}

#[test]
fn a_number_in_the_wrong_place_names_the_right_one() {
    for (label, meant) in [
        ("dockflare.hostname.0", "`dockflare.0.hostname`"),
        ("cloudflare.tunnel.service.12", "`cloudflare.tunnel.12.service`"),
        ("dockflare.hostname_1", "`dockflare.1.hostname`"),
        ("dockflare.hostname[1]", "`dockflare.1.hostname`"),
        ("dockflare.hostname2", "`dockflare.2.hostname`"),
        ("dockflare.00.hostname", "`dockflare.0.hostname`"),
        ("dockflare.access.policy.0", "`dockflare.0.access.policy`"),
    ] {
        let read = read(&[(label, "x")]);
        assert!(problem_of(&read, label).reason.contains(meant), "{:?}", read.problems);
    }
}

#[test]
fn what_has_no_effect_on_a_service_is_shown_and_the_route_stays() {
    let options = [
        ("no_tls_verify", "true"),
        ("originsrvname", "inner"),
        ("httpHostHeader", "x"),
        ("http2_origin", "true"),
        ("disable_chunked_encoding", "true"),
        ("match_sni_to_host", "true"),
        ("connect_timeout", "10"),
        ("tls_timeout", "10"),
        ("tcp_keep_alive", "10"),
        ("keep_alive_timeout", "10"),
        ("keep_alive_connections", "10"),
        ("no_happy_eyeballs", "true"),
        ("ca_pool", "/ca.pem"),
        ("proxy_type", "socks"),
        ("path", "/x"),
    ];
    let stream = ["connect_timeout", "tcp_keep_alive", "proxy_type"];
    let socket = [
        "connect_timeout",
        "keep_alive_timeout",
        "keep_alive_connections",
        "disable_chunked_encoding",
        "path",
    ];
    let http = [&socket[..], &["httpHostHeader", "tcp_keep_alive", "no_happy_eyeballs"]].concat();
    let https = options.map(|(name, _)| name).into_iter().filter(|name| *name != "proxy_type");
    for (service, kind, taken) in [
        ("tcp://db:5432", "tcp://", stream.to_vec()),
        ("ssh://box:22", "ssh://", stream.to_vec()),
        ("rdp://pc:3389", "rdp://", stream.to_vec()),
        ("bastion", "bastion", stream.to_vec()),
        ("socks-proxy", "socks-proxy", vec![]),
        ("http_status:404", "http_status:", vec!["path"]),
        ("unix:/run/a.sock", "unix:", socket.to_vec()),
        ("http://app", "http://", http),
        ("https://app", "https://", https.collect()),
    ] {
        let mut given = labels(&[
            ("dockflare.enable", "true"),
            ("dockflare.hostname", "app.example.com"),
            ("dockflare.service", service),
        ]);
        given.extend(options.map(|(name, value)| (format!("dockflare.{name}"), value.to_owned())));
        let read = read_labels(&given, None, MAX_PROBLEMS);

        let path = if taken.contains(&"path") { "/x" } else { "" };
        assert_eq!(keys(&read), [format!("app.example.com{path} -> {service}")]);
        let without: Vec<_> = read.problems.iter().map(|problem| problem.label.as_str()).collect();
        let mut expected: Vec<_> = options
            .iter()
            .filter(|(name, _)| !taken.contains(name))
            .map(|(name, _)| format!("dockflare.{name}"))
            .collect();
        expected.sort();
        assert_eq!(without, expected, "{service}");
        for problem in &read.problems {
            assert!(
                problem.reason.starts_with(&format!("has no effect on a `{kind}` service")),
                "{problem:?}"
            );
        }
    }
}

#[test]
fn a_base_label_that_one_route_uses_has_an_effect() {
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.httpHostHeader", "inner"),
        ("dockflare.no_tls_verify", "false"),
        ("dockflare.0.hostname", "db.example.com"),
        ("dockflare.0.service", "tcp://db:5432"),
        ("dockflare.0.http2_origin", "true"),
        ("dockflare.1.hostname", "app.example.com"),
        ("dockflare.1.service", "http://app"),
    ]);
    let [problem] = &read.problems[..] else { panic!("one is without effect: {:?}", read.problems) };
    assert_eq!((problem.label.as_str(), problem.value.as_str()), ("dockflare.0.http2_origin", "true"));
    assert_eq!(read.services.len(), 2);
}

#[test]
fn characters_that_nobody_sees_reach_no_reason_as_they_are() {
    for (label, value) in [
        ("dockflare.hostname", "a\u{202e}\u{1b}b.example.com"),
        ("dockflare.hostname", "a\u{2028}b"),
        ("dockflare.path", "/a\u{202e}b"),
        ("dockflare.service", "unix:/a\u{202e}b"),
        ("dockflare.httpHostHeader", "a\u{200b}b"),
        ("dockflare.hos\u{202e}tnme", "x"),
    ] {
        let mut given = labels(&[
            ("dockflare.enable", "true"),
            ("dockflare.hostname", "app.example.com"),
            ("dockflare.service", "http://app"),
        ]);
        given.insert(label.into(), value.into());
        let read = read_labels(&given, None, MAX_PROBLEMS);
        assert!(!read.problems.is_empty(), "{label}");
        for LabelProblem { label, value, reason } in &read.problems {
            assert!(
                ![label, value, reason].into_iter().any(|text| text.contains(is_hidden)),
                "{label:?} {value:?} {reason:?}"
            );
        }
    }
    let control = "`\u{1b}`";
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "\u{1b}.example.com"),
        ("dockflare.service", "http://a"),
    ]);
    assert!(read.problems[0].reason.contains(&spell_out(control)), "{:?}", read.problems);
}

#[test]
fn half_a_route_names_the_missing_half() {
    let read_one = |label: &str, value: &str| read(&[("dockflare.enable", "true"), (label, value)]);
    let read = read_one("dockflare.hostname", "app.example.com");
    assert!(problem_of(&read, "dockflare.hostname").reason.contains("`dockflare.service`"));
    let read = read_one("cloudflare.tunnel.service", "http://app");
    assert!(problem_of(&read, "cloudflare.tunnel.service").reason.contains("`cloudflare.tunnel.hostname`"));
    let read = read_one("dockflare.0.hostname", "app.example.com");
    assert!(problem_of(&read, "dockflare.0.hostname").reason.contains("`dockflare.0.service`"));
    let read = read_one("dockflare.path", "/api");
    assert!(problem_of(&read, "dockflare.enable").reason.contains("nothing is published"));
}

#[test]
fn near_misses_name_what_was_meant() {
    for (label, meant) in [
        ("dockflare.enabled", "`enable`"),
        ("dockflare.hostnme", "`hostname`"),
        ("cloudflare.tunnel.httphostheader", "`httpHostHeader`"),
        ("dockflare.originServerName", "`originsrvname`"),
        ("dockflare.0.servce", "`service`"),
        ("dockflare.acces.policy", "`access.policy`"),
        ("dockflare.noTLSVerify", "`no_tls_verify`"),
        ("dockflare.connectTimeout", "`connect_timeout`"),
        ("dockflare.keepalive_timeout", "`keep_alive_timeout`"),
        ("dockflare.http_host_header", "`httpHostHeader`"),
        ("dockflare.access_requird", "`access_required`"),
    ] {
        let read = read(&[(label, "s3cret-value")]);
        let problem = problem_of(&read, label);
        assert!(problem.reason.contains(meant), "{label}: {}", problem.reason);
        assert_eq!(problem.value, "", "values of unknown labels are not repeated");
        assert!(!read.enabled && read.services.is_empty());
    }
    assert!(
        problem_of(&read(&[("dockflare.zzzzzz", "x")]), "dockflare.zzzzzz").reason.contains("no meaning")
    );
    assert!(
        problem_of(&read(&[("dockflare.0.enable", "x")]), "dockflare.0.enable")
            .reason
            .contains("whole container")
    );
}

#[test]
fn a_container_that_is_not_enabled_says_so_unless_it_was_meant() {
    let hostname = ("dockflare.hostname", "app.example.com");
    let missing = read(&[hostname]);
    assert!(problem_of(&missing, "dockflare.enable").reason.contains("set it to `true`"));
    let odd = read(&[hostname, ("dockflare.enable", "on")]);
    assert!(problem_of(&odd, "dockflare.enable").reason.contains("neither yes nor no"));
    let meant = read(&[hostname, ("dockflare.enable", "false"), ("dockflare.tpyo", "x")]);
    assert_eq!(meant, Labels::default());
    assert_eq!(read(&[("com.example.hostname", "x")]), Labels::default());
}

#[test]
fn two_routes_of_one_container_with_one_key_are_one() {
    let read = read(&[
        ("dockflare.enable", "true"),
        ("dockflare.service", "http://app"),
        ("dockflare.0.hostname", "app.example.com"),
        ("dockflare.0.path", "/api"),
        ("dockflare.1.hostname", "APP.example.com."),
        ("dockflare.1.path", "api/"),
    ]);
    assert_eq!(keys(&read), ["app.example.com/api -> http://app"]);
    assert!(problem_of(&read, "dockflare.1.hostname").reason.contains("twice"));
}

#[test]
fn only_own_labels_leave_the_host() {
    let given = labels(&[
        ("dockflare.enable", "Yes"),
        ("cloudflare.tunnel.enable", "no"),
        ("mine.hostname", "a.example.com"),
        ("com.example.password", "hunter2"),
        ("dockflare", "x"),
    ]);
    let kept = |prefix| own_labels(&given, prefix).into_iter().collect::<Vec<_>>();
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(kept(None), [pair("cloudflare.tunnel.enable", "no"), pair("dockflare.enable", "true")]);
    assert_eq!(kept(Some("mine")).len(), 3);
    assert!(concerns_us(&given, None) && !concerns_us(&labels(&[("com.example.x", "")]), None));
}

#[test]
fn what_leaves_the_host_of_one_container_is_bounded_and_reads_as_before() {
    // given: 9,000 labels of 1 KB; a value and a name as long as a report may be; a good value in much white space
    let long = "x".repeat(1_000);
    let many: BTreeMap<_, _> = (0..9_000).map(|i| (format!("dockflare.{i}.path"), long.clone())).collect();
    let published = |label: &str, value: &str| {
        labels(&[
            ("dockflare.enable", "true"),
            ("dockflare.hostname", "a.example.com"),
            ("dockflare.service", "http://app"),
            (label, value),
        ])
    };
    let huge = "/é".repeat(4 << 20);
    let wide = published("dockflare.path", &huge);
    let named = published(&format!("dockflare.{huge}"), "x");
    let padded = published("dockflare.path", &format!("{}/api", " ".repeat(1 << 20)));
    let emoji = "\u{1f980}".repeat(MAX_SENT);
    let escaped = "\u{1}".repeat(MAX_SENT);
    let full = |value: &str| {
        let pairs = (0..MAX_LABELS - 1).map(|i| (format!("dockflare.{i}.path"), value.to_owned()));
        pairs.chain([("dockflare.enable".to_owned(), "true".to_owned())]).collect()
    };
    for given in [many, wide, named, padded, full(&emoji), full(&escaped), full(&"x".repeat(MAX_SENT))] {
        // when
        let sent = own_labels(&given, None);
        // then
        let bytes: usize = sent.iter().map(|(label, value)| label.len() + value.len()).sum();
        assert!(bytes < 64 << 10, "{bytes}");
        assert_eq!(read_labels(&sent, None, MAX_PROBLEMS), read_labels(&given, None, MAX_PROBLEMS));
    }
}

#[test]
fn too_many_routes_end_at_the_bound_and_say_so() {
    let mut given = labels(&[("dockflare.enable", "true"), ("dockflare.service", "http://app")]);
    for i in 0..MAX_SERVICES + 5 {
        given.insert(format!("dockflare.{i}.hostname"), format!("h{i}.example.com"));
    }
    let read = read_labels(&given, None, MAX_PROBLEMS);
    assert_eq!(read.services.len(), MAX_SERVICES);
    let [problem] = &read.problems[..] else { panic!("one reason for all: {:?}", read.problems) };
    assert_eq!(problem.label, format!("dockflare.{MAX_SERVICES}.hostname"));
    assert!(problem.reason.contains("at most; this one and those after it"), "{}", problem.reason);
}

fn any_label() -> impl Strategy<Value = (String, String)> {
    let suffix = proptest::sample::select(table::SUFFIXES.to_vec()).prop_map(str::to_owned);
    let name =
        prop_oneof![suffix.clone(), suffix.prop_map(|s| format!("0.{s}")), ".{0,20}".prop_map(String::from)];
    let prefix = proptest::sample::select(vec!["dockflare.", "cloudflare.tunnel.", "other."]);
    let value = prop_oneof![
        ".{0,40}",
        Just("true".to_owned()),
        Just("a.example.com".to_owned()),
        Just("http://app:80".to_owned()),
        Just("😀\"'\n<script>".repeat(250)),
    ];
    (prefix, name, value).prop_map(|(prefix, name, value)| (format!("{prefix}{name}"), value))
}

proptest! {
    #[test]
    fn any_labels_are_read_within_bounds(given in proptest::collection::btree_map(
        any_label().prop_map(|l| l.0), any_label().prop_map(|l| l.1), 0..12)
    ) {
        let read = read_labels(&given, None, MAX_PROBLEMS);
        prop_assert_eq!(&read, &read_labels(&own_labels(&given, None), None, MAX_PROBLEMS), "leaving others out changes nothing");
        prop_assert_eq!(read.enabled, is_enabled(&given, None));
        for problem in &read.problems {
            prop_assert!(!problem.reason.contains(is_hidden) && !problem.label.contains(is_hidden));
            prop_assert!(problem.label.chars().count() <= 200 && problem.value.chars().count() <= 200);
            prop_assert!(!problem.reason.is_empty() && !problem.label.starts_with("other."));
        }
        for service in &read.services {
            prop_assert_eq!(parse_hostname(&service.key.hostname), Ok(service.key.hostname.clone()));
            prop_assert_eq!(parse_service(&service.service), Ok(service.service.clone()));
        }
    }
}
