//! The files that pages refer to. Each has its digest in its name, so browsers keep it for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use sha2::{Digest as _, Sha256};

const CSS: &str = include_str!("console.css");

fn css_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(CSS.as_bytes())[..8]);
        format!("console-{digest}.css")
    });
    &NAME
}

/// The address of the style sheet.
pub(super) fn css_path() -> String {
    format!("/console/files/{}", css_name())
}

/// Responds with a file.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    if name != css_name() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, CSS).into_response()
}
