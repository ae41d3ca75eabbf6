//! What is told, when, and in which form.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use serde_json::{Value, json};

use super::*;
use crate::domain::event::{AgentEvent, Event, UpdateEvent};
use crate::domain::id::AgentId;
use crate::domain::update::{PlanId, RunId, RunOutcome};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

fn notice(topic: Topic, turn: Turn, name: &str, seconds: i64) -> Notice {
    Notice { topic, turn, subject: name.into(), name: name.into(), detail: None, at: at(seconds) }
}

fn offline(name: &str, seconds: i64) -> Notice {
    notice(Topic::AgentOffline, Turn::Began, name, seconds)
}

fn back(name: &str, seconds: i64) -> Notice {
    notice(Topic::AgentOffline, Turn::Ended, name, seconds)
}

// === what is the case ===

fn seen(topic: Topic, name: &str, how: How) -> Seen {
    Seen { topic, subject: name.into(), name: name.into(), detail: None, how }
}

fn known(topic: Topic, name: &str) -> Known {
    Known { topic, subject: name.into(), name: name.into(), since: at(0) }
}

#[test]
fn what_began_and_ended_is_told_and_what_nobody_can_tell_stays_as_it_was() {
    use How::{Maybe, No, Yes};
    use Topic::{AgentOffline as Agent, Conflict, TunnelDown as Tunnel, Unprotected};
    let all: BTreeSet<Topic> = Topic::ALL.into();
    for (was, is, told, begun, ended) in [
        (None, Some((Agent, Yes)), Some(Turn::Began), 1, 0),
        (None, Some((Agent, Maybe)), None, 0, 0),
        (None, Some((Agent, No)), None, 0, 0),
        (Some(Agent), Some((Agent, Yes)), None, 0, 0),
        (Some(Agent), Some((Agent, Maybe)), None, 0, 0),
        (Some(Agent), Some((Agent, No)), Some(Turn::Ended), 0, 1),
        // An agent that was removed is not back, and a tunnel that nobody speaks of is not up.
        (Some(Agent), None, None, 0, 1),
        (Some(Tunnel), None, None, 0, 1),
        // A conflict is over with who asked for the name.
        (Some(Conflict), None, Some(Turn::Ended), 0, 1),
        // Nobody waits to hear that something is not public any more.
        (Some(Unprotected), Some((Unprotected, No)), None, 0, 1),
        (Some(Unprotected), Some((Unprotected, Maybe)), None, 0, 0),
    ] {
        let known: Vec<Known> = was.map(|topic| known(topic, "a")).into_iter().collect();
        let seen = is.map(|(topic, how)| seen(topic, "a", how)).into_iter().collect();
        let changes = compare(&known, seen, &all, at(9));
        let turns: Vec<Turn> = changes.notices.iter().map(|(notice, _)| notice.turn).collect();
        assert_eq!(turns, told.into_iter().collect::<Vec<_>>(), "{was:?} {is:?}");
        assert_eq!((changes.begun.len(), changes.ended.len()), (begun, ended), "{was:?} {is:?}");
    }
}

#[test]
fn the_worse_of_two_words_counts_and_what_was_not_looked_at_stays() {
    let all: BTreeSet<Topic> = Topic::ALL.into();
    let words = vec![seen(Topic::TunnelDown, "t", How::No), seen(Topic::TunnelDown, "t", How::Yes)];
    assert_eq!(compare(&[], words, &all, at(0)).begun.len(), 1);
    let known = [known(Topic::KeyExpiring, "k")];
    let changes = compare(&known, vec![], &BTreeSet::from([Topic::Conflict]), at(0));
    assert_eq!(changes, Changes::default());
}

