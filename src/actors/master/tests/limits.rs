//! Agents and keys that may claim certain hostnames only.

use super::*;

fn patterns(list: &[&str]) -> Vec<String> {
    list.iter().map(|pattern| (*pattern).to_owned()).collect()
}

/// Two containers, one of which lies below `lab.example.com`.
fn two() -> Vec<Report> {
    snapshot(&[container("lab", "c1", "x.lab.example.com"), container("app", "c2", "app.example.com")])
}

async fn enrolled_with(rig: &Rig, allowed: &[&str]) -> (AgentId, String) {
    let key = rig.master.generate_limited_key("lab", patterns(allowed), "admin").await.unwrap();
    let raw = key.raw.expose_secret().to_owned();
    let agent = rig.register(&raw, input(None)).await.unwrap().agent_id;
    rig.master.enroll(&agent, "edge", "admin").await.unwrap();
    (agent, raw)
}

#[test]
fn a_limited_key_refuses_other_hostnames_visibly_and_so_does_the_key_that_replaces_it() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = enrolled_with(&rig, &["*.Lab.example.com"]).await;
        rig.report(&agent, two()).await;
        assert_eq!(rig.hostnames(&agent).await, ["x.lab.example.com"]);
        let refusals = rig.refusals(&agent).await;
        assert!(
            refusals[0].contains("this agent's key may only publish names like *.lab.example.com"),
            "{refusals:?}"
        );
        let states = db::cloudflare::list_route_status(rig.db(), Some(&agent), 10).await.unwrap();
        assert!(states.iter().any(|row| row.state == "conflict" && row.key.hostname == "app.example.com"));

        let new = rig.master.roll_key(&agent, "admin").await.unwrap();
        assert_eq!(new.hostname_patterns, ["*.lab.example.com"]);
        rig.register(new.raw.expose_secret(), input(Some(&agent))).await.unwrap();
        let rig = rig.restart().await;
        rig.report(&agent, two()).await;
        assert_eq!(rig.hostnames(&agent).await, ["x.lab.example.com"]);
    });
}

#[test]
fn agent_and_key_must_both_permit_a_name_and_a_wider_limit_is_followed_at_once() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = enrolled_with(&rig, &["app.example.com"]).await;
        rig.master.limit(&agent, patterns(&["*.lab.example.com"]), "admin").await.unwrap();
        rig.report(&agent, two()).await;
        assert!(rig.hostnames(&agent).await.is_empty());
        assert_eq!(rig.refusals(&agent).await.len(), 2);

        rig.master.limit(&agent, patterns(&["*.lab.example.com", "app.example.com"]), "admin").await.unwrap();
        until("what the key permits is claimed", async || rig.hostnames(&agent).await == ["app.example.com"])
            .await;
        rig.master.limit(&agent, patterns(&["*.lab.example.com"]), "admin").await.unwrap();
        rig.report(&agent, two()).await;
        assert_eq!(rig.hostnames(&agent).await, ["app.example.com"], "a later limit takes nothing away");
        let row = db::agents::get_agent(rig.db(), &agent).await.unwrap();
        assert_eq!(row.hostname_patterns, ["*.lab.example.com"]);
    });
}

#[test]
fn a_pattern_that_is_none_is_refused_and_changes_nothing() {
    run(async {
        let rig = Rig::start().await;
        let (agent, _) = rig.enrolled("edge").await;
        let wrong = || patterns(&["*.example.com", "a.*.example.com"]);
        let refused = rig.master.limit(&agent, wrong(), "admin").await.unwrap_err();
        assert!(
            matches!(&refused, MasterError::Invalid(why) if why.contains("`a.*.example.com`")),
            "{refused}"
        );
        assert!(rig.master.generate_limited_key("lab", wrong(), "admin").await.is_err());
        let unknown = rig.master.limit(&AgentId::new("nobody"), Vec::new(), "admin").await;
        assert!(matches!(unknown, Err(MasterError::AgentNotFound(_))));
        rig.report(&agent, two()).await;
        assert_eq!(rig.hostnames(&agent).await.len(), 2);
    });
}
