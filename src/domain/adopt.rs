//! Things at Cloudflare that others made, DockFlare above all, and that what is asked for here could have: what would differ if a
//! person made them ours, and what cannot be.

use serde::Serialize;
use serde_json::{Map, Value};

use super::access::FoundPolicy;
use super::dns::FoundRecord;
use super::hostname::{covers, is_wildcard};
use super::id::TunnelId;
use super::owned::OwnedKind;
use super::text::beginning;

/// What the names of policies that DockFlare made for groups begin with.
const DOCKFLARE_GROUP: &str = "DockFlare-AccessGroup-";
/// Policies that DockFlare makes in every account, and its groups of the same meaning.
const DOCKFLARE_POLICIES: [&str; 4] = [
    "DockFlare-Default-Public-Access-Bypass",
    "DockFlare-Default-Authenticated-Access",
    "public-default-bypass",
    "authenticated-default",
];
/// What the comments of records begin with that an installation of this program made.
const MARKER: &str = "lightship:";

/// Something that a person may make ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// What it is.
    pub kind: OwnedKind,
    /// What it is called: a hostname, what an application stands before, the name of a policy or tunnel.
    pub name: String,
    /// Its id at Cloudflare.
    pub id: String,
    /// The tunnel that it would belong to; none for a policy.
    pub tunnel_id: Option<TunnelId>,
    /// What would differ, now and later.
    pub changes: Vec<String>,
    /// Why it cannot be made ours, if it cannot.
    pub reason: Option<String>,
}

/// Which offers a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    /// Names, `*.example.com` for all below one; none: every name.
    pub names: Option<Vec<String>>,
    /// Kinds; none: every kind.
    pub kinds: Vec<OwnedKind>,
}

impl Meant {
    /// True if it is one of them.
    pub fn is(&self, offer: &Offer) -> bool {
        let hostname = offer.name.split('/').next().unwrap_or_default();
        let is_named = |name: &String| {
            let kept = name.trim().to_ascii_lowercase();
            *name == offer.name || kept == hostname || (is_wildcard(&kept) && covers(&kept, hostname))
        };
        (self.kinds.is_empty() || self.kinds.contains(&offer.kind))
            && self.names.as_ref().is_none_or(|names| names.iter().any(is_named))
    }
}

/// Says what would become of a record of somebody else that has a wanted name; none if it leads to no tunnel, and is left to
/// people.
pub fn record_offer(found: &FoundRecord, tunnel: &TunnelId, target: &str, marker: &str) -> Option<Offer> {
    let content = found.content.to_ascii_lowercase();
    if found.kind != "CNAME" || !content.ends_with(super::dns::TUNNEL_SUFFIX) || found.keeper.is_some() {
        return None;
    }
    let comment = found.comment.as_deref().unwrap_or_default().trim();
    let reason = (comment.starts_with(MARKER) && comment != marker).then(|| {
        format!(
            "another installation of Lightship made it (`{}`); remove the route there",
            beginning(comment, 100)
        )
    });
    let mut changes = vec![format!("comment: `{}` becomes `{marker}`", beginning(comment, 100))];
    if !content.eq_ignore_ascii_case(target) {
        changes.push(format!(
            "content: `{}` becomes `{target}`, once the rule is in that tunnel",
            found.content
        ));
    }
    if !found.is_proxied {
        changes.push("proxied: `false` becomes `true`".into());
    }
    changes.push("it is deleted when its route goes".into());
    let (name, id) = (found.name.clone(), found.id.to_string());
    Some(Offer { kind: OwnedKind::Record, name, id, tunnel_id: Some(tunnel.clone()), changes, reason })
}

/// Says what would become of a policy that DockFlare made; none if somebody else did.
pub fn policy_offer(found: &FoundPolicy) -> Option<Offer> {
    let is_dockflares =
        found.name.starts_with(DOCKFLARE_GROUP) || DOCKFLARE_POLICIES.contains(&found.name.as_str());
    let body = found.body.as_object().filter(|_| is_dockflares)?;
    let used = used_by(body);
    let now = match used {
        Some(1..) => "nothing as long as an application uses it".to_owned(),
        Some(_) | None => "nothing uses it".to_owned(),
    };
    let changes = vec![now, "it is deleted once no application uses it any more".to_owned()];
    let (name, id) = (found.name.clone(), found.id.to_string());
    Some(Offer { kind: OwnedKind::Policy, name, id, tunnel_id: None, changes, reason: None })
}

