//! What is said of times of which this and that was noted.

use super::*;

const OWN: AccountSid = AccountSid::from_u128(1);

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(1_763_000_000_000 + minutes * 60_000)
}

fn period(fate: ReportFate, source: &str, (since, until): (i64, i64)) -> ReportPeriod {
    let (since, until) = (at(since), at(until));
    ReportPeriod { fate, source: source.to_owned(), since, until, reports: 5 }
}

fn stored(since: i64, until: i64) -> ReportPeriod {
    period(ReportFate::Stored, "", (since, until))
}

fn trimmed(since: i64, until: i64) -> ReportPeriod {
    period(ReportFate::Trimmed, "d", (since, until))
}

/// What is said hours later.
fn said(minutes: i64, periods: &[ReportPeriod]) -> String {
    let set = set_at(OWN, at(minutes), periods);
    said_of(&set, stored_at((at(minutes), at(10_000)), periods)).join("; ")
}

#[test]
fn of_each_time_it_is_said_what_was_set_then() {
    let periods = [
        stored(-10, 200),
        period(ReportFate::AllReported, "", (0, 60)),
        period(ReportFate::FailuresReported, "", (60, 90)),
        period(ReportFate::NoneReported, &OWN.to_string(), (120, 150)),
        period(ReportFate::AllReported, "", (120, 150)),
        period(ReportFate::NoneReported, &AccountSid::from_u128(2).to_string(), (0, 150)),
    ];
    assert!(said(30, &periods).contains("none were trimmed"));
    assert!(said(80, &periods).contains("was `failures`"));
    assert!(said(130, &periods).contains("was `none`"), "an account's own comes first");
    assert!(said(59, &periods).contains("was `failures`"), "of what differs the least");
    let both = said(59, &periods);
    assert!(both.contains("may not have been kept"), "it may have been another deliverer: {both}");
    assert!(set_at(OWN, at(105), &periods).is_empty(), "nobody looked");
    assert_eq!(said(105, &periods), "", "and it was stored: nothing is left to be said");
}

#[test]
fn that_nothing_was_trimmed_is_said_only_while_storing_is_known_to_have_gone_on() {
    let all = period(ReportFate::AllReported, "", (0, 300));
    let periods = [all.clone(), stored(10, 60), stored(120, 300)];
    for minutes in [11, 30, 57, 121, 297] {
        let said = said(minutes, &periods);
        assert_eq!(said, "all attempts of that time were to be kept, and none were trimmed");
    }
    // Whoever trimmed may be gone: of an outage that nobody noted a trim of, nothing better is known.
    for minutes in [5, 10, 58, 60, 90, 120, 298, 300] {
        let said = said(minutes, &periods);
        assert!(!said.contains("none were trimmed"), "{minutes}: {said}");
        assert!(said.contains("may have been trimmed: that they were stored"), "{minutes}: {said}");
    }
    assert!(said(30, &[all]).contains("may have been trimmed"), "nobody ever stored");
}

#[test]
fn what_is_stored_by_one_replica_after_the_other_is_stored() {
    let all = period(ReportFate::AllReported, "", (0, 100));
    let second = |seconds: i64| Timestamp::from_millis(at(50).as_millis() + seconds * 1_000);
    for (pause, expected) in [(-60, true), (0, true), (5, true), (6, false), (60, false)] {
        let second = ReportPeriod { since: second(pause), ..stored(0, 100) };
        let told = said(50, &[second, all.clone(), stored(0, 50)]);
        assert_eq!(told.contains("none were trimmed"), expected, "{pause}: {told}");
    }
}

#[test]
fn what_was_trimmed_while_storing_went_on_is_of_shortly_before() {
    let periods =
        [period(ReportFate::AllReported, "", (0, 300)), stored(0, 300), trimmed(120, 125)];
    for minutes in [118, 120, 123, 125] {
        assert!(said(minutes, &periods).contains("than could be stored"), "{minutes}");
    }
    for minutes in [30, 117, 126, 200] {
        assert!(said(minutes, &periods).contains("none were trimmed"), "{minutes}");
    }
}

#[test]
fn what_was_trimmed_while_nothing_was_stored_is_of_all_that_time() {
    let periods = [
        period(ReportFate::AllReported, "", (0, 300)),
        stored(0, 60),
        trimmed(120, 125),
        stored(130, 300),
    ];
    for minutes in [60, 70, 100, 119, 124, 128] {
        assert!(said(minutes, &periods).contains("may have been trimmed"), "{minutes}");
    }
    for minutes in [30, 57, 131, 200] {
        assert!(said(minutes, &periods).contains("none were trimmed"), "{minutes}");
    }
}

#[test]
fn of_what_is_set_to_be_kept_in_part_it_is_said_too_that_it_may_be_trimmed() {
    let failures = period(ReportFate::FailuresReported, "", (0, 300));
    assert!(!said(30, &[failures.clone(), stored(0, 300)]).contains("trimmed"));
    let unknown = said(30, std::slice::from_ref(&failures));
    assert!(unknown.contains("was `failures`") && unknown.contains("may have been"), "{unknown}");
    let none = period(ReportFate::NoneReported, "", (0, 300));
    assert!(!said(30, &[none]).contains("trimmed"), "nothing was reported");
    assert_eq!(said(30, &[stored(0, 300)]), "", "what was set is not known, and asked of now");
}

#[test]
fn of_a_moment_ago_it_is_said_that_reports_may_come() {
    let all = period(ReportFate::AllReported, "", (0, 300));
    let periods = [all.clone(), stored(0, 300)];
    let of = |event: i64, now: i64, periods: &[ReportPeriod]| {
        let set = set_at(OWN, at(event), periods);
        said_of(&set, stored_at((at(event), at(now)), periods)).join("; ")
    };
    assert!(of(300, 301, &periods).contains("a moment ago"));
    assert!(of(299, 301, &periods).contains("a moment ago"), "it may take two minutes");
    assert!(of(297, 300, &periods).contains("none were trimmed"));
    assert!(of(300, 303, &periods).contains("was not noted"));
    let trims = [all, stored(0, 300), trimmed(299, 300)];
    assert!(of(300, 300, &trims).contains("than could be stored"));
}

#[test]
fn no_time_is_too_early_or_too_late() {
    for far in [i64::MIN, i64::MAX] {
        let far = Timestamp::from_millis(far);
        assert!(set_at(OWN, far, &[stored(0, 9)]).is_empty());
        let told = stored_at((far, at(1)), &[stored(0, 9), trimmed(3, 4)]);
        assert!(matches!(told, Stored::Unknown | Stored::NotYet), "{told:?}");
    }
}
