//! Options of the connector towards a service: one table for labels, for rules that people make, and for what is ours in
//! the rule of a tunnel.

use super::access::AccessAsk;
use super::access::parse_duration;
use super::origin::{Wish, is_web, takes};
use super::route::{AccessCheck, OriginRequest};
use super::text::{is_hidden, is_no, is_yes};

/// Most bytes of a header or server name.
const MAX_NAME: usize = 255;
/// Most bytes of a path on the connector's host.
const MAX_FILE: usize = 1_024;
/// Most seconds of any time.
const MAX_SECONDS: u32 = 86_400;
/// Most connections that are kept open.
const MAX_CONNECTIONS: u32 = 65_535;
/// Most applications whose tokens one route takes.
const MAX_TAGS: usize = 32;
/// What follows the name of a team in its address.
const TEAM_DOMAIN: &str = ".cloudflareaccess.com";

/// An option.
#[derive(Debug)]
pub struct OriginOption {
    /// What its label is called, and its field in a form.
    pub label: &'static str,
    /// What Cloudflare calls it; a field of an object behind a dot.
    pub field: &'static str,
    /// What it asks of the service.
    pub wish: Wish,
    slot: Slot,
}

/// Where an option is kept, and of which kind its value is.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Flag(Field<bool>),
    Name(Field<String>),
    Seconds(Field<u32>),
    Connections(Field<u32>),
    File(Field<String>),
    ProxyType(Field<String>),
    Required,
    Team,
    Tags,
}

type Field<T> = fn(&mut OriginRequest) -> &mut Option<T>;

const fn option(label: &'static str, field: &'static str, wish: Wish, slot: Slot) -> OriginOption {
    OriginOption { label, field, wish, slot }
}

/// Every option. Labels that DockFlare knows keep its spelling.
///
/// What the connector checks of Access has names without a dot: `access.*` is what protects a route at Cloudflare.
pub static OPTIONS: [OriginOption; 17] = [
    option("no_tls_verify", "noTLSVerify", Wish::Tls, Slot::Flag(|all| &mut all.no_tls_verify)),
    option("originsrvname", "originServerName", Wish::Tls, Slot::Name(|all| &mut all.origin_server_name)),
    option("httpHostHeader", "httpHostHeader", Wish::HostHeader, Slot::Name(|all| &mut all.http_host_header)),
    option("http2_origin", "http2Origin", Wish::Tls, Slot::Flag(|all| &mut all.http2_origin)),
    option(
        "disable_chunked_encoding",
        "disableChunkedEncoding",
        Wish::Unchunked,
        Slot::Flag(|all| &mut all.disable_chunked_encoding),
    ),
    option(
        "match_sni_to_host",
        "matchSNItoHost",
        Wish::SniOfHost,
        Slot::Flag(|all| &mut all.match_sni_to_host),
    ),
    option(
        "connect_timeout",
        "connectTimeout",
        Wish::Connecting,
        Slot::Seconds(|all| &mut all.connect_timeout),
    ),
    option("tls_timeout", "tlsTimeout", Wish::Tls, Slot::Seconds(|all| &mut all.tls_timeout)),
    option(
        "tcp_keep_alive",
        "tcpKeepAlive",
        Wish::TcpKeepAlive,
        Slot::Seconds(|all| &mut all.tcp_keep_alive),
    ),
    option(
        "keep_alive_timeout",
        "keepAliveTimeout",
        Wish::IdleConnections,
        Slot::Seconds(|all| &mut all.keep_alive_timeout),
    ),
    option(
        "keep_alive_connections",
        "keepAliveConnections",
        Wish::IdleConnections,
        Slot::Connections(|all| &mut all.keep_alive_connections),
    ),
    option(
        "no_happy_eyeballs",
        "noHappyEyeballs",
        Wish::AddressFamilies,
        Slot::Flag(|all| &mut all.no_happy_eyeballs),
    ),
    option("ca_pool", "caPool", Wish::Tls, Slot::File(|all| &mut all.ca_pool)),
    option("proxy_type", "proxyType", Wish::Proxying, Slot::ProxyType(|all| &mut all.proxy_type)),
    option("access_required", "access.required", Wish::AccessCheck, Slot::Required),
    option("access_team_name", "access.teamName", Wish::AccessCheck, Slot::Team),
    option("access_aud_tag", "access.audTag", Wish::AccessCheck, Slot::Tags),
];

