use super::*;
use crate::domain::update::{Severity, Standing};
use crate::updates::programs::Ran;

/// A PowerShell that prints this.
struct Plays(Ran);

#[async_trait]
impl Programs for Plays {
    async fn find(&self, name: &str) -> Option<String> {
        (name == "powershell.exe").then(|| r"C:\Windows\powershell.exe".to_owned())
    }

    async fn run(&self, program: &str, args: &[String], limit: Duration) -> Result<Ran, String> {
        assert_eq!((program, limit), (r"C:\Windows\powershell.exe", LIMIT));
        assert_eq!(args, arguments(&format!("{BEGINNING}{SCRIPT}")));
        Ok(self.0.clone())
    }
}

async fn scan(code: i32, stdout: &str, last: Option<&Findings>) -> Findings {
    let ran = Ran { code, stdout: stdout.to_owned(), stderr: String::new() };
    let now = "2026-01-31T12:00:00Z".parse().unwrap();
    WindowsUpdate::new(Arc::new(Plays(ran))).scan(&ScanAsk { now, last, by_person: false }).await
}

#[tokio::test]
async fn updates_are_read_with_what_decides_about_them() {
    let found = scan(0, include_str!("fixtures/several.json"), None).await;

    assert!(found.checked.ok && found.checked.is_complete);
    let shown: Vec<_> = found
        .items
        .iter()
        .map(|item| {
            (item.title.as_deref().unwrap(), item.severity, item.is_security, item.advisories.join(" "))
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                "2026-01 Kumulatives Update für Beispiel (KB5000001)",
                Severity::Critical,
                Some(true),
                "KB5000001".into()
            ),
            (
                "Sicherheitsupdate für Beispieldienst",
                Severity::Important,
                Some(true),
                "KB5000002 MS26-001".into()
            ),
            ("Example display driver", Severity::Low, Some(false), String::new()),
        ]
    );
    let first = &found.items[0];
    assert_eq!(
        (first.size_bytes, first.available_version.as_deref()),
        (Some(734_003_200), Some("revision 200"))
    );
    assert_eq!(
        (&first.details["restarts"], &first.details["categories"][0]),
        (&"maybe".into(), &"rollup".into())
    );
    assert_eq!(found.items[1].cves, ["CVE-2026-0001"]);
    assert_eq!(
        (&found.items[2].details["is_driver"], &found.items[1].details["installs_alone"]),
        (&true.into(), &true.into())
    );
}

#[tokio::test]
async fn one_update_that_is_no_list_and_none_at_all_are_read_too() {
    let one = r#"{"ok":true,"result":2,"reboot_pending":true,"updates":{"id":"a","revision":1,"title":"T","kb":"5000003","categories":null}}"#;
    let found = scan(0, one, None).await;
    assert_eq!((found.items.len(), found.items[0].advisories.as_slice()), (1, &["KB5000003".to_owned()][..]));
    assert_eq!(found.items[0].details["reboot_pending"], true);

    for nothing in [
        r#"{"ok":true,"result":2,"updates":[]}"#,
        r#"{"ok":true,"result":2,"updates":null}"#,
        r#"{"ok":false,"hresult":"0x80240024","error":"x"}"#,
    ] {
        let found = scan(0, nothing, None).await;
        assert_eq!((found.items.len(), found.checked.ok), (0, true), "{nothing}");
    }
}

#[tokio::test]
async fn a_failure_is_named_and_takes_nothing_away() {
    let last = scan(0, include_str!("fixtures/several.json"), None).await;
    for (code, printed, says) in [
        (1, r#"{"ok":false,"hresult":"0x80070422","error":"x"}"#, "wuauserv"),
        (1, r#"{"ok":false,"hresult":"0x80070005","error":"x"}"#, "SYSTEM"),
        (1, r#"{"ok":false,"hresult":"0x8024402C","error":"x"}"#, "DNS"),
        (1, r#"{"ok":false,"hresult":"0x80001234","error":"odd"}"#, "0x80001234: odd"),
        (5, "Access denied.", "ended with 5"),
        (0, r#"{"ok":true,"result":4,"updates":[]}"#, "result"),
    ] {
        let found = scan(code, printed, Some(&last)).await;
        let problem = found.checked.problem.unwrap();
        let told = format!("{} {}", problem.reason, problem.way_out.unwrap_or_default());
        assert!(told.contains(says), "{told}");
        assert_eq!(
            (found.items, found.checked.ok, found.checked.as_of),
            (last.items.clone(), false, last.checked.as_of)
        );
    }
    let part = scan(0, r#"{"ok":true,"result":3,"updates":[{"id":"a","revision":1}]}"#, None).await;
    assert!(part.items.len() == 1 && !part.checked.is_complete);
    assert_eq!(part.items[0].standing, Standing::Newer);
}
