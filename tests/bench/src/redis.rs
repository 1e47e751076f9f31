//! What Redis says of itself, over its protocol by hand (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Partitions of an installation, as they are by default.
pub(crate) const PARTITIONS: u16 = 64;

/// A server on loopback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redis {
    port: u16,
}

/// Commands that clients sent, by name; what scripts call is not among them.
pub(crate) type Commands = BTreeMap<String, usize>;

impl Redis {
    /// The server on `port`.
    pub(crate) fn on(port: u16) -> Self {
        Self { port }
    }

    /// A number of `INFO`.
    pub(crate) async fn info(&self, name: &str) -> Result<u64> {
        let mut connection = self.connect("INFO").await?;
        let mut header = String::new();
        connection.read_line(&mut header).await?;
        let length = header.trim().strip_prefix('$').and_then(|text| text.parse().ok());
        let mut text = vec![0; length.with_context(|| format!("INFO answered {header}"))?];
        timeout(PATIENCE, connection.read_exact(&mut text)).await??;
        let text = String::from_utf8_lossy(&text);
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(found.with_context(|| format!("INFO has no {name}"))?.trim().parse()?)
    }

    /// How many chunks stand in the queue, not settled, over all its partitions.
    pub(crate) async fn unsettled(&self) -> Result<usize> {
        let lengths: Vec<String> =
            (0..PARTITIONS).map(|partition| format!("XLEN {{mr:{partition}}}:ready")).collect();
        let mut connection = self.connect(&lengths.join("\r\n")).await?;
        let mut all = 0;
        for _ in 0..PARTITIONS {
            let mut line = String::new();
            timeout(PATIENCE, connection.read_line(&mut line)).await??;
            let length = line.trim().strip_prefix(':').and_then(|text| text.parse::<usize>().ok());
            all += length.with_context(|| format!("XLEN answered {line}"))?;
        }
        Ok(all)
    }

    /// How many deliverers own partitions, once all partitions are owned; `None`: they are not.
    pub(crate) async fn owners(&self) -> Result<Option<usize>> {
        let owners: Vec<String> =
            (0..PARTITIONS).map(|partition| format!("GET {{mr:{partition}}}:owner")).collect();
        let mut connection = self.connect(&owners.join("\r\n")).await?;
        let mut found = BTreeSet::new();
        let mut owned = true;
        for _ in 0..PARTITIONS {
            let mut line = String::new();
            timeout(PATIENCE, connection.read_line(&mut line)).await??;
            if line.trim() == "$-1" {
                owned = false;
                continue;
            }
            line.clear();
            timeout(PATIENCE, connection.read_line(&mut line)).await??;
            found.insert(line);
        }
        Ok(owned.then_some(found.len()))
    }

    /// Counts the commands that clients send while `work` is done.
    pub(crate) async fn commands<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(T, Commands)> {
        let mut connection = self.connect("MONITOR").await?;
        let mut line = Vec::new();
        timeout(PATIENCE, connection.read_until(b'\n', &mut line)).await??;
        let mut commands = Commands::new();
        let watch = async {
            loop {
                line.clear();
                if connection.read_until(b'\n', &mut line).await? == 0 {
                    return anyhow::Ok(());
                }
                if let Some(name) = sent(&line) {
                    *commands.entry(name).or_default() += 1;
                }
            }
        };
        // Cut off, the watch loses the line it was reading: one of thousands.
        let done: Result<T> = tokio::select! {
            done = work => done,
            ended = watch => ended.and_then(|()| bail!("Redis closed the connection of MONITOR")),
        };
        Ok((done?, commands))
    }

    async fn connect(&self, command: &str) -> Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        Ok(BufReader::with_capacity(256 * 1024, stream))
    }
}

/// The name of the command in a line of `MONITOR`, `+time [db client] "name" "argument"…`, unless a script called it.
fn sent(line: &[u8]) -> Option<String> {
    let start = String::from_utf8_lossy(line.get(..line.len().min(200))?).into_owned();
    let (client, rest) = start.split_once("] ")?;
    let name = rest.split('"').nth(1)?.to_ascii_lowercase();
    (!client.ends_with(" lua")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_calls_is_not_sent() {
        let line = br#"+1339518083.107412 [0 127.0.0.1:60866] "XADD" "{mr:1}:ready" "*""#;
        assert_eq!(sent(line).as_deref(), Some("xadd"));
        assert_eq!(sent(br#"+1339518083.107412 [0 lua] "get" "x""#), None);
    }
}
