//! Carries a plan out, one webhook after the other, and says of each what came of it.

use reqwest::{Method, StatusCode, header};

use super::desired::Desired;
use super::diff;
use super::document::Document;
use super::host::{Current, Formats};
use super::plan::{Action, Plan, Result, Step};
use super::secrets::Values;
use crate::cli::client::{Api, Response, webhook_path};
use crate::cli::failure::Failure;
use crate::cli::terminal::{BAD, escape, escape_lines, line, note};

/// Rounds of reading and writing a webhook while other writes win that change nothing of what was planned, as the circuit
/// breaker's do.
const ROUNDS: usize = 3;
const CHANGED_MEANWHILE: &str = "it was changed after the plan was made; run the command again to see a new plan";

/// Why a step has no result.
enum Problem {
    /// This webhook's: the others can be done.
    Its(String),
    /// The host's or the caller's: every other step would have it too.
    Everyones(Failure),
}

/// What carrying out needs beside the plan.
pub(super) struct Executor<'a> {
    pub(super) api: &'a Api,
    pub(super) document: &'a Document,
    pub(super) formats: &'a Formats,
    pub(super) values: &'a Values,
    /// False for output that is for programs.
    pub(super) prints: bool,
}

impl Executor<'_> {
    /// Does the steps in their order. One that the host rejects does not stop the others, but nothing is removed after it.
    ///
    /// # Errors
    /// What stopped it: no response, a token without the right, an overloaded host. The steps from there on have no result.
    pub(super) async fn run(&self, plan: &mut Plan) -> std::result::Result<(), Failure> {
        let mut has_failed = false;
        for step in &mut plan.steps {
            if has_failed && step.action() == Action::Remove {
                break;
            }
            step.result = match self.step(step).await {
                Ok(result) => result,
                Err(Problem::Its(why)) => Result::Failed(why),
                Err(Problem::Everyones(failure)) => return Err(failure),
            };
            has_failed |= matches!(step.result, Result::Failed(_));
            self.print(step)?;
        }
        Ok(())
    }

    fn print(&self, step: &Step) -> std::result::Result<(), Failure> {
        let name = escape(&step.name);
        match &step.result {
            Result::Failed(why) => note(format_args!("{BAD}failed:{BAD:#} {name}: {}", escape_lines(why))),
            Result::Created(id) if self.prints => line(format_args!("created {name} ({})", escape(id)))?,
            Result::Changed | Result::Removed if self.prints => line(format_args!("{} {name}", step.result.name()))?,
            _ => {}
        }
        Ok(())
    }

    async fn step(&self, step: &Step) -> std::result::Result<Result, Problem> {
        match (&step.current, &step.desired) {
            (None, Some(desired)) => self.create(desired).await,
            (Some(_), Some(_)) if step.action() == Action::Unchanged => Ok(Result::Unchanged),
            (Some(current), Some(desired)) => self.change(step, current, desired).await,
            (Some(current), None) => self.remove(current).await,
            (None, None) => Ok(Result::Unchanged),
        }
    }

    async fn create(&self, desired: &Desired) -> std::result::Result<Result, Problem> {
        let body = serde_json::Value::Object(desired.fields.clone()).to_string();
        let request = self.api.request(Method::POST, "/webhooks").header(header::CONTENT_TYPE, "application/json");
        let response = self.send(request.body(body)).await?;
        if response.status != StatusCode::CREATED {
            return Err(self.rejected(&response, Some(desired)));
        }
        let created = Current::of(&response).map_err(Problem::Everyones)?;
        Ok(Result::Created(created.id().to_owned()))
    }

    async fn change(&self, step: &Step, current: &Current, desired: &Desired) -> std::result::Result<Result, Problem> {
        let body = serde_json::Value::Object(diff::body(desired, &step.changes)).to_string();
        let path = webhook_path(current.id());
        for _ in 0..ROUNDS {
            let (now, tag) = self.read(&path).await?;
            if now.name() != step.name || diff::of(desired, &now, self.formats) != step.changes {
                return Err(Problem::Its(CHANGED_MEANWHILE.to_owned()));
            }
            let request = self.api.request(Method::PUT, &path).header(header::CONTENT_TYPE, "application/json");
            let response = self.send(request.header(header::IF_MATCH, &tag).body(body.clone())).await?;
            match response.status {
                // Values that are not shown are compared by the host: equal ones leave the tag as it is.
                StatusCode::OK if response.headers.get(header::ETAG) == Some(&tag) => return Ok(Result::Unchanged),
                StatusCode::OK => return Ok(Result::Changed),
                StatusCode::PRECONDITION_FAILED => {}
                _ => return Err(self.rejected(&response, Some(desired))),
            }
        }
        Err(Problem::Its(CHANGED_MEANWHILE.to_owned()))
    }

    async fn remove(&self, current: &Current) -> std::result::Result<Result, Problem> {
        let path = webhook_path(current.id());
        for _ in 0..ROUNDS {
            let (now, tag) = match self.read(&path).await {
                Err(Problem::Its(_)) => return Ok(Result::Removed),
                read => read?,
            };
            if now.name() != current.name() || now.get("updated_at") != current.get("updated_at") {
                return Err(Problem::Its(CHANGED_MEANWHILE.to_owned()));
            }
            let request = self.api.request(Method::DELETE, &path).header(header::IF_MATCH, &tag);
            let response = self.send(request).await?;
            match response.status {
                StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => return Ok(Result::Removed),
                StatusCode::PRECONDITION_FAILED => {}
                _ => return Err(self.rejected(&response, None)),
            }
        }
        Err(Problem::Its(CHANGED_MEANWHILE.to_owned()))
    }

    /// A webhook as it is now, with its entity tag. That it is gone is its own problem.
    async fn read(&self, path: &str) -> std::result::Result<(Current, header::HeaderValue), Problem> {
        let response = self.send(self.api.request(Method::GET, path)).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Err(Problem::Its("it was deleted after the plan was made; run the command again".to_owned()));
        }
        if response.status != StatusCode::OK {
            return Err(self.stopped(&response));
        }
        let tag = response.headers.get(header::ETAG).cloned().ok_or_else(|| self.stopped(&response))?;
        Ok((Current::of(&response).map_err(Problem::Everyones)?, tag))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> std::result::Result<Response, Problem> {
        self.api.send(request).await.map_err(|error| Problem::Everyones(self.api.unreachable(error)))
    }

    /// The problem of a response that is no success. `desired` is what was sent.
    fn rejected(&self, response: &Response, desired: Option<&Desired>) -> Problem {
        let is_its = matches!(response.status.as_u16(), 400 | 404 | 409 | 413 | 422);
        if !is_its {
            return self.stopped(response);
        }
        let errors = response.problem().errors;
        let Some(desired) = desired.filter(|_| !errors.is_empty()) else {
            return Problem::Its(self.values.masked(&response.describe_rejection()));
        };
        let mut text = format!("the host responded with {}", response.status);
        for fault in &errors {
            let line = self.document.line(&format!("{}{}", desired.pointer, fault.pointer));
            let words = desired.describe(&fault.pointer, &fault.code, &fault.detail);
            text.push_str(&format!("\n  line {line}: {}: {words}", escape(&fault.pointer)));
        }
        Problem::Its(self.values.masked(&text))
    }

    fn stopped(&self, response: &Response) -> Problem {
        let text = self.values.masked(&response.describe_rejection());
        Problem::Everyones(Failure::failed(anyhow::anyhow!(text), response.rejection_hint()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use axum::Router;
    use axum::extract::{Request, State};
    use axum::response::IntoResponse as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::apply::desired::{defaults, tests as files};

    /// A host of one webhook, `a`; that it creates others it only says.
    struct Script {
        webhook: Option<Value>,
        version: u64,
        /// Writes of others, each between a read and a write.
        writes: usize,
        /// The status of every write, if it is not what the rest says.
        status: Option<u16>,
        asked: Vec<String>,
    }

    #[derive(Clone)]
    struct Peer(Arc<Mutex<Script>>);

    impl Peer {
        fn script(&self) -> MutexGuard<'_, Script> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    fn webhook() -> Value {
        let mut webhook = Value::Object(defaults());
        let fields = json!({"id": "1", "name": "a", "url": "http://a/", "has_secret": false, "header_names": [],
            "is_active": true, "disabled_reason": null, "updated_at": "then"});
        webhook.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
        webhook
    }

    async fn respond(State(peer): State<Peer>, request: Request) -> axum::response::Response {
        let mut script = peer.script();
        let method = request.method().clone();
        script.asked.push(method.to_string());
        let is_write = method != Method::GET;
        if let Some(status) = script.status.filter(|_| is_write) {
            return StatusCode::from_u16(status).expect("a status").into_response();
        }
        if method == Method::POST {
            return (StatusCode::CREATED, webhook().to_string()).into_response();
        }
        let Some(webhook) = script.webhook.clone() else { return StatusCode::NOT_FOUND.into_response() };
        if is_write && script.writes > 0 {
            script.writes -= 1;
            script.version += 1;
        }
        let tag = |version: u64| format!("\"r{version}\"");
        if is_write && request.headers().get(header::IF_MATCH).is_none_or(|given| *given != tag(script.version)) {
            return StatusCode::PRECONDITION_FAILED.into_response();
        }
        if method == Method::DELETE {
            return StatusCode::NO_CONTENT.into_response();
        }
        script.version += u64::from(is_write);
        ([(header::ETAG, tag(script.version))], webhook.to_string()).into_response()
    }

    /// Carries out the plan of a file against a host with the webhook `a`, of which the script is changed after the plan was
    /// made: the results, what stopped it, and the methods of the requests.
    async fn run(file: &str, prune: bool, change: impl FnOnce(&mut Script)) -> (Vec<Result>, Option<String>, String) {
        let script = Script { webhook: Some(webhook()), version: 1, writes: 0, status: None, asked: Vec::new() };
        let peer = Peer(Arc::new(Mutex::new(script)));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(respond).with_state(peer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let api = Api::at(origin.parse().expect("a URL"), None).expect("a client");

        let (document, wanted) = files::wanted(file);
        let formats = files::formats();
        let current = [serde_json::from_value(webhook()).expect("a webhook")];
        let mut plan = Plan::new(wanted.webhooks, &current, &formats, prune).expect("a plan");
        change(&mut peer.script());
        let values = &wanted.values;
        let executor = Executor { api: &api, document: &document, formats: &formats, values, prints: false };
        let stopped = executor.run(&mut plan).await.err().and_then(|failure| failure.message().map(|(text, _)| text));
        let asked = peer.script().asked.join(" ");
        (plan.steps.into_iter().map(|step| step.result).collect(), stopped, asked)
    }

    const SLOW: &str = "webhooks = [{ name = \"a\", url = \"http://a/\", timeout_ms = 9000 }]";
    const TWO: &str = "webhooks = [{ name = \"b\", url = \"http://a/\" }, { name = \"a\", url = \"http://b/\" }]";
    const NONE: &str = "webhooks = []";

    fn changed_meanwhile() -> Result {
        Result::Failed(CHANGED_MEANWHILE.to_owned())
    }

    #[tokio::test]
    async fn writes_that_change_nothing_of_the_plan_are_waited_out_a_few_times() {
        for (writes, result, asked) in [
            (0, Result::Changed, "GET PUT"),
            (2, Result::Changed, "GET PUT GET PUT GET PUT"),
            (3, changed_meanwhile(), "GET PUT GET PUT GET PUT"),
        ] {
            let ran = run(SLOW, false, |script| script.writes = writes).await;
            assert_eq!(ran, (vec![result], None, asked.to_owned()), "{writes}");
        }
    }

    #[tokio::test]
    async fn what_somebody_else_changed_after_the_plan_is_left_alone() {
        type Change = fn(&mut Value);
        let changes: [Change; 3] = [
            |webhook| webhook["timeout_ms"] = json!(7000),
            |webhook| webhook["url"] = json!("http://b/"),
            |webhook| webhook["name"] = json!("another"),
        ];
        for change in changes {
            let (results, _, asked) = run(SLOW, false, |script| change(script.webhook.as_mut().expect("one"))).await;
            assert_eq!((results, asked.as_str()), (vec![changed_meanwhile()], "GET"));
        }
        let changed = |script: &mut Script| script.webhook.as_mut().expect("one")["updated_at"] = json!("now");
        let (results, _, asked) = run(NONE, true, changed).await;
        assert_eq!((results, asked.as_str()), (vec![changed_meanwhile()], "GET"));
        // What is gone needs no removal, and cannot be changed.
        let (results, ..) = run(NONE, true, |script| script.webhook = None).await;
        assert_eq!(results, [Result::Removed]);
        let (results, ..) = run(SLOW, false, |script| script.webhook = None).await;
        assert!(matches!(&results[0], Result::Failed(why) if why.starts_with("it was deleted")), "{results:?}");
    }

    #[tokio::test]
    async fn a_rejection_stops_removals_and_the_hosts_or_callers_trouble_stops_everything() {
        let (results, stopped, asked) = run(NONE, true, |_| {}).await;
        assert_eq!((results, stopped, asked.as_str()), (vec![Result::Removed], None, "GET DELETE"));
        let (results, stopped, _) = run(TWO, false, |script| script.status = Some(422)).await;
        assert!(results.iter().all(|result| matches!(result, Result::Failed(_))) && stopped.is_none(), "{results:?}");
        let only_b = "webhooks = [{ name = \"b\", url = \"http://a/\" }]";
        let (results, stopped, asked) = run(only_b, true, |script| script.status = Some(422)).await;
        assert!(matches!(results[..], [Result::Failed(_), Result::NotDone]) && stopped.is_none(), "{results:?}");
        assert_eq!(asked, "POST", "nothing is removed after a rejection");
        for status in [401, 403, 429, 500, 503, 507] {
            let (results, stopped, asked) = run(TWO, false, |script| script.status = Some(status)).await;
            assert_eq!((results, asked.as_str()), (vec![Result::NotDone, Result::NotDone], "POST"), "{status}");
            assert!(stopped.is_some_and(|why| why.contains(&status.to_string())), "{status}");
        }
    }
}
