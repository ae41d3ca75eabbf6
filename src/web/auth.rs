//! Who is calling. Every handler names one of these as its first argument; without it, it does not compile.
//!
//! Agents come with their key and only ever reach their own paths; people come with the admin token, over
//! the admin socket, or with a session. An agent key never opens what people use.

use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest};

use super::error::ApiError;
use super::route::Caller;
use super::session::Session;
use super::state::WebState;
use crate::actors::master::{Admitted, Errand, KeyAccess, MasterError, Refused, Slot};
use crate::db::read::find_signed_in;
use crate::protocol::v3::SESSION_HEADER;

/// The peer of a connection to the admin socket, if it is this user or root.
#[derive(Debug, Clone)]
pub struct LocalAdmin;

/// Anybody; for health, sign-in and assets.
pub struct Anyone;

impl Caller for Anyone {}

impl FromRequest for Anyone {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self))
    }
}

/// What an agent's call is about; see [`Errand`].
pub trait OnErrand: 'static {
    /// The errand.
    const ERRAND: Errand;
}

/// Calls that report something.
pub struct Reporting;
/// Calls that register, and that fetch, acknowledge or finish commands.
pub struct Fetching;

impl OnErrand for Reporting {
    const ERRAND: Errand = Errand::Report;
}
impl OnErrand for Fetching {
    const ERRAND: Errand = Errand::Commands;
}

/// The agent that the path names, with its own key. Refused in this order: 401, 404, 403.
pub struct CallingAgent<E> {
    /// What the master keeps of it.
    pub slot: Arc<Slot>,
    errand: PhantomData<E>,
}

impl<E> Caller for CallingAgent<E> {}

impl<E: OnErrand> FromRequest for CallingAgent<E> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admit::<E>(req).map(|admitted| Self { slot: admitted.slot, errand: PhantomData }))
    }
}

fn admit<E: OnErrand>(req: &HttpRequest) -> Result<Admitted, ApiError> {
    let state = state(req);
    let key = bearer(req).ok_or_else(|| wrong_key(req, state, ApiError::AgentUnauthenticated))?;
    let admitted = match state.master().directory.admit(key, req.match_info().query("id"), E::ERRAND) {
        Ok(admitted) => admitted,
        Err(Refused::UnknownKey) => return Err(wrong_key(req, state, ApiError::AgentUnauthenticated)),
        Err(Refused::UnknownAgent) => return Err(ApiError::AgentNotFound),
        Err(Refused::OtherAgent) => return Err(ApiError::KeyMismatch),
    };
    let slot = &admitted.slot;
    if !state.lets_agent(slot.id().as_str()) {
        return Err(ApiError::OverShare { retry_after: std::time::Duration::from_secs(1) });
    }
    slot.touch_from(state.master().clock.now(), state.source(req));
    Ok(admitted)
}

/// An agent in its native session; 409 if that is over. A removed one may report too, and nothing comes of it: told
/// that its key opens nothing, it would not stay for its last command.
pub struct NativeAgent {
    /// What the master keeps of it.
    pub slot: Arc<Slot>,
    /// The key it came with.
    pub key: Arc<KeyAccess>,
    session: String,
}

impl Caller for NativeAgent {}

impl NativeAgent {
    /// Fails if nothing may be handed over any more: its key was revoked, or it began another session.
    pub fn still_speaks(&self) -> Result<(), ApiError> {
        if !self.slot.accepts(&self.key.key_id) {
            return Err(MasterError::KeyRevoked.into());
        }
        if !self.slot.has_session(&self.session) {
            return Err(ApiError::SessionUnknown);
        }
        Ok(())
    }
}

impl FromRequest for NativeAgent {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admit::<Fetching>(req).and_then(|agent| {
            let session = req.headers().get(SESSION_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
            if !agent.slot.has_session(session) {
                return Err(ApiError::SessionUnknown);
            }
            Ok(Self { slot: agent.slot, key: agent.key, session: session.to_owned() })
        }))
    }
}

/// A good agent key, whatever agent it belongs to: for registration, which comes before commands are fetched, and for
/// the account routes.
pub struct CallingKey<E>(pub Arc<KeyAccess>, PhantomData<E>);

impl<E> Caller for CallingKey<E> {}

