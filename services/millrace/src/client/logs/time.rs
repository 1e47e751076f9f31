//! Times as a person gives them: RFC 3339, or how long ago.

use std::time::Duration;

use millrace_domain::Timestamp;
use millrace_proto::wire_time;
use millrace_runtime::clock;

/// Reads `2026-01-02T03:04:05Z`, or `2h`, which is two hours ago.
pub(crate) fn read(text: &str) -> Result<prost_types::Timestamp, String> {
    of(text, Timestamp::from_millis(clock::now_millis())).map(wire_time)
}

fn of(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Ok(time);
    }
    let wrong = || "must be a time such as 2026-01-02T03:04:05Z, or such as 90s, 15m, 2h, 3d ago";
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 24 * 3_600,
        _ => return Err(wrong().to_owned()),
    };
    let number: u32 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    let ago = Duration::from_secs(u64::from(number) * seconds);
    let ago = i64::try_from(ago.as_millis()).map_err(|_| wrong())?;
    Ok(Timestamp::from_millis(now.as_millis() - ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_how_long_ago() {
        let now = Timestamp::from_millis(10_000_000_000);
        let read = |text| of(text, now).map(Timestamp::as_millis);
        assert_eq!(read("1970-01-01T00:00:07Z"), Ok(7_000));
        assert_eq!(read("90s"), Ok(10_000_000_000 - 90_000));
        assert_eq!(read("2d"), Ok(10_000_000_000 - 2 * 86_400_000));
        for wrong in ["", "h", "2", "2w", "-2h", "yesterday", "ééh"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