#[test]
fn a_run_that_failed_or_was_undone_is_told_and_one_that_went_well_is_not() {
    let reason = || "dpkg ended with 1".to_owned();
    let run = |number: i64| RunId::new(at(number), "abcdef");
    for (outcome, undoes, words) in [
        (RunOutcome::Verified, None, None),
        (RunOutcome::Verified, Some(run(1)), Some("was undone by run")),
        (RunOutcome::Failed { reason: reason() }, None, Some("failed: dpkg ended with 1")),
        (RunOutcome::Failed { reason: reason() }, Some(run(1)), Some("which was to undo run")),
        (RunOutcome::RolledBack { reason: reason() }, None, Some("the old state is back: dpkg")),
        (RunOutcome::RollbackFailed { reason: reason() }, None, Some("could not be brought back: dpkg")),
        (RunOutcome::NotStarted { reason: reason(), is_refused: false }, None, Some("did not start: dpkg")),
        (RunOutcome::NotStarted { reason: reason(), is_refused: true }, None, None),
    ] {
        let event = Event::Update(UpdateEvent::RunEnded {
            agent_id: AgentId::new("web-1"),
            run_id: run(2),
            plan_id: PlanId::stored("1"),
            approval_id: None,
            undoes,
            begun_by: "ada".into(),
            started_at: at(0),
            ended_at: at(1),
            outcome: outcome.clone(),
        });
        let told = occurrence(&event);
        assert_eq!(told.is_some(), words.is_some(), "{outcome:?}");
        if let (Some(told), Some(words)) = (told, words) {
            assert_eq!((told.topic, told.agent.as_str()), (Topic::UpdateFailed, "web-1"));
            assert!(told.detail.contains(words), "{}", told.detail);
        }
    }
    assert_eq!(occurrence(&Event::Agent(AgentEvent::Back { agent_id: AgentId::new("a") })), None);
}

// === when ===

#[test]
fn an_end_takes_back_a_beginning_that_nobody_was_told_and_the_other_way_round() {
    assert_eq!(take_in(None, offline("a", 0)), Some(offline("a", 0)));
    assert_eq!(take_in(Some(&offline("a", 0)), back("a", 5)), None);
    assert_eq!(take_in(Some(&back("a", 0)), offline("a", 5)), None);
    // The same once more keeps its place in time.
    assert_eq!(take_in(Some(&offline("a", 0)), offline("a", 5)), Some(offline("a", 0)));
}

#[test]
fn thirty_hosts_that_go_within_the_window_are_one_message_and_their_return_is_another() {
    let window = TimeDelta::seconds(30);
    let lost: Vec<Notice> = (0..30).map(|n| offline(&format!("host-{n:02}"), n / 2)).collect();

    let early = due(lost.clone(), window, None, at(29));
    assert_eq!((early.groups.len(), early.next), (0, Some(at(30))));
    let on_time = due(lost.clone(), window, None, at(30));
    assert_eq!((on_time.groups.len(), on_time.groups[0].len(), on_time.next), (1, 30, None));
    let message = compose("m".into(), on_time.groups[0].clone(), 0, at(30)).unwrap();
    assert_eq!((message.title.as_str(), message.total), ("30 agents are offline", 30));
    assert!(message.text.contains("host-00 (2027-01-15 08:00 UTC)"), "{}", message.text);
    assert!(
        message.text.ends_with("… and 10 more") && message.text.lines().count() == 21,
        "{}",
        message.text
    );

    let mut both = lost;
    both.extend((0..30).map(|n| back(&format!("back-{n:02}"), 1)));
    both.push(notice(Topic::Conflict, Turn::Began, "app.example.com", 2));
    let titles: Vec<String> = due(both, window, None, at(60))
        .groups
        .into_iter()
        .map(|group| compose("m".into(), group, 0, at(60)).unwrap().title)
        .collect();
    assert_eq!(titles, ["30 agents are offline", "30 agents are back", "Conflict over app.example.com"]);
}

#[test]
fn nothing_is_due_in_quiet_hours_and_all_of_a_kind_goes_together_after_them() {
    let pending = vec![offline("a", 0), offline("b", 3_000)];
    let quiet = due(pending.clone(), TimeDelta::seconds(30), Some(at(7_200)), at(3_100));
    assert_eq!((quiet.groups.len(), quiet.next), (0, Some(at(7_200))));
    let after = due(pending, TimeDelta::seconds(30), None, at(7_200));
    assert_eq!(after.groups, [vec![offline("a", 0), offline("b", 3_000)]]);
}

#[test]
fn a_clock_that_was_put_back_holds_nothing_up() {
    let due = due(vec![offline("a", 100_000)], TimeDelta::seconds(30), None, at(0));
    assert_eq!(due.groups.len(), 1);
}

