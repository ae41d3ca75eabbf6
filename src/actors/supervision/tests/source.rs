//! A rule the compiler does not check.

use std::path::Path;

/// A panic in a `ResponseFuture` is silent: the actor lives on and nobody is told.
#[test]
fn no_actor_answers_with_a_response_future() {
    fn check(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                check(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let forbidden = concat!("Response", "Future<");
                found
                    .extend(text.lines().filter(|l| l.contains(forbidden)).map(|l| format!("{path:?}: {l}")));
            }
        }
    }
    let mut found = Vec::new();
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/actors"), &mut found);
    assert!(found.is_empty(), "use AtomicResponse or ResponseActFuture: {found:#?}");
}
