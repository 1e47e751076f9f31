//! Where backlogs are worked off: on threads of lower priority, which make way for whatever fresh events need of the processors.
//!
//! To unpack a chunk or to sign a hundred events takes a thread half a millisecond to two, and a fresh event that comes meanwhile
//! passes five processes: where there are few processors, each of them may have to wait for its turn. Beside a drain that keeps two
//! of them busy, fresh events' p99 was 4.3 ms with all of it on the same threads and 2.3 ms (1.8 to 2.6 in five drains) with the backlog on
//! these (`make bench`, case `backlog`).

use std::{
    num::NonZero,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
};

use rustix::process::{getpriority_process, setpriority_process};
use tokio::{
    runtime::{Builder, Handle, Runtime, RuntimeFlavor},
    task::JoinSet,
};

/// By how much these threads stand back, as `nice` says it: beside others that want all of a processor they get a tenth of it.
const NICE: i32 = 10;
/// The lowest priority there is, by setpriority(2).
const NICE_MAX: i32 = 19;
/// What waits for each thread at most. What is more is not put off but done by the other threads, so that a backlog is not starved:
/// it may have been weighed by how long a lease holds, and it has memory.
const WAITING_MAX: usize = 4;

/// The threads.
#[derive(Debug)]
pub(crate) struct Background {
    /// `None`: there is one thread for everything.
    threads: Option<Runtime>,
    main: Handle,
    /// Futures that no thread has begun with.
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl Background {
    /// Half as many threads as there are processors: the others are free of them.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn new() -> std::io::Result<Self> {
        let main = Handle::current();
        let count = (thread::available_parallelism().map_or(1, NonZero::get) / 2).max(1);
        let threads = match main.runtime_flavor() {
            RuntimeFlavor::CurrentThread => None,
            _ => Some(start(count)?),
        };
        Ok(Self { threads, main, waiting: Arc::default(), waiting_max: count * WAITING_MAX })
    }

    /// Spawns a future that these threads poll, unless enough waits for them. What it waits for, and what it spawns in turn, belongs to
    /// the other threads, so that a connection that it opens serves fresh events as well. But a thread that it starts has the
    /// priority of these, for as long as it lives.
    pub(crate) fn spawn<F>(&self, set: &mut JoinSet<F::Output>, future: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let threads = self.threads.as_ref().zip(Waiting::among(&self.waiting, self.waiting_max));
        match threads {
            Some((threads, waiting)) => {
                let of_main = OfMain {
                    main: self.main.clone(),
                    waiting: Some(waiting),
                    future: Some(Box::pin(future)),
                };
                set.spawn_on(of_main, threads.handle());
            }
            None => {
                set.spawn_on(future, &self.main);
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // To wait for them is not allowed on a thread that runs tasks.
            threads.shutdown_background();
        }
    }
}

fn start(count: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name("background")
        .on_thread_start(stand_back)
        .build()
}

/// Lowers the priority of this thread: on Linux it is a thread's own.
fn stand_back() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let lowered = getpriority_process(None)
        .and_then(|nice| setpriority_process(None, (nice + NICE).min(NICE_MAX)));
    if let Err(error) = lowered {
        tracing::warn!(%error, "cannot lower the priority of a thread: fresh events may have to wait for backlogs");
    }
}

/// The place of one that waits for a thread.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// A place among `most`, where there is one.
    fn among(waiting: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(Arc::clone(waiting));
        (waiting.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A future that finds the timers, sockets and tasks of the other threads, also where it is dropped. Boxed, it has its room once.
struct OfMain<F> {
    main: Handle,
    waiting: Option<Waiting>,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for OfMain<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.waiting = None;
        let main = self.main.clone();
        let polled = {
            let _of_main = main.enter();
            match &mut self.future {
                Some(future) => future.as_mut().poll(context),
                None => Poll::Pending,
            }
        };
        // A thread may keep its processor for milliseconds from who should go first, but not one that yields.
        thread::yield_now();
        polled
    }
}

impl<F> Drop for OfMain<F> {
    fn drop(&mut self) {
        let _of_main = self.main.enter();
        self.future = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn place(background: &Background) -> (Option<String>, i32, tokio::runtime::Id) {
        let mut set = JoinSet::new();
        background.spawn(&mut set, async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let name = thread::current().name().map(str::to_owned);
            let nice = getpriority_process(None).expect("a priority");
            (name, nice, Handle::current().id())
        });
        set.join_next().await.expect("one").expect("no panic")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn polls_on_threads_that_stand_back_what_belongs_to_the_others() {
        let before = getpriority_process(None).expect("a priority");
        let background = Background::new().expect("threads");
        let (name, nice, of) = place(&background).await;
        assert_eq!(name.as_deref(), Some("background"));
        assert_eq!(nice, (before + NICE).min(NICE_MAX));
        assert_eq!(of, Handle::current().id());
        assert_eq!(getpriority_process(None).expect("a priority"), before);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_more_than_may_wait_is_done_by_the_other_threads() {
        let mut background = Background::new().expect("threads");
        background.waiting_max = 0;
        let (name, ..) = place(&background).await;
        assert_ne!(name.as_deref(), Some("background"));
        assert_eq!(background.waiting.load(Ordering::Relaxed), 0);
    }

    /// Tells where it is dropped.
    struct Tells(tokio::sync::mpsc::Sender<tokio::runtime::Id>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.try_send(Handle::current().id()).expect("is awaited");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_cut_off_ends_among_the_other_threads() {
        let (sender, mut dropped) = tokio::sync::mpsc::channel(1);
        let (background, mut set) = (Background::new().expect("threads"), JoinSet::new());
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        background.spawn(&mut set, async move {
            let _tells = Tells(sender);
            begun.send(()).expect("is awaited");
            std::future::pending::<()>().await;
        });
        has_begun.await.expect("it begins");
        set.shutdown().await;
        assert_eq!(dropped.recv().await, Some(Handle::current().id()));
    }

    #[tokio::test]
    async fn has_no_threads_where_there_is_one_for_everything() {
        let background = Background::new().expect("nothing to start");
        let (name, _, of) = place(&background).await;
        assert_eq!(name.as_deref(), thread::current().name());
        assert_eq!(of, Handle::current().id());
    }
}
