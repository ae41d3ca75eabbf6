//! Memory that is given back: what a master with a large fleet holds some time after people signed in, and after lists of
//! everything were read, against what it held before.

use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};

use crate::fleet;
use crate::plan::Plan;
use crate::process::Memory;
use crate::sheet::{Goal, Row};
use crate::support::ship::{ADMIN_TOKEN, Rig, Ship};

/// Sign-ins, every second one with a wrong password.
const SIGN_INS: usize = 20;
const PASSWORD: &str = "a lamp on the water";
/// Lists of the API.
const LISTS: [&str; 8] = [
    "/api/v2/agents",
    "/api/v2/services",
    "/api/v2/overview",
    "/api/v3/routes",
    "/api/v3/events?limit=1000",
    "/api/v3/updates",
    "/api/v3/runs",
    "/api/v3/approvals",
];
/// Pages with their live parts.
const PAGES: [[&str; 2]; 3] =
    [["/", "/fragments/overview"], ["/agents", "/fragments/agents"], ["/routes", "/fragments/routes"]];

/// Measures it after each of them, always against the first rest.
pub async fn measure(plan: &Plan) -> Vec<Row> {
    let (count, interval) = (plan.count(5_000, 500), Duration::from_secs(plan.count(30, 5) as u64));
    let dir = tempfile::tempdir().unwrap();
    let agents = fleet::agents(dir.path(), count).await;
    let mut master = Rig::new("master", dir.path()).env("LOG_LEVEL", "error").start();
    let mut visitor = Visitor::of(&master);
    visitor.set_up(&master.said("first run: open ")).await;
    // The second round changes nothing: what it needs is there before it counts.
    fleet::reports(&master, &fleet::lines(&agents), interval, 2).await;
    let mut rest = Rest::after(&master, Duration::from_secs(plan.count(15, 3) as u64), count).await;

    for number in 0..SIGN_INS {
        visitor.sign_in(number).await;
    }
    rest.measure(&format!("{SIGN_INS} sign-ins")).await;
    for list in LISTS {
        visitor.read(list).await;
        rest.measure(&format!("`GET {list}`")).await;
    }
    for [page, fragment] in PAGES {
        visitor.read(page).await;
        visitor.read(fragment).await;
        rest.measure(&format!("page `{page}` and its live part")).await;
    }
    rest.rows
}

/// A process at rest, and what it holds after each load.
struct Rest {
    pid: u32,
    pause: Duration,
    fleet: usize,
    before: Memory,
    rows: Vec<Row>,
}

impl Rest {
    async fn after(master: &Ship, pause: Duration, fleet: usize) -> Self {
        tokio::time::sleep(pause).await;
        Self { pid: master.pid(), pause, fleet, before: Memory::of(master.pid()), rows: Vec::new() }
    }

    async fn measure(&mut self, what: &str) {
        tokio::time::sleep(self.pause).await;
        let now = Memory::of(self.pid);
        let (fleet, secs) = (self.fleet, self.pause.as_secs());
        let what = format!("master memory {secs} s after {what}, {fleet} agents, against before");
        let detail = format!(
            "{:.1} MiB RSS, RssAnon {:.1}; before {:.1}, {:.1}",
            now.rss, now.anon, self.before.rss, self.before.anon
        );
        self.rows.push(Row::new(what, Goal::AtMost(1.2), now.rss / self.before.rss, "").detail(detail));
    }
}

/// A person with a browser, and a script with the admin token.
struct Visitor {
    http: reqwest::Client,
    url: String,
    session: String,
}

impl Visitor {
    fn of(master: &Ship) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.timeout(Duration::from_secs(60)).build().unwrap();
        Self { http, url: master.url().to_owned(), session: String::new() }
    }

    async fn set_up(&mut self, link: &str) {
        let fields = [("name", "ann"), ("password", PASSWORD), ("again", PASSWORD)];
        let (status, cookies) = self.submit(link, "/setup", &fields).await;
        assert_eq!(status, 303, "the first administrator");
        self.session = cookies;
    }

    /// Each wrong one has a name of its own: after five of one name the next would only be told to wait.
    async fn sign_in(&self, number: usize) {
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
    async fn read(&self, path: &str) {
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
