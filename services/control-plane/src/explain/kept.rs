//! Why nothing may be known of an event: whether reports of its time were kept, as was noted then.

use std::time::Duration;

use millrace_domain::{AccountSid, Timestamp};
use millrace_store::{
    Page, SinkFilter,
    logs::{ReportFate, ReportPeriod},
};

use super::{Asked, Explain};
use crate::logs::time_of;

/// How long attempts and drops are kept.
const LOGS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// What was noted of so long before is looked at.
const LOOKED_AT: Duration = Duration::from_secs(600);

/// What was so shortly before or after is taken to have been so: it is looked at once a minute.
const AROUND: Duration = Duration::from_secs(120);

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
        let at = asked.at.or_else(|| time_of(&asked.event_id));
        match at {
            Some(at) if now.since(at) > LOGS_KEPT => {
                why.push(format!("reports of that time are no longer kept: they are for {days} days"));
            }
            Some(_) => {}
            None => why.push(
                "it was looked for in the last 24 hours: its id does not tell when it was published, \
                 which may be given"
                    .to_owned(),
            ),
        }
        let account = seen.first().copied().unwrap_or(asked.scope.account);
        match self.noted_of(account, at).await {
            Some(noted) => why.extend(noted),
            None => why.push(self.set_now(account).await),
        }
        why.push("an event that no subscription takes leaves no trace either".to_owned());
        why
    }

    /// What was noted of the reports of a time.
    async fn noted_of(&self, account: AccountSid, at: Option<Timestamp>) -> Option<Vec<String>> {
        let at = at?;
        let earlier = i64::try_from(LOOKED_AT.as_millis()).unwrap_or(0);
        let since = Timestamp::from_millis(at.as_millis().saturating_sub(earlier));
        said_of(account, at, &self.logs.report_periods(since).await.ok()?)
    }

    /// What deliverers are set to report now.
    async fn set_now(&self, account: AccountSid) -> String {
        let page = Page { after: None, limit: 1 };
        let any = self.store.sinks(account, &SinkFilter::default(), &page).await;
        let any = any.ok().and_then(|sinks| sinks.first().map(|sink| sink.sid));
        let reported = self.deliverers.attempts_reported(account, any).await;
        match reported.as_deref() {
            Ok("none") => {
                "attempts are not kept (`logs.attempts` is `none`): a delivery leaves no trace"
                    .to_owned()
            }
            Ok("failures") => {
                "of deliveries that succeed most are not kept (`logs.attempts` is `failures`)"
                    .to_owned()
            }
            Ok(_) => "attempts are kept, and may have been trimmed if nobody stored them in time"
                .to_owned(),
            Err(_) => "which attempts are kept is not known: no deliverer answers".to_owned(),
        }
    }
}

/// Says what became of the reports of attempts to the sinks of an account, at a time; `None`: nothing was noted of it. `periods`: all
/// that were not over then.
pub(super) fn said_of(
    account: AccountSid,
    at: Timestamp,
    periods: &[ReportPeriod],
) -> Option<Vec<String>> {
    let mut said = Vec::new();
    if was_trimmed(at, periods) {
        said.push(
            "reports of attempts of that time may have been trimmed: nobody stored them in time"
                .to_owned(),
        );
    }
    let account = account.to_string();
    let own = reported(&account, at, periods);
    let reported = if own.is_empty() { reported("", at, periods) } else { own };
    // Of deliverers that differ, the one that reports least may have been the one.
    if reported.contains(&ReportFate::NoneReported) {
        said.push(
            "attempts of that time were not kept (`logs.attempts` was `none`): a delivery left no trace"
                .to_owned(),
        );
    } else if reported.contains(&ReportFate::FailuresReported) {
        said.push(
            "of deliveries of that time that succeeded most were not kept (`logs.attempts` was `failures`)"
                .to_owned(),
        );
    } else if reported.is_empty() {
        return (!said.is_empty()).then_some(said);
    } else if said.is_empty() {
        said.push("all attempts of that time were to be kept, and none were trimmed".to_owned());
    }
    Some(said)
}

fn reported(source: &str, at: Timestamp, periods: &[ReportPeriod]) -> Vec<ReportFate> {
    use ReportFate::{AllReported, FailuresReported, NoneReported};
    let settings = [AllReported, FailuresReported, NoneReported];
    let of = periods.iter().filter(|it| it.source == source && settings.contains(&it.fate));
    let covers = |it: &&ReportPeriod| it.since <= at.plus(AROUND) && at <= it.until.plus(AROUND);
    of.filter(covers).map(|it| it.fate).collect()
}

/// Whether reports were trimmed that may tell of `at`. The oldest go first: of what was trimmed, all is of after the reports that were
/// stored last before.
fn was_trimmed(at: Timestamp, periods: &[ReportPeriod]) -> bool {
    let of = |fate| periods.iter().filter(move |period| period.fate == fate);
    let from = |trimmed: &ReportPeriod| {
        let stored = of(ReportFate::Stored).map(|stored| stored.until);
        stored.filter(|until| *until <= trimmed.since).max()
    };
    of(ReportFate::Trimmed).any(|trimmed| {
        at <= trimmed.until && from(trimmed).is_none_or(|from| from <= at.plus(AROUND))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: AccountSid = AccountSid::from_u128(1);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(1_763_000_000_000 + minutes * 60_000)
    }

    fn period(fate: ReportFate, source: &str, (since, until): (i64, i64)) -> ReportPeriod {
        let (since, until) = (at(since), at(until));
        ReportPeriod { fate, source: source.to_owned(), since, until, reports: 5 }
    }

    fn said(minutes: i64, periods: &[ReportPeriod]) -> String {
        said_of(OWN, at(minutes), periods).map_or_else(String::new, |said| said.join("; "))
    }

    #[test]
    fn of_each_time_it_is_said_what_was_set_then() {
        let periods = [
            period(ReportFate::AllReported, "", (0, 60)),
            period(ReportFate::FailuresReported, "", (60, 90)),
            period(ReportFate::NoneReported, &OWN.to_string(), (120, 150)),
            period(ReportFate::AllReported, "", (120, 150)),
            period(ReportFate::NoneReported, &AccountSid::from_u128(2).to_string(), (0, 150)),
        ];
        assert!(said(30, &periods).contains("none were trimmed"));
        assert!(said(80, &periods).contains("was `failures`"));
        assert!(said(130, &periods).contains("was `none`"), "an account's own comes first");
        assert_eq!(said(105, &periods), "", "nobody looked");
    }

    #[test]
    fn what_was_trimmed_is_of_after_what_was_stored_last() {
        let periods = [
            period(ReportFate::AllReported, "", (0, 300)),
            period(ReportFate::Stored, "", (0, 60)),
            period(ReportFate::Trimmed, "d", (120, 125)),
            period(ReportFate::Stored, "", (126, 300)),
        ];
        for minutes in [70, 100, 124] {
            assert!(said(minutes, &periods).contains("trimmed: nobody"), "{minutes}");
        }
        for minutes in [30, 200] {
            assert!(said(minutes, &periods).contains("none were trimmed"), "{minutes}");
        }
    }
}
