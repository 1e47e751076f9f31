//! What a migration of Postgres may contain, while the release before and its readers run on the same tables. A file is read as
//! text: whoever needs more than this takes the step apart, or says here why it is safe.

use std::{collections::BTreeSet, path::Path};

use sqlx::migrate::{Migration, MigrationType};

/// Tables that may hold millions of rows: nothing may rewrite, scan or lock them while others wait.
const BIG: [&str; 8] = [
    "delivery_attempts",
    "error_logs",
    "dropped_events",
    "changes",
    "audit_log",
    "sinks",
    "subscriptions",
    "accounts",
];
/// Indexes that were built under a lock before there was a release, when no table was big.
const BEFORE_THE_FIRST_RELEASE: [i64; 3] = [4, 5, 8];
/// What takes something away, or makes another thing of it: the release before may still use it.
const CONTRACTIONS: [&str; 7] = [
    " DROP COLUMN ",
    " DROP TABLE ",
    " RENAME ",
    " TYPE ",
    " SET NOT NULL",
    " DROP CONSTRAINT ",
    " DROP DEFAULT",
];
/// What locks a whole table for as long as it takes.
const NEVER: [&str; 6] =
    [" TRUNCATE ", " VACUUM ", " CLUSTER ", " LOCK ", " REINDEX ", " REFRESH "];

/// What is wrong with a migration; empty: nothing.
fn problems(number: i64, sql: &str) -> Vec<String> {
    let statements = statements(sql);
    let outside = sql.starts_with("-- no-transaction");
    let made: BTreeSet<&str> =
        statements.iter().filter_map(|it| word_after(it, " CREATE TABLE ")).collect();
    let says_who_is_needed = statements.iter().any(|it| it.contains(" UPDATE META SET NEEDS = "));
    let mut problems = Vec::new();
    if outside && statements.len() != 1 {
        problems.push(
            "outside a transaction there is one statement, or half of them may be done".to_owned(),
        );
    }
    for statement in &statements {
        let table = [" ALTER TABLE ", " UPDATE ", " DELETE FROM "]
            .iter()
            .find_map(|it| word_after(statement, it));
        let is_old = table.is_some_and(|table| !made.contains(table));
        if is_old || statement.contains(" DROP TABLE ") {
            problems.extend(of_change(statement, says_who_is_needed));
        }
        if NEVER.iter().any(|word| statement.contains(word)) {
            problems.push(format!("locks all of a table:{statement}"));
        }
        problems.extend(of_rows(statement));
        if !BEFORE_THE_FIRST_RELEASE.contains(&number) {
            problems.extend(of_index(statement, &made, outside));
        }
    }
    problems
}

/// What changes a table that others use.
fn of_change(statement: &str, says_who_is_needed: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if CONTRACTIONS.iter().any(|word| statement.contains(word)) && !says_who_is_needed {
        problems.push(format!("takes away without `UPDATE meta SET needs = …`:{statement}"));
    }
    for added in statement.split(" ADD COLUMN ").skip(1) {
        if added.contains(" NOT NULL") && !added.contains(" DEFAULT ") {
            problems.push(format!("the release before inserts no such column:{statement}"));
        }
        let default = added.split(" DEFAULT ").nth(1).unwrap_or_default();
        if default.contains('(') {
            problems.push(format!("a default that is computed rewrites the table:{statement}"));
        }
        if added.contains(" REFERENCES ") || added.contains(" UNIQUE") || added.contains(" CHECK ")
        {
            problems.push(format!("is checked for every row under a lock:{statement}"));
        }
    }
    if statement.contains(" ADD CONSTRAINT ") && !statement.contains(" NOT VALID") {
        problems.push(format!("add it NOT VALID, validate it in a later migration:{statement}"));
    }
    problems
}

/// What changes many rows in one transaction.
fn of_rows(statement: &str) -> Option<String> {
    let table = [" UPDATE ", " DELETE FROM "].iter().find_map(|it| word_after(statement, it))?;
    let big = BIG.iter().any(|big| table.eq_ignore_ascii_case(big));
    big.then(|| format!("rows of a big table are changed in parts, by the program:{statement}"))
}

/// What builds an index under a lock.
fn of_index(statement: &str, made: &BTreeSet<&str>, outside: bool) -> Option<String> {
    let is_index =
        statement.contains(" CREATE INDEX ") || statement.contains(" CREATE UNIQUE INDEX ");
    let table = word_after(statement, " ON ").filter(|_| is_index)?;
    match (statement.contains(" INDEX CONCURRENTLY "), outside) {
        (true, true) => None,
        (true, false) => Some(format!("begin the file with `-- no-transaction`:{statement}")),
        (false, _) if made.contains(table) => None,
        (false, _) => Some(format!("build it CONCURRENTLY:{statement}")),
    }
}

