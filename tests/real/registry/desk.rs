//! A master's desk between real registries and a real agent: who asks, how soon a push is seen, and whose login counts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptionsBuilder};
use lightship::docker::{BollardDocker, Docker};
use lightship::io::Io;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::parts::{Registry, Store, TwoPlatforms, Way, free_port};
use crate::browser::{Driver, PASSWORD, hindrances, press, shoot, surplus, type_in, until_shown};
use crate::scene::subfolder;
use crate::support::docker::Engine;
use crate::support::ship::{ADMIN_TOKEN, Rig, Ship};
use crate::support::until::until;

const PUSH: &str = "push-token-of-the-tests";
/// Far below the five minutes after which a host looks by itself.
const SECONDS: Duration = Duration::from_secs(20);

/// A master, and a host whose Engine has pulled an image from a registry that both reach. Programs come first: they end
/// before what they use.
struct Site {
    agent: Option<Ship>,
    agent_id: String,
    master: Ship,
    engine: Engine,
    store: Store,
    port: u16,
    image: String,
    dir: TempDir,
}

impl Site {
    /// The master runs, and the registry is there no more.
    async fn start() -> Self {
        let (engine, store, port) = (Engine::lease().await, Store::new(), free_port());
        let dir = TempDir::new().unwrap();
        let registry = format!("{}:{port}", engine.gateway());
        let image = format!("{registry}/team/app:stable");
        let master = Rig::new("master", &subfolder(&dir, "master"))
            .env("LIGHTSHIP__REGISTRY__INSECURE", &registry)
            .env("LIGHTSHIP__REGISTRY__PUSH_TOKEN", PUSH)
            .start();
        let open = Registry::start_at(&store, Way::Open, port, None).await;
        open.push("team/app", "stable", &TwoPlatforms::new("1.0", "1.0")).await;
        BollardDocker::new(&engine.docker_host(), Io::current()).unwrap().pull_image(&image).await.unwrap();
        drop(open);
        let body = ContainerCreateBody { image: Some(image.clone()), ..Default::default() };
        engine.run_body("app", body).await;
        Self { agent: None, agent_id: String::new(), master, engine, store, port, image, dir }
    }

    /// Has the agent join; if it may speak plain http it can ask the registry itself.
    async fn join(&mut self, may_ask_itself: bool) {
        let mut rig = Rig::new("agent", &subfolder(&self.dir, "agent"))
            .engine(&self.engine)
            .env("HOME", self.dir.path().to_str().unwrap())
            .env("LIGHTSHIP__UPDATES__CHECK_PACKAGES", "never")
            .env("AGENT_DISPLAY_NAME", "Web One")
            .env("DOCKFLARE_MASTER_URL", self.master.url())
            .env("DOCKFLARE_API_KEY", self.master.new_key().await);
        if may_ask_itself {
            rig =
                rig.env("LIGHTSHIP__REGISTRY__INSECURE", format!("{}:{}", self.engine.gateway(), self.port));
        }
        self.agent = Some(rig.start());
        self.agent_id = self.master.until_agent("pending").await;
        let path = format!("/api/v3/agents/{}/approve", self.agent_id);
        assert_eq!(self.master.post(&path, json!({})).await.0, 200);
        // Before, the desk had nothing to say to it.
        self.look().await;
    }

    fn registry(&self) -> String {
        format!("{}:{}", self.engine.gateway(), self.port)
    }

    /// Waits until the image stands like this; returns all that the scan said.
    async fn until_image(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        until(what, || async {
            let listed = self.master.get("/api/v3/updates?kind=docker_image&state=any").await;
            let all = listed["updates"].as_array()?.clone();
            let id = all.iter().find(|update| update["name"] == *self.image)?["id"].as_str()?.to_owned();
            let one = self.master.get(&format!("/api/v3/updates/{id}")).await;
            is_so(&one).then_some(one)
        })
        .await
    }

    /// What is on record of the agent's commands.
    async fn of_commands(&self, kind: &str) -> Vec<Value> {
        let path = format!("/api/v3/events?stream=agent/{}/commands&limit=1000", self.agent_id);
        let mut events = self.master.get(&path).await["events"].as_array().cloned().unwrap_or_default();
        events.retain(|row| row["event"]["type"] == kind);
        events
    }

    /// Who had the host look, each time.
    async fn asked_to_look(&self) -> Vec<String> {
        let queued = self.of_commands("command_queued").await;
        queued.iter().map(|row| row["actor"].as_str().unwrap().to_owned()).collect()
    }

    /// Has the host look, and waits until it has.
    async fn look(&self) {
        let (status, body) =
            self.master.post(&format!("/api/v3/agents/{}/scan", self.agent_id), json!({})).await;
        assert_eq!(status, 202, "{body}");
        until("the look is over", || async {
            let ended = self.of_commands("command_finished").await;
            ended.iter().any(|row| row["event"]["command_id"] == body["command_id"]).then_some(())
        })
        .await;
    }

