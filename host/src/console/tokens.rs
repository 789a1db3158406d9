//! Tokens: the list, a new one, whose text is shown once, and their end.

use askama::Template;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::frame::Frame;
use super::show::{self, When};
use super::visit::{Visit, read};
use crate::model::time::Timestamp;
use crate::model::token::Role;

#[derive(Deserialize)]
struct Token {
    id: String,
    name: String,
    role: String,
    created_at: Timestamp,
}

struct Row {
    path: String,
    name: String,
    role: String,
    created: When,
    /// True for the token of this session.
    is_own: bool,
}

#[derive(Template)]
#[template(path = "console/tokens.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Row>,
    roles: Vec<&'static str>,
}

#[derive(Template)]
#[template(path = "console/token.html")]
struct NewPage {
    frame: Frame,
    name: String,
    role: String,
    text: String,
}

/// `GET /console/tokens`.
pub(super) async fn list(visit: Visit) -> Answer {
    let tokens: Vec<Token> = visit.get("/tokens").await?;
    let (now, own) = (visit.now(), visit.session.token.id.to_string());
    let row = |token: Token| Row {
        path: format!("/console/tokens/{}/delete", show::segment(&token.id)),
        is_own: token.id == own,
        name: token.name,
        role: token.role,
        created: When::new(token.created_at, now),
    };
    visit.page(&ListPage {
        frame: visit.frame("Tokens", "tokens"),
        rows: tokens.into_iter().map(row).collect(),
        roles: Role::ALL.map(Role::as_str).into(),
    })
}

/// `POST /console/tokens`: shows the new token's text, once.
pub(super) async fn create(visit: Visit) -> Answer {
    #[derive(Deserialize)]
    struct New {
        name: String,
        role: String,
        token: String,
    }
    let body = json!({"name": visit.form.get("name"), "role": visit.form.get("role")});
    let New { name, role, token } = read(&visit.call(Method::POST, "/tokens", Some(&body)).await?)?;
    visit.page(&NewPage { frame: visit.frame("New token", "tokens"), name, role, text: token })
}

/// `POST /console/tokens/{id}/delete`.
pub(super) async fn delete(visit: Visit) -> Answer {
    visit.call(Method::DELETE, &format!("/tokens/{}", visit.segment("id")), None).await?;
    visit.see("/console/tokens", "deleted")
}
