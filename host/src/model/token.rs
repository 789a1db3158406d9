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
    /// May read what an admin reads, without addresses and options, and change nothing.
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Pentester, Self::Ingest, Self::Operator];

    /// The name in the API, in the audit log and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Pentester => "pentester",
            Self::Ingest => "ingest",
            Self::Operator => "operator",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Returns true for those who read everything that happens on the host, words of events included.
    pub fn reads_everything(self) -> bool {
        matches!(self, Self::Admin | Self::Operator)
    }
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
        let names = Role::ALL.map(|role| serde_json::to_string(&role).expect("encoded"));
        assert_eq!(names, [r#""admin""#, r#""pentester""#, r#""ingest""#, r#""operator""#]);
    }

    #[test]
    fn a_role_has_one_name() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_string(&role).expect("encoded"), format!("\"{}\"", role.as_str()));
            assert_eq!(Role::from_name(role.as_str()), Some(role));
        }
        assert_eq!(Role::from_name("Operator"), None);
        let readers = Role::ALL.into_iter().filter(|role| role.reads_everything());
        assert_eq!(readers.collect::<Vec<_>>(), [Role::Admin, Role::Operator]);
    }
}
