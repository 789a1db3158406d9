//! The few threads on which formatters run, away from every runtime: a formatter that loops delays
//! neither a timer nor a request.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::runtime::error::RenderError;

/// Calls that may wait for a thread; further callers wait before they queue.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that run one call each at a time.
pub(super) struct Pool {
    jobs: Mutex<Option<Sender<Job>>>,
    room: Arc<Semaphore>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Pool {
    /// So many threads, each with a stack of so many bytes.
    pub(super) fn new(threads: usize, stack_bytes: usize) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..threads)
            .map(|number| {
                let queue = Arc::clone(&queue);
                let name = format!("formatter-{number}");
                std::thread::Builder::new().name(name).stack_size(stack_bytes).spawn(move || work(&queue))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), room: Arc::new(Semaphore::new(QUEUE)), threads })
    }

    /// Runs a call on one of the threads.
    ///
    /// # Errors
    /// [`RenderError::Stopping`] when the pool is gone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RenderError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| RenderError::Stopping)?;
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Whoever asked may be gone: an attempt that was aborted.
            if !reply.is_closed() {
                let _ = reply.send(call());
            }
            drop(room);
        });
        let sender = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.ok_or(RenderError::Stopping)?.send(job).map_err(|_| RenderError::Stopping)?;
        answer.await.map_err(|_| RenderError::Stopping)
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // One thread waits in `recv`, the others for the lock: whoever gets a job hands the lock on.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A panic of ours in one call must not take the thread; the caller sees its reply dropped.
            Ok(job) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))),
            Err(_) => return,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
