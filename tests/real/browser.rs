//! The page in a real browser: set up, add a key, a host joins, a container starts, its route appears.
//! Screenshots go to `target/screenshots`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use thirtyfour::prelude::*;

use crate::support::cloudflare::CloudflareStandIn;
use crate::support::docker::Engine;
use crate::support::ship::Rig;
use crate::support::until::until;

pub const PASSWORD: &str = "a lamp on the water";

/// A driver of its own on a free port; ended with the test.
pub struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    /// It takes a port that is free for IPv4, and ends if another program has the same for IPv6.
    pub fn start() -> Self {
        (0..10).find_map(|_| Self::try_start()).expect("chromedriver says its port")
    }

    fn try_start() -> Option<Self> {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is needed: apt-get install chromium chromium-driver");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_suffix('.')?.rsplit_once("on port ")?.1.parse().ok());
        let driver = Self { child, port: port.unwrap_or_default() };
        port.map(|_| driver)
    }

    pub async fn browser(&self, profile: &Path) -> WebDriver {
        let mut wishes = DesiredCapabilities::chrome();
        for flag in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
            &format!("--user-data-dir={}", profile.display()),
        ] {
            wishes.add_arg(flag).unwrap();
        }
        WebDriver::new(&format!("http://127.0.0.1:{}", self.port), wishes).await.unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn shoot(browser: &WebDriver, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let file: PathBuf = folder.join(format!("{name}.png"));
    browser.screenshot(&file).await.unwrap();
}

pub async fn type_in(browser: &WebDriver, field: &str, text: &str) {
    // A click does not wait for the page that it leads to.
    let what = format!("there is a field `{field}`");
    let there = until(&what, async || browser.find(By::Name(field)).await.ok()).await;
    there.send_keys(text).await.unwrap();
}

pub async fn press(browser: &WebDriver, words: &str) {
    let button = format!("//button[contains(normalize-space(.), '{words}')]");
    browser.find(By::XPath(button)).await.unwrap().click().await.unwrap();
}

