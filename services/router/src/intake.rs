//! What a request may take while it is read: time for its body, and a share of the process's memory.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use http_body::{Frame, SizeHint};
use http_body_util::Either;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, sleep_until},
};
use tonic::{Code, Status};

pub(crate) use self::stream::MeteredStream;
use crate::status::Problem;

mod stream;

/// The request whose body is a stream of batches.
const STREAM: &str = "/PublishStream";

/// The bounds on what is read.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    budget: Arc<Semaphore>,
    read_timeout: Duration,
}

impl Intake {
    pub(crate) fn new(in_flight_bytes: u32, read_timeout: Duration) -> Self {
        let budget = usize::try_from(in_flight_bytes).unwrap_or(Semaphore::MAX_PERMITS);
        Self { budget: Arc::new(Semaphore::new(budget)), read_timeout }
    }

    /// Puts a request's body under the bounds, and its [`Charge`] among its extensions. A stream of batches may last for ever;
    /// what it has begun to send of a batch must go on in time, and waits that long for a share.
    pub(crate) fn meter(
        &self,
        request: Request,
    ) -> axum::http::Request<Either<Metered, MeteredStream>> {
        let charge = Charge::default();
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(charge.clone());
        let (budget, read_timeout) = (Arc::clone(&self.budget), self.read_timeout);
        let body = if parts.uri.path().ends_with(STREAM) {
            let (deadline, waiting) = (Box::pin(sleep(read_timeout)), None);
            let metered = MeteredStream { body, charge, budget, read_timeout, deadline, waiting };
            Either::Right(metered)
        } else {
            let ends = Instant::now() + read_timeout;
            Either::Left(Metered { body, charge, budget, ends, late: None })
        };
        axum::http::Request::from_parts(parts, body)
    }
}

/// The bytes that a request holds of the budget; given back when the last clone is dropped, which is when its events
/// are in the queue or refused, and what a stream answers of them is on its way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Charge(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Charge {
    /// Moves what it holds into a charge of its own.
    pub(crate) fn take(&self) -> Self {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Self(Arc::new(Mutex::new(held.take())))
    }

    /// Gives back all but so many bytes, unless somebody else holds it still.
    pub(crate) fn keep(&mut self, bytes: usize) {
        let Some(held) = Arc::get_mut(&mut self.0) else { return };
        if let Some(permit) = held.get_mut().unwrap_or_else(PoisonError::into_inner) {
            drop(permit.split(permit.num_permits().saturating_sub(bytes)));
        }
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn add(&self, more: OwnedSemaphorePermit) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
    }
}

/// Tells what broke the reading of a body.
pub(crate) fn reading_problem(error: &axum::Error) -> Problem {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = source {
        match error.downcast_ref::<Status>().map(Status::code) {
            Some(Code::ResourceExhausted) => return Problem::Overloaded,
            Some(Code::DeadlineExceeded) => return Problem::TooSlow,
            _ => source = error.source(),
        }
    }
    Problem::Refused(millrace_domain::Refusal::invalid("", "the body of the request broke off"))
}

/// A body that must end in time and is paid for as it comes. Fails with a `Status`, which gRPC answers as it is.
pub(crate) struct Metered {
    body: Body,
    charge: Charge,
    budget: Arc<Semaphore>,
    ends: Instant,
    /// Wakes who waits for more when it is too late; most bodies come with their head and never wait.
    late: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(self.ends)));
        late.as_mut().poll(context).is_ready()
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(_) if Instant::now() >= self.ends => {
                return Poll::Ready(Some(Err(Status::from(Problem::TooSlow).into())));
            }
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending if self.is_late(context) => {
                return Poll::Ready(Some(Err(Status::from(Problem::TooSlow).into())));
            }
            Poll::Pending => return Poll::Pending,
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match Arc::clone(&self.budget).try_acquire_many_owned(bytes) {
            Ok(permit) => self.charge.add(permit),
            Err(_) => return Poll::Ready(Some(Err(Status::from(Problem::Overloaded).into()))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
