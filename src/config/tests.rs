use std::collections::BTreeMap;

use super::names::{ALIASES, NOT_READ, is_ours};
use super::*;

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    Sources { environment, ..Sources::default() }
}

fn read(pairs: &[(&str, &str)], role: Role) -> Result<Loaded, ConfigError> {
    Loaded::read(&environment(pairs), role)
}

#[test]
fn names_of_both_projects_are_read_as_written() {
    let loaded = read(
        &[
            ("DOCKFLARE_MASTER_URL", "http://master:5000/"),
            ("DOCKFLARE_API_KEY", "00123"),
            ("CLOUDFLARED_IMAGE", "cloudflare/cloudflared:latest"),
            ("REPORT_INTERVAL_SECONDS", "15"),
            ("LOG_LEVEL", "WARNING"),
            ("SERVER_PORT", "9000"),
            ("PATH", "/usr/bin"),
        ],
        Role::Agent,
    )
    .unwrap();
    let settings = loaded.settings;
    assert_eq!(settings.agent.master_url.as_deref(), Some("http://master:5000/"));
    assert_eq!(settings.agent.api_key.expose(), Some("00123"), "a key of digits stays text");
    assert_eq!(settings.tunnel.image, "cloudflare/cloudflared:latest");
    assert_eq!(settings.agent.report_interval_seconds, 15);
    assert_eq!((settings.log.level.as_str(), settings.server.port), ("warn", 9000));
}

#[test]
fn the_network_of_another_container_is_refused_by_name() {
    let refused =
        read(&[("CLOUDFLARED_NETWORK_NAME", "container:web")], Role::Agent).unwrap_err().to_string();
    assert!(refused.contains("CLOUDFLARED_NETWORK_NAME") && refused.contains("name a network"), "{refused}");
}

#[test]
fn any_value_of_dockers_own_switch_means_tls_and_an_empty_one_is_none() {
    for (value, is_on) in [("", false), ("  ", false), ("0", true), ("1", true), ("false", true)] {
        let loaded = read(&[("DOCKER_TLS_VERIFY", value), ("DOCKER_CERT_PATH", "")], Role::Agent).unwrap();
        assert_eq!(
            (loaded.settings.docker.tls, loaded.settings.docker.cert_path),
            (is_on, None),
            "`{value}`"
        );
        let origin = loaded.origins.get("docker.tls").map(Origin::to_string);
        assert_eq!(origin.is_some_and(|origin| origin.contains("DOCKER_TLS_VERIFY")), is_on, "`{value}`");
    }
    let both = [("DOCKER_TLS_VERIFY", "1"), ("LIGHTSHIP__DOCKER__TLS", "false"), ("DOCKER_HOST", "")];
    let loaded = read(&both, Role::Agent).unwrap();
    assert_eq!((loaded.settings.docker.tls, loaded.settings.docker.host), (false, None), "our own name wins");
    for (pairs, expected) in [
        (&[("DOCKER_CONFIG", "/c"), ("DOCKER_CERT_PATH", "/p")][..], "/p"),
        (&[("DOCKER_CONFIG", "/c"), ("DOCKER_CERT_PATH", "")], "/c"),
    ] {
        let loaded = read(pairs, Role::Agent).unwrap();
        assert_eq!(loaded.settings.docker.cert_path, Some(expected.into()), "{pairs:?}");
    }
}

#[test]
fn a_setting_that_is_gone_says_why_wherever_it_stands() {
    let file = std::env::temp_dir().join(format!("lightship-gone-{}.toml", std::process::id()));
    std::fs::write(&file, "[publish]\nallow_unprotected_access = true\n").unwrap();
    let in_file = Loaded::read(&Sources { file: Some(file.clone()), ..Sources::default() }, Role::Master);
    std::fs::remove_file(&file).unwrap();
    let variable = [("LIGHTSHIP__PUBLISH__ALLOW_UNPROTECTED_ACCESS", "false")];
    for refused in [in_file, read(&variable, Role::Master)] {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("`publish.allow_unprotected_access`"), "{said}");
        assert!(said.contains("is built now") && said.contains("access.policy=none"), "{said}");
    }
}

