//! A form that a page sent: its token is checked before anything of it is looked at. What is refused goes back to
//! the page it came from, with what was written.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest};
use serde::de::{DeserializeOwned, Error as _, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{Shell, SignedIn};
use crate::actors::master::MasterError;
use crate::protocol::body::shaped;
use crate::web::body::Form;
use crate::web::error::ApiError;
use crate::web::session::Session;
use crate::web::state::state;

/// The fields of a form whose token belongs to the session it came with.
pub struct Posted<T>(pub T);

/// A form without fields of its own.
#[derive(Debug, serde::Deserialize)]
pub struct Nothing {}

/// Reads a box to tick; one that is not ticked is not sent.
pub fn ticked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "true" => Ok(true),
        other => Err(D::Error::invalid_value(Unexpected::Str(other), &"`true`")),
    }
}

/// Why a form was not carried out, for the person who can send it again.
pub struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    /// Fails with the error itself if another form would not help.
    pub fn of(error: MasterError) -> Result<Self, ApiError> {
        let error = ApiError::from(error);
        let status = error.code().1;
        match status {
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::BAD_GATEWAY => {
                Ok(Self { status, reason: error.to_string() })
            }
            _ => Err(error),
        }
    }

    /// Returns what surrounds the page that is shown again, and its status.
    pub fn shell(self, person: &SignedIn, here: &'static str) -> (StatusCode, Shell) {
        let word = format!("{}.", self.reason.trim_end_matches('.'));
        (self.status, Shell::new(person, here).with_notice("bad", word))
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Posted<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let form = Form::<Map<String, Value>>::from_request(req, payload);
        let req = req.clone();
        Box::pin(async move {
            let mut fields = form.await?.0;
            let state = state(&req);
            let session = Session::read(&req, &state.settings().cookie_key, state.master().clock.now());
            let token = fields.remove("csrf");
            let token = token.as_ref().and_then(Value::as_str).unwrap_or_default();
            if !session.is_some_and(|session| session.owns(token)) {
                return Err(ApiError::BadCsrf);
            }
            Ok(Self(shaped(Value::Object(fields))?))
        })
    }
}
