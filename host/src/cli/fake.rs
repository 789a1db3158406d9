//! A host for tests of commands: it answers what it was told to, and keeps what it was asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LINK;
use url::Url;

use super::client::Api;

/// One answer: status, body, and true if the page is not the last.
type Answer = (u16, String, bool);

#[derive(Default)]
struct Script {
    /// The answers of each path; the last one is given again and again.
    answers: HashMap<String, VecDeque<Answer>>,
    asked: Vec<String>,
}

/// The host. It ends with the test's runtime.
#[derive(Clone)]
pub(super) struct Fake {
    script: Arc<Mutex<Script>>,
    origin: Url,
}

impl Fake {
    /// A host that knows no path yet.
    pub(super) async fn start() -> Self {
        let script = Arc::<Mutex<Script>>::default();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { script, origin: origin.parse().expect("a URL") }
    }

    /// A client of it.
    pub(super) fn api(&self) -> Api {
        Api::at(self.origin.clone(), None).expect("a client")
    }

    /// Answers requests to a path with this JSON from now on.
    pub(super) fn answers(&self, path: &str, body: &str) {
        self.set(path, [(200, body.to_owned(), false)]);
    }

    /// Answers requests to a path with this status from now on.
    pub(super) fn fails(&self, path: &str, status: u16) {
        self.set(path, [(status, String::new(), false)]);
    }

    /// Answers requests to a path with one of these after the other, and with the last of them again.
    pub(super) fn set<const N: usize>(&self, path: &str, answers: [Answer; N]) {
        self.script().answers.insert(path.to_owned(), answers.into());
    }

    /// The queries of the requests to a path so far.
    pub(super) fn asked(&self, path: &str) -> Vec<String> {
        let asked = &self.script().asked;
        let queries = asked.iter().filter_map(|target| target.strip_prefix(path));
        queries.map(|query| query.trim_start_matches('?').to_owned()).collect()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
    script.asked.push(request.uri().to_string());
    let Some(answers) = script.answers.get_mut(request.uri().path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
    let (status, body, more) = next.unwrap_or((404, String::new(), false));
    let status = StatusCode::from_u16(status).expect("a status");
    if more { (status, [(LINK, "</>; rel=\"next\"")], body).into_response() } else { (status, body).into_response() }
}
