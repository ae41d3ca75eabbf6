//! Over from DockFlare, as `docs/from-dockflare.md` leads: try, switch, import, switch back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::TagImageOptionsBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::{Driver, PASSWORD, press, shoot, type_in, until_shown};
use crate::raw_client::RawClient;
use crate::scene::subfolder;
use crate::support::cloudflare::{ACCOUNT, CloudflareStandIn, Edge, TOKEN};
use crate::support::docker::{APP_IMAGE, CLOUDFLARED_IMAGE, Engine, token};
use crate::support::ship::{Rig, Ship};
use crate::support::until::until;

/// A key as DockFlare makes them; of nobody.
const KEY: &str = "Zm9yLXRlc3RzLW9ubHktbm8tcmVhbC1rZXktMDEyMzQ1";

/// A host on which DockFlare runs, with its connector, and the account that it publishes in.
struct Old {
    engine: Engine,
    standin: CloudflareStandIn,
    tunnel: String,
    dir: TempDir,
}

impl Old {
    async fn start() -> Self {
        let (engine, standin) = (Engine::lease().await, CloudflareStandIn::start());
        let tunnel = standin.add_tunnel("edge", "cloudflare");
        let tag = TagImageOptionsBuilder::default().repo("alplat/dockflare").tag("stable").build();
        engine.client().tag_image(APP_IMAGE, Some(tag)).await.unwrap();
        let image = |image: &str| ContainerCreateBody { image: Some(image.to_owned()), ..Default::default() };
        engine.run_body("dockflare", image("alplat/dockflare:stable")).await;
        let connector = ContainerCreateBody {
            cmd: Some(vec!["tunnel".into(), "run".into()]),
            env: Some(vec![format!("TUNNEL_TOKEN={}", token(&tunnel, "ready_after_ms=1"))]),
            ..image(CLOUDFLARED_IMAGE)
        };
        engine.run_body("cloudflared-agent-edge", connector).await;
        Self { engine, standin, tunnel, dir: TempDir::new().unwrap() }
    }

    /// DockFlare publishes these: hostname, path as it writes it, service.
    fn publishes(&self, rules: &[(&str, &str, &str)]) {
        let rule = |(hostname, path, service): &(&str, &str, &str)| {
            let mut rule = json!({ "hostname": hostname, "service": service });
            if !path.is_empty() {
                rule["path"] = json!(path);
            }
            rule
        };
        let mut ingress: Vec<Value> = rules.iter().map(rule).collect();
        ingress.push(json!({ "service": "http_status:404" }));
        self.standin.write_config(&self.tunnel, json!({ "ingress": ingress }));
        for (hostname, ..) in rules {
            self.standin.add_record(
                "example.com",
                "CNAME",
                hostname,
                &format!("{}.cfargotunnel.com", self.tunnel),
            );
        }
    }

