//! Formats, and how their messages look.

use askama::Template;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use super::deliveries::{self, Choice};
use super::frame::{self, Frame};
use super::show;
use super::visit::{Failure, Visit, read};
use super::webhooks::pretty;

/// The sample that is shown unless another is chosen.
const SAMPLE: &str = "finding_added";

#[derive(Deserialize)]
struct Formatter {
    name: String,
    version: Option<String>,
    description: Option<String>,
    options_schema: Option<Value>,
    origin: String,
    state: String,
    reason: Option<String>,
}

impl Formatter {
    /// A state's class and word.
    fn look(&self) -> (&'static str, &'static str) {
        match self.state.as_str() {
            "ready" => ("good", "ready"),
            "loading" => ("warn", "loading"),
            _ => ("bad", "rejected"),
        }
    }
}

struct FormatterRow {
    path: String,
    name: String,
    version: String,
    origin: String,
    state: &'static str,
    word: &'static str,
    words: String,
}

#[derive(Template)]
#[template(path = "console/formatters.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<FormatterRow>,
}

/// `GET /console/formatters`.
pub(super) async fn list(visit: Visit) -> Answer {
    let formatters: Vec<Formatter> = visit.get("/formatters").await?;
    let row = |formatter: Formatter| {
        let (state, word) = formatter.look();
        FormatterRow {
            path: format!("/console/formatters/{}", show::segment(&formatter.name)),
            version: formatter.version.unwrap_or_default(),
            origin: formatter.origin,
            words: formatter.reason.or(formatter.description).unwrap_or_default(),
            name: formatter.name,
            state,
            word,
        }
    };
    let rows = formatters.into_iter().map(row).collect();
    visit.page(&ListPage { frame: visit.frame("Formats", "formatters"), rows })
}

/// What a preview of the API says.
#[derive(Deserialize)]
struct Preview {
    content_type: String,
    #[serde(default)]
    headers: Value,
    body: Option<String>,
    duration_us: u64,
}

#[derive(Template)]
#[template(path = "console/formatter.html")]
struct OnePage {
    frame: Frame,
    state: &'static str,
    word: &'static str,
    words: String,
    version: String,
    origin: String,
    types: Vec<Choice>,
    /// The address of the drawn message, if there is one.
    message: Option<String>,
    language: &'static str,
    content_type: String,
    headers: String,
    took: String,
    body: String,
    /// Why there is no message.
    trouble: String,
    schema: String,
}

/// `GET /console/formatters/{name}`: a format, and what it makes of a sample.
pub(super) async fn one(visit: Visit) -> Answer {
    let name = visit.segment("name");
    let formatter: Formatter = visit.get(&format!("/formatters/{name}")).await?;
    let chosen = chosen(&visit);
    let types = super::webhooks::event_types(&visit).await?;
    let (state, word) = formatter.look();
    let mut page = OnePage {
        frame: visit.frame(&formatter.name, "formatters"),
        state,
        word,
        words: formatter.reason.or(formatter.description).unwrap_or_default(),
        version: formatter.version.unwrap_or_default(),
        origin: formatter.origin,
        types: types.iter().map(|kind| deliveries::choice(kind, kind, &chosen)).collect(),
        message: None,
        language: "",
        content_type: String::new(),
        headers: String::new(),
        took: String::new(),
        body: String::new(),
        trouble: String::new(),
        schema: formatter.options_schema.as_ref().map(pretty).unwrap_or_default(),
    };
    match preview(&visit, &name, &chosen).await {
        Ok((Preview { content_type, headers, body, duration_us }, drawn)) => {
            let query = show::query([("type", chosen.as_str())]);
            page.message = Some(format!("/console/formatters/{name}/message{query}"));
            (page.language, page.content_type, page.headers) = (drawn.language.name(), content_type, pretty(&headers));
            page.took = format!("{duration_us} us");
            page.body = body.unwrap_or_default();
        }
        Err(failure) => page.trouble = failure.detail,
    }
    visit.page(&page)
}

/// `GET /console/formatters/{name}/message`: the message alone, as a document in which nothing can run.
pub(super) async fn message(visit: Visit) -> Answer {
    let (_, drawn) = preview(&visit, &visit.segment("name"), &chosen(&visit)).await?;
    Ok(frame::document(StatusCode::OK, drawn.document(), heraldry_looks::POLICY))
}

/// The type whose sample is shown.
fn chosen(visit: &Visit) -> String {
    match visit.query.get("type") {
        "" => SAMPLE.to_owned(),
        kind => kind.to_owned(),
    }
}

/// What a format makes of a type's sample, and how that looks.
async fn preview(visit: &Visit, name: &str, kind: &str) -> Result<(Preview, heraldry_looks::Drawing), Failure> {
    #[derive(Deserialize)]
    struct Type {
        name: String,
        sample: Option<Value>,
    }
    // Not made visible: the formatter gets the sample as it is.
    let types = visit.call(Method::GET, "/webhooks/event-types", None).await?;
    let types: Vec<Type> = serde_json::from_slice(&types.body).unwrap_or_default();
    let sample = types.into_iter().find(|known| known.name == kind).and_then(|known| known.sample);
    let sample = sample.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "There is no sample of this type"))?;
    let body = json!({"event": sample, "options": {}});
    let reply = visit.call(Method::POST, &format!("/formatters/{name}/preview"), Some(&body)).await?;
    let made: Preview = serde_json::from_slice(&reply.body).map_err(|_| Failure::internal())?;
    let drawn = heraldry_looks::draw(&made.content_type, made.body.as_deref().unwrap_or_default().as_bytes());
    Ok((read(&reply)?, drawn))
}
