//! Verbs of the command line that need no master: what they say and how they end.

use crate::support::ship::Rig;

#[test]
fn a_wrong_command_line_is_a_failure_and_never_looks_like_pending_changes() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new("master", dir.path());
    for (args, code, said) in [
        (&["plan", "--bogus"][..], 1, "unexpected argument '--bogus'"),
        (&["no-such-verb"], 1, "unrecognized subcommand 'no-such-verb'"),
        (&[], 1, "Usage: lightship"),
        (&["--help"], 0, "Exit codes: 0 ok"),
        (&["plan", "--help"], 0, "Usage: lightship plan"),
        (&["--version"], 0, "lightship "),
    ] {
        let (ended, out, errors) = rig.verb(args);
        assert_eq!(ended, code, "{args:?}: {out}{errors}");
        let heard = if code == 0 { out } else { errors };
        assert!(heard.contains(said), "{args:?}: {heard}");
    }
}

#[test]
fn a_reader_of_a_database_that_is_not_there_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new("master", dir.path());

    let (code, _, said) = rig.verb(&["events"]);

    assert_eq!(code, 1);
    assert!(said.contains("there is no database `") && said.contains("LIGHTSHIP_STATE_DIR"), "{said}");
    assert!(!dir.path().join("lightship.db").exists());
}