/// Statements without comments, in capitals, each between spaces that are single.
fn statements(sql: &str) -> Vec<String> {
    let code = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let code: String = code.flat_map(|line| [line, " "]).collect();
    let words = |it: &str| it.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase();
    code.split(';').map(words).filter(|it| !it.is_empty()).map(|it| format!(" {it} ")).collect()
}

fn word_after<'a>(statement: &'a str, before: &str) -> Option<&'a str> {
    let (_, after) = statement.split_once(before)?;
    after.split([' ', '(']).find(|word| !["IF", "NOT", "EXISTS", "ONLY", ""].contains(word))
}

/// (number, name, text) of each file of a directory, in order.
fn files(directory: &str) -> Vec<(i64, String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(directory);
    let entries = std::fs::read_dir(directory).expect("it is there");
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("can be read").path();
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            let number = name.split('_').next().and_then(|it| it.parse().ok());
            (number.expect("NNNN_name.sql"), name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_migration_can_run_beside_the_release_before() {
    for (number, name, sql) in files("postgres") {
        let problems = problems(number, &sql);
        assert!(problems.is_empty(), "{name}: {problems:#?}");
    }
}

#[test]
fn a_migration_that_was_released_is_never_edited() {
    let released = include_str!("released.txt");
    for line in released.lines().filter(|line| !line.starts_with('#')) {
        let (sum, path) = line.split_once("  ").expect("sum, path");
        let (directory, name) = path.split_once('/').expect("directory/name");
        let files = files(directory);
        let (number, _, sql) = files.iter().find(|(_, it, _)| it == name).expect("never removed");
        let sql = sqlx::AssertSqlSafe(sql.clone());
        let sql = sqlx::SqlSafeStr::into_sql_str(sql);
        // By the sum that databases keep of what they were given.
        let kept =
            Migration::new(*number, name.to_owned().into(), MigrationType::Simple, sql, false)
                .checksum;
        let kept: String = kept.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(kept.get(..sum.len()), Some(sum), "{path} was edited: add another migration");
    }
}

#[test]
fn what_would_stop_others_is_refused() {
    for (sql, said) in [
        ("ALTER TABLE sinks DROP COLUMN status", "takes away"),
        ("DROP TABLE IF EXISTS error_groups", "takes away"),
        ("ALTER TABLE sinks RENAME COLUMN status TO state", "takes away"),
        ("ALTER TABLE sinks ALTER COLUMN created TYPE INT", "takes away"),
        ("alter table sinks add column a text not null", "inserts no such column"),
        ("ALTER TABLE sinks ADD COLUMN a BIGINT DEFAULT random()", "rewrites"),
        ("ALTER TABLE sinks ADD COLUMN a TEXT REFERENCES accounts (sid)", "every row"),
        ("ALTER TABLE sinks ADD CONSTRAINT c CHECK (created > 0)", "NOT VALID"),
        ("CREATE INDEX i ON sinks (status)", "CONCURRENTLY"),
        ("CREATE INDEX CONCURRENTLY i ON sinks (status)", "no-transaction"),
        (
            "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON sinks (status);\nSELECT 1",
            "one statement",
        ),
        ("UPDATE changes SET removed = 0", "in parts"),
        ("LOCK TABLE sinks", "locks all"),
    ] {
        let found = problems(9_999, sql);
        assert!(found.iter().any(|it| it.contains(said)), "{sql}: {found:?}");
    }
}

#[test]
fn what_stops_nobody_passes() {
    for sql in [
        "ALTER TABLE sinks ADD COLUMN a TEXT; -- DROP COLUMN\nALTER TABLE sinks ADD COLUMN b BIGINT NOT NULL DEFAULT 0",
        "CREATE TABLE t (a BIGINT NOT NULL); CREATE INDEX i ON t (a); ALTER TABLE t ADD COLUMN c TEXT NOT NULL",
        "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON sinks (status);",
        "ALTER TABLE sinks DROP COLUMN a; UPDATE meta SET needs = 9999",
        "ALTER TABLE sinks ADD CONSTRAINT c CHECK (created > 0) NOT VALID",
        "UPDATE event_types SET validation = 'warn' WHERE name LIKE 'com.%'",
    ] {
        assert_eq!(problems(9_999, sql), [""; 0], "{sql}");
    }
}