#[test]
fn quiet_hours_end_at_their_time_of_day_over_midnight_and_by_the_clock_on_the_wall() {
    let here = FixedOffset::east_opt(3_600).unwrap();
    let now = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&here);
    let night: QuietHours = "22:00-07:00".parse().unwrap();
    let noon: QuietHours = " 12:00 - 13:30 ".parse().unwrap();
    for (hours, time, until) in [
        (night, "2026-11-30T21:59:59+01:00", None),
        (night, "2026-11-30T22:00:00+01:00", Some("2026-12-01T06:00:00Z")),
        (night, "2026-12-01T06:59:59+01:00", Some("2026-12-01T06:00:00Z")),
        (night, "2026-12-01T07:00:00+01:00", None),
        (noon, "2026-12-01T12:15:00+01:00", Some("2026-12-01T12:30:00Z")),
        (noon, "2026-12-01T13:30:00+01:00", None),
    ] {
        let expected = until.map(|text| DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc));
        assert_eq!(hours.until(now(time)), expected, "{hours} at {time}");
    }
    assert_eq!((night.to_string(), noon.to_string()), ("22:00-07:00".into(), "12:00-13:30".into()));
    for bad in ["", "22-7", "22:00", "25:00-07:00", "22:00-22:00", "always"] {
        assert!(bad.parse::<QuietHours>().unwrap_err().contains('`'), "{bad}");
    }
}

#[test]
fn who_was_not_there_at_the_beginning_is_not_told_the_end() {
    let target = |about: Option<&[Topic]>| Target {
        about: about.map(|topics| topics.iter().copied().collect()),
        ..read("phone", json!({ "kind": "ntfy", "topic": "t" })).0
    };
    for (about, made, notice, since, wanted) in [
        (None, 0, offline("a", 5), 5, true),
        (None, 6, offline("a", 9), 9, true),
        (None, 0, back("a", 9), 5, true),
        (None, 6, back("a", 9), 5, false),
        (Some(&[Topic::Conflict][..]), 0, offline("a", 5), 5, false),
        (Some(&[Topic::Conflict, Topic::AgentOffline]), 0, offline("a", 5), 5, true),
    ] {
        assert_eq!(
            wants(&target(about), at(made), &notice, at(since)),
            wanted,
            "{about:?} {made} {notice:?}"
        );
    }
}

#[test]
fn a_dead_target_is_tried_less_and_less_often() {
    let first = Duration::from_secs(30);
    let pauses: Vec<u64> = (1..=9).map(|failures| pause(first, failures, None).as_secs()).collect();
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
    assert_eq!(pause(first, u32::MAX, None).as_secs(), 3_600);
    assert_eq!(pause(first, 1, Some(Duration::from_secs(90))).as_secs(), 90);
    assert_eq!(pause(first, 1, Some(Duration::from_secs(1))).as_secs(), 30);
    assert_eq!(pause(first, 1, Some(Duration::from_secs(90_000))).as_secs(), 3_600);
}

// === in words ===

#[test]
fn every_kind_of_message_has_a_title_for_one_and_for_many() {
    for topic in Topic::ALL {
        for turn in [Turn::Began, Turn::Ended] {
            let one = compose("m".into(), vec![notice(topic, turn, "x", 0)], 0, at(0)).unwrap();
            assert!(one.title.contains(" x") || one.title.starts_with("x "), "{}", one.title);
            let two = [notice(topic, turn, "x", 0), notice(topic, turn, "y", 0)].to_vec();
            let two = compose("m".into(), two, 0, at(0)).unwrap();
            assert!(two.title.contains('2'), "{}", two.title);
        }
    }
    assert_eq!(compose("m".into(), Vec::new(), 3, at(0)), None);
    let left = compose("m".into(), vec![offline("x", 0)], 3, at(0)).unwrap();
    assert!(left.text.contains("3 more things"), "{}", left.text);
}

#[test]
fn what_a_stranger_called_his_host_stays_on_one_line() {
    let odd = Notice { name: "web\n\u{202e}1".into(), detail: Some("a\nb".into()), ..offline("a", 0) };
    let message = compose("m".into(), vec![odd], 0, at(0)).unwrap();
    assert_eq!(message.title, "Agent web\\n\\u{202e}1 is offline");
    assert_eq!(message.text.lines().count(), 1);
}

