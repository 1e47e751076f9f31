//! What follows a mutation: its version as the caller is told it, once those who must have it do.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use millrace_domain::{ConfigVersion, secret::SecretHash};
use ring::digest;
use tokio::time::timeout;

/// Longest wait for a [`Barrier`]; then the mutation answers anyway.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits for others to have a version of the configuration: in `millrace dev`, the router and the deliverer of the process.
#[async_trait]
pub trait Barrier: Send + Sync + 'static {
    /// Returns once they have applied `version`.
    async fn reached(&self, version: ConfigVersion);
}

/// A mutation that is in the store.
#[derive(Debug)]
pub(crate) struct Committed<T> {
    pub(crate) value: T,
    pub(crate) version: ConfigVersion,
}

/// Turns versions of the store into versions that are told, and back. The platform keys are settings and not rows, so
/// their hashes are mixed into the epoch: with other keys it is another epoch, and whoever watches takes a snapshot.
#[derive(Clone)]
pub(crate) struct Commits {
    salt: u64,
    barrier: Option<Arc<dyn Barrier>>,
}

impl Commits {
    pub(crate) fn new(platform_keys: &[SecretHash], barrier: Option<Arc<dyn Barrier>>) -> Self {
        Self { salt: salt(platform_keys), barrier }
    }

    /// The version as it is told, or as the store knows it: the way there is the way back.
    pub(crate) fn turned(&self, version: ConfigVersion) -> ConfigVersion {
        ConfigVersion { epoch: version.epoch ^ self.salt, seq: version.seq }
    }

    /// Waits for the barrier, and gives what a mutation answers.
    pub(crate) async fn answer<T>(&self, value: T, version: ConfigVersion) -> Committed<T> {
        let version = self.turned(version);
        if let Some(barrier) = &self.barrier
            && timeout(BARRIER_TIMEOUT, barrier.reached(version)).await.is_err()
        {
            tracing::warn!(%version, "a change is stored, and not yet in force everywhere");
        }
        Committed { value, version }
    }
}

/// The first 8 bytes of the SHA-256 of the sorted hashes; without keys, 0.
fn salt(platform_keys: &[SecretHash]) -> u64 {
    let mut hashes: Vec<[u8; 32]> = platform_keys.iter().map(|hash| *hash.as_bytes()).collect();
    if hashes.is_empty() {
        return 0;
    }
    hashes.sort_unstable();
    let digest = digest::digest(&digest::SHA256, hashes.concat().as_slice());
    digest.as_ref().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Never;

    #[async_trait]
    impl Barrier for Never {
        async fn reached(&self, _: ConfigVersion) {
            std::future::pending().await
        }
    }

    #[test]
    fn other_platform_keys_are_another_epoch() {
        let (a, b) = (SecretHash::of("a"), SecretHash::of("b"));
        let version = ConfigVersion { epoch: 7, seq: 3 };
        let one = Commits::new(&[a, b], None);
        assert_eq!(one.turned(one.turned(version)), version);
        assert_eq!(one.turned(version), Commits::new(&[b, a], None).turned(version));
        assert_ne!(one.turned(version), Commits::new(&[a], None).turned(version));
    }

    #[tokio::test(start_paused = true)]
    async fn a_mutation_answers_although_the_barrier_does_not() {
        let commits = Commits::new(&[], Some(Arc::new(Never)));
        let version = ConfigVersion { epoch: 7, seq: 3 };
        assert_eq!(commits.answer((), version).await.version, version);
    }
}