#[test]
fn options_of_the_connector_are_checked_and_named() {
    let options = |pairs: &[(&str, &str)]| {
        let loaded = read(pairs, Role::Agent).map_err(|error| error.to_string())?;
        Ok::<_, String>(loaded.settings.tunnel.options().unwrap().form())
    };
    let set = [("TUNNEL_TRANSPORT_PROTOCOL", "HTTP2"), ("TUNNEL_EDGE_IP_VERSION", "4")];
    assert_eq!(options(&set).unwrap(), "2 TUNNEL_EDGE_IP_VERSION=4 TUNNEL_TRANSPORT_PROTOCOL=http2");
    assert_eq!(options(&[("TUNNEL_TRANSPORT_PROTOCOL", ""), ("TUNNEL_POST_QUANTUM", "")]).unwrap(), "2");
    for (name, value, said) in [
        ("TUNNEL_TRANSPORT_PROTOCOL", "udp", "expected auto, quic or http2"),
        ("TUNNEL_EDGE_IP_VERSION", "5", "expected auto, 4 or 6"),
        ("TUNNEL_POST_QUANTUM", "maybe", "expected a boolean"),
    ] {
        let error = options(&[(name, value)]).unwrap_err();
        assert!(error.contains(name) && error.contains(said), "{error}");
    }
}

#[test]
fn dockflare_api_key_is_the_admin_token_of_a_master_unless_ours_is_set() {
    let alias = read(&[("DOCKFLARE_API_KEY", "abc-0123456789abc")], Role::Master).unwrap();
    assert_eq!(alias.settings.admin.token.expose(), Some("abc-0123456789abc"));
    assert!(alias.admin_token_is_alias && !alias.settings.agent.api_key.is_set());

    let both = read(
        &[("DOCKFLARE_API_KEY", "abc-0123456789abc"), ("LIGHTSHIP_ADMIN_TOKEN", "def-0123456789def")],
        Role::Master,
    )
    .unwrap();
    assert_eq!(both.settings.admin.token.expose(), Some("def-0123456789def"));
    assert!(!both.admin_token_is_alias);
    for name in ["LIGHTSHIP_ADMIN_TOKEN", "LIGHTSHIP__ADMIN__TOKEN"] {
        let mut apart = environment(&[("DOCKFLARE_API_KEY", "abc-0123456789abc")]);
        apart.dot_env = BTreeMap::from([(name.to_owned(), "def-0123456789def".to_owned())]);
        let apart = Loaded::read(&apart, Role::Standalone).unwrap();
        assert_eq!(
            apart.settings.admin.token.expose(),
            Some("def-0123456789def"),
            "{name} in `.env` wins, too"
        );
        assert!(!apart.admin_token_is_alias);
    }
}

#[test]
fn a_short_token_is_refused_where_it_would_open_a_master() {
    for name in ["LIGHTSHIP_ADMIN_TOKEN", "LIGHTSHIP__REGISTRY__PUSH_TOKEN"] {
        let short = [(name, "fifteen-letters")];
        for role in [Role::Master, Role::Standalone] {
            let refused = read(&short, role).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("16 characters"), "{refused}");
            assert!(!refused.contains("fifteen-letters"), "{refused}");
        }
        // What another master takes is for that one to say.
        assert!(read(&short, Role::Client).is_ok() && read(&short, Role::Agent).is_ok());
        assert!(read(&[(name, "sixteen--letters")], Role::Master).is_ok());
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_by_its_line_and_without_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lightship.toml");
    for wrong in ["api_token = \"secret\" oops", "api_token = secret", "api_token = \"secret", "secret"] {
        std::fs::write(&file, format!("[cloudflare]\naccount_id = \"a\"\n{wrong}\n")).unwrap();

        let sources = Sources { file: Some(file.clone()), ..Sources::default() };
        let error = Loaded::read(&sources, Role::Master).unwrap_err().to_string();

        assert!(error.contains("lightship.toml` is not valid TOML: line 3: "), "{error}");
        assert!(!error.contains("secret") && !error.contains("api_token"), "{error}");
    }
}

#[test]
fn a_later_layer_wins_over_an_earlier_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lightship.toml");
    std::fs::write(&file, "[server]\nport = 1000\nhost = \"::1\"\n[log]\nformat = \"json\"\n").unwrap();
    let mut sources = environment(&[("SERVER_PORT", "3000"), ("LIGHTSHIP__SERVER__PORT", "4000")]);
    sources.dot_env = BTreeMap::from([("SERVER_PORT".into(), "2000".into())]);
    sources.file = Some(file.clone());

    let loaded = Loaded::read(&sources, Role::Master).unwrap();

    assert_eq!(loaded.settings.server.port, 4000);
    assert_eq!(loaded.settings.server.host, "::1");
    assert_eq!(loaded.settings.log.format, LogFormat::Json);
    assert_eq!(loaded.origins["server.host"], Origin::File(file));
}

