//! How parcels are put into requests.

use millrace_sinks::BatchLimits;

/// Decides, parcel by parcel, whether one more fits the request.
#[derive(Debug)]
pub(super) struct Batch {
    limits: BatchLimits,
    events: usize,
    bytes: usize,
}

impl Batch {
    /// An empty request.
    pub(super) fn new(limits: BatchLimits) -> Self {
        Self { limits, events: 0, bytes: 0 }
    }

    /// Adds an event of so many bytes if it fits; the first always does.
    pub(super) fn admit(&mut self, bytes: usize) -> bool {
        let fits = self.events < self.limits.events && self.bytes + bytes <= self.limits.bytes;
        if self.events > 0 && !fits {
            return false;
        }
        self.events += 1;
        self.bytes += bytes;
        true
    }
}

/// Cuts a refused batch into two, to find the event that is at fault; gives it back if it is alone already.
pub(super) fn halves<T>(mut batch: Vec<T>) -> Result<(Vec<T>, Vec<T>), Vec<T>> {
    if batch.len() < 2 {
        return Err(batch);
    }
    let second = batch.split_off(batch.len() / 2);
    Ok((batch, second))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_event_is_in_one_batch_within_the_limits_or_alone(sizes in proptest::collection::vec(0..100_usize, 1..200), events in 1..20_usize, bytes in 1..150_usize) {
            let limits = BatchLimits { events, bytes };
            let mut batches: Vec<Vec<usize>> = Vec::new();
            let mut batch = Batch::new(limits);
            for size in &sizes {
                if batches.is_empty() || !batch.admit(*size) {
                    batch = Batch::new(limits);
                    prop_assert!(batch.admit(*size), "the first always fits");
                    batches.push(Vec::new());
                }
                batches.last_mut().expect("one was pushed").push(*size);
            }
            prop_assert_eq!(batches.concat(), sizes);
            for batch in batches {
                prop_assert!(batch.len() == 1 || (batch.len() <= events && batch.iter().sum::<usize>() <= bytes));
            }
        }

        #[test]
        fn halving_ends_with_every_event_alone(len in 1..300_usize) {
            let mut open = vec![(0..len).collect::<Vec<_>>()];
            let mut alone = Vec::new();
            while let Some(batch) = open.pop() {
                match halves(batch) {
                    Ok((first, second)) => open.extend([second, first]),
                    Err(single) => alone.extend(single),
                }
            }
            prop_assert_eq!(alone, (0..len).collect::<Vec<_>>());
        }
    }
}