impl OriginOption {
    /// Finds an option by what its label is called.
    pub fn find(label: &str) -> Option<&'static Self> {
        OPTIONS.iter().find(|option| option.label == label)
    }

    /// True if it keeps visitors out: a route is not published without it because of a slip in its value.
    pub fn is_check(&self) -> bool {
        self.wish == Wish::AccessCheck
    }

    /// Takes up what a text says. Returns false if that is the same as leaving it out.
    pub fn take(&self, text: &str, options: &mut OriginRequest) -> Result<bool, String> {
        let text = text.trim();
        match self.slot {
            Slot::Flag(field) => {
                let is_set = flag(text)?;
                *field(options) = is_set.then_some(true);
                Ok(is_set)
            }
            Slot::Name(field) => put(field(options), name(text)?),
            Slot::Seconds(field) => put(field(options), seconds(text)?),
            Slot::Connections(field) => put(field(options), connections(text)?),
            Slot::File(field) => put(field(options), file(text)?),
            Slot::ProxyType(field) => put(field(options), proxy_type(text)?),
            Slot::Required => {
                let is_set = flag(text)?;
                check_of(options).required = is_set;
                Ok(is_set)
            }
            Slot::Team => {
                check_of(options).team_name = read_team(text)?;
                Ok(true)
            }
            Slot::Tags => {
                check_of(options).aud_tag = tags(text)?;
                Ok(true)
            }
        }
    }

    /// Returns its value as a label has it; none if it is not set.
    pub fn text(&self, options: &OriginRequest) -> Option<String> {
        let mut options = options.clone();
        let check = options.access.clone().unwrap_or_default();
        match self.slot {
            Slot::Flag(field) => field(&mut options).filter(|is_set| *is_set).map(|_| "true".to_owned()),
            Slot::Name(field) | Slot::File(field) | Slot::ProxyType(field) => {
                field(&mut options).clone().filter(|text| !text.is_empty())
            }
            Slot::Seconds(field) | Slot::Connections(field) => {
                field(&mut options).map(|number| number.to_string())
            }
            Slot::Required => check.required.then(|| "true".to_owned()),
            Slot::Team => Some(check.team_name).filter(|name| !name.is_empty()),
            Slot::Tags => Some(check.aud_tag.join(",")).filter(|tags| !tags.is_empty()),
        }
    }

    fn clear(&self, options: &mut OriginRequest) {
        match self.slot {
            Slot::Flag(field) => *field(options) = None,
            Slot::Name(field) | Slot::File(field) | Slot::ProxyType(field) => *field(options) = None,
            Slot::Seconds(field) | Slot::Connections(field) => *field(options) = None,
            Slot::Required | Slot::Team | Slot::Tags => options.access = None,
        }
    }
}

/// Names of the fields of `originRequest` that are ours, each once.
pub fn own_fields() -> impl Iterator<Item = &'static str> {
    let top = |option: &'static OriginOption| option.field.split('.').next().unwrap_or(option.field);
    // The three of Access stand in one object.
    let is_first = |option: &&OriginOption| !matches!(option.slot, Slot::Team | Slot::Tags);
    OPTIONS.iter().filter(is_first).map(top)
}

/// Names the fields of an option that is an object; none if it is no object.
pub fn inner_fields(field: &str) -> impl Iterator<Item = &'static str> {
    OPTIONS
        .iter()
        .filter_map(move |option| option.field.split_once('.').filter(|(top, _)| *top == field))
        .map(|(_, inner)| inner)
}

/// Says what is wrong with the check of Access, if anything is asked of it: with less the connector lets nobody in. What
/// is left open is the tag of the route's application, if it has one, and the team of the account.
pub fn problem_of_check(options: &OriginRequest, access: &AccessAsk) -> Option<&'static str> {
    let check = options.access.as_ref().filter(|check| check.required)?;
    (check.aud_tag.is_empty() && !access.has_own_application()).then_some(
        "the connector lets nobody in unless it is known which application's tokens it is to take: add `access_aud_tag`, or \
         protect the route with `access.group`, then it is the tag of the route's application",
    )
}

