//! A forgotten password is set anew from the command line.

use reqwest::header::{COOKIE, SET_COOKIE};

use super::{Desk, ended};

/// Loads a page and sends a form from it, as a browser without a past; returns the status.
async fn submit(page: &str, form: &str, fields: &[(&str, &str)]) -> u16 {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let loaded = http.get(page).send().await.unwrap();
    let cookies = loaded.headers().get_all(SET_COOKIE).iter();
    let cookies: Vec<String> =
        cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next().map(str::to_owned)).collect();
    let text = loaded.text().await.unwrap();
    let hidden = |name: &str| {
        let rest = text.split(&format!("name=\"{name}\" value=\"")).nth(1)?;
        rest.split('"').next().map(str::to_owned)
    };
    let mut all: Vec<(&str, String)> =
        ["csrf", "token"].into_iter().filter_map(|name| Some((name, hidden(name)?))).collect();
    all.extend(fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let sent = http.post(form).header(COOKIE, cookies.join("; ")).form(&all).send().await;
    sent.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_password_is_reset_from_standard_input() {
    let mut desk = Desk::start();
    let link = desk.master.said("first run: open ");
    let (old, new) = ("a lamp on the water", "another lamp on the shore");
    let url = |path: &str| format!("{}{path}", desk.master.url());
    let fields = [("name", "ann"), ("password", old), ("again", old)];
    assert_eq!(submit(&link, &url("/setup"), &fields).await, 303);
    let sign_in = async |password: &str| {
        let fields = [("name", "ann"), ("password", password), ("next", "/")];
        submit(&url("/login"), &url("/login"), &fields).await
    };
    assert_eq!(sign_in(old).await, 303);

    let args = ["--master", desk.master.url(), "admin", "reset-password", "ann"];
    let (_, said) = ended(0, &args, desk.far.verb_reading(&args, &format!("{new}\n")));
    assert!(said.contains("the password of `ann` is set") && !said.contains(new), "{said}");

    assert_eq!((sign_in(new).await, sign_in(old).await), (303, 401));
    let (_, said) = desk.near(1, &["admin", "reset-password", "ann"]);
    assert!(said.contains("no password was given"), "{said}");
    let unknown = ["admin", "reset-password", "bob"];
    let (_, said) = ended(1, &unknown, desk.near.verb_reading(&unknown, &format!("{new}\n")));
    assert!(said.contains("bob"), "{said}");
}
