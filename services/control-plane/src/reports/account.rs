//! Keeps account of what is kept: which attempts deliverers report, what of that was trimmed, and when reports were stored. So an
//! explanation can say of an event that nothing is known of whether its reports were kept.
//!
//! A deliverer that trimmed reports may be gone before it is asked. So that nothing was trimmed is not known from deliverers that say
//! nothing of it, but from storing that went on.

use std::{collections::HashMap, sync::Arc, time::Duration};

use millrace_domain::{AccountSid, Timestamp};
use millrace_proto::internal::ListPartitionsResponse;
use millrace_runtime::CancellationToken;
use millrace_store::{
    LogStore,
    logs::{ReportFate, ReportPeriod},
};
use tokio::time::sleep;

use super::storing::Storing;
use crate::{delivery::Deliverers, random};

/// How often it is asked.
const PERIOD: Duration = Duration::from_secs(60);
/// The same while nobody answers.
const AGAIN: Duration = Duration::from_secs(5);
/// What was so before and is so now was so meanwhile, if that is not longer.
const MEANWHILE: Duration = Duration::from_secs(180);

/// Who keeps account.
pub(crate) struct Account {
    pub(crate) deliverers: Deliverers,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) storing: Storing,
    pub(crate) open: Open,
    /// What was noted last: it is not noted again.
    pub(crate) noted: Vec<ReportPeriod>,
}

/// Since when, and until when so far, what goes on has gone on.
#[derive(Debug, Default)]
pub(crate) struct Open(HashMap<(ReportFate, String), (Timestamp, Timestamp)>);

/// Keeps account, for ever.
pub(crate) async fn keep_account(
    mut account: Account,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let keep = async {
        loop {
            let told = account.deliverers.reporting().await.unwrap_or_default();
            let periods = account.open.look(&told, account.storing.period(), random::now());
            account.note(periods).await;
            sleep(if told.is_empty() { AGAIN } else { PERIOD }).await;
        }
    };
    // Cancelling is safe: what is noted again is noted once.
    stopping.run_until_cancelled(keep).await;
    Ok(())
}

impl Account {
    async fn note(&mut self, periods: Vec<ReportPeriod>) {
        let new = periods.iter().filter(|period| !self.noted.contains(period));
        let new: Vec<_> = new.cloned().collect();
        match self.logs.note_report_periods(&new, random::now()).await {
            Ok(()) => self.noted = periods,
            Err(error) => {
                tracing::debug!(%error, "cannot note what is kept of reports, tries again")
            }
        }
    }
}

impl Open {
    /// What goes on now, since when; and what was trimmed.
    fn look(
        &mut self,
        told: &[ListPartitionsResponse],
        stored: Option<ReportPeriod>,
        now: Timestamp,
    ) -> Vec<ReportPeriod> {
        let going_on = told.iter().flat_map(settings);
        let mut periods: Vec<_> = going_on.map(|what| self.goes_on(what, now)).collect();
        periods.extend(stored);
        for deliverer in told {
            periods.extend(deliverer.trimmed.iter().map(|trimmed| ReportPeriod {
                fate: ReportFate::Trimmed,
                source: deliverer.deliverer_id.clone(),
                since: Timestamp::from_millis(trimmed.since_ms),
                until: Timestamp::from_millis(trimmed.until_ms),
                reports: trimmed.settlements,
            }));
        }
        periods
    }

    fn goes_on(&mut self, (fate, source): (ReportFate, String), now: Timestamp) -> ReportPeriod {
        let known = self.0.entry((fate, source.clone())).or_insert((now, now));
        if now.since(known.1) > MEANWHILE {
            known.0 = now;
        }
        known.1 = now;
        ReportPeriod { fate, source, since: known.0, until: now, reports: 0 }
    }
}

/// Which attempts a deliverer reports: of all, and of single accounts.
fn settings(told: &ListPartitionsResponse) -> Vec<(ReportFate, String)> {
    let all = (String::new(), &told.attempts_reported);
    let single = told.attempts_reported_of.iter();
    let single =
        single.filter_map(|(sid, word)| Some((sid.parse::<AccountSid>().ok()?.to_string(), word)));
    let of = |(source, word): (String, &String)| Some((fate(word)?, source));
    std::iter::once(all).chain(single).filter_map(of).collect()
}

fn fate(word: &str) -> Option<ReportFate> {
    match word {
        "all" => Some(ReportFate::AllReported),
        "failures" => Some(ReportFate::FailuresReported),
        "none" => Some(ReportFate::NoneReported),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::internal::TrimmedReports;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_763_000_000_000 + seconds * 1_000)
    }

    fn told(word: &str) -> ListPartitionsResponse {
        ListPartitionsResponse {
            deliverer_id: "d".to_owned(),
            attempts_reported: word.to_owned(),
            ..ListPartitionsResponse::default()
        }
    }

    fn times(periods: &[ReportPeriod], fate: ReportFate) -> Vec<(String, Timestamp, Timestamp)> {
        let of = periods.iter().filter(|period| period.fate == fate);
        of.map(|period| (period.source.clone(), period.since, period.until)).collect()
    }

    #[test]
    fn what_goes_on_is_one_period_and_what_pauses_is_two() {
        let mut open = Open::default();
        let all = ReportFate::AllReported;
        for seconds in [0, 60, 120] {
            open.look(&[told("all")], None, at(seconds));
        }
        let periods = open.look(&[told("all")], None, at(180));
        assert_eq!(times(&periods, all), [(String::new(), at(0), at(180))]);
        let later = open.look(&[told("all")], None, at(400));
        assert_eq!(times(&later, all), [(String::new(), at(400), at(400))], "nobody looked");
    }

    #[test]
    fn storing_is_told_as_it_is() {
        let storing = Storing::default();
        let stored = || Open::default().look(&[], storing.period(), at(9));
        assert_eq!(stored(), [], "nothing was stored");
        storing.reached(at(1));
        storing.reached(at(4));
        assert_eq!(
            times(&stored(), ReportFate::Stored),
            [(String::new(), at(1), at(4))],
            "and is not taken to go on"
        );
    }

    #[test]
    fn accounts_of_their_own_and_what_was_trimmed_are_told() {
        let account = AccountSid::from_u128(7).to_string();
        let mut deliverer = told("failures");
        deliverer.attempts_reported_of.insert(account.clone(), "none".to_owned());
        deliverer.attempts_reported_of.insert("nonsense".to_owned(), "none".to_owned());
        let (since_ms, until_ms) = (at(1).as_millis(), at(9).as_millis());
        deliverer.trimmed.push(TrimmedReports { since_ms, until_ms, settlements: 3 });
        let periods = Open::default().look(&[deliverer], None, at(0));
        let once = |source: &str| vec![(source.to_owned(), at(0), at(0))];
        assert_eq!(times(&periods, ReportFate::FailuresReported), once(""));
        assert_eq!(times(&periods, ReportFate::NoneReported), once(&account));
        let trimmed = [("d".to_owned(), at(1), at(9))];
        assert_eq!(times(&periods, ReportFate::Trimmed), trimmed);
    }
}
