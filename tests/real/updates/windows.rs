//! Windows and Winget, by programs of their names that play what was recorded: from a real agent and a real master to the lists
//! of both. No real Windows is behind it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Scan, shell, text};
use crate::scene::subfolder;
use crate::support::ship::{Rig, Ship};
use crate::support::until::until;

const PLAY: &str = r#"
mkdir -p "$1/bin"; cd "$1"
cat >bin/powershell.exe <<'END'
#!/bin/sh
for last; do :; done
case $(printf %s "$last" | /usr/bin/base64 -d | /usr/bin/tr -d '\\0') in
*Microsoft.Update.Session*) /bin/cat FOLDER/windows.json ;;
*) echo '{"ok":false,"error":"The specified module was not loaded"}'; exit 1 ;;
esac
END
cat >bin/winget.exe <<'END'
#!/bin/sh
/bin/cat FOLDER/winget.txt; exit $(/bin/cat FOLDER/winget.code)
END
sed -i "s|FOLDER|$1|" bin/*; chmod 755 bin/*; echo 0 >winget.code
"#;

const ENGLISH: &str = include_str!("../../../src/updates/winget/fixtures/en.txt");
const WINDOWS: &str = include_str!("../../../src/updates/windows_update/fixtures/several.json");

/// What Winget's table in English lists.
const PROGRAMS: [&str; 5] =
    ["Example.Blank", "Example.Pinned", "Example.Tool", "Example.Unknown", "Other.Package"];

struct Played(TempDir);

impl Played {
    fn new() -> Self {
        let played = Self(TempDir::new().unwrap());
        shell(PLAY, &[&text(played.0.path())]);
        played.write("windows.json", WINDOWS);
        played.write("winget.txt", ENGLISH);
        played
    }

    fn write(&self, name: &str, content: &str) {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(path, content).unwrap();
    }

    /// With no other program of a package manager to be found.
    fn rig(&self, name: &str) -> Rig {
        Rig::new("agent", &subfolder(&self.0, name))
            .env("PATH", text(&self.0.path().join("bin")))
            .env("HOME", text(self.0.path()))
            .env("LIGHTSHIP__UPDATES__CHECK_PACKAGES", "always")
    }
}

fn names<'a>(updates: &'a [Value], kind: &str) -> BTreeSet<&'a str> {
    updates.iter().filter(|one| one["kind"] == kind).map(|one| one["name"].as_str().unwrap()).collect()
}

async fn listed(master: &Ship) -> Vec<Value> {
    master.get("/api/v3/updates?limit=1000").await["updates"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_windows_and_winget_say_is_the_same_in_the_export_and_at_the_master() {
    let played = Played::new();
    let alone = Scan::of(&played.rig("alone"), &["scan", "--json"]);
    let master = Rig::new("master", &subfolder(&played.0, "master")).start();
    let agent = played
        .rig("agent")
        .env("DOCKFLARE_MASTER_URL", master.url())
        .env("DOCKFLARE_API_KEY", master.new_key().await)
        .start();
    let id = master.until_agent("pending").await;
    assert_eq!(master.post(&format!("/api/v3/agents/{id}/approve"), json!({})).await.0, 200);

    // All of it, and nothing of the table's other lines.
    let own = alone.said["updates"].as_array().unwrap().clone();
    assert_eq!((alone.code, own.len()), (2, 8), "{}", alone.said);
    assert_eq!(names(&own, "winget"), PROGRAMS.into());
    let at_master = until("the master lists what the host has", || async {
        Some(listed(&master).await).filter(|all| all.len() == own.len())
    })
    .await;
    for kind in ["winget", "windows_update"] {
        assert_eq!(names(&at_master, kind), names(&own, kind), "{kind}");
    }
    for update in &own {
        let same = at_master.iter().find(|one| one["name"] == update["name"]).unwrap();
        for field in
            ["kind", "current_version", "available_version", "severity", "is_security", "reason", "problem"]
        {
            assert_eq!(same[field], update[field], "{field} of {}", update["name"]);
        }
    }
    let list = Scan::of(&played.rig("alone"), &["list-updates", "--json"]);
    assert_eq!(list.field("Example.Pinned", "status"), "asks_to_be_named");
    assert_eq!(list.field("Example.Unknown", "current_version"), Value::Null);

    // A row that cannot be read closes nothing, and none of those below it.
    let looked = async |what: &str, is_there: &dyn Fn(&[Value]) -> bool| {
        let (status, said) = master.post(&format!("/api/v3/agents/{id}/scan"), json!({})).await;
        assert!(status < 300, "{status} {said}");
        until(what, || async { is_there(&listed(&master).await).then_some(()) }).await;
    };
    played.write(
        "winget.txt",
        &ENGLISH.replace("Example.Unknown ", "Example Unknown ").replace("1.3.0", "1.4.0"),
    );
    looked("the newer version is listed", &|all| {
        let tool = all.iter().find(|one| one["name"] == "Example.Tool").unwrap();
        tool["available_version"] == "1.4.0"
    })
    .await;
    let all = listed(&master).await;
    assert_eq!(names(&all, "winget"), PROGRAMS.into());
    let unread = all.iter().find(|one| one["name"] == "Example.Unknown").unwrap();
    assert!(unread["problem"].as_str().unwrap().contains("could not be read"), "{unread}");

    // Nothing to do, as a program started from within Linux ends for it: the last byte of 0x8A15002B.
    played.write("winget.txt", "No installed package found matching input criteria.\n");
    played.write("winget.code", "43\n");
    looked("nothing of Winget's is pending", &|all| names(all, "winget").is_empty()).await;
    assert_eq!(names(&listed(&master).await, "windows_update").len(), 3);
    drop(agent);
}

#[tokio::test]
async fn a_table_in_german_with_a_cut_id_and_a_korean_one_are_read_alike() {
    let played = Played::new();
    for (table, expected) in [
        (
            include_str!("../../../src/updates/winget/fixtures/de.txt"),
            ["Beispiel.Fenster", "Beispiel.Werkzeug"],
        ),
        (include_str!("../../../src/updates/winget/fixtures/ko.txt"), ["Example.Messenger", "Example.Plain"]),
    ] {
        played.write("winget.txt", table);
        let scan = Scan::of(&played.rig("alone"), &["scan", "--json"]);
        assert_eq!(
            names(scan.said["updates"].as_array().unwrap(), "winget"),
            expected.into(),
            "{}",
            scan.said
        );
        assert_eq!(scan.scanner("winget")["ok"], true);
    }
    played.write(
        "winget.txt",
        "Name Id            Version Available Source\n-------------------------------------------\n\
         Tool Example.Very… 1.0     2.0       winget\n",
    );
    let scan = Scan::of(&played.rig("alone"), &["scan", "--json"]);
    let problem = scan.field("Example.Very…", "problem");
    assert!(problem.as_str().unwrap().contains("cannot be installed by this one"), "{problem}");
}
