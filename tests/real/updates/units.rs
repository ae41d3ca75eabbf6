//! The unit files as they are shipped, under a real systemd of a real Debian: an agent that is not root, a helper that is, and what
//! becomes of a run in which both are upgraded.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::apt_root::{MAKE_PACKAGE, PUBLISH};
use super::orders::Site;
use super::shell;
use super::systemd_root::SystemdRoot;
use super::text;
use crate::support::ship::binary;

/// Makes the package of this program: the program, its units, and what a package does with those.
const OWN_PACKAGE: &str = r#"
repo=$1 version=$2 program=$3 units=$4
d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/bin $d/lib/systemd/system; chmod 755 $d
strip -o $d/usr/bin/lightship "$program"; cp "$units"/* $d/lib/systemd/system/
printf 'Package: lightship\nVersion: %s\nArchitecture: amd64\nMaintainer: Lab <lab@example.test>\nDescription: fixture\n' \
  $version >$d/DEBIAN/control
cat >$d/DEBIAN/postinst <<'POSTINST'
#!/bin/sh
set -e
id lightship >/dev/null 2>&1 ||
  useradd --system --home-dir /var/lib/lightship --shell /usr/sbin/nologin lightship
systemctl daemon-reload
[ -z "$2" ] || systemctl try-restart lightship-helper.service lightship-agent.service
POSTINST
chmod 755 $d/DEBIAN/postinst
dpkg-deb -Znone --root-owner-group -b $d $repo/pool/stable/lightship_${version}_amd64.deb >/dev/null; rm -r $d
"#;

/// Makes a package with a program, and a service that runs it.
const SERVICE_PACKAGE: &str = r#"
repo=$1 version=$2 sleep=$3
d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/bin $d/lib/systemd/system; chmod 755 $d
cp "$sleep" $d/usr/bin/t-web; echo $version >>$d/usr/bin/t-web
printf '[Service]\nExecStart=/usr/bin/t-web 1000000\n' >$d/lib/systemd/system/t-web.service
printf 'Package: t-web\nVersion: %s\nArchitecture: amd64\nMaintainer: Lab <lab@example.test>\nDescription: fixture\n' \
  $version >$d/DEBIAN/control
printf '#!/bin/sh\nsystemctl daemon-reload\n' >$d/DEBIAN/postinst; chmod 755 $d/DEBIAN/postinst
dpkg-deb --root-owner-group -b $d $repo/pool/stable/t-web_${version}_amd64.deb >/dev/null; rm -r $d
"#;

/// A Debian with systemd, and a repository of its own beside Debian's lists.
struct Host(SystemdRoot);

impl Host {
    fn boot() -> Self {
        let host = Self(SystemdRoot::boot());
        shell("mkdir -p \"$1\"/repo/pool/stable \"$1\"/repo/pool/stable-security", &[&host.lab()]);
        let line = "deb [trusted=yes] file:/srv/lab/repo stable main\n";
        std::fs::write(host.0.at("/etc/apt/sources.list.d/lab.list"), line).unwrap();
        // The lists of Debian are as fresh as they are: the test is about what is in them.
        host.0.shell("find /var/lib/apt/lists -type f -exec touch {} +");
        host
    }

    fn lab(&self) -> String {
        text(&self.0.at("/srv/lab"))
    }

    fn repo(&self) -> String {
        format!("{}/repo", self.lab())
    }

    fn own_package(&self, version: &str) {
        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
        shell(OWN_PACKAGE, &[&self.repo(), version, &text(&binary()), &text(&units)]);
    }

    fn package(&self, name: &str, version: &str, postinst: &str) {
        shell(MAKE_PACKAGE, &[&self.repo(), "stable", name, version, "", postinst]);
    }

    fn service_package(&self, version: &str) {
        shell(SERVICE_PACKAGE, &[&self.repo(), version, &text(&self.0.at("/usr/bin/sleep"))]);
    }

    /// Offers what was made. Only the repository of the test is asked again.
    fn offer(&self) {
        shell(PUBLISH, &[&self.lab()]);
        self.0.shell(
            "apt-get -qq update -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/lab.list \
             -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0",
        );
    }

    fn version(&self, name: &str) -> String {
        self.0.said(&["dpkg-query", "-W", "-f", "${Version} ${db:Status-Abbrev}", name])
    }

    fn main_pid(&self, unit: &str) -> String {
        self.0.show(unit, "MainPID")
    }

    /// A line of what the kernel says of a process there.
    fn status(&self, pid: &str, field: &str) -> String {
        let text = self.0.said(&["cat", &format!("/proc/{pid}/status")]);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().to_owned()
    }
}

const AGENT: &str = "lightship-agent.service";
const HELPER: &str = "lightship-helper.service";

/// Waits for what takes its time: lists of a whole Debian, programs that are started anew.
async fn until<T>(what: &str, look: impl AsyncFn() -> Result<T, Value>) -> T {
    let due = Instant::now() + Duration::from_secs(180);
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < due, "{what}: still {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Asks what these would change, and says yes to it; returns the yes.
async fn order(site: &Site<Host>, names: &[&str]) -> String {
    let body = json!({ "agents": [site.id], "names": names, "restart_services": true });
    let (status, asked) = site.master.post("/api/v3/plans", body).await;
    assert_eq!(status, 202, "{asked}");
    let request = asked["request"].as_str().unwrap();
    let plan = until("the host answers", async || {
        let answer = site.master.get(&format!("/api/v3/plans/{request}")).await;
        if answer["waiting"] == json!([]) { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert_eq!(plan["failed"], json!([]));
    site.approve(request, &plan).await
}

/// Waits for the end of a yes, also where agent and helper are started anew meanwhile.
async fn until_over(site: &Site<Host>, id: &str) -> Value {
    until("it ends", async || {
        let row = site.approval(id).await;
        if matches!(row["status"].as_str(), Some("ordered" | "waiting")) { Err(row) } else { Ok(row) }
    })
    .await
}

async fn install(site: &Site<Host>, names: &[&str]) -> Value {
    until_over(site, &order(site, names).await).await
}

#[actix_web::test]
async fn the_units_as_they_are_shipped_do_what_the_master_orders_and_outlive_an_upgrade_of_their_own_package()
{
    // given: a host on which the package was installed as the documents say
    let host = Host::boot();
    host.own_package("1.0");
    host.package("t-lib", "1.0", "");
    host.service_package("1.0");
    host.offer();
    host.0.shell("apt-get -qq install -y --no-install-recommends lightship t-lib t-web >/dev/null; systemctl start t-web");
    let mut site = Site::without_agent(host, &[]).await;
    let settings = format!(
        "DOCKFLARE_MASTER_URL={}\nDOCKFLARE_API_KEY={}\nDOCKER_HOST=unix:///nonexistent/docker.sock\n",
        site.master.url(),
        site.key
    );
    let root = &site.root.0;
    std::fs::create_dir_all(root.at("/etc/lightship")).unwrap();
    std::fs::write(root.at("/etc/lightship/agent.env"), settings).unwrap();
    // This host has no containers: the unit says which line goes then.
    std::fs::create_dir_all(root.at(&format!("/etc/systemd/system/{AGENT}.d"))).unwrap();
    let without = "[Service]\nSupplementaryGroups=\n";
    std::fs::write(root.at(&format!("/etc/systemd/system/{AGENT}.d/no-engine.conf")), without).unwrap();
    root.shell("chmod 600 /etc/lightship/agent.env; systemctl daemon-reload");

    // when
    root.said(&["systemctl", "enable", "--now", "lightship-helper.socket", AGENT]);
    site.join().await;

    // then: the agent is nobody, and may become nobody else; the helper is root, and begins when it is asked
    let host = &site.root;
    let agent = host.main_pid(AGENT);
    assert_eq!(host.0.said(&["stat", "-c", "%U", &format!("/proc/{agent}")]), "lightship");
    for (field, expected) in [
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(host.status(&agent, field), expected, "{field}");
    }
    host.0.until("the helper was asked", |root| (root.show(HELPER, "ActiveState") == "active").then_some(()));
    assert_eq!(host.0.show(HELPER, "TriggeredBy"), "lightship-helper.socket");
    let helper = host.main_pid(HELPER);
    assert_eq!(host.status(&helper, "Uid").split_whitespace().next(), Some("0"));
    let socket = host.0.said(&["stat", "-c", "%U:%G %a", "/run/lightship/helper.sock"]);
    assert_eq!(socket, "root:lightship 660");
    let refused = host.0.run(&[
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "test",
        "-w",
        "/run/lightship/helper.sock",
    ]);
    assert!(!refused.status.success(), "nobody else gets at it");

    // when: a package and one that a service runs on are ordered
    host.package("t-lib", "1.1", "");
    host.service_package("1.1");
    host.offer();
    let before = host.main_pid("t-web.service");
    let over = install(&site, &["apt:t-lib", "apt:t-web"]).await;

    // then: both are there, and the service runs on what is there now
    assert_eq!(over["status"], "verified", "{over}");
    let host = &site.root;
    assert_eq!([host.version("t-lib"), host.version("t-web")], ["1.1 ii", "1.1 ii"]);
    let run = site.run(&over["run"]).await;
    assert!(run["log"].as_str().unwrap().contains("Setting up t-lib"), "{run}");
    assert_ne!(host.main_pid("t-web.service"), before, "{run}");
    assert_eq!(host.0.show("t-web.service", "ActiveState"), "active");
    assert_eq!(host.main_pid(HELPER), helper, "it was one and the same all the time");

    // when: this very program is upgraded, which starts agent and helper anew in the middle of dpkg
    host.own_package("1.1");
    host.offer();
    let over = install(&site, &["apt:lightship"]).await;

    // then: nothing was cut off, and it is one run
    assert_eq!(over["status"], "verified", "{over}");
    let host = &site.root;
    assert_eq!(host.version("lightship"), "1.1 ii");
    assert_eq!(host.0.said(&["dpkg", "--audit"]), "");
    assert_ne!(host.main_pid(HELPER), helper);
    assert_ne!(host.main_pid(AGENT), agent);
    assert_eq!(site.master.get("/api/v3/runs").await["total"], 2);

    // when: the helper is killed in the middle of dpkg
    host.package("t-lib", "1.2", "touch /run/t-begun; while [ ! -e /run/t-go ]; do sleep 0.1; done");
    host.offer();
    let id = order(&site, &["apt:t-lib"]).await;
    let root = &site.root.0;
    root.until("dpkg is in the middle", |root| {
        root.run(&["test", "-e", "/run/t-begun"]).status.success().then_some(())
    });
    root.said(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", HELPER]);
    root.said(&["touch", "/run/t-go"]);

    // then: systemd starts it anew, and it goes on
    let over = until_over(&site, &id).await;
    assert_eq!(over["status"], "verified", "{over}");
    let host = &site.root;
    assert_eq!((host.version("t-lib"), host.0.said(&["dpkg", "--audit"])), ("1.2 ii".into(), String::new()));
    assert_eq!(host.0.show(HELPER, "ActiveState"), "active");

    // when: root takes it back on the host itself
    let run = over["run"].as_str().unwrap();
    let lightship = ["env", "DOCKER_HOST=unix:///nonexistent/docker.sock", "/usr/bin/lightship"];
    let history = host.0.said(&[&lightship[..], &["history"]].concat());
    assert!(history.contains(run), "{history}");
    host.0.said(&[&lightship[..], &["rollback", run, "--yes"]].concat());

    // then: it is
    assert_eq!(host.version("t-lib"), "1.1 ii");

    // when: root installs it once more, on his own
    host.0.said(&[&lightship[..], &["install", "apt:t-lib", "--yes"]].concat());

    // then: it is there, nothing of root's lies with the agent, which is not root, and the agent tells both like any other run:
    // every five minutes, and soon after it begins
    assert_eq!(host.version("t-lib"), "1.2 ii");
    assert_eq!(host.0.shell("find /var/lib/lightship ! -user lightship"), "");

    // when: the agent's user writes down a run that root is to go on with, or to take back
    let forged = "20990101-000000-abcdef";
    let record = host.0.at(&format!("/var/lib/lightship-helper/runs/{run}/run.json"));
    let mut record: Value = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    record["id"] = json!(forged);
    record["outcome"] = Value::Null;
    let folder = format!("/var/lib/lightship/runs/{forged}");
    std::fs::create_dir_all(host.0.at(&folder)).unwrap();
    std::fs::write(host.0.at(&format!("{folder}/run.json")), record.to_string()).unwrap();
    host.0.shell("chown -R lightship: /var/lib/lightship");

    // then: root does neither
    let taken_back = host.0.run(&[&lightship[..], &["rollback", forged, "--yes"]].concat());
    let errors = String::from_utf8_lossy(&taken_back.stderr);
    assert!(!taken_back.status.success() && errors.contains("does not tell root what to do"), "{errors}");
    let gone_on = host.0.said(&[&lightship[..], &["install", "apt:t-lib", "--yes"]].concat());
    assert!(!gone_on.contains(forged) && host.version("t-lib") == "1.2 ii", "{gone_on}");
    host.0.shell(&format!("rm -r {folder}"));
    host.0.said(&["systemctl", "restart", AGENT]);
    until("the master hears of both", async || {
        let runs = site.master.get("/api/v3/runs").await;
        let all = runs["runs"].as_array().unwrap();
        let is_back = all.iter().any(|one| one["undoes"] == *run);
        if is_back && all.len() == 5 { Ok(()) } else { Err(runs) }
    })
    .await;
}

#[test]
fn the_lists_of_a_whole_debian_are_scanned_as_apt_itself_reads_them_also_by_nobody() {
    let host = Host::boot();
    host.own_package("1.0");
    for (name, version) in [("t-lib", "1.0"), ("t-lib", "1.1"), ("t-held", "1.0"), ("t-held", "1.1")] {
        host.package(name, version, "");
    }
    host.offer();
    host.0.shell("apt-get -qq install -y --no-install-recommends lightship t-lib=1.0 t-held=1.0 >/dev/null; apt-mark hold t-held");
    let known: usize = host.0.shell("apt-cache pkgnames | wc -l").parse().unwrap();
    assert!(known > 50_000, "{known} packages are a basic list and not a whole one");
    // What an upgrade of all would take, with what it replaces; a package that would be new has no present version.
    let simulated = host.0.shell("apt-get -s -o Debug::NoLocking=true dist-upgrade | grep '^Inst' || true");
    let upgrade = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (name, from, to) = (words.next()?, words.next()?, words.next()?);
        let (from, to) = (from.strip_prefix('[')?.strip_suffix(']')?, to.strip_prefix('(')?);
        Some(format!("{name} {from} {to}"))
    };
    let mut expected: Vec<String> = simulated.lines().filter_map(upgrade).collect();
    expected.push("t-held 1.0 1.1".into());
    expected.sort();

    for user in ["0", "65534"] {
        let state = format!("/tmp/state-{user}");
        host.0.shell(&format!("mkdir -m 700 {state}; chown {user}:{user} {state}"));
        let words = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "env"];
        let scan = [
            "DOCKER_HOST=unix:///nonexistent/docker.sock",
            "/usr/bin/lightship",
            "--state-dir",
            &state,
            "scan",
            "--json",
        ];
        let began = Instant::now();
        let ended = host.0.run(&[&words[..], &scan[..]].concat());
        let took = began.elapsed();
        let said: Value = serde_json::from_slice(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&ended.stderr)));
        assert_eq!(said["scanners"]["apt"]["ok"], true, "{user}: {said}");
        let word = |update: &Value, key: &str| update[key].as_str().unwrap_or("-").to_owned();
        let mut found: Vec<String> = said["updates"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|update| update["kind"] == "apt")
            .map(|update| {
                ["name", "current_version", "available_version"].map(|key| word(update, key)).join(" ")
            })
            .collect();
        found.sort();
        assert_eq!(found, expected, "{user}");
        println!("{known} packages, {} updates, as user {user}: {:.1} s", found.len(), took.as_secs_f64());
    }
}