    /// The file with its variables.
    fn env_file(&self) -> PathBuf {
        let path = self.dir.path().join("dockflare.env");
        let text = format!(
            "# of DockFlare\nCF_API_TOKEN={TOKEN}\nCF_ACCOUNT_ID={ACCOUNT}\nCF_API_BASE_URL={}\nTUNNEL_NAME=edge\n\
             SCAN_ALL_NETWORKS=true\nTZ=UTC\n",
            self.standin.base_url()
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// An agent of DockFlare's runs here too, with this file as its `agent_id.txt`.
    async fn runs_agent(&self, id_file: Option<&Path>) {
        let tag = TagImageOptionsBuilder::default().repo("alplat/dockflare-agent").tag("stable").build();
        self.engine.client().tag_image(APP_IMAGE, Some(tag)).await.unwrap();
        let binds = id_file.map(|file| vec![format!("{}:/app/data/agent_id.txt", file.display())]);
        let body = ContainerCreateBody {
            image: Some("alplat/dockflare-agent:stable".into()),
            host_config: Some(HostConfig { binds, ..Default::default() }),
            ..Default::default()
        };
        self.engine.run_body("dockflare-agent", body).await;
    }

    /// Its data folder.
    fn data(&self, state: &Value) -> PathBuf {
        let path = self.dir.path().join("data");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("state.json"), state.to_string()).unwrap();
        path
    }

    /// What `lightship try` says: exit code, JSON.
    fn tried(&self, data: Option<&Path>) -> (i32, Value) {
        let more: Vec<&str> = data.into_iter().flat_map(|data| ["--data", data.to_str().unwrap()]).collect();
        self.tried_with(&self.env_file(), &more)
    }

    fn tried_with(&self, env: &Path, more: &[&str]) -> (i32, Value) {
        let rig = Rig::new("master", &subfolder_of(&self.dir, "try")).engine(&self.engine);
        let args = [&["try", "--json", "--env", env.to_str().unwrap()][..], more].concat();
        let (code, out, errors) = rig.verb(&args);
        assert!(!out.contains(TOKEN) && !errors.contains(TOKEN) && !out.contains(KEY), "{out}{errors}");
        (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}")))
    }
}

fn subfolder_of(dir: &TempDir, name: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn labels<'a>(hostname: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = [
        ("dockflare.enable", "true"),
        ("dockflare.hostname", hostname),
        ("dockflare.service", "http://app:80"),
    ];
    own.into_iter().chain(more.iter().copied()).collect()
}

/// Each name with what would become of it.
fn verdicts(said: &Value) -> BTreeMap<&str, &str> {
    let names = said["names"].as_array().unwrap();
    names.iter().map(|name| (name["name"].as_str().unwrap(), name["verdict"].as_str().unwrap())).collect()
}

/// Everything that is said of a name.
fn words(said: &Value, name: &str) -> String {
    let names = said["names"].as_array().unwrap();
    let found = names.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {said}"));
    found["parts"].to_string()
}

