//! What a migration of Postgres may contain, while the release before and its readers run on the same tables. A file is read as
//! text: whoever needs more than this takes the step apart, or says here why it is safe.

mod table;

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
/// What it does is not read here: it locks two tables for a moment each, and changes no row.
const EXECUTES: [i64; 1] = [14];
/// What locks a whole table for as long as it takes.
const NEVER: [&str; 6] =
    [" TRUNCATE ", " VACUUM ", " CLUSTER ", " LOCK ", " REINDEX ", " REFRESH "];
/// What may run outside a transaction: it keeps nobody waiting, and a repeat does what is left to do.
const OUTSIDE: [&str; 4] = [
    " CREATE INDEX CONCURRENTLY IF NOT EXISTS ",
    " CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ",
    " DROP INDEX CONCURRENTLY IF EXISTS ",
    " VALIDATE CONSTRAINT ",
];

/// What is wrong with a migration; empty: nothing.
fn problems(number: i64, sql: &str) -> Vec<String> {
    let statements = statements(sql);
    let outside = sql.starts_with("-- no-transaction");
    let made: BTreeSet<&str> =
        statements.iter().filter_map(|it| word_after(it, " CREATE TABLE ")).collect();
    let says_who_is_needed = statements.iter().any(|it| it.contains(" UPDATE META SET NEEDS = "));
    let mut problems = Vec::new();
    if outside {
        problems.extend(of_outside(&statements).map(str::to_owned));
    }
    for statement in &statements {
        let table = word_after(statement, " ALTER TABLE ");
        if table.is_some_and(|table| !made.contains(table)) {
            problems.extend(table::problems(statement, says_who_is_needed, outside));
        }
        let drops = statement.starts_with(" DROP ") && !statement.starts_with(" DROP INDEX ");
        let renames = statement.starts_with(" ALTER ") && statement.contains(" RENAME ");
        if (drops || renames) && !says_who_is_needed {
            problems.push(format!("takes away without `UPDATE meta SET needs = …`:{statement}"));
        }
        if NEVER.iter().any(|word| statement.contains(word)) {
            problems.push(format!("locks all of a table:{statement}"));
        }
        if statement.contains(" EXECUTE ") && !EXECUTES.contains(&number) {
            problems.push(format!("hides what it does:{statement}"));
        }
        problems.extend(of_rows(statement));
        if !BEFORE_THE_FIRST_RELEASE.contains(&number) {
            problems.extend(of_index(statement, &made, outside));
        }
    }
    problems
}

/// What may be done in part, or keep others waiting for ever.
fn of_outside(statements: &[String]) -> Option<&'static str> {
    let [statement] = statements else {
        return Some("outside a transaction there is one statement, or half of them may be done");
    };
    let may = OUTSIDE.iter().any(|it| statement.contains(it));
    (!may).then_some(
        "outside a transaction nothing bounds how long others wait, and a repeat must do no harm",
    )
}

/// What changes many rows in one transaction.
fn of_rows(statement: &str) -> Option<String> {
    let table = [" UPDATE ", " DELETE FROM "].iter().find_map(|it| word_after(statement, it))?;
    let big = BIG.iter().any(|big| table.eq_ignore_ascii_case(big));
    big.then(|| format!("rows of a big table are changed in parts, by the program:{statement}"))
}

