//! Letting an image go from the plan that would bring it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;

use super::show_with;
use crate::actors::master::MasterError;
use crate::domain::id::RequestId;
use crate::web::auth::Operator;
use crate::web::error::ApiError;
use crate::web::pages::posted::Posted;
use crate::web::pages::{Allowed, Shell, go_to};
use crate::web::state::WebState;

/// Which image is let go.
#[derive(Debug, Deserialize)]
pub struct LetGoFields {
    digest: String,
}

/// `POST /plans/{request}/let-go`: lets an image go that failed on a host; then a plan with it can be approved.
#[utoipa::path(post, path = "/plans/{request}/let-go", tag = "pages", params(("request" = String, Path)),
    responses((status = 303), (status = 403), (status = 404), (status = 409)), security(("session" = [])))]
pub async fn let_go(
    Allowed(person, _): Allowed<Operator>,
    state: web::Data<WebState>,
    request: web::Path<String>,
    form: Posted<LetGoFields>,
) -> Result<HttpResponse, ApiError> {
    let request = RequestId::new(request.into_inner());
    match state.master().let_image_go(&form.0.digest, &person.name).await {
        Ok(()) => Ok(go_to(&format!("/plans/{request}"))),
        // Somebody else was faster: the page says how it stands.
        Err(MasterError::ImageNotHeld) => {
            let words = "That image is not held any more: somebody let it go, or it is another one.";
            let shell = Shell::new(&person, "/updates").with_notice("warn", words);
            show_with(&person, &state, &request, (StatusCode::CONFLICT, shell)).await
        }
        Err(error) => Err(error.into()),
    }
}
