//! What a server must be before we work with it: new enough, never evicting, of our format and number of partitions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ::redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, aio::MultiplexedConnection, cmd, pipe};

use super::{
    failure::Failure,
    keys::{FORMAT, Keys},
};

/// The check, run on every new connection, since behind the same address may be another server, and now and then.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    keys: Keys,
    partitions: u16,
    /// Whether `meta` was there once.
    seen: Arc<AtomicBool>,
}

/// What a server is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// The only one, which holds `meta` too.
    Alone,
    /// One of a cluster, another of which may hold `meta`.
    InCluster,
}

/// What `meta` says, field by field.
pub(crate) type Meta = (Option<String>, Option<String>);

impl Setup {
    /// A server that was not seen yet, to be set up with so many partitions.
    pub(crate) fn new(keys: Keys, partitions: u16) -> Self {
        Self { keys, partitions, seen: Arc::default() }
    }

    /// Checks the server, and writes `meta` if it has none.
    pub(crate) async fn check(
        &self,
        to: &mut MultiplexedConnection,
        check: Check,
    ) -> Result<(), Failure> {
        let info: String = cmd("INFO").query_async(to).await?;
        check_info(&info, check).map_err(Failure::Refused)?;
        if field(&info, "role") == "slave" {
            // A failover is under way, or we were led to the wrong one: that passes.
            let replica = ErrorKind::Server(ServerErrorKind::ReadOnly);
            return Err(RedisError::from((replica, "the server is a replica")).into());
        }
        self.check_meta(to, check).await
    }

    /// Checks `meta`, where it is the server's to hold, and writes it if it is not there.
    pub(crate) async fn check_meta(
        &self,
        to: &mut MultiplexedConnection,
        check: Check,
    ) -> Result<(), Failure> {
        if check == Check::InCluster {
            return Ok(());
        }
        let mut meta: Meta = self.read().query_async(to).await?;
        if self.is_missing(&meta) {
            let mut write = pipe();
            for command in self.write() {
                write.add_command(command).ignore();
            }
            write.query_async::<()>(to).await?;
            meta = self.read().query_async(to).await?;
        }
        self.judge(&meta)
    }

    /// What reads `meta`.
    pub(crate) fn read(&self) -> Cmd {
        cmd("HMGET").arg(self.keys.meta()).arg("partitions").arg("format").take()
    }

    /// What writes it, where others do not at the same time.
    pub(crate) fn write(&self) -> [Cmd; 2] {
        let set = |field: &str, value: String| {
            cmd("HSETNX").arg(self.keys.meta()).arg(field).arg(value).take()
        };
        [set("partitions", self.partitions.to_string()), set("format", FORMAT.to_owned())]
    }

    /// Whether it has to be written. Says so, once, where it was there: then all else is gone with it.
    pub(crate) fn is_missing(&self, meta: &Meta) -> bool {
        let missing = meta.0.is_none() || meta.1.is_none();
        if missing && self.seen.swap(false, Ordering::Relaxed) {
            tracing::error!(
                "Redis lost what it held of this queue: what was queued and parked is lost, it is set up anew"
            );
        }
        missing
    }

    /// Checks what it says.
    pub(crate) fn judge(&self, (partitions, format): &Meta) -> Result<(), Failure> {
        let (partitions, format) = (text(partitions), text(format));
        if format != FORMAT {
            return Err(Failure::Refused(format!(
                "Redis holds format `{format}`, this version of Millrace works with `{FORMAT}`"
            )));
        }
        if partitions != self.partitions.to_string() {
            return Err(Failure::Refused(format!(
                "Redis is set up with {partitions} partitions, this process with {}: set it to {partitions}",
                self.partitions
            )));
        }
        self.seen.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// Checks version, eviction and whether it is a node of a cluster, as `INFO` tells them.
fn check_info(info: &str, check: Check) -> Result<(), String> {
    let (name, version, least) = match field(info, "valkey_version") {
        "" => ("Redis", field(info, "redis_version"), 7),
        version => ("Valkey", version, 8),
    };
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < least) {
        return Err(format!("{name} {version} is too old: {least}.0 or later is needed"));
    }
    match (check, field(info, "cluster_enabled")) {
        (Check::Alone, "1") => {
            return Err(format!(
                "this {name} is a node of a cluster: name it by `redis+cluster://` in `queue.url`"
            ));
        }
        (Check::InCluster, "0") => {
            return Err(format!(
                "this {name} is no node of a cluster: name it by `redis://` in `queue.url`"
            ));
        }
        _ => {}
    }
    match field(info, "maxmemory_policy") {
        "noeviction" => Ok(()),
        policy => Err(format!(
            "{name} would evict queued events: its `maxmemory-policy` is `{policy}`, set it to `noeviction`"
        )),
    }
}

/// A field of `INFO`; empty where there is none.
pub(super) fn field<'a>(info: &'a str, name: &str) -> &'a str {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(field, _)| *field == name)
        .map_or("", |(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_too_old_or_evicts_and_says_what_to_set() {
        let info = |version: &str, policy: &str| {
            check_info(
                &format!("# Server\r\n{version}\r\nmaxmemory_policy:{policy}\r\n"),
                Check::Alone,
            )
        };
        assert_eq!(info("redis_version:7.0.15", "noeviction"), Ok(()));
        assert_eq!(info("redis_version:7.2.4\r\nvalkey_version:8.0.1", "noeviction"), Ok(()));
        assert!(info("redis_version:7.2.4\r\nvalkey_version:7.2.5", "noeviction").is_err());
        assert_eq!(
            info("redis_version:6.2.14", "noeviction").unwrap_err(),
            "Redis 6.2.14 is too old: 7.0 or later is needed"
        );
        let evicts = info("redis_version:7.0.15", "allkeys-lru").unwrap_err();
        assert!(evicts.ends_with("set it to `noeviction`"), "{evicts}");
        let node = "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:1\r\n";
        assert_eq!(check_info(node, Check::InCluster), Ok(()));
        assert!(check_info(node, Check::Alone).expect_err("a node").contains("redis+cluster://"));
    }
}