// === as people hand them in ===

fn read(id: &str, target: Value) -> (Target, Secrets) {
    read_target(id, target).unwrap().complete(None).unwrap()
}

fn refused(target: Value) -> String {
    match read_target("one", target) {
        Ok(draft) => draft.complete(None).expect_err("it is refused").join("; "),
        Err(wrong) => wrong.join("; "),
    }
}

#[test]
fn of_each_kind_what_opens_it_is_kept_apart_from_what_is_shown() {
    for (target, place, secrets) in [
        (
            json!({"kind": "webhook", "url": "https://hooks.example.com:8443/a/secret?k=v", "authorization": "Bearer x"}),
            "https://hooks.example.com:8443",
            &["url", "authorization"][..],
        ),
        (json!({"kind": "ntfy", "topic": "alerts", "token": "tk_1"}), "https://ntfy.sh", &["topic", "token"]),
        (
            json!({"kind": "ntfy", "server": "http://10.0.0.5:8080/push/", "topic": "alerts"}),
            "http://10.0.0.5:8080/push",
            &["topic"],
        ),
        (
            json!({"kind": "gotify", "server": "https://push.example.com", "token": "A1"}),
            "https://push.example.com",
            &["token"],
        ),
        (
            json!({"kind": "discord", "url": "https://discord.com/api/webhooks/1/secret"}),
            "https://discord.com",
            &["url"],
        ),
        (
            json!({"kind": "slack", "url": "https://hooks.slack.com/services/T/B/secret"}),
            "https://hooks.slack.com",
            &["url"],
        ),
        (
            json!({"kind": "telegram", "chat_id": -1001, "token": "1:secret"}),
            "chat -1001 at https://api.telegram.org",
            &["token"],
        ),
        (
            json!({"kind": "email", "host": "smtp.example.com", "username": "u", "password": "secret",
                "from": "a@example.com", "to": ["b@example.com", "c@example.com"]}),
            "b@example.com, c@example.com by smtp.example.com:587",
            &["password"],
        ),
    ] {
        let (read, opens) = read("one", target.clone());
        assert_eq!(read.channel.place(), place);
        assert_eq!(read.name, "one");
        for field in secrets {
            assert!(opens.get(field).is_some(), "{field} of {target}");
        }
        let shown = serde_json::to_string(&read).unwrap();
        assert!(!shown.contains("secret") && !shown.contains("alerts") && !shown.contains("tk_1"), "{shown}");
        assert!(!format!("{opens:?}").contains("secret"), "{opens:?}");
        assert_eq!(serde_json::from_str::<Target>(&shown).unwrap(), read);
        // What is told of it can be changed and handed in again: what opens it stays.
        let again = read_target("one", serde_json::to_value(&read).unwrap());
        let kept = again.unwrap().complete(Some((&read, opens.clone()))).unwrap();
        assert_eq!(kept, (read, opens));
    }
}

#[test]
fn what_opens_a_target_never_goes_to_another_server() {
    let (target, opens) =
        read("one", json!({"kind": "gotify", "server": "https://a.example.com", "token": "A1"}));
    let complete = |value: Value| read_target("one", value).unwrap().complete(Some((&target, opens.clone())));
    assert_eq!(
        complete(json!({"kind": "gotify", "server": "https://a.example.com", "name": "x"})).unwrap().1,
        opens
    );
    for other in [
        json!({"kind": "gotify", "server": "https://b.example.com"}),
        json!({"kind": "telegram", "server": "https://a.example.com", "chat_id": "1"}),
    ] {
        let wrong = complete(other).unwrap_err().join("; ");
        assert!(wrong.contains("`token` is missing") && wrong.contains("same server"), "{wrong}");
    }
    let (hook, opens_hook) = read(
        "one",
        json!({"kind": "webhook", "url": "https://a.example.com/x", "authorization": "Bearer x"}),
    );
    for (url, is_kept) in [("https://a.example.com/y", true), ("https://b.example.com/x", false)] {
        let moved = read_target("one", json!({"kind": "webhook", "url": url})).unwrap();
        let (_, opens) = moved.complete(Some((&hook, opens_hook.clone()))).unwrap();
        assert_eq!(opens.get("authorization").is_some(), is_kept, "{url}");
    }
    let empty = complete(json!({"kind": "gotify", "server": "https://a.example.com", "token": ""}));
    assert!(empty.unwrap_err().join("; ").contains("`token` is missing"));
}

