//! A small pool of threads for calls, apart from every async runtime: a formatter that loops delays neither a timer nor
//! a request.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use super::runtime::RenderError;

/// Calls that may be queued. Further callers wait for a permit, which is the backpressure on deliveries.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that each run one call at a time.
pub(super) struct Pool {
    jobs: Mutex<Option<Sender<Job>>>,
    /// One permit for each queued or running call.
    permits: Arc<Semaphore>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` threads, each with a stack of `stack_bytes`.
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
        Ok(Self { jobs: Mutex::new(Some(jobs)), permits: Arc::new(Semaphore::new(QUEUE)), threads })
    }

    /// Runs a call on one of the threads.
    ///
    /// # Errors
    /// [`RenderError::Stopping`] when the pool shuts down.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RenderError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| RenderError::Stopping)?;
        let (reply, response) = oneshot::channel();
        let job: Job = Box::new(move || {
            // An aborted attempt has dropped its receiver: the call is skipped.
            if !reply.is_closed() {
                let _ = reply.send(call());
            }
            drop(permit);
        });
        let sender = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sender.ok_or(RenderError::Stopping)?.send(job).map_err(|_| RenderError::Stopping)?;
        response.await.map_err(|_| RenderError::Stopping)
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // One thread waits in `recv`, the others for the lock, which is released once there is a job.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            // A panic of the host in one call must not end the thread; the caller sees its reply dropped.
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
