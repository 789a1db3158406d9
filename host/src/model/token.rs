//! API tokens and their roles.

use serde::{Deserialize, Serialize};

use super::id::TokenId;
use super::time::Timestamp;

/// The role of a token. The names are on disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May use the whole API.
    Admin,
    /// May list webhooks (without addresses), event types and formatters, and try previews.
    Pentester,
    /// May post events and read its own.
    Ingest,
}

/// A token as the store keeps it and lists show it: never with its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Token {
    /// The token's id.
    #[schema(value_type = uuid::Uuid)]
    pub id: TokenId,
    /// The name that an admin gave it, 1-200 characters.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_token_reads_as_before() {
        let stored = r#"{"id":"01020304-0506-7708-890a-0b0c0d0e0f10","name":"ci","role":"ingest","created_at":"2026-11-17T10:12:45.120Z"}"#;
        let token: Token = serde_json::from_str(stored).expect("a token");
        assert_eq!(token.role, Role::Ingest);
        assert_eq!(serde_json::to_string(&token).expect("encoded"), stored);
        let names =
            [Role::Admin, Role::Pentester, Role::Ingest].map(|role| serde_json::to_string(&role).expect("encoded"));
        assert_eq!(names, [r#""admin""#, r#""pentester""#, r#""ingest""#]);
    }
}
