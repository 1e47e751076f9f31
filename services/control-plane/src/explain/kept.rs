//! Why nothing may be known of an event: what deliverers were set to report at its time, as was noted then, and whether that was stored.
//!
//! That nothing was trimmed is said only of a time at which storing is known to have gone on ([`Storing`]): a deliverer that trimmed
//! reports may be gone before it was asked.
//!
//! [`Storing`]: crate::reports::storing::Storing

use std::time::Duration;

use millrace_domain::{AccountSid, Timestamp};
use millrace_store::{
    Page, SinkFilter,
    logs::{ReportFate, ReportPeriod},
};

use super::{Asked, Explain};
use crate::{logs::time_of, reports::storing::PAUSE};

#[cfg(test)]
mod tests;

/// How long attempts and drops are kept.
const LOGS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// What was so shortly before or after is taken to have been so: it is looked at once a minute. What was trimmed while storing went on
/// was not reported longer before: then the queue was read to its end every [`PAUSE`].
const AROUND: Duration = Duration::from_secs(120);
/// By then an attempt is reported: it waits, and takes, a minute each at most (`delivery.linger`, `delivery.timeout`).
const SETTLED: Duration = Duration::from_secs(120);
/// How far the clocks of routers, of the queue and of control-plane may be apart.
const CLOCKS: Duration = Duration::from_secs(5);

/// What may be said of what was reported at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// It was stored as it came.
    Yes,
    /// It may not be stored yet.
    NotYet,
    /// More was reported than could be stored.
    Trimmed,
    /// That it was stored was not noted.
    Unknown,
}

impl Explain {
    /// Why nothing may be known of an event that there was.
    pub(super) async fn why_unknown(
        &self,
        asked: &Asked,
        seen: &[AccountSid],
        now: Timestamp,
    ) -> Vec<String> {
        let mut why = Vec::new();
        let days = LOGS_KEPT.as_secs() / 86_400;
        let account = seen.first().copied().unwrap_or(asked.scope.account);
        match asked.at.or_else(|| time_of(&asked.event_id)) {
            Some(at) if now.since(at) > LOGS_KEPT => {
                why.push(format!(
                    "reports of that time are no longer kept: they are for {days} days"
                ));
            }
            Some(at) if at.since(now) > AROUND => why.push("that time is yet to come".to_owned()),
            Some(at) => why.extend(self.noted_of(account, (at, now)).await),
            None => {
                why.push(
                    "it was looked for in the last 24 hours: its id does not tell when it was published, \
                     which may be given"
                        .to_owned(),
                );
                why.push(self.set_now(account).await);
                why.push("attempts that nobody stored in time may have been trimmed".to_owned());
            }
        }
        why.push("an event that no subscription takes leaves no trace either".to_owned());
        why
    }

    /// What was noted of the reports of a time.
    async fn noted_of(
        &self,
        account: AccountSid,
        (at, now): (Timestamp, Timestamp),
    ) -> Vec<String> {
        let longer = i64::try_from(2 * AROUND.as_millis()).unwrap_or(0);
        let since = Timestamp::from_millis(at.as_millis().saturating_sub(longer));
        let during = (since, at.plus(2 * AROUND));
        let Ok(mut periods) = self.logs.report_periods(account, during).await else {
            return vec![
                "what was noted of the reports of that time cannot be looked up now".to_owned(),
            ];
        };
        // It is noted once a minute only.
        periods.extend(self.storing.period());
        let set = set_at(account, at, &periods);
        let mut said = said_of(&set, stored_at((at, now), &periods));
        if set.is_empty() {
            said.insert(0, "what deliverers were set to report then was not noted".to_owned());
            said.insert(1, self.set_now(account).await);
        }
        said
    }

    /// What deliverers are set to report now.
    async fn set_now(&self, account: AccountSid) -> String {
        let page = Page { after: None, limit: 1 };
        let any = self.store.sinks(account, &SinkFilter::default(), &page).await;
        let any = any.ok().and_then(|sinks| sinks.first().map(|sink| sink.sid));
        let reported = self.deliverers.attempts_reported(account, any).await;
        match reported.as_deref() {
            Ok("none") => {
                "attempts are not kept now (`logs.attempts` is `none`): a delivery leaves no trace"
                    .to_owned()
            }
            Ok("failures") => {
                "of deliveries that succeed most are not kept now (`logs.attempts` is `failures`)"
                    .to_owned()
            }
            Ok(_) => "all attempts are to be kept now (`logs.attempts` is `all`)".to_owned(),
            Err(_) => "which attempts are kept now is not known: no deliverer answers".to_owned(),
        }
    }
}

