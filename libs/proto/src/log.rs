//! Times of logs.

use millrace_domain::Timestamp;

/// Reads the wire's time, to the millisecond; `None` for one that is none.
pub fn time_from_wire(time: &prost_types::Timestamp) -> Option<Timestamp> {
    let nanos = u32::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    let millis = time.seconds.checked_mul(1_000)?.checked_add(i64::from(nanos / 1_000_000))?;
    Some(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_wire() {
        for millis in [0, 1, -1, 1_763_000_000_123] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time_from_wire(&crate::wire_time(time)), Some(time));
        }
        let broken = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
        assert_eq!(time_from_wire(&broken), None);
    }
}
