//! What agents say, fitted to what is kept: ids are checked, names are shortened, lists are counted.

use super::body::BodyError;
use crate::domain::container::{Container, MAX_ID_CHARS, MAX_NAME_CHARS, check_all};
use crate::domain::id::ContainerId;
use crate::domain::labels::MAX_LABELS;
use crate::domain::networks;
use crate::domain::tunnel::TunnelReport;
use crate::domain::update::RunProgress;

/// Longest text about a tunnel that is kept, in characters.
const MAX_TEXT_CHARS: usize = 500;
/// Longest end of a run's log that is told while it is under way, in bytes.
const PROGRESS_LOG_LIMIT: usize = 32 * 1024;
/// Most steps of a run that are named.
const MAX_STEPS: usize = 64;
/// Longest image or status that is kept, in characters.
const MAX_WORD_CHARS: usize = 1_000;

/// Checks the id of a container; the Engine's are 64 hex digits, but only what could do harm is refused.
pub(super) fn container_id(field: &'static str, id: &ContainerId) -> Result<(), BodyError> {
    let text = id.as_str();
    if (1..=MAX_ID_CHARS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(BodyError::Value { field, reason: "1 to 128 visible ASCII characters are allowed" })
}

/// Shortens what is said of a container. `field` names where its id stands.
pub(super) fn container(field: &'static str, found: Container) -> Result<Container, BodyError> {
    container_id(field, &found.id)?;
    let mut labels = found.labels;
    if labels.len() > MAX_LABELS
        && let Some(end) = labels.keys().nth(MAX_LABELS + 1).cloned()
    {
        // One more than are read is kept, so that whoever reads them sees that there were too many.
        labels.split_off(&end);
    }
    let mut name = shortened(&found.name, MAX_NAME_CHARS);
    if name.is_empty() {
        // A container without a name is still one: its short id stands in, as Docker's own tools show it.
        name = found.id.as_str().chars().take(12).collect();
    }
    Ok(Container {
        id: found.id,
        name,
        labels,
        image: found.image.map(|image| shortened(&image, MAX_WORD_CHARS)),
        status: found.status.map(|status| shortened(&status, MAX_WORD_CHARS)),
        networks: found.networks.filter(|found| networks::fit(networks::names(found))),
    })
}

/// Shortens what is said of a run that is under way; of its log the end is kept.
pub(super) fn progress(told: RunProgress) -> RunProgress {
    let cut = told.log.len().saturating_sub(PROGRESS_LOG_LIMIT);
    let from = (cut..=told.log.len()).find(|at| told.log.is_char_boundary(*at)).unwrap_or(0);
    let word = |text: &str| shortened(text, MAX_TEXT_CHARS);
    RunProgress {
        by: word(&told.by),
        done: told.done.iter().take(MAX_STEPS).map(|step| word(step)).collect(),
        step: told.step.as_deref().map(word),
        percent: told.percent.map(|percent| percent.min(100)),
        words: word(&told.words),
        log: told.log.get(from..).unwrap_or_default().to_owned(),
        ..told
    }
}

/// Shortens the containers of a list and checks that one agent may have all of them. `field` is the list.
pub(super) fn containers(
    field: &'static str,
    id_field: &'static str,
    list: impl IntoIterator<Item = Container>,
) -> Result<Vec<Container>, BodyError> {
    let fitted: Vec<Container> =
        list.into_iter().map(|found| container(id_field, found)).collect::<Result<_, _>>()?;
    check_all(&fitted).map_err(|reason| BodyError::TooMuch { field, reason })?;
    Ok(fitted)
}

/// Shortens what is said of a tunnel.
pub(super) fn tunnel(found: TunnelReport) -> TunnelReport {
    let text = |text: Option<String>| text.map(|text| text.chars().take(MAX_TEXT_CHARS).collect::<String>());
    TunnelReport {
        tunnel_id: found
            .tunnel_id
            .map(|id| id.as_str().chars().take(MAX_TEXT_CHARS).collect::<String>().into()),
        name: text(found.name),
        version: text(found.version),
        reason: text(found.reason),
        connector_id: text(found.connector_id),
        networks: found.networks.filter(|names| networks::fit(names)),
        ..found
    }
}

/// Cuts a text and drops control characters, which have no place in a name.
fn shortened(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: &str, name: &str) -> Container {
        Container {
            id: ContainerId::new(id),
            name: name.into(),
            labels: Default::default(),
            image: None,
            status: None,
            networks: None,
        }
    }

    #[test]
    fn names_are_shortened_and_ids_are_not() {
        let long = container("id", found(&"a".repeat(128), &"é\0".repeat(300))).unwrap();
        assert_eq!(long.name, "é".repeat(255));
        assert_eq!(container("id", found("0123456789abcdef", "\n")).unwrap().name, "0123456789ab");
        for bad in ["", "a b", "é", "a\0", &"a".repeat(129)] {
            let error = container("items[].container.id", found(bad, "app")).unwrap_err().to_string();
            assert!(error.contains("`items[].container.id`") && error.contains("128"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn of_too_many_labels_one_more_than_are_read_is_kept() {
        let mut many = found("c1", "app");
        for (count, kept) in
            [(MAX_LABELS, MAX_LABELS), (MAX_LABELS + 1, MAX_LABELS + 1), (5_000, MAX_LABELS + 1)]
        {
            many.labels = (0..count).map(|n| (format!("{n:06}"), String::new())).collect();
            assert_eq!(container("id", many.clone()).unwrap().labels.len(), kept);
        }
    }
}