/// Says what became of what was reported, `set` being what was to be.
fn said_of(set: &[ReportFate], stored: Stored) -> Vec<String> {
    let set = match (set, stored) {
        ([ReportFate::NoneReported], _) => {
            let said = "attempts of that time were not kept (`logs.attempts` was `none`): a delivery left no trace";
            return vec![said.to_owned()];
        }
        ([ReportFate::NoneReported, ..], _) => Some(
            "attempts of that time may not have been kept (`logs.attempts` was `none` of some deliverers, or until or from about then)",
        ),
        ([ReportFate::FailuresReported], _) => Some(
            "of deliveries of that time that succeeded most were not kept (`logs.attempts` was `failures`)",
        ),
        ([ReportFate::FailuresReported, ..], _) => Some(
            "deliveries of that time that succeeded may not have been kept (`logs.attempts` was `failures` of some deliverers, or until or from about then)",
        ),
        ([ReportFate::AllReported], Stored::Yes) => {
            Some("all attempts of that time were to be kept, and none were trimmed")
        }
        _ => None,
    };
    let stored = match stored {
        Stored::Yes => None,
        Stored::NotYet => {
            Some("it was published a moment ago, if at all: attempts may not be reported yet")
        }
        Stored::Trimmed => Some(
            "reports of attempts of that time may have been trimmed: more were made than could be stored",
        ),
        Stored::Unknown => Some(
            "reports of attempts of that time may have been trimmed: that they were stored as they came was not noted",
        ),
    };
    set.into_iter().chain(stored).map(str::to_owned).collect()
}

/// What deliverers were set to report of attempts to the sinks of an account, the least first; empty: nobody noted it. They may differ,
/// and any may have been the one.
fn set_at(account: AccountSid, at: Timestamp, periods: &[ReportPeriod]) -> Vec<ReportFate> {
    use ReportFate::{AllReported, FailuresReported, NoneReported};
    let around =
        |period: &&ReportPeriod| period.since <= at.plus(AROUND) && at <= period.until.plus(AROUND);
    let of = |source: &str| {
        let noted: Vec<_> =
            periods.iter().filter(|it| it.source == source).filter(around).collect();
        let mut fates = vec![NoneReported, FailuresReported, AllReported];
        fates.retain(|fate| noted.iter().any(|period| period.fate == *fate));
        fates
    };
    match of(&account.to_string()) {
        fates if fates.is_empty() => of(""),
        fates => fates,
    }
}

/// Whether what was reported of attempts at `at` was stored.
fn stored_at((at, now): (Timestamp, Timestamp), periods: &[ReportPeriod]) -> Stored {
    let goes_on = goes_on(at, periods);
    let trimmed = periods.iter().filter(|period| period.fate == ReportFate::Trimmed);
    let around =
        |period: &ReportPeriod| period.since <= at.plus(AROUND) && at <= period.until.plus(CLOCKS);
    match (goes_on, now.since(at) <= SETTLED + CLOCKS + PAUSE) {
        _ if trimmed.clone().any(around) => Stored::Trimmed,
        (true, _) => Stored::Yes,
        (false, true) => Stored::NotYet,
        (false, false) => Stored::Unknown,
    }
}

/// Whether storing went on without a pause from before `at` until attempts of then were reported, whichever replicas stored.
fn goes_on(at: Timestamp, periods: &[ReportPeriod]) -> bool {
    let mut stored: Vec<_> = periods
        .iter()
        .filter(|period| period.fate == ReportFate::Stored)
        .map(|period| (period.since, period.until))
        .collect();
    stored.sort_unstable();
    let mut joined: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (since, until) in stored {
        match joined.last_mut().filter(|last| since <= last.1.plus(PAUSE)) {
            Some(last) => last.1 = last.1.max(until),
            None => joined.push((since, until)),
        }
    }
    let reported = at.plus(SETTLED).plus(CLOCKS);
    joined.iter().any(|(since, until)| since.plus(CLOCKS) <= at && reported <= *until)
}
