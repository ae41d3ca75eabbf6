//! The recorded conversation of the real DockFlare programs, replayed against this master.
//!
//! Status and every body field by name and type have to be the same; ids, times and order may differ. What
//! differs on purpose is in [`DEVIATIONS`], with the reason.

use std::collections::HashMap;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::asking::Answer;
use crate::support::master::{ADMIN, TestMaster};

const RECORDING: &str = include_str!("../contracts/dockflare-agent-master.jsonl");

/// Rows whose status differs, and why: sequence number, our status, reason.
const DEVIATIONS: &[(u64, u16, &str)] = &[
    (161, 200, "one key, one agent: a bound key that comes without an id gets its own id back"),
    (174, 400, "recorded 5xx are 400: an event that is a list"),
    (175, 400, "recorded 5xx are 400: an event that is a string"),
    (176, 400, "recorded 5xx are 400: an event that is a number"),
    (183, 400, "recorded 5xx are 400: a container that is a list"),
    (184, 400, "recorded 5xx are 400: a container that is null"),
    (186, 400, "recorded 5xx are 400: labels that are null"),
    (188, 400, "recorded 5xx are 400: a container id that is a number"),
    (198, 400, "recorded 5xx are 400: an agent id that is a number"),
    (199, 400, "recorded 5xx are 400: an agent id that is a list"),
    (200, 400, "a registration with a field that is not a string"),
    (201, 200, "one key, one agent"),
    (202, 400, "a registration whose body is not an object"),
    (204, 400, "a registration with an id outside [A-Za-z0-9._-]{1,64}"),
];

/// Fields that are null here although they were recorded with a value: no keys and no tunnel tokens.
const WITHHELD: &[&str] = &["api_key", "assigned_tunnel_token"];

/// Lists that may be shorter here: a DockFlare Master keeps what ran when the agent was enrolled, ours says what
/// runs now.
const OF_NOW: &str = ".last_analysis.";

#[actix_web::test]
async fn the_recorded_conversation_has_the_same_answers() {
    let master = TestMaster::start().await;
    master.standin.add_zone("example.test");
    let mut replay = Replay { master: &master, shape: Shape::default() };
    replay.shape.names.insert("MASTER-KEY".into(), ADMIN.into());

    let mut replayed = 0;
    for line in RECORDING.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        // Calls that were cut off have no answer to compare with.
        if !row["status"].is_null() {
            replay.step(&row).await;
            replayed += 1;
        }
    }

    assert!(replayed > 200, "{replayed}");
    assert!(replay.shape.problems.is_empty(), "{}", replay.shape.problems.join("\n"));
    master.stop().await;
}

struct Replay<'a> {
    master: &'a TestMaster,
    shape: Shape,
}

impl Replay<'_> {
    async fn step(&mut self, row: &Value) {
        let seq = row["seq"].as_u64().unwrap();
        let answer = self.send(row).await;
        let deviation = DEVIATIONS.iter().find(|(number, ..)| *number == seq);
        let wanted = deviation.map_or(row["status"].as_u64().unwrap(), |(_, status, _)| u64::from(*status));
        if u64::from(answer.status) != wanted {
            self.shape
                .problems
                .push(format!("{seq}: status {} and not {wanted}: {}", answer.status, answer.text));
            return;
        }
        self.learn(&row["response_body"], &answer.json());
        self.compare_headers(seq, row, &answer);
        self.compare_body(seq, row, &answer, deviation.is_some());
    }

    async fn send(&self, row: &Value) -> Answer {
        let method: Method = row["method"].as_str().unwrap().parse().unwrap();
        let mut asking = self.master.ask(method, &self.shape.translate(row["path"].as_str().unwrap()));
        let headers = &row["request_headers"];
        if let Some(auth) = headers["authorization"].as_str() {
            asking = asking.header(AUTHORIZATION.as_str(), &self.shape.translate(auth));
        }
        if let Some(media) = headers["content-type"].as_str() {
            asking = asking.header(CONTENT_TYPE.as_str(), media);
        }
        let body = &row["request_body"];
        // Bodies that were not JSON were recorded as text; one row sends a JSON string.
        let quoted = body.as_str().map(|text| (text.len() + 2).to_string());
        let is_json_text = quoted.is_some() && headers["content-length"].as_str() == quoted.as_deref();
        let text = match body {
            Value::Null => String::new(),
            Value::String(text) if !is_json_text => text.clone(),
            body => body.to_string(),
        };
        asking.body(self.shape.translate(&text)).send().await
    }

    /// Remembers what a recorded id or key is called here.
    fn learn(&mut self, recorded: &Value, ours: &Value) {
        for field in ["key", "agent_id"] {
            if let (Some(theirs), Some(ours)) = (recorded[field].as_str(), ours[field].as_str()) {
                self.shape.names.insert(theirs.to_owned(), ours.to_owned());
            }
        }
        if let (Some(theirs), Some(ours)) =
            (recorded["command"]["tunnel_id"].as_str(), ours["command"]["tunnel_id"].as_str())
        {
            self.shape.names.insert(theirs.to_owned(), ours.to_owned());
        }
    }

    fn compare_headers(&mut self, seq: u64, row: &Value, answer: &Answer) {
        if let Some(allow) = row["response_headers"]["allow"].as_str() {
            let sorted = |list: &str| {
                let mut names: Vec<_> = list.split(',').map(|name| name.trim().to_owned()).collect();
                names.sort();
                names
            };
            if sorted(allow) != sorted(answer.header("allow")) {
                self.shape
                    .problems
                    .push(format!("{seq}: allows `{}` and not `{allow}`", answer.header("allow")));
            }
        }
        let is_json = answer.header("content-type").starts_with("application/json");
        if row["method"] != "OPTIONS" && !is_json {
            self.shape.problems.push(format!("{seq}: content type is `{}`", answer.header("content-type")));
        }
    }

    fn compare_body(&mut self, seq: u64, row: &Value, answer: &Answer, deviates: bool) {
        if matches!(row["method"].as_str(), Some("HEAD" | "OPTIONS")) {
            assert_eq!(answer.text, "", "{seq}");
            return;
        }
        let ours = answer.json();
        // HTML errors, and what deviates into an error, are v2 JSON of the status.
        let error = json!({ "status": "error", "message": "words" });
        let is_error = answer.status >= 400 && (deviates || row["response_body"].is_string());
        let wanted = if is_error { &error } else { &row["response_body"] };
        let mut wanted = wanted.clone();
        if row["path"].as_str().unwrap().ends_with("/enroll") {
            // `enroll` answers its command without the token.
            wanted["command"].as_object_mut().unwrap().remove("token");
        }
        self.shape.same(&format!("{seq}"), &wanted, &ours);
        for field in ["status", "message"] {
            if answer.status >= 400 && !is_error && wanted[field] != ours[field] {
                self.shape
                    .problems
                    .push(format!("{seq}: `{field}` is {} and not {}", ours[field], wanted[field]));
            }
        }
    }
}

