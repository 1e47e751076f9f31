//! Writes that are acknowledged by replicas: gathered, and each batch followed by one `WAIT` on its connection.
//!
//! `WAIT` is about what its own connection wrote, and holds that connection up. So these writes have connections of
//! their own: what comes while all are in use goes out in one batch with the next.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::redis::{Cmd, RedisError, RedisResult, Value, cmd, from_redis_value, pipe};
use tokio::sync::{Semaphore, oneshot};

use super::{
    failure::Failure,
    node::{Node, Terms},
};

/// How many batches may be under way at a server.
const BATCHES: usize = 4;
/// Most writes in a batch: a bound, far above what comes within one `WAIT`.
const BATCH_MAX: usize = 1_024;

/// The writes of a server that wait for their turn.
pub(crate) struct Replicated {
    replicas: u32,
    timeout: Duration,
    waiting: Mutex<Vec<Write>>,
    turns: Semaphore,
}

struct Write {
    command: Cmd,
    asking: bool,
    reply: oneshot::Sender<Result<Value, Failure>>,
}

impl Replicated {
    pub(crate) fn new(terms: &Terms) -> Self {
        Self {
            replicas: terms.wait_replicas,
            timeout: terms.wait_timeout,
            waiting: Mutex::default(),
            turns: Semaphore::new(BATCHES),
        }
    }

    /// Writes, and waits for the replicas. Who gets a turn takes along all that waits.
    pub(crate) async fn write(
        &self,
        to: &Node,
        command: Cmd,
        asking: bool,
    ) -> Result<Value, Failure> {
        let (reply, mut answer) = oneshot::channel();
        self.lock().push(Write { command, asking, reply });
        loop {
            // Cancelled in the first arm: the answer stays in its channel. In the second: the turn goes to the next.
            let turn = tokio::select! {
                biased;
                answer = &mut answer => return answer.unwrap_or_else(|_| Err(interrupted())),
                turn = self.turns.acquire() => turn.expect("it is never closed"),
            };
            let batch = self.take();
            if batch.is_empty() {
                // Another took it along.
                drop(turn);
                return answer.await.unwrap_or_else(|_| Err(interrupted()));
            }
            self.send(to, batch).await;
            drop(turn);
        }
    }

    /// What waits, oldest first, without what nobody waits for any more: that must not be written much later.
    fn take(&self) -> Vec<Write> {
        let mut waiting = self.lock();
        waiting.retain(|write| !write.reply.is_closed());
        let taken = waiting.len().min(BATCH_MAX);
        waiting.drain(..taken).collect()
    }

    async fn send(&self, to: &Node, batch: Vec<Write>) {
        let mut commands = pipe();
        let mut replies = Vec::with_capacity(batch.len());
        for Write { command, asking, reply } in batch {
            if asking {
                commands.cmd("ASKING").ignore();
            }
            commands.add_command(command);
            replies.push(reply);
        }
        let timeout = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        commands.add_command(cmd("WAIT").arg(self.replicas).arg(timeout.max(1)).take());
        let results = to.wait_all(&mut commands, self.timeout).await;
        let answers = results.map(|mut results| {
            let have_it = results.pop();
            (results, have_it)
        });
        let mut answers = match answers {
            Ok((results, have_it)) => Ok((results.into_iter(), self.judge(have_it))),
            Err(failure) => Err(failure),
        };
        for reply in replies {
            let answer = match &mut answers {
                Ok((results, judged)) => match (results.next(), &judged) {
                    (Some(Ok(value)), Ok(())) => Ok(value),
                    (Some(Ok(_)), Err(failure)) => Err(failure.clone()),
                    (Some(Err(error)), _) => Err(Failure::from(error)),
                    (None, _) => Err(interrupted()),
                },
                Err(failure) => Err(failure.clone()),
            };
            // Who waited may have gone away.
            drop(reply.send(answer));
        }
    }

    /// Whether enough replicas have it.
    fn judge(&self, have_it: Option<RedisResult<Value>>) -> Result<(), Failure> {
        let have_it: u32 = match have_it {
            Some(answer) => from_redis_value(answer?).map_err(RedisError::from)?,
            None => return Err(interrupted()),
        };
        if have_it < self.replicas {
            return Err(Failure::TooFewReplicas { have_it, wanted: self.replicas });
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Write>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The batch was given up with whoever sent it: whether it is written is not known.
fn interrupted() -> Failure {
    RedisError::from(io::Error::from(io::ErrorKind::Interrupted)).into()
}
