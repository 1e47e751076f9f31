//! `millrace dev` in a data directory.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{Stack, free_address, random_key};
use crate::{child::Child, setup::Api};

pub(super) async fn start(millrace: &Path) -> Result<Stack> {
    let directory = tempfile::Builder::new().prefix("millrace-bench-").tempdir()?;
    let listen = free_address()?;
    let platform_key = random_key("platform-")?;
    let mut command = Command::new(millrace);
    command.args(["dev", "--listen", &listen]);
    command.args(["--platform-key", &platform_key, "--auth-token", &random_key("token-")?]);
    command.arg("--data-dir").arg(directory.path().join("data"));
    let mut dev = Child::spawn("dev", command, directory.path())?;
    dev.printed(|line| (line == "ready").then_some(())).await?;
    let url = format!("http://{listen}");
    Ok(Stack {
        api: Api { url: url.clone(), publish_url: url, platform_key },
        services: vec![dev],
        backing: None,
        _directory: directory,
    })
}
