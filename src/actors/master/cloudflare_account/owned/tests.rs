//! What holds for things of every kind, tried with a kind of its own: what it takes to add one is what stands here.

use std::cell::{Cell, RefCell};

use super::*;

/// Things that are nowhere but here. A name says how Cloudflare answers.
#[derive(Default)]
struct Notes {
    calls: RefCell<Vec<String>>,
}

impl Notes {
    fn call(&self, call: &str, name: &str) -> Result<(), OwnedError> {
        self.calls.borrow_mut().push(format!("{call} {name}"));
        match name {
            "silent" => Err(CfError::NoAnswer { call: "note", reason: "cut".into(), sent: true }.into()),
            "refused" => Err(CfError::Settings("no such note".into()).into()),
            _ => Ok(()),
        }
    }
}

impl Owned for Notes {
    type Wanted = String;
    type Key = String;

    fn name(wanted: &String) -> &str {
        wanted
    }

    fn row_before(&self, _: &String) -> Option<RowChange> {
        None
    }

    async fn look(&self, wanted: &String) -> Result<Looked, OwnedError> {
        self.call("look", wanted)?;
        Ok((wanted != "missing").then_some(Standing::Ours).into())
    }

    async fn ensure(&self, wanted: &String) -> Result<Standing, OwnedError> {
        self.call("ensure", wanted).map(|()| Standing::Ours)
    }

    async fn remove(&self, key: &String) -> Result<(), OwnedError> {
        self.call("remove", key)
    }
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).into()
}

/// Each name and, in a word, what became of it.
fn words(ended: &[Ended]) -> Vec<(&str, &'static str)> {
    let word = |standing: &Result<Standing, OwnedError>| match standing {
        Ok(Standing::Ours) => "ours",
        Ok(Standing::Theirs) => "theirs",
        Ok(Standing::Blocked(_)) => "blocked",
        Err(OwnedError::Overtaken) => "overtaken",
        Err(_) => "failed",
    };
    ended.iter().map(|(name, standing)| (name.as_str(), word(standing))).collect()
}

#[tokio::test]
async fn one_that_fails_holds_no_other_up_and_what_is_overtaken_is_not_sent() {
    let (notes, begun) = (Notes::default(), Cell::new(0));
    let is_overtaking = || begun.replace(begun.get() + 1) >= 3;

    let all = ensure_all(&notes, names(["a", "refused", "b", "late"]), is_overtaking);
    let ended: Vec<Ended> = all.collect().await;

    let mut said = words(&ended);
    said.sort_unstable();
    assert_eq!(said, [("a", "ours"), ("b", "ours"), ("late", "overtaken"), ("refused", "failed")]);
    assert_eq!(*notes.calls.borrow(), ["ensure a", "ensure refused", "ensure b"]);
}

#[tokio::test]
async fn a_look_returns_what_needs_nothing_more_and_ends_where_nobody_answers() {
    let notes = Notes::default();
    let go_on = || Ok(());

    let ended = look_all(&notes, names(["a", "missing", "refused"]), 1, go_on).await.unwrap();
    assert_eq!(words(&ended), [("a", "ours"), ("refused", "failed")]);

    let silent = look_all(&notes, names(["a", "silent"]), 1, go_on).await;
    assert!(matches!(silent, Err(Stop::Cloudflare(CfError::NoAnswer { .. }))));
    let interrupted = look_all(&notes, names(["a"]), 1, || Err(Stop::Interrupted)).await;
    assert!(matches!(interrupted, Err(Stop::Interrupted)));
    assert_eq!(notes.calls.borrow().len(), 5, "nothing was asked after the interruption");
}

#[tokio::test]
async fn all_removals_are_tried_and_the_first_trouble_is_told() {
    let notes = Notes::default();

    let removed = remove_all(&notes, &names(["a", "refused", "b"])).await;

    assert!(matches!(removed, Err(OwnedError::Cloudflare(CfError::Settings(_)))));
    assert_eq!(*notes.calls.borrow(), ["remove a", "remove refused", "remove b"]);
}
