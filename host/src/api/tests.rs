//! The API as a client sees it, with a real store in a temporary folder and without a network.

mod events;
mod explain;
mod expressions;
mod loading;
mod others;
mod rejections;
mod server;
mod webhooks;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::SystemClock;
use crate::formatter::{Catalog, CatalogOptions};
use crate::model::audit::Actor;
use crate::model::secret::Secret;
use crate::model::settings::{DeliverySettings, Limits, MetricsLabels, TlsFiles};
use crate::model::time::Clock;
use crate::model::token::Role;
use crate::scheduler::{Inbox, Scheduler};
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::transport::{Guard, Tls, Transport, system_resolver};
use crate::watchdog::Watchdog;
use crate::{delivery, store};

/// A running API and a token of each role.
struct Host {
    api: Service,
    store: Arc<Store>,
    draining: CancellationToken,
    admin: String,
    pentester: String,
    ingest: String,
    operator: String,
    _folder: tempfile::TempDir,
}

/// The response to a request, read completely.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A problem as `status code`, and each error as `pointer code`.
    #[track_caller]
    fn problem(&self) -> Vec<String> {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert_eq!(body["type"], format!("/docs#errors-{}", body["code"].as_str().expect("a code")));
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        let mut lines = vec![format!("{} {}", self.status, body["code"].as_str().expect("a code"))];
        for error in body["errors"].as_array().into_iter().flatten() {
            assert!(error["detail"].is_string(), "{error}");
            lines.push(format!(
                "{} {}",
                error["pointer"].as_str().expect("a pointer"),
                error["code"].as_str().expect("a code")
            ));
        }
        lines
    }
}

/// Compiling the formatters is slow, so all tests share them.
fn catalog() -> Arc<Catalog> {
    static CATALOG: OnceLock<(Arc<Catalog>, tempfile::TempDir)> = OnceLock::new();
    let (catalog, _) = CATALOG.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(SystemClock::start());
        let samples = crate::app::trial_samples();
        let options = CatalogOptions {
            samples,
            code_cache: Some(crate::formatter::tests::compiled(folder.path())),
            ..CatalogOptions::in_folder(folder.path(), crate::built_in(), clock)
        };
        (Arc::new(Catalog::open(options).expect("formatters")), folder)
    });
    Arc::clone(catalog)
}

impl Host {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        Self::with_body_timeout(limits, BODY_TIMEOUT).await
    }

    async fn with_body_timeout(limits: Limits, body_timeout: Duration) -> Self {
        Self::with_catalog(limits, body_timeout, catalog()).await
    }

    async fn with_catalog(limits: Limits, body_timeout: Duration, catalog: Arc<Catalog>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::new();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let store = Store::open(store::Options {
            folder: folder.path().to_owned(),
            cache_bytes: 8 << 20,
            master_key: None,
            breaker_threshold: 5,
            breaker_probe: true,
            idempotency_kept: Duration::from_secs(60),
            changes: inbox.changes(),
            clock: Arc::clone(&clock),
            watchdog: Watchdog::new(Arc::clone(&clock)),
        });
        let store = Arc::new(store.expect("a store"));
        let telemetry = Arc::new(Telemetry::new());
        let guard = Arc::new(Guard::new(Vec::new()));
        let resolver = system_resolver().expect("a resolver");
        let transport = Arc::new(
            Transport::new(guard, resolver, Tls::new(&TlsFiles::default(), &[]).expect("TLS"), None)
                .expect("a transport"),
        );
        let parts = delivery::Parts {
            store: Arc::clone(&store),
            catalog: Arc::clone(&catalog),
            transport: Arc::clone(&transport),
            clock: Arc::clone(&clock),
            telemetry: Arc::clone(&telemetry),
        };
        let deliveries = tokio::runtime::Handle::current();
        let watchdog = Watchdog::new(Arc::clone(&clock));
        let scheduler = Arc::new(Scheduler::start(inbox, parts, DeliverySettings::default(), deliveries, &watchdog));
        let draining = CancellationToken::new();
        let api = Api {
            store: Arc::clone(&store),
            scheduler,
            expressions: Arc::new(crate::filter::tests::expressions(&telemetry, &watchdog)),
            catalog,
            transport,
            limits,
            telemetry,
            clock,
            watchdog,
            draining: draining.clone(),
            metrics_webhooks: 2,
            metrics_labels: MetricsLabels::Id,
            console: Some(crate::model::settings::ConsoleSettings::default()),
        };
        let api = router_with(api, BodyBudget::new(body_timeout));
        let mut tokens = Vec::new();
        for role in Role::ALL {
            let (_, text) = store.create_token("test".into(), role, Actor::Host).await.expect("a token");
            tokens.push(Secret::expose(&text).to_owned());
        }
        let [admin, pentester, ingest, operator] = <[String; 4]>::try_from(tokens).expect("four");
        Self { api, store, draining, admin, pentester, ingest, operator, _folder: folder }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.api.clone().call(request).await;
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 64 << 20).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).unwrap_or_default();
        Reply { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    /// A request with a token, more headers (`Name: value`) and perhaps a JSON body.
    async fn call(&self, line: &str, token: &str, headers: &[&str], body: Option<&str>) -> Reply {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() && !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("content-type")) {
            request = request.header("content-type", "application/json");
        }
        for header in headers {
            let (name, value) = header.split_once(": ").expect("Name: value");
            request = request.header(name, value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_owned()));
        self.send(request.body(body).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call(&format!("GET {path}"), &self.admin, &[], None).await
    }

    async fn post(&self, path: &str, body: &str) -> Reply {
        self.call(&format!("POST {path}"), &self.admin, &[], Some(body)).await
    }

    async fn put(&self, path: &str, body: &str) -> Reply {
        self.call(&format!("PUT {path}"), &self.admin, &[], Some(body)).await
    }

    /// A new webhook's path.
    async fn webhook(&self) -> String {
        let reply = self.post("/api/v1/webhooks", r#"{"name":"n","url":"https://hook.invalid/x"}"#).await;
        reply.header("location").expect("a location").to_owned()
    }
}

/// A valid id that no resource has.
const UNKNOWN_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
