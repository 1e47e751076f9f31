//! The way to the queue: to its one server, or to the server of a cluster that holds what a call is about.

use std::sync::Arc;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value, from_redis_value};

use super::{
    cluster::Cluster,
    failure::Failure,
    node::{Node, Terms},
    script::{Call, is_forgotten},
    sentinel::Find,
    setup::Check,
    target::Target,
};

/// The way to the queue.
pub(crate) enum Link {
    /// One server holds everything.
    One(Box<Node>),
    /// Each partition is held by one server of several.
    Many(Arc<Cluster>),
}

impl Link {
    /// Connects and checks what is there.
    pub(crate) async fn open(target: Target, terms: Terms) -> Result<Self, Failure> {
        let terms = Arc::new(terms);
        let find = match target {
            Target::Cluster(seeds) => {
                return Ok(Self::Many(Arc::new(Cluster::open(seeds, terms).await?)));
            }
            Target::One(info) => Find::at(info, &terms)?,
            Target::Sentinels { sentinels, name, primary } => {
                Find::Elected { sentinels, name, primary }
            }
        };
        let node = Node::new(find, terms, Check::Alone);
        node.connect().await?;
        Ok(Self::One(Box::new(node)))
    }

    /// How many partitions one command may be about.
    pub(crate) fn most_keys(&self) -> usize {
        match self {
            Self::One(_) => usize::MAX,
            Self::Many(_) => 1,
        }
    }

    /// Sends one command. It is never sent again once it may have been done.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        match self {
            Self::One(node) => node.query(command).await,
            Self::Many(cluster) => read(cluster.one(command, false).await?),
        }
    }

    /// As [`Link::query`], for what is accepted by it: replicas have it too, where the settings ask for that.
    pub(crate) async fn write<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let value = match self {
            Self::One(node) => node.write(command, false).await?,
            Self::Many(cluster) => cluster.one(command, true).await?,
        };
        read(value)
    }

    /// Sends a command to every server; gives what those answer that do.
    pub(crate) async fn on_all<T: FromRedisValue>(&self, command: &Cmd) -> Result<Vec<T>, Failure> {
        match self {
            Self::One(node) => Ok(vec![node.query(command).await?]),
            Self::Many(cluster) => {
                let values = cluster.on_all(command).await?;
                values.into_iter().map(read).collect()
            }
        }
    }

    /// Sends commands in one go to each server concerned. An error of one is the error of all.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<T, Failure> {
        match self {
            Self::One(node) => node.pipeline(pipeline).await,
            Self::Many(cluster) => {
                let answers = cluster.each(pipeline.cmd_iter().cloned().collect()).await;
                let values = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
                read(Value::Array(values))
            }
        }
    }

    /// Sends commands in one go to each server concerned; gives what came of each.
    pub(crate) async fn each<T: FromRedisValue>(
        &self,
        commands: Vec<Cmd>,
    ) -> Vec<Result<T, Failure>> {
        if commands.is_empty() {
            return Vec::new();
        }
        let count = commands.len();
        let answers = match self {
            Self::Many(cluster) => cluster.each(commands).await,
            Self::One(node) => {
                let mut pipeline = ::redis::pipe();
                for command in commands {
                    pipeline.add_command(command);
                }
                match node.batch(pipeline).await {
                    Ok(answers) => {
                        answers.into_iter().map(|it| it.map_err(Failure::from)).collect()
                    }
                    Err(failure) => vec![Err(failure); count],
                }
            }
        };
        answers.into_iter().map(|answer| answer.and_then(read)).collect()
    }

    /// Calls a script; once more, in full, if the server does not know it.
    pub(crate) async fn call<T: FromRedisValue>(&self, call: &Call) -> Result<T, Failure> {
        match self.query(&call.by_hash()).await {
            Err(Failure::Redis(error)) if is_forgotten(&error) => self.query(&call.in_full()).await,
            result => result,
        }
    }

    /// As [`Link::call`], for what is accepted by it: as [`Link::write`].
    pub(crate) async fn write_call<T: FromRedisValue>(&self, call: &Call) -> Result<T, Failure> {
        match self.write(&call.by_hash()).await {
            Err(Failure::Redis(error)) if is_forgotten(&error) => self.write(&call.in_full()).await,
            result => result,
        }
    }

    /// Calls scripts in one go; each again, in full, that its server does not know.
    pub(crate) async fn call_each<T: FromRedisValue>(
        &self,
        calls: &[Call],
    ) -> Vec<Result<T, Failure>> {
        let answers = self.each(calls.iter().map(Call::by_hash).collect()).await;
        self.call_forgotten(calls, answers).await
    }

    /// As [`Link::call_each`], with a command more, which is about no key.
    pub(crate) async fn call_each_and<T: FromRedisValue, L: FromRedisValue>(
        &self,
        calls: &[Call],
        last: Cmd,
    ) -> (Vec<Result<T, Failure>>, Result<L, Failure>) {
        let commands = calls.iter().map(Call::by_hash).chain([last]).collect();
        let mut answers = self.each::<Value>(commands).await;
        let last = answers.pop().unwrap_or_else(|| Ok(Value::Nil)).and_then(read);
        let answers = answers.into_iter().map(|answer| answer.and_then(read)).collect();
        (self.call_forgotten(calls, answers).await, last)
    }

    async fn call_forgotten<T: FromRedisValue>(
        &self,
        calls: &[Call],
        mut answers: Vec<Result<T, Failure>>,
    ) -> Vec<Result<T, Failure>> {
        let forgotten = |answer: &Result<T, Failure>| matches!(answer, Err(Failure::Redis(error)) if is_forgotten(error));
        let again: Vec<_> = (0..answers.len()).filter(|n| forgotten(&answers[*n])).collect();
        let in_full = again.iter().map(|n| calls[*n].in_full()).collect();
        for (n, answer) in again.into_iter().zip(self.each(in_full).await) {
            answers[n] = answer;
        }
        answers
    }
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, Failure> {
    Ok(from_redis_value(value).map_err(RedisError::from)?)
}
