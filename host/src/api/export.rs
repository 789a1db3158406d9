//! Everything in one stream, for a backup.

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

/// Bytes of one piece on its way to the client, about.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for a slow client.
const PIECES: usize = 4;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(export))
}

/// Every record and every uploaded formatter, one a line; `heraldry store import` makes a store of it. What is secret
/// stays encrypted under the master key, which is not in it. The last line says how many lines there are: without it
/// the export is not whole. One export at a time.
#[utoipa::path(get, operation_id = "export", path = "/api/v1/export", tag = "store", security(("bearer" = [])),
    responses(
        (status = 200, description = "The export", body = String, content_type = "application/x-ndjson"),
        (status = 507, description = "The disk is full: the audit log could not be written")))]
async fn export(Admin(token): Admin, State(api): State<Shared>) -> Result<Response, ApiError> {
    let busy =
        || ApiError::new(Code::Busy, "another export is under way").retry_after(std::time::Duration::from_secs(10));
    let permit = Arc::clone(api.exports()).try_acquire_owned().map_err(|_| busy())?;
    api.store.audit(AuditEvent::store((&token).into(), Action::StoreExported)).await?;
    tracing::info!(by = %token.id, "the store is exported");
    let (store, files, now) = (Arc::clone(&api.store), api.registry.files(), api.clock.now());
    let (sender, receiver) = channel::<Bytes>(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let mut sink = |line: Vec<u8>| {
            piece.extend_from_slice(&line);
            piece.len() < PIECE_BYTES || sender.blocking_send(std::mem::take(&mut piece).into()).is_ok()
        };
        match store.export(&files, now, &mut sink) {
            // A client that went away needs no rest.
            Ok(()) => drop(sender.blocking_send(piece.into())),
            // The stream ends without its last line, which says so.
            Err(error) => tracing::error!(%error, "an export broke off"),
        }
        drop(permit);
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, "attachment; filename=\"heraldry-export.ndjson\""),
    ];
    Ok((headers, Body::new(Pieces(receiver))).into_response())
}

/// A body that comes piece by piece.
struct Pieces(Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
