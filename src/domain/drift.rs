//! What somebody changed or deleted of ours at Cloudflare: what is said of it, and what becomes of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::owned::OwnedKind;
use super::publish::DriftMode;
use super::text::beginning;

/// Most characters that are kept of a thing as it should be, and of the thing as it is.
const MOST: usize = 1_000;

/// Something of ours that is not as it was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What it is.
    pub kind: OwnedKind,
    /// What it is called among its kind.
    pub name: String,
    /// As it should be.
    pub wanted: String,
    /// As it is; none if it is gone.
    pub found: Option<String>,
}

impl Drift {
    /// Says of a thing what differs; what was never set by us is left out.
    pub fn of(kind: OwnedKind, name: &str, wanted: &Value, found: Option<&Value>) -> Self {
        let (wanted, found) = match found {
            Some(found) => {
                let (wanted, found) = differing(wanted, found);
                (wanted, Some(found))
            }
            None => (wanted.clone(), None),
        };
        Self::in_words(kind, name, &wanted.to_string(), found.map(|found| found.to_string()))
    }

    /// The same, of what has words of its own.
    pub fn in_words(kind: OwnedKind, name: &str, wanted: &str, found: Option<String>) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            wanted: beginning(wanted, MOST),
            found: found.map(|found| beginning(&found, MOST)),
        }
    }

    /// Says what happened.
    pub fn sentence(&self) -> String {
        sentence(self.kind, &self.name, &self.wanted, self.found.as_deref())
    }
}

/// Says what happened to a thing.
pub fn sentence(kind: OwnedKind, name: &str, wanted: &str, found: Option<&str>) -> String {
    let what = format!("the {} `{}`", kind.in_words(), beginning(name, 300));
    match found {
        None => format!("somebody deleted {what} at Cloudflare; it should be {wanted}"),
        Some(found) => format!("somebody changed {what} at Cloudflare: it is {found} and should be {wanted}"),
    }
}

/// Says what happened to a thing that waits for a person, and what is to be done about it.
pub fn why_it_waits(kind: OwnedKind, name: &str, wanted: &str, found: Option<&str>) -> String {
    let way_out = match kind {
        OwnedKind::Application | OwnedKind::Policy => {
            "the route is closed until `lightship apply --yes` or the page puts it right"
        }
        OwnedKind::Tunnel => "enrol its agent again",
        OwnedKind::Rule | OwnedKind::Record => {
            "it stays so until `lightship apply --yes` or the page puts it right"
        }
    };
    format!("{}; {way_out}", sentence(kind, name, wanted, found))
}

/// Returns those fields of both in which what is found differs from what is wanted.
fn differing(wanted: &Value, found: &Value) -> (Value, Value) {
    let (Value::Object(ours), Value::Object(theirs)) = (wanted, found) else {
        return (wanted.clone(), found.clone());
    };
    let differs = |field: &&String| theirs.get(*field) != ours.get(*field);
    let fields: Vec<&String> = ours.keys().filter(differs).collect();
    if fields.is_empty() {
        return (wanted.clone(), found.clone());
    }
    let only = |of: &Map<String, Value>| -> Map<String, Value> {
        fields.iter().filter_map(|field| Some(((*field).clone(), of.get(*field)?.clone()))).collect()
    };
    (Value::Object(only(ours)), Value::Object(only(theirs)))
}

/// Where a finding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftState {
    /// It stays until a person has it put right.
    Waits,
    /// It is to be put right.
    Healing,
    /// It was put right.
    Healed,
    /// It is somebody else's by now, or nobody but a person can bring it back.
    Lost,
}

impl DriftState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Waits, Self::Healing, Self::Healed, Self::Lost];

    /// Returns the word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Healing => "healing",
            Self::Healed => "healed",
            Self::Lost => "lost",
        }
    }

    /// Returns the state of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What can be done about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It can be put right, or wait.
    Either,
    /// It is put right at once, whatever is set: it closes something.
    AtOnce,
    /// Only a person can do something.
    ByPerson,
}

/// What becomes of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// Where it stands from now on.
    pub state: DriftState,
    /// True if nobody was told of it yet.
    pub is_news: bool,
}

