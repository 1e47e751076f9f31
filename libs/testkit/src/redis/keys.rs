//! The keys of a Redis as commands that make them, in its own protocol
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), and back.

use anyhow::{Context as _, Result, bail};
use redis::{Cmd, Value, cmd, from_redis_value};

use super::Server;

/// A command: its name and arguments, as bytes.
type Words = Vec<Vec<u8>>;

impl Server {
    /// The commands that make every key for which `kept` holds.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn dump(&self, kept: impl Fn(&str) -> bool) -> Result<Vec<u8>> {
        let mut keys: Vec<String> = self.run(cmd("KEYS").arg("*")).await?;
        keys.retain(|key| kept(key));
        keys.sort();
        let mut bytes = Vec::new();
        for key in keys {
            for words in commands(self, &key).await? {
                bytes.extend(format!("*{}\r\n", words.len()).bytes());
                for word in words {
                    bytes.extend(format!("${}\r\n", word.len()).bytes());
                    bytes.extend(word);
                    bytes.extend(b"\r\n");
                }
            }
        }
        Ok(bytes)
    }

    /// Has it do what [`Server::dump`] wrote.
    ///
    /// # Errors
    /// If it does not, or that is something else.
    pub async fn load(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let count = header(&mut bytes, b'*').context("no command")?;
            let mut command = Cmd::new();
            for _ in 0..count {
                let length = header(&mut bytes, b'$').context("no word")?;
                let (word, rest) = bytes.split_at_checked(length).context("half a word")?;
                command.arg(word);
                bytes = rest.strip_prefix(b"\r\n").context("a word has no end")?;
            }
            self.run::<Value>(&command).await?;
        }
        Ok(())
    }
}

/// What makes one key.
async fn commands(redis: &Server, key: &str) -> Result<Vec<Words>> {
    let kind: String = redis.run(cmd("TYPE").arg(key)).await?;
    let (name, ask) = match kind.as_str() {
        "string" => ("SET", cmd("GET").arg(key).clone()),
        "hash" => ("HSET", cmd("HGETALL").arg(key).clone()),
        "zset" => ("ZADD", cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES").clone()),
        "stream" => ("XADD", cmd("XRANGE").arg(key).arg("-").arg("+").clone()),
        other => bail!("`{key}` is a {other}, which nobody writes"),
    };
    let begin = || vec![name.as_bytes().to_vec(), key.as_bytes().to_vec()];
    let told: Value = redis.run(&ask).await?;
    if name == "XADD" {
        let entries: Vec<(Vec<u8>, Words)> = from_redis_value(told)?;
        let add = |(id, fields)| [begin(), vec![id], fields].concat();
        return Ok(entries.into_iter().map(add).collect());
    }
    let mut words: Words = match told {
        Value::BulkString(value) => vec![value],
        Value::Map(pairs) => from_redis_value(Value::Array(
            pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
        ))?,
        other => from_redis_value(other)?,
    };
    if name == "ZADD" {
        // Members come before their scores, and are given after them.
        words.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
    }
    Ok(vec![[begin(), words].concat()])
}

/// A line of a kind and a number.
fn header(bytes: &mut &[u8], kind: u8) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\r')?;
    let (line, rest) = bytes.split_at(end);
    *bytes = rest.strip_prefix(b"\r\n")?;
    std::str::from_utf8(line.strip_prefix(&[kind])?).ok()?.parse().ok()
}
