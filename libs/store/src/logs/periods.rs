//! What became of reports, and when: whether those of some time were stored, trimmed, or never made.

use millrace_domain::{AccountSid, Timestamp};
use sqlx::{Row as _, any::AnyRow};

use super::{
    SqlLogs,
    query::{self, Argument, Statement},
};
use crate::sql::Fault;

/// How long it is known, in days: longer than anything that reports tell of.
const KEPT_DAYS: i64 = 30;
const DAY_MS: i64 = 24 * 3600 * 1000;
/// Most periods that are read at once: far more than hundreds of deliverers note in minutes.
const PERIODS_MAX: i64 = 10_000;

/// What became of reports of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportFate {
    /// Deliverers reported all.
    AllReported,
    /// Deliverers reported failures, and the deliveries that end them.
    FailuresReported,
    /// Deliverers reported none.
    NoneReported,
    /// The oldest that waited were given up, for nobody had stored them.
    Trimmed,
    /// What was reported was stored as it came.
    Stored,
}

impl ReportFate {
    const ALL: [(Self, i64); 5] = [
        (Self::AllReported, 0),
        (Self::FailuresReported, 1),
        (Self::NoneReported, 2),
        (Self::Trimmed, 3),
        (Self::Stored, 4),
    ];

    fn number(self) -> i64 {
        Self::ALL.iter().find(|(fate, _)| *fate == self).map_or(-1, |(_, number)| *number)
    }
}

/// A time for which something became of reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPeriod {
    /// What.
    pub fate: ReportFate,
    /// Whose: an account's SID, or none for all that have no periods of their own; of what was trimmed, the deliverer that saw it.
    pub source: String,
    /// From when on. With fate and source it names the period.
    pub since: Timestamp,
    /// Until when, as far as is known.
    pub until: Timestamp,
    /// How many reports, where they are counted.
    pub reports: u64,
}

pub(super) async fn note(
    logs: &SqlLogs,
    periods: &[ReportPeriod],
    now: Timestamp,
) -> Result<(), Fault> {
    for period in periods {
        let time = |time: Timestamp| Argument::Number(time.as_millis());
        let reports = i64::try_from(period.reports).unwrap_or(i64::MAX);
        let mut put = Statement::new(
            "INSERT INTO report_periods (fate, source, since, until, reports)".to_owned(),
        );
        put.push(" VALUES (?", Argument::Number(period.fate.number()));
        put.push(", ?", Argument::Text(period.source.clone()));
        put.push(", ?", time(period.since));
        put.push(", ?", time(period.until));
        put.push(", ?)", Argument::Number(reports));
        put.say(
            " ON CONFLICT (fate, source, since) DO UPDATE
                SET until = excluded.until, reports = excluded.reports
              WHERE report_periods.until < excluded.until
                 OR report_periods.reports < excluded.reports",
        );
        put.query().execute(&logs.kept).await?;
    }
    let oldest = now.as_millis().saturating_sub(KEPT_DAYS * DAY_MS);
    let mut forget = Statement::new("DELETE FROM report_periods".to_owned());
    forget.push(" WHERE until < ?", Argument::Number(oldest));
    forget.query().execute(&logs.kept).await?;
    Ok(())
}

pub(super) async fn during(
    logs: &SqlLogs,
    account: AccountSid,
    (since, until): (Timestamp, Timestamp),
) -> Result<Vec<ReportPeriod>, Fault> {
    let mut select =
        Statement::new("SELECT fate, source, since, until, reports FROM report_periods".to_owned());
    select.push(" WHERE until >= ?", Argument::Number(since.as_millis()));
    select.push(" AND since <= ?", Argument::Number(until.as_millis()));
    select.push(" AND (source = '' OR source = ?", Argument::Text(account.to_string()));
    select.push(" OR fate = ?)", Argument::Number(ReportFate::Trimmed.number()));
    // Were there more, what began last would tell most.
    let most = Argument::Number(PERIODS_MAX);
    select.push(" ORDER BY since DESC, fate DESC, source DESC LIMIT ?", most);
    let rows = select.query().fetch_all(&logs.kept).await?;
    let of = |row: &AnyRow| -> Result<Option<ReportPeriod>, Fault> {
        let number: i64 = query::number(row, "fate")?;
        // One of later days is not known here.
        let fate = ReportFate::ALL.iter().find(|(_, known)| *known == number);
        let Some((fate, _)) = fate else { return Ok(None) };
        Ok(Some(ReportPeriod {
            fate: *fate,
            source: row.try_get("source")?,
            since: Timestamp::from_millis(query::number(row, "since")?),
            until: Timestamp::from_millis(query::number(row, "until")?),
            reports: query::number(row, "reports")?,
        }))
    };
    rows.iter().rev().filter_map(|row| of(row).transpose()).collect()
}
