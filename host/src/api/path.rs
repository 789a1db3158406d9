//! Ids in a path. What is none names nothing: 404, not 400.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::problem::{ApiError, Code};
use super::state::Shared;

/// The one id in a path.
#[derive(Debug)]
pub struct PathId<T>(pub T);

impl<T: FromStr> FromRequestParts<Shared> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        let PathText(text) = PathText::from_request_parts(parts, api).await?;
        text.parse().map(Self).map_err(|_| nothing())
    }
}

/// The one variable part of a path, as text.
#[derive(Debug)]
pub struct PathText(pub String);

impl FromRequestParts<Shared> for PathText {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        Path::<String>::from_request_parts(parts, api).await.map(|Path(text)| Self(text)).map_err(|_| nothing())
    }
}

/// The two ids in a path.
#[derive(Debug)]
pub struct PathIds<A, B>(pub A, pub B);

impl<A: FromStr, B: FromStr> FromRequestParts<Shared> for PathIds<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
        let texts = Path::<(String, String)>::from_request_parts(parts, api).await;
        let Path((first, second)) = texts.map_err(|_| nothing())?;
        Ok(Self(first.parse().map_err(|_| nothing())?, second.parse().map_err(|_| nothing())?))
    }
}

fn nothing() -> ApiError {
    ApiError::new(Code::NotFound, "there is nothing at this path")
}
