//! The body of a stream of batches: no end to wait for, and a share of memory batch by batch.

use std::{
    error::Error as StdError,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::Frame;
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep},
};
use tonic::Status;

use super::Charge;
use crate::status::Problem;

type Share = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A body that is paid for as it comes, until the handler takes the charge with a batch. One that stops within a batch, or
/// finds no room, fails after a while; between two batches it may rest for ever.
pub(crate) struct MeteredStream {
    pub(super) body: Body,
    pub(super) charge: Charge,
    pub(super) budget: Arc<Semaphore>,
    pub(super) read_timeout: Duration,
    pub(super) deadline: Pin<Box<Sleep>>,
    /// What was read and is not paid for.
    pub(super) waiting: Option<(Bytes, Share)>,
}

impl MeteredStream {
    fn postpone(&mut self) {
        self.deadline.as_mut().reset(Instant::now() + self.read_timeout);
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.deadline.as_mut().poll(context).is_ready()
    }
}

impl HttpBody for MeteredStream {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.waiting.is_none() {
            let data = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(data) => data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if !self.charge.is_empty() && self.is_late(context) => {
                    return Poll::Ready(Some(Err(Status::from(Problem::TooSlow).into())));
                }
                Poll::Pending => return Poll::Pending,
            };
            let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let share = Box::pin(Arc::clone(&self.budget).acquire_many_owned(bytes));
            self.waiting = Some((data, share));
            self.postpone();
        }
        let Some((_, share)) = &mut self.waiting else { return Poll::Pending };
        match share.as_mut().poll(context) {
            Poll::Ready(Ok(permit)) => self.charge.add(permit),
            Poll::Pending if !self.is_late(context) => return Poll::Pending,
            _ => return Poll::Ready(Some(Err(Status::from(Problem::Overloaded).into()))),
        }
        self.postpone();
        let data = self.waiting.take().map(|(data, _)| Ok(Frame::data(data)));
        Poll::Ready(data)
    }
}