/// Compares bodies by the names and types of their fields.
#[derive(Default)]
struct Shape {
    /// Recorded ids and keys, and what they are here.
    names: HashMap<String, String>,
    problems: Vec<String>,
}

impl Shape {
    fn translate(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (recorded, ours)| text.replace(recorded, ours))
    }

    /// Every recorded field is here, and of the same type.
    fn same(&mut self, place: &str, recorded: &Value, ours: &Value) {
        match (recorded, ours) {
            // A recorded null says nothing about the type.
            (Value::Null, _) | (Value::Bool(_), Value::Bool(_)) | (Value::Number(_), Value::Number(_)) => {}
            (Value::String(_), Value::String(_)) => {}
            (_, Value::Null) if WITHHELD.iter().any(|field| place.ends_with(&format!(".{field}"))) => {}
            (Value::Array(recorded), Value::Array(ours)) => {
                if ours.len() < recorded.len() && !place.contains(OF_NOW) {
                    self.problems.push(format!("{place}: {} of {} entries", ours.len(), recorded.len()));
                }
                for (index, (recorded, ours)) in recorded.iter().zip(ours).enumerate() {
                    self.same(&format!("{place}[{index}]"), recorded, ours);
                }
            }
            (Value::Object(recorded), Value::Object(ours)) => {
                for (name, value) in recorded {
                    // Keys are called by their ids here: any entry stands for the recorded one.
                    let here = match place.ends_with(".agent_keys") {
                        true => ours.values().next(),
                        false => ours.get(&self.translate(name)),
                    };
                    match here {
                        Some(here) => self.same(&format!("{place}.{name}"), value, here),
                        None => self.problems.push(format!("{place}: `{name}` is missing")),
                    }
                }
            }
            _ => self.problems.push(format!("{place}: {ours} is not of the type of {recorded}")),
        }
    }
}

#[test]
fn the_comparison_can_fail() {
    let cases = [
        (json!({"a": 1}), json!({})),
        (json!({"a": 1}), json!({"a": "1"})),
        (json!({"a": "x"}), json!({"a": null})),
        (json!({"a": [{"b": true}]}), json!({"a": [{"c": true}]})),
        (json!({"a": [{"b": true}]}), json!({"a": []})),
    ];
    for (recorded, ours) in cases {
        assert!(!shape_problems(&recorded, &ours).is_empty(), "{recorded} {ours}");
    }
    assert!(shape_problems(&json!({"a": "x", "n": null}), &json!({"a": "y", "n": 5, "more": 1})).is_empty());
}

/// The comparison of [`Replay::same`] without a master.
fn shape_problems(recorded: &Value, ours: &Value) -> Vec<String> {
    let mut shape = Shape::default();
    shape.same("x", recorded, ours);
    shape.problems
}
