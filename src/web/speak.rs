//! How a failure is worded: each path answers as its callers expect, also when the framework itself refuses.

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};

use super::error::{ApiError, chain};
use super::wording::Wording;
use super::{body, pages};

/// Gives a failed answer its body, in the words of its path; others pass untouched.
pub fn speak<B: MessageBody + 'static>(answer: ServiceResponse<B>) -> ServiceResponse<BoxBody> {
    if answer.status().as_u16() < 400 {
        return answer.map_into_boxed_body();
    }
    let (request, response) = answer.into_parts();
    let known = response.error().and_then(|e| e.as_error::<ApiError>()).is_some();
    let has_body = !matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    if !known && has_body && response.error().is_none() {
        return ServiceResponse::new(request, response.map_into_boxed_body());
    }
    let foreign = (!known).then(|| framework_error(response.status()));
    let mut spoken = HttpResponse::new(response.status());
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            spoken.headers_mut().append(name.clone(), value.clone());
        }
    }
    let error = foreign
        .as_ref()
        .or_else(|| response.error().and_then(|e| e.as_error()))
        .expect("one of the two is there");
    if error.is_ours_to_repair() {
        tracing::error!(http.path = request.path(), error = %chain(error), "request failed");
    }
    if let Some(after) = error.retry_after() {
        spoken.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if error.code().1 == StatusCode::UNAUTHORIZED {
        spoken.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let wording = Wording::of(request.path());
    let text = wording.render(error, &mut spoken);
    if wording == Wording::Page {
        pages::protect(&mut spoken);
    }
    ServiceResponse::new(request, spoken.set_body(BoxBody::new(text)))
}

fn framework_error(status: StatusCode) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ApiError::MethodNotAllowed,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::UnsupportedMediaType,
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge { limit: body::SMALL },
        status if status.is_server_error() => ApiError::internal(format!("the framework answered {status}")),
        status => ApiError::Malformed(status.canonical_reason().unwrap_or("bad request").to_lowercase()),
    }
}
