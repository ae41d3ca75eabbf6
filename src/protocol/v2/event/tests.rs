//! Events in every shape that agents sent or might send.

use super::*;

use serde_json::json;

fn report(body: Value) -> Report {
    decode_event(body.to_string().as_bytes()).unwrap().report
}

fn snapshot_ids(body: Value) -> Vec<String> {
    match report(body) {
        Report::Snapshot { containers } => containers.into_iter().map(|c| c.id.into()).collect(),
        other => panic!("no snapshot: {other:?}"),
    }
}

#[test]
fn a_list_is_found_in_both_places() {
    let list = json!([{"id": "c1", "name": "/app", "labels": {"a": "b"}}]);
    assert_eq!(snapshot_ids(json!({"type": "status_report", "containers": list})), ["c1"]);
    assert_eq!(snapshot_ids(json!({"type": "status_report", "container": {"containers": list}})), ["c1"]);
    assert!(snapshot_ids(json!({"type": "status_report", "containers": []})).is_empty());
}

#[test]
fn a_list_that_cannot_be_read_is_not_an_empty_one() {
    for body in [
        json!({"type": "status_report"}),
        json!({"type": "status_report", "containers": {"a": 1}}),
        json!({"type": "status_report", "container": [1]}),
        json!({"type": "status_report", "container": {"containers": null}}),
    ] {
        assert_eq!(report(body), Report::Unknown);
    }
}

#[test]
fn a_list_that_can_be_read_in_part_takes_nothing_away() {
    let good = json!({"id": "c1", "name": "/app", "labels": {"a": "b"}});
    for bad in [
        json!({"id": null}),
        json!({"name": "x"}),
        json!({"id": ""}),
        json!(5),
        json!("a"),
        json!({"id": "c2", "labels": null}),
        json!({"id": "c2", "labels": "a=b"}),
        json!({"id": "c2", "labels": ["a=b"]}),
    ] {
        let Report::SomeSeen { containers } =
            report(json!({"type": "status_report", "containers": [bad, good]}))
        else {
            panic!("{bad} was read as a whole list")
        };
        assert_eq!(containers.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["c1"], "{bad}");
        let alone = report(json!({"type": "status_report", "containers": [bad]}));
        assert_eq!(alone, Report::SomeSeen { containers: vec![] }, "{bad}");
    }
}

#[test]
fn what_is_left_out_of_a_list_is_named() {
    let good = json!({"id": "c1", "labels": {"a": "b"}});
    for (list, words) in [
        (json!([good]), None),
        (json!([]), None),
        (json!("x"), Some("`containers` is a string and not a list")),
        (json!([good, {"id": "c2", "labels": "a=b"}]), Some("its `labels` are a string and not an object")),
        (json!([good, {"id": "c2", "labels": null}]), Some("its `labels` are null and not an object")),
        (json!([good, {"name": "x"}]), Some("its `id` is missing or not a text")),
        (
            json!([good, 5, null]),
            Some("2 of 3 entries in `containers` were left out, the first because it is a number"),
        ),
    ] {
        let body = json!({"type": "status_report", "containers": list}).to_string();
        let ignored = decode_event(body.as_bytes()).unwrap().ignored;
        match (words, ignored) {
            (None, None) => {}
            (Some(words), Some(ignored)) if ignored.contains(words) => {}
            (_, other) => panic!("{list}: {other:?}"),
        }
    }
    let body = json!({"type": "status_report"}).to_string();
    let ignored = decode_event(body.as_bytes()).unwrap().ignored;
    assert_eq!(ignored.as_deref(), Some("`containers` is missing"));
}

#[test]
fn tunnel_state_is_found_in_every_nesting() {
    let state = json!({"name": "t", "status": "running", "version": "v"});
    for body in [
        json!({"type": "tunnel_status", "container": state}),
        json!({"type": "tunnel_status", "tunnel": state}),
        json!({"type": "tunnel_status", "name": "t", "status": "running", "version": "v"}),
        json!({"type": "tunnel_status", "name": "t", "state": "RUNNING", "version": "v"}),
        json!({"type": "tunnel_status", "tunnel": "x", "container": state}),
    ] {
        let Report::Tunnel { tunnel } = report(body.clone()) else { panic!("{body}") };
        assert_eq!(tunnel.health, TunnelHealth::Running);
        assert_eq!((tunnel.name.as_deref(), tunnel.version.as_deref()), (Some("t"), Some("v")));
    }
    assert_eq!(report(json!({"type": "tunnel_status", "tunnel": "x"})), Report::Unknown);
}

#[test]
fn what_is_not_understood_is_ignored() {
    for body in [
        json!({"type": "banana"}),
        json!({"x": 1}),
        json!({"type": []}),
        json!({"type": {"action": "die", "container_id": "abc"}}),
        json!({"type": "container_start"}),
        json!({"type": "container_start", "container": {"id": "x", "labels": ["a"]}}),
        json!({"type": "container_stop", "container": {}}),
    ] {
        assert_eq!(report(body.clone()), Report::Unknown, "{body}");
    }
}

#[test]
fn what_a_dockflare_master_choked_on_is_refused_by_name() {
    let cases = [
        (json!({"type": "container_start", "container": [1]}), "field `container` is a list; send an object"),
        (json!({"type": "container_start", "container": null}), "field `container` is null; send an object"),
        (
            json!({"type": "container_start", "container": {"id": 5}}),
            "field `container.id` is a number; send a string",
        ),
        (
            json!({"type": "container_start", "container": {"id": "x", "labels": null}}),
            "field `container.labels` is null; send an object of strings",
        ),
        (json!({}), "Empty payload."),
    ];
    for (body, wanted) in cases {
        assert_eq!(decode_event(body.to_string().as_bytes()).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn what_is_too_long_or_too_much_is_refused_by_name_and_names_are_shortened() {
    let listed = |count: usize| {
        let list: Vec<Value> = (0..count).map(|n| json!({ "id": n.to_string() })).collect();
        json!({ "type": "status_report", "containers": list })
    };
    assert_eq!(snapshot_ids(listed(2_000)).len(), 2_000);
    let long = "c".repeat(129);
    for (body, wanted) in [
        (listed(2_001), "field `containers` is not allowed: 2001 containers are too many"),
        (
            json!({"type": "status_report", "containers": [{"id": long}]}),
            "field `containers[].id` is not allowed",
        ),
        (
            json!({"type": "container_start", "container": {"id": long}}),
            "field `container.id` is not allowed",
        ),
        (
            json!({"type": "container_stop", "container": {"id": "a\0"}}),
            "field `container.id` is not allowed",
        ),
    ] {
        let error = decode_event(body.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    let named = json!({"type": "container_start", "container": {"id": "c1", "name": format!("/{}", "n".repeat(256))}});
    let Report::ContainerSeen { container } = report(named) else { panic!("not seen") };
    assert_eq!(container.name, "n".repeat(255));
}

#[test]
fn times_with_an_offset_are_read() {
    let body = json!({"type": "heartbeat", "timestamp": "2025-09-23T12:34:56.789012+02:00"}).to_string();
    let at = decode_event(body.as_bytes()).unwrap().sent_at.unwrap();
    assert_eq!(at.to_rfc3339(), "2025-09-23T10:34:56.789012+00:00");
    let odd = json!({"type": "heartbeat", "timestamp": 5}).to_string();
    assert_eq!(decode_event(odd.as_bytes()).unwrap().sent_at, None);
}
