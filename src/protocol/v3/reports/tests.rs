//! What a batch of reports may look like, and what is refused by name.

use serde_json::json;

use super::*;

#[test]
fn a_batch_has_its_fixed_shape() {
    let body = json!({"session": "s", "first_seq": 7, "sent_at": "2026-01-31T12:00:00+02:00", "items": [
        {"kind": "heartbeat"},
        {"kind": "container_gone", "id": "c1", "cause": "stopped"},
        {"kind": "command_result", "id": "c-1", "outcome": {"succeeded": true, "message": "done"}},
        {"kind": "made_tomorrow", "x": 1}]});
    let reports = decode_reports(body.to_string().as_bytes()).unwrap();
    assert_eq!((reports.first_seq, reports.items.len()), (7, 4));
    assert_eq!(reports.items[0], Report::Heartbeat);
    assert_eq!(reports.items[3], Report::Unknown);
}

#[test]
fn batches_are_bounded() {
    let items = vec![json!({"kind": "heartbeat"}); ITEMS_LIMIT + 1];
    let many = json!({"session": "s", "first_seq": 0, "sent_at": null, "items": items});
    assert_eq!(decode_reports(many.to_string().as_bytes()).unwrap_err().code(), "invalid_body");
    let far =
        json!({"session": "s", "first_seq": u64::MAX, "sent_at": null, "items": [{"kind": "heartbeat"}]});
    assert_eq!(decode_reports(far.to_string().as_bytes()).unwrap_err().code(), "invalid_body");
}

