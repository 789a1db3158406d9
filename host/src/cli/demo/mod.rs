//! `heraldry demo`: a host, its webhooks and a destination in one process, for the length of the command.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

use super::client::Api;
use super::failure::{Failure, OrHint as _};
use super::logging;
use super::receiver::{self, Behaviour, Delivery};
use super::terminal::note;
use crate::app::{self, Front, Parts, Shutdown, ShutdownHandle};
use crate::config::{Config, LogFormat};
use crate::formatter::Compiler;
use crate::model::secret::Secret;
use crate::{cli::listen, samples};

mod scenario;
mod show;

pub(super) const HELP: &str = "\
Needs no setup and leaves nothing behind: the store is in a temporary folder, all sockets are on 127.0.0.1.
Exit code 0: every delivery arrived and both of its signatures verify.";

/// Limit for all deliveries to arrive. Most of it is compiling the formats, which takes an idle machine some seconds.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(180);
/// Limit for a graceful stop; the store is discarded anyway.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
const SECRET_BYTES: usize = 24;
const BUG: &str = "this is a bug in Heraldry: report it with the lines above";

/// Runs the demo.
pub(super) async fn run() -> Result<(), Failure> {
    logging::start(LogFormat::Text, tracing::Level::WARN);
    let folder = tempfile::Builder::new().prefix("heraldry-demo-").tempdir();
    let folder = folder.context("cannot create a temporary folder").or_hint("set TMPDIR to a writable folder")?;
    let host = Host::start(folder.path()).await?;
    let outcome = tokio::select! {
        outcome = deliver(&host) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed(anyhow::anyhow!("interrupted"), "run the command again")),
    };
    host.stop().await;
    outcome
}

/// A host inside this process, on a port chosen by the system, and its admin token.
struct Host {
    url: Url,
    token: Secret,
    handle: ShutdownHandle,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Host {
    async fn start(folder: &Path) -> Result<Self, Failure> {
        note("starting a host ...");
        let (listener, url) = listener().await?;
        let config = Config {
            data: folder.join("data"),
            formatters: folder.join("formatters.d"),
            allow_net: vec!["127.0.0.0/8".parse().expect("a network")],
            log_level: tracing::Level::WARN,
            ..Config::default()
        };
        let parts = Parts { compiler: Compiler::Child, ..Parts::default() };
        let front = Front::open(listener, &config, &parts).or_hint(BUG)?;
        let app = app::build(front, config, parts).await.or_hint(BUG)?;
        let (_, formats) = app.to_compile();
        note(format_args!(
            "compiling {} formats, which takes some seconds; those that are done deliver ...",
            formats.len()
        ));
        let token = app.new_admin_token().cloned().context("the new store has no admin token").or_hint(BUG)?;
        let (handle, shutdown) = Shutdown::new();
        let running = tokio::spawn(app.run(shutdown));
        Ok(Self { url, token, handle, running })
    }

    async fn stop(self) {
        self.handle.drain();
        if tokio::time::timeout(STOP_TIMEOUT, self.running).await.is_err() {
            self.handle.stop_now();
        }
    }
}

async fn listener() -> Result<(TcpListener, Url), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.context("cannot listen on 127.0.0.1").or_hint("check that the loopback interface is up")?;
    let address = listener.local_addr().or_hint(BUG)?;
    let url = Url::parse(&format!("http://{address}/")).or_hint(BUG)?;
    Ok((listener, url))
}

