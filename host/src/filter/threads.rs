//! The threads that judge. A request's events go to them in pieces, so that one request does not occupy all of them for
//! long, and several threads share a large one.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;

use super::failures::Failures;
use super::judge::{Judge, Words};
use crate::formatter::{EVALUATOR_STACK_BYTES, Evaluator, EventFacts, ExpressionFault};
use crate::model::event::Severity;
use crate::model::webhook::expression::{ExpressionVerdict, Verdicts};
use crate::telemetry::Telemetry;
use crate::watchdog::{Need, Pulse, Watchdog};

/// Events that are judged in one turn of a thread.
const PIECE: usize = 16;
/// The longest that one event may be judged.
const STANDSTILL: std::time::Duration = std::time::Duration::from_secs(60);
const UNAVAILABLE: &str = "the evaluator of expressions is not available";

/// An event to be judged.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its type.
    pub event_type: &'static str,
    /// Its id.
    pub id: String,
    /// When it happened: RFC 3339, in UTC.
    pub occurred_at: String,
    /// Its severity, if it has one.
    pub severity: Option<Severity>,
    /// Its JSON object, as it was posted.
    pub json: String,
    /// The expressions, each once.
    pub expressions: Vec<Arc<str>>,
}

/// Loads the evaluator, which may have to be compiled.
type Load = Box<dyn Fn() -> anyhow::Result<Evaluator> + Send + Sync>;

/// Where the verdicts on a piece come, and the expressions of each of its events.
type Asked = (oneshot::Receiver<Vec<Verdicts>>, Vec<Vec<Arc<str>>>);

enum Job {
    Judge { questions: Vec<Question>, words: Words, reply: oneshot::Sender<Vec<Verdicts>> },
    Check { expression: String, reply: oneshot::Sender<Result<(), Vec<ExpressionFault>>> },
}

struct State {
    jobs: VecDeque<Job>,
    /// Threads that take jobs.
    alive: usize,
    stopping: bool,
}

struct Inner {
    state: Mutex<State>,
    /// Signalled when there is a job, and at the end.
    waiting: Condvar,
    load: Load,
    /// The evaluator, or the reason why there is none.
    evaluator: OnceLock<Result<Evaluator, String>>,
    watchdog: Watchdog,
}

/// Checks and judges filter expressions.
pub struct Expressions {
    inner: Arc<Inner>,
    threads: usize,
    failures: Failures,
    started: OnceLock<()>,
}

impl Expressions {
    /// Nothing runs, and nothing is loaded, before the first expression.
    pub fn new(
        processors: usize,
        telemetry: Arc<Telemetry>,
        watchdog: Watchdog,
        load: impl Fn() -> anyhow::Result<Evaluator> + Send + Sync + 'static,
    ) -> Self {
        let inner = Inner {
            state: Mutex::new(State { jobs: VecDeque::new(), alive: 0, stopping: false }),
            waiting: Condvar::new(),
            load: Box::new(load),
            evaluator: OnceLock::new(),
            watchdog,
        };
        // Half of the processors, so that ingest and deliveries go on; two, so that one long evaluation delays no other.
        let threads = (processors / 2).clamp(2, 4);
        Self { inner: Arc::new(inner), threads, failures: Failures::new(telemetry), started: OnceLock::new() }
    }

    /// The expressions that failed.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Starts the threads, which load the evaluator, before anything waits for them.
    pub fn start(&self) {
        self.started.get_or_init(|| {
            self.inner.state().alive = self.threads;
            for number in 0..self.threads {
                let inner = Arc::clone(&self.inner);
                let name = format!("expressions-{number}");
                let watched = inner.watchdog.watch(name.clone(), Need::Partial, Some(STANDSTILL));
                let thread = std::thread::Builder::new().name(name).stack_size(EVALUATOR_STACK_BYTES);
                let taking = Taking(Arc::clone(&inner));
                if let Err(error) = thread.spawn(move || watched.run(|pulse| taking.0.run(pulse))) {
                    tracing::error!(%error, "a thread for filter expressions cannot be started; check the limit on threads");
                }
            }
        });
    }

    /// Reads and checks an expression.
    ///
    /// # Errors
    /// What is wrong with it, with the places.
    pub async fn check(&self, expression: &str) -> Result<(), Vec<ExpressionFault>> {
        let (reply, response) = oneshot::channel();
        self.push(Job::Check { expression: expression.to_owned(), reply });
        response.await.unwrap_or_else(|_| {
            Err(vec![ExpressionFault { line: 1, column: 1, message: format!("it cannot be checked: {UNAVAILABLE}") }])
        })
    }