/// Decides about a finding; `known` says what was found of the thing last, and where that stands.
pub fn judge(
    found: &Drift,
    known: Option<(&Drift, DriftState)>,
    mode: DriftMode,
    remedy: Remedy,
) -> Judgement {
    let same = known.filter(|(before, _)| *before == found).map(|(_, state)| state);
    let is_news = same.is_none_or(|state| state == DriftState::Healed);
    let state = match (remedy, mode) {
        (Remedy::ByPerson, _) => DriftState::Lost,
        (Remedy::AtOnce, _) | (Remedy::Either, DriftMode::Heal) => DriftState::Healing,
        // A person ordered it, and it did not come to its end yet.
        (Remedy::Either, DriftMode::Show) if same == Some(DriftState::Healing) => DriftState::Healing,
        (Remedy::Either, DriftMode::Show) => DriftState::Waits,
    };
    Judgement { state, is_news }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drift(found: Option<&str>) -> Drift {
        Drift::in_words(OwnedKind::Record, "app.example.com", "CNAME a", found.map(str::to_owned))
    }

    #[test]
    fn only_what_differs_is_said_and_no_more_than_fits() {
        let wanted = json!({"name": "x", "decision": "allow", "include": [1]});
        let found = json!({"name": "x", "decision": "bypass", "include": [1], "id": "i", "theirs": true});
        let drift = Drift::of(OwnedKind::Policy, "p", &wanted, Some(&found));
        assert_eq!(drift.wanted, r#"{"decision":"allow"}"#);
        assert_eq!(drift.found.as_deref(), Some(r#"{"decision":"bypass"}"#));
        let gone = Drift::of(OwnedKind::Policy, "p", &wanted, None);
        assert_eq!((gone.wanted, gone.found), (wanted.to_string(), None));
        let long = Drift::of(OwnedKind::Rule, "r", &json!({"a": "x".repeat(5_000)}), Some(&json!({})));
        assert!(long.wanted.chars().count() <= MOST + 1, "{}", long.wanted.len());
        let hidden = Drift::in_words(OwnedKind::Record, "r", "a", Some("\u{202e}evil".into()));
        assert!(!hidden.found.unwrap().contains('\u{202e}'));
    }

    #[test]
    fn a_finding_is_news_once_and_waits_or_is_put_right_as_it_is_set() {
        use DriftMode::{Heal, Show};
        use DriftState::{Healed, Healing, Lost, Waits};
        let (one, other) = (drift(None), drift(Some("CNAME b")));
        for (known, mode, remedy, state, is_news) in [
            (None, Heal, Remedy::Either, Healing, true),
            (Some((&one, Healing)), Heal, Remedy::Either, Healing, false),
            (Some((&one, Healed)), Heal, Remedy::Either, Healing, true),
            (Some((&other, Healing)), Heal, Remedy::Either, Healing, true),
            (None, Show, Remedy::Either, Waits, true),
            (Some((&one, Waits)), Show, Remedy::Either, Waits, false),
            (Some((&other, Waits)), Show, Remedy::Either, Waits, true),
            (Some((&one, Healing)), Show, Remedy::Either, Healing, false),
            (Some((&other, Healing)), Show, Remedy::Either, Waits, true),
            (Some((&one, Healed)), Show, Remedy::Either, Waits, true),
            (Some((&one, Waits)), Heal, Remedy::Either, Healing, false),
            (None, Show, Remedy::AtOnce, Healing, true),
            (None, Heal, Remedy::ByPerson, Lost, true),
            (Some((&one, Lost)), Show, Remedy::ByPerson, Lost, false),
        ] {
            let judged = judge(&one, known, mode, remedy);
            assert_eq!(judged, Judgement { state, is_news }, "{known:?} {mode:?} {remedy:?}");
        }
    }

    #[test]
    fn what_happened_is_said_with_the_way_out() {
        let gone = why_it_waits(OwnedKind::Record, "app.example.com", "CNAME a", None);
        assert!(
            gone.contains("deleted the DNS record `app.example.com`") && gone.contains("apply --yes"),
            "{gone}"
        );
        let open = why_it_waits(OwnedKind::Application, "app.example.com", "{}", Some("[]"));
        assert!(open.contains("it is [] and should be {}") && open.contains("closed"), "{open}");
        for state in DriftState::ALL {
            assert_eq!(DriftState::parse(state.as_str()), Some(state));
        }
    }
}
