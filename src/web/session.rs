//! What a browser shows: one encrypted cookie, and the token that every form carries.
//!
//! The key is kept by the caller, so that a restart signs nobody out. Holds no state of its own: whether the session
//! that a cookie names is open stands in the database.

use actix_web::HttpRequest;
use actix_web::cookie::{Cookie, CookieJar, Key, SameSite, time};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// Name of the session cookie.
pub const COOKIE: &str = "lightship_session";
/// Name of the cookie by which a browser is known that signed in before.
pub const DEVICE: &str = "lightship_device";
/// How long a session lasts.
pub const LIFETIME: TimeDelta = TimeDelta::hours(12);

/// What the cookie says. A session without an id belongs to a visitor who has not signed in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Which open session it names.
    #[serde(default)]
    pub id: Option<String>,
    /// When.
    pub since: DateTime<Utc>,
    /// What every form of this session carries.
    pub csrf: String,
}

impl Session {
    /// Reads the session of a request; none if there is no cookie, or one that is not ours or too old.
    pub fn read(req: &HttpRequest, key: &Key, now: DateTime<Utc>) -> Option<Self> {
        let session: Self = unseal(req, key, COOKIE)?;
        (now - session.since < LIFETIME && session.since - now < TimeDelta::minutes(5)).then_some(session)
    }

    /// Makes the cookie for an answer.
    pub fn cookie(&self, key: &Key, secure: bool) -> Cookie<'static> {
        seal(self, key, COOKIE, secure, time::Duration::seconds(LIFETIME.num_seconds()))
    }

    /// Tells whether a form belongs to this session.
    pub fn owns(&self, token: &str) -> bool {
        self.csrf.as_bytes().ct_eq(token.as_bytes()).into()
    }
}

/// A browser that signed in before as `name`; its failed attempts are counted apart from everybody else's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// As whom.
    pub name: String,
    /// Random.
    pub id: String,
}

impl Device {
    /// Reads the device cookie of a request.
    pub fn read(req: &HttpRequest, key: &Key) -> Option<Self> {
        unseal(req, key, DEVICE)
    }

    /// Makes the cookie for an answer.
    pub fn cookie(&self, key: &Key, secure: bool) -> Cookie<'static> {
        seal(self, key, DEVICE, secure, time::Duration::days(365))
    }
}

/// The cookie that ends a session.
pub fn no_session(secure: bool) -> Cookie<'static> {
    let mut cookie =
        Cookie::build(COOKIE, "").path("/").http_only(true).same_site(SameSite::Lax).secure(secure).finish();
    cookie.make_removal();
    cookie
}

fn seal<T: Serialize>(
    value: &T,
    key: &Key,
    name: &'static str,
    secure: bool,
    age: time::Duration,
) -> Cookie<'static> {
    let text = serde_json::to_string(value).expect("plain fields serialise");
    let mut jar = CookieJar::new();
    let cookie = Cookie::build(name, text)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .max_age(age);
    jar.private_mut(key).add(cookie.finish());
    jar.get(name).expect("was added just now").clone()
}

fn unseal<T: serde::de::DeserializeOwned>(req: &HttpRequest, key: &Key, name: &str) -> Option<T> {
    let mut jar = CookieJar::new();
    jar.add_original(req.cookie(name)?);
    serde_json::from_str(jar.private(key).get(name)?.value()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn session() -> Session {
        Session { id: Some("ann-1".into()), since: DateTime::UNIX_EPOCH, csrf: "token".into() }
    }

    fn request(cookie: Cookie<'static>) -> HttpRequest {
        TestRequest::default().cookie(cookie).to_http_request()
    }

    #[test]
    fn a_session_comes_back_as_it_was_sealed() {
        let key = Key::generate();
        let req = request(session().cookie(&key, false));
        assert_eq!(Session::read(&req, &key, DateTime::UNIX_EPOCH), Some(session()));
    }

    #[test]
    fn a_session_of_another_key_or_too_old_is_none() {
        let key = Key::generate();
        let req = request(session().cookie(&key, false));
        assert_eq!(Session::read(&req, &Key::generate(), DateTime::UNIX_EPOCH), None);
        assert_eq!(Session::read(&req, &key, DateTime::UNIX_EPOCH + LIFETIME), None);
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_and_other_sites() {
        let cookie = session().cookie(&Key::generate(), true);
        assert_eq!(
            (cookie.http_only(), cookie.secure(), cookie.same_site()),
            (Some(true), Some(true), Some(SameSite::Lax))
        );
        assert!(!cookie.value().contains("ann-1"), "encrypted, not only signed");
    }

    #[test]
    fn a_form_belongs_to_its_session_only() {
        assert!(session().owns("token"));
        assert!(!session().owns("") && !session().owns("tokem"));
    }
}
