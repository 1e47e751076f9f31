//! Each service a process of its own, on a database and a key prefix of the test's own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use millrace_proto::v1::{CreateAccountRequest, account_service_client::AccountServiceClient};
use millrace_testkit::{
    gate::Gate,
    postgres::{Database, database},
    redis::{self, Redis},
};

use crate::{
    Identity, Kind, Options, Process, Spec, binary, free_port,
    publisher::{authorized, channel},
};

/// Few, so that two deliverers share them soon.
pub(crate) const PARTITIONS: u16 = 16;
/// Tries to find ports that nobody takes meanwhile.
const TRIES: usize = 5;

/// The services and what they stand on.
pub struct Servers {
    control_planes: Vec<Node>,
    routers: Vec<Node>,
    deliverers: Vec<Node>,
    pub(crate) plan: Plan,
    /// None where the queue is at an address of the test's.
    redis: Option<Redis>,
    gate: Option<Gate>,
    /// Before several control-planes.
    balancer: Option<Gate>,
    /// Dropped last: the processes are gone by then.
    pub(crate) database: Database,
}

/// A process, and where it serves.
struct Node {
    process: Process,
    address: SocketAddr,
}

/// What all processes are told.
pub(crate) struct Plan {
    identity: Identity,
    settings: Vec<(&'static str, &'static str)>,
    /// Of deliverers.
    environment: Vec<(&'static str, String)>,
    database_url: String,
    pub(crate) redis_url: String,
    pub(crate) prefix: String,
    collector: Option<String>,
    collector_ca: Option<PathBuf>,
    control_plane: String,
    /// Where deliverers find it, if that is not the same.
    gate: Option<String>,
    directory: PathBuf,
    program: Option<PathBuf>,
}

pub(crate) async fn start(identity: &Identity, options: Options, directory: &Path) -> Servers {
    let redis = match options.redis {
        _ if options.queue_url.is_some() => None,
        Some(private) => Some(Redis::private(private).await.expect("a Redis")),
        None => Some(Redis::start().await.expect("a Redis")),
    };
    let at = redis.as_ref().map(|redis| (redis.url().to_owned(), redis.prefix().to_owned()));
    let (redis_url, prefix) =
        at.unwrap_or_else(|| (options.queue_url.unwrap_or_default(), redis::prefix()));
    let database = match options.database {
        Some(database) => database,
        None => database().await,
    };
    let plan = Plan {
        identity: identity.clone(),
        settings: options.settings,
        environment: options.environment,
        database_url: database.url().to_owned(),
        redis_url,
        prefix,
        collector: options.collector,
        collector_ca: options.collector_ca,
        control_plane: String::new(),
        gate: None,
        directory: directory.to_owned(),
        program: options.program.clone(),
    };
    let mut servers = Servers {
        control_planes: Vec::new(),
        routers: Vec::new(),
        deliverers: Vec::new(),
        plan,
        redis,
        gate: None,
        balancer: None,
        database,
    };
    let program = options.program.unwrap_or_else(binary);
    servers.migrate(&program, &[]).await;
    servers.start_control_planes(options.control_planes).await;
    if options.gate {
        servers.build_gate().await;
    }
    for _ in 0..options.routers {
        servers.add_router().await;
    }
    for _ in 0..options.deliverers {
        servers.add_deliverer().await;
    }
    servers
}

impl Servers {
    /// Starts one more router and waits until it is ready; gives its number.
    pub async fn add_router(&mut self) -> usize {
        let number = self.routers.len();
        self.routers.push(self.plan.started(Kind::Router(number)).await);
        number
    }

    /// Starts one more router, which may never be ready; gives its number.
    pub fn start_router(&mut self) -> usize {
        let number = self.routers.len();
        self.routers.push(self.plan.spawn(Kind::Router(number)));
        number
    }

