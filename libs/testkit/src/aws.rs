//! STS and Kinesis as far as sinks need them, for the faults that no imitation of AWS has: throttling, partial failures, slow
//! answers, credentials that end, an STS that is down. It asks for the external id of a role also where none is given. That
//! signatures are right is for [`crate::moto`] to check.

mod answer;
mod http;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

/// A server of its own; stops when dropped.
pub struct Aws {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    running: JoinSet<()>,
}

/// What happens to a request.
#[derive(Clone, Debug, Default)]
pub enum Course {
    /// Nothing out of the ordinary.
    #[default]
    Ordinary,
    /// It is answered ordinarily, after so long.
    Late(Duration),
    /// It is refused with a status, a code and a message.
    Refuse(u16, &'static str, &'static str),
    /// Of its records some fail, by place, each with a code.
    Partly(Vec<(usize, &'static str)>),
    /// There is no answer.
    Hang,
    /// The connection is closed.
    Close,
    /// It is answered with something that is not of AWS.
    Garbage,
}

/// A request to assume a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assumption {
    /// ARN of the role.
    pub role: String,
    /// The external id, if one was given.
    pub external_id: Option<String>,
    /// What the session is called.
    pub session: String,
}

/// A record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// ARN of the stream.
    pub stream: String,
    /// Its partition key.
    pub key: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

impl Record {
    /// The `id` of the event in it.
    ///
    /// # Panics
    /// If it is not a JSON object that has one.
    pub fn id(&self) -> String {
        let event: Value = serde_json::from_slice(&self.data).expect("a record is JSON");
        event["id"].as_str().expect("an event has an id").to_owned()
    }
}

#[derive(Default)]
struct State {
    /// External ids of roles.
    roles: HashMap<String, String>,
    streams: HashSet<String>,
    /// Access keys that were granted and have not ended.
    sessions: HashSet<String>,
    granted: usize,
    on_assume: VecDeque<Course>,
    on_put: VecDeque<Course>,
    on_list: VecDeque<Course>,
    /// What happens to requests to put records and to assume a role that nothing else is said of.
    otherwise: (Course, Course),
    /// Partition keys whose records fail.
    failing: HashSet<String>,
    assumptions: Vec<Assumption>,
    /// Requests to put records.
    puts: usize,
    /// How many records were put at once at most.
    largest: usize,
    records: Vec<Record>,
}

impl Aws {
    /// Starts it on a free port of `127.0.0.1`.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts it at `address`.
    ///
    /// # Panics
    /// If that is taken.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let mut running = JoinSet::new();
        running.spawn(http::accept_all(listener, Arc::clone(&state)));
        Self { address, state, running }
    }

    /// Stops it and returns the address, which refuses connections from then on, and which [`Aws::start_at`] takes.
    pub async fn stop(mut self) -> SocketAddr {
        self.running.shutdown().await;
        self.address
    }

    /// Where both services are.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a role that is granted to who knows its external id.
    pub fn trust(&self, role: &str, external_id: &str) {
        self.state().roles.insert(role.to_owned(), external_id.to_owned());
    }

    /// Makes a stream.
    pub fn stream(&self, arn: &str) {
        self.state().streams.insert(arn.to_owned());
    }

    /// What happens to the next requests to assume a role; what comes after takes its ordinary course.
    pub fn on_assume(&self, courses: impl IntoIterator<Item = Course>) {
        self.state().on_assume = courses.into_iter().collect();
    }

    /// What happens to the next requests to put records.
    pub fn on_put(&self, courses: impl IntoIterator<Item = Course>) {
        self.state().on_put = courses.into_iter().collect();
    }

    /// What happens, from now on, to requests to put records and to requests to assume a role that nothing else is said of.
    pub fn otherwise(&self, put: Course, assume: Course) {
        self.state().otherwise = (put, assume);
    }

    /// From now on the records with these partition keys fail, and no others.
    pub fn fail_keys(&self, keys: impl IntoIterator<Item = String>) {
        self.state().failing = keys.into_iter().collect();
    }

    /// What happens to the next requests to list shards.
    pub fn on_list(&self, courses: impl IntoIterator<Item = Course>) {
        self.state().on_list = courses.into_iter().collect();
    }

    /// Ends all sessions: their credentials are refused from now on.
    pub fn end_sessions(&self) {
        self.state().sessions.clear();
    }

    /// The requests to assume a role so far.
    pub fn assumptions(&self) -> Vec<Assumption> {
        self.state().assumptions.clone()
    }

    /// How many requests to put records came so far.
    pub fn puts(&self) -> usize {
        self.state().puts
    }

    /// How many records came in one request at most.
    pub fn largest(&self) -> usize {
        self.state().largest
    }

    /// The records that were taken, in order.
    pub fn records(&self) -> Vec<Record> {
        self.state().records.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