#[tokio::test]
async fn a_trial_only_reads_and_says_of_each_name_what_would_become_of_it() {
    // given
    let old = Old::start().await;
    old.publishes(&[("app.example.com", "", "http://app:80"), ("api.example.com", "/v1", "http://app:80")]);
    old.standin.add_record("example.com", "A", "taken.example.com", "192.0.2.7");
    let engine = &old.engine;
    engine.run("app", &labels("app.example.com", &[])).await;
    // when: DockFlare has nothing but this
    let (code, said) = old.tried(None);
    // then
    let kept = BTreeMap::from([("app.example.com", "kept"), ("api.example.com/v1", "kept")]);
    assert_eq!((code, verdicts(&said)), (0, kept), "{said}");
    assert!(words(&said, "api.example.com/v1").contains("nobody here asks for it"), "{said}");
    let switch = said["switch"].as_str().unwrap();
    assert!(switch.starts_with("docker stop dockflare && docker run -d --name lightship"), "{switch}");
    assert!(
        switch.contains("-e TUNNEL_NAME=edge") && switch.ends_with("lightship:local standalone"),
        "{switch}"
    );
    assert_eq!(said["switch_back"], "docker rm -f lightship && docker start dockflare");
    assert!(said["notes"].to_string().contains("`SCAN_ALL_NETWORKS` of DockFlare is not read"), "{said}");

    // when there is more
    engine.run("api", &labels("api.example.com", &[("dockflare.path", "/v1")])).await;
    engine.run("new", &labels("new.example.com", &[])).await;
    engine.run("taken", &labels("taken.example.com", &[])).await;
    engine.run("staff", &labels("staff.example.com", &[("dockflare.access.group", "staff")])).await;
    engine.run("nobody", &labels("nobody.example.com", &[("dockflare.access.group", "nobody")])).await;
    engine.run("bad", &labels("no host", &[])).await;
    engine.run("page", &labels("page.example.com", &[])).await;
    let allow = json!([{ "decision": "allow", "include": [{ "email": { "email": "a@example.com" } }] }]);
    let far = old.standin.add_tunnel("far", "cloudflare");
    let data = old.data(&json!({
        "managed_rules": {
            "nas.example.com|": { "service": "http://10.0.0.5:5000", "source": "manual", "tunnel_id": old.tunnel },
            "page.example.com|": { "service": "http://app:80", "source": "docker", "access_policy_ui_override": true,
                "access_group_id": ["staff"] },
        },
        "access_groups": { "staff": { "display_name": "Staff", "policies": allow } },
        "agents": { "a-2": { "display_name": "web-2", "assigned_tunnel_id": far, "api_key": KEY,
            "last_containers": [{ "name": "far", "labels": { "dockflare.enable": "true", "dockflare.hostname": "app.example.com",
                "dockflare.service": "http://far:80" } }] } },
    }));
    let before = old.standin.config(&old.tunnel);
    let (code, said) = old.tried(Some(&data));
    // then
    assert_eq!(code, 3, "{said}");
    let verdicts = verdicts(&said);
    for (name, verdict) in [
        ("api.example.com/v1", "change"),
        ("new.example.com", "change"),
        ("nas.example.com", "change"),
        ("staff.example.com", "change"),
        ("page.example.com", "change"),
        ("taken.example.com", "refuse"),
        ("nobody.example.com", "refuse"),
        ("bad", "refuse"),
    ] {
        assert_eq!(verdicts.get(name), Some(&verdict), "{name}: {said}");
    }
    for (name, what) in [
        ("api.example.com/v1", "is written in another way"),
        ("taken.example.com", "192.0.2.7"),
        ("nobody.example.com", "group `nobody` is not known"),
        ("page.example.com", "`dockflare.access.groups=staff`"),
        ("staff.example.com", "an application is made, with 1 policy"),
        ("bad", "dockflare.hostname"),
    ] {
        assert!(words(&said, name).contains(what), "{name}: {said}");
    }
    assert!(
        said.to_string().contains("belongs to agent `this host`"),
        "web-2 wants a name that this host has: {said}"
    );
    // It only read, and nothing is anywhere that was not there.
    let calls = old.standin.calls();
    assert!(calls.len() > 10 && calls.iter().all(|call| call.method == "GET"), "{calls:?}");
    old.standin.assert_no_violations();
    assert_eq!(old.standin.config(&old.tunnel), before);
    assert_eq!(std::fs::read_dir(old.dir.path().join("try")).unwrap().count(), 0, "no database, no socket");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
}

#[tokio::test]
async fn a_trial_leaves_no_name_out() {
    // given: agents of several hosts have the tunnel of this one
    let old = Old::start().await;
    old.publishes(&[("app.example.com", "", "http://app:80")]);
    old.engine.run("app", &labels("app.example.com", &[])).await;
    let host = |id: &str, hostname: &str| {
        let labels = json!({ "dockflare.enable": "true", "dockflare.hostname": hostname, "dockflare.service": "http://x:80" });
        json!({ "display_name": id, "assigned_tunnel_id": old.tunnel, "api_key": KEY,
            "last_containers": [{ "name": "x", "labels": labels }] })
    };
    let data = old.data(&json!({
        "managed_rules": {
            "odd.example.com|x": { "service": 7, "source": "manual" },
            "gone.example.com|": { "service": "http://x:80", "source": "docker", "access_policy_ui_override": true,
                "access_policy_type": "bypass" },
        },
        "agents": { "a-2": host("a-2", "two.example.com"), "a-3": host("a-3", "app.example.com"), "a-4": 7 },
    }));
    // when: only a master runs here
    let (code, said) = old.tried(Some(&data));
    // then: each is another host, whatever its tunnel
    assert_eq!(code, 3, "{said}");
    let known = verdicts(&said);
    for (name, verdict) in [
        ("two.example.com", "change"),
        ("odd.example.com/x", "refuse"),
        ("gone.example.com", "not_checked"),
        ("a-4", "not_checked"),
    ] {
        assert_eq!(known.get(name), Some(&verdict), "{name}: {said}");
    }
    assert!(words(&said, "gone.example.com").contains("`dockflare.access.policy=bypass`"), "{said}");
    assert!(
        said.to_string().contains("belongs to agent `this host`"),
        "a-3 wants a name of this host: {said}"
    );

    // when an agent runs here whose id nobody can read
    old.runs_agent(None).await;
    let (code, said) = old.tried(Some(&data));
    assert_eq!((code, verdicts(&said).get("two.example.com")), (3, Some(&"not_checked")), "{said}");
    assert!(words(&said, "two.example.com").contains("agent_id.txt"), "{said}");
    old.engine.remove("dockflare-agent").await;

    // when it can be read: of that host the Engine says more
    let id = old.dir.path().join("agent_id.txt");
    std::fs::write(&id, "a-3\n").unwrap();
    old.runs_agent(Some(&id)).await;
    let (_, said) = old.tried(Some(&data));
    assert_eq!(verdicts(&said).get("two.example.com"), Some(&"change"), "{said}");
    assert!(!said.to_string().contains("belongs to agent"), "it is this host: {said}");
    let calls = old.standin.calls();
    assert!(calls.iter().all(|call| call.method == "GET"), "{calls:?}");
}

