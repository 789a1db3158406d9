//! Formatters: the loaded ones, and previews of their output. Uploads and versions are in [`versions`].

mod versions;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Anyone;
use super::body::Unread;
use super::path::PathText;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::formatter::{FormatterInfo, LogLine, RenderError, Run, State as Loaded};
use crate::json;
use crate::json::Document;
use crate::json::fault::{Fault, Faults};
use crate::json::fields::{self, Field};
use crate::model::event::{Event, NewEvent};
use crate::model::id::EventId;
use crate::model::token::Role;
use crate::model::url::TransportKind;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, versions::install, versions::delete))
        .routes(routes!(preview))
        .merge(versions::router())
}

/// Every formatter that is loaded or, after the host's start, still loading, and every rejected component with the reason.
#[utoipa::path(get, operation_id = "list_formatters", path = "/api/v1/formatters", tag = "formatters", security(("bearer" = [])),
    responses((status = 200, description = "All formatters", body = Vec<FormatterInfo>)))]
async fn list(Anyone(token): Anyone, State(api): State<Shared>) -> Json<Vec<FormatterInfo>> {
    Json(api.catalog.list().into_iter().map(|info| shown_to(token.role, info)).collect())
}

/// Logs, errors and reasons of a formatter may quote events, which only admins and operators may see.
fn shown_to(role: Role, info: FormatterInfo) -> FormatterInfo {
    if role.reads_everything() { info } else { info.without_diagnostics() }
}

/// One formatter.
#[utoipa::path(get, operation_id = "get_formatter", path = "/api/v1/formatters/{name}", tag = "formatters", security(("bearer" = [])),
    params(("name" = String, Path, description = "The format's name; of a rejected component the file's stem")),
    responses((status = 200, description = "The formatter", body = FormatterInfo),
        (status = 404, description = "No such formatter")))]
async fn get(
    Anyone(token): Anyone,
    PathText(name): PathText,
    State(api): State<Shared>,
) -> Result<Json<FormatterInfo>, ApiError> {
    let info = api.catalog.get(&name).ok_or_else(|| ApiError::not_found("formatter"))?;
    Ok(Json(shown_to(token.role, info)))
}

/// An event to render in a format.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct PreviewInput {
    /// The event, as it would be posted, or a host event.
    #[schema(example = json!({"type": "report_ready", "data": {"report": {"title": "Final report"}}}))]
    event: BTreeMap<String, serde_json::Value>,
    /// The webhook's `format_options`.
    #[serde(default)]
    options: BTreeMap<String, serde_json::Value>,
    /// The transport: `http`, `syslog+udp`, `syslog+tcp` or `syslog+tls`.
    #[serde(default = "transport")]
    #[schema(pattern = "^(http|syslog\\+(udp|tcp|tls))$")]
    transport: String,
}

fn transport() -> String {
    TransportKind::Http.name().to_owned()
}

/// The payload that would be sent.
#[derive(Serialize, utoipa::ToSchema)]
struct PreviewView {
    /// The value of `Content-Type`.
    content_type: String,
    /// Additional HTTP headers that the formatter sets.
    headers: BTreeMap<String, String>,
    /// The body, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body: Option<String>,
    /// The body in base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body_base64: Option<String>,
    /// The log lines of the call, up to the limit.
    log: Vec<LogLine>,
    /// The number of lines beyond the limit, which `log` omits.
    log_dropped: u64,
    /// Duration of the call, in microseconds.
    duration_us: u64,
    /// WebAssembly instructions of the call, the same on every machine.
    instructions: u64,
    /// Peak of the call's linear memory, in bytes.
    memory_bytes: usize,
    /// The context that the formatter got beside the event and the options.
    context: ContextView,
}

/// The context of a call.
#[derive(Serialize, utoipa::ToSchema)]
struct ContextView {
    /// The transport: `http` or `syslog`.
    transport: &'static str,
    /// Largest payload on this transport, in bytes; null if only the general output limit applies.
    max_bytes: Option<u32>,
    /// The host's configured name.
    host_name: String,
    /// Heraldry's version.
    product_version: &'static str,
}

/// Renders the payload that a delivery of this event would carry. Nothing is sent or stored. Previews come after
/// deliveries, one at a time.
#[utoipa::path(post, operation_id = "preview_event", path = "/api/v1/formatters/{name}/preview", tag = "formatters", security(("bearer" = [])),
    params(("name" = String, Path, description = "The format's name")),
    request_body = PreviewInput,
    responses((status = 200, description = "The payload", body = PreviewView),
        (status = 404, description = "No such formatter"),
        (status = 422, description = "The event or the options cannot be used, or the formatter failed on them"),
        (status = 429, description = "The token has too many previews and checks in flight"),
        (status = 503, description = "All tokens together have too many previews and checks in flight, or the formatter is still loading after the host's start")))]
async fn preview(
    Anyone(token): Anyone,
    PathText(name): PathText,
    State(api): State<Shared>,
    body: Unread,
) -> Result<Json<PreviewView>, ApiError> {
    let found = || api.catalog.get(&name).ok_or_else(|| ApiError::not_found("formatter"));
    let mut info = found()?;
    let slot = api.trial_limit().admit(token.id).await?;
    let payload = body.read_json(&api).await?;
    let document = payload.json()?;
    if info.state == Loaded::Loading {
        api.loaded(&name).await?;
        info = found()?;
    }
    if let Loaded::Rejected { code, reason } = shown_to(token.role, info).state {
        let detail = format!("this component was rejected: {}", reason.unwrap_or(code));
        return Err(ApiError::new(Code::NotFormatted, detail));
    }
    let (event, options, transport_kind) = read(&api, &name, &document)?;
    // A preview may wait, and holds no more of the budget of bodies than it has to.
    drop(payload);
    let run = api.catalog.preview(&name, &event, &options, transport_kind, slot).await.map_err(render_problem)?;
    PreviewView::of(run, api.catalog.host_name(), transport_kind).map(Json).map_err(render_problem)
}

