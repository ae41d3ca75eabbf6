//! A visitor of the pages.

use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};

use crate::support::ship::{ADMIN_TOKEN, Ship};

const PASSWORD: &str = "a lamp on the water";

/// A person with a browser, and a script with the admin token.
pub struct Visitor {
    http: reqwest::Client,
    url: String,
    session: String,
}

impl Visitor {
    /// Who has no session yet.
    pub fn of(master: &Ship) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.timeout(Duration::from_secs(60)).build().unwrap();
        Self { http, url: master.url().to_owned(), session: String::new() }
    }

    /// Becomes the first administrator.
    pub async fn set_up(&mut self, link: &str) {
        let fields = [("name", "ann"), ("password", PASSWORD), ("again", PASSWORD)];
        let (status, cookies) = self.submit(link, "/setup", &fields).await;
        assert_eq!(status, 303, "the first administrator");
        self.session = cookies;
    }

    /// Signs in, every second time as somebody who is not known.
    ///
    /// Each wrong one has a name of its own: after five of one name the next would only be told to wait.
    pub async fn sign_in(&self, number: usize) {
        let (name, expected) =
            if number.is_multiple_of(2) { ("ann".into(), 303) } else { (format!("guest-{number}"), 401) };
        let login = format!("{}/login", self.url);
        let fields = [("name", name.as_str()), ("password", PASSWORD), ("next", "/")];
        assert_eq!(self.submit(&login, "/login", &fields).await.0, expected, "sign-in of {name}");
    }

    /// Loads a page and sends its form, as a browser without a past; returns the status and the new cookies.
    async fn submit(&self, page: &str, form: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let loaded = self.http.get(page).send().await.unwrap();
        let cookies = cookies(loaded.headers());
        let text = loaded.text().await.unwrap();
        let hidden = |name: &'static str| {
            let rest = text.split(&format!("name=\"{name}\" value=\"")).nth(1)?;
            Some((name, rest.split('"').next()?))
        };
        let mut all: Vec<(&str, &str)> = ["csrf", "token"].into_iter().filter_map(hidden).collect();
        all.extend(fields);
        let sent = self.http.post(format!("{}{form}", self.url)).header(COOKIE, cookies).form(&all);
        let answer = sent.send().await.unwrap();
        (answer.status().as_u16(), self::cookies(answer.headers()))
    }

    /// Reads a list to its end.
    pub async fn read(&self, path: &str) {
        let request = self.http.get(format!("{}{path}", self.url));
        let request = match path.starts_with("/api/") {
            true => request.bearer_auth(ADMIN_TOKEN),
            false => request.header(COOKIE, &self.session),
        };
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.bytes().await.unwrap();
    }
}

fn cookies(headers: &HeaderMap) -> String {
    let set = headers.get_all(SET_COOKIE).iter();
    let pairs: Vec<&str> = set.filter_map(|cookie| cookie.to_str().ok()?.split(';').next()).collect();
    pairs.join("; ")
}