#[tokio::test]
async fn a_command_names_only_a_file_that_docker_reads_as_it_was_read() {
    // given: a file as compose takes it
    let old = Old::start().await;
    old.publishes(&[("app.example.com", "", "http://app:80")]);
    old.engine.run("app", &labels("app.example.com", &[])).await;
    let file = old.dir.path().join("quoted.env");
    let text = format!(
        "CF_API_TOKEN=\"{TOKEN}\"\nCF_ACCOUNT_ID={ACCOUNT} # mine\nCF_API_BASE_URL={}\nexport WAITRESS_PORT=5000\nTHEIRS='x'\n",
        old.standin.base_url()
    );
    std::fs::write(&file, text).unwrap();
    // when, then: no command, and each line that is in the way
    let (code, said) = old.tried_with(&file, &[]);
    assert_eq!((code, &said["switch"], &said["switch_back"]), (3, &Value::Null, &Value::Null), "{said}");
    let hindrances = said["hindrances"].to_string();
    for words in
        ["line 1: ", "line 2: ", "line 4: ", "`CF_API_TOKEN`", "`CF_ACCOUNT_ID`", "export", "--write-env"]
    {
        assert!(hindrances.contains(words), "{words}: {hindrances}");
    }
    assert!(!hindrances.contains("THEIRS"), "{hindrances}");
    assert_eq!(said["counts"]["kept"], 1, "{said}");
    // when a file is made for Docker
    let new = old.dir.path().join("lightship.env");
    let more = ["--write-env", new.to_str().unwrap()];
    let (code, said) = old.tried_with(&file, &more);
    // then the command names it, with the port of the file
    let switch = said["switch"].as_str().unwrap();
    assert!(code == 0 && switch.contains(&format!("--env-file {}", new.display())), "{said}");
    assert!(switch.contains(" -p 8080:5000 "), "{switch}");
    let written = std::fs::read_to_string(&new).unwrap();
    assert!(
        written.contains(&format!("CF_API_TOKEN={TOKEN}\n")) && written.contains("THEIRS=x\n"),
        "{written}"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&new).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let (code, said) = old.tried_with(&new, &[]);
    assert!(code == 0 && said["switch"].is_string() && said["hindrances"] == json!([]), "{said}");
    // and no file is written over
    let rig = Rig::new("master", &subfolder(&old.dir, "again")).engine(&old.engine);
    let args = ["try", "--env", file.to_str().unwrap(), "--write-env", new.to_str().unwrap()];
    let (code, _, errors) = rig.verb(&args);
    assert!(code == 1 && errors.contains("is there already"), "{errors}");
    assert_eq!(std::fs::read_to_string(&new).unwrap(), written);
}

