//! How late events were.

use serde::{Deserialize, Serialize};

/// Percentiles of what took so many microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

impl Latency {
    /// The percentiles of `sample`, by nearest rank; of nothing, zero.
    pub(crate) fn of(mut sample: Vec<u64>) -> Self {
        sample.sort_unstable();
        let at = |percent: usize| {
            let rank = (sample.len() * percent).div_ceil(100).max(1);
            sample.get(rank - 1).copied().unwrap_or_default()
        };
        Self { p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let Latency { p50_us, p99_us, max_us } = Latency::of((1..=200).rev().collect());
        assert_eq!((p50_us, p99_us, max_us), (100, 198, 200));
        assert_eq!(Latency::of(vec![7]).p50_us, 7);
        assert_eq!(Latency::of(Vec::new()).max_us, 0);
    }
}
