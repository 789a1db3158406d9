//! Authentication and authorisation as extractors: a handler names the role it requires, and cannot run without it.
//!
//! Each comes first among a handler's arguments, so that 401 and 403 precede every look-up.

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::model::token::{Role, Token};

/// Longer texts cannot be tokens and are rejected without hashing them.
const MAX_TOKEN_BYTES: usize = 512;

/// Identifies the caller by the token of the request.
///
/// # Errors
/// 401 without exactly one `Authorization: Bearer` with a token that exists.
pub fn authenticate(api: &Shared, headers: &HeaderMap) -> Result<Token, ApiError> {
    // A request without a token is looked up too, so that the response time does not tell it from a wrong one.
    let text = bearer(headers).filter(|text| text.len() <= MAX_TOKEN_BYTES).unwrap_or_default();
    api.store.find_token(text).filter(|_| !text.is_empty()).ok_or_else(ApiError::unauthorized)
}

/// The caller of a request that was made in this process, see [`super::inside`]. No request from outside carries it.
#[derive(Clone, Debug)]
pub(super) struct Identity(pub(super) Token);

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim_matches(' '))
}

macro_rules! bearers {
    ($($(#[$doc:meta])* $name:ident: $($role:ident)|+, $may:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(#[allow(dead_code, reason = "not every handler uses the token")] pub Token);

        impl FromRequestParts<Shared> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, ApiError> {
                let token = match parts.extensions.get::<Identity>() {
                    Some(Identity(token)) => token.clone(),
                    None => authenticate(api, &parts.headers)?,
                };
                match token.role {
                    $(Role::$role)|+ => Ok(Self(token)),
                    #[allow(unreachable_patterns, reason = "one of them names every role")]
                    _ => Err(ApiError::new(Code::Forbidden, concat!("this requires a token with the role ", $may))),
                }
            }
        }
    )*};
}

bearers! {
    /// A token that may manage the host.
    Admin: Admin, "admin";
    /// A token that may read everything that happens on the host.
    Reader: Admin | Operator, "admin or operator";
    /// A token that may see webhooks, if only in part.
    Viewer: Admin | Operator | Pentester, "admin, operator or pentester";
    /// A token that may post events.
    Poster: Admin | Ingest, "admin or ingest";
    /// A token that may read events, if only its own.
    EventReader: Admin | Operator | Ingest, "admin, operator or ingest";
    /// Any token.
    Anyone: Admin | Operator | Pentester | Ingest, "admin, operator, pentester or ingest";
}