/// Reads the event, the options and the transport.
///
/// # Errors
/// 422 with every fault; 413 for an event over the limit.
fn read(api: &Shared, name: &str, document: &Document<'_>) -> Result<(Event, String, TransportKind), ApiError> {
    let mut faults = Faults::new();
    let body = Field::new(document.text(), "");
    let Some(body) = body.object(&["event", "options", "transport"], &[], &mut faults) else {
        return Err(ApiError::fields(faults.into_inner()));
    };
    let mut event = None;
    if let Some(field) = body.require("event", &mut faults) {
        let most = api.limits.max_event_bytes;
        if field.text().len() > most {
            return Err(ApiError::new(Code::EventTooLarge, format!("an event may have at most {most} bytes")));
        }
        let inner = json::check_part(document.text(), field.text(), 1)?;
        match NewEvent::read_any(&inner, &field.pointer()) {
            Ok(read) => event = Some(read),
            Err(wrong) => faults.extend(wrong),
        }
    }
    let options = match body.get("options") {
        Some(field) => field.open_object(&[], &mut faults).and_then(|_| field.value(&mut faults)),
        None => Some(serde_json::json!({})),
    };
    let component = api.catalog.current(name).ok_or_else(|| ApiError::not_found("formatter"))?;
    if let Some(options) = &options {
        let wrong = component.check_options(options);
        faults.extend(wrong.into_iter().map(|fault| below("/options", fault)));
    }
    let transport_kind = match body.get("transport") {
        Some(field) => field.string(&mut faults).and_then(|name| {
            let known = TransportKind::from_name(&name);
            if known.is_none() {
                let names = TransportKind::ALL.map(TransportKind::name);
                faults.add("/transport", "invalid", format!("must be one of {}", fields::list(&names)));
            }
            known
        }),
        None => Some(TransportKind::Http),
    };
    if transport_kind.is_some_and(|transport_kind| transport_kind != TransportKind::Http) && !component.makes_lines() {
        faults.add(
            "/transport",
            "not_a_line",
            "this format does not produce single lines, which syslog requires; use a line format, or http",
        );
    }
    let faults = faults.into_inner();
    match (event, options, transport_kind) {
        (Some(new), Some(options), Some(transport_kind)) if faults.is_empty() => {
            Ok((as_accepted(api, new), options.to_string(), transport_kind))
        }
        _ => Err(ApiError::fields(faults)),
    }
}

/// The event as if it were accepted now.
fn as_accepted(api: &Shared, new: NewEvent) -> Event {
    let now = api.clock.now();
    Event {
        id: new.id.unwrap_or_else(EventId::generate),
        event_type: new.event_type,
        occurred_at: new.occurred_at.unwrap_or(now),
        accepted_at: now,
        caused_by: None,
        json: new.json,
    }
}

fn below(pointer: &str, fault: Fault) -> Fault {
    Fault { pointer: format!("{pointer}{}", fault.pointer), ..fault }
}

fn render_problem(error: RenderError) -> ApiError {
    let detail = error.to_string();
    let one = |pointer: &str, code| vec![Fault { pointer: pointer.into(), code, detail: detail.clone() }];
    let faults = match error {
        RenderError::InvalidOptions(faults) => faults.into_iter().map(|fault| below("/options", fault)).collect(),
        RenderError::InvalidEvent(faults) => faults.into_iter().map(|fault| below("/event", fault)).collect(),
        RenderError::Unsupported(_) => one("/event/type", error.code()),
        RenderError::Stopping | RenderError::NotRun(_) => {
            return ApiError::new(Code::Unavailable, detail).retry_after(std::time::Duration::from_secs(5));
        }
        RenderError::NotLoaded(_) => return ApiError::not_found("formatter"),
        RenderError::Internal(_) | RenderError::Limit { .. } | RenderError::Trap { .. } | RenderError::Illegal(_) => {
            one("", error.code())
        }
    };
    ApiError::with_faults(Code::NotFormatted, faults).because(detail)
}

impl PreviewView {
    fn of(run: Run, host_name: &str, transport_kind: TransportKind) -> Result<Self, RenderError> {
        let payload = run.result?;
        let (body, body_base64) = match String::from_utf8(payload.body.to_vec()) {
            Ok(text) => (Some(text), None),
            Err(bytes) => (None, Some(base64::engine::general_purpose::STANDARD.encode(bytes.as_bytes()))),
        };
        Ok(Self {
            content_type: payload.content_type,
            headers: payload.headers.into_iter().collect(),
            body,
            body_base64,
            log: run.log,
            log_dropped: run.log_dropped,
            duration_us: run.duration_us,
            instructions: run.instructions,
            memory_bytes: run.memory_bytes,
            context: ContextView {
                transport: transport_kind.transport(),
                max_bytes: transport_kind.max_bytes(),
                host_name: host_name.to_owned(),
                product_version: env!("CARGO_PKG_VERSION"),
            },
        })
    }
}
