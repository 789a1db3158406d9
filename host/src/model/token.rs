//! Who may do what.

use serde::{Deserialize, Serialize};

use super::id::TokenId;
use super::time::Timestamp;

/// What a token's bearer may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// See that webhooks exist, event types, formatters and previews.
    Pentester,
    /// Post events and read back its own.
    Ingest,
}

/// A token as the store keeps it and lists show it: never with its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Token {
    /// The token's id.
    #[schema(value_type = uuid::Uuid)]
    pub id: TokenId,
    /// What an admin called it, 1-200 characters.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}
