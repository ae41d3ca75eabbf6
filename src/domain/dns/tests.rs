//! Tables and properties of the steps about records.

use proptest::prelude::*;

use super::*;

const MARKER: &str = "lightship:inst";

fn zone() -> ZoneId {
    ZoneId::new("z")
}

fn want(name: &str) -> WantedName {
    WantedName { zone_id: zone(), name: name.into(), tunnel_id: TunnelId::new("t1") }
}

fn found(id: &str, kind: &str, name: &str, content: &str, comment: Option<&str>) -> FoundRecord {
    FoundRecord {
        zone_id: zone(),
        id: RecordId::new(id),
        kind: kind.into(),
        name: name.into(),
        content: content.into(),
        is_proxied: true,
        comment: comment.map(str::to_owned),
        keeper: None,
    }
}

fn row(name: &str, tunnel: &str, id: Option<&str>) -> OwnRecord {
    let target = format!("{tunnel}.cfargotunnel.com");
    OwnRecord { zone_id: zone(), name: name.into(), target, record_id: id.map(RecordId::new) }
}

fn verbs(steps: &[DnsStep]) -> Vec<&'static str> {
    let verb = |step: &DnsStep| match step {
        DnsStep::Keep { .. } => "keep",
        DnsStep::UseAsIs { .. } => "use",
        DnsStep::Create { .. } => "create",
        DnsStep::Update { .. } => "update",
        DnsStep::Blocked { .. } => "blocked",
        DnsStep::Delete { .. } => "delete",
        DnsStep::Forget { .. } => "forget",
    };
    steps.iter().map(verb).collect()
}

#[test]
fn wanted_names_are_provided_without_touching_others() {
    let (t1, t2) = ("t1.cfargotunnel.com", "t2.cfargotunnel.com");
    let own = row("a.io", "t1", Some("r"));
    let moved = row("a.io", "t2", Some("r"));
    for (case, records, rows, expected) in [
        ("nothing there", vec![], vec![], vec!["create"]),
        ("nothing there any more", vec![], vec![own.clone()], vec!["create"]),
        ("a mail record beside", vec![found("r", "MX", "a.io", "mx", None)], vec![], vec!["create"]),
        ("ours", vec![found("r", "CNAME", "A.io.", t1, Some(MARKER))], vec![own.clone()], vec!["keep"]),
        (
            "ours to another tunnel",
            vec![found("r", "CNAME", "a.io", t2, Some(MARKER))],
            vec![moved],
            vec!["update"],
        ),
        (
            "interrupted",
            vec![found("r", "CNAME", "a.io", t1, Some(MARKER))],
            vec![row("a.io", "t1", None)],
            vec!["keep"],
        ),
        (
            "marked but not noted",
            vec![found("r", "CNAME", "a.io", t2, Some(MARKER))],
            vec![],
            vec!["blocked"],
        ),
        (
            "noted but not marked",
            vec![found("r", "CNAME", "a.io", t2, None)],
            vec![own.clone()],
            vec!["forget", "blocked"],
        ),
        (
            "another installation's",
            vec![found("r", "CNAME", "a.io", t2, Some("lightship:other"))],
            vec![],
            vec!["blocked"],
        ),
        ("foreign, to our tunnel", vec![found("r", "CNAME", "a.io", t1, None)], vec![], vec!["use"]),
        ("foreign, elsewhere", vec![found("r", "CNAME", "a.io", "x.io", None)], vec![], vec!["blocked"]),
        ("an address", vec![found("r", "A", "a.io", "192.0.2.1", None)], vec![], vec!["blocked"]),
        ("another name", vec![found("r", "A", "b.a.io", "192.0.2.1", None)], vec![], vec!["create"]),
    ] {
        assert_eq!(verbs(&dns_steps(&[want("a.io")], &records, &rows, MARKER)), expected, "{case}");
    }
}

