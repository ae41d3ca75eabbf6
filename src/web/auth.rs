//! Who may call. Every handler names one of these as its first argument; without it, it does not compile.
//!
//! Each lets in some of the credentials that a request can carry, and is refused the others: see `credential`.

use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::{FromRequest, HttpRequest};
use secrecy::SecretString;

use super::access_token::AgentClaims;
use super::credential::Credential;
use super::error::ApiError;
use super::route::Caller;
use super::state::{WebState, state};
use crate::actors::master::{Errand, KeyAccess, MasterError, Refused, Slot};
use crate::domain::role::{BY_SOCKET, BY_TOKEN, Role};
use crate::protocol::v3::SESSION_HEADER;

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
        ready(admit::<E>(req).map(|(slot, _)| Self { slot, errand: PhantomData }))
    }
}

/// Lets in the agent that the path names. The header is looked at once, and nothing else of the request.
fn admit<E: OnErrand>(req: &HttpRequest) -> Result<(Arc<Slot>, Arc<KeyAccess>), ApiError> {
    let state = state(req);
    let key = agent_key(req, state)?;
    let slot = match state.master().directory.admit(&key, req.match_info().query("id"), E::ERRAND) {
        Ok(slot) => slot,
        Err(Refused::UnknownKey) => return Err(wrong_key(req, state, ApiError::AgentUnauthenticated)),
        Err(Refused::UnknownAgent) => return Err(ApiError::AgentNotFound),
        Err(Refused::OtherAgent) => return Err(ApiError::KeyMismatch),
    };
    if !state.lets_agent(slot.id().as_str()) {
        return Err(ApiError::OverShare { retry_after: std::time::Duration::from_secs(1) });
    }
    slot.touch_from(state.master().clock.now(), state.source(req));
    Ok((slot, key))
}

/// Returns the key of an agent; what people come with opens nothing here.
fn agent_key(req: &HttpRequest, state: &WebState) -> Result<Arc<KeyAccess>, ApiError> {
    match Credential::in_header(req) {
        Credential::AgentKey(access) => Ok(access),
        Credential::Nobody
        | Credential::UnknownToken
        | Credential::AgentAccess(_)
        | Credential::Person(_)
        | Credential::AdminToken
        | Credential::LocalSocket
        | Credential::Browser(_) => Err(wrong_key(req, state, ApiError::AgentUnauthenticated)),
    }
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
        ready(admit::<Fetching>(req).and_then(|(slot, key)| {
            let session = req.headers().get(SESSION_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
            if !slot.has_session(session) {
                return Err(ApiError::SessionUnknown);
            }
            Ok(Self { slot, key, session: session.to_owned() })
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
        ready(agent_key(req, state).and_then(|access| {
            if E::ERRAND == Errand::Report && state.master().directory.is_leaving(&access) {
                return Err(wrong_key(req, state, ApiError::AgentUnauthenticated));
            }
            Ok(Self(access, PhantomData))
        }))
    }
}

/// A RedFlag agent with its access token: the one that the path names, or, on paths without one, whichever it is. Refused
/// in this order: 401, 403. One that was removed or revoked is refused at once, whatever time its token has left.
pub struct RedFlagAgent {
    /// What the master keeps of it.
    pub slot: Arc<Slot>,
}

impl Caller for RedFlagAgent {}

impl FromRequest for RedFlagAgent {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(match Credential::in_header(req) {
            Credential::AgentAccess(claims) => redflag_agent(req, &claims),
            _ => Err(wrong_key(req, state(req), ApiError::TokenUnauthenticated)),
        })
    }
}

fn redflag_agent(req: &HttpRequest, claims: &AgentClaims) -> Result<RedFlagAgent, ApiError> {
    let state = state(req);
    let access = KeyAccess { key_id: claims.key_id.clone(), owner: String::new() };
    let admitted = state.master().directory.admit(&access, claims.agent_id.as_str(), Errand::Report);
    let Ok(slot) = admitted else {
        return Err(wrong_key(req, state, ApiError::TokenUnauthenticated));
    };
    if req.match_info().get("id").is_some_and(|id| id != claims.agent_id.as_str()) {
        return Err(ApiError::KeyMismatch);
    }
    if !state.lets_agent(slot.id().as_str()) {
        return Err(ApiError::OverShare { retry_after: std::time::Duration::from_secs(1) });
    }
    slot.touch_from(state.master().clock.now(), state.source(req));
    Ok(RedFlagAgent { slot })
}

/// A registry, or a script that speaks for it, with the token that was set for them.
pub struct CallingRegistry;

impl Caller for CallingRegistry {}

impl FromRequest for CallingRegistry {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = state(req);
        let token = Credential::text_in_header(req).unwrap_or_default();
        ready(match state.is_push_token(token) {
            None => Err(ApiError::NotNow(NO_PUSH_TOKEN.into())),
            Some(true) => Ok(Self),
            Some(false) if token.is_empty() => Err(ApiError::RegistryUnauthenticated),
            Some(false) => Err(wrong_key(req, state, ApiError::RegistryUnauthenticated)),
        })
    }
}

const NO_PUSH_TOKEN: &str = "no push token is set, so registries are not heard; set `registry.push_token` \
    (`LIGHTSHIP__REGISTRY__PUSH_TOKEN`) and have the registry send it";

/// Who may take an agent off the list: the RedFlag agent itself, or an administrator.
pub enum Leaving {
    /// The agent.
    Agent(RedFlagAgent),
    /// The administrator.
    Admin(Admin),
}

impl Caller for Leaving {}

impl FromRequest for Leaving {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if let Credential::AgentAccess(claims) = Credential::in_header(req) {
            let agent = redflag_agent(req, &claims).map(Self::Agent);
            return Box::pin(ready(agent));
        }
        let admin = Admin::from_request(req, payload);
        Box::pin(async move { admin.await.map(Self::Admin) })
    }
}