    async fn login(&self, method: Method, body: Value) -> (u16, String) {
        let url = format!("{}/api/v3/registries/logins/{}", self.master.url(), self.registry());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = http.request(method, url).bearer_auth(ADMIN_TOKEN).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Leaves the Engine as it was.
    async fn clear(mut self) {
        self.agent.take();
        self.engine.remove("app").await;
        let force = RemoveImageOptionsBuilder::default().force(true).build();
        let client = self.engine.client();
        for image in client.list_images(None::<ListImagesOptions>).await.unwrap() {
            if image.repo_digests.iter().any(|digest| digest.starts_with(&self.registry())) {
                let _ = client.remove_image(&image.id, Some(force.clone()), None).await;
            }
        }
    }
}

fn cause(update: &Value) -> &str {
    update["finding"]["cause"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_push_that_the_registry_tells_of_is_on_the_list_within_seconds_and_the_desk_alone_asks_for_it() {
    // given an agent that cannot ask the registry itself
    let mut site = Site::start().await;
    let registry = Registry::start_telling(&site.store, site.port, site.master.url(), PUSH).await;
    site.join(false).await;
    site.until_image("it is known to be current", |update| update["state"] == "current").await;
    assert_eq!(registry.counts(), (1, 0, 0), "one HEAD: {:?}", registry.asked());
    // when: layers, manifests of two platforms and the index, each with a message of its own
    registry.push_as(&site.registry(), "team/app", "stable", &TwoPlatforms::new("1.2", "1.2")).await;
    let begun = Instant::now();
    // then
    let update = site.until_image("the push is found", |update| update["state"] == "discovered").await;
    assert!(begun.elapsed() < SECONDS, "{:?}", begun.elapsed());
    println!("push to shown: {:?}", begun.elapsed());
    assert!(update["available_version"].as_str().unwrap().starts_with("1.2 ("), "{update}");
    assert_eq!(site.asked_to_look().await, ["token", "registry"]);
    // A push that nobody runs wakes nobody, and the next one of the image does again.
    registry.push_as(&site.registry(), "team/other", "stable", &TwoPlatforms::new("7", "7")).await;
    registry.push_as(&site.registry(), "team/app", "stable", &TwoPlatforms::new("1.3", "1.3")).await;
    site.until_image("the next push is found", |update| {
        update["available_version"].as_str().is_some_and(|version| version.starts_with("1.3 ("))
    })
    .await;
    assert_eq!(site.asked_to_look().await, ["token", "registry", "registry"]);
    for log in [site.master.log(), site.agent.as_ref().unwrap().log()] {
        assert!(!log.contains(PUSH), "{log}");
    }
    site.clear().await;
}

#[tokio::test]
async fn a_private_image_is_seen_with_the_login_that_was_set_and_with_no_other() {
    // given a registry that shows nothing to strangers
    let mut site = Site::start().await;
    let _registry = Registry::start_at(&site.store, Way::Basic, site.port, None).await;
    site.join(true).await;
    let hidden = |update: &Value| update["state"] == "unchecked" && cause(update) == "not_allowed";
    site.until_image("it is not allowed to strangers", hidden).await;
    // when the login is set, with a wrong password first
    let (status, said) = site.login(Method::PUT, json!({ "username": "bob", "password": "wrong" })).await;
    assert_eq!((status, said.contains("wrong")), (200, false), "{said}");
    site.look().await;
    assert_eq!(site.login(Method::PUT, json!({ "username": "bob", "password": "pw" })).await.0, 200);
    site.look().await;
    // then what was said to strangers and to the wrong password is forgotten
    let seen = site.until_image("it is seen", |update| update["state"] == "current").await;
    assert_eq!(seen["problem"], Value::Null, "{seen}");
    // when it is forgotten
    assert_eq!(site.login(Method::DELETE, Value::Null).await.0, 200);
    site.look().await;
    site.until_image("it is hidden again", |update| cause(update) == "not_allowed").await;
    site.clear().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sets_a_login_on_the_page_and_sees_a_push_without_a_reload() {
    // given
    let mut site = Site::start().await;
    let registry = Registry::start_telling(&site.store, site.port, site.master.url(), PUSH).await;
    let set_up = site.master.said("first run: open ");
    site.join(false).await;
    site.until_image("it is known to be current", |update| update["state"] == "current").await;
    let driver = Driver::start();
    let profile: PathBuf = subfolder(&site.dir, "profile");
    let browser = driver.browser(&profile).await;
    browser.goto(&set_up).await.unwrap();
    type_in(&browser, "name", "ada").await;
    type_in(&browser, "password", PASSWORD).await;
    type_in(&browser, "again", PASSWORD).await;
    press(&browser, "Create administrator").await;
    until_shown(&browser, "Web One").await;
    // when the updates are looked at while somebody pushes
    browser.goto(format!("{}/updates", site.master.url())).await.unwrap();
    registry.push_as(&site.registry(), "team/app", "stable", &TwoPlatforms::new("1.2", "1.2")).await;
    // then
    until_shown(&browser, &site.image).await;
    until_shown(&browser, "1.2 (").await;
    shoot(&browser, "13-pushed-image").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    // when a login is set
    browser.goto(format!("{}/system", site.master.url())).await.unwrap();
    type_in(&browser, "registry", "ghcr.io").await;
    type_in(&browser, "username", "bob").await;
    type_in(&browser, "password", "nobody-sees-this").await;
    press(&browser, "Set login").await;
    // then it is listed without its password
    until_shown(&browser, "by ada").await;
    until_shown(&browser, "ghcr.io").await;
    assert!(!browser.source().await.unwrap().contains("nobody-sees-this"));
    browser.execute("document.getElementById('registries').scrollIntoView()", Vec::new()).await.unwrap();
    shoot(&browser, "14-registry-logins").await;
    assert_eq!(hindrances(&browser).await, Vec::<String>::new());
    browser.set_window_rect(0, 0, 390, 844).await.unwrap();
    browser.execute("document.getElementById('registries').scrollIntoView()", Vec::new()).await.unwrap();
    assert_eq!(surplus(&browser).await, 0);
    shoot(&browser, "15-registry-logins-telephone").await;
    browser.goto(format!("{}/updates", site.master.url())).await.unwrap();
    until_shown(&browser, &site.image).await;
    assert_eq!(surplus(&browser).await, 0);
    shoot(&browser, "16-pushed-image-telephone").await;
    browser.quit().await.unwrap();
    site.clear().await;
}
