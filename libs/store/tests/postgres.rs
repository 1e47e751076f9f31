//! PostgreSQL passes the suite, and what only PostgreSQL does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use millrace_domain::{Partition, SinkSid, Timestamp};
use millrace_store::{
    Changes, Error, Keyring, OpenError, Page, ResourceStore, SqlStore,
    conformance::{self, Backend, logs::LogBackend},
    logs::{
        DropCause, DropEntry, Entries, ErrorEntry, LogId, LogQuery, LogStore, Place, Written,
        open_postgres,
    },
    postgres::{self, Options},
};
use millrace_testkit::{
    eventually,
    postgres::{Database, Server, database},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

struct Migrated {
    database: Database,
}

#[async_trait]
impl Backend for Migrated {
    async fn open(&self, keyring: Keyring) -> Arc<dyn ResourceStore> {
        Arc::new(open(self.database.url(), keyring).await)
    }

    async fn contents(&self) -> Vec<u8> {
        let mut connection = PgConnection::connect(self.database.url()).await.expect("connects");
        sqlx::raw_sql("SET bytea_output = 'escape'").execute(&mut connection).await.expect("sets");
        let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'";
        let tables = sqlx::query(tables).fetch_all(&mut connection).await.expect("lists");
        let mut contents = String::new();
        for table in tables {
            let table: String = table.get(0);
            let rows = AssertSqlSafe(format!("SELECT t::text FROM {table} AS t"));
            let rows = sqlx::query(rows).fetch_all(&mut connection).await.expect("reads");
            contents.extend(rows.iter().map(|row| row.get::<String, _>(0)));
        }
        contents.into_bytes()
    }
}

#[async_trait]
impl LogBackend for Migrated {
    async fn open(&self) -> Arc<dyn LogStore> {
        let options = Options { max_connections: 3, ..Options::default() };
        Arc::new(open_postgres(self.database.url(), &options).await.expect("opens"))
    }

    fn refuses_nul(&self) -> bool {
        true
    }
}

fn keyring() -> Keyring {
    Keyring::parse(Keyring::generate("test").reveal()).expect("a generated key is one")
}

async fn open(url: &str, keyring: Keyring) -> SqlStore {
    let options = Options { max_connections: 8, ..Options::default() };
    postgres::open(url, keyring, &options).await.expect("opens")
}

#[tokio::test]
async fn postgres_does_what_every_store_must() {
    // Keeps a private server running between the checks.
    let _server = database().await;
    conformance::run(async || {
        let database = database().await;
        postgres::migrate(database.url()).await.expect("migrates");
        Box::new(Migrated { database }) as Box<dyn Backend>
    })
    .await;
}

#[tokio::test]
async fn postgres_does_what_all_logs_must() {
    let _server = database().await;
    conformance::logs::run(async || {
        let database = database().await;
        postgres::migrate(database.url()).await.expect("migrates");
        Box::new(Migrated { database }) as Box<dyn LogBackend>
    })
    .await;
}

#[tokio::test]
async fn a_database_is_migrated_before_it_is_opened_and_only_once() {
    let database = database().await;
    let refused = postgres::open(database.url(), keyring(), &Options::default()).await;
    let Err(error @ OpenError::NotMigrated { version: 1, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("run `millrace migrate`"), "{error}");

    let together = (0..4).map(|_| postgres::migrate(database.url()));
    for migrated in futures::future::join_all(together).await {
        migrated.expect("all end well, one of them did it");
    }
    let before = open(database.url(), keyring()).await.version().await.expect("answers");
    postgres::migrate(database.url()).await.expect("a repeat does nothing");
    let after = open(database.url(), keyring()).await.version().await.expect("answers");
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_writer_that_stalls_is_not_overtaken_in_the_log() {
    let database = database().await;
    postgres::migrate(database.url()).await.expect("migrates");
    let store = open(database.url(), keyring()).await;
    let (slow, fast) = (conformance::account(1), conformance::account(2));
    conformance::as_test(store.create_account(&slow)).await.expect("new");
    let start = conformance::as_test(store.create_account(&fast)).await.expect("new");

    // Whoever inserts a sink of the slow account waits for this lock, in the middle of its transaction.
    let mut blocker = PgConnection::connect(database.url()).await.expect("connects");
    let mut lock = blocker.begin().await.expect("begins");
    let row = "SELECT 1 FROM accounts WHERE sid = $1 FOR UPDATE";
    sqlx::query(row).bind(slow.sid.to_string()).execute(&mut *lock).await.expect("locks");

    let (first, second) = (conformance::sink(1, &slow), conformance::sink(2, &fast));
    let writing = async {
        let second = async {
            waits_for_a_lock(database.url()).await;
            conformance::as_test(store.create_sink(&second, 1)).await
        };
        let (first, second) =
            futures::join!(conformance::as_test(store.create_sink(&first, 1)), second);
        (first.expect("new").seq, second.expect("new").seq)
    };
    let reading = async {
        let (mut version, mut read) = (start, Vec::new());
        let mut lock = Some(lock);
        while read.len() < 2 {
            let Ok(Changes::Some(more)) = store.changes(version, 10).await else {
                panic!("the log is gone");
            };
            version.seq = more.last().map_or(version.seq, |change| change.seq);
            read.extend(more.iter().map(|change| change.seq));
            if waiting(database.url()).await >= 2
                && let Some(lock) = lock.take()
            {
                lock.rollback().await.expect("unlocks");
            }
        }
        read
    };
    let ((first, second), read) = futures::join!(writing, reading);
    assert_eq!(read, [first, second], "the reader saw both, in order of their commits");
}

/// How many sessions wait for a lock.
async fn waiting(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let count = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query(count).fetch_one(&mut connection).await.expect("counts").get(0)
}

async fn waits_for_a_lock(url: &str) {
    eventually("a session waits for a lock", || async { (waiting(url).await > 0).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_commit_elsewhere_is_heard_well_before_the_next_poll() {
    let database = database().await;
    postgres::migrate(database.url()).await.expect("migrates");
    let keyring = keyring();
    let (here, there) =
        (open(database.url(), keyring.clone()).await, open(database.url(), keyring).await);
    let (mut waits, mut seq) = (Vec::new(), 0);
    for id in 1..=5 {
        let account = conformance::account(id);
        let waiting = async {
            here.changed(seq).await;
            Instant::now()
        };
        let writing = async {
            let version = conformance::as_test(there.create_account(&account)).await.expect("new");
            (version.seq, Instant::now())
        };
        let (woken, (written, at)) = futures::join!(waiting, writing);
        seq = written;
        waits.push(woken.saturating_duration_since(at));
    }
    // The first may be early or late by luck, while the listener still connects; polling makes most last a second.
    waits.sort();
    assert!(waits[2] < Duration::from_millis(500), "woken by polling only: {waits:?}");
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again_without_a_restart() {
    let server = Server::start().expect("install PostgreSQL: apt-get install postgresql");
    let database = server.database().await.expect("serves");
    postgres::migrate(database.url()).await.expect("migrates");
    let options = Options { acquire_timeout: Duration::from_secs(2), ..Options::default() };
    let store = postgres::open(database.url(), keyring(), &options).await.expect("opens");
    let account = conformance::account(1);
    let version = conformance::as_test(store.create_account(&account)).await.expect("new");

    server.kill().expect("ran");
    let started = Instant::now();
    let refused = store.account(account.sid).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());

    let returned = async {
        server.start_again().expect("starts again");
        eventually("the store answers", || async { store.account(account.sid).await.ok() }).await
    };
    let (found, ()) = futures::join!(returned, store.changed(version.seq + 1));
    assert_eq!(found, account);
    assert_eq!(store.version().await.expect("answers"), version);
}

fn an_error(at: Timestamp) -> ErrorEntry {
    ErrorEntry {
        id: log_id(at),
        reported: at,
        account: conformance::account(1).sid,
        sink: SinkSid::from_u128(1),
        error_code: 91306,
        http_status: 503,
        attempt: 1,
        detail: String::new(),
        event_ids: Vec::new(),
    }
}

fn a_drop(at: Timestamp) -> DropEntry {
    DropEntry {
        id: log_id(at),
        reported: at,
        account: conformance::account(1).sid,
        sink: SinkSid::from_u128(1),
        event_id: "a".to_owned(),
        event_type: "com.example.a".to_owned(),
        accepted: at,
        cause: DropCause::Expired,
        error_code: 0,
        schema_version: 1,
        size: 0,
        kept: false,
        event: None,
        resent: None,
    }
}

fn log_id(at: Timestamp) -> LogId {
    let place = Place { log: 0, partition: Partition(1), entry_ms: 7, entry_seq: 0, index: 0 };
    LogId::of(at, &place)
}

#[tokio::test]
async fn what_is_new_is_told_when_a_write_is_repeated_that_failed_midway() {
    let database = database().await;
    postgres::migrate(database.url()).await.expect("migrates");
    let logs = open_postgres(database.url(), &Options::default()).await.expect("opens");
    let now = Timestamp::from_millis(1_763_000_000_000);
    logs.keep_days(now).await.expect("makes days");
    let mut other = PgConnection::connect(database.url()).await.expect("connects");
    let mut say = async |sql| sqlx::raw_sql(sql).execute(&mut other).await.expect("says");
    let (errors, drops) = (vec![an_error(now)], vec![a_drop(now)]);
    let (entries, mut written) =
        (Entries { errors, drops, ..Entries::default() }, Written::default());

    say("ALTER TABLE dropped_events RENAME TO away").await;
    logs.write_into(&entries, now, &mut written).await.expect_err("no such table");
    say("ALTER TABLE away RENAME TO dropped_events").await;
    logs.write_into(&entries, now, &mut written).await.expect("writes");
    assert_eq!((written.errors.len(), written.drops.len()), (1, 1), "{written:?}");
}

#[tokio::test]
async fn a_day_that_is_read_is_dropped_later_and_new_days_are_made() {
    let database = database().await;
    postgres::migrate(database.url()).await.expect("migrates");
    let logs = open_postgres(database.url(), &Options::default()).await.expect("opens");
    let now = Timestamp::from_millis(1_763_000_000_000);
    logs.keep_days(now).await.expect("makes days");
    let mut reader = PgConnection::connect(database.url()).await.expect("connects");
    let mut transaction = reader.begin().await.expect("begins");
    let read = "SELECT count(*) FROM delivery_attempts";
    sqlx::query(read).fetch_one(&mut *transaction).await.expect("reads");

    let later = now.plus(Duration::from_secs(5 * 24 * 3600));
    logs.keep_days(later).await.expect("makes days");
    let mut other = PgConnection::connect(database.url()).await.expect("connects");
    let mut days = async |log: &str| {
        let count = "SELECT count(*) FROM pg_inherits WHERE inhparent = $1::text::regclass";
        let row = sqlx::query(count).bind(log).fetch_one(&mut other).await.expect("counts");
        row.get::<i64, _>(0)
    };
    assert_eq!(days("delivery_attempts").await, 10 + 5, "it is read");
    assert_eq!(days("dropped_events").await, 10, "it is not");
    transaction.rollback().await.expect("ends");
    logs.keep_days(later).await.expect("drops days");
    assert_eq!(days("delivery_attempts").await, 10);
}

/// LZ4 is in every PostgreSQL that Debian and Ubuntu have.
#[tokio::test]
async fn ids_of_events_are_compressed_by_lz4_in_days_made_from_then_on() {
    let database = database().await;
    postgres::migrate(database.url()).await.expect("migrates");
    let logs = open_postgres(database.url(), &Options::default()).await.expect("opens");
    let as_before = "ALTER TABLE delivery_attempts ALTER COLUMN event_ids SET COMPRESSION default;
        ALTER TABLE error_logs ALTER COLUMN event_ids SET COMPRESSION default;
        DELETE FROM _sqlx_migrations WHERE version = 14";
    database.execute(as_before).await.expect("undoes");
    let now = Timestamp::from_millis(1_763_000_000_000);
    logs.keep_days(now).await.expect("makes days");
    let tables = async |by: &str| {
        let tables = format!(
            "SELECT count(*)::TEXT FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                WHERE attname = 'event_ids' AND relkind = 'r' AND attcompression = '{by}'"
        );
        database.texts(&tables).await.expect("counts")
    };
    let (before, none) = (tables("").await, tables("l").await);
    postgres::migrate(database.url()).await.expect("migrates");
    assert_eq!((tables("").await, tables("l").await), (before, none), "rows there are left");
    logs.keep_days(now.plus(Duration::from_secs(5 * 24 * 3600))).await.expect("makes days");
    assert_eq!(tables("l").await, ["10"], "five more days of two logs");
}

#[tokio::test]
async fn who_reads_logs_does_not_keep_those_waiting_who_keep_them() {
    let database = database().await;
    postgres::migrate(database.url()).await.expect("migrates");
    let options = Options { max_connections: 1, ..Options::default() };
    let logs = open_postgres(database.url(), &options).await.expect("opens");
    let mut other = PgConnection::connect(database.url()).await.expect("connects");
    let mut transaction = other.begin().await.expect("begins");
    let lock = "LOCK TABLE delivery_attempts IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *transaction).await.expect("locks");
    let (query, page) = (LogQuery::of(conformance::account(1).sid), Page { after: None, limit: 1 });
    let mut read = std::pin::pin!(logs.attempts(&query, &page));
    tokio::select! {
        found = &mut read => panic!("it waits for the lock: {found:?}"),
        known = async {
            tokio::task::yield_now().await;
            logs.failing_sinks().await
        } => assert_eq!(known.expect("lists"), []),
    }
    transaction.rollback().await.expect("ends");
    assert_eq!(read.await.expect("reads"), []);
}