/// Who registers: a host with its key, or one of ours with a registration token.
pub enum Registrant {
    /// The key.
    Key(Arc<KeyAccess>),
    /// The token.
    Token(SecretString),
}

impl Caller for Registrant {}

impl FromRequest for Registrant {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let refused = |req| Box::pin(ready(Err(wrong_key(req, state(req), ApiError::AgentUnauthenticated))));
        match Credential::in_header(req) {
            Credential::AgentKey(access) => Box::pin(ready(Ok(Self::Key(access)))),
            // 64 hex digits are no key of ours.
            Credential::UnknownToken => match Credential::text_in_header(req).filter(|text| is_token(text)) {
                Some(text) => {
                    let (req, token) = (req.clone(), SecretString::from(text.to_owned()));
                    Box::pin(async move { registration_token(&req, token).await.map(Self::Token) })
                }
                None => refused(req),
            },
            _ => refused(req),
        }
    }
}

/// Lets in what is a registration token that somebody can register with; whether a seat is left, or is the host's own already,
/// is decided when it is taken.
pub async fn registration_token(req: &HttpRequest, token: SecretString) -> Result<SecretString, ApiError> {
    let master = state(req).master();
    let row = master.find_token(&token).await?;
    match row.filter(|row| row.is_in_force(master.clock.now())) {
        Some(_) => Ok(token),
        None => Err(token_refused(req, MasterError::TokenRefused.into())),
    }
}

fn is_token(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Counts a wrong registration or refresh token as a wrong key, and says so.
pub fn token_refused(req: &HttpRequest, error: ApiError) -> ApiError {
    match error {
        ApiError::Master(MasterError::TokenRefused) => wrong_key(req, state(req), error),
        other => other,
    }
}

/// What a person has to be allowed; an argument of every handler that people call.
pub trait Needs: 'static {
    /// The smallest role that may.
    const ROLE: Role;
}

macro_rules! people {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        pub struct $name {
            /// As the audit trail calls the caller.
            pub name: String,
            /// True for a signed-in browser, which anybody may sit at, and for an access token, which may be stolen.
            pub is_browser: bool,
        }

        impl Caller for $name {}

        impl Needs for $name {
            const ROLE: Role = Role::$name;
        }

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

/// Lets in a person who calls the API; says who it is, and whether with a browser.
async fn person(req: &HttpRequest, needed: Role) -> Result<(String, bool), ApiError> {
    match Credential::anywhere(req).await? {
        Credential::LocalSocket => Ok((BY_SOCKET.into(), false)),
        Credential::AdminToken => Ok((BY_TOKEN.into(), false)),
        Credential::Browser(browser) => {
            let changes = !matches!(*req.method(), Method::GET | Method::HEAD);
            let token = req.headers().get("x-csrf-token").and_then(|v| v.to_str().ok()).unwrap_or_default();
            if changes && !browser.session.owns(token) {
                return Err(ApiError::BadCsrf);
            }
            at_least(browser.role, needed)?;
            Ok((browser.name, true))
        }
        Credential::Person(person) => {
            at_least(person.role, needed)?;
            Ok((person.name, true))
        }
        // An agent's key counts as a try like any other: it is on hosts that may be in other hands.
        Credential::AgentKey(_) | Credential::AgentAccess(_) | Credential::UnknownToken => {
            Err(wrong_key(req, state(req), ApiError::Unauthenticated))
        }
        Credential::Nobody => Err(ApiError::Unauthenticated),
    }
}

/// Fails if `role` is too small.
pub fn at_least(role: Role, needed: Role) -> Result<(), ApiError> {
    role.includes(needed).then_some(()).ok_or(ApiError::Forbidden { needed: needed.as_str() })
}

fn wrong_key(req: &HttpRequest, state: &WebState, error: ApiError) -> ApiError {
    match state.attempts().key_failed(state.source(req)) {
        Some(retry_after) => ApiError::TooManyAttempts { retry_after },
        None => error,
    }
}
