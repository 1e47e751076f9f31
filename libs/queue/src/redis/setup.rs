//! What a server must be before we work with it: new enough, never evicting, of our format and number of partitions.

use std::collections::HashMap;

use ::redis::{ErrorKind, RedisError, ServerErrorKind, aio::MultiplexedConnection, cmd, pipe};

use super::{
    failure::Failure,
    keys::{FORMAT, Keys},
};

/// The check, run on every new connection: behind the same address may be another server.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) keys: Keys,
    pub(crate) partitions: u16,
}

impl Setup {
    /// Checks the server, and writes `meta` if it has none.
    pub(crate) async fn check(&self, to: &mut MultiplexedConnection) -> Result<(), Failure> {
        let info: String = cmd("INFO").query_async(to).await?;
        check_info(&info).map_err(Failure::Refused)?;
        if field(&info, "role") == "slave" {
            // A failover is under way, or we were led to the wrong one: that passes.
            let replica = ErrorKind::Server(ServerErrorKind::ReadOnly);
            return Err(RedisError::from((replica, "the server is a replica")).into());
        }
        let read = cmd("HGETALL").arg(self.keys.meta()).take();
        let mut meta: HashMap<String, String> = read.query_async(to).await?;
        if !(meta.contains_key("partitions") && meta.contains_key("format")) {
            let set = |field: &str, value: String| {
                cmd("HSETNX").arg(self.keys.meta()).arg(field).arg(value).take()
            };
            let mut write = pipe();
            write.add_command(set("partitions", self.partitions.to_string())).ignore();
            write.add_command(set("format", FORMAT.to_owned())).ignore();
            write.query_async::<()>(to).await?;
            meta = read.query_async(to).await?;
        }
        self.check_meta(&meta).map_err(Failure::Refused)
    }

    fn check_meta(&self, meta: &HashMap<String, String>) -> Result<(), String> {
        let read = |field: &str| meta.get(field).map_or("", String::as_str);
        if read("format") != FORMAT {
            return Err(format!(
                "Redis holds format `{}`, this version of Millrace works with `{FORMAT}`",
                read("format")
            ));
        }
        if read("partitions") != self.partitions.to_string() {
            return Err(format!(
                "Redis is set up with {} partitions, this process with {}: set it to {0}",
                read("partitions"),
                self.partitions
            ));
        }
        Ok(())
    }
}

/// Checks version and eviction, as `INFO` tells them.
fn check_info(info: &str) -> Result<(), String> {
    let (name, version, least) = match field(info, "valkey_version") {
        "" => ("Redis", field(info, "redis_version"), 7),
        version => ("Valkey", version, 8),
    };
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < least) {
        return Err(format!("{name} {version} is too old: {least}.0 or later is needed"));
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
            check_info(&format!("# Server\r\n{version}\r\nmaxmemory_policy:{policy}\r\n"))
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
    }
}
