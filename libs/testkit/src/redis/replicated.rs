//! A primary with a replica, and a sentinel that makes the replica the primary when the primary is gone.

use std::time::Duration;

use anyhow::{Result, bail};
use redis::cmd;
use tokio::time::{Instant, sleep};

use super::{Server, ServerOptions};

/// What the sentinel calls the primary.
const NAME: &str = "millrace";
/// Longest time until a replica has what its primary has, on a busy machine.
const IN_STEP_DEADLINE: Duration = Duration::from_secs(20);

/// A primary, its replica and a sentinel, private: all end when this is dropped.
pub struct Replicated {
    /// The primary, to begin with.
    pub primary: Server,
    /// The replica, to begin with.
    pub replica: Server,
    /// Who watches them: takes the primary for gone after a second.
    pub sentinel: Server,
}

impl Replicated {
    /// Starts all three, and waits until the replica has what the primary has and the sentinel knows it.
    ///
    /// # Errors
    /// If `redis-server` is not installed or does not start.
    pub async fn start(durable: bool) -> Result<Self> {
        let options = ServerOptions { durable, ..ServerOptions::default() };
        let primary = Server::start(options.clone()).await?;
        let of = format!("127.0.0.1 {}", primary.port());
        let arguments = vec!["--replicaof".to_owned(), of];
        let replica = Server::start(ServerOptions { arguments, ..options }).await?;
        in_step(&replica).await?;
        let watches = format!(
            "sentinel monitor {NAME} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {NAME} 1000\n\
             sentinel failover-timeout {NAME} 5000\n",
            primary.port()
        );
        let sentinel = Server::start_sentinel(&watches).await?;
        let replicated = Self { primary, replica, sentinel };
        replicated.known_to_the_sentinel().await?;
        Ok(replicated)
    }

    /// What `queue.url` is to be.
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/{NAME}", self.sentinel.port())
    }

    /// The port of the server that the sentinel takes for the primary.
    ///
    /// # Errors
    /// If the sentinel does not answer.
    pub async fn elected(&self) -> Result<u16> {
        let ask = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(NAME).take();
        let (_, port): (String, u16) = self.sentinel.run(&ask).await?;
        Ok(port)
    }

    async fn known_to_the_sentinel(&self) -> Result<()> {
        let deadline = Instant::now() + IN_STEP_DEADLINE;
        loop {
            let info: String = self.sentinel.run(cmd("INFO").arg("sentinel")).await?;
            if info.contains("status=ok") && info.contains("slaves=1") {
                return Ok(());
            }
            // It looks for replicas every 10 s by itself.
            let reset = cmd("SENTINEL").arg("RESET").arg(NAME).take();
            self.sentinel.run::<()>(&reset).await?;
            if Instant::now() > deadline {
                bail!("the sentinel does not find the replica:\n{info}");
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Waits until a replica has what its primary has.
pub(super) async fn in_step(replica: &Server) -> Result<()> {
    let deadline = Instant::now() + IN_STEP_DEADLINE;
    loop {
        let info: String = replica.run(cmd("INFO").arg("replication")).await?;
        if info.contains("master_link_status:up") {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the replica does not get what its primary has:\n{info}");
        }
        sleep(Duration::from_millis(50)).await;
    }
}
