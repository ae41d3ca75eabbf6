//! The state directory on a real file system.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::domain::id::TunnelId;
use crate::protocol::command::AgentCommand;

fn open(dir: &TempDir) -> StateDir {
    StateDir::open(dir.path(), Io::current()).unwrap()
}

fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn start(id: &str) -> NewCommand {
    let form =
        json!({"action": "start_tunnel", "tunnel_id": "u1", "tunnel_name": "edge", "token": "hidden-token"});
    NewCommand {
        id: CommandId::new(id),
        is_native: true,
        received_at: "2026-01-31T12:00:00Z".parse().unwrap(),
        expires_at: None,
        command: AgentCommand::read(form.as_object().unwrap()),
    }
}

fn done(message: &str) -> Outcome {
    Outcome { succeeded: true, message: message.into(), finished_at: None }
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_id_survives_and_a_dockflare_file_is_read() {
    let dir = temp();
    assert_eq!(open(&dir).agent_id().await.unwrap(), None);

    open(&dir).put_agent_id(&AgentId::new("a1")).await.unwrap();
    assert_eq!(fs::read(dir.path().join("agent_id.txt")).unwrap(), b"a1");

    fs::write(dir.path().join("agent_id.txt"), " edba1cec-bae7\n").unwrap();
    assert_eq!(open(&dir).agent_id().await.unwrap(), Some(AgentId::new("edba1cec-bae7")));
}

#[tokio::test]
async fn the_tunnel_is_kept_as_dockflare_agents_keep_it() {
    let dir = temp();
    let state = TunnelState {
        token: Some("t0".into()),
        id: Some(TunnelId::new("u1")),
        name: Some("edge".into()),
        desired_state: DesiredState::Running,
    };
    open(&dir).put_tunnel_state(&state).await.unwrap();

    let path = dir.path().join("tunnel_state.json");
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(written, json!({"token": "t0", "id": "u1", "name": "edge", "desired_state": "running"}));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let read = open(&dir).tunnel_state().await.unwrap().unwrap();
    assert_eq!(read.token.unwrap().expose_secret(), "t0");
    assert_eq!(read.desired_state, DesiredState::Running);
}

#[tokio::test]
async fn a_corrupt_file_is_kept_aside_and_nothing_is_overwritten() {
    let dir = temp();
    let path = dir.path().join("tunnel_state.json");
    for n in 1..=2 {
        let garbage = format!("{{\"token\": \"hidden-token\", {n}");
        fs::write(&path, &garbage).unwrap();

        let state = open(&dir);
        let error = state.tunnel_state().await.unwrap_err();

        let kept = dir.path().join(format!("tunnel_state.json.corrupt-{n}"));
        assert_eq!(error.code(), "state_corrupt");
        let text = error.to_string();
        assert!(text.contains("tunnel_state.json") && text.contains(&kept.display().to_string()), "{text}");
        assert!(!text.contains("hidden-token"), "{text}");
        assert_eq!(fs::read_to_string(kept).unwrap(), garbage);
        assert!(state.tunnel_state().await.unwrap().is_none(), "the next start is not stopped by it");
    }
}

#[tokio::test]
async fn an_id_that_is_no_id_is_kept_aside() {
    let dir = temp();
    for garbage in [&b"../../etc"[..], b"", b"\xff\xfe", &[b'a'; 70]] {
        fs::write(dir.path().join("agent_id.txt"), garbage).unwrap();
        assert_eq!(open(&dir).agent_id().await.unwrap_err().code(), "state_corrupt");
    }
    assert_eq!(names(dir.path()).iter().filter(|n| n.starts_with("agent_id.txt.corrupt-")).count(), 4);
}

#[tokio::test]
async fn two_agents_cannot_share_a_directory() {
    let dir = temp();
    let first = open(&dir);

    let error = StateDir::open(dir.path(), Io::current()).unwrap_err();
    assert_eq!(error.code(), "state_in_use");
    assert!(error.to_string().contains("LIGHTSHIP_STATE_DIR"), "{error}");

    drop(first);
    open(&dir);
}

#[tokio::test]
async fn a_place_that_cannot_hold_files_is_named() {
    let dir = temp();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();

    let error = StateDir::open(file.join("state"), Io::current()).unwrap_err();

    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_command_is_known_again_after_a_restart() {
    let dir = temp();
    let state = open(&dir);
    assert_eq!(
        state.record_commands(vec![start("c1"), start("c2")]).await.unwrap(),
        [Recorded::New, Recorded::New]
    );
    state.record_outcome(&CommandId::new("c1"), done("runs"), true).await.unwrap();
    drop(state);

    let state = open(&dir);
    let known = state.record_commands(vec![start("c1"), start("c2"), start("c3")]).await.unwrap();
    assert_eq!(known, [Recorded::Finished(done("runs")), Recorded::Unfinished, Recorded::New]);
    let ids: Vec<_> =
        state.unfinished_commands().await.unwrap().into_iter().map(|c| c.id.to_string()).collect();
    assert_eq!(ids, ["c2", "c3"]);
}

#[tokio::test]
async fn a_token_leaves_the_disk_when_its_command_is_done() {
    let dir = temp();
    let state = open(&dir);
    state.record_commands(vec![start("c1")]).await.unwrap();
    let path = dir.path().join("commands").join("000000000001-c1.json");
    assert!(fs::read_to_string(&path).unwrap().contains("hidden-token"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    state.record_outcome(&CommandId::new("c1"), done("runs"), false).await.unwrap();

    assert!(!fs::read_to_string(&path).unwrap().contains("hidden-token"));
    assert_eq!(state.count_spooled().await.unwrap(), 0, "nobody waits for this result");
}

fn command_of(spooled: &Spooled) -> String {
    match &spooled.item {
        SpooledItem::Result { id, .. } => id.to_string(),
        other => panic!("no result: {other:?}"),
    }
}

#[tokio::test]
async fn results_wait_in_order_until_they_are_taken() {
    let dir = temp();
    let state = open(&dir);
    for id in ["c3", "c1", "c2"] {
        state.record_commands(vec![start(id)]).await.unwrap();
        state.record_outcome(&CommandId::new(id), done(id), true).await.unwrap();
    }
    drop(state);

    let state = open(&dir);
    let mut order = Vec::new();
    while let Some(result) = state.next_spooled().await.unwrap() {
        order.push(command_of(&result));
        state.drop_spooled(result.number).await.unwrap();
    }
    assert_eq!(order, ["c3", "c1", "c2"]);
    assert!(names(&dir.path().join("outbox")).is_empty());
}

#[tokio::test]
async fn a_result_that_waits_already_is_not_added_again() {
    let dir = temp();
    let state = open(&dir);
    state.record_commands(vec![start("c1"), start("c1-2")]).await.unwrap();
    for id in ["c1", "c1", "c1-2"] {
        state.record_outcome(&CommandId::new(id), done(id), true).await.unwrap();
    }
    assert_eq!(state.count_spooled().await.unwrap(), 2);
}

#[tokio::test]
async fn a_corrupt_result_does_not_hold_up_the_others() {
    let dir = temp();
    let state = open(&dir);
    for id in ["c1", "c2"] {
        state.record_commands(vec![start(id)]).await.unwrap();
        state.record_outcome(&CommandId::new(id), done(id), true).await.unwrap();
    }
    fs::write(dir.path().join("outbox/000000000001-c1.json"), "{").unwrap();

    assert_eq!(command_of(&state.next_spooled().await.unwrap().unwrap()), "c2");
    assert!(dir.path().join("outbox/000000000001-c1.json.corrupt-1").exists());
}

#[tokio::test]
async fn history_and_spool_are_bounded() {
    let dir = temp();
    let state = open(&dir);
    for n in 0..1000 {
        let id = format!("c{n}");
        state.record_commands(vec![start(&id)]).await.unwrap();
        state.record_outcome(&CommandId::new(id), done(""), true).await.unwrap();
    }

    let error = state.record_commands(vec![start("one-more")]).await.unwrap_err();
    assert_eq!(error.code(), "state_spool_full");
    assert!(names(&dir.path().join("commands")).len() <= 501);
}

#[tokio::test]
async fn a_batch_that_cannot_be_written_is_not_begun() {
    let dir = temp();
    let state = open(&dir);
    // A directory in the second file's place makes its write fail, whoever runs the test.
    fs::create_dir(dir.path().join("commands/000000000002-c2.json")).unwrap();

    assert!(state.record_commands(vec![start("c1"), start("c2")]).await.is_err());

    assert!(state.unfinished_commands().await.unwrap().is_empty());
    assert_eq!(names(&dir.path().join("commands")), ["000000000002-c2.json"]);
}

#[tokio::test]
async fn room_is_checked_without_leaving_anything() {
    let dir = temp();
    let state = open(&dir);
    state.check_room().await.unwrap();
    assert_eq!(names(&dir.path().join("commands")), Vec::<String>::new());

    fs::remove_dir(dir.path().join("commands")).unwrap();
    let error = state.check_room().await.unwrap_err();

    assert!(error.to_string().contains("commands` cannot be written to"), "{error}");
}

#[tokio::test]
async fn results_that_a_native_master_left_do_not_hold_up_a_master_that_takes_none() {
    let dir = temp();
    let state = open(&dir);
    for n in 0..1000 {
        let id = format!("c{n}");
        state.record_outcome(&CommandId::new(id), done(""), true).await.unwrap();
    }
    let ours = NewCommand { is_native: false, ..start("dockflare-1") };
    assert_eq!(state.record_commands(vec![ours]).await.unwrap(), [Recorded::New]);
}

#[tokio::test]
async fn no_file_is_made_through_a_symbolic_link() {
    // given: a directory that somebody else could write in, and a file of this user's
    let (dir, other) = (temp(), temp());
    let victim = other.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let plant = |name: &str| {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join(name)).unwrap();
    };
    for name in [".write-check", ".agent_id.txt.new", "agent_id.txt", "commands/.write-check"] {
        plant(name);
    }
    // when
    let state = open(&dir);
    state.put_agent_id(&AgentId::new("a1")).await.unwrap();
    state.check_room().await.unwrap();
    // then
    assert_eq!(state.agent_id().await.unwrap(), Some(AgentId::new("a1")));
    assert!(!fs::symlink_metadata(dir.path().join("agent_id.txt")).unwrap().is_symlink());
    drop(state);
    fs::remove_file(dir.path().join(LOCK)).unwrap();
    plant(LOCK);
    let refused = StateDir::open(dir.path(), Io::current()).unwrap_err();
    let refused = format!("{refused}: {:?}", std::error::Error::source(&refused));
    assert!(refused.contains("agent.lock") && refused.contains("symbolic link"), "{refused}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[tokio::test]
async fn json_of_another_shape_is_named_as_damaged() {
    for content in ["[]", " []", "[null,null,null,\"running\"]", "null", "7", "\"x\"", ""] {
        let dir = temp();
        fs::write(dir.path().join(TUNNEL_STATE), content).unwrap();
        let error = open(&dir).tunnel_state().await.unwrap_err();
        assert_eq!(error.code(), "state_corrupt", "{content}");
        assert!(error.to_string().contains("tunnel_state.json.corrupt-1"), "{error}");
    }
    let dir = temp();
    fs::create_dir_all(dir.path().join("commands")).unwrap();
    fs::create_dir_all(dir.path().join("outbox")).unwrap();
    let name = "000000000001-c1.json";
    let command = "[\"c1\",true,\"2026-01-31T12:00:00Z\",null,{}]";
    fs::write(dir.path().join("commands").join(name), command).unwrap();
    fs::write(dir.path().join("outbox").join(name), "[\"c1\",[true,\"done\",null]]").unwrap();
    let state = open(&dir);
    assert!(state.unfinished_commands().await.unwrap().is_empty());
    assert!(state.next_spooled().await.unwrap().is_none());
    for folder in ["commands", "outbox"] {
        assert_eq!(names(&dir.path().join(folder)), [format!("{name}.corrupt-1")], "{folder}");
    }
}

#[test]
fn folders_are_made_with_all_above_them_and_one_that_is_there_stays_as_it_is() {
    let dir = temp();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let folder = dir.path().join("a/b/c");
    make_lasting_dir(&folder, 0o700).unwrap();
    make_lasting_dir(&folder, 0o755).unwrap();
    assert_eq!((mode(&folder), mode(&dir.path().join("a"))), (0o700, 0o700));
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(make_lasting_dir(&dir.path().join("file/x"), 0o700).is_err());
}

#[test]
fn whoever_only_looks_learns_what_is_absent_and_what_cannot_be_read_and_changes_nothing() {
    let dir = temp();
    let look = peek(dir.path());
    assert!(matches!((look.agent, look.tunnel), (Ok(None), Ok(None))));
    fs::write(dir.path().join("agent_id.txt"), "a-1\n").unwrap();
    fs::write(
        dir.path().join("tunnel_state.json"),
        r#"{"token":"hidden","id":"t-1","desired_state":"running"}"#,
    )
    .unwrap();
    let look = peek(dir.path());
    assert_eq!(look.agent, Ok(Some(AgentId::new("a-1"))));
    assert_eq!(look.tunnel.unwrap().unwrap().id, Some(TunnelId::new("t-1")));
    // Damaged ones are told apart from absent ones, and nothing of them is quoted.
    fs::write(dir.path().join("agent_id.txt"), [0xff, 0xfe]).unwrap();
    fs::write(dir.path().join("tunnel_state.json"), r#"{"token":"hidden""#).unwrap();
    let before = names(dir.path());
    let look = peek(dir.path());
    let (agent, tunnel) = (look.agent.unwrap_err(), look.tunnel.unwrap_err());
    assert!(agent.contains("agent_id.txt` cannot be read: it is not text"), "{agent}");
    assert!(
        tunnel.contains("tunnel_state.json` cannot be read: it is not the JSON")
            && !tunnel.contains("hidden"),
        "{tunnel}"
    );
    assert_eq!(names(dir.path()), before, "none is set aside");
    // What the system does not give is no absence either.
    fs::remove_file(dir.path().join("tunnel_state.json")).unwrap();
    fs::create_dir(dir.path().join("tunnel_state.json")).unwrap();
    let tunnel = peek(dir.path()).tunnel.unwrap_err();
    assert!(tunnel.contains("directory"), "{tunnel}");
}

#[test]
fn a_damaged_key_is_named_at_every_look_and_stays_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(find_agent_key(dir.path()), Ok(None)));
    fs::write(dir.path().join("agent_key.txt"), "secret key\n").unwrap();
    for _ in 0..2 {
        let reason = find_agent_key(dir.path()).unwrap_err();
        assert!(
            reason.contains("agent_key.txt` cannot be read: it is no key") && !reason.contains("secret"),
            "{reason}"
        );
    }
    assert_eq!(names(dir.path()), ["agent_key.txt"]);
    fs::write(dir.path().join("agent_key.txt"), "secret-key\n").unwrap();
    assert_eq!(find_agent_key(dir.path()).unwrap().unwrap().expose_secret(), "secret-key");
}