/// What builds or drops an index under a lock.
fn of_index(statement: &str, made: &BTreeSet<&str>, outside: bool) -> Option<String> {
    let begins = |it: &str| statement.starts_with(it);
    let is_made = begins(" CREATE INDEX ") || begins(" CREATE UNIQUE INDEX ");
    if !is_made && !begins(" DROP INDEX ") {
        return None;
    }
    let of_new = is_made && word_after(statement, " ON ").is_some_and(|it| made.contains(it));
    match (statement.contains(" INDEX CONCURRENTLY "), outside) {
        (true, true) => None,
        (true, false) => Some(format!("begin the file with `-- no-transaction`:{statement}")),
        (false, _) if of_new => None,
        (false, _) => Some(format!("do it CONCURRENTLY:{statement}")),
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
    let mut words = after.split([' ', '(']);
    let word = words.find(|word| !["IF", "NOT", "EXISTS", "ONLY", ""].contains(word))?;
    Some(word.strip_prefix("PUBLIC.").unwrap_or(word).trim_matches('"'))
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

/// What a program needs is told by one number (`meta.needs`), and the release before must know what this one calls so.
#[test]
fn a_number_is_of_one_migration_and_both_backends_have_it() {
    let numbers = |directory| files(directory).into_iter().map(|(number, ..)| number);
    for directory in ["postgres", "sqlite", "sqlite_logs"] {
        let all: Vec<i64> = numbers(directory).collect();
        assert!(all.windows(2).all(|two| two[0] < two[1]), "{directory}: {all:?}");
    }
    // Made before there was a release: the logs of SQLite are a file of their own, which begins with 1.
    let postgres: BTreeSet<i64> = numbers("postgres").filter(|number| *number != 3).collect();
    let sqlite: BTreeSet<i64> = numbers("sqlite").chain(numbers("sqlite_logs")).collect();
    assert_eq!(postgres, sqlite, "what one of them has no need of is a file with a comment");
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
        ("ALTER TABLE sinks DROP status", "takes away"),
        ("ALTER TABLE ONLY public.sinks ADD a TEXT, DROP IF EXISTS status CASCADE", "takes away"),
        ("ALTER TABLE sinks DROP CONSTRAINT sinks_pkey", "takes away"),
        ("DROP TABLE IF EXISTS error_groups", "takes away"),
        ("DROP VIEW v", "takes away"),
        ("ALTER TABLE sinks RENAME COLUMN status TO state", "takes away"),
        ("ALTER TABLE sinks RENAME status TO state", "takes away"),
        ("ALTER TABLE sinks RENAME TO targets", "takes away"),
        ("ALTER TYPE t RENAME TO u", "takes away"),
        ("ALTER TABLE sinks SET SCHEMA other", "takes away"),
        ("ALTER TABLE changes DETACH PARTITION a", "takes away"),
        ("ALTER TABLE sinks ALTER COLUMN created TYPE INT", "takes away"),
        ("ALTER TABLE sinks ALTER created SET DATA TYPE INT", "takes away"),
        ("ALTER TABLE sinks ALTER status DROP DEFAULT", "takes away"),
        ("ALTER TABLE sinks ALTER status SET NOT NULL", "takes away"),
        ("alter table sinks add column a text not null", "inserts no such column"),
        ("alter table sinks add a text not null", "inserts no such column"),
        ("ALTER TABLE sinks ADD IF NOT EXISTS a TEXT NOT NULL", "inserts no such column"),
        ("ALTER TABLE sinks ADD a NUMERIC(9, 2) DEFAULT 0, ADD b TEXT NOT NULL", "inserts no such"),
        ("ALTER TABLE sinks ADD COLUMN a BIGINT DEFAULT random()", "rewrites"),
        ("ALTER TABLE sinks ADD a BIGINT DEFAULT random()", "rewrites"),
        ("ALTER TABLE sinks ADD a BIGINT GENERATED ALWAYS AS IDENTITY", "rewrites"),
        ("ALTER TABLE sinks ADD a BIGSERIAL", "rewrites"),
        ("ALTER TABLE sinks ADD COLUMN a TEXT REFERENCES accounts (sid)", "every row"),
        ("ALTER TABLE sinks ADD a TEXT UNIQUE", "every row"),
        ("ALTER TABLE sinks ADD a TEXT CHECK (a <> '')", "every row"),
        ("ALTER TABLE sinks ADD CONSTRAINT c CHECK (created > 0)", "NOT VALID"),
        ("ALTER TABLE sinks ADD CHECK (created > 0)", "NOT VALID"),
        ("ALTER TABLE sinks ADD UNIQUE (created)", "NOT VALID"),
        ("ALTER TABLE sinks ADD FOREIGN KEY (account) REFERENCES accounts (sid)", "NOT VALID"),
        ("ALTER TABLE sinks VALIDATE CONSTRAINT c", "no-transaction"),
        ("CREATE INDEX i ON sinks (status)", "CONCURRENTLY"),
        ("DROP INDEX i", "CONCURRENTLY"),
        ("CREATE INDEX CONCURRENTLY i ON sinks (status)", "no-transaction"),
        (
            "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON sinks (status);\nSELECT 1",
            "one statement",
        ),
        ("-- no-transaction\nCREATE INDEX CONCURRENTLY i ON sinks (status)", "a repeat"),
        ("-- no-transaction\nALTER TABLE sinks ADD COLUMN a TEXT", "how long others wait"),
        ("UPDATE changes SET removed = 0", "in parts"),
        ("DELETE FROM ONLY public.changes WHERE seq < 7", "in parts"),
        ("LOCK TABLE sinks", "locks all"),
        ("DO $$ BEGIN EXECUTE 'ALTER TABLE sinks DROP status'; END $$", "hides"),
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
        "ALTER TABLE sinks ADD a TEXT, ADD IF NOT EXISTS b NUMERIC(9, 2) NOT NULL DEFAULT 0",
        "ALTER TABLE sinks ALTER a DROP NOT NULL, ALTER a SET DEFAULT 0",
        "ALTER TABLE sinks ADD CONSTRAINT c UNIQUE USING INDEX i",
        "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON sinks (status);",
        "-- no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS i;",
        "-- no-transaction\nALTER TABLE sinks VALIDATE CONSTRAINT c;",
        "ALTER TABLE sinks DROP COLUMN a; UPDATE meta SET needs = 9999",
        "ALTER TABLE sinks ADD CONSTRAINT c CHECK (created > 0) NOT VALID",
        "UPDATE event_types SET validation = 'warn' WHERE name LIKE 'com.%'",
    ] {
        assert_eq!(problems(9_999, sql), [""; 0], "{sql}");
    }
}
