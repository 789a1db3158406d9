//! The files that pages refer to. Each has its digest in its address, so browsers keep it for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use sha2::{Digest as _, Sha256};

/// A file, with the last part of its address.
struct File {
    name: String,
    content_type: &'static str,
    text: &'static str,
}

impl File {
    fn new(stem: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes())[..8]);
        Self { name: format!("{stem}-{digest}.{extension}"), content_type, text }
    }

    fn path(&self) -> String {
        format!("/console/files/{}", self.name)
    }
}

static CSS: LazyLock<File> =
    LazyLock::new(|| File::new("console", "css", "text/css; charset=utf-8", include_str!("console.css")));
static ICON: LazyLock<File> = LazyLock::new(|| File::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The address of the style sheet.
pub(super) fn css_path() -> String {
    CSS.path()
}

/// The address of the icon.
pub(super) fn icon_path() -> String {
    ICON.path()
}

/// Responds with a file.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let Some(file) = [&*CSS, &*ICON].into_iter().find(|file| file.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (CONTENT_TYPE, file.content_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, file.text).into_response()
}