#[test]
fn what_is_too_long_or_too_much_is_refused_by_name() {
    let batch = |item: Value| {
        let body = json!({"session": "s", "first_seq": 0, "sent_at": null, "items": [item]}).to_string();
        decode_reports(body.as_bytes())
    };
    let list: Vec<Value> = (0..2_001).map(|n| json!({"id": n.to_string(), "name": "app"})).collect();
    let long = "c".repeat(129);
    for (item, wanted) in [
        (
            json!({"kind": "snapshot", "containers": list}),
            "field `items[].containers` is not allowed: 2001 containers",
        ),
        (
            json!({"kind": "snapshot", "containers": [{"id": "", "name": "a"}]}),
            "field `items[].containers[].id`",
        ),
        (
            json!({"kind": "container_seen", "container": {"id": long, "name": "a"}}),
            "field `items[].container.id`",
        ),
        (json!({"kind": "container_gone", "id": long, "cause": "stopped"}), "field `items[].id`"),
        (
            json!({"kind": "command_result", "id": "../x", "outcome": {"succeeded": true, "message": ""}}),
            "field `items[].id`",
        ),
    ] {
        let error = batch(item).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    let named = json!({"kind": "container_seen", "container": {"id": "c1", "name": "n".repeat(300)}});
    let Report::ContainerSeen { container } = batch(named).unwrap().items.remove(0) else {
        panic!("not seen")
    };
    assert_eq!(container.name, "n".repeat(255));
}

#[test]
fn a_missing_field_is_named() {
    let error = decode_reports(br#"{"first_seq":0,"items":[]}"#).unwrap_err();
    assert_eq!(error.to_string(), "field `session` is missing; send a string");
}

#[test]
fn long_messages_are_cut() {
    let body = json!({"succeeded": false, "message": "é".repeat(5000)}).to_string();
    assert_eq!(decode_result(body.as_bytes()).unwrap().message.chars().count(), MESSAGE_LIMIT);
}

#[test]
fn what_an_agent_of_ours_writes_is_read_as_it_was_meant() {
    let said = [
        json!({"kind": "snapshot", "containers": [{"id": "c1", "name": "app", "labels": {"a": "b"}, "image": "i", "status": "running", "networks": {"edge": ["app", "web"], "bridge": []}}]}),
        json!({"kind": "container_seen", "container": {"id": "c1", "name": "app"}}),
        json!({"kind": "container_gone", "id": "c1", "cause": "died"}),
        json!({"kind": "tunnel", "tunnel": {"health": "running", "tunnel_id": "t", "name": "edge", "version": "1",
            "reason": "r", "ready_connections": 4, "connector_id": "x", "config_version": -1, "networks": ["a", "b"],
            "observed_at": "2026-01-31T12:00:00Z"}}),
        json!({"kind": "command_result", "id": "c-1", "outcome": {"succeeded": true, "message": "done", "finished_at": null}}),
    ];
    for value in said {
        let meant: Report = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(item(value.clone()).unwrap(), meant, "{value}");
        assert_eq!(item(serde_json::to_value(&meant).unwrap()).unwrap(), meant, "{value}");
    }
}

#[test]
fn what_a_scan_found_is_read_as_it_was_meant() {
    let mut image = Finding::new(
        "ghcr.io/a/b:1",
        Standing::Unchecked {
            cause: Cause::Waits,
            reason: "asked to wait".into(),
            last_known_at: Some("2026-01-31T11:00:00Z".parse().unwrap()),
            retry_at: Some("2026-01-31T12:01:00Z".parse().unwrap()),
        },
    );
    image.containers = vec!["c1".into()];
    let findings = Findings::new(Kind::DockerImage, vec![image, Finding::new("nginx:1", Standing::Newer)]);
    let scan = Scanned {
        at: "2026-01-31T12:00:00Z".parse().unwrap(),
        scanners: vec![findings.clone().with_problem("no", Some("do".into())).checked],
    };
    let host = Host { hostname: Some("web-1".into()), ..Host::default() };
    for meant in
        [Report::Scanned { scan }, Report::Findings { findings }, Report::Host { host: Box::new(host) }]
    {
        assert_eq!(item(serde_json::to_value(&meant).unwrap()).unwrap(), meant);
    }
}

#[test]
fn one_malformed_finding_is_kept_and_marked_and_the_others_are_as_they_were() {
    let checked = Findings::new(Kind::Apt, Vec::new()).checked;
    let items = json!([
        {"name": "a", "standing": "newer", "severity": "low"},
        {"name": "b", "standing": "newer", "severity": "high"},
        {"name": 5},
        "c",
        {"name": "d", "standing": "same", "severity": "low", "made_tomorrow": true},
    ]);
    let value = json!({"kind": "findings", "findings": {"checked": checked, "items": items}});
    let Report::Findings { findings } = item(value).unwrap() else { panic!("no findings") };
    let read: Vec<_> = findings.items.iter().map(|one| (one.name.as_str(), one.flaw.is_some())).collect();
    assert_eq!(read, [("a", false), ("b", true), ("(no name)", true), ("(no name)", true), ("d", false)]);
}

#[test]
fn more_findings_than_a_host_can_have_are_refused_by_name() {
    let checked = Findings::new(Kind::Apt, Vec::new()).checked;
    let items = vec![json!({"name": "a", "standing": "newer", "severity": "low"}); MAX_FINDINGS + 1];
    let value = json!({"kind": "findings", "findings": {"checked": checked, "items": items}});
    assert!(item(value).unwrap_err().to_string().contains("items[].findings.items"));
}

#[test]
fn a_wrong_type_is_named_wherever_it_stands() {
    for (value, wanted) in [
        (json!(5), "field `items[]` is a number; send an object"),
        (json!({}), "field `items[].kind` is missing; send a string"),
        (json!({"kind": 5}), "field `items[].kind` is a number; send a string"),
        (json!({"kind": "snapshot"}), "field `items[].containers` is missing; send a list"),
        (
            json!({"kind": "snapshot", "containers": ["x"]}),
            "field `items[].containers[]` is a string; send an object",
        ),
        (
            json!({"kind": "snapshot", "containers": [{"id": "a", "name": "b", "labels": null}]}),
            "field `items[].containers[].labels` is null; send an object of strings",
        ),
        (
            json!({"kind": "container_seen", "container": {"id": "a", "name": "b", "networks": ["edge"]}}),
            "field `items[].container.networks` is a list; send an object with a list of names for each network",
        ),
        (
            json!({"kind": "container_seen", "container": {"id": 5}}),
            "field `items[].container.id` is a number; send a string",
        ),
        (
            json!({"kind": "container_gone", "id": "a", "cause": "x"}),
            "field `items[].cause` is a string; send `stopped` or `died`",
        ),
        (
            json!({"kind": "tunnel", "tunnel": {}}),
            "field `items[].tunnel.health` is missing; send a state such as `running`",
        ),
        (
            json!({"kind": "tunnel", "tunnel": {"health": "running", "networks": "edge"}}),
            "field `items[].tunnel.networks` is a string; send a list of strings",
        ),
        (
            json!({"kind": "command_result", "id": "a", "outcome": {"message": "", "succeeded": 1}}),
            "field `items[].outcome.succeeded` is a number; send `true` or `false`",
        ),
    ] {
        assert_eq!(item(value).unwrap_err().to_string(), wanted);
    }
    let error = decode_result(br#"{"succeeded":true}"#).unwrap_err();
    assert_eq!(error.to_string(), "field `message` is missing; send a string");
}
