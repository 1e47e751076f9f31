//! The way to one server: one connection that all calls share, made again with backoff when it is lost, and
//! connections of their own for calls that wait. One log line when it goes down and one when it is back.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::{
    failure::Failure,
    replicated::Replicated,
    script::SCRIPTS,
    sentinel::Find,
    setup::{Check, Setup},
};

/// Longest pause between two attempts to connect.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// Longest time to connect.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that may wait to be written (the default, 50, makes callers queue under load).
const PIPELINE_BUFFER: usize = 4_096;
/// How much later than asked a waiting call may answer before its connection is taken for dead.
const WAIT_GRACE: Duration = Duration::from_secs(5);
/// How often a server that is in use is looked at again: whether it lost what it held.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Every so many looks are thorough: whether it is still set up as it must be, and the primary.
const THOROUGH_EVERY: u64 = 15;

/// What came of each of several commands.
pub(crate) type Answers = Vec<RedisResult<Value>>;

/// How servers are spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) setup: Setup,
    /// Longest time for an answer.
    pub(crate) response_timeout: Duration,
    /// How many replicas have to have what is appended.
    pub(crate) wait_replicas: u32,
    /// Longest wait for them.
    pub(crate) wait_timeout: Duration,
    /// Whom to trust, in place of whom the system trusts: PEM.
    pub(crate) tls_ca: Option<Vec<u8>>,
}

/// The way to a server.
pub(crate) struct Node {
    find: Find,
    terms: Arc<Terms>,
    check: Check,
    current: RwLock<Option<Connected>>,
    connecting: AsyncMutex<Attempts>,
    /// Idle connections for calls that wait.
    idle: Mutex<Vec<(u64, MultiplexedConnection)>>,
    replicated: Replicated,
    /// When the outage that lasts began.
    down_since: Mutex<Option<Instant>>,
    started: Instant,
    /// When the next look is due, in milliseconds since the start; and how many there were.
    check_at: AtomicU64,
    checks: AtomicU64,
}

#[derive(Clone)]
struct Connected {
    number: u64,
    client: Arc<Client>,
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

impl Node {
    /// A way that is not taken yet.
    pub(crate) fn new(find: Find, terms: Arc<Terms>, check: Check) -> Self {
        let replicated = Replicated::new(&terms);
        Self {
            find,
            terms,
            check,
            current: RwLock::default(),
            connecting: AsyncMutex::default(),
            idle: Mutex::default(),
            replicated,
            down_since: Mutex::default(),
            started: Instant::now(),
            check_at: AtomicU64::new(0),
            checks: AtomicU64::new(1),
        }
    }

    /// Connects and checks the server, if it is not connected.
    pub(crate) async fn connect(&self) -> Result<(), Failure> {
        self.connected().await.map(drop)
    }

