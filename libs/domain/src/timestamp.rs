//! A point in time, given and never taken: the domain has no clock.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use time::{
    OffsetDateTime,
    format_description::well_known::{Rfc2822, Rfc3339},
};

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Wraps milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads an RFC 3339 time, any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(Self)
    }

    /// `2026-01-02T03:04:05.678Z`: CloudEvents' `time`, as Event Streams writes it.
    pub fn to_rfc3339_millis(self) -> String {
        let t = self.date_time();
        let (date, clock) = (t.date(), t.time());
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second(),
            clock.millisecond()
        )
    }

    /// `2026-01-02T03:04:05Z`: dates of the `events/v1` resources.
    pub fn to_rfc3339_seconds(self) -> String {
        let t = self.date_time();
        let (date, clock) = (t.date(), t.time());
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second()
        )
    }

    /// `Fri, 02 Jan 2026 03:04:05 +0000`: dates of the 2010 API.
    pub fn to_rfc2822(self) -> String {
        self.date_time()
            .format(&Rfc2822)
            .expect("every year of a Timestamp is 1900 or later or formats as 1970")
    }

    /// This time and `duration` more, at most the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The calendar form; a time that no calendar holds becomes the epoch.
    fn date_time(self) -> OffsetDateTime {
        let whole = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000);
        whole
            .ok()
            .filter(|t| (1900..=9999).contains(&t.year()))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_the_three_formats() {
        let t = Timestamp::parse_rfc3339("2026-01-02T04:04:05.678+01:00").expect("valid");
        assert_eq!(t.to_rfc3339_millis(), "2026-01-02T03:04:05.678Z");
        assert_eq!(t.to_rfc3339_seconds(), "2026-01-02T03:04:05Z");
        assert_eq!(t.to_rfc2822(), "Fri, 02 Jan 2026 03:04:05 +0000");
        assert_eq!(
            Timestamp::from_millis(i64::MAX).to_rfc2822(),
            "Thu, 01 Jan 1970 00:00:00 +0000"
        );
    }
}