/// Checks options that did not come from labels, and returns them as labels would have said it; `access` is what protects
/// their route.
pub fn checked(options: &OriginRequest, access: &AccessAsk) -> Result<OriginRequest, Vec<String>> {
    let (mut good, mut bad) = (OriginRequest::default(), Vec::new());
    for option in &OPTIONS {
        if let Some(text) = option.text(options)
            && let Err(reason) = option.take(&text, &mut good)
        {
            bad.push(format!("`{}`: {reason}", option.field));
        }
    }
    bad.extend(problem_of_check(&good, access).map(str::to_owned));
    good.access = good.access.filter(|check| check.required);
    if bad.is_empty() { Ok(good) } else { Err(bad) }
}

/// Returns the options that reach a kept service. A web service is given all that were asked for, also those that its
/// scheme leaves without effect: that is how DockFlare wrote them.
pub fn options_for(service: &str, wished: &OriginRequest) -> OriginRequest {
    let mut given = wished.clone();
    if !is_web(service) {
        OPTIONS
            .iter()
            .filter(|option| !takes(service, option.wish))
            .for_each(|option| option.clear(&mut given));
    }
    given
}

fn put<T>(field: &mut Option<T>, value: T) -> Result<bool, String> {
    *field = Some(value);
    Ok(true)
}

fn check_of(options: &mut OriginRequest) -> &mut AccessCheck {
    options.access.get_or_insert_default()
}

