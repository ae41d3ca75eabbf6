//! Handlers whose callers are limited: an argument that counts the request, and the headers that say what is left.

use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use secrecy::SecretString;

use super::auth::{Admin, registration_token};
use super::credential::Credential;
use super::error::ApiError;
use super::rates::{Left, Limit};
use super::route::Caller;
use super::state::state;

/// Counts the request; refused with 429 if it is one too many.
pub struct Within<L>(PhantomData<L>);

/// Which limit it is, and by what callers are told apart.
pub trait Limited: 'static {
    /// The limit.
    const LIMIT: Limit;
    /// True if each agent has its own count, and not each address.
    const IS_BY_AGENT: bool;
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $limit:ident, $by_agent:literal;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl Limited for $name {
            const LIMIT: Limit = Limit::$limit;
            const IS_BY_AGENT: bool = $by_agent;
        }
    )*};
}

limits! {
    /// Registrations.
    Registrations = AgentRegistration, false;
    /// Check-ins.
    CheckIns = AgentCheckin, true;
    /// Reports.
    Reports = AgentReports, true;
    /// Making registration tokens.
    TokenMaking = AdminTokenGeneration, false;
    /// Everything else below `/admin`.
    Administration = AdminOperations, false;
    /// Signing in and renewing.
    Public = PublicAccess, false;
}

impl<L: Limited> FromRequest for Within<L> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = state(req);
        // The path's id is the caller's: whoever calls was let in before this is asked.
        let who = own(req).filter(|_| L::IS_BY_AGENT).unwrap_or_else(|| state.source(req).to_string());
        let Some(left) = state.rate_limits().count(L::LIMIT, &who) else {
            return ready(Ok(Self(PhantomData)));
        };
        req.extensions_mut().insert(left);
        ready(match left.is_let {
            true => Ok(Self(PhantomData)),
            false => Err(ApiError::RateLimited {
                limit: left.limit,
                window: left.window,
                retry_after: left.resets_in,
            }),
        })
    }
}

/// Who registers as a RedFlag agent, and not too often: with a registration token in the header, or with nothing there,
/// because the token is in the body.
pub struct Newcomer(pub Option<SecretString>);

impl Caller for Newcomer {}

impl FromRequest for Newcomer {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // Counted first: whoever guesses tokens registers too often.
        let (within, req) = (Within::<Registrations>::from_request(req, payload), req.clone());
        Box::pin(async move {
            within.await?;
            let in_header = Credential::text_in_header(&req).map(|text| SecretString::from(text.to_owned()));
            match in_header {
                Some(token) => registration_token(&req, token).await.map(Some).map(Self),
                None => Ok(Self(None)),
            }
        })
    }
}

/// An administrator who does not ask too often.
pub struct Administrator {
    /// As the audit trail calls the caller.
    pub name: String,
}

impl Caller for Administrator {}

impl FromRequest for Administrator {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (admin, req) = (Admin::from_request(req, payload), req.clone());
        Box::pin(async move {
            let admin = admin.await?;
            Within::<Administration>::from_request(&req, &mut Payload::None).await?;
            Ok(Self { name: admin.name })
        })
    }
}

/// Returns the agent that calls: the path names it, or its access token.
fn own(req: &HttpRequest) -> Option<String> {
    if let Some(id) = req.match_info().get("id") {
        return Some(id.to_owned());
    }
    match Credential::in_header(req) {
        Credential::AgentAccess(claims) => Some(claims.agent_id.to_string()),
        _ => None,
    }
}

/// Says in an answer what is left.
pub fn show(left: &Left, headers: &mut HeaderMap) {
    let reset = (crate::clock::Clock::system().now() + left.resets_in).timestamp();
    for (name, value) in [
        ("x-ratelimit-limit", i64::from(left.limit)),
        ("x-ratelimit-remaining", i64::from(left.remaining)),
        ("x-ratelimit-reset", reset),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}
