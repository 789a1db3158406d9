//! The formats that a webhook may name.

use crate::api::problem::ApiError;
use crate::api::state::{Shared, still_loading};
use crate::formatter::{Declared, Standing};

/// The formatter's manifest; `None` if there is no such formatter.
///
/// # Errors
/// 503 if the host has just started and does not know it yet.
pub(super) async fn declared(api: &Shared, format: &str) -> Result<Option<Declared>, ApiError> {
    let standing = match api.catalog.standing(format) {
        // The manifest is known once the component is loaded.
        Standing::Loading(None) => api.catalog.standing_soon(format).await,
        known => known,
    };
    match standing {
        Standing::Ready(component) => Ok(Some(component.into())),
        Standing::Loading(Some(declared)) => Ok(Some(declared)),
        Standing::Loading(None) => Err(still_loading(format)),
        Standing::Unknown => Ok(None),
    }
}

/// The names of the formats of which this is true, in a list.
pub(super) fn names(api: &Shared, is_listed: impl Fn(&Declared) -> bool) -> String {
    let declared = api.catalog.declared();
    let names: Vec<_> = declared.iter().filter(|declared| is_listed(declared)).collect();
    let names: Vec<_> = names.iter().map(|declared| declared.manifest().name.as_str()).collect();
    names.join(", ")
}
