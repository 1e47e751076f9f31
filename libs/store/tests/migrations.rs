//! Migrations of a database that is in use: what they may contain, what they do where others hold locks, who may use the
//! tables afterwards, and what a restored database is known by. `docs/upgrading.md` has the same in prose.

mod rules;

use std::time::{Duration, Instant};

use millrace_store::{
    Changes, Keyring, OpenError, ResourceStore, SqlStore, conformance,
    postgres::{self, Options},
};
use millrace_testkit::{
    eventually,
    postgres::{Database, Server, database},
};
use sqlx::{Connection as _, PgConnection};

/// As if the newest migrations had not been applied.
const UNDO_THE_LAST: &str = "ALTER TABLE meta DROP COLUMN origin, DROP COLUMN needs;
    DELETE FROM _sqlx_migrations WHERE version >= 13";
/// Most time that a step may wait; generous, for a busy machine.
const FAST: Duration = Duration::from_secs(30);

async fn migrated() -> Database {
    let database = database().await;
    postgres::migrate(database.url()).await.expect("migrates");
    database
}

async fn open(database: &Database) -> Result<SqlStore, OpenError> {
    let keyring = Keyring::parse(Keyring::generate("test").reveal()).expect("a generated key");
    postgres::open(database.url(), keyring, &Options::default()).await
}

async fn epoch(database: &Database) -> String {
    let epochs = database.texts("SELECT epoch::TEXT FROM meta").await.expect("answers");
    epochs.first().expect("one row").clone()
}

#[tokio::test]
async fn a_migration_that_would_wait_for_a_reader_fails_fast_and_says_for_whom() {
    let database = migrated().await;
    let store = open(&database).await.expect("opens");
    database.execute(UNDO_THE_LAST).await.expect("undoes");
    let url = format!("{}?application_name=a-report", database.url());
    let mut reader = PgConnection::connect(&url).await.expect("connects");
    let mut reading = reader.begin().await.expect("begins");
    sqlx::query("SELECT count(*) FROM meta").execute(&mut *reading).await.expect("reads");

    let started = Instant::now();
    let refused = postgres::migrate(database.url()).await;
    let Err(error @ OpenError::Locked { .. }) = refused else { panic!("{refused:?}") };
    assert!(started.elapsed() < FAST, "{:?}", started.elapsed());
    let told = error.to_string();
    assert!(
        told.contains("migration 13") && told.contains("`a-report`, in a transaction"),
        "{told}"
    );
    // Who reads and writes resources never noticed, and a repeat ends well once the reader is gone.
    conformance::as_test(store.create_account(&conformance::account(1))).await.expect("goes on");
    reading.rollback().await.expect("ends");
    postgres::migrate(database.url()).await.expect("migrates");
    open(&database).await.expect("opens");
}

#[tokio::test]
async fn an_older_program_works_on_newer_tables_until_something_is_taken_away() {
    let database = migrated().await;
    let of_the_future =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'of the future', true, '\\x00', 1);
        CREATE TABLE of_the_future (id BIGINT PRIMARY KEY);
        ALTER TABLE accounts ADD COLUMN of_the_future TEXT";
    database.execute(of_the_future).await.expect("migrates");
    let store = open(&database).await.expect("opens");
    let account = conformance::account(1);
    conformance::as_test(store.create_account(&account)).await.expect("writes");
    assert_eq!(store.account(account.sid).await.expect("reads"), account);
    postgres::migrate(database.url()).await.expect("has nothing to do");

    database.execute("UPDATE meta SET needs = 9999").await.expect("contracts");
    for refused in [open(&database).await.map(drop), postgres::migrate(database.url()).await] {
        let Err(error @ OpenError::TooNew { needs: 9999, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.to_string().contains("run a newer release"), "{error}");
    }
}

#[tokio::test]
async fn who_cannot_be_told_whether_the_tables_are_newer_leaves_them() {
    let database = migrated().await;
    let unreadable =
        "ALTER TABLE meta RENAME TO away; CREATE VIEW meta AS SELECT 1::BIGINT / 0 AS needs";
    database.execute(unreadable).await.expect("hides");
    for refused in [open(&database).await.map(drop), postgres::migrate(database.url()).await] {
        let Err(error @ OpenError::Connect { .. }) = refused else { panic!("{refused:?}") };
        let cause = std::error::Error::source(&error).expect("there is one").to_string();
        assert!(cause.contains("division by zero"), "{cause}");
    }
}

#[tokio::test]
async fn a_newer_program_refuses_older_tables_and_says_what_to_run() {
    let database = migrated().await;
    database.execute(UNDO_THE_LAST).await.expect("undoes");
    let refused = open(&database).await;
    let Err(error @ OpenError::NotMigrated { version: 13, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("run `millrace migrate`"), "{error}");
}

#[tokio::test]
async fn a_database_that_was_told_to_be_restored_has_a_new_epoch_and_who_watches_is_told() {
    let database = migrated().await;
    let store = open(&database).await.expect("opens");
    conformance::as_test(store.create_account(&conformance::account(1))).await.expect("new");
    let before = store.version().await.expect("answers");
    postgres::migrate(database.url()).await.expect("a repeat");
    assert_eq!(store.version().await.expect("answers"), before, "nothing was restored");
    postgres::restored(database.url()).await.expect("renews");
    let after = store.version().await.expect("answers");
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.seq, before.seq);
    let changes = store.changes(before, 10).await.expect("answers");
    assert!(matches!(changes, Changes::Gone), "who watches takes a snapshot");
}

/// The oid of `meta` is another after a restore in place, and its database's in another; here the table is made anew.
#[tokio::test]
async fn a_restore_is_noticed_by_programs_that_run() {
    let server = Server::start().expect("a server");
    let database = server.database().await.expect("serves");
    postgres::migrate(database.url()).await.expect("migrates");
    let before = epoch(&database).await;
    let opened = open(&database).await.expect("opens");
    assert_eq!(epoch(&database).await, before, "opening it is no restore");
    let made_anew = "BEGIN; CREATE TABLE restored (LIKE meta INCLUDING ALL); INSERT INTO restored SELECT * FROM meta;
        DROP TABLE meta; ALTER TABLE restored RENAME TO meta; COMMIT";
    database.execute(made_anew).await.expect("restores");
    let (database, before) = (&database, &before);
    eventually("a new epoch", || async move { (epoch(database).await != *before).then_some(()) })
        .await;
    let epoch = epoch(database).await;
    drop(opened);
    open(database).await.expect("opens");
    assert_eq!(self::epoch(database).await, epoch, "once for each restore");
}