#[test]
fn what_is_no_target_names_field_reason_and_way_out_and_repeats_no_secret() {
    let mail = |field: &str, value: Value| {
        let mut mail = json!({"kind": "email", "host": "smtp.example.com", "from": "a@example.com", "to": ["b@example.com"]});
        mail[field] = value;
        mail
    };
    for (target, words) in [
        (json!([]), "a target is a JSON object"),
        (json!({}), "`kind` is missing; there are `webhook`, `ntfy`"),
        (json!({"kind": "pager"}), "`pager` is no kind of target"),
        (json!({"kind": 1}), "`kind`"),
        (json!({"kind": "webhook"}), "`url` is missing"),
        (json!({"kind": "webhook", "url": "secret"}), "`url`: it is no address of the web"),
        (json!({"kind": "webhook", "url": "ftp://example.com/secret"}), "it is no address of the web"),
        (
            json!({"kind": "webhook", "url": "https://a.example.com", "topic": "x"}),
            "`topic` is not known of `webhook`",
        ),
        (json!({"kind": "webhook", "url": "https://a.example.com", "id": "other"}), "`id` is `other`"),
        (json!({"kind": "ntfy"}), "`topic` is missing"),
        (json!({"kind": "ntfy", "topic": "a/secret"}), "a topic is at most 64"),
        (json!({"kind": "gotify", "token": "secret"}), "`server` is missing"),
        (json!({"kind": "gotify", "server": "https://u:secret@a.example.com", "token": "x"}), "it is shown"),
        (json!({"kind": "telegram", "token": "1:x"}), "`chat_id` is missing"),
        (json!({"kind": "telegram", "chat_id": "1", "token": "1/secret"}), "no token of a bot"),
        (mail("host", json!("a b")), "no name or address of a host"),
        (mail("port", json!(0)), "`port` is no port"),
        (mail("port", json!("x")), "`port` is no port"),
        (mail("encryption", json!("ssl")), "there are `starttls`, `tls`, `none`"),
        (mail("from", json!("nobody")), "`from`: `nobody` is no e-mail address"),
        (mail("from", json!("@example.com")), "write `ops@example.com`"),
        (mail("to", json!([])), "`to` is 1 to 10 addresses"),
        (mail("to", json!("b@example.com, x")), "`to`: `x` is no e-mail address"),
        (mail("username", json!("u")), "`password` is missing"),
        (mail("password", json!("secret")), "says nothing without `username`"),
        (
            json!({"kind": "slack", "url": "https://a.example.com", "about": ["moon"]}),
            "`moon` is nothing that is told",
        ),
        (json!({"kind": "slack", "url": "https://a.example.com", "about": []}), "`about` is empty"),
        (
            json!({"kind": "slack", "url": "https://a.example.com", "quiet_hours": "always"}),
            "`quiet_hours`: `always`",
        ),
        (json!({"kind": "slack", "url": "https://a.example.com", "name": "a\u{202e}b"}), "not seen"),
    ] {
        let said = refused(target.clone());
        assert!(said.contains(words), "{target}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    let clear = json!({"kind": "email", "host": "smtp.example.com", "encryption": "none", "username": "u",
        "password": "secret", "from": "a@example.com", "to": ["b@example.com"]});
    assert!(refused(clear).contains("no password is sent where others can read it"));
    assert!(
        read_target("Not An Id", json!({"kind": "ntfy", "topic": "t"})).unwrap_err()[0]
            .contains("the id of a target")
    );
}

#[test]
fn ports_follow_the_encryption_unless_they_are_said() {
    for (encryption, port, expected) in [
        ("starttls", json!(null), 587),
        ("tls", json!(null), 465),
        ("none", json!(""), 25),
        ("tls", json!("2525"), 2525),
    ] {
        let mail = json!({"kind": "email", "host": "mail.example.com", "encryption": encryption, "port": port,
            "from": "a@example.com", "to": "b@example.com"});
        let Channel::Email { port, .. } = read("one", mail).0.channel else { panic!("it is mail") };
        assert_eq!(port, expected);
    }
}

