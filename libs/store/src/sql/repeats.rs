//! What named requests were answered.

use millrace_domain::Timestamp;
use sqlx::Row as _;

use super::{Fault, SqlStore, changes, rows, transaction::Write};
use crate::{
    Changed, Error,
    repeats::{Answered, Name, asked, oldest},
};

fn place(name: &Name) -> String {
    format!("requests/{}/{}", name.caller, name.id)
}

impl Write<'_> {
    /// Keeps what the request that is done now is answered, if it has a name and change `seq` is what it asked for.
    pub(super) async fn answer(&mut self, seq: i64, changed: &Changed) -> Result<(), Fault> {
        let (Some(asked), Changed::Upserted(resource)) = (asked(), changed) else { return Ok(()) };
        let Some(answer) = (asked.render)(resource) else { return Ok(()) };
        let (caller, id) = (&asked.name.caller, &asked.name.id);
        sqlx::query("DELETE FROM requests WHERE caller = $1 AND id = $2 AND created <= $3")
            .bind(caller.clone())
            .bind(id.clone())
            .bind(oldest(asked.now))
            .execute(self.connection())
            .await?;
        let sealed = self.keyring().seal(&place(&asked.name), &answer);
        let kept = sqlx::query(
            "INSERT INTO requests (caller, id, digest, seq, sealed, created)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(caller.clone())
        .bind(id.clone())
        .bind(asked.digest.to_vec())
        .bind(seq)
        .bind(sealed)
        .bind(asked.now.as_millis())
        .execute(self.connection())
        .await?;
        match kept.rows_affected() {
            0 => Err(Error::Repeated.into()),
            _ => Ok(()),
        }
    }
}

pub(super) async fn answered(
    store: &SqlStore,
    name: &Name,
    now: Timestamp,
) -> Result<Option<Answered>, Fault> {
    let mut read = store.read().await?;
    let row = sqlx::query(
        "SELECT digest, seq, sealed FROM requests WHERE caller = $1 AND id = $2 AND created > $3",
    )
    .bind(name.caller.clone())
    .bind(name.id.clone())
    .bind(oldest(now))
    .fetch_optional(&mut *read)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut version = changes::current(&mut read).await?.version;
    version.seq = rows::number(&row, "seq")?;
    let digest: &[u8] = row.try_get("digest")?;
    let digest = digest.try_into().map_err(|_| sqlx::Error::Decode("not a SHA-256".into()))?;
    let answer = store.keyring.open(&place(name), row.try_get("sealed")?)?;
    Ok(Some(Answered { digest, answer, version }))
}

pub(super) async fn forget(store: &SqlStore, now: Timestamp) -> Result<u64, Fault> {
    let done = sqlx::query("DELETE FROM requests WHERE created <= $1")
        .bind(oldest(now))
        .execute(&store.pool)
        .await?;
    Ok(done.rows_affected())
}
