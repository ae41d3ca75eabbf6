//! Whether a new container is good.

use std::time::Duration;

use serde_json::Value;

/// How long one without a health check has to run without being started again.
const RUNS: Duration = Duration::from_secs(10);
/// What a check is given beyond its own times: the Engine is busy at the start.
const MARGIN: Duration = Duration::from_secs(10);
/// How long after that a published one is given to answer visitors, with a health check and without one.
const ANSWERS: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(80)];
/// Longest text of a check or of what it said, in characters.
const WORDS: usize = 200;

/// How a container is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It says by itself whether it is well.
    Health {
        /// What is run in it, for people.
        probe: String,
        /// When it is given up.
        limit: Duration,
    },
    /// It has to run for a while.
    Runs,
}

impl Check {
    /// How long a container that is good by this is given until it answers as the old one did. Who has no health check says
    /// by nothing else that it is still starting.
    pub fn answers_within(&self) -> Duration {
        let [with, without] = ANSWERS;
        match self {
            Self::Health { .. } => with,
            Self::Runs => without,
        }
    }
}

/// What is to be thought of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is too early to say.
    Waits,
    /// It is good.
    Good,
    /// It is not, because of this.
    Bad(String),
}

/// Returns how a container is looked at. Its own inspection counts: there the new image's check is merged with what was said
/// of the container.
pub fn check_of(container: &Value) -> Check {
    let check = &container["Config"]["Healthcheck"];
    let test: Vec<&str> = check["Test"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let probe = match test.split_first() {
        None | Some((&"NONE", _)) => return Check::Runs,
        Some((&("CMD" | "CMD-SHELL"), rest)) => rest.join(" "),
        Some(_) => test.join(" "),
    };
    let time = |key: &str, default: u64| {
        let nanos = check.get(key).and_then(Value::as_u64).filter(|nanos| *nanos > 0);
        nanos.map_or(Duration::from_secs(default), Duration::from_nanos)
    };
    let retries = check["Retries"].as_u64().filter(|retries| *retries > 0).unwrap_or(3);
    let round = time("Interval", 30) + time("Timeout", 30);
    let rounds = round.saturating_mul(u32::try_from(retries).unwrap_or(u32::MAX));
    Check::Health {
        probe: shown(&probe),
        limit: time("StartPeriod", 0).saturating_add(rounds).saturating_add(MARGIN),
    }
}

/// Judges a container that was started `since` ago.
pub fn judge(container: &Value, check: &Check, since: Duration) -> Verdict {
    let state = &container["State"];
    let restarts = container["RestartCount"].as_u64().unwrap_or(0);
    if state["Restarting"] == true {
        return Verdict::Bad(format!(
            "it ended and is started again ({}){}",
            exit(state),
            said_by_engine(state)
        ));
    }
    if restarts > 0 {
        // How it ended is forgotten as soon as it runs again.
        return Verdict::Bad("it ended, and was started again".into());
    }
    if state["Running"] != true {
        return Verdict::Bad(format!("it ended ({}){}", exit(state), said_by_engine(state)));
    }
    let (probe, limit) = match check {
        Check::Runs if since >= RUNS => return Verdict::Good,
        Check::Runs => return Verdict::Waits,
        Check::Health { probe, limit } => (probe, *limit),
    };
    let health = &state["Health"];
    let status = health["Status"].as_str().unwrap_or("unknown");
    match status {
        "healthy" => Verdict::Good,
        "unhealthy" => Verdict::Bad(format!("its health check `{probe}` says unhealthy{}", last(health))),
        _ if since < limit => Verdict::Waits,
        _ => Verdict::Bad(format!(
            "its health check `{probe}` still says {status} after {} s{}",
            limit.as_secs(),
            last(health)
        )),
    }
}

fn exit(state: &Value) -> String {
    let killed = if state["OOMKilled"] == true { ", it had too little memory" } else { "" };
    format!("exit code {}{killed}", state["ExitCode"].as_i64().unwrap_or_default())
}

fn said_by_engine(state: &Value) -> String {
    let error = state["Error"].as_str().filter(|error| !error.is_empty());
    error.map(|error| format!(": {}", shown(error))).unwrap_or_default()
}

fn last(health: &Value) -> String {
    let Some(last) = health["Log"].as_array().and_then(|log| log.last()) else { return String::new() };
    let said = shown(last["Output"].as_str().unwrap_or_default().trim());
    format!(": exit code {}, `{said}`", last["ExitCode"].as_i64().unwrap_or_default())
}

fn shown(text: &str) -> String {
    text.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn with_check(check: Value) -> Check {
        check_of(&json!({ "Config": { "Healthcheck": check } }))
    }

    #[test]
    fn a_check_is_given_all_the_time_that_it_says_it_needs() {
        let limit = |check: Value| match with_check(check) {
            Check::Health { limit, .. } => limit.as_secs(),
            Check::Runs => 0,
        };
        for (check, expected) in [
            (Value::Null, 0),
            (json!({ "Test": ["NONE"] }), 0),
            (json!({ "Test": [] }), 0),
            (json!({ "Test": ["CMD", "true"] }), 190),
            (
                json!({ "Test": ["CMD-SHELL", "true"], "Interval": SECOND, "Timeout": 2 * SECOND, "Retries": 4,
                "StartPeriod": 90 * SECOND }),
                112,
            ),
        ] {
            assert_eq!(limit(check.clone()), expected, "{check}");
        }
    }

    #[test]
    fn slow_is_not_broken_and_broken_says_what() {
        let runs = json!({ "Running": true });
        let health = |status: &str| {
            json!({ "Running": true, "Health": { "Status": status,
            "Log": [{ "ExitCode": 0, "Output": "x" }, { "ExitCode": 7, "Output": "no answer\n" }] } })
        };
        let checked = with_check(json!({ "Test": ["CMD", "probe", "-x"] }));
        let bad = |text: &str| Verdict::Bad(text.into());
        let cases = [
            (runs.clone(), &Check::Runs, 9, Verdict::Waits),
            (runs, &Check::Runs, 10, Verdict::Good),
            (json!({ "Running": false, "ExitCode": 3 }), &Check::Runs, 0, bad("it ended (exit code 3)")),
            (
                json!({ "Running": true, "Restarting": true, "ExitCode": 1 }),
                &Check::Runs,
                0,
                bad("it ended and is started again (exit code 1)"),
            ),
            (health("starting"), &checked, 189, Verdict::Waits),
            (health("healthy"), &checked, 1, Verdict::Good),
            (
                health("unhealthy"),
                &checked,
                1,
                bad("its health check `probe -x` says unhealthy: exit code 7, `no answer`"),
            ),
            (
                health("starting"),
                &checked,
                190,
                bad("its health check `probe -x` still says starting after 190 s: exit code 7, `no answer`"),
            ),
        ];
        for (state, check, since, expected) in cases {
            let container = json!({ "RestartCount": 0, "State": state });
            assert_eq!(judge(&container, check, Duration::from_secs(since)), expected, "{container}");
        }
        let again = json!({ "RestartCount": 1, "State": { "Running": true, "ExitCode": 0 } });
        assert!(
            matches!(judge(&again, &Check::Runs, RUNS), Verdict::Bad(_)),
            "it runs, but for the second time"
        );
    }
}