// === in the form of each service ===

fn message() -> Message {
    let detail = Some("not heard since 2027-01-15 07:59 UTC <b> & *x*".into());
    compose("0198-id".into(), vec![Notice { detail, ..offline("web-1", 0) }], 0, at(30)).unwrap()
}

fn call(target: Value) -> Call {
    let (target, secrets) = read("one", target);
    match outgoing(&target.channel, &secrets, &message()).unwrap() {
        Outgoing::Call(call) => *call,
        Outgoing::Mail(mail) => panic!("{mail:?}"),
    }
}

const TEXT: &str = "web-1: not heard since 2027-01-15 07:59 UTC <b> & *x* (2027-01-15 08:00 UTC)";

#[test]
fn a_webhook_gets_everything_with_a_key_by_which_it_knows_a_message_again() {
    let call =
        call(json!({"kind": "webhook", "url": "https://a.example.com/x?k=v", "authorization": "Bearer abc"}));
    assert_eq!(call.url.as_str(), "https://a.example.com/x?k=v");
    assert_eq!(
        call.headers,
        [("idempotency-key", "0198-id".to_owned()), ("authorization", "Bearer abc".to_owned())]
    );
    assert_eq!(
        call.body,
        json!({
            "id": "0198-id", "topic": "agent_offline", "turn": "began", "title": "Agent web-1 is offline", "text": TEXT,
            "at": "2027-01-15T08:00:30Z", "total": 1,
            "notices": [{ "topic": "agent_offline", "turn": "began", "subject": "web-1", "name": "web-1",
                "detail": "not heard since 2027-01-15 07:59 UTC <b> & *x*", "at": "2027-01-15T08:00:00Z" }],
        })
    );
}

#[test]
fn ntfy_gets_json_at_the_root_of_its_server() {
    // https://docs.ntfy.sh/publish/#publish-as-json
    let call = call(
        json!({"kind": "ntfy", "server": "https://push.example.com", "topic": "alerts", "token": "tk_1"}),
    );
    assert_eq!(call.url.as_str(), "https://push.example.com/");
    assert_eq!(call.headers, [("authorization", "Bearer tk_1".to_owned())]);
    let body = json!({ "topic": "alerts", "title": "Agent web-1 is offline", "message": TEXT, "priority": 4, "tags": ["warning"] });
    assert_eq!(call.body, body);
}

#[test]
fn gotify_gets_plain_text_at_message() {
    // https://gotify.net/docs/pushmsg, https://gotify.net/docs/msgextras
    let call = call(json!({"kind": "gotify", "server": "https://push.example.com/gotify/", "token": "A1"}));
    assert_eq!(call.url.as_str(), "https://push.example.com/gotify/message");
    assert_eq!(call.headers, [("x-gotify-key", "A1".to_owned())]);
    let plain = json!({ "client::display": { "contentType": "text/plain" } });
    let body = json!({ "title": "Agent web-1 is offline", "message": TEXT, "priority": 8, "extras": plain });
    assert_eq!(call.body, body);
}

#[test]
fn discord_gets_content_in_which_names_mean_nothing_and_call_nobody() {
    // https://discord.com/developers/docs/resources/webhook#execute-webhook
    let call = call(json!({"kind": "discord", "url": "https://discord.com/api/webhooks/1/x"}));
    assert_eq!(call.url.as_str(), "https://discord.com/api/webhooks/1/x?wait=true");
    let content = "**Agent web-1 is offline**\nweb-1: not heard since 2027-01-15 07:59 UTC <b\\> & \\*x\\* (2027-01-15 08:00 UTC)";
    assert_eq!(call.body, json!({ "content": content, "allowed_mentions": { "parse": [] }, "flags": 4 }));
}