#[test]
fn a_record_that_is_not_proxied_is_put_right_only_if_it_is_ours() {
    let unproxied = |comment| FoundRecord {
        is_proxied: false,
        ..found("r", "CNAME", "a.io", "t1.cfargotunnel.com", comment)
    };
    let rows = [row("a.io", "t1", Some("r"))];
    assert_eq!(verbs(&dns_steps(&[want("a.io")], &[unproxied(Some(MARKER))], &rows, MARKER)), ["update"]);
    assert_eq!(verbs(&dns_steps(&[want("a.io")], &[unproxied(None)], &[], MARKER)), ["blocked"]);
}

#[test]
fn only_our_own_unchanged_record_is_deleted() {
    let t1 = "t1.cfargotunnel.com";
    let rows = [row("a.io", "t1", Some("r"))];
    for (case, records, expected) in [
        ("ours", vec![found("r", "CNAME", "a.io", t1, Some(MARKER))], "delete"),
        ("gone", vec![], "forget"),
        ("marker taken off", vec![found("r", "CNAME", "a.io", t1, None)], "forget"),
        ("bent elsewhere", vec![found("r", "CNAME", "a.io", "x.io", Some(MARKER))], "forget"),
        ("made anew by somebody", vec![found("r2", "CNAME", "a.io", t1, Some(MARKER))], "forget"),
    ] {
        assert_eq!(verbs(&dns_steps(&[], &records, &rows, MARKER)), [expected], "{case}");
    }
}

#[test]
fn a_block_names_what_is_there_and_the_way_out() {
    let records = [found("r", "A", "a.io", "192.0.2.1", None)];
    let [DnsStep::Blocked { reason, .. }] = &dns_steps(&[want("a.io")], &records, &[], MARKER)[..] else {
        panic!("it must be blocked")
    };
    assert!(reason.contains("`a.io A 192.0.2.1`") && reason.contains("choose another"));
}

#[test]
fn a_record_that_leads_here_past_cloudflare_blocks_with_its_own_way_out() {
    let mut record = found("r", "CNAME", "a.io", "T1.cfargotunnel.com", None);
    record.is_proxied = false;
    let [DnsStep::Blocked { reason, .. }] = &dns_steps(&[want("a.io")], &[record], &[], MARKER)[..] else {
        panic!("it must be blocked")
    };
    assert!(reason.contains("DNS only (not proxied)") && reason.contains("switch its proxy on"), "{reason}");
    assert!(!reason.contains("another tunnel"), "{reason}");
}

#[test]
fn a_marker_fits_into_every_plan() {
    assert_eq!(owner_marker("inst"), MARKER);
    assert_eq!(owner_marker(&"é".repeat(300)).chars().count(), 100);
}

/// Cloudflare and our rows, on which steps are carried out.
#[derive(Debug, Clone, PartialEq)]
struct Account {
    records: Vec<FoundRecord>,
    rows: Vec<OwnRecord>,
    made: u32,
}

impl Account {
    /// Carries a step out; `crash` leaves out the note of the id after a creation.
    fn carry_out(&mut self, step: &DnsStep, crash: bool) {
        let forget = |rows: &mut Vec<OwnRecord>, name: &str| rows.retain(|row| row.name != name);
        match step {
            DnsStep::Create { wanted, target } => {
                assert!(
                    !self
                        .records
                        .iter()
                        .any(|r| r.name == wanted.name && EXCLUSIVE.contains(&r.kind.as_str()))
                );
                self.made += 1;
                let id = format!("made-{}", self.made);
                self.records.push(found(&id, "CNAME", &wanted.name, target, Some(MARKER)));
                forget(&mut self.rows, &wanted.name);
                self.rows.push(row(&wanted.name, wanted.tunnel_id.as_str(), (!crash).then_some(&id)));
            }
            DnsStep::Update { wanted, record_id, target } => {
                let record = self.records.iter_mut().find(|r| r.id == *record_id).unwrap();
                record.content = target.clone();
                record.is_proxied = true;
                forget(&mut self.rows, &wanted.name);
                self.rows.push(row(&wanted.name, wanted.tunnel_id.as_str(), Some(record_id.as_str())));
            }
            DnsStep::Delete { name, record_id, .. } => {
                self.records.retain(|r| r.id != *record_id);
                forget(&mut self.rows, name);
            }
            DnsStep::Forget { name, .. } => forget(&mut self.rows, name),
            DnsStep::Keep { wanted, record_id } => {
                forget(&mut self.rows, &wanted.name);
                self.rows.push(row(&wanted.name, wanted.tunnel_id.as_str(), Some(record_id.as_str())));
            }
            DnsStep::UseAsIs { .. } | DnsStep::Blocked { .. } => {}
        }
    }
}

