//! Where people are told what happened, from the command line.

use serde_json::{Value, json};

use super::{Desk, ended};
use crate::support::inbox::Inbox;

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_set_tested_listed_and_removed_from_the_command_line() {
    let (desk, inbox) = (Desk::start(), Inbox::start().await);
    let (_, empty) = desk.near(0, &["notify"]);
    assert!(empty.contains("nobody is told"), "{empty}");
    // when
    let target = json!({ "kind": "ntfy", "server": inbox.url(""), "topic": "a-topic-that-nobody-sees",
        "about": ["agent_offline", "conflict"], "quiet_hours": "22:00-07:00" });
    let set = ["notify", "set", "phone", "--file", "-"];
    let (_, said) = ended(0, &set, desk.near.verb_reading(&set, &target.to_string()));
    // then
    assert!(said.contains("the target `phone` is set") && said.contains("lightship notify test"), "{said}");
    let (_, said) = desk.far(0, &["notify", "test", "phone"]);
    assert!(said.contains("`phone` took the test message"), "{said}");
    assert_eq!(inbox.until_posts(1).await[0].body["topic"], "a-topic-that-nobody-sees");
    let (list, _) = desk.far(0, &["notify", "list"]);
    for words in ["phone", "ntfy", "agent_offline, conflict", "22:00-07:00", "last sent"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    let (outbox, _) = desk.near(0, &["notify", "outbox", "--target", "phone"]);
    assert!(outbox.contains("Test message of Lightship") && outbox.contains("sent"), "{outbox}");
    let (outbox, _) = desk.near(0, &["notify", "outbox", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&outbox).unwrap()[0]["state"], "sent");
    // What is told of a target can be changed and handed in again; what opens it stays.
    let (listed, _) = desk.near(0, &["notify", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert!(!listed.to_string().contains("a-topic-that-nobody-sees"), "{listed}");
    ended(0, &set, desk.near.verb_reading(&set, &listed[0].to_string()));
    desk.near(0, &["notify", "test", "phone"]);
    assert_eq!(inbox.until_posts(2).await[1].body["topic"], "a-topic-that-nobody-sees");

    for (args, input, words) in [
        (
            &["notify", "set", "x", "--file", "-"][..],
            "{\"url\": \"secret",
            "standard input: it is no JSON (line 1",
        ),
        (&["notify", "set", "x", "--file", "-"], "{}", "`kind` is missing; there are `webhook`"),
        (&["notify", "set", "X", "--file", "-"], "{\"kind\":\"ntfy\",\"topic\":\"t\"}", "the id of a target"),
        (&["notify", "set", "x", "--file", "/nowhere.json"], "", "`/nowhere.json`: it cannot be read"),
        (&["notify", "test", "nobody"], "", "`lightship notify` lists them"),
        (&["notify", "remove", "nobody"], "", "`lightship notify` lists them"),
    ] {
        let (_, said) = ended(1, args, desk.near.verb_reading(args, input));
        assert!(said.contains(words) && !said.contains("secret"), "{args:?}: {said}");
    }
    drop(inbox);
    let (_, said) = desk.near(1, &["notify", "test", "phone"]);
    assert!(said.contains("the message did not arrive at phone"), "{said}");
    let (_, said) = desk.far(0, &["notify", "remove", "phone"]);
    assert!(said.contains("the target `phone` is removed"), "{said}");
}
