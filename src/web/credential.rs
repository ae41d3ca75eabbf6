//! Who calls: found out once for each request, before anything is decided about it.
//!
//! | Carried by | Kind | May open |
//! | --- | --- | --- |
//! | `Authorization: Bearer` | agent key | the agent's own routes, and nothing that people use |
//! | `Authorization: Bearer` | access token of a RedFlag agent | the agent's own routes of RedFlag's API |
//! | `Authorization: Bearer` | access token of an administrator | the admin API, as the administrator's role allows |
//! | `Authorization: Bearer` | push token of registries | the route for what they say of pushes, which alone looks for it |
//! | `Authorization: Bearer` | admin token | the admin API, and nothing of an agent |
//! | connection to the admin socket | local socket | the admin API |
//! | cookie | browser, with the role of its administrator | the pages, and the admin API |
//!
//! A new kind is a variant here and a decision in `auth`, which the compiler asks for. Agents are known by the header
//! alone: finding that out waits for nothing and allocates nothing, because every heartbeat does it. Pages look at the
//! cookie alone: a proxy on the way may use the header for itself. The admin API takes the first that is there, in the
//! order of the table; whoever is refused with it does not get in with another.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::access_token::{AgentClaims, Claims, looks_like_one};
use super::error::ApiError;
use super::session::Session;
use super::state::state;
use crate::actors::master::KeyAccess;
use crate::db::read::{find_admin, find_signed_in};
use crate::domain::role::Role;

/// The peer of a connection to the admin socket, if it is this user or root.
#[derive(Debug, Clone)]
pub struct LocalAdmin;

/// See the module.
pub enum Credential {
    /// Nothing that says who calls.
    Nobody,
    /// A token that is nobody's, or no longer.
    UnknownToken,
    /// The key of an agent.
    AgentKey(Arc<KeyAccess>),
    /// A good access token of an agent; whether its key still opens anything is asked apart.
    AgentAccess(Box<AgentClaims>),
    /// A person with an access token.
    Person(Box<Person>),
    /// The admin token.
    AdminToken,
    /// The admin socket, with a peer of our user or root.
    LocalSocket,
    /// A browser that is signed in.
    Browser(Box<Browser>),
}

/// An administrator with an access token.
pub struct Person {
    /// Who it is.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    version: u32,
}

/// A browser whose session is open.
pub struct Browser {
    /// The session.
    pub session: Session,
    /// Who is signed in.
    pub name: String,
    /// What the person may do.
    pub role: Role,
}

impl Credential {
    /// Returns what the header carries.
    pub fn in_header(req: &HttpRequest) -> Self {
        let Some(token) = bearer(req) else { return Self::Nobody };
        let state = state(req);
        // An agent's key first: one that is also set as the admin token stays an agent's.
        match state.master().directory.authenticate(token) {
            Some(access) => Self::AgentKey(access),
            None if state.is_admin_token(token) => Self::AdminToken,
            None => match state.access_tokens().read(token, state.master().clock.now()) {
                Some(Claims::Agent(claims)) => Self::AgentAccess(Box::new(claims)),
                // What the role is, and whether the password is still the same, only the database knows.
                Some(Claims::Person(of)) => Self::Person(Box::new(Person {
                    name: of.username,
                    role: Role::Viewer,
                    version: of.version,
                })),
                None => Self::UnknownToken,
            },
        }
    }

    /// Returns the text that the header carries, for routes that take what is no credential of ours yet.
    pub fn text_in_header(req: &HttpRequest) -> Option<&str> {
        bearer(req).and_then(|token| std::str::from_utf8(token).ok())
    }

    /// Returns what the cookie carries; nobody if its session was ended, or its administrator is gone or has a new
    /// password.
    pub async fn in_cookie(req: &HttpRequest) -> Result<Self, ApiError> {
        let state = state(req);
        let Some(session) = Session::read(req, &state.settings().cookie_key, state.master().clock.now())
        else {
            return Ok(Self::Nobody);
        };
        let Some(id) = &session.id else { return Ok(Self::Nobody) };
        let admin = find_signed_in(&state.master().db, id).await.map_err(ApiError::internal)?;
        Ok(admin.map_or(Self::Nobody, |admin| {
            Self::Browser(Box::new(Browser { session, name: admin.name, role: admin.role }))
        }))
    }

    /// Returns the first that is there of header, connection and cookie.
    pub async fn anywhere(req: &HttpRequest) -> Result<Self, ApiError> {
        match Self::in_header(req) {
            Self::Nobody if req.conn_data::<LocalAdmin>().is_some() => Ok(Self::LocalSocket),
            Self::Nobody => Self::in_cookie(req).await,
            Self::Person(person) => person.looked_up(req).await,
            carried => Ok(carried),
        }
    }
}

impl Person {
    /// Returns what the person may do now; nothing if the password is another one or the administrator is gone.
    async fn looked_up(self, req: &HttpRequest) -> Result<Credential, ApiError> {
        let admin = find_admin(&state(req).master().db, &self.name).await.map_err(ApiError::internal)?;
        let admin = admin.filter(|admin| admin.session_version == self.version);
        Ok(admin.map_or(Credential::UnknownToken, |admin| {
            Credential::Person(Box::new(Self { role: admin.role, ..self }))
        }))
    }
}

/// Returns the token of `Authorization: Bearer <token>`: any case of the scheme, exactly two words.
fn bearer(req: &HttpRequest) -> Option<&[u8]> {
    let value = req.headers().get(AUTHORIZATION)?.as_bytes().trim_ascii();
    // Scripts for RedFlag leave the scheme out; nothing else has the shape of an access token.
    if !value.contains(&b' ') && looks_like_one(value) {
        return Some(value);
    }
    let (scheme, token) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
    let token = token.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.iter().any(|b| b" \t".contains(b))).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn the_header_is_two_words_and_the_scheme_has_any_case() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER  abc ", Some("abc")),
            ("Bearer ", None),
            ("Bearer a\tb", None),
            ("Bearer", None),
            ("Bearer a b", None),
            ("Basic abc", None),
            ("abc", None),
        ];
        for (header, expected) in cases {
            let req = TestRequest::default().insert_header((AUTHORIZATION, header)).to_http_request();
            assert_eq!(bearer(&req), expected.map(str::as_bytes), "{header:?}");
        }
    }
}