#[tokio::test]
async fn a_trial_says_what_it_lacks_and_what_nobody_could_look_at() {
    let old = Old::start().await;
    old.publishes(&[("app.example.com", "", "http://app:80")]);
    old.engine.run("app", &labels("app.example.com", &[])).await;
    // A right that is missing is no "fine".
    old.standin.take_right("DNS ");
    let (code, said) = old.tried(None);
    let dns_is_open = words(&said, "app.example.com").contains("not_checked");
    old.standin.give_rights_back();
    assert_eq!((code, dns_is_open), (3, true), "{said}");

    let rig = Rig::new("master", &subfolder(&old.dir, "lacking")).engine(&old.engine);
    let file = old.dir.path().join("empty.env");
    let refused = |text: &str, args: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let args = [&["try", "--env", file.to_str().unwrap()][..], args].concat();
        let (code, out, errors) = rig.verb(&args);
        assert_eq!((code, out.as_str()), (1, ""), "{args:?}: {errors}");
        errors
    };
    assert!(refused("TZ=UTC\n", &[]).contains("--data FOLDER"));
    assert!(refused("CF_API_TOKEN=x\n", &[]).contains("CF_ACCOUNT_ID is not"));
    assert!(refused("TZ=UTC\n", &["--data", "/nowhere"]).contains("`/nowhere`: it cannot be read"));
    let (code, _, errors) = rig.verb(&["try", "--env", "/nowhere/.env"]);
    assert!(code == 1 && errors.contains("`/nowhere/.env`"), "{errors}");
    let env = old.env_file();
    let away = rig.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let (code, _, errors) = away.verb(&["try", "--env", env.to_str().unwrap()]);
    assert!(code == 1 && errors.contains("the containers of this host cannot be listed"), "{errors}");
}

/// How much people decided so far; what agents and the master do by themselves goes on.
async fn decisions(master: &Ship) -> usize {
    let events = master.get("/api/v3/events?limit=1000").await;
    let is_own = |row: &&Value| {
        let actor = row["actor"].as_str().unwrap();
        ["system", "a-1"].contains(&actor) || actor.starts_with("agent")
    };
    events["events"].as_array().unwrap().iter().filter(|row| !is_own(row)).count()
}