    /// Whether it is connected.
    pub(crate) fn is_up(&self) -> bool {
        self.current().is_some()
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

    /// Sends commands in one go; gives what came of each, errors of the server included.
    pub(crate) async fn batch(&self, mut commands: Pipeline) -> Result<Answers, Failure> {
        let mut to = self.connected().await?;
        let result = commands.ignore_errors().query_async(&mut to.connection).await;
        self.note(to.number, not_astray(result))
    }

    /// Sends a command that waits up to `wait` at the server, over a connection that nothing else uses. A caller
    /// that goes away closes the connection, and so ends the wait at the server.
    pub(crate) async fn wait<T: FromRedisValue>(
        &self,
        command: &Cmd,
        wait: Duration,
    ) -> Result<T, Failure> {
        let mut own = self.own_connection().await?;
        own.1.set_response_timeout(wait + WAIT_GRACE);
        let result = command.query_async(&mut own.1).await.map_err(Failure::from);
        self.give_back(own, result)
    }

    /// Sends a command that writes, and has the write acknowledged by replicas where the settings ask for that.
    /// `asking`: for a key of a slot that is on its way here.
    pub(crate) async fn write(&self, command: &Cmd, asking: bool) -> Result<Value, Failure> {
        if self.terms.wait_replicas > 0 {
            return self.replicated.write(self, command.clone(), asking).await;
        }
        if !asking {
            return self.query(command).await;
        }
        let mut both = ::redis::pipe();
        both.cmd("ASKING").ignore().add_command(command.clone());
        let (answer,) = self.pipeline(&both).await?;
        Ok(answer)
    }

    /// Sends commands in one go over a connection that nothing else uses: one of them waits, up to `wait`.
    pub(super) async fn wait_all(
        &self,
        commands: &mut Pipeline,
        wait: Duration,
    ) -> Result<Answers, Failure> {
        let mut own = self.own_connection().await?;
        own.1.set_response_timeout(wait + self.terms.response_timeout);
        let result = commands.ignore_errors().query_async(&mut own.1).await;
        self.give_back(own, not_astray(result))
    }

    async fn own_connection(&self) -> Result<(u64, MultiplexedConnection), Failure> {
        let to = self.connected().await?;
        let idle = lock(&self.idle).pop();
        match idle {
            Some(idle) => Ok(idle),
            None => match open(&to.client, self.terms.response_timeout).await {
                Ok(own) => Ok((to.number, own)),
                Err(error) => self.note(to.number, Err(error.into())),
            },
        }
    }

    /// Keeps a connection for the next who needs one of its own, if it is still good.
    fn give_back<T>(
        &self,
        (number, own): (u64, MultiplexedConnection),
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let broken = result.as_ref().is_err_and(Failure::ends_connection);
        if !broken && self.current().is_some_and(|current| current.number == number) {
            lock(&self.idle).push((number, own));
        }
        self.note(number, result)
    }

    /// The connection; if there is none, one attempt to make it, shared by all who wait for it.
    async fn connected(&self) -> Result<Connected, Failure> {
        if let Some(connected) = self.current() {
            return self.looked_at(connected).await;
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
        let client = Arc::new(self.find.client(&self.terms).await?);
        let mut connection = open(&client, self.terms.response_timeout).await?;
        self.terms.setup.check(&mut connection, self.check).await?;
        let mut load = ::redis::pipe();
        for script in SCRIPTS.all() {
            load.add_command(script.load()).ignore();
        }
        load.query_async::<()>(&mut connection).await?;
        let connected = Connected { number, client, connection };
        lock(&self.idle).clear();
        self.check_at.store(self.millis() + millis(CHECK_EVERY), Ordering::Relaxed);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(connected.clone());
        Ok(connected)
    }

    /// Looks at the server again where that is due: one caller does it, the others go on.
    async fn looked_at(&self, mut connected: Connected) -> Result<Connected, Failure> {
        let (now, due) = (self.millis(), self.check_at.load(Ordering::Relaxed));
        let next = now + millis(CHECK_EVERY);
        let claim = |due| {
            self.check_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if now < due || !claim(due) {
            return Ok(connected);
        }
        let thorough = self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(THOROUGH_EVERY);
        let setup = &self.terms.setup;
        let result = if thorough {
            setup.check(&mut connected.connection, self.check).await
        } else {
            setup.check_meta(&mut connected.connection, self.check).await
        };
        self.note(connected.number, result).map(|()| connected)
    }

    fn millis(&self) -> u64 {
        millis(self.started.elapsed())
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
                    tracing::info!(server = %self.find, seconds, "Redis is back");
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
                Failure::Refused(why) => {
                    tracing::error!(server = %self.find, "cannot work with this Redis: {why}");
                }
                _ => {
                    tracing::warn!(server = %self.find, error = %failure, "Redis does not answer, will retry");
                }
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

/// Opens a connection.
pub(super) async fn open(
    client: &Client,
    response_timeout: Duration,
) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(response_timeout))
        .set_pipeline_buffer_size(PIPELINE_BUFFER);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Gives the answers, unless one says that the connection leads to the wrong server.
fn not_astray(answers: RedisResult<Answers>) -> Result<Answers, Failure> {
    let answers = answers?;
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let failure = Failure::from(error.clone());
        if failure.ends_connection() {
            return Err(failure);
        }
    }
    Ok(answers)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