impl<E: OnErrand> FromRequest for CallingKey<E> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = state(req);
        let directory = &state.master().directory;
        let access = bearer(req).and_then(|key| directory.authenticate(key));
        let access = access.filter(|access| E::ERRAND == Errand::Commands || !directory.is_leaving(access));
        ready(match access {
            Some(access) => Ok(Self(access, PhantomData)),
            None => Err(wrong_key(req, state, ApiError::AgentUnauthenticated)),
        })
    }
}

/// What a person may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Enrol, rename, apply.
    Operator,
    /// Everything: keys, removal, settings.
    Admin,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

macro_rules! people {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        pub struct $name {
            /// As the audit trail calls the caller.
            pub name: String,
            /// True for a signed-in browser, which anybody may sit at.
            pub is_browser: bool,
        }

        impl Caller for $name {}

        impl FromRequest for $name {
            type Error = ApiError;
            type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

            fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
                let req = req.clone();
                Box::pin(async move {
                    let (name, is_browser) = person(&req, Role::$name).await?;
                    Ok(Self { name, is_browser })
                })
            }
        }
    )*};
}

people!(
    /// A person who may look.
    Viewer,
    /// A person who may enrol, rename and apply.
    Operator,
    /// A person who may do everything.
    Admin
);

/// Finds out which person calls the API, and whether with a browser.
async fn person(req: &HttpRequest, needed: Role) -> Result<(String, bool), ApiError> {
    let state = state(req);
    if req.conn_data::<LocalAdmin>().is_some() {
        return Ok(("local".into(), false));
    }
    if let Some(token) = bearer(req) {
        return match state.is_admin_token(token) {
            true => Ok(("token".into(), false)),
            false => Err(wrong_key(req, state, ApiError::Unauthenticated)),
        };
    }
    let Some((session, name, role)) = signed_in(req).await? else {
        return Err(ApiError::Unauthenticated);
    };
    let changes = !matches!(*req.method(), Method::GET | Method::HEAD);
    let token = req.headers().get("x-csrf-token").and_then(|v| v.to_str().ok()).unwrap_or_default();
    if changes && !session.owns(token) {
        return Err(ApiError::BadCsrf);
    }
    at_least(role, needed).map(|()| (name, true))
}

/// Returns the session of a signed-in browser; none if it was ended, or its administrator is gone or has a new
/// password.
pub async fn signed_in(req: &HttpRequest) -> Result<Option<(Session, String, Role)>, ApiError> {
    let state = state(req);
    let Some(session) = Session::read(req, &state.settings().cookie_key, state.master().clock.now()) else {
        return Ok(None);
    };
    let Some(id) = &session.id else { return Ok(None) };
    let admin = find_signed_in(&state.master().db, id).await.map_err(ApiError::internal)?;
    Ok(admin.map(|admin| (session, admin.name, Role::Admin)))
}

/// Fails if `role` is too small.
pub fn at_least(role: Role, needed: Role) -> Result<(), ApiError> {
    (role >= needed).then_some(()).ok_or(ApiError::Forbidden { needed: needed.word() })
}

/// Returns the shared state of a request.
pub fn state(req: &HttpRequest) -> &WebState {
    req.app_data::<actix_web::web::Data<WebState>>().expect("`serve` and the tests set it").get_ref()
}

/// Returns the token of `Authorization: Bearer <token>`: any case of the scheme, exactly two words.
fn bearer(req: &HttpRequest) -> Option<&[u8]> {
    let value = req.headers().get(AUTHORIZATION)?.as_bytes().trim_ascii();
    let (scheme, token) = value.split_at(value.iter().position(|byte| *byte == b' ')?);
    let token = token.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.iter().any(|b| b" \t".contains(b))).then_some(token)
}

fn wrong_key(req: &HttpRequest, state: &WebState, error: ApiError) -> ApiError {
    match state.attempts().key_failed(state.source(req)) {
        Some(retry_after) => ApiError::TooManyAttempts { retry_after },
        None => error,
    }
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

    #[test]
    fn a_role_includes_the_smaller_ones() {
        assert!(at_least(Role::Admin, Role::Viewer).is_ok());
        assert!(at_least(Role::Viewer, Role::Viewer).is_ok());
        assert!(matches!(
            at_least(Role::Viewer, Role::Operator),
            Err(ApiError::Forbidden { needed: "operator" })
        ));
    }
}
