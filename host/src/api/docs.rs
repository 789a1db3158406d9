//! The API documentation in the browser: Swagger UI, with all of its assets embedded in the binary. A content security
//! policy makes sure that nothing is loaded from elsewhere.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::path::PathText;
use super::problem::{ApiError, Code};
use super::state::Shared;

/// The files of Swagger UI that the page uses.
const ASSETS: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];
/// Starts Swagger UI, without the badge that would contact an online validator.
const START_JS: &str = "window.ui = SwaggerUIBundle({ url: 'openapi.json', dom_id: '#swagger-ui', deepLinking: false, \
    validatorUrl: null, queryConfigEnabled: false, supportedSubmitMethods: ['get', 'put', 'post', 'delete'] });\n";
/// Allows this origin only. Swagger UI needs inline styles and `data:` images.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(docs)).routes(routes!(openapi)).route("/docs/{file}", axum::routing::get(asset))
}

/// The API documentation, with a form to call each operation.
#[utoipa::path(get, operation_id = "get_docs", path = "/docs", tag = "host",
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
async fn docs() -> Response {
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")), (CONTENT_SECURITY_POLICY, POLICY)];
    (headers, page()).into_response()
}

/// This document.
#[utoipa::path(get, operation_id = "get_openapi", path = "/openapi.json", tag = "host",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json")))]
async fn openapi(State(api): State<Shared>) -> Response {
    ([(CONTENT_TYPE, "application/json")], api.openapi()).into_response()
}

async fn asset(PathText(file): PathText) -> Result<Response, ApiError> {
    let missing = || ApiError::new(Code::NotFound, super::path::NOT_FOUND);
    if file == "start.js" {
        return Ok(([(CONTENT_TYPE, "text/javascript; charset=utf-8")], START_JS).into_response());
    }
    if !ASSETS.contains(&file.as_str()) {
        return Err(missing());
    }
    let config = Arc::new(utoipa_swagger_ui::Config::default());
    let found =
        utoipa_swagger_ui::serve(&file, config).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    let asset = found.ok_or_else(missing)?;
    // The embedded bytes themselves, as often as somebody asks.
    let bytes = match asset.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    Ok(([(CONTENT_TYPE, asset.content_type)], bytes).into_response())
}

fn page() -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Heraldry API</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"stylesheet\" href=\"docs/swagger-ui.css\">\n<link rel=\"icon\" href=\"docs/favicon-32x32.png\">\n\
         </head>\n<body>\n<div id=\"swagger-ui\"></div>\n\
         <section class=\"swagger-ui\"><div class=\"wrapper\"><h2>Problems</h2><dl>\n",
    );
    for code in super::problem::Code::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "<dt id=\"errors-{0}\"><code>{0}</code> ({1})</dt><dd>{2}</dd>",
            code.as_str(),
            code.status().as_u16(),
            code.title()
        );
    }
    page.push_str(
        "</dl></div></section>\n<script src=\"docs/swagger-ui-bundle.js\"></script>\n\
         <script src=\"docs/start.js\"></script>\n</body>\n</html>\n",
    );
    page
}
