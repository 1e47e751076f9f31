//! One process of the product, in a test's hand: started, killed, suspended, started again on the same ports.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{binary, rest::plain, servers::variable};

/// Longest start, of a debug build on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Longest end after SIGTERM: above the longest grace period.
const END_DEADLINE: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(20);

/// How a process is started.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// What it is called in logs.
    pub name: String,
    /// Arguments of `millrace`.
    pub arguments: Vec<String>,
    /// Its environment, besides that of the test without `MILLRACE__…`.
    pub environment: Vec<(String, String)>,
    /// Where `/readyz` is; none: it prints `ready`.
    pub admin: Option<SocketAddr>,
    /// Another program than the one under test, such as that of the release before.
    pub program: Option<PathBuf>,
}

/// A process, killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    log: PathBuf,
    output: PathBuf,
    memory: Option<u64>,
    /// Variables of its environment, besides those of `spec`.
    settings: Vec<(String, String)>,
    child: Option<Child>,
}

impl Process {
    /// Starts a process that logs in `directory`; does not wait.
    ///
    /// # Panics
    /// If the program cannot be run.
    pub fn spawn(spec: Spec, directory: &Path) -> Self {
        let file = |ending: &str| directory.join(format!("{}.{ending}", spec.name));
        let (log, output) = (file("log"), file("out"));
        let mut process =
            Self { spec, log, output, memory: None, settings: Vec::new(), child: None };
        process.launch();
        process
    }

    /// Waits until it is ready; false: it ended instead.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn ready(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < START_DEADLINE {
            if self.exited().is_some() {
                return false;
            }
            if self.is_ready().await {
                return true;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("`{}` is not ready after {START_DEADLINE:?}:\n{}", self.spec.name, self.log());
    }

    /// Has it be another program from its next start on, with `settings` besides its own: an upgrade, or a step back.
    pub fn become_program(&mut self, program: &Path, settings: &[(&str, &str)]) {
        self.spec.program = Some(program.to_owned());
        self.settings = settings.iter().map(|(name, value)| variable(name, value)).collect();
    }

    /// Bounds its memory from its next start on: one that wants more dies.
    pub fn bound_memory(&mut self, bytes: u64) {
        self.memory = Some(bytes);
    }

    /// Whether it ended by itself; it can be started again then.
    ///
    /// # Panics
    /// If the system does not say.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.exited().is_some();
        if ended {
            self.child = None;
        }
        ended
    }

    /// Starts it again, as it was; does not wait.
    ///
    /// # Panics
    /// If it runs.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "`{}` runs", self.spec.name);
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let program = self.spec.program.clone().unwrap_or_else(binary);
        let mut command = match self.memory {
            None => Command::new(program),
            Some(bytes) => {
                // In kB, of data: what is only reserved does not count.
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit -d \"$0\" && exec \"$@\"", &(bytes / 1024).to_string()]);
                shell.arg(program);
                shell
            }
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MILLRACE__")) {
            command.env_remove(name);
        }
        command.args(&self.spec.arguments);
        command.envs(self.spec.environment.iter().chain(&self.settings).cloned());
        command.stdin(Stdio::null()).stderr(log);
        command.stdout(File::create(&self.output).expect("an output"));
        self.child = Some(command.spawn().expect("millrace runs"));
    }

    /// Starts it again and waits until it is ready.
    ///
    /// # Panics
    /// If it ends instead; with its log.
    pub async fn restart(&mut self) {
        self.launch();
        assert!(self.ready().await, "`{}` does not start:\n{}", self.spec.name, self.log());
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(mut child) = self.child.take() {
            child.wait().ok();
        }
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Panics
    /// If it does not end in time or not with success; with its log.
    pub async fn terminate(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.end().await;
        assert!(status.success(), "`{}` ended with {status}:\n{}", self.spec.name, self.log());
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn end(&mut self) -> ExitStatus {
        let started = Instant::now();
        while started.elapsed() < END_DEADLINE {
            if let Some(status) = self.exited() {
                self.child = None;
                return status;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("`{}` does not end within {END_DEADLINE:?}:\n{}", self.spec.name, self.log());
    }

    /// Suspends it (SIGSTOP): its connections stay, nothing answers.
    pub fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Process::suspend`].
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its resident memory.
    ///
    /// # Panics
    /// If it does not run, or this is not Linux.
    pub fn resident_bytes(&self) -> u64 {
        let id = self.child.as_ref().expect("it runs").id();
        let status =
            std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        match self.spec.admin {
            Some(admin) => {
                plain(&format!("http://{admin}/readyz")).await.is_some_and(|answer| answer.0 == 200)
            }
            None => self.output().lines().any(|line| line == "ready"),
        }
    }

    /// What `/readyz` answers; `None`: nothing.
    pub async fn readiness(&self) -> Option<(u16, String)> {
        plain(&format!("http://{}/readyz", self.spec.admin?)).await
    }

    /// What `/metrics` answers.
    ///
    /// # Panics
    /// If that is nothing.
    pub async fn metrics(&self) -> String {
        let admin = self.spec.admin.expect("an admin address");
        let answer = plain(&format!("http://{admin}/metrics")).await;
        answer.filter(|(status, _)| *status == 200).expect("metrics").1
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it wrote to standard error, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it wrote to standard output in this life.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().expect("a child can be asked")
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()) {
            // It may have ended by itself.
            kill(Pid::from_raw(id), signal).ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(60);
            let shown = lines.get(last..).unwrap_or_default().join("\n");
            println!("──── the end of the log of `{}` ────\n{shown}", self.spec.name);
        }
    }
}
