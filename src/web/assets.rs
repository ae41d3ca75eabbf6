//! Style sheet and scripts, part of the binary. Their names carry a digest, so browsers may keep them.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use rust_embed::RustEmbed;

use super::auth::Anyone;
use super::error::ApiError;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// `GET /assets/{path}`.
#[utoipa::path(get, path = "/assets/{path}", params(("path" = String, Path)), responses((status = 200, description = "the file"), (status = 404)), security(()))]
pub async fn asset(_: Anyone, req: HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = req.match_info().query("path");
    let file = Assets::get(path).ok_or(ApiError::NotFound)?;
    let tag = header::EntityTag::new_strong(short_digest(&file));
    let known = req.headers().get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    if known == Some(tag.to_string().as_str()) {
        return Ok(HttpResponse::NotModified().insert_header(header::ETag(tag)).finish());
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media(path)))
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(header::ETag(tag))
        .body(file.data.into_owned()))
}

/// Returns the address of an asset; it changes with the file.
pub fn address(path: &str) -> String {
    match Assets::get(path) {
        Some(file) => format!("/assets/{path}?v={}", short_digest(&file)),
        None => format!("/assets/{path}"),
    }
}

fn short_digest(file: &rust_embed::EmbeddedFile) -> String {
    hex::encode(&file.metadata.sha256_hash()[..8])
}

fn media(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn vendored_scripts_are_what_was_vendored() {
        let sums = Assets::get("vendor/SHA256SUMS").unwrap();
        let sums = std::str::from_utf8(&sums.data).unwrap().to_owned();
        assert_eq!(sums.lines().count(), 2);
        for line in sums.lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            let file = Assets::get(&format!("vendor/{name}")).unwrap();
            assert_eq!(hex::encode(Sha256::digest(&file.data)), sum, "{name}");
        }
    }
}