    /// The verdicts on these events, in their order.
    pub async fn judge(&self, questions: Vec<Question>, words: Words) -> Vec<Verdicts> {
        let mut verdicts = Vec::with_capacity(questions.len());
        let mut rest = questions.into_iter();
        let mut asked = VecDeque::new();
        loop {
            // No more at a time than there are threads: a small request does not wait for all of a large one.
            while asked.len() < self.threads {
                let piece: Vec<_> = rest.by_ref().take(PIECE).collect();
                if piece.is_empty() {
                    break;
                }
                asked.push_back(self.ask(piece, words));
            }
            let Some((response, unjudged)) = asked.pop_front() else { return verdicts };
            match response.await {
                Ok(judged) => verdicts.extend(judged),
                // A thread has died. Its events pass, as with every failure.
                Err(_) => verdicts.extend(unjudged.iter().map(|expressions| failed(expressions, UNAVAILABLE))),
            }
        }
    }

    /// Gives a piece to the threads: where its verdicts come, and the expressions of each event.
    fn ask(&self, questions: Vec<Question>, words: Words) -> Asked {
        let (reply, response) = oneshot::channel();
        let expressions = questions.iter().map(|question| question.expressions.clone()).collect();
        self.push(Job::Judge { questions, words, reply });
        (response, expressions)
    }

    fn push(&self, job: Job) {
        self.start();
        let mut state = self.inner.state();
        // Without a thread nobody would ever answer; a job that is dropped is answered at once.
        if state.alive > 0 {
            state.jobs.push_back(job);
            self.inner.waiting.notify_one();
        }
    }
}

impl Drop for Expressions {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.stopping = true;
        state.jobs.clear();
        self.inner.waiting.notify_all();
    }
}

/// A thread that takes jobs, as long as this lives. The jobs of the last one that dies are dropped.
struct Taking(Arc<Inner>);

impl Drop for Taking {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.alive = state.alive.saturating_sub(1);
        if state.alive == 0 {
            state.jobs.clear();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, pulse: &Pulse) {
        // Compiling may take longer than any evaluation. The first thread loads, the others wait for it.
        pulse.idle();
        let evaluator = self.evaluator.get_or_init(|| {
            (self.load)().map_err(|error| {
                tracing::error!(%error, "the evaluator of filter expressions cannot be loaded: every expression lets events pass");
                format!("{UNAVAILABLE}: {error}")
            })
        });
        let mut judge = evaluator.as_ref().map(|evaluator| Judge::new(evaluator.clone()));
        while let Some(job) = self.next(pulse) {
            match (job, &mut judge) {
                (Job::Check { expression, reply }, Ok(judge)) => {
                    let _ = reply.send(judge.check(&expression));
                }
                (Job::Check { reply, .. }, Err(reason)) => {
                    let message = format!("it cannot be checked: {reason}");
                    let _ = reply.send(Err(vec![ExpressionFault { line: 1, column: 1, message }]));
                }
                (Job::Judge { questions, words, reply }, judge) => {
                    // A client that hung up while it waited needs no verdicts: nothing was accepted yet.
                    if reply.is_closed() {
                        continue;
                    }
                    let one = |question: &Question| {
                        pulse.beat();
                        match judge {
                            Ok(judge) => judge.judge(question.facts(), &question.expressions, words),
                            Err(reason) => failed(&question.expressions, reason),
                        }
                    };
                    let _ = reply.send(questions.iter().map(one).collect());
                }
            }
        }
    }

    fn next(&self, pulse: &Pulse) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                pulse.beat();
                return Some(job);
            }
            pulse.idle();
            state = self.waiting.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Question {
    fn facts(&self) -> EventFacts<'_> {
        EventFacts {
            event_type: self.event_type,
            id: &self.id,
            occurred_at: &self.occurred_at,
            severity: self.severity.map_or(-1, rank),
            json: &self.json,
        }
    }
}

/// A severity as a number: 0 (info) to 4 (critical).
fn rank(severity: Severity) -> i32 {
    Severity::ALL.iter().position(|known| *known == severity).and_then(|rank| i32::try_from(rank).ok()).unwrap_or(-1)
}

fn failed(expressions: &[Arc<str>], reason: &str) -> Verdicts {
    let failed =
        |expression: &Arc<str>| (Arc::clone(expression), ExpressionVerdict::Failed { reason: reason.to_owned() });
    expressions.iter().map(failed).collect()
}
