//! Waits for what must come true, with a deadline and not for luck.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// Longest wait: far above what a loaded machine takes for anything a test waits for.
const DEADLINE: Duration = Duration::from_secs(30);
/// First and longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Looks again and again until `look` gives `Some`, and gives what is in it; panics, naming `what`, after 30 s.
pub async fn eventually<T, F>(what: &str, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(DEADLINE, what, look).await
}

/// Like [`eventually`], with a deadline of the caller's.
pub async fn eventually_within<T, F>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    let (mut pause, longest) = PAUSE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

/// Looks until `look` gives `expected`; after 30 s panics with what it gave instead.
pub async fn eventually_eq<T, F>(expected: T, mut look: impl FnMut() -> F)
where
    T: PartialEq + Debug,
    F: Future<Output = T>,
{
    let started = Instant::now();
    let (mut pause, longest) = PAUSE;
    loop {
        let found = look().await;
        if found == expected {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "wanted {expected:?}, still {found:?}");
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn gives_what_comes_true() {
        let looks = Cell::new(0);
        let found = eventually("three looks", || async {
            looks.set(looks.get() + 1);
            (looks.get() == 3).then_some("found")
        });
        assert_eq!(found.await, "found");
    }

    #[tokio::test]
    #[should_panic(expected = "not within 10ms: the sky falls")]
    async fn names_what_never_came() {
        let never = || async { None::<()> };
        eventually_within(Duration::from_millis(10), "the sky falls", never).await;
    }
}