    /// Starts one more deliverer and waits until it is ready; gives its number.
    pub async fn add_deliverer(&mut self) -> usize {
        let number = self.deliverers.len();
        self.deliverers.push(self.plan.started(Kind::Deliverer(number)).await);
        number
    }

    /// The Redis that [`Options::redis`] asked for.
    ///
    /// # Panics
    /// If it did not.
    pub fn redis(&mut self) -> &mut redis::Server {
        self.redis.as_mut().and_then(Redis::server).expect("a Redis of the test's own")
    }

    /// The gate that [`Options::gate`] asked for.
    ///
    /// # Panics
    /// If it did not.
    pub fn gate(&self) -> &Gate {
        self.gate.as_ref().expect("a gate")
    }

    /// The database, to do to it what operators do.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// A control-plane of several, by number; [`Kind::ControlPlane`] is the first.
    ///
    /// # Panics
    /// If there is none of that number.
    pub fn control_plane(&mut self, number: usize) -> &mut Process {
        &mut self.control_planes[number].process
    }

    pub(crate) fn process(&mut self, kind: Kind) -> &mut Process {
        &mut match kind {
            Kind::ControlPlane => &mut self.control_planes[0],
            Kind::Router(number) => &mut self.routers[number],
            Kind::Deliverer(number) => &mut self.deliverers[number],
        }
        .process
    }

    pub(crate) fn process_ref(&self, kind: Kind) -> &Process {
        &match kind {
            Kind::ControlPlane => &self.control_planes[0],
            Kind::Router(number) => &self.routers[number],
            Kind::Deliverer(number) => &self.deliverers[number],
        }
        .process
    }

    pub(crate) fn url(&self, kind: Kind) -> String {
        let node = match kind {
            Kind::ControlPlane => &self.control_planes[0],
            Kind::Router(number) => &self.routers[number],
            Kind::Deliverer(number) => &self.deliverers[number],
        };
        format!("http://{}", node.address)
    }

    pub(crate) fn routers(&self) -> usize {
        self.routers.len()
    }

    async fn build_gate(&mut self) {
        let gate = Gate::to(self.control_planes[0].address).await;
        self.plan.gate = Some(format!("http://{}", gate.address()));
        self.gate = Some(gate);
    }

    /// Runs `millrace migrate` of a program, with further arguments; gives what it printed.
    ///
    /// # Panics
    /// If that fails; with its log.
    pub async fn migrate(&self, program: &Path, arguments: &[&str]) -> String {
        let spec = Spec {
            name: "migrate".to_owned(),
            arguments: [&["migrate"], arguments].concat().into_iter().map(str::to_owned).collect(),
            environment: vec![variable("database.url", &self.plan.database_url)],
            admin: None,
            program: Some(program.to_owned()),
        };
        let mut process = Process::spawn(spec, &self.plan.directory);
        let status = process.end().await;
        assert!(status.success(), "`millrace migrate` failed:\n{}", process.log());
        process.output()
    }

    async fn start_control_planes(&mut self, count: usize) {
        for _ in 0..count {
            let node = self.plan.started(Kind::ControlPlane).await;
            self.plan.control_plane = format!("http://{}", node.address);
            self.control_planes.push(node);
        }
        if count > 1 {
            let all = self.control_planes.iter().map(|node| node.address).collect();
            let balancer = Gate::among(all).await;
            self.plan.control_plane = format!("http://{}", balancer.address());
            self.balancer = Some(balancer);
        }
        let Identity { account_sid, auth_token, .. } = &self.plan.identity;
        let account = CreateAccountRequest {
            sid: account_sid.clone(),
            auth_token: auth_token.clone(),
            ..CreateAccountRequest::default()
        };
        let mut accounts = AccountServiceClient::new(channel(&self.plan.control_plane));
        let request = authorized(account, &self.plan.identity.bearer());
        accounts.create_account(request).await.expect("the account is made");
    }
}

impl Plan {
    /// Starts a process, on other ports if its own were taken meanwhile, and waits until it is ready.
    async fn started(&self, kind: Kind) -> Node {
        for _ in 0..TRIES {
            let mut node = self.spawn(kind);
            if node.process.ready().await {
                return node;
            }
            let log = node.process.log();
            assert!(log.contains("in use"), "`{}` does not start:\n{log}", node.process.name());
        }
        panic!("no port stays free");
    }