fn flag(text: &str) -> Result<bool, String> {
    match (is_yes(text), is_no(text)) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => {
            Err("the value means neither yes nor no, so it counts as no; write `true` or `false`".to_owned())
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.is_empty() || text.len() > MAX_NAME || text.chars().any(|c| is_hidden(c) || c.is_whitespace())
    {
        true => Err(format!("a name without white space of at most {MAX_NAME} bytes belongs here; ignored")),
        false => Ok(text.to_owned()),
    }
}

/// The connector reads whole seconds only.
fn seconds(text: &str) -> Result<u32, String> {
    let given = text.parse::<u32>().ok().or_else(|| {
        let time = parse_duration(text).ok()?;
        u32::try_from(time.as_secs()).ok().filter(|_| time.subsec_nanos() == 0)
    });
    given.filter(|given| (1..=MAX_SECONDS).contains(given)).ok_or_else(|| {
        format!("a time in whole seconds belongs here, from 1 s to {MAX_SECONDS} s, such as `10`, `10s` or `1m30s`; ignored")
    })
}

fn connections(text: &str) -> Result<u32, String> {
    let given = text.parse::<u32>().ok().filter(|given| (1..=MAX_CONNECTIONS).contains(given));
    given.ok_or_else(|| format!("a number from 1 to {MAX_CONNECTIONS} belongs here; ignored"))
}

fn file(text: &str) -> Result<String, String> {
    match text.len() > MAX_FILE || !text.starts_with('/') || text.ends_with('/') || text.chars().any(is_hidden) {
        true => Err("the whole path of a file where the connector runs belongs here, such as `/etc/ssl/own-ca.pem`; ignored".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn proxy_type(text: &str) -> Result<String, String> {
    match text == "socks" {
        true => Ok(text.to_owned()),
        false => Err("only `socks` is known; leave it out for the ordinary proxy; ignored".to_owned()),
    }
}

/// Reads the name of a team, or its address.
pub fn read_team(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("https://").unwrap_or(text).trim_end_matches('/');
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(TEAM_DOMAIN).unwrap_or(&name);
    let fits = (1..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match fits {
        true => Ok(name.to_owned()),
        false => {
            Err(format!("the name of a team belongs here: what stands before `{TEAM_DOMAIN}` in its address"))
        }
    }
}

fn tags(text: &str) -> Result<Vec<String>, String> {
    let tags: Vec<String> =
        text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    let fits = |tag: &String| tag.len() <= 128 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match (1..=MAX_TAGS).contains(&tags.len()) && tags.iter().all(fits) {
        true => Ok(tags),
        false => Err(format!(
            "the audience tags of at most {MAX_TAGS} Access applications belong here, with commas between them"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::id::GroupId;
    use super::*;

    fn taken(label: &str, text: &str) -> Result<Value, String> {
        let mut options = OriginRequest::default();
        OriginOption::find(label).unwrap().take(text, &mut options)?;
        Ok(serde_json::to_value(options).unwrap())
    }

    #[test]
    fn each_option_is_read_and_written_as_cloudflare_names_it() {
        for (label, text, written) in [
            ("no_tls_verify", "yes", json!({"noTLSVerify": true})),
            ("no_tls_verify", "no", json!({})),
            ("originsrvname", " inner ", json!({"originServerName": "inner"})),
            ("httpHostHeader", "inner", json!({"httpHostHeader": "inner"})),
            ("http2_origin", "1", json!({"http2Origin": true})),
            ("disable_chunked_encoding", "T", json!({"disableChunkedEncoding": true})),
            ("match_sni_to_host", "TRUE", json!({"matchSNItoHost": true})),
            ("connect_timeout", "10", json!({"connectTimeout": 10})),
            ("connect_timeout", "1m30s", json!({"connectTimeout": 90})),
            ("connect_timeout", "2000ms", json!({"connectTimeout": 2})),
            ("tls_timeout", "10s", json!({"tlsTimeout": 10})),
            ("tcp_keep_alive", "24h", json!({"tcpKeepAlive": 86_400})),
            ("keep_alive_timeout", "1.5m", json!({"keepAliveTimeout": 90})),
            ("keep_alive_connections", "65535", json!({"keepAliveConnections": 65_535})),
            ("no_happy_eyeballs", "true", json!({"noHappyEyeballs": true})),
            ("ca_pool", "/etc/ssl/own ca.pem", json!({"caPool": "/etc/ssl/own ca.pem"})),
            ("proxy_type", "socks", json!({"proxyType": "socks"})),
            ("access_required", "true", json!({"access": {"required": true, "teamName": "", "audTag": []}})),
            (
                "access_team_name",
                "https://My-Team.cloudflareaccess.com/",
                json!({"access": {"required": false, "teamName": "my-team", "audTag": []}}),
            ),
            (
                "access_aud_tag",
                "aa11, bb22",
                json!({"access": {"required": false, "teamName": "", "audTag": ["aa11", "bb22"]}}),
            ),
        ] {
            assert_eq!(taken(label, text), Ok(written), "{label}={text}");
        }
    }

    #[test]
    fn a_value_that_is_none_says_what_belongs_there() {
        for (label, text, words) in [
            ("no_tls_verify", "maybe", "neither yes nor no"),
            ("originsrvname", "a b", "without white space"),
            ("connect_timeout", "0", "from 1 s to 86400 s"),
            ("connect_timeout", "86401", "from 1 s to 86400 s"),
            ("connect_timeout", "1.5", "whole seconds"),
            ("connect_timeout", "1500ms", "whole seconds"),
            ("connect_timeout", "-3", "whole seconds"),
            ("connect_timeout", "25h", "whole seconds"),
            ("tls_timeout", "soon", "such as `10`"),
            ("tcp_keep_alive", "1d", "such as `10`"),
            ("keep_alive_timeout", "99999999999999h", "whole seconds"),
            ("keep_alive_connections", "0", "from 1 to 65535"),
            ("keep_alive_connections", "65536", "from 1 to 65535"),
            ("keep_alive_connections", "many", "from 1 to 65535"),
            ("ca_pool", "own-ca.pem", "whole path"),
            ("ca_pool", "/etc/ssl/", "whole path"),
            ("proxy_type", "http", "only `socks`"),
            ("access_required", "ture", "neither yes nor no"),
            ("access_team_name", "my team", "before `.cloudflareaccess.com`"),
            ("access_aud_tag", "a b", "audience tags"),
            ("access_aud_tag", ",", "audience tags"),
        ] {
            let said = taken(label, text).unwrap_err();
            assert!(said.contains(words), "{label}={text}: {said}");
        }
    }

    #[test]
    fn fields_that_are_ours_are_named_once_each() {
        let fields: Vec<_> = own_fields().collect();
        assert_eq!(fields.len(), 15);
        assert_eq!(fields.iter().filter(|field| **field == "access").count(), 1);
    }

    #[test]
    fn a_check_that_would_let_nobody_in_is_a_problem() {
        let check = |required, team_name: &str, aud_tag: &[&str]| OriginRequest {
            access: Some(AccessCheck {
                required,
                team_name: team_name.into(),
                aud_tag: aud_tag.iter().map(|tag| (*tag).to_owned()).collect(),
            }),
            ..OriginRequest::default()
        };
        let own = AccessAsk::Groups { groups: vec![GroupId::new("staff")] };
        for (options, access, is_problem) in [
            (check(true, "", &[]), &AccessAsk::Nothing, true),
            (check(true, "team", &[]), &AccessAsk::Public, true),
            (check(true, "team", &[]), &AccessAsk::Inherit, true),
            (check(true, "", &[]), &own, false),
            (check(true, "", &["aa"]), &AccessAsk::Nothing, false),
            (check(true, "team", &["aa"]), &AccessAsk::Nothing, false),
            (check(false, "", &["aa"]), &AccessAsk::Nothing, false),
            (OriginRequest::default(), &AccessAsk::Nothing, false),
        ] {
            let problem = problem_of_check(&options, access);
            assert_eq!(problem.is_some(), is_problem, "{options:?}");
            assert!(problem.is_none_or(|said| said.contains("`access_aud_tag`")), "{problem:?}");
            assert_eq!(checked(&options, access).is_err(), is_problem, "{options:?}");
        }
        assert_eq!(
            checked(&check(false, "team", &["aa"]), &AccessAsk::Nothing),
            Ok(OriginRequest::default()),
            "it asks for nothing"
        );
    }

    fn all() -> OriginRequest {
        OriginRequest {
            no_tls_verify: Some(true),
            origin_server_name: Some("a".into()),
            http_host_header: Some("b".into()),
            http2_origin: Some(true),
            disable_chunked_encoding: Some(true),
            match_sni_to_host: Some(true),
            connect_timeout: Some(1),
            tls_timeout: Some(2),
            tcp_keep_alive: Some(3),
            keep_alive_timeout: Some(4),
            keep_alive_connections: Some(5),
            no_happy_eyeballs: Some(true),
            ca_pool: Some("/ca".into()),
            proxy_type: Some("socks".into()),
            access: Some(AccessCheck { required: true, team_name: "t".into(), aud_tag: vec!["aa".into()] }),
        }
    }

    #[test]
    fn only_options_that_reach_the_service_are_written() {
        let all = all();
        for service in ["http://app", "https://app", "ws://app", "wss://app"] {
            assert_eq!(options_for(service, &all), all, "{service}");
        }
        let check = OriginRequest { access: all.access.clone(), ..OriginRequest::default() };
        for service in ["http_status:404", "hello_world", "socks-proxy"] {
            assert_eq!(options_for(service, &all), check, "{service}");
        }
        let stream = OriginRequest {
            connect_timeout: Some(1),
            tcp_keep_alive: Some(3),
            proxy_type: Some("socks".into()),
            ..check.clone()
        };
        for service in ["tcp://db:1", "ssh://box:22", "bastion"] {
            assert_eq!(options_for(service, &all), stream, "{service}");
        }
        let socket = OriginRequest {
            disable_chunked_encoding: Some(true),
            connect_timeout: Some(1),
            keep_alive_timeout: Some(4),
            keep_alive_connections: Some(5),
            ..check
        };
        assert_eq!(options_for("unix:/x", &all), socket);
        let tls = OriginRequest {
            http_host_header: None,
            match_sni_to_host: None,
            tcp_keep_alive: None,
            no_happy_eyeballs: None,
            proxy_type: None,
            ..all.clone()
        };
        assert_eq!(options_for("unix+tls:/x", &all), tls);
    }

    #[test]
    fn good_options_are_good_however_they_came() {
        assert_eq!(checked(&all(), &AccessAsk::Nothing), Ok(all()));
        let bad = OriginRequest { connect_timeout: Some(0), proxy_type: Some("http".into()), ..all() };
        let said = checked(&bad, &AccessAsk::Nothing).unwrap_err().join("; ");
        assert!(said.contains("`connectTimeout`: ") && said.contains("`proxyType`: "), "{said}");
    }

    proptest! {
        #[test]
        fn what_is_taken_reads_back_as_it_was(
            option in proptest::sample::select((0..OPTIONS.len()).collect::<Vec<_>>()),
            text in prop_oneof!["[0-9]{1,6}(ms|s|m|h)?", ".{0,20}", "true|false|socks", "/[a-z/]{1,9}"],
        ) {
            let option = &OPTIONS[option];
            let mut options = OriginRequest::default();
            if option.take(&text, &mut options) == Ok(true) {
                let shown = option.text(&options).expect("it is set");
                let mut again = OriginRequest::default();
                prop_assert_eq!(option.take(&shown, &mut again), Ok(true));
                prop_assert_eq!(&again, &options);
                let wire = serde_json::to_value(&options).unwrap();
                prop_assert_eq!(serde_json::from_value::<OriginRequest>(wire).unwrap(), options);
            }
        }
    }
}
