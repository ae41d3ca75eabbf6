//! Scripts of packages that do more than to their own package: what no plan has is named, and never called verified.

use super::apt_install::offer;
use super::apt_root::AptRoot;
use super::shell;
use super::verbs::{outcome, verb};

/// A host with t-app, t-other and t-trig in version 1.0; the new version of t-app has dpkg run this script as t-trig's, with
/// the word `triggered`.
fn host(script: &str) -> AptRoot {
    let root = AptRoot::empty();
    root.package("t-app", "1.0", "");
    root.package("t-other", "1.0", "");
    let script = format!("[ \"$1\" = triggered ] || exit 0\n{}", script.replace("HERE", &root.at("")));
    root.package_with_triggers("t-trig", "1.0", "interest t-event", &script);
    offer(&root);
    root.apt(&["install", "-y", "t-app", "t-other", "t-trig"]);
    root.package_with_triggers("t-app", "1.1", "activate t-event", "exit 0");
    offer(&root);
    root
}

#[test]
fn a_package_that_a_trigger_removes_is_named_and_the_run_has_failed() {
    // dpkg lets nobody in while it works: it is removed as soon as APT has ended, before the run looks.
    let remove = "setsid sh -c 'until [ -e HERE/marking ]; do sleep 0.05; done; \
                  dpkg --root=HERE/root --force-script-chrootless --remove t-other; touch HERE/removed' \
                  </dev/null >/dev/null 2>&1 &";
    let root = host(remove);
    root.program("apt-mark").args(["auto", "t-app"]).status().unwrap();
    let slow = "mkdir \"$1/bin\"; printf '#!/bin/sh\\nif [ \"$1\" = auto ]; then touch %s/marking; \
                until [ -e %s/removed ]; do sleep 0.05; done; fi\\nexec /usr/bin/apt-mark \"$@\"\\n' \"$1\" \"$1\" >\"$1/bin/apt-mark\"; \
                chmod 755 \"$1/bin/apt-mark\"";
    shell(slow, &[&root.at("")]);
    let rig = root.rig().env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", root.at("bin")));

    let (code, run, errors) = verb(&rig, &["install", "--all", "--yes", "--json"]);

    assert_eq!(root.installed(), ["t-app 1.1 ii", "t-trig 1.0 ii"]);
    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "failed"), "{errors}");
    assert!(
        reason.contains("by a script of a package") && reason.contains("t-other:all 1.0 is gone"),
        "{reason}"
    );
}

#[test]
fn what_others_did_before_the_run_changed_anything_is_not_held_against_it() {
    // Somebody removes a package while the run fetches: that is before it has the host to itself.
    let root = host("true");
    let meanwhile = "mkdir \"$1/bin\"; printf '#!/bin/sh\ncase \"$*\" in *--download-only*) dpkg --root=%s/root \
                     --force-script-chrootless --remove t-other >&2;; esac\nexec /usr/bin/apt-get \"$@\"\n' \"$1\" \
                     >\"$1/bin/apt-get\"; chmod 755 \"$1/bin/apt-get\"";
    shell(meanwhile, &[&root.at("")]);
    let rig = root.rig().env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", root.at("bin")));

    let (code, run, errors) = verb(&rig, &["install", "--all", "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-app 1.1 ii", "t-trig 1.0 ii"]);
}

#[test]
fn a_package_whose_trigger_fails_is_named_and_the_plan_is_gone_on_with_once_it_is_mended() {
    let root = host("[ -e HERE/mended ] || { echo boom >&2; exit 1; }");
    let rig = root.rig();
    let (_, plan, _) = verb(&rig, &["plan-updates", "--json"]);
    let id = plan["id"].as_str().unwrap();

    let (code, run, errors) = verb(&rig, &["install", "--plan", id, "--yes", "--json"]);

    let (word, reason) = outcome(&run);
    assert_eq!((code, word), (1, "failed"), "{errors}");
    assert!(reason.contains("t-trig"), "{reason}");
    let run = run["run"]["id"].as_str().unwrap();
    let (code, said, errors) = verb(&rig, &["rollback", run, "--yes", "--json"]);
    assert_ne!(code, 0, "{said} {errors}");
    assert!(outcome(&said).1.contains("t-trig:all half installed"), "it is not the run's: {said} {errors}");
    std::fs::write(root.at("mended"), "").unwrap();

    let (code, run, errors) = verb(&rig, &["install", "--plan", id, "--yes", "--json"]);

    assert_eq!((code, outcome(&run)), (0, ("verified", "")), "{errors}");
    assert_eq!(root.installed(), ["t-app 1.1 ii", "t-other 1.0 ii", "t-trig 1.0 ii"]);
    assert_eq!(root.audit(), "");
}