#[test]
fn an_option_of_the_command_line_wins_is_named_and_is_checked() {
    let given = |url: &str| {
        let mut sources = environment(&[("DOCKFLARE_MASTER_URL", "http://other:8080")]);
        sources.options.push(("agent.master_url", "--master", url.to_owned()));
        Loaded::read(&sources, Role::Agent)
    };
    let loaded = given("http://master:8080").unwrap();
    assert_eq!(loaded.settings.agent.master_url.as_deref(), Some("http://master:8080"));
    assert_eq!(loaded.origins["agent.master_url"].to_string(), "option `--master`");
    let refused = given("master:8080").unwrap_err().to_string();
    assert!(refused.contains("`agent.master_url` from option `--master`"), "{refused}");
}

#[test]
fn errors_name_key_place_and_way_out() {
    let cases = [
        (
            ("LIGHTSHIP__SERVER__PROT", "1"),
            "unknown setting `server.prot` in environment variable `LIGHTSHIP__SERVER__PROT`; did you mean `server.port`?",
        ),
        (
            ("SERVER_PORT", "many"),
            "`server.port` from environment variable `SERVER_PORT` cannot be used: expected",
        ),
        (
            ("LIGHTSHIP__TUNNEL__ON_SHUTDOWN", "kep"),
            "`tunnel.on_shutdown` from environment variable `LIGHTSHIP__TUNNEL__ON_SHUTDOWN` cannot be used: \
             unknown variant `kep`, expected `remove` or `keep`",
        ),
        (("SERVER_PORT", "70000"), "`server.port` from environment variable `SERVER_PORT` cannot be used"),
        (
            ("REPORT_INTERVAL_SECONDS", "0"),
            "`agent.report_interval_seconds` from environment variable `REPORT_INTERVAL_SECONDS` cannot be used: expected 1 to 86400 seconds",
        ),
        (("DOCKFLARE_MASTER_URL", "master"), "expected an address that starts with http://"),
        (("CF_ACCOUNT_ID", "has blank"), "expected 1 to 32 printable characters"),
        (("REDIS_URL", "http://x"), "expected an address such as redis://"),
        (("LIGHTSHIP__TUNNEL__ON_SHUTDOWN", "explode"), "`tunnel.on_shutdown` from environment variable"),
    ];
    for ((name, value), expected) in cases {
        let error = read(&[(name, value)], Role::Agent).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}={value}: {error}");
    }
}

#[test]
fn a_file_with_an_unknown_key_or_broken_text_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.toml");
    for (text, expected) in
        [("[serve]\nport = 1\n", "unknown setting `serve.port` in file"), ("[server\n", "is not valid TOML")]
    {
        std::fs::write(&file, text).unwrap();
        let sources = Sources { file: Some(file.clone()), ..Sources::default() };
        let error = Loaded::read(&sources, Role::Master).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("x.toml"), "{error}");
    }
    let absent = Sources { file: Some(dir.path().join("none.toml")), ..Sources::default() };
    let error = Loaded::read(&absent, Role::Master).unwrap_err().to_string();
    assert!(error.contains("none.toml") && error.contains("check the path"), "{error}");
}

#[test]
fn empty_and_strange_values_are_forgiven_with_a_word() {
    let loaded = read(
        &[("AGENT_DISPLAY_NAME", ""), ("LOG_LEVEL", "chatty"), ("REDIS_URL", "redis://r:6379/0")],
        Role::Agent,
    )
    .unwrap();
    assert_eq!(loaded.settings.agent.display_name, None);
    assert_eq!(loaded.settings.log.level, "info");
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
}