fn any_wants() -> impl Strategy<Value = Vec<WantedName>> {
    proptest::collection::btree_map("[abc]\\.io", "t[12]", 0..4).prop_map(|wants| {
        let want = |(name, tunnel)| WantedName { zone_id: zone(), name, tunnel_id: TunnelId::new(tunnel) };
        wants.into_iter().map(want).collect()
    })
}

proptest! {
    #[test]
    fn foreign_records_survive_and_all_comes_to_rest(
        foreign in proptest::collection::btree_map("[abc]\\.io", ("A|CNAME|TXT", "t1\\.cfargotunnel\\.com|x", any::<bool>()), 0..3),
        rounds in proptest::collection::vec((any_wants(), any::<bool>()), 1..5),
    ) {
        let foreign: Vec<FoundRecord> = foreign.iter().enumerate()
            .map(|(i, (name, (kind, content, is_proxied)))| FoundRecord {
                is_proxied: *is_proxied,
                ..found(&format!("f{i}"), kind, name, content, None)
            })
            .collect();
        let mut account = Account { records: foreign.clone(), rows: vec![], made: 0 };
        for (wants, crash) in rounds {
            for step in dns_steps(&wants, &account.records.clone(), &account.rows.clone(), MARKER) {
                account.carry_out(&step, crash);
            }
            let settled = dns_steps(&wants, &account.records, &account.rows, MARKER);
            prop_assert!(verbs(&settled).iter().all(|v| ["keep", "use", "blocked"].contains(v)), "{:?}", settled);
            prop_assert!(foreign.iter().all(|record| account.records.contains(record)));
            // What is left beside foreign records is wanted: nothing of ours is left behind.
            let ours = account.records.iter().filter(|r| r.comment.is_some());
            prop_assert!(ours.clone().all(|r| wants.iter().any(|w| w.name == r.name && tunnel_target(&w.tunnel_id) == r.content)));
        }
    }
}

#[test]
fn a_record_that_another_product_keeps_blocks_with_the_place_where_it_can_be_removed() {
    for (keeper, words) in [
        (Some(RecordKeeper::Worker), "Worker's custom domain"),
        (Some(RecordKeeper::Other), "another product of Cloudflare"),
        (None, "remove it or choose another hostname"),
    ] {
        let record = FoundRecord { keeper, ..found("r", "AAAA", "a.io", "100::", None) };
        match dns_steps(&[want("a.io")], &[record], &[], MARKER).as_slice() {
            [DnsStep::Blocked { reason, .. }] => assert!(reason.contains(words), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_zone_put_behind_a_name_is_noticed() {
    for (made, wanted, zone) in [
        ("app.example.org.example.com", "app.example.org", Some("example.com")),
        ("APP.example.org.example.com", "app.example.org", Some("example.com")),
        ("app.example.com", "app.example.com", None),
        ("app.example.com.", "app.example.com", None),
        ("other.example.com", "app.example.com", None),
        ("app", "app.example.com", None),
    ] {
        assert_eq!(zone_put_behind(made, wanted), zone, "{made} for {wanted}");
    }
}
