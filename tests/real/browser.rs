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

const PASSWORD: &str = "a lamp on the water";

/// A driver of its own on a free port; ended with the test.
struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    /// It takes a port that is free for IPv4, and ends if another program has the same for IPv6.
    fn start() -> Self {
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

    async fn browser(&self, profile: &Path) -> WebDriver {
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

async fn shoot(browser: &WebDriver, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let file: PathBuf = folder.join(format!("{name}.png"));
    browser.screenshot(&file).await.unwrap();
}

async fn type_in(browser: &WebDriver, field: &str, text: &str) {
    browser.find(By::Name(field)).await.unwrap().send_keys(text).await.unwrap();
}

async fn press(browser: &WebDriver, words: &str) {
    let button = format!("//button[contains(normalize-space(.), '{words}')]");
    browser.find(By::XPath(button)).await.unwrap().click().await.unwrap();
}

/// Waits until the page shows `words`; a page that updates itself needs no reload.
async fn until_shown(browser: &WebDriver, words: &str) {
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