#[test]
fn slack_gets_text_with_its_three_characters_escaped() {
    // https://docs.slack.dev/messaging/formatting-message-text#escaping
    let call = call(json!({"kind": "slack", "url": "https://hooks.slack.com/services/T/B/x"}));
    let text = "Agent web-1 is offline\nweb-1: not heard since 2027-01-15 07:59 UTC &lt;b&gt; &amp; *x* (2027-01-15 08:00 UTC)";
    assert_eq!(
        call.body,
        json!({ "text": text, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false })
    );
}

#[test]
fn telegram_gets_plain_text_below_its_bot() {
    // https://core.telegram.org/bots/api#sendmessage
    let call = call(json!({"kind": "telegram", "chat_id": -1001, "token": "123:abc"}));
    assert_eq!(call.url.as_str(), "https://api.telegram.org/bot123:abc/sendMessage");
    let text = format!("Agent web-1 is offline\n{TEXT}");
    assert_eq!(
        call.body,
        json!({ "chat_id": "-1001", "text": text, "link_preview_options": { "is_disabled": true } })
    );
}

#[test]
fn a_mail_has_one_id_however_often_it_is_sent() {
    let (target, secrets) = read(
        "one",
        json!({"kind": "email", "host": "smtp.example.com", "username": "u", "password": "p",
            "from": "lightship@example.com", "to": ["b@example.com"]}),
    );
    let mail = || match outgoing(&target.channel, &secrets, &message()).unwrap() {
        Outgoing::Mail(mail) => *mail,
        Outgoing::Call(call) => panic!("{call:?}"),
    };
    assert_eq!(mail(), mail());
    assert_eq!(mail().message_id, "<0198-id@example.com>");
    assert_eq!((mail().subject.as_str(), mail().text.as_str()), ("Agent web-1 is offline", TEXT));
    assert_eq!(mail().login, Some(("u".into(), "p".into())));
    assert_eq!(format!("{:?}", mail()), "mail `<0198-id@example.com>` by smtp.example.com:587");
}

#[test]
fn a_long_message_is_cut_to_what_each_service_takes() {
    let long = "ü".repeat(20_000);
    let message = Message { text: long, ..message() };
    for (target, field, most) in [
        (json!({"kind": "discord", "url": "https://a.example.com"}), "content", 2_000),
        (json!({"kind": "telegram", "chat_id": "1", "token": "1:x"}), "text", 4_096),
        (json!({"kind": "slack", "url": "https://a.example.com"}), "text", 16_000),
        (json!({"kind": "gotify", "server": "https://a.example.com", "token": "x"}), "message", 16_000),
    ] {
        let (target, secrets) = read("one", target);
        let Outgoing::Call(call) = outgoing(&target.channel, &secrets, &message).unwrap() else { panic!() };
        let text = call.body[field].as_str().unwrap();
        assert!(text.chars().count() == most && text.ends_with('…'), "{} characters", text.chars().count());
    }
    let (target, secrets) = read("one", json!({"kind": "ntfy", "topic": "t"}));
    let Outgoing::Call(call) = outgoing(&target.channel, &secrets, &message).unwrap() else { panic!() };
    let text = call.body["message"].as_str().unwrap();
    assert!(text.len() <= 4_096 && text.len() > 4_090 && text.ends_with('…'), "{} bytes", text.len());
}

#[test]
fn what_opens_a_target_is_in_no_word_about_it() {
    let (target, secrets) = read(
        "one",
        json!({"kind": "discord", "url": "https://discord.com/api/webhooks/1234567890/a-long-secret"}),
    );
    for body in [
        r#"{"message": "Unknown Webhook a-long-secret", "code": 10015}"#,
        "no such path /api/webhooks/1234567890/a-long-secret here",
        "https://discord.com/api/webhooks/1234567890/a-long-secret",
    ] {
        let said = refusal(&target.channel, &secrets, 404, body);
        assert!(said.starts_with("it answered 404: ") && said.contains("make another one there"), "{said}");
        assert!(!said.contains("a-long-secret"), "{said}");
    }
    let call = call(json!({"kind": "telegram", "chat_id": "1", "token": "1:secret"}));
    assert!(!format!("{call:?}").contains("secret"));
    assert!(!was_taken(199) && was_taken(200) && was_taken(204) && !was_taken(302));
    let redirect = refusal(&target.channel, &secrets, 302, "");
    assert!(redirect.contains("set the address it leads to"), "{redirect}");
}
