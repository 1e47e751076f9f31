//! The way to the server: one connection that all calls share, made again with backoff when it is lost, and
//! connections of their own for reads that wait. One log line when it goes down and one when it is back.

use std::{
    sync::{Mutex, PoisonError, RwLock},
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError,
    aio::MultiplexedConnection,
};
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::{
    failure::Failure,
    script::{Call, SCRIPTS, is_forgotten},
    setup::Setup,
};

/// Longest pause between two attempts to connect.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that may wait to be written (the default, 50, makes callers queue under load).
const PIPELINE_BUFFER: usize = 4_096;
/// How much later than asked a waiting read may answer before its connection is taken for dead.
const READ_GRACE: Duration = Duration::from_secs(5);
/// Idle connections for waiting reads that are kept.
const IDLE_READERS: usize = 4;

/// The way to the server.
pub(crate) struct Link {
    client: Client,
    setup: Setup,
    response_timeout: Duration,
    current: RwLock<Option<Connected>>,
    connecting: AsyncMutex<Attempts>,
    readers: Mutex<Vec<MultiplexedConnection>>,
    /// When the outage that lasts began.
    down_since: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Connected {
    number: u64,
    connection: MultiplexedConnection,
}

#[derive(Default)]
struct Attempts {
    /// How many ended.
    ended: u64,
    /// How many failed since the last that did not.
    failed: u32,
    /// When the last one failed, and why.
    failure: Option<(Instant, Failure)>,
    /// When the next may start.
    next: Option<Instant>,
}

impl Link {
    /// Connects and checks the server.
    pub(crate) async fn open(
        client: Client,
        setup: Setup,
        response_timeout: Duration,
    ) -> Result<Self, Failure> {
        let link = Self {
            client,
            setup,
            response_timeout,
            current: RwLock::default(),
            connecting: AsyncMutex::default(),
            readers: Mutex::default(),
            down_since: Mutex::default(),
        };
        link.connected().await?;
        Ok(link)
    }

    /// Sends one command. It is never sent twice.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut to = self.connected().await?;
        let result = command.query_async(&mut to.connection).await.map_err(Failure::from);
        self.note(to.number, result)
    }

    /// Sends commands in one go. What came of each that the server answered is in its place.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        pipeline: &Pipeline,
    ) -> Result<T, Failure> {
        let mut to = self.connected().await?;
        let result = pipeline.query_async(&mut to.connection).await.map_err(Failure::from);
        self.note(to.number, result)
    }

    /// Calls a script; once more, in full, if the server does not know it.
    pub(crate) async fn call<T: FromRedisValue>(&self, call: &Call) -> Result<T, Failure> {
        let mut to = self.connected().await?;
        let result = match call.by_hash().query_async(&mut to.connection).await {
            Err(error) if is_forgotten(&error) => {
                call.in_full().query_async(&mut to.connection).await
            }
            result => result,
        };
        self.note(to.number, result.map_err(Failure::from))
    }

    /// Calls scripts, and then `last`, in one go; all of it again, in full, if the server does not know a script:
    /// for calls that may be repeated.
    pub(crate) async fn call_all<T: FromRedisValue>(
        &self,
        calls: &[Call],
        last: Option<Cmd>,
    ) -> Result<T, Failure> {
        let gather = |command: fn(&Call) -> Cmd| {
            let mut pipeline = ::redis::pipe();
            for call in calls {
                pipeline.add_command(command(call));
            }
            if let Some(last) = &last {
                pipeline.add_command(last.clone());
            }
            pipeline
        };
        match self.pipeline(&gather(Call::by_hash)).await {
            Err(Failure::Redis(error)) if is_forgotten(&error) => {
                self.pipeline(&gather(Call::in_full)).await
            }
            result => result,
        }
    }

    /// Sends a command that waits up to `wait` at the server, over a connection that nothing else uses. A caller
    /// that goes away closes the connection, and so ends the wait at the server.
    pub(crate) async fn wait<T: FromRedisValue>(
        &self,
        command: &Cmd,
        wait: Duration,
    ) -> Result<T, Failure> {
        let number = self.connected().await?.number;
        let idle = lock(&self.readers).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => match self.connect().await {
                Ok(reader) => reader,
                Err(error) => return self.note(number, Err(error.into())),
            },
        };
        reader.set_response_timeout(wait + READ_GRACE);
        let result = command.query_async(&mut reader).await.map_err(Failure::from);
        if !result.as_ref().is_err_and(Failure::ends_connection) {
            let mut readers = lock(&self.readers);
            if readers.len() < IDLE_READERS {
                readers.push(reader);
            }
        }
        self.note(number, result)
    }

    /// The connection; if there is none, one attempt to make it, shared by all who wait for it.
    async fn connected(&self) -> Result<Connected, Failure> {
        if let Some(connected) = self.current() {
            return Ok(connected);
        }
        let asked_at = Instant::now();
        let mut attempts = self.connecting.lock().await;
        if let Some(connected) = self.current() {
            return Ok(connected);
        }
        if let Some(failure) = attempts.failure_since(asked_at) {
            return Err(failure);
        }
        if let Some(next) = attempts.next {
            tokio::time::sleep_until(next).await;
        }
        let result = self.attempt(attempts.ended + 1).await;
        attempts.note(&result);
        self.note(attempts.ended, result)
    }

    async fn attempt(&self, number: u64) -> Result<Connected, Failure> {
        let mut connection = self.connect().await?;
        self.setup.check(&mut connection).await?;
        let mut load = ::redis::pipe();
        for script in SCRIPTS.all() {
            load.add_command(script.load()).ignore();
        }
        load.query_async::<()>(&mut connection).await?;
        let connected = Connected { number, connection };
        lock(&self.readers).clear();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(connected.clone());
        Ok(connected)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout))
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    fn current(&self) -> Option<Connected> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a call over connection `number` went.
    fn note<T>(&self, number: u64, result: Result<T, Failure>) -> Result<T, Failure> {
        match &result {
            Ok(_) => {
                if let Some(since) = lock(&self.down_since).take() {
                    let seconds = since.elapsed().as_secs_f64();
                    tracing::info!(seconds, "Redis is back");
                }
            }
            Err(failure) => {
                if failure.ends_connection() {
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    current.take_if(|connected| connected.number == number);
                }
                if failure.is_outage() {
                    self.note_outage(failure);
                }
            }
        }
        result
    }

    fn note_outage(&self, failure: &Failure) {
        let mut down_since = lock(&self.down_since);
        if down_since.is_none() {
            *down_since = Some(Instant::now());
            match failure {
                Failure::Redis(error) => {
                    tracing::warn!(%error, "Redis does not answer, will retry")
                }
                Failure::Refused(why) => tracing::error!("cannot work with this Redis: {why}"),
            }
        }
    }
}

impl Attempts {
    /// The failure of an attempt that ended while the asker waited.
    fn failure_since(&self, asked_at: Instant) -> Option<Failure> {
        let (at, failure) = self.failure.as_ref()?;
        (*at > asked_at).then(|| failure.clone())
    }

    fn note(&mut self, result: &Result<Connected, Failure>) {
        self.ended += 1;
        match result {
            Ok(_) => *self = Self { ended: self.ended, ..Self::default() },
            Err(failure) => {
                let doubled = Duration::from_millis(50) * 2_u32.pow(self.failed.min(8));
                let backoff = doubled.min(MAX_BACKOFF).mul_f64(0.5 + fastrand::f64() / 2.0);
                self.failed += 1;
                self.failure = Some((Instant::now(), failure.clone()));
                self.next = Some(Instant::now() + backoff);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
