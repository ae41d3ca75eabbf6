//! What all containers of one agent may ask for together.

use std::collections::BTreeMap;

use super::lost::Lost;
use super::{LabelProblem, Labels, MAX_PROBLEMS, keep_first, read_labels};

/// Most routes of one agent: as many rules as its tunnel is given.
pub const MAX_ROUTES: usize = 2_000;
/// Problems that are kept of one agent; once they are used up, each further container keeps one.
const PROBLEMS: usize = 2_000;

/// What the containers of one agent that were not read yet may still ask for.
#[derive(Debug)]
pub struct Allowance {
    routes: usize,
    problems: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { routes: MAX_ROUTES, problems: PROBLEMS }
    }
}

impl Allowance {
    /// Reads the labels of the next container; what it asks for in excess is left out and shown.
    pub fn read(&mut self, labels: &BTreeMap<String, String>, prefix: Option<&str>) -> Labels {
        let most = self.problems.clamp(1, MAX_PROBLEMS);
        let mut read = read_labels(labels, prefix, most);
        let excess = read.services.len().saturating_sub(self.routes);
        if excess > 0 {
            let ignored = read.services.split_off(self.routes);
            // None of those that stay answers for one that was to be protected.
            for lost in ignored.iter().filter(|service| service.access.keeps_out()).map(Lost::of_service) {
                lost.close(&mut read.services);
            }
            let reason = format!(
                "one agent may have {MAX_ROUTES} routes; {excess} that this container asks for are beyond that and ignored"
            );
            read.problems.insert(0, LabelProblem::new("routes", "", reason));
        }
        self.routes -= read.services.len();
        keep_first(&mut read.problems, most);
        self.problems = self.problems.saturating_sub(read.problems.len());
        read
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::container;
    use super::super::MAX_LABELS;
    use super::super::near_miss::COMPARISONS;
    use super::*;

    fn routes(container: usize, count: usize) -> BTreeMap<String, String> {
        let name = |i: usize| (format!("dockflare.{i}.hostname"), format!("h{i}-{container}.example.com"));
        let base = [("dockflare.enable", "true"), ("dockflare.service", "http://app")];
        base.map(|(label, value)| (label.into(), value.into()))
            .into_iter()
            .chain((0..count).map(name))
            .collect()
    }

    #[test]
    fn routes_beyond_the_bound_are_left_out_and_counted() {
        let mut allowance = Allowance::default();
        for container in 0..MAX_ROUTES / 250 {
            let read = allowance.read(&routes(container, 250), None);
            assert_eq!((read.services.len(), read.problems), (250, vec![]));
        }
        let read = allowance.read(&routes(99, 3), None);
        assert!(read.enabled && read.services.is_empty());
        assert!(read.problems[0].reason.contains("may have 2000 routes; 3 that"), "{:?}", read.problems);
    }

    #[test]
    fn problems_of_many_containers_are_bounded_and_none_is_without_one() {
        let wrong: BTreeMap<_, _> = (0..300).map(|i| (format!("dockflare.zzz{i}"), String::new())).collect();
        let mut allowance = Allowance::default();
        let kept: Vec<_> = (0..100).map(|_| allowance.read(&wrong, None).problems).collect();
        assert_eq!(kept.iter().map(Vec::len).sum::<usize>(), PROBLEMS + 80);
        assert!(
            kept[0][99].reason.ends_with("200 more labels of this container are wrong"),
            "{:?}",
            kept[0][99]
        );
        assert!(kept[99][0].reason.ends_with("more labels of this container are wrong"), "{:?}", kept[99]);
    }

    #[test]
    fn words_are_compared_only_for_what_is_shown_however_many_labels_are_misspelt() {
        // given: as much as one agent may report, every label another near miss, every container to be published
        let containers = container::MAX_CONTAINERS;
        let letters = "0123456789abcdfghijklm".chars();
        let misspelt = letters.map(|letter| (format!("dockflare.hostnam{letter}"), String::new()));
        let base = [("enable", "true"), ("hostname", "a.example.com"), ("service", "http://app")];
        let base = base.map(|(name, value)| (format!("dockflare.{name}"), value.to_owned()));
        let given: BTreeMap<_, _> = base.into_iter().chain(misspelt).collect();
        assert_eq!(given.len() * containers, container::MAX_LABELS);
        // when
        COMPARISONS.set(0);
        let mut allowance = Allowance::default();
        let read: Vec<_> = (0..containers).map(|_| allowance.read(&given, None)).collect();
        // then
        let shown = PROBLEMS + containers;
        assert!(COMPARISONS.get() <= shown * 5, "{} for {shown} that are shown", COMPARISONS.get());
        assert!(
            read[0].problems[0].reason.contains("`hostname` was probably meant"),
            "{:?}",
            read[0].problems
        );
        let last = &read[containers - 1].problems;
        assert_eq!(last.len(), 1);
        assert!(last[0].reason.contains("`hostname` was probably meant"), "{last:?}");
        assert!(last[0].reason.contains("21 more labels of this container are wrong"), "{last:?}");
    }

    #[test]
    fn of_a_container_with_too_many_labels_none_is_read_and_it_says_so() {
        let mut given = routes(0, 1);
        given.extend((given.len()..MAX_LABELS).map(|i| (format!("com.example.{i}"), String::new())));
        assert_eq!((read_labels(&given, None, MAX_PROBLEMS).services.len(), given.len()), (1, MAX_LABELS));

        given.insert("zzz".into(), String::new());
        let read = read_labels(&given, None, MAX_PROBLEMS);
        assert!(!read.enabled && read.services.is_empty());
        assert!(read.problems[0].reason.contains("more than 1000 labels"), "{:?}", read.problems);
    }
}
