//! Amazon Kinesis, STS and IAM as [moto](https://docs.getmoto.org) imitates them, with signatures and policies enforced; what
//! is there is made and read with boto3. It does not ask for an external id that is missing, nor does it throttle: for that
//! see [`crate::aws`].

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::python;

const PACKAGES: [&str; 2] = ["moto[server,kinesis,sts]==5.2.5", "boto3"];

/// A server of its own; ends when dropped.
pub struct Moto {
    python: PathBuf,
    child: Child,
    url: String,
    made: Value,
}

impl Moto {
    /// Starts a server and makes in it: a stream of two shards, a role that may write to it, a user who may assume that role
    /// with an external id, and a role that trusts somebody else.
    ///
    /// # Panics
    /// If it does not start; with what to install.
    pub async fn start() -> Self {
        tokio::task::spawn_blocking(Self::start_now).await.expect("no panic")
    }

    fn start_now() -> Self {
        let python = python::with(&PACKAGES);
        let mut child = Command::new(&python)
            .arg("-u")
            .arg(script("serve"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("moto starts");
        let said = child.stderr.take().expect("piped");
        let mut lines = BufReader::new(said).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("Running on ")?.1.trim().to_owned()));
        let url = url.expect("moto says where it runs");
        // It says something of each request, and would wait for somebody to read it.
        std::thread::spawn(move || lines.for_each(drop));
        let mut moto = Self { python, child, url, made: Value::Null };
        moto.made = moto.ask("setup");
        moto
    }

    /// Where all its services are.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was made: `stream_arn`, `role_arn`, `external_id`, the key of the user, `key_id` and `key_secret`, and
    /// `distrustful_arn`, a role that does not trust that user.
    ///
    /// # Panics
    /// If there is nothing of that name.
    pub fn made(&self, name: &str) -> &str {
        self.made[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {}", self.made))
    }

    /// The ids of all events in the stream, and how many records it has. Checks that each is a JSON object, by its own id as key.
    ///
    /// # Panics
    /// If a record is something else.
    pub async fn events(&self) -> (BTreeSet<String>, usize) {
        let read = self.ask("read");
        let ids = read["ids"].as_array().expect("a list").iter();
        let ids: Vec<String> = ids.map(|id| id.as_str().expect("a text").to_owned()).collect();
        let count = ids.len();
        (ids.into_iter().collect(), count)
    }

    /// Waits until the stream has so many different events.
    ///
    /// # Panics
    /// After two minutes.
    pub async fn until_there_are(&self, count: usize) -> (BTreeSet<String>, usize) {
        for _ in 0..240 {
            let (ids, records) = self.events().await;
            if ids.len() >= count {
                return (ids, records);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("not {count} events in the stream: {}", self.events().await.0.len());
    }

    /// Stops it; what is there is lost.
    pub fn stop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    fn ask(&self, script: &str) -> Value {
        let ran = Command::new(&self.python)
            .arg(self::script(script))
            .args([&self.url, &self.made.to_string()])
            .output()
            .expect("Python runs");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{script}.py failed: {said}");
        serde_json::from_slice(&ran.stdout).expect("it answers in JSON")
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/moto/{name}.py"))
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.stop();
    }
}