/// Returns how many applications use a policy, as Cloudflare counts.
pub fn used_by(policy: &Map<String, Value>) -> Option<u64> {
    policy.get("app_count").and_then(Value::as_u64)
}

/// Says what would become of a tunnel that was there before us.
pub fn tunnel_offer(id: &TunnelId, name: &str) -> Offer {
    Offer {
        kind: OwnedKind::Tunnel,
        name: name.to_owned(),
        id: id.to_string(),
        tunnel_id: Some(id.clone()),
        changes: vec![
            "nothing now".to_owned(),
            "it is deleted once its agent is removed, nothing is left in it and nobody is connected"
                .to_owned(),
        ],
        reason: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::id::{PolicyId, RecordId, ZoneId};
    use super::*;

    fn record(kind: &str, content: &str, comment: Option<&str>) -> FoundRecord {
        FoundRecord {
            zone_id: ZoneId::new("z"),
            id: RecordId::new("r"),
            kind: kind.into(),
            name: "app.example.com".into(),
            content: content.into(),
            is_proxied: true,
            comment: comment.map(str::to_owned),
            keeper: None,
        }
    }

    #[test]
    fn records_that_lead_to_tunnels_are_offered_with_what_would_differ() {
        let (tunnel, target) = (TunnelId::new("t"), "t.cfargotunnel.com");
        let offer = |record: &FoundRecord| record_offer(record, &tunnel, target, "lightship:me");
        let here = offer(&record("CNAME", target, None)).unwrap();
        assert_eq!((here.changes.len(), &here.reason), (2, &None), "{here:?}");
        let elsewhere = offer(&record("CNAME", "o.cfargotunnel.com", Some("mine"))).unwrap();
        assert!(elsewhere.changes[0].contains("`mine` becomes `lightship:me`"), "{elsewhere:?}");
        assert!(elsewhere.changes[1].contains("once the rule is in that tunnel"), "{elsewhere:?}");
        let of_others = offer(&record("CNAME", target, Some("lightship:other"))).unwrap();
        assert!(of_others.reason.unwrap().contains("another installation"));
        for other in [record("A", "192.0.2.1", None), record("CNAME", "example.net", None)] {
            assert_eq!(offer(&other), None);
        }
    }

    #[test]
    fn policies_of_dockflare_are_known_by_their_names() {
        let policy =
            |name: &str, body: Value| FoundPolicy { id: PolicyId::new("p"), name: name.into(), body };
        for (name, is_offered) in [
            ("DockFlare-AccessGroup-staff", true),
            ("public-default-bypass", true),
            ("DockFlare-Default-Public-Access-Bypass", true),
            ("Lightship-AccessGroup-staff (me)", false),
            ("staff", false),
        ] {
            assert_eq!(policy_offer(&policy(name, json!({}))).is_some(), is_offered, "{name}");
        }
        let used = policy_offer(&policy("DockFlare-AccessGroup-a", json!({"app_count": 2}))).unwrap();
        assert!(used.changes[0].contains("as long as an application uses it"), "{used:?}");
    }

    #[test]
    fn offers_are_meant_by_name_by_all_below_one_and_by_kind() {
        let offer =
            |name: &str, kind| Offer { kind, name: name.into(), ..tunnel_offer(&TunnelId::new("t"), "x") };
        let named = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (names, kinds, name, kind, is_meant) in [
            (None, vec![], "app.example.com", OwnedKind::Record, true),
            (None, vec![OwnedKind::Policy], "app.example.com", OwnedKind::Record, false),
            (named(&["App.example.com"]), vec![], "app.example.com/admin", OwnedKind::Application, true),
            (named(&["*.example.com"]), vec![], "app.example.com", OwnedKind::Record, true),
            (named(&["*.example.com"]), vec![], "example.com", OwnedKind::Record, false),
            (named(&["DockFlare-AccessGroup-a"]), vec![], "DockFlare-AccessGroup-a", OwnedKind::Policy, true),
            (named(&["other.example.com"]), vec![], "app.example.com", OwnedKind::Record, false),
        ] {
            let meant = Meant { names, kinds };
            assert_eq!(meant.is(&offer(name, kind)), is_meant, "{meant:?} {name}");
        }
    }
}
