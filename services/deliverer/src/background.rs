//! Where backlogs are worked off: on threads of lower priority, which make way for whatever fresh events need of the processors.
//!
//! To unpack a chunk or to sign a hundred events takes a thread half a millisecond to two, and a fresh event that comes meanwhile
//! passes five processes: where there are few processors, each of them may have to wait for its turn. Beside a drain that keeps two
//! of them busy, fresh events' p99 was 4.3 ms with all of it on the same threads and 2.3 ms (1.8 to 2.6 in five drains) with the backlog on
//! these (`make bench`, case `backlog`).

use std::{
    num::NonZero,
    pin::Pin,
    task::{Context, Poll},
    thread,
};

use tokio::{
    runtime::{Builder, Handle, Runtime, RuntimeFlavor},
    task::JoinSet,
};

/// By how much these threads stand back, as `nice` says it: beside others that want all of a processor they get a tenth of it, so
/// that a backlog is not starved.
const NICE: i32 = 10;

/// The threads.
#[derive(Debug)]
pub(crate) struct Background {
    /// `None`: there is one thread for everything.
    threads: Option<Runtime>,
    main: Handle,
}

impl Background {
    /// Half as many threads as there are processors: the others are free of them.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn new() -> std::io::Result<Self> {
        let main = Handle::current();
        let threads = match main.runtime_flavor() {
            RuntimeFlavor::CurrentThread => None,
            _ => Some(start()?),
        };
        Ok(Self { threads, main })
    }

    /// Spawns a future that these threads poll. What it waits for, and what it spawns in turn, belongs to the other threads, so that
    /// a connection that it opens serves fresh events as well.
    pub(crate) fn spawn<F>(&self, set: &mut JoinSet<F::Output>, future: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.threads {
            Some(threads) => {
                let of_main = OfMain { main: self.main.clone(), future: Box::pin(future) };
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

fn start() -> std::io::Result<Runtime> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    Builder::new_multi_thread()
        .worker_threads((processors / 2).max(1))
        .thread_name("background")
        .on_thread_start(stand_back)
        .build()
}

/// Lowers the priority of this thread: on Linux it is a thread's own.
fn stand_back() {
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::setpriority_process(None, NICE)
    {
        tracing::warn!(%error, "cannot lower the priority of a thread: fresh events may have to wait for backlogs");
    }
}

/// A future that finds the timers, sockets and tasks of the other threads. Boxed, it has its room once.
struct OfMain<F> {
    main: Handle,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for OfMain<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let polled = {
            let main = self.main.clone();
            let _of_main = main.enter();
            self.future.as_mut().poll(context)
        };
        // A thread may keep its processor for milliseconds from who should go first, but not one that yields.
        thread::yield_now();
        polled
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
            let nice = rustix::process::getpriority_process(None).expect("a priority");
            (name, nice, Handle::current().id())
        });
        set.join_next().await.expect("one").expect("no panic")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn polls_on_threads_that_stand_back_what_belongs_to_the_others() {
        let before = rustix::process::getpriority_process(None).expect("a priority");
        let background = Background::new().expect("threads");
        let (name, nice, of) = place(&background).await;
        assert_eq!(name.as_deref(), Some("background"));
        assert!(nice >= NICE.max(before), "{nice}");
        assert_eq!(of, Handle::current().id());
        assert_eq!(rustix::process::getpriority_process(None).expect("a priority"), before);
    }

    #[tokio::test]
    async fn has_no_threads_where_there_is_one_for_everything() {
        let background = Background::new().expect("nothing to start");
        let (name, _, of) = place(&background).await;
        assert_eq!(name.as_deref(), thread::current().name());
        assert_eq!(of, Handle::current().id());
    }
}
