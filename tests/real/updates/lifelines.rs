//! Packages of the container Engine, which all containers hang on: left alone unless somebody names them.

use serde_json::Value;

use super::apt_root::AptRoot;
use super::rpm_root::RpmRoot;
use super::verbs::verb;
use crate::support::ship::Rig;

/// Looks at plans of a host on which an Engine's packages and an ordinary one are pending.
fn only_by_name(rig: &Rig, engine: &[&str]) {
    let (code, all, errors) = verb(rig, &["plan-updates", "--all", "--json"]);
    assert_eq!(code, 2, "{errors}");
    assert_eq!(changed(&all), ["t-app"]);
    let left = all["plan"]["on_host"]["left_out"].as_array().unwrap();
    for name in engine {
        let left =
            left.iter().find(|left| left["name"] == *name).unwrap_or_else(|| panic!("{name}: {left:?}"));
        let reason = left["reason"].as_str().unwrap();
        assert!(reason.contains("only by its name") && reason.contains("`live-restore`"), "{reason}");
    }
    assert_eq!(all["plan"]["on_host"]["stands_on"], Value::Array(Vec::new()));

    let (code, named, errors) = verb(rig, &["plan-updates", engine[0], "--json"]);

    assert_eq!(code, 2, "{errors}");
    assert!(changed(&named).contains(&engine[0].to_owned()), "{named}");
    let said = named["plan"]["on_host"]["stands_on"].as_array().unwrap();
    let is_said = |line: &Value| {
        line.as_str()
            .is_some_and(|line| line.starts_with(engine[0]) && line.contains("the Engine is started anew"))
    };
    assert!(said.iter().any(is_said), "{said:?}");
}

fn changed(plan: &Value) -> Vec<String> {
    let changes = plan["plan"]["changes"].as_array().unwrap();
    changes.iter().map(|change| change["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn apt_leaves_the_engine_alone_unless_it_is_named() {
    let root = AptRoot::empty();
    for name in ["docker.io", "containerd", "t-app"] {
        root.package(name, "1.0", "");
    }
    root.publish();
    root.apt(&["update"]);
    root.apt(&["install", "-y", "docker.io", "containerd", "t-app"]);
    for (name, fields) in
        [("docker.io", "Depends: containerd (>= 1.1)\\n"), ("containerd", ""), ("t-app", "")]
    {
        root.package(name, "1.1", fields);
    }
    root.publish();
    root.apt(&["update"]);
    only_by_name(&root.rig(), &["docker.io", "containerd"]);
}

#[test]
fn dnf_leaves_the_engine_alone_unless_it_is_named() {
    let root = RpmRoot::empty();
    let names = ["docker-ce", "containerd.io", "t-app"];
    for name in names {
        root.package("repo", name, "1.0", "1", "");
    }
    root.offer();
    root.install(&names);
    for name in names {
        root.package("repo", name, "1.1", "1", "");
    }
    root.offer();
    only_by_name(&root.rig(), &["docker-ce", "containerd.io"]);
}