#[tokio::test]
async fn an_import_takes_over_what_labels_do_not_say_and_a_second_one_changes_nothing() {
    // given
    let standin = CloudflareStandIn::start();
    let tunnel = standin.add_tunnel("edge", "cloudflare");
    let dir = TempDir::new().unwrap();
    let rig = Rig::new("master", &subfolder(&dir, "master")).cloudflare(&standin);
    let master = rig.start();
    let data = subfolder(&dir, "data");
    let allow = json!([{ "name": "x", "decision": "allow", "include": [{ "email_domain": { "domain": "example.com" } }] }]);
    let state = json!({
        "managed_rules": {
            "nas.example.com|files": { "service": "https://10.0.0.5:5001", "source": "manual", "tunnel_id": tunnel,
                "no_tls_verify": true, "access_policy_type": "group", "access_group_id": ["staff"] },
            "odd.example.com|": { "service": "http://odd", "source": "manual", "tunnel_id": tunnel, "access_policy_type": "inline" },
            "app.example.com|": { "service": "http://app:80", "source": "agent" },
        },
        "access_groups": {
            "staff": { "display_name": "Staff", "session_duration": "8h", "policies": allow },
            "public-default-bypass": { "system_policy": true },
        },
        "agents": { "a-1": { "display_name": "Web One", "custom_name": true, "assigned_tunnel_name": "edge", "api_key": KEY } },
    });
    std::fs::write(data.join("state.json"), state.to_string()).unwrap();
    let import = |code: i32, more: &[&str]| {
        let args = [&["import", "dockflare", data.to_str().unwrap()][..], more].concat();
        let (ended, out, errors) = rig.verb(&args);
        assert_eq!(ended, code, "{args:?}: {out}{errors}");
        assert!(!out.contains(KEY) && !errors.contains(KEY), "{out}{errors}");
        format!("{out}{errors}")
    };
    // when: only looked at
    let before = decisions(&master).await;
    let said = import(2, &["--dry-run"]);
    for words in [
        "staff",
        "nas.example.com/files",
        "protected by `inline`",
        "has not come here yet",
        "1 rule of containers",
        "of agent keys only",
    ] {
        assert!(said.contains(words), "`{words}` is missing: {said}");
    }
    let (code, _, errors) = rig.verb(&["import", "dockflare", data.to_str().unwrap()]);
    assert!(code == 1 && errors.contains("--yes") && errors.contains("--dry-run"), "{errors}");
    assert_eq!(decisions(&master).await, before, "nothing was taken");
    // when it is taken over
    let said = import(3, &["--yes"]);
    assert!(said.contains("3 of 3 taken over"), "{said}");
    assert!(decisions(&master).await >= before + 3, "a group, a key and a rule, by a person");
    // then
    let rules = master.get("/api/v3/rules/manual").await;
    let [rule] = &rules["rules"].as_array().unwrap()[..] else { panic!("one rule: {rules}") };
    assert_eq!(
        (&rule["key"], &rule["service"], &rule["access"]["groups"], &rule["origin_request"]["noTLSVerify"]),
        (&json!("nas.example.com|/files"), &json!("https://10.0.0.5:5001"), &json!(["staff"]), &json!(true))
    );
    assert_eq!(master.get("/api/v3/access/groups/staff").await["options"]["session_duration"], "8h");
    // The agent comes with the key that it has, and gets its tunnel and its name at the next import.
    let agent = RawClient::register_with(&master, "a-1", KEY.to_owned()).await;
    let said = import(3, &["--yes"]);
    assert!(said.contains("1 of 1 taken over"), "{said}");
    let agents = master.get("/api/v2/agents").await;
    let record = &agents["agents"]["a-1"];
    assert_eq!(
        (&record["status"], &record["display_name"], &record["assigned_tunnel_id"]),
        (&json!("enrolled"), &json!("Web One"), &json!(tunnel))
    );
    assert_eq!(agent.commands().await[0]["action"], "start_tunnel");
    // Once all is here nothing changes any more.
    let before = decisions(&master).await;
    assert!(import(0, &["--yes"]).contains("here already"));
    import(0, &["--dry-run", "--json"]);
    assert_eq!(decisions(&master).await, before);
    // What a person withdraws stays withdrawn, however often it is imported.
    let ended = |args: &[&str]| {
        let (code, out, errors) = rig.verb(args);
        assert_eq!(code, 0, "{args:?}: {out}{errors}");
    };
    ended(&["rules", "remove", "nas.example.com", "--path", "/files"]);
    ended(&["access", "remove", "staff"]);
    let (status, said) = master.post("/api/v2/agents/revoke-key", json!({ "key": KEY })).await;
    assert_eq!((status, &said["affected_agents"]), (200, &json!(["a-1"])), "{said}");
    let (_, cleaned) = master.post("/api/v2/agents/keys/cleanup", json!({ "retention_days": 0 })).await;
    assert_eq!(cleaned["cleaned_count"], 1, "{cleaned}");
    let before = decisions(&master).await;
    let said = import(0, &["--yes"]);
    for (word, times) in
        [("removed here  ", 3), ("it was removed here", 2), ("it was revoked here, and dropped", 1)]
    {
        assert_eq!(said.matches(word).count(), times, "`{word}`: {said}");
    }
    assert_eq!(decisions(&master).await, before, "nothing came back");
    assert_eq!(master.get("/api/v3/rules/manual").await["rules"], json!([]));
    assert!(!master.log().contains(KEY));
    let (code, _, errors) = rig.verb(&["import", "dockflare", "/nowhere"]);
    assert!(code == 1 && errors.contains("cannot take over from `/nowhere`"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_from_dockflare_and_back_leaves_nobody_without_an_answer() {
    // Given DockFlare with two names in its tunnel.
    let old = Old::start().await;
    old.publishes(&[
        ("app.example.com", "", "http://app:80"),
        ("nas.example.com", "", "http://10.0.0.5:5000"),
    ]);
    old.engine.run("app", &labels("app.example.com", &[])).await;
    let data = old.data(&json!({ "managed_rules": {
        "nas.example.com|": { "service": "http://10.0.0.5:5000", "source": "manual", "tunnel_id": old.tunnel },
    } }));
    for name in ["app.example.com", "nas.example.com"] {
        old.standin.on_change(move |state| match state.edge(name, "/") {
            Edge::Reaches { .. } => Ok(()),
            other => Err(format!("a visitor of {name} met {other:?}")),
        });
    }

    // When it is tried, then nothing is in the way.
    let (code, said) = old.tried(Some(&data));
    assert_eq!(code, 0, "{said}");

    // When DockFlare's master is stopped and ours is started with its variables.
    old.engine.stop("dockflare").await;
    let folder = subfolder(&old.dir, "new");
    std::fs::copy(old.env_file(), folder.join(".env")).unwrap();
    let rig =
        Rig::new("standalone", &folder).engine(&old.engine).env("LIGHTSHIP__TUNNEL__ON_SHUTDOWN", "keep");
    let mut ship = rig.start();
    let set_up = ship.said("first run: open ");
    ship.until_agent("enrolled").await;
    ship.until_route("app.example.com", "waiting").await;

    // Then it waits for a person in the tunnel that was there, and takes it over when told to.
    let ended = |code: i32, args: &[&str]| {
        let (end, out, errors) = rig.verb(args);
        assert_eq!(end, code, "{args:?}: {out}{errors}");
        format!("{out}{errors}")
    };
    ended(0, &["import", "dockflare", data.to_str().unwrap(), "--yes"]);
    ended(0, &["apply", "--yes"]);
    for name in ["app.example.com", "nas.example.com"] {
        ship.until_route(name, "published").await;
    }
    let mut names = old.standin.hostnames(&old.tunnel);
    names.sort();
    assert_eq!(names, ["app.example.com", "nas.example.com"]);
    assert_eq!(old.standin.state().tunnels.len(), 1, "no tunnel was made");

    // And the page shows it.
    let driver = Driver::start();
    let browser = driver.browser(&subfolder(&old.dir, "profile")).await;
    browser.goto(&set_up).await.unwrap();
    type_in(&browser, "name", "ada").await;
    type_in(&browser, "password", PASSWORD).await;
    type_in(&browser, "again", PASSWORD).await;
    press(&browser, "Create administrator").await;
    browser.goto(format!("{}/routes", ship.url())).await.unwrap();
    for words in ["app.example.com", "nas.example.com"] {
        until_shown(&browser, words).await;
    }
    shoot(&browser, "31-from-dockflare-routes").await;
    browser.goto(format!("{}/agents", ship.url())).await.unwrap();
    until_shown(&browser, "edge").await;
    shoot(&browser, "32-from-dockflare-agents").await;
    browser.quit().await.unwrap();

    // When it is switched back, then rules and records are where DockFlare left them.
    assert!(ship.stop().success());
    old.engine.start("dockflare").await;
    until("DockFlare runs again", || async {
        old.engine.inspect("dockflare").await?.state?.running?.then_some(())
    })
    .await;
    let (_, config) = old.standin.config(&old.tunnel);
    for (name, service) in [("app.example.com", "http://app:80"), ("nas.example.com", "http://10.0.0.5:5000")]
    {
        let rules = config["ingress"].as_array().unwrap();
        assert!(rules.contains(&json!({ "hostname": name, "service": service })), "{config}");
        assert_eq!(old.standin.records(name)[0].content, format!("{}.cfargotunnel.com", old.tunnel));
    }
    // What the edge met after each change is among these.
    old.standin.assert_no_violations();
}
