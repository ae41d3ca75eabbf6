//! Whether what runs is what a tag holds.
//!
//! One image has many names: the digests of all indexes that it was ever pulled by, its manifest's, and its
//! configuration's. Two are the same if they share one; the order in which names are listed means nothing.

use std::collections::BTreeSet;

use super::ask::Found;
use super::digest::Digest;
use super::reference::Reference;

/// All names of one image.
pub type Names = BTreeSet<Digest>;

/// How what runs compares with what the tag holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Every container runs it.
    Same,
    /// It is on the host, and a container runs another.
    RestartNeeded,
    /// It is not on the host.
    Newer,
}

/// Returns the names that an image goes by in one repository: its id, its manifest, and those of its digests (in the form
/// `repository@sha256:…`) that belong to it. Digests of other repositories say nothing about this one.
pub fn names_of<'a>(
    id: &str,
    manifest: Option<&str>,
    repo_digests: impl IntoIterator<Item = &'a String>,
    of: &Reference,
) -> Names {
    let in_repository = repo_digests.into_iter().filter_map(|text| {
        let reference = Reference::parse(text).ok()?;
        reference.digest.clone().filter(|_| reference.is_same_repository(of))
    });
    in_repository.chain(Digest::parse(id)).chain(manifest.and_then(Digest::parse)).collect()
}

/// Compares. `running` has the names of what each container runs, `pulled` those of what the tag means on the host.
pub fn compare(running: &[Names], pulled: Option<&Names>, found: &Found) -> Compared {
    let inner = found.content.iter().flat_map(|content| &content.names);
    let there: Names = inner.chain([&found.digest]).cloned().collect();
    let is_it = |names: &Names| !names.is_disjoint(&there);
    match running.iter().all(is_it) {
        true => Compared::Same,
        false if running.iter().chain(pulled).any(is_it) => Compared::RestartNeeded,
        false => Compared::Newer,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ask::{Content, ImageLabels};
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn names(all: &[u8]) -> Names {
        all.iter().map(|&n| digest(n)).collect()
    }

    fn found(tag: u8, inner: &[u8]) -> Found {
        let names = inner.iter().map(|&n| digest(n)).collect::<Vec<_>>();
        let content = Content { names, size_bytes: None, labels: ImageLabels::default() };
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        Found { digest: digest(tag), at, content: (!inner.is_empty()).then_some(content) }
    }

    #[test]
    fn one_shared_name_is_enough_and_where_it_is_decides() {
        use Compared::{Newer, RestartNeeded, Same};
        for (why, running, pulled, found, expected) in [
            ("unchanged", vec![names(&[1])], None, found(1, &[]), Same),
            ("two digests of it", vec![names(&[9, 1])], None, found(1, &[]), Same),
            ("only another platform changed", vec![names(&[1, 50])], None, found(2, &[2, 40, 50]), Same),
            ("containerd's store, same", vec![names(&[1, 40])], None, found(2, &[2, 40, 50]), Same),
            ("ours changed", vec![names(&[1, 50])], None, found(2, &[2, 41, 51]), Newer),
            (
                "pulled, not restarted",
                vec![names(&[1, 50])],
                Some(names(&[2, 51])),
                found(2, &[]),
                RestartNeeded,
            ),
            ("pulled, and newer again", vec![names(&[1])], Some(names(&[2])), found(3, &[3, 33]), Newer),
            ("one of two restarted", vec![names(&[1]), names(&[2])], None, found(2, &[]), RestartNeeded),
            ("not looked into", vec![names(&[1])], None, found(2, &[]), Newer),
            ("a digest of nothing", vec![names(&[])], None, found(2, &[]), Newer),
        ] {
            assert_eq!(compare(&running, pulled.as_ref(), &found), expected, "{why}");
        }
    }

    #[test]
    fn digests_of_other_repositories_do_not_count() {
        let of = Reference::parse("reg.example/a:1").unwrap();
        let (own, other, id) = (digest(1), digest(2), digest(3));
        let listed =
            [format!("reg.example/b@{other}"), format!("reg.example/a@{own}"), "<none>@<none>".to_owned()];
        assert_eq!(names_of(id.as_str(), None, &listed, &of), names(&[1, 3]));
        // Docker Hub's images are listed by their short names.
        let hub = Reference::parse("docker.io/library/nginx").unwrap();
        assert_eq!(names_of("", Some(id.as_str()), &[format!("nginx@{own}")], &hub), names(&[1, 3]));
    }

    proptest! {
        #[test]
        fn no_order_of_digests_matters(order in Just((1_u8..8).collect::<Vec<_>>()).prop_shuffle(), tag in 0_u8..10) {
            let of = Reference::parse("reg.example/a:1").unwrap();
            let listed: Vec<String> = order.iter().map(|&n| format!("reg.example/a@{}", digest(n))).collect();
            let running = names_of("", None, &listed, &of);
            let is_held = (1..8).contains(&tag);
            let expected = if is_held { Compared::Same } else { Compared::Newer };
            prop_assert_eq!(compare(&[running], None, &found(tag, &[])), expected);
        }
    }
}
