//! The export of the whole store as one stream, for backups.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use hyper::body::Frame;
use tokio::sync::mpsc::{Receiver, channel};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Admin;
use super::problem::{ApiError, Code};
use super::state::Shared;
use crate::model::audit::{Action, AuditEvent};

/// Approximate size of one chunk of the response, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that are buffered for a slow client; then the export blocks (backpressure).
const QUEUED_CHUNKS: usize = 4;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Every record and every uploaded formatter, one a line; `heraldry store import` restores them. Secrets stay encrypted
/// under the master key, which is not exported. The last line holds the number of lines, and an
/// authentication code over all of them under a key derived from the master key: an export without it is incomplete, and
/// one that was changed is rejected by the import. Only one export runs at a time.
#[utoipa::path(get, operation_id = "export", path = "/api/v1/export", tag = "store", security(("bearer" = [])),
    responses(
        (status = 200, description = "The export", body = String, content_type = "application/x-ndjson"),
        (status = 507, description = "The disk is full: the audit log could not be written")))]
async fn export(Admin(token): Admin, State(api): State<Shared>) -> Result<Response, ApiError> {
    let busy = || {
        ApiError::new(Code::Busy, "another export is running; try again when it has finished")
            .retry_after(std::time::Duration::from_secs(10))
    };
    let permit = Arc::clone(api.exports()).try_acquire_owned().map_err(|_| busy())?;
    api.store.audit(AuditEvent::store((&token).into(), Action::StoreExported)).await?;
    tracing::info!(by = %token.id, "the store is exported");
    let (store, files, now) = (Arc::clone(&api.store), api.catalog.files(), api.clock.now());
    let (sender, receiver) = channel::<Bytes>(QUEUED_CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let mut sink = |line: Vec<u8>| {
            chunk.extend_from_slice(&line);
            chunk.len() < CHUNK_BYTES || sender.blocking_send(std::mem::take(&mut chunk).into()).is_ok()
        };
        match store.export(&files, now, &mut sink) {
            // Sending fails only if the client has disconnected.
            Ok(()) => drop(sender.blocking_send(chunk.into())),
            // The missing last line tells the client that the export is incomplete.
            Err(error) => tracing::error!(%error, "an export failed and is incomplete; run it again"),
        }
        drop(permit);
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, "attachment; filename=\"heraldry-export.ndjson\""),
    ];
    Ok((headers, Body::new(Chunks(receiver))).into_response())
}

/// A response body that is produced chunk by chunk.
struct Chunks(Receiver<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
