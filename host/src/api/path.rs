//! Extractors for the variable parts of a path. A part that does not parse as an id names no resource: 404, not 400.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::problem::{ApiError, Code};
use super::state::Shared;

/// The detail of a 404 for a path that names no resource.
pub(super) const NOT_FOUND: &str = "there is nothing at this path";

/// The only id in a path.
#[derive(Debug)]
pub struct PathId<T>(pub T);

impl<T: FromStr> FromRequestParts<Shared> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        let PathText(text) = PathText::from_request_parts(parts, api).await?;
        text.parse().map(Self).map_err(|_| not_found())
    }
}

/// The only variable part of a path, as text.
#[derive(Debug)]
pub struct PathText(pub String);

impl FromRequestParts<Shared> for PathText {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        Path::<String>::from_request_parts(parts, api).await.map(|Path(text)| Self(text)).map_err(|_| not_found())
    }
}

/// Both ids of a path, in the order of the path.
#[derive(Debug)]
pub struct PathIds<A, B>(pub A, pub B);

impl<A: FromStr, B: FromStr> FromRequestParts<Shared> for PathIds<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        let texts = Path::<(String, String)>::from_request_parts(parts, api).await;
        let Path((first, second)) = texts.map_err(|_| not_found())?;
        Ok(Self(first.parse().map_err(|_| not_found())?, second.parse().map_err(|_| not_found())?))
    }
}

fn not_found() -> ApiError {
    ApiError::new(Code::NotFound, NOT_FOUND)
}