    fn spawn(&self, kind: Kind) -> Node {
        let address = local(free_port());
        let admin = local(free_port());
        let (name, arguments) = match kind {
            Kind::ControlPlane => ("control-plane".to_owned(), "control-plane"),
            Kind::Router(number) => (format!("router-{number}"), "router"),
            Kind::Deliverer(number) => (format!("deliverer-{number}"), "deliverer"),
        };
        let spec = Spec {
            name,
            arguments: vec![arguments.to_owned()],
            environment: self.environment(kind, address, admin),
            admin: Some(admin),
            program: self.program.clone(),
        };
        Node { process: Process::spawn(spec, &self.directory), address }
    }

    fn environment(
        &self,
        kind: Kind,
        address: SocketAddr,
        admin: SocketAddr,
    ) -> Vec<(String, String)> {
        let (address, partitions) = (address.to_string(), PARTITIONS.to_string());
        let mut all = vec![
            variable("admin.listen", &admin.to_string()),
            variable("internal.token", &self.identity.internal_token),
            variable("log.format", if self.collector.is_some() { "json" } else { "pretty" }),
        ];
        if let Some(collector) = &self.collector {
            all.push(variable("telemetry.otlp.endpoint", collector));
            all.push(variable("telemetry.sample_ratio", "0"));
            let ca = self.collector_ca.iter().map(|file| file.display().to_string());
            all.extend(ca.map(|file| variable("telemetry.otlp.tls_ca", &file)));
        }
        all.push(variable("queue.url", &self.redis_url));
        all.push(variable("queue.prefix", &self.prefix));
        all.push(variable("queue.partitions", &partitions));
        if kind != Kind::ControlPlane {
            all.push(variable("control_plane.address", &self.control_plane));
        }
        if !matches!(kind, Kind::Router(_)) {
            all.push(variable("delivery.allow_http", "true"));
            all.push(variable("delivery.allow_cidrs", r#"["127.0.0.0/8"]"#));
        }
        match kind {
            Kind::ControlPlane => {
                all.push(variable("control_plane.listen", &address));
                let hash = self.identity.platform_key_hash();
                all.push(variable("control_plane.platform_keys", &hash));
                all.push(variable("database.url", &self.database_url));
                all.push(variable("seal.keys", &self.identity.seal_keys));
            }
            Kind::Router(_) => all.push(variable("router.listen", &address)),
            Kind::Deliverer(_) => {
                all.push(variable("deliverer.listen", &address));
                let gate = self.gate.as_ref().unwrap_or(&self.control_plane);
                all.push(variable("control_plane.address", gate));
                let given = self.environment.iter();
                all.extend(given.map(|(name, value)| ((*name).to_owned(), value.clone())));
            }
        }
        // Those of the queue are the same in every process, and most others the deliverer's.
        let of_resources = |name: &str| name.starts_with("limits.") || name.starts_with("rest.");
        let concerns = |name: &str| match kind {
            _ if name.starts_with("queue.") => true,
            Kind::ControlPlane | Kind::Deliverer(_) if name.starts_with("sinks.") => true,
            Kind::ControlPlane => of_resources(name),
            Kind::Deliverer(_) => !of_resources(name),
            Kind::Router(_) => false,
        };
        let settings = self.settings.iter().filter(|(name, _)| concerns(name));
        all.extend(settings.map(|(name, value)| variable(name, value)));
        all
    }
}

/// A setting as a variable of the environment.
pub(crate) fn variable(setting: &str, value: &str) -> (String, String) {
    (format!("MILLRACE__{}", setting.replace('.', "__").to_uppercase()), value.to_owned())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