#[test]
fn a_secret_may_be_in_a_file_that_a_variable_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (token, key) = (file("token", b"s3cret-of-some-length\n"), file("key", b"k3y\r\n"));
    for (name, role, setting) in [
        ("CF_API_TOKEN_FILE", Role::Master, "cloudflare.api_token"),
        ("LIGHTSHIP_ADMIN_TOKEN_FILE", Role::Master, "admin.token"),
        ("DOCKFLARE_API_KEY_FILE", Role::Master, "admin.token"),
        ("DOCKFLARE_API_KEY_FILE", Role::Agent, "agent.api_key"),
        ("CF_ACCESS_CLIENT_SECRET_FILE", Role::Agent, "agent.cf_access_client_secret"),
        ("JWT_SECRET_FILE", Role::Master, "security.jwt_secret"),
        ("DATABASE_URL_FILE", Role::Master, "database.url"),
        ("LIGHTSHIP_SECRET_KEY_FILE", Role::Master, "security.secret_key"),
        ("LIGHTSHIP__REGISTRY__PUSH_TOKEN_FILE", Role::Master, "registry.push_token"),
        ("LIGHTSHIP__CLOUDFLARE__API_TOKEN_FILE", Role::Master, "cloudflare.api_token"),
    ] {
        // As compose leaves the variable that is not used.
        let plain = name.strip_suffix("_FILE").unwrap();
        let loaded = read(&[(name, &token), (plain, "")], role).unwrap();
        let settings = &loaded.settings;
        let read = match setting {
            "cloudflare.api_token" => &settings.cloudflare.api_token,
            "admin.token" => &settings.admin.token,
            "agent.api_key" => &settings.agent.api_key,
            "agent.cf_access_client_secret" => &settings.agent.cf_access_client_secret,
            "security.jwt_secret" => &settings.security.jwt_secret,
            "registry.push_token" => &settings.registry.push_token,
            "database.url" => &settings.database.url,
            _ => &settings.security.secret_key,
        };
        assert_eq!(read.expose(), Some("s3cret-of-some-length"), "{name}");
        let origin = loaded.origins[setting].to_string();
        assert!(origin.contains(&token) && origin.contains(&format!("variable `{name}`")), "{origin}");
        assert_eq!(loaded.admin_token_is_alias, setting == "admin.token" && name.starts_with("DOCKFLARE"));
    }
    let mut sources = environment(&[("CF_ACCOUNT_ID_FILE", &key)]);
    sources.dot_env = BTreeMap::from([("DOCKFLARE_API_KEY_FILE".to_owned(), key.clone())]);
    let loaded = Loaded::read(&sources, Role::Agent).unwrap();
    assert_eq!(loaded.settings.agent.api_key.expose(), Some("k3y"), "one line end is cut");
    assert_eq!(loaded.settings.cloudflare.account_id.as_deref(), Some("k3y"), "not for secrets only");
}