async fn deliver(host: &Host) -> Result<(), Failure> {
    let began = Instant::now();
    let api = Api::at(host.url.clone(), Some(host.token.clone()))?;
    let (listener, destination) = listener().await?;
    let secret = new_secret()?;
    let behaviour = Behaviour { secret: Some(secret.clone()), ..Behaviour::default() };
    let (sender, arriving) = mpsc::channel(listen::QUEUE);
    let receiver = tokio::spawn(receiver::serve(listener, behaviour, sender, std::future::pending()));

    let formats = scenario::built_in_formats(&api).await?;
    let webhooks = scenario::create_webhooks(&api, &formats, &destination, &secret).await?;
    show::opening(&host.url, &destination, &formats, samples::posted().len())?;
    let outcome = watch(&api, arriving, &formats).await;
    receiver.abort();
    let watched = outcome?;
    if let Some(problem) = watched.problem(&formats) {
        let reasons = scenario::failures(&api, &webhooks).await;
        let error = anyhow::anyhow!("{}", std::iter::once(problem).chain(reasons).collect::<Vec<_>>().join("\n  "));
        return Err(Failure::failed(error, BUG));
    }
    show::in_full(&formats, &watched.examples(&formats))?;
    show::closing(&watched, &formats, began.elapsed())
}

/// The deliveries that arrived.
struct Watched {
    events: usize,
    expected: u64,
    /// Keyed by delivery id; a repeated attempt replaces the earlier one.
    arrived: HashMap<String, Delivery>,
    unverified: u64,
    /// The ids of the deliveries that are shown in full.
    shown: HashSet<String>,
}

impl Watched {
    /// The first unmet expectation, as a sentence.
    fn problem(&self, formats: &[String]) -> Option<String> {
        let arrived = self.arrived.len() as u64;
        if arrived < self.expected {
            return Some(format!(
                "{arrived} of {} deliveries arrived within {} s",
                self.expected,
                DELIVERY_TIMEOUT.as_secs()
            ));
        }
        if self.unverified > 0 {
            return Some(format!("{} of {arrived} deliveries do not have two valid signatures", self.unverified));
        }
        let unseen = formats.iter().zip(self.examples(formats)).find(|(_, example)| example.is_none());
        unseen.map(|(format, _)| format!("no delivery of the format {format} arrived"))
    }

    /// One delivery for each format, in the formats' order.
    fn examples(&self, formats: &[String]) -> Vec<Option<&Delivery>> {
        let shown: Vec<&Delivery> = self.shown.iter().filter_map(|id| self.arrived.get(id)).collect();
        let of = |format: &String| shown.iter().find(|delivery| scenario::format_of(delivery) == Some(format)).copied();
        formats.iter().map(of).collect()
    }

    fn record(&mut self, delivery: Delivery) {
        self.unverified += u64::from(!delivery.verdicts.is_some_and(receiver::Verdicts::all_verify));
        self.arrived.insert(delivery.header("x-webhook-delivery"), delivery);
    }
}

/// Posts the samples and prints deliveries until all have arrived or [`DELIVERY_TIMEOUT`] has passed.
async fn watch(api: &Api, mut arriving: mpsc::Receiver<Delivery>, formats: &[String]) -> Result<Watched, Failure> {
    let deadline = Instant::now() + DELIVERY_TIMEOUT;
    let posting = scenario::post_samples(api);
    tokio::pin!(posting);
    let mut watched = Watched {
        events: samples::posted().len(),
        expected: 0,
        arrived: HashMap::new(),
        unverified: 0,
        shown: HashSet::new(),
    };
    let mut posted = false;
    while !posted || (watched.arrived.len() as u64) < watched.expected {
        tokio::select! {
            outcome = &mut posting, if !posted => {
                let outcome = outcome?;
                watched.expected = outcome.deliveries;
                watched.shown = outcome.shown;
                posted = true;
            }
            Some(delivery) = arriving.recv() => {
                show::arrival(&delivery, formats)?;
                watched.record(delivery);
            }
            () = tokio::time::sleep_until(deadline) => break,
        }
    }
    Ok(watched)
}

/// A random secret in the notation of Standard Webhooks (`whsec_` and base64).
fn new_secret() -> Result<Secret, Failure> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("no random numbers from the system: {error}"))
        .or_hint(BUG)?;
    Ok(Secret::new(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes))))
}
