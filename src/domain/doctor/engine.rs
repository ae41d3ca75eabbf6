//! The Docker Engine, and a socket proxy before it: whether it answers, and what it permits.

use super::Check;

/// What a part of the Engine answered to a harmless question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permitted {
    /// It answered.
    Yes,
    /// It is not permitted.
    No,
    /// It did not answer, for this reason.
    Unknown(String),
}

/// One part of the Engine, by the word that socket proxies have for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The word, such as `EVENTS`.
    pub word: &'static str,
    /// What we need it for.
    pub purpose: &'static str,
    /// Whether it is permitted.
    pub permitted: Permitted,
}

/// What was learnt of an Engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where it is.
    pub address: String,
    /// What it says of itself: the version that was agreed on, and its own if it told.
    pub versions: Result<(String, Option<String>), String>,
    /// Its parts; nothing if it did not answer.
    pub parts: Vec<Part>,
}

impl Facts {
    /// Judges them.
    pub fn judge(&self) -> Vec<Check> {
        let name = "Docker Engine";
        match &self.versions {
            Err(reason) => vec![Check::problem(
                name,
                reason.clone(),
                "see that it runs and that this user reaches it; without it nothing is published from this host",
            )],
            Ok((api, engine)) => {
                let engine = engine.as_ref().map(|engine| format!(", Engine {engine}")).unwrap_or_default();
                let said = format!("answers at {}: API {api}{engine}", self.address);
                vec![Check::fine(name, said), self.permissions()]
            }
        }
    }

    fn permissions(&self) -> Check {
        let name = "Rights at the Engine";
        let of = |is: fn(&Permitted) -> bool| self.parts.iter().filter(move |part| is(&part.permitted));
        let missing: Vec<&Part> = of(|permitted| *permitted == Permitted::No).collect();
        if !missing.is_empty() {
            let lacks: Vec<String> =
                missing.iter().map(|part| format!("`{}` ({})", part.word, part.purpose)).collect();
            let set: Vec<String> = missing.iter().map(|part| format!("{}=1", part.word)).collect();
            return Check::problem(
                name,
                format!("not permitted: {}", lacks.join(", ")),
                format!("set {} at the socket proxy and start it again", set.join(" ")),
            );
        }
        let silent: Vec<String> = self
            .parts
            .iter()
            .filter_map(|part| match &part.permitted {
                Permitted::Unknown(reason) => Some(format!("`{}`: {reason}", part.word)),
                _ => None,
            })
            .collect();
        if !silent.is_empty() {
            return Check::not_checked(
                name,
                silent.join("; "),
                "try again; if it stays so, look at the Engine's log",
            );
        }
        let words: Vec<&str> = self.parts.iter().map(|part| part.word).collect();
        Check::fine(name, words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_a_proxy_does_not_permit_is_named_by_its_own_word() {
        let facts = |permitted: [Permitted; 2]| {
            let [events, post] = permitted;
            Facts {
                address: "tcp://proxy:2375".into(),
                versions: Ok(("1.44".into(), None)),
                parts: vec![
                    Part { word: "EVENTS", purpose: "starts are noticed", permitted: events },
                    Part { word: "POST", purpose: "the connector is made", permitted: post },
                ],
            }
        };
        let silent = || Permitted::Unknown("timed out".into());
        for (permitted, verdict, words) in [
            ([Permitted::Yes, Permitted::Yes], Verdict::Fine, "EVENTS, POST"),
            ([Permitted::Yes, Permitted::No], Verdict::Problem, "not permitted: `POST`"),
            ([silent(), Permitted::No], Verdict::Problem, "`POST`"),
            ([silent(), Permitted::Yes], Verdict::NotChecked, "`EVENTS`: timed out"),
        ] {
            let checks = facts(permitted).judge();
            assert_eq!(checks[1].verdict, verdict, "{checks:?}");
            assert!(checks[1].detail.contains(words), "{checks:?}");
        }
        let away = Facts { versions: Err("nobody answers".into()), ..facts([silent(), silent()]) };
        assert_eq!(away.judge().len(), 1, "of one that is away nothing else is said");
        assert_eq!(away.judge()[0].verdict, Verdict::Problem);
    }
}
