//! What becomes of each thing of DockFlare's.

use super::*;

fn state(value: Value) -> State {
    State::read(&value).unwrap()
}

fn one(value: Value, here: &Here) -> Item {
    let mut items = plan(&state(value), &[], here);
    assert_eq!(items.len(), 1, "{items:?}");
    items.remove(0)
}

fn manual(more: Value) -> Value {
    let mut rule = json!({"service": "http://nas:5000", "source": "manual", "tunnel_id": "t-1"});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "managed_rules": { "nas.example.com|": rule } })
}

fn reason(item: &Item) -> &str {
    match &item.outcome {
        Outcome::Left { reason } | Outcome::Waits { reason } | Outcome::RemovedHere { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_of_a_person_is_made_with_all_that_it_had() {
    let item = one(
        manual(
            json!({"path": "files", "no_tls_verify": true, "http_host_header": " nas ", "http2_origin": false,
            "zone_name": "example.com", "access_group_id": ["public-default-bypass"]}),
        ),
        &Here::default(),
    );
    let [Step::SetRule { body }] = item.steps() else { panic!("{item:?}") };
    assert_eq!(
        *body,
        json!({"hostname": "nas.example.com", "path": "/files", "service": "http://nas:5000", "tunnel": "t-1",
            "zone_name": "example.com", "origin_request": {"noTLSVerify": true, "httpHostHeader": "nas"},
            "access": {"kind": "groups", "groups": ["public-default-bypass"]}})
    );
    assert!(item.notes[0].contains("anywhere in a path"), "{:?}", item.notes);
}

#[test]
fn what_protected_a_rule_protects_it_here_or_it_is_left() {
    for (more, access) in [
        (json!({}), json!({"kind": "nothing"})),
        (json!({"access_policy_type": "none"}), json!({"kind": "nothing"})),
        (json!({"access_policy_type": "default_tld"}), json!({"kind": "inherit"})),
        (
            json!({"access_policy_type": "bypass"}),
            json!({"kind": "groups", "groups": ["public-default-bypass"]}),
        ),
        (
            json!({"access_policy_type": "authenticate"}),
            json!({"kind": "groups", "groups": ["authenticated-default"]}),
        ),
        (
            json!({"access_policy_type": "group", "access_group_id": "staff"}),
            json!({"kind": "groups", "groups": ["staff"]}),
        ),
    ] {
        let item = one(manual(more.clone()), &Here::default());
        let [Step::SetRule { body }] = item.steps() else { panic!("{more}: {item:?}") };
        assert_eq!(body["access"], access, "{more}");
    }
    for (more, words) in [
        (
            json!({"access_policy_type": "authenticate_email"}),
            "one address that DockFlare does not write down",
        ),
        (json!({"access_policy_type": "inline"}), "protected by `inline`"),
        (json!({"access_policy_type": "group", "access_group_id": []}), "protected by `group`"),
        (json!({"access_policy_type": "made tomorrow"}), "`made tomorrow`"),
        (json!({"tunnel_id": null}), "in which tunnel"),
        (json!({"service": "smb://nas"}), "`service`"),
        (json!({"service": null}), "`service`"),
        (json!({"hostname": "my nas"}), "`hostname`"),
    ] {
        let item = one(manual(more.clone()), &Here::default());
        assert!(reason(&item).contains(words), "{more}: {item:?}");
    }
}

#[test]
fn rules_of_containers_are_left_to_their_labels_and_what_these_do_not_say_is_told() {
    let rule = |more: Value| {
        let mut rule = manual(more);
        rule["managed_rules"]["nas.example.com|"]["source"] = json!("agent");
        rule
    };
    assert_eq!(plan(&state(rule(json!({}))), &[], &Here::default()), []);
    for (more, words) in [
        (
            json!({"access_policy_ui_override": true, "access_group_id": ["staff", "ops"]}),
            "`dockflare.access.groups=staff,ops`",
        ),
        (
            json!({"access_policy_ui_override": true, "access_policy_type": "default_tld"}),
            "`dockflare.access.policy=default_tld`",
        ),
        (
            json!({"access_policy_ui_override": true, "access_policy_type": "bypass"}),
            "`dockflare.access.policy=bypass`",
        ),
        (
            json!({"access_policy_ui_override": true, "access_policy_type": "authenticate_email"}),
            "`dockflare.access.group`",
        ),
        (json!({"rule_ui_override": true}), "here its labels count"),
    ] {
        let item = one(rule(more.clone()), &Here::default());
        assert!(reason(&item).contains(words), "{more}: {item:?}");
    }
}

#[test]
fn groups_are_taken_whole_and_what_is_different_is_said() {
    let groups = |group: Value| json!({"access_groups": {"staff": group}});
    let allow = |include: Value| json!({"name": "x", "decision": "allow", "include": include});
    let item = one(
        groups(
            json!({"id": "staff", "display_name": "Staff", "session_duration": "8h", "app_launcher_visible": false,
            "auto_redirect_to_identity": null, "public_mode": false, "cloudflare_policy_id": "p",
            "policies": [
                {"name": "ips", "decision": "bypass", "include": [{"ip": {"ip": "10.0.0.0/8"}}]},
                allow(json!([{"email_domain": {"domain": "example.com"}}, {"login_method": {"id": "Google"}}])),
            ]}),
        ),
        &Here::default(),
    );
    let [Step::SetGroup { id, body }] = item.steps() else { panic!("{item:?}") };
    assert_eq!(
        (id.as_str(), &body["name"], &body["options"]["session_duration"]),
        ("staff", &json!("Staff"), &json!("8h"))
    );
    assert_eq!(body["policies"].as_array().unwrap().len(), 2);
    assert!(read_group(Some(&GroupId::new("staff")), body.clone()).is_ok(), "the master takes it");
    let notes = item.notes.join("\n");
    assert!(notes.contains("only the first of its 2") && notes.contains("side by side"), "{notes}");

    let public =
        one(groups(json!({"display_name": "P", "public_mode": true, "policies": []})), &Here::default());
    assert_eq!((public.steps().len(), public.notes.as_slice()), (1, &["it lets everyone in".to_owned()][..]));
    for (group, words) in [
        (json!({"policies": []}), "nobody could come in"),
        (json!({"policies": [], "external_policy": true}), "somebody made at Cloudflare"),
        (json!({"policies": [allow(json!([{"email": {"email": "nobody"}}]))]}), "no e-mail address"),
        (
            json!({"policies": [allow(json!([{"everyone": {}}]))], "session_duration": "for ever"}),
            "`session_duration`",
        ),
    ] {
        let item = one(groups(group.clone()), &Here::default());
        assert!(reason(&item).contains(words), "{group}: {item:?}");
    }
    let named = json!({"access_groups": {"My Group": {"policies": [allow(json!([{"everyone": {}}]))]}}});
    assert!(reason(&one(named, &Here::default())).contains("under another id"));
    let built_in = json!({"access_groups": {"public-default-bypass": {"system_policy": true}}});
    assert_eq!(one(built_in, &Here::default()).outcome, Outcome::There);
}

#[test]
fn keys_stay_valid_and_agents_get_their_tunnel_once_they_come() {
    let raw = "k".repeat(43);
    let agent =
        json!({"display_name": "web-1", "custom_name": true, "assigned_tunnel_name": "edge", "api_key": raw});
    let state = state(json!({"agents": {"a-1": agent, "a-2": {"api_key": raw}}}));
    let sha256 = crate::domain::dockflare::keys::digest(&raw);
    let revoked = Key { sha256: "0".repeat(64), owner: String::new(), is_active: false, agent: None };
    // when nothing is here
    let items = plan(&state, std::slice::from_ref(&revoked), &Here::default());
    let [gone, key, one, two] = &items[..] else { panic!("{items:?}") };
    assert_eq!((reason(gone), gone.name.as_str()), ("it is revoked", "key 00000000…"));
    assert_eq!(
        key.steps(),
        [Step::TakeKey { sha256: sha256.clone(), body: json!({"owner": "web-1", "seats": 2}) }]
    );
    assert!(reason(one).contains("has not come here yet") && reason(two).contains("has not come here yet"));
    // when they have come
    let pending = |name: &str| AgentHere { is_pending: true, name: name.into(), key_id: Some("k-1".into()) };
    let here = Here {
        keys: BTreeMap::from([(sha256, KeyHere { id: "k-1".into(), is_active: true })]),
        agents: BTreeMap::from([("a-1".into(), pending("agent-a-1")), ("a-2".into(), pending("a-2"))]),
        ..Here::default()
    };
    let items = plan(&state, &[], &here);
    let [key, one, two] = &items[..] else { panic!("{items:?}") };
    assert_eq!(key.outcome, Outcome::There);
    assert_eq!(
        one.steps(),
        [
            Step::Rename { agent: "a-1".into(), name: "web-1".into() },
            Step::Enrol { agent: "a-1".into(), tunnel: "edge".into() }
        ]
    );
    assert!(reason(two).contains("had no tunnel"));
    assert!(!format!("{items:?}").contains(&raw));
}

#[test]
fn a_second_time_nothing_is_taken() {
    let state = state(json!({
        "managed_rules": {"nas.example.com|files/": {"service": "http://nas", "source": "manual", "tunnel_name": "edge"}},
        "access_groups": {"staff": {"policies": [{"decision": "allow", "include": [{"everyone": {}}]}]}},
        "agents": {"a-1": {"assigned_tunnel_name": "edge", "api_key": "k".repeat(43)}},
    }));
    let key = crate::domain::dockflare::keys::digest(&"k".repeat(43));
    let here = Here {
        groups: BTreeSet::from(["staff".to_owned()]),
        rules: BTreeSet::from([RouteKey { hostname: "nas.example.com".into(), path: "/files".into() }]),
        keys: BTreeMap::from([(key.clone(), KeyHere { id: "k-1".into(), is_active: true })]),
        agents: BTreeMap::from([(
            "a-1".into(),
            AgentHere { is_pending: false, name: "other".into(), key_id: Some("k-1".into()) },
        )]),
        withdrawn: Withdrawals::default(),
    };
    let items = plan(&state, &[], &here);
    assert_eq!(items.len(), 4);
    assert!(items.iter().all(|item| item.outcome == Outcome::There), "{items:?}");
    let shut = KeyHere { id: "k-1".into(), is_active: false };
    let revoked = Here { keys: BTreeMap::from([(key, shut)]), ..here };
    assert!(reason(&plan(&state, &[], &revoked)[1]).contains("revoked here"));
}

#[test]
fn what_was_withdrawn_here_stays_withdrawn() {
    // given: all of it was taken once, and removed by a person since
    let raw = "k".repeat(43);
    let state = state(json!({
        "managed_rules": {
            "nas.example.com|files/": {"service": "http://nas", "source": "manual", "tunnel_name": "edge", "access_group_id": "staff"},
            "other.example.com|": {"service": "http://nas", "source": "manual", "tunnel_name": "edge", "access_group_id": "staff"},
        },
        "access_groups": {"staff": {"policies": [{"decision": "allow", "include": [{"email": {"email": "a@example.com"}}]}]}},
        "agents": {"a-1": {"assigned_tunnel_name": "edge", "api_key": raw}},
    }));
    let key = RouteKey { hostname: "nas.example.com".into(), path: "/files".into() };
    assert_eq!(rules(&state)[0], key, "what the master is asked about");
    let here = Here {
        withdrawn: Withdrawals {
            keys: BTreeSet::from([crate::domain::dockflare::keys::digest(&raw)]),
            groups: BTreeSet::from(["staff".to_owned()]),
            rules: BTreeSet::from([key]),
        },
        ..Here::default()
    };
    // when
    let items = plan(&state, &[], &here);
    // then
    let [group, key, nas, other, agent] = &items[..] else { panic!("{items:?}") };
    for (item, words) in [(group, "removed here"), (key, "revoked here"), (nas, "`lightship rules set`")] {
        assert!(matches!(item.outcome, Outcome::RemovedHere { .. }), "{item:?}");
        assert!(reason(item).contains(words) && !item.is_missing(), "{item:?}");
    }
    assert!(other.notes[0].contains("until there is a group `staff`"), "it is not there: {other:?}");
    assert!(reason(agent).contains("has not come here yet"));
    // One that a person made again is here, whatever was withdrawn before.
    let again = Here { groups: BTreeSet::from(["staff".to_owned()]), ..here };
    assert_eq!(plan(&state, &[], &again)[0].outcome, Outcome::There);
}

#[test]
fn an_agent_gets_its_tunnel_only_with_the_key_that_it_had() {
    let (raw, other) = ("k".repeat(43), "o".repeat(43));
    let digest = |raw: &str| crate::domain::dockflare::keys::digest(raw);
    let of = |key: Value| json!({"display_name": "web-1", "custom_name": true, "assigned_tunnel_name": "edge", "api_key": key});
    let keys = BTreeMap::from([
        (digest(&raw), KeyHere { id: "k-1".into(), is_active: true }),
        (digest(&other), KeyHere { id: "k-2".into(), is_active: true }),
    ]);
    let came_with = |key_id: Option<&str>| {
        let agent = AgentHere { is_pending: true, name: "a-1".into(), key_id: key_id.map(str::to_owned) };
        Here { keys: keys.clone(), agents: BTreeMap::from([("a-1".into(), agent)]), ..Here::default() }
    };
    let planned =
        |key: Value, here: &Here| plan(&state(json!({"agents": {"a-1": of(key)}})), &[], here).pop().unwrap();
    assert_eq!(planned(json!(raw), &came_with(Some("k-1"))).steps().len(), 2);
    for (key, came) in [
        (json!(raw), Some("k-2")),
        (json!(raw), None),
        (json!(null), Some("k-1")),
        (json!("unknown".repeat(7)), Some("k-1")),
        (json!("unknown".repeat(7)), None),
    ] {
        let item = planned(key.clone(), &came_with(came));
        assert!(reason(&item).contains("not with the key"), "{key} {came:?}: {item:?}");
        assert_eq!((item.steps(), item.is_missing()), (&[][..], true), "not even its name");
    }
}

#[test]
fn a_group_that_would_open_to_everybody_is_left_out() {
    let policy = |decision: &str, include: Value| json!({"decision": decision, "include": include});
    let staff = policy("allow", json!([{"email_domain": {"domain": "example.com"}}]));
    let login = policy("allow", json!([{"everyone": {}}]));
    let anybody = policy("bypass", json!([{"everyone": {}}]));
    for (policies, is_left) in [
        (json!([staff, anybody]), true),
        (json!([staff, login]), true),
        (json!([login, anybody]), true),
        (json!([anybody, staff]), false),
        (json!([login, staff]), false),
        (json!([staff, staff]), false),
    ] {
        let state = state(json!({"access_groups": {"staff": {"policies": policies}}}));
        let item = plan(&state, &[], &Here::default()).remove(0);
        assert_eq!(item.steps().is_empty(), is_left, "{policies}: {item:?}");
        assert_eq!(groups(&state).is_empty(), is_left, "a trial knows it no better: {policies}");
        match is_left {
            true => assert!(reason(&item).contains("make it by hand"), "{item:?}"),
            false => assert!(item.notes[0].contains("only the first of its 2"), "{item:?}"),
        }
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let state = state(json!({"managed_rules": {"odd.example.com|x": {"service": 7}}, "agents": {"a-1": 7}}));
    let items = plan(&state, &[], &Here::default());
    let said: Vec<_> = items.iter().map(|item| (item.kind, item.name.as_str())).collect();
    assert_eq!(said, [("rule", "odd.example.com/x"), ("agent", "a-1")]);
    assert!(items.iter().all(|item| reason(item).contains("cannot be read")), "{items:?}");
}
