//! An agent's way to its master, and whether it is let in there.

use super::{Check, READ_STATE};

/// What a master said to the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAnswer {
    /// It opens.
    Taken,
    /// It does not.
    Refused,
    /// It was not shown: this one is used up by being shown.
    NotShown,
}

/// What a master said of the agent that was here before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAnswer {
    /// No agent registered from here yet.
    NoneYet,
    /// It is known, and the key is its own.
    Known,
    /// The master does not have it.
    Unknown,
    /// The key belongs to another one.
    KeyOfAnother,
    /// Nobody knows who was here, for this reason.
    NotRead(String),
}

/// What came of asking a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It answered as masters do.
    Answered {
        /// From where.
        address: String,
        /// What it said to the key.
        key: KeyAnswer,
        /// What it said of the agent; none if the key opens nothing.
        agent: Option<AgentAnswer>,
        /// True if it speaks our own dialect.
        is_native: bool,
    },
    /// There was no answer, or none of a master; in words with the way out.
    Failed {
        /// Whom.
        address: String,
        /// Why.
        reason: String,
    },
}

/// Judges it.
pub fn judge(asked: &Asked) -> Vec<Check> {
    let (way, key_name, agent_name) = ("Way to the master", "Key of the agent", "This agent at its master");
    let (address, key, agent, is_native) = match asked {
        Asked::Answered { address, key, agent, is_native } => (address, key, agent, is_native),
        Asked::Failed { address, reason } => {
            let no_answer = "the master did not answer";
            let way_out = "put right the way to the master first";
            return vec![
                Check::problem(
                    way,
                    reason.clone(),
                    format!(
                        "see that the master runs and that {address} is reached from here; DOCKFLARE_MASTER_URL names it"
                    ),
                ),
                Check::not_checked(key_name, no_answer, way_out),
            ];
        }
    };
    let kind = if *is_native { "" } else { "; it speaks DockFlare's dialect" };
    let mut checks = vec![Check::fine(way, format!("{address} answers{kind}"))];
    checks.push(match key {
        KeyAnswer::Taken => Check::fine(key_name, "the master takes it"),
        KeyAnswer::Refused => Check::problem(
            key_name,
            "the master does not know it, or it was revoked",
            "make one on the master's page Agents or with `lightship keys create`, and set DOCKFLARE_API_KEY to it",
        ),
        KeyAnswer::NotShown => Check::not_checked(
            key_name,
            "this agent comes with a registration token, which a look would use up",
            "start the agent: it is told at once whether the token opens",
        ),
    });
    checks.extend(agent.as_ref().map(|agent| match agent {
        AgentAnswer::NoneYet => Check::fine(agent_name, "it has not registered yet"),
        AgentAnswer::Known => Check::fine(agent_name, "it is known there, by this key"),
        AgentAnswer::Unknown => {
            Check::fine(agent_name, "it is not known there, and registers when it starts")
        }
        AgentAnswer::KeyOfAnother => Check::problem(
            agent_name,
            "the key belongs to another agent",
            "give this host a key of its own, or the state directory of the agent that the key belongs to",
        ),
        AgentAnswer::NotRead(reason) => Check::not_checked(agent_name, reason.clone(), READ_STATE),
    }));
    checks
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fine, NotChecked, Problem};
    use super::*;

    #[test]
    fn each_answer_of_a_master_has_its_meaning() {
        let answered =
            |key, agent| Asked::Answered { address: "http://m".into(), key, agent, is_native: true };
        for (asked, verdicts) in [
            (answered(KeyAnswer::Taken, Some(AgentAnswer::Known)), vec![Fine, Fine, Fine]),
            (answered(KeyAnswer::Taken, Some(AgentAnswer::NoneYet)), vec![Fine, Fine, Fine]),
            (answered(KeyAnswer::Taken, Some(AgentAnswer::Unknown)), vec![Fine, Fine, Fine]),
            (answered(KeyAnswer::Taken, Some(AgentAnswer::KeyOfAnother)), vec![Fine, Fine, Problem]),
            (
                answered(KeyAnswer::Taken, Some(AgentAnswer::NotRead("damaged".into()))),
                vec![Fine, Fine, NotChecked],
            ),
            (answered(KeyAnswer::Refused, None), vec![Fine, Problem]),
            (answered(KeyAnswer::NotShown, None), vec![Fine, NotChecked]),
            (
                Asked::Failed { address: "http://m".into(), reason: "refused".into() },
                vec![Problem, NotChecked],
            ),
        ] {
            let found: Vec<_> = judge(&asked).iter().map(|check| check.verdict).collect();
            assert_eq!(found, verdicts, "{asked:?}");
        }
    }
}
