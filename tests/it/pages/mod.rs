//! The pages, as a browser without scripts meets them.

mod access;
mod activity;
mod cloudflare;
mod content;
mod forms;
mod lists;
mod notifications;
mod plans;
mod search;
mod settings;
mod sign_in;
mod truth;

use std::collections::BTreeMap;
use std::sync::Mutex;

use lightship::chance::Chance;
use lightship::db::settings::password_secret;
use lightship::db::{Batch, Expected, RowChange};
use lightship::domain::event::{AdminEvent, Event, Stream};
use lightship::domain::role::Role;
use lightship::web::password;

use crate::support::asking::Answer;
use crate::support::master::TestMaster;

/// The password of every administrator of the tests.
pub const PASSWORD: &str = "a calm sea and prosperous voyage";

/// Keeps cookies and fills in forms.
pub struct Browser<'a> {
    master: &'a TestMaster,
    cookies: Mutex<BTreeMap<String, String>>,
}

impl<'a> Browser<'a> {
    fn new(master: &'a TestMaster) -> Self {
        Self { master, cookies: Mutex::default() }
    }

    /// With the first administrator, signed in.
    pub async fn signed_in(master: &'a TestMaster) -> Self {
        let hash = password::hash(PASSWORD, &Chance::seeded(7), &mut password::Memory::default());
        master.master.set_up_admin("ann", hash.into()).await.unwrap();
        let browser = Self::new(master);
        assert_eq!(browser.sign_in("ann", PASSWORD).await.status, 303);
        browser
    }

    /// As another administrator, who has this role and is named after it.
    pub async fn with_role(master: &'a TestMaster, role: Role) -> Self {
        let name = role.as_str();
        let hash = password::hash(PASSWORD, &Chance::seeded(7), &mut password::Memory::default());
        let made = Event::Admin(AdminEvent::Created { name: name.into(), role });
        let kept = RowChange::PutSecret {
            id: password_secret(name),
            purpose: "administrator password".into(),
            plain: hash.into(),
        };
        let batch = Batch::new("test", master.clock().now());
        master.db.commit(batch.append(Stream::admin(), Expected::Head, vec![made]).row(kept)).await.unwrap();
        let browser = Self::new(master);
        assert_eq!(browser.sign_in(name, PASSWORD).await.status, 303);
        browser
    }

    /// What its forms and changing calls carry.
    pub async fn csrf(&self) -> String {
        token_of(&self.get("/agents").await)
    }

    /// What it shows of itself.
    pub fn cookie_header(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&self, answer: Answer) -> Answer {
        for cookie in answer.headers.get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            assert!(text.contains("HttpOnly") && text.contains("SameSite=Lax"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.lock().unwrap().insert(name.into(), value.into());
        }
        answer
    }

    /// Loads a page.
    pub async fn get(&self, path: &str) -> Answer {
        self.keep(self.master.get(path).header("cookie", &self.cookie_header()).send().await)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.keep(self.master.post(path).header("cookie", &self.cookie_header()).form(fields).send().await)
    }

    /// Loads a page and sends a form with its token.
    pub async fn submit(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = token_of(&self.get(page).await);
        let mut all = vec![("csrf", token.as_str())];
        all.extend(fields);
        self.post(path, &all).await
    }

    async fn sign_in(&self, name: &str, password: &str) -> Answer {
        self.submit("/login", "/login", &[("name", name), ("password", password), ("next", "/agents")]).await
    }
}

fn token_of(page: &Answer) -> String {
    let rest =
        page.text.split(r#"name="csrf" value=""#).nth(1).unwrap_or_else(|| panic!("no form: {}", page.text));
    rest.split('"').next().unwrap().to_owned()
}
