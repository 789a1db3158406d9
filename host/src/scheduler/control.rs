//! Control of the running loop: start, forget a webhook, drain.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::inbox::{Inbox, Message};
use super::run::{Context, Run};
use crate::delivery::Deliver;
use crate::model::id::WebhookId;
use crate::watchdog::{Need, Watchdog};

/// How long attempts that a shutdown cut may take to be recorded.
const RECORD_CUT: Duration = Duration::from_secs(3);

/// The longest that the loop may take between two waits.
const TURN_LIMIT: Duration = Duration::from_secs(30);

/// The sending end of a running loop's inbox.
pub(super) struct Control(UnboundedSender<Message>);

impl Control {
    /// Starts the loop on the runtime of attempts: it wakes them, and they wake it, many times a millisecond, which
    /// costs least where no other runtime's thread has to be woken.
    pub(super) fn start<D: Deliver>(inbox: Inbox, deliver: Arc<D>, context: Context, watchdog: &Watchdog) -> Self {
        let Inbox { sender, receiver } = inbox;
        let watched = watchdog.watch("scheduler", Need::Vital, Some(TURN_LIMIT));
        let runtime = context.deliveries.clone();
        runtime.spawn(watched.task(Run::new(deliver, context, sender.clone()).run(receiver)));
        Self(sender)
    }

    pub(super) async fn forget(&self, webhook: WebhookId) {
        let (done, wait) = oneshot::channel();
        if self.0.send(Message::Forget(webhook, done)).is_ok() {
            let _ = wait.await;
        }
    }

    pub(super) async fn drain(&self, grace: Duration) {
        let (done, mut wait) = oneshot::channel();
        if self.0.send(Message::Drain(done)).is_err() {
            return;
        }
        if tokio::time::timeout(grace, &mut wait).await.is_err() {
            let _ = self.0.send(Message::Cut);
            // A store that cannot write would keep the process; what is not recorded is made again.
            let _ = tokio::time::timeout(RECORD_CUT, wait).await;
        }
    }
}
