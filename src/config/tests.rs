use std::collections::BTreeMap;

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
fn dockflare_api_key_is_the_admin_token_of_a_master_unless_ours_is_set() {
    let alias = read(&[("DOCKFLARE_API_KEY", "abc")], Role::Master).unwrap();
    assert_eq!(alias.settings.admin.token.expose(), Some("abc"));
    assert!(alias.admin_token_is_alias && !alias.settings.agent.api_key.is_set());

    let both = read(&[("DOCKFLARE_API_KEY", "abc"), ("LIGHTSHIP_ADMIN_TOKEN", "def")], Role::Master).unwrap();
    assert_eq!(both.settings.admin.token.expose(), Some("def"));
    assert!(!both.admin_token_is_alias);
    for name in ["LIGHTSHIP_ADMIN_TOKEN", "LIGHTSHIP__ADMIN__TOKEN"] {
        let mut apart = environment(&[("DOCKFLARE_API_KEY", "abc")]);
        apart.dot_env = BTreeMap::from([(name.to_owned(), "def".to_owned())]);
        let apart = Loaded::read(&apart, Role::Standalone).unwrap();
        assert_eq!(apart.settings.admin.token.expose(), Some("def"), "{name} in `.env` wins, too");
        assert!(!apart.admin_token_is_alias);
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
fn secrets_are_never_printed() {
    let loaded = read(&[("CF_API_TOKEN", "s3cret"), ("JWT_SECRET", "s3cret")], Role::Master).unwrap();
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
}
