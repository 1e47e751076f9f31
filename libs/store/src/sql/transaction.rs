//! Transactions. [`Write`] keeps the invariant of the store: rows and changes commit together, and sequence order
//! is commit order, because writers take turns *before* a number is drawn and until they have committed.

use millrace_domain::ConfigVersion;
use sqlx::{Any, AnyConnection, Executor as _, Transaction};
use tokio::sync::OwnedMutexGuard;

use super::{
    Dialect, Fault, SqlStore, audit,
    changes::{self, About},
    rows,
};
use crate::{Changed, Keyring};

/// Key of the advisory lock, the same for every replica for ever: "millrace" as ASCII bytes.
const TURN: i64 = 0x6d69_6c6c_7261_6365;
/// Channel of `NOTIFY`.
pub(crate) const CHANNEL: &str = "millrace_changes";

impl SqlStore {
    /// Begins a transaction that sees one state of the database.
    pub(super) async fn read(&self) -> Result<Transaction<'static, Any>, Fault> {
        let begin = match self.dialect {
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            Dialect::Sqlite { .. } => "BEGIN DEFERRED",
        };
        Ok(self.pool.begin_with(begin).await?)
    }

    /// Waits for its turn and begins a transaction that may write. Dropped before [`Write::commit`], it changes nothing.
    pub(super) async fn write(&self) -> Result<Write<'_>, Fault> {
        let (turn, transaction) = match &self.dialect {
            Dialect::Postgres => {
                let mut transaction = self.pool.begin().await?;
                let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(TURN);
                transaction.execute(lock).await?;
                (None, transaction)
            }
            Dialect::Sqlite { turn } => {
                let turn = turn.clone().lock_owned().await;
                (Some(turn), self.pool.begin_with("BEGIN IMMEDIATE").await?)
            }
        };
        Ok(Write { store: self, transaction, _turn: turn })
    }
}

/// A transaction whose turn it is to write.
pub(super) struct Write<'s> {
    store: &'s SqlStore,
    transaction: Transaction<'static, Any>,
    /// Released after the transaction: fields drop in this order.
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Write<'_> {
    /// The connection, for the SQL of the resources.
    pub(super) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// What opens what is sealed.
    pub(super) fn keyring(&self) -> Keyring {
        self.store.keyring.clone()
    }

    /// Draws the next number and appends to the change log; gives the number. Who makes a change calls `record`, which
    /// audits it too.
    pub(super) async fn append(&mut self, changed: &Changed, about: About) -> Result<i64, Fault> {
        let next = sqlx::query("UPDATE meta SET seq = seq + 1 RETURNING seq");
        let row = next.fetch_one(&mut *self.transaction).await?;
        let seq = rows::number::<i64>(&row, "seq")?;
        let body = rows::json_bytes(changed)?;
        let sealed = self.store.keyring.seal(&changes::place(seq), &body);
        sqlx::query(
            "INSERT INTO changes (seq, kind, key, account, sealed, removed)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(seq)
        .bind(about.kind)
        .bind(about.key)
        .bind(about.account)
        .bind(sealed)
        .bind(i64::from(audit::removes(changed)))
        .execute(&mut *self.transaction)
        .await?;
        Ok(seq)
    }

    /// Commits, wakes who waits for changes, and tells the version that has it all.
    pub(super) async fn commit(mut self) -> Result<ConfigVersion, Fault> {
        let version = changes::current(&mut self.transaction).await?.version;
        if matches!(self.store.dialect, Dialect::Postgres) {
            let notify = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL);
            self.transaction.execute(notify).await?;
        }
        self.transaction.commit().await?;
        self.store.wake.all();
        Ok(version)
    }

    /// Commits what nobody waits for: no change of the configuration.
    pub(super) async fn commit_quietly(self) -> Result<(), Fault> {
        Ok(self.transaction.commit().await?)
    }
}