#[test]
fn a_file_of_a_secret_that_cannot_be_used_is_named_and_its_content_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (name, content) in [("empty", vec![]), ("blank", b" \n".to_vec()), ("large", vec![b's'; 70_000])] {
        std::fs::write(path(name), content).unwrap();
    }
    std::fs::write(path("binary"), b"s3cret\xff").unwrap();
    std::fs::write(path("good"), b"s3cret").unwrap();
    std::fs::write(path("quoted"), b"\"s3cret\"\n").unwrap();
    for (name, reason) in [
        ("none", "check the path"),
        ("empty", "it is empty"),
        ("blank", "it is empty"),
        ("large", "larger than 64 KiB"),
        ("binary", "valid UTF-8"),
        (".", "it is not a file"),
        ("quoted", "the value is in quotes"),
    ] {
        let error = read(&[("CF_API_TOKEN_FILE", &path(name))], Role::Master).unwrap_err().to_string();
        for word in ["`cloudflare.api_token`", "`CF_API_TOKEN_FILE`", &path(name), reason] {
            assert!(error.contains(word), "{name}: {error}");
        }
        assert!(!error.contains("s3cret"), "{error}");
    }
    let both = [("CF_API_TOKEN_FILE", path("good")), ("CF_API_TOKEN", "s3cret".into())];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    let error = read(&both, Role::Master).unwrap_err().to_string();
    assert!(
        error.contains("`CF_API_TOKEN` and ") && error.contains("`CF_API_TOKEN_FILE` are both set"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn the_file_of_the_authorities_is_a_setting_of_its_own() {
    let loaded = read(&[("LIGHTSHIP__AGENT__CA_FILE", "/ca.pem")], Role::Agent).unwrap();
    assert_eq!(loaded.settings.agent.ca_file.as_deref(), Some("/ca.pem".as_ref()));
    let error = read(&[("LIGHTSHIP__SERVER__PROT_FILE", "/x")], Role::Agent).unwrap_err().to_string();
    assert!(error.contains("unknown setting `server.prot_file`"), "{error}");
}

#[test]
fn a_value_in_quotes_is_refused_with_the_reason() {
    for (name, value) in [
        ("CF_API_TOKEN", "\"abc\""),
        ("CF_ACCOUNT_ID", "'abc'"),
        ("CF_ZONE_ID", " \"abc\" "),
        ("DOCKFLARE_API_KEY", "\"k\""),
        ("LIGHTSHIP_ADMIN_TOKEN", "\"k\""),
        ("LABEL_PREFIX", "\"x\""),
        ("AGENT_DISPLAY_NAME", "\"Production Server\""),
        ("CLOUDFLARED_NETWORK_NAME", "'host'"),
        ("CLOUDFLARED_IMAGE", "\"cloudflare/cloudflared:latest\""),
        ("SERVER_PORT", "\"8080\""),
        ("DATABASE_URL", "\"sqlite:///x\""),
        ("DOCKER_HOST", "\"tcp://x:2375\""),
        ("LOG_LEVEL", "\"debug\""),
    ] {
        for role in [Role::Master, Role::Agent] {
            let error = read(&[(name, value)], role).unwrap_err().to_string();
            assert!(
                error.contains("the value is in quotes") && error.contains(&format!("`{name}`")),
                "{error}"
            );
        }
    }
    let half = read(&[("CF_API_TOKEN", "\"abc")], Role::Master).unwrap_err().to_string();
    assert!(half.contains("a quote stands at one end") && !half.contains("abc"), "{half}");
    for (name, value) in [
        ("AGENT_DISPLAY_NAME", "the boys'"),
        ("LIGHTSHIP_ADMIN_TOKEN", "'a'b\"c-and-twelve-more"),
        ("LABEL_PREFIX", ""),
    ] {
        read(&[(name, value)], Role::Master).unwrap();
    }
}

#[test]
fn names_of_dockflare_are_honoured_or_named_once() {
    let honoured = [
        ("GRACE_PERIOD_SECONDS", "86400"),
        ("AGENT_HEARTBEAT_TIMEOUT", "90"),
        ("DOCKFLARE_PUBLIC_URL", "https://ship.example.com"),
        ("WAITRESS_HOST", "0.0.0.0"),
        ("WAITRESS_PORT", "5000"),
    ];
    let loaded = read(&honoured, Role::Master).unwrap();
    let Settings { publish, server, .. } = &loaded.settings;
    assert_eq!((publish.grace_period_seconds, publish.agent_timeout_seconds), (86_400, 90));
    assert_eq!((server.host.as_str(), server.port), ("0.0.0.0", 5000));
    assert_eq!(server.public_url.as_deref(), Some("https://ship.example.com"));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);

    for (name, _) in NOT_READ {
        let mut sources = environment(&[(name, "x")]);
        sources.dot_env = BTreeMap::from([((*name).to_owned(), "x".to_owned())]);
        let warnings = Loaded::read(&sources, Role::Master).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let whose = if name.starts_with("REDFLAG_") { "RedFlag" } else { "DockFlare" };
        assert!(warnings[0].contains(&format!("`{name}` of {whose} is not read: ")), "{warnings:?}");
        assert!(read(&[(name, "")], Role::Master).unwrap().warnings.is_empty(), "{name}");
    }
}

#[test]
fn names_that_upstream_documents_are_known() {
    let documented = "USE_EXTERNAL_CLOUDFLARED EXTERNAL_TUNNEL_ID CLOUDFLARED_NETWORK_NAME CLOUDFLARED_CONTAINER_NAME \
        CLOUDFLARED_METRICS_PORT LABEL_PREFIX CLEANUP_INTERVAL_SECONDS AGENT_STATUS_UPDATE_INTERVAL_SECONDS \
        STATE_FILE_PATH SCAN_ALL_NETWORKS MAX_CONCURRENT_DNS_OPS RECONCILIATION_BATCH_SIZE AUTO_RESTORE_AGENT_RULES \
        AUTO_RESTORE_COOLDOWN_SECONDS AGENT_HEARTBEAT_TIMEOUT AGENT_ENROLLMENT_REQUIRED AGENT_KEY_STORAGE_PATH \
        USE_REUSABLE_POLICIES SYNC_ALL_CLOUDFLARE_POLICIES DOCKFLARE_PUBLIC_URL LOG_LEVEL REDIS_URL REDIS_DB_INDEX \
        CACHE_ENABLED WAITRESS_HOST WAITRESS_PORT TUNNEL_NAME GRACE_PERIOD_SECONDS TUNNEL_DNS_SCAN_ZONE_NAMES \
        CF_API_TOKEN CF_ACCOUNT_ID CF_ZONE_ID DOCKFLARE_MASTER_URL DOCKFLARE_API_KEY AGENT_DISPLAY_NAME \
        CLOUDFLARED_IMAGE DOCKER_HOST REPORT_INTERVAL_SECONDS CF_ACCESS_CLIENT_ID CF_ACCESS_CLIENT_SECRET \
        SWARM_PLACEMENT_CONSTRAINTS REDFLAG_SERVER_URL REDFLAG_REGISTRATION_TOKEN REDFLAG_HTTP_PROXY REDFLAG_HTTPS_PROXY \
        REDFLAG_NO_PROXY REDFLAG_LOG_LEVEL REDFLAG_ORGANIZATION REDFLAG_DISPLAY_NAME";
    for name in documented.split_whitespace() {
        assert!(is_ours(name) || NOT_READ.iter().any(|(known, _)| *known == name), "{name}");
    }
}

#[test]
fn the_file_of_redflags_agent_says_what_no_other_setting_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let text = r#"{"server_url": "https://flag.example", "registration_token": "from-the-file", "agent_id": "x",
        "token": "t", "refresh_token": "r", "check_in_interval": 300, "display_name": "rack 4",
        "network": {"timeout": 30000000000}, "tls": {"insecure_skip_verify": true, "ca_file": "/ca.pem"}, "tags": []}"#;
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();

    let loaded = read(&[("AGENT_CONFIG_PATH", path)], Role::Agent).unwrap();
    let agent = &loaded.settings.agent;
    assert_eq!(agent.master_url.as_deref(), Some("https://flag.example"));
    assert_eq!(agent.registration_token.expose(), Some("from-the-file"));
    assert_eq!((agent.display_name.as_deref(), agent.api_key.is_set()), (Some("rack 4"), false));
    assert!(loaded.warnings[0].contains("certificates are always verified"), "{:?}", loaded.warnings);

    // Whatever else says it wins.
    let others = [
        ("AGENT_CONFIG_PATH", path),
        ("REDFLAG_SERVER_URL", "https://other.example"),
        ("REDFLAG_REGISTRATION_TOKEN", "from-the-environment"),
        ("REDFLAG_DISPLAY_NAME", "rack 5"),
    ];
    let agent = read(&others, Role::Agent).unwrap().settings.agent;
    assert_eq!(agent.master_url.as_deref(), Some("https://other.example"));
    assert_eq!(agent.registration_token.expose(), Some("from-the-environment"));
    assert_eq!(agent.display_name.as_deref(), Some("rack 5"));
    let ours =
        [("REDFLAG_SERVER_URL", "https://other.example"), ("DOCKFLARE_MASTER_URL", "https://ours.example")];
    assert_eq!(
        read(&ours, Role::Agent).unwrap().settings.agent.master_url.as_deref(),
        Some("https://ours.example")
    );
    // It is an agent's file: a master does not look for it.
    read(&[("AGENT_CONFIG_PATH", "/nowhere")], Role::Master).unwrap();
    let gone = read(&[("AGENT_CONFIG_PATH", "/nowhere")], Role::Agent).unwrap_err().to_string();
    assert!(gone.contains("`/nowhere`"), "{gone}");
    std::fs::write(dir.path().join("bad.json"), "{\"server_url\": s3cret").unwrap();
    let bad = dir.path().join("bad.json");
    let error = read(&[("AGENT_CONFIG_PATH", bad.to_str().unwrap())], Role::Agent).unwrap_err().to_string();
    assert!(error.contains("line 1") && !error.contains("s3cret"), "{error}");
}

#[test]
fn secrets_are_never_printed() {
    let loaded =
        read(&[("CF_API_TOKEN", "s3cret"), ("JWT_SECRET", "s3cret-s3cret-s3cret")], Role::Master).unwrap();
    let printed = format!("{loaded:?}{}", serde_json::to_string(&loaded.settings).unwrap());
    assert!(!printed.contains("s3cret") && printed.contains("[set]"));
}

#[test]
fn every_setting_is_documented() {
    let documented = include_str!("../../docs/configuration.md");
    let settings = serde_json::to_value(Settings::default()).unwrap();
    for (section, fields) in settings.as_object().unwrap() {
        for key in fields.as_object().unwrap().keys() {
            assert!(documented.contains(&format!("| `{section}.{key}` |")), "{section}.{key}");
        }
    }
    let names = ALIASES.iter().chain(NOT_READ).map(|(name, _)| name);
    for name in names {
        assert!(documented.contains(&format!("`{name}`")), "{name}");
    }
}
