//! The scheduler's inbox: one ordered channel for everything that it hears, so that its state needs no lock.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::permits::PermitId;
use crate::delivery::{Finished, Report};
use crate::model::id::WebhookId;
use crate::store::Change;

/// A message to the scheduler.
pub(super) enum Message {
    /// The store committed a change.
    Store(Change),
    /// Formatters were loaded or removed.
    Formatters,
    /// The attempt with this permit is over.
    Finished(PermitId, Finished),
    /// Abort a deleted webhook's attempts; answered once none is left.
    Forget(WebhookId, oneshot::Sender<()>),
    /// Claim nothing more; answered once nothing is in flight and every outcome is recorded.
    Drain(oneshot::Sender<()>),
    /// Abort every attempt in flight.
    Cut,
}

/// The permit of an attempt, with which its end is reported.
pub(super) struct Permitted {
    pub(super) permit: PermitId,
    pub(super) messages: UnboundedSender<Message>,
}

impl Report for Permitted {
    fn report(self, finished: Finished) {
        // A scheduler that is gone means that the process ends; the deliveries are queued on the disk.
        drop(self.messages.send(Message::Finished(self.permit, finished)));
    }
}

/// The receiving end, created before the store and the formatters so that they can be given its senders.
pub struct Inbox {
    pub(super) sender: UnboundedSender<Message>,
    pub(super) receiver: UnboundedReceiver<Message>,
}

impl Inbox {
    /// A new channel.
    pub fn new() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, receiver }
    }

    /// The callback for the store's changes, in the order of the commits. It never blocks.
    pub fn changes(&self) -> Box<dyn Fn(Change) + Send> {
        let sender = self.sender.clone();
        // A scheduler that is gone means that the process ends.
        Box::new(move |change| drop(sender.send(Message::Store(change))))
    }

    /// The callback for changes of the loaded formatters.
    pub fn formatters(&self) -> Box<dyn Fn() + Send + Sync> {
        let sender = self.sender.clone();
        Box::new(move || drop(sender.send(Message::Formatters)))
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}
