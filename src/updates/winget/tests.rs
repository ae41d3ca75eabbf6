use super::*;
use crate::updates::programs::Ran;

/// A host with these programs, each of which prints something and ends with a code.
struct Host(Vec<(&'static str, i32, String)>);

#[async_trait]
impl Programs for Host {
    async fn find(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(program, ..)| *program == name).map(|(program, ..)| (*program).to_owned())
    }

    async fn run(&self, program: &str, args: &[String], _limit: Duration) -> Result<Ran, String> {
        if program == "winget.exe" {
            assert_eq!(args, UPGRADE);
        }
        let (_, code, printed) = self.0.iter().find(|(name, ..)| *name == program).unwrap();
        Ok(Ran { code: *code, stdout: printed.clone(), stderr: String::new() })
    }
}

async fn scan(programs: Vec<(&'static str, i32, String)>, last: Option<&Findings>) -> Findings {
    let now = "2026-01-31T12:00:00Z".parse().unwrap();
    Winget::new(Arc::new(Host(programs))).scan(&ScanAsk { now, last, by_person: false }).await
}

fn english() -> String {
    include_str!("fixtures/en.txt").to_owned()
}

fn no_module() -> (&'static str, i32, String) {
    ("powershell.exe", 1, r#"{"ok":false,"error":"The specified module was not loaded"}"#.into())
}

#[tokio::test]
async fn only_packages_are_found_and_those_that_want_to_be_named_say_so() {
    let found = scan(vec![("winget.exe", 0, english()), no_module()], None).await;

    let names: Vec<&str> = found.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(
        names,
        ["Example.Blank", "Example.Pinned", "Example.Tool", "Example.Unknown", "Other.Package"]
    );
    let named: Vec<&str> =
        found.items.iter().filter(|i| i.held_back.is_some()).map(|i| i.name.as_str()).collect();
    assert_eq!(named, ["Example.Pinned"]);
    let unknown = &found.items[3];
    assert_eq!((&unknown.current_version, &unknown.details["is_version_unknown"]), (&None, &true.into()));
    assert_eq!(found.items[4].current_version.as_deref(), Some("< 4.0"));
}

#[tokio::test]
async fn the_modules_objects_are_preferred_to_the_table() {
    let objects = r#"{"ok":true,"packages":{"id":"Example.Very.Long.Id","name":"Tool","installed":"1.0","available":["2.0","1.5"],"source":"winget"}}"#;
    let found = scan(vec![("winget.exe", 0, english()), ("pwsh.exe", 0, objects.into())], None).await;

    assert_eq!((found.items.len(), found.items[0].name.as_str()), (1, "Example.Very.Long.Id"));
    assert_eq!(found.items[0].available_version.as_deref(), Some("2.0"));
    let nothing = scan(
        vec![("winget.exe", 0, english()), ("pwsh.exe", 0, r#"{"ok":true,"packages":[]}"#.into())],
        None,
    )
    .await;
    assert_eq!((nothing.items.len(), nothing.checked.ok), (0, true));
}

#[tokio::test]
async fn a_cut_id_is_said_to_be_of_no_use() {
    let table = "Name Id            Version Available Source\n\
                 -------------------------------------------\n\
                 Tool Example.Very… 1.0     2.0       winget\n";
    let found = scan(vec![("winget.exe", 0, table.into())], None).await;

    assert_eq!(found.items[0].details["is_id_cut"], true);
    assert!(found.items[0].flaw.as_ref().unwrap().contains("cannot be installed"));
}

#[tokio::test]
async fn what_could_not_be_read_is_said_and_closes_nothing() {
    let odd = english().replace("Other.Package ", "Other Package ");
    let objects =
        r#"{"ok":true,"packages":[{"id":"A.B","name":"T","installed":"1","available":["2"]},{"id":7}]}"#;
    for (programs, count) in [
        (vec![("winget.exe", 0, odd)], 4),
        (vec![("winget.exe", 0, english()), ("pwsh.exe", 0, objects.into())], 1),
    ] {
        let found = scan(programs, None).await;
        assert_eq!((found.items.len(), found.checked.ok, found.checked.is_complete), (count, false, false));
        assert!(found.checked.problem.unwrap().reason.starts_with("1 program "));
    }
    let last = scan(vec![("winget.exe", 0, english())], None).await;
    let unknown = "Name Id Version Available\n-------------------------\nno such thing\n";
    let found = scan(vec![("winget.exe", 0, unknown.into())], Some(&last)).await;
    assert_eq!((found.items, found.checked.ok), (last.items, false));
    assert!(found.checked.problem.unwrap().reason.contains("not understood"));
}

#[tokio::test]
async fn the_last_byte_of_a_code_is_nothing_to_do_only_where_no_table_is_printed() {
    for (code, printed, ok) in [
        (43, "x".to_owned(), true),
        (20, String::new(), true),
        (43, english(), false),
        (44, String::new(), false),
    ] {
        let found = scan(vec![("winget.exe", code, printed)], None).await;
        assert_eq!((found.items.len(), found.checked.ok), (0, ok), "{code}");
    }
}

#[tokio::test]
async fn exit_codes_have_words_and_nothing_to_do_is_no_failure() {
    for code in [0x8A15_002B_u32, 0x8A15_0014] {
        let found = scan(vec![("winget.exe", code.cast_signed(), "x".into())], None).await;
        assert_eq!((found.items.len(), found.checked.ok), (0, true));
    }
    let last = scan(vec![("winget.exe", 0, english())], None).await;
    for (code, says) in [
        (0x8A15_0107_u32, "network"),
        (0x8A15_010F, "policy"),
        (0x8A15_9999, "0x8A159999"),
        (1, "0x00000001"),
    ] {
        let found = scan(vec![("winget.exe", code.cast_signed(), english())], Some(&last)).await;
        assert!(found.checked.problem.unwrap().reason.contains(says), "{says}");
        assert_eq!((found.items, found.checked.is_complete), (last.items.clone(), false));
    }
}