/// Waits until the page shows `words`; a page that updates itself needs no reload.
pub async fn until_shown(browser: &WebDriver, words: &str) {
    until(&format!("the page shows `{words}`"), || async {
        let text = browser.find(By::Tag("main")).await.ok()?.text().await.ok()?;
        text.contains(words).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_sets_up_adds_a_host_and_sees_its_route_appear() {
    // Given a fresh master, and a host with an Engine.
    let engine = Engine::lease().await;
    let standin = CloudflareStandIn::start();
    let dir = TempDir::new().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let mut master = Rig::new("master", &folder("master")).cloudflare(&standin).start();
    let set_up = master.said("first run: open ");
    let driver = Driver::start();
    let browser = driver.browser(&folder("profile")).await;

    // When the one-time link is opened and the form filled in.
    browser.goto(&set_up).await.unwrap();
    shoot(&browser, "1-set-up").await;
    type_in(&browser, "name", "ada").await;
    type_in(&browser, "password", PASSWORD).await;
    type_in(&browser, "again", PASSWORD).await;
    press(&browser, "Create administrator").await;

    // And a key is made for the host, which joins with it.
    browser.goto(format!("{}/agents", master.url())).await.unwrap();
    type_in(&browser, "owner", "web-1").await;
    press(&browser, "Generate key").await;
    let key = browser.query(By::Id("key")).first().await.unwrap().text().await.unwrap();
    assert_eq!(key.len(), 43, "a key as DockFlare writes them");
    let compose = browser.find(By::Id("compose")).await.unwrap().text().await.unwrap();
    assert!(compose.contains(&key) && compose.contains("docker-socket-proxy"), "{compose}");
    shoot(&browser, "2-key").await;
    browser.goto(format!("{}/agents", master.url())).await.unwrap();
    let _agent = Rig::new("agent", &folder("agent"))
        .env("DOCKER_HOST", engine.docker_host())
        .env("DOCKFLARE_MASTER_URL", master.url())
        .env("DOCKFLARE_API_KEY", key.clone())
        .env("AGENT_DISPLAY_NAME", "Web One")
        .start();

    // Then the page shows the host by itself.
    until_shown(&browser, "Web One").await;
    shoot(&browser, "3-pending").await;
    let agent = master.until_agent("pending").await;

    // When it is enrolled and a container starts while the routes are looked at.
    let (status, body) = master
        .post(&format!("/api/v2/agents/{agent}/enroll"), serde_json::json!({ "tunnel_name": "edge-1" }))
        .await;
    assert_eq!(status, 200, "{body}");
    until_shown(&browser, "edge-1").await;
    shoot(&browser, "4-agents").await;
    browser.goto(format!("{}/routes", master.url())).await.unwrap();
    let labels = [
        ("dockflare.enable", "true"),
        ("dockflare.hostname", "hello.example.com"),
        ("dockflare.service", "http://hello:8080"),
    ];
    engine.run("hello", &labels).await;

    // Then its route appears and is published, without a reload.
    until_shown(&browser, "hello.example.com").await;
    master.until_route("hello.example.com", "published").await;
    until_shown(&browser, "live").await;
    shoot(&browser, "5-routes").await;

    // And the other pages show what there is, without the key.
    for (path, words, name) in [("/", "Web One", "6-overview"), ("/system", "fleet", "7-system")] {
        browser.goto(format!("{}{path}", master.url())).await.unwrap();
        until_shown(&browser, words).await;
        shoot(&browser, name).await;
        assert!(!browser.source().await.unwrap().contains(&key), "{path} shows a key");
    }
    browser.quit().await.unwrap();
}

/// What a screen reader's user would stumble over, by axe-core: its own words for what is serious or worse.
pub async fn hindrances(browser: &WebDriver) -> Vec<String> {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).expect("axe-core is needed: scripts/need accessibility");
    browser.execute(axe, Vec::new()).await.unwrap();
    let run = "const done = arguments[0]; axe.run().then(found => done(found.violations \
               .filter(one => ['serious', 'critical'].includes(one.impact)) \
               .map(one => one.id + ': ' + one.nodes.map(node => node.html).join(' | '))), error => done([String(error)]))";
    browser.execute_async(run, Vec::new()).await.unwrap().convert().unwrap()
}

/// How many pixels of the page are hidden at the side.
pub async fn surplus(browser: &WebDriver) -> i64 {
    let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
    browser.execute(wide, Vec::new()).await.unwrap().convert().unwrap()
}

/// The page hinders nobody, at a desk and on a telephone.
pub async fn is_for_everybody(browser: &WebDriver, name: &str) {
    assert_eq!(hindrances(browser).await, Vec::<String>::new(), "{name}");
    shoot(browser, name).await;
    browser.set_window_rect(0, 0, 390, 844).await.unwrap();
    assert_eq!(surplus(browser).await, 0, "{name}: something stands beside the screen of a telephone");
    assert_eq!(hindrances(browser).await, Vec::<String>::new(), "{name}, on a telephone");
    shoot(browser, &format!("{name}-telephone")).await;
    browser.set_window_rect(0, 0, 1_280, 1_000).await.unwrap();
}

/// A host that tells of these findings, as an agent of ours does.
async fn tell(
    master: &crate::support::ship::Ship,
    name: &str,
    kinds: &[(&str, serde_json::Value)],
) -> String {
    let (key, http) = (master.new_key().await, reqwest::Client::builder().no_proxy().build().unwrap());
    let hello = serde_json::json!({ "display_name": name, "lightship": { "protocols": [3], "host": name } });
    let send = async |path: String, session: &str, body: serde_json::Value| {
        let asked = http.post(format!("{}{path}", master.url())).bearer_auth(&key);
        let answer = asked.header("lightship-session", session).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json::<serde_json::Value>().await.unwrap()
    };
    let joined = send("/api/v2/agents/register".into(), "-", hello).await;
    let (id, session) =
        (joined["agent_id"].as_str().unwrap(), joined["lightship"]["session"].as_str().unwrap());
    let (status, body) = master.post(&format!("/api/v3/agents/{id}/approve"), serde_json::json!({})).await;
    assert_eq!(status, 200, "{body}");
    let checked = |kind: &str, items: &serde_json::Value| {
        let count = items.as_array().unwrap().len();
        serde_json::json!({ "kind": kind, "ok": true, "as_of": "2026-01-31T12:00:00Z", "is_complete": true,
            "digest": format!("{kind}-1"), "count": count, "pending": count })
    };
    let host = serde_json::json!({ "hostname": name, "os_version": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0-30",
        "reboot": { "wanted": true, "reasons": ["a newer kernel is installed"] },
        "abilities": { "publishes": { "yes": true }, "checks_images": { "yes": true }, "checks_packages": { "yes": true } } });
    let scanners: Vec<_> = kinds.iter().map(|(kind, items)| checked(kind, items)).collect();
    let scan = serde_json::json!({ "at": "2026-01-31T12:00:00Z", "scanners": scanners });
    let mut items = vec![
        serde_json::json!({ "kind": "host", "host": host }),
        serde_json::json!({ "kind": "scanned", "scan": scan }),
    ];
    items.extend(kinds.iter().map(|(kind, items)| {
        let findings = serde_json::json!({ "checked": checked(kind, items), "items": items });
        serde_json::json!({ "kind": "findings", "findings": findings })
    }));
    let batch = serde_json::json!({ "session": session, "first_seq": 0, "sent_at": null, "items": items });
    send(format!("/api/v3/agents/{id}/reports"), session, batch).await;
    id.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_updates_of_every_kind_are_seen_chosen_and_held_on_the_page() {
    // Given a master that somebody can sign in to, and two hosts with updates of every kind.
    let dir = TempDir::new().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let mut master = Rig::new("master", &folder("master")).start();
    let set_up = master.said("first run: open ");
    let newer = |name: &str, severity: &str| {
        serde_json::json!({ "name": name, "standing": "newer", "current_version": "1.0", "available_version": "2.0",
            "severity": severity, "is_security": severity == "critical" })
    };
    let unchecked = serde_json::json!({ "name": "ghcr.io/team/app:1", "standing": "unchecked", "cause": "waits",
        "reason": "the registry asked to wait until 12:00", "severity": "moderate" });
    let apt = serde_json::json!([newer("openssl", "critical"), newer("tzdata", "low")]);
    let images = serde_json::json!([newer("nginx:1.25", "moderate"), unchecked]);
    let debian = tell(&master, "web-1", &[("apt", apt.clone()), ("docker_image", images)]).await;
    let dnf = serde_json::json!([newer("kernel-core", "important")]);
    let windows = serde_json::json!([newer("6d0f3a1e", "critical")]);
    let winget = serde_json::json!([newer("Example.Tool", "moderate")]);
    tell(&master, "web-2", &[("apt", apt), ("dnf", dnf), ("windows_update", windows), ("winget", winget)])
        .await;
    let driver = Driver::start();
    let browser = driver.browser(&folder("profile")).await;
    browser.goto(&set_up).await.unwrap();
    type_in(&browser, "name", "ada").await;
    type_in(&browser, "password", PASSWORD).await;
    type_in(&browser, "again", PASSWORD).await;
    press(&browser, "Create administrator").await;

    // When the pages are opened, then each shows what there is, and hinders nobody.
    let of = "/updates/of?kind=apt&name=openssl";
    let host = format!("/agents/{debian}");
    let (status, asked) =
        master.post("/api/v3/plans", serde_json::json!({ "agents": [debian], "what": "all" })).await;
    assert_eq!(status, 202, "{asked}");
    let plan = format!("/plans/{}", asked["request"].as_str().unwrap());
    for (path, words, name) in [
        ("/", "2 hosts wait for a restart", "8-overview-updates"),
        ("/updates", "on 2 hosts", "9-updates"),
        (of, "web-2", "10-update"),
        (host.as_str(), "checks packages", "11-host"),
        (plan.as_str(), "1 still works it out", "13-plan"),
        ("/runs", "Nothing was installed yet", "14-history"),
    ] {
        browser.goto(format!("{}{path}", master.url())).await.unwrap();
        until_shown(&browser, words).await;
        shoot(&browser, name).await;
        assert_eq!(hindrances(&browser).await, Vec::<String>::new(), "{path}");
    }
    browser.goto(format!("{}/updates", master.url())).await.unwrap();
    for name in ["openssl", "kernel-core", "nginx:1.25", "6d0f3a1e", "Example.Tool", "ghcr.io/team/app:1"] {
        until_shown(&browser, name).await;
    }
    until_shown(&browser, "It could not be checked on any of them.").await;

    // When it is looked at on a telephone, nothing is hidden at the side.
    browser.set_window_rect(0, 0, 390, 844).await.unwrap();
    assert_eq!(surplus(&browser).await, 0);
    shoot(&browser, "12-updates-telephone").await;
    browser.set_window_rect(0, 0, 1280, 1000).await.unwrap();

    // When one is chosen and held, then it is on no host's list any more, and another scan does not bring it back.
    browser.find(By::XPath("//input[@aria-label='Choose openssl']")).await.unwrap().click().await.unwrap();
    press(&browser, "Hold").await;
    until("it is held on both", || async {
        let held = master.get("/api/v3/updates?state=held").await;
        (held["updates"].as_array().map(Vec::len) == Some(2)).then_some(())
    })
    .await;
    browser.goto(format!("{}/updates?state=held", master.url())).await.unwrap();
    until_shown(&browser, "openssl").await;

    // When a name is searched for while scans come in, then the list is as asked, also after it refreshed itself.
    browser.goto(format!("{}/updates?search=kernel", master.url())).await.unwrap();
    until_shown(&browser, "kernel-core").await;
    tell(&master, "web-3", &[("dnf", serde_json::json!([newer("kernel-core", "important")]))]).await;
    until_shown(&browser, "on 2 hosts").await;
    assert!(!browser.find(By::Tag("main")).await.unwrap().text().await.unwrap().contains("tzdata"));
    browser.quit().await.unwrap();
}
